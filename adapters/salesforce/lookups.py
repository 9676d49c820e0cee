"""Asking the org about some records by their ids: 25 queries in one call.

Ids fit into an address by the hundred only; Composite Batch carries 25 such addresses, and counts as one call.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from adapters.salesforce import soql
from adapters.salesforce.ids import kind_of, to_18
from adapters.salesforce.vendor_errors import SalesforceRejected, VendorError
from connector.contracts import chunks
from connector.errors import RetriableError
from connector.model import Outcome, Receipt
from connector.rest import Effect, fault_for

if TYPE_CHECKING:
    from adapters.salesforce.client import SalesforceClient

QUERIES_PER_CALL: Final = 25
PEOPLE_PER_CALL: Final = QUERIES_PER_CALL * soql.IDS_AT_ONCE
"""People of one object that one call can ask about."""

CONTACT, LEAD = "Contact", "Lead"
_BAD_REQUEST: Final = 400


def person_id(row_id: str) -> str | None:
    """The full id of a contact or lead; None for anything else."""
    try:
        full = to_18(row_id)
    except ValueError:
        return None
    return full if kind_of(full) in {CONTACT, LEAD} else None


def missing(row_id: str) -> Receipt:
    """The receipt for a person who is not there."""
    words = "Salesforce has no such contact or lead (deleted, merged or converted)"
    return Receipt(row_id, Outcome.MISSING, words, "NOT_FOUND")


class Lookups:
    """Queries of one org, several in a call."""

    def __init__(self, client: SalesforceClient) -> None:
        self._client = client

    def ask(self, queries: Sequence[str]) -> list[list[Mapping[str, Any]]]:
        """The records each query finds, in order.

        Raises:
            SalesforceRejected: one of them was refused.
        """
        if len(queries) == 1:
            return [self._client.rows(queries[0])]
        found: list[list[Mapping[str, Any]]] = []
        for part in chunks(queries, QUERIES_PER_CALL):
            found += self._together(part)
        return found

    def people(
        self, row_ids: Iterable[str], fields: Sequence[str], *, of_leads: Sequence[str] | None = None
    ) -> dict[str, Mapping[str, Any]]:
        """Contacts and leads by full id; who does not exist, was merged away or converted is left out.

        of_leads: The fields of leads, where they are others.
        """
        full = {found for row_id in row_ids if (found := person_id(row_id))}
        queries = []
        for kind, names in ((CONTACT, fields), (LEAD, fields if of_leads is None else of_leads)):
            ids = sorted(found for found in full if kind_of(found) == kind)
            conditions = ("IsConverted = false",) if kind == LEAD else ()
            for part in soql.id_batches(ids):
                where = (soql.one_of("Id", part), *conditions)
                queries.append(soql.Query(kind, ("Id", *names), where).unordered())
        return {to_18(str(row["Id"])): row for rows in self.ask(queries) for row in rows}

    def _together(self, queries: Sequence[str]) -> list[list[Mapping[str, Any]]]:
        version = f"v{self._client.options.version}"
        asked = [{"method": "GET", "url": f"{version}/query?q={quote(query, safe=SAFE)}"} for query in queries]
        path = self._client.path("/composite/batch")
        answer = self._client.call("POST", path, body={"batchRequests": asked}, effect=Effect.READ).data
        results = (answer or {}).get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list) or len(results) != len(queries):
            raise RetriableError(f"salesforce query batch: {len(queries)} were asked, the answer names others")
        return [self._rows(result) for result in results]

    def _rows(self, result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        status, body = int(result.get("statusCode") or 0), result.get("result")
        if status >= _BAD_REQUEST or not isinstance(body, dict):
            raise refused(status, body, "salesforce query batch", effect=Effect.READ)
        rows = list(body.get("records") or ())
        link = None if body.get("done", True) else body.get("nextRecordsUrl")
        while link:
            page = self._client.read(str(link)) or {}
            rows += page.get("records") or ()
            link = None if page.get("done", True) else page.get("nextRecordsUrl")
        return rows


SAFE: Final = "'(),"
"""Left as they are in an address: one id is then 21 bytes and not 27."""


def refused(status: int, body: Any, what: str, *, effect: Effect, hint: str | None = None) -> Exception:
    """Our error for a part of a composite call that was no success."""
    vendor = VendorError.parse(json.dumps(body))
    fault = fault_for(status or 500, vendor.words(), what=what, effect=effect, hint=hint)
    if isinstance(fault, RetriableError):
        return fault
    return SalesforceRejected(f"{what}: {vendor.words()}", vendor=vendor, status=status, hint=hint)

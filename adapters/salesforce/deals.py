"""Opportunities that were won, as payments: each belongs to its primary contact, else to the account alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from adapters.salesforce.client import SalesforceClient
from adapters.salesforce.soql import Query, changed_since, id_batches, one_of
from adapters.salesforce.streams import Shaped
from adapters.salesforce.tables import PLACE, column_or_null, with_place
from adapters.salesforce.visible import Visible
from adapters.salesforce.walking import Walk

if TYPE_CHECKING:
    import pyarrow as pa

PAYER: Final = "PersonOrAccountId"
"""The raw column we make: who a deal belongs to."""

_ROLE: Final = "OpportunityContactRole"
_ROLE_FIELDS: Final = ("Id", "OpportunityId", "ContactId")
_PRIMARY: Final = "IsPrimary = true"
_WON: Final = "IsWon = true"
_PAYERS: Final = ("ContactId", "Account.PersonContactId", "AccountId")
"""Where the contact role says nothing, in this order."""


class Deals:
    """Opportunities in a stage that counts as won, with an amount."""

    name = "transactions"
    kind = "Opportunity"
    into = "transactions"
    deleted = False
    origin = "salesforce opportunities"

    def __init__(self, client: SalesforceClient, walk: Walk) -> None:
        self._client = client
        self._walk = walk
        self._roles: Mapping[str, str] | None = None

    def wanted(self, mapped: Sequence[str]) -> tuple[str, ...]:
        """The mapped fields and those that say whose it is."""
        named = ("Id", "SystemModstamp", "Amount", *_PAYERS, *mapped)
        return tuple(name for name in dict.fromkeys(named) if name != PAYER)

    def choose(self, visible: Visible, wanted: Sequence[str]) -> tuple[str, ...]:
        """Those of them that our user sees; contact roles stand for a field of theirs."""
        roles = (f"{_ROLE}s.ContactId",) if visible.sees(_ROLE, "ContactId") else ()
        return (*visible.choose(self.kind, wanted), *roles)

    def queries(self, known: Sequence[str], since: datetime | None) -> Sequence[Query]:
        """All that were won, or those of them that changed."""
        where = (_WON, *(("Amount != null",) if "Amount" in known else ()))
        return [Query(self.kind, _own(known), where if since is None else (*where, changed_since(since)))]

    def columns(self, known: Sequence[str]) -> tuple[str, ...]:
        """The fields and whose it is."""
        return (*_own(known), PAYER, PLACE)

    def shape(
        self,
        table: pa.Table,
        query: Query,  # noqa: ARG002 - there is one
        known: Sequence[str],
        *,
        everything: bool,
    ) -> Iterator[Shaped]:
        """Each deal with whose it is."""
        import pyarrow as pa
        from pyarrow import compute

        ids = [str(one) for one in table.column("Id").to_pylist()]
        roles = self._roles_of(ids, everything=everything) if len(_own(known)) < len(known) else {}
        primary = pa.array([roles.get(one) for one in ids], pa.string())
        payer = compute.coalesce(primary, *(column_or_null(table, name) for name in _PAYERS))
        yield Shaped(with_place(table.append_column(PAYER, payer), self.name))

    def _roles_of(self, ids: Sequence[str], *, everything: bool) -> Mapping[str, str]:
        """The primary contact of each opportunity that has one; on a first reading asked for all at once."""
        if everything:
            if self._roles is None:
                query = Query(_ROLE, _ROLE_FIELDS, (_PRIMARY, f"Opportunity.{_WON}"))
                tables = self._walk.all_of(query, what="salesforce contact roles")
                self._roles = {
                    str(deal): str(contact)
                    for table in tables
                    for deal, contact in zip(
                        *(table.column(name).to_pylist() for name in _ROLE_FIELDS[1:]), strict=True
                    )
                }
            return self._roles
        found: dict[str, str] = {}
        for batch in id_batches(ids):
            query = Query(_ROLE, _ROLE_FIELDS, (_PRIMARY, one_of("OpportunityId", batch)))
            found |= {str(row["OpportunityId"]): str(row["ContactId"]) for row in self._client.rows(query.in_order())}
        return found


def _own(known: Sequence[str]) -> tuple[str, ...]:
    """The fields of the opportunity itself."""
    return tuple(name for name in known if not name.startswith(f"{_ROLE}s."))

"""Contacts read fresh just before something is done to them by address: the address itself, and what forbids it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.hubspot.client import HubSpotClient
from connector.errors import CredentialsError, OutcomeUnknown, QuotaExhausted, RetriableError
from connector.model import Outcome, Receipt
from connector.rest import Effect

PROPERTIES: Final = (
    "email",
    "hs_additional_emails",
    "hs_email_optout",
    "hs_email_bad_address",
    "hs_email_hard_bounce_reason_enum",
    "hs_email_quarantined",
)
ROWS_PER_CALL: Final = 100
NOT_TRIED: Final = "not tried: HubSpot stopped answering before it was this contact's turn"

STOPPERS: Final = (RetriableError, QuotaExhausted, CredentialsError)
"""What ends a batch of single calls; a refusal of one contact does not."""


@dataclass(frozen=True, slots=True)
class Person:
    """What is needed of one contact. `address` is never logged and never leaves this package."""

    address: str
    others: tuple[str, ...]
    opted_out: bool
    bounced: bool

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address, the primary one first."""
        return (self.address, *self.others) if self.address else self.others


def read_people(client: HubSpotClient, row_ids: Iterable[str]) -> Mapping[str, Person]:
    """Contacts by record id, at most 100; who does not exist, or was merged away, is left out."""
    body = {"properties": list(PROPERTIES), "inputs": [{"id": row_id} for row_id in dict.fromkeys(row_ids)]}
    path = client.path("objects", "/contacts/batch/read")
    answer = client.call("POST", path, body=body, effect=Effect.READ).data or {}
    return {str(item["id"]): _person(item.get("properties") or {}) for item in answer.get("results") or ()}


def missing(row_id: str) -> Receipt:
    """The receipt for a contact that is not there."""
    return Receipt(row_id, Outcome.MISSING, "HubSpot has no such contact (deleted or merged)", "MISSING")


class OneByOne:
    """Receipts of a batch that is worked off in single calls, and what may stop it.

    Once a row was tried, nothing is raised any more: what was done must not be forgotten over what was not.
    """

    def __init__(self, row_ids: Sequence[str]) -> None:
        self._row_ids = list(dict.fromkeys(row_ids))
        self._given = row_ids
        self._receipts: dict[str, Receipt] = {}
        self._tried = False
        self._over = False

    def __iter__(self) -> Iterator[str]:
        for row_id in self._row_ids:
            if self._over:
                return
            yield row_id

    def settle(self, receipt: Receipt, *, tried: bool = False) -> None:
        """Note what became of a row; `tried` when a call was made for it."""
        self._receipts[receipt.row_id] = receipt
        self._tried = self._tried or tried

    def stop(self, fault: Exception) -> None:
        """End the batch here; raises the reason when nothing was tried yet."""
        if not self._tried:
            raise fault
        self._over = True

    def unknown(self, row_id: str, doubt: OutcomeUnknown) -> None:
        """A row whose answer never came."""
        self.settle(Receipt(row_id, Outcome.UNKNOWN, str(doubt)), tried=True)

    def receipts(self) -> list[Receipt]:
        """One receipt per row, in order."""
        return [
            self._receipts.get(row_id) or Receipt(row_id, Outcome.UNKNOWN, NOT_TRIED, "NOT_TRIED")
            for row_id in self._given
        ]


def _person(values: Mapping[str, Any]) -> Person:
    others = str(values.get("hs_additional_emails") or "").split(";")
    flags = ("hs_email_bad_address", "hs_email_quarantined")
    return Person(
        address=str(values.get("email") or "").strip(),
        others=tuple(address.strip() for address in others if address.strip()),
        opted_out=values.get("hs_email_optout") == "true",
        bounced=bool(values.get("hs_email_hard_bounce_reason_enum")) or any(values.get(f) == "true" for f in flags),
    )

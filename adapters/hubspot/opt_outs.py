"""Opt-outs into HubSpot: every address of a contact is taken off all marketing mail. Nobody is ever subscribed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.hubspot.client import HubSpotClient, HubSpotRejected
from adapters.hubspot.people import ROWS_PER_CALL, STOPPERS, OneByOne, missing, read_people
from connector.errors import OutcomeUnknown
from connector.model import Outcome, Receipt
from connector.rest import Effect

BATCH: Final = ROWS_PER_CALL
_CHANNEL: Final = [("channel", "EMAIL")]
_PATH: Final = "/statuses/{email}/unsubscribe-all"
_OUT: Final = "UNSUBSCRIBED"


class OptOuts:
    """Writes opt-outs of one account. The batch form of the call needs an Enterprise scope; one by one needs none."""

    def __init__(self, client: HubSpotClient) -> None:
        self._client = client

    def write(self, row_ids: Sequence[str]) -> list[Receipt]:
        """Unsubscribe contacts at every address of theirs, for a status is an address's; see `Destination.opt_out`."""
        if not row_ids:
            return []
        people = read_people(self._client, row_ids)
        batch = OneByOne(row_ids)
        for row_id in batch:
            person = people.get(row_id)
            if person is None:
                batch.settle(missing(row_id))
                continue
            if person.opted_out or not person.addresses:
                words = None if person.opted_out else "the contact has no address: no mail can reach it"
                batch.settle(Receipt(row_id, Outcome.UNCHANGED, words))
                continue
            try:
                batch.settle(self._unsubscribe(row_id, person.addresses), tried=True)
            except OutcomeUnknown as doubt:
                batch.unknown(row_id, doubt)
            except STOPPERS as fault:
                batch.stop(fault)
        return batch.receipts()

    def read(self, row_ids: Sequence[str]) -> dict[str, bool]:
        """Whether contacts are opted out: by their property, and where that says no by their address: it is fresher."""
        if not row_ids:
            return {}
        people = read_people(self._client, row_ids)
        return {
            row_id: person.opted_out or (bool(person.address) and self._is_out(person.address))
            for row_id, person in people.items()
        }

    def _unsubscribe(self, row_id: str, addresses: Sequence[str]) -> Receipt:
        for address in addresses:
            path = self._client.path("preferences", _PATH)
            try:
                answer = self._client.call(
                    "POST", path, place={"email": address}, query=_CHANNEL, effect=Effect.REPEATABLE
                ).data
            except HubSpotRejected as refusal:
                code = refusal.vendor.category or str(refusal.status)
                return Receipt(row_id, Outcome.REJECTED, refusal.vendor.words(), code)
            # An answer that lists nothing: was off all mail before, or nothing was done.
            if not _results(answer) and not self._is_out(address):
                raise OutcomeUnknown("hubspot opt-out: accepted, but the address is still subscribed")
        return Receipt(row_id, Outcome.WRITTEN)

    def _is_out(self, address: str) -> bool:
        answer = self._client.read(self._client.path("preferences", _PATH), place={"email": address}, query=_CHANNEL)
        return any(entry.get("status") == _OUT for entry in _results(answer))


def _results(answer: Any) -> Sequence[Any]:
    found: Sequence[Any] = answer.get("results") or () if isinstance(answer, dict) else ()
    return found

"""Asked again before every write: whether these people may be contacted, by what we know at that moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from connector.crms import became, destination_systems
from connector.program.eligibility import stands

if TYPE_CHECKING:
    from datetime import datetime

    from connector.crms import Records
    from connector.program.model import ConsentState
    from connector.workspace import Workspace


def plain_reason(row: Mapping[str, Any]) -> str | None:
    """Why a contact must be on no list by what the CRMs and mail events say of it; None if there is no reason."""
    if row.get("merged_into") is not None:
        return "merged"
    if row.get("deleted_at") is not None:
        return "deleted"
    if row.get("opted_out") or row.get("engaged_unsubscribed_at") is not None:
        return "opted_out"
    if row.get("engaged_complained_at") is not None:
        return "complained"
    return "bounced" if row.get("bounced") else None


class StillAllowed:
    """Who may not be added to a list, asked again just before each batch is written.

    The facts cannot move while we hold the lock; the consent ledger and the stops can: a click on unsubscribe, a login
    heard by a webhook, another process. They are read anew for every batch.
    """

    def __init__(self, workspace: Workspace, records: Records) -> None:
        self._workspace = workspace
        self._records = records
        self._became = became(workspace, tuple(destination_systems(workspace).values()))

    def __call__(self, row_ids: Sequence[str]) -> Mapping[str, str]:
        """Of these records, those that may not be contacted by what we know now, with the reason."""
        # The ledger and the stops speak of people; the record's own flags are asked under its own id.
        people = {row_id: self._records.contact_id(row_id) for row_id in row_ids}
        own = {f"{self._records.prefix}{row_id}": row_id for row_id in row_ids}
        states = self._workspace.journal.consent.states_of(list(people.values()), self._became)
        now = self._workspace.clock.now()
        blocked: dict[str, str] = {}
        rows = self._workspace.warehouse.flags(list(own))
        for contact_id in self._suppressed(rows):
            blocked[own[contact_id]] = "suppressed"
        for row in rows:
            row_id = own[row["contact_id"]]
            state = states.get(people[row_id])
            marks = {**row, "opted_out": row["opted_out_anywhere"]}
            reason = plain_reason(marks if state is None else _without_lifted(marks, state))
            if reason is not None:
                blocked[row_id] = reason
        stops = self._workspace.journal.stops.of(list(people.values()))
        for row_id, contact_id in people.items():
            said = ledger_reason(states[contact_id], now) if contact_id in states else None
            said = said or (stops[contact_id][0] if contact_id in stops else None)
            if said is not None:
                blocked.setdefault(row_id, said)
        return blocked

    def _suppressed(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Those whose address is on the suppression list by now."""
        from connector.program.suppression import address_key, entry_of

        if not self._workspace.playbook.programs:
            return []
        pepper = self._workspace.suppression_key()
        keys = {address_key(row["email"], pepper): row["contact_id"] for row in rows if row["email"]}
        states = self._workspace.journal.consent.states_of(list(keys))
        return [keys[key] for key, state in states.items() if entry_of(key, state) is not None]


def _without_lifted(marks: Mapping[str, Any], state: ConsentState) -> Mapping[str, Any]:
    """The marks without mail events that the person took back later, explicitly and with evidence."""
    mails = ("engaged_unsubscribed_at", "engaged_complained_at")
    lifted = {name: None for name in mails if marks.get(name) is not None and not stands(marks[name], state)}
    return {**marks, **lifted}


def ledger_reason(state: ConsentState, now: datetime) -> str | None:
    """Why somebody may not be contacted by what the consent ledger says; None if it does not forbid it."""
    if state.erased_at is not None:
        return "erased"
    if state.opted_out_at is not None:
        return "opted_out"
    if state.complained_at is not None:
        return "complained"
    if state.bounced_at is not None:
        return "bounced"
    if state.legal_hold:
        return "legal_hold"
    return "snoozed" if state.snoozed_until is not None and state.snoozed_until > now else None

"""Notes and tasks of the account, and the contacts they hang on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.hubspot.sandbox.answers import iso

NOTES, TASKS = "notes", "tasks"
KNOWN: Final = {
    NOTES: frozenset({"hs_timestamp", "hs_note_body", "hubspot_owner_id", "hs_attachment_ids"}),
    TASKS: frozenset(
        {
            *("hs_timestamp", "hs_task_subject", "hs_task_body", "hs_task_status", "hs_task_type", "hs_task_priority"),
            *("hubspot_owner_id", "hs_task_reminders"),
        }
    ),
}
FIRST_ID: Final = 900_001


@dataclass(frozen=True, slots=True)
class Engagement:
    """One note or task."""

    id: str
    kind: str
    properties: Mapping[str, str]
    contacts: tuple[str, ...]
    created_ms: int

    def body(self, names: tuple[str, ...]) -> dict[str, Any]:
        """The record as the vendor writes it."""
        shown = {name: self.properties.get(name) for name in names if name in KNOWN[self.kind]}
        at = iso(self.created_ms)
        own = {"hs_object_id": self.id, "hs_createdate": at, "hs_lastmodifieddate": at}
        return {"id": self.id, "properties": {**shown, **own}, "createdAt": at, "updatedAt": at, "archived": False}


@dataclass(slots=True)
class EngagementStore:
    """All notes and tasks of the account, in the order in which they were made."""

    made: dict[str, Engagement] = field(default_factory=dict)

    def add(self, kind: str, properties: Mapping[str, str], contacts: tuple[str, ...], *, now_ms: int) -> Engagement:
        """Make one."""
        number = str(FIRST_ID + len(self.made))
        self.made[number] = Engagement(number, kind, dict(properties), contacts, now_ms)
        return self.made[number]

    def of(self, kind: str, contact_id: str | None = None) -> list[Engagement]:
        """Those of this kind, or those that hang on one contact."""
        return [e for e in self.made.values() if e.kind == kind and (contact_id is None or contact_id in e.contacts)]

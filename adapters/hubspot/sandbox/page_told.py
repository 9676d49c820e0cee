"""The page's part on what apps told the CRM and what they are asked: notes, tasks, contacts that wait for an answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import unescape
from typing import Any

from adapters.hubspot.sandbox.engagements import NOTES, TASKS, Engagement
from adapters.hubspot.sandbox.state import State

SHOWN = 25
_BREAKS = re.compile(r"</p>|<br */?>")
_TAGS = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True)
class NoteView:
    """One note or task."""

    at: str
    contact_id: str
    contact: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class WaitView:
    """One contact at an action of an app."""

    contact_id: str
    contact: str
    action: str
    state: str
    until: str


def told_view(state: State, name_of: Callable[[str], str]) -> dict[str, Any]:
    """What the template needs; `name_of` gives a contact's name."""
    told = [*state.engagements.of(NOTES), *state.engagements.of(TASKS)]
    newest = sorted(told, key=lambda one: int(one.id), reverse=True)[:SHOWN]
    waiting = state.calls.waiting()
    return {
        "notes": [_note(one, name_of) for one in newest],
        "notes_total": len(told),
        "asked": [
            WaitView(
                call.enrollment.contact_id,
                name_of(call.enrollment.contact_id),
                call.definition.name,
                call.state,
                _moment(call.due_ms),
            )
            for call in waiting[:SHOWN]
        ],
        "asked_total": len(waiting),
    }


def _note(one: Engagement, name_of: Callable[[str], str]) -> NoteView:
    contact_id = next(iter(one.contacts), "")
    subject = one.properties.get("hs_task_subject", "")
    text = _plain(one.properties.get("hs_note_body") or one.properties.get("hs_task_body") or "")
    return NoteView(
        _moment(one.created_ms),
        contact_id,
        name_of(contact_id) if contact_id else "",
        "task" if one.kind == TASKS else "note",
        f"{subject}: {text}" if subject else text,
    )


def _plain(body: str) -> str:
    """The text of a body, without its tags."""
    return " · ".join(part for line in _BREAKS.split(body) if (part := unescape(_TAGS.sub("", line)).strip()))


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"

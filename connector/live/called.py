"""A call of a CRM's workflow, as an event of the inbox: written by the web process, read back by the drain.

It is in our own words already, so no receiver has to understand it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from connector.errors import MalformedPayload
from connector.heard import Asked, Who
from connector.receivers import Call, Event

PREFIX: Final = "call."
"""Kinds of such events begin with it: `call.enroll`."""

_MOST_DAYS: Final = 3_650


def is_call(kind: str) -> bool:
    """Whether an event of this kind is such a call."""
    return kind.startswith(PREFIX)


def event_of(call: Call, at: datetime, *, waits: bool) -> Event:
    """The event to keep; only a workflow that waits is told later how it ended.

    Raises:
        MalformedPayload: `days` is no number of days.
    """
    payload: dict[str, Any] = {
        "who": {"token": call.who.token, "record": call.who.record, "external_id": call.who.external_id},
        "action": call.action,
        "program": call.inputs.get("program") or None,
        "days": _days(call.inputs),
        "callback": call.callback if waits else None,
    }
    return Event(key=f"{PREFIX}{call.key}", kind=f"{PREFIX}{call.action}", payload=payload, at=at)


def asked(source: str, event: Event, received_at: datetime) -> Asked:
    """What is asked for, from the event as it was kept."""
    payload: Mapping[str, Any] = event.payload
    days = payload["days"]
    return Asked(
        who=Who(**payload["who"]),
        at=event.at or received_at,
        action=payload["action"],
        key=event.key,
        source=source,
        program=payload["program"],
        lasts=None if days is None else timedelta(days=days),
        callback=payload["callback"],
        evidence={"by": f"a workflow of {source}"},
    )


def _days(inputs: Mapping[str, str]) -> int | None:
    text = inputs.get("days", "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= _MOST_DAYS:
        raise MalformedPayload(f"days: a whole number from 1 to {_MOST_DAYS} is needed")
    return int(text)

"""A HubSpot sandbox whose contacts have had mail: what the contract suite reads as mail events."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adapters.hubspot.sandbox.seeding import put_raw
from tests.fakes.hubspot_worlds import START, HubSpotWorld

SENT = START - timedelta(days=20)
ANSWERS = {"open": 1, "click": 2, "reply": 3}
"""Who did what with the mail: the contacts whose number has this remainder by five."""


def moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event_id(row_id: str, kind: str, at: datetime) -> str:
    return f"{row_id}:{kind}:{at:%Y-%m-%dT%H:%M}"


class MailWorld(HubSpotWorld):
    """Half of the contacts got a mail, each at a minute of its own; some opened, clicked or replied an hour later."""

    key = "event_id"

    def __init__(self, work_dir: Path, *, contacts: int, **options):
        options.setdefault("streams", ("contacts", "email_events"))
        super().__init__(work_dir, contacts=contacts, stream="email_events", **options)
        self.told: set[str] = set()
        self._later = itertools.count(1)
        mailed = [row_id for row_id in self.state.contacts.live if int(row_id) % 2 == 0]
        for row_id in mailed:
            sent = SENT + timedelta(minutes=int(row_id))
            values = {"hs_email_last_send_date": moment(sent), "hs_email_last_email_name": "Reminder"}
            self.told.add(event_id(row_id, "delivered", sent))
            if self.state.contacts.live[row_id].properties.get("hs_email_optout") == "true":
                self.told.add(event_id(row_id, "unsubscribe", sent))
            for kind, rest in ANSWERS.items():
                if int(row_id) % 5 == rest:
                    self.told.add(event_id(row_id, kind, sent + timedelta(hours=1)))
                    values[f"hs_email_last_{kind}_date"] = moment(sent + timedelta(hours=1))
            self.note(row_id, values)
        # All of that is history too.
        self.pass_time(3600)

    def note(self, row_id: str, values: Mapping[str, str]) -> None:
        """HubSpot itself writes properties that nobody else may."""
        put_raw(self.state, "contacts", [{"id": row_id, "properties": values}])

    def keys(self) -> set[str]:
        return set(self.told)

    def change(self) -> set[str]:
        """Some of those mailed click, each later than anything before."""
        mailed = sorted({told.partition(":")[0] for told in self.told})
        clicked = mailed[: max(3, len(mailed) // 3)]
        at = self.clock.now()
        fresh = {event_id(row_id, "click", at) for row_id in clicked}
        for row_id in clicked:
            self.note(row_id, {"hs_email_last_click_date": moment(at)})
        self.told |= fresh
        self.pass_time(600)
        return fresh

    def delete(self) -> set[str]:
        return set()

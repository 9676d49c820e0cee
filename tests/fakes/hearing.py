"""A journal between runs, with people in a program, and the ear that hears about them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

from connector.heard import Heard, Who
from connector.journal import Journal
from connector.journal.inbox import Kept
from connector.journal.settlement import Settlement
from connector.links import LinkMaker
from connector.live.about import Rules, Told
from connector.live.hearing import Hearing
from connector.live.people import Finder, IdentityKeys
from connector.program.model import HOLDOUT, Entry, Episode, Program
from connector.receivers import ReceiverOptions
from connector.rules.conditions import parse_usage
from tests.fakes.clocks import VirtualClock
from tests.fakes.program_people import episode, program

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ENTERED = NOW - timedelta(days=10)
SYSTEM = "hubspot"
ANN, HELD, QUIET = "hubspot:1", "hubspot:2", "hubspot:3"
"""In the program; in its holdout; known and in nothing."""

KEYS = IdentityKeys(hashlib.sha256(b"ids").digest(), hashlib.sha256(b"addresses").digest())
LINKS = LinkMaker(
    "https://links.example.com",
    keys=[hashlib.sha256(b"links").digest()],
    subject_key=hashlib.sha256(b"subjects").digest(),
)


def address(contact_id: str) -> str:
    return f"person{contact_id.partition(':')[2]}@example.com"


def external_id(contact_id: str) -> str:
    return f"user-{contact_id.partition(':')[2]}"


def rules(*programs: Program, **said: Any) -> Rules:
    """The playbook's part: the program of the design, unless others are given."""
    return Rules(
        **{
            "programs": programs or (program(),),
            "counts": parse_usage("feature <> 'status_page'"),
            "zone": ZoneInfo("Europe/Amsterdam"),
            "system": SYSTEM,
            "surveys": {"survey": ReceiverOptions()},
            "flags": {SYSTEM: {"optout": "opted_out", "hard_bounce": "bounced"}},
            **said,
        }
    )


@dataclass
class Ear:
    """An installation between two runs: events are put to it one by one, and its books can be looked at."""

    rules: Rules = field(default_factory=rules)
    people: Mapping[str, Sequence[Episode]] = field(
        default_factory=lambda: {
            ANN: [entered(ANN)],
            HELD: [entered(HELD, arm=HOLDOUT)],
            QUIET: [],
        }
    )
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(NOW))
    url: str = "sqlite:///:memory:"
    numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.journal = Journal.open(self.url, clock=self.clock)
        finder = Finder(self.journal.known, self.journal.links, KEYS, links=LINKS, system=SYSTEM)
        self.hearing = Hearing(self.journal, finder, self.rules, self.clock)
        for contact_id, episodes in self.people.items():
            self.journal.episodes.enter([Entry(one) for one in episodes], run_id="run-1")
            self.journal.links.remember({LINKS.subject(contact_id): contact_id})
        self.journal.known.publish(
            row
            for contact_id in self.people
            for row in (
                ("email", KEYS.email(address(contact_id)), contact_id),
                ("external_id", KEYS.external_id(external_id(contact_id)), contact_id),
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()

    def hear(
        self, *heard: Heard, source: str = "source", key: str | None = None, inbox: bool = True
    ) -> Settlement | None:
        """Tell it something, as one delivery; the same once more is a replay. Without the inbox it is a link's POST."""
        key = key or repr(heard)
        number = self._received(source, key) if inbox else None
        if inbox and number is None:
            return None
        told = Told(source=source, key=key, received_at=self.clock.now(), number=number)
        return self.hearing.hear(heard, told)

    def _received(self, source: str, key: str) -> int | None:
        """The delivery's number in the inbox, where it waits; None for one that was heard before and is forgotten."""
        now = self.clock.now()
        event = Kept(source=source, key=key, kind="test", payload="{}", received_at=now, request_id="r")
        if not any(self.journal.inbox.keep([event])) and not self.journal.inbox.replay(numbers=[self.numbers[key]]):
            return None
        (row,) = self.journal.inbox.claim(1, lease_seconds=60, owner="test")
        return self.numbers.setdefault(key, row.number)

    def episode(self, contact_id: str = ANN) -> Episode:
        """The contact's newest."""
        return self.journal.episodes.of(contact_id)[0]

    def intents(self, contact_id: str | None = ANN) -> list[tuple[str, dict[str, Any]]]:
        """What waits to be written about somebody, in order: kind and payload."""
        rows = self.journal.outbox.recent(1000, contact_id=contact_id, state="waiting")
        return [(row.kind, dict(row.payload)) for row in sorted(rows, key=lambda row: row.number)]


def entered(contact_id: str, **values: Any) -> Episode:
    """An episode that began ten days ago."""
    one = episode(contact_id, entered_at=ENTERED, **values)
    return replace(one, outcome_until=ENTERED + timedelta(days=90))


def token_of(contact_id: str) -> str:
    """What came with the mail, for a survey's hidden field."""
    return LINKS.token("survey", contact_id, "win-back/feedback", now=ENTERED)


def by_user(contact_id: str = ANN) -> Who:
    return Who(external_id=external_id(contact_id))


def by_mail(contact_id: str = ANN) -> Who:
    return Who(email=address(contact_id))


def at(days: float) -> datetime:
    """So many days after entry."""
    return ENTERED + timedelta(days=days)

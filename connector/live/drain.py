"""The drain: takes what the inbox holds, asks the receiver what it means, and settles what follows from it.

Events are taken in the order in which they happened. One that fails is tried again later and does not hold up the
others; one that keeps failing is set aside with its reason, for a person to look at and to replay.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from connector.contracts import Clock
from connector.errors import MalformedPayload, StateError, WinbackError
from connector.heard import Heard
from connector.live.about import Told
from connector.live.called import asked, is_call
from connector.live.hearing import Hearing
from connector.receivers import Event, Receiver, ReceiverOptions
from connector.redact import redact

if TYPE_CHECKING:
    from connector.journal import Journal
    from connector.journal.inbox import InboxRow
    from connector.journal.settlement import Settlement

Receivers = Mapping[str, tuple[Receiver, ReceiverOptions]]
"""The sources of the playbook: name → how it is understood, and its options."""

BATCH = 100
LEASE_SECONDS = 60.0
"""How long one worker may take over a batch; one that was killed has its events taken up after that."""

ATTEMPTS = 5
_FIRST_PAUSE = timedelta(seconds=10)
_LONGEST_REASON = 300
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Drained:
    """What became of the events that were taken: settled, meant nothing, given up for now, put off, or lost to others.

    effects: How often each thing was done; no personal data.
    """

    done: int = 0
    ignored: int = 0
    set_aside: int = 0
    later: int = 0
    others: int = 0
    effects: Mapping[str, int] | None = None

    @property
    def taken(self) -> int:
        """All of them."""
        return self.done + self.ignored + self.set_aside + self.later + self.others


class Drain:
    """Drains the inbox of one journal.

    Args:
        journal: Its inbox.
        receivers: The sources of the playbook.
        hearing: Judges and settles.
        clock: When something is tried again.
        owner: Who we are, for the lease.
    """

    def __init__(self, journal: Journal, receivers: Receivers, hearing: Hearing, *, clock: Clock, owner: str) -> None:
        self._inbox = journal.inbox
        self._settlements = journal.settlement
        self._receivers = receivers
        self._hearing = hearing
        self._clock = clock
        self._owner = owner

    def __call__(self, limit: int = BATCH) -> Drained:
        """Take at most so many events that wait, and settle them; StateError when the journal itself fails."""
        counts: Counter[str] = Counter()
        effects: Counter[str] = Counter()
        for state, effect in self._ended(self._inbox.claim(limit, lease_seconds=LEASE_SECONDS, owner=self._owner)):
            counts[state] += 1
            effects[effect] += 1
        return Drained(
            counts["done"], counts["ignored"], counts["set_aside"], counts["later"], counts["others"], dict(effects)
        )

    def _ended(self, rows: Iterable[InboxRow]) -> Iterator[tuple[str, str]]:
        """How each event ended, and what it did; those that only tell facts are settled together."""
        held: list[Settlement] = []
        about: set[str | None] = set()
        for row in rows:
            facts = self._only_facts(row)
            if facts is not None and (facts.contact_id is None or facts.contact_id not in about):
                held.append(facts)
                about.add(facts.contact_id)
                continue
            # What was held may be what makes a sign of this one: it is told first, and this one judged by itself.
            yield from self._tell(held)
            held, about = [], set()
            yield self._one(row)
        yield from self._tell(held)

    def _only_facts(self, row: InboxRow) -> Settlement | None:
        """What follows from an event that does no more than tell facts; None: look at it by itself."""
        if row.payload is None or is_call(row.kind) or row.source not in self._receivers:
            return None
        try:
            settlement, erased = self._hearing.judged(self._understood(row), _told(row))
        except StateError:
            raise
        except Exception:  # noqa: BLE001  # it is looked at by itself, and then told what went wrong
            return None
        return settlement if settlement.only_facts and not erased else None

    def _tell(self, held: Sequence[Settlement]) -> Iterator[tuple[str, str]]:
        if held:
            for settlement, ours in zip(held, self._settlements.settle_facts(held), strict=True):
                yield _end(settlement if ours else None)

    def _one(self, row: InboxRow) -> tuple[str, str]:
        """One event by itself: how it ended, and what it did."""
        if row.payload is None:
            return self._set_aside(row, "what came with it is gone: it was kept for long enough, or erased")
        if not is_call(row.kind) and row.source not in self._receivers:
            return self._set_aside(row, f"no source {row.source!r} in the playbook: add it under webhooks.sources")
        try:
            settlement = self._hearing.hear(self._understood(row), _told(row))
        except StateError:
            # The journal: nothing can be noted anywhere, and the lease runs out by itself.
            raise
        except Exception as fault:  # noqa: BLE001  # whatever one event makes go wrong, the others go on
            return self._failed(row, fault)
        return _end(settlement)

    def _understood(self, row: InboxRow) -> Sequence[Heard]:
        """What an event means, in our words."""
        event = Event(key=row.key, kind=row.kind, payload=row.payload, at=row.at)
        if is_call(row.kind):
            return [asked(row.source, event, row.received_at)]
        receiver, options = self._receivers[row.source]
        return receiver.understand(options, event)

    def _failed(self, row: InboxRow, fault: Exception) -> tuple[str, str]:
        reason = told_of(fault)
        if isinstance(fault, MalformedPayload) or row.attempts >= ATTEMPTS:
            return self._set_aside(row, reason)
        pause = _FIRST_PAUSE * 4 ** (row.attempts - 1)
        self._inbox.later(row.number, reason, self._clock.now() + pause, owner=self._owner)
        return "later", reason

    def _set_aside(self, row: InboxRow, reason: str) -> tuple[str, str]:
        self._inbox.set_aside(row.number, reason, owner=self._owner)
        return "set_aside", reason


def _told(row: InboxRow) -> Told:
    return Told(source=row.source, key=row.key, received_at=row.received_at, number=row.number)


def _end(settlement: Settlement | None) -> tuple[str, str]:
    return ("others", "settled by another worker") if settlement is None else (settlement.state, settlement.effect)


def told_of(fault: BaseException) -> str:
    """What went wrong, without a word of what came in: an error of ours in its words, any other by kind and place."""
    if isinstance(fault, WinbackError):
        return redact(str(fault))[:_LONGEST_REASON]
    ours = [
        f"{Path(frame.filename).resolve().relative_to(_ROOT)}:{frame.lineno}"
        for frame in traceback.extract_tb(fault.__traceback__)
        if Path(frame.filename).resolve().is_relative_to(_ROOT) and "site-packages" not in frame.filename
    ]
    return f"{type(fault).__name__} in {ours[-1]}" if ours else type(fault).__name__

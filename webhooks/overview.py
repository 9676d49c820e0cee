"""What the first page and the inbox show: how much waits where, since when, and what was refused; from the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Final

from connector.journal.inbox import STATES
from connector.journal.waiting import SET_ASIDE, WAITING
from webhooks import counting

if TYPE_CHECKING:
    from connector.journal.outbox import OutboxRow
    from webhooks.service import Service

PROMISED: Final = timedelta(minutes=15)
"""How soon the CRM hears of an opt-out while it is up (C-5)."""

SHOWN_FOR: Final = timedelta(days=30)
_ASKING: Final = "backfill"
_HELD_UP: Final = 5

NOT_REFUSED: Final = frozenset({counting.ACCEPTED, counting.DUPLICATE, counting.IGNORED, "looked"})

REFUSED: Final[Mapping[str, str]] = {
    counting.UNLISTED: "the playbook lists no such source",
    counting.NOT_CONFIGURED: "there is no secret to check it with",
    counting.BAD_SIGNATURE: "nobody vouches for it: a wrong signature, secret or token",
    counting.MALFORMED: "it cannot be read",
    counting.TOO_LARGE: "it is too large",
    counting.BUSY: "too much waited; it was told to come back",
    counting.FAILED: "something of ours did not work; it was told to come back",
}


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One source: how many of its events are in which state, and when it was last heard and asked."""

    name: str
    title: str
    counts: Mapping[str, int]
    heard_at: datetime | None
    asked_at: datetime | None


@dataclass(frozen=True, slots=True)
class OptOuts:
    """How soon the CRM heard of opt-outs. `late`: later than we promise; `oldest`: of those it has not heard of yet."""

    told: int
    late: int
    middle: timedelta | None
    longest: timedelta | None
    oldest: timedelta | None


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything on the first page."""

    sources: Sequence[SourceLine]
    waiting: int
    oldest: timedelta | None
    set_aside: int
    outbox: Mapping[str, Mapping[str, int]]
    outbox_waiting: int
    outbox_oldest: timedelta | None
    held_up: Sequence[OutboxRow]
    opt_outs: OptOuts
    refused: Sequence[tuple[str, str, int]]
    worker: bool


def overview(service: Service) -> Overview:
    """How things stand now."""
    journal, now = service.journal, service.clock.now()
    outbox = journal.outbox
    sources = _sources(service)
    # Of what waits, what was tried and did not go through yet.
    held_up = [row for row in outbox.recent(500, state=WAITING) if row.reason is not None]
    return Overview(
        sources=sources,
        waiting=journal.inbox.depth(),
        oldest=_age(journal.inbox.oldest_waiting(), now),
        set_aside=sum(line.counts[SET_ASIDE] for line in sources),
        outbox=dict(sorted(outbox.counts().items())),
        outbox_waiting=outbox.depth(),
        outbox_oldest=_age(outbox.oldest_waiting(), now),
        held_up=held_up[:_HELD_UP],
        opt_outs=_opt_outs(outbox.propagated(now - SHOWN_FOR), _age(outbox.oldest_waiting(urgent=True), now)),
        refused=refusals(service),
        worker=service.worker_alive(),
    )


def refusals(service: Service) -> list[tuple[str, str, int]]:
    """Requests that this process refused since it started: source, why, how many."""
    found = []
    for metric in service.counting.requests.collect():
        for sample in metric.samples:
            verdict = sample.labels.get("verdict", "")
            if sample.name.endswith("_total") and sample.value and verdict not in NOT_REFUSED:
                found.append((sample.labels["source"], REFUSED.get(verdict, verdict), int(sample.value)))
    return sorted(found)


def source_names(service: Service) -> list[str]:
    """Sources of the playbook, and all that ever sent anything."""
    return sorted({*service.sources, *service.journal.inbox.counts()})


def _sources(service: Service) -> list[SourceLine]:
    journal = service.journal
    counts, heard = journal.inbox.counts(), journal.inbox.last_heard()
    found = []
    for name in source_names(service):
        listening = service.sources.get(name)
        mine: Mapping[str, int] = counts.get(name, {})
        found.append(
            SourceLine(
                name=name,
                title=listening.receiver.title if listening is not None else name,
                counts={state: mine.get(state, 0) for state in STATES},
                heard_at=heard.get(name),
                asked_at=_asked_at(service, name),
            )
        )
    return found


def _asked_at(service: Service, name: str) -> datetime | None:
    cursor = service.journal.cursors.load(f"webhooks.{name}", _ASKING)
    asked = cursor.get("asked") if cursor is not None else None
    return datetime.fromisoformat(asked) if isinstance(asked, str) else None


def _opt_outs(seconds: Sequence[float], oldest: timedelta | None) -> OptOuts:
    return OptOuts(
        told=len(seconds),
        late=sum(one > PROMISED.total_seconds() for one in seconds),
        middle=timedelta(seconds=median(seconds)) if seconds else None,
        longest=timedelta(seconds=max(seconds)) if seconds else None,
        oldest=oldest,
    )


def _age(since: datetime | None, now: datetime) -> timedelta | None:
    return None if since is None else max(timedelta(0), now - since)

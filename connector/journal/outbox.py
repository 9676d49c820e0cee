"""The outbox: what is to be written or said outside, committed with the reason for it, carried out by the relay.

waiting ──▶ done        the run that did it is noted
   │  ▲
   ▼  └── replay
set_aside               somebody has to look at it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from connector.journal.engine import Database, leave_taken
from connector.journal.live_tables import outbox
from connector.journal.waiting import DONE, WAITING, WaitingRows

IN_ORDER = frozenset({"leave", "opt_out", "set", "feedback", "task"})
"""Kinds that write to the CRM: of one contact they are done in the order in which they were added, urgent ones first.

The others (`complete`, `tell`, `fetch`) go to somebody else: nothing waits for them and they wait for nothing.
"""

KINDS = IN_ORDER | {"complete", "tell", "fetch"}

_CHUNK = 500
_CLAIMING = "outbox"
_URGENT, _IN_TIME = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """Something to be done outside. `key` makes it be done once, however often it is meant.

    Payload by kind: leave {"reason", "of": "program"|"everything"} · opt_out {} · set {"values"} · feedback {"reason",
    "survey", "score", "at"} · complete {"callback", "fields"} · tell {"channel", "text"} · task {"reason", "text"} ·
    fetch {"source", "survey", "responses"}.

    destination: The one it is for; None: wherever the relay writes. Order is kept among those that say the same.
    """

    key: str
    kind: str
    payload: Mapping[str, Any]
    contact_id: str | None = None
    urgent: bool = False
    destination: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow(Intent):
    """An intent of the outbox, and what became of it. attempts: How often a worker took it."""

    number: int
    state: str
    attempts: int
    added_at: datetime
    due_at: datetime | None
    reason: str | None
    run_id: str | None
    done_at: datetime | None


class Outbox:
    """The intents of this install."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = WaitingRows(database, outbox, (outbox.c.turn, outbox.c.number))

    def add(self, intents: Sequence[Intent]) -> int:
        """Keep these intents in one commit and return how many are new; one whose key is known is left as it is."""
        with self._database.write() as connection:
            return add_intents(self._database, connection, intents)

    # --- work ---------------------------------------------------------------------------------------------------

    def claim(
        self,
        limit: int,
        *,
        owner: str,
        lease_seconds: float,
        kinds: Collection[str] | None = None,
        destinations: Collection[str | None] | None = None,
    ) -> list[OutboxRow]:
        """Lease intents that are due to this worker: urgent ones first, else in the order they were added.

        An intent of IN_ORDER waits while an earlier one of its contact and destination does, unless it is urgent and
        that one is not. Several of one contact may come at once, in the order to do them in: who puts one off does not
        do those behind it.

        destinations: Only those that say one of these; None among them: those that name none.
        """
        chosen: list[sa.ColumnElement[bool]] = [] if kinds is None else [outbox.c.kind.in_(sorted(kinds))]
        if destinations is not None:
            named = outbox.c.destination.in_(sorted(name for name in destinations if name is not None))
            chosen.append(sa.or_(named, outbox.c.destination.is_(None)) if None in destinations else named)
        with self._database.write() as connection:
            # Two workers that choose at once could each take a part of what belongs together.
            self._database.in_turn(connection, _CLAIMING)
            chosen.append(~self._held_up(connection, kinds))
            rows = self._rows.lease(connection, limit, *chosen, owner=owner, lease_seconds=lease_seconds)
        return [_row(row) for row in rows]

    def done(self, numbers: Collection[int], *, run_id: str) -> int:
        """Note that this run carried these intents out; how many were still waiting."""
        with self._database.write() as connection:
            return self._rows.end(connection, numbers, {"state": DONE, "run_id": run_id})

    def later(self, number: int, reason: str, at: datetime, *, owner: str | None = None) -> bool:
        """Put a waiting intent off until `at`; False when it does not wait, or another than `owner` has leased it."""
        return self._rows.later(number, reason, at, owner=owner)

    def set_aside(self, number: int, reason: str, *, owner: str | None = None) -> bool:
        """Give an intent up for a person to look at; False when it does not wait, or is not `owner`'s any more."""
        return self._rows.set_aside(number, reason, owner=owner)

    def replay(self, numbers: Collection[int]) -> int:
        """Let ended intents wait again; returns how many."""
        afresh = dict.fromkeys(("due_at", "owner", "leased_until", "reason", "run_id", "done_at"))
        ended = sa.update(outbox).where(outbox.c.number.in_(sorted(numbers)), outbox.c.state != WAITING)
        with self._database.write() as connection:
            return connection.execute(ended.values(state=WAITING, attempts=0, **afresh)).rowcount

    # --- looking ------------------------------------------------------------------------------------------------

    def recent(self, limit: int = 20, *, contact_id: str | None = None, state: str | None = None) -> list[OutboxRow]:
        """The newest intents, newest first."""
        query = sa.select(outbox).order_by(outbox.c.number.desc()).limit(limit)
        if contact_id is not None:
            query = query.where(outbox.c.contact_id == contact_id)
        if state is not None:
            query = query.where(outbox.c.state == state)
        with self._database.read() as connection:
            return [_row(row) for row in connection.execute(query)]

    def counts(self) -> dict[str, Counter[str]]:
        """How many intents there are, by kind and by state."""
        return self._rows.counts(outbox.c.kind)

    def depth(self) -> int:
        """How many intents wait."""
        return self._rows.depth()

    def oldest_waiting(self, *, urgent: bool = False) -> datetime | None:
        """When the intent (the urgent one) that has waited longest was added; None when none waits."""
        return self._rows.earliest(outbox.c.added_at, *([outbox.c.turn == _URGENT] if urgent else []))

    def propagated(self, since: datetime) -> list[float]:
        """Seconds from the word to the CRM, of each opt-out that reached it from this moment on."""
        query = sa.select(outbox.c.added_at, outbox.c.done_at).where(
            outbox.c.state == DONE, outbox.c.done_at >= since, outbox.c.kind == "opt_out"
        )
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(outbox.c.number)).all()
        return [(done_at - added_at).total_seconds() for added_at, done_at in rows]

    # --- forgetting ---------------------------------------------------------------------------------------------

    def purge(self, before: datetime) -> int:
        """Forget intents that ended before this moment; returns how many. What waits stays.

        An event that is replayed after its intents were forgotten does them again: payloads go first.
        """
        old = sa.delete(outbox).where(outbox.c.state != WAITING, outbox.c.done_at < before)
        with self._database.write() as connection:
            return connection.execute(old).rowcount

    def forget(self, contact_id: str) -> int:
        """Drop what was said in intents about this contact that ended, and about whom; returns how many.

        What waits stays: to take somebody off every list is a part of forgetting them.
        """
        ended = sa.update(outbox).where(outbox.c.contact_id == contact_id, outbox.c.state != WAITING)
        with self._database.write() as connection:
            return connection.execute(ended.values(payload={}, contact_id=None, reason=None)).rowcount

    def _held_up(self, connection: sa.Connection, kinds: Collection[str] | None) -> sa.ColumnElement[bool]:
        """Whether an earlier intent of the same contact and destination waits that this claim does not take along."""
        earlier, row = outbox.alias("earlier"), outbox.c
        other = earlier.c
        first = sa.or_(other.turn < row.turn, sa.and_(other.turn == row.turn, other.number < row.number))
        taken_along = self._rows.free(connection, earlier)
        if kinds is not None:
            taken_along = sa.and_(taken_along, other.kind.in_(sorted(kinds)))
        return sa.and_(
            row.in_order,
            sa.exists().where(
                sa.text("earlier.state = 'waiting'"),
                other.contact_id == row.contact_id,
                other.in_order,
                first,
                other.destination.is_not_distinct_from(row.destination),
                ~taken_along,
            ),
        )


def add_intents(database: Database, connection: sa.Connection, intents: Sequence[Intent]) -> int:
    """Keep these intents, in the caller's transaction; how many are new."""
    now = database.clock.now()
    rows = [_line(intent, now) for intent in intents]
    return connection.execute(leave_taken(database.insert(outbox)), rows).rowcount if rows else 0


def _line(intent: Intent, now: datetime) -> dict[str, Any]:
    if intent.kind not in KINDS:
        raise ValueError(f"intent {intent.key}: there is no kind '{intent.kind}'")
    return {
        "intent_key": intent.key,
        "kind": intent.kind,
        "payload": dict(intent.payload),
        "contact_id": intent.contact_id,
        "destination": intent.destination,
        "turn": _URGENT if intent.urgent else _IN_TIME,
        "in_order": intent.kind in IN_ORDER and intent.contact_id is not None,
        "state": WAITING,
        "attempts": 0,
        "added_at": now,
    }


def _row(row: sa.Row[Any]) -> OutboxRow:
    return OutboxRow(
        key=row.intent_key,
        kind=row.kind,
        payload=row.payload,
        contact_id=row.contact_id,
        urgent=row.turn == _URGENT,
        destination=row.destination,
        number=row.number,
        state=row.state,
        attempts=row.attempts,
        added_at=row.added_at,
        due_at=row.due_at,
        reason=row.reason,
        run_id=row.run_id,
        done_at=row.done_at,
    )

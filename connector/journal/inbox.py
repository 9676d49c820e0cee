"""The inbox: every event we were told of, stored once before anybody is told that it arrived, settled once after.

    waiting ──▶ done, ignored      by `journal.settlement.settle`, with all that follows from it, in one commit
       │  ▲
       ▼  └─── replay
    set_aside                      somebody has to look at it

A key is remembered longer than what came with it: the payload goes after `webhooks.inbox.keep`, the key when its
source can no longer send the event again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from connector.journal.engine import Database, leave_taken
from connector.journal.live_tables import inbox
from connector.journal.many import ManyRows
from connector.journal.tables import keepable
from connector.journal.waiting import DONE, IGNORED, SET_ASIDE, WAITING, WaitingRows

STATES = (WAITING, DONE, IGNORED, SET_ASIDE)

_ORDER = (inbox.c.happened_at, inbox.c.number)

_LONGEST_KEY = 500
"""PostgreSQL cannot index a text much longer than 2,700 bytes; a vendor's longest key is far shorter than this."""

_COLUMNS = (
    "source", "event_key", "kind", "payload", "at", "received_at", "happened_at", "request_id", "state", "attempts"
)  # fmt: skip
"""What a line begins with."""

_MANY = ManyRows(inbox, _COLUMNS)
_NEWEST = "SELECT coalesce(max(number), 0) FROM inbox"

_Name: TypeAlias = tuple[str, str]
"""Source and key."""

_PART = 2_000
"""Lines changed at a time when many go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An event as it is kept.

    key: The source's own: a second event with the same one is the same event. kind: The vendor's name for it.
    payload: JSON text. at: When it happened, by the vendor; None when it does not say.
    """

    source: str
    key: str
    kind: str
    payload: str
    received_at: datetime
    request_id: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxRow:
    """An event of the inbox, and what became of it.

    payload: The JSON value; None once it was purged or forgotten. attempts: How often a worker took it.
    """

    number: int
    source: str
    key: str
    kind: str
    payload: Any
    at: datetime | None
    received_at: datetime
    request_id: str
    attempts: int
    state: str
    effect: str | None
    contact_id: str | None
    reason: str | None
    done_at: datetime | None


class Inbox:
    """The events of this install, of all sources together."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = WaitingRows(database, inbox, _ORDER)

    # --- what arrives -------------------------------------------------------------------------------------------

    def keep(self, events: Sequence[Kept]) -> list[bool]:
        """Store these events in one commit; for each, whether it is new. Once this returns, none is ever lost."""
        if not events:
            return []
        # In one order for everybody: two processes must not wait for each other.
        events_by_key = sorted({(event.source, _key(event.key)): event for event in reversed(events)}.items())
        new = (self._keep_sqlite if self._database.is_sqlite else self._keep_postgres)(events_by_key)
        seen: set[tuple[str, str]] = set()
        answers = []
        for event in events:
            key = event.source, _key(event.key)
            answers.append(key in new and key not in seen)
            seen.add(key)
        return answers

    def _keep_sqlite(self, events: Sequence[tuple[_Name, Kept]]) -> Collection[_Name]:
        """Insert what is not there; which events that was."""
        rows = [_MANY.stored(_line(key, event)) for (_, key), event in events]
        with self._database.write() as connection:
            # RETURNING is younger than the SQLite of systems that are still in use. Nobody else writes meanwhile.
            newest = connection.exec_driver_sql(_NEWEST).scalar_one()
            if _MANY.insert(connection, rows) == len(rows):
                return {name for name, _ in events}
            added = connection.execute(self._database.prepared(_added), {"newest": newest})
            return {(row.source, row.event_key) for row in added}

    def _keep_postgres(self, events: Sequence[tuple[_Name, Kept]]) -> Collection[_Name]:
        """The same."""
        returning = self._database.prepared(_insert_new).returning(inbox.c.source, inbox.c.event_key)
        with self._database.write() as connection:
            added = connection.execute(
                returning, [dict(zip(_COLUMNS, _line(key, event), strict=True)) for (_, key), event in events]
            )
            return {(row.source, row.event_key) for row in added}

    # --- work ---------------------------------------------------------------------------------------------------

    def claim(self, limit: int, *, lease_seconds: float, owner: str) -> list[InboxRow]:
        """Lease waiting events to this worker and return them, in the order in which they happened.

        They are nobody else's for so many seconds; if they are not settled, put off or set aside by then, they are
        anybody's again.
        """
        with self._database.write() as connection:
            rows = self._rows.lease(connection, limit, owner=owner, lease_seconds=lease_seconds)
        return [_row(row) for row in rows]

    def later(self, number: int, reason: str, at: datetime, *, owner: str | None = None) -> bool:
        """Put a waiting event off until `at`; False when it does not wait, or another than `owner` has leased it."""
        return self._rows.later(number, reason, at, owner=owner)

    def set_aside(self, number: int, reason: str, *, owner: str | None = None) -> bool:
        """Give an event up for a person to look at; False when it does not wait, or is not `owner`'s any more."""
        return self._rows.set_aside(number, reason, owner=owner)

    def replay(
        self, *, since: datetime | None = None, source: str | None = None, numbers: Collection[int] | None = None
    ) -> int:
        """Let ended events wait again, as if they had just come; returns how many.

        Only those whose payload is still there. since: Received at this moment or later. What an event does has keys
        of its own, so it is not done twice.
        """
        row = inbox.c
        chosen = [row.state != WAITING, row.payload.is_not(None)]
        if since is not None:
            chosen.append(row.received_at >= since)
        if source is not None:
            chosen.append(row.source == source)
        if numbers is not None:
            chosen.append(row.number.in_(sorted(numbers)))
        afresh = dict.fromkeys(("due_at", "owner", "leased_until", "effect", "reason", "done_at"))
        update = sa.update(inbox).where(*chosen).values(state=WAITING, attempts=0, **afresh)
        with self._database.write() as connection:
            return connection.execute(update).rowcount

    # --- looking ------------------------------------------------------------------------------------------------

    def get(self, number: int) -> InboxRow | None:
        """The event with this number, None if there is none."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(inbox).where(inbox.c.number == number)).one_or_none()
        return None if row is None else _row(row)

    def recent(self, limit: int = 20, *, source: str | None = None, state: str | None = None) -> list[InboxRow]:
        """The newest events, newest first; of one source, in one state, or all."""
        newest = sa.select(inbox).order_by(inbox.c.received_at.desc(), inbox.c.number.desc()).limit(limit)
        found: list[sa.Row[Any]] = []
        with self._database.read() as connection:
            for one in _sources(connection) if source is None else [source]:
                for how in STATES if state is None else [state]:
                    # Each is one look at the end of the index, however many events there are.
                    found += connection.execute(newest.where(*_those(one, how))).all()
        found.sort(key=lambda row: (row.received_at, row.number), reverse=True)
        return [_row(row) for row in found[:limit]]

    def of(self, contact_id: str) -> list[InboxRow]:
        """What was heard about this contact, newest first."""
        return self._select(sa.select(inbox).where(inbox.c.contact_id == contact_id).order_by(inbox.c.number.desc()))

    def counts(self) -> dict[str, Counter[str]]:
        """How many events there are, by source and by state."""
        return self._rows.counts(inbox.c.source)

    def depth(self) -> int:
        """How many events wait."""
        return self._rows.depth()

    def oldest_waiting(self) -> datetime | None:
        """When the event that has waited longest was received; None when none waits."""
        return self._rows.earliest(inbox.c.received_at)

    def last_heard(self) -> dict[str, datetime]:
        """When each source sent its newest event."""
        found: dict[str, datetime] = {}
        with self._database.read() as connection:
            for source in _sources(connection):
                newest = [
                    connection.execute(sa.select(sa.func.max(inbox.c.received_at)).where(*_those(source, state)))
                    for state in STATES
                ]
                found[source] = max(at for at in (row.scalar() for row in newest) if at is not None)
        return found

    # --- forgetting ---------------------------------------------------------------------------------------------

    def purge(self, before: datetime, *, keep_keys: Mapping[str, datetime]) -> int:
        """Drop the payloads of ended events received before this moment; returns how many.

        The line itself, and with it the key, goes when it was received before its source's own moment in `keep_keys`
        (for a source that is not named: `before`). What waits stays.
        """
        purged = 0
        with self._database.read() as connection:
            sources = _sources(connection)
        for source in sources:
            until = min(keep_keys.get(source, before), before)
            for state in (DONE, IGNORED, SET_ASIDE):
                ended = _those(source, state)
                with_payload = (*ended, inbox.c.received_at < before, inbox.c.payload.is_not(None))
                purged += self._in_parts(with_payload, sa.update(inbox).values(payload=None))
                self._in_parts((*ended, inbox.c.received_at < until), sa.delete(inbox))
        return purged

    def forget(self, contact_id: str) -> int:
        """Drop what was heard about this contact, and that it was about them; returns how many events it was.

        The keys stay: the same event, sent again, must not bring the person back.
        """
        mine = sa.update(inbox).where(inbox.c.contact_id == contact_id)
        with self._database.write() as connection:
            return connection.execute(mine.values(payload=None, contact_id=None, effect=None, reason=None)).rowcount

    def _in_parts(self, chosen: Sequence[sa.ColumnElement[bool]], change: sa.Update | sa.Delete) -> int:
        """Change the chosen lines so many at a time, that nobody who has an event to keep waits long; how many."""
        changed = 0
        while True:
            part = sa.select(inbox.c.number).where(*chosen).limit(_PART)
            with self._database.write() as connection:
                numbers = list(connection.execute(part).scalars())
                connection.execute(change.where(inbox.c.number.in_(numbers)))
            changed += len(numbers)
            if len(numbers) < _PART:
                return changed

    def _select(self, query: sa.Select[Any]) -> list[InboxRow]:
        with self._database.read() as connection:
            return [_row(row) for row in connection.execute(query)]


def _key(key: str) -> str:
    """The key as it is stored: as given, or shortened so that it stays one of a kind."""
    if len(key) <= _LONGEST_KEY:
        return keepable(key)
    return f"{keepable(key[:_LONGEST_KEY])}…{hashlib.sha256(key.encode(errors='surrogatepass')).hexdigest()}"


def _insert_new(database: Database) -> sqlite.Insert | postgresql.Insert:
    return leave_taken(database.insert(inbox))


def _added(_database: Database) -> sa.Select[tuple[str, str]]:
    return sa.select(inbox.c.source, inbox.c.event_key).where(inbox.c.number > sa.bindparam("newest"))


def _line(key: str, event: Kept) -> tuple[Any, ...]:
    """The values of `_COLUMNS`."""
    happened_at = event.at or event.received_at
    moments = event.at, event.received_at, happened_at
    return (event.source, key, event.kind, event.payload, *moments, event.request_id, WAITING, 0)


def _row(row: sa.Row[Any]) -> InboxRow:
    return InboxRow(
        number=row.number,
        source=row.source,
        key=row.event_key,
        kind=row.kind,
        payload=None if row.payload is None else json.loads(row.payload),
        at=row.at,
        received_at=row.received_at,
        request_id=row.request_id,
        attempts=row.attempts,
        state=row.state,
        effect=row.effect,
        contact_id=row.contact_id,
        reason=row.reason,
        done_at=row.done_at,
    )


def _sources(connection: sa.Connection) -> list[str]:
    """Every source that ever sent anything; one look into the index for each."""
    found: list[str] = []
    while True:
        after = inbox.c.source > (found[-1] if found else "")
        source = connection.execute(sa.select(sa.func.min(inbox.c.source)).where(after)).scalar()
        if source is None:
            return found
        found.append(source)


def _those(source: str, state: str) -> tuple[sa.ColumnElement[bool], ...]:
    return inbox.c.source == source, inbox.c.state == state

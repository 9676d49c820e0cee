"""The consent ledger: what people allowed and forbade, as it was said, line after line; never changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from connector.journal.engine import Database, leave_taken
from connector.journal.loading import each_once, in_chunks, made, moment, parsed, raw, whole_groups
from connector.journal.merging import survivors
from connector.journal.program_tables import consent_events
from connector.program.model import Basis, ConsentEvent, ConsentState, Status

_CHUNK = 5_000
_PAGE = 20_000

_NAMES = tuple(field.name for field in fields(ConsentEvent))
_EVENT = tuple(raw(consent_events.c[name]) for name in _NAMES)


class ConsentLedger:
    """Who said what about being mailed. The database itself refuses to change or delete a line."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, events: Sequence[ConsentEvent]) -> int:
        """Add these lines and return how many are new: an event whose key is known is not added again."""
        with self._database.write() as connection:
            return add_consent(self._database, connection, events)

    def states(self, aliases: Mapping[str, str] | None = None) -> dict[str, ConsentState]:
        """Where everybody stands of whom the ledger knows anything, by subject.

        aliases: Old id → the contact that is left after a merge; what was said under all ids of a person counts.
        """
        from connector.program.consent import fold

        moved = survivors(aliases or {})
        survived = set(moved.values())
        found: dict[str, ConsentState] = {}
        together: dict[str, list[ConsentEvent]] = {}
        for subject, events in self._by_subject():
            if subject in moved or subject in survived:
                together.setdefault(moved.get(subject, subject), []).extend(events)
            else:
                found[subject] = fold(events)
        return found | {subject: fold(events) for subject, events in together.items()}

    def states_of(self, subjects: Collection[str], aliases: Mapping[str, str] | None = None) -> dict[str, ConsentState]:
        """The same for these only. Quick: it is asked before every write."""
        from connector.program.consent import fold

        wanted, moved = set(subjects), survivors(aliases or {})
        former = {old: last for old, last in moved.items() if last in wanted}
        together: dict[str, list[ConsentEvent]] = {}
        with self._database.read() as connection:
            for chunk in in_chunks(sorted(wanted.union(former)), _CHUNK):
                query = sa.select(*_EVENT).where(consent_events.c.subject.in_(self._database.ids(chunk)))
                for event in self._loaded(connection.execute(query).all()):
                    together.setdefault(former.get(event.subject, event.subject), []).append(event)
        return {subject: fold(events) for subject, events in sorted(together.items())}

    def state(self, subject: str, *, formerly: Collection[str] = ()) -> ConsentState:
        """Where this subject stands; `formerly` are other ids of the same person."""
        from connector.program.consent import fold

        return fold(self.history(subject, formerly=formerly))

    def history(self, subject: str, *, formerly: Collection[str] = ()) -> list[ConsentEvent]:
        """What was said, in the order it happened."""
        ids = self._database.ids(sorted({subject, *formerly}))
        query = sa.select(*_EVENT).where(consent_events.c.subject.in_(ids))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(consent_events.c.captured_at, consent_events.c.number)).all()
        return self._loaded(rows)

    def _by_subject(self) -> Iterator[tuple[str, list[ConsentEvent]]]:
        """Everybody's lines, one subject after the other."""
        query = sa.select(*_EVENT).order_by(consent_events.c.subject, consent_events.c.number)

        def fetch(after: str, size: int) -> Sequence[sa.Row[Any]]:
            with self._database.read() as connection:
                return connection.execute(query.where(consent_events.c.subject > after).limit(size)).all()

        for rows in whole_groups(fetch, key=0, size=_PAGE):
            for subject, events in groupby(self._loaded(rows), key=attrgetter("subject")):
                yield subject, list(events)

    def _loaded(self, rows: Sequence[sa.Row[Any]]) -> list[ConsentEvent]:
        """Rows of the driver's values, in the order of the fields, as events; turned column by column."""
        if not rows:
            return []
        columns: dict[str, Iterable[Any]] = dict(zip(_NAMES, zip(*rows, strict=True), strict=True))
        for name in ("captured_at", "expires_at", "recorded_at"):
            columns[name] = each_once(columns[name], moment)
        columns["status"] = each_once(columns["status"], Status)
        columns["basis"] = each_once(columns["basis"], lambda basis: None if basis is None else Basis(basis))
        columns["evidence"] = parsed(columns["evidence"])
        return made(ConsentEvent, columns)


def add_consent(database: Database, connection: sa.Connection, events: Sequence[ConsentEvent]) -> int:
    """Add these lines, in the caller's transaction; how many are new."""
    now = database.clock.now()
    insert = leave_taken(database.insert(consent_events))
    return sum(
        connection.execute(insert, [_row(event, now) for event in chunk]).rowcount
        for chunk in in_chunks(events, _CHUNK)
    )


def _row(event: ConsentEvent, now: datetime) -> dict[str, Any]:
    """The event's line; it is recorded now, whatever it says itself."""
    return {
        "event_key": event.event_key,
        "subject": event.subject,
        "status": event.status.value,
        "captured_at": event.captured_at,
        "source": event.source,
        "basis": None if event.basis is None else event.basis.value,
        "channel": event.channel,
        "purpose": event.purpose,
        "evidence": dict(event.evidence),
        "expires_at": event.expires_at,
        "actor": event.actor,
        "recorded_at": now,
    }

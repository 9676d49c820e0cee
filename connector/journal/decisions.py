"""Published decisions: one JSON document per contact, for readers that never open the warehouse."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any

import sqlalchemy as sa

from connector.journal.engine import Database
from connector.journal.tables import canonical, decisions, publications

_CHUNK = 5000
"""Rows per transaction: small enough that the web process hardly waits."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one contact; it held on `as_of`."""

    contact_id: str
    as_of: date
    document: Mapping[str, Any]


class Decisions:
    """The newest decision of every contact."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def publish(
        self,
        as_of: date,
        rows: Mapping[str, Mapping[str, Any]] | Iterable[tuple[str, Mapping[str, Any]]],
        *,
        complete: bool = True,
        gone: Sequence[str] = (),
    ) -> int:
        """Make these decisions the current ones and return how many there were; safe to repeat after a crash.

        complete: The rows are everybody: whoever is not among them is forgotten. Otherwise only the rows given change,
            and the contacts named in `gone` are forgotten.
        """
        pairs = rows.items() if isinstance(rows, Mapping) else rows
        number = self._begin(as_of)
        count = sum(self._store(chunk, as_of, number) for chunk in _in_chunks(pairs))
        self._end(number, count, complete=complete, gone=gone)
        return count

    def get(self, contact_id: str) -> Decision | None:
        """The contact's current decision, None if none was published."""
        newest = sa.select(publications.c.number, publications.c.as_of).where(publications.c.finished_at.is_not(None))
        with self._database.read() as connection:
            row = connection.execute(sa.select(decisions).where(decisions.c.contact_id == contact_id)).one_or_none()
            last = connection.execute(newest.order_by(publications.c.number.desc()).limit(1)).one_or_none()
        if row is None:
            return None
        held_until_last = last is not None and row.publication <= last.number
        as_of = last.as_of if last is not None and held_until_last else row.as_of
        return Decision(contact_id=contact_id, as_of=as_of, document=json.loads(row.document))

    def _begin(self, as_of: date) -> int:
        values = {"as_of": as_of, "started_at": self._database.clock.now()}
        with self._database.write() as connection:
            inserted = connection.execute(sa.insert(publications).values(values)).inserted_primary_key
        return int(inserted[0]) if inserted else 0

    def _store(self, chunk: Sequence[tuple[str, Mapping[str, Any]]], as_of: date, number: int) -> int:
        rows = [
            {"contact_id": contact_id, "as_of": as_of, "document": canonical(dict(document)), "publication": number}
            for contact_id, document in chunk
        ]
        with self._database.write() as connection:
            self._database.upsert(connection, decisions, rows)
        return len(rows)

    def _end(self, number: int, count: int, *, complete: bool, gone: Sequence[str]) -> None:
        ended = {"finished_at": self._database.clock.now(), "contacts": count}
        with self._database.write() as connection:
            if complete:
                connection.execute(sa.delete(decisions).where(decisions.c.publication < number))
            elif gone:
                connection.execute(sa.delete(decisions).where(decisions.c.contact_id.in_(self._database.ids(gone))))
            connection.execute(sa.update(publications).where(publications.c.number == number).values(ended))


def _in_chunks(pairs: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[Sequence[tuple[str, Mapping[str, Any]]]]:
    left = iter(pairs)
    while chunk := list(islice(left, _CHUNK)):
        yield chunk

"""Cursors: how far each stream has been read, mirrored here for `status` and for the web process.

The cursor that counts stands in the warehouse, in the same commit as the rows it covers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from connector.journal.engine import Database
from connector.journal.tables import cursors
from connector.model import Cursor


@dataclass(frozen=True, slots=True)
class SavedCursor:
    """A cursor and when it was saved."""

    cursor: Cursor
    saved_at: datetime


class Cursors:
    """One cursor per source and stream."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, source: str, stream: str, cursor: Cursor, at: datetime) -> None:
        """Remember how far the stream is stored."""
        row = {"source": source, "stream": stream, "cursor": dict(cursor), "saved_at": at}
        with self._database.write() as connection:
            self._database.upsert(connection, cursors, [row])

    def load(self, source: str, stream: str) -> Cursor | None:
        """The cursor last saved, None if the stream was never read."""
        query = sa.select(cursors.c.cursor).where(cursors.c.source == source, cursors.c.stream == stream)
        with self._database.read() as connection:
            found: Cursor | None = connection.execute(query).scalar()
        return found

    def all(self) -> Mapping[tuple[str, str], SavedCursor]:
        """Every cursor by (source, stream)."""
        query = sa.select(cursors).order_by(cursors.c.source, cursors.c.stream)
        with self._database.read() as connection:
            return {
                (row.source, row.stream): SavedCursor(cursor=row.cursor, saved_at=row.saved_at)
                for row in connection.execute(query)
            }

"""Replies: what a caller that asks again is told again, word for word (W-23)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from connector.journal.engine import Database
from connector.journal.live_tables import replies


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The answer to a call. Of several for one (source, key), the first is the one that is kept."""

    source: str
    key: str
    status: int
    body: bytes
    content_type: str
    contact_id: str | None = None


class Replies:
    """The answers given to calls. Where something follows from a call, `settlement.settle` keeps both in one commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, source: str, key: str) -> Stored | None:
        """The answer that was given to this call; None when there was none yet."""
        with self._database.read() as connection:
            return _find(connection, source, key)

    def put(self, reply: Stored) -> Stored:
        """Keep this answer unless there is one; returns the one that is kept."""
        with self._database.write() as connection:
            if add_reply(self._database, connection, reply):
                return reply
            found = _find(connection, reply.source, reply.key)
        assert found is not None
        return found

    def purge(self, before: datetime) -> int:
        """Forget answers given before this moment; returns how many."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(replies).where(replies.c.answered_at < before)).rowcount

    def forget(self, contact_id: str) -> int:
        """Forget the answers about this contact; returns how many."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(replies).where(replies.c.contact_id == contact_id)).rowcount


def add_reply(database: Database, connection: sa.Connection, reply: Stored) -> bool:
    """Keep this answer unless there is one, in the caller's transaction; whether it is new."""
    line = {
        "source": reply.source,
        "call_key": reply.key,
        "status": reply.status,
        "body": reply.body,
        "content_type": reply.content_type,
        "contact_id": reply.contact_id,
        "answered_at": database.clock.now(),
    }
    return bool(database.insert_new(connection, database.insert(replies).values(line)))


def _find(connection: sa.Connection, source: str, key: str) -> Stored | None:
    mine = sa.select(replies).where(replies.c.source == source, replies.c.call_key == key)
    row: sa.Row[Any] | None = connection.execute(mine).one_or_none()
    if row is None:
        return None
    return Stored(
        source=row.source,
        key=row.call_key,
        status=row.status,
        body=bytes(row.body),
        content_type=row.content_type,
        contact_id=row.contact_id,
    )

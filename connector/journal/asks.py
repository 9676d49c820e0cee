"""Asks: entries into a program that a person or a CRM's workflow asked for, until a run has decided."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from connector.journal.engine import Database, leave_taken
from connector.journal.live_tables import asks
from connector.journal.outbox import Intent, add_intents


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Somebody is to be entered. `key` makes it count once.

    program: None: the first that takes them. callback: Where the answer goes, for a workflow that waits.
    """

    key: str
    contact_id: str
    at: datetime
    source: str
    program: str | None = None
    callback: str | None = None


class Asks:
    """The asks of this install."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self) -> list[Ask]:
        """Those that nobody has answered, in the order in which they came."""
        # Said literally, so that the small index over just these serves.
        query = sa.select(asks).where(sa.text("asks.answered_at IS NULL")).order_by(asks.c.number)
        with self._database.read() as connection:
            return [_ask(row) for row in connection.execute(query)]

    def answer(self, keys: Collection[str], decision: str, *, intents: Sequence[Intent] = ()) -> int:
        """Note what was decided about these, and what follows from it, in one commit; how many were open."""
        mine = sa.update(asks).where(
            asks.c.ask_key.in_(self._database.ids(sorted(set(keys)))), asks.c.answered_at.is_(None)
        )
        with self._database.write() as connection:
            answered = {"decision": decision, "answered_at": self._database.clock.now()}
            number = connection.execute(mine.values(answered)).rowcount
            add_intents(self._database, connection, intents)
        return number

    def decision(self, key: str) -> str | None:
        """What was decided about this one; None when nothing was yet, or nobody asked."""
        with self._database.read() as connection:
            found: str | None = connection.execute(sa.select(asks.c.decision).where(asks.c.ask_key == key)).scalar()
        return found

    def purge(self, before: datetime) -> int:
        """Forget asks answered before this moment; returns how many."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(asks).where(asks.c.answered_at < before)).rowcount

    def forget(self, contact_id: str) -> int:
        """Forget what was asked about this contact; returns how many asks it was."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(asks).where(asks.c.contact_id == contact_id)).rowcount


def add_asks(database: Database, connection: sa.Connection, given: Sequence[Ask]) -> int:
    """Keep these asks, in the caller's transaction; how many are new."""
    now = database.clock.now()
    rows = [
        {
            "ask_key": ask.key,
            "contact_id": ask.contact_id,
            "program": ask.program,
            "at": ask.at,
            "source": ask.source,
            "callback": ask.callback,
            "asked_at": now,
        }
        for ask in given
    ]
    return connection.execute(leave_taken(database.insert(asks)), rows).rowcount if rows else 0


def _ask(row: sa.Row[Any]) -> Ask:
    return Ask(
        key=row.ask_key,
        contact_id=row.contact_id,
        at=row.at,
        source=row.source,
        program=row.program,
        callback=row.callback,
    )

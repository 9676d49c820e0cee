"""Rows that wait for a worker: leased by one at a time, put off, set aside; what the inbox and the outbox share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from connector.journal.engine import Database
from connector.journal.loading import in_chunks

WAITING, DONE, IGNORED, SET_ASIDE = "waiting", "done", "ignored", "set_aside"
"""How such a row stands. A leased row waits as well: until its worker says how it ended, nothing has happened."""

_CHUNK = 500
_NOT_LEASED = {"owner": None, "leased_until": None}


class WaitingRows:
    """The waiting rows of one table. Leases are of real time; when a row is due, the journal's clock says.

    A worker that dies keeps its rows for as long as it had leased them; then they are anybody's again. A row may so be
    worked on twice, and whoever settles it first has settled it.

    order: The columns they are taken by, which a small index over just these rows holds.
    """

    def __init__(self, database: Database, table: sa.Table, order: Sequence[sa.Column[Any]]) -> None:
        self._database = database
        self._table = table
        self._order = tuple(order)

    @property
    def waits(self) -> sa.TextClause:
        """Said literally, so that the small indexes over just these rows serve."""
        return sa.text(f"{self._table.name}.state = 'waiting'")

    def free(self, connection: sa.Connection, rows: sa.FromClause | None = None) -> sa.ColumnElement[bool]:
        """Rows (of the table, or of an alias of it) that nobody has leased and that are due."""
        row = (self._table if rows is None else rows).c
        now, shared_now = self._database.clock.now(), self._database.shared_now(connection)
        return sa.and_(
            sa.or_(row.due_at.is_(None), row.due_at <= now),
            sa.or_(row.leased_until.is_(None), row.leased_until <= shared_now),
        )

    def lease(
        self,
        connection: sa.Connection,
        limit: int,
        *chosen: sa.ColumnElement[bool],
        owner: str,
        lease_seconds: float,
    ) -> list[sa.Row[Any]]:
        """Lease the first free rows that are chosen, in the caller's transaction, and return them in their order.

        An attempt counts when it begins: a row that kills its worker is found out like one that makes it fail.
        """
        row = self._table.c
        free = sa.select(row.number).where(self.waits, self.free(connection), *chosen).order_by(*self._order)
        numbers = connection.execute(free.limit(limit).with_for_update(skip_locked=True)).scalars().all()
        until = self._database.shared_now(connection) + timedelta(seconds=lease_seconds)
        leased = {"owner": owner, "leased_until": until, "attempts": row.attempts + 1}
        found: list[sa.Row[Any]] = []
        for chunk in in_chunks(numbers, _CHUNK):
            mine = row.number.in_(chunk)
            connection.execute(sa.update(self._table).where(mine).values(leased))
            found += connection.execute(sa.select(self._table).where(mine).order_by(*self._order)).all()
        return found

    def later(self, number: int, reason: str, at: datetime, *, owner: str | None = None) -> bool:
        """Put a waiting row off until `at`; False when it does not wait, or another than `owner` has leased it."""
        return self._change([number], {"reason": reason, "due_at": at, **_NOT_LEASED}, owner=owner) == 1

    def set_aside(self, number: int, reason: str, *, owner: str | None = None) -> bool:
        """Give a waiting row up for a person to look at; False when it does not wait, or is not `owner`'s any more."""
        ended = {"state": SET_ASIDE, "reason": reason, "done_at": self._database.clock.now(), **_NOT_LEASED}
        return self._change([number], ended, owner=owner) == 1

    def end(self, connection: sa.Connection, numbers: Collection[int], values: dict[str, Any]) -> int:
        """End these rows, in the caller's transaction; how many were still waiting."""
        ended = {"reason": None, "done_at": self._database.clock.now(), **_NOT_LEASED, **values}
        row, changed = self._table.c, 0
        for chunk in in_chunks(sorted(set(numbers)), _CHUNK):
            mine = sa.update(self._table).where(row.number.in_(chunk), row.state == WAITING)
            changed += connection.execute(mine.values(ended)).rowcount
        return changed

    def depth(self) -> int:
        """How many rows wait."""
        # Counted by a column of the small index: SQLite would else read through a larger one.
        query = sa.select(sa.func.count(self._order[0])).where(self.waits)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def earliest(self, column: sa.Column[datetime], *chosen: sa.ColumnElement[bool]) -> datetime | None:
        """The earliest moment in this column of rows that wait (and are chosen); None when none does."""
        query = sa.select(sa.func.min(column)).where(self.waits, *chosen)
        with self._database.read() as connection:
            found: datetime | None = connection.execute(query).scalar()
        return found

    def counts(self, by: sa.Column[str]) -> dict[str, Counter[str]]:
        """How many rows there are, by this column and by state."""
        keys = (by, self._table.c.state)
        query = sa.select(*keys, sa.func.count()).group_by(*keys).order_by(*keys)
        found: dict[str, Counter[str]] = {}
        with self._database.read() as connection:
            for name, state, number in connection.execute(query):
                found.setdefault(name, Counter())[state] = number
        return found

    def _change(self, numbers: Sequence[int], values: dict[str, Any], *, owner: str | None) -> int:
        row = self._table.c
        chosen = sa.update(self._table).where(row.number.in_(numbers), row.state == WAITING)
        if owner is not None:
            chosen = chosen.where(row.owner == owner)
        with self._database.write() as connection:
            return connection.execute(chosen.values(values)).rowcount

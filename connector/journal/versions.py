"""Numbers that only grow: how those who decided earlier find out that something has changed since."""

from __future__ import annotations

import sqlalchemy as sa

from connector.journal.engine import Database
from connector.journal.program_tables import versions

EPISODES = "episodes"
"""Moved on by every decision about anybody; a plan made from an older number is stale."""


def move_on(database: Database, connection: sa.Connection, name: str) -> int:
    """The next number under this name, 1 first, in the caller's transaction."""
    first = database.insert(versions).values(name=name, number=1)
    next_one = {"number": versions.c.number + 1}
    connection.execute(first.on_conflict_do_update(index_elements=["name"], set_=next_one))
    return int(connection.execute(sa.select(versions.c.number).where(versions.c.name == name)).scalar_one())

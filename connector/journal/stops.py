"""Stops: people who must be in nothing from now on, although the last plan, or one made before, may say otherwise."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from connector.journal.engine import Database
from connector.journal.live_tables import stops
from connector.journal.loading import in_chunks
from connector.journal.versions import EPISODES, move_on

_CHUNK = 5_000
_ADDING = "stops"


@dataclass(frozen=True, slots=True)
class Stop:
    """Somebody came back, answered, or said no. `reason` is a code of `connector.program.codes.EXITS`."""

    contact_id: str
    reason: str
    at: datetime


class Stops:
    """The stops that no run has taken over yet. Apply asks here before it adds anybody to anything."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, contact_ids: Collection[str]) -> dict[str, tuple[str, datetime]]:
        """The last stop of each of these who has one: (reason, when)."""
        query = sa.select(stops.c.contact_id, stops.c.reason, stops.c.at).order_by(stops.c.at, stops.c.reason)
        found: dict[str, tuple[str, datetime]] = {}
        with self._database.read() as connection:
            for chunk in in_chunks(sorted(set(contact_ids)), _CHUNK):
                mine = query.where(stops.c.contact_id.in_(self._database.ids(chunk)))
                found |= {contact_id: (reason, at) for contact_id, reason, at in connection.execute(mine)}
        return found

    def newest(self) -> int:
        """A mark: every stop settled before this has a number up to it, every later one a greater number.

        A run takes it before it reads the first fact, and clears up to it once it is through.
        """
        opened = self._database.read() if self._database.is_sqlite else self._database.write()
        with opened as connection:
            self._database.in_turn(connection, _ADDING)
            return int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(stops.c.number), 0))).scalar_one())

    def clear(self, upto: int) -> int:
        """Forget stops up to this mark: a run knows by now what they say; returns how many.

        Plans made before are stale from here on: nothing else would keep these people out of them.
        """
        with self._database.write() as connection:
            cleared = connection.execute(sa.delete(stops).where(stops.c.number <= upto)).rowcount
            if cleared:
                move_on(self._database, connection, EPISODES)
            return cleared

    def forget(self, contact_id: str) -> int:
        """Forget this contact's stops; returns how many."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(stops).where(stops.c.contact_id == contact_id)).rowcount


def add_stops(database: Database, connection: sa.Connection, given: Sequence[Stop]) -> int:
    """Keep these stops, in the caller's transaction; how many had not been said."""
    if not given:
        return 0
    database.in_turn(connection, _ADDING, together=True)
    said = sa.select(stops.c.contact_id, stops.c.reason, stops.c.at)
    said = said.where(stops.c.contact_id.in_(database.ids(sorted({stop.contact_id for stop in given}))))
    there = {Stop(*row) for row in connection.execute(said)}
    fresh = [stop for stop in dict.fromkeys(given) if stop not in there]
    if fresh:
        rows = [{"contact_id": stop.contact_id, "reason": stop.reason, "at": stop.at} for stop in fresh]
        connection.execute(sa.insert(stops), rows)
    return len(fresh)

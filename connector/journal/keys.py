"""Keys of this install: secrets that nobody types, made when first needed and kept."""

from __future__ import annotations

import os

import sqlalchemy as sa

from connector.journal.engine import Database
from connector.journal.program_tables import keys

KEY_BYTES = 32


class Keys:
    """Secrets by what they are for. Whoever has the journal has them; losing it makes what they signed unreadable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get_or_make(self, name: str) -> bytes:
        """The key of this name; the same one for every process, from the first time on."""
        query = sa.select(keys.c.secret).where(keys.c.name == name)
        with self._database.read() as connection:
            found = connection.execute(query).scalar()
        if found is not None:
            return bytes(found)
        fresh = {"name": name, "secret": os.urandom(KEY_BYTES), "made_at": self._database.clock.now()}
        with self._database.write() as connection:
            self._database.insert_new(connection, self._database.insert(keys).values(fresh))
            return bytes(connection.execute(query).scalar_one())

"""Who is whom, for the worker that never opens the warehouse: ids and hashed addresses of contacts that matter now."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from connector.journal.engine import Database
from connector.journal.live_tables import known
from connector.journal.loading import in_chunks
from connector.journal.versions import move_on
from connector.program.suppression import address_key

EXTERNAL_ID, EMAIL, RECORD = "external_id", "email", "record"

AT = "at"
"""The kind of a live record that somebody has in a CRM: many ids may mean them there, this one is written to."""

_CHUNK = 5_000
"""Rows per transaction: small enough that the web process hardly waits."""

_PUBLICATION = "known"


def known_key(kind: str, value: str, secret: bytes) -> str:
    """What somebody is known by in this table: a keyed hash of an address or a product's id, a CRM's record as it is.

    secret: `journal.keys.get_or_make("known")`; the same for all of an install.
    """
    match kind:
        case "email":
            return address_key(value, secret)
        case "external_id":
            return f"id:{hmac.digest(secret, value.encode(errors='surrogatepass'), 'sha256').hex()}"
        case "record" | "at":
            return value
        case _:
            raise ValueError(f"nobody is known by '{kind}'")


class Known:
    """Contacts by what other systems call them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def publish(self, rows: Iterable[tuple[str, str, str]], *, complete: bool = True, gone: Sequence[str] = ()) -> int:
        """Make these (kind, key, contact_id) what is known and return how many there were; safe to repeat.

        Keys are as `known_key` makes them; of two contacts with one key, the last counts.

        Args:
            rows: What is known.
            complete: The rows are everything: what is not among them is forgotten. Otherwise only the rows given
                change, and contacts named in `gone` are forgotten.
            gone: Contacts to forget.
        """
        with self._database.write() as connection:
            number = move_on(self._database, connection, _PUBLICATION)
        count = sum(self._store(chunk, number) for chunk in in_chunks(rows, _CHUNK))
        with self._database.write() as connection:
            if complete:
                connection.execute(sa.delete(known).where(known.c.publication < number))
            for chunk in in_chunks(gone, _CHUNK):
                connection.execute(sa.delete(known).where(known.c.contact_id.in_(self._database.ids(chunk))))
        return count

    def contact(self, kind: str, key: str) -> str | None:
        """The contact with this key; None when nobody who matters now has it."""
        query = sa.select(known.c.contact_id).where(known.c.kind == kind, known.c.who == key)
        with self._database.read() as connection:
            found: str | None = connection.execute(query).scalar()
        return found

    def keys(self, contact_id: str, kind: str) -> list[str]:
        """The keys of this kind that this contact is known by, in order."""
        query = sa.select(known.c.who).where(known.c.contact_id == contact_id, known.c.kind == kind)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(known.c.who)).scalars())

    def forget(self, contact_id: str) -> int:
        """Forget what this contact is known by; returns how many keys it was."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(known).where(known.c.contact_id == contact_id)).rowcount

    def _store(self, chunk: Sequence[tuple[str, str, str]], number: int) -> int:
        rows = [
            {"kind": kind, "who": key, "contact_id": contact_id, "publication": number}
            for kind, key, contact_id in chunk
        ]
        with self._database.write() as connection:
            self._database.upsert(connection, known, rows)
        return len(rows)

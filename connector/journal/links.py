"""Links: whom the opaque subject of a signed link stands for."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from connector.journal.engine import Database, leave_taken
from connector.journal.loading import in_chunks
from connector.journal.program_tables import link_subjects

_CHUNK = 5_000


class Links:
    """Contacts by the subject that stands for them in links that were handed out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(self, subjects: Mapping[str, str]) -> int:
        """Keep whom these subjects stand for and return how many are new; what is kept stays as it is."""
        now = self._database.clock.now()
        insert = leave_taken(self._database.insert(link_subjects))
        number = 0
        with self._database.write() as connection:
            for chunk in in_chunks(subjects.items(), _CHUNK):
                rows = [{"subject": subject, "contact_id": contact, "made_at": now} for subject, contact in chunk]
                number += connection.execute(insert, rows).rowcount
        return number

    def contact(self, subject: str) -> str | None:
        """The contact this subject stands for, after any merges; None when no link was made for it."""
        query = sa.select(link_subjects.c.contact_id).where(link_subjects.c.subject == subject)
        with self._database.read() as connection:
            found: str | None = connection.execute(query).scalar()
        return found

"""Rejections: rows a destination refused, kept with its words until they succeed or a person releases them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa

from connector.journal.engine import Database
from connector.journal.tables import rejections

QUARANTINE_AFTER = 5
"""A row refused this many times is left alone until a person releases it."""

_THERE = (
    rejections.c.destination == sa.bindparam("in_destination"),
    rejections.c.kind == sa.bindparam("of_kind"),
    rejections.c.target == sa.bindparam("on_target"),
)
_ANY_THERE = sa.select(sa.exists().where(*_THERE))


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a row was refused, how often, and since when. `quarantined` rows are not tried again."""

    reason: str
    code: str | None
    attempts: int
    first_at: datetime
    last_at: datetime

    @property
    def quarantined(self) -> bool:
        """Whether later runs leave this row alone."""
        return self.attempts >= QUARANTINE_AFTER


@dataclass(frozen=True, slots=True)
class Place:
    """What was attempted where: the part of a rejection's key that all rows of a batch share."""

    destination: str
    kind: str
    target: str


class Rejections:
    """The rows that are refused at present, by (kind, target, row id)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def active(self, destination: str) -> Mapping[tuple[str, str, str], Rejection]:
        """Every row this destination refuses, with the reason; quarantined ones included."""
        order = (rejections.c.kind, rejections.c.target, rejections.c.row_id)
        query = sa.select(rejections).where(rejections.c.destination == destination).order_by(*order)
        with self._database.read() as connection:
            return {
                (row.kind, row.target, row.row_id): Rejection(
                    reason=row.reason,
                    code=row.code,
                    attempts=row.attempts,
                    first_at=row.first_at,
                    last_at=row.last_at,
                )
                for row in connection.execute(query)
            }

    def release(self, row_ids: Sequence[str], *, destination: str | None = None) -> int:
        """Forget these rows' rejections so that the next run tries them afresh; returns how many there were."""
        delete = sa.delete(rejections).where(rejections.c.row_id.in_(self._database.ids(row_ids)))
        if destination is not None:
            delete = delete.where(rejections.c.destination == destination)
        with self._database.write() as connection:
            return connection.execute(delete).rowcount

    def note(
        self,
        connection: sa.Connection,
        place: Place,
        refused: Mapping[str, tuple[str, str | None]],
        at: datetime,
    ) -> None:
        """Count one more refusal of each row, with the newest (reason, code); in the caller's transaction."""
        if not refused:
            return
        key = asdict(place)
        rows = [
            key | {"row_id": row_id, "reason": reason, "code": code, "attempts": 1, "first_at": at, "last_at": at}
            for row_id, (reason, code) in refused.items()
        ]
        statement = self._database.insert(rejections)
        newest = {name: statement.excluded[name] for name in ("reason", "code", "last_at")}
        counted = newest | {"attempts": rejections.c.attempts + 1}
        keys = [column.name for column in rejections.primary_key]
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=counted), rows)

    def clear(self, connection: sa.Connection, place: Place, row_ids: Sequence[str]) -> None:
        """Forget the rejections of rows that went through; in the caller's transaction."""
        there = {"in_destination": place.destination, "of_kind": place.kind, "on_target": place.target}
        if row_ids and connection.execute(_ANY_THERE, there).scalar():
            chosen = rejections.c.row_id.in_(self._database.ids(row_ids))
            connection.execute(sa.delete(rejections).where(*_THERE, chosen), there)

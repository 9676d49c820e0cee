"""The link from the ledger to the episodes: a step is written once the destination is known to hold it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from connector.journal.engine import Database
from connector.journal.program_tables import episode_steps, episodes

_WAITING = (
    # Said literally, so that the small index over just these rows serves.
    sa.text("episodes.step_state = 'decided'"),
    episodes.c.target == sa.bindparam("of_target", type_=sa.Text),
    sa.or_(episodes.c.destination.is_(None), episodes.c.destination == sa.bindparam("in_destination", type_=sa.Text)),
)
_ON_TARGET = sa.select(episodes.c.episode_id, episodes.c.row_id).where(*_WAITING)
_WITH_VALUES = (
    sa.select(episodes.c.episode_id, episodes.c.row_id, episodes.c.properties)
    .join(
        episode_steps,
        sa.and_(episode_steps.c.episode_id == episodes.c.episode_id, episode_steps.c.step == episodes.c.step),
    )
    .where(*_WAITING, episode_steps.c.after_batch < sa.bindparam("batch", type_=sa.BigInteger))
)
_NEWEST = sa.exists().where(
    episodes.c.episode_id == episode_steps.c.episode_id, episodes.c.step == episode_steps.c.step
)


class Confirming:
    """Marks steps as written inside the caller's transaction, as one destination's answers prove them."""

    def __init__(self, database: Database, connection: sa.Connection, destination: str) -> None:
        self._database = database
        self._connection = connection
        self._destination = destination

    def on_list(self, target: str, row_ids: Sequence[str], at: datetime) -> None:
        """These records are on the list, or in the workflow, now."""
        if row_ids:
            waiting = self._waiting(_ON_TARGET.where(self._one_of(row_ids)), target)
            self._mark([row.episode_id for row in waiting], at)

    def read_back(self, target: str, row_ids: Collection[str], at: datetime) -> None:
        """The list was read: it holds these records, maybe a million of them."""
        waiting = self._waiting(_ON_TARGET, target)
        self._mark([row.episode_id for row in waiting if row.row_id in row_ids], at)

    def with_properties(self, batch_id: int, rows: Mapping[str, Mapping[str, str | None]], at: datetime) -> None:
        """These records hold these values now, by a batch that may be older than the step, or be about others."""
        if rows:
            waiting = self._waiting(_WITH_VALUES.where(self._one_of(list(rows))), "", batch=batch_id)
            self._mark([row.episode_id for row in waiting if _agree(row.properties, rows[row.row_id])], at)

    def _one_of(self, row_ids: Sequence[str]) -> sa.ColumnElement[bool]:
        return episodes.c.row_id.in_(self._database.ids(row_ids))

    def _waiting(self, query: sa.Select[Any], target: str, **given: int) -> Sequence[Any]:
        """Episodes whose newest step waits for this target."""
        mine = {"of_target": target, "in_destination": self._destination}
        return self._connection.execute(query, mine | given).all()

    def _mark(self, episode_ids: Sequence[str], at: datetime) -> None:
        if not episode_ids:
            return
        ids = self._database.ids(episode_ids)
        log = sa.update(episode_steps).where(episode_steps.c.episode_id.in_(ids), _NEWEST)
        self._connection.execute(log.values(state="written", written_at=at, send_at=_late(episode_steps.c.send_at, at)))
        newest = sa.update(episodes).where(episodes.c.episode_id.in_(ids))
        self._connection.execute(
            newest.values(step_state="written", written_at=at, send_at=_late(episodes.c.send_at, at))
        )


def _late(send_at: sa.Column[datetime], at: datetime) -> sa.ColumnElement[datetime]:
    """A mail goes out when the CRM hears of the step, if that is after it was planned for: caps count from there."""
    return sa.case((send_at < at, sa.bindparam(None, at, type_=send_at.type)), else_=send_at)


def _agree(wanted: Mapping[str, str | None], written: Mapping[str, str | None]) -> bool:
    """Whether what was written says nothing else than the step; what was held already was not written again."""
    return all(wanted[name] == value for name, value in written.items() if name in wanted)

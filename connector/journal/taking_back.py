"""Undoing a run's part in the program: what it entered, decided and ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from connector.journal import coupons
from connector.journal.engine import Database
from connector.journal.loading import in_chunks
from connector.journal.program_tables import episode_steps, episodes

_CHUNK = 5_000


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo did to the program: episodes forgotten, closed and opened again; steps taken back."""

    forgotten: int
    closed: int
    steps: int
    reopened: int


def take_back(database: Database, connection: sa.Connection, run_id: str, at: datetime) -> Undone:
    """Undo the run, in the caller's transaction; safe to repeat."""
    forgotten = _forget_unwritten(database, connection, run_id)
    closed = _close_written(connection, run_id, at)
    steps = _take_back_steps(database, connection, run_id, at)
    reopened = _reopen(database, connection, run_id)
    return Undone(forgotten=forgotten, closed=closed, steps=steps, reopened=reopened)


def _written_step() -> sa.Exists:
    """Whether any step of the episode reached the CRM."""
    own = episode_steps.c.episode_id == episodes.c.episode_id
    return sa.exists().where(own, episode_steps.c.written_at.is_not(None))


def _forget_unwritten(database: Database, connection: sa.Connection, run_id: str) -> int:
    """Delete the episodes this run entered of which nothing reached the CRM, with their steps."""
    query = sa.select(episodes.c.episode_id).where(episodes.c.run_id == run_id, ~_written_step())
    gone = list(connection.execute(query.order_by(episodes.c.episode_id)).scalars())
    for chunk in in_chunks(gone, _CHUNK):
        ids = database.ids(chunk)
        given = sa.select(episode_steps.c.code).where(
            episode_steps.c.episode_id.in_(ids), episode_steps.c.code.is_not(None)
        )
        coupons.take_back(database, connection, list(connection.execute(given).scalars()))
        for table in (episode_steps, episodes):
            connection.execute(sa.delete(table).where(table.c.episode_id.in_(ids)))
    return len(gone)


def _close_written(connection: sa.Connection, run_id: str, at: datetime) -> int:
    """Close the others this run entered. What reached the CRM is history, and the spell is not entered again."""
    still_open = sa.update(episodes).where(episodes.c.run_id == run_id, episodes.c.exited_at.is_(None))
    return connection.execute(still_open.values(exited_at=at, exit_reason="undone")).rowcount


def _take_back_steps(database: Database, connection: sa.Connection, run_id: str, at: datetime) -> int:
    """Undo the run's steps of episodes that were there before, and any step of its own that was never written."""
    step = episode_steps.c
    own = sa.exists().where(episodes.c.episode_id == step.episode_id, episodes.c.run_id == run_id)
    query = sa.select(step.episode_id, step.step, step.code, step.written_at, step.send_at)
    query = query.where(
        step.run_id == run_id,
        step.state.in_(("decided", "written")),
        sa.or_(~own, step.written_at.is_(None)),
    )
    lines = connection.execute(query.order_by(step.number)).all()
    for chunk in in_chunks(lines, _CHUNK):
        _mark_undone(database, connection, chunk, run_id, at)
        never_seen = [row.code for row in chunk if row.code is not None and row.written_at is None]
        coupons.take_back(database, connection, never_seen)
    return len(lines)


def _mark_undone(
    database: Database, connection: sa.Connection, lines: Sequence[Any], run_id: str, at: datetime
) -> None:
    """Mark the lines, the episodes that stand at them, and count the touches that never were."""
    step = episode_steps.c
    for name, of in groupby(sorted(lines, key=attrgetter("step")), key=attrgetter("step")):
        ids = database.ids([row.episode_id for row in of])
        log = sa.update(episode_steps).where(step.episode_id.in_(ids), step.step == name, step.run_id == run_id)
        connection.execute(log.values(state="undone", undone_at=at))
        newest = sa.update(episodes).where(episodes.c.episode_id.in_(ids), episodes.c.step == name)
        connection.execute(newest.values(step_state="undone"))
    # Where its moment had come, the mail may be out: that touch stays.
    never = Counter(row.episode_id for row in lines if not _gone_out(row, at))
    for number in sorted(set(never.values())):
        ids = database.ids([episode_id for episode_id, times in never.items() if times == number])
        fewer = sa.update(episodes).where(episodes.c.episode_id.in_(ids))
        connection.execute(fewer.values(touches=episodes.c.touches - number))


def _gone_out(row: Any, at: datetime) -> bool:
    return row.written_at is not None and row.send_at is not None and row.send_at <= at


def _reopen(database: Database, connection: sa.Connection, run_id: str) -> int:
    """Open again what this run ended, the newest of each contact, where the contact has no other open episode."""
    episode, other = episodes.c, episodes.alias("other")
    busy = sa.exists().where(other.c.contact_id == episode.contact_id, other.c.exited_at.is_(None))
    query = sa.select(episode.episode_id, episode.contact_id)
    query = query.where(episode.exit_run_id == run_id, episode.run_id != run_id, ~busy)
    newest: dict[str, str] = {}
    for row in connection.execute(query.order_by(episode.entered_at.desc(), episode.episode_id)):
        newest.setdefault(row.contact_id, row.episode_id)
    open_again = dict.fromkeys(("exited_at", "exit_reason", "exit_run_id"))
    for chunk in in_chunks(sorted(newest.values()), _CHUNK):
        chosen = episode.episode_id.in_(database.ids(chunk))
        connection.execute(sa.update(episodes).where(chosen).values(open_again))
    return len(newest)

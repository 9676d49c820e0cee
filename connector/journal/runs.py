"""Runs: one line per command that worked on the stores, what it was and how it ended."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from connector.errors import StateError
from connector.journal.engine import Database
from connector.journal.tables import runs


class RunState(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    DONE = "done"
    PARTIAL = "partial"
    """Done, and some rows were refused."""
    STOPPED = "stopped"
    """A guard or a lock refused it."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """Ended from outside: Ctrl-C, a kill, a power cut."""


SUCCESSFUL = (RunState.DONE, RunState.PARTIAL)


@dataclass(frozen=True, slots=True)
class Run:
    """One run; `run_id` sorts by time and is what `winback undo` takes."""

    run_id: str
    kind: str
    state: RunState
    playbook_digest: str
    started_at: datetime
    finished_at: datetime | None
    host: str
    pid: int
    summary: Mapping[str, Any]


class Runs:
    """The runs of this install."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, kind: str, *, playbook_digest: str) -> str:
        """Note that a run begins and give it its id: its time, and a number so that no two are equal."""
        now = self._database.clock.now()
        values = {
            "kind": kind,
            "state": RunState.RUNNING.value,
            "playbook_digest": playbook_digest,
            "started_at": now,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "summary": {},
        }
        with self._database.write() as connection:
            # The number is the database's to give; until it is known the row carries a name of its own.
            pending = f"pending-{os.getpid()}-{os.urandom(8).hex()}"
            inserted = connection.execute(sa.insert(runs).values(values | {"run_id": pending})).inserted_primary_key
            number = int(inserted[0]) if inserted else 0
            run_id = f"{now:%Y%m%d-%H%M%S}-{number:05d}"
            connection.execute(sa.update(runs).where(runs.c.number == number).values(run_id=run_id))
        return run_id

    def finish(self, run_id: str, *, state: str, summary: Mapping[str, Any]) -> None:
        """Note how it ended; `state` is one of RunState, without `running`."""
        ended = RunState(state)
        if ended is RunState.RUNNING:
            raise ValueError("a run cannot finish as 'running'")
        changed = sa.update(runs).where(runs.c.run_id == run_id)
        with self._database.write() as connection:
            values = {"state": ended.value, "summary": dict(summary), "finished_at": self._database.clock.now()}
            if connection.execute(changed.values(values)).rowcount != 1:
                raise StateError(f"the journal has no run {run_id}", hint="`winback status` lists the runs")

    def close_interrupted(self, *, kind: str, but: str | None = None) -> tuple[str, ...]:
        """Mark runs of this kind that never ended as interrupted and return their ids.

        Only for who holds the lock these runs hold: then none of them can still be alive, except `but`.
        """
        left = sa.and_(runs.c.kind == kind, runs.c.state == RunState.RUNNING.value, runs.c.run_id != (but or ""))
        with self._database.write() as connection:
            query = sa.select(runs.c.run_id).where(left).order_by(runs.c.number)
            found = tuple(connection.execute(query).scalars())
            ended = {"state": RunState.INTERRUPTED.value, "finished_at": self._database.clock.now()}
            connection.execute(sa.update(runs).where(runs.c.run_id.in_(found)).values(ended))
        return found

    def get(self, run_id: str) -> Run | None:
        """The run with this id, None if there is none."""
        found = self._select(sa.select(runs).where(runs.c.run_id == run_id))
        return found[0] if found else None

    def recent(self, limit: int = 20) -> tuple[Run, ...]:
        """The newest runs, newest first."""
        return self._select(sa.select(runs).order_by(runs.c.number.desc()).limit(limit))

    def last_successful(self, kind: str) -> Run | None:
        """The newest run of this kind that did its work, wholly or in part."""
        states = [state.value for state in SUCCESSFUL]
        query = sa.select(runs).where(runs.c.kind == kind, runs.c.state.in_(states))
        found = self._select(query.order_by(runs.c.number.desc()).limit(1))
        return found[0] if found else None

    def _select(self, query: sa.Select[Any]) -> tuple[Run, ...]:
        with self._database.read() as connection:
            return tuple(_run(row) for row in connection.execute(query))


def _run(row: sa.Row[Any]) -> Run:
    return Run(
        run_id=row.run_id,
        kind=row.kind,
        state=RunState(row.state),
        playbook_digest=row.playbook_digest,
        started_at=row.started_at,
        finished_at=row.finished_at,
        host=row.host,
        pid=row.pid,
        summary=row.summary,
    )

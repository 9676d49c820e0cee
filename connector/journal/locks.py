"""Locks: one run at a time, with an owner, a heartbeat, and a way past a holder that died."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from connector.errors import Locked, StateError
from connector.journal.engine import Database
from connector.journal.process import Process, this_process
from connector.journal.tables import locks

_HEART_STOPS_SECONDS = 5.0
_BEATS_PER_TTL = 3
"""A holder renews this often before its lock would expire."""

_BEAT_MARGIN_SECONDS = 1.0
"""How much longer than one beat a silent holder is watched before its lock is taken."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, and whether it still shows signs of life."""

    name: str
    owner: str
    process: Process
    since: datetime
    beats: int
    ttl_seconds: float
    expires_at: datetime
    expired: bool

    def is_silent_since(self, watched: Holder | None) -> bool:
        """True when it has given no sign of life since it was watched."""
        return watched is not None and (watched.owner, watched.beats) == (self.owner, self.beats)

    def __str__(self) -> str:
        return f"process {self.process.pid} on {self.process.host}, since {self.since:%Y-%m-%d %H:%M:%S} UTC"


class Lock:
    """A lock we hold. `check()` before anything that must not happen twice."""

    def __init__(self, database: Database, *, name: str, ttl_seconds: float) -> None:
        self.name = name
        self.owner = uuid.uuid4().hex
        self._database = database
        self._ttl_seconds = ttl_seconds
        self._released = threading.Event()
        self._heart = threading.Thread(target=self._keep_beating, name=f"winback-lock-{name}", daemon=True)

    def acquire(self) -> None:
        """Take the lock or raise Locked, naming the holder.

        A holder that is certainly dead is passed at once. One that merely looks expired is watched for one heartbeat
        first: a clock that jumped, or a machine that slept, must not make two runs of one.
        """
        watched = self._take(None)
        if watched is not None:
            self._database.real_clock.sleep(watched.ttl_seconds / _BEATS_PER_TTL + _BEAT_MARGIN_SECONDS)
            still = self._take(watched)
            if still is not None:
                raise self._refusal(still)
        self._heart.start()

    def check(self) -> None:
        """Raise Locked when the lock is no longer ours; StateError when the journal cannot be asked."""
        with self._database.read() as connection:
            now = self._database.shared_now(connection)
            mine = sa.select(locks.c.expires_at).where(locks.c.name == self.name, locks.c.owner == self.owner)
            expires_at: datetime | None = connection.execute(mine).scalar()
        if expires_at is None or (expires_at <= now and not self.beat()):
            raise self._loss()

    def beat(self) -> bool:
        """Renew the lock; False when it is no longer ours."""
        with self._database.write() as connection:
            expires_at = self._database.shared_now(connection) + timedelta(seconds=self._ttl_seconds)
            ours = sa.update(locks).where(locks.c.name == self.name, locks.c.owner == self.owner)
            renewed = connection.execute(ours.values(beats=locks.c.beats + 1, expires_at=expires_at))
        return renewed.rowcount == 1

    def release(self) -> None:
        """Give the lock back; harmless when it was lost."""
        self._released.set()
        if self._heart.ident is not None:
            # Never for good: its last beat may wait for a database that does not answer, and nothing depends on it.
            self._heart.join(timeout=_HEART_STOPS_SECONDS)
        with self._database.write() as connection:
            connection.execute(sa.delete(locks).where(locks.c.name == self.name, locks.c.owner == self.owner))

    def _take(self, watched: Holder | None) -> Holder | None:
        """Take the lock, or return an expired holder to watch; raise Locked for one that lives."""
        holder: Holder | None = None
        while holder is None:
            with self._database.write() as connection:
                present = sa.select(locks).where(locks.c.name == self.name).with_for_update()
                row = connection.execute(present).one_or_none()
                now = self._database.shared_now(connection)
                if row is not None:
                    holder = _holder(row, now)
                    if holder.process.is_dead() or (holder.expired and holder.is_silent_since(watched)):
                        self._database.upsert(connection, locks, [self._claim(now)])
                        return None
                elif self._database.insert_new(connection, self._database.insert(locks).values(self._claim(now))):
                    return None
                # Else another process took it and may have given it back since we looked: look again.
        if not holder.expired:
            raise self._refusal(holder)
        return holder

    def _claim(self, now: datetime) -> dict[str, Any]:
        """The line that says the lock is ours."""
        return asdict(this_process()) | {
            "name": self.name,
            "owner": self.owner,
            "since": now,
            "beats": 0,
            "ttl_seconds": self._ttl_seconds,
            "expires_at": now + timedelta(seconds=self._ttl_seconds),
        }

    def _keep_beating(self) -> None:
        while not self._released.wait(self._ttl_seconds / _BEATS_PER_TTL):
            try:
                if not self.beat():
                    return
            except StateError:
                # The journal may be back for the next beat; if it is not, check() tells the run.
                continue

    def _refusal(self, holder: Holder) -> Locked:
        return Locked(
            f"another run holds the lock '{self.name}': {holder}",
            hint="wait for it to end; `winback status` shows it. The lock of a run that crashed frees itself: at once "
            f"on the same machine, else {holder.ttl_seconds:.0f} seconds after its last sign of life",
        )

    def _loss(self) -> Locked:
        with self._database.read() as connection:
            now = self._database.shared_now(connection)
            row = connection.execute(sa.select(locks).where(locks.c.name == self.name)).one_or_none()
        taken = f"{_holder(row, now)} has it" if row else "nobody has it"
        return Locked(
            f"this run lost the lock '{self.name}': {taken} now",
            hint="the run stopped where it was; start it again and it resumes",
        )


class Locks:
    """The locks of this install."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def hold(self, name: str, *, ttl_seconds: float = 60) -> Iterator[Lock]:
        """Hold the lock inside the block; Locked when another process has it."""
        lock = Lock(self._database, name=name, ttl_seconds=ttl_seconds)
        lock.acquire()
        try:
            yield lock
        finally:
            lock.release()

    def holders(self) -> tuple[Holder, ...]:
        """Who holds what, by name of the lock."""
        with self._database.read() as connection:
            now = self._database.shared_now(connection)
            return tuple(_holder(row, now) for row in connection.execute(sa.select(locks).order_by(locks.c.name)))


def _holder(row: sa.Row[tuple[object, ...]], now: datetime) -> Holder:
    return Holder(
        name=row.name,
        owner=row.owner,
        process=Process(host=row.host, pid=row.pid, place=row.place, started=row.started),
        since=row.since,
        beats=row.beats,
        ttl_seconds=row.ttl_seconds,
        expires_at=row.expires_at,
        expired=row.expires_at <= now,
    )

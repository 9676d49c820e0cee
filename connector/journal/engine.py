"""One database behind the journal: how it is opened, and how a transaction begins and fails."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.pool import StaticPool

from connector.contracts import Clock
from connector.errors import SettingError, StateError
from connector.journal.tables import UtcTime, dumps
from connector.journal.turns import Turns

BUSY_SECONDS = 30
"""How long a writer waits for another process's transaction before giving up."""

_PATIENT, _IMPATIENT = f"busy_timeout={BUSY_SECONDS * 1000}", "busy_timeout=3"

_TURNS = 0x77696E62
"""PostgreSQL advisory locks of `Database.in_turn`: the first of two numbers (the letters `winb`)."""

Statement = TypeVar("Statement", bound=sa.Executable)

_SUPPORTED = "use sqlite:///path/to/journal.db or postgresql://user@host/database"


class Database:
    """The journal's engine: `read()` and `write()` are the only ways to a connection.

    real_clock: A clock that always runs, whatever `--now` says: leases and locks are about real time. None asks the
        database server where there is one, so that hosts with skewed clocks agree.
    """

    def __init__(self, url: str, *, clock: Clock, real_clock: Clock | None = None) -> None:
        from connector.clock import SystemClock

        parsed = _parse(url)
        self.clock = clock
        self.real_clock: Clock = real_clock or SystemClock()
        self.shown_url = parsed.render_as_string(hide_password=True)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._server_time = real_clock is None and not self.is_sqlite
        in_memory = self.is_sqlite and parsed.database in (None, "", ":memory:")
        self._turn: AbstractContextManager[Any] = threading.RLock() if in_memory else nullcontext()
        self._write_turn: AbstractContextManager[Any] = Turns() if self.is_sqlite else nullcontext()
        if self.is_sqlite and not in_memory:
            _create_private(Path(str(parsed.database)))
        self.engine = _sqlite_engine(parsed, in_memory=in_memory) if self.is_sqlite else _postgres_engine(parsed)
        self._writing = self.engine.execution_options(winback_write=True)
        self._prepared: dict[Callable[[Database], Any], Any] = {}

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one moment and changes nothing."""
        with self._turn, self._explained(), self.engine.connect() as plain:
            connection = plain.execution_options(isolation_level="REPEATABLE READ") if not self.is_sqlite else plain
            yield connection
            connection.rollback()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that is committed when the block ends, or undone when it raises.

        On SQLite it waits for other writers at its start, so that nothing read inside can change before the commit.
        """
        with (
            self._turn,
            self._explained(),
            self._write_turn,
            self._writing.connect() as connection,
            connection.begin(),
        ):
            yield connection

    def shared_now(self, connection: sa.Connection) -> datetime:
        """The moment on the clock that every process of this journal shares."""
        if not self._server_time:
            return self.real_clock.now()
        moment: datetime = connection.execute(sa.select(sa.func.clock_timestamp(type_=UtcTime))).scalar_one()
        return moment

    def in_turn(self, connection: sa.Connection, name: str, *, together: bool = False) -> None:
        """Wait, inside a writing transaction, until nobody else is in theirs under this name.

        On SQLite writers take turns anyway. together: Those who say so do not wait for each other, only for and before
        one who does not.
        """
        if not self.is_sqlite:
            lock = sa.func.pg_advisory_xact_lock_shared if together else sa.func.pg_advisory_xact_lock
            connection.execute(sa.select(lock(_TURNS, sa.func.hashtext(name))))

    def prepared(self, make: Callable[[Database], Statement]) -> Statement:
        """The statement that `make` builds, built once: for what every batch needs."""
        if make not in self._prepared:
            self._prepared[make] = make(self)
        return cast("Statement", self._prepared[make])

    def ids(self, row_ids: Sequence[str]) -> sa.Select[tuple[str]]:
        """The given texts as a one-column query: one bound value however many there are."""
        return self._unpacked(sa.bindparam(None, dumps(list(row_ids)), sa.Text))

    def ids_given_later(self) -> sa.Select[tuple[str]]:
        """The same for a prepared statement, which is then given them as `ids`, in JSON."""
        return self._unpacked(sa.bindparam("ids", type_=sa.Text))

    def _unpacked(self, packed: sa.BindParameter[str]) -> sa.Select[tuple[str]]:
        if self.is_sqlite:
            return sa.select(sa.func.json_each(packed).table_valued("value").c.value)
        return sa.select(sa.func.json_array_elements_text(sa.cast(packed, sa.JSON)).column_valued("value"))

    def insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT that knows ON CONFLICT, in this database's dialect."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def upsert(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert the rows; where the key is taken, the new values replace the old."""
        if not rows:
            return
        statement = self.insert(table)
        keys = [column.name for column in table.primary_key]
        fresh = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=fresh), rows)

    def insert_new(self, connection: sa.Connection, statement: sqlite.Insert | postgresql.Insert) -> int:
        """Run an INSERT that leaves rows whose key is taken alone; returns how many were new."""
        return connection.execute(leave_taken(statement)).rowcount

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn a database's own failure into a StateError; a mistake of ours rises as it is."""
        try:
            yield
        except (IntegrityError, ProgrammingError):
            raise
        except DBAPIError as error:
            words = str(error.orig).strip().splitlines()
            first = words[0] if words else type(error.orig).__name__
            raise StateError(f"journal {self.shown_url}: {first}", hint=_next_step(first)) from error


def leave_taken(statement: sqlite.Insert | postgresql.Insert) -> sqlite.Insert | postgresql.Insert:
    """The INSERT, leaving rows whose key is taken alone; its row count says how many were new."""
    # Without the option, SQLAlchemy answers -1 for an INSERT on PostgreSQL.
    return statement.on_conflict_do_nothing().execution_options(preserve_rowcount=True)


def _parse(url: str) -> URL:
    """The URL with the driver we use; a SettingError that shows no password for anything else."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingError("journal: this is not a database URL", hint=_SUPPORTED) from None
    match parsed.get_backend_name():
        case "sqlite":
            return parsed.set(drivername="sqlite+pysqlite")
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise SettingError(f"journal: '{other}' is not a database winback can keep its journal in", hint=_SUPPORTED)


_NEXT_STEPS = (
    (
        ("locked", "lock timeout"),
        f"another process has been writing for over {BUSY_SECONDS} seconds; wait for it or end it",
    ),
    (("unable to open", "readonly"), "check that the folder exists and that this user may write to it"),
    (("not a database", "malformed"), "the file is damaged or something else; restore it from a backup"),
    (("disk is full", "No space left"), "free some space where the journal is; nothing is damaged and work goes on"),
    (("I/O error",), "the disk, or the share it is on, could not be written; the system's log says why"),
    (("connection",), "check that PostgreSQL is running and that the URL, user and password are right"),
)
"""What to do about a failure that people meet, by what the database says of it."""


def _next_step(words: str) -> str | None:
    return next((step for said, step in _NEXT_STEPS if any(word in words for word in said)), None)


def _create_private(path: Path) -> None:
    """Make the file 0600 and any folder we create 0700; what exists keeps the mode its owner gave it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StateError(
            f"journal {path}: {error.strerror}", hint="check that this user may write to the folder"
        ) from error


def _sqlite_engine(url: URL, *, in_memory: bool) -> sa.Engine:
    """SQLite with a write-ahead log, every commit on disk before it is acknowledged."""
    arguments = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    engine = (
        sa.create_engine(url, connect_args=arguments, poolclass=StaticPool)
        if in_memory
        else sa.create_engine(url, connect_args=arguments)
    )

    @event.listens_for(engine, "connect")
    def _set_up(raw: Any, _record: object) -> None:
        # We say BEGIN ourselves: the module's own would begin at the first INSERT and leave reads outside.
        raw.isolation_level = None
        for pragma in (_PATIENT, "journal_mode=WAL", "synchronous=FULL"):
            raw.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        if not connection.get_execution_options().get("winback_write", False):
            connection.exec_driver_sql("BEGIN")
            return
        raw = cast("sqlite3.Connection", connection.connection.driver_connection)
        try:
            _begin_writing(raw)
        except sqlite3.Error as error:
            raise OperationalError("BEGIN IMMEDIATE", None, error) from error

    return engine


def _begin_writing(raw: sqlite3.Connection) -> None:
    """BEGIN IMMEDIATE once no other process writes.

    Left to wait by itself, SQLite looks again after 1, 2, 5, 10 … 100 ms: next to a process that writes in a loop, its
    turn did not come for seconds. Each try here waits 1 ms and 2 ms at most, and then begins anew.
    """
    until = time.monotonic() + BUSY_SECONDS
    raw.execute(f"PRAGMA {_IMPATIENT}").close()
    try:
        while True:
            try:
                raw.execute("BEGIN IMMEDIATE").close()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
            else:
                return
    finally:
        raw.execute(f"PRAGMA {_PATIENT}").close()


def _postgres_engine(url: URL) -> sa.Engine:
    """PostgreSQL through psycopg 3."""
    arguments = {"application_name": "winback", "connect_timeout": 10}
    try:
        engine = sa.create_engine(url, pool_pre_ping=True, connect_args=arguments)
    except ModuleNotFoundError as error:
        raise SettingError(
            "journal: PostgreSQL needs the psycopg library, which is not installed",
            hint="install winback[postgres]",
        ) from error

    @event.listens_for(engine, "connect")
    def _set_up(raw: Any, _record: object) -> None:
        # A process that freezes inside a transaction must not hold up the others for ever.
        raw.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
        raw.execute(f"SET idle_in_transaction_session_timeout = '{2 * BUSY_SECONDS}s'")
        raw.commit()

    return engine

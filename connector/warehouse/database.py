"""One DuckDB file: opening it, its transactions, its settings and its version."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from zoneinfo import ZoneInfo

from connector.errors import Locked, SettingError, StateError
from connector.rules import sql_files
from connector.warehouse import schema

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

PREFIX = "duckdb:///"
MEMORY = ":memory:"
DEFAULT_MEMORY_LIMIT = "600MB"


class Database:
    """An open warehouse file. Statements run in UTC; the account's time zone decides which day an event is on."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, timezone: str) -> None:
        self.connection = connection
        self.timezone = timezone
        self.zone = ZoneInfo(timezone)
        self._meta: dict[str, str] | None = None
        self._unsaved: set[str] = set()
        self._inside = False
        self.commits = 0
        """How many transactions this process has carried out: what temporary tables made before it may not show."""

    @classmethod
    def open(cls, url: str, *, timezone: str, memory_limit: str | None) -> Self:
        """Open or create the file. Raises SettingError for a bad URL, StateError when it is in use or newer."""
        import duckdb

        path = _path(url)
        fresh = path != MEMORY and not Path(path).exists()
        try:
            ZoneInfo(timezone)
        except (KeyError, ValueError) as error:
            raise SettingError(f"timezone: {timezone!r} is not a time zone", hint="for example Europe/Paris") from error
        try:
            connection = duckdb.connect(
                path,
                config={
                    "memory_limit": memory_limit or DEFAULT_MEMORY_LIMIT,
                    "autoinstall_known_extensions": "false",
                    "autoload_known_extensions": "false",
                },
            )
        except duckdb.IOException as error:
            if "lock" in str(error).lower():
                raise Locked(
                    f"the warehouse {path} is in use by another process",
                    hint="wait for the other run to end, or stop it; one process at a time may open the warehouse",
                ) from error
            raise StateError(f"the warehouse {path} cannot be opened: {_first_line(error)}") from error
        if fresh:
            Path(path).chmod(0o600)
        connection.execute("SET TimeZone = 'UTC'")
        database = cls(connection, timezone=timezone)
        try:
            database._prepare(path)
        except BaseException:
            connection.close()
            raise
        return database

    def _prepare(self, path: str) -> None:
        if self.rows("SELECT 1 FROM duckdb_tables() WHERE table_name = 'meta' AND NOT temporary"):
            version = int(self.meta("schema_version") or 0)
            if version > schema.VERSION:
                raise StateError(
                    f"the warehouse {path} was written by a newer winback (schema {version}, this one knows "
                    f"{schema.VERSION})",
                    hint="upgrade winback, or point `warehouse:` to another file",
                )
        elif self.rows("SELECT 1 FROM duckdb_tables() WHERE NOT internal AND NOT temporary"):
            raise StateError(f"{path} is a DuckDB file, but not a winback warehouse", hint="choose another file name")
        with self.transaction():
            self.connection.execute(schema.TABLES)
            usage = sql_files.render("usage", uses="usage_events", users="users", names="feature_names")
            self.connection.execute(f"CREATE OR REPLACE VIEW usage AS {usage}")
            if self.meta("schema_version") == "1":
                self.execute(schema.attribute_names_of("contacts_history"))
            if self.meta("schema_version") is None:
                self.set_meta("warehouse_id", uuid.uuid4().hex)
                self.set_meta("timezone", self.timezone)
            self.set_meta("schema_version", str(schema.VERSION))
            if self.meta("timezone") != self.timezone:
                self._move_days()

    def _move_days(self) -> None:
        """Recompute on which civil day everything happened: the account's time zone has changed."""
        self.execute(f"UPDATE usage_events SET day = {self.civil_day('occurred_at')}")
        self.execute(f"UPDATE usage_spares SET day = {self.civil_day('occurred_at')}")
        self.execute(f"UPDATE transactions SET day = {self.civil_day('happened_at')}")
        self.set_meta("timezone", self.timezone)
        self.set_meta("activity_batch", None)
        self.touch()

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
        """Run one statement."""
        return self.connection.execute(sql, list(parameters)) if parameters else self.connection.execute(sql)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement; no time stamps with a zone, which DuckDB can only hand over through Arrow."""
        return self.execute(sql, parameters).fetchall()

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The first column of the first row, None when there is no row."""
        found = self.rows(sql, parameters)
        return found[0][0] if found else None

    def count(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Rows that an INSERT, UPDATE, DELETE or CREATE TABLE AS touched."""
        return int(self.value(sql, parameters) or 0)

    def arrow(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """The rows of a statement as Arrow."""
        return self.reader(sql, parameters).read_all()

    def reader(self, sql: str, parameters: Sequence[Any] = (), *, rows: int = 100_000) -> pa.RecordBatchReader:
        """The rows of a SELECT as Arrow batches; read them before the next statement."""
        return self.connection.sql(sql, params=list(parameters) or None).to_arrow_reader(rows)

    def dicts(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The rows of a statement as dicts, times as aware datetimes."""
        return [dict(row) for row in self.arrow(sql, parameters).to_pylist()]

    def drop(self, *names: str) -> None:
        """Let go of temporary tables: what they hold counts against the memory allowed."""
        self.execute("; ".join(f"DROP TABLE IF EXISTS temp.{name}" for name in names))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; settings changed inside are written once, at the end."""
        self.connection.execute("BEGIN")
        self._inside = True
        try:
            yield
            self._save_meta()
            self.connection.execute("COMMIT")
            self.commits += 1
        except BaseException:
            self._meta = None
            self._unsaved.clear()
            self.connection.execute("ROLLBACK")
            raise
        finally:
            self._inside = False

    def meta(self, key: str) -> str | None:
        """A setting of this file."""
        return self._settings().get(key)

    def set_meta(self, key: str, value: str | None) -> None:
        """Keep a setting of this file; None forgets it."""
        settings = self._settings()
        if settings.get(key) == value:
            return
        if value is None:
            del settings[key]
        else:
            settings[key] = value
        self._unsaved.add(key)
        if not self._inside:
            self._save_meta()

    def _settings(self) -> dict[str, str]:
        if self._meta is None:
            self._meta = dict(self.rows("SELECT key, value FROM meta"))
        return self._meta

    def _save_meta(self) -> None:
        settings = self._settings()
        kept = [key for key in sorted(self._unsaved) if key in settings]
        for key in sorted(self._unsaved - set(kept)):
            self.execute("DELETE FROM meta WHERE key = ?", [key])
        if kept:
            places = ", ".join(["(?, ?)"] * len(kept))
            self.execute(
                f"INSERT OR REPLACE INTO meta VALUES {places}", [part for key in kept for part in (key, settings[key])]
            )
        self._unsaved.clear()

    def touch(self) -> None:
        """Note that a stored fact has changed."""
        self.set_meta("changes", str(int(self.meta("changes") or 0) + 1))

    def version(self) -> str:
        """Changes whenever a stored fact does."""
        return f"{self.meta('warehouse_id')}:{self.meta('changes') or 0}"

    def civil_day(self, instant: str) -> str:
        """SQL for the civil date of a TIMESTAMPTZ expression in the account's time zone."""
        if self.timezone in {"UTC", "Etc/UTC"}:
            return f"(DATE '1970-01-01' + (epoch_us({instant}) // 86400000000)::INTEGER)"
        return f"timezone({literal(self.timezone)}, {instant})::DATE"

    def end_of(self, day: date) -> str:
        """SQL literal of the instant at which a civil day of the account ends."""
        return timestamp(datetime.combine(day + timedelta(days=1), time.min, tzinfo=self.zone))

    def close(self) -> None:
        """Close the file; everything committed stays."""
        self.connection.close()


def literal(text: str) -> str:
    """Text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def timestamp(instant: datetime) -> str:
    """An aware instant as a SQL literal."""
    return f"TIMESTAMPTZ '{instant.astimezone(ZoneInfo('UTC')).isoformat(sep=' ')}'"


def day_literal(day: date) -> str:
    """A date as a SQL literal."""
    return f"DATE '{day.isoformat()}'"


def case_of(values: Mapping[str, int]) -> str:
    """A VALUES list of (name, number) pairs."""
    return ", ".join(f"({literal(name)}, {number})" for name, number in values.items())


def _path(url: str) -> str:
    if not url.startswith(PREFIX) or not url.removeprefix(PREFIX):
        raise SettingError(f"warehouse: {url!r} is not a DuckDB address", hint="write duckdb:///state/warehouse.duckdb")
    path = url.removeprefix(PREFIX)
    if path != MEMORY:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]

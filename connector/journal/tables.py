"""The journal's tables, the same on SQLite and PostgreSQL; `migrations/` brings a database to this shape."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

SCHEMA_VERSION = "0003"
"""The newest migration; a journal with any other version is brought here, or refused when it is newer."""


def dumps(value: Any) -> str:
    """JSON as the journal stores it: no spaces, keys as given, ASCII (NUL and lone surrogates survive)."""
    return json.dumps(value, separators=(",", ":"))


def canonical(value: Any) -> str:
    """JSON with sorted keys, so that equal values are equal text."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


class UtcTime(TypeDecorator[datetime]):
    """An aware moment; stored in UTC, read back in UTC on both databases."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse a naive time: its meaning would depend on the machine."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"the journal stores aware times only, got {value!r}")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Put the zone back that SQLite does not keep."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """A JSON value kept as text: written once, read whole, never searched inside."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:  # noqa: ARG002 - the base class calls it
        """Turn the value into text."""
        return None if value is None else dumps(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:  # noqa: ARG002 - as above
        """Turn the text back into the value."""
        return None if value is None else json.loads(value)


_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")


def keepable(text: str) -> str:
    """The text, letters that no database keeps (NUL, lone surrogates) replaced by U+FFFD."""
    return text if text.isprintable() else _UNKEEPABLE.sub("\ufffd", text)


class Words(TypeDecorator[str]):
    """What outsiders say: a letter that cannot be kept must not make a whole transaction fail."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002 - as above
        """Replace the letters."""
        return None if value is None else keepable(value)


metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    },
)

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite numbers rows by itself only when the key is exactly INTEGER."""

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("number", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("playbook_digest", sa.Text, nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("finished_at", UtcTime),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("summary", Json, nullable=False),
    sqlite_autoincrement=True,
)

locks = sa.Table(
    "locks",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("started", sa.Text, nullable=False),
    sa.Column("since", UtcTime, nullable=False),
    sa.Column("beats", sa.BigInteger, nullable=False),
    sa.Column("ttl_seconds", sa.Float, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
)

cursors = sa.Table(
    "cursors",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("cursor", Json, nullable=False),
    sa.Column("saved_at", UtcTime, nullable=False),
)

budgets = sa.Table(
    "budgets",
    metadata,
    sa.Column("system", sa.Text, primary_key=True),
    sa.Column("state", Json, nullable=False),
)

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("batch_id", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("plan_id", sa.Text, nullable=False),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("rows", Json, nullable=False),
    sa.Column("payload", Json),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("outcomes", sa.Text, nullable=False),
    sa.Column("ref", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("intended_at", UtcTime, nullable=False),
    sa.Column("sent_at", UtcTime),
    sa.Column("settled_at", UtcTime),
    sa.Index(None, "run_id"),
    sa.Index(None, "state", "destination"),
    sqlite_autoincrement=True,
)

held_versions = sa.Table(
    "held_versions",
    metadata,
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
)

held_lists = sa.Table(
    "held_lists",
    metadata,
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("list_id", sa.Text, nullable=False),
)

held_members = sa.Table(
    "held_members",
    metadata,
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("list_name", sa.Text, primary_key=True),
    sa.Column("row_id", sa.Text, primary_key=True),
    sqlite_with_rowid=False,
)

held_property_names = sa.Table(
    "held_property_names",
    metadata,
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
)

held_properties = sa.Table(
    "held_properties",
    metadata,
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("row_id", sa.Text, primary_key=True),
    sa.Column("properties", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

rejections = sa.Table(
    "rejections",
    metadata,
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("row_id", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("code", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("first_at", UtcTime, nullable=False),
    sa.Column("last_at", UtcTime, nullable=False),
)

plans = sa.Table(
    "plans",
    metadata,
    sa.Column("plan_id", sa.Text, primary_key=True),
    sa.Column("document", Json, nullable=False),
    sa.Column("saved_at", UtcTime, nullable=False),
    sa.Column("run_id", sa.Text),
    sa.Column("applied_at", UtcTime),
)

publications = sa.Table(
    "publications",
    metadata,
    sa.Column("number", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("as_of", sa.Date, nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("finished_at", UtcTime),
    sa.Column("contacts", sa.BigInteger),
    sqlite_autoincrement=True,
)

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("contact_id", sa.Text, primary_key=True),
    sa.Column("as_of", sa.Date, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("publication", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
)

audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("only", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
)

"""The journal's tables of what happens between runs: the inbox, the outbox, and what the worker settles at once."""

from __future__ import annotations

import sqlalchemy as sa

from connector.journal.tables import SERIAL, Json, UtcTime, Words, metadata

_WAITING = sa.text("state = 'waiting'")
_KNOWN = sa.text("contact_id IS NOT NULL")
_OPEN = sa.text("answered_at IS NULL")

inbox = sa.Table(
    "inbox",
    metadata,
    sa.Column("number", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("source", Words, nullable=False),
    sa.Column("event_key", Words, nullable=False),
    sa.Column("kind", Words, nullable=False),
    sa.Column("payload", Words),
    sa.Column("at", UtcTime),
    sa.Column("received_at", UtcTime, nullable=False),
    sa.Column("happened_at", UtcTime, nullable=False),
    sa.Column("request_id", Words, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", UtcTime),
    sa.Column("owner", sa.Text),
    sa.Column("leased_until", UtcTime),
    sa.Column("effect", Words),
    sa.Column("contact_id", Words),
    sa.Column("reason", Words),
    sa.Column("done_at", UtcTime),
    sa.UniqueConstraint("source", "event_key"),
    sa.Index("ix_inbox_waiting", "happened_at", "number", sqlite_where=_WAITING, postgresql_where=_WAITING),
    sa.Index(None, "source", "state", "received_at"),
    # Nobody is known on arrival, and arriving has to be cheap.
    sa.Index(None, "contact_id", sqlite_where=_KNOWN, postgresql_where=_KNOWN),
    sqlite_autoincrement=True,
)
"""`happened_at`: `at`, or when it arrived where the vendor does not say; `payload`: None once it was purged."""

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("number", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("intent_key", Words, nullable=False, unique=True),
    sa.Column("kind", Words, nullable=False),
    sa.Column("payload", Json, nullable=False),
    sa.Column("contact_id", Words),
    sa.Column("destination", Words),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("in_order", sa.Boolean, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("added_at", UtcTime, nullable=False),
    sa.Column("due_at", UtcTime),
    sa.Column("owner", sa.Text),
    sa.Column("leased_until", UtcTime),
    sa.Column("reason", Words),
    sa.Column("run_id", sa.Text),
    sa.Column("done_at", UtcTime),
    sa.Index("ix_outbox_waiting", "turn", "number", sqlite_where=_WAITING, postgresql_where=_WAITING),
    sa.Index(None, "contact_id"),
    sa.Index(None, "done_at"),
    sqlite_autoincrement=True,
)
"""`turn`: 0 for what is urgent, 1 for the rest. `in_order`: a write to the CRM about one contact."""

replies = sa.Table(
    "replies",
    metadata,
    sa.Column("source", Words, primary_key=True),
    sa.Column("call_key", Words, primary_key=True),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("contact_id", Words),
    sa.Column("answered_at", UtcTime, nullable=False),
    sa.Index(None, "contact_id"),
    sa.Index(None, "answered_at"),
)

facts = sa.Table(
    "facts",
    metadata,
    sa.Column("number", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("fact_key", Words, nullable=False, unique=True),
    sa.Column("kind", Words, nullable=False),
    sa.Column("who_kind", sa.Text, nullable=False),
    sa.Column("who", Words, nullable=False),
    sa.Column("contact_id", Words),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("source", Words, nullable=False),
    sa.Column("details", Json, nullable=False),
    sa.Column("heard_at", UtcTime, nullable=False),
    sa.Index(None, "contact_id", "at"),
    sa.Index(None, "at"),
    sqlite_autoincrement=True,
)

known = sa.Table(
    "known",
    metadata,
    sa.Column("kind", Words, primary_key=True),
    sa.Column("who", Words, primary_key=True),
    sa.Column("contact_id", Words, nullable=False),
    sa.Column("publication", sa.BigInteger, nullable=False),
    sa.Index(None, "contact_id"),
    sqlite_with_rowid=False,
)

stops = sa.Table(
    "stops",
    metadata,
    sa.Column("number", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("contact_id", Words, nullable=False),
    sa.Column("reason", Words, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Index(None, "contact_id"),
    sqlite_autoincrement=True,
)

asks = sa.Table(
    "asks",
    metadata,
    sa.Column("number", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("ask_key", Words, nullable=False, unique=True),
    sa.Column("contact_id", Words, nullable=False),
    sa.Column("program", Words),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("source", Words, nullable=False),
    sa.Column("callback", Words),
    sa.Column("asked_at", UtcTime, nullable=False),
    sa.Column("decision", Words),
    sa.Column("answered_at", UtcTime),
    sa.Index(None, "contact_id"),
    sa.Index("ix_asks_open", "number", sqlite_where=_OPEN, postgresql_where=_OPEN),
    sqlite_autoincrement=True,
)

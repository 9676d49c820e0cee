# ruff: noqa: INP001 - Alembic runs these files by path; importing them as modules would mean nothing
"""What happens between runs: the inbox and the outbox, facts, stops, asks, replies, and more about an answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_MOMENT = sa.DateTime(timezone=True)
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_WAITING = sa.text("state = 'waiting'")
_KNOWN = sa.text("contact_id IS NOT NULL")
_OPEN = sa.text("answered_at IS NULL")


def upgrade() -> None:
    """Make the tables of the worker and widen the answers; nothing that is there changes."""
    _make_inbox()
    _make_outbox()
    _make_facts()
    op.create_table(
        "replies",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("call_key", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("contact_id", sa.Text),
        sa.Column("answered_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("source", "call_key", name="pk_replies"),
    )
    for column in ("contact_id", "answered_at"):
        op.create_index(f"ix_replies_{column}", "replies", [column])
    op.create_table(
        "stops",
        sa.Column("number", _NUMBER, nullable=False, autoincrement=True),
        sa.Column("contact_id", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_stops"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_stops_contact_id", "stops", ["contact_id"])
    _make_asks()
    _widen_feedback()


def _make_inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("number", _NUMBER, nullable=False, autoincrement=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("event_key", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("payload", sa.Text),
        sa.Column("at", _MOMENT),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.Column("happened_at", _MOMENT, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", _MOMENT),
        sa.Column("owner", sa.Text),
        sa.Column("leased_until", _MOMENT),
        sa.Column("effect", sa.Text),
        sa.Column("contact_id", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("done_at", _MOMENT),
        sa.PrimaryKeyConstraint("number", name="pk_inbox"),
        sa.UniqueConstraint("source", "event_key", name="uq_inbox_source_event_key"),
        sqlite_autoincrement=True,
    )
    # Only what waits: few, whatever the history.
    op.create_index(
        "ix_inbox_waiting", "inbox", ["happened_at", "number"], sqlite_where=_WAITING, postgresql_where=_WAITING
    )
    op.create_index("ix_inbox_source_state_received_at", "inbox", ["source", "state", "received_at"])
    op.create_index("ix_inbox_contact_id", "inbox", ["contact_id"], sqlite_where=_KNOWN, postgresql_where=_KNOWN)


def _make_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("number", _NUMBER, nullable=False, autoincrement=True),
        sa.Column("intent_key", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("contact_id", sa.Text),
        sa.Column("destination", sa.Text),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("in_order", sa.Boolean, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("added_at", _MOMENT, nullable=False),
        sa.Column("due_at", _MOMENT),
        sa.Column("owner", sa.Text),
        sa.Column("leased_until", _MOMENT),
        sa.Column("reason", sa.Text),
        sa.Column("run_id", sa.Text),
        sa.Column("done_at", _MOMENT),
        sa.PrimaryKeyConstraint("number", name="pk_outbox"),
        sa.UniqueConstraint("intent_key", name="uq_outbox_intent_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_waiting", "outbox", ["turn", "number"], sqlite_where=_WAITING, postgresql_where=_WAITING)
    for column in ("contact_id", "done_at"):
        op.create_index(f"ix_outbox_{column}", "outbox", [column])


def _make_facts() -> None:
    op.create_table(
        "facts",
        sa.Column("number", _NUMBER, nullable=False, autoincrement=True),
        sa.Column("fact_key", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("who_kind", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("contact_id", sa.Text),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("heard_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_facts"),
        sa.UniqueConstraint("fact_key", name="uq_facts_fact_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_facts_contact_id_at", "facts", ["contact_id", "at"])
    op.create_index("ix_facts_at", "facts", ["at"])
    op.create_table(
        "known",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("contact_id", sa.Text, nullable=False),
        sa.Column("publication", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("kind", "who", name="pk_known"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_known_contact_id", "known", ["contact_id"])


def _make_asks() -> None:
    op.create_table(
        "asks",
        sa.Column("number", _NUMBER, nullable=False, autoincrement=True),
        sa.Column("ask_key", sa.Text, nullable=False),
        sa.Column("contact_id", sa.Text, nullable=False),
        sa.Column("program", sa.Text),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("callback", sa.Text),
        sa.Column("asked_at", _MOMENT, nullable=False),
        sa.Column("decision", sa.Text),
        sa.Column("answered_at", _MOMENT),
        sa.PrimaryKeyConstraint("number", name="pk_asks"),
        sa.UniqueConstraint("ask_key", name="uq_asks_ask_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_asks_contact_id", "asks", ["contact_id"])
    op.create_index("ix_asks_open", "asks", ["number"], sqlite_where=_OPEN, postgresql_where=_OPEN)


def _widen_feedback() -> None:
    for column in (
        sa.Column("survey", sa.Text),
        sa.Column("response", sa.Text),
        sa.Column("heard_as", sa.Text),
        sa.Column("text", sa.Text),
        sa.Column("choices", sa.Text),
        sa.Column("confidence", sa.Double),
        sa.Column("complete", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("language", sa.Text),
    ):
        op.add_column("feedback", column)

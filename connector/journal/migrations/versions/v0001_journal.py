# ruff: noqa: INP001 - Alembic runs these files by path; importing them as modules would mean nothing
"""The journal as first released."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_MOMENT = sa.DateTime(timezone=True)
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "runs",
        sa.Column("number", _NUMBER, nullable=False, autoincrement=True),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("playbook_digest", sa.Text, nullable=False),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("finished_at", _MOMENT),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_runs"),
        sa.UniqueConstraint("run_id", name="uq_runs_run_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "locks",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("started", sa.Text, nullable=False),
        sa.Column("since", _MOMENT, nullable=False),
        sa.Column("beats", sa.BigInteger, nullable=False),
        sa.Column("ttl_seconds", sa.Float, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_locks"),
    )
    op.create_table(
        "cursors",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("cursor", sa.Text, nullable=False),
        sa.Column("saved_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("source", "stream", name="pk_cursors"),
    )
    op.create_table(
        "budgets",
        sa.Column("system", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("system", name="pk_budgets"),
    )
    op.create_table(
        "batches",
        sa.Column("batch_id", _NUMBER, nullable=False, autoincrement=True),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("plan_id", sa.Text, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("rows", sa.Text, nullable=False),
        sa.Column("payload", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("outcomes", sa.Text, nullable=False),
        sa.Column("ref", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("intended_at", _MOMENT, nullable=False),
        sa.Column("sent_at", _MOMENT),
        sa.Column("settled_at", _MOMENT),
        sa.PrimaryKeyConstraint("batch_id", name="pk_batches"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_batches_run_id", "batches", ["run_id"])
    op.create_index("ix_batches_state_destination", "batches", ["state", "destination"])
    op.create_table(
        "held_versions",
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("destination", name="pk_held_versions"),
    )
    op.create_table(
        "held_lists",
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("list_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("destination", "name", name="pk_held_lists"),
    )
    op.create_table(
        "held_members",
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("list_name", sa.Text, nullable=False),
        sa.Column("row_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("destination", "list_name", "row_id", name="pk_held_members"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "held_property_names",
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("destination", "name", name="pk_held_property_names"),
    )
    op.create_table(
        "held_properties",
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("row_id", sa.Text, nullable=False),
        sa.Column("properties", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("destination", "row_id", name="pk_held_properties"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rejections",
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("row_id", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("code", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("first_at", _MOMENT, nullable=False),
        sa.Column("last_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("destination", "kind", "target", "row_id", name="pk_rejections"),
    )
    op.create_table(
        "plans",
        sa.Column("plan_id", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("saved_at", _MOMENT, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("applied_at", _MOMENT),
        sa.PrimaryKeyConstraint("plan_id", name="pk_plans"),
    )
    op.create_table(
        "publications",
        sa.Column("number", _NUMBER, nullable=False, autoincrement=True),
        sa.Column("as_of", sa.Date, nullable=False),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("finished_at", _MOMENT),
        sa.Column("contacts", sa.BigInteger),
        sa.PrimaryKeyConstraint("number", name="pk_publications"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "decisions",
        sa.Column("contact_id", sa.Text, nullable=False),
        sa.Column("as_of", sa.Date, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("publication", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("contact_id", name="pk_decisions"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit"),
    )
    op.create_table(
        "audit_head",
        sa.Column("only", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("only", name="pk_audit_head"),
    )

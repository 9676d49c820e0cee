# ruff: noqa: INP001 - Alembic runs these files by path; importing them as modules would mean nothing
"""The program: episodes and their steps, the consent ledger, coupons, feedback, splits, keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_MOMENT = sa.DateTime(timezone=True)
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ORDERED = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_DECIDED = sa.text("step_state = 'decided'")

_REFUSE_SQLITE = """
CREATE TRIGGER consent_events_no_{event} BEFORE {event} ON consent_events
BEGIN SELECT RAISE(ABORT, 'the consent ledger is append-only'); END
"""

# REPLACE would delete the line it replaces without asking the trigger above.
_KEEP_FIRST_SQLITE = """
CREATE TRIGGER consent_events_no_replace BEFORE INSERT ON consent_events
WHEN EXISTS (SELECT 1 FROM consent_events WHERE event_key = NEW.event_key OR number = NEW.number)
BEGIN SELECT RAISE(IGNORE); END
"""

_REFUSE_POSTGRES = """
CREATE FUNCTION winback_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the consent ledger is append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$
"""


def upgrade() -> None:
    """Make the program's tables; nothing that is there changes."""
    _make_episodes()
    _make_consent()
    _make_coupons()
    op.create_table(
        "feedback",
        sa.Column("number", _NUMBER, nullable=False, autoincrement=True),
        sa.Column("answer_key", sa.Text, nullable=False),
        sa.Column("contact_id", sa.Text, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("score", sa.Double),
        sa.Column("recorded_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_feedback"),
        sa.UniqueConstraint("answer_key", name="uq_feedback_answer_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_feedback_contact_id", "feedback", ["contact_id"])
    op.create_index("ix_feedback_at", "feedback", ["at"])
    op.create_table(
        "program_splits",
        sa.Column("program", sa.Text, nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("salt", sa.Text, nullable=False),
        sa.Column("eligible", sa.BigInteger, nullable=False),
        sa.Column("fixed_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("program", name="pk_program_splits"),
    )
    op.create_table(
        "keys",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("made_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_keys"),
    )
    op.create_table(
        "versions",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_versions"),
    )
    op.create_table(
        "link_subjects",
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("contact_id", sa.Text, nullable=False),
        sa.Column("made_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_link_subjects"),
    )
    op.create_index("ix_link_subjects_contact_id", "link_subjects", ["contact_id"])


def _make_episodes() -> None:
    op.create_table(
        "episodes",
        sa.Column("episode_id", sa.Text, nullable=False),
        sa.Column("contact_id", _ORDERED, nullable=False),
        sa.Column("program", sa.Text, nullable=False),
        sa.Column("spell_started_on", sa.Date, nullable=False),
        sa.Column("entered_at", _MOMENT, nullable=False),
        sa.Column("entered_as", sa.Text, nullable=False),
        sa.Column("arm", sa.Text, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("stratum", sa.Text, nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("step", sa.Text),
        sa.Column("step_state", sa.Text),
        sa.Column("step_at", _MOMENT),
        sa.Column("send_at", _MOMENT),
        sa.Column("written_at", _MOMENT),
        sa.Column("variant", sa.Text),
        sa.Column("branch", sa.Text),
        sa.Column("offer", sa.Text),
        sa.Column("code", sa.Text),
        sa.Column("properties", sa.Text, nullable=False),
        sa.Column("touches", sa.Integer, nullable=False),
        sa.Column("answered", sa.Boolean, nullable=False),
        sa.Column("exited_at", _MOMENT),
        sa.Column("exit_reason", sa.Text),
        sa.Column("outcome_until", _MOMENT),
        sa.Column("account_id", sa.Text),
        sa.Column("return_probability", sa.Double),
        sa.Column("consent", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("exit_run_id", sa.Text),
        sa.Column("destination", sa.Text),
        sa.Column("target", sa.Text),
        sa.Column("row_id", sa.Text),
        sa.PrimaryKeyConstraint("episode_id", name="pk_episodes"),
    )
    for column in ("contact_id", "entered_at", "run_id", "exit_run_id"):
        op.create_index(f"ix_episodes_{column}", "episodes", [column])
    # Only steps that wait for the CRM's word: few, whatever the history.
    op.create_index(
        "ix_episodes_decided",
        "episodes",
        ["target", "row_id"],
        sqlite_where=_DECIDED,
        postgresql_where=_DECIDED,
    )
    op.create_table(
        "episode_steps",
        sa.Column("number", _NUMBER, nullable=False, autoincrement=True),
        sa.Column("episode_id", sa.Text, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("contact_id", sa.Text, nullable=False),
        sa.Column("arm", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("due_on", sa.Date, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("send_at", _MOMENT),
        sa.Column("variant", sa.Text),
        sa.Column("branch", sa.Text),
        sa.Column("offer", sa.Text),
        sa.Column("code", sa.Text),
        sa.Column("cost", sa.Double, nullable=False),
        sa.Column("properties", sa.Text, nullable=False),
        sa.Column("destination", sa.Text),
        sa.Column("target", sa.Text),
        sa.Column("row_id", sa.Text),
        sa.Column("after_batch", sa.BigInteger, nullable=False),
        sa.Column("written_at", _MOMENT),
        sa.Column("undone_at", _MOMENT),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_episode_steps"),
        sa.UniqueConstraint("episode_id", "step", name="uq_episode_steps_episode_id_step"),
        sqlite_autoincrement=True,
    )
    for column in ("contact_id", "at", "send_at", "run_id"):
        op.create_index(f"ix_episode_steps_{column}", "episode_steps", [column])


def _make_consent() -> None:
    op.create_table(
        "consent_events",
        sa.Column("number", _NUMBER, nullable=False, autoincrement=True),
        sa.Column("event_key", sa.Text, nullable=False),
        sa.Column("subject", _ORDERED, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("captured_at", _MOMENT, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("basis", sa.Text),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("expires_at", _MOMENT),
        sa.Column("actor", sa.Text),
        sa.Column("recorded_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_consent_events"),
        sa.UniqueConstraint("event_key", name="uq_consent_events_event_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_consent_events_subject", "consent_events", ["subject"])
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_REFUSE_SQLITE.format(event="UPDATE"))
        op.execute(_REFUSE_SQLITE.format(event="DELETE"))
        op.execute(_KEEP_FIRST_SQLITE)
        return
    op.execute(_REFUSE_POSTGRES)
    for event, each in (("UPDATE", "ROW"), ("DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
        op.execute(
            f"CREATE TRIGGER consent_events_no_{event.lower()} BEFORE {event} ON consent_events "
            f"FOR EACH {each} EXECUTE FUNCTION winback_append_only()"
        )


def _make_coupons() -> None:
    op.create_table(
        "coupons",
        sa.Column("number", _NUMBER, nullable=False, autoincrement=True),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("offer", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("generated", sa.Boolean, nullable=False),
        sa.Column("added_at", _MOMENT, nullable=False),
        sa.Column("cost", sa.Double, nullable=False),
        sa.Column("episode_id", sa.Text),
        sa.Column("step", sa.Text),
        sa.Column("contact_id", sa.Text),
        sa.Column("issued_at", _MOMENT),
        sa.Column("expires_at", _MOMENT),
        sa.Column("redeemed_at", _MOMENT),
        sa.Column("redeemed_cost", sa.Double),
        sa.PrimaryKeyConstraint("number", name="pk_coupons"),
        sa.UniqueConstraint("code", name="uq_coupons_code"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_coupons_offer_state", "coupons", ["offer", "state"])
    for column in ("episode_id", "contact_id", "issued_at"):
        op.create_index(f"ix_coupons_{column}", "coupons", [column])

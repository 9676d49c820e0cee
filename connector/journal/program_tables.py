"""The journal's tables of the program: episodes, their steps, consent, coupons, feedback, splits, keys."""

from __future__ import annotations

import sqlalchemy as sa

from connector.journal.tables import SERIAL, Json, UtcTime, Words, metadata

_ORDERED = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text that sorts by its bytes, as SQLite sorts it and as the warehouse does."""

_DECIDED = sa.text("step_state = 'decided'")

episodes = sa.Table(
    "episodes",
    metadata,
    sa.Column("episode_id", sa.Text, primary_key=True),
    sa.Column("contact_id", _ORDERED, nullable=False),
    sa.Column("program", sa.Text, nullable=False),
    sa.Column("spell_started_on", sa.Date, nullable=False),
    sa.Column("entered_at", UtcTime, nullable=False),
    sa.Column("entered_as", sa.Text, nullable=False),
    sa.Column("arm", sa.Text, nullable=False),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("stratum", sa.Text, nullable=False),
    sa.Column("share", sa.Double, nullable=False),
    sa.Column("step", sa.Text),
    sa.Column("step_state", sa.Text),
    sa.Column("step_at", UtcTime),
    sa.Column("send_at", UtcTime),
    sa.Column("written_at", UtcTime),
    sa.Column("variant", sa.Text),
    sa.Column("branch", sa.Text),
    sa.Column("offer", sa.Text),
    sa.Column("code", sa.Text),
    sa.Column("properties", Json, nullable=False),
    sa.Column("touches", sa.Integer, nullable=False),
    sa.Column("answered", sa.Boolean, nullable=False),
    sa.Column("exited_at", UtcTime),
    sa.Column("exit_reason", sa.Text),
    sa.Column("outcome_until", UtcTime),
    sa.Column("account_id", sa.Text),
    sa.Column("return_probability", sa.Double),
    sa.Column("consent", Json, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("exit_run_id", sa.Text),
    sa.Column("destination", sa.Text),
    sa.Column("target", sa.Text),
    sa.Column("row_id", sa.Text),
    sa.Index(None, "contact_id"),
    sa.Index(None, "entered_at"),
    sa.Index(None, "run_id"),
    sa.Index(None, "exit_run_id"),
    sa.Index("ix_episodes_decided", "target", "row_id", sqlite_where=_DECIDED, postgresql_where=_DECIDED),
)
"""`destination`, `target` and `row_id`: what confirms the newest step; `run_id`: the run that entered."""

episode_steps = sa.Table(
    "episode_steps",
    metadata,
    sa.Column("number", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("episode_id", sa.Text, nullable=False),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("contact_id", sa.Text, nullable=False),
    sa.Column("arm", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("due_on", sa.Date, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("send_at", UtcTime),
    sa.Column("variant", sa.Text),
    sa.Column("branch", sa.Text),
    sa.Column("offer", sa.Text),
    sa.Column("code", sa.Text),
    sa.Column("cost", sa.Double, nullable=False),
    sa.Column("properties", Json, nullable=False),
    sa.Column("destination", sa.Text),
    sa.Column("target", sa.Text),
    sa.Column("row_id", sa.Text),
    sa.Column("after_batch", sa.BigInteger, nullable=False),
    sa.Column("written_at", UtcTime),
    sa.Column("undone_at", UtcTime),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.UniqueConstraint("episode_id", "step"),
    sa.Index(None, "contact_id"),
    sa.Index(None, "at"),
    sa.Index(None, "send_at"),
    sa.Index(None, "run_id"),
    sqlite_autoincrement=True,
)
"""`after_batch`: the newest batch when the step was logged; an older one cannot have carried its properties."""

consent_events = sa.Table(
    "consent_events",
    metadata,
    sa.Column("number", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("event_key", Words, nullable=False, unique=True),
    sa.Column("subject", _ORDERED, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("captured_at", UtcTime, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("basis", sa.Text),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("evidence", Json, nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("actor", sa.Text),
    sa.Column("recorded_at", UtcTime, nullable=False),
    sa.Index(None, "subject"),
    sqlite_autoincrement=True,
)
"""Append-only: triggers (made by the migration) refuse to change or delete a line."""

coupons = sa.Table(
    "coupons",
    metadata,
    sa.Column("number", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("code", sa.Text, nullable=False, unique=True),
    sa.Column("offer", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("generated", sa.Boolean, nullable=False),
    sa.Column("added_at", UtcTime, nullable=False),
    sa.Column("cost", sa.Double, nullable=False),
    sa.Column("episode_id", sa.Text),
    sa.Column("step", sa.Text),
    sa.Column("contact_id", sa.Text),
    sa.Column("issued_at", UtcTime),
    sa.Column("expires_at", UtcTime),
    sa.Column("redeemed_at", UtcTime),
    sa.Column("redeemed_cost", sa.Double),
    sa.Index(None, "offer", "state"),
    sa.Index(None, "episode_id"),
    sa.Index(None, "contact_id"),
    sa.Index(None, "issued_at"),
    sqlite_autoincrement=True,
)

feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("number", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("answer_key", Words, nullable=False, unique=True),
    sa.Column("contact_id", Words, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("source", Words, nullable=False),
    sa.Column("reason", Words),
    sa.Column("score", sa.Double),
    sa.Column("recorded_at", UtcTime, nullable=False),
    sa.Column("survey", Words),
    sa.Column("response", Words),
    sa.Column("heard_as", Words),
    sa.Column("text", Words),
    sa.Column("choices", Json),
    sa.Column("confidence", sa.Double),
    sa.Column("complete", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("language", Words),
    sa.Index(None, "contact_id"),
    sa.Index(None, "at"),
    sqlite_autoincrement=True,
)
"""`answer_key`: of a survey's response what it and its source are called, else the answer's own key."""

program_splits = sa.Table(
    "program_splits",
    metadata,
    sa.Column("program", sa.Text, primary_key=True),
    sa.Column("share", sa.Double, nullable=False),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("salt", sa.Text, nullable=False),
    sa.Column("eligible", sa.BigInteger, nullable=False),
    sa.Column("fixed_at", UtcTime, nullable=False),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("secret", sa.LargeBinary, nullable=False),
    sa.Column("made_at", UtcTime, nullable=False),
)

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)

link_subjects = sa.Table(
    "link_subjects",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("contact_id", sa.Text, nullable=False),
    sa.Column("made_at", UtcTime, nullable=False),
    sa.Index(None, "contact_id"),
)

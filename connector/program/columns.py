"""The columns a step's condition may use besides those of a segment: what happened since the contact entered.

The warehouse produces `SIGNALS` for every contact with an open episode (`warehouse.program_rows`); the engine adds
`STEP` from the episode and `FEEDBACK` from the journal.
"""

from __future__ import annotations

from dataclasses import replace

from connector.rules.columns import Column


def _as_relation(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Dotted names are columns with an underscore in a relation, as `accounts.mrr` is `account_mrr`."""
    return tuple(replace(c, relation=c.name.replace(".", "_")) if "." in c.name else c for c in columns)


SIGNALS: tuple[Column, ...] = _as_relation((
    Column("active_days_since_enrollment", "BIGINT", "active days since entry", nullable=False, low=0),
    Column("active_since_at", "TIMESTAMPTZ", "first use since entry"),
    Column("spell_broken_on", "TIMESTAMPTZ", "a use inside the silence that was counted, reported late"),
    Column("engaged.clicks", "BIGINT", "human clicks in our mail since entry; machine clicks never count",
           nullable=False, low=0),
    Column("engaged.replies", "BIGINT", "replies since entry", nullable=False, low=0),
    Column("engaged.visits", "BIGINT", "visits of the site since entry", nullable=False, low=0),
    Column("engaged.last_at", "TIMESTAMPTZ", "last human click, reply or visit since entry; an open never counts"),
    Column("engaged.replied_at", "TIMESTAMPTZ", "first reply since entry"),
    Column("engaged.complained_at", "TIMESTAMPTZ", "first spam report, whenever"),
    Column("engaged.unsubscribed_at", "TIMESTAMPTZ", "last unsubscribe, whenever"),
    Column("engaged.bounced_at", "TIMESTAMPTZ", "first hard bounce since entry"),
    Column("transactions_since_enrollment", "BIGINT", "payments, upgrades and orders since entry",
           nullable=False, low=0),
    Column("owner_contacted_at", "TIMESTAMPTZ", "last time somebody of ours got in touch, since entry"),
))  # fmt: skip

STEP: tuple[Column, ...] = _as_relation(
    (
        Column("step.name", "VARCHAR", "the newest step; empty before the first"),
        Column("step.number", "BIGINT", "its place, from 1", low=1),
        Column("step.days", "BIGINT", "days since it was taken", low=0),
        Column("step.answered", "BOOLEAN", "a click, reply or visit since entry"),
        Column("step.variant", "VARCHAR", "its variant"),
        Column("step.offer", "VARCHAR", "the offer made last"),
        Column("step.entered_as", "VARCHAR", "the segment at entry"),
        Column("step.days_in_program", "BIGINT", "days since entry", low=0),
    )
)

FEEDBACK: tuple[Column, ...] = _as_relation(
    (
        Column("feedback.reason", "VARCHAR", "the reason given last, since entry"),
        Column("feedback.score", "DOUBLE", "the score given last, since entry"),
        Column("feedback.at", "TIMESTAMPTZ", "when the last answer came"),
    )
)

PERSON: tuple[tuple[str, str], ...] = (
    ("legal_hold", "BOOLEAN"),
    ("consent_basis", "VARCHAR"),
    ("consent_at", "TIMESTAMPTZ"),
    ("consent_source", "VARCHAR"),
    ("snoozed_until", "TIMESTAMPTZ"),
    ("erased", "BOOLEAN"),
    ("lead_converted_at", "TIMESTAMPTZ"),
    ("last_paid_at", "TIMESTAMPTZ"),
    ("best_hour", "BIGINT"),
    ("active_teammates", "BIGINT"),
    ("milestone_days", "BIGINT"),
    ("confirmed_at", "TIMESTAMPTZ"),
)
"""Further relation columns for the engine itself, not for conditions (from attributes, accounts, usage).

`confirmed_at`: when the contact's source was last read (what `consent.max_age` is measured from). `best_hour`: the
start hour, in UTC, of the contact's best three hours by the smoothed profile. `active_teammates`: others of the
account active in the last 28 days. `milestone_days`: lifetime active days.
"""

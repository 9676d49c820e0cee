"""The tables as DuckDB holds them, and how a file of ours is told from others.

People, users and features have integer keys inside, so that the large tables are narrow and grouping is quick; ids
stay text at the edges. `usage_events` has one row per use and is only ever appended to, except where a file that is
read again replaces its own rows.
"""

from __future__ import annotations

from connector.model import neutral_columns

VERSION = 2
"""2: the names of the attributes that contacts have are kept (`attribute_names`)."""

BEGINNING = "TIMESTAMPTZ '0001-01-01 00:00:00+00'"
"""Since when the first version of a contact is valid: what was true before we looked is not known better."""

END = "TIMESTAMPTZ '9999-12-31 00:00:00+00'"
"""Until when the present version of a contact is valid."""

NO_FEATURE = 0
"""Key of the feature of uses that name none."""

RANKED_FEATURES = (
    "(SELECT feature_key, (row_number() OVER (ORDER BY feature, feature_key) - 1)::INTEGER AS rank FROM feature_names)"
)
"""Every feature with its place in the alphabet; uses without a feature come last."""

CONTACT_TYPES = {
    "contact_id": "VARCHAR",
    "created_at": "TIMESTAMPTZ",
    "can_email": "BOOLEAN",
    "opted_out": "BOOLEAN",
    "bounced": "BOOLEAN",
    "deleted_at": "TIMESTAMPTZ",
}
CONTACT_COLUMNS = neutral_columns("contacts")
ACCOUNT_TYPES = {"seats": "BIGINT", "mrr": "DOUBLE"}
ACCOUNT_COLUMNS = neutral_columns("accounts")


def _columns(names: tuple[str, ...], types: dict[str, str]) -> str:
    return ", ".join(f"{name} {types.get(name, 'VARCHAR')}" for name in names)


def attribute_names_of(relation: str) -> str:
    """SQL that remembers which attributes the contacts of a relation have."""
    return (
        "INSERT OR IGNORE INTO attribute_names SELECT DISTINCT unnest(names) FROM "
        f"(SELECT DISTINCT json_keys(attributes) AS names FROM {relation} WHERE attributes IS NOT NULL)"
    )


TABLES = f"""
CREATE TABLE IF NOT EXISTS meta (key VARCHAR PRIMARY KEY, value VARCHAR);
CREATE TABLE IF NOT EXISTS cursors (source VARCHAR, stream VARCHAR, cursor VARCHAR, PRIMARY KEY (source, stream));
CREATE TABLE IF NOT EXISTS stream_stats (
    source VARCHAR, stream VARCHAR, system VARCHAR, into_table VARCHAR, rows BIGINT, newest_at TIMESTAMPTZ,
    previous_rows BIGINT, pulled_at TIMESTAMPTZ, PRIMARY KEY (source, stream)
);
CREATE TABLE IF NOT EXISTS rejects (
    source VARCHAR, stream VARCHAR, place VARCHAR, reason VARCHAR, row_id VARCHAR, pulled_at TIMESTAMPTZ, origin VARCHAR
);
CREATE TABLE IF NOT EXISTS contacts_history (
    contact_key INTEGER, system VARCHAR, implicit BOOLEAN, valid_from TIMESTAMPTZ, valid_to TIMESTAMPTZ,
    match_email VARCHAR, {_columns(CONTACT_COLUMNS, CONTACT_TYPES)}
);
CREATE TABLE IF NOT EXISTS attribute_names (name VARCHAR PRIMARY KEY);
CREATE OR REPLACE VIEW contacts AS
    SELECT * EXCLUDE (valid_from, valid_to) FROM contacts_history WHERE valid_to = {END};
CREATE TABLE IF NOT EXISTS secondary_emails (contact_key INTEGER, match_email VARCHAR);
CREATE TABLE IF NOT EXISTS merges (system VARCHAR, merged_id VARCHAR, contact_id VARCHAR, seen_at TIMESTAMPTZ);
CREATE TABLE IF NOT EXISTS folded (contact_key INTEGER, into_key INTEGER);
CREATE TABLE IF NOT EXISTS same_person (contact_key INTEGER, into_key INTEGER, system VARCHAR, place INTEGER);
CREATE TABLE IF NOT EXISTS kept_apart (contact_key INTEGER, reason VARCHAR);
CREATE TABLE IF NOT EXISTS snapshot_seen (source VARCHAR, stream VARCHAR, snapshot VARCHAR, contact_key INTEGER);
CREATE TABLE IF NOT EXISTS accounts (system VARCHAR, {_columns(ACCOUNT_COLUMNS, ACCOUNT_TYPES)});
CREATE TABLE IF NOT EXISTS users (
    user_key INTEGER, system VARCHAR, user_id VARCHAR, contact_key INTEGER, matched_by VARCHAR, reason VARCHAR,
    first_at TIMESTAMPTZ, account_id VARCHAR, account_at TIMESTAMPTZ, since_batch INTEGER
);
CREATE TABLE IF NOT EXISTS user_facts (user_key INTEGER, kind VARCHAR, value VARCHAR);
CREATE TABLE IF NOT EXISTS feature_names (feature_key INTEGER, feature VARCHAR);
CREATE TABLE IF NOT EXISTS origins (origin_key INTEGER, source VARCHAR, stream VARCHAR, origin VARCHAR);
CREATE TABLE IF NOT EXISTS usage_events (
    user_key INTEGER, day DATE, feature_key INTEGER, events BIGINT, occurred_at TIMESTAMPTZ, arrived_at TIMESTAMPTZ,
    event_key UBIGINT, source_key INTEGER, origin_key INTEGER, batch INTEGER
);
CREATE TABLE IF NOT EXISTS usage_spares AS FROM usage_events;
CREATE TABLE IF NOT EXISTS transactions (
    user_key INTEGER, happened_at TIMESTAMPTZ, day DATE, amount DOUBLE, currency VARCHAR, kind VARCHAR,
    transaction_id VARCHAR, account_id VARCHAR, system VARCHAR, origin_key INTEGER
);
CREATE TABLE IF NOT EXISTS engagements (
    user_key INTEGER, happened_at TIMESTAMPTZ, kind VARCHAR, campaign VARCHAR, step VARCHAR, machine BOOLEAN,
    event_id VARCHAR, system VARCHAR, origin_key INTEGER
);
CREATE TABLE IF NOT EXISTS activity (
    contact_key INTEGER, active_dates DATE[], first_date DATE, last_date DATE, returned_on DATE, gap_median_days DOUBLE,
    gap_p90_days DOUBLE, first_active_at TIMESTAMPTZ, last_active_at TIMESTAMPTZ, last_feature_key INTEGER,
    top_feature_key INTEGER, top_events BIGINT
);
CREATE TABLE IF NOT EXISTS feature_counts (
    contact_key INTEGER, feature_key INTEGER, events BIGINT, first_at TIMESTAMPTZ, last_at TIMESTAMPTZ
);
CREATE TABLE IF NOT EXISTS contact_hours (contact_key INTEGER, zone VARCHAR, hours UINTEGER[]);
CREATE TABLE IF NOT EXISTS stale_contacts (contact_key INTEGER);
CREATE TABLE IF NOT EXISTS recorded_members (segment VARCHAR, contact_key INTEGER);
INSERT INTO feature_names SELECT {NO_FEATURE}, NULL WHERE NOT EXISTS (FROM feature_names);
"""

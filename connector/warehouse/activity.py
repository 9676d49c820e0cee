"""The state behind `features`: per contact its active days, gaps, favourite features; kept up to date by what is new.

The state is a sum: days are a set, counts add up, first and last are extremes. So new and late uses are merged into
the state of just the contacts they belong to. Contacts from whom something was taken away (a replaced file, another
match) are worked out again from all their uses; everything is, when what counts as activity changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from connector.rules import sql_files
from connector.warehouse import schema
from connector.warehouse.answers import Refreshed
from connector.warehouse.database import Database, day_literal

USES_A_PASS = 16_000_000
"""A full rebuild groups at most about this many uses at once, so that memory stays small."""

STALE_SHARE = 0.3
"""Where more contacts than this must be worked out again, everybody is."""

FEW = 1000
"""So few contacts are never worth working everybody out for."""

_NAMES = "SELECT feature_key, coalesce(feature, '') AS feature FROM feature_names"
_EVENTS = re.compile(r"\bevents\b", re.IGNORECASE)


def usage_rows(counts: str | None, *, where: str = "true") -> str:
    """SQL for the uses that count as activity: contact_key, day, feature_key, events, occurred_at.

    A condition over `feature` alone is tested use by use; one over `events` means the events of a contact, day and
    feature together, so it is tested on their sum. A use without a feature has the empty text as its feature.
    """
    plain = (
        "SELECT users.contact_key, uses.day, uses.feature_key, uses.events, uses.occurred_at "
        "FROM usage_events AS uses JOIN users USING (user_key) "
        f"WHERE users.contact_key IS NOT NULL AND {where}"
    )
    if counts is None:
        return f"({plain})"
    if not by_day(counts):
        return f"({plain} AND uses.feature_key IN (SELECT feature_key FROM ({_NAMES}) WHERE {counts}))"
    enough = (
        "SELECT contact_key, day, feature_key FROM ("
        f"SELECT contact_key, day, feature_key, sum(events)::BIGINT AS events FROM ({plain}) GROUP BY ALL) "
        f"JOIN ({_NAMES}) USING (feature_key) WHERE {counts}"
    )
    return f"(FROM ({plain}) SEMI JOIN ({enough}) USING (contact_key, day, feature_key))"


def by_day(counts: str) -> bool:
    """Whether a condition looks at how many events a day had."""
    return _EVENTS.search(counts) is not None


def refresh(database: Database, counts: str | None) -> Refreshed:
    """Merge uses that came since the last refresh; work everything out if the condition changed or nothing was read."""
    wanted = counts or ""
    read = database.meta("activity_batch")
    if read is None or (database.meta("activity_counts") or "") != wanted:
        return rebuild(database, counts)
    newest = int(database.meta("batch") or 0)
    stale = int(database.value("SELECT count(DISTINCT contact_key) FROM stale_contacts"))
    if newest <= int(read) and not stale:
        return Refreshed(0, full=False)
    with database.transaction():
        if counts is not None and by_day(counts):
            database.execute(
                "INSERT INTO stale_contacts SELECT DISTINCT contact_key FROM usage_events JOIN users USING (user_key) "
                f"WHERE batch > {read} AND contact_key IS NOT NULL"
            )
            stale = int(database.value("SELECT count(DISTINCT contact_key) FROM stale_contacts"))
        few = stale <= max(FEW, STALE_SHARE * int(database.value("SELECT count(*) FROM activity")))
        changed = _merge(database, counts, since=int(read)) if few else 0
        if few:
            _done(database, counts, newest)
    if not few:
        return rebuild(database, counts)
    _fold_counts(database)
    return Refreshed(changed, full=False)


def rebuild(database: Database, counts: str | None) -> Refreshed:
    """Work everybody's state out from all uses, in passes small enough for the memory allowed.

    Each pass commits by itself; until all have, nothing counts as read, so a rebuild that is cut short is begun again.
    """
    # In one transaction, DuckDB 2.0.0 lost sight of rows that large INSERTs put into a table created in it (2026-11).
    with database.transaction():
        database.set_meta("activity_batch", None)
        forget_hours(database)
    database.execute("CREATE OR REPLACE TABLE activity AS FROM activity LIMIT 0")
    database.execute("CREATE OR REPLACE TABLE feature_counts AS FROM feature_counts LIMIT 0")
    build(database, counts, activity="activity", feature_counts="feature_counts")
    with database.transaction():
        database.set_meta("counts_folded", str(database.value("SELECT count(*) FROM feature_counts")))
        _done(database, counts, int(database.meta("batch") or 0))
        return Refreshed(int(database.value("SELECT count(*) FROM activity")), full=True)


def build(
    database: Database,
    counts: str | None,
    *,
    activity: str,
    feature_counts: str | None = None,
    until: date | None = None,
) -> None:
    """Fill a state table from all uses, or from those up to a day; the temporary tables of each pass are dropped."""
    uses = int(database.value("SELECT count(*) FROM usage_events"))
    passes = max(1, -(-uses // USES_A_PASS))
    day = f"uses.day <= {day_literal(until)}" if until is not None else "true"
    with any_order(database):
        for number in range(passes):
            part = f"users.contact_key % {passes} = {number}" if passes > 1 else "true"
            usage = usage_rows(counts, where=f"{day} AND {part}")
            _temp(database, "pass_counts", sql_files.render("contact_feature_counts", usage=usage))
            if feature_counts is not None:
                database.execute(f"INSERT INTO {feature_counts} FROM pass_counts")
            _temp(
                database,
                "pass_best",
                sql_files.render("contact_best", counts="pass_counts", ranked=schema.RANKED_FEATURES),
            )
            database.drop("pass_counts")
            _temp(database, "pass_days", sql_files.render("contact_days", usage=usage))
            _insert_activity(database, activity, days="pass_days", best="pass_best")
            database.drop("pass_days", "pass_best")


def _merge(database: Database, counts: str | None, *, since: int) -> int:
    """Add the new uses to their contacts' state; a stale contact's state is forgotten and all its uses are new."""
    _temp(database, "stale", "SELECT DISTINCT contact_key FROM stale_contacts")
    for table in ("activity", "feature_counts"):
        database.execute(f"DELETE FROM {table} WHERE contact_key IN (FROM stale)")
    new = usage_rows(counts, where=f"uses.batch > {since} AND users.contact_key NOT IN (FROM stale)")
    if int(database.value("SELECT count(*) FROM stale")):
        new += f" UNION ALL FROM {usage_rows(counts, where='users.contact_key IN (FROM stale)')}"
    _temp(database, "new_usage", f"FROM {new}")
    _temp(database, "new_counts", sql_files.render("contact_feature_counts", usage="new_usage"))
    _temp(database, "changed", "SELECT DISTINCT contact_key FROM new_counts")
    _temp(database, "before", "FROM activity WHERE contact_key IN (FROM changed)")
    _temp(database, "totals", sql_files.render("new_totals", fresh="new_counts", counts="feature_counts"))
    _temp(database, "total_best", sql_files.render("contact_best", counts="totals", ranked=schema.RANKED_FEATURES))
    _temp(
        database,
        "merged_best",
        sql_files.render("merged_best", fresh="total_best", activity="before", ranked=schema.RANKED_FEATURES),
    )
    _temp(database, "new_days", sql_files.render("contact_days", usage="new_usage"))
    _temp(database, "merged_days", sql_files.render("merged_days", fresh="new_days", activity="before"))
    database.execute("DELETE FROM activity WHERE contact_key IN (FROM changed)")
    _insert_activity(database, "activity", days="merged_days", best="merged_best")
    database.execute("INSERT INTO feature_counts FROM new_counts")
    forget_hours(database, "FROM changed UNION FROM stale")
    changed = int(database.value("SELECT count(*) FROM (FROM changed UNION FROM stale)"))
    database.drop(*_MERGE_TABLES)
    return changed


_MERGE_TABLES = (
    "stale", "new_usage", "new_counts", "changed", "before", "totals", "total_best", "merged_best", "new_days",
    "merged_days",
)  # fmt: skip


def _fold_counts(database: Database) -> None:
    """Add up the rows per contact and feature once they have doubled."""
    rows = int(database.value("SELECT count(*) FROM feature_counts"))
    if rows > 2 * int(database.meta("counts_folded") or 0) + 100_000:
        database.execute(
            "CREATE OR REPLACE TABLE feature_counts AS SELECT contact_key, feature_key, sum(events)::BIGINT AS events, "
            "min(first_at) AS first_at, max(last_at) AS last_at FROM feature_counts GROUP BY contact_key, feature_key"
        )
        rows = int(database.value("SELECT count(*) FROM feature_counts"))
        database.set_meta("counts_folded", str(rows))


def forget_hours(database: Database, contacts: str | None = None) -> None:
    """Let go of the event hours kept for these contacts (a query for keys), or for everybody."""
    database.execute("DELETE FROM contact_hours" + (f" WHERE contact_key IN ({contacts})" if contacts else ""))


def _insert_activity(database: Database, activity: str, *, days: str, best: str) -> None:
    made = sql_files.render("activity", days=days, best=best, ranked=schema.RANKED_FEATURES)
    database.execute(f"INSERT INTO {activity} BY NAME {made}")


def _done(database: Database, counts: str | None, batch: int) -> None:
    database.execute("DELETE FROM stale_contacts")
    database.set_meta("activity_batch", str(batch))
    database.set_meta("activity_counts", counts or "")
    newest = database.value("SELECT max(last_date) FROM activity")
    database.set_meta("activity_until", newest.isoformat() if newest is not None else None)
    database.set_meta("activity_number", str(int(database.meta("activity_number") or 0) + 1))


@contextmanager
def any_order(database: Database) -> Iterator[None]:
    """Let DuckDB hand rows on in any order: much less memory for large tables."""
    database.execute("SET preserve_insertion_order = false")
    try:
        yield
    finally:
        database.execute("SET preserve_insertion_order = true")


def _temp(database: Database, name: str, sql: str) -> None:
    database.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}")

"""When in the day each contact uses the product: kept for those who are asked about, dropped when they use it again."""

from __future__ import annotations

from datetime import date

from connector.rules import sql_files
from connector.warehouse import activity, features
from connector.warehouse.database import Database, day_literal, literal

WEIGHT_EVENT_HOURS = 48
LEAST_EVENT_HOURS = 10
WINDOW_HOURS = 3
"""How everybody's profile smooths a contact's own; measured on public data, where it gains a little."""

USES_A_PASS = 4_000_000
SAMPLED_USES = 1_000_000
"""Everybody's profile is that of every n-th contact, so that about this many uses are read."""

BEST = "best_hours"
_PEOPLE = "hours_people"
_MISSING = "hours_missing"
_OFFSETS = "hours_offsets"
_PAST = "contact_hours_past"


def find(database: Database, as_of: date, *, wanted: str) -> str:
    """Make `best_hours` (contact_key, best_hour) for the contacts of this query, and give its name.

    `wanted` yields contact_key and timezone. A past day is worked out for itself and not kept.
    """
    past = features.lies_before_the_newest_use(database, as_of)
    table = _PAST if past else "contact_hours"
    if past:
        database.execute(f"CREATE OR REPLACE TEMP TABLE {_PAST} AS FROM contact_hours LIMIT 0")
    own = literal(database.timezone)
    database.execute("CREATE OR REPLACE TEMP TABLE hours_names AS SELECT name FROM pg_timezone_names()")
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE {_PEOPLE} AS SELECT contact_key, "
        f"CASE WHEN timezone IN (FROM hours_names) THEN timezone ELSE {own} END AS zone FROM ({wanted})"
    )
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE {_MISSING} AS FROM {_PEOPLE} AS p ANTI JOIN {table} USING (contact_key, zone)"
    )
    database.execute(f"DELETE FROM {table} WHERE contact_key IN (SELECT contact_key FROM {_MISSING})")
    _find_offsets(database)
    _count(database, as_of, people=_MISSING, into=table)
    everybody = _everybody(database, as_of)
    windows = [sum(everybody[(hour + step) % 24] for step in range(WINDOW_HOURS)) for hour in range(24)]
    own_windows = [
        " + ".join(f"h.hours[{(hour + step) % 24 + 1}]" for step in range(WINDOW_HOURS))
        + f" + {WEIGHT_EVENT_HOURS * windows[hour]!r}::DOUBLE"
        for hour in range(24)
    ]
    best = sql_files.render(
        "best_hours",
        people=_PEOPLE,
        hours=table,
        windows=f"[{', '.join(own_windows)}]",
        everybody=str(windows.index(max(windows))),
        offsets=f"(SELECT zone, {_minutes_ahead(database.end_of(as_of))} AS minutes "
        f"FROM (SELECT DISTINCT zone FROM {_PEOPLE}))",
        least=str(LEAST_EVENT_HOURS),
    )
    database.execute(f"CREATE OR REPLACE TEMP TABLE {BEST} AS {best}")
    database.drop("hours_names", _PEOPLE, _MISSING, _OFFSETS, _PAST)
    return BEST


def _count(database: Database, as_of: date, *, people: str, into: str) -> None:
    """Count these people's event hours into a table, in passes; who has no uses gets an empty row, so as to be done."""
    many = int(database.value(f"SELECT count(*) FROM {people}"))
    if not many:
        return
    passes = max(1, -(-int(database.value("SELECT count(*) FROM usage_events")) // USES_A_PASS))
    for number in range(passes):
        part = f"contact_key % {passes} = {number}"
        hours = _event_hours(database, as_of, people=f"(FROM {people} WHERE {part})")
        database.execute(
            f"INSERT INTO {into} BY NAME SELECT p.contact_key, p.zone, h.hours FROM {people} AS p "
            f"LEFT JOIN ({hours}) AS h USING (contact_key) WHERE p.{part}"
        )


def _everybody(database: Database, as_of: date) -> list[float]:
    """Everybody's profile: the share of event hours in each hour of the day; even where there are none."""
    share = max(1, -(-int(database.value("SELECT count(*) FROM usage_events")) // SAMPLED_USES))
    people = f"(SELECT contact_key, zone FROM {_PEOPLE} WHERE contact_key % {share} = 0)"
    sums = ", ".join(f"sum(hours[{hour}])" for hour in range(1, 25))
    counts = database.rows(f"SELECT {sums} FROM ({_event_hours(database, as_of, people=people)})")[0]
    total = sum(count or 0 for count in counts)
    return [(count or 0) / total if total else 1 / 24 for count in counts]


def _event_hours(database: Database, as_of: date, *, people: str) -> str:
    """SQL for the event hours of these people up to a day."""
    uses = activity.usage_rows(
        database.meta("activity_counts") or None,
        where=f"uses.day <= {day_literal(as_of)} AND users.contact_key IN (SELECT contact_key FROM {people})",
    )
    return sql_files.render(
        "event_hours",
        uses=uses,
        zones=people,
        offsets=_OFFSETS,
        counts="[" + ", ".join(f"count(*) FILTER (hour = {hour})" for hour in range(24)) + "]::UINTEGER[]",
    )


def _find_offsets(database: Database) -> None:
    """Make the table of how far each zone is ahead on each day with uses; NULL where its clocks change."""
    begins = _minutes_ahead("make_timestamptz(utc_day * 86400000000)")
    ends = _minutes_ahead("make_timestamptz((utc_day + 1) * 86400000000)")
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE {_OFFSETS} AS SELECT zone, utc_day, "
        f"CASE WHEN {begins} = {ends} THEN {begins} END AS minutes FROM (SELECT DISTINCT zone FROM {_PEOPLE}), "
        "(SELECT DISTINCT (day - DATE '1970-01-01')::BIGINT + around AS utc_day "
        "FROM (SELECT DISTINCT day FROM usage_events), (SELECT unnest([-1, 0, 1]) AS around))"
    )


def _minutes_ahead(instant: str) -> str:
    """SQL for how far the clocks of `zone` are ahead of UTC at an instant."""
    return f"(epoch_us(timezone(zone, {instant})) - epoch_us({instant})) // 60000000"

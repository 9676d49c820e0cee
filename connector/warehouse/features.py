"""One row per contact at the end of a day, with every column a condition may use."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from connector.errors import SettingError
from connector.rules import sql_files
from connector.rules.columns import RELATION_COLUMNS
from connector.warehouse import activity, same_person, schema
from connector.warehouse.database import Database, day_literal, literal

MEASURED = "contact_features"
PAST = "activity_past"
KEY = "contact_key"

COUNTED = ("active_days_28", "active_days_90", "active_days_365")
"""Columns that are 0, not empty, for somebody who was never active."""

ACTIVITY_COLUMNS = frozenset(
    {
        *COUNTED, "last_active_at", "first_active_at", "inactive_days", "gap_median_days", "gap_p90_days", "value_365d",
        "lifetime_value", "recency_quintile", "frequency_quintile", "monetary_quintile", "lifecycle",
    }
)  # fmt: skip

LAST_ACTIVE_ON = "last_active_on"
"""Beside the columns of conditions: the civil date of the last active day."""

BATCH_ROWS = 10_000


@dataclass(slots=True)
class Made:
    """Which day the temporary tables stand for, and of which facts; so that nothing is worked out twice."""

    as_of: date | None = None
    state: str | None = None


def all_columns() -> tuple[str, ...]:
    """Every column of the features relation, `contact_id` first."""
    return ("contact_id", *(name for name in RELATION_COLUMNS if name != "contact_id"), LAST_ACTIVE_ON)


def measure(database: Database, as_of: date, made: Made) -> None:
    """Make the temporary table `contact_features` for this day, unless it is there; new uses are merged in first."""
    activity.refresh(database, database.meta("activity_counts") or None)
    state = f"{database.version()}/{database.meta('activity_number')}"
    if made.as_of == as_of and made.state == state:
        return
    made.as_of = made.state = None
    source = "activity"
    if lies_before_the_newest_use(database, as_of):
        source = PAST
        database.execute(f"CREATE OR REPLACE TEMP TABLE {PAST} AS FROM activity LIMIT 0")
        activity.build(database, database.meta("activity_counts") or None, activity=PAST, until=as_of)
    day = day_literal(as_of)
    paid = sql_files.render("contact_value", transactions=_payments(), as_of=day)
    with activity.any_order(database):
        database.execute(
            f"CREATE OR REPLACE TEMP TABLE {MEASURED} AS "
            + sql_files.render("contact_features", activity=source, paid=f"({paid})", as_of=day)
        )
    made.as_of, made.state = as_of, state


def state_table(database: Database, as_of: date, made: Made) -> str:
    """The table with everybody's active days up to this day."""
    measure(database, as_of, made)
    return PAST if lies_before_the_newest_use(database, as_of) else "activity"


def lies_before_the_newest_use(database: Database, as_of: date) -> bool:
    """Whether the state holds usage from after this day, so that it cannot be used."""
    until = database.meta("activity_until")
    return until is not None and date.fromisoformat(until) > as_of


def _payments() -> str:
    return (
        "(SELECT contact_key, day, amount, currency FROM transactions JOIN users USING (user_key) "
        "WHERE contact_key IS NOT NULL)"
    )


def relation(database: Database, as_of: date, columns: Collection[str]) -> str:
    """The SELECT of these columns (and contact_key) for everybody who exists at the end of the day."""
    unknown = sorted(set(columns) - set(all_columns()) - {KEY})
    if unknown:
        raise SettingError(f"no column {unknown[0]!r}", hint=f"columns: {', '.join(all_columns())}")
    joins = []
    if any(name.startswith("account_") and name != "account_id" for name in columns):
        joins.append("LEFT JOIN accounts AS company ON company.account_id = person.account_id")
    if "last_feature" in columns:
        joins.append("LEFT JOIN feature_names AS latest ON latest.feature_key = measured.last_feature_key")
    if "top_feature" in columns:
        joins.append("LEFT JOIN feature_names AS top ON top.feature_key = measured.top_feature_key")
    return sql_files.render(
        "features",
        columns=", ".join(
            ["person.contact_key", *(f"{_source(name, as_of)} AS {name}" for name in columns if name != KEY)]
        ),
        people=f"({people_as_of(database, as_of)})",
        measured=MEASURED,
        joins="\n".join(joins),
        ends_at=database.end_of(as_of),
    )


def people_as_of(database: Database, as_of: date) -> str:
    """The SELECT of everybody as known at the end of the day, whoever is part of another left out."""
    ends_at = database.end_of(as_of)
    people = sql_files.render("contacts_as_of", history="contacts_history", ends_at=ends_at, folded="folded")
    return same_person.together(database, people, ends_at=ends_at)


_ELSEWHERE = {LAST_ACTIVE_ON: "measured.last_date", "last_feature": "latest.feature", "top_feature": "top.feature"}
_ELSEWHERE |= {name: f"coalesce(measured.{name}, 0)::BIGINT" for name in COUNTED}


def _source(name: str, as_of: date) -> str:
    """SQL for a column of the relation."""
    if name == "as_of":
        return day_literal(as_of)
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    if name in ACTIVITY_COLUMNS:
        return f"measured.{name}"
    return f"person.{name}" if name in schema.CONTACT_COLUMNS else f"company.{name.removeprefix('account_')}"


def view(database: Database, as_of: date, made: Made) -> str:
    """The name of a temporary view with every column for this day."""
    measure(database, as_of, made)
    name = f"features_{as_of:%Y%m%d}"
    database.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {relation(database, as_of, all_columns())}")
    return name


def contact_row(database: Database, contact_id: str, as_of: date, made: Made) -> dict[str, Any] | None:
    """All columns of one contact, None when it does not exist at that date."""
    measure(database, as_of, made)
    found = database.dicts(f"FROM ({relation(database, as_of, all_columns())}) WHERE contact_id = ?", [contact_id])
    if not found:
        return None
    found[0].pop(KEY)
    return found[0]


def batches(
    database: Database, as_of: date, made: Made, *, columns: Sequence[str] | None, contact_id: str | None
) -> tuple[list[str], Iterator[list[tuple[Any, ...]]]]:
    """Column names, `contact_id` first, and the rows in batches, by contact_id."""
    wanted = all_columns() if columns is None else ("contact_id", *(name for name in columns if name != "contact_id"))
    names = [_relation_name(name) for name in wanted]
    measure(database, as_of, made)
    only = f"WHERE contact_id = {literal(contact_id)}" if contact_id is not None else ""
    sql = f"SELECT {', '.join(names)} FROM ({relation(database, as_of, names)}) {only} ORDER BY contact_id"
    return list(wanted), _tuples(database, sql)


def relation_name(name: str) -> str:
    """The relation's column behind a condition's: attributes.x is read from attributes, accounts.x from account_x."""
    if name.startswith("accounts.attributes."):
        return "account_attributes"
    return "attributes" if name.startswith("attributes.") else _relation_name(name)


def _relation_name(name: str) -> str:
    """`accounts.mrr` is written so in conditions and called account_mrr in the relation."""
    return f"account_{name.removeprefix('accounts.')}" if name.startswith("accounts.") else name


def _tuples(database: Database, sql: str) -> Iterator[list[tuple[Any, ...]]]:
    for batch in database.reader(sql, rows=BATCH_ROWS):
        yield list(zip(*(column.to_pylist() for column in batch.columns), strict=True))

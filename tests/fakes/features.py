"""Rows of the features relation for tests: random ones, and the engine's answer to a condition over them."""

from __future__ import annotations

import atexit
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa
from hypothesis import strategies as st

from connector.rules.columns import COLUMNS, RELATION_COLUMNS, Column, Kind

ARROW_TYPES = {
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.string(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
    "DATE": pa.date32(),
}
SCHEMA = pa.schema([(name, ARROW_TYPES[kind]) for name, kind in RELATION_COLUMNS.items()])

TEXTS = ["", "cto", "team_lead", "CTO", "a'b", "naïve", "İstanbul", "straße", "ab", "a%b", "a_b", "a\\b", "Ж", "😀"]
WHOLE = st.sampled_from([0, 1, 2, 5, 28, 29, 30, 31, 59, 60, 180, 400])
FLOATS = st.sampled_from([0.0, 0.5, 1.0, 2.5, 7.25, 30.0, 59.999, 1e9, -3.5]) | st.floats(-1e6, 1e6, width=32)
TIMES = st.datetimes(datetime(2025, 10, 1), datetime(2026, 4, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001
ATTRIBUTE_VALUES = (
    st.sampled_from([None, True, False, "true", "no", "12", " 12", "1e2", "abc", "2026-01-05", "2026-13-05T00:00:00Z"])
    | st.sampled_from(["2026-01-05T10:00:00+02:00", 12, 12.5, -3, [1, 2], {"a": 1}, "", "12.50", "+7", "1_000"])
    | st.integers(-1000, 1000)
)


def in_range(column: Column, value: float | None) -> float | None:
    """The value moved into what the column can hold."""
    if value is None:
        return None
    low, high = column.low, column.high
    value = value if low is None else max(low, value)
    return value if high is None else min(high, value)


def column_values(column: Column) -> st.SearchStrategy[Any]:
    """Values this column can have, NULL among them where it can."""
    match column.kind:
        case Kind.NUMBER:
            plain = (WHOLE if column.integer else FLOATS).map(lambda value: in_range(column, value))
        case Kind.BOOLEAN:
            plain = st.booleans()
        case Kind.TIME:
            plain = TIMES
        case _:
            plain = st.sampled_from(list(column.choices) or TEXTS)
    return (st.none() | plain) if column.nullable else plain


ATTRIBUTES = st.none() | st.dictionaries(st.sampled_from(["seats", "Seat Count", "flag"]), ATTRIBUTE_VALUES).map(
    json.dumps
)


VARIED = (
    "inactive_days",
    "active_days_28",
    "gap_p90_days",
    "monetary_quintile",
    "lifetime_value",
    "accounts.mrr",
    "role",
    "plan_tier",
    "accounts.name",
    "lifecycle",
    "opted_out",
    "can_email",
    "created_at",
    "last_active_at",
)
"""The columns random conditions are about; the others are not worth drawing."""


def rows() -> st.SearchStrategy[dict[str, Any]]:
    """One row of the features relation."""
    varied = {column.relation or column.name: column_values(column) for column in map(COLUMNS.__getitem__, VARIED)}
    fixed: dict[str, Any] = {name: None for name in RELATION_COLUMNS if name not in varied}
    fixed |= {"contact_id": "x:1", "active_days_90": 3, "active_days_365": 9}
    return st.fixed_dictionaries(
        {
            **{name: st.just(value) for name, value in fixed.items()},
            **varied,
            "attributes": ATTRIBUTES,
            "account_attributes": ATTRIBUTES,
            "as_of": st.dates(date(2026, 1, 1), date(2026, 4, 1)),
        }
    )


def row(**values: Any) -> dict[str, Any]:
    """A row with these values and nothing else known."""
    return {**dict.fromkeys(RELATION_COLUMNS), "as_of": date(2026, 3, 1), **values}


def engine_answers(sql: Sequence[str], table_rows: Sequence[dict[str, Any]]) -> list[tuple[bool | None, ...]]:
    """What DuckDB says each boolean expression is, for each row."""
    connection = engine()
    connection.register("features", pa.Table.from_pylist(list(table_rows), schema=SCHEMA))
    columns = ", ".join(f"CAST({expression} AS BOOLEAN)" for expression in sql)
    return connection.execute(f"SELECT {columns} FROM features").fetchall()


@cache
def engine() -> duckdb.DuckDBPyConnection:
    """One engine for all examples: opening one costs more than asking it."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
    atexit.register(_close)
    return connection


def _close() -> None:
    engine().close()
    engine.cache_clear()

"""Rows that are inserted many at a time are stored as SQLAlchemy stores them one by one."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from connector.journal.engine import leave_taken
from connector.journal.inbox import _COLUMNS
from connector.journal.live_tables import inbox
from connector.journal.many import ManyRows
from connector.journal.tables import metadata
from tests.fakes.clocks import START

MANY = ManyRows(inbox, _COLUMNS)

words = st.text(max_size=8) | st.sampled_from(["a\x00b", "\ud800", "\udfff!", "ä\n", ""])
FIRST, LAST = (START.replace(year=year, tzinfo=None) for year in (2, 9998))
zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(FIRST, LAST, timezones=st.just(UTC) | zones)
lines = st.tuples(
    st.sampled_from(["tiny", "other"]), st.sampled_from("abcdefgh") | words, words, st.none() | words,
    st.none() | moments, moments, moments, words, st.just("waiting"), st.integers(0, 9),
)  # fmt: skip


def stored(rows, put):
    """What a fresh table holds, as SQLite tells it and of which kind, once these rows were put in; and what was said."""
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine, tables=[inbox])
    kinds = ", ".join(f"{name}, typeof({name})" for name in _COLUMNS)
    with engine.begin() as connection:
        said = put(connection, rows)
        held = connection.exec_driver_sql(f"SELECT {kinds} FROM inbox ORDER BY number").all()
    engine.dispose()
    return held, said


def one_by_one(connection, rows):
    insert = leave_taken(sqlite.insert(inbox))
    return sum(connection.execute(insert, dict(zip(_COLUMNS, row, strict=True))).rowcount for row in rows)


def many(connection, rows):
    return MANY.insert(connection, [MANY.stored(row) for row in rows])


@settings(deadline=None, max_examples=60)
@given(st.lists(lines, max_size=12))
def test_many_rows_are_stored_as_each_alone_would_be(rows):
    assert stored(rows, many) == stored(rows, one_by_one)


@pytest.mark.parametrize("number", [0, 1, 63, 64, 65, 99, 100, 257])
def test_any_number_of_rows_is_stored_and_what_was_there_is_not_counted(number):
    rows = [("tiny", str(key), "k", "{}", None, START, START, "r", "waiting", 0) for key in range(number)]
    held, said = stored(rows, many)
    assert ([row[2] for row in held], said) == ([row[1] for row in rows], number)
    assert stored(rows + rows[: number // 2], many) == (held, number)


def test_a_moment_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="aware times only"):
        MANY.stored(("tiny", "a", "k", "{}", None, START.replace(tzinfo=None), START, "r", "waiting", 0))


def test_columns_named_in_another_order_are_refused():
    with pytest.raises(ValueError, match="inbox: the columns"):
        ManyRows(inbox, _COLUMNS[::-1])

"""A file of records does to the org what its cells say: a value is written, the null word empties, nothing leaves alone."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.salesforce.ids import record_id
from adapters.salesforce.sandbox.bulk import Bulk
from adapters.salesforce.sandbox.bulk_jobs import CLOSED, DONE, IngestJob
from adapters.salesforce.sandbox.delimited import DELIMITERS, LINE_ENDINGS, NULL, Dialect
from adapters.salesforce.sandbox.limits import Meter
from adapters.salesforce.sandbox.state import State

PEOPLE = 4
COLUMNS = ("FirstName", "Department", "Winback_Next_Step__c")
WORDS = st.text(st.sampled_from("aZë “\"',;|^`\t\n"), max_size=8)
CELLS = st.one_of(st.just(""), st.just(NULL), WORDS)
LINES = st.lists(st.tuples(st.integers(1, PEOPLE + 1), CELLS, CELLS, CELLS), max_size=12)


def naive(lines: list[tuple[int, str, str, str]]) -> tuple[dict[int, dict[str, str]], int]:
    """What the people hold afterwards, and how many rows are refused: there is nobody with the last number."""
    held: dict[int, dict[str, str]] = {number: {"Department": "Sales"} for number in range(1, PEOPLE + 1)}
    refused = 0
    for number, *cells in lines:
        if number > PEOPLE:
            refused += 1
            continue
        for name, cell in zip(COLUMNS, cells, strict=True):
            if cell == NULL or (cell and not cell.strip()):
                held[number].pop(name, None)
            elif cell:
                held[number][name] = cell.strip()
    return held, refused


def ran(content: bytes, dialect: Dialect) -> tuple[State, IngestJob]:
    state = State()
    state.clock.freeze(datetime(2026, 11, 21, tzinfo=UTC))
    for number in range(1, PEOPLE + 1):
        person = {"LastName": str(number), "Department": "Sales"}
        state.insert("Contact", person, record_id=record_id("Contact", number))
    bulk, now_ms = Bulk(state, Meter()), state.clock.now_ms()
    settings_: dict[str, Any] = {"state": CLOSED, "closed_ms": now_ms, "content": content}
    job = IngestJob(
        bulk.store.new_id(), "update", "Contact", state.integration_user, now_ms, "66.0", dialect, **settings_
    )
    bulk.store.add(job)
    state.clock.advance(60)
    state.settle()
    return state, job


@settings(deadline=None, max_examples=40)
@given(LINES, st.sampled_from(sorted(DELIMITERS)), st.sampled_from(sorted(LINE_ENDINGS)))
def test_a_file_does_what_its_cells_say(lines, delimiter, ending):
    dialect = Dialect(delimiter, ending)
    rows = [(record_id("Contact", number), *cells) for number, *cells in lines]
    state, job = ran(dialect.header(["Id", *COLUMNS]) + dialect.rows(rows), dialect)
    held, refused = naive(lines)
    assert (job.state, job.processed, job.failed) == (DONE, len(lines), refused)
    for number, values in held.items():
        row = state.row(record_id("Contact", number))
        assert row is not None
        assert {name: row.values[name] for name in COLUMNS if name in row.values} == values
    told = [
        row
        for parts, extra in ((job.successes, ("sf__Id", "sf__Created")), (job.failures, ("sf__Id", "sf__Error")))
        for row in csv.reader(
            io.StringIO(job.file(parts, *extra).decode(), newline=""), delimiter=DELIMITERS[delimiter]
        )
    ]
    assert sorted(tuple(row[2:]) for row in told if not row[0].startswith("sf__")) == sorted(rows)

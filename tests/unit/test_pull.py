"""Pulling into the real warehouse: exactly once, whatever is killed, changed or refused in between."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from connector.errors import MappingError, RetriableError
from connector.model import Cursor, Page, Reject
from connector.pull import pull
from connector.warehouse import Warehouse
from tests.fakes.connections import HandClock, KeptLines
from tests.fakes.file_streams import files_source, mapping_of, usage_options

MAPPING = {"contact_id": "user", "occurred_at": "ts", "feature": "event", "events": "n"}
HEADER = "user,ts,event,n\n"


@pytest.fixture
def warehouse():
    with Warehouse.open("duckdb:///:memory:") as opened:
        yield opened


class Pulling:
    """A folder's files into a warehouse, with everything that was told on the way."""

    def __init__(self, folder, warehouse, **options) -> None:
        self.options = usage_options("*.csv", MAPPING, **options)
        self.folder, self.warehouse = folder, warehouse
        self.clock, self.reporter = HandClock(), KeptLines()
        self.cursors: list[Cursor] = []

    def __call__(self, source=None, **more):
        return pull(
            source or files_source(self.folder, self.options),
            "usage",
            name="product",
            mapping=mapping_of(self.options),
            warehouse=self.warehouse,
            clock=self.clock,
            reporter=self.reporter,
            on_cursor=self.cursors.append,
            **more,
        )

    def rows(self) -> int:
        return sum(stat.rows for stat in self.warehouse.source_stats())


def test_a_pull_stores_rows_counts_rejects_and_mirrors_the_cursor(tmp_path, warehouse):
    (tmp_path / "a.csv").write_text(HEADER + "u1,2026-01-01,x,1\nu2,never,x,1\nu3,2026-01-02\nu4,2026-01-03,y,\n")
    pulling = Pulling(tmp_path, warehouse)
    report = pulling()
    assert (report.source, report.stream, report.pages, report.rows, report.new, report.rejects) == (
        "product",
        "usage",
        1,
        4,
        2,
        2,
    )
    assert set(report.rejected_sample) == {
        Reject("a.csv:3", "occurred_at: 'never' is not a time (field ts)"),
        Reject("a.csv:4", "has 2 columns, the header has 4"),
    }
    assert pulling.cursors == [warehouse.cursor("product", "usage")]
    assert pulling.reporter.steps[-1][:2] == ("product.usage", 4)


def test_pulling_again_changes_nothing(tmp_path, warehouse):
    (tmp_path / "a.csv").write_text(HEADER + "u1,2026-01-01,x,1\n")
    pulling = Pulling(tmp_path, warehouse)
    pulling()
    version = warehouse.version()
    report = pulling()
    assert (report.pages, report.rows, report.new) == (0, 0, 0)
    assert report.rows_per_second == 0.0
    assert warehouse.version() == version


def test_a_full_pull_counts_nothing_twice(tmp_path, warehouse):
    (tmp_path / "a.csv").write_text(HEADER + "u1,2026-01-01,x,1\nu1,2026-01-01,x,1\n")
    pulling = Pulling(tmp_path, warehouse)
    pulling()
    held = pulling.rows()
    assert held == 2
    pulling(full=True)
    assert pulling.rows() == held


def test_a_failure_between_pages_keeps_what_was_stored_and_goes_on_there(tmp_path, warehouse, monkeypatch):
    monkeypatch.setattr("adapters.files.reading.BLOCK_BYTES", 60)
    (tmp_path / "a.csv").write_text(HEADER + "".join(f"u{n},2026-01-01,x,1\n" for n in range(20)))
    pulling = Pulling(tmp_path, warehouse)
    inner = files_source(tmp_path, pulling.options)
    closed = []

    class Failing:
        system = "product"

        def read(self, stream: str, cursor: Cursor | None) -> Iterator[Page]:
            pages = inner.read(stream, cursor)
            try:
                yield next(pages)
                yield next(pages)
                raise RetriableError("the disk went away")
            finally:
                pages.close()
                closed.append(True)

    with pytest.raises(RetriableError):
        pulling(Failing())
    assert closed == [True]
    assert warehouse.cursor("product", "usage") == pulling.cursors[-1]
    assert 0 < pulling.rows() < 20
    pulling()
    assert pulling.rows() == 20


def test_a_page_that_cannot_be_stored_closes_the_source_and_leaves_the_cursor(tmp_path, warehouse):
    closed = []

    class Changed:
        system = "product"

        def read(self, stream: str, cursor: Cursor | None) -> Iterator[Page]:
            try:
                yield Page([{"usr": "u1", "ts": "2026-01-01"}], {"at": 1}, origin="events")
            finally:
                closed.append(True)

    pulling = Pulling(tmp_path, warehouse)
    with pytest.raises(MappingError, match="no field 'user', which contact_id is read from; did you mean usr"):
        pulling(Changed())
    assert closed == [True]
    assert warehouse.cursor("product", "usage") is None
    assert pulling.cursors == []


def test_a_changed_file_replaces_its_rows_and_its_rejects(tmp_path, warehouse):
    pulling = Pulling(tmp_path, warehouse)
    (tmp_path / "a.csv").write_text(HEADER + "u1,2026-01-01,x,1\nu2,never,x,1\n")
    pulling()
    (tmp_path / "a.csv").write_text(HEADER + "u1,2026-01-05,x,1\nu2,2026-01-06,x,1\nu3,2026-01-07,x,1\n")
    pulling()
    assert pulling.rows() == 3
    assert list(warehouse.rejects(10)) == []


def test_a_source_that_hands_out_a_plain_list_is_fine_too(tmp_path, warehouse):
    class Listed:
        system = "product"

        def read(self, stream: str, cursor: Cursor | None) -> Iterator[Page]:
            return iter([Page([{"user": "u1", "ts": "2026-01-01", "event": "x", "n": 1}], {"at": 1})])

    assert Pulling(tmp_path, warehouse)(Listed()).new == 1

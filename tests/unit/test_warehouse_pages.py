"""Storing pages: all or nothing, each thing once, bad rows set aside, and files nobody else may touch."""

from __future__ import annotations

import multiprocessing
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from connector.errors import MappingError, SettingError, StateError
from connector.model import Page, Reject
from connector.rules import sql_files
from connector.warehouse import Warehouse, activity
from tests.fakes.warehouse_feed import USAGE, Feed, checked, mapping

MAY = datetime(2026, 5, 1, 9, tzinfo=UTC)
BARE = mapping("usage", "contact_id", "occurred_at", "feature", "events")


@pytest.fixture
def feed():
    with Warehouse.open("duckdb:///:memory:") as warehouse:
        yield Feed(warehouse)


def use(user="u", at=MAY, **values):
    return {"contact_id": user, "occurred_at": at, "feature": "f", "events": 1} | values


def row(feed, contact="product:u", as_of=date(2026, 5, 20)):
    return feed.warehouse.contact_row(contact, as_of)


def test_the_cursor_is_stored_with_the_page_and_only_with_it(feed):
    assert feed.warehouse.cursor("product", "usage") is None
    feed.page([use()], BARE)
    assert feed.warehouse.cursor("product", "usage") == {"page": 1}
    version = feed.warehouse.version()
    with pytest.raises(MappingError):
        feed.page([{"who": "u"}], BARE)
    assert feed.warehouse.cursor("product", "usage") == {"page": 1}
    assert feed.warehouse.version() == version
    feed.page([use(at=MAY + timedelta(days=1))], BARE)
    feed.ready()
    assert row(feed)["active_days_28"] == 2


def test_an_empty_page_moves_the_cursor_and_nothing_else(feed):
    feed.page([use()], BARE)
    version = feed.warehouse.version()
    stored = feed.page([], BARE)
    assert (stored.rows, stored.new, feed.warehouse.version()) == (0, 0, version)
    assert feed.warehouse.cursor("product", "usage") == {"page": 2}


def test_bad_rows_are_set_aside_with_place_and_reason_and_the_rest_load(feed):
    records = [
        use() | {"__place": "events.csv:2"},
        use(at="yesterday") | {"__place": "events.csv:3"},
        use(user=None) | {"__place": "events.csv:4"},
    ]
    stored = feed.page(records, BARE, rejects=(Reject("events.csv:5", "5 fields where 4 were expected"),))
    assert (stored.rows, stored.new, stored.rejects) == (4, 1, 3)
    assert stored.reject_sample[0].startswith("events.csv:3: occurred_at: 'yesterday' is not a time")
    assert {reject.place for reject in feed.warehouse.rejects(10)} == {"events.csv:3", "events.csv:4", "events.csv:5"}
    assert len(feed.warehouse.rejects(2)) == 2


def test_reading_a_file_again_replaces_its_rows_and_its_rejects(feed):
    feed.page([use(), use(at="?")], BARE, origin="a.csv", replaces_origin=True)
    feed.page([use("v")], BARE, origin="b.csv", replaces_origin=True)
    feed.ready()
    feed.page([use(at=MAY + timedelta(days=3))], BARE, origin="a.csv", replaces_origin=True)
    feed.page([use(at=MAY + timedelta(days=5))], BARE, origin="a.csv")
    feed.ready()
    assert row(feed)["active_days_28"] == 2
    assert row(feed)["first_active_at"] == MAY + timedelta(days=3)
    assert row(feed, as_of=date(2026, 5, 2)) is None
    assert row(feed, "product:v")["active_days_28"] == 1
    assert feed.warehouse.rejects() == []
    assert feed.warehouse.source_stats()[0].rows == 3


def test_a_file_emptied_takes_its_people_back_to_never_active(feed):
    feed.page([use()], BARE, origin="a.csv", replaces_origin=True)
    feed.ready()
    feed.page([], BARE, origin="a.csv", replaces_origin=True)
    feed.ready()
    found = row(feed)
    assert found is None or found["inactive_days"] is None
    assert feed.warehouse.source_stats()[0].rows == 0


def test_an_event_id_counts_once_per_source_in_and_across_pages(feed):
    def event(**values):
        return use(event_id="e1", arrived_at=None, email=None, external_id=None) | values

    assert feed.usage([event(), event()]).new == 1
    again = feed.usage([event(), event(event_id="e2", at=MAY)])
    assert (again.new, again.unchanged) == (1, 1)
    assert feed.usage([event()], source="other").new == 1
    assert sum(stat.rows for stat in feed.warehouse.source_stats()) == 3


def test_numbers_and_texts_as_event_ids_are_told_apart(feed):
    events = [use(event_id=i, arrived_at=None, email=None, external_id=None) for i in ("7", "07", " 7x", "seven")]
    assert feed.usage(events).new == 4
    assert feed.usage(events).new == 0


def test_usage_is_told_by_contact_day_and_feature(feed):
    feed.page([use(), use(at=MAY + timedelta(hours=2), events=4), use(feature="g"), use("v")], BARE)
    feed.ready()
    rows = feed.warehouse._database.rows(
        "SELECT contact_id, day, feature, events FROM usage JOIN contacts USING (contact_key) ORDER BY ALL"
    )
    day = MAY.date()
    assert rows == [("product:u", day, "f", 5), ("product:u", day, "g", 1), ("product:v", day, "f", 1)]


def test_uses_of_zero_events_are_no_activity(feed):
    feed.page([use(events=0), use("v", events=2)], BARE)
    feed.ready()
    assert row(feed) is None
    assert row(feed, "product:v")["inactive_days"] == 19


def test_arrow_tables_and_dicts_of_mixed_types_store_alike(feed):
    feed.page(pa.table({"contact_id": [1], "occurred_at": [MAY], "feature": ["f"], "events": [1]}), BARE)
    feed.page([use(2), use("x", events="3")], BARE)
    feed.ready()
    assert [row(feed, f"product:{user}")["inactive_days"] for user in ("1", "2", "x")] == [19, 19, 19]


@pytest.mark.parametrize(
    ("counts", "active"),
    [
        (None, 4),
        ("feature <> 'status_page'", 3),
        ("feature IN ('build', 'deploy')", 2),
        ("events >= 3", 2),
        ("events >= 3 AND feature = 'build'", 1),
    ],
)
def test_only_usage_that_counts_is_activity_and_events_are_those_of_the_day(feed, counts, active):
    days = iter(range(10))
    for feature, events in [("build", 2), ("status_page", 3), ("deploy", 1), (None, 1)]:
        feed.page([use(feature=feature, events=events, at=MAY + timedelta(days=next(days)))], BARE)
        feed.ready(counts)
    feed.page([use(feature="build", events=1)], BARE)
    feed.ready(counts)
    assert row(feed)["active_days_28"] == active
    feed.warehouse.rebuild(counts=counts)
    assert row(feed)["active_days_28"] == active


def test_features_never_miss_uses_that_were_stored_after_the_last_refresh(feed):
    feed.page([use()], BARE)
    feed.ready()
    feed.page([use(at=MAY + timedelta(days=4))], BARE)
    assert row(feed)["inactive_days"] == 15


@pytest.mark.soak
def test_a_rebuild_in_several_large_passes_loses_nobody(tmp_path, monkeypatch):
    people = 500_000
    monkeypatch.setattr(activity, "USES_A_PASS", people // 2)
    uses = duckdb.sql(
        f"SELECT range AS contact_id, TIMESTAMPTZ '2026-05-01' + to_days((range % 7)::INTEGER) AS occurred_at, "
        f"'f' AS feature, 1 AS events FROM range({people})"
    ).to_arrow_table()
    with Warehouse.open(f"duckdb:///{tmp_path}/w.duckdb") as warehouse:
        feed = Feed(warehouse)
        feed.page(uses, BARE)
        assert feed.ready().changed_contacts == people
        week = [checked(f"day_{day}", f"inactive_days = {day}", "inactive_days", group="g") for day in range(7)]
        counts = warehouse.evaluate(week, date(2026, 5, 7)).counts
        assert sum(counts.values()) == people
        assert warehouse.evaluate(week, date(2026, 5, 6)).contacts == people - counts["day_0"]


def test_another_condition_for_what_counts_works_everything_out_again(feed):
    feed.page([use(feature="a"), use(feature="b", at=MAY + timedelta(days=1))], BARE)
    assert feed.ready().full
    assert not feed.ready().full
    assert feed.ready("feature = 'a'").full
    assert row(feed)["inactive_days"] == 19


def test_the_day_is_the_civil_date_in_the_accounts_time_zone_and_moves_with_it(tmp_path):
    url = f"duckdb:///{tmp_path}/w.duckdb"
    late = datetime(2026, 5, 1, 23, 30, tzinfo=UTC)
    for zone, day in (("UTC", 1), ("Europe/Amsterdam", 2), ("America/New_York", 1)):
        with Warehouse.open(url, timezone=zone) as warehouse:
            feed = Feed(warehouse)
            if zone == "UTC":
                feed.page([use(at=late)], BARE)
            feed.ready()
            assert row(feed)["last_active_on"] == date(2026, 5, day)
            assert row(feed, as_of=date(2026, 5, 2))["inactive_days"] == 2 - day
            assert row(feed)["last_active_at"] == late


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo", "Pacific/Kiritimati"])
def test_a_date_without_a_time_is_that_day_in_every_time_zone(zone):
    with Warehouse.open("duckdb:///:memory:", timezone=zone) as warehouse:
        feed = Feed(warehouse)
        feed.page([use(at="2026-05-01")], BARE)
        feed.ready()
        assert row(feed)["last_active_on"] == date(2026, 5, 1)
        assert row(feed, as_of=date(2026, 5, 3))["inactive_days"] == 2


def test_statistics_tell_what_a_stream_holds_and_its_newest_event(feed):
    feed.pulled_at = MAY + timedelta(days=1)
    feed.page([use(), use(at=MAY - timedelta(days=9))], BARE)
    (stat,) = feed.warehouse.source_stats()
    assert (stat.source, stat.stream, stat.rows, stat.newest_at, stat.previous_rows) == (
        "product",
        "usage",
        2,
        MAY,
        None,
    )
    assert stat.pulled_at == feed.pulled_at


def test_an_event_dated_after_its_reading_is_not_the_newest(feed):
    feed.pulled_at = MAY + timedelta(days=1)
    feed.page([use(), use(at=MAY + timedelta(days=900))], BARE)
    (stat,) = feed.warehouse.source_stats()
    assert (stat.rows, stat.newest_at) == (2, MAY)


def test_what_was_stored_is_there_after_opening_again(tmp_path):
    url = f"duckdb:///{tmp_path}/deep/er/w.duckdb"
    with Warehouse.open(url) as warehouse:
        Feed(warehouse).page([use()], BARE)
        version = warehouse.version()
    assert (tmp_path / "deep" / "er" / "w.duckdb").stat().st_mode & 0o077 == 0
    with Warehouse.open(url) as warehouse:
        assert warehouse.version() == version
        assert warehouse.cursor("product", "usage") == {"page": 1}
        feed = Feed(warehouse)
        feed.ready()
        assert row(feed)["inactive_days"] == 19


def _hold(path, ready, done):
    with Warehouse.open(f"duckdb:///{path}"):
        ready.set()
        done.wait(30)


def test_a_second_process_is_told_that_the_file_is_in_use(tmp_path):
    path = tmp_path / "w.duckdb"
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(path), ready, done))
    other.start()
    try:
        assert ready.wait(30)
        with pytest.raises(StateError, match="in use by another process"):
            Warehouse.open(f"duckdb:///{path}")
    finally:
        done.set()
        other.join(30)


def test_a_file_of_a_newer_version_or_of_somebody_else_is_left_alone(tmp_path):
    path = tmp_path / "w.duckdb"
    with Warehouse.open(f"duckdb:///{path}") as warehouse:
        warehouse._database.set_meta("schema_version", "99")
    before = path.read_bytes()
    with pytest.raises(StateError, match="newer winback"):
        Warehouse.open(f"duckdb:///{path}")
    assert path.read_bytes() == before
    other = tmp_path / "other.duckdb"
    with duckdb.connect(str(other)) as connection:
        connection.execute("CREATE TABLE sales (n INTEGER)")
    with pytest.raises(StateError, match="not a winback warehouse"):
        Warehouse.open(f"duckdb:///{other}")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(StateError, match="cannot be opened"):
        Warehouse.open(f"duckdb:///{tmp_path}/text")


@pytest.mark.parametrize("url", ["sqlite:///x", "duckdb:///", "x.duckdb"])
def test_an_address_that_is_not_duckdbs_is_refused(url):
    with pytest.raises(SettingError, match="not a DuckDB address"):
        Warehouse.open(url)


def test_a_time_zone_that_does_not_exist_is_refused():
    with pytest.raises(SettingError, match="Mars"):
        Warehouse.open("duckdb:///:memory:", timezone="Mars/Olympus")


def test_no_history_gives_empty_answers_not_errors(feed):
    feed.ready()
    day = date(2026, 5, 1)
    assert feed.warehouse.growth("month", day).num_rows == 0
    curve = feed.warehouse.return_curve(day)
    assert set(curve.p_return) == {None}
    assert set(curve.thresholds.values()) == {None}
    assert feed.warehouse.evaluate([], day).contacts == 0
    assert feed.warehouse.members(day).num_rows == 0


def test_a_single_use_gives_a_curve_without_nonsense(feed):
    feed.page([use()], BARE)
    feed.ready()
    curve = feed.warehouse.return_curve(date(2026, 6, 1))
    assert curve.p_return[0] == 0
    assert curve.p_return[31] == 0
    assert curve.p_return[32] is None


def test_every_sql_file_has_a_caption_and_says_what_is_missing():
    assert {"features", "segments", "growth", "spells", "activity"} <= set(sql_files.names())
    for name in sql_files.names():
        assert sql_files.caption(name).endswith("."), name
    with pytest.raises(KeyError, match="unit"):
        sql_files.render("growth", activity="a", as_of="b", step="c")
    with pytest.raises(KeyError, match="nonsense"):
        sql_files.render("contact_days", usage="u", nonsense="n")


def test_every_sql_file_is_used():
    sources = "".join(
        path.read_text() for path in Path(sql_files.__file__).parents[1].joinpath("warehouse").glob("*.py")
    )
    assert [name for name in sql_files.names() if not re.search(rf'render\(\s*"{name}"', sources)] == []


def test_pages_of_any_size_hold_the_cursor_given(feed):
    page = Page(records=[], cursor={"after": "é", "n": 1})
    feed.warehouse.store_page(page, USAGE, source="s", system="s", stream="t", pulled_at=MAY)
    assert feed.warehouse.cursor("s", "t") == {"after": "é", "n": 1}

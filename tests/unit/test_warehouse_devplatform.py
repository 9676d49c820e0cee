"""The real data with right answers: segments at every date, growth, return curve, cadence."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta

import duckdb
import pytest

from connector.warehouse import Warehouse
from tests.fakes.warehouse_feed import DEVPLATFORM, DORMANCY, Feed, expected, membership_digest, shared


def events(where: str = "true"):
    path = shared("devplatform", "events.parquet")
    return duckdb.sql(f"SELECT * FROM '{path}' WHERE {where} ORDER BY event_id").to_arrow_table()


@pytest.fixture(scope="module")
def whole():
    with Warehouse.open("duckdb:///:memory:") as warehouse:
        feed = Feed(warehouse)
        feed.page(events(), DEVPLATFORM)
        feed.ready()
        yield warehouse


def check_segments(warehouse, wanted):
    as_of = date.fromisoformat(wanted["as_of"])
    evaluation = warehouse.evaluate(DORMANCY, as_of)
    assert dict(evaluation.counts) == wanted["counts"]
    assert sum(evaluation.counts.values()) == wanted["contacts"]
    assert membership_digest(warehouse, as_of) == wanted["digest"]


@pytest.mark.parametrize("number", range(17))
def test_segments_equal_the_right_answers_at_every_date(whole, number):
    check_segments(whole, expected("devplatform.json")["segments"][number])


def test_fed_by_arrival_the_segments_are_those_known_at_the_time_then_those_of_the_whole():
    known = expected("devplatform_more.json")["segments_known"]
    with Warehouse.open("duckdb:///:memory:") as warehouse:
        feed = Feed(warehouse)
        last = date(2025, 10, 31)
        feed.page(events(f"ingested_at::DATE <= DATE '{last}'"), DEVPLATFORM)
        feed.ready()
        full = 0
        for wanted in known:
            as_of = date.fromisoformat(wanted["as_of"])
            while last < as_of:
                before, last = last, min(as_of, last + timedelta(days=1 + last.toordinal() % 9))
                feed.page(
                    events(f"ingested_at::DATE > DATE '{before}' AND ingested_at::DATE <= DATE '{last}'"), DEVPLATFORM
                )
                full += feed.ready().full
            check_segments(warehouse, wanted)
        feed.page(events(f"ingested_at::DATE > DATE '{last}'"), DEVPLATFORM)
        feed.ready()
        assert full == 0
        for wanted in expected("devplatform.json")["segments"]:
            check_segments(warehouse, wanted)


def test_growth_by_month_equals_the_right_answers(whole):
    rows = whole.growth("month", date(2026, 10, 21)).to_pylist()
    wanted = expected("devplatform.json")["growth_month"]
    assert rows == [
        {key: row[key] for key in ("period", "new", "retained", "resurrected", "dormant")} for row in wanted
    ]


def test_growth_by_week_equals_the_right_answers(whole):
    rows = whole.growth("week", date(2026, 10, 21)).to_pylist()
    wanted = expected("devplatform.json")["growth_week"]
    assert rows[-len(wanted) :] == [
        {key: row[key] for key in ("period", "new", "retained", "resurrected", "dormant")} for row in wanted
    ]


@pytest.mark.parametrize("horizon", [30, 90, 180])
def test_the_return_curve_equals_the_right_answers(whole, horizon):
    wanted = expected("devplatform.json")["return_curve"]
    curve = whole.return_curve(date(2026, 10, 21), horizon_days=horizon)
    assert (curve.spells, curve.ended, curve.censored) == (wanted["spells"], wanted["ended"], wanted["censored"])
    for day, p in wanted["p_return"][str(horizon)].items():
        assert curve.p_return[int(day)] == pytest.approx(p, abs=1e-6)


@pytest.mark.parametrize("horizon", [30, 90])
def test_thresholds_equal_the_right_answers(whole, horizon):
    wanted = expected("devplatform.json")["return_curve"][f"thresholds_{horizon}"]
    curve = whole.return_curve(date(2026, 10, 21), horizon_days=horizon)
    assert curve.thresholds == {level: wanted[level]["first"] for level in curve.thresholds}
    assert curve.stays == {level: wanted[level]["stays"] for level in curve.stays}


def test_the_recent_return_curve_equals_the_right_answers(whole):
    wanted = expected("devplatform.json")["return_curve_last730"]
    curve = whole.return_curve(date(2026, 10, 21), since_days=730)
    for day, p in wanted["p_return_90"].items():
        assert curve.p_return[int(day)] == pytest.approx(p, abs=1e-6)
    assert curve.thresholds == {level: wanted["thresholds_90"][level]["first"] for level in curve.thresholds}


def test_cadence_and_who_is_overdue_equal_the_right_answers(whole):
    wanted = expected("devplatform.json")["cadence"]
    _, batches = whole.feature_batches(
        date.fromisoformat(wanted["as_of"]), columns=["inactive_days", "gap_median_days", "gap_p90_days"]
    )
    rows = {row[0].removeprefix("product:"): row[1:] for batch in batches for row in batch}
    regular = {contact: row for contact, row in rows.items() if row[2] is not None}
    assert len(regular) == wanted["contacts"]
    overdue = sorted(contact for contact, (inactive, _, p90) in regular.items() if inactive > p90)
    assert len(overdue) == wanted["overdue"]
    assert hashlib.sha256("\n".join(overdue).encode()).hexdigest() == wanted["overdue_digest"]
    for row in wanted["sample"]:
        inactive, median, p90 = rows[row["contact_id"]]
        assert (inactive, median) == (row["inactive"], row["median_gap"])
        assert p90 == pytest.approx(row["p90_gap"])

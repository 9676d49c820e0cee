"""However facts arrive, in whatever order, pieces and repetitions, the state is the one a rebuild gives."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from statistics import median

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.warehouse import Warehouse
from tests.fakes.warehouse_feed import Feed, checked, mapping

FIRST = date(2025, 1, 1)
START = datetime(2025, 1, 1, tzinfo=UTC)
CONTACTS = mapping("contacts", "contact_id", "email", "external_id", "role", "merged_ids", "secondary_emails")
COLUMNS = [
    "last_active_at", "inactive_days", "first_active_at", "active_days_28", "active_days_90", "active_days_365",
    "last_feature", "top_feature", "gap_median_days", "gap_p90_days", "recency_quintile", "frequency_quintile",
    "monetary_quintile", "lifecycle", "last_active_on",
]  # fmt: skip


@st.composite
def event_lists(draw, most=40):
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from("abcd"), st.integers(0, 500), st.integers(0, 2), st.sampled_from(["f", "g", "h", None]),
                st.integers(1, 3),
            ),
            min_size=1,
            max_size=most,
        )
    )  # fmt: skip
    return [
        {
            "contact_id": user,
            "occurred_at": START + timedelta(days=day, hours=8 * third),
            "feature": feature,
            "events": events,
            "event_id": f"e{number}",
            "arrived_at": None,
            "email": None,
            "external_id": None,
        }
        for number, (user, day, third, feature, events) in enumerate(rows)
    ]


def rows_of(warehouse, as_of):
    _, batches = warehouse.feature_batches(as_of, columns=COLUMNS)
    return [row for batch in batches for row in batch]


def state_of(warehouse):
    database = warehouse._database
    activity = database.arrow(
        "SELECT a.* REPLACE (l.feature AS last_feature_key, t.feature AS top_feature_key), c.contact_id FROM activity AS a "
        "JOIN contacts AS c USING (contact_key) JOIN feature_names AS l ON l.feature_key = last_feature_key "
        "JOIN feature_names AS t ON t.feature_key = top_feature_key ORDER BY contact_id"
    ).to_pylist()
    counts = database.rows(
        "SELECT c.contact_id, n.feature, sum(events)::BIGINT FROM feature_counts JOIN contacts AS c USING (contact_key) "
        "JOIN feature_names AS n USING (feature_key) GROUP BY ALL ORDER BY ALL"
    )
    return [{k: v for k, v in row.items() if k != "contact_key"} for row in activity], counts


def assert_same_as_rebuilt(warehouse, counts=None):
    kept = state_of(warehouse)
    warehouse.rebuild(counts=counts)
    assert kept == state_of(warehouse)


COUNTS = st.sampled_from([None, "feature <> 'f'", "events >= 3", "feature <> 'g' AND events > 1"])


@settings(max_examples=8, deadline=None)
@given(event_lists(), st.data(), COUNTS)
def test_any_order_split_and_repetition_gives_the_state_of_a_rebuild(events, data, counts):
    whole, pieces = Warehouse.open("duckdb:///:memory:"), Warehouse.open("duckdb:///:memory:")
    with whole, pieces:
        feed = Feed(whole)
        feed.usage(events)
        feed.ready(counts)
        again = data.draw(st.lists(st.sampled_from(events), max_size=10))
        shuffled = data.draw(st.permutations(events + again))
        feed = Feed(pieces)
        while shuffled:
            size = data.draw(st.integers(1, len(shuffled)))
            feed.usage(shuffled[:size])
            shuffled = shuffled[size:]
            if data.draw(st.booleans()):
                feed.ready(counts)
        feed.ready(counts)
        assert state_of(pieces) == state_of(whole)
        assert_same_as_rebuilt(pieces, counts)
        for days in (0, 100, 300, 600):
            as_of = FIRST + timedelta(days=days)
            assert rows_of(pieces, as_of) == rows_of(whole, as_of)


@settings(max_examples=8, deadline=None)
@given(event_lists(), st.data())
def test_replaced_origins_and_shared_events_leave_exactly_what_the_origins_now_hold(events, data):
    files: dict[str, list] = {}
    with Warehouse.open("duckdb:///:memory:") as warehouse, Warehouse.open("duckdb:///:memory:") as fresh:
        feed = Feed(warehouse)
        for _ in range(data.draw(st.integers(1, 6))):
            name = data.draw(st.sampled_from(["one.csv", "two.csv", "three.csv"]))
            files[name] = data.draw(st.lists(st.sampled_from(events), max_size=12, unique_by=lambda e: e["event_id"]))
            feed.usage(files[name], origin=name, replaces_origin=True)
            if data.draw(st.booleans()):
                feed.ready()
        feed.ready()
        assert_same_as_rebuilt(warehouse)
        other = Feed(fresh)
        left = {event["event_id"]: event for rows in files.values() for event in rows}
        other.usage(list(left.values()))
        other.ready()
        assert state_of(warehouse) == state_of(fresh)
        held = warehouse.source_stats()[0].rows
        assert held == len(left)


@settings(max_examples=8, deadline=None)
@given(event_lists(20), st.data())
def test_matches_and_merges_that_change_give_the_state_of_a_rebuild(events, data):
    with Warehouse.open("duckdb:///:memory:") as warehouse:
        feed = Feed(warehouse)
        people = ["1", "2", "3", "4"]
        for _ in range(data.draw(st.integers(2, 6))):
            if data.draw(st.booleans()):
                feed.usage(data.draw(st.lists(st.sampled_from(events), max_size=8)))
            else:
                rows = [
                    {
                        "contact_id": person,
                        "external_id": data.draw(st.sampled_from(["a", "b", "c", "d", None])),
                        "merged_ids": data.draw(st.sampled_from([None, None, "2", "3", "3;4"]))
                        if person == "1"
                        else None,
                        "email": None,
                        "role": None,
                        "secondary_emails": None,
                    }
                    for person in data.draw(st.lists(st.sampled_from(people), min_size=1, unique=True))
                ]
                feed.page(rows, CONTACTS, source="crm", system="hubspot")
            if data.draw(st.booleans()):
                feed.ready()
        feed.ready()
        assert_same_as_rebuilt(warehouse)


@settings(max_examples=10, deadline=None)
@given(event_lists(), st.integers(-5, 520))
def test_what_happens_after_a_day_never_changes_that_day(events, cut):
    as_of = FIRST + timedelta(days=cut)
    before = [event for event in events if event["occurred_at"].date() <= as_of]
    with Warehouse.open("duckdb:///:memory:") as then, Warehouse.open("duckdb:///:memory:") as later:
        for warehouse, known in ((then, before), (later, events)):
            feed = Feed(warehouse)
            feed.usage(known)
            feed.ready()
        assert rows_of(then, as_of) == rows_of(later, as_of)
        assert then.return_curve(as_of).p_return == later.return_curve(as_of).p_return
        assert then.growth("week", as_of).to_pylist() == later.growth("week", as_of).to_pylist()


@settings(max_examples=10, deadline=None)
@given(event_lists(), st.integers(0, 520))
def test_the_row_of_a_contact_is_what_its_days_say(events, after):
    """Against definitions written again, in Python."""
    as_of = FIRST + timedelta(days=after)
    with Warehouse.open("duckdb:///:memory:") as warehouse:
        feed = Feed(warehouse)
        feed.usage(events)
        feed.ready()
        rows = {row[0]: dict(zip(COLUMNS, row[1:], strict=True)) for row in rows_of(warehouse, as_of)}
    for user in "abcd":
        mine = [e for e in events if e["contact_id"] == user and e["occurred_at"].date() <= as_of]
        if not mine:
            assert f"product:{user}" not in rows
            continue
        row = rows[f"product:{user}"]
        days = sorted({e["occurred_at"].date() for e in mine})
        gaps = sorted((b - a).days for a, b in pairwise(days))
        assert row["inactive_days"] == (as_of - days[-1]).days
        assert row["last_active_at"] == max(e["occurred_at"] for e in mine)
        assert row["first_active_at"] == min(e["occurred_at"] for e in mine)
        for window in (28, 90, 365):
            assert row[f"active_days_{window}"] == sum((as_of - day).days < window for day in days)
        assert row["gap_median_days"] == (median(gaps) if gaps else None)
        assert (row["gap_p90_days"] is None) == (len(gaps) < 5)
        if len(gaps) >= 5:
            place = (len(gaps) - 1) * 9 / 10
            low = int(place)
            high = min(low + 1, len(gaps) - 1)
            assert abs(row["gap_p90_days"] - (gaps[low] + (gaps[high] - gaps[low]) * (place - low))) < 1e-9
        totals: dict = {}
        for e in mine:
            totals[e["feature"]] = totals.get(e["feature"], 0) + e["events"]
        assert row["top_feature"] == min(totals, key=lambda f: (-totals[f], f is None, f or ""))
        latest = max(e["occurred_at"] for e in mine)
        assert row["last_feature"] == min(
            (e["feature"] for e in mine if e["occurred_at"] == latest), key=lambda f: (f is None, f or "")
        )
        assert row["lifecycle"] == lifecycle(days, gaps, row["gap_p90_days"], as_of)
        better = [r["inactive_days"] for r in rows.values()]
        worse = sum(other > row["inactive_days"] for other in better)
        assert row["recency_quintile"] == 1 + 5 * worse // len(better)


def lifecycle(days, gaps, p90, as_of):
    inactive = (as_of - days[-1]).days
    returns = [b for a, b in pairwise(days) if (b - a).days > 90]
    if inactive >= 30:
        return "dormant"
    if (as_of - days[0]).days < 28:
        return "new"
    if returns and (as_of - returns[-1]).days < 28:
        return "resurrected"
    return "slipping" if inactive >= 8 or (p90 is not None and inactive > p90) else "active"


SEGMENTS = tuple(
    checked(name, f"inactive_days {test}", "inactive_days", group="g")
    for name, test in {"on": "<= 29", "off": "BETWEEN 30 AND 89", "gone": ">= 90"}.items()
)


@settings(max_examples=10, deadline=None)
@given(event_lists(), st.integers(0, 520), st.integers(1, 60))
def test_segments_add_up_and_shifting_all_dates_by_weeks_shifts_everything(events, after, weeks):
    as_of = FIRST + timedelta(days=after)
    shift = timedelta(weeks=weeks)
    moved = [event | {"occurred_at": event["occurred_at"] + shift} for event in events]
    with Warehouse.open("duckdb:///:memory:") as warehouse, Warehouse.open("duckdb:///:memory:") as later:
        for one, known in ((warehouse, events), (later, moved)):
            feed = Feed(one)
            feed.usage(known)
            feed.ready()
        now, then = warehouse.evaluate(SEGMENTS, as_of), later.evaluate(SEGMENTS, as_of + shift)
        active = sum(row[2] is not None for row in rows_of(warehouse, as_of))
        assert sum(now.counts.values()) == active
        assert now.counts == then.counts
        curve = warehouse.return_curve(as_of)
        assert curve.p_return == later.return_curve(as_of + shift).p_return
        longer = warehouse.return_curve(as_of, horizon_days=180)
        assert all(
            a is None or b is None or a <= b + 1e-12 for a, b in zip(curve.p_return, longer.p_return, strict=True)
        )
        growth = warehouse.growth("day", as_of).to_pylist()
        active_then = 0
        for row in growth:
            assert row["retained"] + row["dormant"] == active_then
            active_then = row["new"] + row["retained"] + row["resurrected"]

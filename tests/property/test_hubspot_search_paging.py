"""Incremental reading against a search over HTTP that pages as badly as the real one."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hubspot.options import HubSpotOptions
from adapters.hubspot.search import ChangesWalk, Place
from adapters.hubspot.source import HubSpotSource
from connector.paging import PagingError
from tests.fakes.connections import HandClock, connect
from tests.fakes.http_server import Asked, Said, serving

MODIFIED = "lastmodifieddate"
WINDOW = 60
"""The vendor's is 10,000; a small one is met sooner."""


def iso(ms: int) -> str:
    from datetime import UTC, datetime

    whole = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


@dataclass
class SearchEndpoint:
    """`POST …/contacts/search` over records of (id, ms): lagging, short pages, a window, ids as text or as numbers.

    visible_from: When the index sees a record's present version; before that it sees none of it.
    moves: Records that are modified again while somebody pages: call number → (id, new ms).
    """

    records: dict[str, int]
    page_rows: int
    ids_as_text: bool = True
    seed: int = 0
    visible_from: dict[str, int] = field(default_factory=dict)
    now: int = 10**15
    moves: dict[int, tuple[str, int]] = field(default_factory=dict)
    searches: int = 0
    short_pages: bool = True
    window: int = WINDOW

    def order(self, record_id: str):
        return record_id if self.ids_as_text else int(record_id)

    def __call__(self, asked: Asked) -> Said:
        if asked.path.endswith("/properties/2026-09/contacts"):
            names = ["hs_object_id", MODIFIED, "email"]
            return Said(200, {"results": [{"name": name, "type": "string"} for name in names]})
        if asked.method == "GET":
            return Said(200, {"results": []})
        return Said(200, self.search(asked.json))

    def search(self, body: dict) -> dict:
        self.searches += 1
        if self.searches in self.moves:
            record_id, ms = self.moves[self.searches]
            self.records[record_id] = ms
        dice = random.Random(self.seed * 1000 + self.searches)
        rows = [(i, ms) for i, ms in self.records.items() if self.visible_from.get(i, 0) <= self.now]
        for rule in body["filterGroups"][0]["filters"]:
            rows = [row for row in rows if self.holds(rule, *row)]
        by_id = body["sorts"][0]["propertyName"] == "hs_object_id"
        rows.sort(key=lambda row: (self.order(row[0]),) if by_id else (row[1], self.order(row[0])))
        offset, limit = int(body.get("after", 0)), min(body["limit"], self.page_rows)
        assert offset + limit <= self.window, "paged past the window"
        if self.short_pages and dice.random() < 0.3:
            limit = dice.randint(1, limit)
        page = rows[offset : offset + limit]
        answer = {
            "total": len(rows),
            "results": [
                {"id": i, "properties": {"hs_object_id": i, MODIFIED: iso(ms), "email": None}} for i, ms in page
            ],
        }
        if offset + len(page) < len(rows):
            answer["paging"] = {"next": {"after": str(offset + len(page))}}
        return answer

    def holds(self, rule: dict, record_id: str, ms: int) -> bool:
        match rule["operator"]:
            case "BETWEEN":
                return int(rule["value"]) <= ms <= int(rule["highValue"])
            case "EQ":
                return ms == int(rule["value"])
            case "GT":
                return self.order(record_id) > self.order(rule["value"])
        raise AssertionError(rule)


def stock(draw_ids: list[int], times: list[int]) -> dict[str, int]:
    return {str(number): times[place % len(times)] for place, number in enumerate(draw_ids)}


ids = st.lists(st.integers(1, 10**6), unique=True, max_size=150)
# Few distinct times, so that many records share a millisecond; sometimes all of them do.
times = st.lists(st.integers(0, 30).map(lambda n: 1_000_000 + n), min_size=1, max_size=12)


@settings(max_examples=120, deadline=None)
@given(ids, times, st.integers(1, 20), st.booleans(), st.integers(0, 10**6))
def test_a_walk_finds_everything_in_its_span_and_nothing_twice(numbers, moments, page_rows, as_text, seed):
    endpoint = SearchEndpoint(stock(numbers, moments), page_rows, ids_as_text=as_text, seed=seed)
    walk = ChangesWalk(
        endpoint.search, modified=MODIFIED, properties=["email"], what="search", page_rows=page_rows, window=WINDOW
    )
    found = [
        (r["id"], r["properties"][MODIFIED]) for page in walk.walk(Place(1_000_003), 1_000_025) for r in page.records
    ]
    wanted = {(i, iso(ms)) for i, ms in endpoint.records.items() if 1_000_003 <= ms <= 1_000_025}
    assert len(found) == len(set(found))
    assert set(found) == wanted


@settings(max_examples=80, deadline=None)
@given(ids.filter(bool), times, st.integers(1, 20), st.booleans(), st.integers(0, 10**6), st.data())
def test_resuming_a_walk_anywhere_finds_the_rest(numbers, moments, page_rows, as_text, seed, data):  # noqa: PLR0917 - one argument a strategy
    endpoint = SearchEndpoint(stock(numbers, moments), page_rows, ids_as_text=as_text, seed=seed)

    def walk():
        return ChangesWalk(
            endpoint.search, modified=MODIFIED, properties=[], what="search", page_rows=page_rows, window=WINDOW
        )

    pages = list(walk().walk(Place(0), 2_000_000))
    stop = data.draw(st.integers(0, len(pages) - 1))
    seen = {r["id"] for page in pages[: stop + 1] for r in page.records}
    place = pages[stop].place
    if place is not None:
        seen |= {r["id"] for page in walk().walk(place, 2_000_000) for r in page.records}
    assert seen == set(endpoint.records)


@settings(max_examples=80, deadline=None)
@given(ids.filter(bool), times, st.integers(1, 20), st.integers(0, 10**6), st.data())
def test_records_that_change_while_we_page_make_us_skip_nobody_else(numbers, moments, page_rows, seed, data):
    records = stock(numbers, moments)
    movers = data.draw(st.lists(st.sampled_from(sorted(records)), max_size=20))
    moves = {call: (record_id, 5_000_000 + call) for call, record_id in enumerate(movers, 2)}
    endpoint = SearchEndpoint(dict(records), page_rows, seed=seed, moves=moves)
    walk = ChangesWalk(
        endpoint.search, modified=MODIFIED, properties=[], what="search", page_rows=page_rows, window=WINDOW
    )
    found = {r["id"] for page in walk.walk(Place(0), 2_000_000) for r in page.records}
    assert found >= set(records) - set(movers)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(0, 3_600), st.integers(0, 240)), min_size=1, max_size=80),
    st.lists(st.integers(1, 900), min_size=1, max_size=6),
    st.integers(1, 20),
    st.integers(0, 10**6),
)
def test_incremental_readings_miss_no_change_however_late_the_index(edits, gaps, page_rows, seed):
    """Records change at any second of an hour and are searchable up to 4 minutes later; readings happen at any time."""
    clock = HandClock()
    start = int(clock.now().timestamp() * 1000)
    last_edit = {}
    for number, second, lag in sorted(edits, key=lambda edit: edit[1]):
        last_edit[str(number)] = (start + second * 1000, start + (second + lag) * 1000)
    endpoint = SearchEndpoint(
        {i: ms for i, (ms, _) in last_edit.items()},
        page_rows,
        seed=seed,
        visible_from={i: seen for i, (_, seen) in last_edit.items()},
    )
    with serving(endpoint) as server, TemporaryDirectory() as folder:
        options = HubSpotOptions(
            adapter="hubspot",
            base_url=server.url,
            auth={"token": "some-token"},
            overlap=timedelta(minutes=10),
            safety_lag=timedelta(minutes=2),
        )
        connection = connect(options, Path(folder), clock=clock, fields={"contacts": ["email"]})
        source = HubSpotSource(connection)
        fields = {
            "asked": ["hs_object_id", MODIFIED, "email"],
            "known": ["hs_object_id", MODIFIED, "email"],
            "at": start,
        }
        cursor = {"mode": "changes", "since": start, "until": None, "place": None, "bin": {}, "fields": fields}
        found: set[str] = set()
        for gap in [*gaps, 4_000, 600]:
            clock.advance(gap)
            endpoint.now = int(clock.now().timestamp() * 1000)
            once: list[str] = []
            for page in source.read("contacts", cursor):
                rows = page.records if isinstance(page.records, list) else page.records.to_pylist()
                once += [row["hs_object_id"] for row in rows]
                cursor = page.cursor
            assert len(once) == len(set(once))
            found |= set(once)
        source.close()
    assert found == set(last_edit)


def test_a_crowded_millisecond_larger_than_the_window_is_read_by_id_as_the_vendor_orders_it():
    records = {str(number): 1_000_000 for number in range(1, 400)} | {"9999": 999_999, "10000": 1_000_001}
    for as_text in (True, False):
        endpoint = SearchEndpoint(dict(records), 20, ids_as_text=as_text)
        walk = ChangesWalk(
            endpoint.search, modified=MODIFIED, properties=[], what="search", page_rows=20, window=WINDOW
        )
        found = [r["id"] for page in walk.walk(Place(0), 2_000_000) for r in page.records]
        assert sorted(found) == sorted(records)


@pytest.mark.parametrize("together", [1, 10, 100, 150])
def test_few_rows_are_read_twice_however_many_changed_together(together):
    records = {str(number): 1_000_000 + number // together for number in range(6_000)}
    endpoint = SearchEndpoint(records, 200, short_pages=False, window=10_000)
    walk = ChangesWalk(endpoint.search, modified=MODIFIED, properties=[], what="search")
    found = [r["id"] for page in walk.walk(Place(0), 2_000_000) for r in page.records]
    assert len(found) == len(set(found)) == 6_000
    assert endpoint.searches <= 6_000 / 200 * 1.1


def test_an_index_that_sorts_ids_one_way_and_compares_them_another_is_noticed():
    endpoint = SearchEndpoint({str(number): 1_000_000 for number in range(1, 200)}, 20)

    def search(body):
        sorting_as_text = endpoint.search
        if any(rule["operator"] == "GT" for rule in body["filterGroups"][0]["filters"]):
            ids_from = int(body["filterGroups"][0]["filters"][1]["value"])
            saved = dict(endpoint.records)
            endpoint.records = {i: ms for i, ms in saved.items() if int(i) > ids_from}
            body = {**body, "filterGroups": [{"filters": body["filterGroups"][0]["filters"][:1]}]}
            answer = sorting_as_text(body)
            endpoint.records = saved
            return answer
        return sorting_as_text(body)

    walk = ChangesWalk(
        search, modified=MODIFIED, properties=[], what="hubspot contacts search", page_rows=20, window=WINDOW
    )
    with pytest.raises(PagingError, match="hubspot contacts search"):
        list(walk.walk(Place(0), 2_000_000))


def test_a_search_that_ignores_its_sort_is_noticed():
    rows = [{"id": str(n), "properties": {MODIFIED: iso(ms)}} for n, ms in enumerate([5, 9, 7])]
    walk = ChangesWalk(lambda _: {"total": 3, "results": rows}, modified=MODIFIED, properties=[], what="x")
    with pytest.raises(PagingError, match="order"):
        list(walk.walk(Place(0), 100))


def test_a_search_that_sends_the_same_page_for_ever_is_refused():
    rows = [{"id": str(n), "properties": {MODIFIED: iso(5)}} for n in range(3)]
    answer = {"total": 9, "results": rows, "paging": {"next": {"after": "3"}}}
    walk = ChangesWalk(lambda _: answer, modified=MODIFIED, properties=[], what="x")
    with pytest.raises(PagingError):
        list(walk.walk(Place(0), 100))


def test_empty_pages_that_carry_a_cursor_are_followed():
    rows = [{"id": "1", "properties": {MODIFIED: iso(5)}}]

    def search(body):
        after = int(body.get("after", 0))
        if after < 3:
            return {"total": 1, "results": [], "paging": {"next": {"after": str(after + 1)}}}
        return {"total": 1, "results": rows}

    walk = ChangesWalk(search, modified=MODIFIED, properties=[], what="x")
    assert [r["id"] for page in walk.walk(Place(0), 100) for r in page.records] == ["1"]

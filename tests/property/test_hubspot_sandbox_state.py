"""Whatever happens to the records, searching, paging and lists agree with what is stored."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hubspot.sandbox.answers import Refusal
from adapters.hubspot.sandbox.records import Record
from adapters.hubspot.sandbox.state import State

IDS = st.sampled_from(["1", "2", "9", "10", "100", "11", "3"])
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), IDS, st.integers(0, 4)),
        st.tuples(st.just("write"), IDS, st.integers(0, 4)),
        st.tuples(st.just("archive"), IDS, st.just(0)),
        st.tuples(st.just("restore"), IDS, st.just(0)),
        st.tuples(st.just("merge"), IDS, st.integers(0, 6)),
        st.tuples(st.just("wait"), IDS, st.integers(0, 4000)),
        st.tuples(st.just("join"), IDS, st.just(0)),
    ),
    max_size=40,
)


def act(state: State, what: str, record_id: str, number: int, held: Any) -> None:
    kind = state.kind("contacts")
    now_ms = state.settle()
    if what == "put" and record_id not in kind.store.merged and record_id not in kind.store.archived:
        kind.store.put(Record(record_id, {"email": f"p{record_id}@x.example"}, 0, number), now_ms=now_ms)
    elif what == "write" and record_id in kind.store.live:
        state.update(kind, kind.store.live[record_id], {"country": str(number)}, now_ms=now_ms)
    elif what == "archive":
        state.archive(kind, record_id, now_ms=now_ms)
    elif what == "restore":
        kind.store.restore(record_id, now_ms=now_ms)
    elif what == "merge":
        other = ["1", "2", "9", "10", "100", "11", "3"][number]
        try:
            state.merge(kind, record_id, other, now_ms=now_ms)
        except Refusal:
            return
    elif what == "join":
        state.change_members(held, add=[record_id], remove=[], now_ms=now_ms)
    elif what == "wait":
        state.clock.advance(number / 1000)


def search(state: State, **body: Any) -> list[str]:
    kind = state.kind("contacts")
    given_body = {"sorts": [{"propertyName": "lastmodifieddate", "direction": "ASCENDING"}], **body}
    return list(kind.searcher.run(kind.searcher.parse(given_body, size=0)))


@settings(max_examples=120, deadline=None)
@given(ACTS, st.integers(0, 3), st.integers(0, 3), st.integers(0, 6))
def test_search_and_pages_agree_with_the_records_once_the_lag_has_passed(acts, lag, jitter, since):
    state = State()
    state.clock.freeze()
    state.behave({"search_lag_seconds": lag, "search_jitter_seconds": jitter})
    held = state.lists.create(
        name="a", type_id="0-1", processing_type="MANUAL", folder="0", filter_branch=None, now_ms=state.clock.now_ms()
    )
    for what, record_id, number in acts:
        act(state, what, record_id, number, held)
    state.clock.advance(10)
    state.settle()
    live = state.contacts.live
    in_order = sorted(live, key=lambda i: (live[i].updated_ms, i))
    assert search(state) == in_order
    recent = {
        "filterGroups": [{"filters": [{"propertyName": "lastmodifieddate", "operator": "GTE", "value": str(since)}]}]
    }
    assert search(state, **recent) == [i for i in in_order if live[i].updated_ms >= since]
    assert [record.id for record in state.contacts.page(start=0, limit=100)[0]] == sorted(live, key=int)
    assert set(held.members) <= set(live)
    assert held.page(start=0, limit=250)[0] == sorted(held.members, key=int)
    for lost, survivor in state.contacts.merged.items():
        assert lost not in live
        assert state.contacts.survivor(lost) == state.contacts.survivor(survivor)


@settings(max_examples=60, deadline=None)
@given(ACTS)
def test_what_is_refused_halfway_leaves_no_trace(acts):
    state = State()
    state.clock.freeze()
    held = state.lists.create(
        name="a", type_id="0-1", processing_type="MANUAL", folder="0", filter_branch=None, now_ms=0
    )
    for what, record_id, number in acts:
        act(state, what, record_id, number, held)
    kind = state.kind("contacts")
    before, order, pages = dict(kind.store.live), search(state), kind.store.page(start=0, limit=100)
    now_ms = state.clock.now_ms()

    def write_until_refused() -> None:
        with kind.store.all_or_nothing(now_ms=now_ms):
            for record in list(before.values()):
                state.update(kind, record, {"country": "other"}, now_ms=now_ms)
            state.create(kind, {"email": "fresh@x.example"}, now_ms=now_ms)
            state.create(kind, {"no_such": "x"}, now_ms=now_ms)

    with pytest.raises(Refusal, match="no_such"):
        write_until_refused()
    assert kind.store.live == before
    assert search(state) == order
    assert kind.store.page(start=0, limit=100) == pages
    assert kind.store.by_email("fresh@x.example") is None

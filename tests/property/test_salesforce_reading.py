"""However changes, deletions, merges and broken readings follow each other, what was read ends up as the org is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.source_suite import rows_of
from tests.fakes.salesforce_worlds import SalesforceWorld, contact, people

PEOPLE = 14

numbers = st.integers(1, PEOPLE)
actions = st.one_of(
    st.tuples(st.just("edit"), numbers, st.integers(1, PEOPLE)),
    st.tuples(st.just("delete"), numbers, st.none()),
    st.tuples(st.just("restore"), numbers, st.none()),
    st.tuples(st.just("merge"), numbers, numbers),
    st.tuples(st.just("wait"), st.sampled_from((0, 1, 59, 700)), st.none()),
    st.tuples(st.just("read"), st.integers(1, 9), st.none()),
)


class Copy:
    """What somebody knows who stored every page that was read, as the warehouse does."""

    def __init__(self) -> None:
        self.names: dict[str, str | None] = {}
        self.gone: set[str] = set()
        self.merged: dict[str, str] = {}
        self.cursor = None

    def read(self, world: SalesforceWorld, stop: int | None = None) -> None:
        source = world.source()
        pages = source.read("contacts", self.cursor)
        for number, page in enumerate(pages, start=1):
            for row in rows_of(page):
                self.store(row, partial=page.partial)
            self.cursor = json.loads(json.dumps(page.cursor))
            if number == stop:
                break
        pages.close()
        source.close()

    def store(self, row, *, partial: bool) -> None:
        if partial:
            self.gone.add(row["Id"])
            if row.get("MasterRecordId"):
                self.merged[row["Id"]] = row["MasterRecordId"]
            return
        self.names[row["Id"]] = row["FirstName"]
        self.gone.discard(row["Id"])
        self.merged.pop(row["Id"], None)


def carry_out(world: SalesforceWorld, copy: Copy, action, moment: int) -> None:
    what, first, second = action
    state, store = world.state, world.state.stores["Contact"]
    if what == "wait":
        world.pass_time(first)
    elif what == "read":
        copy.read(world, stop=first)
    elif what == "restore":
        row = state.row(contact(first))
        if row.is_deleted and not row.values.get("MasterRecordId"):
            state.undelete(contact(first))
    elif store.find(contact(first)) is None:
        return
    elif what == "edit":
        # Several at once: they share a moment, and a second.
        live = [contact(n) for n in range(first, min(first + second, PEOPLE) + 1) if store.find(contact(n))]
        world.edit(live, FirstName=f"Name of {moment}")
    elif what == "delete":
        world.bin([contact(first)])
    elif first != second and store.find(contact(second)) is not None:
        state.merge(contact(first), [contact(second)])


@pytest.mark.parametrize("bulk_from", [5, 10_000])
def test_whatever_happens_between_and_during_readings_the_copy_ends_up_like_the_org(tmp_path, monkeypatch, bulk_from):
    monkeypatch.setattr("adapters.salesforce.walking.ROWS_PER_PAGE", 3)
    monkeypatch.setattr("adapters.salesforce.walking.REST_IS_CHEAPER_BELOW", bulk_from)
    monkeypatch.setattr("adapters.salesforce.walking.BULK_FROM", bulk_from)
    monkeypatch.setattr("adapters.salesforce.bulk_query.ROWS_PER_PIECE", 4)
    behaviour = {"page_rows": 2, "bulk_page_rows": 4, "bulk_seconds": 1.0}
    world = SalesforceWorld(tmp_path, behaviour=behaviour)

    @settings(deadline=None, max_examples=8)
    @given(plan=st.lists(actions, max_size=14))
    def ends_up_alike(plan) -> None:
        world.state.reset()
        world.sandbox.seed(people(PEOPLE), [])
        world.pass_time(3600)
        copy = Copy()
        for moment, action in enumerate(plan):
            carry_out(world, copy, action, moment)
        world.pass_time(1)
        copy.read(world)
        copy.read(world)
        rows = [world.state.row(contact(number)) for number in range(1, PEOPLE + 1)]
        live = {row.id: row.values.get("FirstName") for row in rows if not row.is_deleted}
        assert {key: name for key, name in copy.names.items() if key not in copy.gone} == live
        assert copy.gone == {row.id for row in rows if row.is_deleted}
        losers = {row.id: row.values["MasterRecordId"] for row in rows if row.values.get("MasterRecordId")}
        assert copy.merged == losers

    try:
        ends_up_alike()
    finally:
        world.stop()

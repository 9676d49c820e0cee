"""Whatever the CRM held and whoever is blocked: the plan brings it to what is wanted, and undo brings it back."""

from __future__ import annotations

import itertools
from functools import cache

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.contracts import Capabilities
from connector.journal import Journal
from connector.plan.build import GONE
from connector.plan.steps import AddMembers, RemoveMembers, SetProperties
from tests.fakes.plan_world import A, B, StillClock, World, world

TINY = Capabilities(members_per_call=3, properties_per_call=2, members_per_read=2, properties_per_read=2)
ROWS = [str(n) for n in range(1, 13)]

members = st.dictionaries(
    st.sampled_from([A, B, "winback · cold"]),
    st.sets(st.sampled_from(ROWS)).map(lambda rows: {row: f"memory:{row}" for row in rows}),
)
values = st.dictionaries(
    st.sampled_from(ROWS),
    st.dictionaries(st.sampled_from(["winback_segment", "winback_reason"]), st.sampled_from(["a", "b", None])),
)
blocked = st.dictionaries(st.sampled_from(ROWS), st.sampled_from(["opted_out", "bounced", "deleted"]), max_size=4)

NUMBERS = itertools.count()


@cache
def shared_journal() -> Journal:
    """One journal for all examples: migrating it anew would be most of the work. Each example has its own CRM in it."""
    return Journal.open("sqlite:///:memory:", clock=StillClock())


few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def wanted_state(lists, properties, may_not) -> tuple[dict, dict]:
    """What the CRM should hold, worked out the plain way."""
    on = {name: {row for row in rows if row not in may_not} for name, rows in lists.items()}
    told = {
        row: {name: value for name, value in given.items() if value}
        for row, given in properties.items()
        if row not in may_not
    }
    return on, {row: given for row, given in told.items() if given}


def holdings(w: World) -> tuple[dict, dict]:
    return (
        w.crm.holdings(),
        {row: given for row, given in w.crm.values.items() if given},
    )


@few
@given(members, values, members, values, blocked)
def test_applying_reaches_wanted_the_second_plan_is_empty_and_undo_restores(before, told, lists, properties, may_not):
    with world(ROWS, journal=shared_journal(), name=f"crm-{next(NUMBERS)}", capabilities=TINY) as w:
        w.apply(w.plan(before, told))
        start = w.crm.state()
        joins = w.crm.joins.copy()
        w.blocked = may_not

        plan = w.plan(lists, properties)
        for step in plan.steps:
            if isinstance(step, AddMembers):
                assert may_not.keys().isdisjoint(step.row_ids)
            if isinstance(step, SetProperties):
                for change in step.rows:
                    assert change.row_id not in may_not or not any(change.values.values())
        kinds = [type(step) for step in plan.steps if isinstance(step, AddMembers | RemoveMembers)]
        assert kinds == sorted(kinds, key=lambda kind: kind is AddMembers)

        report = w.apply(plan)
        assert report.api_calls == plan.api_calls
        assert (report.rejected, report.unknown) == (0, 0)

        on, told_now = wanted_state(lists, properties, may_not)
        held, values_held = holdings(w)
        assert {name: rows for name, rows in held.items() if name in on} == on
        assert all(not rows for name, rows in held.items() if name not in on)
        gone = {row for row, reason in may_not.items() if reason in GONE}
        for row in ROWS:
            if row not in gone and row in properties:
                named = properties[row]
                shown = values_held.get(row, {})
                assert {name: shown.get(name) for name in named} == {
                    name: told_now.get(row, {}).get(name) for name in named
                }
            if row not in gone and (row not in properties or row in may_not):
                assert not values_held.get(row)
        added = w.crm.joins - joins
        assert {row for _, row in added}.isdisjoint(may_not)
        assert w.plan(lists, properties).empty
        assert w.open_batches() == []

        w.blocked = {}
        if not plan.empty:
            w.undo()
        assert w.crm.state() == start
        assert w.journal.held.members(w.name) == {name: set(rows) for name, rows in w.crm.holdings().items()}

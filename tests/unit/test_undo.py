"""Taking a run back: the CRM as it was before, to the last value."""

from __future__ import annotations

import pytest

from connector import failpoints
from connector.errors import StateError
from connector.plan.undo import read_undo, undo_file
from tests.fakes.plan_world import CRM, SEGMENT, A, B, World, ids, world

VALUES = {str(n): {"winback_segment": "dormant_30"} for n in range(1, 6)}


@pytest.fixture
def w():
    with world() as made:
        yield made


class Crash(BaseException):
    """The process died here."""


def crash_at(monkeypatch, name: str, hit: int = 1) -> None:
    failpoints.reset()
    monkeypatch.setenv(failpoints.VARIABLE, f"{name}:{hit}")

    def die(where: str) -> None:
        raise Crash(where)

    monkeypatch.setattr(failpoints, "die", die)


def test_undoing_the_first_run_leaves_nothing_behind(w: World):
    before = w.crm.state()
    w.apply(w.plan({A: ids(1, 2), B: ids(3)}, VALUES))
    report = w.undo()
    assert w.crm.state() == before == {"lists": {}, "properties": [], "values": {}, "workflows": {}}
    assert report.exit_code == 0
    assert w.journal.held.lists(CRM) == {}
    assert w.journal.held.members(CRM) == {}
    assert w.open_batches() == []


def test_undo_restores_members_and_values_of_the_run_before(w: World):
    w.apply(w.plan({A: ids(1, 2), B: ids(3)}, VALUES))
    before = w.crm.state()
    w.apply(
        w.plan({A: ids(2, 4), B: ids(1)}, {"1": {"winback_segment": "dormant_60"}, "9": {"winback_segment": "new"}})
    )
    assert w.crm.state() != before
    w.undo()
    assert w.crm.state() == before
    assert w.plan({A: ids(1, 2), B: ids(3)}, VALUES).empty


def test_what_somebody_else_did_is_not_undone(w: World):
    w.apply(w.plan({A: ids(1)}))
    list_id = next(iter(w.crm.list_names))
    w.crm.members_of[list_id].add("7")
    before = w.crm.state()
    w.apply(w.plan({A: ids(1, 7, 8)}))
    w.undo()
    assert w.crm.state() == before


def test_an_opted_out_contact_is_not_put_back(w: World):
    w.apply(w.plan({A: ids(1, 2)}))
    w.apply(w.plan({A: {}}))
    w.blocked = {"2": "opted_out"}
    report = w.undo()
    assert w.crm.holdings()[A] == {"1"}
    assert dict(report.skipped) == {"opted_out": 1}


def test_runs_are_undone_newest_first(w: World):
    w.apply(w.plan({A: ids(1)}))
    first = w.last_run
    w.apply(w.plan({A: ids(1, 2)}))
    second = w.last_run
    with pytest.raises(StateError, match=r"1 later run\(s\) changed crm") as refused:
        w.undo(first)
    assert refused.value.hint == f"undo the newest first: `winback undo {second}`."
    w.undo(second)
    w.undo(first)
    assert w.crm.state()["lists"] == {}


def test_a_run_is_undone_once_and_an_undo_not_at_all(w: World):
    w.apply(w.plan({A: ids(1)}))
    applied = w.last_run
    w.undo()
    undone = w.last_run
    with pytest.raises(StateError, match=f"already undone by run {undone}"):
        w.undo(applied)
    with pytest.raises(StateError, match=f"itself the undo of {applied}"):
        w.undo(undone)
    with pytest.raises(StateError, match="no undo file"):
        w.undo("20200101-000000-00001")


def test_undo_is_taken_up_after_a_crash(w: World, monkeypatch):
    w.apply(w.plan({A: ids(1, 2)}, VALUES))
    before = w.crm.state()
    w.apply(w.plan({A: ids(3), B: ids(4)}, {"1": {"winback_segment": "other"}}))
    target = w.last_run
    for hit in range(1, 5):
        crash_at(monkeypatch, "apply.sent", hit)
        with pytest.raises(Crash):
            w.undo(target)
    monkeypatch.delenv(failpoints.VARIABLE)
    w.undo(target)
    assert w.crm.state() == before
    assert w.open_batches() == []


@pytest.mark.parametrize("hit", range(1, 5))
@pytest.mark.parametrize(
    "name", ["apply.undo_noted", "apply.intended", "apply.sent", "apply.undo_settled", "apply.recorded"]
)
def test_an_apply_that_died_and_was_taken_up_is_undone_run_by_run(w: World, monkeypatch, name: str, hit: int):
    w.crm.ensure_properties([SEGMENT])
    w.specs = (SEGMENT,)
    before = w.crm.state()
    plan = w.plan({A: ids(1, 2), B: ids(3)}, VALUES)
    crash_at(monkeypatch, name, hit)
    with pytest.raises(Crash):
        w.apply(plan)
    died = w.last_run
    monkeypatch.delenv(failpoints.VARIABLE)
    w.apply(plan)
    assert w.crm.holdings() == {A: {"1", "2"}, B: {"3"}}
    w.undo()
    w.undo(died)
    assert w.crm.state() == before
    assert w.open_batches() == []


def test_a_list_that_may_be_somebody_elses_is_left_when_people_are_on_it(w: World, monkeypatch):
    plan = w.plan({A: {}})
    crash_at(monkeypatch, "apply.sent")
    with pytest.raises(Crash):
        w.apply(plan)
    monkeypatch.delenv(failpoints.VARIABLE)
    w.crm.members_of[next(iter(w.crm.list_names))].add("50")
    report = w.undo()
    assert w.crm.holdings() == {A: {"50"}}
    assert report.notices == (f"list {A} was left: somebody is on it and it may not be ours",)


def test_a_property_made_in_the_moment_of_the_crash_is_left_and_named(w: World, monkeypatch):
    plan = w.plan({}, VALUES)
    crash_at(monkeypatch, "apply.sent")
    with pytest.raises(Crash):
        w.apply(plan)
    monkeypatch.delenv(failpoints.VARIABLE)
    report = w.undo()
    assert len(report.notices) == 2
    assert "property winback_segment was left" in report.notices[0]


def test_a_line_cut_short_by_the_crash_is_ignored(w: World):
    w.apply(w.plan({A: ids(1)}))
    path = undo_file(w.folder, w.last_run, CRM)
    whole = read_undo(path)
    with path.open("a") as file:
        file.write('{"record":"intent","entry":99,"ki')
    assert read_undo(path).entries == whole.entries
    w.undo()
    assert read_undo(path).undone_by is not None
    assert w.crm.state()["lists"] == {}


def test_undo_forecast_is_the_number_of_calls(w: World):
    w.apply(w.plan({A: ids(1, 2)}, VALUES))
    calls = w.crm.calls
    report = w.undo()
    # values back, one list, two properties
    assert report.api_calls == w.crm.calls - calls == 4


def test_a_clock_that_was_set_back_does_not_confuse_the_order(w: World):
    w.apply(w.plan({A: ids(1)}))
    first = w.last_run
    w.clock.waited = -7 * 24 * 3600.0
    w.apply(w.plan({A: ids(1, 2)}))
    assert w.last_run < first
    with pytest.raises(StateError, match="later run"):
        w.undo(first)

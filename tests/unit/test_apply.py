"""Carrying a plan out: every row counted, no row in another's way, nothing lost when something breaks."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from connector.contracts import Capabilities
from connector.errors import CredentialsError, Locked, QuotaExhausted, RejectedError, StalePlan, TooManyChanges
from connector.plan.steps import AddMembers
from connector.plan.undo import read_undo, undo_file
from tests.fakes.memory_destination import FAULTS
from tests.fakes.plan_world import CRM, A, B, World, ids, world

VALUES = {str(n): {"winback_segment": "dormant_30", "winback_reason": f"quiet for {n} days"} for n in range(1, 6)}


@pytest.fixture
def w():
    with world() as made:
        yield made


def test_the_crm_holds_what_was_wanted_and_the_second_plan_is_empty(w: World):
    wanted = {A: ids(1, 2, 3), B: ids(4)}
    report = w.apply(w.plan(wanted, VALUES))
    assert w.crm.holdings() == {A: {"1", "2", "3"}, B: {"4"}}
    assert w.crm.values == VALUES
    assert (report.written, report.rejected, report.unknown, report.exit_code) == (9, 0, 0, 0)
    assert w.plan(wanted, VALUES).empty
    assert w.open_batches() == []


def test_the_forecast_is_the_number_of_calls_used(w: World):
    w.crm.capabilities = Capabilities(
        members_per_call=7, properties_per_call=3, members_per_read=5, properties_per_read=5
    )
    plan = w.plan({A: ids(*range(1, 51)), B: ids(*range(40, 61))}, VALUES)
    assert w.apply(plan).api_calls == plan.api_calls == 1 + 2 + 8 + 3 + 2
    moved = w.plan({A: ids(*range(1, 31)), B: ids(*range(20, 61))}, {})
    assert w.apply(moved).api_calls == moved.api_calls


def test_an_empty_plan_makes_no_call_and_leaves_no_undo_file(w: World):
    report = w.apply(w.plan({}))
    assert (report.api_calls, report.exit_code) == (0, 0)
    assert not w.folder.exists()


def test_removals_are_sent_before_additions(w: World):
    w.apply(w.plan({A: ids(1, 2), B: ids(3)}))
    before = len(w.crm.requests)
    seen = []
    original = w.crm.change_members
    w.crm.change_members = lambda list_id, **what: seen.append(next(iter(what))) or original(list_id, **what)
    w.apply(w.plan({A: ids(3), B: ids(1)}))
    assert seen == ["remove", "remove", "add", "add"]
    assert len(w.crm.requests) == before + 4


def test_ten_thousand_rows_five_bad_one_in_a_batch_write_the_rest():
    with world(range(1, 10_001)) as w:
        for n, row in enumerate((17, 1500, 4321, 7777, 9001)):
            w.crm.poison[str(row)] = f"record {row} failed validation rule {n}"
        report = w.apply(w.plan({A: ids(*range(1, 10_001))}))
        assert (report.written, report.rejected, report.exit_code) == (9_995, 5, 3)
        assert {(r.row_id, r.message) for r in report.rejections} == {
            (row, f"{words}") for row, words in w.crm.poison.items()
        }
        assert len(w.crm.holdings()[A]) == 9_995
        # Ten batches, five of them split down to one row: never more than twice the depth of the split for each.
        assert report.api_calls <= 1 + 10 + 5 * 2 * 10
        assert w.open_batches() == []


@pytest.mark.parametrize("how", ["poison", "refused"])
def test_rejected_property_rows_block_nobody(w: World, how: str):
    getattr(w.crm, how)["3"] = "value is not one of the allowed options"
    report = w.apply(w.plan({}, VALUES))
    assert (report.written, report.rejected) == (4, 1)
    assert report.rejections[0].row_id == "3"
    assert report.rejections[0].message == "value is not one of the allowed options"
    assert "3" not in w.crm.values


def test_a_rejected_row_is_retried_apart_then_quarantined_and_counted(w: World):
    w.crm.poison["3"] = "blocked by a rule"
    wanted = {A: ids(1, 2, 3)}
    assert w.apply(w.plan(wanted)).rejected == 1
    retry = w.plan(wanted)
    assert [step for step in retry.steps if isinstance(step, AddMembers)] == [AddMembers(A, ("3",), retried=True)]
    for _ in range(4):
        w.apply(w.plan(wanted))
    quarantined = w.plan(wanted)
    assert quarantined.empty
    assert quarantined.excluded == {"quarantined": ("hubspot:3",)}
    w.journal.rejections.release(["3"])
    w.crm.poison.clear()
    assert w.apply(w.plan(wanted)).written == 1


def test_a_record_the_crm_does_not_have_is_listed_and_not_believed_to_be_held(w: World):
    report = w.apply(w.plan({A: ids(1, 999)}, {"999": {"winback_segment": "x"}}))
    assert (report.written, report.rejected) == (1, 2)
    assert {r.code for r in report.rejections} == {"missing"}
    assert w.journal.held.members(CRM)[A] == {"1"}


def test_removing_a_record_that_is_gone_is_no_failure(w: World):
    w.apply(w.plan({A: ids(1, 2)}, {"1": {"winback_segment": "x"}}))
    w.crm.contacts.discard("1")
    report = w.apply(w.plan({A: ids(2)}, {}))
    assert (report.rejected, report.unchanged) == (0, 2)
    assert w.plan({A: ids(2)}, {}).empty


@pytest.mark.parametrize("fault", ["timeout_before", "timeout_after", "no_op", "mute", "short", "unreachable"])
def test_a_lost_answer_or_a_silent_no_op_is_settled_at_once(w: World, fault: str):
    for position in range(4):
        w.crm.faults.clear()
        wanted = {A: ids(*range(1 + position, 21)), B: ids(*range(30, 40 + position))}
        w.crm.faults.extend([None] * position + [fault])
        values = {str(n): {"winback_segment": f"s{position}"} for n in range(1, 8)}
        report = w.apply(w.plan(wanted, values))
        assert (report.rejected, report.unknown, report.exit_code) == (0, 0, 0)
        assert w.crm.holdings() == {name: set(rows) for name, rows in wanted.items()}
        assert w.crm.values == values
        assert w.open_batches() == []


def test_an_answer_that_keeps_saying_nothing_is_read_back_and_refused(w: World):
    w.apply(w.plan({A: {}}))
    w.crm.faults.extend(["no_op", "no_op"])
    report = w.apply(w.plan({A: ids(1, 2)}))
    assert (report.written, report.rejected) == (0, 2)
    assert "not done" in report.rejections[0].message or "does not name" in report.rejections[0].message
    assert w.apply(w.plan({A: ids(1, 2)})).written == 2


def test_rows_still_unknown_when_reading_back_fails_are_settled_at_the_end(w: World):
    w.apply(w.plan({A: {}}))
    w.crm.faults.extend(["timeout_after", "timeout_before", "timeout_before"])
    report = w.apply(w.plan({A: ids(1)}))
    assert w.crm.holdings()[A] == {"1"}
    assert (report.written, report.unknown) == (1, 0)
    assert w.open_batches() == []


@pytest.mark.parametrize(("fault", "error"), [("quota", QuotaExhausted), ("credentials", CredentialsError)])
def test_a_spent_quota_or_a_revoked_token_stops_and_the_plan_can_be_taken_up(w: World, fault, error):
    w.crm.capabilities = Capabilities(
        members_per_call=5, properties_per_call=2, members_per_read=5, properties_per_read=5
    )
    wanted = {A: ids(*range(1, 21))}
    plan = w.plan(wanted, VALUES)
    w.crm.faults.extend([None, None, None, fault])
    report = w.apply(plan)
    assert isinstance(report.stopped, error)
    assert report.exit_code == error.exit_code
    assert report.written == 2
    again = w.apply(plan)
    assert (again.exit_code, again.unchanged, again.written) == (0, 2, 23)
    assert w.crm.holdings()[A] == set(wanted[A])
    assert max(w.crm.joins.values()) == 1
    assert w.open_batches() == []


def test_a_system_that_is_down_ends_the_run_after_a_few_tries(w: World):
    w.apply(w.plan({A: {}}))
    w.crm.faults.extend(["unreachable"] * 500)
    report = w.apply(w.plan({A: ids(*range(1, 101))}))
    assert report.stopped is not None
    assert report.api_calls < 20
    w.crm.faults.clear()
    assert w.apply(w.plan({A: ids(*range(1, 101))})).written == 100


def test_a_refusal_that_is_not_about_rows_costs_one_call_and_blames_nobody(w: World):
    w.crm.capabilities = Capabilities(
        members_per_call=5, properties_per_call=2, members_per_read=5, properties_per_read=5
    )
    w.apply(w.plan({A: {}, B: {}}))
    w.crm.faults.append("gone")
    report = w.apply(w.plan({A: ids(*range(1, 21)), B: ids(30)}))
    assert (report.api_calls, report.written, report.rejected) == (2, 1, 20)
    assert [(r.target, r.row_id, r.rows, r.code) for r in report.rejections] == [(A, None, 20, "403")]
    assert w.journal.rejections.active(CRM) == {}
    assert w.apply(w.plan({A: ids(*range(1, 21)), B: ids(30)})).written == 20


def test_a_batch_where_everything_is_refused_is_not_split_to_the_last_row(w: World):
    w.apply(w.plan({A: {}}))
    w.crm.poison = {str(n): "this portal is read-only" for n in range(1, 101)}
    report = w.apply(w.plan({A: ids(*range(1, 101))}))
    assert report.api_calls <= 30
    assert report.rejected == 100
    assert report.rejections[0].message == "this portal is read-only"


def test_a_list_deleted_by_hand_is_made_again_by_the_next_plan(w: World):
    w.apply(w.plan({A: ids(1, 2)}))
    plan = w.plan({A: ids(1, 2, 3)})
    w.crm.remove_list(next(iter(w.crm.list_names)))
    assert w.apply(plan).rejections[0].code == "404"
    w.apply(w.plan({A: ids(1, 2, 3)}))
    assert w.crm.holdings() == {A: {"1", "2", "3"}}


def test_consent_is_asked_again_just_before_each_row(w: World):
    plan = w.plan({A: ids(1, 2, 3)}, VALUES)
    w.blocked = {"2": "opted_out"}
    report = w.apply(plan)
    assert w.crm.holdings()[A] == {"1", "3"}
    assert "2" not in w.crm.values
    assert dict(report.skipped) == {"opted_out": 2}


def test_a_blocked_row_leaves_its_lists_and_loses_its_values(w: World):
    w.apply(w.plan({A: ids(1, 2)}, {"1": {"winback_segment": "x"}, "2": {"winback_segment": "x"}}))
    w.blocked = {"2": "opted_out"}
    plan = w.plan({A: ids(1, 2)}, {"1": {"winback_segment": "x"}, "2": {"winback_segment": "x"}})
    assert plan.excluded == {"opted_out": ("hubspot:2",)}
    w.apply(plan)
    assert w.crm.holdings()[A] == {"1"}
    assert not w.crm.values["2"]


def test_a_plan_is_refused_when_the_world_moved(w: World):
    plan = w.plan({A: ids(1)})
    w.apply(w.plan({A: ids(2)}))
    with pytest.raises(StalePlan, match="changed since the plan was made: held"):
        w.apply(plan)
    fresh = w.plan({A: ids(1)})
    w.clock.waited += timedelta(hours=25).total_seconds()
    with pytest.raises(StalePlan, match="expired at 2026-11-22"):
        w.apply(fresh)
    assert w.crm.holdings()[A] == {"2"}


def test_a_plan_that_a_guard_refuses_is_not_applied(w: World):
    w.apply(w.plan({A: ids(1)}))
    plan = w.plan({A: ids(*range(1, 60))}, reachable=100)
    before = w.crm.calls
    with pytest.raises(TooManyChanges, match="58 contacts would join lists, 58% of 100 reachable"):
        w.apply(plan)
    assert w.crm.calls == before


def test_applying_the_same_plan_twice_writes_once(w: World):
    plan = w.plan({A: ids(1, 2)}, VALUES)
    w.apply(plan)
    again = w.apply(plan)
    assert (again.written, again.unchanged) == (0, 7)


def test_a_lost_lock_stops_before_the_next_write(w: World):
    plan = w.plan({A: ids(1), B: ids(2)})

    def lost() -> None:
        if w.crm.calls >= 2:
            raise Locked("the lock was taken over")

    with pytest.raises(Locked):
        w.apply(plan, check_lock=lost)
    assert w.crm.calls == 2


def test_a_property_that_cannot_be_made_does_not_stop_the_others(w: World):
    original = w.crm.ensure_properties

    def limited(specs):
        if any(spec.name == "winback_reason" for spec in specs):
            raise RejectedError("the portal has no room for another property", status=400)
        return original(specs)

    w.crm.ensure_properties = limited
    report = w.apply(w.plan({A: ids(1)}, VALUES))
    assert w.crm.values == {row: {"winback_segment": "dormant_30"} for row in VALUES}
    assert [(r.kind, r.target) for r in report.rejections] == [("ensure_property", "winback_reason")]
    assert report.exit_code == 3


def test_the_undo_file_is_private_and_names_what_was_there_before(w: World):
    w.apply(w.plan({A: ids(1)}, {"1": {"winback_segment": "old"}}))
    w.apply(w.plan({A: ids(2)}, {"1": {"winback_segment": "new"}}))
    path = undo_file(w.folder, w.last_run, CRM)
    assert path.stat().st_mode & 0o777 == 0o600
    log = read_undo(path)
    assert [(e.kind, sorted(e.written or ())) for e in log.entries] == [
        ("remove_members", ["1"]),
        ("set_properties", ["1"]),
        ("add_members", ["2"]),
    ]
    assert log.entries[1].changes[0].before == {"winback_segment": "old"}


def test_the_report_has_the_keys_others_build_on(w: World):
    report = w.apply(w.plan({A: ids(1)}))
    promised = {
        "schema_version",
        "run_id",
        "plan_id",
        "written",
        "unchanged",
        "rejected",
        "unknown",
        "api_calls",
        "seconds",
    }
    assert promised <= report.summary().keys()
    assert report.summary()["api_calls"] == {CRM: 2}


def test_every_fault_of_the_fake_is_used_somewhere():
    text = Path(__file__).read_text()
    assert [name for name in FAULTS if f'"{name}"' not in text] == []


def test_a_permission_lost_halfway_through_a_batch_counts_every_row_once(w: World):
    w.apply(w.plan({A: {}}))
    w.crm.faults.extend(["short", "gone"])
    report = w.apply(w.plan({A: ids(*range(1, 11))}))
    assert (report.written, report.rejected, report.unknown) == (10, 0, 0)
    w.crm.poison["20"] = "bad"
    w.crm.faults.extend([None, None, "gone"])
    report = w.apply(w.plan({A: ids(*range(1, 31))}))
    assert report.written + report.rejected + report.unknown == 20
    assert w.open_batches() == []

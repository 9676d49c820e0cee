"""What people told us, in plans: its properties are made and left alone, its notes are steps like any other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest

from connector.contracts import Work
from connector.journal import Journal
from connector.journal.held import Holding
from connector.model import FeedbackRow, Outcome, PropertySpec, Receipt
from connector.plan.build import Current, Wanted, build_plan, protection, work_of
from connector.plan.document import Plan
from connector.plan.steps import EnsureProperty, RecordFeedback, SetProperties
from connector.targets import live_plan
from connector.wanted import FEEDBACK_AT, FEEDBACK_SCORE, feedback_specs, owned_properties
from tests.fakes.databases import on_both  # noqa: F401  # the fixture journal_url
from tests.fakes.plan_world import CRM, NOW, SEGMENT, A, StillClock, ids, inputs, world

REASON = PropertySpec("winback_reason", "Winback reason", "text")
NOTE = FeedbackRow("aaaaaaaa", "1", datetime(2026, 11, 20, 8, tzinfo=UTC), "Win-back feedback", "Reason: Price")
TASK = replace(NOTE, key="bbbbbbbb", text="Call them.\nSoon.", task=True)


def plan_of(*steps) -> Plan:
    return Plan(
        account="acme",
        destination=CRM,
        system="memory",
        as_of=date(2026, 11, 21),
        made_at=NOW,
        expires_at=NOW,
        fingerprints={},
        steps=steps,
        lists=(),
        excluded={},
        guards=(),
        api_calls=0,
    ).identified()


def test_values_that_say_what_somebody_told_us_are_made_and_never_cleared():
    current = Current(
        properties={"1": {"winback_segment": "old", "winback_reason": "price"}, "2": {"winback_reason": "other"}},
        property_names=["winback_segment"],
    )
    wanted = Wanted(properties={"1": {"winback_segment": "new"}}, specs=(SEGMENT, REASON), kept=("winback_reason",))
    plan = build_plan(inputs(wanted=wanted, current=current, blocked={"2": "opted_out"}))
    ensured = [step.spec.name for step in plan.steps if isinstance(step, EnsureProperty)]
    assert ensured == ["winback_reason"]
    (values,) = [step for step in plan.steps if isinstance(step, SetProperties)]
    assert [(change.row_id, change.values) for change in values.rows] == [("1", {"winback_segment": "new"})]


def test_the_protection_of_people_who_opted_out_leaves_their_answer_alone():
    current = Current(
        lists={A: {"1"}},
        list_ids={A: "1"},
        properties={"1": {"winback_segment": "old", "winback_reason": "price"}},
        property_names=["winback_segment", "winback_reason"],
    )
    wanted = Wanted(lists={A: ids(1)}, specs=(SEGMENT, REASON), kept=("winback_reason",))
    shield = protection(inputs(wanted=wanted, current=current, blocked={"1": "opted_out"}))
    (values,) = [step for step in shield.steps if isinstance(step, SetProperties)]
    assert values.rows[0].values == {"winback_segment": None}


@pytest.mark.parametrize("count", [2, 6000])
def test_notes_survive_the_plan_file(tmp_path, count):
    notes = tuple(replace(NOTE, key=f"{number:08x}", task=number % 2 == 1) for number in range(count))
    plan = plan_of(RecordFeedback(notes))
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == plan
    assert plan.written_rows == count


def test_the_forecast_is_asked_about_notes():
    with world() as w:
        assert work_of([RecordFeedback((NOTE, TASK))], w.crm.capabilities).feedback == 2
        assert w.crm.forecast(Work(0, 0, 0, 0, feedback=2)) == 1


def test_notes_are_applied_through_the_ledger_and_a_lost_answer_is_read_back():
    with world() as w:
        w.crm.faults.extend(["timeout_after", "timeout_before"])
        report = w.apply(plan_of(RecordFeedback((NOTE, TASK))), fingerprints=None)
        assert (report.written, report.exit_code) == (2, 0)
        assert dict(w.crm.notes_written) == {"aaaaaaaa": 1, "bbbbbbbb": 1}
        (batch,) = w.journal.ledger.batches(w.last_run)
        assert batch.payload["notes"]["aaaaaaaa"] == {"row_id": "1", "task": False, "at": NOTE.at.isoformat()}
        assert "Price" not in str(batch.payload), "what somebody said is in the ledger"


def test_a_playbook_that_hears_nothing_has_no_properties_for_answers():
    silent = SimpleNamespace(segments=(), programs=(), webhooks=None)
    assert feedback_specs(silent) == ()
    hears = SimpleNamespace(
        segments=(), programs=(), webhooks=SimpleNamespace(feedback=SimpleNamespace(property="winback_why"))
    )
    assert [spec.name for spec in feedback_specs(hears)] == ["winback_why", FEEDBACK_SCORE, FEEDBACK_AT]
    assert {"winback_why", FEEDBACK_AT} <= {spec.name for spec in owned_properties(hears)}


def test_what_a_few_records_hold_is_asked_without_reading_the_others(journal_url):
    with Journal.open(journal_url, clock=StillClock()) as journal:
        held = journal.held
        held.replace_members(CRM, A, {"1", "2"})
        held.replace_members(CRM, "workflow:9", {"1"})
        held.replace_members("other", A, {"1"})
        held.replace_properties(CRM, {"2": {"winback_segment": "x"}, "3": {"winback_segment": "y"}})
        assert held.of(CRM, ["1", "2", "4"]) == {
            "1": Holding(frozenset({A, "workflow:9"}), {}),
            "2": Holding(frozenset({A}), {"winback_segment": "x"}),
        }
        assert held.of(CRM, []) == {}


@pytest.mark.parametrize(("plan_id", "moves"), [("plan-1", True), (live_plan("1"), False)])
def test_only_what_a_run_wrote_moves_the_version_plans_are_made_from(journal_url, plan_id, moves):
    with Journal.open(journal_url, clock=StillClock()) as journal:
        journal.held.replace_members(CRM, A, {"1", "2"})
        before = journal.held.version(CRM)
        batch = journal.ledger.intend(
            "run", plan_id, destination=CRM, step=0, number=0, kind="remove_members", target=A, rows=["1"]
        )
        journal.ledger.sent(batch, [Receipt("1", Outcome.WRITTEN)], NOW)
        assert journal.held.members(CRM)[A] == {"2"}
        assert (journal.held.version(CRM) != before) is moves

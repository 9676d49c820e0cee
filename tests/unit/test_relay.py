"""The relay: what is due leaves the outbox once, in its order, whatever goes wrong on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from connector.errors import ConfigurationError, CredentialsError, OutcomeUnknown, RetriableError
from connector.journal import OPT_OUT_LIST, Intent, Journal
from connector.live.relay import Relay
from connector.plan.undo import NoUndo
from connector.program.model import ConsentEvent, Status
from connector.targets import is_live
from connector.wanted import FEEDBACK_AT, FEEDBACK_SCORE
from connector.writing import writing
from tests.fakes.databases import on_both  # noqa: F401  # the fixture journal_url
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.plan_world import CRM, NOW, StillClock
from tests.fakes.relaying import FLOW, REASON, SEGMENT_LIST, STEP_LIST, Desk

NOTHING = (set(), set(), {})


@pytest.fixture
def desk(journal_url):
    clock = StillClock()
    with Journal.open(journal_url, clock=clock, real_clock=clock) as journal:
        yield Desk(MemoryDestination(map(str, range(1, 300)), now=clock.now), journal, clock)


def test_who_comes_back_comes_off_everything(desk):
    desk.put("1", "2")
    desk.want("leave", "1", of="everything", reason="reactivated")
    relayed = desk.go()
    assert (relayed.done, relayed.later, relayed.set_aside) == (1, 0, 0)
    assert desk.state_of("1") == NOTHING
    assert desk.state_of("2")[0] == {SEGMENT_LIST, STEP_LIST}
    assert desk.waiting() == []
    (row,) = desk.ended("done")
    assert row.run_id == desk.run_id


def test_who_leaves_a_program_stays_in_their_segment(desk):
    desk.put("1")
    desk.want("leave", "1", of="program", reason="replied")
    desk.go()
    assert desk.state_of("1") == ({SEGMENT_LIST}, set(), {"winback_segment": "dormant_30"})


def test_a_plan_made_before_an_exit_stays_valid(desk):
    desk.put("1", "2")
    before = desk.journal.held.version(CRM)
    desk.want("leave", "1", of="everything", reason="reactivated")
    desk.want("feedback", "2", reason="price", survey="s", score=None, at=NOW.isoformat())
    desk.go()
    assert desk.journal.held.version(CRM) == before
    assert "1" not in desk.journal.held.members(CRM)[STEP_LIST]
    assert desk.journal.held.of(CRM, ["1"])["1"].targets == frozenset()


def test_an_exit_leaves_no_undo_behind_and_its_batches_are_live(desk):
    desk.put("1")
    desk.want("leave", "1", of="everything", reason="reactivated")
    desk.go()
    batches = desk.journal.ledger.batches(desk.run_id)
    assert batches
    assert all(is_live(batch.plan_id) for batch in batches)
    assert NoUndo().intend("remove_members", "a list") == 0


def test_what_is_done_is_not_done_again(desk):
    desk.put("1")
    desk.want("leave", "1", of="everything", reason="reactivated")
    desk.want("opt_out", "1", urgent=True)
    desk.go()
    calls = desk.crm.calls
    desk.want("leave", "1", key="again", of="everything", reason="replied")
    desk.want("opt_out", "1", key="again", urgent=True)
    assert desk.go().done == 2
    assert desk.crm.calls == calls
    assert desk.crm.opt_outs_written == {"1": 1}


def test_who_opts_out_is_unsubscribed_and_comes_off_everything(desk):
    desk.put("1")
    desk.want("opt_out", "1", urgent=True)
    desk.go()
    assert desk.crm.unsubscribed == {"1"}
    assert desk.state_of("1") == NOTHING
    assert desk.journal.held.members(CRM)[OPT_OUT_LIST] == {"1"}


def test_several_intents_of_one_contact_are_one_call_of_each_kind(desk):
    desk.put("1", "2", "3")
    for row in ("1", "2", "3"):
        desk.want("leave", row, of="program", reason="replied")
        desk.want("leave", row, key="all", of="everything", reason="reactivated")
        desk.want("set", row, values={REASON: "price"})
    desk.crm.requests.clear()
    assert desk.go().done == 9
    names = [name for name, _ in desk.crm.requests]
    assert sorted(names) == sorted(
        ["ensure_properties", "change_members", "change_members", *["unenroll"] * 3, "set_properties"]
    )
    assert desk.crm.values["1"] == {REASON: "price"}


def test_answers_become_values_and_one_note(desk):
    desk.want("set", "1", values={REASON: "price"})
    desk.want("feedback", "1", reason="price", survey="exit", score=6.0, at=NOW.isoformat())
    desk.go()
    assert desk.crm.values["1"] == {REASON: "price", FEEDBACK_SCORE: "6", FEEDBACK_AT: "2026-11-21T09:00:00Z"}
    (note,) = desk.crm.notes.values()
    assert note == {
        "row_id": "1",
        "title": "Win-back feedback",
        "text": "Reason: Price\nScore: 6\nSurvey: exit",
        "task": False,
    }


def test_an_older_answer_does_not_replace_the_values_of_a_newer_one(desk):
    desk.want("feedback", "1", key="new", reason="price", survey="exit", score=6, at=NOW.isoformat())
    desk.go()
    earlier = (NOW - timedelta(days=1)).isoformat()
    desk.want("feedback", "1", key="old", reason="other", survey="exit", score=2, at=earlier)
    desk.go()
    assert desk.crm.values["1"][FEEDBACK_SCORE] == "6"
    assert len(desk.crm.notes) == 2


def test_what_somebody_answered_stays_when_they_leave(desk):
    desk.put("1")
    desk.want("set", "1", values={REASON: "price"})
    desk.go()
    desk.want("leave", "1", of="everything", reason="reactivated")
    desk.go()
    assert desk.crm.values["1"] == {REASON: "price"}


def test_a_task_is_a_note_for_the_owner(desk):
    desk.want("task", "1", reason="missing_feature", text="Call them.")
    desk.go()
    (note,) = desk.crm.notes.values()
    assert (note["task"], note["title"], note["text"]) == (True, "Win-back: Something is missing", "Call them.")


def test_a_lost_answer_never_makes_two_notes(desk):
    desk.want("feedback", "1", reason="price", survey="exit", score=None, at=NOW.isoformat())
    desk.crm.faults.extend([None, None, "timeout_after", "timeout_after", "timeout_before"])
    desk.go_on()
    assert list(desk.crm.notes_written.values()) == [1]
    assert desk.journal.ledger.unresolved(CRM) == []


@pytest.mark.parametrize("fault", ["unreachable", "timeout_before", "quota", "credentials"])
def test_while_the_crm_is_away_everything_waits_and_it_is_said_once(desk, fault):
    desk.put("1", "2")
    desk.want("leave", "1", of="everything", reason="reactivated")
    desk.want("opt_out", "2", urgent=True)
    desk.crm.faults.extend([fault] * 400)
    for _ in range(6):
        desk.go()
        desk.clock.sleep(301)
    assert len(desk.waiting()) == 2
    assert desk.relay.is_away() or fault == "credentials" or desk.journal.outbox.depth()
    desk.crm.faults.clear()
    desk.go_on()
    assert desk.state_of("1") == NOTHING
    assert desk.crm.opt_outs_written == {"2": 1}
    assert [line for line in desk.reporter.lines if "cannot be written to" in line][1:] == []
    assert len([line for line in desk.reporter.lines if "can be written to again" in line]) == 1


def test_a_crm_that_is_away_is_not_asked_before_its_pause_is_over(desk):
    desk.put("1")
    desk.want("leave", "1", of="everything", reason="reactivated")
    desk.crm.faults.extend(["unreachable"] * 100)
    assert desk.go().away is not None
    calls = desk.crm.calls
    assert desk.go().taken == 0
    assert desk.crm.calls == calls


def test_after_an_outage_opt_outs_go_first(desk):
    for row in range(1, 41):
        desk.put(str(row))
        desk.want("leave", str(row), of="everything", reason="reactivated", urgent=True)
    desk.want("opt_out", "50", urgent=True)
    desk.crm.faults.extend(["unreachable"] * 400)
    desk.go(limit=10)
    desk.crm.faults.clear()
    desk.clock.sleep(301)
    desk.go(limit=10)
    assert desk.crm.unsubscribed == {"50"}
    assert len(desk.waiting()) > 20


def test_a_refused_row_is_set_aside_with_the_vendors_words_and_holds_up_nobody(desk):
    desk.put("1", "2")
    desk.crm.refused["1"] = "Rule 7 says no"
    desk.want("set", "1", values={REASON: "price"})
    desk.want("set", "2", values={REASON: "other"})
    relayed = desk.go()
    assert (relayed.done, relayed.set_aside) == (1, 1)
    (row,) = desk.ended("set_aside")
    assert (row.contact_id, row.reason) == ("memory:1", "Rule 7 says no")
    assert desk.crm.values["2"][REASON] == "other"


def test_a_record_the_crm_does_not_have_is_set_aside_and_a_leave_of_it_is_done(desk):
    desk.put("1")
    desk.crm.contacts.discard("1")
    desk.want("leave", "1", of="everything", reason="reactivated")
    desk.want("set", "1", values={REASON: "price"})
    relayed = desk.go()
    assert (relayed.done, relayed.set_aside) == (1, 1)
    assert desk.journal.held.of(CRM, ["1"]) == {} or not desk.journal.held.of(CRM, ["1"])["1"].targets


def test_somebody_of_another_system_needs_nothing(desk):
    desk.journal.outbox.add([Intent(key="k", kind="opt_out", payload={}, contact_id="files:7", urgent=True)])
    assert desk.go().done == 1
    assert desk.crm.calls == 0


def test_while_a_run_writes_nothing_is_taken(desk):
    desk.put("1")
    desk.want("leave", "1", of="everything", reason="reactivated")
    with writing(desk.journal, desk.clock):
        assert desk.go().busy
        assert desk.state_of("1") != NOTHING
        assert desk.relay.within(run_id=desk.run_id).done == 1
    assert desk.state_of("1") == NOTHING


def test_an_open_enrollment_is_settled_before_anything_else_of_the_contact_is_sent(desk):
    desk.put("1", "2")
    run_id = desk.journal.runs.start("run", playbook_digest="1")
    desk.journal.ledger.intend(
        run_id, "p", destination=CRM, step=0, number=0, kind="enroll", target="workflow:902", rows=["1"]
    )
    # The enrollment happened; the process died before it knew.
    desk.crm.enroll("902", ["1"])
    desk.want("leave", "1", of="everything", reason="reactivated")
    desk.go_on()
    assert desk.state_of("1") == NOTHING
    assert desk.crm.enrollments["902", "1"] == 1


def test_while_nobody_can_say_whether_an_enrollment_happened_the_others_go_on(desk, monkeypatch):
    desk.put("1", "2")
    desk.journal.ledger.intend(
        desk.run_id, "p", destination=CRM, step=0, number=0, kind="enroll", target="workflow:902", rows=["1"]
    )

    def too_early(*_given, **_more):
        raise RetriableError("not seen yet")

    desk.want("leave", "1", of="everything", reason="reactivated")
    desk.want("opt_out", "1", urgent=True)
    desk.want("leave", "2", of="everything", reason="reactivated")
    monkeypatch.setattr(desk.crm, "enrolled", too_early)
    relayed = desk.go()
    assert (relayed.done, relayed.later) == (2, 1)
    assert desk.crm.unsubscribed == {"1"}
    monkeypatch.undo()
    desk.go_on()
    assert desk.state_of("1") == NOTHING


def test_without_the_right_to_unsubscribe_people_come_off_all_the_same(desk, monkeypatch):
    def forbidden(_row_ids):
        raise CredentialsError("the scope communication_preferences.write is missing")

    desk.put("1")
    desk.want("opt_out", "1", urgent=True)
    monkeypatch.setattr(desk.crm, "opt_out", forbidden)
    desk.go()
    desk.clock.sleep(301)
    desk.go()
    assert desk.state_of("1") == NOTHING
    (row,) = desk.waiting()
    assert "scope" in row.reason
    assert len([line for line in desk.reporter.lines if "scope" in line]) == 1


def test_without_the_right_to_make_properties_people_come_off_all_the_same(desk, monkeypatch):
    def forbidden(_specs):
        raise CredentialsError("the scope crm.schemas.contacts.write is missing")

    desk.put("1")
    desk.want("leave", "1", of="everything", reason="reactivated")
    desk.want("set", "2", values={REASON: "price"})
    monkeypatch.setattr(desk.crm, "ensure_properties", forbidden)
    desk.go()
    assert desk.state_of("1")[:2] == (set(), set())
    monkeypatch.undo()
    desk.go_on()
    assert desk.crm.values["2"] == {REASON: "price"}


def test_who_was_erased_is_told_nothing_about_and_still_comes_off(desk):
    erased = ConsentEvent(
        subject="memory:1", status=Status.ERASED, captured_at=NOW, source="crm", event_key="e", evidence={}
    )
    desk.put("1")
    desk.want("set", "1", values={REASON: "price"})
    desk.want("feedback", "1", reason="price", survey="exit", score=None, at=NOW.isoformat())
    desk.want("leave", "1", of="everything", reason="erased")
    desk.journal.consent.record([erased])
    assert desk.go().done == 3
    assert desk.state_of("1") == NOTHING
    assert desk.crm.notes == {}


def test_workflows_that_wait_go_on_in_one_call(desk):
    desk.crm.waiting = {f"ap-{number}" for number in range(150)}
    for number in range(150):
        desk.want("complete", None, key=str(number), callback=f"ap-{number}", fields={"decision": "enrolled"})
    desk.go(limit=200)
    assert desk.crm.waiting == set()
    assert desk.crm.completed["ap-7"] == {"decision": "enrolled"}
    assert [size for name, size in desk.crm.requests if name == "complete"] == [100, 50]
    assert desk.waiting() == []


def test_a_workflow_that_waits_no_more_is_done(desk):
    desk.want("complete", None, callback="ap-gone", fields={})
    assert desk.go().done == 1


@pytest.mark.parametrize("fault", ["timeout_before", "timeout_after", "unreachable"])
def test_a_callback_whose_answer_was_lost_is_made_again(desk, fault):
    desk.crm.waiting = {"ap-1"}
    desk.crm.faults.extend([fault] * 3)
    desk.want("complete", None, callback="ap-1", fields={"decision": "enrolled"})
    desk.go_on()
    assert desk.crm.completed == {"ap-1": {"decision": "enrolled"}}


def test_a_crm_whose_workflows_never_wait_has_its_callbacks_set_aside(desk):
    desk.crm.capabilities = replace(desk.crm.capabilities, callbacks_per_call=0, feedback_per_batch=0)
    desk.want("complete", None, callback="ap-1", fields={})
    desk.want("task", "1", reason="price", text="Call them.")
    relayed = desk.go()
    assert (relayed.done, relayed.set_aside) == (1, 1)


def test_an_answer_lost_on_the_way_is_read_back_not_repeated_blindly(desk):
    desk.put("1")
    desk.want("leave", "1", of="everything", reason="reactivated")
    original = desk.crm.change_members
    lost = []

    def lose(list_id, **change):
        answer = original(list_id, **change)
        if len(lost) < 2:
            lost.append(list_id)
            raise OutcomeUnknown("no answer")
        return answer

    desk.crm.change_members = lose
    desk.go_on()
    assert desk.state_of("1") == NOTHING
    assert max(desk.crm.leaves.values()) == 1
    assert desk.crm.enrolled_in[FLOW] == set()


class Channels:
    """Alerts that remember, and fail as they are told."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.faults: list[Exception] = []

    def send(self, channel: str, text: str) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.sent.append((channel, text))


@pytest.fixture
def channels(desk) -> Channels:
    made = Channels()
    desk.relay = Relay(desk, CRM, alerts=made, jitter=lambda _low, high: high)
    return made


def test_a_channel_that_does_not_answer_is_told_later_and_holds_up_nobody(desk, channels):
    desk.put("1")
    channels.faults = [RetriableError("slack (hooks.example): answered 500")]
    desk.want("tell", None, channel="slack", text="Somebody answered.")
    desk.want("leave", "1", of="everything", reason="reactivated")
    relayed = desk.go()
    assert (relayed.done, relayed.later) == (1, 1)
    assert desk.state_of("1") == NOTHING
    desk.go_on()
    assert channels.sent == [("slack", "Somebody answered.")]


def test_a_message_for_a_channel_that_is_not_there_is_set_aside(desk, channels):
    channels.faults = [ConfigurationError("there is no channel 'teams' to tell")]
    desk.want("tell", None, channel="teams", text="Somebody answered.")
    assert desk.go().set_aside == 1
    assert "teams" in desk.ended("set_aside")[0].reason


def test_while_the_crm_is_away_channels_are_still_told(desk, channels):
    desk.put("1")
    desk.want("leave", "1", of="everything", reason="reactivated")
    desk.crm.faults.extend(["unreachable"] * 8)
    desk.go()
    assert desk.relay.is_away()
    desk.want("tell", None, channel="slack", text="Somebody answered.")
    assert desk.go().done == 1

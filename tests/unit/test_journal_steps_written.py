"""A step is written in the commit that proves it: the ledger and the episodes never disagree."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from connector.journal import OPT_OUT_LIST, Journal, workflow_list
from connector.model import Outcome, Receipt
from tests.fakes.clocks import START, VirtualClock
from tests.fakes.databases import on_both  # noqa: F401 - the fixture `journal_url`
from tests.fakes.episodes import STEP_LIST, enter, episode_of, leave, step_of, take

LATER = START + timedelta(minutes=5)
FLOW = workflow_list("4711")


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def journal(journal_url, clock):
    with Journal.open(journal_url, clock=clock) as opened:
        yield opened


def waiting(journal, contact_id="hubspot:1", **said):
    """An episode whose reminder waits to be written."""
    begun = episode_of(contact_id)
    enter(journal, begun)
    take(journal, step_of(begun, **said))
    return begun


def batch_of(journal, kind, target, rows, *, values=None, destination="crm"):
    payload = None if values is None else {"values": dict.fromkeys(rows, values), "before": {}}
    return journal.ledger.intend(
        "run-1",
        "plan-1",
        destination=destination,
        step=1,
        number=1,
        kind=kind,
        target=target,
        rows=rows,
        payload=payload,
    )


def answer(journal, batch_id, outcome="written", *rows, at=LATER):
    rows = rows or journal.ledger.get(batch_id).rows
    journal.ledger.sent(batch_id, [Receipt(row, Outcome(outcome)) for row in rows], at)


def stands(journal, begun):
    """(state, when written) of the episode's newest step; the log must say the same."""
    found = journal.episodes.get(begun.episode_id)
    log = next(step for step in journal.episodes.steps(begun.episode_id) if step.step == found.step)
    assert (log.state, log.written_at) == (found.step_state, found.written_at)
    return found.step_state, found.written_at


# --- what proves a step -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["written", "unchanged"])
@pytest.mark.parametrize(("kind", "target"), [("add_members", STEP_LIST), ("enroll", FLOW), ("set_properties", "")])
def test_a_step_is_written_when_the_destination_holds_it(journal, kind, target, outcome):
    begun = waiting(journal, target=target, values={"winback_step": "reminder"})
    batch_id = batch_of(journal, kind, target, ["1"], values={"winback_step": "reminder"})
    assert stands(journal, begun) == ("decided", None)
    answer(journal, batch_id, outcome)
    assert stands(journal, begun) == ("written", LATER)
    journal.ledger.confirm(batch_id, LATER + timedelta(days=1))
    assert stands(journal, begun) == ("written", LATER)


@pytest.mark.parametrize("outcome", ["rejected", "missing", "unknown"])
@pytest.mark.parametrize(("kind", "target"), [("add_members", STEP_LIST), ("enroll", FLOW), ("set_properties", "")])
def test_a_step_is_not_written_by_a_row_that_was_refused_or_unheard_of(journal, kind, target, outcome):
    begun = waiting(journal, target=target)
    answer(journal, batch_of(journal, kind, target, ["1"], values={"winback_step": "reminder"}), outcome)
    assert stands(journal, begun) == ("decided", None)


@pytest.mark.parametrize(
    ("kind", "target"),
    [("remove_members", STEP_LIST), ("unenroll", FLOW), ("opt_out", OPT_OUT_LIST), ("add_members", "winback · cold")],
)
def test_other_writes_about_the_record_prove_nothing(journal, kind, target):
    at = STEP_LIST if target in {OPT_OUT_LIST, "winback · cold"} else target
    begun = waiting(journal, target=at)
    answer(journal, batch_of(journal, kind, target, ["1"]))
    assert stands(journal, begun) == ("decided", None)


def test_of_a_batch_only_the_rows_that_went_through_are_written(journal):
    people = [waiting(journal, f"hubspot:{number}") for number in range(4)]
    batch_id = batch_of(journal, "add_members", STEP_LIST, ["0", "1", "2", "3", "77"])
    answer(journal, batch_id, "written", "0", "77")
    answer(journal, batch_id, "rejected", "1")
    journal.ledger.settle(batch_id, {"2"}, LATER)
    assert [stands(journal, begun)[0] for begun in people] == ["written", "decided", "written", "decided"]


def test_a_lost_answer_that_turns_out_to_have_been_written_writes_the_step(journal):
    begun = waiting(journal)
    batch_id = batch_of(journal, "add_members", STEP_LIST, ["1"])
    journal.ledger.unknown(batch_id, "no answer within 30 s")
    assert stands(journal, begun) == ("decided", None)
    journal.ledger.confirm(batch_id, LATER)
    assert stands(journal, begun) == ("written", LATER)


def test_a_list_that_is_read_back_writes_the_steps_that_waited_for_it(journal, clock):
    there, absent = waiting(journal), waiting(journal, "hubspot:2")
    clock.advance(60)
    journal.held.replace_members("crm", STEP_LIST, {"1", "5"})
    assert stands(journal, there) == ("written", clock.now())
    assert stands(journal, absent) == ("decided", None)


def test_a_step_of_one_destination_is_not_written_by_another(journal):
    begun = waiting(journal, destination="crm")
    answer(journal, batch_of(journal, "add_members", STEP_LIST, ["1"], destination="other"))
    journal.held.replace_members("other", STEP_LIST, {"1"})
    assert stands(journal, begun) == ("decided", None)
    answer(journal, batch_of(journal, "add_members", STEP_LIST, ["1"]))
    assert stands(journal, begun) == ("written", LATER)


def test_the_same_record_id_of_two_contacts_writes_both_only_where_both_wait(journal):
    one = waiting(journal)
    other = episode_of("salesforce:1")
    enter(journal, other)
    take(journal, step_of(other, target="another list", row_id="1"))
    answer(journal, batch_of(journal, "add_members", STEP_LIST, ["1"]))
    assert (stands(journal, one)[0], stands(journal, other)[0]) == ("written", "decided")


# --- properties ---------------------------------------------------------------------------------------------------


def test_properties_sent_before_the_step_was_decided_do_not_write_it(journal):
    begun = episode_of()
    enter(journal, begun)
    before = batch_of(journal, "set_properties", "", ["1"], values={"winback_segment": "cold"})
    take(journal, step_of(begun, target="", values={"winback_step": "reminder"}))
    answer(journal, before)
    assert stands(journal, begun) == ("decided", None)
    after = batch_of(journal, "set_properties", "", ["1"], values={"winback_step": "reminder"})
    answer(journal, after)
    assert stands(journal, begun) == ("written", LATER)


@pytest.mark.parametrize(
    ("written", "proves"),
    [
        ({"winback_step": "reminder"}, True),
        ({"winback_step": "reminder", "winback_segment": "cold"}, True),
        ({"winback_variant": "b"}, True),
        ({"winback_step": "offer", "winback_variant": "b"}, False),
        ({"winback_step": None}, False),
    ],
)
def test_properties_write_a_step_unless_they_say_something_else(journal, written, proves):
    begun = waiting(journal, target="", values={"winback_step": "reminder", "winback_variant": "b"})
    answer(journal, batch_of(journal, "set_properties", "", ["1"], values=written))
    assert (stands(journal, begun)[0] == "written") == proves


# --- what is never written ----------------------------------------------------------------------------------------


def test_a_step_that_was_undone_stays_undone(journal):
    begun = episode_of()
    enter(journal, begun)
    take(journal, step_of(begun), run="run-2")
    batch_id = batch_of(journal, "add_members", STEP_LIST, ["1"])
    journal.episodes.undo("run-2", LATER)
    answer(journal, batch_id)
    assert stands(journal, begun) == ("undone", None)


def test_only_the_newest_step_of_an_episode_is_written(journal):
    begun = waiting(journal)
    take(journal, step_of(begun, "offer", target="winback · win-back · offer"))
    answer(journal, batch_of(journal, "add_members", STEP_LIST, ["1"]))
    assert [step.state for step in journal.episodes.steps(begun.episode_id)] == ["decided", "decided"]
    answer(journal, batch_of(journal, "add_members", "winback · win-back · offer", ["1"]))
    assert [step.state for step in journal.episodes.steps(begun.episode_id)] == ["decided", "written"]


def test_a_step_that_reached_the_crm_as_its_episode_ended_is_written_all_the_same(journal):
    begun = waiting(journal)
    batch_id = batch_of(journal, "add_members", STEP_LIST, ["1"])
    leave(journal, begun)
    answer(journal, batch_id)
    assert stands(journal, begun) == ("written", LATER)


# --- what is held -------------------------------------------------------------------------------------------------


def test_enrollments_and_opt_outs_are_held_beside_the_lists(journal):
    answer(journal, batch_of(journal, "add_members", STEP_LIST, ["1", "2"]))
    answer(journal, batch_of(journal, "enroll", FLOW, ["1", "2", "3"]))
    answer(journal, batch_of(journal, "opt_out", OPT_OUT_LIST, ["7", "8"]))
    answer(journal, batch_of(journal, "unenroll", FLOW, ["2"]))
    assert journal.held.members("crm") == {STEP_LIST: {"1", "2"}, FLOW: {"1", "3"}, OPT_OUT_LIST: {"7", "8"}}
    # Asking which lists there are says nothing about those that are no lists.
    journal.held.replace_lists("crm", {STEP_LIST: "12"})
    assert journal.held.members("crm") == {STEP_LIST: {"1", "2"}, FLOW: {"1", "3"}, OPT_OUT_LIST: {"7", "8"}}


def test_enrollments_settle_like_additions_and_withdrawals_like_removals(journal):
    answer(journal, batch_of(journal, "enroll", FLOW, ["1", "2"]))
    version = journal.held.version("crm")
    again = batch_of(journal, "enroll", FLOW, ["2", "3", "4"])
    answer(journal, again, "missing", "2")
    answer(journal, again, "rejected", "3")
    answer(journal, again, "unchanged", "4")
    assert journal.held.members("crm") == {FLOW: {"1", "4"}}
    assert journal.held.version("crm") != version
    assert set(journal.rejections.active("crm")) == {("enroll", FLOW, "2"), ("enroll", FLOW, "3")}
    gone = batch_of(journal, "unenroll", FLOW, ["1", "4"])
    answer(journal, gone, "missing", "1")
    answer(journal, gone, "rejected", "4")
    assert journal.held.members("crm") == {FLOW: {"4"}}
    assert ("unenroll", FLOW, "4") in journal.rejections.active("crm")
    lost = batch_of(journal, "opt_out", OPT_OUT_LIST, ["1", "2"])
    answer(journal, lost, "missing", "1")
    journal.ledger.settle(lost, {"2"}, LATER)
    assert journal.held.members("crm")[OPT_OUT_LIST] == {"2"}
    assert journal.ledger.get(lost).outcomes == {"1": "missing", "2": "written"}


@pytest.mark.parametrize(
    ("kind", "target"),
    [("enroll", "4711"), ("unenroll", ""), ("enroll", "workflow:"), ("opt_out", ""), ("opt_out", FLOW)],
)
def test_a_target_that_could_not_be_remembered_is_refused(journal, kind, target):
    with pytest.raises(ValueError, match="the target must be"):
        batch_of(journal, kind, target, ["1"])
    assert journal.ledger.unresolved() == []


def test_a_thousand_rows_are_written_in_the_commit_of_their_batch(journal):
    people = [episode_of(f"hubspot:{number}") for number in range(1_000)]
    enter(journal, *people)
    take(journal, *(step_of(begun) for begun in people))
    batch_id = batch_of(journal, "add_members", STEP_LIST, [str(number) for number in range(1_000)])
    answer(journal, batch_id, "written", *(str(number) for number in range(0, 1_000, 2)))
    assert journal.episodes.counts()["win-back"].by_state == {"written": 500, "decided": 500}
    assert journal.held.members("crm") == {STEP_LIST: {str(number) for number in range(0, 1_000, 2)}}
    first = journal.episodes.get(people[0].episode_id)
    assert first == replace(
        people[0],
        step="reminder",
        step_state="written",
        step_at=START,
        send_at=LATER,
        written_at=LATER,
        touches=1,
    )

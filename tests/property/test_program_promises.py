"""The smallest lives in which a promise of the program was once broken; each is a case of the machine's, written out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connector.program.model import Status
from connector.targets import workflow_list
from tests.fakes.program_world import NOW, PREFIX, ProgramWorld, person, program_world

ONE, TWO, THREE = f"{PREFIX}1", f"{PREFIX}2", f"{PREFIX}3"
TREATED = ("holdout: {share: 30%}", "holdout: {share: 0%}")
HELD_OUT = ("holdout: {share: 30%}", "holdout: {share: 99%}")
HALF = ("holdout: {share: 30%}", "holdout: {share: 50%}")
ANY_TIME = ('window: "09:00-17:00", days: business', "days: all")
COLD, REMINDER = "winback · cold", "winback · win-back · reminder"


def days(world: ProgramWorld, *numbers: float) -> None:
    """A run on each of these days after the first."""
    for number in numbers:
        world.clock.at = NOW + timedelta(days=number)
        assert world.run() is not None


def test_the_gap_counts_from_when_the_crm_heard_of_a_step():
    """The CRM was away for two days after the reminder was decided, and sends it on the day it hears of it."""
    with program_world("list", [person(1, 22)], TREATED, ANY_TIME) as world:
        world.late_writes_count = True
        days(world, 0)
        world.clock.at = NOW + timedelta(days=1)
        plan = world.plan()
        world.apply(plan, faults=["unreachable"] * 40)
        days(world, 3, 4)


def test_a_mail_that_was_out_before_its_undo_still_counts_for_the_day():
    with program_world("list", [person(n, 22 + n) for n in range(1, 8)], TREATED, ANY_TIME) as world:
        world.undone_counts = True
        days(world, 0, 1, 4)
        world.clock.at += timedelta(hours=1)
        assert world.undo() is not None
        world.clock.at += timedelta(hours=1)
        world.run()


def test_an_address_suppressed_between_plan_and_apply_is_not_written_to():
    with program_world("list", [person(1, 22)], TREATED, ANY_TIME) as world:
        world.asked_again = True
        plan = world.plan()
        world.ledger(ONE, Status.WITHDRAWN, address=True)
        world.apply(plan)


def test_undo_puts_nobody_back_on_a_list_who_lost_the_permission_meanwhile():
    with program_world("list", [person(1, 12)], TREATED, ANY_TIME) as world:
        world.asked_again = True
        days(world, 0)
        world.facts.everybody[ONE].can_email = False
        world.facts.changed()
        days(world, 1)
        assert not world.crm.holdings()[COLD]
        world.undo()


def test_undo_puts_nobody_back_on_a_list_who_is_held_out():
    """Somebody put a held-out contact on a list by hand; a refresh saw it and the run took it off; that is undone."""
    with program_world("list", [person(1, 12)], HELD_OUT, ANY_TIME) as world:
        world.asked_again = True
        days(world, 0)
        world.edit_by_hand(COLD, "1")
        world.apply(world.plan(refresh=True))
        assert not world.crm.holdings()[COLD]
        world.undo()


def test_a_run_after_a_pause_notes_all_steps_the_crm_took_by_itself():
    with program_world("crm-list", [person(1, 22)], TREATED, ANY_TIME) as world:
        days(world, 0, 1, 8)
        assert world.plan().empty


def test_an_undo_takes_off_before_it_puts_on():
    """One comes, one goes; the undo of it lets the first go before the other comes back."""
    now = datetime(2026, 10, 19, 9, tzinfo=UTC)
    with program_world("workflow", [person(1, 19), person(2, 9)], TREATED, ANY_TIME, now=now) as world:
        days(world, 0, 1)
        world.use(ONE)
        days(world, 2)
        assert world.undo() is not None


def test_a_contact_merged_while_a_write_was_open_comes_off_the_list_all_the_same():
    """The run died after the CRM had put 1 on the list; the CRM merges 1 into 2, who refuses."""
    with program_world("list", [person(1, 12), person(2, 60)], TREATED, ANY_TIME, prepared=True) as world:
        world.merges_on_the_way = True
        world.ledger(TWO, Status.WITHDRAWN)
        assert world.run(at="apply.sent:3") is None
        assert world.crm.holdings()[COLD] == {"1"}
        assert world.journal.ledger.unresolved("crm")
        world.merge(ONE, TWO)
        days(world, 1, 2)
        world.look_at_lists()


@pytest.mark.parametrize("way", ["list", "workflow"])
def test_a_merge_takes_nobody_who_is_still_measured_as_a_holdout_into_the_sequence(way):
    """The sequence that 2 was held out of is over, its outcome is not known yet; 3, in the midst of it, becomes 2."""
    with program_world(way, [person(2, 12), person(3, 2)], HALF, ANY_TIME) as world:
        days(world, *range(12))
        (measured,), (brought,) = world.journal.episodes.of(TWO), world.journal.episodes.of(THREE)
        assert (measured.held_out, measured.exit_reason) == (True, "completed")
        assert (brought.held_out, brought.open, brought.step) == (False, True, "reminder")
        world.merge(THREE, TWO)
        days(world, 12, 13, 16)
        ended = {episode.episode_id: episode.exit_reason for episode in world.journal.episodes.of(TWO)}
        assert ended == {measured.episode_id: "completed", brought.episode_id: "merged"}
        enrolled = {workflow_list(workflow): rows for workflow, rows in world.crm.enrolled_in.items()}
        assert not any((world.crm.holdings() | enrolled).get(place) for place in world.places)


@pytest.mark.parametrize("way", ["list", "workflow"])
def test_a_crash_at_any_point_of_a_steps_day_enrolls_everybody_once(way):
    """Every hit of every failpoint, one world each, up to the first run that is not hit any more."""
    for at in range(1, 200):
        with program_world(way, [person(1, 22), person(2, 33)], TREATED, ANY_TIME, prepared=True) as world:
            days(world, 0)
            world.clock.at = NOW + timedelta(days=1)
            whole = world.run(at=at)
            days(world, 1.1)
            assert sorted(world.joins.values()) == [1, 1], at
            assert {key[1] for key in world.joins} == {"reminder"}
            world.look_at_lists()
            world.nothing_changes(run=False)
        if whole is not None:
            break
    assert at > 20


def test_a_new_silence_waits_for_the_end_of_the_quiet_period():
    with program_world("list", [person(1, 22)], TREATED, ANY_TIME, prepared=True) as world:
        days(world, 0, 1)
        world.use(ONE)
        days(world, 2, 13, 21)
        assert [episode.exit_reason for episode in world.journal.episodes.of(ONE)] == ["reactivated"]
        days(world, 22.1)
        new, old = world.journal.episodes.of(ONE)
        assert (new.open, new.spell_started_on > old.spell_started_on) == (True, True)


@pytest.mark.parametrize("way", ["list", "workflow"])
@pytest.mark.parametrize("died", [None, "apply.sent:3"])
def test_an_undo_takes_off_who_came_onto_a_list_by_a_merge_since(way, died):
    """A run puts 1 on lists; the CRM makes 1 and 2, who refuses, one contact: now it is 2 who has to come off."""
    with program_world(way, [person(1, 12), person(2, 60)], TREATED, ANY_TIME, prepared=True) as world:
        world.merges_on_the_way = True
        world.ledger(TWO, Status.WITHDRAWN)
        assert (world.run(at=died) is None) == (died is not None)
        world.merge(ONE, TWO)
        assert world.crm.holdings()[COLD] == {"2"}
        assert world.undo() is not None
        assert not world.crm.holdings().get(COLD)
        days(world, 1, 2)
        world.look_at_lists()


def test_an_undo_leaves_on_a_list_whom_an_earlier_run_put_there_though_another_was_merged_into_them():
    with program_world("list", [person(1, 9), person(2, 12)], TREATED, ANY_TIME, prepared=True) as world:
        world.merges_on_the_way = True
        days(world, 0)
        assert world.crm.holdings()[COLD] == {"2"}
        days(world, 2)
        assert world.crm.holdings()[COLD] == {"1", "2"}
        world.merge(ONE, TWO)
        assert world.undo() is not None
        assert world.crm.holdings()[COLD] == {"2"}
        days(world, 3, 4)
        world.look_at_lists()


@pytest.mark.parametrize("can_email", [False, None])
def test_an_undo_puts_nobody_back_who_lost_the_permission_while_in_no_segment(can_email):
    """1 came back, so that the run took them off; then the CRM takes the permission away, and the run is undone."""
    with program_world("list", [person(1, 40)], TREATED, ANY_TIME, prepared=True) as world:
        world.asked_again = True
        days(world, 0)
        (listed,) = [name for name, rows in world.crm.holdings().items() if rows == {"1"}]
        world.use(ONE)
        days(world, 1)
        assert not world.crm.holdings()[listed]
        world.facts.everybody[ONE].can_email = can_email
        world.facts.changed()
        assert world.undo() is not None
        assert not world.crm.holdings()[listed]

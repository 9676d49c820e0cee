"""What every destination must do, as a class to subclass.

A subclass gives a fixture `world` with the shape of `DestinationWorld`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

import pytest

from connector.contracts import Destination, Work
from connector.errors import CredentialsError, OutcomeUnknown, RejectedError
from connector.model import Callback, FeedbackRow, Outcome, PropertyRow, PropertySpec, Receipt, Severity

FOLDER = "winback"
LIST = "winback · dormant_30"
TEXT = PropertySpec("winback_last_feature", "Winback last feature", "text", "What was used last.")
CHOICES = PropertySpec(
    "winback_segment", "Winback segment", "choices", "Which segments.", (("dormant_30", "Dormant 30"),)
)
KINDS = (
    TEXT,
    CHOICES,
    PropertySpec("winback_score", "Winback score", "number"),
    PropertySpec("winback_dormant_since", "Winback dormant since", "date"),
    PropertySpec("winback_last_active_at", "Winback last active", "datetime"),
    PropertySpec("winback_holdout", "Winback holdout", "yes_no"),
)
VALUES = {
    "winback_last_feature": "billing; export, ünïcode “quotes”",
    "winback_segment": "dormant_30",
    "winback_score": "0.25",
    "winback_dormant_since": "2026-11-01",
    "winback_last_active_at": "2026-10-31T08:15:00Z",
    "winback_holdout": "true",
}


class DestinationWorld(Protocol):
    """A system to write to. Ids carry no prefix."""

    def destination(self) -> Destination:
        """A new destination with good credentials, as a new process would have."""

    def broken(self) -> Destination | None:
        """One with bad credentials; None where there are none."""

    def ids(self, count: int) -> Sequence[str]:
        """This many records that exist."""

    def unknown_id(self) -> str:
        """A record id the system does not know."""

    def poison(self, row_ids: Sequence[str]) -> None:
        """Make property writes to these records be refused by a rule of the system's owner."""

    def swallow_next_write(self) -> None:
        """Answer the next write with an empty success and do nothing."""

    def lose_next_answer(self) -> None:
        """Carry out the next write and cut the connection before the answer."""

    def calls(self) -> int:
        """Requests the system has received so far."""

    def calls_of_a_batch(self, rows: int) -> int:
        """The fewest requests in which the system takes so many property rows at once."""

    def stored(self, row_id: str) -> Mapping[str, str | None]:
        """What the system itself holds of a record."""

    def workflow(self) -> str:
        """A workflow that contacts can be put into, and that keeps them for days."""

    def started(self, workflow: str, row_id: str) -> int:
        """How often the workflow has started for a contact, by the system's own books."""

    def inside(self, workflow: str, row_id: str) -> bool:
        """Whether the contact is in the workflow now."""

    def unsubscribed(self, row_id: str) -> bool:
        """Whether the system will mail the contact no marketing."""

    def notes(self, row_id: str, *, tasks: bool = False) -> Sequence[str]:
        """What the notes (or the tasks) on a contact say, by the system's own books."""

    def let_wait(self, count: int) -> Sequence[str]:
        """So many workflows that wait for us; their callbacks."""

    def went_on(self, callback: str) -> Mapping[str, str] | None:
        """The output fields a workflow went on with; None while it waits."""


def members_of(destination: Destination, list_id: str) -> list[str]:
    """Everybody on a list."""
    return [row_id for page in destination.members(list_id) for row_id in page]


def outcomes(receipts: Sequence[Receipt]) -> list[Outcome]:
    """What became of the rows, in order."""
    return [receipt.outcome for receipt in receipts]


def _values_of(rows: int, *, batches: int) -> Work:
    """The work of writing so many full batches of properties, and nothing else."""
    return Work(
        lists_to_create=0,
        properties_to_ensure=0,
        member_batches=0,
        property_batches=batches,
        property_rows=batches * rows,
    )


class DestinationSuite:
    """Subclass with a `world` fixture."""

    @pytest.fixture
    def destination(self, world: DestinationWorld):
        made = world.destination()
        yield made
        made.close()

    @pytest.fixture
    def list_id(self, destination: Destination) -> str:
        return destination.ensure_list(LIST, folder=FOLDER).ref

    @pytest.fixture
    def with_properties(self, destination: Destination) -> Destination:
        destination.ensure_properties(KINDS)
        return destination

    # --- check ---

    def test_checking_finds_nothing_wrong_when_nothing_is(self, destination: Destination):
        findings = list(destination.check())
        assert findings
        assert [finding for finding in findings if finding.severity is Severity.ERROR] == []

    def test_checking_bad_credentials_says_so_and_how_to_fix_it(self, world: DestinationWorld):
        broken = world.broken()
        if broken is None:
            pytest.skip("there are no credentials")
        bad = [finding for finding in broken.check() if finding.severity is Severity.ERROR]
        assert any(finding.credentials for finding in bad) and all(finding.fix for finding in bad)

    def test_writing_with_bad_credentials_is_a_credentials_error(self, world: DestinationWorld):
        broken = world.broken()
        if broken is None:
            pytest.skip("there are no credentials")
        with pytest.raises(CredentialsError):
            broken.change_members("1", add=["1"])

    # --- lists ---

    def test_a_list_is_made_once_and_found_again(self, world: DestinationWorld, destination: Destination):
        assert destination.lists([LIST]) == {}
        made = destination.ensure_list(LIST, folder=FOLDER)
        found = world.destination().ensure_list(LIST, folder=FOLDER)
        assert (made.created, found.created) == (True, False)
        assert made.ref == found.ref == destination.lists([LIST, "winback · other"])[LIST].list_id
        assert list(destination.lists([LIST, "winback · other"])) == [LIST]

    def test_a_list_whose_making_got_no_answer_is_still_made_once(
        self, world: DestinationWorld, destination: Destination
    ):
        destination.ensure_list("winback · first", folder=FOLDER)
        world.lose_next_answer()
        made = destination.ensure_list(LIST, folder=FOLDER)
        assert destination.lists([LIST])[LIST].list_id == made.ref
        assert not destination.ensure_list(LIST, folder=FOLDER).created

    def test_a_list_is_removed_once_and_that_it_is_gone_is_no_error(self, destination: Destination, list_id: str):
        destination.remove_list(list_id)
        destination.remove_list(list_id)
        assert destination.lists([LIST]) == {}

    # --- members ---

    def test_members_are_read_as_they_were_written(
        self, world: DestinationWorld, destination: Destination, list_id: str
    ):
        ids = world.ids(destination.capabilities.members_per_read * 2 + 3)
        receipts = destination.change_members(list_id, add=ids)
        assert [receipt.row_id for receipt in receipts] == list(ids)
        assert set(outcomes(receipts)) == {Outcome.WRITTEN}
        held = members_of(destination, list_id)
        assert len(held) == len(ids) and set(held) == set(ids)
        assert max(map(len, destination.members(list_id))) <= destination.capabilities.members_per_read

    def test_adding_and_removing_together_gives_a_receipt_each_in_order(
        self, world: DestinationWorld, destination: Destination, list_id: str
    ):
        first, second, third, fourth = world.ids(4)
        stranger = world.unknown_id()
        destination.change_members(list_id, add=[first, second])
        receipts = destination.change_members(list_id, add=[third, stranger, first], remove=[second, fourth])
        assert [receipt.row_id for receipt in receipts] == [third, stranger, first, second, fourth]
        assert outcomes(receipts) == [
            Outcome.WRITTEN,
            Outcome.MISSING,
            Outcome.UNCHANGED,
            Outcome.WRITTEN,
            Outcome.UNCHANGED,
        ]
        assert set(members_of(destination, list_id)) == {first, third}

    def test_a_membership_change_can_be_repeated(self, world: DestinationWorld, destination: Destination, list_id: str):
        ids = world.ids(5)
        destination.change_members(list_id, add=ids)
        before = set(members_of(destination, list_id))
        assert set(outcomes(destination.change_members(list_id, add=ids))) == {Outcome.UNCHANGED}
        assert set(members_of(destination, list_id)) == before

    def test_nothing_to_change_costs_nothing(self, world: DestinationWorld, destination: Destination, list_id: str):
        before = world.calls()
        assert list(destination.change_members(list_id)) == []
        assert list(destination.set_properties([])) == []
        assert world.calls() == before

    def test_a_swallowed_membership_change_is_not_taken_for_done(
        self, world: DestinationWorld, destination: Destination, list_id: str
    ):
        ids = world.ids(3)
        world.swallow_next_write()
        with pytest.raises(OutcomeUnknown):
            destination.change_members(list_id, add=ids)
        assert set(outcomes(destination.change_members(list_id, add=ids))) == {Outcome.WRITTEN}

    def test_a_membership_change_whose_answer_was_lost_ends_as_wanted(
        self, world: DestinationWorld, destination: Destination, list_id: str
    ):
        ids = world.ids(3)
        world.lose_next_answer()
        receipts = destination.change_members(list_id, add=ids)
        assert set(outcomes(receipts)) <= {Outcome.WRITTEN, Outcome.UNCHANGED}
        assert set(members_of(destination, list_id)) == set(ids)

    # --- properties ---

    def test_properties_are_made_once_in_every_kind(self, world: DestinationWorld, destination: Destination):
        names = [spec.name for spec in KINDS]
        assert list(destination.existing_properties(names)) == []
        made = destination.ensure_properties(KINDS)
        again = world.destination().ensure_properties(KINDS)
        assert [(ensured.ref, ensured.created) for ensured in made] == [(name, True) for name in names]
        assert [(ensured.ref, ensured.created) for ensured in again] == [(name, False) for name in names]
        assert list(destination.existing_properties(["nope", *names])) == names

    def test_new_choices_are_added_and_old_ones_kept(self, world: DestinationWorld, destination: Destination):
        row_id = world.ids(1)[0]
        destination.ensure_properties([CHOICES])
        wider = replace(CHOICES, choices=(("dormant_60", "Dormant 60"), ("cold", "Cold")))
        assert not world.destination().ensure_properties([wider])[0].created
        for value in ("dormant_30", "dormant_60", "cold", "dormant_30;cold"):
            assert outcomes(destination.set_properties([PropertyRow(row_id, {CHOICES.name: value})])) == [
                Outcome.WRITTEN
            ]

    def test_a_property_is_removed_once_and_that_it_is_gone_is_no_error(self, destination: Destination):
        destination.ensure_properties([TEXT])
        destination.remove_property(TEXT.name)
        destination.remove_property(TEXT.name)
        assert list(destination.existing_properties([TEXT.name])) == []
        assert destination.ensure_properties([TEXT])[0].ref == TEXT.name

    def test_values_of_every_kind_are_read_as_they_were_written(
        self, world: DestinationWorld, with_properties: Destination
    ):
        row_id = world.ids(1)[0]
        assert outcomes(with_properties.set_properties([PropertyRow(row_id, VALUES)])) == [Outcome.WRITTEN]
        held = with_properties.read_properties([row_id], list(VALUES))
        assert set(held) == {row_id} and set(held[row_id]) == set(VALUES)
        for name in ("winback_last_feature", "winback_segment", "winback_dormant_since", "winback_holdout"):
            assert held[row_id][name] == VALUES[name]
        assert float(held[row_id]["winback_score"]) == 0.25

    def test_none_clears_a_value_and_an_unset_value_is_none(
        self, world: DestinationWorld, with_properties: Destination
    ):
        row_id = world.ids(1)[0]
        with_properties.set_properties([PropertyRow(row_id, {TEXT.name: "x"})])
        with_properties.set_properties([PropertyRow(row_id, {TEXT.name: None})])
        assert with_properties.read_properties([row_id], [TEXT.name, "winback_score"]) == {
            row_id: {TEXT.name: None, "winback_score": None}
        }

    def test_a_full_batch_gives_a_receipt_each_in_order(self, world: DestinationWorld, with_properties: Destination):
        size = with_properties.capabilities.properties_per_call
        ids = world.ids(size)
        calls_of_one, calls_of_two = (with_properties.forecast(_values_of(size, batches=number)) for number in (1, 2))
        with_properties.set_properties([PropertyRow(ids[0], {TEXT.name: "first"})])
        before = world.calls()
        receipts = with_properties.set_properties([PropertyRow(row_id, {TEXT.name: row_id}) for row_id in ids])
        assert [receipt.row_id for receipt in receipts] == list(ids)
        assert set(outcomes(receipts)) == {Outcome.WRITTEN}
        assert world.calls() == before + world.calls_of_a_batch(size) == before + calls_of_two - calls_of_one
        assert {row_id: world.stored(row_id)[TEXT.name] for row_id in ids} == {row_id: row_id for row_id in ids}

    def test_records_that_do_not_exist_are_missing_and_block_nobody(
        self, world: DestinationWorld, with_properties: Destination
    ):
        first, second = world.ids(2)
        stranger = world.unknown_id()
        rows = [PropertyRow(row_id, {TEXT.name: "x"}) for row_id in (first, stranger, second)]
        assert outcomes(with_properties.set_properties(rows)) == [Outcome.WRITTEN, Outcome.MISSING, Outcome.WRITTEN]
        assert set(with_properties.read_properties([first, stranger, second], [TEXT.name])) == {first, second}

    def test_refused_rows_are_alone_and_keep_the_vendors_words(
        self, world: DestinationWorld, with_properties: Destination
    ):
        ids = world.ids(40)
        bad = {ids[0], ids[17], ids[39]}
        world.poison(sorted(bad))
        receipts = with_properties.set_properties([PropertyRow(row_id, {TEXT.name: "x"}) for row_id in ids])
        assert [receipt.row_id for receipt in receipts] == list(ids)
        assert {receipt.row_id for receipt in receipts if receipt.outcome is Outcome.REJECTED} == bad
        assert all(receipt.message and receipt.code for receipt in receipts if receipt.row_id in bad)
        assert all(world.stored(row_id).get(TEXT.name) == "x" for row_id in ids if row_id not in bad)

    def test_one_bad_value_is_refused_alone(self, world: DestinationWorld, with_properties: Destination):
        ids = world.ids(9)
        rows = [PropertyRow(row_id, {"winback_score": "many" if row_id == ids[4] else "1"}) for row_id in ids]
        receipts = with_properties.set_properties(rows)
        assert [receipt.row_id for receipt in receipts if receipt.outcome is Outcome.REJECTED] == [ids[4]]
        assert outcomes(receipts).count(Outcome.WRITTEN) == 8

    def test_a_swallowed_property_write_is_not_taken_for_done(
        self, world: DestinationWorld, with_properties: Destination
    ):
        row_id = world.ids(1)[0]
        world.swallow_next_write()
        with pytest.raises(OutcomeUnknown):
            with_properties.set_properties([PropertyRow(row_id, {TEXT.name: "x"})])

    def test_a_property_write_whose_answer_was_lost_ends_as_wanted(
        self, world: DestinationWorld, with_properties: Destination
    ):
        row_id = world.ids(1)[0]
        world.lose_next_answer()
        assert outcomes(with_properties.set_properties([PropertyRow(row_id, {TEXT.name: "x"})])) == [Outcome.WRITTEN]
        assert world.stored(row_id)[TEXT.name] == "x"

    # --- forecast ---

    @pytest.mark.parametrize("lists", [0, 1, 3])
    @pytest.mark.parametrize("known", [False, True])
    def test_the_forecast_is_what_it_takes(self, world: DestinationWorld, lists: int, known: bool):
        planner, writer = world.destination(), world.destination()
        if known:
            world.destination().ensure_list("winback · before", folder=FOLDER)
        specs = KINDS if lists else ()
        ids = world.ids(250)
        size = writer.capabilities.properties_per_call
        batches = [ids[start : start + size] for start in range(0, len(ids), size)] if specs else []
        work = Work(
            lists_to_create=lists,
            properties_to_ensure=len(specs),
            member_batches=lists,
            property_batches=len(batches),
            member_changes=lists * len(ids),
            property_rows=sum(map(len, batches)),
        )
        forecast = planner.forecast(work)
        before = world.calls()
        if specs:
            writer.ensure_properties(specs)
        for number in range(lists):
            writer.change_members(writer.ensure_list(f"winback · {number}", folder=FOLDER).ref, add=ids)
        for batch in batches:
            writer.set_properties([PropertyRow(row_id, {TEXT.name: "x"}) for row_id in batch])
        assert world.calls() - before == forecast


class EnrollmentSuite:
    """For a destination that can enroll: subclass with a `world` fixture."""

    enrolls_one_by_one = True
    """Whether each contact is a call of its own; otherwise what is swallowed is swallowed for a whole batch."""

    @pytest.fixture
    def destination(self, world: DestinationWorld):
        made = world.destination()
        yield made
        made.close()

    def test_a_workflow_that_takes_contacts_is_found_in_order(self, world: DestinationWorld, destination: Destination):
        finding = destination.check_workflow(world.workflow())
        assert finding.severity is not Severity.ERROR and world.workflow() in finding.subject

    def test_a_workflow_that_is_not_there_is_an_error_with_a_fix(self, destination: Destination):
        finding = destination.check_workflow("987654")
        assert finding.severity is Severity.ERROR and finding.fix

    def test_enrolling_in_a_workflow_that_is_not_there_is_refused_as_a_whole(
        self, world: DestinationWorld, destination: Destination
    ):
        with pytest.raises(RejectedError):
            destination.enroll("987654", world.ids(2))

    def test_each_contact_is_enrolled_once_with_a_receipt_in_order(
        self, world: DestinationWorld, destination: Destination
    ):
        workflow, (first, second) = world.workflow(), world.ids(2)
        receipts = destination.enroll(workflow, [first, world.unknown_id(), second])
        assert [receipt.row_id for receipt in receipts] == [first, world.unknown_id(), second]
        assert outcomes(receipts) == [Outcome.WRITTEN, Outcome.MISSING, Outcome.WRITTEN]
        again = world.destination().enroll(workflow, [second, first])
        assert outcomes(again) == [Outcome.UNCHANGED, Outcome.UNCHANGED]
        assert [world.started(workflow, row_id) for row_id in (first, second)] == [1, 1]

    def test_an_enrollment_whose_answer_was_lost_is_not_made_twice(
        self, world: DestinationWorld, destination: Destination
    ):
        workflow, ids = world.workflow(), world.ids(3)
        world.lose_next_answer()
        receipts = destination.enroll(workflow, ids)
        assert [receipt.row_id for receipt in receipts] == list(ids)
        assert set(outcomes(receipts)) <= {Outcome.WRITTEN, Outcome.UNCHANGED, Outcome.UNKNOWN}
        destination.enroll(workflow, ids)
        assert destination.enrolled(workflow, ids) == dict.fromkeys(ids, True)
        assert [world.started(workflow, row_id) for row_id in ids] == [1, 1, 1]

    def test_a_swallowed_enrollment_shows_when_read_back(self, world: DestinationWorld, destination: Destination):
        workflow, ids = world.workflow(), world.ids(2)
        world.swallow_next_write()
        receipts = destination.enroll(workflow, ids)
        # A success may be all a system ever says to an enrollment: then only reading back tells.
        assert receipts[0].outcome in {Outcome.UNKNOWN, Outcome.WRITTEN}
        if self.enrolls_one_by_one:
            assert receipts[1].outcome is Outcome.WRITTEN
        else:
            assert receipts[1].outcome is Outcome.UNKNOWN
        assert destination.enrolled(workflow, ids) == {ids[0]: False, ids[1]: self.enrolls_one_by_one}

    def test_who_left_a_workflow_has_still_been_in_it(self, world: DestinationWorld, destination: Destination):
        workflow, (first, second, third) = world.workflow(), world.ids(3)
        destination.enroll(workflow, [first, second])
        receipts = destination.unenroll(workflow, [third, first, world.unknown_id()])
        assert outcomes(receipts) == [Outcome.UNCHANGED, Outcome.WRITTEN, Outcome.MISSING]
        assert [world.inside(workflow, row_id) for row_id in (first, second, third)] == [False, True, False]
        assert destination.enrolled(workflow, [first, second, third, world.unknown_id()]) == {
            first: True,
            second: True,
            third: False,
        }
        still = destination.enrolled(workflow, [first, second, third], still=True)
        assert still == {first: False, second: True, third: False}
        assert outcomes(destination.unenroll(workflow, [first])) == [Outcome.UNCHANGED]

    def test_enrolling_nobody_costs_nothing(self, world: DestinationWorld, destination: Destination):
        before = world.calls()
        assert list(destination.enroll("987654", [])) == list(destination.unenroll("987654", [])) == []
        assert destination.enrolled("987654", []) == {}
        assert world.calls() == before

    def test_the_forecast_counts_enrollments_and_opt_outs(self, world: DestinationWorld, destination: Destination):
        ids = world.ids(30)
        planner, writer, workflow = world.destination(), world.destination(), world.workflow()
        size = writer.capabilities.enrollments_per_batch
        forecast = planner.forecast(
            Work(
                lists_to_create=0,
                properties_to_ensure=0,
                member_batches=0,
                property_batches=0,
                enrollments=len(ids),
                workflows=1,
                opt_outs=3,
            )
        )
        before = world.calls()
        for start in range(0, len(ids), size):
            writer.enroll(workflow, ids[start : start + size])
        writer.opt_out(ids[:3])
        assert world.calls() - before == forecast


class OptOutSuite:
    """For a destination that takes opt-outs: subclass with a `world` fixture."""

    @pytest.fixture
    def destination(self, world: DestinationWorld):
        made = world.destination()
        yield made
        made.close()

    def test_an_opt_out_holds_and_is_written_once(self, world: DestinationWorld, destination: Destination):
        first, second = world.ids(2)
        receipts = destination.opt_out([first, world.unknown_id()])
        assert outcomes(receipts) == [Outcome.WRITTEN, Outcome.MISSING]
        assert outcomes(world.destination().opt_out([first])) == [Outcome.UNCHANGED]
        assert (world.unsubscribed(first), world.unsubscribed(second)) == (True, False)
        assert destination.opted_out([first, second, world.unknown_id()]) == {first: True, second: False}

    def test_an_opt_out_whose_answer_was_lost_ends_as_wanted(self, world: DestinationWorld, destination: Destination):
        ids = world.ids(2)
        world.lose_next_answer()
        for _ in range(2):
            try:
                receipts = destination.opt_out(ids)
            except OutcomeUnknown:
                continue
            assert set(outcomes(receipts)) <= {Outcome.WRITTEN, Outcome.UNCHANGED}
        assert destination.opted_out(ids) == dict.fromkeys(ids, True)

    def test_a_swallowed_opt_out_is_not_taken_for_done(self, world: DestinationWorld, destination: Destination):
        ids = world.ids(1)
        world.swallow_next_write()
        with suppress(OutcomeUnknown):
            assert set(outcomes(destination.opt_out(ids))) <= {Outcome.UNKNOWN}
        assert destination.opted_out(ids) == {ids[0]: False}

    def test_opting_nobody_out_costs_nothing(self, world: DestinationWorld, destination: Destination):
        before = world.calls()
        assert list(destination.opt_out([])) == [] and destination.opted_out([]) == {}
        assert world.calls() == before


def note(key: str, row_id: str, text: str = "Reason: Price", *, task: bool = False) -> FeedbackRow:
    """A note, or a task, with markup that is none."""
    at = datetime(2026, 11, 20, 8, 15, tzinfo=UTC)
    return FeedbackRow(key, row_id, at, "Win-back <feedback>", text, task=task)


class FeedbackSuite:
    """For a destination that keeps notes: subclass with a `world` fixture."""

    @pytest.fixture
    def destination(self, world: DestinationWorld):
        made = world.destination()
        yield made
        made.close()

    def test_notes_and_tasks_are_written_once_with_a_receipt_in_order(
        self, world: DestinationWorld, destination: Destination
    ):
        first, second = world.ids(2)
        rows = [
            note("aaaaaaaa", first),
            note("bbbbbbbb", world.unknown_id()),
            note("cccccccc", second, "Call <them>\nsoon", task=True),
            note("dddddddd", first, "Score: 7"),
        ]
        receipts = destination.record_feedback(rows)
        assert [receipt.row_id for receipt in receipts] == [row.key for row in rows]
        assert outcomes(receipts) == [Outcome.WRITTEN, Outcome.MISSING, Outcome.WRITTEN, Outcome.WRITTEN]
        again = world.destination().record_feedback(rows)
        assert outcomes(again) == [Outcome.UNCHANGED, Outcome.MISSING, Outcome.UNCHANGED, Outcome.UNCHANGED]
        assert len(world.notes(first)) == 2
        (task,) = world.notes(second, tasks=True)
        assert "Call <them>" in task
        assert "soon" in task
        there = destination.recorded_feedback([*rows, note("eeeeeeee", first)])
        assert there == {"aaaaaaaa": True, "cccccccc": True, "dddddddd": True, "eeeeeeee": False}

    def test_a_note_whose_answer_was_lost_is_found_and_not_written_twice(
        self, world: DestinationWorld, destination: Destination
    ):
        rows = [
            note("aaaaaaaa", row_id) if not n else note(f"bbbbbbb{n}", row_id) for n, row_id in enumerate(world.ids(3))
        ]
        world.lose_next_answer()
        for _ in range(2):
            with suppress(OutcomeUnknown):
                assert set(outcomes(destination.record_feedback(rows))) <= {Outcome.WRITTEN, Outcome.UNCHANGED}
        assert destination.recorded_feedback(rows) == {row.key: True for row in rows}
        assert [len(world.notes(row.row_id)) for row in rows] == [1, 1, 1]

    def test_a_swallowed_note_is_not_taken_for_done(self, world: DestinationWorld, destination: Destination):
        rows = [note("aaaaaaaa", world.ids(1)[0])]
        world.swallow_next_write()
        with suppress(OutcomeUnknown):
            assert set(outcomes(destination.record_feedback(rows))) <= {Outcome.UNKNOWN}
        assert destination.recorded_feedback(rows) == {"aaaaaaaa": False}

    def test_a_full_batch_is_told_apart_row_by_row(self, world: DestinationWorld, destination: Destination):
        ids = world.ids(destination.capabilities.feedback_per_batch)
        rows = [note(f"{number:08x}", row_id) for number, row_id in enumerate(ids)]
        assert set(outcomes(destination.record_feedback(rows))) == {Outcome.WRITTEN}
        assert set(destination.recorded_feedback(rows).values()) == {True}

    def test_the_forecast_counts_notes(self, world: DestinationWorld, destination: Destination):
        rows = [note(f"{number:08x}", row_id) for number, row_id in enumerate(world.ids(3))]
        work = Work(lists_to_create=0, properties_to_ensure=0, member_batches=0, property_batches=0, feedback=3)
        forecast = world.destination().forecast(work)
        before = world.calls()
        destination.record_feedback(rows)
        assert world.calls() - before == forecast


class CallbackSuite:
    """For a destination whose workflows wait for us: subclass with a `world` fixture."""

    @pytest.fixture
    def destination(self, world: DestinationWorld):
        made = world.destination()
        yield made
        made.close()

    def test_waiting_workflows_go_on_with_what_they_are_told(self, world: DestinationWorld, destination: Destination):
        waiting = world.let_wait(3)
        receipts = destination.complete([Callback(one, {"decision": "enrolled"}) for one in waiting])
        assert [receipt.row_id for receipt in receipts] == list(waiting)
        assert outcomes(receipts) == [Outcome.WRITTEN] * 3
        for one in waiting:
            told = world.went_on(one)
            assert told is not None
            assert told["decision"] == "enrolled"

    def test_one_that_waits_no_more_holds_up_nobody(self, world: DestinationWorld, destination: Destination):
        first, second = world.let_wait(2)
        destination.complete([Callback(first, {"decision": "enrolled"})])
        receipts = destination.complete([Callback(one, {"decision": "refused"}) for one in (first, second, "ap-none")])
        assert outcomes(receipts) == [Outcome.UNCHANGED, Outcome.WRITTEN, Outcome.UNCHANGED]
        assert (world.went_on(first) or {})["decision"] == "enrolled"
        assert (world.went_on(second) or {})["decision"] == "refused"

    def test_a_callback_whose_answer_was_lost_can_be_made_again(
        self, world: DestinationWorld, destination: Destination
    ):
        (only,) = world.let_wait(1)
        world.lose_next_answer()
        for _ in range(2):
            with suppress(OutcomeUnknown):
                destination.complete([Callback(only, {"decision": "enrolled"})])
        assert (world.went_on(only) or {})["decision"] == "enrolled"

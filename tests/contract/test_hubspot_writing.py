"""What writing to HubSpot means beyond the destination suite, on the sandbox."""

from __future__ import annotations

import logging

import pytest

from adapters.hubspot.sandbox.faults import faults_named
from adapters.lookalike.faults import Fault
from connector.errors import CredentialsError, OutcomeUnknown, QuotaExhausted, RejectedError, RetriableError
from connector.model import Outcome, PropertyRow, PropertySpec, Severity
from tests.contract.destination_suite import CHOICES, FOLDER, LIST, TEXT, members_of, outcomes
from tests.fakes.hubspot_worlds import HubSpotTarget


@pytest.fixture
def world(tmp_path):
    world = HubSpotTarget(tmp_path, contacts=60)
    yield world
    world.stop()


@pytest.fixture
def destination(world):
    made = world.destination()
    made.ensure_properties([TEXT])
    yield made
    made.close()


def rows(ids, value="x"):
    return [PropertyRow(row_id, {TEXT.name: value}) for row_id in ids]


def test_the_id_of_a_merged_contact_reaches_the_one_it_became_part_of(world, destination):
    world.state.merge(world.state.kind("contacts"), "5", "6", now_ms=world.state.settle())
    receipts = destination.set_properties(rows(["4", "6", "7"]))
    assert outcomes(receipts) == [Outcome.WRITTEN] * 3
    assert receipts[1].code == "MERGED" and "5" in receipts[1].message
    assert world.stored("5")[TEXT.name] == "x"


def test_one_record_named_twice_is_written_once_with_the_later_values(world, destination):
    receipts = destination.set_properties([*rows(["4", "5"]), *rows(["4"], "later")])
    assert [receipt.row_id for receipt in receipts] == ["4", "5", "4"]
    assert world.stored("4")[TEXT.name] == "later"


def test_a_poisoned_batch_costs_few_calls_when_the_vendor_names_the_row(world, destination):
    ids = world.ids(60)
    world.poison([ids[30]])
    before = world.calls()
    destination.set_properties(rows(ids))
    assert world.calls() - before == 1


def test_a_property_that_vanished_refuses_its_rows_without_sixty_more_calls(world, destination):
    destination.remove_property(TEXT.name)
    before = world.calls()
    receipts = destination.set_properties(rows(world.ids(60)))
    assert set(outcomes(receipts)) == {Outcome.REJECTED}
    assert TEXT.name in receipts[0].message
    assert world.calls() - before <= 2


def test_refused_members_are_found_by_halving(world, destination):
    from adapters.hubspot.sandbox.state import Poison

    ids = world.ids(60)
    bad = {ids[3], ids[44]}
    world.state.poison.update({row_id: Poison("not on lists", "members") for row_id in bad})
    list_id = destination.ensure_list(LIST, folder=FOLDER).ref
    receipts = destination.change_members(list_id, add=ids)
    assert [receipt.row_id for receipt in receipts] == list(ids)
    assert {receipt.row_id for receipt in receipts if receipt.outcome is Outcome.REJECTED} == bad
    assert set(members_of(destination, list_id)) == set(ids) - bad


def test_a_chunk_larger_than_the_vendor_takes_is_halved(world, destination):
    world.state.behave({"max_members_per_call": 20})
    list_id = destination.ensure_list(LIST, folder=FOLDER).ref
    assert set(outcomes(destination.change_members(list_id, add=world.ids(60)))) == {Outcome.WRITTEN}


def test_a_list_that_is_gone_is_one_refusal_not_many(world, destination):
    before = world.calls()
    with pytest.raises(RejectedError):
        destination.change_members("999999", add=world.ids(60))
    assert world.calls() - before == 1


def test_a_list_that_hubspot_fills_itself_is_refused_by_name(world, destination):
    list_id = destination.ensure_list(LIST, folder=FOLDER).ref
    world.state.lists.lists[list_id].processing_type = "DYNAMIC"
    with pytest.raises(RejectedError, match="dormant_30"):
        destination.ensure_list(LIST, folder=FOLDER)


def test_lists_are_manual_and_in_one_folder(world, destination):
    first = destination.ensure_list(LIST, folder=FOLDER).ref
    second = world.destination().ensure_list("winback · cold", folder=FOLDER).ref
    held = world.state.lists
    assert {held.lists[list_id].processing_type for list_id in (first, second)} == {"MANUAL"}
    assert held.lists[first].folder == held.lists[second].folder
    assert [folder.name for folder in held.folders.values()].count(FOLDER) == 1


def test_a_property_with_our_name_and_another_type_is_refused_by_name(world, destination):
    with pytest.raises(RejectedError, match=r"winback_last_feature.*'string'.*'number'"):
        world.destination().ensure_properties([PropertySpec(TEXT.name, "x", "number")])


def test_properties_go_into_a_group_of_their_own(world, destination):
    assert world.state.contact_properties.live[TEXT.name].group == "winback"


def test_a_spec_counts_as_existing_only_with_its_kind_and_choices(world, destination):
    destination.ensure_properties([CHOICES])
    wider = PropertySpec(CHOICES.name, CHOICES.label, "choices", "", (*CHOICES.choices, ("cold", "Cold")))
    other = PropertySpec(TEXT.name, TEXT.label, "number")
    assert list(destination.existing_properties([CHOICES, TEXT])) == [CHOICES.name, TEXT.name]
    assert list(destination.existing_properties([wider, other])) == []


def test_what_hubspot_swallows_for_good_is_never_taken_for_done(world, destination):
    list_id = destination.ensure_list(LIST, folder=FOLDER).ref
    destination.change_members(list_id, add=["1", "2"])
    world.sandbox.faults.add(Fault("no_op", path="/memberships/"))
    with pytest.raises(OutcomeUnknown):
        destination.change_members(list_id, add=["3"], remove=["1"])
    with pytest.raises(OutcomeUnknown):
        destination.change_members(list_id, remove=["1"])
    assert set(outcomes(destination.change_members(list_id, add=["1"], remove=["9"]))) == {Outcome.UNCHANGED}


def test_an_answer_that_never_comes_is_unknown_after_the_retries(world, destination):
    list_id = destination.ensure_list(LIST, folder=FOLDER).ref
    world.sandbox.faults.add(Fault("reset", path="/memberships/add-and-remove", when="before"))
    with pytest.raises(OutcomeUnknown):
        destination.change_members(list_id, add=["1"])


def test_a_locked_record_is_waited_for(world, destination):
    world.sandbox.faults.add(Fault("error", status=423, path="/batch/update", times=2))
    slept = world.clock.slept
    assert outcomes(destination.set_properties(rows(["1"]))) == [Outcome.WRITTEN]
    assert world.clock.slept - slept >= 4


def test_too_many_calls_make_everybody_wait_ten_seconds(world, destination):
    world.sandbox.faults.add(Fault("rate_limit", policy="TEN_SECONDLY_ROLLING", path="/batch/update", times=1))
    assert outcomes(destination.set_properties(rows(["1"]))) == [Outcome.WRITTEN]
    assert ("", 10.0) in world.budget.penalties


def test_refused_for_its_rate_for_ever_means_nothing_was_done(world, destination):
    world.sandbox.faults.add(Fault("rate_limit", policy="TEN_SECONDLY_ROLLING", path="/batch/update"))
    with pytest.raises(RetriableError) as caught:
        destination.set_properties(rows(["1"]))
    assert not isinstance(caught.value, OutcomeUnknown)


def test_a_used_up_day_stops_writing(world, destination):
    world.sandbox.faults.add(Fault("rate_limit", policy="DAILY", path="/batch/update"))
    with pytest.raises(QuotaExhausted):
        destination.set_properties(rows(["1"]))


def test_a_missing_write_scope_is_named_by_writing_and_by_check(world, destination):
    world.state.missing_scopes = {"crm.lists.write"}
    with pytest.raises(CredentialsError, match=r"crm\.lists\.write"):
        destination.ensure_list(LIST, folder=FOLDER)
    bad = [finding for finding in destination.check() if finding.severity is Severity.ERROR]
    assert [finding.credentials for finding in bad] == [True] and "crm.lists.write" in bad[0].fix


def test_checking_changes_nothing(world, destination):
    before = world.state.body(full=True)
    list(destination.check())
    after = world.state.body(full=True)
    assert {k: v for k, v in before.items() if k != "now"} == {k: v for k, v in after.items() if k != "now"}


def test_no_address_and_no_token_reaches_an_error_or_a_log(world, destination, caplog):
    from adapters.hubspot.sandbox.state import Poison

    caplog.set_level(logging.DEBUG)
    world.state.poison["1"] = Poison("person1@example.com already exists. Existing ID: 7")
    receipts = destination.set_properties(rows(["1"]))
    assert receipts[0].outcome is Outcome.REJECTED and "<email>" in receipts[0].message
    assert "Existing ID: 7" in receipts[0].message
    destination.read_properties(["1", "2"], ["email"])
    with pytest.raises(CredentialsError) as caught:
        world.broken().change_members("1", add=["1"])
    for text in (caplog.text, str(caught.value), receipts[0].message):
        assert "example.com" not in text and "sandbox-token" not in text.replace("'sandbox-token'", "")


@pytest.mark.parametrize("faults", ["resets", "errors", "rate_limits", "duplicates"])
def test_everything_is_written_on_a_bad_day(world, faults):
    world.ids(600)
    destination = world.destination()
    destination.ensure_properties([TEXT])
    list_id = destination.ensure_list(LIST, folder=FOLDER).ref
    world.sandbox.faults.add(*faults_named([faults]))
    ids = list(world.ids(600))
    for start in range(0, 600, 20):
        part = ids[start : start + 20]
        assert set(outcomes(destination.change_members(list_id, add=part))) <= {Outcome.WRITTEN, Outcome.UNCHANGED}
        assert set(outcomes(destination.set_properties(rows(part)))) == {Outcome.WRITTEN}
    world.sandbox.faults.clear()
    assert set(members_of(destination, list_id)) == set(ids)
    assert all(world.stored(row_id)[TEXT.name] == "x" for row_id in ids)

"""What writing to Salesforce means beyond the destination suite, on the sandbox."""

from __future__ import annotations

import logging

import pytest

from adapters.lookalike.faults import Fault
from adapters.salesforce.campaigns import EXITED
from adapters.salesforce.fields import ENROLLMENT, KEY
from adapters.salesforce.sandbox.faults import faults_named
from adapters.salesforce.sandbox.rules import Poison, ValidationRule
from connector.contracts import Work
from connector.errors import CredentialsError, OutcomeUnknown, QuotaExhausted, RejectedError, RetriableError
from connector.model import Outcome, PropertyRow, PropertySpec, Severity
from tests.contract.destination_suite import FOLDER, LIST, members_of, note, outcomes
from tests.fakes.salesforce_targets import SalesforceTarget
from tests.fakes.salesforce_worlds import contact, lead

TEXT = PropertySpec("winback_last_feature", "Winback last feature", "text", "What was used last.")
STEP = "winback · win-back · reminder"


@pytest.fixture
def world(tmp_path):
    world = SalesforceTarget(tmp_path, contacts=60, leads=5)
    yield world
    world.stop()


@pytest.fixture
def destination(world):
    made = world.destination()
    made.ensure_properties([TEXT])
    yield made
    made.close()


@pytest.fixture
def list_id(destination):
    return destination.ensure_list(STEP, folder=FOLDER).ref


def rows(ids, value="x", name=TEXT.name):
    return [PropertyRow(row_id, {name: value}) for row_id in ids]


# --- campaigns and their members ---


def test_a_list_is_a_campaign_under_one_parent_with_the_step_as_status(world, destination, list_id):
    campaign = world.state.row(list_id).values
    assert campaign["Name"] == campaign[KEY] == STEP
    assert world.state.row(campaign["ParentId"]).values["Name"] == FOLDER
    assert (campaign["Type"], campaign["Status"], campaign["IsActive"]) == ("Other", "In Progress", True)
    statuses = [row.values for row in world.state.stores["CampaignMemberStatus"].matching("CampaignId", list_id)]
    assert {"reminder", EXITED} <= {row["Label"] for row in statuses}
    assert [row["Label"] for row in statuses if row.get("IsDefault")] == ["reminder"]
    assert not any(row.get("HasResponded") for row in statuses if row["Label"] in {"reminder", EXITED})
    second = destination.ensure_list(LIST, folder=FOLDER).ref
    assert world.state.row(second).values["ParentId"] == campaign["ParentId"]


def test_who_joins_has_the_step_as_status_and_who_leaves_is_exited(world, destination, list_id):
    first, second = world.ids(2)
    destination.change_members(list_id, add=[first, second])
    destination.change_members(list_id, remove=[first])
    assert [world.status(list_id, person) for person in (first, second)] == [EXITED, "reminder"]
    assert members_of(destination, list_id) == [second]


def test_who_left_and_comes_back_is_the_same_member_again(world, destination, list_id):
    (person,) = world.ids(1)
    destination.change_members(list_id, add=[person])
    member = world.member(list_id, person).id
    destination.change_members(list_id, remove=[person])
    assert outcomes(destination.change_members(list_id, remove=[person])) == [Outcome.UNCHANGED]
    assert outcomes(destination.change_members(list_id, add=[person])) == [Outcome.WRITTEN]
    assert world.member(list_id, person).id == member
    assert world.status(list_id, person) == "reminder"


def test_a_member_who_responded_is_on_the_list_and_keeps_that_status(world, destination, list_id):
    (person,) = world.ids(1)
    world.insert("CampaignMember", CampaignId=list_id, ContactId=person, Status="Responded")
    assert outcomes(destination.change_members(list_id, add=[person])) == [Outcome.UNCHANGED]
    assert world.status(list_id, person) == "Responded"
    assert outcomes(destination.change_members(list_id, remove=[person])) == [Outcome.WRITTEN]


def test_who_leaves_can_be_deleted_from_the_campaign_instead(world):
    destination = world.destination(on_exit="delete")
    list_id = destination.ensure_list(STEP, folder=FOLDER).ref
    first, second = world.ids(2)
    destination.change_members(list_id, add=[first, second])
    assert outcomes(destination.change_members(list_id, remove=[first])) == [Outcome.WRITTEN]
    assert world.member(list_id, first) is None
    assert outcomes(destination.change_members(list_id, add=[first])) == [Outcome.WRITTEN]
    assert set(members_of(destination, list_id)) == {first, second}


def test_contacts_and_leads_are_members_together_in_one_call(world, destination, list_id):
    ids = [*world.ids(3), lead(1), lead(2)]
    destination.change_members(list_id, add=[world.ids(4)[3]])
    before = world.calls()
    assert set(outcomes(destination.change_members(list_id, add=ids))) == {Outcome.WRITTEN}
    assert world.calls() - before == 1
    assert set(ids) < set(members_of(destination, list_id))
    assert outcomes(destination.change_members(list_id, remove=[lead(1), ids[0]])) == [Outcome.WRITTEN] * 2
    assert {world.status(list_id, lead(1)), world.status(list_id, ids[0])} == {EXITED}


def test_short_ids_are_the_same_people_and_receipts_name_them_as_they_came(world, destination, list_id):
    (person,) = world.ids(1)
    short = person[:15]
    (receipt,) = destination.change_members(list_id, add=[short])
    assert (receipt.row_id, receipt.outcome) == (short, Outcome.WRITTEN)
    assert [one.row_id for one in destination.set_properties(rows([short, person]))] == [short, person]
    assert set(destination.read_properties([short], [TEXT.name])) == {short}
    assert members_of(destination, list_id) == [person]


def test_what_is_no_contact_and_no_lead_is_missing_without_a_call(world, destination, list_id):
    destination.change_members(list_id, add=world.ids(1))
    before = world.calls()
    strangers = ["7", "001000000000001AAA", ""]
    assert set(outcomes(destination.change_members(list_id, add=strangers))) == {Outcome.MISSING}
    assert set(outcomes(destination.set_properties(rows(strangers)))) == {Outcome.MISSING}
    assert world.calls() == before


def test_a_converted_lead_is_missing_and_its_membership_is_the_contacts(world, destination, list_id):
    destination.change_members(list_id, add=[lead(1)])
    with world.state.lock:
        person = world.state.convert(lead(1))["Contact"]
    assert members_of(destination, list_id) == [person]
    assert outcomes(destination.set_properties(rows([lead(1)]))) == [Outcome.MISSING]
    assert destination.read_properties([lead(1)], [TEXT.name]) == {}
    assert outcomes(destination.opt_out([lead(1)])) == [Outcome.MISSING]
    assert outcomes(destination.change_members(list_id, remove=[person])) == [Outcome.WRITTEN]
    assert members_of(destination, list_id) == []


def test_somebody_who_is_a_member_twice_after_a_conversion_leaves_twice(world, destination, list_id):
    (person,) = world.ids(1)
    destination.change_members(list_id, add=[person, lead(1)])
    with world.state.lock:
        of_lead = world.member(list_id, lead(1))
        world.state.convert(lead(1), contact_id=person)
        # Orgs have been seen to keep both memberships.
        world.state.rewrite(world.state.row(of_lead.id), {**of_lead.values, "ContactId": person}, deleted=False)
    assert members_of(destination, list_id) == [person, person]
    assert outcomes(destination.change_members(list_id, remove=[person])) == [Outcome.WRITTEN]
    assert members_of(destination, list_id) == []
    assert outcomes(destination.change_members(list_id, add=[person])) == [Outcome.WRITTEN]
    assert members_of(destination, list_id) == [person]


def test_a_deleted_and_a_merged_contact_are_missing_and_hold_up_nobody(world, destination, list_id):
    first, second, third = world.ids(3)
    world.bin([first])
    with world.state.lock:
        world.state.merge(third, [second])
    for receipts in (
        destination.change_members(list_id, add=[first, second, third]),
        destination.set_properties(rows([first, second, third])),
    ):
        assert outcomes(receipts) == [Outcome.MISSING, Outcome.MISSING, Outcome.WRITTEN]


def test_nobody_is_added_and_removed_at_once(world, destination, list_id):
    (person,) = world.ids(1)
    with pytest.raises(Exception, match="both added and removed"):
        destination.change_members(list_id, add=[person], remove=[person[:15]])


def test_a_renamed_campaign_is_still_the_list(world, destination, list_id):
    world.edit([list_id], Name="Reminders of autumn")
    fresh = world.destination()
    assert fresh.lists([STEP])[STEP].list_id == list_id
    assert not fresh.ensure_list(STEP, folder=FOLDER).created
    fresh.change_members(list_id, add=world.ids(1))
    assert world.status(list_id, world.ids(1)[0]) == "reminder"


def test_a_campaign_that_somebody_made_by_that_name_is_taken_and_given_its_statuses(world):
    world.state.behave({"member_status_free_text": False})
    by_hand = world.insert("Campaign", Name=STEP.upper())
    destination = world.destination()
    made = destination.ensure_list(STEP, folder=FOLDER)
    assert (made.ref, made.created) == (by_hand, False)
    first, second = world.ids(2)
    assert outcomes(destination.change_members(by_hand, add=[first, second])) == [Outcome.WRITTEN] * 2
    assert outcomes(destination.change_members(by_hand, remove=[first])) == [Outcome.WRITTEN]
    assert [world.status(by_hand, person) for person in (first, second)] == [EXITED, "reminder"]


def test_of_two_processes_that_make_a_list_at_once_one_finds_the_others(world, destination):
    destination.ensure_list(LIST, folder=FOLDER)
    other = world.destination()
    world.sandbox.faults.add(Fault("no_op", method="GET", path="/query", times=1))
    theirs = other.ensure_list(STEP, folder=FOLDER).ref
    # The look of the second came before the first had made it.
    world.sandbox.faults.add(Fault("no_op", method="GET", path="/query", times=1))
    ours = destination.ensure_list(STEP, folder=FOLDER)
    assert (ours.ref, ours.created) == (theirs, False)
    assert sum(row.values["Name"] == STEP for row in world.state.stores["Campaign"]) == 1


def test_a_name_that_no_campaign_can_have_is_refused_before_any_call(world, destination):
    before = world.calls()
    with pytest.raises(RejectedError, match="80"):
        destination.ensure_list("winback · " + "x" * 80, folder=FOLDER)
    assert world.calls() == before


def test_a_campaign_that_is_gone_is_one_refusal_not_many(world, destination, list_id):
    destination.change_members(list_id, add=world.ids(1))
    world.bin([list_id])
    before = world.calls()
    with pytest.raises(RejectedError, match="no such campaign") as caught:
        destination.change_members(list_id, add=world.ids(50))
    assert caught.value.status == 404
    assert world.calls() - before <= 2
    with pytest.raises(RejectedError, match="no such campaign"):
        world.destination().change_members(list_id, add=world.ids(1))


def test_lists_are_looked_up_together(world, destination):
    names = [f"winback · {number}" for number in range(30)]
    for name in names[:3]:
        destination.ensure_list(name, folder=FOLDER)
    before = world.calls()
    assert list(world.destination().lists(names)) == names[:3]
    assert world.calls() - before == 1


def test_hundreds_leave_a_list_with_one_look_for_their_memberships(world, destination, list_id):
    ids = world.ids(900)
    destination.change_members(list_id, add=ids)
    before = world.calls()
    assert set(outcomes(destination.change_members(list_id, remove=ids))) == {Outcome.WRITTEN}
    assert world.calls() - before == 1 + 5
    assert members_of(destination, list_id) == []


def test_a_listing_whose_rest_was_lost_goes_on_behind_its_last_member(world, destination, list_id):
    ids = world.ids(900)
    destination.change_members(list_id, add=ids)
    world.state.behave({"page_rows": 200})
    pages = destination.members(list_id)
    seen = list(next(pages))
    world.pass_time(3 * 86_400)
    seen += [person for page in pages for person in page]
    assert sorted(seen) == sorted(ids)


# --- rows that others hold, and rules of the org ---


@pytest.mark.parametrize("in_triggers", [False, True])
def test_rows_that_others_hold_for_a_moment_are_written_all_the_same(world, destination, in_triggers):
    ids = world.ids(30)
    world.state.locks.in_triggers = in_triggers
    world.state.locks.stuck.update(dict.fromkeys(ids[10:20], 2))
    assert set(outcomes(destination.set_properties(rows(ids)))) == {Outcome.WRITTEN}
    assert world.clock.slept >= 3


def test_a_row_that_stays_held_is_refused_alone_with_the_vendors_words(world, destination, list_id):
    ids = world.ids(30)
    world.state.locks.stuck[ids[3]] = -1
    receipts = destination.set_properties(rows(ids))
    assert [one.row_id for one in receipts if one.outcome is Outcome.REJECTED] == [ids[3]]
    assert receipts[3].code == "UNABLE_TO_LOCK_ROW" and "exclusive access" in (receipts[3].message or "")
    world.state.locks.stuck[list_id] = 3
    assert set(outcomes(destination.change_members(list_id, add=ids))) == {Outcome.WRITTEN}


def test_a_validation_rule_refuses_its_rows_in_salesforces_words(world, destination):
    ids = world.ids(5)
    world.state.rules.validations.append(
        ValidationRule("Contact", "Winback_Last_Feature__c", "Ask jo@example.com before you write “x”", equals="x")
    )
    receipts = destination.set_properties([*rows(ids[:4], "y"), *rows(ids[4:], "x")])
    assert outcomes(receipts) == [Outcome.WRITTEN] * 4 + [Outcome.REJECTED]
    assert receipts[4].code == "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    assert receipts[4].message == "Ask <email> before you write “x”"


def test_a_duplicate_rule_refuses_its_rows_in_salesforces_words(world, destination):
    first, second = world.ids(2)
    world.state.rules.poison[first] = Poison("Use one of these records?", code="DUPLICATES_DETECTED", on="record")
    refused, written = destination.set_properties(rows([first, second]))
    assert (refused.outcome, refused.code, refused.message) == (
        Outcome.REJECTED,
        "DUPLICATES_DETECTED",
        "Use one of these records?",
    )
    assert written.outcome is Outcome.WRITTEN


def test_a_membership_that_a_rule_refuses_is_refused_alone(world, destination, list_id):
    ids = world.ids(10)
    world.state.rules.poison[ids[4]] = Poison("not on campaigns", on="members")
    receipts = destination.change_members(list_id, add=ids)
    assert [one.row_id for one in receipts if one.outcome is Outcome.REJECTED] == [ids[4]]
    assert receipts[4].message == "not on campaigns"
    assert set(members_of(destination, list_id)) == set(ids) - {ids[4]}


# --- values ---


def test_one_person_named_twice_is_written_once_with_the_later_values(world, destination):
    first, second = world.ids(2)
    receipts = destination.set_properties([*rows([first, second]), *rows([first], "later")])
    assert [receipt.row_id for receipt in receipts] == [first, second, first]
    assert world.stored(first)[TEXT.name] == "later"


def test_leads_have_the_same_fields_and_are_written_in_the_same_call(world, destination):
    ids = [*world.ids(3), lead(1), lead(2)]
    destination.set_properties(rows(ids[:1]))
    before = world.calls()
    assert set(outcomes(destination.set_properties(rows(ids, "billing")))) == {Outcome.WRITTEN}
    assert world.calls() - before == 1
    held = destination.read_properties(ids, [TEXT.name])
    assert held == {row_id: {TEXT.name: "billing"} for row_id in ids}
    assert world.calls() - before == 2


@pytest.mark.parametrize("in_bulk", [False, True])
def test_none_empties_a_field_and_a_field_that_is_not_named_stays(tmp_path, in_bulk):
    world = SalesforceTarget(tmp_path, contacts=3, in_bulk=in_bulk)
    destination = world.destination()
    first, second = world.ids(2)
    long = 'Line one,\n“line” two; "quoted" ünï 😀'
    destination.set_properties(
        [
            PropertyRow(first, {TEXT.name: "kept", "winback_whats_new": long, "winback_milestone": "25"}),
            PropertyRow(second, {TEXT.name: "kept too", "winback_send_at": "2026-12-01T09:00:00Z"}),
        ]
    )
    destination.set_properties(
        [PropertyRow(first, {"winback_milestone": None}), PropertyRow(second, {"winback_send_at": None, TEXT.name: ""})]
    )
    names = [TEXT.name, "winback_whats_new", "winback_milestone", "winback_send_at"]
    assert destination.read_properties([first, second], names) == {
        first: dict(zip(names, ["kept", long, None, None], strict=True)),
        second: dict.fromkeys(names),
    }
    world.stop()


def test_values_are_read_back_in_the_words_they_were_written_in(world, destination):
    (person,) = world.ids(1)
    values = {
        "winback_last_active_at": "2026-10-31T08:15:00Z",
        "winback_dormant_since": "2026-11-01",
        "winback_days_away_count": "31",
        "winback_segment": "dormant_30;cold",
        "winback_link_return": "https://winback.example/l/" + "x" * 300,
    }
    destination.set_properties([PropertyRow(person, values)])
    assert destination.read_properties([person], list(values)) == {person: values}


def test_our_text_is_cut_to_the_fields_length(world, destination):
    (person,) = world.ids(1)
    assert outcomes(destination.set_properties(rows([person], "x" * 300))) == [Outcome.WRITTEN]
    assert world.stored(person)[TEXT.name] == "x" * 255


def test_a_field_that_vanished_refuses_its_rows_without_sixty_more_calls(world, destination):
    destination.set_properties(rows(world.ids(1)))
    with world.state.lock:
        for kind in ("Contact", "Lead"):
            world.state.drop_field(kind, "Winback_Last_Feature__c")
    before = world.calls()
    receipts = destination.set_properties(rows(world.ids(54)))
    assert set(outcomes(receipts)) == {Outcome.REJECTED}
    assert "Winback_Last_Feature__c" in receipts[0].message
    assert world.calls() - before <= 2


def test_a_field_that_only_contacts_have_refuses_leads_by_name(world, destination):
    with world.state.lock:
        world.state.drop_field("Lead", "Winback_Last_Feature__c")
    fresh = world.destination()
    receipts = fresh.set_properties(rows([world.ids(1)[0], lead(1)]))
    assert outcomes(receipts) == [Outcome.WRITTEN, Outcome.REJECTED]
    assert "Lead.Winback_Last_Feature__c" in receipts[1].message and "deploy/salesforce" in receipts[1].message
    assert list(fresh.existing_properties([TEXT.name])) == []


def test_missing_fields_are_named_with_the_step_that_brings_them(world):
    world.forget_fields()
    destination = world.destination()
    with pytest.raises(
        RejectedError, match=r"Contact\.Winback_Last_Feature__c, Lead\.Winback_Last_Feature__c"
    ) as caught:
        destination.ensure_properties([TEXT])
    assert "deploy/salesforce" in caught.value.hint and "create_fields" in caught.value.hint
    assert "Winback_Last_Feature__c" not in world.state.stores["Contact"].sobject.fields


def test_fields_are_made_on_both_objects_and_opened_where_that_is_wished(world):
    world.forget_fields()
    destination = world.destination(create_fields=True)
    assert destination.ensure_properties([TEXT])[0].created
    receipts = destination.set_properties(rows([world.ids(1)[0], lead(1)], "billing"))
    assert outcomes(receipts) == [Outcome.WRITTEN] * 2
    made = world.state.stores["Lead"].sobject.fields["Winback_Last_Feature__c"]
    assert (made.kind, made.length) == ("string", 255)


def test_a_field_that_could_not_be_opened_is_waited_for_and_then_said_to_be_hidden(world):
    world.forget_fields()
    destination = world.destination(create_fields=True)
    world.sandbox.faults.add(Fault("no_op", method="POST", path="/composite/sobjects$", times=1))
    with pytest.raises(RejectedError, match=r"Winback_Last_Feature__c: it is not visible") as caught:
        destination.ensure_properties([TEXT])
    assert "Winback_Integration" in caught.value.hint
    assert world.clock.slept >= 10
    # Once more, the fields are there and only closed.
    assert not destination.ensure_properties([TEXT])[0].created
    assert outcomes(destination.set_properties(rows(world.ids(1)))) == [Outcome.WRITTEN]


def test_a_field_of_another_type_is_refused_by_name(world, destination):
    with pytest.raises(RejectedError, match=r"Contact\.Winback_Last_Feature__c.*string.*Number"):
        destination.ensure_properties([PropertySpec(TEXT.name, "x", "number")])
    assert list(destination.existing_properties([PropertySpec(TEXT.name, "x", "number"), TEXT])) == [TEXT.name]


# --- Bulk jobs ---


@pytest.fixture
def crowd(tmp_path):
    world = SalesforceTarget(tmp_path, contacts=2_800, leads=5)
    yield world
    world.stop()


def test_above_two_thousand_rows_go_by_one_job_of_four_calls(crowd):
    destination = crowd.destination()
    ids = [*crowd.ids(2_400), lead(1)]
    destination.set_properties(rows(ids[:1]))
    before = crowd.calls()
    receipts = destination.set_properties(rows(ids, "billing"))
    assert [receipt.row_id for receipt in receipts] == ids
    assert set(outcomes(receipts)) == {Outcome.WRITTEN}
    # The lead is one row, and goes by a call of its own.
    assert crowd.calls() - before == 4 + 1
    assert all(crowd.stored(row_id)[TEXT.name] == "billing" for row_id in ids)


def test_a_job_tells_row_by_row_what_it_did_not_write(crowd):
    destination = crowd.destination()
    ids = crowd.ids(2_300)
    crowd.poison([ids[7]])
    crowd.bin([ids[8]])
    crowd.state.locks.stuck[ids[9]] = 2
    receipts = destination.set_properties(rows(ids, "billing"))
    assert {one.row_id: one.outcome for one in receipts if one.outcome is not Outcome.WRITTEN} == {
        ids[7]: Outcome.REJECTED,
        ids[8]: Outcome.MISSING,
    }
    assert receipts[7].message == "Rule 7 says no" and receipts[7].code == "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    assert crowd.stored(ids[9])[TEXT.name] == "billing"


def test_members_by_a_job_are_told_apart_as_by_a_call(crowd):
    destination = crowd.destination()
    list_id = destination.ensure_list(STEP, folder=FOLDER).ref
    ids = crowd.ids(2_300)
    destination.change_members(list_id, add=ids[:3])
    destination.change_members(list_id, remove=ids[:1])
    receipts = destination.change_members(list_id, add=[*ids, crowd.unknown_id()])
    assert outcomes(receipts) == [
        Outcome.WRITTEN,
        Outcome.UNCHANGED,
        Outcome.UNCHANGED,
        *[Outcome.WRITTEN] * 2_297,
        Outcome.MISSING,
    ]
    assert set(members_of(destination, list_id)) == set(ids)
    assert set(outcomes(destination.change_members(list_id, remove=ids))) == {Outcome.WRITTEN}
    assert members_of(destination, list_id) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/jobs/ingest$"), ("PUT", "/batches$"), ("PATCH", r"/jobs/ingest/\w+$"), ("GET", r"/jobs/ingest/\w+$")],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_no_answer_in_a_jobs_life_loses_a_row_or_writes_one_twice(crowd, method, path, when):
    destination = crowd.destination()
    ids = crowd.ids(2_100)
    list_id = destination.ensure_list(STEP, folder=FOLDER).ref
    crowd.sandbox.faults.add(Fault("reset", method=method, path=path, when=when, times=1))
    assert set(outcomes(destination.change_members(list_id, add=ids))) == {Outcome.WRITTEN}
    assert set(members_of(destination, list_id)) == set(ids)
    worked = [job for job in crowd.sandbox.bulk.store.jobs.values() if job.processed]
    assert len(worked) == 1


class Died(BaseException):
    """The process ended here."""


def die(seconds):
    raise Died


def test_a_job_that_outlived_its_process_never_overtakes_what_is_written_after_it(crowd):
    ids = crowd.ids(2_100)
    crowd.state.behave({"bulk_seconds": 600.0})
    dying = crowd.destination()
    crowd.clock.on_sleep.append(die)
    with pytest.raises(Died):
        dying.set_properties(rows(ids, "old"))
    crowd.clock.on_sleep.remove(die)
    (job,) = crowd.sandbox.bulk.store.jobs.values()
    assert not job.ended
    living = crowd.destination()
    assert outcomes(living.set_properties(rows(ids[:2], "new"))) == [Outcome.WRITTEN] * 2
    assert job.state == "JobComplete"
    crowd.pass_time(3_600)
    assert [crowd.stored(row_id)[TEXT.name] for row_id in ids[:3]] == ["new", "new", "old"]


def test_what_a_job_of_a_dead_process_did_is_seen_when_it_is_read_back(crowd):
    ids = crowd.ids(2_100)
    crowd.state.behave({"bulk_seconds": 600.0})
    dying = crowd.destination()
    list_id = dying.ensure_list(STEP, folder=FOLDER).ref
    crowd.clock.on_sleep.append(die)
    with pytest.raises(Died):
        dying.change_members(list_id, add=ids)
    crowd.clock.on_sleep.remove(die)
    assert set(members_of(crowd.destination(), list_id)) == set(ids)


def test_jobs_of_other_people_are_not_waited_for(crowd):
    crowd.state.behave({"bulk_seconds": 600.0})
    dying = crowd.destination()
    crowd.clock.on_sleep.append(die)
    with pytest.raises(Died):
        dying.set_properties(rows(crowd.ids(2_100), "old"))
    crowd.clock.on_sleep.remove(die)
    (job,) = crowd.sandbox.bulk.store.jobs.values()
    job.created_by = crowd.state.admin_user
    slept = crowd.clock.slept
    crowd.destination().set_properties(rows([crowd.ids(2_200)[-1]], "new"))
    assert crowd.clock.slept == slept and not job.ended


def test_a_token_that_ends_while_a_job_is_at_work_is_renewed(crowd):
    crowd.state.behave({"bulk_seconds": 200.0, "session_seconds": 30.0})
    destination = crowd.destination()
    assert set(outcomes(destination.set_properties(rows(crowd.ids(2_100))))) == {Outcome.WRITTEN}
    assert crowd.sandbox.log.by_kind["logins"] > 1


def test_without_jobs_for_today_rows_go_in_calls_of_two_hundred(crowd):
    crowd.sandbox.faults.add(Fault("error", status=400, method="POST", path="/jobs/ingest$"))
    destination = crowd.destination()
    assert set(outcomes(destination.set_properties(rows(crowd.ids(2_100))))) == {Outcome.WRITTEN}


def test_a_job_that_somebody_aborts_says_which_rows_were_not_written(crowd):
    ids = crowd.ids(2_100)
    crowd.state.behave({"bulk_seconds": 100.0})

    def abort(_seconds):
        with crowd.state.lock:
            for job in crowd.sandbox.bulk.store.waiting():
                job.end("Aborted", now_ms=crowd.state.clock.now_ms())

    destination = crowd.destination()
    destination.set_properties(rows(ids[:1]))
    crowd.clock.on_sleep.append(abort)
    receipts = destination.set_properties(rows(ids, "late"))
    assert set(outcomes(receipts)) == {Outcome.REJECTED}
    assert {receipt.code for receipt in receipts} == {"UNPROCESSED"}


# --- what goes wrong with whole calls ---


def test_what_salesforce_swallows_for_good_is_never_taken_for_done(world, destination, list_id):
    ids = world.ids(3)
    destination.change_members(list_id, add=ids[:2])
    world.sandbox.faults.add(Fault("no_op", path="/composite/sobjects"))
    with pytest.raises(OutcomeUnknown):
        destination.change_members(list_id, add=ids[2:])
    with pytest.raises(OutcomeUnknown):
        destination.change_members(list_id, remove=ids[:1])
    with pytest.raises(OutcomeUnknown):
        destination.set_properties(rows(ids))


def test_an_answer_that_never_comes_is_unknown_after_the_retries(world, destination, list_id):
    world.sandbox.faults.add(Fault("reset", path="/composite/sobjects", when="before"))
    with pytest.raises(OutcomeUnknown):
        destination.change_members(list_id, add=world.ids(1))
    with pytest.raises(OutcomeUnknown):
        destination.set_properties(rows(world.ids(1)))


def test_a_used_up_day_keeps_the_receipts_of_what_went_through(world, destination):
    ids = world.ids(500)
    destination.set_properties(rows(ids[:1]))
    world.sandbox.faults.add(Fault("rate_limit", policy="TotalRequests", path="/composite/sobjects", calls=(2, 3)))
    assert outcomes(destination.set_properties(rows(ids))) == [Outcome.WRITTEN] * 200 + [Outcome.UNKNOWN] * 300
    with pytest.raises(QuotaExhausted):
        destination.set_properties(rows(ids[200:]))


def test_what_was_written_is_not_forgotten_over_what_could_not_be_looked_up(world, destination, list_id):
    there, new = world.ids(2)
    destination.change_members(list_id, add=[there])
    destination.change_members(list_id, remove=[there])
    world.sandbox.faults.add(Fault("error", status=400, method="GET", path="/query$"))
    assert outcomes(destination.change_members(list_id, add=[there, new])) == [Outcome.UNKNOWN, Outcome.WRITTEN]
    with pytest.raises(RejectedError):
        destination.change_members(list_id, add=[there])
    world.sandbox.faults.clear()
    assert outcomes(destination.change_members(list_id, add=[there, new])) == [Outcome.WRITTEN, Outcome.UNCHANGED]


def test_too_many_long_calls_are_waited_for(world, destination):
    world.sandbox.faults.add(
        Fault("rate_limit", policy="ConcurrentRequests", path="/composite/sobjects", method="PATCH", times=2)
    )
    assert outcomes(destination.set_properties(rows(world.ids(1)))) == [Outcome.WRITTEN]
    assert world.budget.penalties


def test_refused_for_its_rate_for_ever_means_nothing_was_done(world, destination):
    world.sandbox.faults.add(Fault("rate_limit", policy="ConcurrentRequests", path="/composite/sobjects"))
    with pytest.raises(RetriableError) as caught:
        destination.set_properties(rows(world.ids(1)))
    assert not isinstance(caught.value, OutcomeUnknown)


@pytest.mark.parametrize("faults", ["resets", "errors", "rate_limits", "duplicates", "locks"])
def test_everything_is_written_on_a_bad_day(tmp_path, faults):
    world = SalesforceTarget(tmp_path)
    ids = list(world.ids(600))
    destination = world.destination()
    list_id = destination.ensure_list(STEP, folder=FOLDER).ref
    world.sandbox.faults.add(*faults_named([faults]))
    world.sandbox.switch_on([faults])
    for start in range(0, 600, 20):
        part = ids[start : start + 20]
        assert set(outcomes(destination.change_members(list_id, add=part))) <= {Outcome.WRITTEN, Outcome.UNCHANGED}
        assert set(outcomes(destination.set_properties(rows(part)))) == {Outcome.WRITTEN}
    world.sandbox.faults.clear()
    assert set(members_of(destination, list_id)) == set(ids)
    assert all(world.stored(row_id)[TEXT.name] == "x" for row_id in ids)
    world.stop()


# --- opt-outs, flows, tasks ---


def test_what_the_privacy_record_says_counts_as_opted_out(world, destination):
    first, second = world.ids(2)
    individual = world.insert("Individual", LastName="x", HasOptedOutSolicit=True)
    world.edit([first], IndividualId=individual)
    assert destination.opted_out([first, second]) == {first: True, second: False}
    assert outcomes(destination.opt_out([first])) == [Outcome.WRITTEN]
    assert world.unsubscribed(first)


def test_an_org_without_privacy_records_is_asked_without_them(tmp_path):
    world = SalesforceTarget(tmp_path, contacts=3, behaviour={"individuals": False})
    (person,) = world.ids(1)
    destination = world.destination()
    assert destination.opted_out([person]) == {person: False}
    before = world.calls()
    assert destination.opted_out([person]) == {person: False}
    assert world.calls() - before == 1
    world.stop()


def test_who_opted_out_or_bounced_or_has_no_address_is_not_put_into_a_flow(world, destination):
    workflow = world.workflow()
    first, second, third = world.ids(3)
    world.edit([first], HasOptedOutOfEmail=True)
    world.edit([second], EmailBouncedDate=world.state.clock.now_ms())
    world.edit([third], Email=None)
    receipts = destination.enroll(workflow, [first, second, third])
    assert [receipt.code for receipt in receipts] == ["OPTED_OUT", "BOUNCED", "NO_EMAIL"]
    assert not any(world.started(workflow, person) for person in (first, second, third))


def test_who_left_a_flow_can_be_put_into_it_again(world, destination):
    workflow, (person,) = world.workflow(), world.ids(1)
    destination.enroll(workflow, [person])
    destination.unenroll(workflow, [person])
    assert outcomes(destination.enroll(workflow, [person])) == [Outcome.WRITTEN]
    assert world.started(workflow, person) == 2


def test_an_enrollment_that_ended_before_does_not_count(world, destination):
    workflow, (person,) = world.workflow(), world.ids(1)
    destination.enroll(workflow, [person])
    destination.unenroll(workflow, [person])
    world.pass_time(3_600)
    now = world.clock.now()
    assert destination.enrolled(workflow, [person], since=now) == {person: False}
    assert destination.enrolled(workflow, [person]) == {person: True}
    assert world.stored(person)["winback_enrollment"].startswith(workflow)


def test_an_inactive_flow_is_refused_and_said_so(world, destination):
    workflow = world.make_flow("Sleeping", active=False)
    with pytest.raises(RejectedError, match="not active"):
        destination.enroll(workflow, world.ids(1))
    finding = destination.check_workflow(workflow)
    assert finding.severity is Severity.ERROR and "not active" in finding.message and finding.fix


def test_the_enrollment_field_that_is_not_deployed_is_named(world):
    workflow = world.workflow()
    with world.state.lock:
        world.state.drop_field("Contact", ENROLLMENT)
    with pytest.raises(RejectedError, match=ENROLLMENT) as caught:
        world.destination().enroll(workflow, world.ids(1))
    assert "deploy/salesforce" in caught.value.hint


def test_a_task_is_the_owners_and_what_they_made_of_it_stays(world, destination):
    (person,) = world.ids(1)
    ours = [note("aaaaaaaa", person, "Call soon", task=True)]
    destination.record_feedback(ours)
    (task,) = world.state.stores["Task"].matching("WhoId", person)
    assert task.values["OwnerId"] == world.state.row(person).values["OwnerId"]
    assert task.values[KEY] == "aaaaaaaa" and task.values["ActivityDate"] == "2026-11-20"
    world.edit([task.id], Status="Completed")
    assert outcomes(destination.record_feedback(ours)) == [Outcome.UNCHANGED]
    assert world.state.row(task.id).values["Status"] == "Completed"


def test_without_the_key_on_tasks_notes_are_refused_and_values_go_through(world, destination):
    with world.state.lock:
        world.state.drop_field("Task", KEY)
    (receipt,) = destination.record_feedback([note("aaaaaaaa", world.ids(1)[0])])
    assert receipt.outcome is Outcome.REJECTED and "deploy/salesforce" in (receipt.message or "")
    assert outcomes(destination.set_properties(rows(world.ids(1)))) == [Outcome.WRITTEN]


def test_an_opt_out_box_that_is_hidden_is_named_and_holds_up_nobody(world):
    with world.state.lock:
        world.state.access.hidden.add("Contact.HasOptedOutOfEmail")
        world.state.access.forget()
    destination = world.destination()
    (receipt,) = destination.opt_out(world.ids(1))
    assert receipt.outcome is Outcome.REJECTED and "HasOptedOutOfEmail" in (receipt.message or "")
    assert "Winback_Integration" in (receipt.message or "")
    found = findings(destination)["salesforce Contact opt-outs"]
    assert found.severity is Severity.WARNING and "Email Opt Out" in (found.fix or "")


def test_without_marketing_user_lists_are_refused_by_the_name_of_the_permission(world, destination, list_id):
    with world.state.lock:
        world.state.access.permissions.discard("MarketingUser")
    with pytest.raises(CredentialsError) as caught:
        destination.ensure_list(LIST, folder=FOLDER)
    assert "Marketing User" in caught.value.hint
    with pytest.raises(CredentialsError) as caught:
        destination.change_members(list_id, add=world.ids(3))
    assert "Marketing User" in caught.value.hint
    found = findings(destination)["salesforce Campaign"]
    assert found.severity is Severity.ERROR and found.credentials and "Marketing User" in found.fix
    assert outcomes(destination.set_properties(rows(world.ids(1)))) == [Outcome.WRITTEN]


# --- check ---


def findings(destination):
    return {finding.subject: finding for finding in destination.check()}


def test_checking_changes_nothing(world, destination):
    destination.ensure_list(STEP, folder=FOLDER)
    before = {name: {row.id: row.stamp_ms for row in store} for name, store in world.state.stores.items()}
    list(destination.check())
    assert {name: {row.id: row.stamp_ms for row in store} for name, store in world.state.stores.items()} == before


def test_checking_names_what_was_not_deployed(world):
    world.forget_fields()
    with world.state.lock:
        for kind in ("Contact", "Lead"):
            world.state.drop_field(kind, ENROLLMENT)
        world.state.drop_field("Campaign", KEY)
        world.state.drop_field("Task", KEY)
    found = findings(world.destination())
    assert found["salesforce Campaign"].severity is Severity.ERROR and KEY in found["salesforce Campaign"].message
    assert found["salesforce Contact fields"].severity is Severity.ERROR
    assert "deploy/salesforce" in found["salesforce Contact fields"].fix
    assert found["salesforce tasks"].severity is found["salesforce Contact enrollment"].severity is Severity.WARNING


def test_checking_names_a_field_that_leads_lack(world):
    with world.state.lock:
        world.state.drop_field("Lead", "Winback_Step__c")
    found = findings(world.destination())
    assert found["salesforce Lead fields"].severity is Severity.ERROR
    assert "Winback_Step__c" in found["salesforce Lead fields"].message
    assert found["salesforce Contact fields"].severity is Severity.OK


def test_checking_names_campaigns_that_cannot_say_who_left(world, destination):
    list_id = destination.ensure_list(STEP, folder=FOLDER).ref
    assert "salesforce member statuses" not in findings(destination)
    with world.state.lock:
        for row in world.state.stores["CampaignMemberStatus"].matching("CampaignId", list_id):
            if row.values["Label"] == EXITED:
                world.state.purge(row.id)
    assert STEP in findings(destination)["salesforce member statuses"].message


def test_no_address_and_no_secret_reaches_an_error_or_a_log(world, destination, list_id, caplog):
    caplog.set_level(logging.DEBUG)
    first, second = world.ids(2)
    world.state.rules.poison[first] = Poison("person1@example.com already exists. Existing ID: 7")
    receipts = [*destination.set_properties(rows([first])), *destination.change_members(list_id, add=[first])]
    assert all(one.outcome is Outcome.REJECTED and "<email>" in (one.message or "") for one in receipts)
    assert all("Existing ID: 7" in (one.message or "") for one in receipts)
    destination.opted_out([first, second])
    with pytest.raises(CredentialsError) as caught:
        world.broken().change_members("1", add=["1"])
    for text in (caplog.text, str(caught.value), *(one.message for one in receipts)):
        assert "example.com" not in text and "wrong-secret" not in text


def test_the_forecast_of_what_leaves_and_what_is_there_already(world):
    planner, writer = world.destination(), world.destination()
    list_id = world.destination().ensure_list(STEP, folder=FOLDER).ref
    ids = world.ids(300)
    forecast = planner.forecast(
        Work(
            lists_to_create=0,
            properties_to_ensure=0,
            lists_to_look_up=3,
            member_batches=1,
            member_changes=300,
            property_batches=1,
            property_rows=300,
        )
    )
    before = world.calls()
    writer.lists([LIST, "winback · b", "winback · c"])
    writer.change_members(list_id, add=ids)
    writer.set_properties(rows(ids))
    assert world.calls() - before == forecast
    assert contact(1) in ids

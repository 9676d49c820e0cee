"""Direct enrollment and opt-outs against the sandbox: what the suite cannot know of HubSpot's own ways."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adapters.lookalike.faults import Fault
from connector.errors import CredentialsError, QuotaExhausted, RejectedError, RetriableError
from connector.model import Outcome, Severity
from tests.contract.destination_suite import FOLDER, outcomes
from tests.fakes.hubspot_worlds import HubSpotTarget

ENROLLING = r"/\d+/enrollments/contacts/"
INSTANT = ({"mail": "7001"},)


@pytest.fixture
def world(tmp_path):
    world = HubSpotTarget(tmp_path, contacts=40)
    yield world
    world.stop()


def made(world, method):
    return [entry.path for entry in world.sandbox.log.entries() if entry.method == method]


# --- the workflow ---


def test_a_workflow_is_found_by_either_number_and_by_name(world):
    flow = world.make_workflow(suppress=["1"])
    legacy = world.state.workflows.flows.get(flow).workflow_id
    assert flow != legacy
    findings = [world.destination().check_workflow(ref) for ref in (flow, legacy, "Winback")]
    assert [finding.severity for finding in findings] == [Severity.OK] * 3
    world.make_workflow()
    twice = world.destination().check_workflow("Winback")
    assert twice.severity is Severity.ERROR and "2 workflows named" in twice.message


@pytest.mark.parametrize(
    ("settings", "severity", "words"),
    [
        ({"enabled": False}, Severity.ERROR, "switched off"),
        ({"again": False, "suppress": ["1"]}, Severity.WARNING, "once ever"),
        ({}, Severity.WARNING, "no suppression list"),
        ({"suppress": ["1"]}, Severity.OK, "2027-09-01"),
    ],
)
def test_checking_a_workflow_says_what_would_go_wrong(world, settings, severity, words):
    finding = world.destination().check_workflow(world.make_workflow(**settings))
    assert (finding.severity, words in finding.message) == (severity, True)
    assert finding.fix or severity is Severity.OK


def test_checking_changes_nothing(world):
    world.destination().check_workflow(world.workflow())
    assert world.state.lists.lists == {} and made(world, "PUT") == []


def test_a_token_without_the_scope_is_a_credentials_finding(world):
    world.state.missing_scopes = {"automation"}
    finding = world.destination().check_workflow(world.workflow())
    assert finding.credentials and "automation" in finding.fix
    with pytest.raises(CredentialsError):
        world.destination().enroll(world.workflow(), world.ids(1))


def test_a_workflow_that_is_off_is_refused_before_anybody_is_tried(world):
    flow = world.make_workflow(enabled=False)
    with pytest.raises(RejectedError, match="switched off"):
        world.destination().enroll(flow, world.ids(3))
    assert not [path for path in made(world, "POST") if "enrollments" in path]


# --- whom it may not enroll ---


def test_what_forbids_a_contact_is_read_fresh_and_costs_no_call(world):
    flow, never = world.make_workflow(suppress=["1"]), None
    never = world.destination().ensure_list("winback · suppress", folder=FOLDER).ref
    assert never == "1"
    out, bounced, nameless, suppressed, fine = world.ids(5)
    address = world.stored(out)["email"]
    world.state.preferences.unsubscribe_all(address, source="API", now_ms=world.state.settle())
    edit(world, bounced, hs_email_hard_bounce_reason_enum="UNKNOWN_USER")
    edit(world, nameless, email="")
    world.destination().change_members(never, add=[suppressed])
    receipts = world.destination().enroll(flow, [out, bounced, nameless, suppressed, fine])
    assert [receipt.code for receipt in receipts] == ["OPTED_OUT", "BOUNCED", "NO_EMAIL", "SUPPRESSED", None]
    assert outcomes(receipts) == [Outcome.REJECTED] * 4 + [Outcome.WRITTEN]
    assert len([path for path in made(world, "POST") if "/enrollments/contacts/" in path]) == 1
    assert all("@" not in (receipt.message or "") for receipt in receipts)


def edit(world, row_id, **values):
    from dataclasses import replace

    record = world.state.contacts.live[row_id]
    properties = {name: value for name, value in {**record.properties, **values}.items() if value}
    world.state.contacts.put(replace(record, properties=properties), now_ms=world.state.settle())


def test_a_workflow_that_takes_nobody_twice_says_so(world):
    flow, ids = world.make_workflow(*INSTANT, again=False), world.ids(1)
    assert outcomes(world.destination().enroll(flow, ids)) == [Outcome.WRITTEN]
    receipts = world.destination().enroll(flow, ids)
    assert [receipt.code for receipt in receipts] == ["NO_REENROLLMENT"]
    assert world.started(flow, ids[0]) == 1


def test_a_new_episode_enrolls_again_where_the_workflow_allows_it(world):
    flow, ids = world.make_workflow(*INSTANT), world.ids(1)
    for _ in range(2):
        assert outcomes(world.destination().enroll(flow, ids)) == [Outcome.WRITTEN]
        world.pass_time(86_400)
    assert world.started(flow, ids[0]) == 2


def test_addresses_with_signs_of_their_own_arrive_as_they_are(world):
    flow, ids = world.workflow(), world.ids(1)
    edit(world, ids[0], email="first+tag/slash'quote@example.com")
    assert outcomes(world.destination().enroll(flow, ids)) == [Outcome.WRITTEN]
    assert world.inside(flow, ids[0])
    assert outcomes(world.destination().opt_out(ids)) == [Outcome.WRITTEN]
    assert world.unsubscribed(ids[0])


def test_the_address_is_read_at_the_moment_of_enrolling(world):
    flow, (row_id,) = world.workflow(), world.ids(1)
    destination = world.destination()
    destination.check_workflow(flow)
    edit(world, row_id, email="moved@example.com")
    assert outcomes(destination.enroll(flow, [row_id])) == [Outcome.WRITTEN]
    assert world.inside(flow, row_id)


# --- answers that never come ---


def test_an_instant_workflow_is_not_started_twice_when_an_answer_is_lost(world):
    flow, ids = world.make_workflow(*INSTANT), world.ids(2)
    destination = world.destination()
    world.sandbox.faults.add(Fault("reset", method="POST", path=ENROLLING, when="after", times=1))
    receipts = destination.enroll(flow, ids)
    assert outcomes(receipts) == [Outcome.UNKNOWN, Outcome.WRITTEN]
    assert outcomes(destination.enroll(flow, ids[:1])) == [Outcome.UNKNOWN]
    assert world.started(flow, ids[0]) == 1
    assert world.destination().enrolled(flow, ids) == dict.fromkeys(ids, True)


def test_what_is_not_seen_yet_is_not_taken_for_undone(world):
    flow, ids = world.make_workflow(*INSTANT), world.ids(2)
    world.destination().enroll(flow, world.ids(3)[2:])
    since = world.clock.now()
    with pytest.raises(RetriableError, match="2 contacts are not seen"):
        world.destination().enrolled(flow, ids, since=since)
    world.pass_time(11 * 60)
    assert world.destination().enrolled(flow, ids, since=since) == dict.fromkeys(ids, False)


def test_a_lost_request_is_looked_for_until_it_can_be_said_that_it_never_arrived(world):
    flow, ids = world.make_workflow(*INSTANT), world.ids(1)
    destination = world.destination()
    world.sandbox.faults.add(Fault("reset", method="POST", path=ENROLLING, when="before", times=1))
    assert outcomes(destination.enroll(flow, ids)) == [Outcome.UNKNOWN]
    with pytest.raises(RetriableError, match="not seen"):
        destination.enrolled(flow, ids)
    world.pass_time(11 * 60)
    assert destination.enrolled(flow, ids) == {ids[0]: False}
    assert outcomes(destination.enroll(flow, ids)) == [Outcome.WRITTEN]
    assert world.started(flow, ids[0]) == 1


def test_nobody_is_still_in_a_workflow_that_is_gone(world):
    ids = world.ids(1)
    assert world.destination().enrolled("987654", [*ids, world.unknown_id()], still=True) == {ids[0]: False}


def test_an_enrollment_of_an_earlier_episode_does_not_count_where_it_cannot_be_repeated(world):
    ids = world.ids(1)
    once, often = world.make_workflow(*INSTANT, again=False), world.make_workflow(*INSTANT, name="Often")
    for flow in (once, often):
        world.destination().enroll(flow, ids)
    world.pass_time(86_400)
    since = world.clock.now() - timedelta(hours=1)
    destination = world.destination()
    assert destination.enrolled(once, ids, since=since) == {ids[0]: False}
    # It may have been started again since: nobody can tell, so it is not started once more.
    assert destination.enrolled(often, ids, since=since) == {ids[0]: True}
    assert "taken for granted" in destination._connection.reporter.lines[-1]


def test_what_stops_a_batch_is_raised_before_the_first_and_unknown_after_it(world):
    flow, ids = world.workflow(), world.ids(3)
    destination = world.destination()
    spent = {"kind": "rate_limit", "policy": "DAILY", "method": "POST", "path": ENROLLING}
    world.sandbox.faults.add(Fault(**spent, calls=[2]))
    receipts = destination.enroll(flow, ids)
    assert outcomes(receipts) == [Outcome.WRITTEN, Outcome.UNKNOWN, Outcome.UNKNOWN]
    assert [receipt.code for receipt in receipts] == [None, "NOT_TRIED", "NOT_TRIED"]
    world.sandbox.faults.clear()
    world.sandbox.faults.add(Fault(**spent, times=1))
    with pytest.raises(QuotaExhausted):
        destination.enroll(flow, ids[1:])
    assert outcomes(destination.enroll(flow, ids)) == [Outcome.UNCHANGED, Outcome.WRITTEN, Outcome.WRITTEN]


def test_one_contact_at_a_time_keeps_to_the_rate(world):
    flow, ids = world.make_workflow(*INSTANT), world.ids(30)
    before = world.budget.calls()
    world.destination().enroll(flow, ids)
    assert world.budget.calls() - before == world.sandbox.log.total
    assert world.budget.calls() - before == 30 + 2 + 3 + 3  # each; two reads; the workflow; its roster and the folder


# --- the roster ---


def test_the_roster_is_made_once_in_our_folder_and_holds_who_has_been_in(world):
    flow, ids = world.workflow(), world.ids(2)
    world.sandbox.faults.add(Fault("reset", method="POST", path="/lists/[^/]+$", when="after", times=1))
    world.destination().enroll(flow, ids)
    world.destination().unenroll(flow, ids[:1])
    world.destination().enroll(flow, ids[:1])
    rosters = [held for held in world.state.lists.lists.values() if held.processing_type == "DYNAMIC"]
    assert [held.name for held in rosters] == [f"winback · enrolled in workflow {flow}"]
    assert world.state.lists.folders[rosters[0].folder].name == FOLDER
    assert set(rosters[0].members) == set(ids)


def test_leaving_a_workflow_that_is_gone_changes_nothing(world):
    assert outcomes(world.destination().unenroll("987654", world.ids(2))) == [Outcome.UNCHANGED] * 2


@pytest.mark.parametrize("status", [404, 204])
def test_taking_out_a_stranger_is_no_error_whatever_hubspot_says(world, status):
    world.state.behave({"unenroll_stranger": status})
    receipts = world.destination().unenroll(world.workflow(), world.ids(1))
    assert outcomes(receipts) == [Outcome.UNCHANGED if status == 404 else Outcome.WRITTEN]


# --- opt-outs ---


def test_every_address_of_a_contact_is_opted_out_and_nobody_is_ever_subscribed(world):
    (row_id,) = world.ids(1)
    edit(world, row_id, hs_additional_emails="old@example.com;older@example.com")
    destination = world.destination()
    assert outcomes(destination.opt_out([row_id])) == [Outcome.WRITTEN]
    assert all(world.state.preferences.is_out(a) for a in ("old@example.com", "older@example.com"))
    assert not [path for path in made(world, "POST") if path.startswith("/communication") and "unsubscribe" not in path]
    assert outcomes(destination.opt_out([row_id])) == [Outcome.UNCHANGED]


def test_an_opt_out_without_an_address_has_nothing_to_reach(world):
    (row_id,) = world.ids(1)
    edit(world, row_id, email="")
    assert outcomes(world.destination().opt_out([row_id])) == [Outcome.UNCHANGED]
    assert world.destination().opted_out([row_id]) == {row_id: False}


def test_check_says_when_opt_outs_cannot_be_written(world):
    def finding():
        return next(f for f in world.destination().check() if f.subject == "hubspot opt-outs")

    assert finding().severity is Severity.OK
    for scope in ("communication_preferences.read", "communication_preferences.write"):
        world.state.missing_scopes = {scope}
        assert finding().severity is Severity.WARNING and scope in finding().fix
        with pytest.raises(CredentialsError):
            world.destination().opt_out(world.ids(2)) if "write" in scope else world.destination().opted_out(
                world.ids(2)
            )


def test_no_address_is_in_any_error_receipt_or_line(world):
    flow, ids = world.workflow(), world.ids(4)
    destination = world.destination()
    world.sandbox.faults.add(Fault("error", status=500, method="POST", path=ENROLLING, times=20))
    receipts = destination.enroll(flow, ids)
    world.sandbox.faults.clear()
    world.sandbox.faults.add(Fault("error", status=500, method="POST", path="unsubscribe-all", times=40))
    receipts += destination.opt_out(ids)
    said = [receipt.message or "" for receipt in receipts] + destination._connection.reporter.lines
    assert any(said) and not any("@" in text or "%40" in text for text in said)

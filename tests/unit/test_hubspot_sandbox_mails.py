"""Mails, what people do with them, and communication preferences of the sandbox."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adapters.hubspot.sandbox.authoring import workflow
from connector.model import Contact
from tests.fakes.hubspot_sandbox import people, running

PREFERENCES = "/communication-preferences/2026-09"
FLOWS = "/automation/v4/flows"


@pytest.fixture
def world():
    with running(30) as (sandbox, api):
        sandbox.state.clock.freeze(datetime(2027, 3, 2, 9, tzinfo=UTC))
        yield sandbox, api


def mail_to(api, *ids):
    made = api.control(
        "workflows", {"name": f"Mail {len(api.get(FLOWS).json()['results'])}", "steps": [{"mail": "Hello"}]}
    )
    api.control("workflows/members", {"workflow": made["flow_id"], "add": list(ids)})


def read(api, record_id, *names):
    answer = api.get(api.contacts(f"/{record_id}?properties={','.join((*names, 'lastmodifieddate'))}"))
    return answer.json()["properties"]


def do(api, record_id, what, **more):
    return api.control("people", {"contact": record_id, "what": what, **more})


@pytest.mark.parametrize(
    ("what", "counter", "last"),
    [
        ("open", "hs_email_open", "hs_email_last_open_date"),
        ("click", "hs_email_click", "hs_email_last_click_date"),
        ("reply", "hs_email_replied", "hs_email_last_reply_date"),
    ],
)
def test_what_people_do_with_a_mail_is_in_their_properties(world, what, counter, last):
    sandbox, api = world
    mail_to(api, "1")
    first = last.replace("last", "first")
    sent = read(api, "1", "hs_email_delivered", "hs_email_last_send_date", "hs_email_last_email_name")
    assert (sent["hs_email_delivered"], sent["hs_email_last_email_name"]) == ("1", "Hello")
    assert sent["hs_email_last_send_date"] == sent["lastmodifieddate"] == "2027-03-02T09:00:00Z"
    for _ in range(2):
        sandbox.advance(3600)
        do(api, "1", what)
    held = read(api, "1", counter, last, first, "hs_email_sends_since_last_engagement")
    assert (held[counter], held[first], held[last]) == ("2", "2027-03-02T10:00:00Z", "2027-03-02T11:00:00Z")
    assert (held["lastmodifieddate"], held["hs_email_sends_since_last_engagement"]) == (held[last], "0")
    mail = api.get("/_sandbox/mails?contact=1").json()["mails"][0]
    assert [event["what"] for event in mail["events"]] == [what, what]


def test_visits_and_talks_are_in_their_properties_without_a_mail(world):
    _, api = world
    do(api, "1", "visit")
    do(api, "1", "contacted")
    held = read(api, "1", "hs_analytics_last_visit_timestamp", "notes_last_contacted")
    assert held["hs_analytics_last_visit_timestamp"] == held["notes_last_contacted"] == "2027-03-02T09:00:00Z"


@pytest.mark.parametrize(
    ("what", "result"),
    [
        ("unsubscribe", "PREVIOUSLY_UNSUBSCRIBED_PORTAL"),
        ("complain", "PREVIOUSLY_UNSUBSCRIBED_PORTAL"),
        ("bounce", "PREVIOUSLY_BOUNCED"),
    ],
)
def test_nobody_is_mailed_after_saying_no_or_bouncing(world, what, result):
    _, api = world
    mail_to(api, "1")
    do(api, "1", what)
    mail_to(api, "1")
    assert [mail["result"] for mail in api.get("/_sandbox/mails?contact=1").json()["mails"]] == [result, "SENT"]
    held = read(api, "1", "hs_email_optout", "hs_email_hard_bounce_reason_enum", "hs_email_delivered")
    assert held["hs_email_delivered"] == "1"
    assert (held["hs_email_optout"] == "true") is (what != "bounce")
    assert (held["hs_email_hard_bounce_reason_enum"] is not None) is (what == "bounce")


def test_contacts_that_are_not_marketing_contacts_are_passed_over_in_silence(world):
    sandbox, api = world
    sandbox.seed([Contact("hubspot:1", can_email=False)], [])
    mail_to(api, "1")
    assert [mail["result"] for mail in api.get("/_sandbox/mails").json()["mails"]] == ["NON_MARKETABLE_CONTACT"]


def test_a_mail_keeps_what_it_merged(world):
    _, api = world
    api.make_segment_property()
    api.update({"1": {"winback_segment": "cold"}})
    mail_to(api, "1")
    api.update({"1": {"winback_segment": ""}})
    assert api.get("/_sandbox/mails").json()["mails"][0]["values"] == {"winback_segment": "cold"}


def test_nobody_opens_a_mail_they_did_not_get(world):
    _, api = world
    answer = api.post("/_sandbox/people", {"contact": "1", "what": "open"})
    assert (answer.status_code, "got no mail" in answer.text) == (400, True)
    assert api.post("/_sandbox/people", {"contact": "1", "what": "dance"}).status_code == 400


# --- preferences ---


def wide(api, email):
    return api.get(f"{PREFERENCES}/statuses/{email}/unsubscribe-all?channel=EMAIL").json()["results"]


def unsubscribe(api, email):
    return api.post(f"{PREFERENCES}/statuses/{email}/unsubscribe-all?channel=EMAIL")


def test_unsubscribing_an_address_marks_the_contact_that_has_it(world):
    _, api = world
    assert wide(api, "person1@acme.example") == []
    first = unsubscribe(api, "Person1@acme.example").json()["results"]
    assert {entry["setStatusSuccessReason"] for entry in first} == {"UNSUBSCRIBE_FROM_ALL_OCCURRED"}
    assert unsubscribe(api, "person1@acme.example").json()["results"] == []
    assert [entry["status"] for entry in wide(api, "person1@acme.example")] == ["UNSUBSCRIBED"]
    held = read(api, "1", "hs_email_optout")
    assert (held["hs_email_optout"], held["lastmodifieddate"]) == ("true", "2027-03-02T09:00:00Z")
    refused = api.update({"1": {"hs_email_optout": "false"}}).json()
    assert "read only" in str(refused)


def test_a_choice_belongs_to_the_address_and_outlives_the_contact(world):
    sandbox, api = world
    unsubscribe(api, "person1@acme.example")
    api.control("contacts/delete", {"ids": ["1"], "for_good": True})
    made = api.post(api.contacts(), {"properties": {"email": "PERSON1@acme.example"}}).json()["id"]
    assert read(api, made, "hs_email_optout")["hs_email_optout"] == "true"
    unsubscribe(api, "person2@acme.example")
    sandbox.seed(people(30), [])
    assert read(api, "2", "hs_email_optout")["hs_email_optout"] == "true"


def test_what_the_account_knew_before_counts_as_unsubscribed(world):
    _, api = world
    assert [entry["status"] for entry in wide(api, "person10@acme.example")] == ["UNSUBSCRIBED"]


def test_one_kind_of_mail_can_be_left_and_taken_again(world):
    _, api = world
    path = f"{PREFERENCES}/statuses/person1@acme.example"
    names = [entry["name"] for entry in api.get(f"{PREFERENCES}/definitions").json()["results"]]
    assert names == ["Marketing information", "Product updates"]

    def choose(state):
        body = {"subscriptionId": 1002, "statusState": state, "channel": "EMAIL"}
        return api.post(path, body).json()["results"][0]["setStatusSuccessReason"]

    assert choose("UNSUBSCRIBED") == "REQUESTED_CHANGE_OCCURRED"
    assert choose("UNSUBSCRIBED") == "NO_STATUS_CHANGE"
    statuses = {
        entry["subscriptionId"]: entry["status"] for entry in api.get(f"{path}?channel=EMAIL").json()["results"]
    }
    assert statuses == {1001: "NOT_SPECIFIED", 1002: "UNSUBSCRIBED"}
    assert read(api, "1", "hs_email_optout_1002", "hs_email_optout")["hs_email_optout_1002"] == "true"
    assert choose("SUBSCRIBED") == "RESUBSCRIBE_OCCURRED"


def test_batches_of_preferences_need_a_scope_of_their_own(world):
    sandbox, api = world
    sandbox.state.missing_scopes = {"communication_preferences.statuses.batch.write"}
    path = f"{PREFERENCES}/statuses/batch/unsubscribe-all?channel=EMAIL"
    assert api.post(path, {"inputs": ["person1@acme.example"]}).status_code == 403
    sandbox.state.missing_scopes = set()
    assert api.post(path, {"inputs": ["person1@acme.example"]}).status_code == 200
    assert api.post(f"{PREFERENCES}/statuses/batch/unsubscribe-all", {"inputs": []}).status_code == 400
    found = api.post(
        f"{PREFERENCES}/statuses/batch/unsubscribe-all/read?channel=EMAIL",
        {"inputs": ["person1@acme.example", "person2@acme.example"]},
    ).json()["results"]
    assert [bool(entry["wideStatuses"]) for entry in found] == [True, False]


# --- the control API ---


def test_workflows_are_made_by_name_and_looked_into(world):
    sandbox, api = world
    api.make_list("winback · reminder")
    api.make_list("never")
    made = api.control(
        "workflows",
        {
            "name": "Winback",
            "list": "winback · reminder",
            "suppress": ["never"],
            "steps": [{"wait_days": 6}, {"mail": "Offer"}, {"remove_from": "winback · reminder"}],
        },
    )
    assert (made["enabled"], made["active"]) == (True, 0)
    api.control("members", {"list": "winback · reminder", "add": ["1", "2"]})
    assert api.get("/_sandbox/workflows").json()["workflows"][0]["at_step"] == {"1": 2}
    api.control("workflows/members", {"workflow": "Winback", "remove": ["2"]})
    sandbox.advance(6 * 86_400)
    done = api.get("/_sandbox/workflows").json()["workflows"][0]
    assert done["ended"] == {"hand": 1, "completed": 1} and done["active"] == 0
    assert [mail["name"] for mail in api.get("/_sandbox/mails").json()["mails"]] == ["Offer"]
    assert api.post("/_sandbox/workflows", {"name": "x", "list": "no such"}).status_code == 400
    assert api.post("/_sandbox/workflows", {"name": "x", "steps": [{"dance": 1}]}).status_code == 400
    assert api.get("/_sandbox/state").json()["workflows"] == {"Winback": 0}


def test_resetting_forgets_workflows_mails_and_choices(world):
    _, api = world
    api.post(FLOWS, workflow("Winback", []))
    mail_to(api, "1")
    unsubscribe(api, "person1@acme.example")
    api.control("reset")
    assert api.get(FLOWS).json()["results"] == [] and api.get("/_sandbox/mails").json()["total"] == 0
    assert wide(api, "person1@acme.example") == []

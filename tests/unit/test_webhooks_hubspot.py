"""HubSpot's events and workflow calls, in our own words."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connector.errors import MalformedPayload, SettingError
from connector.heard import MailEvent, RecordChanged, RecordGone, Who
from connector.receivers import Event
from tests.fakes.incoming import BASE_URL, NOW, incoming
from tests.fakes.vendor_deliveries import VENDORS, body_of
from webhooks import signatures
from webhooks.hubspot import answer

HUBSPOT = VENDORS["hubspot"]
ACTION_URL = f"{BASE_URL}/triggers/hubspot/evaluate"
TRIGGERS = HUBSPOT.receiver.triggers


def change(**fields) -> dict:
    return {
        "eventId": 1,
        "subscriptionId": 2,
        "portalId": 33,
        "appId": 1160452,
        "occurredAt": 1_793_527_200_000,
        "subscriptionType": "contact.propertyChange",
        "attemptNumber": 0,
        "objectId": 123,
        "changeSource": "CRM_UI",
        "propertyName": "hs_email_optout",
        "propertyValue": "true",
    } | fields


def delivery(*changes: dict, **options):
    vendor = HUBSPOT.with_options(**options)
    return vendor, vendor.delivery(json.dumps(changes).encode())


def heard(*changes: dict, **options) -> list:
    vendor, request = delivery(*changes, **options)
    return vendor.heard(request)


def test_changes_of_properties_mean_what_they_say():
    who = [Who(record=f"hubspot:{number}") for number in (123, 124, 125, 127)]
    assert HUBSPOT.heard(HUBSPOT.fixture("property_changes.json")) == [
        MailEvent(
            who=who[0],
            at=NOW,
            kind="unsubscribe",
            event_id="33:contact.propertyChange:123:hs_email_optout:3816279340:1793527200000",
            evidence={"property": "hs_email_optout", "value": "true"},
        ),
        MailEvent(
            who=who[1],
            at=NOW + timedelta(seconds=1),
            kind="bounce",
            event_id="33:object.propertyChange:124:hs_email_hard_bounce_reason_enum:3816279341:1793527201000",
            evidence={"property": "hs_email_hard_bounce_reason_enum", "value": "set"},
        ),
        MailEvent(who=who[2], at=NOW - timedelta(seconds=5), kind="reply", event_id="125:reply:2026-11-01T09:59"),
        RecordChanged(who=who[3], at=NOW + timedelta(seconds=4), name="lifecyclestage", value="customer"),
    ]


def test_a_moment_heard_here_has_the_id_that_reading_the_contact_gives_it():
    pytest.importorskip("pyarrow")
    from adapters.hubspot.mail_moments import mail_events

    told = heard(change(objectId=125, propertyName="hs_email_last_reply_date", propertyValue="1793527195000"))
    read = mail_events([{"hs_object_id": "125", "hs_email_last_reply_date": "1793527195000"}])
    assert told[0].event_id in read.column("event_id").to_pylist()


def test_who_is_gone_is_told_by_how_and_where_to():
    gone = HUBSPOT.heard(HUBSPOT.fixture("gone.json"))
    assert [(one.who.record, one.how, one.into) for one in gone] == [
        ("hubspot:123", "deleted", None),
        ("hubspot:123", "erased", None),
        ("hubspot:202", "merged", "hubspot:200"),
        ("hubspot:203", "merged", "hubspot:200"),
        ("hubspot:201", "merged", "hubspot:200"),
        ("hubspot:300", "deleted", None),
    ]
    assert all(isinstance(one, RecordGone) for one in gone)


def test_the_record_that_survives_a_merge_is_not_gone():
    merge = change(subscriptionType="contact.merge", primaryObjectId=7, mergedObjectIds=[8], newObjectId=7)
    assert [(one.who.record, one.into) for one in heard(merge)] == [("hubspot:8", "hubspot:7")]


def test_unwanted_events_are_counted_by_why():
    parsed = HUBSPOT.receiver.parse(HUBSPOT.options, HUBSPOT.fixture("unwanted.json"))
    assert not parsed.events
    assert parsed.ignored == {
        "creation": 1,
        "not a contact": 2,
        "unknown type": 2,
        "another account": 1,
        "associationChange": 1,
    }


def test_what_we_wrote_ourselves_is_no_news_once_our_app_is_known():
    ours = change(propertyName="winback_segment", propertyValue="x", changeSource="INTEGRATION", sourceId="1160452")
    vendor, request = delivery(ours)
    assert vendor.receiver.parse(vendor.options, request).ignored == {"our own write": 1}
    assert len(heard(ours, app_id=None)) == 1
    assert len(heard(ours | {"sourceId": "999"})) == 1
    assert len(heard(ours | {"changeSource": "CRM_UI"})) == 1


def test_a_deletion_by_ourselves_is_a_deletion():
    ours = change(subscriptionType="contact.deletion", changeSource="INTEGRATION", sourceId="1160452")
    assert [one.how for one in heard(ours)] == ["deleted"]


def test_the_number_of_the_try_changes_no_key_and_everything_else_does():
    _, request = delivery(change(attemptNumber=0), change(attemptNumber=9))
    keys = {event.key for event in HUBSPOT.events(request)}
    assert len(keys) == 1
    others = [
        change(eventId=9),
        change(occurredAt=1_793_527_200_001),
        change(objectId=9),
        change(propertyName="email"),
        change(subscriptionType="object.propertyChange", objectTypeId="0-1"),
    ]
    _, request = delivery(*others)
    assert len(keys | {event.key for event in HUBSPOT.events(request)}) == 6


@pytest.mark.parametrize("value", ["", "false", "FALSE", "0", " no ", None])
def test_a_flag_that_is_taken_back_is_only_a_hint(value):
    for name in ("hs_email_optout", "hs_email_optout_42", "hs_email_bad_address", "hs_email_hard_bounce_reason"):
        assert isinstance(heard(change(propertyName=name, propertyValue=value))[0], RecordChanged)


@pytest.mark.parametrize("name", ["hs_email_bad_address", "hs_email_quarantined", "hs_email_hard_bounce_reason"])
def test_what_the_mapping_takes_for_a_bounce_is_one(name):
    assert heard(change(propertyName=name, propertyValue="true"))[0].kind == "bounce"


def test_opting_out_of_one_type_counts_unless_the_playbook_names_others():
    one = change(propertyName="hs_email_optout_42")
    assert heard(one)[0].kind == "unsubscribe"
    assert heard(one, subscription_types=[42, 43])[0].kind == "unsubscribe"
    assert isinstance(heard(one, subscription_types=[43])[0], RecordChanged)


@pytest.mark.parametrize("value", ["soon", "9" * 400, "1893527195000", "0001-01-01T00:00:00"])
def test_a_moment_that_cannot_be_is_that_of_its_change(value):
    told = heard(change(propertyName="hs_sales_email_last_replied", propertyValue=value))[0]
    assert (told.kind, told.at) == ("reply", NOW)


def test_a_sensitive_value_or_an_address_is_not_even_kept():
    _, request = delivery(
        change(propertyName="diagnosis", propertyValue="a canary", isSensitive=True),
        change(propertyName="email", propertyValue="canary@example.com"),
    )
    assert "canary" not in repr(HUBSPOT.events(request))
    assert [one.value for one in HUBSPOT.heard(request)] == [None, None]


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"null",
        b"[1]",
        b"[[]]",
        b"[{}]",
        b"[null]",
        b"",
        b"\xff",
        b"[" * 5_000,
        json.dumps([change()] * 101).encode(),
        json.dumps([change(occurredAt=10**15)]).encode(),
        json.dumps([change(occurredAt=10**30)]).encode(),
        json.dumps([change(occurredAt="2026")]).encode(),
        json.dumps([change(objectId=True)]).encode(),
        json.dumps([change(propertyName=None)]).encode(),
        json.dumps([change(subscriptionType=7)]).encode().replace(b"7", b"{}"),
    ],
)
def test_what_hubspot_never_sends_is_malformed(body):
    with pytest.raises(MalformedPayload):
        HUBSPOT.events(incoming(body))


def test_a_hundred_events_are_taken():
    vendor, request = delivery(*[change(objectId=number) for number in range(1, 101)])
    assert len(vendor.events(request)) == 100


def test_an_event_of_a_type_that_means_nothing_any_more_means_nothing():
    event = Event(key="k", kind="contact.creation", payload=change(subscriptionType="contact.creation"), at=NOW)
    assert HUBSPOT.receiver.understand(HUBSPOT.options, event) == ()


def test_a_first_version_signature_is_taken_only_where_the_playbook_allows_it():
    body = json.dumps([change()]).encode()
    headers = {
        "X-HubSpot-Signature": signatures.hubspot_v1("winback-test-client-secret-0001", body),
        "X-HubSpot-Signature-Version": "v1",
    }
    request = incoming(body, headers, url=HUBSPOT.url)
    assert not HUBSPOT.receiver.verify(HUBSPOT.options, request).ok
    allowed = HUBSPOT.with_options(allow_legacy_v1=True)
    assert allowed.receiver.verify(allowed.options, request).ok
    assert not TRIGGERS.verify(allowed.options, request).ok


# Workflow actions.


def action_request(body: bytes, version: str = "v3"):
    secret = "winback-test-client-secret-0001"
    headers = (
        signatures.sign_hubspot(secret, "POST", ACTION_URL, body, NOW)
        if version == "v3"
        else {
            "X-HubSpot-Signature": signatures.hubspot_v2(secret, "POST", ACTION_URL, body),
            "X-HubSpot-Signature-Version": "v2",
        }
    )
    return incoming(body, headers, url=ACTION_URL)


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_a_workflow_action_is_believed_by_either_version(version):
    request = action_request(body_of("hubspot", "workflow_action.json"), version)
    assert TRIGGERS.verify(HUBSPOT.options, request).ok
    assert not TRIGGERS.verify(HUBSPOT.options, replace(request, url=ACTION_URL.replace("evaluate", "enroll"))).ok


def test_a_second_version_signature_is_not_taken_for_events():
    request = action_request(b"[]", "v2")
    assert not HUBSPOT.receiver.verify(HUBSPOT.options, request).ok


def test_a_workflow_action_says_who_what_and_where_the_answer_goes():
    call = TRIGGERS.parse(HUBSPOT.options, "snooze", action_request(body_of("hubspot", "workflow_action.json")))
    assert call.key == "33:ap-33-56776413549-7-0"
    assert call.callback == "ap-33-56776413549-7-0"
    assert call.action == "snooze"
    assert call.who == Who(record="hubspot:904", email="ada@example.com")
    assert call.inputs == {"program": "win-back", "days": "30", "flag": "true"}


@pytest.mark.parametrize(
    ("action", "changes"),
    [
        ("delete", {}),
        ("evaluate", {"origin": {"portalId": 44}}),
        ("evaluate", {"origin": None}),
        ("evaluate", {"object": {"objectId": 1, "objectType": "COMPANY"}}),
        ("evaluate", {"object": {"objectId": "x"}}),
        ("evaluate", {"callbackId": ""}),
        ("evaluate", {"callbackId": "a b"}),
        ("evaluate", {"inputFields": []}),
    ],
)
def test_a_call_that_is_not_ours_to_answer_is_malformed(action, changes):
    body = json.loads(body_of("hubspot", "workflow_action.json")) | changes
    with pytest.raises(MalformedPayload):
        TRIGGERS.parse(HUBSPOT.options, action, incoming(json.dumps(body)))


def test_an_answer_carries_its_fields_and_lets_the_workflow_go_on():
    reply = answer({"segment": "dormant_60", "reason": "é"}, None)
    assert reply.status == 200 and reply.content_type == "application/json"
    assert json.loads(reply.body) == {
        "outputFields": {"segment": "dormant_60", "reason": "é", "hs_execution_state": "SUCCESS"}
    }


@pytest.mark.parametrize(
    ("waits", "written"),
    [
        (timedelta(hours=1), "PT1H"),
        (timedelta(days=8, minutes=5), "P8DT5M"),
        (timedelta(days=7), "P7D"),
        (timedelta(seconds=90), "PT1M30S"),
        (timedelta(0), "PT1S"),
    ],
)
def test_a_workflow_that_waits_is_told_for_how_long(waits, written):
    fields = json.loads(answer({}, waits).body)["outputFields"]
    assert fields == {"hs_execution_state": "BLOCK", "hs_expiration_duration": written}


def test_samples_are_what_the_receiver_takes():
    body = TRIGGERS.sample(HUBSPOT.options, "snooze", NOW)
    headers = TRIGGERS.sign(HUBSPOT.options, "POST", ACTION_URL, body, NOW)
    request = incoming(body, headers, url=ACTION_URL)
    assert TRIGGERS.verify(HUBSPOT.options, request).ok
    assert TRIGGERS.parse(HUBSPOT.options, "snooze", request).inputs == {"days": "30"}


def test_without_a_secret_nothing_can_be_signed_and_the_message_says_where_to_put_one():
    bare = HUBSPOT.with_options(client_secret="")
    with pytest.raises(SettingError) as caught:
        bare.receiver.sign(bare.options, "POST", bare.url, b"[]", datetime(2026, 1, 1, tzinfo=UTC))
    assert "webhooks.sources" in caught.value.hint

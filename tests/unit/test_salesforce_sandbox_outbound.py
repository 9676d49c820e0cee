"""What the sandbox sends: outbound messages as the vendor's, read by our receiver, and call-outs of flows."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta

import pytest

from adapters.salesforce.ids import record_id
from adapters.salesforce.sandbox.outbound import MOST_NOTIFICATIONS
from connector.heard import MailEvent, RecordChanged
from tests.fakes.incoming import incoming
from tests.fakes.salesforce_org import Ear, contacts, running
from webhooks.salesforce import RECEIVER, SalesforceOptions, answer

HOUR = 3_600
SECRET = "a-secret-of-sixteen-or-more"
FIELDS = ["Email", "HasOptedOutOfEmail", "EmailBouncedDate", "Title", "LastModifiedDate", "LastModifiedById"]


@pytest.fixture
def ear():
    made = Ear()
    yield made
    made.stop()


@pytest.fixture
def org(ear):
    with running(250) as held:
        held.ear = ear
        yield held


def options(org):
    return SalesforceOptions(
        org_id=org.state.org_id, token=[SECRET], secret=[SECRET], integration_user=org.state.integration_user
    )


def listen(org, **settings):
    body = {"name": "Winback_Notify", "object": "Contact", "url": org.ear.url, "fields": FIELDS, **settings}
    return org.control("outbound", body)


def edit(org, *people, **values):
    for person in people:
        org.control("records/edit", {"id": person, "values": values})


def read(org, place=0):
    """What our receiver makes of a message."""
    _, headers, body = org.ear.heard[place]
    now = org.state.clock.now()
    parsed = RECEIVER.parse(options(org), incoming(body.decode(), headers, url=org.ear.url, token=SECRET, now=now))
    return parsed, [heard for event in parsed.events for heard in RECEIVER.understand(options(org), event)]


# --- outbound messages ---


def test_a_change_is_told_in_soap_that_our_receiver_understands(org):
    listen(org, watches=["HasOptedOutOfEmail"])
    edit(org, *contacts(1), HasOptedOutOfEmail=True)
    org.sandbox.sending.send_due()
    (_, headers, body) = org.ear.heard[0]
    assert headers["SOAPAction"] == '""' and headers["Content-Type"].startswith("text/xml")
    assert b'<SessionId xsi:nil="true"/>' in body and b"EmailBouncedDate" not in body  # null is left out
    parsed, heard = read(org)
    assert [event.key[:3] for event in parsed.events] == ["04l"] and parsed.ignored == {}
    (opted_out,) = [one for one in heard if isinstance(one, MailEvent)]
    assert opted_out.kind == "unsubscribe" and opted_out.who.record == f"salesforce:{contacts(1)[0]}"


def test_only_a_change_of_a_watched_field_is_told_and_a_deletion_is_not(org):
    listen(org, watches=["Title"])
    edit(org, *contacts(1), Department="Sales")
    org.control("records/delete", {"ids": contacts(2)})
    org.control("records/restore", {"ids": contacts(2)})
    assert org.sandbox.sending.send_due() == 0 and org.sandbox.outbound.waiting == []
    org.control("records", {"object": "Contact", "records": [{"LastName": "New"}]})
    org.sandbox.sending.send_due()
    assert len(org.ear.heard) == 1


def test_at_most_a_hundred_travel_together(org):
    listen(org)
    org.sandbox.outbound.messages["Winback_Notify"]
    with org.state.lock:
        for person in contacts(*range(1, 251)):
            org.state.update(person, {"Title": "Chief"})
    org.sandbox.sending.send_due()
    sizes = [len(read(org, place)[0].events) for place in range(len(org.ear.heard))]
    assert sum(sizes) == 250 and max(sizes) <= MOST_NOTIFICATIONS
    keys = [event.key for place in range(len(sizes)) for event in read(org, place)[0].events]
    assert len(set(keys)) == 250


def test_a_message_tells_the_values_of_the_moment_it_is_sent(org):
    listen(org)
    org.ear.status = 503
    edit(org, *contacts(1), Title="First")
    org.sandbox.sending.send_due()
    org.ear.status = 200
    edit(org, *contacts(1), Title="Second")
    org.sandbox.advance(HOUR)
    org.sandbox.sending.send_due()
    told = [
        one.value
        for _, heard in (read(org, -1),)
        for one in heard
        if isinstance(one, RecordChanged) and one.name == "Title"
    ]
    assert set(told) == {"Second"}


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (500, b""),
        (200, b""),
        (200, b"<html>thanks</html>"),
        (200, b'{"ok": true}'),
        (
            200,
            b'<x xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>false</Ack></x>',
        ),
        (202, None),
    ],
)
def test_anything_but_an_acknowledgement_brings_the_message_again(org, status, content):
    listen(org)
    accepted, org.ear.status = org.ear.answer, status
    org.ear.answer = accepted if content is None else content
    edit(org, *contacts(1, 2), Title="Chief")
    org.sandbox.sending.send_due()
    assert org.sandbox.outbound.sent == 0 and len(org.sandbox.outbound.waiting) == 2
    first = [event.key for place in range(len(org.ear.heard)) for event in read(org, place)[0].events]
    org.ear.status, org.ear.answer = 200, accepted
    heard = len(org.ear.heard)
    org.sandbox.sending.send_due()
    assert len(org.ear.heard) == heard  # not before its time
    org.sandbox.advance(60)
    org.sandbox.sending.send_due()
    again = [event.key for place in range(heard, len(org.ear.heard)) for event in read(org, place)[0].events]
    assert sorted(again) == sorted(set(first)) and org.sandbox.outbound.waiting == [] and org.sandbox.outbound.sent == 2


def test_it_is_tried_ever_more_seldom_and_given_up_after_a_day(org):
    listen(org)
    org.ear.status = 500
    edit(org, *contacts(1), Title="Chief")
    for _ in range(26 * 12):
        org.sandbox.sending.send_due()
        org.sandbox.advance(300)
    times = [delivery.at_ms for delivery in org.sandbox.sending.deliveries]
    pauses = [(after - before) / 1_000 for before, after in itertools.pairwise(times)]
    assert org.sandbox.outbound.waiting == [] and org.sandbox.outbound.dropped == 1
    assert pauses == sorted(pauses) and pauses[0] == 300 and pauses[-1] == 2 * HOUR
    assert times[-1] - times[0] <= 24 * HOUR * 1_000


def test_nobody_listening_is_no_answer(org):
    listen(org, url="http://127.0.0.1:9/")
    edit(org, *contacts(1), Title="Chief")
    org.sandbox.sending.send_due()
    assert org.control("deliveries", method="GET")["deliveries"][0]["status"] == 0
    assert len(org.sandbox.outbound.waiting) == 1


def test_what_winback_writes_itself_is_not_told(org):
    listen(org, not_by="integration")
    body = {"records": [{"attributes": {"type": "Contact"}, "id": contacts(1)[0], "Title": "Ours"}]}
    assert org.patch("/composite/sobjects", body).json()[0]["success"]
    org.sandbox.sending.send_due()
    assert org.ear.heard == []
    edit(org, *contacts(1), Title="Theirs")
    org.sandbox.sending.send_due()
    assert len(org.ear.heard) == 1
    # Without the filter the receiver's own guard takes care of it.
    listen(org)
    assert org.patch("/composite/sobjects", {**body, "records": [{**body["records"][0], "Title": "Again"}]}).ok
    org.sandbox.sending.send_due()
    assert read(org, -1)[0].ignored == {"our own write": 1}


def test_a_flow_sends_a_message_too(org):
    listen(org, watches=[])
    org.control(
        "flows", {"name": "Tell", "object": "Contact", "when": "Update", "steps": [{"message": "Winback_Notify"}]}
    )
    edit(org, *contacts(3), Department="Sales")
    org.sandbox.sending.send_due()
    assert len(read(org)[0].events) == 1


def test_some_come_twice_and_late_where_that_is_switched_on(org):
    listen(org, duplicates=1.0, disorder_seconds=60)
    edit(org, *contacts(1, 2, 3), Title="Chief")
    for _ in range(4):
        org.sandbox.advance(90)
        org.sandbox.sending.send_due()
    keys = [event.key for place in range(len(org.ear.heard)) for event in read(org, place)[0].events]
    assert len(keys) == 6 and len(set(keys)) == 3


def test_a_message_about_a_record_that_is_gone_for_good_is_dropped(org):
    listen(org)
    with org.state.lock:
        org.state.update(contacts(1)[0], {"Title": "Chief"})
        org.state.purge(contacts(1)[0])
    org.sandbox.sending.send_due()
    assert org.ear.heard == [] and org.sandbox.outbound.waiting == []


def test_a_message_with_a_field_there_is_not_is_refused(org):
    for wrong in ({"fields": ["Nothing__c"]}, {"object": "Nobody"}):
        body = {"name": "x", "object": "Contact", "url": org.ear.url, "fields": [], **wrong}
        answered = org.session.post(f"{org.sandbox.base_url}/_sandbox/outbound", json=body, timeout=10)
        assert answered.status_code == 400


# --- call-outs ---


def asking(org, **step):
    org.control("credential", {"base_url": org.ear.base_url, "secret": SECRET})
    ask = {"ask": "evaluate", "inputs": {"program": "win-back"}, "store": {"offer": "Winback_Offer__c"}, **step}
    branch = {"if": {"field": "answer.offer", "value": "discount"}, "then": [{"mail": "Discount"}], "else": []}
    body = {"name": "Ask", "object": "Contact", "when": "Update", "steps": [ask, branch]}
    org.control("flows", {**body, "conditions": [{"field": "Title", "value": "Ask"}]})


def inside(org):
    return org.control("interviews?flow=Ask", method="GET")["interviews"]


def test_a_call_out_is_one_our_receiver_takes_and_its_answer_is_stored_and_decides(org):
    asking(org)
    org.ear.answer = answer({"offer": "discount", "days": "30"}, None).body
    edit(org, *contacts(1), Title="ask")
    org.sandbox.sending.send_due()
    path, headers, body = org.ear.heard[0]
    assert path == "/triggers/salesforce/evaluate"
    request = incoming(body.decode(), headers, url=f"{org.ear.base_url}{path}")
    triggers = RECEIVER.triggers
    assert triggers is not None and triggers.verify(options(org), request).ok
    call = triggers.parse(options(org), "evaluate", request)
    assert call.who.record == f"salesforce:{contacts(1)[0]}" and call.who.email == "person1@example.com"
    assert call.inputs["program"] == "win-back"
    assert org.row(contacts(1)[0])["Winback_Offer__c"] == "discount"
    assert [mail.name for mail in org.sandbox.mails()] == ["Discount"]
    (one,) = inside(org)
    assert one["ended_as"] == "completed" and one["answers"]["days"] == "30"


def test_another_answer_goes_the_other_way(org):
    asking(org)
    org.ear.says(offer="none", state="done")
    edit(org, *contacts(1), Title="Ask")
    org.sandbox.sending.send_due()
    assert org.sandbox.mails() == [] and org.row(contacts(1)[0])["Winback_Offer__c"] == "none"


def test_no_word_yet_is_asked_again_with_the_same_key(org):
    asking(org, again_seconds=60, tries=2)
    org.ear.answer = answer({}, timedelta(days=1)).body
    edit(org, *contacts(1), Title="Ask")
    org.sandbox.sending.send_due()
    assert inside(org)[0]["asking"] == "evaluate" and len(org.ear.heard) == 1
    org.ear.says(offer="discount", state="done")
    org.sandbox.advance(90)
    org.sandbox.sending.send_due()
    keys = {json.loads(body)["idempotency_key"] for _, _, body in org.ear.heard}
    assert len(org.ear.heard) == 2 and keys == {inside(org)[0]["guid"]}
    assert inside(org)[0]["ended_as"] == "completed"


def test_a_call_out_that_fails_ends_the_interview_in_a_fault_and_is_not_repeated(org):
    asking(org)
    org.ear.status = 500
    edit(org, *contacts(1), Title="Ask")
    org.sandbox.sending.send_due()
    org.sandbox.advance(HOUR)
    org.sandbox.sending.send_due()
    (one,) = inside(org)
    assert one["ended_as"] == "faulted" and "500" in one["fault"] and len(org.ear.heard) == 1


def test_who_meets_the_conditions_no_more_while_asking_has_left(org):
    asking(org)
    with org.state.lock:
        org.state.update(contacts(1)[0], {"Title": "Ask"})
        org.state.update(contacts(1)[0], {"Title": "No"})
    org.ear.says(offer="discount")
    org.sandbox.sending.send_due()
    assert inside(org)[0]["ended_as"] == "left" and "Winback_Offer__c" not in org.row(contacts(1)[0])


def test_the_secret_is_in_no_answer_of_the_control_api(org):
    asking(org)
    assert SECRET not in json.dumps(org.control("credential", method="GET"))
    assert org.control("outbound", method="GET")["org_id"] == record_id("Organization", 4_242)

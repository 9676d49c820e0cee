"""What is special about single vendors at our door; what all have in common is in `receiver_suite`."""

from __future__ import annotations

import json

import pytest

from tests.fakes.databases import sqlite_url
from tests.fakes.incoming import BASE_URL, NOW
from tests.fakes.vendor_deliveries import VENDORS, body_of
from tests.fakes.web import web
from webhooks import signatures
from webhooks.service import Listening

SOURCES = {name: Listening(vendor.receiver, vendor.options) for name, vendor in VENDORS.items()}
SECRET = "winback-test-client-secret-0001"


@pytest.fixture
def site(tmp_path):
    with web(sqlite_url(tmp_path), SOURCES) as site:
        yield site


def post(site, name: str, body: bytes, *, path: str | None = None, **headers: str):
    vendor = VENDORS[name]
    path = path or vendor.url.removeprefix(BASE_URL)
    signed = vendor.receiver.sign(vendor.options, "POST", BASE_URL + path, body, NOW)
    given = {"Content-Type": vendor.receiver.content_type, **signed, **headers}
    return site.client().post(path, data=body, headers=given)


def test_salesforce_is_acknowledged_in_soap_and_its_session_is_on_no_disk(site, tmp_path):
    body = body_of("salesforce", "outbound_message.xml")
    answer = post(site, "salesforce", body)
    assert answer.content_type == "text/xml; charset=utf-8"
    assert b"<Ack>true</Ack>" in answer.data
    files = [path.read_bytes() for path in tmp_path.iterdir() if path.is_file()]
    assert files and all(b"a-session-that-must-not-stay" not in data for data in files)


@pytest.mark.parametrize("bomb", [b"<!DOCTYPE x>", b'<!DOCTYPE x [<!ENTITY a "b">]>'])
def test_an_xml_bomb_is_refused(site, bomb):
    body = bomb + body_of("salesforce", "outbound_message.xml").partition(b"?>")[2]
    assert post(site, "salesforce", body).status_code == 400


def test_a_hubspot_address_is_verified_as_it_was_called(site):
    path = "/webhooks/hubspot?src=hs%3Aapp%2Fv3&x=%28a%29&keep=%20%26"
    assert post(site, "hubspot", b"[]", path=path).status_code == 200
    decoded = "/webhooks/hubspot?src=hs:app/v3&x=(a)&keep=%20%26"
    signed = signatures.sign_hubspot(SECRET, "POST", BASE_URL + decoded, b"[]", NOW)
    assert site.client().post(path, data=b"[]", headers=signed).status_code == 200
    other = signatures.sign_hubspot(SECRET, "POST", BASE_URL + "/webhooks/hubspot", b"[]", NOW)
    assert site.client().post(path, data=b"[]", headers=other).status_code == 401


def test_a_mailchimp_form_is_verified_before_it_is_read(site):
    body = body_of("mailchimp", "unsubscribe.form")
    assert post(site, "mailchimp", body).status_code == 200
    assert post(site, "mailchimp", body, **{"X-Mailchimp-Signature": "t=1793527200,v1=00"}).status_code == 401
    assert site.journal.inbox.depth() == 1


def test_only_mailchimp_looks_by_get_and_learns_nothing_by_it(site):
    """Mailchimp saves no webhook whose address does not answer a GET."""
    answers = {name: site.client().get(vendor.url.removeprefix(BASE_URL)) for name, vendor in VENDORS.items()}
    assert {name for name, answer in answers.items() if answer.status_code == 200} == {"mailchimp"}
    assert {answer.status_code for name, answer in answers.items() if name != "mailchimp"} == {405}
    assert answers["mailchimp"].data == b""
    assert site.journal.inbox.depth() == 0


# Workflows.


def call(site, crm: str, action: str, body: bytes, headers=None):
    path = f"/triggers/{crm}/{action}"
    vendor = VENDORS[crm]
    given = headers or vendor.receiver.triggers.sign(vendor.options, "POST", BASE_URL + path, body, NOW)
    return site.client().post(path, data=body, headers=given)


@pytest.mark.parametrize(("crm", "fixture"), [("hubspot", "workflow_action.json"), ("salesforce", "call_out.json")])
def test_a_workflow_is_answered_the_same_however_often_it_asks(site, crm, fixture):
    for number, action in enumerate(("evaluate", "enroll", "exit", "snooze")):
        body = body_of(crm, fixture).replace(b"ap-33-", f"ap-33-{number}".encode())
        answers = [call(site, crm, action, body) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].data == answers[1].data
        told = json.loads(answers[0].data)
        assert (told["outputFields"]["hs_execution_state"] if crm == "hubspot" else told["state"]) in {
            "SUCCESS",
            "done",
        }
        assert site.journal.inbox.depth() == number


def test_a_workflow_is_believed_by_hubspots_second_version_and_events_are_not(site):
    body = body_of("hubspot", "workflow_action.json")
    for path, status in (("/triggers/hubspot/evaluate", 200), ("/webhooks/hubspot", 401)):
        signature = signatures.hubspot_v2(SECRET, "POST", BASE_URL + path, body)
        headers = {"X-HubSpot-Signature": signature, "X-HubSpot-Signature-Version": "v2"}
        assert site.client().post(path, data=body, headers=headers).status_code == status


@pytest.mark.parametrize("crm", ["hubspot", "salesforce"])
def test_a_workflow_nobody_vouches_for_is_refused(site, crm):
    body = VENDORS[crm].receiver.triggers.sample(VENDORS[crm].options, "enroll", NOW)
    assert call(site, crm, "enroll", body, headers={"X-Winback-Secret": "x"}).status_code == 401
    assert call(site, crm, "enroll", body, headers={"X-HubSpot-Signature-Version": "v2"}).status_code == 401
    assert site.journal.inbox.depth() == 0

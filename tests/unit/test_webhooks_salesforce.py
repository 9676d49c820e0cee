"""Salesforce's outbound messages and the call-outs of its flows, in our own words."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from xml.etree.ElementTree import fromstring

import pytest
from pydantic import ValidationError

from connector.errors import MalformedPayload
from connector.heard import MailEvent, RecordChanged, RecordGone, Who
from connector.receivers import Parsed
from tests.fakes.incoming import NOW, incoming
from tests.fakes.vendor_deliveries import HEADER_SECRET, ORGANIZATION, PATH_TOKEN, VENDORS, body_of
from webhooks.salesforce import answer

SALESFORCE = VENDORS["salesforce"]
TRIGGERS = SALESFORCE.receiver.triggers
MESSAGE = body_of("salesforce", "outbound_message.xml").decode()
ADA = Who(record="salesforce:0035g00000XyZabAAF", email="ada@example.com")


def delivery(body: str, token: str | None = PATH_TOKEN, **more):
    return incoming(body, {"SOAPAction": '""'}, url=SALESFORCE.url, token=token, **more)


def message(fields: str, *, kind: str = "Contact", number: str = "04l5g00000AbCdEAAV") -> str:
    return (
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
        '<notifications xmlns="http://soap.sforce.com/2005/09/outbound">'
        f"<OrganizationId>{ORGANIZATION}</OrganizationId>"
        f'<Notification><Id>{number}</Id><sObject xsi:type="sf:{kind}" '
        f'xmlns:sf="urn:sobject.enterprise.soap.sforce.com"><sf:Id>0035g00000XyZab</sf:Id>{fields}</sObject>'
        "</Notification></notifications></soapenv:Body></soapenv:Envelope>"
    )


def test_a_message_tells_of_each_of_its_people():
    heard = SALESFORCE.heard(delivery(MESSAGE))
    at = datetime(2026, 11, 1, 9, 59, 30, tzinfo=UTC)
    bob = Who(record="salesforce:00Q5g00000XyZabEAF")
    assert heard == [
        RecordChanged(who=ADA, at=at, name="Email", value=None),
        MailEvent(
            who=ADA,
            at=at,
            kind="unsubscribe",
            event_id="04l5g00000AbCdEAAV:unsubscribe",
            evidence={"property": "HasOptedOutOfEmail", "value": "true"},
        ),
        MailEvent(
            who=bob,
            at=NOW,
            kind="bounce",
            event_id="04l5g00000AbCdFAAV:bounce",
            evidence={"property": "EmailBouncedReason", "value": "set"},
        ),
        RecordChanged(who=bob, at=NOW, name="HasOptedOutOfEmail", value="false"),
        RecordChanged(who=bob, at=NOW, name="Rating", value="Hot"),
    ]


def test_a_message_is_known_again_by_each_of_its_notifications():
    parsed = SALESFORCE.receiver.parse(SALESFORCE.options, delivery(MESSAGE))
    assert [event.key for event in parsed.events] == ["04l5g00000AbCdEAAV", "04l5g00000AbCdFAAV"]
    assert parsed.ignored == {"neither a contact nor a lead": 1}


def test_a_session_that_comes_along_is_kept_nowhere():
    assert "a-session-that-must-not-stay" in MESSAGE
    request = delivery(MESSAGE)
    parsed = SALESFORCE.receiver.parse(SALESFORCE.options, request)
    heard = [SALESFORCE.receiver.understand(SALESFORCE.options, event) for event in parsed.events]
    for told in (repr(parsed), repr(heard), repr(SALESFORCE.receiver.verify(SALESFORCE.options, request))):
        assert "session" not in told
        assert "my.salesforce.com" not in told


@pytest.mark.parametrize(
    ("fields", "how", "into"),
    [
        ("<sf:IsDeleted>true</sf:IsDeleted>", "deleted", None),
        ("<sf:MasterRecordId>0035g00000XyZac</sf:MasterRecordId>", "merged", "salesforce:0035g00000XyZacAAF"),
    ],
)
def test_who_is_gone_is_told_by_how(fields, how, into):
    assert SALESFORCE.heard(delivery(message(fields))) == [
        RecordGone(who=Who(record=ADA.record), at=NOW, how=how, into=into)
    ]


def test_what_winbacks_own_user_changed_is_no_news():
    vendor = SALESFORCE.with_options(integration_user="0055g00000UsErA")
    parsed = vendor.receiver.parse(vendor.options, delivery(MESSAGE))
    assert [event.key for event in parsed.events] == ["04l5g00000AbCdFAAV"]
    assert parsed.ignored == {"our own write": 1, "neither a contact nor a lead": 1}


@pytest.mark.parametrize("given", ["00D5g000004abCD", "00D5g000004abCDEAY"])
def test_the_organization_is_known_in_both_forms_of_its_id(given):
    body = MESSAGE.replace("00D5g000004abCDEAY<", f"{given}<")
    vendor = SALESFORCE.with_options(org_id=given)
    assert len(vendor.events(delivery(body))) == 2


def test_a_message_of_another_organization_is_acknowledged_and_left_aside():
    parsed = SALESFORCE.receiver.parse(
        SALESFORCE.options, delivery(MESSAGE.replace("00D5g000004abCDEAY<", "00D5g000004abCd<"))
    )
    assert parsed == Parsed((), {"another organization": 1})


def test_the_acknowledgement_is_soap_and_says_true():
    reply = SALESFORCE.receiver.reply(SALESFORCE.options, Parsed(()))
    assert (reply.status, reply.content_type) == (200, "text/xml; charset=utf-8")
    ack = fromstring(reply.body).find(
        "{http://schemas.xmlsoap.org/soap/envelope/}Body/"
        "{http://soap.sforce.com/2005/09/outbound}notificationsResponse/"
        "{http://soap.sforce.com/2005/09/outbound}Ack"
    )
    assert ack is not None and ack.text == "true"


@pytest.mark.parametrize("token", [None, "", PATH_TOKEN[:-1], PATH_TOKEN.upper()])
def test_a_message_to_another_address_is_refused(token):
    assert not SALESFORCE.receiver.verify(SALESFORCE.options, delivery(MESSAGE, token)).ok


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("13.110.1.2", True),
        ("::ffff:13.110.1.2", True),
        ("2001:db8::1", True),
        ("13.0.0.1", False),
        ("2001:db9::1", False),
        (None, False),
        ("", False),
        ("13.110.1.2, 10.0.0.1", False),
    ],
)
def test_where_networks_are_named_the_sender_has_to_be_in_one(address, good):
    vendor = SALESFORCE.with_options(networks=["13.108.0.0/14", "2001:db8::/32"])
    assert vendor.receiver.verify(vendor.options, delivery(MESSAGE, address=address)).ok is good


def bomb(inside: str, text: str = "&b;") -> str:
    return f"<!DOCTYPE x [{inside}]>" + message(f"<sf:Rating>{text}</sf:Rating>")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "<a/>",
        "<a>",
        MESSAGE[:-20],
        "<!DOCTYPE x>" + message("<sf:Rating>Hot</sf:Rating>"),
        bomb('<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'),
        bomb('<!ENTITY b SYSTEM "file:///etc/hostname">'),
        bomb('<!ENTITY % b SYSTEM "http://winback.example.com/x.dtd"> %b;', "Hot"),
        '<?xml version="1.0" encoding="utf-42"?>' + message(""),
        "<a>" * 65 + "</a>" * 65,
        "<a>" * 20_000,
        message("<sf:Title>" + "<sf:a>" * 60 + "</sf:a>" * 60 + "</sf:Title>"),
        message("").replace("<sf:Id>0035g00000XyZab</sf:Id>", ""),
        message("").replace("0035g00000XyZab", "../../etc"),
        message("").replace("04l5g00000AbCdEAAV", ""),
        message("").replace(ORGANIZATION, ""),
        message("").replace("http://soap.sforce.com/2005/09/outbound", "http://evil.example"),
        message("<sf:LastModifiedDate>yesterday</sf:LastModifiedDate>"),
        message("").replace("<Notification>", "<Other>").replace("</Notification>", "</Other>"),
        message("").replace("sObject", "other"),
    ],
)
def test_what_is_no_message_or_built_to_hurt_is_malformed(body):
    with pytest.raises(MalformedPayload) as caught:
        SALESFORCE.events(delivery(body))
    assert "etc" not in str(caught.value) and caught.value.__cause__ is None


def test_a_message_larger_than_any_is_malformed_unread():
    with pytest.raises(MalformedPayload, match="larger"):
        SALESFORCE.events(delivery("<" + "a" * 1_048_576))


def test_a_hundred_people_are_taken_and_one_more_is_not():
    one = message("<sf:Rating>Hot</sf:Rating>")
    head, _, rest = one.partition("<Notification>")
    inner, _, tail = rest.partition("</Notification>")

    def with_people(count: int) -> str:
        people = [
            f"<Notification>{inner.replace('04l5g00000AbCdEAAV', f'04l{number:015d}')}</Notification>"
            for number in range(count)
        ]
        return head + "".join(people) + tail

    assert len(SALESFORCE.events(delivery(with_people(100)))) == 100
    with pytest.raises(MalformedPayload):
        SALESFORCE.events(delivery(with_people(101)))


@pytest.mark.parametrize(
    "changes",
    [
        {"org_id": "x"},
        {"org_id": "0035g00000XyZab"},
        {"org_id": "00D5g000004abCDEAZ"},
        {"token": "short"},
        {"secret": "short"},
        {"networks": ["13.108.0.1/14"]},
        {"networks": ["everywhere"]},
        {"integration_user": "00D5g000004abCD"},
        {"unknown": 1},
    ],
)
def test_options_that_cannot_work_are_refused(changes):
    with pytest.raises(ValidationError):
        SALESFORCE.with_options(**changes)


# Call-outs of flows.


def call_out(body: bytes | str | None = None, secret: str = HEADER_SECRET):
    body = body_of("salesforce", "call_out.json") if body is None else body
    return incoming(body, {"X-Winback-Secret": secret}, url=f"{SALESFORCE.url}/x")


def test_a_flows_question_says_who_and_what():
    assert TRIGGERS.verify(SALESFORCE.options, call_out()).ok
    call = TRIGGERS.parse(SALESFORCE.options, "snooze", call_out())
    assert call.key == "00D5g000004abCDEAY:snooze:0035g00000XyZabAAF:4b7c1f0e-flow-interview"
    assert call.who == ADA
    assert call.inputs == {"program": "win-back", "days": "30", "event": "asked", "object": "Contact"}
    assert call.callback is None


@pytest.mark.parametrize("secret", ["", "wrong", HEADER_SECRET + "x", PATH_TOKEN])
def test_a_flow_without_the_secret_is_refused(secret):
    assert not TRIGGERS.verify(SALESFORCE.options, call_out(secret=secret)).ok


def test_the_token_of_messages_does_not_open_the_way_of_flows():
    vendor = SALESFORCE.with_options(secret="")
    request = incoming(b"{}", {"X-Winback-Secret": PATH_TOKEN}, token=PATH_TOKEN)
    assert not vendor.receiver.triggers.verify(vendor.options, request).ok


@pytest.mark.parametrize(
    ("action", "changes"),
    [
        ("delete", {}),
        ("enroll", {"org_id": "00D5g000004abCd"}),
        ("enroll", {"org_id": "nobody"}),
        ("enroll", {"record_id": ""}),
        ("enroll", {"record_id": 7}),
        ("enroll", {"idempotency_key": ""}),
        ("enroll", {"idempotency_key": None}),
    ],
)
def test_a_question_that_is_not_ours_to_answer_is_malformed(action, changes):
    body = json.loads(body_of("salesforce", "call_out.json")) | changes
    with pytest.raises(MalformedPayload):
        TRIGGERS.parse(SALESFORCE.options, action, call_out(json.dumps(body)))


def test_a_flow_is_answered_flat_and_told_when_there_is_no_word_yet():
    assert json.loads(answer({"segment": "dormant_60"}, None).body) == {"segment": "dormant_60", "state": "done"}
    assert json.loads(answer({}, timedelta(days=7)).body) == {"state": "waiting"}


def test_samples_are_what_the_receiver_takes():
    body = TRIGGERS.sample(SALESFORCE.options, "snooze", NOW)
    headers = TRIGGERS.sign(SALESFORCE.options, "POST", SALESFORCE.url, body, NOW)
    request = incoming(body, headers)
    assert TRIGGERS.verify(SALESFORCE.options, request).ok
    assert TRIGGERS.parse(SALESFORCE.options, "snooze", request).inputs == {"days": "30"}

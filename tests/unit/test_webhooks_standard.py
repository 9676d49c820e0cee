"""Standard Webhooks: every type of event that anybody may send us."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from connector.errors import MalformedPayload
from connector.heard import Answered, Asked, Given, MailEvent, Paid, RecordChanged, RecordGone, Used, Who
from tests.fakes.incoming import NOW, incoming
from tests.fakes.vendor_deliveries import VENDORS
from webhooks.standard import TYPES

STANDARD = VENDORS["standard"]
AT = datetime(2026, 11, 1, 9, 59, 58, tzinfo=UTC)
RECORD = Who(record="hubspot:123")


def heard(kind: str, /, data: dict | None = None, **fields) -> list:
    body = {
        "type": kind,
        "timestamp": AT.isoformat(),
        "data": {"person": {"record": "hubspot:123"}} | (data or {}),
    } | fields
    return STANDARD.heard(STANDARD.delivery(json.dumps(body).encode()))


def key_of_fixture(name: str) -> str:
    return STANDARD.events(STANDARD.fixture(name))[0].key


def test_every_documented_body_means_what_it_says():
    def only(name: str):
        (told,) = STANDARD.heard(STANDARD.fixture(name))
        return told

    ada = Who(email="ada@example.com")
    assert only("used.json") == Used(
        who=Who(external_id="u1", email="ada@example.com"),
        at=AT,
        feature="export",
        event_id=key_of_fixture("used.json"),
        events=3,
    )
    assert only("answered.json") == Answered(
        who=Who(token="abc.def"),
        at=AT,
        source="standard",
        survey="exit",
        response="r-1",
        language="de",
        answers=(
            Given(question="why", kind="choice", choice=("price",), text="Zu teuer"),
            Given(question="nps", kind="score", number=6.0),
            Given(question="more", kind="text", text="Sonst gut"),
        ),
    )
    assert only("paid.json") == Paid(
        who=RECORD, at=AT, kind="payment", transaction_id="order-7", amount=19.5, currency="EUR"
    )
    key = key_of_fixture("unsubscribed.json")
    assert only("unsubscribed.json") == MailEvent(
        who=ada, at=AT, kind="unsubscribe", event_id=key, campaign="win-back", evidence={"message": key}
    )
    key = key_of_fixture("snooze.json")
    assert only("snooze.json") == Asked(
        who=RECORD,
        at=AT,
        action="snooze",
        key=key,
        source="standard",
        program="win-back",
        lasts=timedelta(days=30),
        evidence={"message": key},
    )
    assert only("merged.json") == RecordGone(who=RECORD, at=AT, how="merged", into="hubspot:456")


@pytest.mark.parametrize(
    ("kind", "means"),
    [
        ("winback.unsubscribed", (MailEvent, "unsubscribe")),
        ("winback.bounced", (MailEvent, "bounce")),
        ("winback.complained", (MailEvent, "spam")),
        ("winback.replied", (MailEvent, "reply")),
        ("winback.clicked", (MailEvent, "click")),
        ("winback.deleted", (RecordGone, "deleted")),
        ("winback.erased", (RecordGone, "erased")),
        ("winback.enroll", (Asked, "enroll")),
        ("winback.exit", (Asked, "exit")),
        ("winback.snooze", (Asked, "snooze")),
        ("winback.return", (Asked, "return")),
        ("winback.paid", (Paid, "payment")),
        ("winback.used", (Used, None)),
        ("winback.changed", (RecordChanged, None)),
        ("winback.answered", (Answered, None)),
        ("winback.merged", (RecordGone, "merged")),
    ],
)
def test_every_type_is_understood(kind, means):
    data = {"name": "stage", "value": "x", "survey": "s", "answers": [], "into": "hubspot:9"}
    (told,) = heard(kind, data)
    said = next((getattr(told, name) for name in ("kind", "how", "action") if hasattr(told, name)), None)
    assert (type(told), said) == means
    assert told.who == RECORD and told.at == AT


def test_every_type_there_is_was_tried():
    assert len(TYPES) == 16


def test_a_type_nobody_knows_is_taken_and_left_aside():
    parsed = STANDARD.receiver.parse(STANDARD.options, STANDARD.delivery(b'{"type":"user.created","data":{}}'))
    assert not parsed.events and parsed.ignored == {"unknown type": 1}


def test_a_moment_in_the_future_is_now():
    assert heard("winback.used", timestamp="2030-01-01T00:00:00Z")[0].at == NOW


def test_a_message_counts_once_by_its_id():
    body = b'{"type":"winback.used","timestamp":"2026-11-01T09:59:58Z","data":{"person":{"user_id":"u1"}}}'
    first, again = (STANDARD.events(STANDARD.delivery(body))[0].key for _ in range(2))
    assert first == again != STANDARD.events(STANDARD.delivery(body + b" "))[0].key


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("winback.used", {"person": {}}),
        ("winback.used", {"person": None}),
        ("winback.used", {"person": {"user_id": ""}}),
        ("winback.used", {"count": 0}),
        ("winback.used", {"count": "many"}),
        ("winback.paid", {"kind": "theft"}),
        ("winback.paid", {"amount": "free"}),
        ("winback.paid", {"amount": 1e300}),
        ("winback.paid", {"currency": "euro"}),
        ("winback.answered", {"survey": "s"}),
        ("winback.answered", {"survey": "s", "answers": [{}]}),
        ("winback.answered", {"survey": "s", "answers": [{"question": "q", "kind": "odd"}]}),
        ("winback.answered", {"survey": "s", "answers": [{"question": "q"}] * 201}),
        ("winback.snooze", {"days": 0}),
        ("winback.snooze", {"days": 10**9}),
        ("winback.merged", {}),
        ("winback.merged", {"into": "456"}),
        ("winback.changed", {}),
    ],
)
def test_data_that_does_not_fit_its_type_is_malformed(kind, data):
    with pytest.raises(MalformedPayload):
        heard(kind, data)


@pytest.mark.parametrize(
    "fields", [{"timestamp": None}, {"timestamp": "soon"}, {"data": []}, {"type": 7}, {"type": None}]
)
def test_a_message_without_its_parts_is_malformed(fields):
    body = json.dumps(
        {"type": "winback.used", "timestamp": AT.isoformat(), "data": {"person": {"user_id": "u"}}} | fields
    )
    if fields.get("type") == 7:
        assert STANDARD.receiver.parse(STANDARD.options, incoming(body)).ignored == {"unknown type": 1}
        return
    with pytest.raises(MalformedPayload):
        STANDARD.events(incoming(body, {"webhook-id": "msg_1"}))


def test_a_message_without_an_id_is_malformed():
    body = b'{"type":"winback.used","timestamp":"2026-11-01T09:59:58Z","data":{"person":{"user_id":"u1"}}}'
    with pytest.raises(MalformedPayload, match="webhook-id"):
        STANDARD.events(incoming(body))


@pytest.mark.parametrize(
    "secret", ["canary-not-a-key", "whsec_AAAA", "whsec_!!!!", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "canary"]]
)
def test_a_secret_the_standard_does_not_allow_is_refused_without_being_shown(secret):
    with pytest.raises(ValidationError) as caught:
        STANDARD.with_options(secret=secret)
    assert "canary" not in str(caught.value) and "!!!!" not in str(caught.value)

"""Mailchimp's forms, in our own words."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

import pytest

from connector.errors import MalformedPayload
from connector.heard import MailEvent, RecordChanged, Who
from tests.fakes.incoming import NOW, incoming
from tests.fakes.vendor_deliveries import PATH_TOKEN, VENDORS, body_of
from webhooks import signatures

MAILCHIMP = VENDORS["mailchimp"]
UNSIGNED = MAILCHIMP.with_options(signing_secret="")
ADA = Who(email="ada@example.com")


def form(**fields: str) -> bytes:
    base = {
        "type": "unsubscribe",
        "fired_at": "2026-11-01 10:00:00",
        "data[id]": "8a25ff1d98",
        "data[list_id]": "a6b5da1054",
        "data[email]": "ada@example.com",
    }
    return urlencode(base | fields).encode()


def test_an_unsubscribe_is_one():
    request = MAILCHIMP.fixture("unsubscribe.form")
    (event,) = MAILCHIMP.events(request)
    assert MAILCHIMP.heard(request) == [
        MailEvent(
            who=ADA,
            at=NOW,
            kind="unsubscribe",
            event_id=event.key,
            campaign="4fjk2ma9xd",
            evidence={"audience": "a6b5da1054", "action": "unsub", "reason": "manual"},
        )
    ]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"data[action]": "delete", "data[reason]": "manual"}, "unsubscribe"),
        ({"data[action]": "unsub", "data[reason]": "abuse"}, "spam"),
        ({"type": "cleaned", "data[reason]": "hard"}, "bounce"),
        ({"type": "cleaned", "data[reason]": "abuse"}, "spam"),
        ({"type": "cleaned"}, "bounce"),
    ],
)
def test_complaints_and_bounces_are_told_apart(fields, kind):
    assert [one.kind for one in MAILCHIMP.heard(MAILCHIMP.delivery(form(**fields)))] == [kind]


def test_a_changed_address_is_a_hint_about_whoever_had_the_old_one():
    assert MAILCHIMP.heard(MAILCHIMP.fixture("upemail.form")) == [
        RecordChanged(who=ADA, at=NOW + timedelta(seconds=2), name="email", value=None)
    ]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("subscribe.form", "subscribe: lifts no opt-out"),
        ("profile.form", "profile: nothing that decides"),
        ("campaign.form", "campaign: about nobody"),
    ],
)
def test_what_decides_nothing_is_counted_by_why(name, why):
    parsed = MAILCHIMP.receiver.parse(MAILCHIMP.options, MAILCHIMP.fixture(name))
    assert not parsed.events and parsed.ignored == {why: 1}


def test_a_type_nobody_knows_is_not_repeated_in_its_reason():
    parsed = MAILCHIMP.receiver.parse(MAILCHIMP.options, MAILCHIMP.delivery(form(type="canary")))
    assert parsed.ignored == {"unknown type": 1}


def test_only_what_is_read_is_kept_and_no_address_in_the_key():
    (event,) = MAILCHIMP.events(MAILCHIMP.fixture("cleaned.form"))
    assert "example" not in event.key
    (event,) = MAILCHIMP.events(MAILCHIMP.fixture("unsubscribe.form"))
    assert set(event.payload) == {"type", "fired_at", "action", "reason", "member", "audience", "campaign", "email"}


def test_a_delivery_has_one_key_however_often_it_comes():
    keys = {
        MAILCHIMP.events(MAILCHIMP.delivery(body))[0].key
        for body in (form(), form() + b"&data%5Bweb_id%5D=1", form(**{"data[ip_opt]": "203.0.113.9"}))
    }
    assert len(keys) == 1
    others = (
        form(fired_at="2026-11-01 10:00:01"),
        form(type="cleaned"),
        form(**{"data[list_id]": "b"}),
        form(**{"data[id]": "b"}),
    )
    assert len(keys | {MAILCHIMP.events(MAILCHIMP.delivery(body))[0].key for body in others}) == 5


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"type",
        b"type=unsubscribe",
        b"fired_at=2026-11-01",
        form(fired_at="yesterday"),
        form(fired_at="0001-01-01 00:00:00"),
        form(**{"data[email]": "nobody"}),
        form(**{"data[email]": ""}),
        form(type="upemail"),
        form() + b"&type=cleaned",
        form() + b"&data%5Bemail%5D=bob%40example.com",
        form() + b"&x=%ff",
        b"\xff=1",
        b"&".join(b"a=1" for _ in range(1_001)),
    ],
)
def test_what_is_no_form_of_theirs_is_malformed(body):
    with pytest.raises(MalformedPayload):
        MAILCHIMP.events(incoming(body))


def test_both_the_address_and_the_signature_have_to_be_right():
    request = MAILCHIMP.fixture("unsubscribe.form")
    assert MAILCHIMP.receiver.verify(MAILCHIMP.options, request).ok
    body = body_of("mailchimp", "unsubscribe.form")
    headers = {"X-Mailchimp-Signature": signatures.sign_timed("mc-secret", body, NOW)}
    for token, sent in (
        (None, headers),
        ("x", headers),
        (PATH_TOKEN, {}),
        (PATH_TOKEN, {"X-Mailchimp-Signature": "x"}),
    ):
        assert not MAILCHIMP.receiver.verify(MAILCHIMP.options, incoming(body, sent, token=token)).ok


def test_an_older_webhook_is_believed_by_its_address_alone():
    body = body_of("mailchimp", "unsubscribe.form")
    assert UNSIGNED.receiver.verify(UNSIGNED.options, incoming(body, token=PATH_TOKEN)).ok
    assert not UNSIGNED.receiver.verify(UNSIGNED.options, incoming(body, token="x")).ok
    assert not UNSIGNED.receiver.verify(UNSIGNED.options, incoming(body)).ok


def test_without_a_token_the_signature_alone_decides():
    vendor = MAILCHIMP.with_options(token="")
    body = body_of("mailchimp", "unsubscribe.form")
    headers = {"X-Mailchimp-Signature": signatures.sign_timed("mc-secret", body, NOW)}
    assert vendor.receiver.verify(vendor.options, incoming(body, headers)).ok
    assert not vendor.receiver.verify(vendor.options, incoming(body)).ok
    assert not vendor.receiver.verify(vendor.options, incoming(b"")).ok


def test_a_try_of_the_address_while_the_webhook_is_made_is_answered():
    request = incoming(b"", token=PATH_TOKEN)
    assert MAILCHIMP.receiver.verify(MAILCHIMP.options, request).ok
    assert not MAILCHIMP.receiver.parse(MAILCHIMP.options, request).events
    assert not MAILCHIMP.receiver.verify(MAILCHIMP.options, incoming(b"", token="x")).ok
    assert not MAILCHIMP.receiver.verify(MAILCHIMP.options, incoming(b" ", token=PATH_TOKEN)).ok

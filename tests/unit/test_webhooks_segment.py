"""Segment's messages, in our own words, and how much of a batch is believed."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from connector.errors import MalformedPayload
from connector.heard import MailEvent, Used, Who
from tests.fakes.incoming import NOW, incoming
from tests.fakes.vendor_deliveries import HEADER_SECRET, VENDORS, body_of
from webhooks.segment import first_of_batch
from webhooks.signatures import segment

SEGMENT = VENDORS["segment"]
WITH_HEADER = SEGMENT.with_options(header_secret=HEADER_SECRET)
AT = datetime(2026, 11, 1, 9, 59, 58, tzinfo=UTC)
BATCH = body_of("segment", "batch.json")


def message(**fields) -> dict:
    base = {"type": "track", "messageId": "m", "userId": "u1", "event": "Signed In", "timestamp": AT.isoformat()}
    return {name: value for name, value in (base | fields).items() if value is not None}


def heard(**fields) -> list:
    return SEGMENT.heard(SEGMENT.delivery(json.dumps(message(**fields)).encode()))


def test_what_somebody_did_is_use_of_that_feature():
    assert SEGMENT.heard(SEGMENT.fixture("track.json")) == [
        Used(
            who=Who(external_id="u1", email="ada@example.com"),
            at=AT,
            feature="Report Opened",
            event_id="ajs-next-1793527200000-abc",
        )
    ]
    assert SEGMENT.heard(SEGMENT.fixture("page.json")) == [
        Used(who=Who(external_id="u1"), at=AT, feature="Billing", event_id="ajs-next-1793527200000-page")
    ]


def test_a_page_without_a_name_is_use_of_nothing_in_particular():
    assert heard(type="page", event=None)[0].feature is None


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"type": "identify"}, "identify tells of no use"),
        ({"type": "group"}, "group tells of no use"),
        ({"type": "canary"}, "unknown type"),
        ({"userId": None}, "nobody is named"),
        ({"userId": ""}, "nobody is named"),
        ({"event": "winback_enrolled"}, "our own event"),
        ({"event": "Email Opened"}, "mail sent or opened"),
    ],
)
def test_what_is_no_use_is_counted_by_why(fields, why):
    parsed = SEGMENT.receiver.parse(SEGMENT.options, SEGMENT.delivery(json.dumps(message(**fields)).encode()))
    assert not parsed.events and parsed.ignored == {why: 1}


def test_an_event_about_a_mail_is_no_use_of_the_product():
    (told,) = SEGMENT.heard(SEGMENT.fixture("unsubscribed.json"))
    assert told == MailEvent(
        who=Who(external_id="u1", email="ada@example.com"),
        at=AT,
        kind="unsubscribe",
        event_id="mail-1",
        evidence={"event": "Unsubscribed"},
    )
    kinds = [heard(event=name)[0].kind for name in ("Email Bounced", "Email Link Clicked", "Email Marked as Spam")]
    assert kinds == ["bounce", "click", "spam"]


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ({"timestamp": "2026-11-01T10:59:58+01:00"}, AT),
        ({"timestamp": "garbage", "receivedAt": "2026-11-01T09:59:58Z"}, AT),
        ({"timestamp": None, "receivedAt": "2026-11-01T09:59:58Z"}, AT),
        ({"timestamp": None}, NOW),
        ({"timestamp": "2027-11-01T10:00:00Z"}, NOW),
        ({"timestamp": "0001-01-01T00:00:00Z"}, NOW),
    ],
)
def test_a_clock_that_is_wrong_never_makes_the_future(told, at):
    assert heard(**told)[0].at == at


@pytest.mark.parametrize(
    "body", [b"1", b'"x"', b"[1]", b"{}", b"[]x", b'{"batch":1}', b'{"type":"track","userId":"u"}', b"\xff"]
)
def test_what_segment_never_sends_is_malformed(body):
    with pytest.raises(MalformedPayload):
        SEGMENT.events(incoming(body))


@pytest.mark.parametrize("fields", [{"messageId": None}, {"messageId": ""}, {"event": None}])
def test_a_message_that_cannot_be_told_apart_or_named_is_malformed(fields):
    with pytest.raises(MalformedPayload):
        SEGMENT.events(incoming(json.dumps(message(**fields))))


def test_an_id_that_fits_no_column_is_known_by_its_hash():
    for odd in ("a b", "é", "x" * 300, 7):
        (event,) = SEGMENT.events(incoming(json.dumps(message(messageId=odd))))
        assert event.key == ("7" if odd == 7 else event.key) and (odd == 7 or event.key.startswith("sha256:"))


# Batches: Segment signs the first event alone.


def signed_batch(body: bytes, first: bytes, **headers):
    return incoming(body, {"X-Signature": segment("shh", first), **headers})


def test_of_a_batch_only_what_the_signature_covers_is_believed():
    first = BATCH[1 : BATCH.index(b"},{") + 1]
    request = signed_batch(BATCH, first)
    assert SEGMENT.receiver.verify(SEGMENT.options, request).ok
    parsed = SEGMENT.receiver.parse(SEGMENT.options, request)
    assert [event.key for event in parsed.events] == ["m1"]
    assert parsed.ignored == {"not covered by the signature": 2}


def test_a_batch_whose_first_event_was_exchanged_is_refused():
    first = BATCH[1 : BATCH.index(b"},{") + 1]
    body = b'[{"type":"track","messageId":"evil","userId":"u9","event":"x"},' + BATCH[1:]
    assert not SEGMENT.receiver.verify(SEGMENT.options, signed_batch(body, first)).ok


def test_a_secret_header_vouches_for_the_whole_batch():
    first = BATCH[1 : BATCH.index(b"},{") + 1]
    request = signed_batch(BATCH, first, **{"X-Winback-Secret": HEADER_SECRET})
    assert WITH_HEADER.receiver.verify(WITH_HEADER.options, request).ok
    parsed = WITH_HEADER.receiver.parse(WITH_HEADER.options, request)
    assert [event.key for event in parsed.events] == ["m1", "m2"]
    assert parsed.ignored == {"nobody is named": 1}


def test_everything_that_is_configured_has_to_be_right():
    first = BATCH[1 : BATCH.index(b"},{") + 1]
    verify = WITH_HEADER.receiver.verify
    assert not verify(WITH_HEADER.options, signed_batch(BATCH, first)).ok
    assert not verify(WITH_HEADER.options, signed_batch(BATCH, b"x", **{"X-Winback-Secret": HEADER_SECRET})).ok
    only_header = SEGMENT.with_options(secret="", header_secret=HEADER_SECRET)
    assert only_header.receiver.verify(only_header.options, incoming(BATCH, {"X-Winback-Secret": HEADER_SECRET})).ok
    assert not only_header.receiver.verify(only_header.options, signed_batch(BATCH, first)).ok


def test_a_batch_that_is_signed_whole_is_believed_whole():
    request = signed_batch(BATCH, BATCH)
    assert SEGMENT.receiver.verify(SEGMENT.options, request).ok
    assert [event.key for event in SEGMENT.events(request)] == ["m1", "m2"]
    body = b'{"batch":' + BATCH + b"}"
    request = signed_batch(body, body)
    assert SEGMENT.receiver.verify(SEGMENT.options, request).ok
    assert [event.key for event in SEGMENT.events(request)] == ["m1", "m2"]


@pytest.mark.parametrize(
    ("body", "first"),
    [
        (b' [ {"a":1.0} , 2]', b'{"a":1.0}'),
        (b'["a"]', b'"a"'),
        ('[{"é":"☕"}]'.encode(), '{"é":"☕"}'.encode()),
        (b"[]", None),
        (b"[", None),
        (b"", None),
        (b'{"a":[1]}', None),
        (b"\xff[1]", None),
        (b"[" * 100_000, None),
    ],
)
def test_the_first_event_is_taken_byte_by_byte(body, first):
    assert first_of_batch(body) == first


def test_an_unsigned_batch_is_refused_without_being_read(monkeypatch):
    monkeypatch.setattr("webhooks.segment.first_of_batch", lambda _: pytest.fail("it was read"))
    assert not SEGMENT.receiver.verify(SEGMENT.options, incoming(BATCH)).ok

"""Whatever is sent to a receiver, it is refused, malformed or understood: nothing else ever happens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.errors import MalformedPayload
from connector.receivers import Event
from tests.fakes.incoming import BASE_URL, NOW, incoming, requests
from tests.fakes.vendor_deliveries import NOT_A_DELIVERY, VENDORS, bodies_of, body_of
from webhooks.signatures import NO_SECRET

DELIVERIES = [(name, fixture) for name in VENDORS for fixture in bodies_of(name) if fixture not in NOT_A_DELIVERY]
JSON_DELIVERIES = [(name, fixture) for name, fixture in DELIVERIES if fixture.endswith(".json")]
TRIGGERS = {"hubspot": "workflow_action.json", "salesforce": "call_out.json"}

odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["", "é", "\x00", "\ud800", "a@b.example", "2026-13-45", "9" * 300, "true", "0-1", -1, 10**18]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def mutated(draw, value: Any) -> Any:
    """The value with a few places of it replaced, added or taken away."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        place, parent = value, None
        while isinstance(place, dict | list) and place and draw(st.integers(0, 5)):
            keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            parent = (place, draw(st.sampled_from(keys)))
            place = place[parent[1]]
        if parent is None:
            if draw(st.integers(0, 9)) == 0:
                value = draw(odd)
        elif draw(st.booleans()):
            parent[0][parent[1]] = draw(odd)
        else:
            del parent[0][parent[1]]
    return value


def taken_apart(name: str, request: Any) -> None:
    """Parse and understand: either may call it malformed, and neither may do anything else."""
    vendor = VENDORS[name]
    try:
        parsed = vendor.receiver.parse(vendor.options, request)
    except MalformedPayload:
        return
    assert all(isinstance(count, int) and count > 0 for count in parsed.ignored.values())
    for event in parsed.events:
        check_storable(event)
        try:
            vendor.receiver.understand(vendor.options, event)
        except MalformedPayload:
            pytest.fail(f"{name} kept what it cannot understand")


def check_storable(event: Event) -> None:
    """Every database takes it: ASCII keys that fit, UTF-8 everywhere, aware times, JSON without NaN."""
    assert event.key.isascii() and 0 < len(event.key) <= 200
    assert 0 < len(event.kind.encode()) <= 20_000
    assert event.at is not None and event.at.tzinfo is not None
    text = json.dumps(event.payload, allow_nan=False, ensure_ascii=False)
    assert "\x00" not in text and "\\u0000" not in text
    text.encode()


@pytest.mark.parametrize(("name", "fixture"), DELIVERIES)
def test_what_is_documented_is_believed_and_understood(name, fixture):
    vendor = VENDORS[name]
    request = vendor.fixture(fixture)
    assert vendor.receiver.verify(vendor.options, request).ok
    parsed = vendor.receiver.parse(vendor.options, request)
    assert parsed.events or parsed.ignored
    taken_apart(name, request)


@pytest.mark.parametrize("name", VENDORS)
def test_a_sample_is_believed_and_understood(name):
    vendor = VENDORS[name]
    body = vendor.receiver.sample(vendor.options, "a-token", NOW)
    assert vendor.heard(vendor.delivery(body))


@pytest.mark.parametrize("name", VENDORS)
def test_understanding_needs_nothing_but_what_was_stored(name):
    vendor = VENDORS[name]
    for fixture in bodies_of(name):
        if fixture in NOT_A_DELIVERY:
            continue
        for event in vendor.events(vendor.fixture(fixture)):
            stored = Event(key=event.key, kind=event.kind, at=event.at, payload=json.loads(json.dumps(event.payload)))
            assert vendor.receiver.understand(vendor.options, stored) == vendor.receiver.understand(
                vendor.options, event
            )


@pytest.mark.parametrize(("name", "fixture"), JSON_DELIVERIES)
@given(st.data())
@settings(max_examples=15, deadline=None)
def test_a_documented_body_that_was_changed_is_understood_or_malformed(name, fixture, data):
    body = json.dumps(data.draw(mutated(json.loads(body_of(name, fixture)))))
    taken_apart(name, incoming(body, {"webhook-id": "msg_1"}))


@pytest.mark.parametrize(("name", "fixture"), DELIVERIES)
@given(st.data())
@settings(max_examples=15, deadline=None)
def test_a_documented_body_with_other_bytes_in_it_is_understood_or_malformed(name, fixture, data):
    body = body_of(name, fixture)
    start = data.draw(st.integers(0, len(body)))
    cut = data.draw(st.integers(0, 20))
    changed = body[:start] + data.draw(st.binary(max_size=8)) + body[start + cut :]
    taken_apart(name, incoming(changed, {"webhook-id": "msg_1"}))


@pytest.mark.parametrize("name", VENDORS)
@given(requests)
@settings(max_examples=30, deadline=None)
def test_what_nobody_signed_is_never_believed_and_never_breaks_anything(name, request_in):
    vendor = VENDORS[name]
    verdict = vendor.receiver.verify(vendor.options, request_in)
    assert not verdict.ok and verdict.reason
    if vendor.receiver.triggers is not None:
        assert not vendor.receiver.triggers.verify(vendor.options, request_in).ok
    taken_apart(name, request_in)


@pytest.mark.parametrize("name", VENDORS)
def test_without_a_secret_nothing_is_believed(name):
    vendor = VENDORS[name]
    secret_fields = {"client_secret", "secret", "token", "signing_secret", "header_secret"}
    none = dict.fromkeys(secret_fields & vendor.receiver.options.model_fields.keys(), ())
    bare = vendor.with_options(**none)
    for fixture in bodies_of(name):
        assert bare.receiver.verify(bare.options, vendor.fixture(fixture)).reason == NO_SECRET
    assert bare.receiver.verify(bare.options, incoming()).reason == NO_SECRET


@pytest.mark.parametrize(("name", "fixture"), TRIGGERS.items())
@given(st.data())
@settings(max_examples=30, deadline=None)
def test_a_workflows_call_that_was_changed_is_understood_or_malformed(name, fixture, data):
    vendor = VENDORS[name]
    body = json.dumps(data.draw(mutated(json.loads(body_of(name, fixture)))))
    try:
        call = vendor.receiver.triggers.parse(vendor.options, "evaluate", incoming(body, url=f"{BASE_URL}/t"))
    except MalformedPayload:
        return
    assert call.key.isascii() and len(call.key) <= 200
    assert all(isinstance(name, str) and isinstance(value, str) for name, value in call.inputs.items())
    repr(call).encode()


@pytest.mark.parametrize("name", VENDORS)
def test_no_secret_and_no_address_shows_in_what_a_receiver_says_of_a_body(name):
    vendor = VENDORS[name]
    for fixture, body in bodies_of(name).items():
        broken = body.replace(b"2026-11-01", b"canary").replace(b"17935272", b'"canary"').replace(b'"id"', b'"canary"')
        try:
            said = "".join(vendor.receiver.parse(vendor.options, incoming(broken, {"webhook-id": "m"})).ignored)
        except MalformedPayload as error:
            said = str(error)
        assert "canary" not in said and "@" not in said, fixture

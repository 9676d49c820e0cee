"""Whatever is sent to a survey receiver, it refuses or understands it; in whatever order it comes, the end is the same."""

from __future__ import annotations

import contextlib
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.errors import MalformedPayload
from connector.heard import Answered, ToFetch
from connector.receivers import Event
from tests.fakes.budget import CountingBudget
from tests.fakes.connections import KeptLines
from tests.fakes.http_server import Asked
from tests.fakes.incoming import requests
from tests.fakes.survey_vendors import (
    NOW,
    SurveyMonkeyApi,
    TypeformApi,
    ZigpollApi,
    answer,
    arriving,
    fixture,
    item,
    record,
)
from webhooks import surveymonkey, typeform, zigpoll

PATH = "0123456789abcdef0123456789abcdef"
TYPEFORM = typeform.TypeformOptions(secret="s", token="tfp_sample", forms=("aBcD12",), partials=True)
SURVEYMONKEY = surveymonkey.SurveyMonkeyOptions(
    client_id="c", client_secret="s", access_token="sm_sample", surveys=("123456",)
)
ZIGPOLL = zigpoll.ZigpollOptions(token=PATH, secret="0123456789abcdef", api_key="zp_sample", surveys=("p1",))
UNASKED = zigpoll.ZigpollOptions(token=PATH)
RECEIVERS = [
    (typeform.RECEIVER, TYPEFORM, "typeform", "form_response"),
    (typeform.RECEIVER, TYPEFORM, "typeform", "every_kind_of_answer"),
    (surveymonkey.RECEIVER, SURVEYMONKEY, "surveymonkey", "response_completed"),
    (zigpoll.RECEIVER, ZIGPOLL, "zigpoll", "survey_completed"),
    (zigpoll.RECEIVER, UNASKED, "zigpoll", "survey_completed"),
]
BY_NAME = [pytest.param(*one, id=f"{one[2]}-{number}") for number, one in enumerate(RECEIVERS)]


@pytest.mark.parametrize(("receiver", "options", "_system", "_name"), BY_NAME)
@settings(deadline=None, max_examples=25)
@given(asked=requests)
def test_nobody_is_believed_by_chance_and_nothing_is_raised(receiver, options, _system, _name, asked):
    assert not receiver.verify(options, asked).ok


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(
        ["\ud800", "a\x00b", "2026-11-01T10:00:00+25:00", "<p", "&#0;", "&#xd800;", 10**30, 253402300800000]
    ),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=8), parts, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize(("receiver", "options", "system", "name"), BY_NAME)
@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_a_body_changed_anywhere_is_understood_or_refused(receiver, options, system, name, data):
    body = fixture(system, name)
    for _ in range(data.draw(st.integers(1, 3))):
        body = changed(body, data.draw(st.sampled_from(places(body))), data.draw(values))
    try:
        parsed = receiver.parse(options, arriving(json.dumps(body).encode()))
    except MalformedPayload:
        return
    assert parsed.events or parsed.ignored
    for event in parsed.events:
        stored = json.dumps(event.payload, allow_nan=False, ensure_ascii=False)
        assert "\x00" not in stored and stored.encode()
        assert event.at is not None and event.at.tzinfo is not None
        assert 0 < len(event.key) <= 200
        heard = receiver.understand(options, again(event))
        assert all(isinstance(one, Answered | ToFetch) for one in heard)


@pytest.mark.parametrize(("receiver", "options", "_system", "_name"), BY_NAME)
@settings(deadline=None, max_examples=40)
@given(body=st.binary(max_size=100) | values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_understood_or_refused(receiver, options, _system, _name, body):
    with contextlib.suppress(MalformedPayload):
        receiver.parse(options, arriving(body))


def again(event: Event) -> Event:
    """The event as it comes out of the inbox."""
    return Event(key=event.key, kind=event.kind, at=event.at, payload=json.loads(json.dumps(event.payload)))


class Straight:
    """A vendor asked without a network between."""

    def __init__(self, vendor: Any, options: Any) -> None:
        self.vendor, self.options = vendor, options
        self.reporter = KeptLines()
        self.budget = CountingBudget(vendor.clock)

    def now(self) -> datetime:
        return self.vendor.clock.now()

    def get_json(self, path, params=None):
        self.vendor.clock.advance(1)
        key = {"typeform": "Bearer tfp_sample", "surveymonkey": "Bearer sm_sample"}.get(self.system, "zp_sample")
        query = {name: [value] for name, value in (params or {}).items()}
        said = self.vendor(Asked("GET", urlsplit("/" + path).path, query, {"Authorization": key}, b""))
        assert said.status == 200, said.body
        return json.loads(json.dumps(said.body))

    @property
    def system(self) -> str:
        return type(self.options).__name__.removesuffix("Options").lower()


def end(receiver, options, events) -> dict[str, Answered]:
    """What the answers come to: an event counts once, a finished answer wins over an unfinished one, then the later."""
    counted = {event.key: again(event) for event in events}
    state: dict[str, tuple[tuple[bool, datetime, str], Answered]] = {}
    for key, event in counted.items():
        for heard in receiver.understand(options, event):
            if isinstance(heard, Answered):
                rank = (heard.complete, heard.at, key)
                state[heard.response] = max(
                    state.get(heard.response, (rank, heard)), (rank, heard), key=lambda one: one[0]
                )
    return {response: heard for response, (_, heard) in state.items()}


def typeform_events():
    body = fixture("typeform", "form_response")
    begun = fixture("typeform", "form_response_partial")
    told = [typeform.RECEIVER.parse(TYPEFORM, arriving(one)).events[0] for one in (begun, body)]
    at = datetime(2026, 11, 1, 10, tzinfo=UTC)
    items = [fixture("typeform", "response_item"), item("other", at)]
    server = TypeformApi(forms={"aBcD12": fixture("typeform", "form")}, items={"aBcD12": items})
    read = list(typeform.RECEIVER.backfill(Straight(server, TYPEFORM), at))
    return typeform.RECEIVER, TYPEFORM, told + read


def surveymonkey_events():
    begun = answer(1, NOW - timedelta(minutes=5), response_status="partial", pages=[])
    done = [answer(1, NOW), answer(2, NOW - timedelta(minutes=1))]
    server = SurveyMonkeyApi(details={"123456": fixture("surveymonkey", "survey_details")})
    api = Straight(server, SURVEYMONKEY)
    server.responses["123456"] = [begun, done[1]]
    read = list(surveymonkey.RECEIVER.fetch(api, "123456", ["1"]))
    server.responses["123456"] = done
    read += surveymonkey.RECEIVER.fetch(api, "123456", ["2", "1"])
    read += surveymonkey.RECEIVER.backfill(api, NOW - timedelta(hours=1))
    hints = [fixture("surveymonkey", name) for name in ("response_completed", "response_updated")]
    told = [surveymonkey.RECEIVER.parse(SURVEYMONKEY, arriving(one)).events[0] for one in hints]
    return surveymonkey.RECEIVER, SURVEYMONKEY, told + read


def zigpoll_events():
    server = ZigpollApi(slides={"p1": fixture("zigpoll", "slides")})
    api = Straight(server, ZIGPOLL)
    read: list[Event] = []
    for number, slide in enumerate(("s1", "s2", "s3")):
        server.records.append(record(number, server.clock.now(), slideId=slide, response=f"{number}"))
        read += zigpoll.RECEIVER.backfill(api, server.clock.now() - timedelta(minutes=1))
        server.clock.advance(60)
    read += zigpoll.RECEIVER.fetch(api, "p1", ["pt1"])
    read += zigpoll.RECEIVER.fetch(api, "p1", ["*"])
    server.clock.advance(3_600)
    read += zigpoll.RECEIVER.backfill(api, server.clock.now() - timedelta(hours=1))
    told = zigpoll.RECEIVER.parse(ZIGPOLL, arriving(fixture("zigpoll", "survey_completed"))).events
    return zigpoll.RECEIVER, ZIGPOLL, [*told, *read]


@pytest.mark.parametrize("made", [typeform_events, surveymonkey_events, zigpoll_events])
def test_any_order_and_repetition_of_told_asked_and_missed_comes_to_the_same(made):
    receiver, options, events = made()
    settled = end(receiver, options, events)
    assert settled and all(one.complete for one in settled.values())
    assert len({event.key for event in events}) < len(events), "some came twice by different ways"
    for seed in range(50):
        shuffler = random.Random(seed)
        mixed = events * 2
        shuffler.shuffle(mixed)
        assert end(receiver, options, mixed) == settled

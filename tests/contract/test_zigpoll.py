"""Zigpoll: unsigned deliveries are let in by their address alone, and what counts is what its API says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from hypothesis import given as given_that
from hypothesis import settings
from hypothesis import strategies as st
from pydantic import ValidationError

from connector.errors import CredentialsError, MalformedPayload, RejectedError
from connector.heard import Answered, Given, ToFetch, Who
from connector.paging import PagingError
from connector.receivers import Event
from tests.fakes.survey_vendors import NOW, TOKEN, ZigpollApi, arriving, asking, fixture, keys, record
from webhooks.zigpoll import RECEIVER, ZigpollOptions

PATH = "0123456789abcdef0123456789abcdef"
POLL = "p1"
BARE = ZigpollOptions(token=PATH, questions={"s1": "reason", "s2": "score"}, choices={"PRICE": "price"})
OPTIONS = ZigpollOptions(
    token=PATH,
    api_key="zp_sample",
    surveys=(POLL,),
    questions={"s1": "reason", "s2": "score"},
    choices={"price": "price"},
)
AT = datetime(2026, 11, 1, 10, tzinfo=UTC)


# Who is believed.


def test_the_secret_part_of_the_address_lets_a_delivery_in():
    older = "fedcba9876543210fedcba9876543210"
    options = ZigpollOptions(token=[PATH, older])
    assert RECEIVER.verify(options, arriving(b"{}", token=PATH)).ok
    assert RECEIVER.verify(options, arriving(b"{}", token=older)).ok
    for wrong in (None, "", PATH[:-1], PATH + "0", PATH.upper(), "é" * 32):
        assert not RECEIVER.verify(options, arriving(b"{}", token=wrong)).ok
    assert not RECEIVER.verify(ZigpollOptions(), arriving(b"{}", token=PATH)).ok


def test_a_second_secret_in_a_header_is_asked_for_where_one_is_set():
    options = ZigpollOptions(token=PATH, secret="the-second-secret")
    assert not RECEIVER.verify(options, arriving(b"{}", token=PATH)).ok
    assert not RECEIVER.verify(options, arriving(b"{}", token=PATH, X_Winback_Secret="first")).ok
    assert not RECEIVER.verify(options, arriving(b"{}", token="x" * 32, X_Winback_Secret="the-second-secret")).ok
    assert RECEIVER.verify(options, arriving(b"{}", token=PATH, X_Winback_Secret="the-second-secret")).ok
    assert RECEIVER.sign(options, "POST", "", b"", NOW) == {"x-winback-secret": "the-second-secret"}


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("0123456789abcdef0123456789abcde", "128 are needed"),
        ("correcthorsebatterystaple", None),
        ("correct-horse-1", "128 are needed"),
        ("Zm9vYmFyYmF6cXV4cXV1", "128 are needed"),
        ("Zm9vYmFyYmF6cXV4cXV1eD", None),
        ("1" * 64, "different signs"),
        ("12345678901234567890123456789012345678", "128 are needed"),
        ("0123456789abcdef/123456789abcdef", "only letters"),
        ("0123456789abcdef 0123456789abcdef", "only letters"),
    ],
)
def test_a_secret_address_that_could_be_guessed_is_refused_at_load(token, why):
    if why is None:
        assert ZigpollOptions(token=token).token
        return
    with pytest.raises(ValidationError, match=why) as told:
        ZigpollOptions(token=[PATH, token])
    assert token not in str(told.value)
    assert "openssl rand" in str(told.value)


# What a delivery says.


def test_a_delivery_is_a_hint_and_nothing_of_it_is_kept_where_the_api_can_be_asked():
    (event,) = RECEIVER.parse(OPTIONS, arriving(fixture("zigpoll", "survey_completed"))).events
    assert event.payload == {"poll": POLL, "participant": "pt1"}
    (to_fetch,) = RECEIVER.understand(OPTIONS, event)
    at = datetime(2026, 11, 1, 10, 4, tzinfo=UTC)
    assert to_fetch == ToFetch(at=at, source="zigpoll", survey=POLL, responses=("pt1",))


def test_without_an_api_key_the_delivery_is_all_there_is():
    (event,) = RECEIVER.parse(BARE, arriving(fixture("zigpoll", "survey_completed"))).events
    (answered,) = RECEIVER.understand(BARE, event)
    assert isinstance(answered, Answered)
    assert (answered.who, answered.response, answered.complete) == (Who(token=TOKEN), "p1:pt1", True)
    assert [(one.question, one.kind, one.text) for one in answered.answers] == [
        ("s1", "choice", "Too expensive"),
        ("s3", "text", "I would return with SSO & audit logs"),
    ]
    assert "ada" not in json.dumps(event.payload), "an address in clear is neither believed nor kept"


def test_without_an_api_key_and_without_answers_nothing_was_told():
    assert RECEIVER.parse(BARE, arriving(fixture("zigpoll", "poll_only"))).ignored == {"nothing_told": 1}


def test_a_hint_about_nobody_asks_for_everybody_and_those_of_one_minute_are_one():
    def key(at):
        (event,) = RECEIVER.parse(OPTIONS, arriving(fixture("zigpoll", "poll_only"), at=at)).events
        assert RECEIVER.understand(OPTIONS, event)[0].responses == ("*",)
        return event.key

    assert key(NOW) == key(NOW + timedelta(seconds=59))
    assert key(NOW) != key(NOW + timedelta(minutes=1))


def test_the_same_delivery_is_the_same_event_whenever_it_comes():
    body = fixture("zigpoll", "survey_completed")
    first, second = (RECEIVER.parse(OPTIONS, arriving(body, at=at)).events[0] for at in (NOW, NOW + timedelta(days=1)))
    assert first == second
    another = RECEIVER.parse(OPTIONS, arriving({**body, "responses": []})).events[0]
    assert another.key != first.key


def test_a_delivery_cannot_claim_to_be_from_the_future():
    body = {**fixture("zigpoll", "survey_completed"), "createdAt": "2099-01-01T00:00:00Z"}
    assert RECEIVER.parse(OPTIONS, arriving(body)).events[0].at == NOW
    assert RECEIVER.parse(OPTIONS, arriving({**body, "createdAt": 1_762_000_000_000})).events[0].at < NOW


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_form_is_taken_too(wrapped):
    body = fixture("zigpoll", "survey_completed")
    flat = {name: value if isinstance(value, str) else json.dumps(value) for name, value in body.items()}
    form = urlencode({"payload": json.dumps(body)} if wrapped else flat).encode()
    request = arriving(form, Content_Type="application/x-www-form-urlencoded; charset=utf-8")
    (event,) = RECEIVER.parse(BARE, request).events
    assert RECEIVER.understand(BARE, event)[0].who == Who(token=TOKEN)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "no_poll"),
        ({"event": "test"}, "no_poll"),
        ({"data": {"pollId": "other"}}, "unknown_survey"),
        ({"pollId": "other", "participantId": "pt1"}, "unknown_survey"),
    ],
)
def test_what_is_not_wanted_is_ignored_with_a_reason(body, reason):
    found = RECEIVER.parse(OPTIONS, arriving(body))
    assert (list(found.events), found.ignored) == ([], {reason: 1})
    assert RECEIVER.reply(OPTIONS, found).status == 200


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b"", False),
        (b"[]", False),
        (b'{"pollId":"../me"}', False),
        (b'{"pollId":"p1","responses":[7]}', False),
        (b"payload=%7B", True),
        (b"payload=%7B%22a%22%3A1%2C%22a%22%3A2%7D", True),
        (b"\xff\xfe=1", True),
        (b"&".join(b"a=1" for _ in range(1_001)), True),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(body, form):
    headers = {"Content_Type": "application/x-www-form-urlencoded"} if form else {}
    with pytest.raises(MalformedPayload):
        RECEIVER.parse(OPTIONS, arriving(body, **headers))


# Asking for answers.


def vendor(*records, **changes) -> ZigpollApi:
    return ZigpollApi(records=list(records), slides={POLL: fixture("zigpoll", "slides")}, **changes)


def fetched(server: ZigpollApi, *participants: str, options: ZigpollOptions = OPTIONS):
    with asking(RECEIVER, options, server) as (api, asked):
        return list(RECEIVER.fetch(api, POLL, participants)), asked.asked, api.reporter.lines


def missed(server: ZigpollApi, since: datetime, options: ZigpollOptions = OPTIONS):
    with asking(RECEIVER, options, server) as (api, asked):
        return list(RECEIVER.backfill(api, since)), asked.asked, api.reporter.lines


def understood(event: Event, options: ZigpollOptions = OPTIONS) -> Answered:
    """As the worker does it: out of the inbox's JSON."""
    stored = Event(key=event.key, kind=event.kind, at=event.at, payload=json.loads(json.dumps(event.payload)))
    (answered,) = RECEIVER.understand(options, stored)
    assert isinstance(answered, Answered)
    return answered


def test_records_of_one_person_are_one_response():
    (event,), _, _ = fetched(vendor(*fixture("zigpoll", "records")), "pt1")
    answered = understood(event)
    assert (answered.who, answered.survey, answered.response) == (Who(token=TOKEN), POLL, "p1:pt1")
    assert (answered.at, answered.complete) == (datetime(2026, 11, 1, 10, 4, tzinfo=UTC), True)
    assert answered.answers == (
        Given(question="s1", kind="choice", title="Why did you leave?", choice=("price",), text="Too expensive"),
        Given(
            question="s2",
            kind="score",
            title="How likely are you to recommend us?",
            choice=("6",),
            text="6",
            number=6.0,
        ),
        Given(
            question="s3", kind="text", title="What would bring you back?", text="I would return with SSO & audit logs"
        ),
    )
    kept = json.dumps(event.payload)
    assert "ada" not in kept and "shopify" not in kept and "hs_1001" not in kept


def test_what_a_hint_claims_is_confirmed_by_asking():
    (hint,) = RECEIVER.parse(OPTIONS, arriving({"pollId": POLL, "participantId": "forged"})).events
    (to_fetch,) = RECEIVER.understand(OPTIONS, hint)
    events, _, lines = fetched(vendor(*fixture("zigpoll", "records")), *to_fetch.responses)
    assert events == []
    assert "1 announced answers are not there" in lines[0]


def test_a_record_changed_on_the_way_counts_as_it_was_left():
    first = record(1, NOW - timedelta(minutes=3), response="Not now", answers=None)
    second = record(2, NOW - timedelta(minutes=2))
    (event,), _, _ = fetched(vendor(first, second), "pt1")
    assert [given.text for given in understood(event).answers] == ["Too expensive"]


def test_everybody_who_answered_lately_is_read_on_a_hint_about_nobody():
    server = vendor(record(1, NOW - timedelta(minutes=3)), record(2, NOW - timedelta(hours=2), participantId="pt2"))
    events, _, _ = fetched(server, "*")
    assert {event.payload["participant"]: event.payload["complete"] for event in events} == {"pt1": False, "pt2": True}


def test_an_answer_announced_long_ago_is_looked_for_further_back():
    server = vendor(record(1, NOW - timedelta(days=9)))
    events, asked, _ = fetched(server, "pt1")
    assert keys(events) == ["final:p1:pt1:66a0000001"]
    assert [request.path for request in asked] == ["/responses", "/responses", "/slides"]


@pytest.mark.parametrize(("pause", "responses"), [(timedelta(minutes=30), 1), (timedelta(minutes=31), 2)])
def test_after_a_long_pause_it_is_another_response(pause, responses):
    start = NOW - timedelta(hours=3)
    server = vendor(record(1, start), record(2, start + pause, slideId="s3", valueType="dynamic-response"))
    events, _, _ = missed(server, start)
    assert len(events) == responses
    assert {understood(event).response for event in events} == {"p1:pt1"}


def test_a_response_is_unfinished_until_nothing_came_for_half_an_hour():
    server = vendor(record(1, NOW - timedelta(minutes=20)))
    (begun,), _, _ = missed(server, NOW - timedelta(minutes=15))
    server.clock.advance(15 * 60)
    (finished,), _, _ = missed(server, NOW)
    assert (begun.key, finished.key) == ("partial:p1:pt1:66a0000001", "final:p1:pt1:66a0000001")
    assert [understood(event).complete for event in (begun, finished)] == [False, True]
    announced, _, _ = fetched(server, "pt1")
    assert announced == [finished], "asked for or found, it is the same event"


def test_no_response_is_seen_without_its_beginning():
    start = NOW - timedelta(hours=4)
    server = vendor(
        *(record(number, start + timedelta(minutes=25 * number), slideId=f"s{number}") for number in range(8))
    )
    last = start + timedelta(minutes=25 * 7)
    (event,), _, _ = missed(server, last - timedelta(minutes=1))
    assert len(understood(event).answers) == 8


@settings(deadline=None, max_examples=15)
@given_that(st.permutations(range(6)), st.lists(st.integers(0, 200), min_size=6, max_size=6, unique=True))
def test_in_whatever_order_records_are_listed_the_events_are_the_same(order, minutes):
    records = [
        record(number, AT + timedelta(minutes=minute), participantId=f"pt{number % 2}", slideId=f"s{number}")
        for number, minute in enumerate(minutes)
    ]
    from webhooks.zigpoll_records import Stored, visits

    def seen(numbers):
        return sorted(
            (visit.participant, *(one.id for one in visit.records))
            for visit in visits([Stored.model_validate(records[number]) for number in numbers])
        )

    assert seen(order) == seen(range(6))


def test_all_pages_are_read_each_record_once(monkeypatch):
    monkeypatch.setattr("webhooks.zigpoll_records.PAGE_SIZE", 7)
    records = [record(number, NOW - timedelta(minutes=number), participantId=f"pt{number}") for number in range(40)]
    events, asked, lines = missed(vendor(*records), NOW - timedelta(hours=1))
    assert len(set(keys(events))) == 40
    assert [request.query["limit"] for request in asked if request.path == "/responses"] == [["7"]] * 6
    assert lines == []


def test_a_last_page_that_leads_to_itself_is_the_end():
    events, _, lines = missed(vendor(*fixture("zigpoll", "records"), repeats=True), AT)
    assert len(events) == 1
    assert "taken as the end" in lines[0]


def test_a_full_page_that_comes_twice_is_not_taken_for_the_end(monkeypatch):
    monkeypatch.setattr("webhooks.zigpoll_records.PAGE_SIZE", 3)
    with pytest.raises(PagingError):
        missed(vendor(*fixture("zigpoll", "records"), repeats=True), AT)


def test_nothing_new_costs_one_call():
    events, asked, _ = missed(vendor(), NOW)
    assert (events, len(asked)) == ([], 1)
    overlap = NOW - timedelta(minutes=10 + 30) - timedelta(hours=6)
    assert asked[0].query["createdAfter"] == [str(int(overlap.timestamp() * 1_000))]


def test_the_whole_account_is_read_where_no_polls_are_listed():
    options = OPTIONS.model_copy(update={"surveys": (), "account_id": "a1"})
    server = vendor(record(1, NOW), record(2, NOW, pollId="p2"))
    events, asked, _ = missed(server, NOW, options)
    assert sorted(event.payload["poll"] for event in events) == ["p1", "p2"]
    assert asked[0].query["accountId"] == ["a1"]
    _, asked, lines = missed(server, NOW, OPTIONS.model_copy(update={"surveys": ()}))
    assert asked == [] and "account_id" in lines[0]


def test_a_record_that_cannot_be_read_does_not_hide_the_others():
    events, _, lines = missed(vendor(record(1, NOW, participantId=None), record(2, NOW)), NOW)
    assert keys(events) == ["partial:p1:pt1:66a0000002"]
    assert len(lines) == 1 and "left out" in lines[0]


def test_a_wrong_key_is_told_from_a_wrong_question_though_both_are_answered_422():
    with pytest.raises(CredentialsError) as told:
        missed(vendor(bearer=True), NOW)
    assert "authorization: bearer" in told.value.hint
    events, _, _ = missed(vendor(bearer=True), NOW, OPTIONS.model_copy(update={"authorization": "bearer"}))
    assert events == []
    server = vendor(*fixture("zigpoll", "records"))
    server.slides = None
    with pytest.raises(RejectedError):
        missed(RefusesQuestions(server), AT)


class RefusesQuestions:
    """Knows the key and refuses everything else."""

    def __init__(self, server: ZigpollApi) -> None:
        self._server = server
        self.clock = server.clock

    def __call__(self, asked):
        said = self._server(asked)
        return said if asked.path == "/me" else type(said)(422, {"error": "Unprocessable"})


def test_a_sample_is_believed_and_understood():
    body = RECEIVER.sample(BARE, TOKEN, NOW)
    request = arriving(body, token=PATH, **RECEIVER.sign(BARE, "POST", "", body, NOW))
    assert RECEIVER.verify(BARE, request).ok
    (event,) = RECEIVER.parse(BARE, request).events
    answered = understood(event, BARE)
    assert (answered.who, answered.at) == (Who(token=TOKEN), NOW)
    assert answered.answers[0].choice == ("PRICE",)
    assert RECEIVER.needs_token

"""PostHog's events and survey answers, in our own words."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from connector.errors import MalformedPayload
from connector.heard import Answered, Given, Used, Who
from tests.fakes.incoming import incoming
from tests.fakes.vendor_deliveries import HEADER_SECRET, VENDORS, body_of

POSTHOG = VENDORS["posthog"]
AT = datetime(2026, 11, 1, 9, 59, 58, tzinfo=UTC)
ADA = Who(external_id="u1", email="ada@example.com")


def changed(name: str = "event.json", /, person: object = None, **fields):
    """A documented body with other fields on its event."""
    delivery = json.loads(body_of("posthog", name))
    delivery["event"] |= fields
    if person is not None:
        delivery["person"] = person
    return POSTHOG.delivery(json.dumps(delivery).encode())


def test_what_somebody_did_is_use_of_that_feature():
    assert POSTHOG.heard(POSTHOG.fixture("event.json")) == [
        Used(who=ADA, at=AT, feature="report opened", event_id="0192e5a1-7c3b-7f5e-9d2a-1b2c3d4e5f60")
    ]


def test_an_address_that_serves_as_an_id_is_an_address_too():
    (told,) = POSTHOG.heard(changed(person={}, distinct_id="ada@example.com"))
    assert told.who == Who(external_id="ada@example.com", email="ada@example.com")


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ("$pageview", "PostHog's own event"),
        ("$autocapture", "PostHog's own event"),
        ("survey shown", "a survey without an answer"),
        ("winback enrolled", "our own event"),
    ],
)
def test_what_is_no_use_is_counted_by_why(event, why):
    parsed = POSTHOG.receiver.parse(POSTHOG.options, changed(event=event))
    assert not parsed.events and parsed.ignored == {why: 1}


def test_events_of_posthogs_own_count_where_the_playbook_says_so():
    vendor = POSTHOG.with_options(dollar_events=["$pageview"])
    assert [one.feature for one in vendor.heard(changed(event="$pageview"))] == ["$pageview"]
    assert not vendor.heard(changed(event="$autocapture"))


def test_nobody_is_named_without_an_id_and_an_address():
    parsed = POSTHOG.receiver.parse(POSTHOG.options, changed(person={"properties": None}, distinct_id=None))
    assert parsed.ignored == {"nobody is named": 1}


def test_a_survey_is_answered_question_by_question():
    vendor = POSTHOG.with_options(questions={"2": "score"}, choices={"too expensive": "price"})
    (told,) = vendor.heard(vendor.fixture("survey_sent.json"))
    assert told == Answered(
        who=ADA,
        at=AT,
        source="posthog",
        survey="s-1",
        response="sub-1",
        complete=True,
        answers=(
            Given(question="0", kind="choice", choice=("too expensive",), text="Too expensive"),
            Given(question="1", kind="choice", choice=("Missing feature", "Support"), text="Missing feature; Support"),
            Given(question="2", kind="score", text="7", number=7.0),
            Given(question="3", kind="text", text="It was fine, really"),
        ),
    )


def test_newer_surveys_name_their_questions_and_are_not_read_twice():
    properties = {
        "$survey_id": "s-2",
        "$survey_response": "no",
        "$survey_response_9f2c-q": "no",
        "$survey_completed": False,
    }
    (told,) = POSTHOG.heard(changed("survey_sent.json", properties=properties))
    assert [answer.question for answer in told.answers] == ["9f2c-q"]
    assert told.response == "0192e5a1-7c3b-7f5e-9d2a-1b2c3d4e5f61"
    assert not told.complete


def test_only_what_is_read_is_kept():
    (event,) = POSTHOG.events(POSTHOG.fixture("event.json"))
    assert event.kind == "event"
    assert event.payload == {
        "event": "report opened",
        "distinct_id": "u1",
        "email": "ada@example.com",
        "complete": True,
        "answers": [],
    }


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"event":"x"}',
        b'{"event":{}}',
        b'{"event":{"event":"x"}}',
        b'{"event":{"event":"x","uuid":""}}',
        b'{"event":{"event":"x","uuid":"u","distinct_id":[]}}',
        b'{"event":{"event":"x","uuid":"u","properties":[]}}',
        b'{"event":{"event":"x","uuid":"u"},"person":[]}',
        b"{event}",
    ],
)
def test_what_posthog_never_sends_is_malformed(body):
    with pytest.raises(MalformedPayload):
        POSTHOG.events(incoming(body))


@pytest.mark.parametrize("secret", ["", "wrong", HEADER_SECRET.upper()])
def test_without_the_header_nothing_is_believed(secret):
    request = incoming(body_of("posthog", "event.json"), {"X-Winback-Secret": secret})
    assert not POSTHOG.receiver.verify(POSTHOG.options, request).ok


def test_a_secret_that_could_be_guessed_is_refused():
    with pytest.raises(ValidationError, match="shorter than 16"):
        POSTHOG.with_options(secret="guess me")

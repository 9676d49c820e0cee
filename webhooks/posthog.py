"""PostHog: what people do in the product, and answers to its surveys, from an HTTP Webhook destination.

Nothing is signed: a secret comes in a header. The body is the destination's own default,
`{"event": {…}, "person": {…}}`, so nothing has to be templated; add the header `X-Winback-Secret` there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import Field

from connector.heard import Answered, Given, Heard, Used, Who
from connector.receivers import Event, Incoming, Parsed, Receiver, ReceiverOptions, Verdict
from webhooks.payloads import (
    Id,
    Payload,
    SharedSecrets,
    Text,
    checked,
    happened,
    is_ours,
    key_of,
    mail_address,
    read_json,
)
from webhooks.signatures import SHARED_SECRET_HEADER, newest, verify_shared_secret
from webhooks.surveys import given

_SURVEY: Final = "survey sent"
_SURVEY_ONLY: Final = frozenset({"survey abandoned", "survey dismissed", "survey shown"})
_RESPONSE: Final = "$survey_response"
_MOST_ANSWERS: Final = 100


class PostHogOptions(ReceiverOptions):
    """An HTTP Webhook destination in PostHog."""

    secret: SharedSecrets = Field(
        default=(), description=f"what the destination sends as {SHARED_SECRET_HEADER}; several, newest first"
    )
    dollar_events: tuple[str, ...] = Field(
        default=(), description="events of PostHog's own that count as use ($pageview, $screen); none by default"
    )


class _Happened(Payload):
    event: Text
    uuid: Id
    distinct_id: Text | None = None
    timestamp: Text | None = None
    properties: Mapping[str, Any] = Field(default_factory=dict)


class _Person(Payload):
    properties: Mapping[str, Any] | None = None


class Delivery(Payload):
    """A body as the destination makes it by default."""

    event: _Happened
    person: _Person | None = None


class _Kind(Payload):
    """What has to be known of an event before it is known whether we want it."""

    event: Text


class _Outline(Payload):
    event: _Kind


class _Answer(Payload):
    question: Text
    values: tuple[Text, ...] = ()
    number: float | None = None


class _Stored(Payload):
    """What is kept of an event."""

    event: Text
    distinct_id: Text | None = None
    email: Text | None = None
    survey: Text | None = None
    response: Text | None = None
    complete: bool = True
    answers: tuple[_Answer, ...] = ()


def verify(options: PostHogOptions, incoming: Incoming) -> Verdict:
    """By the secret in its header."""
    return verify_shared_secret(incoming, options.secret)


def parse(options: PostHogOptions, incoming: Incoming) -> Parsed:
    """The one event of a delivery."""
    body = read_json(incoming.body, "posthog")
    unwanted = _unwanted(options, checked(_Outline, body, "posthog").event.event)
    if unwanted:
        return Parsed((), {unwanted: 1})
    delivery = checked(Delivery, body, "posthog")
    told = delivery.event
    known = (delivery.person.properties or {}) if delivery.person else {}
    stored = _Stored(
        event=told.event,
        distinct_id=told.distinct_id,
        email=mail_address(known.get("email")) or mail_address(told.distinct_id),
        **(_survey(told) if told.event == _SURVEY else {}),
    )
    if not (stored.distinct_id or stored.email):
        return Parsed((), {"nobody is named": 1})
    at = happened((told.timestamp,), incoming.received_at)
    return Parsed(
        [Event(key=key_of(told.uuid), kind=_SURVEY if told.event == _SURVEY else "event", payload=stored.kept(), at=at)]
    )


def _unwanted(options: PostHogOptions, name: str) -> str | None:
    """Why an event is not wanted, in one of few words; None when it is."""
    if is_ours(name):
        return "our own event"
    if name in _SURVEY_ONLY:
        return "a survey without an answer"
    if name.startswith("$") and name not in options.dollar_events:
        return "PostHog's own event"
    return None


def _survey(told: _Happened) -> dict[str, Any]:
    """The answers of a `survey sent`: one property per question, named by its number or, in newer ones, by its id."""
    properties = told.properties
    named = {
        name.removeprefix(_RESPONSE).lstrip("_") or "0": value
        for name, value in sorted(properties.items())
        if name == _RESPONSE or name.startswith(f"{_RESPONSE}_")
    }
    # Newer ones send both for old readers' sake; then the ids are the questions' own names.
    by_id = {question: value for question, value in named.items() if not question.isdecimal()}
    answers = [_answer(question, value) for question, value in (by_id or named).items()]
    return {
        "survey": str(properties.get("$survey_id") or "")[:200],
        "response": str(properties.get("$survey_submission_id") or told.uuid)[:200],
        "complete": properties.get("$survey_completed") is not False,
        "answers": [answer for answer in answers[:_MOST_ANSWERS] if answer["values"]],
    }


def _answer(question: str, value: Any) -> dict[str, Any]:
    values = value if isinstance(value, list) else [value]
    words = [str(one) for one in values if isinstance(one, str | int | float) and not isinstance(one, bool)]
    return {"question": question, "values": [word for word in words if word], "number": _number(value)}


def _number(value: Any) -> float | None:
    """A rating, which PostHog writes as a number or as its digits."""
    if isinstance(value, str) and value.isdecimal() and len(value) <= len("10"):
        return float(value)
    return float(value) if type(value) is int and abs(value) <= 1_000 else None  # noqa: PLR2004 - no scale is longer


def understand(options: PostHogOptions, event: Event) -> Sequence[Heard]:
    """What one event means."""
    told = checked(_Stored, event.payload, "posthog")
    if event.at is None:
        return ()
    meaning = _MEANINGS.get(event.kind, _used)
    return meaning(options, event, told, event.at)


def _used(_options: PostHogOptions, event: Event, told: _Stored, at: datetime) -> Sequence[Heard]:
    return (Used(who=_who(told), at=at, feature=told.event, event_id=event.key),)


def _answered(options: PostHogOptions, event: Event, told: _Stored, at: datetime) -> Sequence[Heard]:
    return (
        Answered(
            who=_who(told),
            at=at,
            source="posthog",
            survey=told.survey or "",
            response=told.response or event.key,
            answers=tuple(_given(options, answer) for answer in told.answers),
            complete=told.complete,
        ),
    )


def _given(options: PostHogOptions, answer: _Answer) -> Given:
    """One answer. PostHog sends a choice as its label alone: what the playbook lists under `choices` is one."""
    text = "; ".join(answer.values)
    if answer.number is not None:
        return given(options, [answer.question], "score", text=text, number=answer.number)
    choices = {choice.casefold() for choice in options.choices}
    if len(answer.values) > 1 or any(value.casefold() in choices for value in answer.values):
        return given(options, [answer.question], "choice", choices=[(value,) for value in answer.values])
    return given(options, [answer.question], "text", text=text)


def _who(told: _Stored) -> Who:
    return Who(external_id=told.distinct_id, email=told.email)


_MEANINGS: Mapping[str, Callable[[PostHogOptions, Event, _Stored, datetime], Sequence[Heard]]] = {_SURVEY: _answered}


def sign(options: PostHogOptions, _method: str, _url: str, _body: bytes, _now: datetime) -> Mapping[str, str]:
    """The header the destination is told to send."""
    return {"X-Winback-Secret": newest(options.secret)}


def sample(_options: PostHogOptions, _token: str, now: datetime) -> bytes:
    """Somebody nobody knows opens a report."""
    delivery = {
        "event": {
            "uuid": f"winback-test-{int(now.timestamp() * 1_000)}",
            "event": "report opened",
            "distinct_id": "winback-test",
            "properties": {"$lib": "web"},
            "elements_chain": "",
            "timestamp": now.isoformat(),
        },
        "person": {"id": "winback-test", "properties": {}},
    }
    return json.dumps(delivery, separators=(",", ":")).encode()


RECEIVER = Receiver(
    name="posthog",
    title="PostHog",
    options=PostHogOptions,
    verify=verify,
    parse=parse,
    understand=understand,
    sign=sign,
    sample=sample,
    # Nothing carries a signed moment: what was heard once has to be known again as long as anybody may repeat it.
    dedupe_for=timedelta(days=400),
)

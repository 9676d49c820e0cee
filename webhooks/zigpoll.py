"""Zigpoll: its webhooks are unsigned and hardly documented, so they are hints; what counts is read through its API.

An address with a secret part is all that vouches for a delivery. Answers are stored one question at a time; all that
one person answered to one survey, with no longer pause than half an hour, is one response here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

from pydantic import AliasChoices, Field, SecretStr

from connector.contracts import Limits
from connector.errors import MalformedPayload
from connector.heard import Answered, Given, Heard, ToFetch
from connector.receivers import Api, Event, Incoming, Parsed, Receiver, Verdict
from webhooks import signatures, strict_json
from webhooks.path_tokens import PathTokens
from webhooks.payloads import Payload, SharedSecrets, checked, key_of, read_json
from webhooks.surveys import (
    Interval,
    PathId,
    SurveyOptions,
    all_of,
    carried,
    given,
    happened,
    leading_number,
    plain_text,
    who,
)
from webhooks.zigpoll_records import IDLE, Record, Slide, Visit, is_over, read_moment, records_since, slides_of, visits

ADDRESS: Final = "https://v1.zigpoll.com"
OVERLAP: Final = timedelta(minutes=10)
LONGEST_VISIT: Final = timedelta(hours=6)
"""How far before a moment is read, so that no response is seen without its beginning."""

LOOK_BACK: Final = (timedelta(days=1), timedelta(days=30))
"""How far back an announced answer is looked for; further only when it is not there."""

EVERYBODY: Final = "*"
"""In place of a participant where a hint names none: whoever answered lately."""

HINT, ANSWER = "hint", "response"
_FORM: Final = "application/x-www-form-urlencoded"
_NESTED: Final = frozenset({"payload", "data", "metadata", "responses"})
"""Fields of a form that hold JSON."""

_SCALES: Final = re.compile(r"nps|rating|scale|star|score|csat|ces", re.IGNORECASE)


class ZigpollLimits(Limits):
    """Zigpoll publishes no figures: one call a second."""

    per_10s: int | None = Field(default=10, gt=0, description="calls in any 10 seconds")


class ZigpollOptions(SurveyOptions):
    """The block `webhooks.sources.zigpoll`."""

    token: PathTokens = Field(
        default=(), description="the secret last part of the address, at least 128 bits: `openssl rand -hex 16`"
    )
    secret: SharedSecrets = Field(
        default=(), description="where the sender can add a header: a second secret, expected in X-Winback-Secret"
    )
    api_key: SecretStr | None = Field(
        default=None, description="a private key: answers are then read by it, and webhooks only say that there are any"
    )
    authorization: Literal["raw", "bearer"] = Field(
        default="raw", description="how the key is sent: as it is, or with `Bearer` in front of it"
    )
    account_id: PathId | None = Field(default=None, description="the account to read, where `surveys` lists none")
    surveys: tuple[PathId, ...] = Field(
        default=(), description="ids of the polls to listen to and to read missed answers of; none: all of the account"
    )
    poll: Interval = Field(
        default=timedelta(minutes=15), description="how often answers are asked for: webhooks only make it quicker"
    )
    rate: ZigpollLimits = Field(default_factory=ZigpollLimits, description="how much of the API allowance to use")


class _Hint(Payload):
    poll: PathId | None = Field(default=None, validation_alias=AliasChoices("pollId", "poll_id"))
    participant: PathId | None = Field(default=None, validation_alias=AliasChoices("participantId", "participant_id"))
    created_at: str | int | None = Field(default=None, validation_alias="createdAt")
    metadata: Mapping[str, Any] | None = None
    responses: tuple[Record, ...] | None = None


def _verify(options: ZigpollOptions, incoming: Incoming) -> Verdict:
    """By the secret part of the address, and by the header where one is agreed on."""
    verdict = signatures.verify_token(incoming, options.token)
    if not options.secret:
        return verdict
    return signatures.both(verdict, signatures.verify_shared_secret(incoming, options.secret))


def _sign(options: ZigpollOptions, _method: str, _url: str, _body: bytes, _now: datetime) -> Mapping[str, str]:
    """The header where one is agreed on; the address carries the rest."""
    return {signatures.SHARED_SECRET_HEADER: signatures.newest(options.secret)} if options.secret else {}


def _parse(options: ZigpollOptions, incoming: Incoming) -> Parsed:
    """A hint that somebody answered; what it says besides is kept only where it cannot be read through the API."""
    hint = checked(_Hint, _fields(incoming), "zigpoll")
    if hint.poll is None:
        return Parsed((), {"no_poll": 1})
    if options.surveys and hint.poll not in options.surveys:
        return Parsed((), {"unknown_survey": 1})
    payload: dict[str, Any] = {"poll": hint.poll, "participant": hint.participant or EVERYBODY}
    if options.api_key is None:
        if hint.participant is None or not hint.responses:
            return Parsed((), {"nothing_told": 1})
        metadata = [hint.metadata or {}, *(record.metadata or {} for record in hint.responses)]
        payload |= _told(options, hint.responses, metadata, {}) | {"complete": True}
    # Without a participant every hint about a poll is the same: those of one minute are one.
    body = hashlib.sha256(incoming.body).hexdigest()[:32]
    key = key_of(HINT, hint.poll, hint.participant or f"{incoming.received_at:%Y%m%dT%H%M}", hint.participant and body)
    at = min(read_moment(hint.created_at) or incoming.received_at, incoming.received_at)
    return Parsed((Event(key=key, kind=HINT, at=at, payload=payload),))


def _fields(incoming: Incoming) -> Any:
    """What a body holds, sent as JSON or as a form, bare or below `data`."""
    if not (incoming.header("content-type") or "").lower().startswith(_FORM):
        body = read_json(incoming.body, "zigpoll")
    else:
        try:
            body = dict(parse_qsl(incoming.body.decode(), max_num_fields=1_000))
        except ValueError:
            raise MalformedPayload("zigpoll: the form cannot be read") from None
        body = {name: strict_json.loads(text.encode()) if name in _NESTED else text for name, text in body.items()}
        body = body.get("payload", body)
    inner = body.get("data") if isinstance(body, Mapping) and "pollId" not in body else None
    return inner if isinstance(inner, Mapping) else body


def _told(
    options: ZigpollOptions,
    records: Sequence[Record],
    metadata: Sequence[Mapping[str, Any]],
    slides: Mapping[str, Slide],
) -> dict[str, Any]:
    """Answers and the contact token: what is kept of records, the last one to each slide."""
    values = {name: value for one in metadata for name, value in one.items()}
    last = {record.slide or place: record for place, record in enumerate(records)}
    answers = []
    for record in last.values():
        slide = slides.get(record.slide or "")
        answers.append(
            {
                "slide": record.slide or "",
                "title": plain_text(slide.title) if slide else "",
                "scale": bool(slide and slide.type and _SCALES.search(slide.type)),
                "kind": record.kind,
                "text": plain_text(record.response),
                "choices": [[one.handle, plain_text(one.title)] for one in record.answers or ()],
            }
        )
    return {"carried": carried(values, options.token_field), "answers": answers}


def _understand(options: ZigpollOptions, event: Event) -> Sequence[Heard]:
    """What to ask for, or what somebody answered."""
    meaning = EVENTS.get(event.kind)
    return () if meaning is None else (meaning(options, event),)


def _hinted(options: ZigpollOptions, event: Event) -> Heard:
    """Confirmed by asking where that can be done, else taken as it is."""
    payload = event.payload
    if "answers" in payload:
        return _answered(options, event)
    return ToFetch(
        at=happened(event), source=RECEIVER.name, survey=payload["poll"], responses=(payload["participant"],)
    )


def _answered(options: ZigpollOptions, event: Event) -> Answered:
    payload = event.payload
    return Answered(
        who=who(payload["carried"], options.token_field),
        at=happened(event),
        source=RECEIVER.name,
        survey=payload["poll"],
        response=f"{payload['poll']}:{payload['participant']}",
        answers=tuple(_given(options, raw) for raw in payload["answers"] if raw["text"] or raw["choices"]),
        complete=payload["complete"],
    )


EVENTS: Final[Mapping[str, Callable[[ZigpollOptions, Event], Heard]]] = {HINT: _hinted, ANSWER: _answered}


def _given(options: ZigpollOptions, raw: Mapping[str, Any]) -> Given:
    """One answer; without the kind of its value it is words."""
    if raw["kind"] != "vote":
        return given(options, (raw["slide"],), "text", title=raw["title"], text=raw["text"])
    choices = raw["choices"] or [[raw["text"]]]
    number = leading_number(raw["text"] or choices[0][-1]) if raw["scale"] else None
    kind = "choice" if number is None else "score"
    return given(options, (raw["slide"],), kind, title=raw["title"], choices=choices, number=number)


def _api(options: ZigpollOptions) -> tuple[str, Mapping[str, str]] | None:
    """The API, where a key is set. Zigpoll wants it bare; one of its own clients sends `Bearer` (2026-11)."""
    if options.api_key is None:
        return None
    prefix = "Bearer " if options.authorization == "bearer" else ""
    return options.base_url or ADDRESS, {"Authorization": prefix + options.api_key.get_secret_value()}


def _fetch(api: Api, poll: str, participants: Sequence[str]) -> Iterator[Event]:
    """What these participants answered; a hint says that they are through with the poll."""
    named = set(participants) - {EVERYBODY}
    everybody = EVERYBODY in participants
    for back in LOOK_BACK:
        for visit in visits(records_since(api, {"pollId": poll}, api.now() - back)):
            if visit.participant in participants or everybody:
                named.discard(visit.participant)
                finished = visit.participant in participants or is_over(visit, api.now())
                yield _event(api, visit, complete=finished)
        if not named:
            return
        everybody = False
    api.reporter.line(f"zigpoll: poll {poll}: {len(named)} announced answers are not there (any more)")


def _backfill(api: Api, since: datetime) -> Iterator[Event]:
    """Responses of the listed polls, or of the whole account, that had an answer since a moment or ended since."""
    options: ZigpollOptions = api.options
    scope = "pollId" if options.surveys else "accountId"
    names = options.surveys or ((options.account_id,) if options.account_id else ())
    if not names:
        api.reporter.line("zigpoll: neither `surveys` nor `account_id` is set, so missed answers cannot be read")
    earliest = since - OVERLAP - IDLE

    def missed(name: str) -> Iterator[Event]:
        for visit in visits(records_since(api, {scope: name}, earliest - LONGEST_VISIT)):
            if visit.last_at >= earliest:
                yield _event(api, visit, complete=is_over(visit, api.now()))

    yield from all_of(names, missed)


def _event(api: Api, visit: Visit, *, complete: bool) -> Event:
    """A response as far as it goes; finished or with another answer it is another event."""
    options: ZigpollOptions = api.options
    last = visit.records[-1]
    slides = slides_of(api, last.poll, frozenset(record.slide for record in visit.records if record.slide))
    told = _told(options, visit.records, [record.metadata or {} for record in visit.records], slides)
    payload = {"poll": last.poll, "participant": last.participant, "complete": complete, **told}
    key = key_of("final" if complete else "partial", last.poll, last.participant, last.id)
    return Event(key=key, kind=ANSWER, at=visit.last_at, payload=payload)


def _sample(options: ZigpollOptions, token: str, now: datetime) -> bytes:
    """Somebody finds it too expensive."""
    roles = {role: question for question, role in options.questions.items()}
    participant = hashlib.sha256(f"{token} {now.isoformat()}".encode()).hexdigest()[:24]
    said = {"slideId": roles.get("reason", "why"), "response": "Too expensive", "valueType": "vote"}
    chosen = {"title": "Too expensive", "handle": next(iter(options.choices), "price")}
    return json.dumps(
        {
            "pollId": next(iter(options.surveys), "sample"),
            "participantId": participant,
            "createdAt": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "metadata": {options.token_field: token},
            "responses": [{**said, "answers": [chosen]}],
        }
    ).encode()


RECEIVER: Final = Receiver(
    name="zigpoll",
    title="Zigpoll",
    options=ZigpollOptions,
    verify=_verify,
    parse=_parse,
    understand=_understand,
    sign=_sign,
    sample=_sample,
    fetch=_fetch,
    backfill=_backfill,
    api=_api,
    needs_token=True,
)

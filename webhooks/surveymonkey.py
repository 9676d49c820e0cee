"""SurveyMonkey: a webhook tells ids only, so the answers are asked for, in as few calls as its daily allowance needs.

A private app has 500 calls a day. One answer costs one call, a hundred cost one too when they are read together; what
the questions and choices are called is read once for each version of a survey.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import BeforeValidator, Field, SecretStr

from connector.contracts import Limits
from connector.errors import CredentialsError, MalformedPayload, ProviderError, QuotaExhausted, RejectedError
from connector.heard import Answered, Given, Heard, ToFetch
from connector.paging import walk_links
from connector.receivers import Api, Event, Incoming, Parsed, Receiver, Secrets, Verdict, secrets
from webhooks import signatures
from webhooks.payloads import Payload, Text, checked, key_of, read_json
from webhooks.surveymonkey_survey import Details, Response, Structure, parts, with_words
from webhooks.surveys import (
    PathId,
    Remembered,
    SurveyOptions,
    all_of,
    carried,
    given,
    happened,
    looks_signed,
    moment,
    readable,
    who,
)

ADDRESS: Final = "https://api.surveymonkey.com"
PER_PAGE: Final = 100
OVERLAP: Final = timedelta(minutes=1)
RESERVED_CALLS: Final = 50
"""Of a day's calls; kept for answers that were announced: reading missed ones can wait until tomorrow."""

ANNOUNCED: Final = frozenset({"response_completed", "response_updated"})
"""`response_updated` comes once per page, and again when a finished answer is edited."""

ANSWER: Final = "response"
_WANTED: Final = frozenset({"completed", "partial"})
_PREVIEWS: Final = frozenset({"preview", "survey_preview"})


class SurveyMonkeyLimits(Limits):
    """What a private app may: 120 calls a minute and 500 a day."""

    per_10s: int | None = Field(default=20, gt=0, description="calls in any 10 seconds")
    per_day: int | None = Field(default=500, gt=0, description="calls a day, all tools together; a public app has none")


class SurveyMonkeyOptions(SurveyOptions):
    """The block `webhooks.sources.surveymonkey`."""

    client_id: str = Field(min_length=1, description="the client id of the app the webhooks belong to")
    client_secret: Annotated[Secrets, BeforeValidator(secrets)] = Field(
        default=(), description="its secret; several while it is being changed, newest first"
    )
    access_token: SecretStr | None = Field(
        default=None, description="with View Responses, View Response Details and View Surveys: answers are read by it"
    )
    surveys: tuple[PathId, ...] = Field(
        default=(), description="ids of the surveys to listen to and to read missed answers of; none: listen to all"
    )
    rate: SurveyMonkeyLimits = Field(
        default_factory=SurveyMonkeyLimits, description="how much of the API allowance to use"
    )


class _Resources(Payload):
    survey_id: PathId | None = None


class _Delivery(Payload):
    event_type: Text


class _Announcement(_Delivery):
    event_id: PathId
    object_id: PathId
    filter_type: Text | None = None
    filter_id: PathId | None = None
    event_datetime: Text | None = None
    resources: _Resources = _Resources()


_STRUCTURES: Final[Remembered[Structure]] = Remembered(lasts=timedelta(hours=12))


def _verify(options: SurveyMonkeyOptions, incoming: Incoming) -> Verdict:
    """By the signature over the body, with the client id we know."""
    return signatures.verify_surveymonkey(incoming, options.client_id, options.client_secret)


def _sign(options: SurveyMonkeyOptions, _method: str, _url: str, body: bytes, _now: datetime) -> Mapping[str, str]:
    """Signed with the newest secret."""
    newest = signatures.newest(options.client_secret)
    return {
        "Sm-Apikey": options.client_id,
        "Sm-Signature": signatures.surveymonkey(options.client_id, newest, body),
    }


def _parse(options: SurveyMonkeyOptions, incoming: Incoming) -> Parsed:
    """The announcement of one answer."""
    body = read_json(incoming.body, "surveymonkey")
    kind = checked(_Delivery, body, "surveymonkey").event_type
    if kind not in ANNOUNCED:
        return Parsed((), {"unknown_kind": 1})
    told = checked(_Announcement, body, "surveymonkey")
    survey = told.resources.survey_id or (told.filter_id if told.filter_type == "survey" else None)
    if survey is None:
        raise MalformedPayload("surveymonkey: resources.survey_id: missing")
    if options.surveys and survey not in options.surveys:
        return Parsed((), {"unknown_survey": 1})
    event = Event(
        key=key_of(kind, told.event_id),
        kind=kind,
        at=moment(told.event_datetime) or incoming.received_at,
        payload={"survey": survey, "response": told.object_id},
    )
    return Parsed((event,))


def _understand(options: SurveyMonkeyOptions, event: Event) -> Sequence[Heard]:
    """What to ask for, or what somebody answered."""
    meaning = EVENTS.get(event.kind)
    return () if meaning is None else (meaning(options, event),)


def _announced(_options: SurveyMonkeyOptions, event: Event) -> ToFetch:
    return ToFetch(
        at=happened(event),
        source=RECEIVER.name,
        survey=event.payload["survey"],
        responses=(event.payload["response"],),
    )


def _answered(options: SurveyMonkeyOptions, event: Event) -> Answered:
    payload = event.payload
    return Answered(
        who=who(payload["carried"], options.token_field),
        at=happened(event),
        source=RECEIVER.name,
        survey=payload["survey"],
        response=payload["response"],
        answers=tuple(part for raw in payload["answers"] for part in _given(options, raw)),
        complete=payload["status"] == "completed",
        language=payload["language"],
    )


EVENTS: Final[Mapping[str, Callable[[SurveyMonkeyOptions, Event], Heard]]] = {
    **dict.fromkeys(ANNOUNCED, _announced),
    ANSWER: _answered,
}


def _given(options: SurveyMonkeyOptions, raw: Mapping[str, Any]) -> Iterator[Given]:
    """The parts of one answer; in a matrix every row is a question of its own, `<question>.<row>`."""
    question, row = raw["question"], raw["row"]
    names = (question,) if row is None else (f"{question}.{row['id']}", question)
    title = raw["title"] if row is None or not row["text"] else f"{raw['title']} – {row['text']}"
    for part in parts(raw):
        yield given(options, names, title=title, **part)


def _api(options: SurveyMonkeyOptions) -> tuple[str, Mapping[str, str]] | None:
    """The API of the account's data centre, where a token is set; people copy its address with the version."""
    if options.access_token is None:
        return None
    address = (options.base_url or ADDRESS).removesuffix("/v3")
    return address, {"Authorization": f"Bearer {options.access_token.get_secret_value()}"}


def _fetch(api: Api, survey_id: str, responses: Sequence[str]) -> Iterator[Event]:
    """The answers with these ids; together as long as a page brings at least two of them, then one by one."""
    missing = dict.fromkeys(responses)
    newest_first = {"sort_by": "date_modified", "sort_order": "DESC"}
    for page in _pages(api, survey_id, newest_first) if len(missing) > 1 else ():
        here = [response for response in page if response.id in missing]
        for response in here:
            missing.pop(response.id, None)
            yield from _events(api, survey_id, response)
        if len(here) < 2 or len(missing) < 2:  # noqa: PLR2004 - a page costs as much as one answer
            break
    for response_id in missing:
        yield from _one(api, survey_id, response_id)


def _one(api: Api, survey_id: str, response_id: str) -> Iterator[Event]:
    """One answer; nothing when it was deleted in the meantime."""
    try:
        found = _ask(api, f"v3/surveys/{survey_id}/responses/{response_id}/details", {"simple": "true"})
    except RejectedError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        api.reporter.line(f"surveymonkey: response {response_id} of survey {survey_id} is not there (any more)")
        return
    for response in readable(api, Response, (found,), f"surveymonkey survey {survey_id}"):
        yield from _events(api, survey_id, response)


def _backfill(api: Api, since: datetime) -> Iterator[Event]:
    """Answers of the listed surveys that were given or changed since a moment."""
    options: SurveyMonkeyOptions = api.options
    if not options.surveys:
        api.reporter.line("surveymonkey: no `surveys` are listed, so missed answers cannot be read")
    changed = {
        "start_modified_at": (since - OVERLAP).strftime("%Y-%m-%dT%H:%M:%S"),
        "sort_by": "date_modified",
        "sort_order": "ASC",
    }
    yield from all_of(options.surveys, lambda survey_id: _missed(api, survey_id, changed))


def _missed(api: Api, survey_id: str, query: Mapping[str, str]) -> Iterator[Event]:
    """The answers of one survey, oldest change first."""
    for page in _pages(api, survey_id, query, first=_keep_some_calls):
        for response in page:
            yield from _events(api, survey_id, response)


def _keep_some_calls(api: Api) -> None:
    """QuotaExhausted when what is left of the day is needed for answers that were announced."""
    left = api.budget.remaining_today()
    if left is not None and left <= RESERVED_CALLS:
        raise QuotaExhausted(
            f"surveymonkey: {left} calls are left today; they are kept for answers that were announced",
            hint="missed answers are read when the day begins anew, at midnight GMT",
        )


def _pages(
    api: Api, survey_id: str, query: Mapping[str, str], *, first: Callable[[Api], None] = lambda _: None
) -> Iterator[Sequence[Response]]:
    """Whole answers, a hundred in a call. Of the link to the next page only its query is used, never its address.

    Args:
        api: The vendor.
        survey_id: Whose answers.
        query: Which of them, in which order.
        first: Called before each page.
    """
    path = f"v3/surveys/{survey_id}/responses/bulk"
    query = {**query, "simple": "true", "per_page": str(PER_PAGE)}
    what = f"surveymonkey survey {survey_id}"

    def page(link: str) -> tuple[list[Response], str | None]:
        first(api)
        found = _ask(api, path, {**query, **dict(parse_qsl(urlsplit(link).query))})
        items = found.get("data") or ()
        return list(readable(api, Response, items, what)), (found.get("links") or {}).get("next") if items else None

    for walked in walk_links(page, what=f"{what} responses", start="?page=1"):
        yield walked.items


def _events(api: Api, survey_id: str, response: Response) -> Iterator[Event]:
    """One answer with what its questions and choices are called; none for previews and those turned away."""
    if response.response_status not in _WANTED or response.collection_mode in _PREVIEWS:
        return
    options: SurveyMonkeyOptions = api.options
    structure = _structure(api, survey_id, response.mentioned())
    at = moment(response.date_modified) or moment(response.date_created) or api.now()
    payload = {
        "survey": survey_id,
        "response": response.id,
        "status": response.response_status,
        "language": structure.language,
        "carried": _carried(response, options.token_field),
        "answers": with_words(response, structure),
    }
    key = key_of(response.response_status, response.id, at.isoformat())
    yield Event(key=key, kind=ANSWER, at=at, payload=payload)


def _carried(response: Response, token_field: str) -> dict[str, str]:
    """The contact token: a variable in the link, or without a name from the collector or the list of recipients."""
    contact = (response.metadata or {}).get("contact")
    values = contact.values() if isinstance(contact, Mapping) else ()
    nameless = [response.custom_value, *(one.get("value") if isinstance(one, Mapping) else one for one in values)]
    signed = [value for value in nameless if isinstance(value, str) and looks_signed(value)]
    return {**({token_field: signed[0]} if signed else {}), **carried(response.custom_variables or {}, token_field)}


def _structure(api: Api, survey_id: str, mentioned: frozenset[str]) -> Structure:
    """What a survey's parts are called; read again when an answer speaks of a part it did not have."""

    def read(before: Structure | None) -> Structure:
        found = _ask(api, f"v3/surveys/{survey_id}/details")
        details = checked(Details, found, f"surveymonkey survey {survey_id}")
        return Structure.of(details, mentioned | (before.gone if before else frozenset()))

    place = (api.options.base_url, survey_id)
    return _STRUCTURES.get(place, api.now(), read, fits=lambda structure: structure.knows(mentioned))


_CODE = re.compile(r'"id"\s*:\s*"?(10[0-9]{2})\b')
_HINTS: Final[Mapping[str, str]] = {
    "1012": "the access token has run out: make a new one in the app's settings",
    "1013": "the access token was revoked: make a new one in the app's settings",
    "1014": "give the app View Surveys, View Responses and View Response Details, and make a new access token",
    "1015": "reading answers by API needs a plan with View Response Details",
    "1016": "the account behind the access token may not see this survey: share it or use another account's token",
    "1018": "the account is in another data centre: set `base_url` to the `access_url` that came with the token",
    "1052": "the account behind the access token was deleted",
    "1053": "the account behind the access token was deleted",
}
"""What to do about an error of this number."""


def _ask(api: Api, path: str, query: Mapping[str, str] | None = None) -> Any:
    """What the API answers; its refusals with what to do about them."""
    try:
        found = api.get_json(path, query)
    except (CredentialsError, RejectedError) as error:
        code = _CODE.search(getattr(error, "body", "") or str(error))
        hint = _HINTS.get(code[1]) if code else None
        if hint is None:
            raise
        raise CredentialsError(str(error), hint=hint) from None
    if not isinstance(found, Mapping):
        raise ProviderError(f"surveymonkey {path}: answered with something that is not an object")
    return found


def _sample(options: SurveyMonkeyOptions, token: str, now: datetime) -> bytes:
    """An announcement as it comes; it carries ids only, so the token cannot be in it."""
    number = str(int(hashlib.sha256(f"{token} {now.isoformat()}".encode()).hexdigest()[:12], 16))
    survey = next(iter(options.surveys), "1")
    return json.dumps(
        {
            "name": "winback",
            "filter_type": "survey",
            "filter_id": survey,
            "event_type": "response_completed",
            "event_id": number,
            "object_type": "response",
            "object_id": number,
            "event_datetime": now.isoformat(timespec="microseconds"),
            "resources": {
                "respondent_id": number,
                "recipient_id": "0",
                "collector_id": "1",
                "survey_id": survey,
                "user_id": "1",
            },
        }
    ).encode()


RECEIVER: Final = Receiver(
    name="surveymonkey",
    title="SurveyMonkey",
    options=SurveyMonkeyOptions,
    verify=_verify,
    parse=_parse,
    understand=_understand,
    sign=_sign,
    sample=_sample,
    fetch=_fetch,
    backfill=_backfill,
    api=_api,
    content_type="application/vnd.surveymonkey.response.v1+json",
)

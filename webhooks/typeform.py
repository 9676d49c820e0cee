"""Typeform: answers arrive whole and signed; what was missed is read again through its Responses API.

Its scheme has no moment in it, so an old delivery sent again is stopped by the key alone, which is kept for long.
Typeform switches a webhook off for good when it is answered 404 or 410.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, SecretStr

from connector.contracts import Limits
from connector.errors import RejectedError
from connector.heard import Answered, Given
from connector.paging import walk_cursor
from connector.receivers import Api, Event, Incoming, Parsed, Receiver, Secrets, Verdict, secrets
from webhooks import signatures
from webhooks.payloads import Payload, Text, checked, key_of, read_json
from webhooks.surveys import (
    PathId,
    SurveyOptions,
    all_of,
    carried,
    given,
    happened,
    moment,
    readable,
    who,
)

ADDRESS: Final = "https://api.typeform.com"
PAGE_SIZE: Final = 1_000
OVERLAP: Final = timedelta(hours=1)
"""Answers of about the last half hour may be missing from the API although their webhook was sent (2026-11)."""

FINAL, PARTIAL = "form_response", "form_response_partial"
_PREVIEW = "__sandbox"
"""The id of answers given in the editor's preview."""

_SCALES = frozenset({"nps", "opinion_scale", "rating"})


class TypeformLimits(Limits):
    """Two calls a second."""

    per_10s: int | None = Field(default=20, gt=0, description="calls in any 10 seconds")


class TypeformOptions(SurveyOptions):
    """The block `webhooks.sources.typeform`."""

    secret: Annotated[Secrets, BeforeValidator(secrets)] = Field(
        default=(), description="the secret of the webhook; several while it is being changed, newest first"
    )
    token: SecretStr | None = Field(
        default=None, description="a personal access token with responses:read and forms:read, to read missed answers"
    )
    forms: tuple[PathId, ...] = Field(
        default=(), description="ids of the forms to listen to and to read missed answers of; none: listen to all"
    )
    partials: bool = Field(
        default=False, description="read unfinished answers too when reading missed ones; needs the plan that has them"
    )
    rate: TypeformLimits = Field(default_factory=TypeformLimits, description="how much of the API allowance to use")


class _Choice(Payload):
    id: Text | None = None
    ref: Text | None = None
    label: Text | None = None
    other: Text | None = None


class _Choices(Payload):
    ids: tuple[Text | None, ...] = ()
    refs: tuple[Text | None, ...] = ()
    labels: tuple[Text | None, ...] = ()
    other: Text | None = None


class _Field(Payload):
    id: Text | None = None
    ref: Text | None = None
    type: Text | None = None
    title: Text | None = None


class _Group(Payload):
    fields: tuple[_Question, ...] | None = None


class _Question(_Field):
    properties: _Group | None = None


class _Answer(Payload):
    type: Text
    field: _Field
    text: Text | None = None
    number: float | None = Field(default=None, allow_inf_nan=False)
    boolean: bool | None = None
    date: Text | None = None
    choice: _Choice | None = None
    choices: _Choices | None = None
    multi_format: _Spoken | None = None


class _Spoken(Payload):
    text: Text | None = None


class _Response(Payload):
    """An answer as the webhook and the Responses API have it in common."""

    token: PathId
    response_id: Text | None = None
    submitted_at: Text | None = None
    landed_at: Text | None = None
    hidden: Mapping[str, Any] | None = None
    answers: tuple[_Answer, ...] | None = None


class _FormResponse(_Response):
    form_id: PathId
    definition: _Group | None = None


class _Delivery(Payload):
    event_type: Text


class _FormDelivery(_Delivery):
    form_response: _FormResponse


def _verify(options: TypeformOptions, incoming: Incoming) -> Verdict:
    """By the signature over the body as it came."""
    return signatures.verify_typeform(incoming, options.secret)


def _sign(options: TypeformOptions, _method: str, _url: str, body: bytes, _now: datetime) -> Mapping[str, str]:
    """Signed with the newest secret."""
    return {"Typeform-Signature": signatures.typeform(signatures.newest(options.secret), body)}


def _parse(options: TypeformOptions, incoming: Incoming) -> Parsed:
    """The answer in a delivery: always one."""
    body = read_json(incoming.body, "typeform")
    kind = checked(_Delivery, body, "typeform").event_type
    if kind not in EVENTS:
        return Parsed((), {"unknown_kind": 1})
    response = checked(_FormDelivery, body, "typeform").form_response
    if options.forms and response.form_id not in options.forms:
        return Parsed((), {"unknown_form": 1})
    if _is_preview(response):
        return Parsed((), {"preview": 1})
    titles = _titles(response.definition)
    return Parsed((_event(options, kind, response.form_id, response, titles, now=incoming.received_at),))


def _is_preview(response: _Response) -> bool:
    return _PREVIEW in (response.token, response.response_id)


def _event(
    options: TypeformOptions,
    kind: str,
    form_id: str,
    response: _Response,
    titles: Mapping[str, str],
    *,
    now: datetime,
) -> Event:
    """One answer, the same from the webhook as from the API; nothing is kept that nobody asks for later."""
    answers = [answer.kept() for answer in response.answers or () if answer.type in ANSWERS]
    asked = {answer["field"].get("id") for answer in answers}
    payload = {
        "form": form_id,
        "token": response.token,
        "carried": carried(response.hidden or {}, options.token_field),
        "titles": {field: title for field, title in titles.items() if field in asked},
        "answers": answers,
    }
    return Event(key=key_of(kind, response.token), kind=kind, at=_when(response) or now, payload=payload)


def _titles(definition: _Group | None) -> dict[str, str]:
    """Field id → question, those in groups too."""
    titles: dict[str, str] = {}
    waiting = [definition]
    while waiting:
        for field in (waiting.pop() or _Group()).fields or ():
            titles[field.id or ""] = field.title or ""
            waiting.append(field.properties)
    return titles


def _understand(options: TypeformOptions, event: Event) -> Sequence[Answered]:
    """What somebody answered."""
    meaning = EVENTS.get(event.kind)
    return () if meaning is None else (meaning(options, event),)


def _final(options: TypeformOptions, event: Event) -> Answered:
    return _answered(options, event, complete=True)


def _partial(options: TypeformOptions, event: Event) -> Answered:
    return _answered(options, event, complete=False)


EVENTS: Final[Mapping[str, Callable[[TypeformOptions, Event], Answered]]] = {FINAL: _final, PARTIAL: _partial}


def _answered(options: TypeformOptions, event: Event, *, complete: bool) -> Answered:
    """The answers in our words."""
    payload = event.payload
    titles = payload["titles"]
    return Answered(
        who=who(payload["carried"], options.token_field),
        at=happened(event),
        source=RECEIVER.name,
        survey=payload["form"],
        response=payload["token"],
        answers=tuple(
            part
            for raw in payload["answers"]
            for part in _given(options, checked(_Answer, raw, "typeform answer"), titles)
        ),
        complete=complete,
    )


def _given(options: TypeformOptions, answer: _Answer, titles: Mapping[str, str]) -> Iterator[Given]:
    """The parts of one answer; a question that was skipped is not there at all."""
    reading = ANSWERS.get(answer.type)
    title = titles.get(answer.field.id or "") or answer.field.title or ""
    for part in reading(answer) if reading else ():
        yield given(options, (answer.field.ref, answer.field.id), title=title, **part)


def _text(answer: _Answer) -> Iterator[dict[str, Any]]:
    if answer.text:
        yield {"kind": "text", "text": answer.text}


def _spoken(answer: _Answer) -> Iterator[dict[str, Any]]:
    """An answer on video or by voice has its words beside it when it was transcribed."""
    if answer.multi_format and answer.multi_format.text:
        yield {"kind": "text", "text": answer.multi_format.text}


def _number(answer: _Answer) -> Iterator[dict[str, Any]]:
    if answer.number is not None:
        kind = "score" if answer.field.type in _SCALES else "other"
        yield {"kind": kind, "text": f"{answer.number:g}", "number": answer.number}


def _boolean(answer: _Answer) -> Iterator[dict[str, Any]]:
    if answer.boolean is not None:
        yield {"kind": "other", "text": "yes" if answer.boolean else "no"}


def _date(answer: _Answer) -> Iterator[dict[str, Any]]:
    if answer.date:
        yield {"kind": "other", "text": answer.date}


def _choice(answer: _Answer) -> Iterator[dict[str, Any]]:
    chosen = answer.choice or _Choice()
    if chosen.ref or chosen.id or chosen.label:
        yield {"kind": "choice", "choices": ((chosen.ref, chosen.id, chosen.label),)}
    if chosen.other:
        yield {"kind": "text", "text": chosen.other}


def _choices(answer: _Answer) -> Iterator[dict[str, Any]]:
    chosen = answer.choices or _Choices()
    size = max(len(chosen.refs), len(chosen.ids), len(chosen.labels))
    columns = [(*column, *[None] * (size - len(column))) for column in (chosen.refs, chosen.ids, chosen.labels)]
    if size:
        yield {"kind": "choice", "choices": tuple(zip(*columns, strict=True))}
    if chosen.other:
        yield {"kind": "text", "text": chosen.other}


ANSWERS: Final[Mapping[str, Callable[[_Answer], Iterator[dict[str, Any]]]]] = {
    "text": _text,
    "multi_format": _spoken,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "choice": _choice,
    "choices": _choices,
}
"""Types of answers. Addresses, phone numbers, files, signatures and payments say who somebody is: they are not kept."""


def _api(options: TypeformOptions) -> tuple[str, Mapping[str, str]] | None:
    """The Responses API, where a token is set."""
    if options.token is None:
        return None
    return options.base_url or ADDRESS, {"Authorization": f"Bearer {options.token.get_secret_value()}"}


def _backfill(api: Api, since: datetime) -> Iterator[Event]:
    """Answers of the listed forms since a moment."""
    options: TypeformOptions = api.options
    if not options.forms:
        api.reporter.line("typeform: no `forms` are listed, so missed answers cannot be read")
    yield from all_of(options.forms, lambda form_id: _missed(api, form_id, since - OVERLAP))


def _missed(api: Api, form_id: str, since: datetime) -> Iterator[Event]:
    """The answers of one form since a moment; its definition is read only when there are any."""
    options: TypeformOptions = api.options
    titles: dict[str, str] | None = None
    for kind, state, margin in _STATES if options.partials else _STATES[:1]:
        for response in _responses(api, form_id, state, since, margin):
            if titles is None:
                titles = _titles(checked(_Group, _ask(api, f"forms/{form_id}"), f"typeform form {form_id}"))
            if not _is_preview(response):
                yield _event(options, kind, form_id, response, titles, now=api.now())


_STATES: Final = ((FINAL, "completed", timedelta(0)), (PARTIAL, "partial", timedelta(days=2)))
"""Kind of event, state in the API, how much before it was left an answer may have been begun: only that is told."""


def _responses(api: Api, form_id: str, state: str, since: datetime, margin: timedelta) -> Iterator[_Response]:
    """The answers of a form since a moment, each once.

    `before` and `after` are not combined with `sort` or `since`: together some of them are ignored without a word or
    refused, and pages come twice. With `before` the order is that of processing, so the walk starts at the newest
    answer, not below the first page.
    """
    path, query = f"forms/{form_id}/responses", {"page_size": str(PAGE_SIZE), "response_type": state}
    first = _ask(api, path, {**query, "since": since.strftime("%Y-%m-%dT%H:%M:%SZ")})
    newest = _items(api, first, form_id)
    yield from newest
    if not newest or int(first.get("total_items") or PAGE_SIZE) <= len(first["items"]):
        return
    seen = {response.token for response in newest}

    def before(token: str | None) -> tuple[list[_Response], str | None]:
        page = _ask(api, path, {**query, "before": token or newest[0].token})
        items = _items(api, page, form_id)
        young = [item for item in items if (_when(item) or since) >= since - margin]
        return young, items[-1].token if young else None

    for page in walk_cursor(before, what=f"typeform responses of form {form_id}"):
        for response in page.items:
            if response.token not in seen:
                seen.add(response.token)
                yield response


def _when(response: _Response) -> datetime | None:
    """When it was sent in, or begun where it never was."""
    return moment(response.submitted_at) or moment(response.landed_at)


def _items(api: Api, page: Any, form_id: str) -> list[_Response]:
    """The answers on a page."""
    items = page.get("items") if isinstance(page, Mapping) else None
    return list(readable(api, _Response, items or (), f"typeform responses of form {form_id}"))


def _ask(api: Api, path: str, query: Mapping[str, str] | None = None) -> Any:
    """What the API answers; a form of another region looks as though it did not exist."""
    try:
        return api.get_json(path, query)
    except RejectedError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        raise RejectedError(
            str(error),
            hint="is the form's id right? Accounts in the EU need `base_url: https://api.eu.typeform.com`, "
            "or https://api.typeform.eu when opened since August 2025",
            status=error.status,
            body=error.body,
        ) from None


def _sample(options: TypeformOptions, token: str, now: datetime) -> bytes:
    """Somebody finds it too expensive, in the words of the playbook where it has some."""
    roles = {role: question for question, role in options.questions.items()}
    chosen = next(iter(options.choices), "price")
    moment_text = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    number = hashlib.sha256(f"{token} {now.isoformat()}".encode()).hexdigest()[:32]
    why = {"id": "f1", "ref": roles.get("reason", "why"), "type": "multiple_choice"}
    nps = {"id": "f2", "ref": roles.get("score", "nps"), "type": "nps"}
    more = {"id": "f3", "ref": roles.get("comment", "more"), "type": "long_text"}
    titles = ("Why did you leave?", "Would you recommend us?", "What would bring you back?")
    fields = [{**field, "title": title} for field, title in zip((why, nps, more), titles, strict=True)]
    return json.dumps(
        {
            "event_id": number,
            "event_type": FINAL,
            "form_response": {
                "form_id": next(iter(options.forms), "sample"),
                "token": number,
                "landed_at": moment_text,
                "submitted_at": moment_text,
                "hidden": {options.token_field: token},
                "definition": {
                    "id": next(iter(options.forms), "sample"),
                    "title": "A sample",
                    "fields": fields,
                },
                "answers": [
                    {
                        "type": "choice",
                        "choice": {"id": "c1", "ref": chosen, "label": "Too expensive"},
                        "field": why,
                    },
                    {"type": "number", "number": 6, "field": nps},
                    {"type": "text", "text": "A sample answer – sent by `winback webhooks test`.", "field": more},
                ],
            },
        },
        ensure_ascii=False,
    ).encode()


RECEIVER: Final = Receiver(
    name="typeform",
    title="Typeform",
    options=TypeformOptions,
    verify=_verify,
    parse=_parse,
    understand=_understand,
    sign=_sign,
    sample=_sample,
    backfill=_backfill,
    api=_api,
    dedupe_for=timedelta(days=400),
)

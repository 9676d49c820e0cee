"""Anything else: events of our own making, sent by Standard Webhooks 1.0.0 (`webhook-id`, `-timestamp`, `-signature`).

A body is `{"type": "winback.used", "timestamp": "2026-11-01T10:00:00Z", "data": {"person": {…}, …}}`. `data.person`
says whom it is about by any of `token`, `record`, `user_id`, `email`; every type has a model here that says what else
it takes. `webhook-id` makes an event count once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from connector.errors import MalformedPayload
from connector.heard import Answered, Asked, Given, Heard, MailEvent, Paid, RecordChanged, RecordGone, Used, Who
from connector.receivers import Event, Incoming, Parsed, Receiver, ReceiverOptions, Secrets, Verdict, secrets
from webhooks.payloads import Id, Payload, Text, checked, from_text, key_of, read_json
from webhooks.signatures import newest, sign_standard, standard_key, verify_standard


class StandardOptions(ReceiverOptions):
    """Whoever sends us events by Standard Webhooks."""

    model_config = ConfigDict(hide_input_in_errors=True)

    secret: Annotated[Secrets, BeforeValidator(secrets)] = Field(
        default=(), description="whsec_ and base64 of 24 to 64 random bytes; several, newest first, to change it"
    )

    @field_validator("secret")
    @classmethod
    def _has_keys(cls, value: Secrets) -> Secrets:
        for secret in value:
            standard_key(secret.get_secret_value())
        return value


class Person(Payload):
    """Whom an event is about; the first of these that is known decides."""

    token: Text | None = Field(default=None, description="the signed token of a winback link or survey")
    record: Text | None = Field(default=None, description="the CRM's record with its system, as in hubspot:123")
    user_id: Text | None = Field(default=None, description="your product's own user id")
    email: Text | None = Field(default=None, description="a mail address")

    @model_validator(mode="after")
    def _somebody(self) -> Person:
        if not (self.token or self.record or self.user_id or self.email):
            raise ValueError("names nobody")
        return self

    @property
    def who(self) -> Who:
        """In our own words."""
        return Who(token=self.token, record=self.record, external_id=self.user_id, email=self.email)


class About(Payload):
    """Data of `winback.deleted` and `winback.erased`; of every other type the common part."""

    person: Person


class UsedData(About):
    """Data of `winback.used`: somebody used the product."""

    feature: Text | None = None
    count: int = Field(default=1, ge=1, le=1_000_000, strict=True)


class PaidData(About):
    """Data of `winback.paid`; `amount` is in whole units of `currency` (ISO 4217), negative when given back."""

    kind: Literal["payment", "upgrade", "cancellation", "reactivation"] = "payment"
    id: Id | None = Field(default=None, description="the payment's own id; webhook-id by default")
    amount: float = Field(default=0.0, ge=-1e12, le=1e12, allow_inf_nan=False)
    currency: str | None = Field(default=None, pattern=r"^[A-Za-z]{3}$")


class AnswerData(Payload):
    """One answer to one question."""

    question: Text
    kind: Literal["choice", "text", "score", "other"] = "text"
    title: Text = ""
    choice: tuple[Text, ...] = Field(default=(), max_length=100)
    text: Text = ""
    number: float | None = Field(default=None, allow_inf_nan=False)


class AnsweredData(About):
    """Data of `winback.answered`: somebody answered a survey; a later one of the same `response` replaces this one."""

    survey: Text
    response: Id | None = Field(default=None, description="the response's own id; webhook-id by default")
    answers: tuple[AnswerData, ...] = Field(max_length=200)
    complete: bool = True
    language: Text | None = None


class MailData(About):
    """Data of `winback.unsubscribed`, `.bounced`, `.complained`, `.replied` and `.clicked`."""

    campaign: Text | None = None
    machine: bool | None = Field(default=None, description="whether a scanner or proxy did it; such clicks never count")


class ChangedData(About):
    """Data of `winback.changed`: a property of the person's CRM record has another value."""

    name: Text
    value: Text | None = None


class MergedData(About):
    """Data of `winback.merged`: the person's CRM record went into another one."""

    into: Text = Field(pattern=r"^[a-z][a-z0-9_]*:\S+$", description="the record that stays, as in hubspot:456")


class AskedData(About):
    """Data of `winback.enroll`, `.exit`, `.snooze` and `.return`; `days` is how long a snooze lasts."""

    program: Text | None = None
    days: int | None = Field(default=None, ge=1, le=3_650, strict=True)


class Message(Payload):
    """A body: what happened, when, and its data."""

    type: Text
    timestamp: Text
    data: Mapping[str, Any]


class _Kind(Payload):
    type: Text


Meaning: TypeAlias = Callable[[str, Any, datetime], Heard]
"""From the event's key, the checked data and the moment."""


def _used(key: str, data: UsedData, at: datetime) -> Heard:
    return Used(who=data.person.who, at=at, feature=data.feature, event_id=key, events=data.count)


def _paid(key: str, data: PaidData, at: datetime) -> Heard:
    currency = data.currency.upper() if data.currency else None
    return Paid(
        who=data.person.who,
        at=at,
        kind=data.kind,
        transaction_id=data.id or key,
        amount=data.amount,
        currency=currency,
    )


def _answered(key: str, data: AnsweredData, at: datetime) -> Heard:
    return Answered(
        who=data.person.who,
        at=at,
        source="standard",
        survey=data.survey,
        response=data.response or key,
        answers=tuple(Given(**dict(answer)) for answer in data.answers),
        complete=data.complete,
        language=data.language,
    )


def _mail(kind: str) -> Meaning:
    def meaning(key: str, data: MailData, at: datetime) -> Heard:
        return MailEvent(
            who=data.person.who,
            at=at,
            kind=kind,
            event_id=key,
            campaign=data.campaign,
            machine=data.machine,
            evidence={"message": key},
        )

    return meaning


def _changed(_key: str, data: ChangedData, at: datetime) -> Heard:
    return RecordChanged(who=data.person.who, at=at, name=data.name, value=data.value)


def _gone(how: str) -> Meaning:
    return lambda _key, data, at: RecordGone(who=data.person.who, at=at, how=how)


def _merged(_key: str, data: MergedData, at: datetime) -> Heard:
    return RecordGone(who=data.person.who, at=at, how="merged", into=data.into)


def _asked(action: str) -> Meaning:
    def meaning(key: str, data: AskedData, at: datetime) -> Heard:
        return Asked(
            who=data.person.who,
            at=at,
            action=action,
            key=key,
            source="standard",
            program=data.program,
            lasts=timedelta(days=data.days) if data.days and action == "snooze" else None,
            evidence={"message": key},
        )

    return meaning


TYPES: Final[Mapping[str, tuple[type[About], Meaning]]] = {
    "winback.used": (UsedData, _used),
    "winback.paid": (PaidData, _paid),
    "winback.answered": (AnsweredData, _answered),
    "winback.unsubscribed": (MailData, _mail("unsubscribe")),
    "winback.bounced": (MailData, _mail("bounce")),
    "winback.complained": (MailData, _mail("spam")),
    "winback.replied": (MailData, _mail("reply")),
    "winback.clicked": (MailData, _mail("click")),
    "winback.changed": (ChangedData, _changed),
    "winback.deleted": (About, _gone("deleted")),
    "winback.erased": (About, _gone("erased")),
    "winback.merged": (MergedData, _merged),
    "winback.enroll": (AskedData, _asked("enroll")),
    "winback.exit": (AskedData, _asked("exit")),
    "winback.snooze": (AskedData, _asked("snooze")),
    "winback.return": (AskedData, _asked("return")),
}
"""Every type there is: what its data has to look like, and what it means."""


def verify(options: StandardOptions, incoming: Incoming) -> Verdict:
    """By the standard's signature, at most five minutes old."""
    return verify_standard(incoming, options.secret)


def parse(_options: StandardOptions, incoming: Incoming) -> Parsed:
    """The one event of a message."""
    body = read_json(incoming.body, "standard")
    if checked(_Kind, body, "standard").type not in TYPES:
        return Parsed((), {"unknown type": 1})
    message = checked(Message, body, "standard")
    model, _ = TYPES[message.type]
    data = checked(model, message.data, "standard")
    message_id = incoming.header("webhook-id") or ""
    if not message_id.strip():
        raise MalformedPayload("standard: webhook-id: missing")
    at = min(from_text(message.timestamp, "standard"), incoming.received_at)
    return Parsed([Event(key=key_of(message_id), kind=message.type, payload=data.kept(), at=at)])


def understand(_options: StandardOptions, event: Event) -> Sequence[Heard]:
    """What one event means."""
    if event.kind not in TYPES or event.at is None:
        return ()
    model, meaning = TYPES[event.kind]
    return (meaning(event.key, checked(model, event.payload, "standard"), event.at),)


def sign(options: StandardOptions, _method: str, _url: str, body: bytes, now: datetime) -> Mapping[str, str]:
    """By the standard; the same body at the same moment is the same message."""
    message_id = "msg_" + hashlib.sha256(body + now.isoformat().encode()).hexdigest()[:24]
    return sign_standard(newest(options.secret), message_id, body, now)


def sample(_options: StandardOptions, token: str, now: datetime) -> bytes:
    """A property of no consequence has changed on whoever the token means."""
    message = {
        "type": "winback.changed",
        "timestamp": now.isoformat(),
        "data": {"person": {"token": token or "winback-test"}, "name": "winback_test", "value": "heard"},
    }
    return json.dumps(message, separators=(",", ":")).encode()


RECEIVER = Receiver(
    name="standard",
    title="Standard Webhooks",
    options=StandardOptions,
    verify=verify,
    parse=parse,
    understand=understand,
    sign=sign,
    sample=sample,
)

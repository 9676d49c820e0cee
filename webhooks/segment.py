"""Twilio Segment: what people do in the product, live, from the Webhooks (Actions) destination.

Segment signs a single event whole, but of a batch only the first event. So of a batch the rest is believed only where a
secret header vouches for it; else switch batching off. It drops what is answered 4xx and tries again after 429 and 5xx.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from connector.errors import MalformedPayload
from connector.heard import Heard, MailEvent, Used, Who
from connector.receivers import Event, Incoming, Parsed, Receiver, ReceiverOptions, Secrets, Verdict, secrets
from webhooks.payloads import (
    CamelPayload,
    Filled,
    SharedSecrets,
    Text,
    checked,
    happened,
    is_ours,
    key_of,
    mail_address,
    read_json,
)
from webhooks.signatures import (
    NO_SECRET,
    SHARED_SECRET_HEADER,
    both,
    newest,
    plain,
    segment,
    verify_segment,
    verify_shared_secret,
)

_MAIL: Final[Mapping[str, str]] = {
    "Email Bounced": "bounce",
    "Email Link Clicked": "click",
    "Email Marked as Spam": "spam",
    "Unsubscribed": "unsubscribe",
}
"""Of Segment's own vocabulary for mail: told by mail tools, about mails; never use of the product."""
_MAIL_ONLY: Final = frozenset({"Email Delivered", "Email Opened"})
_NO_USE: Final = frozenset({"alias", "delete", "group", "identify"})


class SegmentOptions(ReceiverOptions):
    """A Webhooks (Actions) destination in Segment."""

    secret: Annotated[Secrets, BeforeValidator(secrets)] = Field(
        default=(), description="the destination's shared secret; several, newest first, to change it"
    )
    header_secret: SharedSecrets = Field(
        default=(),
        description=f"a secret that is sent as {SHARED_SECRET_HEADER} too: then every event of a batch is believed",
    )


class _Traits(CamelPayload):
    email: Any = None


class _Context(CamelPayload):
    traits: _Traits | None = None


class _Kind(CamelPayload):
    """What has to be known of a message before it is known whether we want it."""

    type: Text
    event: Text | None = None
    name: Text | None = None


class Message(_Kind):
    """A message by Segment's specification, as far as it says who did what and when."""

    message_id: Filled
    user_id: Text | None = None
    timestamp: Text | None = None
    received_at: Text | None = None
    traits: _Traits | None = None
    properties: _Traits | None = None
    context: _Context | None = None

    @property
    def email(self) -> str | None:
        """An address, wherever the message carries one."""
        places = (self.traits, self.context.traits if self.context else None, self.properties)
        return next((found for place in places if place and (found := mail_address(place.email))), None)


class _Stored(CamelPayload):
    """What is kept of a message."""

    type: Text
    name: Text | None = None
    user_id: Text | None = None
    email: Text | None = None


def verify(options: SegmentOptions, incoming: Incoming) -> Verdict:
    """By everything that is configured: the signature over the body or a batch's first event, and the secret header."""
    verdicts = []
    if plain(options.header_secret):
        verdicts.append(verify_shared_secret(incoming, options.header_secret))
    if plain(options.secret):
        verdict = verify_segment(incoming, options.secret)
        first = None if verdict.ok or not incoming.header("x-signature") else first_of_batch(incoming.body)
        verdicts.append(verdict if first is None else verify_segment(incoming, options.secret, first))
    if not verdicts:
        return Verdict(False, NO_SECRET, "segment")
    return verdicts[0] if len(verdicts) == 1 else both(*verdicts)


def first_of_batch(body: bytes) -> bytes | None:
    """The first event of an array, byte by byte as it stands; None where there is none."""
    try:
        text = body.decode()
        start = text.index("[") + 1
        if text[: start - 1].strip():
            return None
        start += len(text[start:]) - len(text[start:].lstrip())
        _, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return text[start:end].encode()


def parse(options: SegmentOptions, incoming: Incoming) -> Parsed:
    """The events that say what somebody did, as far as somebody vouches for them."""
    body = read_json(incoming.body, "segment")
    entries = _entries(body)
    believed = 1 if isinstance(body, list) and not _all_believed(options, incoming) else len(entries)
    events: list[Event] = []
    ignored: Counter[str] = Counter()
    for entry in entries[:believed]:
        unwanted = _unwanted(checked(_Kind, entry, "segment"))
        message = None if unwanted else checked(Message, entry, "segment")
        if message is None or not (message.user_id or message.email):
            ignored[unwanted or "nobody is named"] += 1
            continue
        events.append(_event(message, incoming.received_at))
    if len(entries) > believed:
        ignored["not covered by the signature"] += len(entries) - believed
    return Parsed(events, dict(ignored))


def _all_believed(options: SegmentOptions, incoming: Incoming) -> bool:
    """Whether what vouches for the delivery vouches for every event of it."""
    return options.insecure_dev or bool(plain(options.header_secret)) or verify_segment(incoming, options.secret).ok


def _entries(body: Any) -> list[Any]:
    """The messages of a body: one, an array of them, or a batch as Segment's own API takes it."""
    if isinstance(body, list):
        return body
    if not isinstance(body, dict):
        raise MalformedPayload("segment: the body is neither a message nor an array of them")
    batch = body.get("batch", [body])
    if not isinstance(batch, list):
        raise MalformedPayload("segment: batch: it is not an array")
    return batch


def _unwanted(kind: _Kind) -> str | None:
    """Why a message is not wanted, in one of few words; None when it is."""
    if kind.type in _NO_USE:
        return f"{kind.type} tells of no use"
    if kind.type not in _TOLD_BY:
        return "unknown type"
    name = _TOLD_BY[kind.type](kind)
    if kind.type == "track" and not name:
        raise MalformedPayload("segment: event: missing")
    if kind.type == "track" and name in _MAIL_ONLY:
        return "mail sent or opened"
    return "our own event" if name and is_ours(name) else None


_TOLD_BY: Final = {
    "track": lambda kind: kind.event,
    "page": lambda kind: kind.name,
    "screen": lambda kind: kind.name,
}
"""The types that tell of use, and what names the feature."""


def _event(message: Message, received_at: datetime) -> Event:
    stored = _Stored(
        type=message.type, name=_TOLD_BY[message.type](message), user_id=message.user_id, email=message.email
    )
    return Event(
        key=key_of(message.message_id),
        kind=message.type,
        payload=stored.kept(),
        at=happened((message.timestamp, message.received_at), received_at),
    )


def understand(_options: SegmentOptions, event: Event) -> Sequence[Heard]:
    """What one message means."""
    told = checked(_Stored, event.payload, "segment")
    if event.at is None or told.type not in _TOLD_BY:
        return ()
    who = Who(external_id=told.user_id, email=told.email)
    if told.type == "track" and told.name and told.name in _MAIL:
        kind = _MAIL[told.name]
        return (MailEvent(who=who, at=event.at, kind=kind, event_id=event.key, evidence={"event": told.name}),)
    return (Used(who=who, at=event.at, feature=told.name, event_id=event.key),)


def sign(options: SegmentOptions, _method: str, _url: str, body: bytes, _now: datetime) -> Mapping[str, str]:
    """As the destination signs one event; of a batch, the first one."""
    headers = {}
    if plain(options.header_secret):
        headers["X-Winback-Secret"] = newest(options.header_secret)
    if plain(options.secret) or not headers:
        headers["X-Signature"] = segment(newest(options.secret), first_of_batch(body) or body)
    return headers


def sample(_options: SegmentOptions, _token: str, now: datetime) -> bytes:
    """Somebody nobody knows signs in."""
    moment = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    message = {
        "type": "track",
        "event": "Signed In",
        "messageId": f"ajs-next-{int(now.timestamp() * 1_000)}-sample",
        "userId": "winback-test",
        "properties": {},
        "context": {},
        "timestamp": moment,
        "receivedAt": moment,
    }
    return json.dumps(message, separators=(",", ":")).encode()


RECEIVER = Receiver(
    name="segment",
    title="Segment",
    options=SegmentOptions,
    verify=verify,
    parse=parse,
    understand=understand,
    sign=sign,
    sample=sample,
    # The signature carries no moment: what was heard once has to be known again as long as anybody may repeat it.
    dedupe_for=timedelta(days=400),
)

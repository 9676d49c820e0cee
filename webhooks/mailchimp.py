"""Mailchimp: who unsubscribed, complained, bounced or changed the address, told per audience.

Webhooks made since 2026 are signed; older ones are not, so the address ends with a secret part too. Bodies are forms.
Nothing that arrives here ever lifts an opt-out: somebody subscribed in Mailchimp has not said so to us.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final
from urllib.parse import parse_qsl, urlencode

from pydantic import BeforeValidator, Field

from connector.errors import MalformedPayload
from connector.heard import Heard, MailEvent, RecordChanged, Who
from connector.receivers import Event, Incoming, Parsed, Receiver, ReceiverOptions, Secrets, Verdict, secrets
from webhooks.path_tokens import PathTokens
from webhooks.payloads import Payload, Text, checked, from_text, mail_address
from webhooks.signatures import both, newest, plain, sign_timed, verify_mailchimp, verify_token

_MOST_FIELDS: Final = 1_000
_UNWANTED: Final[Mapping[str, str]] = {
    "campaign": "campaign: about nobody",
    "profile": "profile: nothing that decides",
    "subscribe": "subscribe: lifts no opt-out",
}


class MailchimpOptions(ReceiverOptions):
    """The webhooks of a Mailchimp account's audiences."""

    token: PathTokens = Field(
        default=(), description="the secret last part of the address; several, newest first, to change it"
    )
    signing_secret: Annotated[Secrets, BeforeValidator(secrets)] = Field(
        default=(), description="the signing secrets Mailchimp showed when each webhook was made (since 2026)"
    )


class Told(Payload):
    """What is read of a form, under plain names, and kept."""

    type: Text
    fired_at: Text
    action: Text | None = None
    reason: Text | None = None
    member: Text | None = None
    audience: Text | None = None
    campaign: Text | None = None
    email: Text | None = None
    old_email: Text | None = None


_FIELDS: Final[Mapping[str, str]] = {
    "type": "type",
    "fired_at": "fired_at",
    "data[action]": "action",
    "data[reason]": "reason",
    "data[id]": "member",
    "data[list_id]": "audience",
    "data[campaign_id]": "campaign",
    "data[email]": "email",
    "data[old_email]": "old_email",
}


def verify(options: MailchimpOptions, incoming: Incoming) -> Verdict:
    """By everything that is configured: the secret part of the address, and the signature.

    While a webhook is being made, Mailchimp may try the address with an empty form, which it does not sign.
    """
    token = verify_token(incoming, options.token)
    if not plain(options.signing_secret):
        return token
    if token.ok and not incoming.body and "x-mailchimp-signature" not in incoming.headers:
        return token
    signature = verify_mailchimp(incoming, options.signing_secret)
    return both(token, signature) if plain(options.token) else signature


def parse(_options: MailchimpOptions, incoming: Incoming) -> Parsed:
    """The one event of a delivery."""
    if not incoming.body:
        return Parsed((), {"empty: a try of the address": 1})
    told = checked(Told, _form(incoming.body), "mailchimp")
    if told.type not in _MEANINGS:
        return Parsed((), {_UNWANTED.get(told.type, "unknown type"): 1})
    email = mail_address(told.old_email if told.type == "upemail" else told.email)
    if email is None:
        raise MalformedPayload("mailchimp: there is no address")
    at = from_text(told.fired_at, "mailchimp")  # written without a zone; UTC by all that is seen
    return Parsed([Event(key=_key(told), kind=told.type, payload=told.kept(), at=at)])


def _form(body: bytes) -> dict[str, str]:
    """The fields of a form that we read; MalformedPayload when it is none, or has one of them twice."""
    try:
        pairs = parse_qsl(
            body.decode(),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise MalformedPayload("mailchimp: the body is not a form") from None
    found: dict[str, str] = {}
    for field, value in pairs:
        name = _FIELDS.get(field)
        if name in found:
            raise MalformedPayload(f"mailchimp: {field} is there twice")
        if name is not None and value:
            found[name] = value
    return found


def _key(told: Told) -> str:
    """Mailchimp numbers no deliveries; an address must not be readable in a key."""
    parts = (told.type, told.audience, told.member or told.old_email or told.email, told.fired_at)
    text = "\n".join(part or "" for part in parts)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def understand(_options: MailchimpOptions, event: Event) -> Sequence[Heard]:
    """What one event means."""
    told = checked(Told, event.payload, "mailchimp")
    meaning = _MEANINGS.get(told.type)
    return meaning(event.key, told, event.at or from_text(told.fired_at, "mailchimp")) if meaning else ()


def _unsubscribed(key: str, told: Told, at: datetime) -> Sequence[Heard]:
    """`delete` is somebody taken out of the audience by hand: no mail either."""
    kind = "spam" if told.reason == "abuse" else "unsubscribe"
    return (_mail(kind, key, told, at),)


def _cleaned(key: str, told: Told, at: datetime) -> Sequence[Heard]:
    return (_mail("spam" if told.reason == "abuse" else "bounce", key, told, at),)


def _moved(_key: str, told: Told, at: datetime) -> Sequence[Heard]:
    """Another address for the same person: what it is, the CRM says when it is read again."""
    return (RecordChanged(who=Who(email=told.old_email), at=at, name="email", value=None),)


def _mail(kind: str, key: str, told: Told, at: datetime) -> MailEvent:
    evidence = {"audience": told.audience, "action": told.action, "reason": told.reason}
    return MailEvent(
        who=Who(email=mail_address(told.email)),
        at=at,
        kind=kind,
        event_id=key,
        campaign=told.campaign,
        evidence={name: value for name, value in evidence.items() if value},
    )


_MEANINGS: Mapping[str, Callable[[str, Told, datetime], Sequence[Heard]]] = {
    "cleaned": _cleaned,
    "unsubscribe": _unsubscribed,
    "upemail": _moved,
}


def sign(options: MailchimpOptions, _method: str, _url: str, body: bytes, now: datetime) -> Mapping[str, str]:
    """As Mailchimp signs, where there is a signing secret; without one the address alone has to do."""
    if not plain(options.signing_secret):
        return {}
    return {"X-Mailchimp-Signature": sign_timed(newest(options.signing_secret), body, now)}


def sample(_options: MailchimpOptions, _token: str, now: datetime) -> bytes:
    """An address nobody has changes."""
    return urlencode(
        {
            "type": "upemail",
            "fired_at": f"{now:%Y-%m-%d %H:%M:%S}",
            "data[list_id]": "winbacktest",
            "data[new_id]": "winbacktest",
            "data[new_email]": "new@winback-test.invalid",
            "data[old_email]": "old@winback-test.invalid",
        }
    ).encode()


RECEIVER = Receiver(
    name="mailchimp",
    title="Mailchimp",
    options=MailchimpOptions,
    verify=verify,
    parse=parse,
    understand=understand,
    sign=sign,
    sample=sample,
    needs_token=True,
    get_ok=True,
    content_type="application/x-www-form-urlencoded",
    # Unsigned webhooks carry no moment: what was heard once has to be known again as long as anybody may repeat it.
    dedupe_for=timedelta(days=400),
)

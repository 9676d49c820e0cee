"""Salesforce: outbound messages about contacts and leads, and the call-outs of flows that ask us something.

An outbound message is SOAP and unsigned: the secret part of the address, the organization's id and, where it is given,
the sender's network vouch for it. It carries a record's values as they are when it is sent, not as they were, up to 100
records at a time, at least once, in no order; it is repeated for a day until it is acknowledged in SOAP. A session that
comes along (`SessionId`) is never looked at, stored or logged. Call-outs of flows are JSON with a secret in a header.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING, Annotated, Any, Final
from xml.sax.saxutils import escape

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from connector.errors import MalformedPayload
from connector.heard import Heard, MailEvent, RecordChanged, RecordGone, Who
from connector.receivers import (
    MAX_BODY_BYTES,
    Call,
    Event,
    Incoming,
    Parsed,
    Receiver,
    ReceiverOptions,
    Reply,
    Triggers,
    Verdict,
)
from webhooks.path_tokens import PathTokens
from webhooks.payloads import (
    Filled,
    Id,
    Payload,
    SharedSecrets,
    Text,
    checked,
    from_text,
    inputs_of,
    key_of,
    mail_address,
    read_json,
)
from webhooks.signatures import SHARED_SECRET_HEADER, newest, salesforce_id, verify_shared_secret, verify_token

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MOST_NOTIFICATIONS: Final = 100
DEEPEST: Final = 64
ACTIONS: Final = ("evaluate", "enroll", "exit", "snooze")

_SOAP: Final = "{http://schemas.xmlsoap.org/soap/envelope/}"
_OUT: Final = "{http://soap.sforce.com/2005/09/outbound}"
_TYPE: Final = "{http://www.w3.org/2001/XMLSchema-instance}type"
_PEOPLE: Final = frozenset({"Contact", "Lead"})
_ORGANIZATION: Final = "00D"
_CHANGED_AT: Final = ("LastModifiedDate", "SystemModstamp")
_CHANGED_BY: Final = "LastModifiedById"
_ABOUT_THE_RECORD: Final = frozenset(
    {
        "Id",
        "IsDeleted",
        "MasterRecordId",
        "CreatedDate",
        "LastViewedDate",
        "LastReferencedDate",
        _CHANGED_BY,
        *_CHANGED_AT,
    }
)
_ACK: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    b'<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse>'
    b"</soapenv:Body></soapenv:Envelope>"
)


def _full_id(text: str) -> str:
    return salesforce_id(text.strip())


class SalesforceOptions(ReceiverOptions):
    """A Salesforce organization that tells us of changes, and whose flows ask us."""

    org_id: Annotated[str, AfterValidator(_full_id)] = Field(
        description="the organization's id (00D…), 15 or 18 characters; messages of any other are left aside"
    )
    token: PathTokens = Field(
        default=(), description="for outbound messages: the secret last part of the address; several, newest first"
    )
    secret: SharedSecrets = Field(
        default=(),
        description=f"for call-outs of flows: what they send as {SHARED_SECRET_HEADER}; several, newest first",
    )
    integration_user: Annotated[str | None, AfterValidator(lambda text: _full_id(text) if text else None)] = Field(
        default=None, description="the id of the user winback writes as: what that user changed is no news"
    )
    networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(), description="where outbound messages may come from, as in 13.108.0.0/14; anywhere by default"
    )

    @field_validator("org_id", "integration_user")
    @classmethod
    def _of_its_kind(cls, value: str | None, info: ValidationInfo) -> str | None:
        prefix = _ORGANIZATION if info.field_name == "org_id" else "005"
        if value is not None and not value.startswith(prefix):
            raise ValueError(f"does not begin with {prefix}")
        return value


class Notification(Payload):
    """One record of an outbound message: what is kept of it."""

    id: Id
    kind: Text
    record: Id
    fields: Mapping[str, Text]


def verify(options: SalesforceOptions, incoming: Incoming) -> Verdict:
    """By the secret part of the address, and by the sender's network where networks are named."""
    if options.networks and not _is_within(options.networks, incoming.address):
        return Verdict(False, "the sender's address is in none of the configured networks", "token")
    return verify_token(incoming, options.token)


def _is_within(networks: Sequence[IPv4Network | IPv6Network], address: str | None) -> bool:
    try:
        sender = ip_address(address or "")
    except ValueError:
        return False
    sender = getattr(sender, "ipv4_mapped", None) or sender
    return any(sender in network for network in networks)


def parse(options: SalesforceOptions, incoming: Incoming) -> Parsed:
    """The records of an outbound message of our organization."""
    message = _message(incoming.body)
    if _id(_text(message, "OrganizationId")) != options.org_id:
        return Parsed((), {"another organization": 1})
    notifications = message.findall(f"{_OUT}Notification")
    if not 0 < len(notifications) <= MOST_NOTIFICATIONS:
        raise MalformedPayload(f"salesforce: a message has 1 to {MOST_NOTIFICATIONS} notifications")
    events: list[Event] = []
    ignored: Counter[str] = Counter()
    for notification in map(_notification, notifications):
        unwanted = _unwanted(options, notification)
        if unwanted:
            ignored[unwanted] += 1
        else:
            events.append(_event(notification, incoming.received_at))
    return Parsed(events, dict(ignored))


def _message(body: bytes) -> Element:
    """The `notifications` element of a SOAP message; MalformedPayload for anything else.

    defusedxml refuses entities by itself, a bare DOCTYPE only when told to; it takes any depth and any size.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml.ElementTree import iterparse  # type: ignore[import-untyped]  # it publishes no types

    if len(body) > MAX_BODY_BYTES:
        raise MalformedPayload("salesforce: the message is larger than any of theirs")
    root: Element | None = None
    depth = 0
    try:
        for step, element in iterparse(io.BytesIO(body), events=("start", "end"), forbid_dtd=True):
            depth += 1 if step == "start" else -1
            root = element if root is None else root
            if depth > DEEPEST:
                raise MalformedPayload(f"salesforce: the message is nested deeper than {DEEPEST}")
    except (ParseError, ValueError, LookupError):
        raise MalformedPayload("salesforce: the body is not XML, or XML that could hurt") from None
    found = None if root is None or root.tag != f"{_SOAP}Envelope" else root.find(f"{_SOAP}Body/{_OUT}notifications")
    if found is None:
        raise MalformedPayload("salesforce: the body is not an outbound message")
    return found


def _text(element: Element, name: str) -> str:
    return (element.findtext(f"{_OUT}{name}") or "").strip()


def _id(text: str) -> str:
    try:
        return salesforce_id(text)
    except ValueError:
        raise MalformedPayload("salesforce: what should be an id is none") from None


def _notification(element: Element) -> Notification:
    """One record's id, kind and plain fields; nested ones are left out."""
    record = element.find(f"{_OUT}sObject")
    if record is None:
        raise MalformedPayload("salesforce: sObject: missing")
    fields = {child.tag.rpartition("}")[2]: child.text or "" for child in record if not len(child)}
    stored = {
        "id": _text(element, "Id"),
        "kind": record.get(_TYPE, "").rpartition(":")[2],
        "record": _id(fields.get("Id", "").strip()),
        "fields": fields,
    }
    return checked(Notification, stored, "salesforce")


def _unwanted(options: SalesforceOptions, notification: Notification) -> str | None:
    """Why a record is not wanted, in one of few words; None when it is."""
    if notification.kind not in _PEOPLE:
        return "neither a contact nor a lead"
    writer = notification.fields.get(_CHANGED_BY)
    if writer and options.integration_user and _id(writer.strip()) == options.integration_user:
        return "our own write"
    return None


def _event(notification: Notification, received_at: datetime) -> Event:
    told = next((notification.fields[name] for name in _CHANGED_AT if notification.fields.get(name)), None)
    at = received_at if told is None else min(from_text(told, "salesforce"), received_at)
    return Event(key=key_of(notification.id), kind=notification.kind, payload=notification.kept(), at=at)


def understand(_options: SalesforceOptions, event: Event) -> Sequence[Heard]:
    """What one record's values mean: going, opt-out and bounce by themselves, everything else as a hint to read it."""
    told = checked(Notification, event.payload, "salesforce")
    if event.at is None:
        return ()
    who = Who(record=f"salesforce:{told.record}", email=mail_address(told.fields.get("Email")))
    master = told.fields.get("MasterRecordId", "").strip()
    if master:
        return (RecordGone(who=who, at=event.at, how="merged", into=f"salesforce:{_id(master)}"),)
    if _is_true(told.fields.get("IsDeleted")):
        return (RecordGone(who=who, at=event.at, how="deleted"),)
    heard: dict[str, Heard] = {}
    for name, value in told.fields.items():
        kind = _mail_kind(name, value)
        if kind is not None:
            # A bounce's reason is the mail server's answer, which names the address.
            said = {"property": name, "value": value if kind == "unsubscribe" else "set"}
            mail = MailEvent(who=who, at=event.at, kind=kind, event_id=f"{event.key}:{kind}", evidence=said)
            heard.setdefault(kind, mail)
        elif name not in _ABOUT_THE_RECORD:
            hint = None if mail_address(value) else value or None
            heard[f"={name}"] = RecordChanged(who=who, at=event.at, name=name, value=hint)
    return tuple(heard.values())


def _is_true(value: str | None) -> bool:
    return (value or "").strip().lower() in {"true", "1"}


def _mail_kind(name: str, value: str) -> str | None:
    """What a field says about mail, if anything."""
    if name == "HasOptedOutOfEmail":
        return "unsubscribe" if _is_true(value) else None
    return "bounce" if name in {"EmailBouncedDate", "EmailBouncedReason"} and value.strip() else None


def reply(_options: SalesforceOptions, _parsed: Parsed) -> Reply:
    """The acknowledgement in SOAP; without it the whole message comes again for a day."""
    return Reply(200, _ACK, "text/xml; charset=utf-8")


def sign(_options: SalesforceOptions, _method: str, _url: str, _body: bytes, _now: datetime) -> Mapping[str, str]:
    """Outbound messages are not signed: the secret part of the address has to do."""
    return {"SOAPAction": '""'}


def sample(options: SalesforceOptions, _token: str, now: datetime) -> bytes:
    """A change of a contact nobody knows."""
    moment = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
        '<notifications xmlns="http://soap.sforce.com/2005/09/outbound">'
        f"<OrganizationId>{escape(options.org_id)}</OrganizationId>"
        '<ActionId>04k000000000001AAA</ActionId><SessionId xsi:nil="true"/>'
        f"<Notification><Id>04l{int(now.timestamp()):012d}</Id>"
        '<sObject xsi:type="sf:Contact" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">'
        f"<sf:Id>003000000000001AAA</sf:Id><sf:LastModifiedDate>{moment}</sf:LastModifiedDate>"
        "<sf:Title>winback test</sf:Title></sObject></Notification>"
        "</notifications></soapenv:Body></soapenv:Envelope>"
    ).encode()


# Call-outs of flows.


class CallOut(Payload):
    """The body of a flow's call-out; whatever else it has, flat, is input.

    idempotency_key: The same for every try of one question; a flow has it as `{!$Flow.InterviewGuid}`.
    """

    org_id: Text
    record_id: Text
    idempotency_key: Filled
    email: Text | None = None


def verify_call(options: SalesforceOptions, incoming: Incoming) -> Verdict:
    """By the secret in its header: flows cannot sign."""
    return verify_shared_secret(incoming, options.secret)


def parse_call(options: SalesforceOptions, action: str, incoming: Incoming) -> Call:
    """What the flow asks about whom."""
    if action not in ACTIONS:
        raise MalformedPayload("salesforce: there is no such action")
    body = read_json(incoming.body, "salesforce")
    call = checked(CallOut, body, "salesforce")
    if _id(call.org_id.strip()) != options.org_id:
        raise MalformedPayload("salesforce: the call comes from another organization")
    record = _id(call.record_id.strip())
    inputs = {name: _digits(value) for name, value in body.items() if name not in CallOut.model_fields}
    return Call(
        key=key_of(options.org_id, action, record, call.idempotency_key),
        action=action,
        who=Who(record=f"salesforce:{record}", email=mail_address(call.email)),
        inputs=inputs_of(inputs, "salesforce"),
    )


def _digits(value: Any) -> Any:
    """A number as somebody would write it: a flow's are decimals, and 30 may come as 30.0."""
    if not isinstance(value, float):
        return value
    return int(value) if value.is_integer() else str(value)


def answer(fields: Mapping[str, str], waits: timedelta | None) -> Reply:
    """The output fields, flat, as a flow reads them; a flow cannot be parked: it is told that there is no word yet."""
    body: dict[str, Any] = {**fields, "state": "done" if waits is None else "waiting"}
    return Reply(200, json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(), "application/json")


def sign_call(options: SalesforceOptions, _method: str, _url: str, _body: bytes, _now: datetime) -> Mapping[str, str]:
    """The header a flow's named credential sends."""
    return {"X-Winback-Secret": newest(options.secret)}


def sample_call(options: SalesforceOptions, action: str, now: datetime) -> bytes:
    """A flow asking about somebody nobody knows."""
    call = {
        "org_id": options.org_id,
        "record_id": "003000000000001AAA",
        "idempotency_key": f"winback-test-{int(now.timestamp() * 1_000)}",
    }
    return json.dumps(call | ({"days": 30} if action == "snooze" else {}), separators=(",", ":")).encode()


RECEIVER = Receiver(
    name="salesforce",
    title="Salesforce",
    options=SalesforceOptions,
    verify=verify,
    parse=parse,
    understand=understand,
    sign=sign,
    sample=sample,
    reply=reply,
    triggers=Triggers(verify=verify_call, parse=parse_call, answer=answer, sign=sign_call, sample=sample_call),
    needs_token=True,
    content_type="text/xml; charset=utf-8",
    # Nothing carries a signed moment: what was heard once has to be known again as long as anybody may repeat it.
    dedupe_for=timedelta(days=400),
)

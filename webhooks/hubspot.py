"""HubSpot: what changes on contacts, and the calls of workflows that ask us something.

Deliveries are arrays of at most 100 events, unordered and sometimes repeated; `eventId` alone tells none apart. Both
the old kind of event (`contact.*`) and the new one (`object.*` with `objectTypeId` 0-1) are understood. Joining and
leaving lists is told by no webhook of HubSpot's.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from connector.errors import MalformedPayload
from connector.heard import Heard, MailEvent, RecordChanged, RecordGone, Who
from connector.receivers import (
    Call,
    Event,
    Incoming,
    Parsed,
    Receiver,
    ReceiverOptions,
    Reply,
    Secrets,
    Triggers,
    Verdict,
    secrets,
)
from webhooks.payloads import (
    CamelPayload,
    Count,
    Id,
    Text,
    checked,
    from_millis,
    from_text,
    inputs_of,
    key_of,
    mail_address,
    read_json,
)
from webhooks.signatures import newest, sign_hubspot, verify_hubspot

MOST_EVENTS: Final = 100
ACTIONS: Final = ("evaluate", "enroll", "exit", "snooze")

_CONTACT: Final = "0-1"
_CLASSIC: Final = re.compile(r"(contact|company|deal|ticket|product|line_item|object)\.\w{1,40}").fullmatch
_MILLIS: Final = re.compile(r"[0-9]{12,14}").fullmatch
_NO: Final = frozenset({"", "false", "no", "0"})
_OPTED_OUT: Final = "hs_email_optout"
_ONE_TYPE: Final = re.compile(r"hs_email_optout_(\d{1,18})").fullmatch
_BOUNCED: Final = frozenset(
    {
        "hs_email_bad_address",
        "hs_email_hard_bounce_reason",
        "hs_email_hard_bounce_reason_enum",
        "hs_email_quarantined",
    }
)
"""What mappings/hubspot/contacts.yaml takes for a bounce."""
_ANSWERED: Final[Mapping[str, str]] = {
    "hs_email_last_click_date": "click",
    "hs_email_last_reply_date": "reply",
    "hs_sales_email_last_clicked": "click",
    "hs_sales_email_last_replied": "reply",
}
"""Moments of what the person did; HubSpot has taken the clicks of machines out."""


class HubSpotOptions(ReceiverOptions):
    """A HubSpot app that calls us: its webhooks and its workflow actions."""

    client_secret: Annotated[Secrets, BeforeValidator(secrets)] = Field(
        default=(), description="the app's client secret, never its access token; several, newest first, to change it"
    )
    portal_id: int = Field(gt=0, description="the account's number (Hub ID); events of any other are left aside")
    app_id: int | None = Field(
        default=None, gt=0, description="our app's number: what we wrote ourselves then does not count as news"
    )
    subscription_types: tuple[int, ...] = Field(
        default=(),
        description="the types of mail your win-back mails are of; opting out of any type counts when none is named",
    )
    allow_legacy_v1: bool = Field(
        default=False, description="take signatures v1, which old private apps send and anybody can send again"
    )


class Change(CamelPayload):
    """One event of a delivery; which of the later fields it has depends on its type."""

    subscription_type: Text
    portal_id: Count
    object_id: Count
    event_id: Count
    occurred_at: Count
    object_type_id: Text | None = None
    change_source: Text | None = None
    source_id: Text | None = None
    property_name: Text | None = None
    property_value: Text | None = None
    is_sensitive: bool = False
    primary_object_id: Count | None = None
    merged_object_ids: tuple[Count, ...] = ()
    new_object_id: Count | None = None


def verify(options: HubSpotOptions, incoming: Incoming) -> Verdict:
    """By the app's signature: v3, or v1 where the playbook allows it."""
    return verify_hubspot(incoming, options.client_secret, allow_v1=options.allow_legacy_v1)


def parse(options: HubSpotOptions, incoming: Incoming) -> Parsed:
    """The events about contacts of our account."""
    entries = read_json(incoming.body, "hubspot")
    if not isinstance(entries, list) or len(entries) > MOST_EVENTS:
        raise MalformedPayload(f"hubspot: the body is not an array of at most {MOST_EVENTS} events")
    events: list[Event] = []
    ignored: Counter[str] = Counter()
    for entry in entries:
        unwanted = _unwanted(options, entry)
        change = None if unwanted else checked(Change, entry, "hubspot")
        if change is not None and not _is_echo(options, change):
            events.append(_event(change))
        else:
            ignored[unwanted or "our own write"] += 1
    return Parsed(events, dict(ignored))


def _unwanted(options: HubSpotOptions, entry: Any) -> str | None:
    """Why an event is not wanted, in one of few words; None when it is. Nothing else is looked at then."""
    kind = entry.get("subscriptionType") if isinstance(entry, dict) else None
    if not isinstance(kind, str):
        raise MalformedPayload("hubspot: subscriptionType: missing")
    if entry.get("portalId", options.portal_id) != options.portal_id:
        return "another account"
    what, _, happened = kind.partition(".")
    if what != "contact" and not (what == "object" and entry.get("objectTypeId") == _CONTACT):
        return "not a contact" if _CLASSIC(kind) else "unknown type"
    if happened in _MEANINGS:
        return None
    return happened if happened in _KNOWN_UNWANTED else "unknown type"


def _is_echo(options: HubSpotOptions, change: Change) -> bool:
    """Whether our own app made the change; what is gone is gone whoever did it."""
    return (
        options.app_id is not None
        and change.subscription_type.endswith(".propertyChange")
        and change.change_source == "INTEGRATION"
        and change.source_id == str(options.app_id)
    )


def _event(change: Change) -> Event:
    if change.subscription_type.endswith(".propertyChange") and not change.property_name:
        raise MalformedPayload("hubspot: propertyName: missing")
    key = key_of(
        change.portal_id,
        change.subscription_type,
        change.object_id,
        change.property_name,
        change.event_id,
        change.occurred_at,
    )
    kept = change.kept()
    if change.is_sensitive or mail_address(change.property_value):
        kept.pop("propertyValue", None)
    return Event(key=key, kind=change.subscription_type, payload=kept, at=from_millis(change.occurred_at, "hubspot"))


def understand(options: HubSpotOptions, event: Event) -> Sequence[Heard]:
    """What one event means."""
    change = checked(Change, event.payload, "hubspot")
    _, _, happened = change.subscription_type.partition(".")
    meaning = _MEANINGS.get(happened)
    at = event.at or from_millis(change.occurred_at, "hubspot")
    return meaning(options, event.key, change, at) if meaning else ()


def _record(number: int) -> Who:
    return Who(record=f"hubspot:{number}")


def _changed(options: HubSpotOptions, key: str, change: Change, at: datetime) -> Sequence[Heard]:
    who = _record(change.object_id)
    name, value = change.property_name or "", change.property_value
    kind = None if value is None or value.strip().lower() in _NO else _mail_kind(options, name)
    if kind is None or value is None:
        return (RecordChanged(who=who, at=at, name=name, value=value),)
    if name in _ANSWERED:
        moment = _told(value, at)
        # The id that the adapter gives the same moment when it reads the contact.
        event_id = f"{change.object_id}:{kind}:{moment:%Y-%m-%dT%H:%M}"
        return (MailEvent(who=who, at=moment, kind=kind, event_id=event_id),)
    # A bounce's reason is the mail server's answer, which may name the address.
    evidence = {"property": name, "value": value if kind == "unsubscribe" else "set"}
    return (MailEvent(who=who, at=at, kind=kind, event_id=key, evidence=evidence),)


def _told(value: str, at: datetime) -> datetime:
    """A moment that is a property's value, in milliseconds or ISO 8601; that of its change when it is later or none."""
    with suppress(MalformedPayload):
        return min(from_millis(int(value), "") if _MILLIS(value) else from_text(value, ""), at)
    return at


def _mail_kind(options: HubSpotOptions, name: str) -> str | None:
    """What a value in this property says about mail, if anything."""
    one_type = _ONE_TYPE(name)
    if name == _OPTED_OUT or (
        one_type and (not options.subscription_types or int(one_type[1]) in options.subscription_types)
    ):
        return "unsubscribe"
    return "bounce" if name in _BOUNCED else _ANSWERED.get(name)


def _deleted(_options: HubSpotOptions, _key: str, change: Change, at: datetime) -> Sequence[Heard]:
    return (RecordGone(who=_record(change.object_id), at=at, how="deleted"),)


def _erased(_options: HubSpotOptions, _key: str, change: Change, at: datetime) -> Sequence[Heard]:
    return (RecordGone(who=_record(change.object_id), at=at, how="erased"),)


def _merged(_options: HubSpotOptions, _key: str, change: Change, at: datetime) -> Sequence[Heard]:
    """A merge may make a third record, into which both go."""
    into = change.new_object_id or change.primary_object_id or change.object_id
    primary = () if change.primary_object_id is None else (change.primary_object_id,)
    gone = dict.fromkeys((*change.merged_object_ids, *primary))
    return tuple(
        RecordGone(who=_record(number), at=at, how="merged", into=f"hubspot:{into}")
        for number in gone
        if number != into
    )


_MEANINGS: Mapping[str, Callable[[HubSpotOptions, str, Change, datetime], Sequence[Heard]]] = {
    "propertyChange": _changed,
    "deletion": _deleted,
    "privacyDeletion": _erased,
    "merge": _merged,
}
_KNOWN_UNWANTED: Final = frozenset({"associationChange", "creation", "restore"})
"""Who is new or back from the recycle bin comes with the next pull; companies are read there too."""


def sign(options: HubSpotOptions, method: str, url: str, body: bytes, now: datetime) -> Mapping[str, str]:
    """As HubSpot signs for a current app."""
    return sign_hubspot(newest(options.client_secret), method, url, body, now)


def sample(options: HubSpotOptions, _token: str, now: datetime) -> bytes:
    """A change of somebody nobody knows: it shows the way and moves nothing."""
    change = {
        "eventId": int(now.timestamp()) % 1_000_000_000,
        "subscriptionId": 1,
        "portalId": options.portal_id,
        "appId": options.app_id or 1,
        "occurredAt": int(now.timestamp() * 1_000),
        "subscriptionType": "contact.propertyChange",
        "attemptNumber": 0,
        "objectId": 1,
        "changeSource": "CRM_UI",
        "propertyName": "lifecyclestage",
        "propertyValue": "customer",
    }
    return json.dumps([change], separators=(",", ":")).encode()


# Workflow actions.


class _Origin(CamelPayload):
    portal_id: Count


class _Object(CamelPayload):
    object_id: Count
    object_type: Text = "CONTACT"
    properties: Mapping[str, Any] = Field(default_factory=dict)


class Execution(CamelPayload):
    """The call of a workflow action."""

    callback_id: Id
    origin: _Origin
    object: _Object
    input_fields: Mapping[str, Any] = Field(default_factory=dict)


def verify_action(options: HubSpotOptions, incoming: Incoming) -> Verdict:
    """By v3, or by v2, which HubSpot sends with workflow actions: there the call's own id stops a second one."""
    return verify_hubspot(incoming, options.client_secret, action=True)


def parse_action(options: HubSpotOptions, action: str, incoming: Incoming) -> Call:
    """What the workflow asks about whom."""
    if action not in ACTIONS:
        raise MalformedPayload("hubspot: there is no such action")
    call = checked(Execution, read_json(incoming.body, "hubspot"), "hubspot")
    if call.origin.portal_id != options.portal_id:
        raise MalformedPayload("hubspot: the call comes from another account")
    if call.object.object_type.upper() not in {"CONTACT", _CONTACT}:
        raise MalformedPayload("hubspot: the workflow is not about contacts")
    return Call(
        key=key_of(call.origin.portal_id, call.callback_id),
        action=action,
        who=Who(record=f"hubspot:{call.object.object_id}", email=mail_address(call.object.properties.get("email"))),
        inputs=inputs_of(call.input_fields, "hubspot"),
        callback=call.callback_id,
    )


def answer(fields: Mapping[str, str], waits: timedelta | None) -> Reply:
    """The output fields; a workflow that waits stays where it is until it is completed or the time is up."""
    state = {"hs_execution_state": "SUCCESS"}
    if waits is not None:
        state = {"hs_execution_state": "BLOCK", "hs_expiration_duration": _duration(waits)}
    body = json.dumps({"outputFields": {**fields, **state}}, ensure_ascii=False, separators=(",", ":"))
    return Reply(200, body.encode(), "application/json")


def _duration(span: timedelta) -> str:
    """ISO 8601, in whole seconds and at least one."""
    seconds = max(1, round(span.total_seconds()))
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3_600)
    minutes, seconds = divmod(seconds, 60)
    clock = "".join(f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if count)
    return "P" + (f"{days}D" if days else "") + (f"T{clock}" if clock else "")


def sample_action(options: HubSpotOptions, action: str, now: datetime) -> bytes:
    """A workflow asking about somebody nobody knows."""
    call = {
        "callbackId": f"ap-{options.portal_id}-{int(now.timestamp() * 1_000)}-1-0",
        "origin": {"portalId": options.portal_id, "actionDefinitionId": 1, "actionDefinitionVersion": 1},
        "context": {"source": "WORKFLOWS", "workflowId": 1},
        "object": {"objectId": 1, "objectType": "CONTACT", "properties": {}},
        "inputFields": {"days": "30"} if action == "snooze" else {},
    }
    return json.dumps(call, separators=(",", ":")).encode()


RECEIVER = Receiver(
    name="hubspot",
    title="HubSpot",
    options=HubSpotOptions,
    verify=verify,
    parse=parse,
    understand=understand,
    sign=sign,
    sample=sample,
    triggers=Triggers(
        verify=verify_action,
        parse=parse_action,
        answer=answer,
        sign=sign,
        sample=sample_action,
        # Of an action's answer, and of no other, HubSpot reads it in milliseconds.
        retry_after_unit=timedelta(milliseconds=1),
    ),
    # v1 and v2 carry no moment: what was heard once has to be known again as long as anybody may repeat it.
    dedupe_for=timedelta(days=400),
)

"""What other systems tell us, in our own words: what a receiver makes of its vendor's events.

Every one says when it happened by the vendor's own clock, and whom it is about by whatever the vendor knows of them;
which contact that is, the drain finds out. Nothing here is believed because it arrived: receivers verify first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias

SOURCE: Final = "webhooks"
"""What all that was heard is called where it stands beside the playbook's sources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Whom an event is about; the first of these that is known decides, in this order.

    token: A signed contact token that came back in a hidden field or a link; one that does not verify names nobody,
        and then nothing else of the event is believed about the person either.
    record: A CRM's record with its system (`hubspot:123`).
    external_id: The product's own user id.
    email: A mail address. It never leaves memory except as a keyed hash.
    """

    token: str | None = None
    record: str | None = None
    external_id: str | None = None
    email: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One answer to one question.

    question: The survey's own stable name of it (`ref`, question id). kind: `choice`, `text`, `score` or `other`.
    choice: The stable names of what was chosen (refs or ids). text: Labels of the choices, or the words given.
    """

    question: str
    kind: str
    title: str = ""
    choice: tuple[str, ...] = ()
    text: str = ""
    number: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Somebody answered a survey; a later one of the same response replaces this one. `complete`: to the end."""

    who: Who
    at: datetime
    source: str
    survey: str
    response: str
    answers: tuple[Given, ...]
    complete: bool = True
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToFetch:
    """Answers exist and have to be asked for: the vendor only told their ids."""

    at: datetime
    source: str
    survey: str
    responses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Somebody used the product. `event_id` makes it count once, also against the same event read from files."""

    who: Who
    at: datetime
    feature: str | None
    event_id: str
    events: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """Money moved, or a subscription did: `kind` is payment, upgrade, cancellation or reactivation."""

    who: Who
    at: datetime
    kind: str
    transaction_id: str
    amount: float = 0.0
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailEvent:
    """What became of a mail: `kind` is unsubscribe, bounce, spam, reply or click. `machine` clicks never count."""

    who: Who
    at: datetime
    kind: str
    event_id: str
    campaign: str | None = None
    machine: bool | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordChanged:
    """A property of a CRM record changed; a hint to read it again, except where it is an opt-out."""

    who: Who
    at: datetime
    name: str
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordGone:
    """A CRM record is gone: `how` is deleted, erased (for privacy) or merged, and then `into` says where to."""

    who: Who
    at: datetime
    how: str
    into: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A person or a CRM's workflow asks for something: `action` is enroll, exit, snooze, return, unsubscribe.

    key: What makes it count once. until: Of a snooze. program: Which program; None: the one they are in, or the first.
    callback: Where the answer goes once it is known, for a workflow that waits.
    """

    who: Who
    at: datetime
    action: str
    key: str
    source: str
    program: str | None = None
    lasts: timedelta | None = None
    callback: str | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)


Heard: TypeAlias = Answered | ToFetch | Used | Paid | MailEvent | RecordChanged | RecordGone | Asked
"""A closed set: a `match` over it ends in `assert_never`."""

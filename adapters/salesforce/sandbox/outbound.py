"""Outbound messages: what is to be told to whom, and when it is told again.

A notification says which record; its values are read when the message is sent, not when it was queued. Up to a hundred
travel together, and all of them again until the message is acknowledged, for a day at most. There is no session in it
any more.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape

from adapters.salesforce.ids import record_id
from adapters.salesforce.sandbox.answers import NOT_FOUND, Refusal, stamp_csv

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.records import Row
    from adapters.salesforce.sandbox.state import State

MOST_NOTIFICATIONS: Final = 100
LIFE_MS: Final = 24 * 3_600_000
FIRST_RETRY_MS: Final = 15_000
LONGEST_RETRY_MS: Final = 2 * 3_600_000
HEAD: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n'
    ' <soapenv:Body>\n  <notifications xmlns="http://soap.sforce.com/2005/09/outbound">\n'
)
TAIL: Final = "  </notifications>\n </soapenv:Body>\n</soapenv:Envelope>"


@dataclass(frozen=True, slots=True)
class Message:
    """One outbound message: about which kind of record, with which fields, to which address.

    watches: A change of one of these queues it; empty: only a flow sends it.
    not_by: The user whose changes are no news: the guard against hearing oneself.
    """

    number: int
    name: str
    sobject: str
    fields: tuple[str, ...]
    url: str
    watches: tuple[str, ...] = ()
    not_by: str | None = None

    @property
    def id(self) -> str:
        """What the vendor calls the action id."""
        return record_id("OutboundMessage", self.number)

    def body(self) -> dict[str, Any]:
        """For the control API."""
        return {
            "id": self.id,
            "name": self.name,
            "object": self.sobject,
            "fields": list(self.fields),
            "watches": list(self.watches),
            "url": self.url,
            "not_by": self.not_by,
        }


@dataclass(frozen=True, slots=True, order=True)
class Notification:
    """One record that is to be told of; `due_ms` is when it is sent next. They sort as they are to be sent."""

    due_ms: int
    id: str
    message: str
    record_id: str
    queued_ms: int
    attempt: int = 0


@dataclass(slots=True)
class Outbound:
    """The outbound messages of one org, until they are acknowledged or given up.

    duplicates: The share of notifications sent a second time although they were acknowledged.
    disorder_seconds: How late notifications may be, by chance.
    waiting: What is still to be told, a heap: whoever is due first is in front.
    """

    state: State
    messages: dict[str, Message] = field(default_factory=dict)
    waiting: list[Notification] = field(default_factory=list)
    sent: int = 0
    dropped: int = 0
    duplicates: float = 0.0
    disorder_seconds: float = 0.0
    dice: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - repeatable bad luck
    _watched: dict[str, list[Message]] = field(default_factory=dict)
    _last: int = 0

    def __post_init__(self) -> None:
        self.state.listeners.append(self.changed)
        self.state.resetters.append(self.waiting.clear)

    def define(
        self,
        name: str,
        *,
        sobject: str,
        url: str,
        fields: Sequence[str],
        watches: Sequence[str] | None = None,
        not_by: str | None = None,
    ) -> Message:
        """Make a message, or change the one with this name. Id always goes along; a field there is not is a 400."""
        kind = self.state.kind(sobject)
        if kind is None:
            raise Refusal("INVALID_TYPE", f"there is no kind of record '{sobject}'")
        unknown = [one for one in (*fields, *(watches or ())) if kind.find(one) is None]
        if unknown:
            raise Refusal("INVALID_FIELD", f"{kind.name} has no field {', '.join(unknown)}")
        there = self.messages.get(name)
        number = there.number if there is not None else len(self.messages) + 1
        chosen = tuple(dict.fromkeys(("Id", *fields)))
        watched = tuple(fields if watches is None else watches)
        made = Message(number, name, kind.name, chosen, url, watched, not_by)
        self.messages[name] = made
        self._watched = {}
        for message in self.messages.values():
            if message.watches:
                self._watched.setdefault(message.sobject, []).append(message)
        return made

    def changed(self, kind: str, before: Row | None, after: Row | None) -> None:
        """A record came or changed. A deletion queues nothing, and no more does a return from the bin."""
        if kind not in self._watched or after is None or after.is_deleted or (before is not None and before.is_deleted):
            return
        for message in self._watched[kind]:
            if after.modified_by == message.not_by:
                continue
            if before is None or any(before.get(name) != after.get(name) for name in message.watches):
                self.send(message.name, after.id, now_ms=self.state.clock.now_ms())

    def send(self, name: str, record_id_: str, *, now_ms: int) -> None:
        """Queue a notification about a record; NOT_FOUND when there is no such message."""
        if name not in self.messages:
            raise Refusal("NOT_FOUND", f"there is no outbound message '{name}'", status=NOT_FOUND)
        self._last += 1
        late_ms = round(self.dice.uniform(0, self.disorder_seconds) * 1_000) if self.disorder_seconds else 0
        notification_id = record_id("OutboundNotification", self._last)
        heappush(self.waiting, Notification(now_ms + late_ms, notification_id, name, record_id_, now_ms))

    def due(self, now_ms: int) -> tuple[Message, list[Notification]] | None:
        """The next message with its notifications; they leave the queue, and come back by `again`."""
        together: list[Notification] = []
        while self.waiting and self.waiting[0].due_ms <= now_ms and len(together) < MOST_NOTIFICATIONS:
            # What is sent again stays together: the vendor repeats the whole message.
            if together and _kind(self.waiting[0]) != _kind(together[0]):
                break
            together.append(heappop(self.waiting))
        if not together:
            return None
        message = self.messages[together[0].message]
        if self.disorder_seconds:
            self.dice.shuffle(together)
        return message, together

    def taken(self, batch: Sequence[Notification]) -> None:
        """The message was acknowledged; some of it is sent again all the same, where that is switched on."""
        self.sent += len(batch)
        for one in batch:
            if one.attempt == 0 and self.dice.random() < self.duplicates:
                heappush(self.waiting, replace(one, attempt=1))

    def again(self, batch: Sequence[Notification], *, now_ms: int) -> None:
        """The message was not acknowledged: later, or never."""
        for one in batch:
            pause = min(FIRST_RETRY_MS * 2**one.attempt, LONGEST_RETRY_MS)
            if now_ms + pause > one.queued_ms + LIFE_MS:
                self.dropped += 1
            else:
                heappush(self.waiting, replace(one, due_ms=now_ms + pause, attempt=one.attempt + 1))

    def envelope(self, message: Message, batch: Sequence[Notification], base_url: str) -> bytes | None:
        """The message in SOAP, with the values of this moment; None when none of its records is there any more."""
        told = [
            self._notification(message, one, row) for one in batch if (row := self.state.row(one.record_id)) is not None
        ]
        if not told:
            return None
        org = self.state.org_id
        return "".join(
            (
                HEAD,
                f"   <OrganizationId>{org}</OrganizationId>\n",
                f"   <ActionId>{message.id}</ActionId>\n",
                '   <SessionId xsi:nil="true"/>\n',
                f"   <EnterpriseUrl>{escape(base_url)}/services/Soap/c/66.0/{org[:15]}</EnterpriseUrl>\n",
                f"   <PartnerUrl>{escape(base_url)}/services/Soap/u/66.0/{org[:15]}</PartnerUrl>\n",
                *told,
                TAIL,
            )
        ).encode()

    def body(self) -> dict[str, Any]:
        """For the control API."""
        return {
            "messages": [message.body() for message in self.messages.values()],
            "waiting": len(self.waiting),
            "sent": self.sent,
            "dropped": self.dropped,
            "duplicates": self.duplicates,
            "disorder_seconds": self.disorder_seconds,
        }

    def _notification(self, message: Message, one: Notification, row: Row) -> str:
        kind = self.state.kind_of(row.id)
        values = ((name, self.state.value(row, name)) for name in message.fields)
        cells = "".join(
            f"     <sf:{name}>{escape(_text(kind.fields[name].kind if kind else '', value))}</sf:{name}>\n"
            for name, value in values
            if value is not None
        )
        return (
            f"   <Notification>\n    <Id>{one.id}</Id>\n"
            f'    <sObject xsi:type="sf:{message.sobject}" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">\n'
            f"{cells}    </sObject>\n   </Notification>\n"
        )


def configure(outbound: Outbound, settings: Mapping[str, Any]) -> None:
    """Take over the ways in which messages go wrong."""
    for name in ("duplicates", "disorder_seconds"):
        if name in settings:
            setattr(outbound, name, float(settings[name]))


def _kind(one: Notification) -> tuple[str, int]:
    return one.message, one.attempt


def _text(kind: str, value: Any) -> str:
    if value is True or value is False:
        return "true" if value else "false"
    return stamp_csv(value) if kind == "datetime" else str(value)

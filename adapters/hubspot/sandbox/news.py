"""Webhooks: what an app subscribed to, the events that came of it, and when each is to be sent again."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from adapters.hubspot.sandbox.answers import Refusal
from adapters.hubspot.sandbox.records import Record

MOST_EVENTS: Final = 100
"""Events of one delivery."""

RETRIES: Final = 10
FIRST_RETRY_MS: Final = 20_000
LONGEST_RETRY_MS: Final = 5 * 3_600_000
"""Ten tries more, jittered, that end within a day."""

CHANGE, CREATION, DELETION = "contact.propertyChange", "contact.creation", "contact.deletion"
PRIVACY, MERGE, RESTORE = "contact.privacyDeletion", "contact.merge", "contact.restore"
TYPES: Final = (CHANGE, CREATION, DELETION, PRIVACY, MERGE, RESTORE)
NEVER: Final = frozenset({"hs_lastmodifieddate", "lastmodifieddate", "num_unique_conversion_events"})
"""Properties nobody can subscribe to."""

WINDOW, APP, FLOWS = "CRM_UI", "INTEGRATION", "AUTOMATION_PLATFORM"
"""Who changed something."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One kind of event, of one property where it is a change of one."""

    id: int
    type: str
    property: str | None = None
    active: bool = True


@dataclass(frozen=True, slots=True)
class Pending:
    """An event that was not taken yet; `due_ms` is when it is sent next."""

    event: Mapping[str, Any]
    due_ms: int
    attempt: int = 0

    def body(self) -> dict[str, Any]:
        """The event as it is sent."""
        return {**self.event, "attemptNumber": self.attempt}


@dataclass(slots=True)
class App:
    """The settings of one app. Without a target nothing is noted."""

    target_url: str = ""
    client_secret: str = "sandbox-client-secret"  # noqa: S105 - signs what the sandbox sends, secret to nobody
    app_id: int = 1
    subscriptions: tuple[Subscription, ...] = ()

    def body(self) -> dict[str, Any]:
        """For the control API."""
        return {**asdict(self), "client_secret": "…"}


@dataclass(slots=True)
class News:
    """The events of one account, until they are taken or given up.

    duplicates: The share of events sent a second time. disorder_seconds: How late events may be, by chance.
    """

    portal_id: int
    app: App = field(default_factory=App)
    waiting: list[Pending] = field(default_factory=list)
    sent: int = 0
    dropped: int = 0
    source: str = WINDOW
    duplicates: float = 0.0
    disorder_seconds: float = 0.0
    dice: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - repeatable bad luck
    _events: int = 0

    @property
    def listening(self) -> bool:
        """Whether anything is to be noted at all."""
        return bool(self.app.target_url and self.app.subscriptions)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Take over `target_url`, `client_secret`, `app_id` and `subscriptions` ([{"type", "property"}])."""
        kept = {key: settings[key] for key in ("target_url", "client_secret", "app_id") if key in settings}
        self.app = replace(self.app, **kept)
        if "subscriptions" in settings:
            self.app.subscriptions = tuple(
                _subscription(number, given) for number, given in enumerate(settings["subscriptions"], 1)
            )
        for name in ("duplicates", "disorder_seconds"):
            if name in settings:
                setattr(self, name, float(settings[name]))

    def put(self, before: Record | None, after: Record, *, now_ms: int) -> None:
        """A contact came or changed."""
        if not self.listening:
            return
        if before is None:
            self._note(CREATION, after.id, now_ms, {"changeFlag": "CREATED"})
        old = before.properties if before is not None else {}
        for name in sorted({*old, *after.properties}):
            value = after.properties.get(name)
            if value != old.get(name) and name not in NEVER:
                self._note(CHANGE, after.id, now_ms, {"propertyName": name, "propertyValue": value or ""}, name)

    def gone(self, record_id: str, *, now_ms: int, for_good: bool) -> None:
        """A contact was deleted, or forgotten for good: that comes with an ordinary deletion."""
        if self.listening:
            self._note(DELETION, record_id, now_ms, {"changeFlag": "DELETED"})
            if for_good:
                self._note(PRIVACY, record_id, now_ms, {"changeFlag": "DELETED"})

    def restored(self, record_id: str, *, now_ms: int) -> None:
        """A contact came back out of the recycle bin."""
        if self.listening:
            self._note(RESTORE, record_id, now_ms, {})

    def merged(self, primary_id: str, loser_ids: Sequence[str], survivor_id: str, *, now_ms: int) -> None:
        """Two contacts became one."""
        if self.listening:
            extra = {
                "primaryObjectId": int(primary_id),
                "mergedObjectIds": [int(loser) for loser in loser_ids],
                "newObjectId": int(survivor_id),
                "numberOfPropertiesMoved": 0,
            }
            self._note(MERGE, primary_id, now_ms, extra)

    def due(self, now_ms: int) -> list[Pending]:
        """The next delivery; it leaves the queue, and comes back by `again` when nobody takes it."""
        ready = [pending for pending in self.waiting if pending.due_ms <= now_ms][:MOST_EVENTS]
        taken = set(map(id, ready))
        self.waiting = [pending for pending in self.waiting if id(pending) not in taken]
        if self.disorder_seconds:
            self.dice.shuffle(ready)
        return ready

    def taken(self, batch: Sequence[Pending]) -> None:
        """Somebody took these; a few are sent again all the same, where that is switched on."""
        self.sent += len(batch)
        self.waiting += [
            replace(pending, attempt=pending.attempt + 1)
            for pending in batch
            if pending.attempt == 0 and self.dice.random() < self.duplicates
        ]

    def again(self, batch: Sequence[Pending], *, now_ms: int) -> None:
        """Nobody took these: later, or never."""
        for pending in batch:
            if pending.attempt >= RETRIES:
                self.dropped += 1
                continue
            pause = min(FIRST_RETRY_MS * 3**pending.attempt, LONGEST_RETRY_MS)
            due_ms = now_ms + round(pause * self.dice.uniform(0.5, 1.0))
            self.waiting.append(replace(pending, due_ms=due_ms, attempt=pending.attempt + 1))

    def body(self) -> dict[str, Any]:
        """For the control API."""
        return {
            **self.app.body(),
            "waiting": len(self.waiting),
            "sent": self.sent,
            "dropped": self.dropped,
            "duplicates": self.duplicates,
            "disorder_seconds": self.disorder_seconds,
        }

    def _note(self, kind: str, record_id: str, now_ms: int, extra: Mapping[str, Any], name: str | None = None) -> None:
        for wanted in self.app.subscriptions:
            if not wanted.active or wanted.type != kind or wanted.property != name:
                continue
            self._events += 1
            event = {
                "eventId": self._events,
                "subscriptionId": wanted.id,
                "portalId": self.portal_id,
                "appId": self.app.app_id,
                "occurredAt": now_ms,
                "subscriptionType": kind,
                "objectId": int(record_id),
                "changeSource": self.source,
                **({"sourceId": str(self.app.app_id)} if self.source == APP else {}),
                **extra,
            }
            late_ms = round(self.dice.uniform(0, self.disorder_seconds) * 1000) if self.disorder_seconds else 0
            self.waiting.append(Pending(event, now_ms + late_ms))


def _subscription(number: int, given: Mapping[str, Any]) -> Subscription:
    kind, name = str(given.get("type")), given.get("property")
    if kind not in TYPES:
        raise Refusal(f"an app subscribes to {', '.join(TYPES)}; '{kind}' is none of them")
    if (kind == CHANGE) is not bool(name) or name in NEVER:
        raise Refusal(f"{kind} and the property '{name or ''}' do not go together")
    return Subscription(number, kind, str(name) if name else None, bool(given.get("active", True)))

"""Communication preferences: who unsubscribed from what, kept by address; it outlives the contact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from adapters.hubspot.sandbox.answers import Refusal, iso
from adapters.hubspot.sandbox.records import ObjectStore

OPTED_OUT: Final = "hs_email_optout"
STATES: Final = frozenset({"SUBSCRIBED", "UNSUBSCRIBED", "NOT_SPECIFIED"})


@dataclass(frozen=True, slots=True)
class Subscription:
    """One kind of mail people can choose."""

    id: str
    name: str
    description: str
    internal: bool = False

    def body(self) -> dict[str, Any]:
        """As the vendor writes it."""
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "purpose": "Marketing",
            "communicationMethod": "Email",
            "isActive": True,
            "isDefault": True,
            "isInternal": self.internal,
            "createdAt": iso(0),
            "updatedAt": iso(0),
        }


SUBSCRIPTIONS: Final = (
    Subscription("1001", "Marketing information", "Offers and news"),
    Subscription("1002", "Product updates", "What is new in the product"),
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What one address chose, when, and where it was heard."""

    status: str
    at_ms: int
    source: str
    legal_basis: str | None = None
    explanation: str | None = None


class PreferenceStore:
    """Choices by address (lower case); the contact that has the address carries them as read-only properties."""

    def __init__(self, contacts: Callable[[], ObjectStore]) -> None:
        self._contacts = contacts
        self.from_all: dict[str, Choice] = {}
        self.choices: dict[tuple[str, str], Choice] = {}

    def unsubscribe_all(self, address: str, *, source: str, now_ms: int) -> bool:
        """Take an address off all mail; whether that changed anything."""
        if self.is_out(address):
            return False
        self.from_all[_key(address)] = Choice("UNSUBSCRIBED", now_ms, source)
        self.carry(address, now_ms=now_ms)
        return True

    def is_out(self, address: str) -> bool:
        """Whether an address is off all mail, by choice or as the account's past has it."""
        return self.wide(address) is not None

    def wide(self, address: str) -> Choice | None:
        """The choice against all mail."""
        found = self.from_all.get(_key(address))
        if found is not None:
            return found
        record = self._contacts().by_email(address)
        if record is None or _key(record.properties.get("email", "")) != _key(address):
            return None
        past = record.properties.get(OPTED_OUT) == "true"
        return Choice("UNSUBSCRIBED", record.created_ms, "IMPORT") if past else None

    def choose(
        self, address: str, subscription_id: str, status: str, *, now_ms: int, basis: Mapping[str, Any]
    ) -> tuple[Choice, str]:
        """Set one address's choice for one kind of mail; the choice and what setting it did."""
        if subscription_id not in {subscription.id for subscription in SUBSCRIPTIONS}:
            raise Refusal(f"There is no subscription with id {subscription_id}")
        if status not in STATES:
            raise Refusal(f"statusState must be one of {', '.join(sorted(STATES))}")
        before = self.choices.get((_key(address), subscription_id))
        if before is not None and before.status == status:
            return before, "NO_STATUS_CHANGE"
        chosen = Choice(status, now_ms, "API", basis.get("legalBasis"), basis.get("legalBasisExplanation"))
        again = status == "SUBSCRIBED" and (self.is_out(address) or before is not None)
        if again:
            # v4 brings people back; winback must never ask it to.
            self.from_all.pop(_key(address), None)
        self.choices[_key(address), subscription_id] = chosen
        self.carry(address, now_ms=now_ms)
        return chosen, "RESUBSCRIBE_OCCURRED" if again else "REQUESTED_CHANGE_OCCURRED"

    def status(self, address: str, subscription: Subscription) -> Choice:
        """What holds for one kind of mail: the choice against all mail wins."""
        wide = self.wide(address)
        if wide is not None:
            return wide
        return self.choices.get((_key(address), subscription.id)) or Choice("NOT_SPECIFIED", 0, "NONE")

    def carry(self, address: str, *, now_ms: int) -> None:
        """Write an address's choices onto the contact that has it."""
        record = self._contacts().by_email(address)
        if record is None or _key(record.properties.get("email", "")) != _key(address):
            return
        values = dict(record.properties)
        if _key(address) in self.from_all:
            values[OPTED_OUT] = "true"
        elif any(key == _key(address) and choice.status == "SUBSCRIBED" for (key, _), choice in self.choices.items()):
            values.pop(OPTED_OUT, None)
        for subscription in SUBSCRIPTIONS:
            choice = self.choices.get((_key(address), subscription.id))
            if choice is not None:
                values[f"{OPTED_OUT}_{subscription.id}"] = "true" if choice.status == "UNSUBSCRIBED" else "false"
        if values != record.properties:
            newer = replace(record, properties=values, updated_ms=max(now_ms, record.updated_ms))
            self._contacts().put(newer, now_ms=now_ms)

    def knows(self, address: str) -> bool:
        """Whether anything was ever chosen for an address."""
        return _key(address) in self.from_all or any(key == _key(address) for key, _ in self.choices)


def _key(address: str) -> str:
    return address.strip().lower()

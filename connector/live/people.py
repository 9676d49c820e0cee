"""Who somebody is: the contact behind a token, a record, a product user or an address, asked of the journal alone.

What is published to the journal are keyed hashes: nobody without the keys can read an id or an address off them, or
try one out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from connector.heard import Who
from connector.identity import normal_email
from connector.journal.known import EMAIL, EXTERNAL_ID, RECORD, known_key
from connector.links import SURVEY

if TYPE_CHECKING:
    from connector.links import LinkMaker
    from connector.workspace import Workspace


@dataclass(frozen=True, slots=True)
class IdentityKeys:
    """What ids are hashed with. The pepper of addresses is the suppression list's: one hash of an address serves both.

    Holds secrets: it never shows them.
    """

    external: bytes
    pepper: bytes

    def __repr__(self) -> str:
        return "IdentityKeys()"

    @classmethod
    def of(cls, workspace: Workspace) -> IdentityKeys:
        """Those of this install."""
        return cls(workspace.journal.keys.get_or_make("known"), workspace.suppression_key())

    def external_id(self, value: str) -> str:
        """What the product's own id of somebody is known by."""
        return known_key(EXTERNAL_ID, value.strip(), self.external)

    def email(self, address: str) -> str:
        """What an address is known by, here and in the consent ledger."""
        return known_key(EMAIL, address, self.pepper)


class Known(Protocol):
    """What is asked of `journal.known`."""

    def contact(self, kind: str, key: str) -> str | None:
        """The contact that was published under this key."""

    def keys(self, contact_id: str, kind: str) -> list[str]:
        """The keys of this kind that were published for this contact."""


class Subjects(Protocol):
    """What is asked of `journal.links`."""

    def contact(self, subject: str) -> str | None:
        """Whom the opaque subject of a link stands for, after any merges."""


@dataclass(frozen=True, slots=True)
class Found:
    """Who an event is about.

    contact_id: None when nobody we know.
    why: What decided, or why nobody was found; no id and no address in it.
    addresses: Of the person, as the consent ledger knows them; also where no contact is known.
    """

    contact_id: str | None
    why: str
    addresses: tuple[str, ...] = ()


class Finder:
    """Finds contacts by what vendors know of them.

    Args:
        known: `journal.known`.
        subjects: `journal.links`.
        keys: What ids are hashed with.
        links: Reads tokens; None where the playbook has no links, and then no token names anybody.
        system: Of the CRM, or of each: its records are contacts by their own id.
    """

    def __init__(
        self,
        known: Known,
        subjects: Subjects,
        keys: IdentityKeys,
        *,
        links: LinkMaker | None,
        system: str | tuple[str, ...] | None,
    ) -> None:
        self._known = known
        self._subjects = subjects
        self._keys = keys
        self._links = links
        systems = (system,) if isinstance(system, str) else system or ()
        self._prefixes = tuple(f"{name}:" for name in systems)

    def contact(self, who: Who, *, now: datetime, itself: bool = False) -> Found:
        """Who it is, by the first of token, record, external id and address that names somebody.

        A token that does not verify names nobody, and nothing else is believed then: whoever edits the one would edit
        the other.

        Args:
            who: Whatever the vendor knows of them.
            now: When we were told: tokens of some links lapse.
            itself: A record is meant as it was, not as the contact it was merged into; unless that is another CRM's.
        """
        if itself and who.record is not None and self._is_ours(who.record) and not self._is_elsewhere(who.record):
            return Found(who.record, RECORD, self._addresses(who.record, who.email))
        if who.token is not None:
            contact_id = self._by_token(who.token, now)
            if contact_id is None:
                return Found(None, "the token is not one of ours")
            return Found(contact_id, "token", self._addresses(contact_id, None))
        for kind, find in self._ways(who).items():
            contact_id = find()
            if contact_id is not None:
                return Found(contact_id, kind, self._addresses(contact_id, who.email))
        return Found(None, "nobody we know", self._addresses(None, who.email))

    def fact_key(self, who: Who, found: Found) -> tuple[str, str]:
        """The neutral id a fact is kept under when its contact is not known yet: kind and value, no address in it."""
        if who.external_id is not None:
            return EXTERNAL_ID, who.external_id
        if found.contact_id is not None:
            return "contact_id", found.contact_id
        return (EMAIL, found.addresses[0]) if found.addresses else ("nobody", "")

    def _by_token(self, token: str, now: datetime) -> str | None:
        if self._links is None:
            return None
        link = self._links.read(token, now=now, action=SURVEY) or self._links.read(token, now=now)
        return None if link is None else self._survivor(self._subjects.contact(link.subject))

    def _ways(self, who: Who) -> Mapping[str, Callable[[], str | None]]:
        ways: dict[str, Callable[[], str | None]] = {}
        record, external_id, email = who.record, who.external_id, who.email
        if record is not None:
            ways[RECORD] = lambda: self._by_record(record)
        if external_id is not None:
            ways[EXTERNAL_ID] = lambda: self._known.contact(EXTERNAL_ID, self._keys.external_id(external_id))
        if email is not None and _is_address(email):
            ways[EMAIL] = lambda: self._known.contact(EMAIL, self._keys.email(email))
        return ways

    def _by_record(self, record: str) -> str | None:
        """A record that was merged is known as whom it is now; one of the CRM is a contact even if never heard of."""
        found = self._known.contact(RECORD, record)
        if found is not None:
            return found
        return record if self._is_ours(record) else None

    def _is_ours(self, record: str) -> bool:
        return record.startswith(self._prefixes)

    def _is_elsewhere(self, record: str) -> bool:
        """Whether the person is worked in another CRM than the record's."""
        if len(self._prefixes) == 1:
            return False
        found = self._known.contact(RECORD, record)
        return found is not None and found.partition(":")[0] != record.partition(":")[0]

    def _survivor(self, contact_id: str | None) -> str | None:
        return None if contact_id is None else self._known.contact(RECORD, contact_id) or contact_id

    def _addresses(self, contact_id: str | None, email: str | None) -> tuple[str, ...]:
        given = [self._keys.email(email)] if email is not None and _is_address(email) else []
        known = [] if contact_id is None else self._known.keys(contact_id, EMAIL)
        return tuple(dict.fromkeys([*given, *sorted(known)]))


def _is_address(email: str) -> bool:
    return normal_email(email) is not None

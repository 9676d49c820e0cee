"""What was heard between runs, as a source of the next run: usage, payments and mail events of the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from connector.contracts import StreamInfo
from connector.crms import became, destination_systems
from connector.heard import SOURCE
from connector.journal.facts import ENGAGEMENT, TRANSACTION, USAGE
from connector.journal.known import EMAIL
from connector.live.people import IdentityKeys
from connector.model import Cursor, Finding, Page, Record

if TYPE_CHECKING:
    from connector.journal.facts import FactRow, Facts
    from connector.pull import PullReport
    from connector.workspace import Workspace

NAME: Final = SOURCE
"""Its name among the sources, and the system of its ids: people are known by the product's own id or by a contact's."""

_AT_ONCE = 5_000

_STREAMS: Mapping[str, str] = {"usage": USAGE, "transactions": TRANSACTION, "engagements": ENGAGEMENT}
"""Stream, named as the table it fills → the kind of its facts."""

_MAPPINGS: Mapping[str, Mapping[str, str]] = {
    "usage": {
        "contact_id": "who",
        "occurred_at": "at",
        "arrived_at": "heard_at",
        "feature": "feature",
        "events": "events",
        "event_id": "event_id",
    },
    "transactions": {
        "contact_id": "who",
        "at": "at",
        "amount": "amount",
        "currency": "currency",
        "kind": "kind",
        "transaction_id": "key",
    },
    "engagements": {
        "contact_id": "who",
        "at": "at",
        "kind": "kind",
        "campaign": "campaign",
        "machine": "machine",
        "event_id": "key",
    },
}


class FactsSource:
    """Reads the journal's facts in the order in which they were heard; each of them once.

    Args:
        facts: `journal.facts`.
        whose: Contact by the keyed hash of an address, asked only where a fact knows nothing else.
        merged: Contacts that were merged away, and whom each of them is now.
    """

    system = NAME

    def __init__(
        self, facts: Facts, *, whose: Callable[[str], str | None], merged: Mapping[str, str] | None = None
    ) -> None:
        self._facts = facts
        self._whose = whose
        self._merged = merged or {}

    def check(self) -> Iterator[Finding]:
        """Nothing can be wrong with it that is not wrong with the journal."""
        return iter(())

    def streams(self) -> Sequence[StreamInfo]:
        """One for each kind of fact."""
        return [StreamInfo(name, name, None) for name in _STREAMS]

    def read(self, stream: str, cursor: Cursor | None) -> Iterator[Page]:
        """Pages from the last fact that is stored on."""
        kind = _STREAMS[stream]
        number = int(cursor["number"]) if cursor else 0
        while rows := self._facts.after(number, _AT_ONCE):
            number = rows[-1].number
            records = [self._record(row) for row in rows if row.kind == kind]
            yield Page(records=records, cursor={"number": number})
            if len(rows) < _AT_ONCE:
                return

    def close(self) -> None:
        """The journal is the caller's."""

    def _record(self, fact: FactRow) -> Record:
        return {"who": self._who(fact), "at": fact.at, "heard_at": fact.heard_at, "key": fact.key, **fact.values}

    def _who(self, fact: FactRow) -> str:
        """The contact where one was known, the product's own id, or what an address means by now."""
        contact_id = fact.contact_id
        if contact_id is None and fact.who_kind == EMAIL:
            contact_id = self._whose(fact.who)
        return fact.who if contact_id is None else self._merged.get(contact_id, contact_id)


class _Addresses:
    """Contacts by the keyed hashes of their addresses, worked out when the first one is asked for."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def __call__(self, key: str) -> str | None:
        return self._by_key.get(key)

    @cached_property
    def _by_key(self) -> Mapping[str, str]:
        """An address of several contacts is nobody's: a match is never guessed."""
        keys = IdentityKeys.of(self._workspace)
        found: dict[str, str | None] = {}
        for contact_id, email in self._workspace.warehouse.addresses():
            key = keys.email(email)
            found[key] = contact_id if found.get(key, contact_id) == contact_id else None
        return {key: contact_id for key, contact_id in found.items() if contact_id is not None}


def pull_facts(workspace: Workspace, *, still_ours: Callable[[], None]) -> list[PullReport]:
    """Read what was heard since the last pull into the warehouse.

    Where no source lists contacts, every product user is one, under the id of the source that tells of them; nothing is
    read then, or they would be there twice.
    """
    from connector.pull import pull
    from mappings.schema import from_user

    if workspace.playbook.webhooks is None or not _lists_contacts(workspace):
        return []
    systems = tuple(destination_systems(workspace).values()) if workspace.playbook.destinations else (NAME,)
    source = FactsSource(workspace.journal.facts, whose=_Addresses(workspace), merged=became(workspace, systems))
    reports = []
    for info in source.streams():
        still_ours()
        reports.append(
            pull(
                source,
                info.name,
                name=NAME,
                mapping=from_user(source.system, info.name, info.into, dict(_MAPPINGS[info.name])),
                warehouse=workspace.warehouse,
                clock=workspace.clock,
                reporter=workspace.reporter,
            )
        )
    return reports


def read_upto(workspace: Workspace) -> int:
    """Facts up to this number are in the warehouse."""
    cursors = [workspace.warehouse.cursor(NAME, stream) for stream in _STREAMS]
    return min(int(cursor["number"]) if cursor else 0 for cursor in cursors)


def _lists_contacts(workspace: Workspace) -> bool:
    sources: Any = workspace.playbook.sources
    return any(info.into == "contacts" for name in sources for info in workspace.source(name).streams())

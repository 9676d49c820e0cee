"""The Salesforce sandbox as the contract suites want it, with the adapter's clock tied to the sandbox's."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.salesforce import ADAPTER, SalesforceOptions
from adapters.salesforce.ids import record_id
from adapters.salesforce.options import STREAMS
from adapters.salesforce.sandbox import start
from adapters.salesforce.source import SalesforceSource
from connector.contracts import SandboxOptions
from connector.model import Account, Contact
from mappings.schema import load_shipped
from tests.fakes.budget import CountingBudget
from tests.fakes.connections import HandClock, connect

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
KINDS = {
    "contacts": "Contact",
    "leads": "Lead",
    "accounts": "Account",
    "transactions": "Opportunity",
    "responses": "CampaignMember",
}
"""The kind of record behind each stream whose records are records of the org."""


def people(count: int, *, first: int = 1, leads: bool = False) -> list[Contact]:
    """Contacts or leads with numbers for ids; every seventh contact has an account, every ninth person opted out."""
    return [
        Contact(
            f"salesforce:{'lead-' if leads else ''}{number}",
            account_id=f"salesforce:{number % 50 + 1}" if number % 7 == 0 and not leads else None,
            external_id=f"u{number}",
            email=f"{'lead' if leads else 'person'}{number}@example.com",
            first_name="Line\nbreak" if number % 13 == 0 else f"Zoë “{number}”",
            last_name=f"Name, {number}",
            role="cto",
            plan_tier="pro",
            created_at=datetime(2025, 1, 1, tzinfo=UTC),
            opted_out=number % 9 == 0,
        )
        for number in range(first, first + count)
    ]


def contact(number: int) -> str:
    """The id of the contact with this number."""
    return record_id("Contact", number)


def lead(number: int) -> str:
    """The id of the lead with this number."""
    return record_id("Lead", number)


class SalesforceWorld:
    """A running sandbox and what connects to it."""

    key = "Id"
    reads = True

    def __init__(
        self,
        work_dir: Path,
        *,
        contacts: int = 0,
        leads: int = 0,
        accounts: int = 0,
        stream: str = "contacts",
        behaviour: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.work_dir = work_dir
        self.stream = stream
        self.options = options
        self.sandbox = start(SandboxOptions(limits=False))
        self.state = self.sandbox.state
        self.state.clock.freeze(START)
        self.clock = HandClock(START)
        self.clock.on_sleep.append(self.sandbox.advance)
        self.budget = CountingBudget(self.clock)
        if behaviour:
            self.state.behave(behaviour)
        firms = [
            Account(f"salesforce:{n}", name=f"Company {n}", domain=f"c{n}.example.com", seats=n, mrr=n * 10.5)
            for n in range(1, accounts + 1)
        ]
        self.sandbox.seed([*people(contacts), *people(leads, leads=True)], firms)
        # What was seeded is history, not a change of this minute.
        self.pass_time(3600)
        self._fresh = itertools.count(10_000_000)

    def pass_time(self, seconds: float) -> None:
        """Move both clocks."""
        self.clock.advance(seconds)

    def connection(self, secret: str | None = None, **overrides: Any):
        auth = {**self.sandbox.auth, **({"client_secret": secret} if secret else {})}
        settings = {"adapter": "salesforce", "base_url": self.sandbox.base_url, "auth": auth, "timeout_seconds": 5}
        options = SalesforceOptions(**{**settings, **self.options, **overrides})
        fields = {}
        for stream in STREAMS:
            mapping = load_shipped("salesforce", stream)
            assert mapping is not None
            fields[stream] = mapping.provider_fields()
        return connect(options, self.work_dir, clock=self.clock, budget=self.budget, fields=fields)

    def calls(self) -> int:
        """API calls that the org has counted; logging in is none."""
        return self.sandbox.log.total - self.sandbox.log.by_kind["logins"]

    def stop(self) -> None:
        self.sandbox.stop()

    # --- as a source ---

    def source(self, **overrides: Any) -> SalesforceSource:
        if self.stream not in SalesforceOptions(adapter="salesforce").streams and "streams" not in self.options:
            overrides = {"streams": (self.stream,), **overrides}
        return ADAPTER.source(self.connection(**overrides))

    def broken(self):
        made = ADAPTER.source if self.reads else ADAPTER.destination
        return made(self.connection("wrong-secret"))

    @property
    def kind(self) -> str:
        return KINDS[self.stream]

    def store(self):
        return self.state.stores[self.kind]

    def live(self, kind: str) -> list[str]:
        """The ids of the records of a kind that are not in the bin, in order."""
        return sorted(row.id for row in self.state.stores[kind])

    def keys(self) -> set[str]:
        return set(self.live(self.kind))

    def insert(self, kind: str, **values: Any) -> str:
        """A new record, by somebody of the org; its id."""
        with self.state.lock, self.state.acting(self.state.admin_user):
            return self.state.insert(kind, values).id

    def edit(self, row_ids: Sequence[str], **values: Any) -> None:
        """Change records, as somebody of the org."""
        with self.state.lock, self.state.acting(self.state.admin_user):
            for row_id in row_ids:
                self.state.update(row_id, values)

    def bin(self, row_ids: Sequence[str]) -> None:
        """Put records into the recycle bin."""
        with self.state.lock, self.state.acting(self.state.admin_user):
            for row_id in row_ids:
                self.state.delete(row_id)

    def change(self) -> set[str]:
        changed = sorted(self.keys())[: max(3, len(self.keys()) // 3)]
        name = {"Account": "Name", "Opportunity": "Name"}.get(self.kind, "FirstName")
        self.edit(changed, **{name: f"Changed {next(self._fresh)}"})
        self.pass_time(600)
        return set(changed)

    def delete(self) -> set[str]:
        if self.stream not in {"contacts", "leads"}:
            return set()
        gone = sorted(self.keys())[-3:]
        self.bin(gone)
        self.pass_time(600)
        return set(gone)

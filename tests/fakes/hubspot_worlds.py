"""The HubSpot sandbox as the contract suites want it, with the adapter's clock tied to the sandbox's."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

from adapters.hubspot import ADAPTER, HubSpotOptions
from adapters.hubspot.destination import HubSpotDestination
from adapters.hubspot.sandbox import start
from adapters.hubspot.sandbox.authoring import workflow
from adapters.hubspot.sandbox.state import Poison
from adapters.hubspot.source import HubSpotSource
from adapters.lookalike.faults import Fault
from connector.contracts import SandboxOptions
from connector.model import Account, Contact
from mappings.schema import load_shipped
from tests.fakes.budget import CountingBudget
from tests.fakes.connections import HandClock, connect

START = datetime(2026, 11, 21, 12, tzinfo=UTC)


def people(count: int, *, first: int = 1) -> list[Contact]:
    """Contacts with numbers for ids; every seventh has a company, every ninth opted out."""
    return [
        Contact(
            f"hubspot:{number}",
            account_id=f"hubspot:{number % 50 + 1}" if number % 7 == 0 else None,
            external_id=f"u{number}",
            email=f"person{number}@example.com",
            first_name="Line\nbreak" if number % 13 == 0 else f"Name {number}",
            role="cto",
            plan_tier="pro",
            created_at=datetime(2025, 1, 1, tzinfo=UTC),
            opted_out=number % 9 == 0,
        )
        for number in range(first, first + count)
    ]


class HubSpotWorld:
    """A running sandbox and what connects to it."""

    key = "hs_object_id"

    def __init__(self, work_dir: Path, *, contacts: int = 0, companies: int = 0, stream: str = "contacts", **options):
        self.work_dir = work_dir
        self.stream = stream
        self.options = options
        self.sandbox = start(SandboxOptions(limits=False))
        self.state = self.sandbox.state
        self.state.clock.freeze(START)
        self.clock = HandClock(START)
        self.clock.on_sleep.append(self.sandbox.advance)
        self.budget = CountingBudget(self.clock)
        accounts = [
            Account(f"hubspot:{n}", name=f"Company {n}", domain=f"c{n}.example.com", seats=n, mrr=n * 10.5)
            for n in range(1, companies + 1)
        ]
        self.sandbox.seed(people(contacts), accounts)
        # What was seeded is history, not a change of this minute.
        self.pass_time(3600)
        self._fresh = itertools.count(10_000_000)

    def pass_time(self, seconds: float) -> None:
        """Move both clocks."""
        self.clock.advance(seconds)

    def connection(self, token: str = "sandbox-token", **overrides):
        settings = {"adapter": "hubspot", "base_url": self.sandbox.base_url, "auth": {"token": token}}
        options = HubSpotOptions(**{**settings, "timeout_seconds": 5, **self.options, **overrides})
        fields = {}
        for stream in ("contacts", "companies", "email_events"):
            mapping = load_shipped("hubspot", stream)
            assert mapping is not None
            fields[stream] = mapping.provider_fields()
        return connect(options, self.work_dir, clock=self.clock, budget=self.budget, fields=fields)

    # --- as a source ---

    def source(self, **overrides) -> HubSpotSource:
        return ADAPTER.source(self.connection(**overrides))

    def broken(self):
        made = ADAPTER.source if self.reads else ADAPTER.destination
        return made(self.connection("wrong-token"))

    reads = True

    def store(self):
        return self.state.kind(self.stream).store

    def keys(self) -> set[str]:
        return set(self.store().live)

    def edit(self, row_ids: Sequence[str], **values: str) -> None:
        kind = self.state.kind(self.stream)
        for row_id in row_ids:
            self.state.update(kind, kind.store.find(row_id), values, now_ms=self.state.settle())

    def change(self) -> set[str]:
        changed = sorted(self.keys())[: max(3, len(self.keys()) // 3)]
        name = "firstname" if self.stream == "contacts" else "name"
        self.edit(changed, **{name: f"Changed {next(self._fresh)}"})
        self.pass_time(600)
        return set(changed)

    def delete(self) -> set[str]:
        if self.stream != "contacts":
            return set()
        gone = sorted(self.keys())[-3:]
        for row_id in gone:
            self.state.archive(self.state.kind("contacts"), row_id, now_ms=self.state.settle())
        self.pass_time(600)
        return set(gone)

    # --- as a destination ---

    def destination(self, **overrides) -> HubSpotDestination:
        return ADAPTER.destination(self.connection(**overrides))

    def ids(self, count: int) -> Sequence[str]:
        missing = count - len(self.keys())
        if missing > 0:
            self.sandbox.seed(people(missing, first=1_000_000 + len(self.keys())), [])
        return sorted(self.keys())[:count]

    def unknown_id(self) -> str:
        return "987654321"

    def poison(self, row_ids: Sequence[str]) -> None:
        self.state.poison.update({row_id: Poison("Rule 7 says no") for row_id in row_ids})

    def swallow_next_write(self) -> None:
        self.sandbox.faults.add(Fault("no_op", method="PUT", path="/memberships/", times=1))
        self.sandbox.faults.add(
            Fault(
                "no_op",
                method="POST",
                path=r"/batch/update|/(notes|tasks)/batch/create|/\d+/enrollments/contacts/|/unsubscribe-all$",
                times=1,
            )
        )

    def lose_next_answer(self) -> None:
        # A look-up by GET comes first where a list is made: only the write loses its answer.
        self.sandbox.faults.add(Fault("reset", method="PUT", when="after", times=1))
        self.sandbox.faults.add(
            Fault(
                "reset",
                method="POST",
                path="/lists/[^/]+$|/batch/update|/(notes|tasks)/batch/create|/callbacks/",
                when="after",
                times=1,
            )
        )
        self.sandbox.faults.add(
            Fault("reset", method="POST", path=r"/\d+/enrollments/contacts/|/unsubscribe-all$", when="after", times=1)
        )

    def calls(self) -> int:
        return self.sandbox.log.total

    def calls_of_a_batch(self, rows: int) -> int:
        return -(-rows // 100)

    def stored(self, row_id: str) -> Mapping[str, str | None]:
        return self.state.contacts.live[row_id].properties

    # --- workflows and opt-outs ---

    def make_workflow(self, *steps, name: str = "Winback", **settings) -> str:
        """A workflow of the account; by default one that keeps people for a month and takes them again."""
        body = workflow(name, steps or [{"wait_days": 30}, {"mail": "7001"}], **settings)
        flow = self.state.workflows.flows.create(body, now_ms=self.state.settle())
        self.state.workflows.saved(flow, was_enabled=False)
        return flow.id

    def workflow(self) -> str:
        named = (flow.id for flow in self.state.workflows.flows if flow.name == "Winback")
        return next(named, None) or self.make_workflow()

    def standing(self, workflow: str):
        self.state.settle()
        return self.state.workflows.standing(workflow)

    def started(self, workflow: str, row_id: str) -> int:
        return sum(enrollment.contact_id == row_id for enrollment in self.standing(workflow).history)

    def inside(self, workflow: str, row_id: str) -> bool:
        return row_id in self.standing(workflow).active

    # --- notes, and workflows that wait ---

    def notes(self, row_id: str, *, tasks: bool = False) -> Sequence[str]:
        kind = "tasks" if tasks else "notes"
        held = (one.properties for one in self.state.engagements.of(kind, row_id))
        return [unescape(values.get("hs_note_body") or values.get("hs_task_body") or "") for values in held]

    def let_wait(self, count: int) -> Sequence[str]:
        """Contacts at an action of ours whose call was answered with BLOCK."""
        self.state.calls.define("ask", "http://127.0.0.1:9/", ())
        flow = self.make_workflow({"ask": {"action": "1-101"}}, name="Asks")
        with self.state.lock:
            for row_id in self.ids(count):
                self.state.workflows.enroll(self.state.workflows.flows.get(flow), row_id, by="hand")
            self.state.settle()
            blocked = {"outputFields": {"hs_execution_state": "BLOCK"}}
            now_ms = self.state.clock.now_ms()
            for call in self.state.calls.waiting():
                self.state.calls.answered(call, 200, blocked, pause_ms=None, now_ms=now_ms)
            return [call.callback_id for call in self.state.calls.waiting()]

    def went_on(self, callback: str) -> Mapping[str, str] | None:
        call = self.state.calls.calls[callback]
        return call.outputs if call.state == "done" else None

    def unsubscribed(self, row_id: str) -> bool:
        return self.state.preferences.is_out(self.stored(row_id)["email"])

    def stop(self) -> None:
        self.sandbox.stop()


class HubSpotTarget(HubSpotWorld):
    """The same, for the destination's suite: everybody it hands out may be mailed."""

    reads = False

    def ids(self, count: int) -> Sequence[str]:
        while len(found := self.mailable()) < count:
            missing = count - len(found)
            self.sandbox.seed(people(missing, first=1_000_000 + len(self.keys())), [])
        return found[:count]

    def mailable(self) -> Sequence[str]:
        live = self.state.contacts.live
        return [row_id for row_id in sorted(live) if live[row_id].properties.get("hs_email_optout") != "true"]

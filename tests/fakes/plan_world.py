"""A small world for plans: a CRM in memory, a real journal, and what a run does with both."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from connector.journal import Journal
from connector.model import PropertySpec
from connector.plan.apply import HELD, ApplyContext, ApplyReport, apply_plan, undo_run
from connector.plan.build import Current, Plan, PlanInputs, Wanted, build_plan
from connector.plan.recover import recover
from connector.plan.undo import undo_file
from tests.fakes.memory_destination import MemoryDestination

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
CRM = "crm"
A, B = "winback · dormant_30", "winback · dormant_60"
SEGMENT = PropertySpec("winback_segment", "Win-back segment", "text")
REASON = PropertySpec("winback_reason", "Win-back reason", "text")
SPECS = (SEGMENT, REASON)


class StillClock:
    """Time that only moves when something waits."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at
        self.waited = 0.0

    def now(self) -> datetime:
        return self.at + timedelta(seconds=self.waited)

    def monotonic(self) -> float:
        return self.waited

    def sleep(self, seconds: float) -> None:
        self.waited += seconds


class Quiet:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, task: str, done: int, total: int | None = None) -> None:
        assert total is None or done <= total


def ids(*numbers: int) -> dict[str, str]:
    """Wanted members: record id to contact id."""
    return {str(number): f"hubspot:{number}" for number in numbers}


def inputs(**changes: Any) -> PlanInputs:
    """Inputs of a plan for a CRM that holds nothing, with what a test says instead."""
    crm = MemoryDestination()
    usual: dict[str, Any] = {
        "account": "acme",
        "as_of": date(2026, 11, 21),
        "now": NOW,
        "expires": NOW + timedelta(hours=24),
        "destination": CRM,
        "system": "memory",
        "capabilities": crm.capabilities,
        "forecast": crm.forecast,
        "wanted": Wanted(),
        "current": Current(),
        "reachable": 10_000,
    }
    return PlanInputs(**usual | changes)


@dataclass
class World:
    """One install: its CRM, its journal, its undo files."""

    crm: MemoryDestination
    journal: Journal
    folder: Path
    clock: StillClock = field(default_factory=StillClock)
    blocked: dict[str, str] = field(default_factory=dict)
    specs: tuple[PropertySpec, ...] = SPECS
    last_run: str = ""
    name: str = CRM

    def current(self) -> Current:
        """What we believe the CRM holds; lists and properties are looked up, as a real run does."""
        return Current(
            lists=self.journal.held.members(self.name),
            list_ids={name: list_id for list_id, name in self.crm.list_names.items()},
            properties=self.journal.held.properties(self.name),
            property_names=list(self.crm.specs),
        )

    def plan(
        self,
        lists: Mapping[str, Mapping[str, str]],
        properties: Mapping[str, Mapping[str, str | None]] | None = None,
        **changes: Any,
    ) -> Plan:
        """The plan that brings the CRM from what it holds to this."""
        usual: dict[str, Any] = {
            "destination": self.name,
            "capabilities": self.crm.capabilities,
            "forecast": self.crm.forecast,
            "wanted": Wanted(lists, properties or {}, self.specs if properties is not None else ()),
            "current": self.current(),
            "blocked": dict(self.blocked),
            "rejected": self.journal.rejections.active(self.name),
            "fingerprints": self.fingerprints(),
            "now": self.clock.now(),
            "expires": self.clock.now() + timedelta(hours=24),
        }
        return build_plan(inputs(**usual | changes))

    def fingerprints(self) -> dict[str, str]:
        return {"playbook": "1", HELD: self.journal.held.version(self.name)}

    def consent(self, row_ids: Sequence[str]) -> Mapping[str, str]:
        return {row_id: self.blocked[row_id] for row_id in row_ids if row_id in self.blocked}

    def context(self, kind: str, **changes: Any) -> ApplyContext:
        """A run that begins."""
        self.last_run = self.journal.runs.start(kind, playbook_digest="1")
        usual: dict[str, Any] = {
            "destination": self.crm,
            "journal": self.journal,
            "clock": self.clock,
            "reporter": Quiet(),
            "consent": self.consent,
            "run_id": self.last_run,
            "fingerprints": self.fingerprints,
            "calls": lambda: self.crm.calls,
        }
        return ApplyContext(**usual | changes)

    def apply(self, plan: Plan, **changes: Any) -> ApplyReport:
        """A run that carries the plan out."""
        context = self.context("apply", **changes)
        return apply_plan(plan, context, undo_path=undo_file(self.folder, context.run_id, self.name))

    def undo(self, run_id: str | None = None) -> ApplyReport:
        """A run that takes a run back, the last one unless told."""
        undone = run_id or self.last_run
        return undo_run(undone, self.context("undo"), folder=self.folder, destination_name=self.name)

    def recover(self) -> Any:
        return recover(self.journal, self.crm, name=self.name, clock=self.clock)

    def open_batches(self) -> list[Any]:
        return self.journal.ledger.unresolved(self.name)


@contextmanager
def world(
    contacts: Sequence[str] | range = range(1, 101), *, journal: Journal | None = None, name: str = CRM, **crm: Any
) -> Iterator[World]:
    """A fresh install with these records in its CRM; a journal that is given is shared, under a name of its own."""
    clock = StillClock()
    own = journal or Journal.open("sqlite:///:memory:", clock=clock)
    memory = Path("/dev/shm")
    # The undo file waits for the disk at every line; thousands of small worlds need not.
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        try:
            yield World(MemoryDestination(map(str, contacts), **crm), own, Path(folder) / "undo", clock, name=name)
        finally:
            if journal is None:
                own.close()

"""What a relay works with: a CRM in memory, a real journal, and a playbook with a segment, a program and answers."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from connector import failpoints
from connector.journal import OPT_OUT_LIST, Intent, Journal, workflow_list
from connector.live.relay import Relay, Relayed
from connector.model import Outcome, PropertySpec, Receipt, Segment
from connector.wanted import program_list_name
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.plan_world import CRM, NOW, Quiet, StillClock

SEGMENT_LIST = "winback · dormant_30"
STEP_LIST = program_list_name("win-back", "reminder")
FLOW = "901"
REASON = "winback_reason"
VALUES = {
    "winback_segment": "dormant_30",
    "winback_program": "win-back",
    "winback_step": "reminder",
}


def playbook() -> Any:
    """As much of a playbook as a relay looks at."""
    lists = SimpleNamespace(segments=True, steps=True)
    return SimpleNamespace(
        account="acme",
        segments=(Segment("dormant_30", "inactive_days >= 30"),),
        programs=(),
        destinations={CRM: SimpleNamespace(lists=lists, enroll="list", properties=True)},
        webhooks=SimpleNamespace(feedback=SimpleNamespace(property=REASON), alerts=SimpleNamespace()),
    )


@dataclass
class Desk:
    """What a relay is given as its workspace."""

    crm: MemoryDestination
    journal: Journal
    clock: StillClock
    reporter: Quiet = field(default_factory=Quiet)
    playbook: Any = field(default_factory=playbook)

    def __post_init__(self) -> None:
        self.relay = Relay(self, CRM, jitter=lambda _low, high: high)
        self.run_id = self.journal.runs.start("work", playbook_digest="1")

    def destination(self, name: str) -> MemoryDestination:
        assert name == CRM
        return self.crm

    def go(self, **more: Any) -> Relayed:
        """What is due, once."""
        return self.relay(run_id=self.run_id, **more)

    def go_on(self, *, most: int = 200) -> int:
        """Time passes and the relay goes on until nothing waits; how often it went."""
        for turn in range(most):
            if not self.journal.outbox.depth():
                return turn
            self.go()
            self.clock.sleep(31)
        raise AssertionError(f"still waiting: {self.journal.outbox.counts()}")

    def put(self, *rows: str) -> None:
        """A run put these records on everything, and the ledger knows."""
        run_id = self.journal.runs.start("run", playbook_digest="1")
        for name in (SEGMENT_LIST, STEP_LIST):
            self._wrote(run_id, "ensure_list", name, (), ref=self.crm.ensure_list(name, folder="winback").ref)
            self.crm.members_of[self._list_id(name)] |= set(rows)
            self._wrote(run_id, "add_members", name, rows)
        self.crm.enrolled_in.setdefault(FLOW, set()).update(rows)
        self._wrote(run_id, "enroll", workflow_list(FLOW), rows)
        self.crm.specs |= {name: PropertySpec(name, name, "text") for name in VALUES}
        self.crm.values |= {row: dict(VALUES) for row in rows}
        self._wrote(run_id, "set_properties", "", rows, payload={"values": dict.fromkeys(rows, VALUES), "before": {}})

    def want(self, kind: str, row: str | None, *, key: str = "", urgent: bool = False, **payload: Any) -> None:
        """Something to do, as the drain would say it."""
        contact_id = None if row is None else f"memory:{row}"
        intent = Intent(
            key=f"{kind}:{row}:{key}", kind=kind, payload=payload, contact_id=contact_id, urgent=urgent
        )  # fmt: skip
        assert self.journal.outbox.add([intent]) == 1

    def state_of(self, row: str) -> tuple[set[str], set[str], dict[str, str]]:
        """Lists, workflows and values of a record in the CRM."""
        lists = {name for name, rows in self.crm.holdings().items() if row in rows}
        flows = {flow for flow, rows in self.crm.enrolled_in.items() if row in rows}
        return lists, flows, self.crm.values.get(row, {})

    def waiting(self) -> list[Any]:
        """What the outbox still holds."""
        return self.journal.outbox.recent(1_000, state="waiting")

    def ended(self, state: str) -> list[Any]:
        """What ended so."""
        return self.journal.outbox.recent(1_000, state=state)

    def _list_id(self, name: str) -> str:
        return next(list_id for list_id, known in self.crm.list_names.items() if known == name)

    def _wrote(self, run_id: str, kind: str, target: str, rows: Any, *, ref: str = "", payload: Any = None) -> None:
        ledger = self.journal.ledger
        batch = ledger.intend(
            run_id, "plan-1", destination=CRM, step=0, number=0, kind=kind, target=target, rows=rows, payload=payload
        )
        said = [Receipt(row, Outcome.WRITTEN) for row in rows] or [Receipt(ref, Outcome.WRITTEN)]
        ledger.sent(batch, said, NOW)
        ledger.confirm(batch, NOW)


def open_desk(folder: Path, url: str, *, later: float = 0.0) -> Desk:
    """The desk in this folder, as the last process left it, so many seconds later."""
    clock = StillClock(NOW + timedelta(seconds=later))
    crm = MemoryDestination(map(str, range(1, 30)), path=folder / "crm.json", now=clock.now)
    # Leases are of real time: the machine of the killed relay is passed over with the clock of the test.
    return Desk(crm, Journal.open(url, clock=clock, real_clock=clock), clock)


_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.fakes.relaying"])


def _main(folder: Path, url: str, failpoint: str | None, later: float) -> None:
    if failpoint is not None:
        os.environ[failpoints.VARIABLE] = failpoint
    desk = open_desk(folder, url, later=later)
    desk.go_on()
    desk.journal.close()


def relay_process(folder: Path, url: str, *, failpoint: str | None = None, later: float = 0.0) -> int | None:
    """Relay everything in a process of its own; returns how it ended."""
    process = _processes.Process(target=_main, args=(folder, url, failpoint, later))
    process.start()
    process.join(60)
    return process.exitcode


__all__ = ["FLOW", "OPT_OUT_LIST", "REASON", "SEGMENT_LIST", "STEP_LIST", "Desk", "open_desk", "relay_process"]

"""The days to come, one after the other, through the real plan and the real apply."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from connector.clock import SystemClock
from connector.contracts import Reporter, SandboxOptions
from connector.errors import SettingError
from connector.simulation.copies import copy_journal, copy_warehouse
from connector.simulation.returning import Returning
from connector.simulation.standing_in import fill, pointed_at, sandbox_of

if TYPE_CHECKING:
    from connector.plan.document import Plan
    from connector.settings import Playbook
    from connector.workspace import Workspace

RUN_AT = time(10)
"""When the simulated scheduler runs, in the account's time zone: inside most send windows."""

A_DAY = timedelta(days=1)

USED_AT = time(15)
"""When people use the product: after the run, so that the next one hears of it."""


@dataclass(frozen=True, slots=True)
class Day:
    """What one day's run did, over all programs.

    entered: Treated contacts whose episode began. held_out: The others.
    steps: Touches decided, by step (`<program>: <step>` where there are several programs).
    exits, deferred: By reason, of both arms. inside: Treated contacts in a program after the run.
    refused: What a guard would have refused; a simulation goes on as if a person had looked and agreed.
    """

    on: date
    entered: int = 0
    held_out: int = 0
    steps: Mapping[str, int] = field(default_factory=dict)
    exits: Mapping[str, int] = field(default_factory=dict)
    deferred: Mapping[str, int] = field(default_factory=dict)
    inside: int = 0
    refused: Sequence[str] = ()

    def document(self) -> dict[str, Any]:
        """The day in the JSON document."""
        return {
            "date": self.on.isoformat(),
            "entered": self.entered,
            "held_out": self.held_out,
            "steps": dict(self.steps),
            "exits": dict(self.exits),
            "deferred": dict(self.deferred),
            "inside": self.inside,
            "refused": list(self.refused),
        }


@dataclass(frozen=True, slots=True)
class Simulated:
    """Every day, and the sums of all. step_names: Of all programs, in the order of their cadences."""

    account: str
    step_names: tuple[str, ...]
    days: tuple[Day, ...]

    @property
    def entered(self) -> int:
        """Treated contacts who entered."""
        return sum(day.entered for day in self.days)

    @property
    def held_out(self) -> int:
        """Contacts who were held out."""
        return sum(day.held_out for day in self.days)

    @property
    def steps(self) -> dict[str, int]:
        """Touches by step, also those that nobody came to."""
        return added([dict.fromkeys(self.step_names, 0), *(day.steps for day in self.days)])

    @property
    def exits(self) -> dict[str, int]:
        """Ended episodes by reason."""
        return added(day.exits for day in self.days)

    @property
    def deferred(self) -> dict[str, int]:
        """Waits by reason, in contacts and days: who waits three days counts three times."""
        return added(day.deferred for day in self.days)

    @property
    def inside(self) -> int:
        """Who is in a program at the end."""
        return self.days[-1].inside if self.days else 0

    def document(self) -> dict[str, Any]:
        """`winback simulate --json`."""
        totals = {
            "entered": self.entered,
            "held_out": self.held_out,
            "steps": self.steps,
            "exits": self.exits,
            "deferred": self.deferred,
            "inside": self.inside,
        }
        return {"schema_version": 1, "days": [day.document() for day in self.days], "totals": totals}


def added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums by name, in order of first appearance."""
    total: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return total


def simulate(
    playbook: Playbook, *, days: int, seed: int, now: datetime, base_dir: Path, reporter: Reporter
) -> Simulated:
    """Run the programs forward from the day after `now`; the stores of the install are read and left as they are.

    People return by the measured return curve, treated or not: what the program is worth is not guessed.

    Args:
        playbook: The install's.
        days: How many.
        seed: Of who returns when.
        now: From when.
        base_dir: The folder of winback.yaml.
        reporter: Hears of every day.

    Raises:
        SettingError: There is no program, no destination, no facts, or no look-alike of the CRM.
    """
    from connector.registry import installed_adapters
    from connector.workspace import Workspace

    names = _destinations(playbook)
    adapters, clock = installed_adapters(), _MovedClock(now)
    starting = {name: sandbox_of(playbook, name, adapters) for name in names}
    with ExitStack() as started, tempfile.TemporaryDirectory(prefix="winback-simulation-") as temporary:
        folder = Path(temporary)
        warehouse, users = copy_warehouse(playbook.warehouse, base_dir, folder)
        journal = copy_journal(playbook.journal, base_dir, folder, clock=clock)
        sandboxes = {}
        for name, start_sandbox in starting.items():
            sandboxes[name] = start_sandbox(SandboxOptions(seed=seed, limits=False))
            started.callback(sandboxes[name].stop)
        first = sandboxes[names[0]]
        there = pointed_at(playbook, first, warehouse=warehouse, journal=journal, others=sandboxes)
        with Workspace(there, base_dir=base_dir, clock=clock, reporter=_Silent(), adapters=adapters) as workspace:
            for name, sandbox in sandboxes.items():
                fill(workspace, sandbox, name)
            returning = Returning(workspace, users, as_of=workspace.today(), seed=seed)
            walk = _Walk(workspace, clock, returning)
            made = []
            for number in range(1, days + 1):
                reporter.progress("days simulated", number - 1, days)
                for sandbox in sandboxes.values():
                    sandbox.advance(A_DAY.total_seconds())
                made.append(walk.one_day(number))
            reporter.progress("days simulated", days, days)
            return Simulated(playbook.account, step_names(playbook), tuple(made))


def _destinations(playbook: Playbook) -> list[str]:
    if not playbook.programs:
        raise SettingError("the playbook has no program to simulate", hint="add `program:`; docs/playbook.md shows one")
    if not playbook.destinations:
        raise SettingError("the playbook has no destination, so nobody would be written to")
    return list(playbook.destinations)


def step_names(playbook: Playbook) -> tuple[str, ...]:
    """What the steps are called in the counts: with their program's name where there are several."""
    programs = playbook.programs
    return tuple(
        f"{program.name}: {step.name}" if len(programs) > 1 else step.name
        for program in programs
        for step in program.steps
    )


class _Walk:
    """One day after the other."""

    def __init__(self, workspace: Workspace, clock: _MovedClock, returning: Returning) -> None:
        self._workspace = workspace
        self._clock = clock
        self._returning = returning
        self._zone = ZoneInfo(workspace.playbook.timezone)
        self._today = workspace.today()

    def one_day(self, number: int) -> Day:
        """The run of a day, then what people do on it."""
        from connector.pipeline.applying import apply_files
        from connector.pipeline.planning import make_plans

        day = self._today + number * A_DAY
        self._clock.at = datetime.combine(day, RUN_AT, self._zone)
        self._returning.sources_were_read(self._clock.at)
        plans = [planned.plan for planned in make_plans(self._workspace).made]
        agreed = [replace(one, guards=tuple(replace(guard, ok=True) for guard in one.guards)) for one in plans]
        applied = apply_files(self._workspace, agreed)
        if applied.report.stopped is not None:
            raise applied.report.stopped
        self._workspace.warehouse.record_evaluation(plans[0].as_of)
        self._returning.live(day, datetime.combine(day, USED_AT, self._zone))
        return together(
            [counted(one, refused=[guard.message for guard in one.guards if not guard.ok]) for one in plans]
        )


def together(days: Sequence[Day]) -> Day:
    """One day in all CRMs."""
    if len(days) == 1:
        return days[0]
    return Day(
        on=days[0].on,
        entered=sum(day.entered for day in days),
        held_out=sum(day.held_out for day in days),
        steps=added(day.steps for day in days),
        exits=added(day.exits for day in days),
        deferred=added(day.deferred for day in days),
        inside=sum(day.inside for day in days),
        refused=tuple(message for day in days for message in day.refused),
    )


def counted(plan: Plan, *, refused: Sequence[str] = ()) -> Day:
    """What a plan does, in numbers."""
    several = len(plan.programs) > 1
    steps: dict[str, int] = {}
    for name, said in plan.programs.items():
        for step, count in said["steps"].items():
            steps[f"{name}: {step}" if several else step] = count
    said = plan.programs.values()
    return Day(
        on=plan.as_of,
        entered=sum(sum(one["enter"].values()) for one in said),
        held_out=sum(one["held_out"] for one in said),
        steps=steps,
        exits=added(one["exit"] for one in said),
        deferred=dict(plan.deferred),
        inside=sum(one["inside"] for one in said),
        refused=tuple(refused),
    )


class _MovedClock:
    """A clock that says what the simulation says; waiting takes no time, since nobody real is waited for."""

    def __init__(self, at: datetime) -> None:
        self.at = at
        self._seconds = 0.0

    def now(self) -> datetime:
        """The moment the simulation is at."""
        return self.at.astimezone(UTC)

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return SystemClock().monotonic() + self._seconds

    def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self._seconds += seconds


class _Silent:
    """Says nothing: the simulation has its own words."""

    def line(self, text: str) -> None:
        """Nothing."""

    def progress(self, task: str, done: int, total: int | None = None) -> None:
        """Nothing."""

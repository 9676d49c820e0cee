"""What an adapter is given, for tests: a hand-moved clock, a counting budget, a reporter that keeps its lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connector.contracts import AdapterOptions, Connection
from tests.fakes.budget import CountingBudget


@dataclass
class HandClock:
    """Time stands still until it is moved; sleeping moves it, at once."""

    at: datetime = datetime(2026, 11, 21, 12, tzinfo=UTC)
    slept: float = 0.0
    on_sleep: list = field(default_factory=list)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        for call in self.on_sleep:
            call(seconds)


@dataclass
class KeptLines:
    """A reporter that remembers what it was told."""

    lines: list[str] = field(default_factory=list)
    steps: list[tuple[str, int, int | None]] = field(default_factory=list)

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, task: str, done: int, total: int | None = None) -> None:
        self.steps.append((task, done, total))


def connect(
    options: AdapterOptions,
    work_dir: Path,
    *,
    clock: HandClock | None = None,
    budget: CountingBudget | None = None,
    fields: Mapping[str, Sequence[str]] | None = None,
    name: str = "crm",
) -> Connection:
    """A connection made of the fakes."""
    clock = clock or HandClock()
    return Connection(
        name=name,
        options=options,
        budget=budget or CountingBudget(clock),
        clock=clock,
        reporter=KeptLines(),
        base_dir=work_dir,
        work_dir=work_dir,
        fields=fields or {},
    )

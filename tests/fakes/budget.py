"""A real rate budget inside one process: sliding windows, a daily share, counted calls."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock

from connector.contracts import Clock
from connector.errors import QuotaExhausted


@dataclass
class CountingBudget:
    """Keeps each meter's calls inside its window and counts them all.

    meters: Allowed calls and window in seconds, by meter name; "" is everything without a meter of its own.
    """

    clock: Clock
    meters: dict[str, tuple[int, float]] = field(default_factory=lambda: {"": (10_000, 10.0), "search": (5, 1.0)})
    per_day: int | None = None
    by_meter: Counter[str] = field(default_factory=Counter)
    penalties: list[tuple[str, float]] = field(default_factory=list)
    observed: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = Lock()
        self._recent: dict[str, deque[float]] = {}
        self._not_before: dict[str, float] = {}

    def acquire(self, meter: str = "") -> None:
        while True:
            with self._lock:
                if self.per_day is not None and self.by_meter.total() >= self.per_day:
                    raise QuotaExhausted("today's share is spent")
                wait = self._wait(meter)
                if wait <= 0:
                    self._recent.setdefault(meter, deque()).append(self.clock.monotonic())
                    self.by_meter[meter] += 1
                    return
            self.clock.sleep(wait)

    def penalize(self, seconds: float, meter: str = "") -> None:
        with self._lock:
            self.penalties.append((meter, seconds))
            until = self.clock.monotonic() + seconds
            self._not_before[meter] = max(until, self._not_before.get(meter, until))

    def observe_daily(self, *, used: int, limit: int, resets_at: datetime | None = None) -> None:
        self.observed.append((used, limit))

    def calls(self) -> int:
        return self.by_meter.total()

    def remaining_today(self) -> int | None:
        return None if self.per_day is None else max(0, self.per_day - self.by_meter.total())

    def _wait(self, meter: str) -> float:
        now = self.clock.monotonic()
        wait = self._not_before.get(meter, now) - now
        allowed, window = self.meters.get(meter, self.meters[""])
        recent = self._recent.setdefault(meter, deque())
        while recent and recent[0] <= now - window:
            recent.popleft()
        if len(recent) >= allowed:
            wait = max(wait, recent[0] + window - now)
        return wait

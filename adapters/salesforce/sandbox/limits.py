"""The org's API allowance: calls in any 24 hours, and the words the vendor refuses with; no limit is shorter."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.salesforce.sandbox.answers import DAY_MS, FORBIDDEN, Refusal

SLICE_MS = 900_000
"""Calls are counted in quarters of an hour; a quarter leaves the window as a whole."""

MESSAGES = {
    "TotalRequests": "TotalRequests Limit exceeded.",
    "ConcurrentRequests": "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
    "ConcurrentPerOrgLongTxn": "ConcurrentPerOrgLongTxn Limit exceeded.",
}
OTHERS: Mapping[str, int] = {
    "DailyBulkApiBatches": 15_000,
    "DailyBulkV2QueryJobs": 10_000,
    "DailyBulkV2QueryFileStorageMB": 976_562,
    "DataStorageMB": 5_120,
    "FileStorageMB": 20_480,
    "HourlyPublishedPlatformEvents": 50_000,
    "DailyWorkflowEmails": 100_000,
    "MassEmail": 5_000,
    "SingleEmail": 5_000,
}
"""What else `/limits` tells of, with its most; `spend` counts them down."""


@dataclass(slots=True)
class Meter:
    """Counts calls. `enforced`: refuse when the day's calls are spent."""

    daily_max: int = 100_000
    enforced: bool = True
    refused: int = 0
    spent: dict[str, int] = field(default_factory=dict)
    maxima: dict[str, int] = field(default_factory=lambda: dict(OTHERS))
    per_app_max: int | None = None
    """The org gives our app a share of its own; then the header tells of that too."""
    _slices: deque[tuple[int, int]] = field(default_factory=deque)
    _extra: int = 0

    def admit(self, *, now_ms: int) -> None:
        """Count one call; raises the vendor's 403 when the day's calls are spent. A refused call is not counted."""
        if self.enforced and self.used(now_ms=now_ms) >= self.daily_max:
            self.refused += 1
            raise limit_refusal("TotalRequests")
        start = now_ms // SLICE_MS
        if self._slices and self._slices[-1][0] == start:
            self._slices[-1] = (start, self._slices[-1][1] + 1)
        else:
            self._slices.append((start, 1))

    def used(self, *, now_ms: int) -> int:
        """Calls in the 24 hours before now."""
        first = (now_ms - DAY_MS) // SLICE_MS
        while self._slices and self._slices[0][0] <= first:
            self._slices.popleft()
        return self._extra + sum(count for _, count in self._slices)

    def set_used(self, used: int, *, now_ms: int) -> None:
        """Say how many calls everybody has made today."""
        self._extra = 0
        self._extra = used - self.used(now_ms=now_ms)

    def spend(self, name: str, amount: int = 1) -> None:
        """Use up some of another limit; LIMIT_EXCEEDED when nothing is left."""
        left = self.maxima[name] - self.spent.get(name, 0)
        if self.enforced and amount > left:
            raise Refusal("LIMIT_EXCEEDED", f"The {name} limit of {self.maxima[name]} is exceeded.")
        self.spent[name] = self.spent.get(name, 0) + amount

    def header(self, *, now_ms: int) -> str:
        """The value of `Sforce-Limit-Info`."""
        used = self.used(now_ms=now_ms)
        ours = "" if self.per_app_max is None else f"; per-app-api-usage={used}/{self.per_app_max}(appName=winback)"
        return f"api-usage={used}/{self.daily_max}{ours}"

    def body(self, *, now_ms: int) -> dict[str, Any]:
        """The answer of `/limits`."""
        daily = {"Max": self.daily_max, "Remaining": max(0, self.daily_max - self.used(now_ms=now_ms))}
        others = {
            name: {"Max": most, "Remaining": max(0, most - self.spent.get(name, 0))}
            for name, most in self.maxima.items()
        }
        return {"DailyApiRequests": daily, **others}

    def configure(self, changes: Mapping[str, Any], *, now_ms: int) -> None:
        """Change `daily_max`, `daily_used`, `enforced` or any maximum by its name; KeyError for another name."""
        for name, value in changes.items():
            if name == "daily_used":
                self.set_used(int(value), now_ms=now_ms)
            elif name == "daily_max":
                self.daily_max = int(value)
            elif name == "enforced":
                self.enforced = bool(value)
            elif name in self.maxima:
                self.maxima[name] = int(value)
            else:
                raise KeyError(name)


def limit_refusal(policy: str) -> Refusal:
    """The vendor's 403 for one limit; it names no waiting time."""
    return Refusal("REQUEST_LIMIT_EXCEEDED", MESSAGES.get(policy, MESSAGES["ConcurrentRequests"]), status=FORBIDDEN)

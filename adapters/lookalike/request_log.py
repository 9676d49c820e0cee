"""What was asked of the sandbox: one entry a request, and counts that are never dropped."""

from __future__ import annotations

import re
import threading
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

ADDRESS = re.compile(r"[^/\s?=&@]+(@|%40)[^/\s?=&]+", re.IGNORECASE)
KEPT = 20_000
NO_ANSWER = 0
"""The status of a request whose connection was cut before an answer."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One request. `kind` is its class (`search`, `memberships`, …); `rows` how many records its body named."""

    number: int
    at_ms: int
    method: str
    path: str
    kind: str
    status: int
    milliseconds: float
    rows: int
    fault: str | None

    def body(self) -> dict[str, Any]:
        """The entry as JSON."""
        return {
            "number": self.number,
            "at": f"{datetime.fromtimestamp(self.at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{self.at_ms % 1000:03d}Z",
            "method": self.method,
            "path": self.path,
            "kind": self.kind,
            "status": self.status,
            "milliseconds": round(self.milliseconds, 2),
            "rows": self.rows,
            "fault": self.fault,
        }


class RequestLog:
    """The last requests and counts of all of them. Iterates over the kept entries, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._lock = threading.Lock()
        self.total = 0
        self.by_kind: Counter[str] = Counter()
        self.by_status: Counter[int] = Counter()

    def add(
        self,
        *,
        at_ms: int,
        method: str,
        path: str,
        kind: str,
        status: int,
        milliseconds: float,
        rows: int = 0,
        fault: str | None = None,
    ) -> None:
        """Note one request; an address in the path is masked."""
        with self._lock:
            self.total += 1
            self.by_kind[kind] += 1
            self.by_status[status] += 1
            masked = ADDRESS.sub("(address)", path)
            self._entries.append(Entry(self.total, at_ms, method, masked, kind, status, milliseconds, rows, fault))

    def count(self, *kinds: str) -> int:
        """Requests of these classes, or all of them."""
        return sum(self.by_kind[kind] for kind in kinds) if kinds else self.total

    def entries(self) -> list[Entry]:
        """The kept entries, oldest first."""
        with self._lock:
            return list(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries())

    def __len__(self) -> int:
        return self.total

    def clear(self) -> None:
        """Start counting anew."""
        with self._lock:
            self._entries.clear()
            self.total = 0
            self.by_kind.clear()
            self.by_status.clear()

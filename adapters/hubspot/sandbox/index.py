"""The search index: it sees records a while after they change, and keeps them ordered by that change.

The vendor searches an index, not the records: new and changed records appear late, not all equally late, and
until then a search still finds the old version. Records changed in the same millisecond are ordered by their id
as text ("10" before "9").
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left, insort
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapters.hubspot.sandbox.records import Record


class SearchIndex:
    """What searching sees of the records, ordered by (last change in ms, id as text)."""

    def __init__(self) -> None:
        self.seen: dict[str, Record] = {}
        self.version = 0
        self.lag_ms = 0
        self.jitter_ms = 0
        self.random = random.Random(0)  # noqa: S311 - a seeded look-alike, not a secret
        self._order: list[tuple[int, str]] = []
        self._waiting: list[tuple[int, int, str, Record | None]] = []
        self._arrivals = 0
        self._newest: dict[str, int] = {}
        self._loading = False

    def offer(self, record_id: str, record: Record | None, *, now_ms: int) -> None:
        """Tell the index of a new version (None: gone); it is seen at once, or after the lag."""
        self._arrivals += 1
        if self._loading or (not self.lag_ms and not self.jitter_ms):
            if self._waiting:
                self._newest[record_id] = self._arrivals
            self._apply(record_id, record)
            return
        delay = self.lag_ms + (self.random.randrange(self.jitter_ms) if self.jitter_ms else 0)
        heapq.heappush(self._waiting, (now_ms + delay, self._arrivals, record_id, record))

    def settle(self, now_ms: int) -> None:
        """See everything whose lag has passed."""
        while self._waiting and self._waiting[0][0] <= now_ms:
            _, arrival, record_id, record = heapq.heappop(self._waiting)
            if arrival > self._newest.get(record_id, 0):
                self._newest[record_id] = arrival
                self._apply(record_id, record)
        if not self._waiting:
            self._newest.clear()

    def order(self) -> list[tuple[int, str]]:
        """Every seen record as (last change in ms, id), oldest change first, ties by id as text."""
        return self._order

    @property
    def waiting(self) -> int:
        """How many changes are not seen yet."""
        return len(self._waiting)

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """Take many records without lag, and order them once at the end."""
        self._loading = True
        try:
            yield
        finally:
            self._loading = False
            self._order = sorted((record.updated_ms, record_id) for record_id, record in self.seen.items())

    def _apply(self, record_id: str, record: Record | None) -> None:
        self.version += 1
        before = self.seen.pop(record_id, None)
        if record is not None:
            self.seen[record_id] = record
        if self._loading:
            return
        if before is not None:
            del self._order[bisect_left(self._order, (before.updated_ms, record_id))]
        if record is not None:
            insort(self._order, (record.updated_ms, record_id))

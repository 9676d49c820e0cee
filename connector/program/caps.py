"""How often: the earliest moment at which one contact may be touched again, and who of many comes first on a day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from connector.program.model import CapSettings

PER_CONTACT = "per_contact_cap"
GAP = "gap"

LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
NEVER = datetime(9999, 12, 30, tzinfo=UTC)


def free_at(touches: Sequence[datetime], settings: CapSettings) -> tuple[datetime, str | None]:
    """From when on a contact may be touched again, and which rule says so; touches to come count as well.

    Both rules hold at that moment and at any later one. A touch exactly as old as the period or the gap bars nothing.

    Args:
        touches: The contact's, in all programs, newest first.
        settings: The caps of the program that wants to touch.
    """
    most, period = settings.per_contact
    if most <= 0:
        return NEVER, PER_CONTACT
    if not touches:
        return LONG_AGO, None
    after_gap = _later(touches[0], settings.gap)
    if len(touches) >= most:
        after_period = _later(touches[most - 1], period)
        if after_period >= after_gap:
            return after_period, PER_CONTACT
    return after_gap, GAP


def _later(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return NEVER


def room(limit: int | None, used: int) -> int | None:
    """How many more fit under a daily cap; None: any number."""
    return None if limit is None else max(0, limit - used)


Item = TypeVar("Item")
Key = tuple[int, int, str]


@dataclass(slots=True)
class Shortlist(Generic[Item]):
    """The first of a crowd in order, kept small while the crowd walks by: up to where `room` that count are reached.

    room: How many that count are wanted; None: everybody is kept.
    dropped: Names of those who cannot be among them.
    """

    room: int | None
    dropped: list[str] = field(default_factory=list)
    _kept: list[tuple[Key, bool, str, Item]] = field(default_factory=list)
    _counting: int = 0
    _last: Key | None = None

    def add(self, key: Key, name: str, item: Item, *, counts: bool) -> None:
        """One more of the crowd.

        Args:
            key: Its place: the least comes first; no two are the same.
            name: What it is called if it is dropped.
            item: What is wanted back.
            counts: It surely takes up room (a holdout takes up none).
        """
        if self.room == 0 or (self._last is not None and key > self._last):
            self.dropped.append(name)
            return
        self._kept.append((key, counts, name, item))
        if counts and self.room is not None:
            self._counting += 1
            if self._counting > self.room + self.room // 4 + 100:
                self._cut()

    def in_order(self) -> Iterator[tuple[Key, str, Item]]:
        """Those who may be among the first, the first first."""
        self._cut()
        for key, _, name, item in self._kept:
            yield key, name, item

    def _cut(self) -> None:
        """Drops everybody after the last that can still find room."""
        self._kept.sort(key=lambda entry: entry[0])
        if self.room is None:
            return
        counting = 0
        for place, (key, counts, _, _) in enumerate(self._kept, start=1):
            counting += counts
            if counting == self.room:
                self.dropped += [name for _, _, name, _ in self._kept[place:]]
                del self._kept[place:]
                self._counting, self._last = counting, key
                return

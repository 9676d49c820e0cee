"""The expiry radar: how many of each segment may be mailed, and for how many the right to mail is about to lapse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from connector.program.model import Eligibility

SOON = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a segment can be reached.

    reachable: May be mailed now. expiring: Those of them who may not be any more `SOON` from now.
    excluded: Code of EXCLUSIONS → people.
    first_lapse: When the first of the reachable is lost.
    """

    segment: str
    people: int
    reachable: int
    expiring: int
    excluded: Mapping[str, int] = field(default_factory=dict)
    first_lapse: datetime | None = None

    @property
    def expired(self) -> int:
        """The permission has lapsed."""
        return self.excluded.get("consent_expired", 0)

    @property
    def no_consent(self) -> int:
        """Nobody knows of a permission."""
        return self.excluded.get("no_consent", 0)

    @property
    def others(self) -> int:
        """Left out for any other reason."""
        return self.people - self.reachable - self.expired - self.no_consent


def radar(
    people: Iterable[tuple[str, Eligibility]], *, now: datetime, soon: timedelta = SOON, segments: Sequence[str] = ()
) -> tuple[Reach, ...]:
    """One row a segment: the named ones first and in their order, even when empty, then others as they come.

    people: A pair for each segment a contact is in.
    """
    counts: dict[str, _Count] = {segment: _Count() for segment in segments}
    for segment, eligibility in people:
        counts.setdefault(segment, _Count()).add(eligibility, now + soon)
    return tuple(
        Reach(name, c.people, c.reachable, c.expiring, dict(sorted(c.excluded.items())), c.first_lapse)
        for name, c in counts.items()
    )


class _Count:
    """What one segment has come to so far."""

    __slots__ = ("excluded", "expiring", "first_lapse", "people", "reachable")

    def __init__(self) -> None:
        self.people = self.reachable = self.expiring = 0
        self.excluded: Counter[str] = Counter()
        self.first_lapse: datetime | None = None

    def add(self, eligibility: Eligibility, horizon: datetime) -> None:
        """Count one contact."""
        self.people += 1
        if eligibility.reason is not None:
            self.excluded[eligibility.reason] += 1
            return
        self.reachable += 1
        until = eligibility.until
        if until is None:
            return
        self.expiring += until <= horizon
        if self.first_lapse is None or until < self.first_lapse:
            self.first_lapse = until

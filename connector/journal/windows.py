"""What is left of an allowance: rolling windows and the day, as plain data and arithmetic.

No I/O and no clock: the moment goes in, the new state comes out. Moments are seconds since the epoch.

Permits are handed out in leases. A lease says until when its permits may be used, and counts against the window until
a full window after that: whenever inside its life a permit is used, no span of the window's length can hold more
calls than the window allows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DAY_SECONDS = 86_400.0
_LONGEST_DAY_SECONDS = 25 * 3600.0
_LONGEST_LIFE_SECONDS = 60.0
"""However slow the journal is, a lease ends within this."""

_ROUNDING_SECONDS = 0.001
"""Added to a wait, so that a sum of fractions does not make it end a moment too soon."""

_LEASES_PER_WINDOW = 40
"""How finely a window is cut: coarser costs throughput, finer costs transactions."""


@dataclass(frozen=True, slots=True)
class Meter:
    """An allowance: at most `calls` in any `seconds`; no calls set means no bound, only shared pauses."""

    calls: int | None
    seconds: float

    @property
    def lease_seconds(self) -> float:
        """The least time a lease lives; the greatest is twice that."""
        return self.seconds / _LEASES_PER_WINDOW


@dataclass(frozen=True, slots=True)
class Granted:
    """Permits to use before `until`."""

    permits: int
    until: float


@dataclass(frozen=True, slots=True)
class Wait:
    """No permit now; ask again in `seconds`. `asked` when the system itself told us to pause."""

    seconds: float
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Spent:
    """The day's share is used up until `resets_at`."""

    resets_at: float


@dataclass(slots=True)
class Window:
    """One meter's recent leases, as [usable until, permits], and a pause the system asked for."""

    leases: list[list[float]] = field(default_factory=list)
    paused_until: float = 0.0

    def settle(self, now: float, meter: Meter) -> None:
        """Forget leases that no longer count; bring back those a clock that ran ahead put into the future."""
        latest = now + _LONGEST_LIFE_SECONDS + 2 * meter.lease_seconds
        kept = [[min(until, latest), permits] for until, permits in self.leases if until + meter.seconds > now]
        self.leases = [lease for lease in kept if lease[1] > 0]

    def used(self) -> int:
        """Permits that count against the window now."""
        return int(sum(permits for _, permits in self.leases))

    def add(self, until: float, permits: int) -> None:
        """Count a lease; those that end together are one."""
        for lease in self.leases:
            if lease[0] == until:
                lease[1] += permits
                return
        self.leases.append([until, permits])

    def give_back(self, until: float, permits: int) -> None:
        """Uncount permits that were never used."""
        for lease in self.leases:
            if lease[0] == until:
                lease[1] = max(0, lease[1] - permits)


@dataclass(slots=True)
class Day:
    """Calls of the present day: ours, and what the system says about everyone's.

    seen_base: What `used` was when the system said `seen_used`; calls since then come on top.
    """

    ends_at: float = 0.0
    used: int = 0
    seen_used: int | None = None
    seen_limit: int | None = None
    seen_base: int = 0

    def settle(self, now: float, next_end: float) -> None:
        """Begin a new day when this one is over, or when a clock that ran ahead left it far in the future."""
        if now >= self.ends_at or self.ends_at - now > _LONGEST_DAY_SECONDS:
            self.ends_at, self.used = next_end, 0
            self.seen_used, self.seen_base = None, 0

    def left(self, per_day: int | None, share: float) -> int | None:
        """Calls we may still make: our share, and never more than everyone's limit leaves. None: no limit known."""
        limits = [limit for limit in (per_day, self.seen_limit) if limit is not None]
        if not limits:
            return None
        limit = min(limits)
        ours = math.floor(limit * share) - self.used
        everyones = limit - (self.seen_used + self.used - self.seen_base) if self.seen_used is not None else ours
        return max(0, min(ours, everyones))


@dataclass(slots=True)
class Allowance:
    """The state of one system's allowance, as the journal stores it."""

    windows: dict[str, Window] = field(default_factory=dict)
    day: Day = field(default_factory=Day)

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> Allowance:
        """From the journal's JSON."""
        windows = {
            name: Window(leases=[list(lease) for lease in window["leases"]], paused_until=window["paused_until"])
            for name, window in stored.get("windows", {}).items()
        }
        return cls(windows=windows, day=Day(**stored.get("day", {})))

    def dump(self) -> dict[str, Any]:
        """To the journal's JSON."""
        windows = {
            name: {"leases": window.leases, "paused_until": window.paused_until}
            for name, window in self.windows.items()
        }
        day = self.day
        return {
            "windows": windows,
            "day": {
                "ends_at": day.ends_at,
                "used": day.used,
                "seen_used": day.seen_used,
                "seen_limit": day.seen_limit,
                "seen_base": day.seen_base,
            },
        }

    def window(self, name: str) -> Window:
        """The window of this meter, empty if it was never used."""
        return self.windows.setdefault(name, Window())

    def take(
        self, name: str, meter: Meter, *, want: int, now: float, life: float, left_today: int | None
    ) -> Granted | Wait | Spent:
        """Grant up to `want` permits, or say how long to wait, or that the day is spent.

        life: How long the taker needs to use them; at least the meter's lease.
        left_today: What `day.left` said.
        """
        window = self.window(name)
        window.settle(now, meter)
        if left_today == 0:
            return Spent(self.day.ends_at)
        if now < window.paused_until:
            return Wait(window.paused_until - now, asked=True)
        room = want if meter.calls is None else meter.calls - window.used()
        if room <= 0:
            return Wait(_until_room(window.leases, meter, now))
        permits = min(want, room, left_today if left_today is not None else want)
        until = _lease_end(now, min(max(life, meter.lease_seconds), _LONGEST_LIFE_SECONDS), meter)
        window.add(until, permits)
        self.day.used += permits
        return Granted(permits, until)


def _lease_end(now: float, life: float, meter: Meter) -> float:
    """The end of a lease of at least this life, on a grid so that leases of one moment share a line."""
    return (math.floor((now + life) / meter.lease_seconds) + 1) * meter.lease_seconds


def _until_room(leases: Sequence[Sequence[float]], meter: Meter, now: float) -> float:
    """Seconds until the oldest lease stops counting."""
    return max(0.0, min(until for until, _ in leases) + meter.seconds - now) + _ROUNDING_SECONDS

"""What a holdout can show: the smallest lift it would detect, how many contacts a lift needs, and when they are in.

The usual plan for two proportions (normal approximation, two-sided): n in the holdout and k times as many treated,

    n = [z(1-alpha/2) sqrt((1+1/k) p q) + z(power) sqrt(p1 q1 + p2 q2/k)]**2 / (p1-p2)**2,   p = (p1 + k p2)/(1+k)

with p1 the holdout's rate of return and p2 the treated one's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from statistics import NormalDist

ALPHA = 0.05
"""Chance of calling a lift that is not there, both directions together."""

POWER = 0.8
"""Chance of seeing a lift that is there."""

_HALVINGS = 60
_FARTHEST_DAYS = 365 * 100


@dataclass(frozen=True, slots=True)
class Needed:
    """Contacts a lift needs before it can be seen."""

    holdout: int
    treated: int

    @property
    def total(self) -> int:
        """In both arms."""
        return self.holdout + self.treated


def detectable(
    base: float,
    eligible: int,
    share: float,
    *,
    alpha: float = ALPHA,
    power: float = POWER,
    contacts_per_unit: float = 1.0,
) -> float | None:
    """The smallest increase, in points as a fraction (0.03 is 3 points), that would be seen; None if none would.

    Args:
        base: The rate at which people return without being asked, from 0 to 1.
        eligible: Contacts in both arms.
        share: Of the holdout.
        alpha: See ALPHA.
        power: See POWER.
        contacts_per_unit: Where whole accounts are drawn, the contacts in one on average. Taken as if colleagues
            always did the same, which is the worst case: the true figure lies between this and that for 1.
    """
    units = eligible / max(contacts_per_unit, 1.0)
    holdout = units * share
    ratio = _ratio(share)
    if ratio is None or not 0 <= base < 1 or holdout < 1 or units - holdout < 1:
        return None
    low, high = 0.0, 1 - base
    if _in_holdout(base, high, ratio, alpha, power) > holdout:
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _in_holdout(base, middle, ratio, alpha, power) > holdout:
            low = middle
        else:
            high = middle
    return high


def needed(
    base: float,
    increase: float,
    share: float,
    *,
    alpha: float = ALPHA,
    power: float = POWER,
    contacts_per_unit: float = 1.0,
) -> Needed | None:
    """Contacts in both arms to see this increase; None where no number would do.

    Args:
        base: The rate at which people return without being asked.
        increase: In points as a fraction: 0.05 is from 10 % to 15 %.
        share: Of the holdout.
        alpha: See ALPHA.
        power: See POWER.
        contacts_per_unit: As for `detectable`.
    """
    ratio = _ratio(share)
    if ratio is None or not 0 <= base < 1 or not 0 < increase <= 1 - base:
        return None
    holdout = _in_holdout(base, increase, ratio, alpha, power) * max(contacts_per_unit, 1.0)
    return Needed(math.ceil(holdout), math.ceil(holdout / share) - math.ceil(holdout))


def when(needed_total: int, *, entered: int, per_day: float, today: date, outcome_window: timedelta) -> date | None:
    """The day from which the planned number has been in the program long enough to be judged; None if never.

    Args:
        needed_total: Contacts planned, both arms.
        entered: Of them in already, at whatever time; as if today.
        per_day: Entries a day, both arms.
        today: The day of the plan.
        outcome_window: How long after entry a return still counts.
    """
    missing = max(needed_total - entered, 0)
    if missing and per_day <= 0:
        return None
    days = math.ceil(missing / per_day) if missing else 0
    return today + timedelta(days=days) + outcome_window if days <= _FARTHEST_DAYS else None


def _ratio(share: float) -> float | None:
    """Treated per contact held out; None where one arm is empty."""
    return (1 - share) / share if 0 < share < 1 else None


def _in_holdout(base: float, increase: float, ratio: float, alpha: float, power: float) -> float:
    """Contacts the holdout needs, not rounded; infinite for no increase."""
    if increase <= 0:
        return math.inf
    lifted = min(base + increase, 1.0)
    pooled = (base + ratio * lifted) / (1 + ratio)
    spread = _z(1 - alpha / 2) * math.sqrt((1 + 1 / ratio) * pooled * (1 - pooled))
    spread += _z(power) * math.sqrt(base * (1 - base) + lifted * (1 - lifted) / ratio)
    return (spread / increase) ** 2


@cache
def _z(p: float) -> float:
    return NormalDist().inv_cdf(p)

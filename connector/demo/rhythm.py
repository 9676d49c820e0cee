"""How people use the product, day by day: workdays, seasons, projects, silences, returns, contagion inside a company.

Each day draws from its own random stream and looks back only, so a longer story begins with the shorter one, event
for event. A day here is a person's own civil day; times come out in UTC.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from connector.demo.places import COUNTRIES, Season
from connector.demo.population import (
    EVENTS_PER_DAY_MOST,
    FOUNDED_DAY,
    NEVER,
    ZONES,
    Accounts,
    Flags,
    Floats,
    Ints,
    Users,
    some,
)
from connector.demo.product import NOT_USAGE_INDEX, available, feature_odds

DAY_SECONDS = 86_400
FIRST_KEPT_DAY = -1
"""Events of the evening before day 0 may arrive on it, or be of that day in UTC."""

_DAY_STREAM = 2
"""Which family of random streams the days draw from; the population has its own."""

_LATELY_DAYS = 14
"""How long the beginning or the end of a project moves people to come or to go."""

_HEARD_AT_ONCE = 0.60
_HEARD_SAME_DAY = 0.935
"""Shares of the events we hear of at once, and by the end of the UTC day; the rest comes days later."""

_HOLIDAYS: dict[Season, tuple[float, float, float]] = {
    # how much of normal use is left: in July, in August, at the turn of the year
    Season.EUROPE: (0.85, 0.55, 0.25),
    Season.AMERICA: (0.92, 0.80, 0.30),
    Season.SOUTH: (1.0, 1.0, 0.20),
    Season.ASIA: (1.0, 0.92, 0.65),
}
_JULY, _AUGUST, _DECEMBER, _JANUARY = 7, 8, 12, 1
_LAST_WORKDAY_OF_DECEMBER = 20
_FIRST_WORKDAY_OF_JANUARY = 3

_COUNTRY_SEASON = np.array([int(c.season) for c in COUNTRIES])
_WEEKEND = np.array([[day in c.weekend for day in range(7)] for c in COUNTRIES])


@dataclass(frozen=True, slots=True)
class Day:
    """The events of one civil day of everybody, in order of their numbers. Times are seconds since 1970, UTC."""

    number: Ints
    user: NDArray[np.int32]
    at: Ints
    feature: NDArray[np.int8]
    count: NDArray[np.int16]
    arrived: Ints


def _holiday_factor(on: date) -> Floats:
    """For each season, the part of normal use that is left on this date."""
    left = np.ones(len(Season))
    turn = (on.month == _DECEMBER and on.day > _LAST_WORKDAY_OF_DECEMBER) or (
        on.month == _JANUARY and on.day < _FIRST_WORKDAY_OF_JANUARY
    )
    for season, (july, august, new_year) in _HOLIDAYS.items():
        if turn:
            left[season] = new_year
        elif on.month == _JULY:
            left[season] = july
        elif on.month == _AUGUST:
            left[season] = august
    return left


@functools.cache
def _zones() -> tuple[ZoneInfo, ...]:
    """ZONES, read once: the library itself forgets all but the last eight."""
    return tuple(ZoneInfo(zone) for zone in ZONES)


def _utc_offsets(on: date) -> Ints:
    """Seconds to take off local time in each of ZONES at noon of this date."""
    noons = (datetime.combine(on, time(12), tzinfo=zone) for zone in _zones())
    return np.array([round((noon.utcoffset() or timedelta()).total_seconds()) for noon in noons])


class Story:
    """The company's life, told one day at a time from its founding; the same seed tells the same days."""

    def __init__(self, users: Users, accounts: Accounts, *, first_day: date, seed: int) -> None:
        self._users = users
        self._first_day = first_day
        self._seed = seed
        self._accounts = len(accounts)
        self._paying = np.append(accounts.tier > 0, False)
        self._started = np.append(accounts.started, FOUNDED_DAY)
        self._season = _COUNTRY_SEASON[users.country]
        self._away = np.zeros(len(users), dtype=bool)
        self._gone = np.zeros(len(users), dtype=bool)
        self._silent_since = np.full(len(users), FOUNDED_DAY, dtype=np.int64)
        self._project = np.zeros(self._accounts + 1, dtype=bool)
        self._project_began = np.full(self._accounts + 1, -NEVER)
        self._project_ended = np.full(self._accounts + 1, -NEVER)
        self.cancelled = np.full(self._accounts + 1, NEVER)
        """The day on which each company ended its contract."""

    def days(self) -> Iterator[Day]:
        """The days from FIRST_KEPT_DAY on, without end; what was before is lived through, not recorded."""
        for day in itertools.count(FOUNDED_DAY):
            rng = self._stream(day)
            active = self._live(day, rng)
            if day >= FIRST_KEPT_DAY:
                yield self._events(day, active, rng)

    def _stream(self, day: int) -> np.random.Generator:
        return np.random.Generator(
            np.random.Philox(np.random.SeedSequence([self._seed, _DAY_STREAM, day - FOUNDED_DAY]))
        )

    def _live(self, day: int, rng: np.random.Generator) -> Ints:
        """Let everybody live this day; the users who were active on it, in order."""
        users, account = self._users, self._users.account
        on = self._first_day + timedelta(days=day)
        here = users.signed_up <= day
        quiet = self._quiet_share(here)[account]
        self._change_projects(day, rng)
        began_lately = (day - self._project_began < _LATELY_DAYS)[account]
        ended_lately = (day - self._project_ended < _LATELY_DAYS)[account]
        cancelled = (self.cancelled <= day)[account]

        chance, second = rng.random(len(users)), rng.random(len(users))
        season = _holiday_factor(on)[self._season]
        weekend = _WEEKEND[users.country, on.weekday()]
        effort = season * np.where(weekend, np.where(users.weekend_worker, 0.7, 0.06), 1.0)

        leaving = users.restless * (1 + 2.0 * quiet) * np.where(ended_lately, 4.0, 1.0) * np.where(cancelled, 25.0, 1.0)
        silent_days = day - self._silent_since
        coming = users.faithful * effort * (1.5 - quiet) * np.where(began_lately, 5.0, 1.0) / (1 + silent_days / 40.0)
        first_day = users.signed_up == day
        goes = here & ~self._away & ~first_day & (chance < leaving)
        comes = here & self._away & ~self._gone & ~cancelled & (chance < coming)
        goes |= first_day & users.once
        self._away = (self._away | goes) & ~comes
        self._silent_since[goes] = day
        self._gone |= goes & ((second < np.where(cancelled, 0.9, users.final)) | users.once)

        pace = users.pace * effort * np.where(self._project[account], 1.7, 1.0) * (1.1 - 0.4 * quiet)
        active = here & ((~self._away & (second < -np.expm1(-pace))) | comes | first_day)
        return np.flatnonzero(active)

    def _quiet_share(self, here: Flags) -> Floats:
        """For each company the part of its users who are away; people without a company have nobody to follow."""
        account, size = self._users.account, self._accounts + 1
        present = np.bincount(account[here], minlength=size)
        away = np.bincount(account[here & self._away], minlength=size)
        share = np.asarray(away / np.maximum(present, 1))
        share[-1] = 0.3
        return share

    def _change_projects(self, day: int, rng: np.random.Generator) -> None:
        """Projects begin and end, contracts are cancelled; once cancelled is for good."""
        begin, end, cancel = rng.random((3, self._accounts + 1))
        open_for_it = (self._started <= day) & (self.cancelled > day)
        begins = open_for_it & ~self._project & (begin < 1 / 110)
        ends = self._project & (end < 1 / 45)
        self._project = (self._project | begins) & ~ends & open_for_it
        self._project_began[begins] = day
        self._project_ended[ends] = day
        cancels = open_for_it & (cancel < np.where(self._paying, 1 / 2600, 1 / 1800))
        cancels[-1] = False
        self.cancelled[cancels] = day

    def _events(self, day: int, active: Ints, rng: np.random.Generator) -> Day:
        """What the active did, and who only looked whether the service was up."""
        users = self._users
        rows = 1 + rng.poisson(users.intensity[active])
        worker = np.repeat(active, rows)
        feature = self._features(day, worker, rng)
        trouble = rng.random() < 1 / 45
        lookers = np.flatnonzero((users.signed_up <= day) & some(rng, len(users), 0.07 if trouble else 0.0006))
        user = np.concatenate([worker, lookers])
        feature = np.concatenate([feature, np.full(len(lookers), NOT_USAGE_INDEX)])
        count = 1 + np.floor(rng.exponential(2.2, len(user)) * (feature != NOT_USAGE_INDEX))
        at = self._times(day, user, rng)
        number = (day - FOUNDED_DAY + 1) * EVENTS_PER_DAY_MOST + np.arange(len(user))
        arrived = _arrivals(at, rng)
        twice = np.flatnonzero(some(rng, len(user), 0.008))
        again = arrived[twice] + np.floor(rng.exponential(18_000.0, len(twice))).astype(np.int64)
        whole = np.concatenate([np.arange(len(user)), twice])
        return Day(
            number=number[whole],
            user=user[whole].astype(np.int32),
            at=at[whole],
            feature=feature[whole].astype(np.int8),
            count=np.minimum(count, 500)[whole].astype(np.int16),
            arrived=np.concatenate([arrived, again]),
        )

    def _features(self, day: int, worker: Ints, rng: np.random.Generator) -> Ints:
        """What each piece of work was done with: often the favourite, else by the taste of the role on this day."""
        odds = feature_odds(day)[self._users.role[worker]]
        drawn = np.minimum((rng.random(len(worker))[:, None] >= odds).sum(axis=1), NOT_USAGE_INDEX - 1)
        favourite = self._users.favourite[worker]
        faithful = some(rng, len(worker), 0.35) & available(day)[favourite]
        return np.where(faithful, favourite, drawn)

    def _times(self, day: int, user: Ints, rng: np.random.Generator) -> Ints:
        """A moment in each one's working hours, in UTC seconds."""
        users = self._users
        on = self._first_day + timedelta(days=day)
        afternoon = some(rng, len(user), 0.55)
        hour = np.where(afternoon, 14.9, 10.4) + rng.normal(0.0, 1.35, len(user)) + users.clock_shift[user]
        local = np.clip(np.floor(hour * 3600), 0, DAY_SECONDS - 1).astype(np.int64)
        midnight = round(datetime.combine(on, time(), tzinfo=UTC).timestamp())
        return np.asarray(midnight + local - _utc_offsets(on)[users.zone[user]])


def _arrivals(at: Ints, rng: np.random.Generator) -> Ints:
    """When we hear of each event: most at once, a third in the batch at the end of the day, a few days later."""
    kind = rng.random(len(at))
    at_once = at + 1 + np.floor(rng.exponential(25.0, len(at))).astype(np.int64)
    batch = np.maximum((at // DAY_SECONDS + 1) * DAY_SECONDS - 600, at + 1)
    days = np.minimum(np.ceil(np.exp(rng.normal(1.1, 1.2, len(at)))), 120).astype(np.int64)
    late = at + days * DAY_SECONDS + np.floor(rng.random(len(at)) * 7200).astype(np.int64)
    return np.where(kind < _HEARD_AT_ONCE, at_once, np.where(kind < _HEARD_SAME_DAY, batch, late))

"""The rate budget: every process of this install draws its calls from one allowance in the journal."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import sqlalchemy as sa

from connector.contracts import Limits, Reporter
from connector.errors import QuotaExhausted
from connector.journal.engine import Database
from connector.journal.tables import budgets
from connector.journal.windows import Allowance, Granted, Meter, Spent, Wait

DEFAULT_METERS: Mapping[str, tuple[int, float]] = {"search": (4, 1.0)}
"""Allowances counted apart unless said otherwise: calls, and in how many seconds."""

_BURST_SECONDS = 10.0
_WORTH_A_LINE_SECONDS = 2.0
_LARGEST_LEASE_SHARE = 10
"""A lease never takes more than a tenth of a window: several processes must fit."""

_UNBOUNDED_LEASE = 100
_SLOW_JOURNAL_FACTOR = 2.0
"""A lease must outlive the transaction that fetched it, however slow the disk: this many times."""


@dataclass(slots=True)
class _Purse:
    """Permits this object holds for one meter, and how many it should ask for next."""

    permits: int = 0
    until: float = 0.0
    granted: int = 0
    want: int = 1


class SharedBudget:
    """A RateBudget whose windows and day are shared by all processes; safe to use from several threads.

    timezone: Where the system's day begins, until the system itself says when its counter resets.
    """

    def __init__(
        self,
        database: Database,
        system: str,
        limits: Limits,
        *,
        reporter: Reporter,
        meters: Mapping[str, tuple[int, float]] | None = None,
        timezone: tzinfo = UTC,
    ) -> None:
        burst = None if limits.per_10s is None else max(1, int(limits.per_10s * limits.share))
        apart = DEFAULT_METERS if meters is None else meters
        self._meters = {"": Meter(burst, _BURST_SECONDS)} | {name: Meter(*meter) for name, meter in apart.items()}
        self._database = database
        self._system = system
        self._limits = limits
        self._reporter = reporter
        self._timezone = timezone
        self._turn = threading.Lock()
        self._purses = {name: _Purse() for name in self._meters}
        self._calls = 0
        self._seen: tuple[int, int, datetime | None] | None = None
        self._offset = 0.0
        self._fetch_seconds = 0.0

    def acquire(self, meter: str = "") -> None:
        """Wait until one more call is allowed and count it; raises QuotaExhausted when the day's share is spent."""
        self._known(meter)
        while (pause := self._try(meter)) is not None:
            if pause.seconds > _WORTH_A_LINE_SECONDS:
                why = "asked us to slow down" if pause.asked else "allows no more calls for the moment"
                self._reporter.line(f"{self._system} {why}: waiting {pause.seconds:.0f} s")
            self._database.real_clock.sleep(pause.seconds)

    def penalize(self, seconds: float, meter: str = "") -> None:
        """Make every process wait this long: the system said we are too fast."""
        self._known(meter)
        with self._turn, self._database.write() as connection:
            allowance, now = self._open(connection)
            window = allowance.window(meter)
            window.paused_until = max(window.paused_until, now + seconds)
            self._empty(meter, allowance)
            self._store(connection, allowance)

    def observe_daily(self, *, used: int, limit: int, resets_at: datetime | None = None) -> None:
        """Record what the system itself says about today's usage by everyone.

        Cheap to call after every answer: it is written along with the next lease, at once only when nothing is left.
        """
        with self._turn:
            self._seen = (used, limit, resets_at)
            if used >= limit:
                with self._database.write() as connection:
                    self._store(connection, self._open(connection)[0])

    def calls(self) -> int:
        """Calls counted by this budget object since it was made, all meters together."""
        return self._calls

    def remaining_today(self) -> int | None:
        """Calls left of our share today; None when no daily limit is set."""
        with self._turn, self._database.read() as connection:
            allowance, _ = self._open(connection, hold=False)
            left = allowance.day.left(self._limits.per_day, self._limits.share)
            return None if left is None else left + sum(purse.permits for purse in self._purses.values())

    def _known(self, meter: str) -> None:
        if meter not in self._meters:
            known = ", ".join(repr(name) for name in self._meters)
            raise ValueError(f"{self._system}: no meter '{meter}'; its meters are {known}")

    def _try(self, meter: str) -> Wait | None:
        """Use a permit at hand, or fetch a lease and use one of it; else how long to wait."""
        with self._turn:
            purse = self._purses[meter]
            while not (purse.permits and self._now() < purse.until):
                answer = self._fetch(meter)
                if isinstance(answer, Wait):
                    return answer
                if isinstance(answer, Spent):
                    raise self._exhausted(answer)
                purse.permits = purse.granted = answer.permits
                purse.until = answer.until
            purse.permits -= 1
            self._calls += 1
            return None

    def _fetch(self, meter: str) -> Granted | Wait | Spent:
        """Ask the journal for the next lease, giving back what the last one left over."""
        began = self._database.real_clock.monotonic()
        purse = self._purses[meter]
        with self._database.write() as connection:
            allowance, now = self._open(connection)
            self._adapt(purse, self._meters[meter])
            for name in self._meters:
                if self._purses[name].until <= now or name == meter:
                    self._empty(name, allowance)
            answer = allowance.take(
                meter,
                self._meters[meter],
                want=purse.want,
                now=now,
                life=self._fetch_seconds * _SLOW_JOURNAL_FACTOR,
                left_today=allowance.day.left(self._limits.per_day, self._limits.share),
            )
            self._store(connection, allowance)
        self._fetch_seconds = self._database.real_clock.monotonic() - began
        return answer

    def _adapt(self, purse: _Purse, meter: Meter) -> None:
        """Ask for twice as much after a lease that was too small, for what was used after one too large."""
        if not purse.granted:
            return
        largest = _UNBOUNDED_LEASE if meter.calls is None else max(1, meter.calls // _LARGEST_LEASE_SHARE)
        used = purse.granted - purse.permits
        purse.want = min(largest, purse.want * 2 if purse.permits == 0 else max(1, used))

    def _empty(self, meter: str, allowance: Allowance) -> None:
        """Give back the permits at hand."""
        purse = self._purses[meter]
        allowance.window(meter).give_back(purse.until, purse.permits)
        allowance.day.used = max(0, allowance.day.used - purse.permits)
        purse.permits = purse.granted = 0

    def _open(self, connection: sa.Connection, *, hold: bool = True) -> tuple[Allowance, float]:
        """The shared state brought up to this moment, ours until the commit if we hold it."""
        stored = self._read(connection, hold=hold)
        if stored is None and hold:
            row = {"system": self._system, "state": Allowance().dump()}
            self._database.insert_new(connection, self._database.insert(budgets).values(row))
            stored = self._read(connection, hold=True)
        allowance = Allowance.load(stored or {})
        # Read before asking: the time the question takes makes us believe it is later than it is, never earlier.
        asked = self._database.real_clock.monotonic()
        moment = self._database.shared_now(connection)
        now = moment.timestamp()
        self._offset = now - asked
        allowance.day.settle(now, self._next_midnight(moment))
        if self._seen is not None:
            self._note_seen(allowance, now)
        return allowance, now

    def _read(self, connection: sa.Connection, *, hold: bool) -> Mapping[str, Any] | None:
        chosen = sa.select(budgets.c.state).where(budgets.c.system == self._system)
        state: Mapping[str, Any] | None = connection.execute(chosen.with_for_update() if hold else chosen).scalar()
        return state

    def _note_seen(self, allowance: Allowance, now: float) -> None:
        """Fold in what the system last said about today."""
        used, limit, resets_at = self._seen or (0, 0, None)
        day = allowance.day
        day.seen_used, day.seen_limit, day.seen_base = used, limit, day.used
        if resets_at is not None and resets_at.timestamp() > now:
            day.ends_at = resets_at.timestamp()

    def _store(self, connection: sa.Connection, allowance: Allowance) -> None:
        chosen = sa.update(budgets).where(budgets.c.system == self._system)
        connection.execute(chosen.values(state=allowance.dump()))
        self._seen = None

    def _now(self) -> float:
        """The shared moment as far as we know it without asking: what it was, and the seconds since."""
        return self._database.real_clock.monotonic() + self._offset

    def _next_midnight(self, moment: datetime) -> float:
        tomorrow = moment.astimezone(self._timezone).date() + timedelta(days=1)
        return datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=self._timezone).timestamp()

    def _exhausted(self, spent: Spent) -> QuotaExhausted:
        resets = datetime.fromtimestamp(spent.resets_at, UTC)
        return QuotaExhausted(
            f"{self._system}: today's calls are used up (share {self._limits.share:.0%} of the daily limit)",
            hint=f"run again after {resets:%Y-%m-%d %H:%M} UTC, or raise `rate.share` or `rate.per_day`",
        )

"""The only reader of the time.

Everything else takes `now` as an argument or a `Clock` it was given; `--now` puts a fixed clock here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's clock, in UTC."""

    def now(self) -> datetime:
        """The present moment, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never run backwards, for measuring how long something took."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait, for retries and rate limits."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class FixedClock:
    """A clock that says what `--now` said; waiting is still real, so limits are still kept."""

    at: datetime

    def now(self) -> datetime:
        """The moment given on the command line."""
        return self.at

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for real: a vendor's limits do not care about `--now`."""
        time.sleep(seconds)

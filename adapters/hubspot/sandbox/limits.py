"""The vendor's rate limits: a rolling ten seconds, one second of searches, and a day that ends at account midnight."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from adapters.hubspot.sandbox.answers import TOO_MANY_REQUESTS, Refusal

WINDOW_MS = 10_000
SEARCH_WINDOW_MS = 1_000
MESSAGES = {
    "DAILY": "You have reached your daily limit.",
    "TEN_SECONDLY_ROLLING": "You have reached your ten_secondly_rolling limit.",
    "SECONDLY": "You have reached your secondly limit.",
}


@dataclass(slots=True)
class Allowance:
    """What an account of the Professional tier may do; every number can be changed while it runs."""

    per_10s: int = 190
    searches_per_second: int = 5
    per_day: int = 625_000
    enforced: bool = True


class RateMeter:
    """Counts calls against the allowance. A meter is "standard", "search" or "daily" (outside the ten seconds)."""

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.timezone = "UTC"
        self.used_today = 0
        self.busiest_10s = 0
        self.refused: dict[str, int] = dict.fromkeys(MESSAGES, 0)
        self._recent: deque[int] = deque()
        self._searches: deque[int] = deque()
        self._day_ends_ms = 0

    def admit(self, meter: str, *, now_ms: int) -> None:
        """Count one call; raises the vendor's 429 when a limit is reached. A refused call is not counted."""
        self._roll(now_ms)
        if self.allowance.enforced:
            self._check(meter)
        self.used_today += 1
        if meter == "search":
            self._searches.append(now_ms)
        elif meter == "standard":
            self._recent.append(now_ms)
            self.busiest_10s = max(self.busiest_10s, len(self._recent))

    def headers(self, meter: str, *, now_ms: int) -> dict[str, str]:
        """The rate headers of an answer; searches carry none."""
        if meter == "search":
            return {}
        self._roll(now_ms)
        return {
            "X-HubSpot-RateLimit-Daily": str(self.allowance.per_day),
            "X-HubSpot-RateLimit-Daily-Remaining": str(max(0, self.allowance.per_day - self.used_today)),
            "X-HubSpot-RateLimit-Interval-Milliseconds": str(WINDOW_MS),
            "X-HubSpot-RateLimit-Max": str(self.allowance.per_10s),
            "X-HubSpot-RateLimit-Remaining": str(max(0, self.allowance.per_10s - len(self._recent))),
        }

    def recent(self, *, now_ms: int) -> int:
        """Calls in the ten seconds before now."""
        self._roll(now_ms)
        return len(self._recent)

    def day_ends(self, *, now_ms: int) -> datetime:
        """The account's next midnight, in UTC."""
        zone = self.zone()
        tomorrow = datetime.fromtimestamp(now_ms / 1000, zone).date() + timedelta(days=1)
        return datetime.combine(tomorrow, time(), zone).astimezone(UTC)

    def body(self, *, now_ms: int) -> dict[str, Any]:
        """Allowance and usage, for the control API and the page."""
        self._roll(now_ms)
        return {
            "per_10s": self.allowance.per_10s,
            "searches_per_second": self.allowance.searches_per_second,
            "per_day": self.allowance.per_day,
            "enforced": self.allowance.enforced,
            "used_10s": len(self._recent),
            "busiest_10s": self.busiest_10s,
            "daily_used": self.used_today,
            "timezone": self.timezone,
            "refused": dict(self.refused),
        }

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Change the allowance, today's usage (`daily_used`) or the account's time zone; KeyError for other names."""
        for name, value in changes.items():
            if name == "daily_used":
                self.used_today = int(value)
            elif name == "timezone":
                ZoneInfo(str(value))
                self.timezone, self._day_ends_ms = str(value), 0
            elif name in {"per_10s", "searches_per_second", "per_day"}:
                setattr(self.allowance, name, int(value))
            elif name == "enforced":
                self.allowance.enforced = bool(value)
            else:
                raise KeyError(name)

    def _check(self, meter: str) -> None:
        if self.used_today >= self.allowance.per_day:
            raise self._refuse("DAILY")
        if meter == "search" and len(self._searches) >= self.allowance.searches_per_second:
            raise self._refuse("SECONDLY")
        if meter == "standard" and len(self._recent) >= self.allowance.per_10s:
            raise self._refuse("TEN_SECONDLY_ROLLING")

    def _refuse(self, policy: str) -> Refusal:
        self.refused[policy] += 1
        return rate_refusal(policy)

    def _roll(self, now_ms: int) -> None:
        for moments, window in ((self._recent, WINDOW_MS), (self._searches, SEARCH_WINDOW_MS)):
            if moments and moments[-1] > now_ms:  # the clock was set back
                del_from = bisect_right(moments, now_ms)
                while len(moments) > del_from:
                    moments.pop()
            while moments and moments[0] <= now_ms - window:
                moments.popleft()
        if now_ms >= self._day_ends_ms:
            if self._day_ends_ms:
                self.used_today = 0
            self._day_ends_ms = round(self.day_ends(now_ms=now_ms).timestamp() * 1000)

    def zone(self) -> tzinfo:
        """The account's time zone."""
        return UTC if self.timezone == "UTC" else ZoneInfo(self.timezone)


def rate_refusal(policy: str) -> Refusal:
    """The vendor's 429 for one policy; it names no waiting time."""
    return Refusal(
        MESSAGES[policy],
        status=TOO_MANY_REQUESTS,
        category="RATE_LIMITS",
        extra={"errorType": "RATE_LIMIT", "policyName": policy, "requestId": "sandbox"},
    )

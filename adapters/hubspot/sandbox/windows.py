"""When a workflow may act: its weekly windows and its blocked dates, in the account's time zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta, tzinfo
from typing import Any, Final

DAYS: Final = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
MONTHS: Final = (
    "JANUARY FEBRUARY MARCH APRIL MAY JUNE JULY AUGUST SEPTEMBER OCTOBER NOVEMBER DECEMBER".split()  # noqa: SIM905
)
LONGEST_DAYS: Final = 400


def next_allowed(at_ms: int, body: Mapping[str, Any], zone: tzinfo) -> int:
    """The first moment from `at_ms` on at which the workflow may act; `at_ms` itself when nothing forbids it."""
    windows: Sequence[Mapping[str, Any]] = body.get("timeWindows") or ()
    blocked: Sequence[Mapping[str, Any]] = body.get("blockedDates") or ()
    if not windows and not blocked:
        return at_ms
    moment = datetime.fromtimestamp(at_ms / 1000, zone)
    for later in range(LONGEST_DAYS):
        day = moment.date() + timedelta(days=later)
        if any(_is(day, given) for given in blocked):
            continue
        spans = [_span(w) for w in windows if w["day"] == DAYS[day.weekday()]] if windows else [(time(), None)]
        for start, end in sorted(spans, key=lambda span: span[0]):
            opens = datetime.combine(day, start, zone)
            closes = (
                datetime.combine(day, end, zone) if end else datetime.combine(day + timedelta(days=1), time(), zone)
            )
            found = max(opens, moment)
            if found < closes:
                return at_ms if found == moment else round(found.timestamp() * 1000)
    return at_ms


def _is(day: Any, given: Mapping[str, Any]) -> bool:
    same_day = given["month"] == MONTHS[day.month - 1] and int(given["dayOfMonth"]) == day.day
    return same_day and given.get("year") in {None, day.year}


def _span(window: Mapping[str, Any]) -> tuple[time, time | None]:
    start, end = window.get("startTime") or {}, window.get("endTime")
    ends = time(int(end["hour"]), int(end["minute"])) if end else None
    return time(int(start.get("hour", 0)), int(start.get("minute", 0))), ends

"""When mail may go out: the next allowed moment in a contact's own time zone.

Everything is decided on local dates and wall clocks, and handed back in UTC. Where the clock is put forward, a moment
that does not exist becomes the first that does; where it is put back, the hour that comes twice counts twice.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from connector.program.model import SendSettings

ONE_DAY = timedelta(days=1)

AIM = timedelta(hours=3)
"""How long the contact's best hours last: aiming at them succeeds until then."""

LAST_CALL = timedelta(hours=1)
"""How long before the window closes a contact is mailed whose own hours come after it."""

PATIENCE = 1500
"""Days looked ahead: a playbook that allows no moment in four years allows none."""


@lru_cache(maxsize=2048)
def zone_named(name: str | None) -> tzinfo | None:
    """The time zone of that name; None where there is none such."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def zone_of(name: str | None, account: tzinfo) -> tzinfo:
    """The contact's time zone, or the account's where the contact's is unknown."""
    return zone_named(name) or account


def day_in(moment: datetime, zone: tzinfo) -> date:
    """The date it is there."""
    return moment.astimezone(zone).date()


def first_moment(day: date, wall: time, zone: tzinfo) -> datetime:
    """The first moment of that day, in UTC, at which the clock there shows `wall` or later."""
    naive = datetime.combine(day, wall)
    usual = naive.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if usual.astimezone(zone).replace(tzinfo=None) == naive:
        return usual
    before = naive.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _transition(before, usual, zone)


def _transition(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """The second at which the clock is put forward, somewhere after `before` and not after `after`."""
    old = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle <= before:
            break
        before, after = (middle, after) if middle.astimezone(zone).utcoffset() == old else (before, middle)
    return after


def allowed(moment: datetime, zone: tzinfo, send: SendSettings) -> bool:
    """Whether mail may go out at this moment."""
    local = moment.astimezone(zone)
    return _day_allowed(local.date(), send) and _inside(local.time(), send.window)


def opens(moment: datetime, zone: tzinfo, send: SendSettings, *, best_hour: int | None = None) -> datetime | None:
    """The first allowed moment that is not before `moment`, in UTC; None where the playbook allows none.

    Args:
        moment: From when on.
        zone: The contact's.
        send: The program's.
        best_hour: Start, in UTC, of the contact's best three hours; only looked at with `send.best_hour`. The moment
            is then the next at which those hours begin or last, moved to the edge of the window where they are
            outside, unless that costs more than a day.
    """
    moment = moment.astimezone(UTC)
    plain = _first(moment, zone, send, None)
    if best_hour is None or not send.best_hour or plain is None:
        return plain
    aimed = _first(moment, zone, send, best_hour)
    return plain if aimed is None or aimed - plain > ONE_DAY else aimed


def _first(moment: datetime, zone: tzinfo, send: SendSettings, aiming: int | None) -> datetime | None:
    if not send.days:
        return None
    day = day_in(moment, zone)
    for _ in range(PATIENCE):
        if _day_allowed(day, send):
            found = _on(day, moment, zone, send, aiming)
            if found is not None:
                return found
            day += ONE_DAY
        else:
            day = _after_blackouts(day, send)
    return None


def in_blackout(moment: datetime, zone: tzinfo, send: SendSettings) -> bool:
    """Whether it is a blackout there, or one, not only the hour or weekday, puts off what could go out next."""
    day = day_in(moment, zone)
    if all(last < day for _, last in send.blackout):
        return False
    if _blacked_out(day, send):
        return True
    without = SendSettings(window=send.window, days=send.days)
    plain = opens(moment, zone, without)
    return plain is not None and _blacked_out(day_in(plain, zone), send)


def _on(day: date, moment: datetime, zone: tzinfo, send: SendSettings, aiming: int | None) -> datetime | None:
    """The first allowed moment of one day that is not before `moment`."""
    if aiming is not None:
        return _aimed(day, moment, zone, send, aiming)
    for opening in _openings(send.window):
        found = max(moment, first_moment(day, opening, zone))
        local = found.astimezone(zone)
        if local.date() == day and _inside(local.time(), send.window):
            return found
    return None


def _aimed(day: date, moment: datetime, zone: tzinfo, send: SendSettings, hour: int) -> datetime | None:
    """The moment of that day, not before `moment`, at which the best hours begin or last inside the window."""
    start = _best_start(day, hour, zone)
    if start is None:
        return None
    end = start + AIM
    local = start.astimezone(zone)
    if not _inside(local.time(), send.window):
        start = _nearest_edge(day, local.time(), zone, send.window)
        end = max(start, min(end, start + AIM))
    found = max(start, moment)
    if found > end or not allowed(found, zone, send) or day_in(found, zone) != day:
        return None
    return found


def _best_start(day: date, hour: int, zone: tzinfo) -> datetime | None:
    """The moment of that local day at which it is `hour` in UTC; None on a day that lacks it."""
    around = datetime.combine(day, time(hour % 24), UTC)
    return next((at for at in (around - ONE_DAY, around, around + ONE_DAY) if day_in(at, zone) == day), None)


def _nearest_edge(day: date, wall: time, zone: tzinfo, window: tuple[time, time] | None) -> datetime:
    """Where the window is closest to hours outside it: its opening, or its last call for those that come later."""
    assert window is not None
    opening, closing = window
    first = first_moment(day, opening, zone)
    if opening <= closing < wall:
        return max(first, first_moment(day, closing, zone) - LAST_CALL)
    return first


def _openings(window: tuple[time, time] | None) -> tuple[time, ...]:
    """The wall clock times at which a day's window opens; one over midnight is open from midnight as well."""
    if window is None:
        return (time.min,)
    return (window[0],) if window[0] <= window[1] else (time.min, window[0])


def _inside(wall: time, window: tuple[time, time] | None) -> bool:
    if window is None:
        return True
    opening, closing = window
    return opening <= wall <= closing if opening <= closing else wall >= opening or wall <= closing


def _day_allowed(day: date, send: SendSettings) -> bool:
    return day.weekday() in send.days and not _blacked_out(day, send)


def _blacked_out(day: date, send: SendSettings) -> bool:
    return any(first <= day <= last for first, last in send.blackout)


def _after_blackouts(day: date, send: SendSettings) -> date:
    """The day after, beyond every blackout that this day is in."""
    return max([day, *(last for first, last in send.blackout if first <= day <= last)]) + ONE_DAY

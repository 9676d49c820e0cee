"""When mail may go out: windows, weekdays, blackouts and best hours, in every corner of the world."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.program.model import SendSettings
from connector.program.windows import allowed, first_moment, in_blackout, opens, zone_of
from tests.fakes.program_people import ZONES

UTC_ZONE = ZoneInfo("UTC")
OFFICE = SendSettings(window=(time(9), time(17)), days=frozenset(range(5)))


def test_the_zones_of_these_tests_have_more_than_thirty_offsets() -> None:
    winter = datetime(2026, 1, 15, tzinfo=UTC)
    assert len({winter.astimezone(ZoneInfo(name)).utcoffset() for name in ZONES}) >= 30


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("zone", "now", "expected"),
    [
        ("Europe/Amsterdam", "2026-06-15T08:59:59", "2026-06-15T09:00:00"),
        ("Europe/Amsterdam", "2026-06-15T09:00:00", "2026-06-15T09:00:00"),
        ("Europe/Amsterdam", "2026-06-15T17:00:00", "2026-06-15T17:00:00"),
        ("Europe/Amsterdam", "2026-06-15T17:00:01", "2026-06-16T09:00:00"),
        ("Europe/Amsterdam", "2026-06-19T18:00:00", "2026-06-22T09:00:00"),
        ("Asia/Kathmandu", "2026-02-28T20:00:00", "2026-03-02T09:00:00"),
        ("Pacific/Kiritimati", "2028-02-28T20:00:00", "2028-02-29T09:00:00"),
        ("America/St_Johns", "2026-12-31T17:30:00", "2027-01-01T09:00:00"),
    ],
)
def test_mail_waits_for_the_window_of_the_next_day_that_counts(zone: str, now: str, expected: str) -> None:
    found = opens(at(now, zone), ZoneInfo(zone), OFFICE)
    assert found == at(expected, zone) and found.tzinfo is UTC


@pytest.mark.parametrize(
    ("zone", "day", "opening", "expected"),
    [
        ("Europe/Amsterdam", "2026-03-29", time(2, 30), "2026-03-29T01:00:00+00:00"),  # 02:00 becomes 03:00
        ("Europe/Amsterdam", "2026-03-29", time(2, 0), "2026-03-29T01:00:00+00:00"),
        ("Europe/Amsterdam", "2026-03-29", time(3, 0), "2026-03-29T01:00:00+00:00"),
        ("Europe/Amsterdam", "2026-10-25", time(2, 30), "2026-10-25T00:30:00+00:00"),  # comes twice: the first
        ("America/New_York", "2026-03-08", time(2, 15), "2026-03-08T07:00:00+00:00"),
        ("Australia/Lord_Howe", "2026-10-04", time(2, 10), "2026-10-03T15:30:00+00:00"),  # half an hour forward
        ("Africa/Cairo", "2026-04-24", time(0, 0), "2026-04-23T22:00:00+00:00"),  # the day begins at 01:00
    ],
)
def test_a_moment_that_does_not_exist_is_the_first_that_does(zone: str, day: str, opening: time, expected: str) -> None:
    assert first_moment(date.fromisoformat(day), opening, ZoneInfo(zone)) == datetime.fromisoformat(expected)


def test_a_day_a_country_left_out_is_passed_over() -> None:
    zone = ZoneInfo("Pacific/Apia")  # no 30 December 2011
    found = opens(at("2011-12-29T18:00:00", "Pacific/Apia"), zone, SendSettings(window=(time(9), time(17))))
    assert found == at("2011-12-31T09:00:00", "Pacific/Apia")


def test_the_hour_that_comes_twice_is_allowed_twice() -> None:
    send = SendSettings(window=(time(1), time(4)))
    zone = ZoneInfo("Europe/Amsterdam")
    second = datetime(2026, 10, 25, 2, 30, tzinfo=zone, fold=1)
    assert opens(second, zone, send) == second.astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "expected", "blackout"),
    [
        ("2026-12-23T10:00:00", "2026-12-23T10:00:00", False),
        ("2026-12-23T18:00:00", "2027-01-04T09:00:00", True),
        ("2026-12-24T00:00:00", "2027-01-04T09:00:00", True),
        ("2027-01-01T23:59:59", "2027-01-04T09:00:00", True),
        ("2027-01-02T00:00:00", "2027-01-04T09:00:00", False),  # a weekend keeps it, the blackout is over
    ],
)
def test_a_blackout_is_waited_out_to_its_last_day(now: str, expected: str, blackout: bool) -> None:
    zone = ZoneInfo("Europe/Amsterdam")
    send = SendSettings(window=OFFICE.window, days=OFFICE.days, blackout=((date(2026, 12, 24), date(2027, 1, 1)),))
    assert opens(at(now, "Europe/Amsterdam"), zone, send) == at(expected, "Europe/Amsterdam")
    assert in_blackout(at(now, "Europe/Amsterdam"), zone, send) == blackout


def test_a_window_over_midnight_is_open_on_both_sides_of_it() -> None:
    night = SendSettings(window=(time(22), time(6)))
    for now, expected in (("23:00", "23:00"), ("03:00", "03:00"), ("07:00", "22:00")):
        found = opens(at(f"2026-06-15T{now}"), UTC_ZONE, night)
        assert found == at(f"2026-06-15T{expected}")


def test_a_playbook_that_allows_no_moment_gets_none() -> None:
    assert opens(at("2026-06-15T10:00"), UTC_ZONE, SendSettings(days=frozenset())) is None
    for_ever = SendSettings(blackout=((date(2026, 1, 1), date(2099, 12, 31)),))
    assert opens(at("2026-06-15T10:00"), UTC_ZONE, SendSettings(days=frozenset({0}), blackout=for_ever.blackout)) == at(
        "2100-01-04T00:00"
    )


@pytest.mark.parametrize(
    ("best", "now", "expected"),
    [
        (12, "2026-06-15T06:00:00", "2026-06-15T14:00:00"),  # noon in UTC is two in the afternoon there
        (12, "2026-06-15T15:30:00", "2026-06-15T15:30:00"),  # the best hours last until five
        (8, "2026-06-15T16:00:00", "2026-06-16T10:00:00"),
        (8, "2026-06-19T16:00:00", "2026-06-19T16:00:00"),  # not over a weekend for the sake of an hour
        (5, "2026-06-15T06:00:00", "2026-06-15T09:00:00"),  # earlier than the window: its opening
        (20, "2026-06-15T06:00:00", "2026-06-15T16:00:00"),  # ten in the evening till one: the last call
        (18, "2026-06-15T06:00:00", "2026-06-15T16:00:00"),  # later than the window: its last call
    ],
)
def test_the_best_hour_is_aimed_at_inside_the_window(best: int, now: str, expected: str) -> None:
    zone = ZoneInfo("Europe/Amsterdam")
    send = SendSettings(window=OFFICE.window, days=OFFICE.days, best_hour=True)
    assert opens(at(now, "Europe/Amsterdam"), zone, send, best_hour=best) == at(expected, "Europe/Amsterdam")


def test_a_zone_nobody_knows_is_the_accounts() -> None:
    account = ZoneInfo("Europe/Amsterdam")
    for name in (None, "", "Mars/Olympus", "../etc/passwd", "Europe", "x" * 300):
        assert zone_of(name, account) is account
    assert zone_of("Asia/Tokyo", account) == ZoneInfo("Asia/Tokyo")


MOMENTS = st.integers(0, 3 * 365 * 24 * 60).map(
    lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)
WALLS = st.times().map(lambda wall: wall.replace(second=0, microsecond=0, minute=wall.minute // 15 * 15))
DATES = st.dates(date(2026, 1, 1), date(2028, 12, 31))


@st.composite
def sends(draw: st.DrawFn) -> SendSettings:
    window = draw(st.none() | st.tuples(WALLS, WALLS))
    first = draw(DATES)
    pause = draw(st.none() | st.integers(0, 12).map(lambda days: ((first, first + timedelta(days=days)),)))
    days = draw(st.frozensets(st.integers(0, 6), min_size=1))
    return SendSettings(window=window, days=days, blackout=pause or (), best_hour=draw(st.booleans()))


@settings(deadline=None, max_examples=150)
@given(MOMENTS, st.sampled_from(ZONES), sends(), st.none() | st.integers(0, 23))
def test_the_moment_found_is_allowed_and_never_in_the_past(
    now: datetime, name: str, send: SendSettings, best: int | None
) -> None:
    zone = ZoneInfo(name)
    found = opens(now, zone, send, best_hour=best)
    assert found is not None and found >= now
    assert allowed(found, zone, send)
    assert opens(found, zone, send, best_hour=best) == found, "what is allowed needs no other moment"


@settings(deadline=None, max_examples=40)
@given(MOMENTS, st.sampled_from(ZONES), sends())
def test_no_allowed_moment_comes_before_the_one_found(now: datetime, name: str, send: SendSettings) -> None:
    zone = ZoneInfo(name)
    found = opens(now, zone, send)
    assert found is not None
    probe = now
    while probe < min(found, now + timedelta(days=4)):
        # Only in the hour a clock is put back can a window that has closed open once more.
        twice = probe.astimezone(zone).fold == 1
        assert twice or not allowed(probe, zone, send), probe
        probe += timedelta(minutes=15)

"""A program through the calendar: clock changes, leap days, the ends of months, every time zone, and facts that come late.

Told by a whole install whose warehouse and CRM are in memory (`tests.fakes.program_world`): the scheduler's run is the
real one, day after day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from connector.program.model import Episode
from tests.fakes.memory_destination import CAPABILITIES
from tests.fakes.program_people import ZONES
from tests.fakes.program_world import PREFIX, Known, ProgramWorld, person, program_world

ACCOUNT = "Europe/Amsterdam"
EVERYBODY = (
    ("holdout: {share: 30%}", "holdout: {share: 0%}"),
    ("per_contact: 2 in 12d, gap: 3d, per_day: 2", "per_contact: 20 in 30d, gap: 1h, per_day: 5000"),
)
ANY_TIME = ('window: "09:00-17:00", days: business', "days: all")
OFFICE = ('window: "09:00-17:00", days: business', 'window: "09:00-17:00", days: all')


@contextmanager
def at(now: datetime, people: Sequence[Known], *changes: tuple[str, str]) -> Iterator[ProgramWorld]:
    with program_world("list", people, *EVERYBODY, *changes, now=now, capabilities=CAPABILITIES) as world:
        yield world


def run_on(world: ProgramWorld, days: float, *, every: timedelta = timedelta(days=1)) -> None:
    """The scheduler's runs from now on; each starts a little later in the day than the one before."""
    ends = world.clock.at + timedelta(days=days)
    while world.clock.at < ends:
        applied = world.run()
        assert applied is not None
        assert applied.exit_code == 0, applied.report
        world.look_at_lists()
        world.clock.at += every + timedelta(seconds=7)


def run_by_jumps(world: ProgramWorld, *days: int) -> None:
    """A run on each of these days after the first."""
    for day in days:
        world.clock.at = max(world.clock.at, NOW + timedelta(days=day))
        assert world.run() is not None


def only_episode(world: ProgramWorld, contact_id: str) -> Episode:
    (found,) = world.journal.episodes.of(contact_id)
    return found


def days_taken(world: ProgramWorld, contact_id: str) -> dict[str, int]:
    """Step → calendar days after entry, where the contact lives, on which it was decided."""
    zone = ZoneInfo(world.facts.everybody[contact_id].timezone or ACCOUNT)
    episode = only_episode(world, contact_id)
    entered_on = episode.entered_at.astimezone(zone).date()
    steps = world.journal.episodes.steps(episode.episode_id)
    assert all(step.written_at is not None for step in steps)
    return {step.step: (step.at.astimezone(zone).date() - entered_on).days for step in steps}


WALK = {"reminder": 1, "offer": 4, "last_chance": 8}


@pytest.mark.parametrize(
    "first_day",
    [
        pytest.param(date(2026, 10, 21), id="the clocks go back in Europe on the fourth day"),
        pytest.param(date(2027, 3, 24), id="and forward"),
        pytest.param(date(2026, 10, 24), id="back on the first day"),
        pytest.param(date(2027, 3, 27), id="forward on the first day"),
        pytest.param(date(2026, 11, 1), id="America goes back on the day of entry"),
        pytest.param(date(2027, 3, 13), id="America goes forward on the first day"),
        pytest.param(date(2028, 2, 28), id="the first day is a leap day"),
        pytest.param(date(2028, 2, 29), id="entry is on a leap day"),
        pytest.param(date(2027, 2, 28), id="no leap day this year"),
        pytest.param(date(2027, 1, 31), id="the end of a month"),
        pytest.param(date(2026, 12, 31), id="the end of a year"),
    ],
)
@pytest.mark.parametrize("hour", [0, 23])
def test_steps_keep_their_calendar_days_whatever_the_clocks_do(first_day, hour):
    zones = (None, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")
    now = datetime(first_day.year, first_day.month, first_day.day, hour, 30, tzinfo=UTC)
    crowd = [person(n, 22 + n, timezone=zone, now=now) for n, zone in enumerate(zones, start=1)]
    with at(now, crowd, ANY_TIME) as world:
        run_on(world, 13)
        for known in crowd:
            assert days_taken(world, known.contact_id) == WALK, known.timezone
            assert only_episode(world, known.contact_id).exit_reason == "completed"


def test_a_month_and_a_year_are_counted_in_days():
    later = (("day: 4", "day: 31"), ("day: 8", "day: 365"))
    now = datetime(2027, 12, 31, 9, tzinfo=UTC)
    with at(now, [person(1, 22, now=now)], *later, ANY_TIME, ("ends_after: 3d", "ends_after: 2d")) as world:
        for day in (0, 1, 30, 31, 364, 365, 366):
            world.clock.at = now + timedelta(days=day)
            assert world.run() is not None
            taken = {1: 1, 31: 2, 365: 3}.get(day)
            if taken is not None:
                assert len(days_taken(world, f"{PREFIX}1")) == taken
        assert days_taken(world, f"{PREFIX}1") == {"reminder": 1, "offer": 31, "last_chance": 365}


@pytest.mark.parametrize("first_day", [date(2026, 10, 23), date(2027, 3, 26)])
def test_everybody_walks_on_the_days_of_their_own_time_zone(first_day):
    """Thirty-seven zones, a run every six hours: each step on the first run of its day where the contact lives."""
    now = datetime(first_day.year, first_day.month, first_day.day, 10, tzinfo=UTC)
    crowd = [person(n, 30, timezone=zone, now=now) for n, zone in enumerate(ZONES, start=1)]
    assert len({now.astimezone(ZoneInfo(zone)).utcoffset() for zone in ZONES}) >= 30
    with at(now, crowd, ANY_TIME) as world:
        run_on(world, 9.6, every=timedelta(hours=6))
        for known in crowd:
            assert days_taken(world, known.contact_id) == WALK, known.timezone
            zone = ZoneInfo(known.timezone or ACCOUNT)
            for step in world.journal.episodes.steps(only_episode(world, known.contact_id).episode_id):
                assert step.at.astimezone(zone).hour * 60 + step.at.astimezone(zone).minute <= 6 * 60 + 10


@pytest.mark.parametrize("first_day", [date(2026, 10, 23), date(2027, 3, 26)])
def test_the_mail_goes_out_in_everybodys_own_office_hours(first_day):
    now = datetime(first_day.year, first_day.month, first_day.day, 3, tzinfo=UTC)
    crowd = [person(n, 30, timezone=zone, now=now) for n, zone in enumerate(ZONES, start=1)]
    with at(now, crowd, OFFICE) as world:
        run_on(world, 9)
        for known in crowd:
            zone = ZoneInfo(known.timezone or ACCOUNT)
            steps = world.journal.episodes.steps(only_episode(world, known.contact_id).episode_id)
            assert len(steps) == len(WALK)
            for step in steps:
                assert step.send_at is not None
                local = step.send_at.astimezone(zone)
                assert 9 * 60 <= local.hour * 60 + local.minute <= 17 * 60, (known.timezone, local)
                assert step.send_at >= step.at
                told = step.values["winback_send_at"]
                assert told is not None
                assert datetime.fromisoformat(told) == step.send_at.replace(microsecond=0)


# --- facts that come late ---------------------------------------------------------------------------------

NOW = datetime(2026, 10, 19, 9, tzinfo=UTC)
SLOW = (("day: 4", "day: 30"), ("day: 8", "day: 100"), ANY_TIME)


def test_usage_that_comes_ninety_days_late_and_leaves_silence_enough_changes_no_key():
    """Last seen 200 days ago as far as was known; in truth 110 days ago. One episode, under the key it has."""
    with at(NOW, [person(1, 200)], *SLOW) as world:
        run_on(world, 3)
        key = only_episode(world, f"{PREFIX}1").episode_id
        world.use(f"{PREFIX}1", NOW - timedelta(days=90))
        world.install.reporter.lines.clear()  # type: ignore[attr-defined]
        run_on(world, 1)
        said = [line for line in world.install.reporter.lines if "late facts" in line]  # type: ignore[attr-defined]
        assert len(said) == 1
        assert "they go on" in said[0]
        run_by_jumps(world, *range(10, 106, 10))
        episode = only_episode(world, f"{PREFIX}1")
        assert episode.episode_id == key
        assert days_taken(world, f"{PREFIX}1") == {"reminder": 1, "offer": 30, "last_chance": 100}
        assert episode.exit_reason is None


def test_usage_from_before_entry_that_comes_ninety_days_into_the_episode_changes_no_key():
    with at(NOW, [person(1, 40)], *SLOW) as world:
        run_by_jumps(world, 0, 1, 30, 60, 87)
        key = only_episode(world, f"{PREFIX}1").episode_id
        world.use(f"{PREFIX}1", NOW - timedelta(days=2))
        run_by_jumps(world, 88, 100, 106)
        episode = only_episode(world, f"{PREFIX}1")
        assert (episode.episode_id, episode.exit_reason) == (key, "completed")
        assert len(days_taken(world, f"{PREFIX}1")) == len(WALK)


def test_usage_that_shows_there_was_no_such_silence_ends_the_episode_and_is_told():
    """Only from a hundred days on is anybody lost; the use of ninety days ago shows that this one was not."""
    with at(NOW, [person(1, 130)], ("inactive_days >= 20", "inactive_days >= 100"), *SLOW) as world:
        run_on(world, 2)
        assert world.crm.holdings()["winback · win-back · reminder"] == {"1"}
        world.use(f"{PREFIX}1", world.clock.at - timedelta(days=90))
        world.install.reporter.lines.clear()  # type: ignore[attr-defined]
        run_on(world, 1)
        said = [line for line in world.install.reporter.lines if "late facts" in line]  # type: ignore[attr-defined]
        assert len(said) == 1
        assert "there was no such silence" in said[0]
        assert only_episode(world, f"{PREFIX}1").exit_reason == "never_dormant"
        assert not any(world.crm.holdings().values())
        assert not any(world.crm.values.values())
        # The silence that is real is another one, and counts when it has become long enough.
        run_on(world, 22)
        new, old = world.journal.episodes.of(f"{PREFIX}1")
        assert old.exit_reason == "never_dormant"
        assert new.episode_id != old.episode_id
        assert new.spell_started_on > old.spell_started_on


def test_usage_since_entry_that_is_heard_of_late_is_a_return_all_the_same():
    with at(NOW, [person(1, 40)], *SLOW) as world:
        run_by_jumps(world, 0, 1, 30, 50)
        world.use(f"{PREFIX}1", NOW + timedelta(days=3))
        run_on(world, 1)
        assert only_episode(world, f"{PREFIX}1").exit_reason == "reactivated"
        assert not world.crm.holdings()["winback · win-back · offer"]

"""What must hold of the engine whatever happens: caps, exits, consent, holdouts, one episode a silence, and time."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.program import cadence
from connector.program.codes import DEFERRALS, EXCLUSIONS, EXITS
from connector.program.engine import World, decide, verdict
from connector.program.exits import HOLDS
from connector.program.model import (
    HOLDOUT,
    Adjustment,
    CapSettings,
    Decisions,
    Driver,
    HoldoutSettings,
    Person,
    Program,
    SendSettings,
    Split,
    StepSettings,
    SunsetSettings,
    Verdict,
)
from connector.program.stillness import Stillness
from connector.program.verdicts import Judge
from connector.program.windows import allowed, day_in, zone_of
from tests.fakes.program_people import (
    DORMANT,
    UTC_ZONE,
    ZONES,
    Books,
    Somebody,
    caps_were_kept,
    condition,
    episode,
    person,
    program,
    steps,
    world,
)

DAY = timedelta(days=1)
START = datetime(2026, 2, 1, 6, tzinfo=UTC)
SLOW = settings(deadline=None, max_examples=40)


# --- a program run day after day over people who do what they like ---------------------------------------------


@st.composite
def programs(draw: st.DrawFn, name: str = "win-back") -> Program:
    """A program with random days, caps and hours; conditions on two of its steps."""
    days = sorted(draw(st.lists(st.integers(0, 16), min_size=1, max_size=5, unique=True)))
    path = list(steps(*days))
    if draw(st.booleans()):
        path[-1] = replace(path[-1], when=condition("engaged.clicks = 0"))
    if draw(st.booleans()):
        path[0] = replace(path[0], adjust=(Adjustment(condition("engaged.visits > 0"), 0),))
    window = draw(st.sampled_from([None, (time(9), time(17)), (time(22), time(6))]))
    return program(
        name=name,
        steps=tuple(path),
        ends_after=draw(st.sampled_from([DAY, 7 * DAY])),
        outcome_window=draw(st.sampled_from([20 * DAY, 90 * DAY])),
        caps=CapSettings(
            per_contact=(draw(st.integers(1, 4)), draw(st.sampled_from([7, 30])) * DAY),
            gap=draw(st.sampled_from([timedelta(0), DAY, 3 * DAY])),
            per_day=draw(st.sampled_from([None, 1, 3])),
            quiet_after=draw(st.sampled_from([timedelta(0), 20 * DAY, 90 * DAY])),
        ),
        send=SendSettings(
            window=window,
            days=draw(st.sampled_from([frozenset(range(7)), frozenset(range(5))])),
            best_hour=draw(st.booleans()),
            hold=draw(st.sampled_from(["crm", "winback"])),
        ),
        holdout=HoldoutSettings(
            share=draw(st.sampled_from([0.0, 0.3, 1.0])), unit=draw(st.sampled_from(["auto", "account"]))
        ),
        sunset=SunsetSettings(after_episodes=draw(st.sampled_from([None, 1]))),
    )


@st.composite
def crowds(draw: st.DrawFn) -> list[Somebody]:
    """People who were active once long ago, and some of them again, in the open or reported late."""
    found = []
    for number in range(draw(st.integers(2, 7))):
        first = START.date() - draw(st.integers(25, 80)) * DAY
        again = draw(st.lists(st.integers(-20, 100), max_size=3))
        days = [first, *(START.date() + offset * DAY for offset in again)]
        late = {day: day + draw(st.sampled_from([0, 1, 10, 90])) * DAY for day in days[1:]}
        gone = draw(st.none() | st.integers(0, 100))
        found.append(
            Somebody(
                f"crm:{number}",
                days,
                timezone=draw(st.sampled_from([None, *ZONES])),
                account_id=draw(st.sampled_from([None, "acc:1", "acc:2"])),
                excluded_from={}
                if gone is None
                else {START.date() + gone * DAY: draw(st.sampled_from(sorted(EXCLUSIONS)))},
                reported=late,
            )
        )
    return found


@dataclass
class Run:
    now: datetime
    told: World
    people: list[Person]
    decisions: Decisions


def live(
    program: Program,
    crowd: Sequence[Somebody],
    *,
    runs: int,
    seed: int,
    books: Books | None = None,
    start: datetime = START,
    also: Sequence[Program] = (),
) -> list[Run]:
    """Runs of a scheduler that drifts and now and then misses days; the CRM confirms some writes late."""
    chance = random.Random(seed)
    books = books or Books()
    now, told = start, []
    for _ in range(runs):
        midnight = now.replace(hour=0, minute=0, second=0)
        run_world = world(program, *also, now=now, splits=dict(books.splits), **books.today(midnight, midnight + DAY))
        people = [one.as_of(now, books) for one in crowd]
        clicks = chance.randint(0, 2)
        people = [replace(one, row={**one.row, "engaged_visits": int(bool(one.episodes)) * clicks}) for one in people]
        decisions = decide(run_world, people)
        books.carry_out(decisions, now)
        told.append(Run(now, run_world, people, decisions))
        if chance.random() < 0.8:
            books.written(now)
        now += chance.choice([DAY, DAY, DAY - timedelta(seconds=40), timedelta(hours=5), 4 * DAY])
    return told


LIVES = given(programs(), crowds(), st.integers(0, 10_000))


def _stays(said: Verdict) -> bool:
    """In a program, and not leaving it now; an old reading holds one there."""
    held = said.state == "excluded" and said.reason in HOLDS and said.episode is not None
    return said.state == "in_program" or (held and not said.episode.held_out)


@SLOW
@LIVES
def test_no_schedule_breaks_a_cap(settings_: Program, crowd: list[Somebody], seed: int) -> None:
    books = Books()
    live(settings_, crowd, runs=45, seed=seed, books=books)
    caps_were_kept(settings_, books)


@SLOW
@LIVES
def test_whoever_is_held_out_or_excluded_is_in_nothing(settings_: Program, crowd: list[Somebody], seed: int) -> None:
    books = Books()
    for run in live(settings_, crowd, runs=30, seed=seed, books=books):
        decided = run.decisions
        excluded = {one.row["contact_id"] for one in run.people if one.eligibility.reason is not None}
        old = {one.row["contact_id"] for one in run.people if one.eligibility.reason in HOLDS}
        moved = {move.contact_id for move in decided.move}
        written = {*decided.placed, *moved, *decided.sunset}
        assert not written & (excluded - old) and not written & decided.held_out
        assert not moved & old
        assert not excluded & {entry.episode.contact_id for entry in decided.enter}
        held_out = {e.episode_id for one in run.people for e in one.episodes if e.held_out}
        held_out |= {entry.episode.episode_id for entry in decided.enter if entry.episode.held_out}
        assert held_out.isdisjoint(one.episode_id for one in decided.placed.values())
        waiting = {one.row["contact_id"] for one in run.people if any(e.open and e.held_out for e in one.episodes)}
        leaving = {one.contact_id for one in decided.exit}
        assert waiting - leaving <= decided.held_out


@SLOW
@LIVES
def test_nobody_enters_twice_for_one_silence_and_everybody_back_is_out(
    settings_: Program, crowd: list[Somebody], seed: int
) -> None:
    books = Books()
    runs = live(settings_, crowd, runs=30, seed=seed, books=books)  # `Books` refuses an id that it has already
    for contact_id in {one.contact_id for one in crowd}:
        found = list(reversed(books.of(contact_id)))
        for before, after in pairwise(found):
            assert before.exited_at is not None and before.exited_at <= after.entered_at
            assert after.entered_at - before.exited_at >= settings_.caps.quiet_after
            if before.exit_reason != "never_dormant":
                assert after.spell_started_on > before.entered_at.date(), "used the product in between"
    for run in runs:
        for one in run.people:
            if one.row["active_days_since_enrollment"] and one.episodes and one.episodes[0].open:
                contact_id = one.row["contact_id"]
                assert contact_id not in run.decisions.placed
                assert contact_id in {ending.contact_id for ending in run.decisions.exit}


@SLOW
@LIVES
def test_steps_come_in_order_once_and_on_an_allowed_moment(
    settings_: Program, crowd: list[Somebody], seed: int
) -> None:
    books = Books()
    live(settings_, crowd, runs=30, seed=seed, books=books)
    zones = {one.contact_id: zone_of(one.timezone, UTC_ZONE) for one in crowd}
    taken = defaultdict(list)
    for at, move in books.decided:
        taken[move.episode_id].append(settings_.number(move.step))
        zone = zones[move.contact_id]
        assert day_in(at, zone) >= move.due_on
        if move.send_at is not None:
            assert move.send_at >= at and allowed(move.send_at, zone, settings_.send)
            assert settings_.send.hold == "crm" or move.send_at - at <= cadence.DRIFT
    for numbers in taken.values():
        assert numbers == list(range(len(numbers))), "each step once, none left out, in the order of the playbook"


@SLOW
@given(programs(), crowds(), st.integers(0, 10_000), st.booleans())
def test_decide_agrees_with_each_verdict(settings_: Program, crowd: list[Somebody], seed: int, two: bool) -> None:
    also = (replace(settings_, name="renewal"),) if two else ()
    for run in live(settings_, crowd, runs=20, seed=seed, also=also):
        told = run.told.knowing(run.decisions.splits)
        for one in run.people:
            agree(verdict(told, one), one, run.decisions)


def agree(said: Any, one: Person, decided: Decisions) -> None:
    """Everything decided about a contact is what its verdict says, or was put off by the crowd."""
    contact_id = one.row["contact_id"]
    put_off = {code for code, contacts in decided.deferred.items() if contact_id in contacts}
    crowded = bool(put_off & {"daily_cap", "offer_budget", "no_code_left"})
    exits_ = [ending for ending in decided.exit if ending.contact_id == contact_id]
    moves = [move for move in decided.move if move.contact_id == contact_id]
    entries = [entry for entry in decided.enter if entry.episode.contact_id == contact_id]
    assert exits_ == ([said.exit] if said.exit else [])
    assert entries == ([said.entry] if said.entry else []) or (crowded and not entries)
    plain = [(move.step, move.state, move.due_on, move.send_at, move.variant, move.branch) for move in moves]
    wanted = [(move.step, move.state, move.due_on, move.send_at, move.variant, move.branch) for move in said.moves]
    assert plain == wanted or (crowded and plain == [move for move in wanted if move[1] == "skipped"][: len(plain)])
    if said.state in ("held_out", "candidate", "deferred", "in_program"):
        assert (contact_id in decided.held_out) == (said.state == "held_out")
    assert (contact_id in decided.placed) == (
        (_stays(said) and said.episode.step_state != "undone") or bool(entries and not entries[0].episode.held_out)
    )
    if said.state == "excluded":
        assert contact_id in decided.excluded[said.reason]
    if said.reason in DEFERRALS and said.state != "leaving" and one.segments:
        assert contact_id in decided.deferred.get(said.reason, ()) or crowded
    assert said.reason is None or said.reason in {**DEFERRALS, **EXCLUSIONS, **EXITS}


@SLOW
@LIVES
def test_the_quick_way_says_yes_only_where_the_verdict_stays_put(
    settings_: Program, crowd: list[Somebody], seed: int
) -> None:
    for run in live(settings_, crowd, runs=20, seed=seed):
        still = Stillness(Judge(run.told))
        for one in run.people:
            if one.episodes and still.nothing_new(one):
                said = verdict(run.told, one)
                assert said.state in ("in_program", "held_out") and said.reason is None
                assert not said.moves and said.exit is None and said.episode is one.episodes[0]


@settings(deadline=None, max_examples=30)
@given(programs(), crowds(), st.integers(0, 10_000), st.integers(1, 150))
def test_shifting_every_date_by_weeks_shifts_the_decisions(
    settings_: Program, crowd: list[Somebody], seed: int, weeks: int
) -> None:
    by = 7 * weeks * DAY
    # Without a clock change in between, or local time itself would not shift; and the draw is of a date, so nobody is held out.
    plain = [replace(one, timezone="Asia/Kathmandu") for one in crowd]
    settings_ = replace(settings_, holdout=HoldoutSettings(share=0.0))
    later = [
        replace(
            one,
            active_on=[on + by for on in one.active_on],
            reported={on + by: heard + by for on, heard in one.reported.items()},
            excluded_from={on + by: code for on, code in one.excluded_from.items()},
        )
        for one in plain
    ]
    first, second = Books(), Books()
    live(settings_, plain, runs=15, seed=seed, books=first)
    live(settings_, later, runs=15, seed=seed, books=second, start=START + by)
    assert [(at + by, move.step, move.state, move.due_on + by) for at, move in first.decided] == [
        (at, move.step, move.state, move.due_on) for at, move in second.decided
    ]
    assert sorted(
        (e.contact_id, e.entered_at + by, e.exit_reason, e.exited_at and e.exited_at + by)
        for e in first.episodes.values()
    ) == sorted((e.contact_id, e.entered_at, e.exit_reason, e.exited_at) for e in second.episodes.values())


# --- calendars -------------------------------------------------------------------------------------------------


ENTRIES = st.integers(
    int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2029, 1, 1, tzinfo=UTC).timestamp())
).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@settings(deadline=None, max_examples=200)
@given(ENTRIES, st.sampled_from(ZONES), st.integers(0, 40), st.integers(-13 * 3600, 40 * 86400))
def test_day_n_is_n_dates_after_entry_where_the_contact_lives(
    entered: datetime, name: str, day: int, later: int
) -> None:
    zone, now = ZoneInfo(name), entered + timedelta(seconds=max(later, 0))
    told = world(program(steps=(StepSettings(name="reminder", day=day),), ends_after=99 * DAY), now=now)
    contact = person(episodes=[episode(entered_at=entered)], timezone=name, silent=200, today=now.date())
    due = day_in(entered, zone) + day * DAY
    assert bool(decide(told, [contact]).move) == (day_in(now, zone) >= due)
    said = verdict(told, contact)
    if day_in(now, zone) < due:
        assert said.upcoming is not None and said.upcoming.on == due
    else:
        assert said.moves[0].due_on == due


@pytest.mark.parametrize(
    ("name", "entered", "due"),
    [
        ("Europe/Amsterdam", "2026-03-28T23:30:00+01:00", date(2026, 4, 4)),  # an hour less in between
        ("Europe/Amsterdam", "2026-10-24T23:30:00+02:00", date(2026, 10, 31)),  # an hour more
        ("America/New_York", "2026-03-07T23:59:59-05:00", date(2026, 3, 14)),
        ("America/New_York", "2026-10-31T23:59:59-04:00", date(2026, 11, 7)),
        ("Australia/Lord_Howe", "2026-10-03T12:00:00+10:30", date(2026, 10, 10)),
        ("UTC", "2028-02-25T12:00:00+00:00", date(2028, 3, 3)),  # over a leap day
        ("UTC", "2026-02-25T12:00:00+00:00", date(2026, 3, 4)),
        ("Pacific/Kiritimati", "2026-12-31T10:30:00+00:00", date(2027, 1, 8)),  # is the year after already there
        ("Pacific/Pago_Pago", "2027-01-01T10:30:00+00:00", date(2027, 1, 7)),  # is the year before still there
        ("Asia/Kolkata", "2026-01-31T00:00:00+05:30", date(2026, 2, 7)),  # over a month end
    ],
)
def test_a_week_is_seven_dates_whatever_the_clock_does(name: str, entered: str, due: date) -> None:
    at, zone = datetime.fromisoformat(entered).astimezone(UTC), ZoneInfo(name)
    path = program(steps=(StepSettings(name="offer", day=7),), ends_after=99 * DAY)
    for hour in range(-30, 30):
        now = datetime.combine(due, time(0), zone).astimezone(UTC) + timedelta(hours=hour)
        told = world(path, now=now)
        contact = person(episodes=[episode(entered_at=at)], timezone=name, silent=200, today=now.date())
        assert bool(decide(told, [contact]).move) == (hour >= 0)


@pytest.mark.parametrize("start", ["2026-03-20", "2026-10-18", "2028-02-24", "2026-12-27"])
def test_an_hourly_run_takes_each_step_at_the_first_hour_of_its_day_all_round_the_world(start: str) -> None:
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    books = Books()
    crowd = [Somebody(name, [begin.date() - 40 * DAY], timezone=name) for name in ZONES]
    path = program(steps=steps(1, 5, 9), holdout=HoldoutSettings(share=0.0), exit=frozenset())
    for number in range(24 * 11):
        now = begin + timedelta(hours=number)
        books.carry_out(decide(world(path, now=now), [one.as_of(now, books) for one in crowd]), now)
        books.written(now)
    assert len(books.decided) == 3 * len(ZONES)
    for at, move in books.decided:
        zone = ZoneInfo(move.contact_id)
        day = {step.name: step.day for step in path.steps}[move.step]
        assert move.due_on == day_in(begin, zone) + day * DAY == day_in(at, zone)
        assert day_in(at - timedelta(hours=1), zone) < move.due_on


@pytest.mark.parametrize("hold", ["crm", "winback"])
def test_a_daily_run_that_drifts_slips_no_day(hold: str) -> None:
    books, crowd = Books(), [Somebody("crm:1", [START.date() - 40 * DAY])]
    days = {}
    settings_ = program(steps=steps(1, 4, 7, 10), holdout=HoldoutSettings(share=0.0), send=SendSettings(hold=hold))
    for number in range(15):
        now = START + number * (DAY - timedelta(seconds=11))
        told = world(settings_, now=now)
        decisions = decide(told, [one.as_of(now, books) for one in crowd])
        books.carry_out(decisions, now)
        books.written(now)
        days |= {move.step: number for move in decisions.move}
    assert days == {"reminder": 1, "offer": 4, "last_chance": 7, "feedback": 10}


def test_use_reported_ninety_days_late_ends_what_should_never_have_begun() -> None:
    early = START.date() - 40 * DAY
    hidden = START.date() - 5 * DAY
    somebody = Somebody("crm:1", [early, hidden], reported={hidden: hidden + 90 * DAY})
    settings_ = program(steps=steps(1, 60, 120), holdout=HoldoutSettings(share=0.0), exit=frozenset())
    books = Books()
    told = []
    for number in range(100):
        now = START + number * DAY
        decisions = decide(world(settings_, now=now), [somebody.as_of(now, books, dormant_from=30)])
        books.carry_out(decisions, now)
        books.written(now)
        told += [(number, note) for note in decisions.notes]
    [one] = books.of("crm:1")
    assert one.open and one.step == "offer", "still silent for more than thirty days: it goes on under its old key"
    assert {number for number, _ in told} == set(range(85, 100)) and "they go on" in told[0][1]

    short = [replace(somebody, reported={hidden: START.date() + 3 * DAY})]
    books, told = Books(), []
    for number in range(8):
        now = START + number * DAY
        decisions = decide(world(settings_, now=now), [one.as_of(now, books) for one in short])
        books.carry_out(decisions, now)
        told += decisions.notes
    assert [e.exit_reason for e in books.of("crm:1")] == ["never_dormant"]
    assert len(told) == 1 and "no such silence" in told[0]


# --- the draw --------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 60),
    st.integers(1, 200),
    st.sampled_from([0.1, 0.3, 0.5, None]),
    st.sampled_from(["auto", "contact", "account"]),
    st.sampled_from([None, 0, 1, 5, 25]),
)
def test_the_first_day_decides_as_any_other_once_the_split_is_known(
    accounts: int, count: int, share: float | None, unit: str, per_day: int | None
) -> None:
    settings_ = program(holdout=HoldoutSettings(share=share, unit=unit), caps=CapSettings(per_day=per_day))
    told = world(settings_, splits={})
    people = [
        person(f"crm:{n}", silent=31 + n % 9, account_id=f"acc:{n % accounts}" if accounts else None)
        for n in range(count)
    ]
    first = decide(told, people)
    assert set(first.splits) == {"win-back"}
    again = decide(told.knowing(first.splits), reversed(people))
    assert replace(first, splits={}) == again
    opened = [entry.episode for entry in first.enter]
    assert all((one.arm == HOLDOUT) == (one.contact_id in first.held_out) for one in opened)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 80), st.floats(0, 1), st.integers(0, 30), st.integers(0, 5))
def test_the_daily_cap_cuts_without_looking_at_the_arm(count: int, share: float, per_day: int, entered: int) -> None:
    settings_ = program(caps=CapSettings(per_day=per_day))
    split = Split(share=share, unit="contact", salt="s", eligible=count)
    told = world(settings_, splits={"win-back": split}, entered_today=entered)
    people = [person(f"crm:{n:02d}", silent=31 + n * 7 % 11) for n in range(count)]
    decisions = decide(told, people)
    order = sorted(people, key=lambda one: (one.row["last_active_on"], one.row["contact_id"]))
    expected, used = [], entered
    for one in order:
        if used >= per_day:
            break
        expected.append(one.row["contact_id"])
        used += verdict(told, one).state == "candidate"
    assert {entry.episode.contact_id for entry in decisions.enter} == set(expected)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=40), st.integers(0, 20), st.integers(0, 6))
def test_a_crm_that_drives_is_counted_first_and_never_refused(
    due: list[tuple[int, bool]], per_day: int, used: int
) -> None:
    caps = CapSettings(per_day=per_day)
    ours = program(steps=(StepSettings(name="reminder", day=1),), caps=caps)
    theirs = replace(ours, name="theirs", driver=Driver.CRM, enroll=("elsewhere",))
    people = [
        person(
            f"crm:{n}",
            segments=("elsewhere",) if crm else (DORMANT,),
            episodes=[episode(f"crm:{n}", days_ago=days, program="theirs" if crm else "win-back")],
        )
        for n, (days, crm) in enumerate(due)
    ]
    decisions = decide(world(ours, theirs, touches_today=used), people)
    by_crm = sum(crm for _, crm in due)
    mine = [move for move in decisions.move if not move.episode_id.startswith("theirs")]
    assert len(decisions.move) - len(mine) == by_crm
    room = max(0, per_day - used - by_crm)
    assert len(mine) == min(room, len(due) - by_crm)
    order = sorted((-days, f"win-back/crm:{n}/") for n, (days, crm) in enumerate(due) if not crm)
    assert sorted(move.contact_id for move in mine) == sorted(key.split("/")[1] for _, key in order[: len(mine)])

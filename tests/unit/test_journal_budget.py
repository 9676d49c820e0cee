"""The rate budget: never more than allowed in any window, whoever asks, and never slower than it must be."""

from __future__ import annotations

from datetime import timedelta
from threading import Thread
from zoneinfo import ZoneInfo

import pytest

from connector.contracts import Limits, RateBudget
from connector.errors import QuotaExhausted
from connector.journal import Journal
from tests.fakes.clocks import START, SharedVirtualClock, VirtualClock
from tests.fakes.databases import on_both  # noqa: F401 - the fixture `journal_url`
from tests.fakes.journals import Silence, finish_all, spawn

DRAW = """
import sys
from pathlib import Path
from connector.contracts import Limits
from connector.clock import SystemClock
from connector.journal import Journal
from tests.fakes.clocks import SharedVirtualClock
from tests.fakes.journals import Silence

url, time, calls, meter = sys.argv[1:]
clock = SharedVirtualClock(Path(time), tick_seconds=0.004)
with Journal.open(url, clock=SystemClock(), real_clock=clock) as journal:
    budget = journal.budget("hubspot", Limits(per_10s=50, share=0.8), reporter=Silence(), meters={"search": (4, 1.0)})
    for _ in range(int(calls)):
        budget.acquire(meter)
        print(clock.last_read)
clock.close()
"""


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def journal(journal_url, clock):
    with Journal.open(journal_url, clock=clock, real_clock=clock) as opened:
        yield opened


@pytest.fixture
def reporter():
    return Silence()


def draw(budget, clock, calls, meter="", *, think=0.0):
    """When each call was allowed; `think` seconds pass after each."""
    times = []
    for _ in range(calls):
        budget.acquire(meter)
        times.append(clock.monotonic())
        clock.advance(think)
    return times


def fullest_window(times, seconds):
    """The most calls any span of this length holds, its start counted and its end not."""
    times = sorted(times)
    most, first = 0, 0
    for last, moment in enumerate(times):
        while times[first] <= moment - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_the_shared_budget_is_a_rate_budget(journal, reporter):
    budget: RateBudget = journal.budget("hubspot", Limits(), reporter=reporter)
    assert budget.remaining_today() is None
    assert budget.calls() == 0


def test_a_burst_is_let_through_and_then_held_to_the_share(journal, clock, reporter):
    budget = journal.budget("hubspot", Limits(per_10s=100, share=0.8), reporter=reporter)
    times = draw(budget, clock, 400)
    assert times[79] == times[0]
    assert fullest_window(times, 10) == 80
    assert times[-1] - times[0] < 44
    assert budget.calls() == 400


def test_steady_calls_use_nearly_all_that_is_allowed(journal, clock, reporter):
    budget = journal.budget("hubspot", Limits(per_10s=100, share=0.8), reporter=reporter)
    times = draw(budget, clock, 800, think=0.02)
    assert fullest_window(times, 10) <= 80
    assert times[-1] - times[0] < 1.1 * (800 - 80) / 8


def test_a_call_below_the_limit_never_waits(journal, clock, reporter):
    budget = journal.budget("hubspot", Limits(per_10s=100, share=0.8), reporter=reporter)
    draw(budget, clock, 300, think=0.15)
    assert clock.slept == []


def test_meters_are_counted_apart(journal, clock, reporter):
    budget = journal.budget("hubspot", Limits(per_10s=20, share=1), reporter=reporter)
    times = draw(budget, clock, 20, "search")
    assert fullest_window(times, 1) == 4
    slept = len(clock.slept)
    draw(budget, clock, 20)
    assert len(clock.slept) == slept


def test_a_meter_nobody_declared_is_a_mistake(journal, reporter):
    budget = journal.budget("hubspot", Limits(), reporter=reporter)
    with pytest.raises(ValueError, match="no meter 'serch'"):
        budget.acquire("serch")
    with pytest.raises(ValueError, match="no meter 'serch'"):
        budget.penalize(1, "serch")


def test_two_objects_share_one_window(journal, clock, reporter):
    one, two = (journal.budget("hubspot", Limits(per_10s=50, share=0.8), reporter=reporter) for _ in range(2))
    times = [moment for _ in range(100) for budget in (one, two) for moment in draw(budget, clock, 1)]
    assert fullest_window(times, 10) <= 40
    assert (one.calls(), two.calls()) == (100, 100)


def test_systems_do_not_share(journal, clock, reporter):
    one, two = (journal.budget(name, Limits(per_10s=10, share=1), reporter=reporter) for name in ("hubspot", "other"))
    draw(one, clock, 10)
    draw(two, clock, 10)
    assert clock.slept == []


def test_permits_held_by_a_process_that_went_away_come_back_with_the_window(journal, clock, reporter):
    gone = journal.budget("hubspot", Limits(per_10s=50, share=0.8), reporter=reporter)
    draw(gone, clock, 30)
    budget = journal.budget("hubspot", Limits(per_10s=50, share=0.8), reporter=reporter)
    assert fullest_window(draw(budget, clock, 60), 10) <= 40
    assert sum(clock.slept) < 25


def test_a_permit_left_over_is_not_used_after_its_time(journal, clock, reporter):
    idle, busy = (journal.budget("hubspot", Limits(per_10s=50, share=0.8), reporter=reporter) for _ in range(2))
    draw(idle, clock, 5)
    assert idle._purses[""].permits > 0
    clock.advance(20)
    times = draw(busy, clock, 40)
    assert fullest_window(times + draw(idle, clock, 1), 10) <= 40


def test_leases_keep_transactions_few(journal, clock, reporter):
    fetches = 0
    budget = journal.budget("hubspot", Limits(per_10s=200, share=0.8), reporter=reporter)
    inner = budget._fetch

    def counting(meter):
        nonlocal fetches
        fetches += 1
        return inner(meter)

    budget._fetch = counting
    draw(budget, clock, 1600, think=0.005)
    assert fetches < 400


def test_a_slow_journal_is_slow_but_never_stuck(journal, clock, reporter):
    """Every transaction takes longer than a lease of the search meter lives."""
    now = clock.now

    def slow():
        clock.advance(0.7)
        return now()

    clock.now = slow
    budget = journal.budget("hubspot", Limits(), reporter=reporter)
    for _ in range(12):
        budget.acquire("search")
    assert budget.calls() == 12


def test_a_penalty_stops_everyone(journal, clock, reporter):
    one, two = (journal.budget("hubspot", Limits(per_10s=100), reporter=reporter) for _ in range(2))
    draw(one, clock, 3)
    one.penalize(10)
    began = clock.monotonic()
    two.acquire()
    assert clock.monotonic() - began == pytest.approx(10)
    one.acquire()
    assert "hubspot asked us to slow down: waiting 10 s" in reporter.lines


def test_a_penalty_holds_even_without_any_limit(journal, clock, reporter):
    one, two = (journal.budget("hubspot", Limits(), reporter=reporter) for _ in range(2))
    draw(one, clock, 3)
    one.penalize(5)
    one.acquire()
    assert clock.monotonic() - START.timestamp() == pytest.approx(5)
    two.acquire()
    assert len(clock.slept) == 1


def test_a_penalty_of_one_meter_leaves_the_others_alone(journal, clock, reporter):
    budget = journal.budget("hubspot", Limits(per_10s=100), reporter=reporter)
    budget.penalize(30, "search")
    budget.acquire()
    assert clock.slept == []


def test_a_shorter_penalty_never_cuts_a_longer_one(journal, clock, reporter):
    budget = journal.budget("hubspot", Limits(per_10s=100), reporter=reporter)
    budget.penalize(30)
    budget.penalize(1)
    budget.acquire()
    assert sum(clock.slept) == pytest.approx(30)


def test_only_long_waits_are_worth_a_line(journal, clock, reporter):
    budget = journal.budget("hubspot", Limits(), reporter=reporter, meters={"search": (4, 1.0), "export": (1, 60.0)})
    draw(budget, clock, 12, "search")
    assert clock.slept
    assert reporter.lines == []
    draw(budget, clock, 2, "export")
    assert len(reporter.lines) == 1
    assert reporter.lines[0].startswith("hubspot allows no more calls for the moment: waiting 6")


# --- the day ------------------------------------------------------------------------------------------------------


def test_the_day_ends_with_its_share_and_says_when_to_come_back(journal, clock, reporter):
    budget = journal.budget("hubspot", Limits(per_day=100, share=0.5), reporter=reporter)
    assert budget.remaining_today() == 50
    draw(budget, clock, 50)
    assert budget.remaining_today() == 0
    with pytest.raises(QuotaExhausted, match=r"hubspot.*50%") as spent:
        budget.acquire()
    assert "2026-11-03 00:00 UTC" in spent.value.hint
    assert clock.slept == []


def test_the_day_is_shared_and_what_one_leaves_another_may_use(journal, clock, reporter):
    one, two = (journal.budget("hubspot", Limits(per_day=100, share=1), reporter=reporter) for _ in range(2))
    draw(one, clock, 60)
    assert two.remaining_today() <= 40
    clock.advance(60)
    one.acquire()
    with pytest.raises(QuotaExhausted):
        draw(two, clock, 100)
    left = sum(purse.permits for purse in one._purses.values())
    assert one.calls() + two.calls() + left == 100


def test_search_counts_against_the_day_too(journal, clock, reporter):
    budget = journal.budget("hubspot", Limits(per_day=10, share=1), reporter=reporter)
    draw(budget, clock, 6, "search")
    draw(budget, clock, 4)
    with pytest.raises(QuotaExhausted):
        budget.acquire("search")


def test_a_new_day_begins_at_midnight_of_the_account(journal, clock, reporter):
    zone = ZoneInfo("America/New_York")
    budget = journal.budget("hubspot", Limits(per_day=10, share=1), reporter=reporter, timezone=zone)
    draw(budget, clock, 10)
    with pytest.raises(QuotaExhausted) as spent:
        budget.acquire()
    assert "2026-11-03 05:00 UTC" in spent.value.hint
    clock.at = START.replace(day=3, hour=4, minute=59)
    with pytest.raises(QuotaExhausted):
        budget.acquire()
    clock.at = START.replace(day=3, hour=5, minute=0)
    draw(budget, clock, 10)


def test_what_others_used_counts_when_the_system_says_so(journal, clock, reporter):
    one, two = (journal.budget("hubspot", Limits(per_day=1000, share=0.8), reporter=reporter) for _ in range(2))
    one.observe_daily(used=950, limit=1000)
    one.acquire()
    assert 40 <= two.remaining_today() <= 50
    assert one.remaining_today() == 49


def test_the_systems_own_limit_counts_where_none_is_set(journal, reporter):
    budget = journal.budget("hubspot", Limits(share=0.5), reporter=reporter)
    budget.observe_daily(used=100, limit=1000)
    assert budget.remaining_today() == 500


def test_a_system_that_says_nothing_is_left_stops_everyone_at_once(journal, clock, reporter):
    one, two = (journal.budget("hubspot", Limits(per_day=1000), reporter=reporter) for _ in range(2))
    resets = START + timedelta(hours=3)
    one.observe_daily(used=1000, limit=1000, resets_at=resets)
    with pytest.raises(QuotaExhausted) as spent:
        two.acquire()
    assert "2026-11-02 12:30 UTC" in spent.value.hint
    clock.at = resets
    two.acquire()


def test_observing_after_every_call_writes_nothing_by_itself(journal, clock, reporter):
    budget = journal.budget("hubspot", Limits(per_day=100_000), reporter=reporter)
    writes = 0
    inner = budget._store

    def counting(*arguments):
        nonlocal writes
        writes += 1
        inner(*arguments)

    budget._store = counting
    for used in range(300):
        budget.acquire()
        budget.observe_daily(used=used, limit=100_000)
    assert writes < 30


def test_a_clock_that_ran_ahead_does_not_block_for_ever(journal, journal_url, clock, reporter):
    ahead = VirtualClock(at=START + timedelta(days=400))
    with Journal.open(journal_url, clock=ahead, real_clock=ahead) as confused:
        draw(confused.budget("hubspot", Limits(per_10s=10, per_day=50, share=1), reporter=reporter), ahead, 10)
    budget = journal.budget("hubspot", Limits(per_10s=10, per_day=50, share=1), reporter=reporter)
    draw(budget, clock, 10)
    assert sum(clock.slept) < 80


# --- many at once -------------------------------------------------------------------------------------------------


def test_threads_share_one_object(journal, clock, reporter):
    budget = journal.budget("hubspot", Limits(per_10s=1000, share=1), reporter=reporter)
    threads = [Thread(target=lambda: [budget.acquire() for _ in range(100)]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.calls() == 500
    assert clock.slept == []


@pytest.mark.parametrize(("meter", "calls", "most", "seconds"), [("", 60, 40, 10.0), ("search", 12, 4, 1.0)])
def test_several_processes_together_never_exceed_one_allowance(journal_url, tmp_path, meter, calls, most, seconds):  # noqa: PLR0917
    time = tmp_path / "time"
    shared = SharedVirtualClock(time, tick_seconds=0.0)
    Journal.open(journal_url, clock=shared, real_clock=shared).close()
    processes = [spawn(DRAW, journal_url, str(time), str(calls), meter) for _ in range(3)]
    times = [float(line) for said in finish_all(processes) for line in said.split()]
    shared.close()
    assert len(times) == 3 * calls
    assert fullest_window(times, seconds) <= most
    assert fullest_window(times, seconds) >= most // 2

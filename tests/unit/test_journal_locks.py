"""The lock: one run at a time, a dead holder is passed, a living one never is."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import pytest
import sqlalchemy as sa

from connector.clock import SystemClock
from connector.errors import Locked
from connector.journal import Journal
from connector.journal.locks import Lock
from connector.journal.process import Process, this_process
from connector.journal.tables import locks
from tests.fakes.clocks import VirtualClock
from tests.fakes.databases import on_both  # noqa: F401 - the fixture `journal_url`
from tests.fakes.journals import expect, finish, finish_all, kill, spawn

HOLD = """
import sys
from connector.clock import SystemClock
from connector.journal import Journal
with Journal.open(sys.argv[1], clock=SystemClock()) as journal, journal.lock("run", ttl_seconds=float(sys.argv[2])) as lock:
    print("held", flush=True)
    sys.stdin.readline()
    lock.check()
print("released", flush=True)
"""

COUNT = """
import sys
from pathlib import Path
from connector.clock import SystemClock
from connector.errors import Locked
from connector.journal import Journal
shared = Path(sys.argv[2])
done = 0
with Journal.open(sys.argv[1], clock=SystemClock()) as journal:
    while done < 8:
        try:
            with journal.lock("run") as lock:
                before = int(shared.read_text())
                lock.check()
                shared.write_text(str(before + 1))
                done += 1
        except Locked:
            continue
"""


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def journal(journal_url, clock):
    with Journal.open(journal_url, clock=clock, real_clock=clock) as opened:
        yield opened


@pytest.fixture
def other(journal_url, clock):
    """A second process's view of the same journal, as far as the lock can tell."""
    with Journal.open(journal_url, clock=clock, real_clock=clock) as opened:
        yield opened


def on_another_host(journal):
    """Make the present holder look as if it ran elsewhere, where nobody can ask whether it lives."""
    with journal._database.write() as connection:
        connection.execute(sa.update(locks).values(host="db-2", place="db-2/boot/pid"))


def test_the_second_holder_is_told_who_holds_it_and_since_when(journal, other):
    with journal.lock("run"):
        with (
            pytest.raises(Locked, match=rf"process {os.getpid()} on .+ since 2026-11-02 09:30:00 UTC") as refused,
            other.lock("run"),
        ):
            pytest.fail("two processes held one lock")
        assert refused.value.exit_code == 7
        assert "winback status" in refused.value.hint
    with other.lock("run") as lock:
        lock.check()


def test_locks_of_other_names_do_not_meet(journal, other):
    with journal.lock("run"), other.lock("pull"):
        assert [holder.name for holder in journal.holders()] == ["pull", "run"]
    assert journal.holders() == ()


def test_an_error_inside_releases_the_lock(journal, other):
    with pytest.raises(RuntimeError, match="boom"), journal.lock("run"):
        raise RuntimeError("boom")
    with other.lock("run"):
        pass


def test_a_silent_holder_is_watched_for_one_beat_and_then_passed(journal, other, clock):
    with journal.lock("run", ttl_seconds=600) as lost:
        on_another_host(journal)
        clock.advance(601)
        with other.lock("run") as mine:
            assert clock.slept == [201.0]
            mine.check()
            with pytest.raises(Locked, match="this run lost the lock 'run'"):
                lost.check()
            assert not lost.beat()
        with pytest.raises(Locked, match="nobody has it now"):
            lost.check()


def test_a_holder_that_lost_its_lock_does_not_release_the_new_one(journal, other, clock):
    with other.lock("run", ttl_seconds=600):
        on_another_host(journal)
        clock.advance(601)
        late = Lock(journal._database, name="run", ttl_seconds=600)
        late.acquire()
    late.check()
    late.release()
    assert journal.holders() == ()


def test_a_holder_is_never_passed_before_its_time(journal, other, clock):
    with journal.lock("run", ttl_seconds=600) as lock:
        on_another_host(journal)
        clock.advance(599)
        with pytest.raises(Locked), other.lock("run"):
            pytest.fail("a living holder was passed")
        assert clock.slept == []
        lock.check()


def test_a_clock_that_jumps_ahead_does_not_cost_a_living_holder_its_lock(journal, journal_url, clock):
    class Beating(VirtualClock):
        """While the other process watches, the holder's heart beats as it would have."""

        def sleep(self, seconds):
            super().sleep(seconds)
            assert lock.beat()

    ahead = Beating(at=clock.at)
    ahead.advance(86_400)
    with journal.lock("run", ttl_seconds=600) as lock:
        on_another_host(journal)
        with Journal.open(journal_url, clock=ahead, real_clock=ahead) as confused:
            with pytest.raises(Locked), confused.lock("run"):
                pytest.fail("a living holder was passed")
            assert ahead.slept
        lock.check()


def test_a_holder_that_overslept_and_was_not_passed_goes_on(journal, other, clock):
    with journal.lock("run", ttl_seconds=600) as lock:
        on_another_host(journal)
        clock.advance(3600)
        lock.check()
        with pytest.raises(Locked), other.lock("run"):
            pytest.fail("a renewed lock was passed")


def test_the_heart_beats_while_the_lock_is_held(journal_url):
    with Journal.open(journal_url, clock=SystemClock()) as journal, journal.lock("run", ttl_seconds=0.06):
        clock, beats = SystemClock(), 0
        for _ in range(1000):
            beats = journal.holders()[0].beats
            if beats >= 3:
                break
            clock.sleep(0.02)
        assert beats >= 3


def test_a_killed_holder_is_passed_at_once(journal_url):
    process = spawn(HOLD, journal_url, "3600")
    expect(process, "held")
    kill(process)
    clock = VirtualClock()
    with Journal.open(journal_url, clock=clock, real_clock=clock) as journal:
        assert journal.holders()[0].process.pid == process.pid
        with journal.lock("run") as lock:
            lock.check()
    assert clock.slept == []


def test_a_living_process_keeps_its_lock_and_gives_it_back(journal_url):
    process = spawn(HOLD, journal_url, "60")
    expect(process, "held")
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        with pytest.raises(Locked, match=f"process {process.pid} "), journal.lock("run"):
            pytest.fail("two processes held one lock")
        process.stdin.write("\n")
        assert finish(process) == "released\n"
        with journal.lock("run"):
            pass


def test_a_process_that_was_frozen_notices_that_it_lost_its_lock(journal_url):
    process = spawn(HOLD, journal_url, "3600")
    expect(process, "held")
    process.send_signal(signal.SIGSTOP)
    later = VirtualClock(at=SystemClock().now() + timedelta(hours=2))
    with Journal.open(journal_url, clock=later, real_clock=later) as journal, journal.lock("run") as lock:
        assert later.slept == [1201.0]
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate("\n", timeout=60)
        assert process.returncode == 1
        assert "released" not in said
        lock.check()


def test_many_processes_never_hold_the_lock_together(journal_url, tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    Journal.open(journal_url, clock=SystemClock()).close()
    finish_all([spawn(COUNT, journal_url, str(counter)) for _ in range(3)])
    assert counter.read_text() == "24"


def test_a_process_is_recognised_by_more_than_its_number():
    me = this_process()
    assert not me.is_dead()
    assert Process(me.host, me.pid, me.place, started="1").is_dead() == bool(me.started)
    assert not Process("elsewhere", 1, "elsewhere/boot/pid", "1").is_dead()


def test_a_process_that_ended_is_dead():
    process = spawn("print('up', flush=True); input()")
    expect(process, "up")
    me = this_process()
    there = Process(me.host, process.pid, me.place, started="")
    assert not there.is_dead()
    kill(process)
    assert there.is_dead()

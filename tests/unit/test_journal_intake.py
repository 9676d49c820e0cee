"""The intake: many requests, few commits, and no request is told yes before its events are on disk."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from connector.clock import SystemClock
from connector.errors import StateError, TooBusy
from connector.journal import Intake, Journal
from tests.fakes.clocks import START
from tests.fakes.databases import on_both  # noqa: F401 - the fixture `journal_url`
from tests.fakes.inboxes import claim, event, keys, settle


@pytest.fixture
def journal(journal_url):
    with Journal.open(journal_url, clock=SystemClock()) as opened:
        yield opened


@pytest.fixture
def intake(journal):
    opened = Intake(journal.inbox, SystemClock())
    yield opened
    opened.close()


class Slow:
    """An inbox whose commits wait until they are let go."""

    def __init__(self) -> None:
        self.commits, self.begun, self.go = [], threading.Semaphore(0), threading.Semaphore(0)
        self.error: Exception | None = None

    def keep(self, events):
        self.begun.release()
        assert self.go.acquire(timeout=30)
        self.commits.append([one.key for one in events])
        if self.error is not None:
            raise self.error
        return [True for _ in events]

    def depth(self):
        return sum(map(len, self.commits))


def waiting(intake, number):
    """Wait until so many requests stand behind the commit that is under way."""
    with intake._changed:
        assert intake._changed.wait_for(lambda: len(intake._queue) == number, timeout=30)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(16) as opened:
        yield opened


def test_every_request_hears_of_its_own_events(intake, journal, pool):
    answers = list(pool.map(lambda n: intake.keep([event(f"{n}a"), event("shared"), event(f"{n}b")]), range(12)))
    assert [(first, last) for first, _, last in answers] == [(True, True)] * 12
    assert sum(shared for _, shared, _ in answers) == 1
    assert journal.inbox.depth() == 25
    assert intake.keep([]) == []


def test_what_was_answered_is_on_disk(intake, journal_url):
    intake.keep([event("a")])
    with Journal.open(journal_url, clock=SystemClock()) as other:
        assert keys(claim(other)) == ["a"]


def test_requests_that_come_during_a_commit_share_the_next(pool):
    inbox = Slow()
    intake = Intake(inbox, SystemClock())
    first = pool.submit(intake.keep, [event("first")])
    assert inbox.begun.acquire(timeout=30)
    others = [pool.submit(intake.keep, [event(str(number)), event(f"{number}+")]) for number in range(5)]
    waiting(intake, 5)
    inbox.go.release(2)
    assert first.result(30) == [True]
    assert [other.result(30) for other in others] == [[True, True]] * 5
    assert [len(commit) for commit in inbox.commits] == [1, 10]
    intake.close()


def test_nobody_is_answered_before_the_commit(pool):
    inbox = Slow()
    intake = Intake(inbox, SystemClock())
    request = pool.submit(intake.keep, [event("a")])
    assert inbox.begun.acquire(timeout=30)
    assert not request.done()
    inbox.go.release()
    assert request.result(30) == [True]
    intake.close()


def test_a_commit_that_fails_is_told_to_everybody_in_it_and_the_next_is_tried_afresh(pool):
    inbox = Slow()
    intake = Intake(inbox, SystemClock())
    inbox.error = StateError("journal: disk I/O error", hint="look at the disk")
    first = pool.submit(intake.keep, [event("first")])
    assert inbox.begun.acquire(timeout=30)
    others = [pool.submit(intake.keep, [event(str(number))]) for number in range(3)]
    waiting(intake, 3)
    inbox.go.release(2)
    errors = [request.exception(30) for request in [first, *others]]
    assert {(type(error), str(error), error.hint) for error in errors} == {
        (StateError, "journal: disk I/O error", "look at the disk")
    }
    assert len(set(map(id, errors))) == 4
    inbox.error = None
    inbox.go.release()
    assert intake.keep([event("after")]) == [True]
    intake.close()


def test_one_request_that_cannot_be_kept_does_not_take_the_others_along(intake, journal, pool):
    naive = replace(event("bad"), received_at=START.replace(tzinfo=None))
    requests = [pool.submit(intake.keep, [naive if number == 3 else event(str(number))]) for number in range(8)]
    errors = [request.exception(30) for request in requests]
    assert [number for number, error in enumerate(errors) if error is not None] == [3]
    assert isinstance(errors[3], ValueError | sa.exc.StatementError)
    assert journal.inbox.depth() == 7


def test_more_than_may_queue_is_turned_away_and_nothing_of_it_is_kept(pool):
    inbox = Slow()
    intake = Intake(inbox, SystemClock(), most_queued=4)
    first = pool.submit(intake.keep, [event("first")])
    assert inbox.begun.acquire(timeout=30)
    second = pool.submit(intake.keep, [event("a"), event("b")])
    waiting(intake, 1)
    with pytest.raises(TooBusy, match="3 events are waiting to be stored") as refused:
        intake.keep([event("c"), event("d")])
    assert refused.value.retry_after_seconds > 0
    inbox.go.release(9)
    assert first.result(30) + second.result(30) == [True] * 3
    assert intake.keep([event("c"), event("d")]) == [True, True]
    assert inbox.commits == [["first"], ["a", "b"], ["c", "d"]]
    intake.close()


def test_a_delivery_larger_than_the_queue_is_still_taken(intake, journal):
    large = Intake(journal.inbox, SystemClock(), most_queued=10)
    assert sum(large.keep([event(str(number)) for number in range(50)])) == 50
    large.close()


def test_when_too_many_wait_for_the_worker_no_more_are_taken(journal):
    from tests.fakes.clocks import VirtualClock

    clock = VirtualClock()
    intake = Intake(journal.inbox, clock, most_waiting=3)
    intake.keep([event("a"), event("b")])
    intake.keep([event("c")])
    with pytest.raises(TooBusy, match="3 events are waiting in the inbox") as refused:
        intake.keep([event("d")])
    assert "winback work" in str(refused.value.hint)
    settle(journal, claim(journal, 1)[0])
    clock.advance(2)
    assert intake.keep([event("d")]) == [True]
    intake.close()


def test_an_inbox_that_was_full_at_the_start_is_found_full_by_the_first_commit(journal):
    journal.inbox.keep([event(str(number)) for number in range(5)])
    intake = Intake(journal.inbox, SystemClock(), most_waiting=3)
    intake.keep([event("a")])
    with pytest.raises(TooBusy, match="6 events are waiting in the inbox"):
        intake.keep([event("b")])
    intake.close()


def test_a_count_that_fails_hinders_no_commit(journal, monkeypatch):
    def broken():
        raise StateError("journal: disk I/O error")

    monkeypatch.setattr(journal.inbox, "depth", broken)
    intake = Intake(journal.inbox, SystemClock(), most_waiting=3)
    assert intake.keep([event("a")]) == [True]
    intake.close()


def test_closing_keeps_what_was_taken_and_takes_no_more(pool):
    inbox = Slow()
    intake = Intake(inbox, SystemClock())
    first = pool.submit(intake.keep, [event("first")])
    assert inbox.begun.acquire(timeout=30)
    second = pool.submit(intake.keep, [event("second")])
    waiting(intake, 1)
    closing = pool.submit(intake.close)
    with intake._changed:
        assert intake._changed.wait_for(lambda: intake._closed, timeout=30)
    with pytest.raises(TooBusy, match="stopping"):
        intake.keep([event("third")])
    assert not closing.done()
    inbox.go.release(2)
    assert first.result(30) == second.result(30) == [True]
    closing.result(30)
    assert inbox.commits == [["first"], ["second"]]
    intake.close()


def test_an_intake_that_was_never_used_has_no_thread(journal):
    before = threading.active_count()
    intake = Intake(journal.inbox, SystemClock())
    assert threading.active_count() == before
    intake.close()

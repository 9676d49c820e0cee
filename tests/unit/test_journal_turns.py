"""Turns: whoever came first writes first, and a writer that never rests does not keep the others out."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from connector.clock import SystemClock
from connector.errors import StateError
from connector.journal import Journal
from connector.journal.turns import Turns
from tests.fakes.inboxes import event


def start(turns, name, order):
    """A thread that waits for its turn; returns once it does."""

    def take():
        with turns:
            order.append(name)

    before = len(turns._waiting)
    thread = threading.Thread(target=take)
    thread.start()
    while len(turns._waiting) == before and thread.is_alive():
        threading.Event().wait(0.001)
    return thread


def test_turns_are_taken_in_the_order_in_which_they_were_asked_for():
    turns, order = Turns(), []
    with turns:
        threads = [start(turns, number, order) for number in range(8)]
        assert order == []
    for thread in threads:
        thread.join(30)
    assert order == list(range(8))
    with turns:
        assert not turns._waiting


def test_who_writes_in_a_loop_lets_everybody_else_go_first():
    turns, order = Turns(), []
    turns.__enter__()
    threads = [start(turns, number, order) for number in range(3)]
    turns.__exit__(None, None, None)
    with turns:
        assert order == [0, 1, 2]
    for thread in threads:
        thread.join(30)


def test_a_thread_that_asks_twice_does_not_wait_for_itself():
    turns, order = Turns(), []
    with turns:
        with turns:
            thread = start(turns, "other", order)
        assert order == []
    thread.join(30)
    assert order == ["other"]


def test_a_turn_is_given_back_when_its_work_fails():
    turns = Turns()
    with pytest.raises(KeyError), turns:
        raise KeyError("work")
    order = []
    start(turns, "next", order).join(30)
    assert order == ["next"]


@pytest.mark.parametrize("handed", [False, True])
def test_an_interrupt_while_waiting_does_not_lose_the_turn(monkeypatch, handed):
    turns, order, made = Turns(), [], []

    class Interrupted:
        """A lock whose second acquiring is interrupted, perhaps just as it was given."""

        def __init__(self):
            self.asked = 0
            made.append(self)

        def acquire(self):
            self.asked += 1
            if self.asked == 2:
                if handed:
                    holder.__exit__(None, None, None)
                raise KeyboardInterrupt

        def release(self):
            pass

    holder = turns
    holder._holder, holder._depth = -5, 1
    monkeypatch.setattr("connector.journal.turns.threading.Lock", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        turns.__enter__()
    monkeypatch.undo()
    assert made and not turns._waiting
    if not handed:
        turns.__exit__(None, None, None)
    start(turns, "next", order).join(30)
    assert order == ["next"]


def test_a_free_moment_of_another_process_is_looked_for_often(tmp_path, monkeypatch):
    monkeypatch.setattr("connector.journal.engine.BUSY_SECONDS", 0.6)
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    with Journal.open(url, clock=SystemClock()) as journal, Journal.open(url, clock=SystemClock()) as other:
        asked = []
        with journal._database.read() as connection:
            connection.connection.driver_connection.set_trace_callback(asked.append)
        with other._database.write(), pytest.raises(StateError, match="locked"):
            journal.inbox.keep([event("a")])
        # Left to itself, SQLite waits inside one statement and looks ever more seldom.
        assert asked.count("BEGIN IMMEDIATE") > 30
        assert asked[-1] == "PRAGMA busy_timeout=30000"


def test_waiting_for_another_writer_ends_with_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr("connector.journal.engine.BUSY_SECONDS", 0.05)
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    with Journal.open(url, clock=SystemClock()) as journal, Journal.open(url, clock=SystemClock()) as other:
        with other._database.write() as held:
            held.execute(sa.text("DELETE FROM inbox"))
            with pytest.raises(StateError, match="locked") as refused:
                journal.inbox.keep([event("a")])
        assert "another process has been writing" in str(refused.value.hint)
        assert journal.inbox.keep([event("a")]) == [True]


class Interrupting:
    """A guard after whose leaving Ctrl-C arrives, once."""

    def __init__(self, *, before: bool) -> None:
        self.lock, self.before, self.armed = threading.Lock(), before, True

    def __enter__(self):
        if self.before and self.armed:
            self.armed = False
            raise KeyboardInterrupt
        self.lock.acquire()

    def __exit__(self, *_):
        self.lock.release()
        if not self.before and self.armed:
            self.armed = False
            raise KeyboardInterrupt


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("while_leaving", [True, False])
def test_ctrl_c_while_a_turn_is_taken_or_given_back_keeps_nobody_else_waiting(before, while_leaving):
    turns, order = Turns(), []
    if while_leaving:
        turns.__enter__()
    turns._guard = Interrupting(before=before)
    with pytest.raises(KeyboardInterrupt):
        turns.__exit__(None, None, None) if while_leaving else turns.__enter__()
    start(turns, "next", order).join(10)
    assert order == ["next"]

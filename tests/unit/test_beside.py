"""What another thread does meanwhile is waited for, told when it fails, and never left running."""

from __future__ import annotations

import threading
from itertools import count

import pytest

from connector.beside import aside


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("winback-aside")]


def test_all_that_was_read_is_handed_over_in_order():
    with aside() as other:
        first, second = other.read(iter(range(12_345))), other.find(lambda: "found")
        assert second() == "found"
        assert first() == list(range(12_345))
    assert not ours()


def test_an_answer_can_be_asked_for_after_the_block_and_again():
    with aside() as other:
        answers = [other.find(lambda n=number: n * n) for number in range(5)]
    assert [answer() for answer in answers] == [0, 1, 4, 9, 16]
    assert answers[4]() == 16


def test_what_goes_wrong_in_the_other_thread_is_raised_where_the_answer_is_asked_for():
    def broken():
        yield 1
        raise LookupError("the page is gone")

    with pytest.raises(LookupError, match="the page is gone"), aside() as other:
        other.read(broken())()
    assert not ours()


def test_an_interruption_ends_a_reading_without_an_end():
    begun = threading.Event()

    def endless():
        for number in count():
            begun.set()
            yield number

    later: list[None] = []

    def interrupted() -> None:
        with aside() as other:
            other.read(endless())
            other.find(lambda: later.append("done"))
            begun.wait()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not ours()
    assert not later

"""One batch on its way: who is to blame, and what is not known."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from connector.errors import OutcomeUnknown, RejectedError, RetriableError
from connector.model import Outcome, Receipt
from connector.plan.sending import TROUBLES_IN_A_ROW, send_batch

ROWS = [str(n) for n in range(100)]


def never(_rows):
    raise AssertionError("there was nothing to read back")


def written(rows):
    return [Receipt(row, Outcome.WRITTEN) for row in rows]


@given(st.integers(1, 300), st.sets(st.integers(0, 299), max_size=6))
def test_bad_rows_are_found_and_all_others_go_through(size: int, bad: set[int]):
    rows = [str(n) for n in range(size)]
    poison = {str(n) for n in bad if n < size}
    calls = []

    def send(part):
        calls.append(part)
        if poison.intersection(part):
            raise RejectedError("bad row", status=400)
        return written(part)

    answer = send_batch(rows, send, never, sleep=lambda _: None)
    if answer.refused is None:
        assert {row for row, r in answer.receipts.items() if r.outcome is Outcome.REJECTED} == poison
        assert {row for row, r in answer.receipts.items() if r.outcome is Outcome.WRITTEN} == set(rows) - poison
    else:
        # Only a batch that is nearly nothing but bad rows looks like a refused request.
        assert poison == set(rows)
    assert len(calls) <= 1 + 2 * len(poison) * (1 + math.ceil(math.log2(max(size, 2))))


def test_a_request_that_times_out_for_being_large_is_halved():
    def send(part):
        if len(part) > 30:
            raise OutcomeUnknown("no answer")
        return written(part)

    answer = send_batch(ROWS, send, never, sleep=lambda _: None)
    assert all(receipt.outcome is Outcome.WRITTEN for receipt in answer.receipts.values())
    assert len(answer.receipts) == 100


def test_rows_there_already_after_a_lost_answer_count_as_written():
    done: set[str] = set()

    def send(part):
        if not done:
            done.update(part)
            raise OutcomeUnknown("the answer was lost")
        return [Receipt(row, Outcome.UNCHANGED) for row in part]

    answer = send_batch(ROWS, send, never, sleep=lambda _: None)
    assert {receipt.outcome for receipt in answer.receipts.values()} == {Outcome.WRITTEN}


def test_a_server_error_on_one_row_is_that_rows_fault():
    def send(part):
        if "42" in part:
            raise RetriableError("internal error")
        return written(part)

    answer = send_batch(ROWS, send, never, sleep=lambda _: None)
    assert answer.stopped is None
    assert answer.receipts["42"].outcome is Outcome.REJECTED
    assert sum(receipt.outcome is Outcome.WRITTEN for receipt in answer.receipts.values()) == 99


def test_a_system_that_is_down_is_left_alone_and_told_from_what_never_left():
    calls, waits = [], []

    def send(part):
        calls.append(part)
        raise RetriableError("connection refused", retry_after_seconds=7)

    answer = send_batch(ROWS, send, never, sleep=waits.append)
    assert isinstance(answer.stopped, RetriableError)
    assert len(calls) == TROUBLES_IN_A_ROW
    assert set(waits) == {7}
    assert answer.receipts == {}


def test_rows_without_an_answer_stay_unknown_when_sending_stops():
    def send(_part):
        raise OutcomeUnknown("no answer")

    answer = send_batch(ROWS, send, never, sleep=lambda _: None)
    assert answer.stopped is not None
    assert {receipt.outcome for receipt in answer.receipts.values()} == {Outcome.UNKNOWN}
    assert len(answer.receipts) == 100


def test_an_answer_about_rows_nobody_asked_for_is_ignored():
    answer = send_batch(
        ["1"], lambda part: [*written(part), Receipt("2", Outcome.WRITTEN)], never, sleep=lambda _: None
    )
    assert set(answer.receipts) == {"1"}


def test_reading_back_decides_about_rows_that_no_answer_names():
    present = {"1": True, "2": False}
    answer = send_batch(["1", "2", "3"], lambda _: [], lambda _: present, sleep=lambda _: None)
    assert {row: receipt.outcome for row, receipt in answer.receipts.items()} == {
        "1": Outcome.WRITTEN,
        "2": Outcome.REJECTED,
        "3": Outcome.MISSING,
    }


def test_a_row_refused_after_a_lost_answer_is_read_back_before_it_is_blamed():
    answers = [OutcomeUnknown("no answer"), RejectedError("not allowed any more", status=400)]

    def send(_part):
        raise answers.pop(0)

    def outcome(present: bool) -> Receipt:
        answers[:] = [OutcomeUnknown("no answer"), RejectedError("not allowed any more", status=400)]
        return send_batch(["1"], send, lambda _: {"1": present}, sleep=lambda _: None).receipts["1"]

    assert outcome(present=True).outcome is Outcome.WRITTEN
    refused = outcome(present=False)
    assert (refused.outcome, refused.message, refused.code) == (Outcome.REJECTED, "not allowed any more", "400")


def test_a_row_that_a_lost_request_may_have_written_is_not_called_refused_when_the_system_goes_down():
    answers = [OutcomeUnknown("no answer"), RetriableError("connection refused")]

    def send(_part):
        raise answers.pop(0)

    receipts = send_batch(["1"], send, lambda _: {"1": True}, sleep=lambda _: None).receipts
    assert receipts["1"].outcome is Outcome.WRITTEN

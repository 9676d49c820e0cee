"""Feedback: a response counts once, its best version stands, and words go when they must."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from connector.journal import Answer, Feedback
from tests.fakes.clocks import START
from tests.fakes.inboxes import (  # noqa: F401 - fixtures
    DAY,
    MINUTE,
    each_database,
    live_clock,
    live_journal,
)

WHOLE = Answer(
    answer_key="typeform/1",
    contact_id="hubspot:1",
    at=START,
    source="typeform",
    reason="price",
    score=6.0,
    survey="exit",
    response="r1",
    text="Zu teuer, und die Suche ist langsam. \N{SNOWMAN}",
    choices=("c_price", "c_slow"),
    confidence=0.8,
    language="de",
)


def answer(**said):
    return replace(WHOLE, **said)


def test_an_answer_comes_back_as_it_was_given(journal):
    bare = Answer(answer_key="x", contact_id="hubspot:1", at=START + DAY, source="hubspot", reason="support")
    assert journal.feedback.record([WHOLE, bare]) == 2
    assert journal.feedback.of("hubspot:1") == [WHOLE, bare]
    assert journal.feedback.of("hubspot:2") == []


def test_whatever_order_the_versions_of_a_response_come_in_the_same_one_stands(journal):
    versions = [
        answer(answer_key="k1", complete=False, at=START + DAY, reason="support"),
        answer(answer_key="k2", complete=True, at=START, reason="price"),
        answer(answer_key="k3", complete=True, at=START + MINUTE, reason="quality"),
        answer(answer_key="k4", complete=True, at=START + MINUTE, reason="competitor"),
    ]
    for number, order in enumerate(permutations(versions)):
        for version in order:
            journal.feedback.record([replace(version, response=f"r{number}", contact_id=f"hubspot:{number}")])
        (stands,) = journal.feedback.of(f"hubspot:{number}")
        assert (stands.answer_key, stands.reason) == ("k4", "competitor")


def test_several_versions_in_one_go_leave_the_best(journal):
    partial = answer(complete=False, at=START + DAY, reason=None)
    assert journal.feedback.record([partial, WHOLE, partial]) == 2
    assert journal.feedback.record([WHOLE]) == 0
    assert journal.feedback.of("hubspot:1") == [WHOLE]


def test_the_same_response_of_another_source_is_another_answer(journal):
    other = answer(source="zigpoll", answer_key="zigpoll/1", at=START + DAY)
    assert journal.feedback.record([WHOLE, other]) == 2
    assert journal.feedback.latest() == {"hubspot:1": Feedback("price", 6.0, START + DAY, "zigpoll")}


def test_an_answer_without_a_response_stays_as_it_was_first_heard(journal):
    bare = Answer(answer_key="x", contact_id="hubspot:1", at=START, source="hubspot", reason="support")
    journal.feedback.record([bare])
    assert journal.feedback.record([replace(bare, at=START + DAY, reason="price")]) == 0
    assert journal.feedback.of("hubspot:1") == [bare]


def test_each_person_counts_for_the_last_reason_they_gave(journal):
    journal.feedback.record(
        [
            answer(response="1", reason="price"),
            answer(response="2", reason="quality", at=START + DAY),
            answer(response="3", reason=None, at=START + 2 * DAY),
            answer(response="4", reason="price", contact_id="hubspot:2"),
            answer(response="5", reason=None, contact_id="hubspot:3"),
        ]
    )
    assert journal.feedback.reasons() == {"quality": 1, "price": 1}
    assert journal.feedback.reasons(START + DAY) == {"quality": 1}
    assert journal.feedback.reasons(START + 2 * DAY) == {}


def test_words_go_and_reasons_stay(journal):
    journal.feedback.record([WHOLE, answer(response="r2", at=START + DAY)])
    assert journal.feedback.purge_texts(START + DAY) == 1
    assert journal.feedback.purge_texts(START + DAY) == 0
    assert [said.text for said in journal.feedback.of("hubspot:1")] == [None, WHOLE.text]
    assert journal.feedback.reasons() == {"price": 1}


def test_a_forgotten_person_has_said_nothing(journal):
    journal.feedback.record([WHOLE, answer(response="r2", contact_id="hubspot:2")])
    assert journal.feedback.forget("hubspot:1") == 1
    assert journal.feedback.of("hubspot:1") == []
    assert len(journal.feedback.of("hubspot:2")) == 1


@pytest.mark.parametrize("odd", ["NUL \x00", "half \ud83d"])
def test_words_no_database_keeps_are_kept_without_the_odd_letter(journal, odd):
    journal.feedback.record([answer(text=odd)])
    assert journal.feedback.of("hubspot:1")[0].text == f"{odd[:-1]}\ufffd"

"""What the demo's people do with their mail."""

from __future__ import annotations

from collections import Counter

import pytest

from connector.demo.answers import NOTHING, answer, draw

MAILS = [(f"{number}", "win-back: reminder") for number in range(40_000)]


@pytest.fixture(scope="module")
def told() -> list:
    return [answer(20, contact, mail) for contact, mail in MAILS]


def test_the_same_person_does_the_same_with_the_same_mail_and_another_seed_is_another_story():
    once = [answer(20, contact, mail) for contact, mail in MAILS[:500]]
    assert once == [answer(20, contact, mail) for contact, mail in reversed(MAILS[:500])][::-1]
    assert once != [answer(21, contact, mail) for contact, mail in MAILS[:500]]
    assert once != [answer(20, contact, "win-back: offer") for contact, _ in MAILS[:500]]


def test_mails_bring_back_about_as_many_as_a_decent_campaign_does(told):
    assert 0.012 < sum(a.returns for a in told) / len(told) < 0.02
    assert 0.04 < sum("click" in a.deeds for a in told) / len(told) < 0.055
    assert 0.5 < sum(a == NOTHING for a in told) / len(told) < 0.75


def test_everything_that_ends_a_sequence_happens_and_seldom(told):
    deeds = Counter(deed for a in told for deed in a.deeds)
    for what, most in {
        "bounce": 0.02, "complain": 0.001, "unsubscribe": 0.012, "reply": 0.012, "contacted": 0.006, "visit": 0.02,
    }.items():  # fmt: skip
        assert 0 < deeds[what] / len(told) <= most, what
    assert 0 < sum(a.buys for a in told) / len(told) < 0.01
    assert 0 < sum(a.snoozes > 0 for a in told) / len(told) < 0.01


def test_nobody_does_two_things_that_exclude_each_other(told):
    for one in set(told):
        assert not (one.returns and {"bounce", "unsubscribe", "complain"} & set(one.deeds))
        assert not (one.buys and one.returns)
        assert "bounce" not in one.deeds or one.deeds == ("bounce",)


def test_draws_are_even_and_differ_with_every_part_of_the_key():
    values = [draw(20, "x", number) for number in range(20_000)]
    assert min(values) >= 0 and max(values) < 1
    counts = Counter(int(value * 10) for value in values)
    assert all(1_800 < counts[tenth] < 2_200 for tenth in range(10))
    assert draw("a", "bc") != draw("ab", "c")

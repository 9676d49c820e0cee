"""Coupons, feedback, keys, links: each code given once, each answer counted once, each key made once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from connector.errors import StateError
from connector.journal import Answer, Coupon, CouponState, Feedback, Journal
from tests.fakes.clocks import START, VirtualClock
from tests.fakes.databases import on_both  # noqa: F401 - the fixture `journal_url`
from tests.fakes.episodes import enter, episode_of, step_of, take
from tests.fakes.journals import finish_all, spawn

DAY = timedelta(days=1)


@pytest.fixture
def journal(journal_url):
    with Journal.open(journal_url, clock=VirtualClock()) as opened:
        yield opened


def offered(journal, contact_id="hubspot:1", *, program="win-back", step="offer", at=START, run="run-1", **said):
    """An episode that was made an offer."""
    begun = episode_of(contact_id, program=program)
    enter(journal, begun)
    take(journal, step_of(begun, step, at=at, **{"offer": "gift", "cost": 10.0, "target": None, **said}), run=run)
    return begun


# --- codes --------------------------------------------------------------------------------------------------------


def test_codes_are_free_in_the_order_they_were_added(journal):
    assert journal.coupons.add("gift", ["B", "A", "C", "A"]) == 3
    assert journal.coupons.add("gift", ["C", "D"]) == 1
    assert journal.coupons.add("trial", ["E"]) == 1
    assert journal.coupons.add("trial", []) == 0
    assert journal.coupons.free("gift") == ["B", "A", "C", "D"]
    assert journal.coupons.free("gift", limit=2) == ["B", "A"]
    assert journal.coupons.free("nothing") == []
    assert journal.coupons.issued("A") is None


def test_a_code_belongs_to_one_offer(journal):
    journal.coupons.add("gift", ["A"])
    with pytest.raises(StateError, match="offer trial: one of its codes is kept for offer gift") as refused:
        journal.coupons.add("trial", ["B", "A"])
    assert "'A'" not in str(refused.value)
    assert journal.coupons.free("trial") == []


def test_a_step_takes_its_code_from_the_free_ones(journal):
    journal.coupons.add("gift", ["A", "B"])
    begun = offered(journal, code="A", expires_at=START + 30 * DAY)
    assert journal.coupons.free("gift") == ["B"]
    assert journal.coupons.issued("A") == Coupon(
        code="A",
        offer="gift",
        state=CouponState.ISSUED,
        cost=10.0,
        episode_id=begun.episode_id,
        step="offer",
        contact_id="hubspot:1",
        issued_at=START,
        expires_at=START + 30 * DAY,
        redeemed_at=None,
        redeemed_cost=None,
    )


def test_a_code_made_for_a_step_is_known_from_then_on(journal):
    offered(journal, code="MADE-1")
    assert journal.coupons.issued("MADE-1").state is CouponState.ISSUED
    assert journal.coupons.add("gift", ["MADE-1", "NEW"]) == 1
    assert journal.coupons.free("gift") == ["NEW"]


def test_a_code_is_never_given_to_two_people(journal):
    offered(journal, code="A")
    other = episode_of("hubspot:2")
    enter(journal, other)
    with pytest.raises(StateError, match=r"episode win-back/hubspot:2/2026-09-01: the code for offer gift") as refused:
        take(journal, step_of(other, "offer", offer="gift", code="A"))
    assert "winback plan" in str(refused.value.hint)
    both = [step_of(begun, "survey", offer="gift", code="B") for begun in (episode_of(), other)]
    with pytest.raises(StateError, match="not free any more"):
        take(journal, *both)
    assert journal.episodes.steps(other.episode_id) == []
    assert journal.coupons.issued("B") is None
    assert journal.coupons.issued("A").contact_id == "hubspot:1"


def test_a_code_of_another_offer_is_not_given(journal):
    journal.coupons.add("trial", ["A"])
    with pytest.raises(StateError, match="not free any more"):
        offered(journal, code="A")
    assert journal.coupons.free("trial") == ["A"]


def test_a_code_is_redeemed_once_and_only_by_who_has_it(journal):
    journal.coupons.add("gift", ["A", "B"])
    offered(journal, code="A")
    assert not journal.coupons.redeem("B", START)
    assert not journal.coupons.redeem("unheard of", START)
    assert journal.coupons.redeem("A", START + DAY, 7.5)
    assert not journal.coupons.redeem("A", START + 2 * DAY, 99.0)
    coupon = journal.coupons.issued("A")
    assert (coupon.state, coupon.redeemed_at, coupon.redeemed_cost) == (CouponState.REDEEMED, START + DAY, 7.5)


def test_a_code_lapses_after_its_last_moment_and_may_still_turn_out_used(journal):
    offered(journal, code="A", expires_at=START + DAY)
    offered(journal, "hubspot:2", code="B", expires_at=START + DAY)
    offered(journal, "hubspot:3", code="C")
    journal.coupons.redeem("B", START)
    assert journal.coupons.void_expired(START + DAY) == 0
    assert journal.coupons.void_expired(START + DAY + timedelta(seconds=1)) == 1
    assert [journal.coupons.issued(code).state for code in "ABC"] == ["void", "redeemed", "issued"]
    assert journal.coupons.spent(START) == 20.0
    assert journal.coupons.redeem("A", START)
    assert journal.coupons.spent(START) == 30.0
    assert journal.coupons.free("gift") == []


# --- what it costs ------------------------------------------------------------------------------------------------


def test_what_was_offered_counts_with_and_without_a_code(journal):
    offered(journal, code="A", cost=10.0)
    offered(journal, "hubspot:2", cost=4.0, offer="trial")
    offered(journal, "hubspot:3", cost=0.0, offer="none")
    offered(journal, "hubspot:2", program="renewal", cost=1.5, at=START + DAY)
    offered(journal, "hubspot:4", cost=100.0, at=START - DAY)
    assert journal.coupons.spent(START) == 15.5
    assert journal.coupons.spent(START, program="win-back") == 14.0
    assert journal.coupons.spent(START + DAY) == 1.5
    assert journal.coupons.spent(START + 2 * DAY) == 0.0
    assert journal.coupons.spent_on(None, START) == {"hubspot:1": 10.0, "hubspot:2": 5.5}
    assert journal.coupons.spent_on(["hubspot:2", "hubspot:9"], START) == {"hubspot:2": 5.5}
    assert journal.coupons.spent_on([], START) == {}


def test_what_a_redemption_really_cost_takes_the_place_of_the_estimate(journal):
    offered(journal, code="A", cost=10.0)
    offered(journal, "hubspot:2", code="B", cost=10.0)
    offered(journal, "hubspot:3", code="C", cost=0.0)
    journal.coupons.redeem("A", START, 2.5)
    journal.coupons.redeem("B", START)
    journal.coupons.redeem("C", START, 1.0)
    assert journal.coupons.spent(START) == 13.5
    assert journal.coupons.spent_on(None, START) == {"hubspot:1": 2.5, "hubspot:2": 10.0, "hubspot:3": 1.0}


def test_an_offer_that_was_skipped_or_taken_back_costs_nothing(journal):
    skipped, taken_back = episode_of(), episode_of("hubspot:2")
    enter(journal, skipped, taken_back)
    take(journal, step_of(skipped, "offer", "skipped", offer="gift", cost=10.0))
    take(journal, step_of(taken_back, "offer", offer="gift", cost=10.0, code="A"), run="run-2")
    assert journal.coupons.spent(START) == 10.0
    journal.episodes.undo("run-2", START)
    assert journal.coupons.spent(START) == 0.0
    assert journal.coupons.issued("A") is None


def test_undo_leaves_a_code_that_was_redeemed_alone(journal):
    journal.coupons.add("gift", ["A"])
    begun = episode_of()
    enter(journal, begun)
    take(journal, step_of(begun, "offer", offer="gift", code="A", cost=10.0), run="run-2")
    journal.coupons.redeem("A", START)
    journal.episodes.undo("run-2", START)
    assert journal.coupons.issued("A").state is CouponState.REDEEMED
    assert journal.coupons.free("gift") == []


# --- feedback -----------------------------------------------------------------------------------------------------


def answered(key, contact_id="hubspot:1", at=START, source="typeform", **said):
    return Answer(answer_key=key, contact_id=contact_id, at=at, source=source, **said)


def test_an_answer_counts_once(journal):
    assert journal.feedback.record([answered("a", reason="price"), answered("a", reason="other")]) == 1
    assert journal.feedback.record([answered("a"), answered("b", "hubspot:2", score=9.0)]) == 1
    assert journal.feedback.record([]) == 0
    assert journal.feedback.latest() == {
        "hubspot:1": Feedback("price", None, START, "typeform"),
        "hubspot:2": Feedback(None, 9.0, START, "typeform"),
    }


def test_the_last_reason_and_the_last_score_stand_together(journal):
    journal.feedback.record(
        [
            answered("3", at=START + 2 * DAY, score=0.5, source="zigpoll"),
            answered("1", at=START, reason="price", score=0.1),
            answered("2", at=START + DAY, reason="missing feature"),
        ]
    )
    assert journal.feedback.latest() == {"hubspot:1": Feedback("missing feature", 0.5, START + 2 * DAY, "zigpoll")}
    assert journal.feedback.latest(START + 2 * DAY) == {"hubspot:1": Feedback(None, 0.5, START + 2 * DAY, "zigpoll")}
    assert journal.feedback.latest(START + 3 * DAY) == {}


def test_answers_of_one_moment_stand_in_the_same_order_however_they_were_heard(journal):
    journal.feedback.record([answered("z", reason="last"), answered("a", reason="first")])
    assert journal.feedback.latest()["hubspot:1"].reason == "last"


def test_answers_follow_a_merge(journal):
    journal.feedback.record([answered("a", reason="price"), answered("b", "hubspot:2", at=START + DAY, score=3.0)])
    journal.episodes.rekey({"hubspot:1": "hubspot:2"})
    assert journal.feedback.latest() == {"hubspot:2": Feedback("price", 3.0, START + DAY, "typeform")}


# --- keys ---------------------------------------------------------------------------------------------------------


def test_a_key_is_made_once_and_is_no_others(journal, journal_url):
    key = journal.keys.get_or_make("links")
    assert len(key) == 32
    assert journal.keys.get_or_make("links") == key
    assert journal.keys.get_or_make("coupons") != key
    with Journal.open(journal_url, clock=VirtualClock()) as again:
        assert again.keys.get_or_make("links") == key


def test_processes_that_need_a_key_at_once_have_the_same(journal, journal_url):
    code = """
import hashlib, sys
from connector.clock import SystemClock
from connector.journal import Journal
with Journal.open(sys.argv[1], clock=SystemClock()) as journal:
    print(hashlib.sha256(journal.keys.get_or_make("links")).hexdigest())
"""
    assert len({said.strip() for said in finish_all([spawn(code, journal_url) for _ in range(4)])}) == 1


# --- links --------------------------------------------------------------------------------------------------------


def test_a_links_subject_stands_for_one_contact_and_follows_a_merge(journal):
    assert journal.links.remember({"s1": "hubspot:1", "s2": "hubspot:2"}) == 2
    assert journal.links.remember({"s1": "hubspot:9", "s3": "hubspot:3"}) == 1
    assert journal.links.remember({}) == 0
    assert [journal.links.contact(subject) for subject in ("s1", "s2", "s3", "s4")] == [
        "hubspot:1",
        "hubspot:2",
        "hubspot:3",
        None,
    ]
    assert journal.episodes.rekey({"hubspot:1": "hubspot:2"}) == 0
    assert journal.links.contact("s1") == "hubspot:2"

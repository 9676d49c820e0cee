"""Which rung is next, what the rails refuse, and what is set aside."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from connector.program.codes import DEFERRALS
from connector.program.model import HOLDOUT, Episode, Offer, OfferSettings, Program, StepSettings
from connector.program.offers import BUDGET, NO_CODE, NOTHING, OfferBook, Reserved, ladder_of
from connector.rules.conditions import parse

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
YEAR = timedelta(days=365)
TRIAL = Offer(name="trial", cost=20.0, expires=timedelta(days=14))
FEATURE = Offer(name="feature", cost=5.0, codes="codes.txt")
DISCOUNT = Offer(name="discount", cost=50.0, discount=True, codes="generate", expires=timedelta(days=7))
OFFERS = {offer.name: offer for offer in (TRIAL, FEATURE, DISCOUNT)}
LADDER = ("none", "trial", "feature", "discount")
CLIMB = StepSettings(name="offer", day=7, offer="ladder")
KEY = bytes(range(32))


def program_of(name: str = "win-back", **settings) -> Program:
    settings = {"offers": OFFERS, "ladder": LADDER} | settings
    return Program(
        name=name, enroll=("dormant_30",), steps=(CLIMB,), reactivated=parse("inactive_days = 0"),
        offers=OfferSettings(**settings),
    )  # fmt: skip


PROGRAM = program_of()


def episode(offer: str | None = None, **values) -> Episode:
    values = {"program": "win-back", "touches": 1, "exited_at": NOW} | values
    started = date(2026, 1, 1)
    return Episode(
        f"win-back/x:1/{started}", "x:1", values.pop("program"), started, NOW, "dormant_30", offer=offer, **values
    )


def proposed(
    *before: Episode, program=PROGRAM, step=CLIMB, chance=0.1, value=None, variant=None, segment="s", book=None
):
    return (book or OfferBook()).propose(
        program, step, contact_id="x:1", segment=segment, episodes=before, row={"value_365d": value},
        return_probability=chance, variant=variant,
    )  # fmt: skip


def reserved(book: OfferBook, proposal, *, contact="x:1", episode_id="e:1", step="offer", program=PROGRAM, at=NOW):
    return book.reserve(program, proposal, contact_id=contact, episode_id=episode_id, step=step, at=at)


# --- the ladder ---


def test_a_step_without_an_offer_offers_nothing_and_climbs_nothing():
    assert proposed(step=StepSettings(name="reminder", day=1)) == NOTHING


@pytest.mark.parametrize(
    ("made", "rung"),
    [
        ((), "none"),
        (("none",), "trial"),
        (("trial", "none"), "feature"),
        (("feature", "trial", "none"), "discount"),
        (("discount", "feature"), "discount"),
        (("trial", "discount"), "discount"),
    ],
)
def test_who_did_not_answer_is_offered_the_next_rung(made, rung):
    found = proposed(*(episode(offer) for offer in made))
    assert found.name == rung
    assert found.offer == OFFERS.get(rung)


def test_a_second_ladder_step_in_the_same_episode_climbs_on():
    assert proposed(episode("trial", exited_at=None)).name == "feature"


def test_what_was_answered_starts_the_ladder_again():
    assert proposed(episode(None, exited_at=None), episode("trial", answered=True), episode("none")).name == "none"


def test_a_click_in_the_running_episode_does_not_start_the_ladder_again():
    assert proposed(episode("trial", exited_at=None, answered=True)).name == "feature"


def test_held_out_episodes_and_other_programs_climbed_nothing():
    assert proposed(episode("trial", arm=HOLDOUT), episode("feature", program="renewal")).name == "none"


def test_a_rung_that_is_on_the_ladder_no_more_is_forgotten():
    assert proposed(episode("gone"), episode("none")).name == "trial"


def test_a_segment_has_its_own_ladder():
    program = program_of(ladders={"high_value": ("feature", "trial")})
    assert proposed(program=program, segment="high_value").name == "feature"
    assert proposed(program=program, segment="dormant_30").name == "none"


def test_why_is_told():
    assert proposed(episode("none")).why == "rung 2 of 4: trial"


# --- the rails ---


@pytest.mark.parametrize(("chance", "offered"), [(None, True), (0.49, True), (0.5, False), (0.9, False)])
def test_who_returns_anyway_is_offered_nothing(chance, offered):
    found = proposed(episode("none"), chance=chance)
    assert (found.offer is not None) is offered
    assert found.name == ("trial" if offered else None)
    assert offered or "0.50" in found.why


def test_a_discount_is_never_the_first_rung_even_when_the_playbook_says_so():
    program = program_of(ladder=("discount",))
    first = proposed(program=program)
    assert (first.name, first.offer) == ("none", None)
    assert proposed(episode("none"), program=program).offer == DISCOUNT
    assert ladder_of(program.offers, "any") == ("none", "discount")


def test_a_discount_by_name_is_never_the_first_thing_somebody_hears():
    step = StepSettings(name="offer", day=7, offer="discount")
    cold = proposed(episode(exited_at=None, touches=0), step=step)
    assert cold.offer is None and "never the first" in cold.why
    assert proposed(step=step).offer is None
    assert proposed(episode(exited_at=None, touches=1), step=step).offer == DISCOUNT
    assert proposed(episode(exited_at=None, touches=0), episode("none"), step=step).offer == DISCOUNT


@pytest.mark.parametrize(("value", "offer"), [(None, FEATURE), (99.99, FEATURE), (100.0, DISCOUNT), (5e3, DISCOUNT)])
def test_a_discount_is_for_those_worth_it_the_others_get_the_rung_below(value, offer):
    program = program_of(minimum_value=100.0)
    assert proposed(episode("feature"), program=program, value=value).offer == offer


def test_a_contact_is_offered_no_more_than_the_ceiling_in_a_period():
    program = program_of(per_contact=(60.0, YEAR))
    assert proposed(episode("feature"), program=program).offer == DISCOUNT
    some = OfferBook(spent_on={"win-back": {"x:1": 10.01}})
    assert proposed(episode("feature"), program=program, book=some).offer == FEATURE
    all_of_it = OfferBook(spent_on={"win-back": {"x:1": 60.0}})
    assert proposed(episode("feature"), program=program, book=all_of_it).offer is None
    elsewhere = OfferBook(spent_on={"win-back": {"x:2": 60.0}, "renewal": {"x:1": 60.0}})
    assert proposed(episode("feature"), program=program, book=elsewhere).offer == DISCOUNT


def test_what_is_offered_within_the_run_counts_against_the_ceiling():
    program = program_of(per_contact=(60.0, YEAR))
    book = OfferBook(key=KEY)
    assert isinstance(
        reserved(book, proposed(episode("feature"), program=program, book=book), program=program), Reserved
    )
    assert proposed(episode("feature"), program=program, book=book).offer == FEATURE


def test_an_offer_that_was_set_aside_does_not_stand_in_its_own_way():
    program, book = program_of(per_contact=(60.0, YEAR)), OfferBook(key=KEY)
    here = (episode("feature", exited_at=None),)
    first = proposed(*here, program=program, book=book)
    assert isinstance(reserved(book, first, episode_id=here[0].episode_id, program=program), Reserved)
    assert proposed(*here, program=program, book=book) == first
    later = StepSettings(name="last_chance", day=14, offer="ladder")
    assert proposed(*here, program=program, book=book, step=later).offer == FEATURE


def test_a_ceiling_below_every_rung_leaves_nothing_and_says_so():
    found = proposed(program=program_of(ladder=("trial",), per_contact=(1.0, YEAR)))
    assert (found.name, found.offer) == (None, None)
    assert found.why == "no trial: costs 20.00, and 1.00 may still be offered this contact"


def test_a_named_offer_that_the_rails_refuse_is_told():
    step = StepSettings(name="offer", day=7, offer="trial")
    assert proposed(step=step).offer == TRIAL
    found = proposed(step=step, program=program_of(per_contact=(1.0, YEAR)))
    assert found.offer is None and found.why.startswith("no trial: costs 20.00")


def test_a_variant_that_is_called_like_an_offer_makes_it():
    step = StepSettings(name="offer", day=7, variants={"trial": 0.5, "short_subject": 0.5})
    assert proposed(step=step, variant="trial").offer == TRIAL
    assert proposed(step=step, variant="short_subject") == NOTHING
    both = StepSettings(name="offer", day=7, offer="feature", variants={"trial": 0.5, "plain": 0.5})
    assert proposed(step=both, variant="plain").offer == FEATURE


def test_a_step_may_offer_nothing_by_name():
    assert proposed(step=StepSettings(name="offer", day=7, offer="none")) == NOTHING


def test_a_pause_on_the_ladder_is_a_rung_like_any_other():
    program = program_of(ladder=("trial", "none", "discount"))
    assert proposed(episode("trial"), program=program).name == "none"
    assert proposed(episode("none"), episode("trial"), program=program).offer == DISCOUNT


def test_an_offer_that_the_rails_refuse_is_neither_written_nor_remembered():
    step = StepSettings(name="offer", day=7, offer="discount")
    for chance, before in ((0.9, episode("trial")), (0.1, episode(touches=0))):
        found = proposed(before, step=step, chance=chance)
        assert (found.name, found.offer) == (None, None)
        assert reserved(OfferBook(key=KEY), found) == Reserved()


def test_a_ceiling_that_leaves_nothing_does_not_take_anybody_down_the_ladder():
    program, spent = program_of(per_contact=(60.0, YEAR)), OfferBook(spent_on={"win-back": {"x:1": 60.0}})
    found = proposed(episode("feature"), program=program, book=spent)
    assert (found.name, found.offer) == (None, None)
    assert found.why.startswith("rung 1 of 4: none; no discount: costs 50.00")


# --- setting aside ---


def test_no_offer_needs_nothing_set_aside_and_keeps_its_rung():
    assert reserved(OfferBook(), proposed()) == Reserved("none")
    assert reserved(OfferBook(), NOTHING) == Reserved()


def test_an_offer_ends_so_long_after_the_mail_may_go_out():
    got = reserved(OfferBook(), proposed(episode("none")), at=NOW + timedelta(hours=30))
    assert got == Reserved("trial", None, 20.0, NOW + timedelta(days=15, hours=6))


def test_an_offer_without_a_term_has_no_end():
    got = reserved(OfferBook(free={"feature": ["F1"]}), proposed(episode("trial")))
    assert got == Reserved("feature", "F1", 5.0, None)


def test_codes_of_a_file_are_given_out_once_each_in_order_until_none_is_left():
    book = OfferBook(free={"feature": ["F1", "F2"], "discount": ["D1"]})
    proposal = proposed(episode("trial"))
    got = [reserved(book, proposal, contact=f"x:{n}", episode_id=f"e:{n}") for n in range(3)]
    assert [getattr(one, "code", one) for one in got] == ["F1", "F2", NO_CODE]


def test_asked_again_for_the_same_step_nothing_more_is_taken():
    book = OfferBook(free={"feature": ["F1", "F2"]})
    proposal = proposed(episode("trial"))
    assert reserved(book, proposal) is reserved(book, proposal)
    assert reserved(book, proposal, step="last_chance").code == "F2"


def test_generated_codes_are_the_same_in_every_run_and_different_for_everybody():
    proposal = proposed(episode("feature"))
    one, again = (reserved(OfferBook(key=KEY), proposal) for _ in range(2))
    assert one == again
    assert reserved(OfferBook(key=KEY), proposal, episode_id="e:2").code != one.code


def test_the_budget_is_never_overdrawn_and_what_fits_still_goes():
    program = program_of(budget=(100.0, YEAR))
    book = OfferBook(key=KEY, spent={"win-back": 30.0, "renewal": 1e6}, free={"feature": [f"F{n}" for n in range(9)]})
    discount, feature = proposed(episode("feature"), program=program), proposed(episode("trial"), program=program)
    got = [reserved(book, discount, episode_id=f"e:{n}", program=program) for n in range(2)]
    assert [type(one) for one in got] == [Reserved, str] and got[1] == BUDGET
    got = [reserved(book, feature, episode_id=f"f:{n}", program=program) for n in range(5)]
    assert [one if isinstance(one, str) else one.cost for one in got] == [5.0, 5.0, 5.0, 5.0, BUDGET]


def test_a_budget_filled_to_the_cent_is_full_and_not_overdrawn():
    program = program_of(budget=(0.3, YEAR), offers={"gift": Offer(name="gift", cost=0.1)}, ladder=("gift",))
    book = OfferBook()
    got = [reserved(book, proposed(program=program), episode_id=f"e:{n}", program=program) for n in range(4)]
    assert [isinstance(one, Reserved) for one in got] == [True, True, True, False]


def test_what_costs_nothing_goes_when_the_budget_is_spent():
    program = program_of(budget=(1.0, YEAR), offers={"call": Offer(name="call")}, ladder=("call",))
    assert isinstance(
        reserved(OfferBook(spent={"win-back": 9.0}), proposed(program=program), program=program), Reserved
    )


def test_a_budget_refusal_takes_no_code():
    program = program_of(budget=(5.0, YEAR))
    book = OfferBook(spent={"win-back": 5.0}, free={"feature": ["F1"]})
    proposal = proposed(episode("trial"), program=program)
    assert reserved(book, proposal, program=program) == BUDGET
    assert reserved(book, proposal, program=PROGRAM).code == "F1"


def test_programs_spend_their_own_budgets():
    small, other = program_of(budget=(20.0, YEAR)), program_of("renewal", budget=(20.0, YEAR))
    book = OfferBook()
    trial = proposed(episode("none"))
    assert isinstance(reserved(book, trial, program=small), Reserved)
    assert isinstance(reserved(book, trial, episode_id="e:2", program=other), Reserved)
    assert reserved(book, trial, episode_id="e:3", program=small) == BUDGET


def test_the_reasons_to_wait_are_known_ones():
    assert {BUDGET, NO_CODE} <= set(DEFERRALS)


def test_the_key_is_not_shown():
    assert repr(KEY) not in repr(OfferBook(key=KEY))

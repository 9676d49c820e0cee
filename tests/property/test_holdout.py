"""The draw is uniform, keeps its word, and says nothing about anything else."""

from __future__ import annotations

from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from connector.program import holdout
from connector.program.model import HOLDOUT, HoldoutSettings, Split

MANY = [f"hubspot:{n}/2026-03-{n % 28 + 1:02}" for n in range(4_000)]
NEVER = 1e-9
"""Chance of one false alarm: so small that a failure is a fault, over all examples that will ever run."""

texts = st.text(min_size=1, max_size=12)
shares = st.floats(0, 1)


def split_of(salt: str, share: float = 0.2, unit: str = "contact") -> Split:
    return Split(share=share, unit=unit, salt=salt, eligible=1)


@settings(deadline=None, max_examples=30)
@given(texts)
def test_draws_are_spread_evenly_under_any_salt(salt):
    draws = [holdout.draw(salt, unit) for unit in MANY]
    assert all(0 <= u < 1 for u in draws)
    assert stats.kstest(draws, "uniform").pvalue > NEVER


@settings(deadline=None, max_examples=30)
@given(texts, st.floats(0.02, 0.98))
def test_the_held_out_are_about_as_many_as_planned(salt, share):
    held = sum(holdout.arm(split_of(salt, share), unit) == HOLDOUT for unit in MANY)
    assert stats.binomtest(held, len(MANY), share).pvalue > NEVER


@settings(deadline=None, max_examples=200)
@given(texts, texts, texts, shares, shares)
def test_a_larger_share_holds_out_everybody_a_smaller_one_does(salt, stratum, unit, one, other):
    small, large = sorted((one, other))
    if holdout.arm(split_of(salt, small), unit) == HOLDOUT:
        assert holdout.arm(split_of(salt, large), unit) == HOLDOUT


@settings(deadline=None, max_examples=20)
@given(texts, st.sampled_from(["offer", "feedback", "dormant_30"]))
def test_the_arm_and_each_steps_variant_are_independent(salt, step):
    split = split_of(salt, 0.5)
    halves = {"a": 0.5, "b": 0.5}
    table = {
        "arm": [holdout.arm(split, unit) == HOLDOUT for unit in MANY],
        "variant": [holdout.variant(step, halves, split, unit) == "a" for unit in MANY],
        "other step": [holdout.variant(f"{step}_2", halves, split, unit) == "a" for unit in MANY],
    }
    names = list(table)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            same = sum(x == y for x, y in zip(table[one], table[other], strict=True))
            assert stats.binomtest(same, len(MANY), 0.5).pvalue > NEVER, (one, other)


@settings(deadline=None, max_examples=30)
@given(texts, st.lists(st.floats(0.05, 1), min_size=2, max_size=5))
def test_variants_are_about_as_frequent_as_their_shares_say(salt, weights):
    shares = {f"v{n}": weight / sum(weights) for n, weight in enumerate(weights)}
    got = [holdout.variant("offer", shares, split_of(salt), unit) for unit in MANY]
    counted = [got.count(name) for name in shares]
    assert stats.chisquare(counted, [share * len(MANY) for share in shares.values()]).pvalue > NEVER


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 10**6), st.one_of(st.none(), st.floats(0, 50)), st.one_of(st.none(), shares),
    st.sampled_from(["auto", "contact", "account"]),
)  # fmt: skip
def test_a_split_is_always_a_proper_one_and_asks_nothing_of_chance(eligible, per_account, share, unit):
    block = HoldoutSettings(share=share, unit=unit)
    split = holdout.choose_split(block, eligible, per_account, "acme/win-back")
    assert split == holdout.choose_split(block, eligible, per_account, "acme/win-back")
    assert 0 <= split.share <= 1
    assert split.unit in ("contact", "account")


@settings(deadline=None, max_examples=100)
@given(texts, st.lists(st.tuples(texts, st.dates(date(2020, 1, 1), date(2030, 1, 1)), texts), min_size=2, max_size=8))
def test_everybody_of_an_account_is_in_one_arm_and_one_variant(account_id, colleagues):
    split = split_of("s", 0.5, "account")
    drawn = set()
    for contact_id, started, _ in colleagues:
        unit = holdout.unit_of(split, contact_id=contact_id, spell_started_on=started, account_id=account_id)
        drawn.add((holdout.arm(split, unit), holdout.variant("offer", {"a": 0.5, "b": 0.5}, split, unit)))
    assert len(drawn) == 1

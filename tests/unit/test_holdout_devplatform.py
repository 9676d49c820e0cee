"""A/A and A/B on real people: with nothing done to anybody the holdout finds nothing, and what is put in is found.

Contacts silent for 30 to 730 days at one date, and whether they were active in the 90 days after it, nobody having
written to them. Salts are the numbers from 0 on: nothing is picked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from statistics import NormalDist

import duckdb
import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from connector.program import holdout
from connector.program.model import HOLDOUT, Split
from tests.fakes.warehouse_feed import expected, shared

AS_OF = date(2026, 7, 23)
BANDS = ((60, "dormant_30"), (90, "dormant_60"), (180, "dormant_90"), (731, "cold"))
SALTS = 400
Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Silent:
    contact_id: str
    account_id: str | None
    started_on: date
    segment: str
    returned: bool


@cache
def people() -> tuple[Silent, ...]:
    events, contacts = shared("devplatform", "events.parquet"), shared("devplatform", "contacts.parquet")
    rows = duckdb.sql(
        f"WITH days AS (SELECT DISTINCT contact_id, occurred_at::DATE AS day FROM '{events}'), "
        f"last AS (SELECT contact_id, max(day) AS day FROM days WHERE day <= DATE '{AS_OF}' GROUP BY ALL) "
        f"SELECT contact_id, account_id, day, EXISTS (SELECT 1 FROM days WHERE days.contact_id = last.contact_id "
        f"AND days.day > DATE '{AS_OF}' AND days.day <= DATE '{AS_OF}' + 90) "
        f"FROM last JOIN '{contacts}' USING (contact_id) "
        f"WHERE DATE '{AS_OF}' - day BETWEEN 30 AND 730 ORDER BY contact_id"
    ).fetchall()
    return tuple(
        Silent(
            contact, account, day + timedelta(days=1), next(n for limit, n in BANDS if (AS_OF - day).days < limit), back
        )
        for contact, account, day, back in rows
    )


def split_of(salt: int, share: float = 0.2, unit: str = "contact") -> Split:
    return Split(share=share, unit=unit, salt=f"devplatform/{salt}", eligible=len(people()))


def held_out(split: Split, by: tuple[str, ...] = ("segment",)) -> np.ndarray:
    """Who is in the holdout, as the engine asks it."""
    arms = []
    for person in people():
        unit = holdout.unit_of(
            split, contact_id=person.contact_id, spell_started_on=person.started_on, account_id=person.account_id
        )
        arms.append(holdout.arm(split, unit) == HOLDOUT)
    return np.array(arms)


def returned() -> np.ndarray:
    return np.array([person.returned for person in people()])


def newcombe(k1: int, n1: int, k2: int, n2: int) -> tuple[float, float]:
    """The hybrid score interval of a difference of two rates (Newcombe 1998, method 10)."""
    (p1, low1, high1), (p2, low2, high2) = (wilson(k, n) for k, n in ((k1, n1), (k2, n2)))
    d = p1 - p2
    return d - math.hypot(p1 - low1, high2 - p2), d + math.hypot(high1 - p1, p2 - low2)


def wilson(k: int, n: int) -> tuple[float, float, float]:
    p, scale = k / n, 1 + Z**2 / n
    centre, half = (p + Z**2 / (2 * n)) / scale, Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n * n)) / scale
    return p, centre - half, centre + half


def lift(outcome: np.ndarray, held: np.ndarray) -> tuple[float, float]:
    """The interval of treated minus holdout."""
    return newcombe(int(outcome[~held].sum()), int((~held).sum()), int(outcome[held].sum()), int(held.sum()))


def excludes(interval: tuple[float, float], value: float) -> bool:
    return not interval[0] <= value <= interval[1]


def test_the_people_are_those_of_the_agreed_check():
    agreed = expected("devplatform_more.json")["holdout_checks"]
    assert len(people()) == agreed["contacts"]
    assert returned().mean() == pytest.approx(agreed["organic_return"], abs=1e-5)


def test_the_interval_here_is_the_one_others_compute():
    for counts in ((56, 70, 48, 80), (5, 56, 0, 29), (34, 590, 5, 142)):
        assert newcombe(*counts) == pytest.approx(confint_proportions_2indep(*counts, method="newcomb"), abs=1e-9)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_with_nothing_done_one_salt_in_twenty_sees_a_lift(share):
    outcome = returned()
    false = [excludes(lift(outcome, held_out(split_of(salt, share))), 0) for salt in range(SALTS)]
    assert 0.025 <= np.mean(false) <= 0.075


def test_with_nothing_done_two_variants_differ_for_one_salt_in_twenty():
    outcome, halves, false = returned(), {"a": 0.5, "b": 0.5}, []
    for salt in range(SALTS):
        split = split_of(salt)
        units = [f"{person.contact_id}/{person.started_on}" for person in people()]
        first = np.array([holdout.variant("offer", halves, split, unit) == "a" for unit in units])
        false.append(excludes(lift(outcome, first), 0))
    assert 0.025 <= np.mean(false) <= 0.075


def test_with_whole_accounts_drawn_one_salt_in_twenty_sees_a_lift_when_accounts_are_compared():
    units = sorted({person.account_id or person.contact_id for person in people()})
    number = {unit: place for place, unit in enumerate(units)}
    place = np.array([number[person.account_id or person.contact_id] for person in people()])
    size, back = np.bincount(place), np.bincount(place, weights=returned())
    false = []
    for salt in range(SALTS):
        held = held_out(split_of(salt, 0.5, "account"))
        drawn = np.zeros(len(units), dtype=bool)
        drawn[place[held]] = True
        assert not set(place[held]) & set(place[~held])
        rates, variances = zip(*(ratio(back[arm], size[arm]) for arm in (drawn, ~drawn)), strict=True)
        false.append(abs(rates[1] - rates[0]) > Z * math.sqrt(sum(variances)))
    assert 0.025 <= np.mean(false) <= 0.075


def ratio(y: np.ndarray, n: np.ndarray) -> tuple[float, float]:
    """A rate over accounts, with its variance by the delta method."""
    r = y.sum() / n.sum()
    (s_y, s_yn), (_, s_n) = np.cov(y, n)
    return float(r), float((s_y - 2 * r * s_yn + r**2 * s_n) / (len(y) * n.mean() ** 2))


def test_no_salt_gives_arms_whose_sizes_are_out_of_order():
    agreed = expected("devplatform_more.json")["holdout_checks"]["srm_false_alarm_001"]
    alarms = []
    for salt in range(SALTS):
        held = int(held_out(split_of(salt)).sum())
        plan = [0.2 * len(people()), 0.8 * len(people())]
        alarms.append(stats.chisquare([held, len(people()) - held], plan).pvalue < 0.001)
    assert np.mean(alarms) <= agreed + 0.005


def test_an_effect_that_is_put_in_is_covered_and_often_found():
    agreed = expected("devplatform_more.json")["holdout_checks"]
    organic, chance = returned(), np.random.default_rng(20260723)
    truth = 0.05 * (1 - organic.mean())
    covered, found = [], []
    for salt in range(SALTS):
        held = held_out(split_of(salt))
        outcome = organic | (~held & (chance.random(len(organic)) < 0.05))
        interval = lift(outcome, held)
        covered.append(not excludes(interval, truth))
        found.append(interval[0] > 0)
    assert 0.925 <= np.mean(covered) <= 0.975
    assert np.mean(found) == pytest.approx(agreed["detected"], abs=0.08)


def test_a_salt_draws_the_same_people_whenever_and_in_whatever_order_it_is_asked():
    split = split_of(7)
    first = held_out(split)
    again = [holdout.arm(split, f"{person.contact_id}/{person.started_on}") == HOLDOUT for person in reversed(people())]
    assert again[::-1] == first.tolist()


def test_those_drawn_are_like_those_not_drawn_in_what_was_known_before():
    silent = np.array([(AS_OF - person.started_on).days for person in people()])
    apart = []
    for salt in range(SALTS):
        held = held_out(split_of(salt))
        apart.append(stats.ttest_ind(silent[held], silent[~held], equal_var=False).pvalue < 0.05)
    assert 0.025 <= np.mean(apart) <= 0.075

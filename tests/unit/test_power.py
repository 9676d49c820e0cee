"""Planning numbers against the agreed answers, published examples and statsmodels; and what cannot be planned."""

from __future__ import annotations

import math
from datetime import date, timedelta

import pytest
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import power_proportions_2indep

from connector.program import power
from tests.fakes.warehouse_feed import expected

TODAY = date(2026, 3, 1)
WINDOW = timedelta(days=90)


def test_the_planned_numbers_equal_the_agreed_answers():
    for row in expected("planning.json")["planning"]:
        increase = row["base"] * row["rel_lift"]
        halves, tenth = power.needed(row["base"], increase, 0.5), power.needed(row["base"], increase, 0.1)
        assert halves is not None and halves.holdout == row["n_per_arm_5050"]
        assert tenth is not None and tenth.holdout == row["holdout_at_10pct"]
        assert tenth.total == row["total_at_10pct"]


def test_the_smallest_detectable_lifts_equal_the_agreed_answers():
    for row in expected("planning.json")["mde"]:
        eligible = row["treated"] + row["holdout"]
        found = power.detectable(row["base"], eligible, row["holdout"] / eligible)
        assert found == pytest.approx(row["mde_abs"], rel=1e-6)


SIZES = (500, 1_000, 2_000, 5_000, 10_000, 50_000)
POINTS = {
    0.05: {0.5: (7.0, 4.6, 3.1, 1.9, 1.3, 0.6), 0.3: (8.0, 5.2, 3.5, 2.1, 1.4, 0.6),
           0.2: (9.7, 6.3, 4.1, 2.4, 1.7, 0.7), 0.1: (14.2, 9.1, 5.9, 3.4, 2.3, 1.0)},
    0.10: {0.5: (8.8, 5.9, 4.1, 2.5, 1.7, 0.8), 0.3: (9.9, 6.7, 4.5, 2.8, 1.9, 0.8),
           0.2: (11.7, 7.8, 5.3, 3.2, 2.2, 1.0), 0.1: (16.6, 11.0, 7.4, 4.4, 3.0, 1.3)},
}  # fmt: skip


@pytest.mark.parametrize("base", POINTS)
def test_the_table_of_smallest_detectable_increases_is_reproduced(base):
    for share, points in POINTS[base].items():
        found = [100 * power.detectable(base, eligible, share) for eligible in SIZES]
        assert [round(value, 1) for value in found] == list(points)


@pytest.mark.parametrize(("wanted_power", "n"), [(0.9, 76.7), (0.7401659, 50)])
def test_published_sample_sizes_are_reproduced(wanted_power, n):
    found = power.needed(0.5, 0.25, 0.5, power=wanted_power)  # R's manual, power.prop.test
    assert found is not None and 0 <= found.holdout - n <= 1


@pytest.mark.parametrize("base", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("eligible", [2_000, 40_000])
def test_at_the_detectable_lift_an_independent_calculation_finds_the_promised_power(base, share, eligible):
    lift = power.detectable(base, eligible, share)
    assert lift is not None
    found = power_proportions_2indep(
        lift, base, nobs1=eligible * (1 - share), ratio=share / (1 - share), alpha=0.05, alternative="two-sided"
    )
    assert found.power == pytest.approx(0.8, abs=0.02)  # it pools the variance in a slightly different way


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_for_a_small_lift_the_effect_size_way_of_planning_agrees(share):
    lift = power.detectable(0.3, 200_000, share)
    assert lift is not None
    spread = math.sqrt((0.3 + lift / 2) * (0.7 - lift / 2))
    found = NormalIndPower().power(lift / spread, nobs1=200_000 * share, alpha=0.05, ratio=(1 - share) / share)
    assert found == pytest.approx(0.8, abs=0.005)


@pytest.mark.parametrize(
    ("base", "eligible", "share"),
    [(0.1, 0, 0.2), (0.0, 4, 0.9), (0.0, 4, 0.1), (0.1, 1, 0.5), (0.1, 3, 0.2), (0.1, 1_000, 0.0), (0.1, 1_000, 1.0), (1.0, 1_000, 0.2), (0.9, 20, 0.5),
     (-0.1, 1_000, 0.2), (1.1, 1_000, 0.2)],
)  # fmt: skip
def test_what_no_lift_could_show_is_said_to_show_none(base, eligible, share):
    assert power.detectable(base, eligible, share) is None


@pytest.mark.parametrize(
    ("base", "increase", "share"), [(0.1, 0, 0.2), (0.1, -0.1, 0.2), (0.9, 0.2, 0.2), (0.1, 0.1, 0)]
)
def test_what_no_number_of_contacts_could_show_needs_no_number(base, increase, share):
    assert power.needed(base, increase, share) is None


def test_nobody_returning_by_themselves_is_still_a_plan():
    found = power.detectable(0.0, 10_000, 0.2)
    assert found is not None and 0 < found < 0.01


def test_where_accounts_are_drawn_the_worst_case_counts_accounts():
    assert power.detectable(0.1, 4_000, 0.2, contacts_per_unit=2.0) == power.detectable(0.1, 2_000, 0.2)
    one, crowded = power.needed(0.1, 0.05, 0.2), power.needed(0.1, 0.05, 0.2, contacts_per_unit=3.0)
    assert one is not None and crowded is not None
    assert crowded.holdout == pytest.approx(3 * one.holdout, abs=3)


def test_fewer_than_one_contact_an_account_changes_nothing():
    assert power.detectable(0.1, 4_000, 0.2, contacts_per_unit=0.0) == power.detectable(0.1, 4_000, 0.2)


@pytest.mark.parametrize(
    ("total", "entered", "per_day", "on"),
    [
        (1_000, 0, 100, date(2026, 3, 11) + WINDOW),
        (1_000, 0, 300, date(2026, 3, 5) + WINDOW),
        (1_000, 950, 100, date(2026, 3, 2) + WINDOW),
        (1_000, 1_000, 0, TODAY + WINDOW),
        (1_000, 5_000, 100, TODAY + WINDOW),
        (1_000, 999, 0, None),
        (10**9, 0, 0.5, None),
    ],
)
def test_a_plan_is_mature_when_the_last_one_needed_has_had_the_whole_window(total, entered, per_day, on):
    assert power.when(total, entered=entered, per_day=per_day, today=TODAY, outcome_window=WINDOW) == on

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.program.health import judge
from connector.program.model import HealthSettings

GATE = HealthSettings()


@pytest.mark.parametrize(
    ("counts", "paused", "warned"),
    [
        ({"sent": 10_000, "delivered": 10_000, "spam": 9}, False, False),
        ({"sent": 10_000, "delivered": 10_000, "spam": 10}, True, False),  # 0.1 %
        ({"sent": 10_000, "delivered": 9_999, "spam": 10}, True, False),
        ({"sent": 10_100, "delivered": 10_001, "spam": 10}, False, False),
        ({"sent": 1_000, "delivered": 981, "bounce": 19}, False, False),
        ({"sent": 1_000, "delivered": 980, "bounce": 20}, False, True),  # 2 %
        ({"sent": 1_000, "delivered": 951, "bounce": 49}, False, True),
        ({"sent": 1_000, "delivered": 950, "bounce": 50}, True, False),  # 5 %
        ({"sent": 1_000, "delivered": 1_000, "unsubscribe": 49}, False, False),
        ({"sent": 1_000, "delivered": 1_000, "unsubscribe": 50}, True, False),  # 5 %
        ({"sent": 199, "delivered": 100, "spam": 50, "bounce": 99, "unsubscribe": 50}, False, False),
        ({"sent": 200, "delivered": 200, "unsubscribe": 9}, False, False),
        ({"sent": 200, "delivered": 200, "unsubscribe": 10}, True, False),
        ({"sent": 200, "bounce": 200}, True, False),
        ({"sent": 200, "bounce": 200, "spam": 1}, True, False),
        ({}, False, False),
    ],
)
def test_a_program_pauses_at_its_limits_and_not_before(counts, paused, warned):
    health = judge(counts, GATE)
    assert (health.paused, bool(health.warnings)) == (paused, warned)
    assert bool(health.why) == paused


def test_too_few_mails_judge_nothing_but_are_shown():
    health = judge({"sent": 199, "delivered": 199, "unsubscribe": 100}, GATE)
    assert not health.judged
    assert health.figures["unsubscribe"] == pytest.approx(100 / 199)
    assert judge({"sent": 200, "delivered": 200}, GATE).judged


def test_every_limit_that_is_reached_is_named_with_its_figures():
    health = judge({"sent": 1_000, "delivered": 900, "bounce": 100, "spam": 9, "unsubscribe": 45}, GATE)
    assert health.why == (
        "9 spam reports in 900 mails of the last 30 days (1.00%); the limit is 0.1%",
        "100 hard bounces in 1,000 mails of the last 30 days (10.00%); the limit is 5%",
        "45 unsubscribes in 900 mails of the last 30 days (5.00%); the limit is 5%",
    )


def test_where_no_deliveries_are_reported_they_are_the_mails_sent_less_the_bounced():
    assert judge({"sent": 1_000, "bounce": 10, "unsubscribe": 49}, GATE).figures["unsubscribe"] == 49 / 990


def test_where_no_sends_are_reported_they_are_the_delivered_and_the_bounced():
    health = judge({"delivered": 950, "bounce": 50}, GATE)
    assert (health.sent, health.paused) == (1_000, True)


def test_mail_that_all_bounced_is_no_division_by_nothing():
    assert [line.split()[1] for line in judge({"sent": 200, "bounce": 200}, GATE).why] == ["hard"]
    health = judge({"sent": 200, "bounce": 200, "spam": 1}, GATE)
    assert health.figures == {"bounce": 1.0}
    assert any("100%" in line for line in health.why)


@pytest.mark.parametrize("thousandths", range(1, 100))
def test_a_share_that_equals_its_limit_has_reached_it_whatever_binary_fractions_make_of_it(thousandths):
    gate = HealthSettings(sample=1, unsubscribe=thousandths / 1000)
    assert judge({"sent": 3_000, "delivered": 3_000, "unsubscribe": 3 * thousandths}, gate).paused
    assert not judge({"sent": 3_000, "delivered": 3_000, "unsubscribe": 3 * thousandths - 1}, gate).paused


@settings(deadline=None, max_examples=200)
@given(
    counts=st.fixed_dictionaries(
        {name: st.integers(0, 2_000) for name in ("sent", "delivered", "bounce", "spam", "unsubscribe")}
    ),
    what=st.sampled_from(["spam", "unsubscribe"]),
    more=st.integers(0, 500),
)
def test_another_complaint_never_wakes_a_paused_program(counts, what, more):
    if judge(counts, GATE).paused:
        assert judge({**counts, what: counts[what] + more}, GATE).paused

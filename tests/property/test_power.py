"""More contacts, more to be seen; and what is needed for a lift is what makes it detectable."""

from __future__ import annotations

import math

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from connector.program import power

bases = st.floats(0, 0.95)
shares = st.floats(0.05, 0.95)
sizes = st.integers(2, 10**6)


@settings(deadline=None, max_examples=150)
@given(bases, sizes, shares)
def test_an_answer_is_a_lift_that_is_possible_or_none(base, eligible, share):
    found = power.detectable(base, eligible, share)
    assert found is None or (0 < found <= 1 - base and math.isfinite(found))


@settings(deadline=None, max_examples=150)
@given(bases, sizes, sizes, shares)
def test_more_contacts_never_see_less(base, one, other, share):
    small, large = (power.detectable(base, size, share) for size in sorted((one, other)))
    if small is not None:
        assert large is not None
        assert large <= small


@settings(deadline=None, max_examples=150)
@given(bases, st.floats(0.005, 0.5), shares)
def test_what_is_needed_for_a_lift_makes_just_that_lift_detectable(base, increase, share):
    assume(base + increase <= 1)
    plan = power.needed(base, increase, share)
    assert plan is not None
    assume(plan.holdout > 20 and plan.treated > 20)
    found = power.detectable(base, plan.total, share)
    assert found is not None
    assert found <= increase * (1 + 1e-9)
    assert found >= increase * 0.9


@settings(deadline=None, max_examples=150)
@given(bases, st.floats(0.005, 0.5), st.floats(0.005, 0.5), shares)
def test_a_larger_lift_never_needs_more_contacts(base, one, other, share):
    small, large = sorted((one, other))
    assume(base + large <= 1)
    more, fewer = power.needed(base, small, share), power.needed(base, large, share)
    assert more is not None and fewer is not None
    assert fewer.holdout <= more.holdout

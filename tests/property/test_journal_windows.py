"""However calls arrive and whenever permits are used, no window holds more calls than it allows."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.journal.windows import Allowance, Granted, Meter, Spent, Wait

START = 1_790_000_000.0

requests = st.lists(
    st.tuples(
        st.floats(0, 1, allow_nan=False),  # the part of a wait, or of half a second, that passes before
        st.integers(1, 8),  # permits wanted
        st.sampled_from([0.0, 0.0, 0.3, 2.0]),  # how long the taker's journal takes
        st.integers(0, 3),  # permits given back unused
    ),
    min_size=20,
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(requests=requests, calls=st.integers(1, 12), seconds=st.sampled_from([1.0, 10.0]))
def test_no_span_of_the_windows_length_can_ever_hold_too_many_calls(requests, calls, seconds):
    meter = Meter(calls, seconds)
    allowance = Allowance()
    now, pause, leases = START, 0.0, []
    for part, want, life, unused in requests:
        now += pause * part
        allowance = Allowance.load(json.loads(json.dumps(allowance.dump())))
        answer = allowance.take("", meter, want=want, now=now, life=life, left_today=None)
        if isinstance(answer, Wait):
            assert answer.seconds > 0
            pause = answer.seconds
            continue
        assert isinstance(answer, Granted)
        assert 1 <= answer.permits <= want
        assert answer.until >= now + max(life, meter.lease_seconds)
        pause = 0.5
        returned = min(unused, answer.permits)
        allowance.window("").give_back(answer.until, returned)
        leases.append((now, answer.until, answer.permits - returned))
    # The worst the takers can do: old permits used as late, new ones as early as their lives allow.
    for newest, _, _ in leases:
        together = [permits for begin, until, permits in leases if begin <= newest and until > newest - seconds]
        assert sum(together) <= calls


@settings(max_examples=100, deadline=None)
@given(calls=st.integers(1, 20), want=st.integers(1, 8), seconds=st.sampled_from([1.0, 10.0]))
def test_waiting_as_long_as_told_is_always_enough(calls, want, seconds):
    meter = Meter(calls, seconds)
    allowance = Allowance()
    now = START
    for _ in range(30):
        answer = allowance.take("", meter, want=want, now=now, life=0, left_today=None)
        if isinstance(answer, Wait):
            assert answer.seconds <= seconds + 2 * meter.lease_seconds + 0.01
            now += answer.seconds
            answer = allowance.take("", meter, want=want, now=now, life=0, left_today=None)
        assert isinstance(answer, Granted)


@settings(max_examples=100, deadline=None)
@given(
    takes=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), max_size=40),
    per_day=st.integers(1, 100),
    share=st.floats(0.1, 1),
    others=st.none() | st.integers(0, 120),
)
def test_a_day_never_holds_more_than_our_share_nor_more_than_everyones_limit(takes, per_day, share, others):
    allowance = Allowance()
    allowance.day.settle(START, START + 3600)
    if others is not None:
        allowance.day.seen_used, allowance.day.seen_limit = others, per_day
    used = 0
    for want, unused in takes:
        left = allowance.day.left(per_day, share)
        answer = allowance.take("", Meter(None, 10.0), want=want, now=START, life=0, left_today=left)
        if isinstance(answer, Spent):
            assert answer.resets_at == START + 3600
            break
        returned = min(unused, answer.permits)
        allowance.day.used -= returned
        used += answer.permits - returned
    assert used <= per_day * share
    assert used + (others or 0) <= max(per_day, others or 0)

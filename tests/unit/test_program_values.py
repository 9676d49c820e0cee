from __future__ import annotations

from datetime import date, time, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from connector.settings.program_values import Count, Country, Days, Money, Pause, ShareOrAuto, Window, Workflow

SPANS = st.integers(1, 500).map(timedelta) | st.integers(1, 900).map(lambda hours: timedelta(hours=hours))
TIMES = st.builds(time, st.integers(0, 23), st.integers(0, 59))


def read(kind, value):
    return TypeAdapter(kind).validate_python(value)


def written(kind, value):
    return TypeAdapter(kind).dump_python(value)


ROUND_TRIPS = {
    Count: st.tuples(st.integers(1, 999), SPANS),
    Money: st.tuples(st.integers(0, 10**9).map(lambda cents: cents / 100), SPANS),
    ShareOrAuto: st.none() | st.floats(0, 1),
    Window: st.tuples(TIMES, TIMES).filter(lambda pair: pair[0] < pair[1]),
    Days: st.frozensets(st.integers(0, 6), min_size=1),
    Pause: st.tuples(st.dates(), st.dates()).map(lambda pair: tuple(sorted(pair))),
}


@pytest.mark.parametrize("kind", ROUND_TRIPS, ids=["count", "money", "share", "window", "days", "pause"])
def test_what_is_shown_can_be_written_back(kind):
    @examples(deadline=None, max_examples=60)
    @given(ROUND_TRIPS[kind])
    def check(value):
        assert read(kind, written(kind, value)) == value

    check()


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Count, "4 in 30d", (4, timedelta(days=30))),
        (Count, " 1  in 1d 12h ", (1, timedelta(hours=36))),
        (Money, "99.95 in 7d", (99.95, timedelta(days=7))),
        (Money, "0 in 7d", (0.0, timedelta(days=7))),
        (ShareOrAuto, "auto", None),
        (ShareOrAuto, "12.5%", 0.125),
        (Window, "08:00 - 23:59", (time(8), time(23, 59))),
        (Days, "Business", frozenset(range(5))),
        (Days, "all", frozenset(range(7))),
        (Days, "sun", frozenset({6})),
        (Days, ["sat", "SUN", "sat"], frozenset({5, 6})),
        (Pause, "2028-02-29", (date(2028, 2, 29), date(2028, 2, 29))),
        (Workflow, 12345, "12345"),
        (Workflow, "a-b", "a-b"),
        (Country, " de ", "DE"),
    ],
)
def test_values_are_read_as_a_person_means_them(kind, text, value):
    assert read(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (Count, "4.5 in 30d", "is not a number of touches in a time"),
        (Count, "-4 in 30d", "is not so much in a time"),
        (Count, "4 per 30d", "is not so much in a time"),
        (Count, 4, "is not so much in a time"),
        (Count, "4 in 30", "is not a duration"),
        (Money, "1e9 in 30d", "is not so much in a time"),
        (Money, "1.234 in 30d", "is not so much in a time"),
        (Money, "5 in 9999d", "is longer than ten years"),
        (ShareOrAuto, "Auto", "or auto"),
        (ShareOrAuto, True, "or auto"),
        (Window, "09:00-09:00", "ends before it begins"),
        (Window, "24:00-25:00", "is not a part of a day"),
        (Window, "\uff19:00-17:00", "is not a part of a day"),
        (Window, True, "is not a part of a day"),
        (Days, "weekend", "is not a day of the week"),
        (Days, ["mon", "Tuesday"], "did you mean tue?"),
        (Days, [0], "is not a day of the week"),
        (Days, [True], "is not a day of the week"),
        (Pause, "2026-02-30", "is not a pause"),
        (Pause, "2026-01-01...2026-01-02", "is not a pause"),
        (Pause, "2026-01-02..2026-01-01", "ends before it begins"),
        (Workflow, True, "valid string"),
        (Country, "Germany", "did you mean DE?"),
        (Country, "XX", "write its two letters"),
        (Country, "", "write its two letters"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(kind, value, message):
    with pytest.raises(ValidationError, match=message.replace("?", r"\?")):
        read(kind, value)

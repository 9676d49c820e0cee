"""Random conditions for property tests, as a person could have written them."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import strategies as st

from connector.rules.columns import COLUMNS, Kind
from tests.fakes.features import TEXTS

BY_KIND = {kind: sorted(name for name, column in COLUMNS.items() if column.kind is kind) for kind in Kind}
SOME = {
    Kind.NUMBER: [
        "inactive_days",
        "active_days_28",
        "gap_p90_days",
        "monetary_quintile",
        "lifetime_value",
        "accounts.mrr",
    ],
    Kind.TEXT: ["role", "plan_tier", "accounts.name", "lifecycle"],
    Kind.BOOLEAN: ["opted_out", "can_email"],
    Kind.TIME: ["created_at", "last_active_at"],
}

numbers = st.sampled_from(["0", "1", "-1", "5", "28", "30", "59", "60", "0.5", "2.5", "7.25", "100", "1e3", "0.1"])
texts = st.sampled_from(TEXTS).map(lambda text: "'" + text.replace("'", "''") + "'")
patterns = st.sampled_from(["'%'", "'_'", "'%b'", "'a%'", "'%t%'", "'a_b'", "''", "'CTO'", "'%ß%'", "'__'", "'a\\%'"])
times = st.sampled_from(
    ["'2026-01-05'", "date '2025-12-31'", "'2026-01-05 10:30'", "timestamp '2026-02-01T00:00:00+02:00'"]
)
attributes = st.sampled_from(["attributes.seats", 'attributes."Seat Count"', "accounts.attributes.flag"])
operators = st.sampled_from(["=", "<>", "<", "<=", ">", ">=", "!="])


@st.composite
def number_terms(draw: Any, depth: int) -> str:
    """Number expressions; a composite, because Hypothesis prints strategies and a nested one is endless."""
    return draw(_number_terms(depth))


@st.composite
def text_terms(draw: Any) -> str:
    """Text expressions."""
    return draw(_text_terms())


@st.composite
def leaves(draw: Any, depth: int = 2) -> str:
    """Single clauses."""
    return draw(_leaves(depth))


@cache
def _number_terms(depth: int) -> st.SearchStrategy[str]:
    """Number expressions, at most `depth` levels deep."""
    simple = numbers | st.sampled_from(SOME[Kind.NUMBER]) | attributes.map("abs({})".format)
    if depth == 0:
        return simple
    below = number_terms(depth - 1)
    return st.one_of(
        simple,
        st.tuples(below, st.sampled_from("+-*/%"), below).map(lambda parts: "({} {} {})".format(*parts)),
        below.map("-({})".format),
        st.tuples(st.sampled_from(["abs", "round", "floor", "ceil"]), below).map(lambda parts: "{}({})".format(*parts)),
        st.tuples(below, st.integers(0, 4)).map(lambda parts: "round({}, {})".format(*parts)),
        st.tuples(st.sampled_from(["coalesce", "greatest", "least"]), below, below).map(
            lambda parts: "{}({}, {})".format(*parts)
        ),
        text_terms().map("length({})".format),
        st.sampled_from(SOME[Kind.TIME]).map("days_since({})".format),
    )


@cache
def _text_terms() -> st.SearchStrategy[str]:
    """Text expressions."""
    column = st.sampled_from(SOME[Kind.TEXT])
    return st.one_of(
        column,
        st.tuples(st.sampled_from(["lower", "upper"]), column | attributes).map(lambda parts: "{}({})".format(*parts)),
        st.tuples(st.sampled_from(["coalesce", "greatest", "least"]), column, texts).map(
            lambda parts: "{}({}, {})".format(*parts)
        ),
    )


@cache
def _leaves(depth: int = 2) -> st.SearchStrategy[str]:
    """Single clauses."""
    number = number_terms(depth)
    text = text_terms()
    time = st.sampled_from(SOME[Kind.TIME])
    flag = st.sampled_from(SOME[Kind.BOOLEAN])
    negation = st.sampled_from(["", "not "])
    return st.one_of(
        st.tuples(number, operators, number).map(" ".join),
        st.tuples(number, negation, number, number).map(lambda p: f"{p[0]} {p[1]}between {p[2]} and {p[3]}"),
        st.tuples(number, negation, st.lists(numbers | st.just("null"), min_size=1, max_size=4)).map(
            lambda p: f"{p[0]} {p[1]}in ({', '.join(p[2])})"
        ),
        st.tuples(text, operators, text | texts | st.just("null")).map(" ".join),
        st.tuples(attributes, operators, numbers | texts | st.just("date '2026-01-05'")).map(" ".join),
        st.tuples(attributes, st.sampled_from(["= true", "<> false"])).map(" ".join),
        st.tuples(attributes, st.just("="), attributes).map(" ".join),
        st.tuples(text, negation, st.lists(texts, min_size=1, max_size=4)).map(
            lambda p: f"{p[0]} {p[1]}in ({', '.join(p[2])})"
        ),
        st.tuples(text | attributes, negation, st.sampled_from(["like", "ilike"]), patterns).map(
            lambda p: f"{p[0]} {p[1]}{p[2]} {p[3]}"
        ),
        st.tuples(time, operators, times | time).map(" ".join),
        st.tuples(time, negation, times, times).map(lambda p: f"{p[0]} {p[1]}between {p[2]} and {p[3]}"),
        st.tuples(number | text | time | flag | attributes, negation).map(lambda p: f"{p[0]} is {p[1]}null"),
        st.tuples(flag | attributes, negation, st.sampled_from(["true", "false"])).map(
            lambda p: f"{p[0]} is {p[1]}{p[2]}"
        ),
        st.tuples(flag, st.sampled_from(["= true", "<> false", "= coalesce(can_email, false)"])).map(" ".join),
        flag,
        attributes,
        st.sampled_from(["true", "false", "null"]),
    )


def conditions(depth: int = 2) -> st.SearchStrategy[str]:
    """Whole conditions with and, or, not and parentheses."""
    return st.recursive(
        leaves(depth),
        lambda below: st.one_of(
            st.lists(below, min_size=2, max_size=4).map(lambda parts: " and ".join(f"({part})" for part in parts)),
            st.lists(below, min_size=2, max_size=3).map(lambda parts: " or ".join(f"({part})" for part in parts)),
            st.lists(below, min_size=2, max_size=3).map(
                lambda parts: "\n  and ".join(f"not ({part})" for part in parts)
            ),
            below.map("not ({})".format),
        ),
        max_leaves=6,
    )

"""What `explain` says in Python is what DuckDB decides, for any condition and any row."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.rules.conditions import parse
from connector.rules.evaluation import capitals, fold, like
from tests.fakes.condition_texts import conditions
from tests.fakes.features import engine, engine_answers, rows

RELAXED = settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@RELAXED
@given(st.lists(conditions(), min_size=3, max_size=6), st.lists(rows(), min_size=1, max_size=4))
def test_the_explanation_of_any_condition_is_the_engines_answer(texts, table):
    checked = [parse(text, timezone="Europe/Amsterdam") for text in texts]
    for row, answers in zip(table, engine_answers([c.sql for c in checked], table), strict=True):
        for condition, answer in zip(checked, answers, strict=True):
            explained = condition.explain(row)
            assert explained.holds is answer, (condition.text, condition.sql, row)


@RELAXED
@given(conditions(depth=1), rows())
def test_every_clause_is_itself_a_condition_with_the_verdict_that_is_shown(text, row):
    for clause in parse(text).explain(row).clauses:
        assert parse(clause.text).holds(row) is clause.holds, (text, clause)


@RELAXED
@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    st.text("ab%_Öß", max_size=8),
)
def test_like_and_case_fit_the_engines(text, pattern):
    answer = engine().execute("SELECT ? LIKE ?, lower(?), upper(?)", [text, pattern, text, text]).fetchall()[0]
    assert (like(text, pattern), fold(text), capitals(text)) == answer

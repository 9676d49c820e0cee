"""The linter never claims what a single row disproves."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.model import Segment
from connector.rules.boxes import Truth, boxes, sample_row
from connector.rules.conditions import check_segments, parse
from connector.rules.lint import Defect, issues
from tests.fakes.condition_texts import conditions
from tests.fakes.features import engine_answers, rows

RELAXED = settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

CLAUSES = st.sampled_from(
    [
        *[f"inactive_days {operator} {number}" for operator in ("<", ">=", "=", "<>") for number in (0, 2, 30, 31)],
        "inactive_days between 28 and 30",
        "inactive_days not between 2 and 59",
        "inactive_days in (0, 30, 400)",
        "inactive_days not in (1, 2)",
        "inactive_days > gap_p90_days",
        "gap_p90_days >= inactive_days",
        "gap_p90_days > 2.5",
        "gap_p90_days < 2.5",
        "role = 'cto'",
        "role <> 'cto'",
        "role in ('cto', 'CTO')",
        "role like 'c%'",
        "role ilike 'CTO'",
        "lower(role) = 'cto'",
        "lower(role) = 'CTO'",
        "role > 'cto'",
        "role is null",
        "inactive_days is null",
        "can_email",
        "can_email is true",
        "coalesce(can_email, false)",
        "coalesce(inactive_days, 30) >= 30",
        "created_at < '2026-01-05'",
        "created_at >= '2026-01-05'",
        "role = null",
        "role in ('cto', null)",
    ]
)


@st.composite
def entangled(draw):
    """Conditions about the same few columns, so that they contradict and hide each other often."""
    joined = draw(st.sampled_from([" and ", " or "]))
    parts = draw(st.lists(CLAUSES, min_size=1, max_size=4))
    return joined.join(f"{draw(st.sampled_from(['', '', 'not ']))}({part})" for part in parts)


@st.composite
def knotted(draw):
    joined = draw(st.sampled_from([" and ", " or "]))
    return joined.join(
        f"{draw(st.sampled_from(['', 'not ']))}({draw(entangled())})" for _ in range(draw(st.integers(1, 3)))
    )


@RELAXED
@given(st.lists(knotted() | conditions(depth=1), min_size=1, max_size=5), st.lists(rows(), min_size=6, max_size=10))
def test_what_is_called_impossible_hidden_or_universal_is_so_for_every_row(texts, table):
    segments = [Segment(f"s{number}", text, "g") for number, text in enumerate(texts)]
    answers = engine_answers([segment.condition.sql for segment in check_segments(segments)], table)
    for issue in issues(check_segments(segments)):
        at = int(issue.segment.segment.name[1:])
        for row in answers:
            match issue.kind:
                case Defect.CONTRADICTORY:
                    assert row[at] is not True, texts[at]
                case Defect.ALWAYS:
                    assert row[at] is True, texts[at]
                case Defect.UNREACHABLE:
                    assert row[at] is not True or True in row[:at], texts
                case _:
                    pass


@RELAXED
@given(knotted(), st.lists(rows(), min_size=6, max_size=12))
def test_the_boxes_of_a_condition_hold_every_row_they_should(text, table):
    tree = parse(text).tree
    for (answer,) in engine_answers([parse(text).sql], table):
        for truth, agrees in [
            (Truth.TRUE, answer is True),
            (Truth.FALSE, answer is False),
            (Truth.NOT_TRUE, answer is not True),
            (Truth.NOT_FALSE, answer is not False),
        ]:
            assert not agrees or boxes(tree, truth), (text, truth)


@RELAXED
@given(entangled())
def test_a_sample_row_of_a_box_meets_its_condition(text):
    condition = parse(text)
    made = [row for box in boxes(condition.tree, Truth.TRUE) if (row := sample_row(box)) is not None]
    for row in made:
        assert condition.holds(row) is True, (text, row)

"""What the linter says about a program can never be disproved by somebody in it."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.location import PlaybookError
from connector.rules.conditions import parse
from connector.settings import PROGRAM_COLUMNS, load_playbook
from tests.fakes.tiny_adapters import ADAPTERS

CLAUSES = st.sampled_from(
    [
        "engaged.replies >= 1",
        "engaged.replies = 0",
        "engaged.clicks between 1 and 2",
        "engaged.clicks > 0",
        "active_days_since_enrollment >= 1",
        "active_days_since_enrollment < 2",
        "transactions_since_enrollment = 1",
        "transactions_since_enrollment < 1",
        "step.days >= 3",
        "step.days is null",
        "step.number in (1, 2)",
        "step.answered",
        "step.answered is not true",
        "step.name = 'one'",
        "coalesce(step.days, 0) < 5",
        "feedback.score > 3",
        "feedback.at is null",
        "role = 'cto'",
    ]
)
ROWS = st.fixed_dictionaries(
    {
        "engaged_replies": st.integers(0, 2),
        "engaged_clicks": st.integers(0, 3),
        "active_days_since_enrollment": st.integers(0, 2),
        "transactions_since_enrollment": st.integers(0, 2),
        "step_days": st.none() | st.integers(0, 6),
        "step_number": st.none() | st.integers(1, 3),
        "step_answered": st.none() | st.booleans(),
        "step_name": st.sampled_from([None, "one", "two"]),
        "feedback_score": st.none() | st.floats(0, 5),
        "feedback_at": st.none(),
        "role": st.sampled_from([None, "cto", "dev"]),
    }
)
EMPTY_AT_FIRST = dict.fromkeys(["step_days", "step_number", "step_name"])


@st.composite
def whens(draw):
    """Conditions about the same few columns, so that they contradict exits and each other often."""
    joined = draw(st.sampled_from([" and ", " or "]))
    parts = draw(st.lists(CLAUSES, min_size=1, max_size=3))
    return joined.join(f"{draw(st.sampled_from(['', '', 'not ']))}({part})" for part in parts)


def holds(text, row):
    return parse(text, columns=PROGRAM_COLUMNS).holds(row) is True


def undisproved(message, when, branches, row):
    left = {
        "reactivated": row["active_days_since_enrollment"] >= 1,
        "converted": row["transactions_since_enrollment"] >= 1,
        "replied": row["engaged_replies"] >= 1,
    }
    text = when if ":9:" in message else None
    number = message.partition("the branch 'b")[2][:1]
    text = text or (branches[int(number)] if number else "false")
    if "never holds: before the first step" in message:
        assert not holds(text, {**row, **EMPTY_AT_FIRST})
    elif "never holds in time" in message:
        assert not holds(text, row) or left[message.rpartition(" as ")[2].strip("'")]
    elif "is never chosen" in message:
        assert not holds(text, row) or any(holds(other, row) for other in branches[: int(number)])
    elif "holds for everybody" in message:
        assert holds(text, row)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(when=whens(), branches=st.lists(whens(), min_size=2, max_size=3), rows=st.lists(ROWS, min_size=8, max_size=12))
def test_no_contact_disproves_a_finding(tmp_path: Path, when, branches, rows):
    named = ", ".join(f'b{number}: "{text}"' for number, text in enumerate(branches))
    file = tmp_path / "winback.yaml"
    file.write_text(
        "version: 1\naccount: a\nsources: {crm: {adapter: crm}}\n"
        "segments: [{name: quiet, where: 'inactive_days > 30'}]\n"
        "program:\n  name: p\n  enroll: [quiet]\n  steps:\n"
        f'    - {{name: one, day: 1, when: "{when}"}}\n'
        f"    - {{name: two, day: 8, branches: {{{named}}}}}\n"
    )

    try:
        findings, problems = load_playbook(file, environ={}, adapters=ADAPTERS).findings, ()
    except PlaybookError as error:
        findings, problems = (), error.problems
    for row in rows:
        for problem in problems:
            assert problem.message.endswith("can never hold")
            number = problem.path.rpartition(".b")[2]
            assert not holds(when if problem.path.endswith("when") else branches[int(number)], row)
        for finding in findings:
            undisproved(finding.message, when, branches, row)

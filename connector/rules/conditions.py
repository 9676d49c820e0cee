"""Conditions: the `where` of a segment, parsed, checked, written as SQL, and explained for one contact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connector.location import Location
from connector.model import Segment
from connector.rules.clauses import Clause, tell_clauses
from connector.rules.columns import COLUMNS, USAGE_COLUMNS, Column
from connector.rules.evaluation import evaluate
from connector.rules.expressions import Expression, inputs
from connector.rules.parsing import ConditionError, parse_expression
from connector.rules.sql_text import to_sql


@dataclass(frozen=True, slots=True)
class Explained:
    """A condition for one contact; `holds` is None when it cannot be known, which counts as not in."""

    text: str
    holds: bool | None
    clauses: list[Clause]


@dataclass(frozen=True, slots=True)
class Condition:
    """A checked condition.

    sql: A boolean DuckDB expression over the features relation.
    columns: The columns and attributes it reads, as written in conditions.
    tree: What `explain` walks and the linter reasons about.
    """

    text: str
    sql: str
    columns: tuple[str, ...]
    tree: Expression = field(repr=False, compare=False)
    where: Location | None = field(default=None, repr=False, compare=False)

    def holds(self, row: Mapping[str, Any]) -> bool | None:
        """Whether it holds for this row; None when unknown. Equal to the engine's answer."""
        truth: bool | None = evaluate(self.tree, row)
        return truth

    def explain(self, row: Mapping[str, Any]) -> Explained:
        """The condition clause by clause, with values and what would change each.

        Args:
            row: The columns of the features relation for one contact.
        """
        return Explained(self.text, self.holds(row), tell_clauses(self.tree, self.text, row))


@dataclass(frozen=True, slots=True)
class CheckedSegment:
    """A segment with its checked condition."""

    segment: Segment
    condition: Condition


def parse(
    text: str,
    *,
    where: Location | None = None,
    timezone: str = "UTC",
    columns: Mapping[str, Column] = COLUMNS,
) -> Condition:
    """The checked condition of a segment or step; SegmentError names the place, the near name and what is allowed.

    Args:
        text: As written in the playbook.
        where: Where it stands.
        timezone: The account's, for dates without an offset and for `days_since`.
        columns: What it may use besides attributes; those of a segment unless said otherwise.
    """
    tree = parse_expression(text, where=where, columns=columns, attributes=True, timezone=timezone)
    return _condition(text, tree, where)


def parse_usage(text: str, *, where: Location | None = None) -> Condition:
    """The checked condition of `activity.counts`, over `feature` and `events` of a row of usage."""
    tree = parse_expression(text, where=where, columns=USAGE_COLUMNS, attributes=False, timezone="UTC")
    return _condition(text, tree, where)


def check_segment(segment: Segment, *, where: Location | None = None, timezone: str = "UTC") -> CheckedSegment:
    """The segment with its condition checked; its line and column are used where no location is given."""
    if where is None and segment.line is not None:
        where = Location("winback.yaml", segment.line, segment.column or 0)
    return CheckedSegment(segment, parse(segment.where, where=where, timezone=timezone))


def check_segments(segments: Sequence[Segment], *, timezone: str = "UTC") -> tuple[CheckedSegment, ...]:
    """Each segment with its condition checked."""
    return tuple(check_segment(segment, timezone=timezone) for segment in segments)


def _condition(text: str, tree: Expression, where: Location | None) -> Condition:
    return Condition(text, to_sql(tree), tuple(item.name for item in inputs(tree)), tree, where)


__all__ = [
    "CheckedSegment",
    "Clause",
    "Condition",
    "ConditionError",
    "Explained",
    "check_segment",
    "check_segments",
    "parse",
    "parse_usage",
]

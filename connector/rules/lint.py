"""Looks at the segments together: what can never hold, what an earlier one hides, what overlaps, what is left out.

A finding is a proof or an example: "can never hold" and "hidden" are only said when no row at all is possible, and an
overlap or a gap is only said with a row that was tried on the conditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, pairwise
from typing import Any

from connector.location import Location
from connector.model import Finding, Segment, Severity
from connector.rules.boxes import Box, Cell, Truth, both, boxes, sample_row
from connector.rules.columns import Kind
from connector.rules.conditions import CheckedSegment, Condition, check_segment
from connector.rules.domains import Range, Ranges
from connector.rules.expressions import ColumnRef, Comparison, Constant, Expression, OneOfList, inputs, walk

MAX_SAMPLES = 50
"""Boxes tried for an example before giving up."""


class Defect(StrEnum):
    """What was found."""

    CONTRADICTORY = "contradictory"
    ALWAYS = "always"
    NULL_COMPARED = "null_compared"
    DUPLICATE = "duplicate"
    UNREACHABLE = "unreachable"
    OVERLAPPING = "overlapping"
    GAP = "gap"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one condition, looked at alone."""

    kind: Defect
    message: str
    fix: str
    severity: Severity = Severity.WARNING


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding about one segment. `other` is the second segment where two are involved."""

    kind: Defect
    segment: CheckedSegment
    message: str
    fix: str
    other: str | None = None
    severity: Severity = Severity.WARNING

    @property
    def place(self) -> Location | None:
        """Where the segment's condition stands."""
        return self.segment.condition.where

    def finding(self) -> Finding:
        """As a line of `winback check`."""
        where = f"{self.place}: " if self.place else ""
        return Finding(f"segment {self.segment.segment.name}", self.severity, f"{where}{self.message}", self.fix)


def lint(segments: Sequence[Segment | CheckedSegment]) -> list[Finding]:
    """The findings about these segments, in their order; SegmentError for a condition that cannot be read."""
    checked = [item if isinstance(item, CheckedSegment) else check_segment(item) for item in segments]
    return [issue.finding() for issue in issues(checked)]


def issues(segments: Sequence[CheckedSegment]) -> list[Issue]:
    """The findings about these segments with what they are about."""
    found = [issue for segment in segments for issue in _alone(segment)]
    never = {issue.segment.segment.name for issue in found if issue.kind is Defect.CONTRADICTORY}
    rest = [segment for segment in segments if segment.segment.name not in never]
    found += _duplicates(rest)
    for group in _groups(rest):
        found += _inside(group)
    order = {segment.segment.name: number for number, segment in enumerate(segments)}
    return sorted(found, key=lambda issue: order[issue.segment.segment.name])


def _groups(segments: Sequence[CheckedSegment]) -> list[list[CheckedSegment]]:
    """The segments of each named group, in order."""
    by_name: dict[str, list[CheckedSegment]] = {}
    for segment in segments:
        if segment.segment.group is not None:
            by_name.setdefault(segment.segment.group, []).append(segment)
    return [group for group in by_name.values() if group[1:]]


# --- one segment ----------------------------------------------------------------------------------------------


def _alone(segment: CheckedSegment) -> Iterator[Issue]:
    for fault in faults(segment.condition):
        yield Issue(fault.kind, segment, fault.message, fault.fix, severity=fault.severity)


def faults(condition: Condition) -> Iterator[Fault]:
    """What is wrong with a condition by itself, whoever it is for."""
    tree = condition.tree
    null = any(map(_compares_null, walk(tree)))
    advice = "`= null` is never true: write `is null` or `is not null`"
    if not boxes(tree, Truth.TRUE):
        fix = "compare the clauses: no contact can meet all of them" if inputs(tree) else "write a condition"
        fix = advice if null else fix
        yield Fault(Defect.CONTRADICTORY, "this can never hold", fix, Severity.ERROR)
    elif null:
        yield Fault(Defect.NULL_COMPARED, "a comparison with null never holds", advice)
    elif inputs(tree) and not boxes(tree, Truth.NOT_TRUE):
        yield Fault(Defect.ALWAYS, "this holds for everybody", "write `true` if everybody is meant")


def _compares_null(node: Expression) -> bool:
    match node:
        case Comparison():
            return _is_null(node.left) or _is_null(node.right)
        case OneOfList():
            return any(map(_is_null, node.choices))
        case _:
            return False


def _is_null(node: Expression) -> bool:
    return isinstance(node, Constant) and node.value is None


def _duplicates(segments: Sequence[CheckedSegment]) -> Iterator[Issue]:
    first: dict[str, str] = {}
    for segment in segments:
        name = segment.segment.name
        twin = first.setdefault(segment.condition.sql, name)
        if twin != name:
            message = f"this is the same condition as that of '{twin}'"
            yield Issue(Defect.DUPLICATE, segment, message, "remove one of the two", other=twin)


# --- inside a group -------------------------------------------------------------------------------------------


def _inside(group: Sequence[CheckedSegment]) -> Iterator[Issue]:
    """What the order of a group makes of its segments: the first match wins."""
    hidden = {}
    for number, segment in enumerate(group[1:], start=1):
        earlier = _hiding(segment, group[:number])
        if earlier is not None:
            hidden[segment.segment.name] = earlier
            by = " or ".join(f"'{name}'" for name in earlier)
            message = f"nobody can ever be in it: whoever fits is already in {by} of the same group"
            fix = "put it before them, or narrow their conditions"
            yield Issue(Defect.UNREACHABLE, segment, message, fix, other=earlier[0])
    for one, two in combinations(group, 2):
        if two.segment.name in hidden:
            continue
        example = _example(both(boxes(one.condition.tree, Truth.TRUE), boxes(two.condition.tree, Truth.TRUE)), one, two)
        if example is not None:
            message = f"overlaps '{one.segment.name}', which comes first and wins, for example at {example}"
            fix = "make the two exclude each other, or leave it if the order is meant"
            yield Issue(Defect.OVERLAPPING, two, message, fix, other=one.segment.name)
    yield from _gaps(group)


def _hiding(segment: CheckedSegment, earlier: Sequence[CheckedSegment]) -> tuple[str, ...] | None:
    """The earlier segments that together take everybody this one fits; None if somebody may be left."""
    left = boxes(segment.condition.tree, Truth.TRUE)
    for other in earlier:
        alone = both(boxes(segment.condition.tree, Truth.TRUE), boxes(other.condition.tree, Truth.NOT_TRUE))
        if not alone:
            return (other.segment.name,)
        left = both(left, boxes(other.condition.tree, Truth.NOT_TRUE))
    return tuple(other.segment.name for other in earlier) if not left else None


def _example(found: Sequence[Box], *segments: CheckedSegment) -> str | None:
    """A row for which all these segments hold, in words; None if none was found."""
    for box in found[:MAX_SAMPLES]:
        row = sample_row(box)
        if row is not None and all(segment.condition.holds(row) is True for segment in segments):
            return _told(box, row)
    return None


def _told(box: Box, row: Mapping[str, Any]) -> str:
    parts = []
    for cell in box.values():
        for item in inputs(cell.subject):
            value = row.get(item.column.relation or item.name) if isinstance(item, ColumnRef) else "…"
            parts.append(f"{item.name} = {'empty' if value is None else value}")
    return ", ".join(parts) or "any contact"


def _gaps(group: Sequence[CheckedSegment]) -> Iterator[Issue]:
    """Numbers between the segments of a group that are all about one column, and in none of them."""
    columns = {segment.condition.columns for segment in group}
    trees = [segment.condition.tree for segment in group]
    reads = inputs(trees[0])
    if len(columns) != 1 or len(reads) != 1 or not isinstance(reads[0], ColumnRef) or reads[0].kind is not Kind.NUMBER:
        return
    column = reads[0].column
    pieces = [(_ranges(tree, column.name), segment) for tree, segment in zip(trees, group, strict=True)]
    covered = Ranges((), column.integer)
    for ranges, _ in pieces:
        if ranges is None:
            return
        covered = covered.union(ranges)
    for before, after in pairwise(covered.parts):
        between = Range(before.high, not before.high_open, after.low, not after.low_open)
        hole = Ranges((between,), column.integer).intersect(Ranges(whole=column.integer))
        row = None if hole.empty else sample_row({"": Cell(reads[0], hole, null=False)})
        if row is None or any(segment.condition.holds(row) is not False for segment in group):
            continue
        following = next((item for ranges, item in pieces if ranges is not None and after.low in ranges), group[-1])
        part = hole.parts[0]
        shown = str(part.low) if part.low == part.high else f"{part.low} to {part.high}"
        message = f"{column.name} {shown} is in no segment of the group '{following.segment.group}'"
        yield Issue(Defect.GAP, following, message, "close the gap, or leave it if it is meant")


def _ranges(tree: Expression, name: str) -> Ranges | None:
    """The numbers of the one column for which the condition holds; None if it is about anything else."""
    found: Ranges | None = None
    for box in boxes(tree, Truth.TRUE):
        if len(box) != 1:
            return None
        cell = next(iter(box.values()))
        if not (isinstance(cell.subject, ColumnRef) and cell.subject.name == name and isinstance(cell.domain, Ranges)):
            return None
        found = cell.domain if found is None else found.union(cell.domain)
    return found

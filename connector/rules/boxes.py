"""Which rows a condition can be true, false or unknown for, as boxes: per column a set of possible values.

Boxes hold at least every row in question. An empty list of boxes is therefore a proof that there is none; the other
way round, a sample row taken from a box must be tried on the condition itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from itertools import product
from typing import Any

from connector.rules.columns import ATTRIBUTE_PREFIXES, COLUMNS, RELATION_COLUMNS, USAGE_COLUMNS, Kind
from connector.rules.domains import Domain, Range, Ranges, Test, Values, compared, intersect, points
from connector.rules.evaluation import capitals, compare, evaluate, fold, like
from connector.rules.expressions import (
    AllOf,
    AnyOf,
    Attribute,
    Between,
    Call,
    ColumnRef,
    Comparison,
    Constant,
    Expression,
    IsNull,
    IsTruth,
    Matches,
    Not,
    OneOfList,
    inputs,
)
from connector.rules.sql_text import is_whole, to_sql

MAX_BOXES = 400
"""More alternatives than this are given up: everything is then taken to be possible."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Truth(Enum):
    """What is asked of a condition."""

    TRUE = "true"
    FALSE = "false"
    NOT_TRUE = "false or unknown"
    NOT_FALSE = "true or unknown"


_TURNED = {
    Truth.TRUE: Truth.FALSE,
    Truth.FALSE: Truth.TRUE,
    Truth.NOT_TRUE: Truth.NOT_FALSE,
    Truth.NOT_FALSE: Truth.NOT_TRUE,
}


@dataclass(frozen=True, slots=True)
class Cell:
    """What one expression may be: a value of the domain, or NULL if `null`."""

    subject: Expression
    domain: Domain
    null: bool

    @property
    def empty(self) -> bool:
        """Whether nothing is possible."""
        return self.domain.empty and not self.null


Box = Mapping[str, Cell]
"""By the SQL of the expression; what is not in it may be anything."""

ANY_ROW: list[Box] = [{}]
NO_ROW: list[Box] = []


def boxes(node: Expression, truth: Truth) -> list[Box]:  # noqa: C901, PLR0911 one case for each node
    """Boxes that together hold every row for which the node has this truth."""
    match node:
        case Not():
            return boxes(node.operand, _TURNED[truth])
        case AllOf():
            every = truth in (Truth.TRUE, Truth.NOT_FALSE)
            return _combined([boxes(part, truth) for part in node.parts], every=every)
        case AnyOf():
            every = truth in (Truth.FALSE, Truth.NOT_TRUE)
            return _combined([boxes(part, truth) for part in node.parts], every=every)
        case Between():
            low = Comparison(">=", node.operand, node.low, node.span)
            high = Comparison("<=", node.operand, node.high, node.span)
            return boxes(AllOf((low, high), node.span), truth)
        case OneOfList():
            return _one_of(node, truth)
        case Comparison():
            return _comparison(node, truth)
        case Matches():
            return _matches(node, truth)
        case IsNull():
            return _is_null(node, truth)
        case IsTruth():
            held = Values(frozenset([node.truth]))
            other = Values(frozenset([not node.truth]))
            if truth in (Truth.TRUE, Truth.NOT_FALSE):
                return _kept([_cell(node.operand, held, null=False)])
            return _kept([_cell(node.operand, other, null=True)])
        case Constant():
            return ANY_ROW if _fits(node.value, truth) else NO_ROW
        case _:
            return _leaf(node, Values(frozenset([True])), Values(frozenset([False])), truth)


def both(one: Iterable[Box], two: Iterable[Box]) -> list[Box]:
    """Boxes for the rows in both; too many are given up."""
    return _combined([list(one), list(two)], every=True)


def sample_row(box: Box) -> dict[str, Any] | None:
    """A row inside the box; None where the box is about calculated values or a value would be a guess."""
    row = _row_of_nothing()
    for cell in box.values():
        value = None if cell.domain.empty else _as_value(cell.domain.sample(), cell.subject.kind)
        if value is None and not cell.null:
            return None
        if not _put(row, cell.subject, value):
            return None
    return row


def _row_of_nothing() -> dict[str, Any]:
    row: dict[str, Any] = {**dict.fromkeys(RELATION_COLUMNS), "as_of": date(2026, 1, 1)}
    for column in (*COLUMNS.values(), *USAGE_COLUMNS.values()):
        if not column.nullable:
            row[column.relation or column.name] = (column.low or 0) if column.kind is Kind.NUMBER else "x:1"
    return row


def _put(row: dict[str, Any], subject: Expression, value: Any) -> bool:
    match subject:
        case ColumnRef():
            row[subject.column.relation or subject.column.name] = value
            return True
        case Attribute():
            column = ATTRIBUTE_PREFIXES[subject.prefix]
            fields = json.loads(row[column] or "{}")
            row[column] = json.dumps({**fields, subject.key: value}, default=str)
            return True
        case _:
            return False


def _as_value(sample: Any, kind: Kind) -> Any:
    return _EPOCH + sample * _MICROSECOND if kind is Kind.TIME and isinstance(sample, int) else sample


# --- alternatives ---------------------------------------------------------------------------------------------


def _combined(alternatives: list[list[Box]], *, every: bool) -> list[Box]:
    """Boxes for rows in every list, or in any."""
    if not every:
        joined = [box for boxes_ in alternatives for box in boxes_]
        return joined if len(joined) <= MAX_BOXES else ANY_ROW
    found = ANY_ROW
    for boxes_ in alternatives:
        if len(found) * len(boxes_) > MAX_BOXES:
            continue
        merged = (_merged(one, two) for one, two in product(found, boxes_))
        found = [box for box in merged if box is not None]
    return found


def _merged(one: Box, two: Box) -> Box | None:
    """The rows in both boxes; None if there are none."""
    cells = dict(one)
    for key, cell in two.items():
        if key in cells:
            mine = cells[key]
            cell = replace(cell, domain=intersect(mine.domain, cell.domain), null=mine.null and cell.null)  # noqa: PLW2901 the narrowed cell
        if cell.empty:
            return None
        cells[key] = cell
    return cells


def _kept(cells: list[Cell]) -> list[Box]:
    return [{to_sql(cell.subject): cell} for cell in cells if not cell.empty]


def _fits(value: Any, truth: Truth) -> bool:
    match truth:
        case Truth.TRUE:
            return value is True
        case Truth.FALSE:
            return value is False
        case Truth.NOT_TRUE:
            return value is not True
        case Truth.NOT_FALSE:
            return value is not False


# --- single clauses -------------------------------------------------------------------------------------------


def _cell(subject: Expression, domain: Domain, *, null: bool) -> Cell:
    """What is asked for, cut down to what the expression can be at all."""
    return Cell(subject, intersect(_possible(subject), domain), null and _can_be_null(subject))


def _leaf(subject: Expression, yes: Domain, no: Domain, truth: Truth) -> list[Box]:
    """A clause that holds for the values in `yes`, fails for those in `no`, and is unknown for NULL."""
    subject, stand_in = _unwrapped(subject)
    if stand_in is None:
        wanted = yes if truth in (Truth.TRUE, Truth.NOT_FALSE) else no
        return _kept([_cell(subject, wanted, null=truth in (Truth.NOT_TRUE, Truth.NOT_FALSE))])
    wanted = yes if truth in (Truth.TRUE, Truth.NOT_FALSE) else no
    return _kept([_cell(subject, wanted, null=_coordinate(stand_in) in wanted)])


def _unwrapped(node: Expression) -> tuple[Expression, Any]:
    """`coalesce(column, value)` as its column and the value that NULL stands for; others as they are."""
    if isinstance(node, Call) and node.function == "coalesce" and len(node.arguments) == 2:  # noqa: PLR2004 two
        subject, fallback = node.arguments
        if isinstance(subject, ColumnRef) and isinstance(fallback, Constant) and fallback.value is not None:
            return subject, fallback.value
    return node, None


def _possible(subject: Expression) -> Domain:
    """Every value the expression can have."""
    match subject.kind:
        case Kind.NUMBER | Kind.TIME:
            low, high = _bounds(subject)
            part = Range(-float("inf"), True, float("inf"), True)
            part = replace(part, low=low, low_open=False) if low is not None else part
            part = replace(part, high=high, high_open=False) if high is not None else part
            return Ranges((part,), whole=subject.kind is Kind.TIME or is_whole(subject))
        case Kind.BOOLEAN:
            return Values(frozenset([True, False]))
        case _:
            return _possible_text(subject)


def _bounds(subject: Expression) -> tuple[int | None, int | None]:
    match subject:
        case ColumnRef():
            return subject.column.low, subject.column.high
        case Call(function="length" | "abs"):
            return 0, None
        case _:
            return None, None


def _possible_text(subject: Expression) -> Values:
    match subject:
        case ColumnRef() if subject.column.choices:
            return Values(frozenset(subject.column.choices))
        case Call(function="lower"):
            return Values(tests=frozenset([Test("is in small letters", True, lambda text: fold(text) == text)]))
        case Call(function="upper"):
            return Values(tests=frozenset([Test("is in capitals", True, lambda text: capitals(text) == text)]))
        case _:
            return Values()


def _can_be_null(subject: Expression) -> bool:
    return subject.column.nullable if isinstance(subject, ColumnRef) else True


def _coordinate(value: Any) -> Any:
    """A value as the domains hold it: times as whole microseconds."""
    return (value - _EPOCH) // _MICROSECOND if isinstance(value, datetime) else value


def _comparison(node: Comparison, truth: Truth) -> list[Box]:
    left, right, operator = node.left, node.right, str(node.operator)
    if not inputs(left) and not inputs(right):
        return ANY_ROW if _fits(evaluate(node, {}), truth) else NO_ROW
    if not inputs(left):
        left, right, operator = right, left, _MIRRORED[operator]
    if inputs(right):
        return _two_sided(left, operator, right, truth)
    constant = evaluate(right, {})
    if constant is None:
        return ANY_ROW if truth in (Truth.NOT_TRUE, Truth.NOT_FALSE) else NO_ROW
    return _leaf(left, *_split(left.kind, operator, constant), truth)


_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _split(kind: Kind, operator: str, constant: Any) -> tuple[Domain, Domain]:
    """The values for which a comparison holds, and those for which it fails."""
    if kind in (Kind.NUMBER, Kind.TIME):
        yes = compared(operator, _coordinate(constant))
        return yes, yes.complement()
    if operator in ("=", "<>"):
        same, other = Values(frozenset([constant])), Values(excluded=frozenset([constant]))
        return (same, other) if operator == "=" else (other, same)
    if operator in ("<=", ">="):  # one question with two answers, so that `<=` and `>` are known to exclude each other
        return _split(kind, ">" if operator == "<=" else "<", constant)[::-1]
    name = f"{operator} {constant!r}"

    def ask(text: str) -> bool:
        return compare(operator, text, constant) is True

    return Values(tests=frozenset([Test(name, True, ask)])), Values(tests=frozenset([Test(name, False, ask)]))


def _two_sided(left: Expression, operator: str, right: Expression, truth: Truth) -> list[Box]:
    """Two expressions compared: the subject is their order, one of below, equal, above."""
    if to_sql(left) > to_sql(right):
        left, right, operator = right, left, _MIRRORED[operator]
    subject = Comparison("=", left, right, left.span)
    every = points([0]) if to_sql(left) == to_sql(right) else points([-1, 0, 1])
    yes = compared(operator, 0)
    wanted = yes if truth in (Truth.TRUE, Truth.NOT_FALSE) else yes.complement()
    cell = Cell(subject, every.intersect(wanted), truth in (Truth.NOT_TRUE, Truth.NOT_FALSE))
    return [{f"order of {to_sql(left)} and {to_sql(right)}": cell}] if not cell.empty else NO_ROW


def _one_of(node: OneOfList, truth: Truth) -> list[Box]:
    if any(inputs(choice) for choice in node.choices) or not inputs(node.operand):
        equal = tuple(Comparison("=", node.operand, choice, node.span) for choice in node.choices)
        return boxes(AnyOf(equal, node.span), truth)
    values = [evaluate(choice, {}) for choice in node.choices]
    listed = [_coordinate(value) for value in values if value is not None]
    yes: Domain
    no: Domain
    if node.operand.kind in (Kind.NUMBER, Kind.TIME):
        yes = points(listed)
        no = yes.complement()
    else:
        yes, no = Values(frozenset(listed)), Values(excluded=frozenset(listed))
    if len(listed) < len(values):  # NULL in the list: what is not found is unknown, never surely outside
        if truth is Truth.FALSE:
            return NO_ROW
        if truth is Truth.NOT_FALSE:
            return ANY_ROW
    return _leaf(node.operand, yes, no, truth)


def _matches(node: Matches, truth: Truth) -> list[Box]:
    if not inputs(node.operand):
        return ANY_ROW if _fits(evaluate(node, {}), truth) else NO_ROW
    if not node.folded and not set(node.pattern) & {"%", "_"}:
        return _leaf(node.operand, *_split(Kind.TEXT, "=", node.pattern), truth)
    name = f"{'ilike' if node.folded else 'like'} {node.pattern!r}"

    def ask(text: str) -> bool:
        return like(fold(text), fold(node.pattern)) if node.folded else like(text, node.pattern)

    yes, no = Test(name, True, ask), Test(name, False, ask)
    return _leaf(node.operand, Values(tests=frozenset([yes])), Values(tests=frozenset([no])), truth)


def _is_null(node: IsNull, truth: Truth) -> list[Box]:
    if not inputs(node.operand):
        return ANY_ROW if _fits(evaluate(node, {}), truth) else NO_ROW
    subject = node.operand
    if truth in (Truth.TRUE, Truth.NOT_FALSE):
        nothing: Domain = Ranges(()) if subject.kind in (Kind.NUMBER, Kind.TIME) else Values(frozenset())
        return _kept([Cell(subject, nothing, _can_be_null(subject))])
    return _kept([Cell(subject, _possible(subject), null=False)])

"""Evaluates a checked condition for one row in Python, exactly as the engine does: None is NULL, unknown.

This is what `explain` shows; a property test holds it equal to DuckDB's answer.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, assert_never
from zoneinfo import ZoneInfo

from connector.rules.columns import AS_OF, ATTRIBUTE_PREFIXES, Kind
from connector.rules.expressions import (
    AllOf,
    AnyOf,
    Arithmetic,
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
    Negative,
    Not,
    OneOfList,
)
from connector.rules.sql_text import FALSE_WORDS, NUMBER_PATTERN, TIME_PATTERN, TRUE_WORDS

Row = Mapping[str, Any]


def evaluate(node: Expression, row: Row) -> Any:  # noqa: C901, PLR0911, PLR0912 one case for each node
    """The value of a node for this row; None where it is NULL."""
    match node:
        case ColumnRef():
            return _read_column(node, row)
        case Attribute():
            return _read_attribute(node, row)
        case Constant():
            return node.value
        case Arithmetic():
            return _arithmetic(node.operator, evaluate(node.left, row), evaluate(node.right, row))
        case Negative():
            operand = evaluate(node.operand, row)
            return None if operand is None else -float(operand)
        case Call():
            return _call(node, [evaluate(argument, row) for argument in node.arguments], row)
        case Comparison():
            return compare(node.operator, evaluate(node.left, row), evaluate(node.right, row))
        case Between():
            operand = evaluate(node.operand, row)
            above = compare(">=", operand, evaluate(node.low, row))
            return all_of([above, compare("<=", operand, evaluate(node.high, row))])
        case OneOfList():
            operand = evaluate(node.operand, row)
            return any_of([compare("=", operand, evaluate(choice, row)) for choice in node.choices])
        case Matches():
            return _matches(evaluate(node.operand, row), node)
        case IsNull():
            return evaluate(node.operand, row) is None
        case IsTruth():
            return evaluate(node.operand, row) is node.truth
        case Not():
            operand = evaluate(node.operand, row)
            return None if operand is None else not operand
        case AllOf():
            return all_of([evaluate(part, row) for part in node.parts])
        case AnyOf():
            return any_of([evaluate(part, row) for part in node.parts])
        case _:
            assert_never(node)


def all_of(truths: Sequence[bool | None]) -> bool | None:
    """SQL's `and`: one False decides, else one unknown does."""
    if False in truths:
        return False
    return None if None in truths else True


def any_of(truths: Sequence[bool | None]) -> bool | None:
    """SQL's `or`: one True decides, else one unknown does."""
    if True in truths:
        return True
    return None if None in truths else False


_TESTS: Mapping[str, Callable[[int], bool]] = {
    "=": lambda order: order == 0,
    "<>": lambda order: order != 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}


def compare(operator: str, left: Any, right: Any) -> bool | None:
    """SQL's comparison; unknown when either side is."""
    if left is None or right is None:
        return None
    return _TESTS[operator](order(left, right))


def order(left: Any, right: Any) -> int:
    """-1, 0 or 1; the engine's order, in which not-a-number is the largest number."""
    if isinstance(left, float) or isinstance(right, float):
        left, right = (math.isnan(left), float(left)), (math.isnan(right), float(right))
        if left[0] or right[0]:
            return int(left[0]) - int(right[0])
    return int(left > right) - int(left < right)


def fold(text: str) -> str:
    """Small letters, one character for one, as the engine does it."""
    return "".join(character.lower()[0] for character in text)


def capitals(text: str) -> str:
    """Capital letters, one character for one, as the engine does it."""
    return "".join(map(_capital, text))


def _capital(character: str) -> str:
    if character == "ß":
        return "ẞ"
    for candidate in (character.upper(), character.title()):
        if len(candidate) == 1:
            return candidate
    return character


def like(text: str, pattern: str) -> bool:
    """Whether the text fits a pattern with `%` (anything) and `_` (one character), in time text x pattern at most."""
    at, part, retry_at, retry_part = 0, 0, 0, -1
    while at < len(text):
        if part < len(pattern) and pattern[part] == "%":
            retry_at, retry_part = at, part
            part += 1
        elif part < len(pattern) and pattern[part] in ("_", text[at]):
            at, part = at + 1, part + 1
        elif retry_part >= 0:
            retry_at += 1
            at, part = retry_at, retry_part + 1
        else:
            return False
    return all(character == "%" for character in pattern[part:])


def _matches(text: str | None, node: Matches) -> bool | None:
    if text is None:
        return None
    return like(fold(text), fold(node.pattern)) if node.folded else like(text, node.pattern)


def _arithmetic(operator: str, left: Any, right: Any) -> float | None:
    if left is None or right is None:
        return None
    left, right = float(left), float(right)
    match operator:
        case "+":
            return float(left + right)
        case "-":
            return float(left - right)
        case "*":
            return float(left * right)
        case "/":
            return float(left / right) if right else None
        case _:
            return _remainder(left, right) if right else None


def _remainder(left: float, right: float) -> float:
    """The remainder with the sign of the left side."""
    return math.nan if math.isinf(left) else math.fmod(left, right)


def _call(node: Call, values: list[Any], row: Row) -> Any:  # noqa: PLR0911 one case for each function
    if node.function in {"coalesce", "greatest", "least"}:
        return _pick(node, values)
    if values[0] is None:
        return None
    match node.function:
        case "days_since":
            return _days_since(values[0], row[AS_OF], node.timezone or "UTC")
        case "lower":
            return fold(values[0])
        case "upper":
            return capitals(values[0])
        case "length":
            return len(values[0])
        case _:
            return _calculate(node.function, float(values[0]), *values[1:])


def _pick(node: Call, values: list[Any]) -> Any:
    """The first value present, or the smallest, or the largest."""
    present = [float(value) if node.kind is Kind.NUMBER else value for value in values if value is not None]
    if not present:
        return None
    chosen = present[0]
    for value in present[1:] if node.function != "coalesce" else ():
        if (order(value, chosen) > 0) == (node.function == "greatest") and order(value, chosen):
            chosen = value
    return chosen


def _calculate(function: str, value: float, digits: int = 0) -> float:
    if not math.isfinite(value):
        return abs(value) if function == "abs" else value
    match function:
        case "abs":
            return abs(value)
        case "floor":
            return float(math.floor(value))
        case "ceil":
            return float(math.ceil(value))
        case _:
            return _round(value, digits)


def _round(value: float, digits: int) -> float:
    """Half away from zero, by scaling, as the engine does it."""
    scale = 10.0**digits
    scaled = value * scale
    if not math.isfinite(scaled):
        return value
    whole = float(math.trunc(scaled))
    if abs(scaled - whole) >= 0.5:  # noqa: PLR2004 one half is one half
        whole += math.copysign(1.0, scaled)
    return whole / scale


def _days_since(moment: datetime, as_of: date, timezone: str) -> int:
    return (as_of - moment.astimezone(ZoneInfo(timezone)).date()).days


def _read_column(node: ColumnRef, row: Row) -> Any:
    relation = node.column.relation
    value = row[relation] if relation and relation in row else row[node.column.name]
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    if node.kind is Kind.NUMBER and value is not None and not node.column.integer:
        return float(value)
    return value


def _read_attribute(node: Attribute, row: Row) -> Any:
    fields = row[ATTRIBUTE_PREFIXES[node.prefix]]
    if isinstance(fields, str):
        fields = json.loads(fields)
    text = _json_text(fields.get(node.key)) if isinstance(fields, Mapping) else None
    return None if text is None else _as_kind(text, node.kind)


def _json_text(value: Any) -> str | None:
    """A JSON value as text; None for null, objects and lists."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case float():
            return repr(value).replace("e+", "e")
        case int():
            return str(value)
        case _:
            return None


_NUMBER = re.compile(NUMBER_PATTERN)
_TIME = re.compile(TIME_PATTERN)


def _as_kind(text: str, kind: Kind) -> Any:
    match kind:
        case Kind.TEXT | Kind.ANY:
            return text
        case Kind.NUMBER:
            return float(text) if _NUMBER.fullmatch(text) else None
        case Kind.TIME:
            return _as_time(text)
        case Kind.BOOLEAN:
            word = fold(text)
            return True if word in TRUE_WORDS else False if word in FALSE_WORDS else None
        case _:
            assert_never(kind)


def _as_time(text: str) -> datetime | None:
    if not _TIME.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

"""Tells a condition clause by clause for one contact: each with its value, and what would change it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connector.rules.columns import Kind
from connector.rules.evaluation import evaluate
from connector.rules.expressions import (
    AllOf,
    AnyOf,
    Attribute,
    Between,
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
from connector.rules.sql_text import is_whole


@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison inside a condition, for one contact.

    text: As written, with a `not` in front of it where there is one.
    value: What the contact has where the clause looks; a mapping by column where it looks at several.
    holds: True, False, or None when unknown because a value is missing.
    column: The column or attribute it is about; None when it is about none.
    would_change: The value that would turn it, and what the value is now.
    within: How it is combined, outermost first: `all`, `any`, `not`. Alone, it is ("all",).
    """

    text: str
    value: Any
    holds: bool | None
    column: str | None
    would_change: str | None
    within: tuple[str, ...] = ("all",)


def tell_clauses(tree: Expression, text: str, row: Mapping[str, Any]) -> list[Clause]:
    """Every clause of the condition, in the order written."""
    within = () if isinstance(tree, AllOf | AnyOf) else ("all",)
    return [_clause(node, text, row, path) for node, path in _leaves(tree, within)]


def _leaves(node: Expression, within: tuple[str, ...]) -> Iterator[tuple[Expression, tuple[str, ...]]]:
    match node:
        case AllOf():
            for part in node.parts:
                yield from _leaves(part, (*within, "all"))
        case AnyOf():
            for part in node.parts:
                yield from _leaves(part, (*within, "any"))
        case Not(operand=AllOf() | AnyOf()):
            yield from _leaves(node.operand, (*within, "not"))
        case _:
            yield node, within


def _clause(node: Expression, text: str, row: Mapping[str, Any], within: tuple[str, ...]) -> Clause:
    holds = evaluate(node, row)
    read = inputs(node)
    subject = _subject(node)
    column = next((item.name for item in inputs(subject)), read[0].name if read else None)
    return Clause(
        text=_bare(text[node.span[0] : node.span[1]]),
        value=_value(node, row),
        holds=holds,
        column=column,
        would_change=_would_change(node, text, row, holds=holds),
        within=within,
    )


def _bare(text: str) -> str:
    """On one line, without parentheses around the whole."""
    text = " ".join(text.split())
    while text.startswith("(") and text.endswith(")") and _enclosed(text):
        text = text[1:-1].strip()
    return text


def _enclosed(text: str) -> bool:
    """Whether the first parenthesis is closed by the last character."""
    level, quote = 0, ""
    for at, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        else:
            level += (character == "(") - (character == ")")
            if level == 0:
                return at == len(text) - 1
    return False


def _value(node: Expression, row: Mapping[str, Any]) -> Any:
    """The one value a clause looks at, or all of them by name."""
    read = inputs(node)
    if len(read) == 1:
        return evaluate(read[0], row)
    return {item.name: evaluate(item, row) for item in read} or None


def _subject(node: Expression) -> Expression:
    """What a clause is about: its left side, or the right one when only that reads a column."""
    match node:
        case Not() | Between() | OneOfList() | Matches() | IsNull() | IsTruth():
            return _subject(node.operand) if isinstance(node, Not) else node.operand
        case Comparison():
            return node.left if inputs(node.left) or not inputs(node.right) else node.right
        case _:
            return node


# --- what would change a clause -------------------------------------------------------------------------------


def _would_change(  # noqa: PLR0911 one case for each node
    node: Expression, text: str, row: Mapping[str, Any], *, holds: bool | None
) -> str | None:
    """A sentence: the nearest value that turns the clause, and the present one; None when nothing can."""
    negated = False
    while isinstance(node, Not):
        node, negated = node.operand, not negated
    if not inputs(node):
        return None
    missing = [item.name for item in inputs(node) if evaluate(item, row) is None]
    if holds is None:
        return f"unknown until {_listed(missing)} {'has a value' if len(missing) == 1 else 'have values'}"
    wanted = holds is negated
    match node:
        case Comparison() | Between() if _subject(node).kind in (Kind.NUMBER, Kind.TIME):
            return _bounds(node, text, row, wanted=wanted)
        case Comparison() | OneOfList() | Matches():
            return _other_value(node, text, row, wanted=wanted)
        case IsNull():
            name = _written(node.operand, text)
            return f"{name} is empty" if wanted else f"{name} has a value"
        case IsTruth():
            return f"{_written(node.operand, text)} {'is' if wanted else 'is not'} {'yes' if node.truth else 'no'}"
        case _:
            return f"{_written(node, text)} is {'yes' if wanted else 'no'}"


_OPPOSITE = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _bounds(node: Comparison | Between, text: str, row: Mapping[str, Any], *, wanted: bool) -> str | None:
    """The bound that turns a clause over numbers or times."""
    if isinstance(node, Between):
        return _between(node, text, row, wanted=wanted)
    left, right, operator = node.left, node.right, str(node.operator)
    if not inputs(left):
        left, right, operator = right, left, _MIRRORED[operator]
    return _one_bound(left, operator if wanted else _OPPOSITE[operator], right, text, row)


def _between(node: Between, text: str, row: Mapping[str, Any], *, wanted: bool) -> str | None:
    """Into the range from below or above, or out of it at either end."""
    if not inputs(node.operand):
        return None
    now, low, high = (evaluate(part, row) for part in (node.operand, node.low, node.high))
    if low is None or high is None or now is None:
        return None
    if wanted and low > high:
        return None
    if wanted:
        return _one_bound(node.operand, *((">=", node.low) if now < low else ("<=", node.high)), text, row)
    above = _one_bound(node.operand, ">", node.high, text, row)
    below = _one_bound(node.operand, "<", node.low, text, row)
    found = [told for told in (above, below) if told]
    return ", or ".join(found) or None


def _one_bound(subject: Expression, operator: str, limit: Expression, text: str, row: Mapping[str, Any]) -> str | None:
    """`inactive_days >= 30 (now 12: in 18 days)`."""
    bound, now = evaluate(limit, row), evaluate(subject, row)
    if bound is None or now is None:
        return None
    if is_whole(subject) and isinstance(bound, float) and bound.is_integer():
        bound = int(bound)
    if is_whole(subject) and operator in (">", "<") and isinstance(bound, int):
        operator, bound = (">=", bound + 1) if operator == ">" else ("<=", bound - 1)
    if _impossible(subject, operator, bound):
        return None
    when = _when(subject, operator, bound, now)
    return f"{_written(subject, text)} {operator} {_shown(bound)} (now {_shown(now)}{when})"


def _impossible(subject: Expression, operator: str, bound: Any) -> bool:
    """Whether the column can never get there: fewer than 0 silent days, a sixth quintile."""
    if not isinstance(subject, ColumnRef) or not isinstance(bound, int | float):
        return False
    low, high = subject.column.low, subject.column.high
    too_low = low is not None and operator in ("<", "<=") and (bound < low or (operator == "<" and bound == low))
    too_high = high is not None and operator in (">", ">=") and (bound > high or (operator == ">" and bound == high))
    return too_low or too_high


def _when(subject: Expression, operator: str, bound: Any, now: Any) -> str:
    """For the one column that time itself moves: how many days of further silence, or that only use helps."""
    if not (isinstance(subject, ColumnRef) and subject.name == "inactive_days" and isinstance(bound, int | float)):
        return ""
    if not math.isfinite(bound):
        return ""
    target = {">=": math.ceil(bound), ">": math.floor(bound) + 1, "=": bound, "<>": now + 1}.get(operator)
    if target is None:
        return ": with new use"
    if target != int(target) or target <= now:
        return ": with new use" if target <= now else ""
    days = int(target - now)
    return f": in {days} {'day' if days == 1 else 'days'}"


def _other_value(node: Comparison | OneOfList | Matches, text: str, row: Mapping[str, Any], *, wanted: bool) -> str:
    """What a text or a yes/no value would have to be."""
    subject = _subject(node)
    now = f"(now {_shown(evaluate(subject, row))})"
    name = _written(subject, text)
    if isinstance(node, Matches):
        verb = ("like" if wanted else "not like") if not node.folded else ("ilike" if wanted else "not ilike")
        return f"{name} {verb} {_shown(node.pattern)} {now}"
    if isinstance(node, OneOfList):
        values = [_shown(evaluate(choice, row)) for choice in node.choices]
        return f"{name} {'in' if wanted else 'not in'} ({', '.join(values)}) {now}"
    other = node.right if subject is node.left else node.left
    if subject.kind is Kind.BOOLEAN:
        same = (node.operator == "=") is wanted
        return f"{name} {'is' if same else 'is not'} {_shown(evaluate(other, row))} {now}"
    operator = str(node.operator) if subject is node.left else _MIRRORED[node.operator]
    return f"{name} {operator if wanted else _OPPOSITE[operator]} {_shown(evaluate(other, row))} {now}"


def _written(node: Expression, text: str) -> str:
    if isinstance(node, ColumnRef | Attribute):
        return node.name
    if isinstance(node, Constant):
        return _shown(node.value)
    return _bare(text[node.span[0] : node.span[1]])


def _shown(value: Any) -> str:
    """A value as a person would write it."""
    match value:
        case None:
            return "empty"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.0f}" if value.is_integer() else f"{value:.4g}" if abs(value) < 1e4 else f"{value:.2f}"  # noqa: PLR2004 four figures are enough below it
        case str():
            return "'" + value.replace("'", "''") + "'"
        case datetime():
            return value.isoformat(sep=" ", timespec="minutes")
        case _:
            return str(value)


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else list(names)) if names else "a value"

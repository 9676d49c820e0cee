"""Writes a checked condition as DuckDB SQL over the features relation.

Calculations are done in DOUBLE, so that nothing overflows and division has one meaning; a whole-number column beside
a whole number is compared as it is. Names are quoted and come from the list of columns only; values are literals
written here, never text taken over from the condition.
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

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

NUMBER_PATTERN = r"[+-]?[0-9]{1,30}([.][0-9]{1,30})?([eE][+-]?[0-9]{1,2})?"
TIME_PATTERN = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
"""What text in `attributes` counts as a number or a time; anything else has no value there."""

_NULL_TYPES = {
    Kind.NUMBER: "DOUBLE",
    Kind.TEXT: "VARCHAR",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.TIME: "TIMESTAMPTZ",
    Kind.ANY: "VARCHAR",
}

TRUE_WORDS = ("true", "yes", "1")
FALSE_WORDS = ("false", "no", "0")


def to_sql(node: Expression) -> str:  # noqa: C901, PLR0911, PLR0912 one case for each node
    """The node as SQL, in parentheses where it has parts."""
    match node:
        case ColumnRef():
            return quoted_name(node.column.relation or node.column.name)
        case Attribute():
            return _attribute(node)
        case Constant():
            return _constant(node)
        case Arithmetic():
            return _arithmetic(node)
        case Negative():
            return f"(-{_number(node.operand)})"
        case Call():
            return _call(node)
        case Comparison():
            left, right = _alike(node.left, node.right)
            return f"({left} {node.operator} {right})"
        case Between():
            operand, low, high = _alike(node.operand, node.low, node.high)
            return f"({operand} BETWEEN {low} AND {high})"
        case OneOfList():
            operand, *choices = _alike(node.operand, *node.choices)
            return f"({operand} IN ({', '.join(choices)}))"
        case Matches():
            return _matches(node)
        case IsNull():
            return f"({to_sql(node.operand)} IS NULL)"
        case IsTruth():
            return f"({to_sql(node.operand)} IS NOT DISTINCT FROM {str(node.truth).upper()})"
        case Not():
            return f"(NOT {to_sql(node.operand)})"
        case AllOf():
            return f"({' AND '.join(map(to_sql, node.parts))})"
        case AnyOf():
            return f"({' OR '.join(map(to_sql, node.parts))})"
        case _:
            assert_never(node)


def quoted_name(name: str) -> str:
    """An identifier, quoted."""
    return '"' + name.replace('"', '""') + '"'


def quoted_text(text: str) -> str:
    """A text literal, quoted."""
    return "'" + text.replace("'", "''") + "'"


def is_whole(node: Expression) -> bool:
    """Whether a number can only be whole, and is of type BIGINT in the engine."""
    match node:
        case ColumnRef():
            return node.column.integer
        case Constant():
            return isinstance(node.value, int) and not isinstance(node.value, bool)
        case Call():
            return node.function in {"length", "days_since"}
        case _:
            return False


def _number(node: Expression) -> str:
    """A number as DOUBLE."""
    if isinstance(node, Constant) and isinstance(node.value, int | float):
        return f"{float(node.value)!r}e0" if "e" not in repr(float(node.value)) else repr(float(node.value))
    if isinstance(node, ColumnRef | Call) and is_whole(node):
        return f"CAST({to_sql(node)} AS DOUBLE)"
    return to_sql(node)


def _alike(*nodes: Expression) -> tuple[str, ...]:
    """The nodes ready to be compared with each other."""
    if any(node.kind is Kind.NUMBER for node in nodes) and not all(is_whole(node) for node in nodes if not _null(node)):
        return tuple(_number(node) for node in nodes)
    return tuple(to_sql(node) for node in nodes)


def _null(node: Expression) -> bool:
    return isinstance(node, Constant) and node.value is None


def _constant(node: Constant) -> str:
    match node.value:
        case None:
            return f"CAST(NULL AS {_NULL_TYPES[node.kind]})"
        case bool():
            return str(node.value).upper()
        case int():
            return str(node.value)
        case float():
            return _number(node)
        case str():
            return quoted_text(node.value)
        case datetime():
            return f"TIMESTAMPTZ '{node.value.isoformat(sep=' ')}'"
        case _:
            assert_never(node.value)


def _arithmetic(node: Arithmetic) -> str:
    left, right = _number(node.left), _number(node.right)
    if node.operator in ("/", "%"):
        right = f"nullif({right}, 0e0)"
    return f"({left} {node.operator} {right})"


def _call(node: Call) -> str:
    if node.function == "days_since":
        zone = quoted_text(node.timezone or "UTC")
        date = f"CAST({to_sql(node.arguments[0])} AT TIME ZONE {zone} AS DATE)"
        return f"date_diff('day', {date}, {quoted_name(AS_OF)})"
    if node.function == "round":
        digits = to_sql(node.arguments[1]) if node.arguments[1:] else "0"
        return f"round({_number(node.arguments[0])}, {digits})"
    if node.kind is Kind.NUMBER and node.function != "length":
        arguments = [_number(argument) for argument in node.arguments]
    else:
        arguments = [to_sql(argument) for argument in node.arguments]
    return f"{node.function}({', '.join(arguments)})"


def _matches(node: Matches) -> str:
    operand, pattern = to_sql(node.operand), quoted_text(node.pattern)
    if node.folded:
        operand, pattern = f"lower({operand})", f"lower({pattern})"
    return f"({operand} LIKE {pattern})"


def _attribute(node: Attribute) -> str:
    """The field as text where it is a single value, then as the kind that is asked for."""
    column = quoted_name(ATTRIBUTE_PREFIXES[node.prefix])
    path = quoted_text(f'$."{node.key}"')
    nested = f"json_type({column}, {path}) IN ('OBJECT', 'ARRAY')"
    text = f"CASE WHEN {nested} THEN NULL ELSE json_extract_string({column}, {path}) END"
    match node.kind:
        case Kind.TEXT | Kind.ANY:
            return f"({text})"
        case Kind.NUMBER:
            return _cast_if(text, NUMBER_PATTERN, "DOUBLE")
        case Kind.TIME:
            return _cast_if(text, TIME_PATTERN, "TIMESTAMPTZ")
        case Kind.BOOLEAN:
            yes = ", ".join(map(quoted_text, TRUE_WORDS))
            no = ", ".join(map(quoted_text, FALSE_WORDS))
            return f"(CASE WHEN lower({text}) IN ({yes}) THEN TRUE WHEN lower({text}) IN ({no}) THEN FALSE END)"
        case _:
            assert_never(node.kind)


def _cast_if(text: str, pattern: str, type_name: str) -> str:
    """The text as a type, where it looks like one; NULL otherwise."""
    return f"TRY_CAST(CASE WHEN regexp_full_match({text}, {quoted_text(pattern)}) THEN {text} END AS {type_name})"

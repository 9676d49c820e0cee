"""Conditions of a query made into functions of a record, with the vendor's checks of type and operator."""

from __future__ import annotations

import calendar
import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from adapters.salesforce.ids import to_18
from adapters.salesforce.sandbox.answers import Refusal
from adapters.salesforce.sandbox.fields import IDS, NUMBERS, TEXTS, Field, SObject
from adapters.salesforce.sandbox.reading import Column, Reader, column
from adapters.salesforce.sandbox.soql import Comparison, Condition, Every, Literal, Negated, Query, Some

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.records import Row
    from adapters.salesforce.sandbox.state import State

Test = Callable[["Row"], bool]

ORDERINGS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
LONG_TEXT = 255
WANTED = {
    "boolean": "boolean",
    "date": "date",
    "datetime": "dateTime",
    "int": "int",
    "double": "double",
    "currency": "double",
    "percent": "double",
}
LIKE_SIGNS = re.compile(r"\\([\\%_])|([%_])|([^\\%_]+|\\)")
DAY = timedelta(days=1)


def test(state: State, kind: SObject, condition: Condition, *, query: Query, now_ms: int) -> Test:
    """The condition as a function that says whether a record meets it."""
    match condition:
        case Every(parts):
            tests = [test(state, kind, part, query=query, now_ms=now_ms) for part in parts]
            return lambda row: all(one(row) for one in tests)
        case Some(parts):
            tests = [test(state, kind, part, query=query, now_ms=now_ms) for part in parts]
            return lambda row: any(one(row) for one in tests)
        case Negated(inner):
            inside = test(state, kind, inner, query=query, now_ms=now_ms)
            return lambda row: not inside(row)
        case Comparison():
            return _comparison(state, kind, condition, query=query, now_ms=now_ms)


def folding(one: Field) -> Callable[[str], str]:
    """How text of a field is compared: without regard to case, but for an id of the org's own that minds it."""
    return str if one.case_sensitive else str.casefold


def filterable(one: Field) -> bool:
    """Whether a field may stand in a condition or an order: long text areas may not."""
    return one.kind != "textarea" or one.length <= LONG_TEXT


def typed(one: Field, literal: Literal) -> Any:
    """The literal as the field keeps its values; Refusal where the types do not fit."""
    if literal.value is None:
        return None
    if one.kind in IDS:
        return _id(one, literal)
    if one.kind in TEXTS:
        if literal.kind != "string":
            raise Refusal(
                "INVALID_FIELD",
                f"value of filter criterion for field '{one.name}' must be of type string and should be enclosed in "
                "quotes",
            )
        return folding(one)(str(literal.value))
    wanted = WANTED[one.kind]
    if literal.kind != wanted and not (one.kind in NUMBERS and literal.kind == "number"):
        raise Refusal(
            "INVALID_FIELD",
            f"value of filter criterion for field '{one.name}' must be of type {wanted} and should not be enclosed in "
            "quotes",
        )
    if one.kind == "date":
        _valid_day(literal.value)
    return literal.value


def _comparison(state: State, kind: SObject, given: Comparison, *, query: Query, now_ms: int) -> Test:
    found = column(state, kind, given.path, text=query.text)
    one, read = found.field, found.read
    if not filterable(one):
        raise Refusal("INVALID_FIELD", f"field '{one.name}' can not be filtered in a query call")
    if given.operator == "like":
        return _like(one, read, given.values[0])
    if given.operator in {"in", "not in"}:
        wanted = {typed(one, literal) for literal in given.values}
        among = _among(one, read, wanted)
        return among if given.operator == "in" else lambda row: not among(row)
    if given.operator in {"includes", "excludes"}:
        return _includes(one, read, given)
    literal = given.values[0]
    if literal.kind == "relative":
        return _relative(one, read, given.operator, span_of(str(literal.value), now_ms))
    return _compare(found, given.operator, typed(one, literal))


def _compare(found: Column, sign: str, wanted: Any) -> Test:
    one, read = found.field, found.read
    if sign in {"=", "!="}:
        same = _same(found, wanted)
        return same if sign == "=" else lambda row: not same(row)
    if one.kind == "boolean":
        raise Refusal("INVALID_QUERY_FILTER_OPERATOR", "invalid operator on boolean field")
    if wanted is None:
        raise Refusal("INVALID_QUERY_FILTER_OPERATOR", f"invalid operator on null: {sign}")
    fits = ORDERINGS[sign]
    if one.kind in TEXTS:
        fold = folding(one)

        def folded(row: Row) -> bool:
            value = read(row)
            return value is not None and fits(fold(value), wanted)

        return folded

    def ordered(row: Row) -> bool:
        value = read(row)
        return value is not None and fits(value, wanted)

    return ordered


def _same(found: Column, wanted: Any) -> Test:
    read = found.read
    if wanted is None:
        return lambda row: read(row) is None
    if found.field.kind in TEXTS:
        fold = folding(found.field)

        def folded(row: Row) -> bool:
            value = read(row)
            return value is not None and fold(value) == wanted

        return folded
    return lambda row: bool(read(row) == wanted)


def _among(one: Field, read: Reader, wanted: set[Any]) -> Test:
    if one.kind not in TEXTS:
        return lambda row: read(row) in wanted
    fold = folding(one)

    def folded(row: Row) -> bool:
        value = read(row)
        return (value if value is None else fold(value)) in wanted

    return folded


def _like(one: Field, read: Reader, literal: Literal) -> Test:
    if one.kind in IDS:
        raise Refusal("INVALID_QUERY_FILTER_OPERATOR", "invalid operator on id field")
    if one.kind not in TEXTS:
        raise Refusal("INVALID_QUERY_FILTER_OPERATOR", f"invalid operator on {one.kind} field")
    typed(one, literal)
    pattern = like_pattern(str(literal.value or ""))

    def fits(row: Row) -> bool:
        value = read(row)
        return value is not None and pattern.fullmatch(str(value)) is not None

    return fits


def like_pattern(text: str) -> re.Pattern[str]:
    """A LIKE pattern as an expression: % stands for any text, _ for one sign, case does not matter."""
    parts = []
    for found in LIKE_SIGNS.finditer(text):
        escaped, wild, plain = found.groups()
        if wild:
            parts.append(".*" if wild == "%" else ".")
        else:
            parts.append(re.escape(escaped if escaped is not None else plain))
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)


def _includes(one: Field, read: Reader, given: Comparison) -> Test:
    if one.kind != "multipicklist":
        raise Refusal("INVALID_QUERY_FILTER_OPERATOR", f"invalid operator on {one.kind} field: {given.operator}")
    wanted = [set(str(typed(one, literal)).split(";")) for literal in given.values]
    hit = given.operator == "includes"

    def fits(row: Row) -> bool:
        held = set(str(read(row) or "").casefold().split(";"))
        return any(values <= held for values in wanted) is hit

    return fits


def _relative(one: Field, read: Reader, sign: str, span: tuple[date, date]) -> Test:
    if one.kind not in {"date", "datetime"}:
        raise Refusal("INVALID_FIELD", f"value of filter criterion for field '{one.name}' must be of type {one.kind}")
    first: Any
    after: Any
    if one.kind == "date":
        first, after = (moment.isoformat() for moment in span)
    else:
        first, after = (round(datetime(d.year, d.month, d.day, tzinfo=UTC).timestamp() * 1000) for d in span)
    tests: Mapping[str, Callable[[Any], bool]] = {
        "=": lambda value: value is not None and first <= value < after,
        "!=": lambda value: value is None or not first <= value < after,
        "<": lambda value: value is not None and value < first,
        "<=": lambda value: value is not None and value < after,
        ">": lambda value: value is not None and value >= after,
        ">=": lambda value: value is not None and value >= first,
    }
    chosen = tests[sign]
    return lambda row: chosen(read(row))


def span_of(word: str, now_ms: int) -> tuple[date, date]:
    """The days a relative date stands for: the first, and the first after."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    name, _, count = word.partition(":")
    if count:
        days = timedelta(days=int(count))
        return (today - days, today + DAY) if name == "LAST_N_DAYS" else (today + DAY, today + DAY + days)
    monday = today - timedelta(days=(today.weekday() + 1) % 7)
    month = today.replace(day=1)
    month_days = timedelta(days=calendar.monthrange(month.year, month.month)[1])
    before = (month - DAY).replace(day=1)
    following = month + month_days
    week = timedelta(days=7)
    quarter = timedelta(days=90)
    spans = {
        "TODAY": (today, today + DAY),
        "YESTERDAY": (today - DAY, today),
        "TOMORROW": (today + DAY, today + 2 * DAY),
        "THIS_WEEK": (monday, monday + week),
        "LAST_WEEK": (monday - week, monday),
        "NEXT_WEEK": (monday + week, monday + 2 * week),
        "THIS_MONTH": (month, following),
        "LAST_MONTH": (before, month),
        "NEXT_MONTH": (following, (following + timedelta(days=31)).replace(day=1)),
        "THIS_YEAR": (date(today.year, 1, 1), date(today.year + 1, 1, 1)),
        "LAST_90_DAYS": (today - quarter, today + DAY),
        "NEXT_90_DAYS": (today + DAY, today + DAY + quarter),
    }
    return spans[name]


def _id(one: Field, literal: Literal) -> str:
    if literal.kind != "string":
        raise Refusal(
            "INVALID_FIELD",
            f"value of filter criterion for field '{one.name}' must be of type ID and should be enclosed in quotes",
        )
    try:
        return to_18(str(literal.value))
    except ValueError:
        raise Refusal("INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {literal.value}") from None


def _valid_day(text: str) -> None:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise Refusal("MALFORMED_QUERY", f"line 1: invalid date '{text}'") from None

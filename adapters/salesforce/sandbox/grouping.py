"""Aggregates: how many, the least, the most, the sum, of all records or of groups of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapters.salesforce.sandbox.answers import Refusal
from adapters.salesforce.sandbox.conditions import filterable, folding
from adapters.salesforce.sandbox.fields import NUMBERS, TEXTS, SObject
from adapters.salesforce.sandbox.reading import Column, column
from adapters.salesforce.sandbox.soql import Aggregate, Query, place
from adapters.salesforce.sandbox.values import to_json

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.records import Row
    from adapters.salesforce.sandbox.state import State

UNGROUPABLE = frozenset({"datetime", "double", "currency", "percent", "textarea", "multipicklist"})
ORDERED = NUMBERS | {"date", "datetime", "picklist"}
TAKES: Mapping[str, frozenset[str]] = {"SUM": NUMBERS, "AVG": NUMBERS, "MIN": ORDERED, "MAX": ORDERED}
"""The types of field a function works on; any, where it is not named."""

FUNCTIONS: Mapping[str, Callable[[list[Any]], Any]] = {
    "COUNT": len,
    "COUNT_DISTINCT": lambda values: len({value.casefold() if isinstance(value, str) else value for value in values}),
    "MIN": lambda values: min(values, default=None),
    "MAX": lambda values: max(values, default=None),
    "SUM": lambda values: sum(values) if values else None,
    "AVG": lambda values: sum(values) / len(values) if values else None,
}
COUNTS = frozenset({"COUNT", "COUNT_DISTINCT"})
MOST_GROUPS = 2_000


def check_groups(state: State, kind: SObject, query: Query) -> None:
    """Refuse what cannot be grouped or summed up, and fields that are neither."""
    grouped = {column(state, kind, path, text=query.text).names for path in query.group_by}
    for path in query.group_by:
        one = column(state, kind, path, text=query.text).field
        if one.kind in UNGROUPABLE:
            raise Refusal("MALFORMED_QUERY", f"field '{one.name}' can not be grouped in a query call")
    for path in (*query.fields, *(order.path for order in query.order)):
        if column(state, kind, path, text=query.text).names not in grouped:
            where = place(query.text, max(0, query.text.find(".".join(path))))
            raise Refusal("MALFORMED_QUERY", f"{where}Field must be grouped or aggregated: {path[-1]}")
    for aggregate in query.aggregates:
        one = column(state, kind, aggregate.path, text=query.text).field
        if not filterable(one) or one.kind not in TAKES.get(aggregate.function, {one.kind}):
            raise Refusal(
                "MALFORMED_QUERY", f"field {one.name} does not support aggregate operator {aggregate.function}"
            )


def groups_of(state: State, kind: SObject, query: Query, rows: Iterable[Row]) -> list[list[Row]]:
    """The records in groups, in the order their first ones come; all in one where nothing groups them."""
    columns = [column(state, kind, path) for path in query.group_by]
    if not columns:
        return [list(rows)]
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(_key(one, row) for one in columns), []).append(row)
    return list(found.values())


def summaries(state: State, kind: SObject, query: Query, groups: Sequence[list[Row]]) -> list[dict[str, Any]]:
    """One `AggregateResult` a group."""
    if len(groups) > MOST_GROUPS:
        raise Refusal(
            "EXCEEDED_ID_LIMIT",
            "Aggregate query does not support queryMore(), use LIMIT to restrict the results to a single batch",
        )
    columns = [column(state, kind, path) for path in query.fields]
    summed = [(one, column(state, kind, one.path)) for one in query.aggregates]
    return [_summary(columns, summed, group) for group in groups]


def _summary(
    columns: Sequence[Column], summed: Sequence[tuple[Aggregate, Column]], group: Sequence[Row]
) -> dict[str, Any]:
    body: dict[str, Any] = {"attributes": {"type": "AggregateResult"}}
    for one in columns:
        body[one.field.name] = to_json(one.field.kind, one.read(group[0]))
    for aggregate, of in summed:
        values = [value for value in map(of.read, group) if value is not None]
        total = FUNCTIONS[aggregate.function](values)
        body[aggregate.alias] = total if aggregate.function in COUNTS else to_json(of.field.kind, total)
    return body


def _key(one: Column, row: Row) -> Any:
    value = one.read(row)
    return folding(one.field)(value) if value is not None and one.field.kind in TEXTS else value

"""Queries answered: checked, run, kept for reading on, and written page by page."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from adapters.salesforce.ids import record_id
from adapters.salesforce.sandbox.answers import BAD_REQUEST, Refusal
from adapters.salesforce.sandbox.choosing import choose, natural_order
from adapters.salesforce.sandbox.conditions import filterable, test
from adapters.salesforce.sandbox.fields import TEXTS, SObject
from adapters.salesforce.sandbox.grouping import check_groups, groups_of, summaries
from adapters.salesforce.sandbox.reading import Column, Reader, column
from adapters.salesforce.sandbox.rendering import attributes
from adapters.salesforce.sandbox.soql import Order, Path, Query, parse, place
from adapters.salesforce.sandbox.values import to_json

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.records import Row
    from adapters.salesforce.sandbox.state import State

MOST_OFFSET = 2_000
KEPT = 20
"""How many queries can be read on at a time; with one more, the oldest is over."""

Writer = Callable[["Row", str], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A query that was checked against the org: what it reads, and how."""

    query: Query
    kind: SObject
    columns: tuple[Column, ...]


@dataclass(slots=True)
class Found:
    """The answer of a query while it is read on."""

    prepared: Prepared
    rows: Sequence[Row]
    total: int
    at_ms: int
    write: Writer


class Queries:
    """The queries that can still be read on, by their locators."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, Found] = OrderedDict()
        self._number = 0

    def keep(self, found: Found) -> str:
        """Keep an answer; its locator."""
        self._number += 1
        locator = record_id("QueryLocator", self._number)
        self._found[locator] = found
        while len(self._found) > KEPT:
            self._found.popitem(last=False)
        return locator

    def get(self, locator: str, *, now_ms: int, life_ms: int) -> Found:
        """An answer that is read on; INVALID_QUERY_LOCATOR when it is over."""
        found = self._found.get(locator)
        if found is None or found.at_ms + life_ms <= now_ms:
            self._found.pop(locator, None)
            raise Refusal("INVALID_QUERY_LOCATOR", "invalid query locator", status=BAD_REQUEST)
        return found

    def drop(self, locator: str) -> None:
        """Forget an answer that was read to its end."""
        self._found.pop(locator, None)

    def clear(self) -> None:
        """End every query: what the vendor may do under pressure."""
        self._found.clear()


def prepare(state: State, text: str, *, tooling: bool = False) -> Prepared:
    """Read a query and check it against the org and our permissions; Refusal in the vendor's words.

    tooling: Kinds that only the Tooling API has may be asked for.
    """
    query = parse(text)
    if query.unsupported:
        raise Refusal("MALFORMED_QUERY", f"The sandbox does not answer {', '.join(query.unsupported)}")
    kind = (state.tooling_kind(query.sobject) if tooling else None) or state.kind(query.sobject)
    if kind is None or not state.viewer.may(kind, "read"):
        raise Refusal(
            "INVALID_TYPE",
            f"{place(text, max(0, text.find(query.sobject)))}sObject type '{query.sobject}' is not supported. If you "
            "are attempting to use a custom object, be sure to append the '__c' after the entity name. Please "
            "reference your WSDL or the describe call for the appropriate names.",
        )
    _check(query)
    columns = tuple(column(state, kind, path, text=text) for path in query.fields)
    names = [one.names for one in columns]
    for name in names:
        if names.count(name) > 1:
            raise Refusal("MALFORMED_QUERY", f"duplicate field selected: {'.'.join(name)}")
    for order in query.order:
        _sortable(state, kind, order.path, text)
    if query.where is not None:
        test(state, kind, query.where, query=query, now_ms=0)
    if query.groups:
        check_groups(state, kind, query)
    return Prepared(query, kind, columns)


def run(state: State, prepared: Prepared, *, all_rows: bool, now_ms: int) -> list[Row]:
    """The records that meet the query, in its order; `all_rows` takes in the recycle bin."""
    query, kind = prepared.query, prepared.kind
    chosen = choose(state.stores[kind.name], query)
    rows = _matching(state, prepared, chosen.rows, all_rows=all_rows, now_ms=now_ms)
    first, last = _span(query)
    if query.order and (chosen.order is None or chosen.order != natural_order(kind, query)):
        return _sorted(state, kind, query.order, rows)[first:last]
    return list(islice(rows, first, last))


def run_groups(state: State, prepared: Prepared, *, all_rows: bool, now_ms: int) -> list[dict[str, Any]]:
    """The groups of the records that meet the query, summed up, in its order."""
    query, kind = prepared.query, prepared.kind
    chosen = choose(state.stores[kind.name], query)
    rows = _matching(state, prepared, chosen.rows, all_rows=all_rows, now_ms=now_ms)
    groups = groups_of(state, kind, query, rows)
    if query.order:
        by_first = {group[0].id: group for group in groups if group}
        groups = [by_first[row.id] for row in _sorted(state, kind, query.order, [group[0] for group in groups])]
    first, last = _span(query)
    return summaries(state, kind, query, groups[first:last])


def count(state: State, prepared: Prepared, *, all_rows: bool, now_ms: int) -> int:
    """How many records meet the query, without keeping them."""
    if prepared.query.where is None and not all_rows and prepared.query.limit is None:
        return max(0, state.stores[prepared.kind.name].live - (prepared.query.offset or 0))
    return len(run(state, prepared, all_rows=all_rows, now_ms=now_ms))


def writer(state: State, prepared: Prepared) -> Writer:
    """How a record of the answer is written as JSON: relations become objects, null where they lead nowhere."""
    tree = _tree(prepared.columns)

    def write(row: Row, path: str) -> dict[str, Any]:
        return _written(state, prepared.kind, tree, row, path)

    return write


def _matching(state: State, prepared: Prepared, rows: Iterable[Row], *, all_rows: bool, now_ms: int) -> Iterable[Row]:
    query, kind = prepared.query, prepared.kind
    if not all_rows and state.stores[kind.name].bin:
        rows = (row for row in rows if row.deleted_ms is None)
    if query.where is not None:
        rows = filter(test(state, kind, query.where, query=query, now_ms=now_ms), rows)
    return rows


def _span(query: Query) -> tuple[int, int | None]:
    first = query.offset or 0
    return first, None if query.limit is None else first + query.limit


def _check(query: Query) -> None:
    if query.counts and query.fields:
        raise Refusal("MALFORMED_QUERY", "COUNT() cannot stand beside fields")
    if query.offset is not None and query.offset > MOST_OFFSET:
        raise Refusal("NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {MOST_OFFSET}")


def _sortable(state: State, kind: SObject, path: Path, text: str) -> Column:
    found = column(state, kind, path, text=text)
    if not filterable(found.field) or found.field.kind == "multipicklist":
        raise Refusal("INVALID_FIELD", f"field '{found.field.name}' can not be sorted in a query call")
    return found


def _sorted(state: State, kind: SObject, order: Sequence[Order], rows: Iterable[Row]) -> list[Row]:
    found = list(rows)
    for one in reversed(order):
        by = _sortable(state, kind, one.path, "")
        nulls_first = one.nulls_first if one.nulls_first is not None else not one.descending
        found.sort(key=_key(by, nulls_low=nulls_first is not one.descending), reverse=one.descending)
    return found


def _key(by: Column, *, nulls_low: bool) -> Reader:
    read, folds = by.read, by.field.kind in TEXTS
    null = (0 if nulls_low else 2, "")

    def key(row: Row) -> Any:
        value = read(row)
        if value is None:
            return null
        return 1, (value.casefold() if folds else value)

    return key


Tree = dict[str, Any]


def _tree(columns: Sequence[Column]) -> Tree:
    """The columns as the answer nests them: a leaf is a column, a branch is (link's reader, its own tree)."""
    tree: Tree = {}
    for one in columns:
        at = tree
        for link in one.links:
            at = at.setdefault(str(link.relationship), (link, {}))[1]
        at[one.field.name] = one
    return tree


def _written(state: State, kind: SObject, tree: Tree, row: Row, path: str) -> dict[str, Any]:
    body: dict[str, Any] = {"attributes": attributes(kind, row.id, path=path)}
    for name, leaf in tree.items():
        if isinstance(leaf, Column):
            value = leaf.read(row) if not leaf.links else state.value(row, leaf.field.name)
            body[name] = to_json(leaf.field.kind, value)
            continue
        link, inner = leaf
        led_to = state.value(row, link.name)
        found = None if led_to is None else state.row(led_to)
        led_kind = None if found is None else state.kind_of(found.id)
        body[name] = None if found is None or led_kind is None else _written(state, led_kind, inner, found, path)
    return body

"""Which records a query needs to look at: by an index where a condition allows it, all of them otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from adapters.salesforce.sandbox.conditions import typed
from adapters.salesforce.sandbox.fields import SYSTEM, Field, SObject
from adapters.salesforce.sandbox.records import Row, Store
from adapters.salesforce.sandbox.soql import Comparison, Condition, Every, Negated, Query, Some

BY_ID = "Id"
BY_STAMP = "SystemModstamp"


@dataclass(frozen=True, slots=True)
class Choice:
    """The records to look at, and the order they come in (BY_ID, BY_STAMP), None for no order."""

    rows: Iterable[Row]
    order: str | None = None


def choose(store: Store, query: Query) -> Choice:
    """The smallest set of records known to hold every answer."""
    order = natural_order(store.sobject, query)
    named = None if query.where is None else _named(store, query.where)
    if named is not None and len(named) * 4 < len(store.rows) + 64:
        return Choice(_existing(store, named))
    lowest = None if query.where is None else _bound(store.sobject, query.where, BY_ID)
    since = None if query.where is None else _bound(store.sobject, query.where, BY_STAMP)
    if order == BY_ID or (lowest is not None and since is None and order is None):
        return Choice(store.ids_from(str(lowest or "")), BY_ID)
    if order == BY_STAMP or since is not None:
        return Choice(store.changed_from(int(since or 0)), BY_STAMP)
    return Choice(store.rows.values())


def natural_order(kind: SObject, query: Query) -> str | None:
    """The index whose order is the one the query asks for, if there is one."""
    names = [".".join(one.path).lower() for one in query.order]
    if any(one.descending for one in query.order) or any(kind.find(name) is None for name in names):
        return None
    if names == ["id"]:
        return BY_ID
    if names == ["systemmodstamp", "id"]:
        return BY_STAMP
    return None


def _existing(store: Store, ids: Iterable[str]) -> Iterator[Row]:
    return (row for row in (store.rows.get(one) for one in ids) if row is not None)


def _named(store: Store, condition: Condition) -> list[str] | None:
    """The ids a condition restricts the answer to, through an index; None where it does not."""
    match condition:
        case Every(parts):
            found = [ids for ids in (_named(store, part) for part in parts) if ids is not None]
            return min(found, key=len) if found else None
        case Some(parts):
            every = [_named(store, part) for part in parts]
            if any(ids is None for ids in every):
                return None
            return list(dict.fromkeys(one for ids in every if ids is not None for one in ids))
        case Comparison(path, sign, values) if sign in {"=", "in"} and len(path) == 1:
            one = store.sobject.find(path[0])
            if one is None or any(literal.kind == "relative" for literal in values):
                return None
            return _looked_up(store, one, [typed(one, literal) for literal in values])
    return None


def _looked_up(store: Store, one: Field, values: list[object]) -> list[str] | None:
    if any(value is None for value in values) or not values:
        return None
    if one.name == BY_ID:
        return [str(value) for value in dict.fromkeys(values)]
    if one.name in SYSTEM or not one.indexed:
        return None
    index = store.index(one.name)
    keys = dict.fromkeys(value.casefold() if isinstance(value, str) else value for value in values)
    return [record_id for key in keys for record_id in index.get(key, ())]


def _bound(kind: SObject, condition: Condition, name: str) -> Any:
    """The lowest value of Id or SystemModstamp that any answer can have; None for no bound."""
    match condition:
        case Every(parts):
            found = [bound for bound in (_bound(kind, part, name) for part in parts) if bound is not None]
            return max(found) if found else None
        case Some(parts):
            every = [_bound(kind, part, name) for part in parts]
            known = [bound for bound in every if bound is not None]
            return min(known) if len(known) == len(every) else None
        case Comparison(path, sign, values) if sign in {"=", ">", ">="} and len(path) == 1:
            one = kind.find(path[0])
            if one is None or one.name != name or values[0].kind == "relative":
                return None
            return typed(one, values[0])
        case Negated() | Comparison():
            return None

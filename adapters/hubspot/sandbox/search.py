"""Searching: the vendor's limits and operators, over what the search index has seen."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from adapters.hubspot.sandbox.answers import Refusal, parse_time
from adapters.hubspot.sandbox.definitions import Definition
from adapters.hubspot.sandbox.records import ObjectStore, Record

MAX_PAGE = 200
MAX_WINDOW = 10_000
MAX_BODY = 3_000
MAX_GROUPS = 5
MAX_FILTERS_PER_GROUP = 6
MAX_FILTERS = 18
KEPT_RESULTS = 16
FOREVER_MS = 1 << 62
MODIFIED = frozenset({"lastmodifieddate", "hs_lastmodifieddate"})
CREATED = frozenset({"createdate", "hs_createdate"})
TEXT_FIELDS = ("firstname", "lastname", "email", "phone", "hs_additional_emails", "company", "name", "domain")

Test = Callable[[Record], bool]
Value = float | str


@dataclass(frozen=True, slots=True)
class Group:
    """Filters that must all hold: a span of last changes, and tests for the rest."""

    from_ms: int
    below_ms: int
    tests: tuple[Test, ...]

    def holds(self, record: Record) -> bool:
        """Whether the record passes."""
        return self.from_ms <= record.updated_ms < self.below_ms and all(test(record) for test in self.tests)


@dataclass(frozen=True, slots=True)
class Query:
    """A checked search. `key` is the same for every page of one search."""

    key: str
    groups: tuple[Group, ...]
    sort: str | None
    descending: bool
    properties: tuple[str, ...]
    limit: int
    after: int


class Searcher:
    """Runs searches over one kind of record and remembers the last few results, so that paging is cheap."""

    def __init__(self, store: ObjectStore, definitions: Mapping[str, Definition]) -> None:
        self._store = store
        self._definitions = definitions
        self._results: OrderedDict[tuple[int, str], Sequence[str]] = OrderedDict()
        self.ids_as_text = True

    def parse(self, body: Mapping[str, Any], *, size: int) -> Query:
        """Check a search request; 400 for everything the vendor refuses."""
        if size > MAX_BODY:
            raise Refusal(f"The request body is {size} characters long; the limit is {MAX_BODY}.")
        limit, after = _number(body, "limit", 10), _number(body, "after", 0)
        if not 0 < limit <= MAX_PAGE:
            raise Refusal(f"limit must be between 1 and {MAX_PAGE}, not {limit}")
        if after < 0 or after + limit > MAX_WINDOW:
            raise Refusal(
                f"Paging through search results is limited to {MAX_WINDOW}: after {after} plus limit {limit} is beyond"
            )
        groups = tuple(self._group(group) for group in _groups(body))
        text = str(body.get("query") or "").strip().lower()
        if text:
            groups = tuple(
                Group(g.from_ms, g.below_ms, (*g.tests, _contains_text(text)))
                for g in groups or (Group(0, FOREVER_MS, ()),)
            )
        sort, descending = self._sort(body.get("sorts") or ())
        key = json.dumps([_groups(body), sort, descending, text, self.ids_as_text], sort_keys=True)
        names = tuple(str(name) for name in body.get("properties") or ())
        return Query(key, groups, sort, descending, names, limit, after)

    def run(self, query: Query) -> Sequence[str]:
        """The ids of every match in the asked order; what the index has seen decides."""
        key = (self._store.index.version, query.key)
        held = self._results.get(key)
        if held is None:
            held = self._evaluate(query)
            self._results[key] = held
            if len(self._results) > KEPT_RESULTS:
                self._results.popitem(last=False)
        return held

    def matching(self, body: Mapping[str, Any]) -> Callable[[Record], bool]:
        """A test for the filters of an export request, over records rather than the index."""
        groups = tuple(self._group(group) for group in _groups(body))
        extra = self._group({"filters": body.get("filters") or ()})
        return lambda record: extra.holds(record) and (not groups or any(g.holds(record) for g in groups))

    def _evaluate(self, query: Query) -> Sequence[str]:
        seen = self._store.index.seen
        order = self._store.index.order()
        ordered_by_change = query.sort in MODIFIED and not query.descending
        if len(query.groups) <= 1:
            group = query.groups[0] if query.groups else Group(0, FOREVER_MS, ())
            first, end = bisect_left(order, (group.from_ms, "")), bisect_left(order, (group.below_ms, ""))
            ids = [record_id for _, record_id in islice(order, first, end)]
            if group.tests:
                ids = [i for i in ids if all(test(seen[i]) for test in group.tests)]
        else:
            ids = [i for _, i in order if any(group.holds(seen[i]) for group in query.groups)]
        return ids if ordered_by_change else self._sorted(ids, query)

    def _sorted(self, ids: list[str], query: Query) -> list[str]:
        seen, name = self._store.index.seen, query.sort
        ids.sort()
        if name is None:
            ids.sort(key=lambda i: seen[i].created_ms)
        elif name in MODIFIED:
            ids.sort(key=lambda i: seen[i].updated_ms, reverse=query.descending)
        elif name in CREATED:
            ids.sort(key=lambda i: seen[i].created_ms, reverse=query.descending)
        elif name == "hs_object_id":
            ids.sort(key=str if self.ids_as_text else int, reverse=query.descending)
        else:
            self._sort_by_value(ids, name, descending=query.descending)
        return ids

    def _sort_by_value(self, ids: list[str], name: str, *, descending: bool) -> None:
        seen, convert = self._store.index.seen, self._converter(name)
        valued = {i: convert(value) for i in ids if (value := seen[i].value(name)) is not None}
        kinds = (float, str)
        ids.sort(
            key=lambda i: (kinds.index(type(valued[i])), valued[i]) if i in valued else (2, ""), reverse=descending
        )

    def _sort(self, sorts: Sequence[Any]) -> tuple[str | None, bool]:
        if len(sorts) > 1:
            raise Refusal("Only one sort can be applied to a search")
        if not sorts:
            return None, False
        sort = sorts[0]
        if isinstance(sort, str):
            return self._known(sort.removeprefix("-")), sort.startswith("-")
        return self._known(str(sort.get("propertyName"))), sort.get("direction") == "DESCENDING"

    def _known(self, name: str) -> str:
        name = "associatedcompanyid" if name == "associations.company" else name
        if name not in self._definitions:
            raise Refusal(
                f"There was a problem with the request. Property '{name}' does not exist",
                errors=[{"message": f"Property '{name}' does not exist", "code": "PROPERTY_DOESNT_EXIST"}],
            )
        return name

    def _group(self, body: Mapping[str, Any]) -> Group:
        from_ms, below_ms = 0, FOREVER_MS
        tests: list[Test] = []
        for given in body.get("filters") or ():
            name = self._known(str(given.get("propertyName")))
            operator = str(given.get("operator"))
            span = _span(operator, given) if name in MODIFIED else None
            if span is None:
                tests.append(self._test(name, operator, given))
            else:
                from_ms, below_ms = max(from_ms, span[0]), min(below_ms, span[1])
        return Group(from_ms, below_ms, tuple(tests))

    def _test(self, name: str, operator: str, given: Mapping[str, Any]) -> Test:
        convert = self._converter(name)
        match operator:
            case "HAS_PROPERTY":
                return lambda record: record.value(name) is not None
            case "NOT_HAS_PROPERTY":
                return lambda record: record.value(name) is None
            case "IN" | "NOT_IN":
                return _membership(name, operator, _values(given, operator), convert)
            case "CONTAINS_TOKEN" | "NOT_CONTAINS_TOKEN":
                return _tokens(name, operator, _value(given, "value", operator))
            case "BETWEEN":
                low = convert(_value(given, "value", operator))
                high = convert(_value(given, "highValue", operator))
                return _comparison(name, convert, lambda value: _comparable(value, low) and low <= value <= high)  # type: ignore[operator]
            case "EQ" | "NEQ" | "LT" | "LTE" | "GT" | "GTE":
                return _comparison(name, convert, _operator(operator, convert(_value(given, "value", operator))))
            case _:
                raise Refusal(f"Unknown filter operator {operator}")

    def _converter(self, name: str) -> Callable[[str], Value]:
        definition = self._definitions[name]
        if name == "hs_object_id" and self.ids_as_text:
            return str
        if definition.type in {"date", "datetime"}:
            return lambda text: float(moment) if (moment := parse_time(text)) is not None else text.lower()
        return _as_number if definition.type == "number" else str.lower


def _number(body: Mapping[str, Any], key: str, default: int) -> int:
    value = body.get(key)
    if value in (None, ""):
        return default
    try:
        return int(str(value))
    except ValueError:
        raise Refusal(f"{key} must be an integer, not '{value}'") from None


def _groups(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    groups: Sequence[Mapping[str, Any]] = body.get("filterGroups") or ()
    if len(groups) > MAX_GROUPS:
        raise Refusal(f"A search takes at most {MAX_GROUPS} filterGroups, not {len(groups)}")
    sizes = [len(group.get("filters") or ()) for group in groups]
    if max(sizes, default=0) > MAX_FILTERS_PER_GROUP:
        raise Refusal(f"A filterGroup takes at most {MAX_FILTERS_PER_GROUP} filters, not {max(sizes)}")
    if sum(sizes) > MAX_FILTERS:
        raise Refusal(f"A search takes at most {MAX_FILTERS} filters, not {sum(sizes)}")
    return groups


def _value(given: Mapping[str, Any], key: str, operator: str) -> str:
    value = given.get(key)
    if value is None:
        raise Refusal(f"A filter with operator {operator} needs {key}")
    return str(value)


def _values(given: Mapping[str, Any], operator: str) -> Sequence[str]:
    values = given.get("values")
    if not values:
        raise Refusal(f"A filter with operator {operator} needs values")
    return [str(value) for value in values]


def _span(operator: str, given: Mapping[str, Any]) -> tuple[int, int] | None:
    """The half-open span of last changes a filter allows; None for operators that are no span."""
    if operator not in {"EQ", "GT", "GTE", "LT", "LTE", "BETWEEN"}:
        return None
    at = _moment(_value(given, "value", operator))
    last = _moment(_value(given, "highValue", operator)) if operator == "BETWEEN" else at
    from_ms = {"GT": at + 1, "LT": 0, "LTE": 0}.get(operator, at)
    below_ms = {"GT": FOREVER_MS, "GTE": FOREVER_MS, "LT": at}.get(operator, last + 1)
    return from_ms, below_ms


def _moment(text: str) -> int:
    at = parse_time(text)
    if at is None:
        raise Refusal(f"'{text}' is not a time: use milliseconds since 1970 or ISO 8601")
    return at


def _as_number(text: str) -> Value:
    try:
        return float(text)
    except ValueError:
        return text.lower()


def _comparable(value: Value, other: Value) -> bool:
    return isinstance(value, str) == isinstance(other, str)


def _operator(operator: str, wanted: Value) -> Callable[[Value], bool]:
    def ordered(compare: Callable[[Any], bool]) -> Callable[[Value], bool]:
        return lambda value: _comparable(value, wanted) and compare(value)

    match operator:
        case "EQ":
            return lambda value: value == wanted
        case "NEQ":
            return lambda value: value != wanted
        case "LT":
            return ordered(lambda value: bool(value < wanted))
        case "LTE":
            return ordered(lambda value: bool(value <= wanted))
        case "GT":
            return ordered(lambda value: bool(value > wanted))
        case _:
            return ordered(lambda value: bool(value >= wanted))


def _comparison(name: str, convert: Callable[[str], Value], holds: Callable[[Value], bool]) -> Test:
    """A test of one value; a record without the property never passes, not even NEQ (unverified for the vendor)."""

    def test(record: Record) -> bool:
        value = record.value(name)
        return value is not None and holds(convert(value))

    return test


def _membership(name: str, operator: str, values: Sequence[str], convert: Callable[[str], Value]) -> Test:
    # The vendor wants lower case values here and finds nothing otherwise: they are compared as given.
    wanted = {value if isinstance(convert(value), str) else convert(value) for value in values}
    negated = operator == "NOT_IN"
    return _comparison(name, convert, lambda value: (value in wanted) != negated)


def _tokens(name: str, operator: str, pattern: str) -> Test:
    wanted = pattern.lower().strip("*")
    whole = wanted == pattern.lower()
    negated = operator == "NOT_CONTAINS_TOKEN"

    def test(record: Record) -> bool:
        value = record.value(name)
        if value is None:
            return False
        words = value.lower().replace("@", " ").replace(".", " ").split()
        found = wanted in words or wanted == value.lower() if whole else wanted in value.lower()
        return found != negated

    return test


def _contains_text(text: str) -> Test:
    return lambda record: any(text in (record.properties.get(name) or "").lower() for name in TEXT_FIELDS)

"""Filter branches of dynamic lists and workflows: checked when written, then asked about one contact at a time.

The grammar is the vendor's: the root is OR over ANDs; filters look at a property, at a list or at a workflow's roster.
What the sandbox cannot answer (events, page views, forms) is refused on writing, never silently passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from adapters.hubspot.sandbox.answers import Refusal, parse_time
from adapters.hubspot.sandbox.records import Record

ROSTERS: Final = ("WORKFLOWS_ENROLLMENT", "WORKFLOWS_ACTIVE", "WORKFLOWS_COMPLETED", "WORKFLOWS_GOAL")
"""Has ever been in, is in now, went through to the end, left because the goal was met."""
MAX_FILTERS: Final = 250


class Lookup(Protocol):
    """What a filter may ask about besides the record itself."""

    def now_ms(self) -> int:
        """The moment of asking."""

    def zone(self) -> tzinfo:
        """The account's time zone."""

    def on_list(self, list_id: str, record_id: str) -> bool:
        """Whether the record is on a list."""

    def on_roster(self, roster: str, flow_id: str, record_id: str) -> bool:
        """Whether the record is on one of a workflow's rosters."""


Test = Callable[[Record, Lookup], bool]
_Values = Callable[[str, Mapping[str, Any]], bool]


def compile_root(branch: Any) -> Test:
    """The test behind a root branch; 400 where the grammar is broken."""
    if not isinstance(branch, Mapping) or branch.get("filterBranchType") != "OR":
        raise _wrong("the root must be a branch of type OR")
    if branch.get("filters"):
        raise _wrong("an OR branch at the root has no filters of its own")
    if not branch.get("filterBranches"):
        raise _wrong("an OR branch needs at least one AND branch")
    if sum(1 for _ in filters_of(branch)) > MAX_FILTERS:
        raise _wrong(f"more than {MAX_FILTERS} filters")
    return _branch(branch)


def filters_of(branch: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every filter of a branch, at any depth."""
    yield from branch.get("filters") or ()
    for inner in branch.get("filterBranches") or ():
        yield from filters_of(inner)


def lists_in(branch: Mapping[str, Any]) -> set[str]:
    """The lists a branch looks at; rosters are none."""
    return {str(f["listId"]) for f in filters_of(branch) if f.get("filterType") == "IN_LIST" and not f.get("metadata")}


def depends_on_time(branch: Mapping[str, Any]) -> bool:
    """Whether the answer can change by the clock alone."""
    return "INDEXED" in str(branch)


def in_list(list_id: str, *, roster: str | None = None) -> dict[str, Any]:
    """The root branch for being on a list, or on a workflow's roster (then the id is the flow's)."""
    entry: dict[str, Any] = {"filterType": "IN_LIST", "listId": list_id, "operator": "IN_LIST"}
    if roster:
        entry["metadata"] = {"id": list_id, "inListType": roster}
    return root(entry)


def root(*filters: Mapping[str, Any]) -> dict[str, Any]:
    """The root branch for all of some filters."""
    inner = {"filterBranchType": "AND", "filterBranchOperator": "AND", "filterBranches": [], "filters": list(filters)}
    return {"filterBranchType": "OR", "filterBranchOperator": "OR", "filterBranches": [inner], "filters": []}


def _branch(branch: Mapping[str, Any]) -> Test:
    kind = branch.get("filterBranchType")
    if kind not in {"OR", "AND"}:
        raise _wrong(f"the sandbox has no filter branch of type {kind}")
    tests = [_filter(given) for given in branch.get("filters") or ()]
    tests += [_branch(given) for given in branch.get("filterBranches") or ()]
    if kind == "OR":
        return lambda record, lookup: any(test(record, lookup) for test in tests)
    return lambda record, lookup: all(test(record, lookup) for test in tests)


def _filter(given: Mapping[str, Any]) -> Test:
    match given.get("filterType"):
        case "PROPERTY":
            return _property(given)
        case "IN_LIST":
            return _membership(given)
        case "CONSTANT":
            accept = bool(given.get("shouldAccept"))
            return lambda _record, _lookup: accept
        case kind:
            raise _wrong(f"the sandbox has no filter of type {kind}")


def _membership(given: Mapping[str, Any]) -> Test:
    list_id, wanted = str(given.get("listId") or ""), given.get("operator") == "IN_LIST"
    if not list_id or given.get("operator") not in {"IN_LIST", "NOT_IN_LIST"}:
        raise _wrong("a filter IN_LIST needs a listId and the operator IN_LIST or NOT_IN_LIST")
    metadata = given.get("metadata")
    if not metadata:
        return lambda record, lookup: lookup.on_list(list_id, record.id) is wanted
    roster, flow_id = str(metadata.get("inListType")), str(metadata.get("id"))
    if roster not in ROSTERS:
        raise _wrong(f"the sandbox has no roster {roster}; it has {', '.join(ROSTERS)}")
    return lambda record, lookup: lookup.on_roster(roster, flow_id, record.id) is wanted


def _property(given: Mapping[str, Any]) -> Test:
    name, operation = str(given.get("property") or ""), given.get("operation") or {}
    kind, operator = operation.get("operationType"), str(operation.get("operator"))
    empty = bool(operation.get("includeObjectsWithNoValueSet"))
    if kind == "ALL_PROPERTY":
        if operator not in {"IS_KNOWN", "IS_UNKNOWN"}:
            raise _wrong(f"ALL_PROPERTY has no operator {operator}")
        known = operator == "IS_KNOWN"
        return lambda record, _lookup: (record.value(name) is not None) is known
    if kind in {"TIME_POINT", "TIME_RANGED"}:
        return _time(name, operation, empty=empty)
    compare = _COMPARISONS.get(str(kind), {}).get(operator)
    if compare is None:
        # They reject IS_NOT_EQUAL_TO on enumerations in just this way.
        raise _wrong(f"{kind} has no operator {operator}")

    def test(record: Record, _lookup: Lookup) -> bool:
        value = record.value(name)
        return empty if value is None else compare(value, operation)

    return test


def _time(name: str, operation: Mapping[str, Any], *, empty: bool) -> Test:
    operator, updated = str(operation["operator"]), operation.get("propertyParser") == "UPDATED_AT"
    if updated:
        raise _wrong("the sandbox keeps no history of values (propertyParser UPDATED_AT)")
    keys = (
        ("timePoint",) if operation["operationType"] == "TIME_POINT" else ("lowerBoundTimePoint", "upperBoundTimePoint")
    )
    points = [_point(operation.get(key)) for key in keys]
    if operator not in ({"IS_BEFORE", "IS_AFTER"} if len(points) == 1 else {"IS_BETWEEN", "IS_NOT_BETWEEN"}):
        raise _wrong(f"{operation['operationType']} has no operator {operator}")

    def test(record: Record, lookup: Lookup) -> bool:
        value = parse_time(record.value(name) or "")
        if value is None:
            return empty
        bounds = [bound for point in points if (bound := point(record, lookup)) is not None]
        if len(bounds) < len(points):
            return False
        if operator == "IS_BEFORE":
            return value < bounds[0]
        if operator == "IS_AFTER":
            return value > bounds[0]
        return (bounds[0] <= value <= bounds[1]) is (operator == "IS_BETWEEN")

    return test


def _point(given: Any) -> Callable[[Record, Lookup], int | None]:
    """A moment in ms: fixed, relative to now or today, or another property's."""
    if not isinstance(given, Mapping):
        raise _wrong("a time point is missing")
    zone_id = given.get("zoneId")
    match given.get("timeType"):
        case "DATE":
            parts = [int(given.get(key) or 0) for key in ("year", "month", "day", "hour", "minute", "second")]
            moment = datetime(*parts, tzinfo=_zone(zone_id) or UTC)  # type: ignore[arg-type, misc]  # six whole numbers
            fixed = round(moment.timestamp() * 1000)
            return lambda _record, _lookup: fixed
        case "INDEXED":
            today = (given.get("indexReference") or {}).get("referenceType") == "TODAY"
            offset = timedelta(**{k: float(v) for k, v in (given.get("offset") or {}).items() if k in _OFFSETS})

            def indexed(_record: Record, lookup: Lookup) -> int:
                now = datetime.fromtimestamp(lookup.now_ms() / 1000, _zone(zone_id) or lookup.zone())
                start = now.replace(hour=0, minute=0, second=0, microsecond=0) if today else now
                return round((start + offset).timestamp() * 1000)

            return indexed
        case "PROPERTY_REFERENCED":
            name = str(given.get("property"))
            return lambda record, _lookup: parse_time(record.value(name) or "")
        case kind:
            raise _wrong(f"the sandbox has no time point of type {kind}")


_OFFSETS = frozenset({"days", "hours", "minutes", "seconds", "weeks"})


def _zone(name: Any) -> tzinfo | None:
    return ZoneInfo(str(name)) if name else None


def _parts(value: str) -> set[str]:
    return set(value.split(";"))


def _given(operation: Mapping[str, Any]) -> set[str]:
    values: Sequence[Any] = operation.get("values") or ()
    return {str(value) for value in values}


def _text(operation: Mapping[str, Any]) -> list[str]:
    values = operation.get("values") or [operation.get("value", "")]
    return [str(value).casefold() for value in values]


def _number(operation: Mapping[str, Any], key: str = "value") -> float:
    return float(operation.get(key) or 0)


def _flag(operation: Mapping[str, Any]) -> str:
    return str(operation.get("value")).lower()


_STRINGS: Mapping[str, _Values] = {
    "IS_EQUAL_TO": lambda v, o: v.casefold() in _text(o),
    "IS_NOT_EQUAL_TO": lambda v, o: v.casefold() not in _text(o),
    "CONTAINS": lambda v, o: any(part in v.casefold() for part in _text(o)),
    "DOES_NOT_CONTAIN": lambda v, o: not any(part in v.casefold() for part in _text(o)),
    "STARTS_WITH": lambda v, o: any(v.casefold().startswith(part) for part in _text(o)),
    "ENDS_WITH": lambda v, o: any(v.casefold().endswith(part) for part in _text(o)),
}
_COMPARISONS: Mapping[str, Mapping[str, _Values]] = {
    "ENUMERATION": {
        "IS_ANY_OF": lambda v, o: bool(_parts(v) & _given(o)),
        "IS_NONE_OF": lambda v, o: not _parts(v) & _given(o),
        "IS_EXACTLY": lambda v, o: _parts(v) == _given(o),
        "IS_NOT_EXACTLY": lambda v, o: _parts(v) != _given(o),
        "CONTAINS_ALL": lambda v, o: _parts(v) >= _given(o),
        "DOES_NOT_CONTAIN_ALL": lambda v, o: not _parts(v) >= _given(o),
    },
    "BOOL": {
        "IS_EQUAL_TO": lambda v, o: v == _flag(o),
        "IS_NOT_EQUAL_TO": lambda v, o: v != _flag(o),
    },
    "NUMBER": {
        "IS_EQUAL_TO": lambda v, o: float(v) == _number(o),
        "IS_NOT_EQUAL_TO": lambda v, o: float(v) != _number(o),
        "IS_GREATER_THAN": lambda v, o: float(v) > _number(o),
        "IS_GREATER_THAN_OR_EQUAL_TO": lambda v, o: float(v) >= _number(o),
        "IS_LESS_THAN": lambda v, o: float(v) < _number(o),
        "IS_LESS_THAN_OR_EQUAL_TO": lambda v, o: float(v) <= _number(o),
    },
    "NUMBER_RANGED": {
        "IS_BETWEEN": lambda v, o: _number(o, "lowerBound") <= float(v) <= _number(o, "upperBound"),
        "IS_NOT_BETWEEN": lambda v, o: not _number(o, "lowerBound") <= float(v) <= _number(o, "upperBound"),
    },
    "STRING": _STRINGS,
    "MULTISTRING": _STRINGS,
}


def _wrong(message: str) -> Refusal:
    return Refusal(f"Invalid filter branch: {message}", sub_category="ILS.INVALID_FILTER_BRANCH")

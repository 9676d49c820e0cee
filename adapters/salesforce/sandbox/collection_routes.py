"""sObject Collections: up to 200 records in one call, one result a record, in the order they came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from adapters.salesforce.sandbox import writing
from adapters.salesforce.sandbox.answers import OK, Answer, Refusal, RowError
from adapters.salesforce.sandbox.api import Call, Rule, nothing_done
from adapters.salesforce.sandbox.fields import Field, SObject
from adapters.salesforce.sandbox.rendering import record_body, saved
from adapters.salesforce.sandbox.state import State

MOST_ROWS = 200
MOST_READ = 2_000
MOST_READ_BY_ADDRESS = 800
MOST_SWITCHES = 10
ROLLED_BACK = RowError(
    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    "Record rolled back because not all records were valid and the request was using AllOrNone header",
)

RowWriter = Callable[[], dict[str, Any]]


def create(call: Call) -> Answer:
    """Make records, of several kinds if need be."""
    records = _records(call)
    kinds = _kinds(call, records)
    return _each(
        call,
        [
            lambda kind=kind, record=record: saved(writing.create(call.state, kind, record))  # type: ignore[misc]  # lambdas in a list keep their own arguments so
            for kind, record in zip(kinds, records, strict=True)
        ],
    )


def update(call: Call) -> Answer:
    """Change records by their ids."""
    records = _records(call)
    kinds = _kinds(call, records)
    seen: set[str] = set()
    return _each(
        call,
        [
            lambda kind=kind, record=record: _updated(call.state, kind, record, seen)  # type: ignore[misc]  # as above
            for kind, record in zip(kinds, records, strict=True)
        ],
    )


def upsert(call: Call, sobject: str, key: str) -> Answer:
    """Change or make records of one kind by an external id."""
    kind = call.state.viewer.kind(sobject)
    one = call.state.viewer.field(kind, key)
    if one.name != "Id" and not one.external_id:
        raise Refusal("INVALID_FIELD", f"{one.name} is not an external id field of {kind.name}", fields=[one.name])
    records = _records(call)
    for given in _kinds(call, records):
        if given is not kind:
            raise Refusal("INVALID_FIELD", f"all records must be of type {kind.name}")
    seen: set[str] = set()
    return _each(
        call,
        [
            lambda record=record: _upserted(call.state, kind, one, record, seen)  # type: ignore[misc]  # as above
            for record in records
        ],
    )


def delete(call: Call) -> Answer:
    """Put records into the recycle bin."""
    ids = call.names("ids")
    _bounded(ids)
    call.count(len(ids))
    return _each(call, [lambda one=one: saved(writing.delete(call.state, one)) for one in ids])  # type: ignore[misc]  # as above


def read(call: Call, sobject: str) -> Answer:
    """Read records of one kind by their ids; null stands for one that is not there."""
    if call.raw:
        ids, names = call.fields.get("ids"), call.fields.get("fields")
        most = MOST_READ
    else:
        ids, names, most = call.names("ids"), call.names("fields"), MOST_READ_BY_ADDRESS
    if not isinstance(ids, list) or not isinstance(names, list) or not names:
        raise Refusal("MALFORMED_QUERY", "ids and fields must be given, and name something")
    if len(ids) > most:
        raise Refusal("EXCEEDED_ID_LIMIT", f"At most {most} records can be read in a call")
    kind = call.state.viewer.kind(sobject)
    fields = [call.state.viewer.field(kind, str(name)) for name in names]
    call.count(len(ids))
    found: list[Any] = []
    for one in ids:
        row = call.state.row(writing.existing_id(kind, one))
        live = row is not None and not row.is_deleted
        found.append(record_body(call.state, kind, row, fields, path=call.data_path) if live and row else None)
    return Answer(OK, found)


def _updated(state: State, kind: SObject, record: dict[str, Any], seen: set[str]) -> dict[str, Any]:
    given = next((value for name, value in record.items() if name.lower() == "id"), None)
    if not given:
        raise RowError("MISSING_ARGUMENT", "Id not specified in an update call")
    held_id = writing.existing_id(kind, given)
    if held_id in seen:
        raise RowError("DUPLICATE_VALUE", f"duplicate id in list: {held_id}", ["Id"])
    seen.add(held_id)
    values = {name: value for name, value in record.items() if name.lower() != "id"}
    return saved(writing.update(state, kind, held_id, values))


def _upserted(state: State, kind: SObject, one: Field, record: dict[str, Any], seen: set[str]) -> dict[str, Any]:
    if one.name != "Id" and any(name.lower() == "id" for name in record):
        raise RowError("INVALID_FIELD", "cannot specify Id in an upsert by an external id")
    value = next((held for name, held in record.items() if name.lower() == one.name.lower()), None)
    folded = str(value) if one.case_sensitive else str(value).casefold()
    if value and folded in seen:
        raise RowError("DUPLICATE_VALUE", f"duplicate external id specified: {value}", [one.name])
    seen.add(folded)
    row, made = writing.upsert(state, kind, one, value, record)
    return saved(row) | {"created": made}


def _each(call: Call, rows: Sequence[RowWriter]) -> Answer:
    """Write the rows one by one, or none of them: what became of each.

    A body that cannot be read (a Refusal) leaves nothing behind in either case.
    """
    with call.state.transaction() as transaction:
        results = [_result(write) for write in rows]
        if _all_or_none(call) and not all(result["success"] for result in results):
            transaction.take_back()
            rolled_back = {"success": False, "errors": [ROLLED_BACK.body()]}
            results = [rolled_back if result["success"] else result for result in results]
    return Answer(OK, results)


def _result(write: RowWriter) -> dict[str, Any]:
    try:
        return write()
    except RowError as error:
        return {"success": False, "errors": [error.body()]}


def _all_or_none(call: Call) -> bool:
    if call.raw:
        return bool(call.fields.get("allOrNone", False))
    return call.flag("allOrNone")


def _records(call: Call) -> list[dict[str, Any]]:
    records = call.fields.get("records")
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise Refusal("JSON_PARSER_ERROR", "records must be a list of objects at [line:1, column:1]")
    _bounded(records)
    call.count(len(records))
    return records


def _bounded(rows: Sequence[Any]) -> None:
    if not rows:
        raise Refusal("INVALID_ARGUMENT", "At least one record must be given")
    if len(rows) > MOST_ROWS:
        message = f"record limit reached. cannot submit more than {MOST_ROWS} records in this call"
        raise Refusal("EXCEEDED_ID_LIMIT", message)


def _kinds(call: Call, records: Sequence[dict[str, Any]]) -> list[SObject]:
    """The kind of each record, by its attributes; kinds may alternate only so often."""
    names = []
    for record in records:
        given = record.get("attributes")
        name = given.get("type") if isinstance(given, dict) else None
        if not isinstance(name, str):
            raise Refusal("INVALID_TYPE", "every record needs attributes.type")
        names.append(name)
    switches = sum(one != other for one, other in pairwise(names))
    if switches >= MOST_SWITCHES:
        raise Refusal("LIMIT_EXCEEDED", f"kinds of records may alternate at most {MOST_SWITCHES} times in a call")
    known = {name: call.state.viewer.kind(name) for name in dict.fromkeys(names)}
    if call.state.behaviour.unknown_field_refuses_all:
        _known_fields(call, zip(names, records, strict=True), known)
    return [known[name] for name in names]


def _known_fields(call: Call, rows: Any, known: dict[str, SObject]) -> None:
    """A name that is no field of its kind makes the whole body unreadable."""
    shapes = {(name, tuple(record)) for name, record in rows}
    for name, fields in shapes:
        for one in fields:
            if one.lower() != "attributes" and known[name].relation(one) is None:
                try:
                    call.state.viewer.field(known[name], one)
                except RowError as error:
                    raise error.refusal() from None


RULES = (
    Rule("POST", "/composite/sobjects", create, "collections", no_op=nothing_done),
    Rule("PATCH", "/composite/sobjects", update, "collections", no_op=nothing_done),
    Rule("DELETE", "/composite/sobjects", delete, "collections", no_op=nothing_done),
    Rule("PATCH", "/composite/sobjects/<sobject>/<key>", upsert, "collections", no_op=nothing_done, oldest=46.0),
    Rule("GET", "/composite/sobjects/<sobject>", read, "collection reads"),
    Rule("POST", "/composite/sobjects/<sobject>", read, "collection reads"),
)

"""Records one by one: described, made, read, changed, deleted, and what changed in a span of time."""

from __future__ import annotations

from typing import Any

from adapters.salesforce.sandbox import describing, writing
from adapters.salesforce.sandbox.answers import (
    CREATED,
    DAY_MS,
    MULTIPLE_CHOICES,
    NO_CONTENT,
    NOT_FOUND,
    OK,
    Answer,
    Refusal,
    RowError,
    parse_time,
    stamp,
)
from adapters.salesforce.sandbox.api import Call, Rule, nothing_made, nothing_said
from adapters.salesforce.sandbox.fields import Field, SObject
from adapters.salesforce.sandbox.records import Row
from adapters.salesforce.sandbox.rendering import record_body, saved

MOST_IDS = 600_000
UPDATED_DAYS = 30
MINUTE_MS = 60_000
UPSERT_ANSWERS_200_FROM = 46.0


def everything(call: Call) -> Answer:
    """Every kind of record there is for us."""
    kinds = [kind for kind in call.state.kinds() if call.state.viewer.may(kind, "read")]
    bodies = [describing.brief(call.state, kind, path=call.data_path) for kind in sorted(kinds, key=_name)]
    return Answer(OK, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": bodies})


def basic(call: Call, sobject: str) -> Answer:
    """A kind of record in a few words."""
    kind = call.state.viewer.kind(sobject)
    return Answer(OK, {"objectDescribe": describing.brief(call.state, kind, path=call.data_path), "recentItems": []})


def describe(call: Call, sobject: str) -> Answer:
    """A kind of record with its fields."""
    kind = call.state.viewer.kind(sobject)
    return Answer(OK, describing.full(call.state, kind, path=call.data_path))


def create(call: Call, sobject: str) -> Answer:
    """Make a record."""
    kind = call.state.viewer.kind(sobject)
    call.count(1)
    return Answer(CREATED, saved(writing.create(call.state, kind, call.fields)))


def read(call: Call, sobject: str, record_id: str) -> Answer:
    """Read a record, all fields or those asked for."""
    kind = call.state.viewer.kind(sobject)
    row = _existing(call, kind, record_id)
    return Answer(OK, record_body(call.state, kind, row, _fields(call, kind), path=call.data_path))


def read_by_key(call: Call, sobject: str, key: str, value: str) -> Answer:
    """Read a record by an external id; 300 with addresses where several carry it."""
    kind = call.state.viewer.kind(sobject)
    one = _key(call, kind, key)
    found = writing.holders(call.state, kind, one, value)
    if not found:
        raise _not_found(one.name)
    if len(found) > 1:
        return _several(call, kind, [row.id for row in found])
    return Answer(OK, record_body(call.state, kind, found[0], _fields(call, kind), path=call.data_path))


def update(call: Call, sobject: str, record_id: str) -> Answer:
    """Change a record."""
    kind = call.state.viewer.kind(sobject)
    call.count(1)
    if any(name.lower() == "id" for name in call.fields):
        raise Refusal("INVALID_FIELD", "The Id field should not be specified in the sobject data.", fields=["Id"])
    row = _existing(call, kind, record_id)
    writing.update(call.state, kind, row.id, call.fields)
    return Answer(NO_CONTENT)


def upsert(call: Call, sobject: str, key: str, value: str) -> Answer:
    """Change the record with this external id, or make it."""
    kind = call.state.viewer.kind(sobject)
    one = _key(call, kind, key)
    call.count(1)
    if any(name.lower() in {"id", one.name.lower()} for name in call.fields):
        raise Refusal("INVALID_FIELD", f"The {one.name} field should not be specified in the sobject data.")
    try:
        row, made = writing.upsert(call.state, kind, one, value, call.fields)
    except writing.AmbiguousError as error:
        return _several(call, kind, error.ids)
    if not made and float(call.version) < UPSERT_ANSWERS_200_FROM:
        return Answer(NO_CONTENT)
    return Answer(CREATED if made else OK, saved(row) | {"created": made})


def delete(call: Call, sobject: str, record_id: str) -> Answer:
    """Put a record into the recycle bin."""
    kind = call.state.viewer.kind(sobject)
    call.count(1)
    row = _existing(call, kind, record_id)
    writing.delete(call.state, row.id, kind=kind)
    return Answer(NO_CONTENT)


def updated(call: Call, sobject: str) -> Answer:
    """Ids of what was made or changed in a span of time."""
    kind = call.state.viewer.kind(sobject)
    start_ms, end_ms = _span(call, most_days=UPDATED_DAYS)
    ids = [
        row.id
        for row in call.state.stores[kind.name].changed_from(start_ms)
        if row.stamp_ms <= end_ms and not row.is_deleted
    ]
    _bounded(ids)
    return Answer(OK, {"ids": ids, "latestDateCovered": stamp(min(end_ms, call.now_ms) // MINUTE_MS * MINUTE_MS)})


def deleted(call: Call, sobject: str) -> Answer:
    """Ids of what was deleted in a span of time, also what is out of the recycle bin by now."""
    kind = call.state.viewer.kind(sobject)
    keeps_ms = round(call.state.behaviour.bin_days * DAY_MS)
    start_ms, end_ms = _span(call, most_days=call.state.behaviour.bin_days)
    store = call.state.stores[kind.name]
    gone = [(at_ms, record_id) for record_id, at_ms in store.bin.items()] + store.purged
    found = sorted((at_ms, record_id) for at_ms, record_id in gone if start_ms <= at_ms <= end_ms)
    _bounded(found)
    return Answer(
        OK,
        {
            "deletedRecords": [{"id": record_id, "deletedDate": stamp(at_ms)} for at_ms, record_id in found],
            "earliestDateAvailable": stamp((call.now_ms - keeps_ms) // MINUTE_MS * MINUTE_MS),
            "latestDateCovered": stamp(min(end_ms, call.now_ms) // MINUTE_MS * MINUTE_MS),
        },
    )


def _name(kind: SObject) -> str:
    return kind.name


def _existing(call: Call, kind: SObject, record_id: str) -> Row:
    """The record an address names; 404 where there is none."""
    try:
        held_id = writing.existing_id(kind, record_id)
    except RowError:
        raise _not_found(f"{record_id}") from None
    row = call.state.row(held_id)
    if row is None:
        raise Refusal("NOT_FOUND", "The requested resource does not exist", status=NOT_FOUND)
    if row.is_deleted:
        raise Refusal("ENTITY_IS_DELETED", "entity is deleted", status=NOT_FOUND, fields=[])
    return row


def _key(call: Call, kind: SObject, name: str) -> Field:
    one = call.state.viewer.field(kind, name)
    if one.name != "Id" and not one.external_id:
        raise _not_found(name)
    return one


def _fields(call: Call, kind: SObject) -> list[Field]:
    names = call.names("fields")
    if names:
        return [call.state.viewer.field(kind, name) for name in names]
    return call.state.viewer.fields(kind)


def _not_found(name: str) -> Refusal:
    return Refusal(
        "NOT_FOUND",
        f"Provided external ID field does not exist or is not accessible: {name}",
        status=NOT_FOUND,
    )


def _several(call: Call, kind: SObject, ids: list[str]) -> Answer:
    return Answer(MULTIPLE_CHOICES, [f"{call.data_path}/sobjects/{kind.name}/{record_id}" for record_id in ids])


def _span(call: Call, *, most_days: float) -> tuple[int, int]:
    """The span asked for; the vendor ignores seconds."""
    moments = [parse_time(str(call.args.get(name, "")).replace(" ", "+")) for name in ("start", "end")]
    start_ms, end_ms = moments
    if start_ms is None or end_ms is None:
        raise Refusal("INVALID_REPLICATION_DATE", "start and end must be dates with a time in ISO 8601")
    start_ms = start_ms // MINUTE_MS * MINUTE_MS
    end_ms = end_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS - 1
    if start_ms >= end_ms or end_ms - start_ms < MINUTE_MS:
        raise Refusal("INVALID_REPLICATION_DATE", "endDate must be at least one minute greater than startDate")
    if start_ms < call.now_ms - round(most_days * DAY_MS) - DAY_MS:
        raise Refusal("INVALID_REPLICATION_DATE", "startDate before org replication enabled date")
    return start_ms, end_ms


def _bounded(found: list[Any]) -> None:
    if len(found) > MOST_IDS:
        raise Refusal("EXCEEDED_ID_LIMIT", f"More than {MOST_IDS} records were found: choose a narrower span")


RULES = (
    Rule("GET", "/sobjects", everything, "describes"),
    Rule("GET", "/sobjects/<sobject>", basic, "describes"),
    Rule("GET", "/sobjects/<sobject>/describe", describe, "describes"),
    Rule("POST", "/sobjects/<sobject>", create, "record writes", no_op=nothing_made),
    Rule("GET", "/sobjects/<sobject>/updated", updated, "changes"),
    Rule("GET", "/sobjects/<sobject>/deleted", deleted, "changes"),
    Rule("GET", "/sobjects/<sobject>/<record_id>", read, "record reads"),
    Rule("PATCH", "/sobjects/<sobject>/<record_id>", update, "record writes", no_op=nothing_said),
    Rule("DELETE", "/sobjects/<sobject>/<record_id>", delete, "record writes", no_op=nothing_said),
    Rule("GET", "/sobjects/<sobject>/<key>/<path:value>", read_by_key, "record reads"),
    Rule("PATCH", "/sobjects/<sobject>/<key>/<path:value>", upsert, "record writes", no_op=nothing_said),
)

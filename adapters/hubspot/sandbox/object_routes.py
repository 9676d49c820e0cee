"""Contacts and companies: list, read, search, write, merge, delete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapters.hubspot.sandbox.answers import (
    BAD_REQUEST,
    CONFLICT,
    CREATED,
    NO_CONTENT,
    OK,
    Answer,
    Refusal,
    batch,
    iso,
    not_found,
)
from adapters.hubspot.sandbox.api import Call, Rule
from adapters.hubspot.sandbox.records import Record
from adapters.hubspot.sandbox.state import Kind

MAX_INPUTS = 100
MAX_PAGE = 100
MAX_PAGE_WITH_HISTORY = 50
ALWAYS_SHOWN = ("createdate", "hs_object_id")
SHOWN_BY_DEFAULT = {
    "contacts": ("email", "firstname", "lastname"),
    "companies": ("domain", "name"),
}

Work = Callable[[Mapping[str, Any]], dict[str, Any]]
"""What a batch does with one of its rows."""


def shown(kind: Kind, record: Record, names: Sequence[str]) -> dict[str, Any]:
    """A record as the vendor writes it: asked properties are null when unset, unknown names are left out."""
    wanted = names or SHOWN_BY_DEFAULT[kind.store.object_type]
    known = kind.definitions.live
    properties = {name: record.value(name) for name in wanted if name in known}
    for name in (*ALWAYS_SHOWN, kind.store.modified_property):
        properties.setdefault(name, record.value(name))
    body: dict[str, Any] = {
        "id": record.id,
        "properties": properties,
        "createdAt": iso(record.created_ms),
        "updatedAt": iso(record.updated_ms),
        "archived": record.archived_ms is not None,
    }
    return body if record.archived_ms is None else body | {"archivedAt": iso(record.archived_ms)}


def list_page(call: Call, object_type: str) -> Answer:
    """One page of records by ascending id; the cursor is the next record's id."""
    kind = call.state.kind(object_type)
    most = MAX_PAGE_WITH_HISTORY if call.names("propertiesWithHistory") else MAX_PAGE
    limit = call.shorten(call.number("limit", default=10, most=most))
    records, following = kind.store.page(start=call.cursor(), limit=limit, archived=call.flag("archived"))
    names = call.names("properties")
    results = [shown(kind, record, names) | _associations(call, kind, record) for record in records]
    return Answer(OK, {"results": results, **call.paging(following)})


def read(call: Call, object_type: str, record_id: str) -> Answer:
    """One record; a merged id answers with the survivor, under the survivor's id."""
    kind = call.state.kind(object_type)
    if call.flag("archived"):
        record = kind.store.archived.get(record_id)
        if record is None:
            raise not_found("resource not found")
    else:
        record = _locate(kind, record_id, call.args.get("idProperty"))
    return Answer(OK, shown(kind, record, call.names("properties")) | _associations(call, kind, record))


def create(call: Call, object_type: str) -> Answer:
    """Make one record."""
    kind = call.state.kind(object_type)
    record = call.state.create(kind, _values(call.fields), now_ms=call.now_ms)
    return Answer(CREATED, shown(kind, record, tuple(record.properties)))


def update(call: Call, object_type: str, record_id: str) -> Answer:
    """Write one record's properties; a merged id writes to the survivor."""
    kind = call.state.kind(object_type)
    record = _locate(kind, record_id, call.args.get("idProperty"))
    values = _values(call.fields)
    changed = call.state.update(kind, record, values, now_ms=call.now_ms)
    return Answer(OK, shown(kind, changed, tuple(values)))


def archive(call: Call, object_type: str, record_id: str) -> Answer:
    """Put one record in the recycle bin; deleting what is not there is no error."""
    call.state.archive(call.state.kind(object_type), record_id, now_ms=call.now_ms)
    return Answer(NO_CONTENT)


def search(call: Call, object_type: str) -> Answer:
    """One page of a search."""
    kind = call.state.kind(object_type)
    query = kind.searcher.parse(call.fields, size=len(call.raw.decode()))
    ids = kind.searcher.run(query)
    page = ids[query.after : query.after + call.shorten(query.limit)]
    seen = kind.store.index.seen
    results = [shown(kind, seen[record_id], query.properties) for record_id in page]
    following = query.after + len(page)
    paging = call.paging(following if following < len(ids) else None)
    return Answer(OK, {"total": len(ids), "results": results, **paging})


def batch_read(call: Call, object_type: str) -> Answer:
    """Up to 100 records by id, address or unique value; those that are missing are named in one error."""
    kind, body = call.state.kind(object_type), call.fields
    ids = [str(item.get("id")) for item in call.inputs(MAX_INPUTS)]
    id_property = body.get("idProperty")
    held = kind.store.archived if call.flag("archived") else kind.store.live
    found: dict[str, Record] = {}
    absent: list[str] = []
    for record_id in ids:
        record = _identified(kind, record_id, id_property) if id_property else held.get(record_id)
        if record is None:
            absent.append(record_id)
        else:
            found[record.id] = record
    names = tuple(str(name) for name in body.get("properties") or ())
    results = [shown(kind, record, names) for record in found.values()]
    errors = [_missing(absent).batch_error()] if absent else []
    return batch(results, now_ms=call.now_ms, errors=errors)


def batch_create(call: Call, object_type: str) -> Answer:
    """Up to 100 new records."""
    kind = call.state.kind(object_type)

    def work(item: Mapping[str, Any]) -> dict[str, Any]:
        record = call.state.create(kind, _values(item), now_ms=call.now_ms)
        return shown(kind, record, tuple(record.properties))

    return _each(call, kind, call.inputs(MAX_INPUTS), work, status=CREATED)


def batch_update(call: Call, object_type: str) -> Answer:
    """Up to 100 changed records; a merged id is an error here."""
    kind, inputs = call.state.kind(object_type), call.inputs(MAX_INPUTS)
    _refuse_twice(inputs)

    def work(item: Mapping[str, Any]) -> dict[str, Any]:
        id_property, record_id = item.get("idProperty"), str(item.get("id"))
        record = _identified(kind, record_id, id_property) if id_property else kind.store.live.get(record_id)
        if record is None:
            raise _missing([record_id])
        values = _values(item)
        return shown(kind, call.state.update(kind, record, values, now_ms=call.now_ms), tuple(values))

    return _each(call, kind, inputs, work)


def batch_upsert(call: Call, object_type: str) -> Answer:
    """Up to 100 records changed where the unique value is known, made where it is not."""
    kind, inputs = call.state.kind(object_type), call.inputs(MAX_INPUTS)
    _refuse_twice(inputs)

    def work(item: Mapping[str, Any]) -> dict[str, Any]:
        id_property, value = str(item.get("idProperty") or ""), str(item.get("id"))
        if not id_property:
            raise Refusal("idProperty is needed to upsert")
        record, values = _identified(kind, value, id_property), _values(item)
        if record is None:
            made = call.state.create(kind, {id_property: value, **values}, now_ms=call.now_ms)
            return shown(kind, made, tuple(values)) | {"new": True}
        changed = call.state.update(kind, record, values, now_ms=call.now_ms)
        return shown(kind, changed, tuple(values)) | {"new": False}

    return _each(call, kind, inputs, work)


def batch_archive(call: Call, object_type: str) -> Answer:
    """Put up to 100 records in the recycle bin."""
    kind = call.state.kind(object_type)
    for item in call.inputs(MAX_INPUTS):
        call.state.archive(kind, str(item.get("id")), now_ms=call.now_ms)
    return Answer(NO_CONTENT)


def merge(call: Call, object_type: str) -> Answer:
    """Merge one record into another."""
    kind, body = call.state.kind(object_type), call.fields
    survivor = call.state.merge(
        kind, str(body.get("primaryObjectId")), str(body.get("objectIdToMerge")), now_ms=call.now_ms
    )
    return Answer(OK, shown(kind, survivor, (*SHOWN_BY_DEFAULT[kind.store.object_type], "hs_merged_object_ids")))


def gdpr_delete(call: Call, object_type: str) -> Answer:
    """Forget a person for good."""
    kind, body = call.state.kind(object_type), call.fields
    object_id = str(body.get("objectId"))
    record = kind.store.by_email(object_id) if body.get("idProperty") == "email" else None
    call.state.purge(kind, record.id if record else object_id, now_ms=call.now_ms)
    return Answer(NO_CONTENT)


def nothing_done(now_ms: int) -> Answer:
    """The batch answer that says it is complete and lists nothing."""
    return batch([], now_ms=now_ms)


def _each(call: Call, kind: Kind, inputs: Sequence[Mapping[str, Any]], work: Work, *, status: int = OK) -> Answer:
    """Carry out every row. With trace ids bad rows are set aside in a 207; without, one bad row stops all.

    Results come in an order of their own, and never repeat the trace id.
    """
    traced = all(item.get("objectWriteTraceId") for item in inputs)
    if not traced:
        return batch(_all_or_nothing(call, kind, inputs, work), now_ms=call.now_ms, status=status)
    results, errors = [], []
    for item in inputs:
        try:
            results.append(work(item))
        except Refusal as refusal:
            errors.append(refusal.batch_error(trace_id=str(item["objectWriteTraceId"])))
    results.sort(key=lambda result: str(result["id"]), reverse=True)
    return batch(results, now_ms=call.now_ms, errors=errors, status=status)


def _all_or_nothing(call: Call, kind: Kind, inputs: Sequence[Mapping[str, Any]], work: Work) -> list[Any]:
    """Every row, or none: what the first rows wrote is taken back when a later one is refused."""
    try:
        with kind.store.all_or_nothing(now_ms=call.now_ms):
            results = [work(item) for item in inputs]
    except Refusal as refusal:
        refusal.status = CONFLICT if refusal.category == "CONFLICT" else BAD_REQUEST
        raise
    results.sort(key=lambda result: str(result["id"]), reverse=True)
    return results


def _locate(kind: Kind, record_id: str, id_property: str | None) -> Record:
    record = _identified(kind, record_id, id_property) if id_property else kind.store.find(record_id)
    if record is None:
        raise not_found("resource not found", context={"ids": [record_id]} if not id_property else None)
    return record


def _identified(kind: Kind, value: str, id_property: str | None) -> Record | None:
    """The record a unique property names; 400 when the property is not unique."""
    if id_property == "email" and kind.store.object_type == "contacts":
        return kind.store.by_email(value)
    definition = kind.definitions.live.get(str(id_property))
    if definition is None or not definition.unique:
        raise Refusal(f"Unable to perform update/upsert by non-unique {kind.store.type_id} property {id_property}")
    return kind.store.by_unique(definition.name, value)


def _missing(ids: list[str]) -> Refusal:
    return not_found("Could not get some records, they may be deleted or not exist.", context={"ids": ids})


def _refuse_twice(inputs: Sequence[Mapping[str, Any]]) -> None:
    counts = Counter((str(item.get("id")), item.get("idProperty")) for item in inputs)
    twice = [record_id for (record_id, _), count in counts.items() if count > 1]
    if twice:
        raise Refusal(
            f"Duplicate IDs found in batch input: [{', '.join(twice)}]. IDs must be unique", context={"ids": twice}
        )


def _values(body: Mapping[str, Any]) -> Mapping[str, Any]:
    values = body.get("properties")
    if not isinstance(values, dict):
        raise Refusal("Invalid input JSON: properties must be an object")
    return values


def _associations(call: Call, kind: Kind, record: Record) -> dict[str, Any]:
    company = record.properties.get("associatedcompanyid")
    if kind.store.object_type != "contacts" or "companies" not in call.names("associations") or not company:
        return {}
    linked = [{"id": company, "type": "contact_to_company"}, {"id": company, "type": "contact_to_company_unlabeled"}]
    return {"associations": {"companies": {"results": linked}}}


READ = ("crm.objects.{type}.read",)
WRITE = ("crm.objects.{type}.write",)
TYPE = "/<object_type>"
RULES = (
    Rule("GET", "objects", TYPE, list_page, "record reads", READ),
    Rule("POST", "objects", TYPE, create, "record writes", WRITE),
    Rule("POST", "objects", f"{TYPE}/search", search, "searches", READ, meter="search"),
    Rule("POST", "objects", f"{TYPE}/batch/read", batch_read, "record reads", READ),
    Rule("POST", "objects", f"{TYPE}/batch/create", batch_create, "record writes", WRITE),
    Rule("POST", "objects", f"{TYPE}/batch/update", batch_update, "record writes", WRITE, no_op=nothing_done),
    Rule("POST", "objects", f"{TYPE}/batch/upsert", batch_upsert, "record writes", WRITE, no_op=nothing_done),
    Rule("POST", "objects", f"{TYPE}/batch/archive", batch_archive, "record writes", WRITE),
    Rule("POST", "objects", f"{TYPE}/merge", merge, "record writes", WRITE),
    Rule("POST", "objects", f"{TYPE}/gdpr-delete", gdpr_delete, "record writes", WRITE),
    Rule("GET", "objects", f"{TYPE}/<record_id>", read, "record reads", READ),
    Rule("PATCH", "objects", f"{TYPE}/<record_id>", update, "record writes", WRITE),
    Rule("DELETE", "objects", f"{TYPE}/<record_id>", archive, "record writes", WRITE),
)

"""Notes and tasks over the API: made in batches, read back, and found through the contact they hang on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from adapters.hubspot.sandbox.answers import CREATED, Answer, Refusal, batch, not_found
from adapters.hubspot.sandbox.api import Call, Rule
from adapters.hubspot.sandbox.engagements import KNOWN, NOTES, TASKS

MAX_INPUTS: Final = 100
MAX_ASSOCIATION_INPUTS: Final = 1_000
ASSOCIATIONS_PER_PAGE: Final = 500
TO_CONTACT: Final = {NOTES: 202, TASKS: 204}
FROM_CONTACT: Final = {NOTES: 201, TASKS: 203}
TYPE_IDS: Final = {NOTES: "0-46", TASKS: "0-27"}
REQUIRED: Final = {NOTES: ("hs_timestamp",), TASKS: ("hs_timestamp",)}


def create(call: Call, kind: str) -> Answer:
    """Up to 100 new ones; with trace ids a bad one is set aside in a 207, without it stops all."""
    inputs = call.inputs(MAX_INPUTS)
    traced = all(item.get("objectWriteTraceId") for item in inputs)
    checked: list[tuple[Mapping[str, str], tuple[str, ...]]] = []
    errors = []
    for item in inputs:
        try:
            checked.append(_checked(call, kind, item))
        except Refusal as refusal:
            if not traced:
                raise
            errors.append(refusal.batch_error(trace_id=str(item["objectWriteTraceId"])))
    store = call.state.engagements
    made = [store.add(kind, properties, contacts, now_ms=call.now_ms) for properties, contacts in checked]
    results = [one.body(tuple(one.properties)) for one in reversed(made)]
    return batch(results, now_ms=call.now_ms, errors=errors, status=CREATED)


def read(call: Call, kind: str) -> Answer:
    """Up to 100 by id; those that are missing are named in one error."""
    ids = [str(item.get("id")) for item in call.inputs(MAX_INPUTS)]
    names = tuple(str(name) for name in call.fields.get("properties") or ())
    held = {one.id: one for one in call.state.engagements.of(kind)}
    absent = [one for one in ids if one not in held]
    words = "Could not get some records, they may be deleted or not exist."
    errors = [not_found(words, context={"ids": absent}).batch_error()] if absent else []
    results = [held[one].body(names) for one in dict.fromkeys(ids) if one in held]
    return batch(results, now_ms=call.now_ms, errors=errors)


def on_contacts(call: Call, kind: str) -> Answer:
    """What hangs on contacts, 500 a contact and page."""
    results, errors = [], []
    for item in call.inputs(MAX_ASSOCIATION_INPUTS):
        contact_id, start = str(item.get("id")), int(str(item.get("after") or 0))
        found = [one.id for one in call.state.engagements.of(kind, contact_id)]
        if not found:
            refusal = not_found(
                f"No {TYPE_IDS[kind]} is associated with 0-1 {contact_id}.", context={"fromObjectId": [contact_id]}
            )
            refusal.sub_category = "crm.associations.NO_ASSOCIATIONS_FOUND"
            errors.append(refusal.batch_error())
            continue
        page = found[start : start + call.shorten(ASSOCIATIONS_PER_PAGE)]
        following = start + len(page)
        label = {"category": "HUBSPOT_DEFINED", "typeId": FROM_CONTACT[kind], "label": None}
        to = [{"toObjectId": one, "associationTypes": [label]} for one in page]
        paging = call.paging(following if following < len(found) else None)
        results.append({"from": {"id": contact_id}, "to": to, **paging})
    return batch(results, now_ms=call.now_ms, errors=errors)


def nothing_done(now_ms: int) -> Answer:
    """The batch answer that says it is complete and lists nothing."""
    return batch([], now_ms=now_ms)


def _checked(call: Call, kind: str, item: Mapping[str, Any]) -> tuple[Mapping[str, str], tuple[str, ...]]:
    properties = item.get("properties")
    if not isinstance(properties, dict):
        raise Refusal("Invalid input JSON: properties must be an object")
    unknown = sorted(set(properties) - KNOWN[kind])
    if unknown:
        raise Refusal(f"Property values were not valid: {', '.join(unknown)} does not exist")
    absent = [name for name in REQUIRED[kind] if not properties.get(name)]
    if absent:
        raise Refusal(f"Error creating {kind.upper()}. Some required properties were not set: {absent}")
    contacts = []
    for link in item.get("associations") or ():
        record_id = str((link.get("to") or {}).get("id"))
        types = {int(spec.get("associationTypeId") or 0) for spec in link.get("types") or ()}
        if types != {TO_CONTACT[kind]}:
            raise Refusal(f"The association types {sorted(types)} do not lead from {kind} to contacts")
        record = call.state.contacts.find(record_id)
        if record is None:
            raise not_found(f"No contact with ID {record_id} exists", context={"ids": [record_id]})
        poison = call.state.poison.get(record.id)
        if poison and poison.on in {"properties", "both"}:
            raise Refusal(poison.message)
        contacts.append(record.id)
    return {name: str(value) for name, value in properties.items()}, tuple(contacts)


def _rules(kind: str) -> tuple[Rule, ...]:
    reads = (f"crm.objects.{kind}.read",)
    writes = ("crm.objects.contacts.write", *reads)
    return (
        Rule("POST", "objects", f"/{kind}/batch/create", _on(create, kind), "notes", writes, no_op=nothing_done),
        Rule("POST", "objects", f"/{kind}/batch/read", _on(read, kind), "record reads", reads),
        Rule(
            "POST", "associations", f"/contacts/{kind}/batch/read", _on(on_contacts, kind), "record reads",
            ("crm.objects.contacts.read", *reads), meter="daily",
        ),
    )  # fmt: skip


def _on(handler: Callable[[Call, str], Answer], kind: str) -> Callable[[Call], Answer]:
    return lambda call: handler(call, kind)


RULES = (*_rules(NOTES), *_rules(TASKS))

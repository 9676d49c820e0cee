"""Property definitions and their groups."""

from __future__ import annotations

from typing import Any

from adapters.hubspot.sandbox.answers import CREATED, NO_CONTENT, OK, Answer, Refusal, batch
from adapters.hubspot.sandbox.api import Call, Rule
from adapters.hubspot.sandbox.definitions import MAX_CUSTOM, DefinitionStore

MAX_INPUTS = 100
MAX_CUSTOM_IN_ACCOUNT = 10_000


def read_all(call: Call, object_type: str) -> Answer:
    """Every definition, or every archived one."""
    held = _definitions(call, object_type)
    shown = held.archived if call.flag("archived") else held.live
    return Answer(OK, {"results": [definition.body() for definition in shown.values()]})


def read(call: Call, object_type: str, name: str) -> Answer:
    """One definition."""
    return Answer(OK, _definitions(call, object_type).get(name, archived=call.flag("archived")).body())


def create(call: Call, object_type: str) -> Answer:
    """Make a property."""
    return Answer(CREATED, _definitions(call, object_type).create(call.fields, now_ms=call.now_ms).body())


def update(call: Call, object_type: str, name: str) -> Answer:
    """Change a property; given choices replace the ones there were."""
    return Answer(OK, _definitions(call, object_type).update(name, call.fields, now_ms=call.now_ms).body())


def archive(call: Call, object_type: str, name: str) -> Answer:
    """Put a property away."""
    _definitions(call, object_type).archive(name, now_ms=call.now_ms)
    return Answer(NO_CONTENT)


def batch_create(call: Call, object_type: str) -> Answer:
    """Make several properties; those that cannot be made are errors beside the others."""
    held, results, errors = _definitions(call, object_type), [], []
    for item in call.inputs(MAX_INPUTS):
        try:
            results.append(held.create(item, now_ms=call.now_ms).body())
        except Refusal as refusal:
            errors.append(refusal.batch_error())
    status = OK if call.version == "2026-09" else CREATED
    return batch(results, now_ms=call.now_ms, errors=errors, status=status)


def batch_read(call: Call, object_type: str) -> Answer:
    """Several definitions; those that do not exist are errors beside the others."""
    held, results, errors = _definitions(call, object_type), [], []
    archived = bool(call.fields.get("archived"))
    for item in call.inputs(MAX_INPUTS):
        try:
            results.append(held.get(str(item.get("name")), archived=archived).body())
        except Refusal as refusal:
            errors.append(refusal.batch_error() | {"context": {"name": [str(item.get("name"))]}})
    return batch(results, now_ms=call.now_ms, errors=errors)


def batch_archive(call: Call, object_type: str) -> Answer:
    """Put several properties away."""
    held = _definitions(call, object_type)
    for item in call.inputs(MAX_INPUTS):
        held.archive(str(item.get("name")), now_ms=call.now_ms)
    return Answer(NO_CONTENT)


def read_groups(call: Call, object_type: str) -> Answer:
    """Every group."""
    return Answer(OK, {"results": [group.body() for group in _definitions(call, object_type).groups.values()]})


def read_group(call: Call, object_type: str, name: str) -> Answer:
    """One group."""
    return Answer(OK, _definitions(call, object_type).group(name).body())


def create_group(call: Call, object_type: str) -> Answer:
    """Make a group."""
    return Answer(CREATED, _definitions(call, object_type).create_group(call.fields).body())


def update_group(call: Call, object_type: str, name: str) -> Answer:
    """Change a group."""
    return Answer(OK, _definitions(call, object_type).update_group(name, call.fields).body())


def archive_group(call: Call, object_type: str, name: str) -> Answer:
    """Remove an empty group."""
    _definitions(call, object_type).archive_group(name)
    return Answer(NO_CONTENT)


def custom_property_limits(call: Call) -> Answer:
    """How many custom properties there are and may be, per object type."""
    used = {kind.store: len(kind.definitions.custom()) for kind in call.state.kinds.values()}
    by_type: list[dict[str, Any]] = [
        {
            "objectTypeId": store.type_id,
            "singularLabel": store.object_type.title(),
            "pluralLabel": store.object_type.title(),
            "limit": MAX_CUSTOM,
            "usage": count,
            "percentage": round(100 * count / MAX_CUSTOM, 2),
        }
        for store, count in used.items()
    ]
    total = sum(used.values())
    return Answer(
        OK,
        {
            "overallLimit": MAX_CUSTOM_IN_ACCOUNT,
            "overallUsage": total,
            "overallPercentage": round(100 * total / MAX_CUSTOM_IN_ACCOUNT, 2),
            "byObjectType": by_type,
        },
    )


def _definitions(call: Call, object_type: str) -> DefinitionStore:
    return call.state.kind(object_type).definitions


READ = ("crm.schemas.{type}.read",)
WRITE = ("crm.schemas.{type}.write",)
TYPE = "/<object_type>"
RULES = (
    Rule("GET", "properties", TYPE, read_all, "property reads", READ),
    Rule("POST", "properties", TYPE, create, "property writes", WRITE),
    Rule("POST", "properties", f"{TYPE}/batch/create", batch_create, "property writes", WRITE),
    Rule("POST", "properties", f"{TYPE}/batch/read", batch_read, "property reads", READ),
    Rule("POST", "properties", f"{TYPE}/batch/archive", batch_archive, "property writes", WRITE),
    Rule("GET", "properties", f"{TYPE}/groups", read_groups, "property reads", READ),
    Rule("POST", "properties", f"{TYPE}/groups", create_group, "property writes", WRITE),
    Rule("GET", "properties", f"{TYPE}/groups/<name>", read_group, "property reads", READ),
    Rule("PATCH", "properties", f"{TYPE}/groups/<name>", update_group, "property writes", WRITE),
    Rule("DELETE", "properties", f"{TYPE}/groups/<name>", archive_group, "property writes", WRITE),
    Rule("GET", "properties", f"{TYPE}/<name>", read, "property reads", READ),
    Rule("PATCH", "properties", f"{TYPE}/<name>", update, "property writes", WRITE),
    Rule("DELETE", "properties", f"{TYPE}/<name>", archive, "property writes", WRITE),
    Rule("GET", "limits", "/custom-properties", custom_property_limits, "account reads"),
)

"""One record written as the API writes it: permissions, types and lengths first, then the org's own checks.

REST, Collections, Composite and Bulk all come through here; what they are given are names and values as they came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from adapters.salesforce.ids import to_18
from adapters.salesforce.sandbox.answers import RowError
from adapters.salesforce.sandbox.fields import Field, SObject
from adapters.salesforce.sandbox.values import from_csv, from_json

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.records import Row
    from adapters.salesforce.sandbox.state import State

Plan = Mapping[str, "Field | None"]
"""Which field each name in a record or each column of a file is; None for what is no field (`attributes`)."""


class AmbiguousError(RowError):
    """An external id that several records carry; alone it is a 300 with their addresses."""

    def __init__(self, one: Field, ids: list[str]) -> None:
        message = f"{one.name}: more than one record found for external id field: {ids}"
        super().__init__("DUPLICATE_EXTERNAL_ID", message)
        self.ids = ids


def plan(state: State, kind: SObject, names: Iterable[str], operation: str) -> Plan:
    """What the names of a record are; operation is `create` or `update`. RowError INVALID_FIELD for an unknown one.

    A field that is there but not to be written is INVALID_FIELD_FOR_INSERT_UPDATE.
    """
    found: dict[str, Field | None] = {}
    closed: list[str] = []
    for name in names:
        if name.lower() == "attributes":
            found[name] = None
            continue
        one = _field(state, kind, name)
        found[name] = one
        if one.name != "Id" and not state.viewer.writes(kind, one, operation):
            closed.append(one.name)
    if closed:
        raise RowError(
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            f"Unable to create/update fields: {', '.join(closed)}. Please check the security settings of this field "
            "and verify that it is read/write for your profile or permission set.",
            closed,
        )
    return found


def typed(state: State, plan: Plan, record: Mapping[str, Any], *, csv: bool = False) -> dict[str, Any]:
    """The values of one record by field name, typed; in a file an empty cell is left out."""
    values: dict[str, Any] = {}
    strict = state.behaviour.picklists_strict
    read: Callable[..., Any] = from_csv if csv else from_json
    for name, value in record.items():
        one = plan[name]
        if one is None or one.name == "Id" or (csv and value == ""):
            continue
        if isinstance(value, dict) and not csv:
            values[one.name] = _by_external_id(state, one, value)
        elif csv and "." in name:
            values[one.name] = _by_external_id(state, one, {name.partition(".")[2]: value})
        else:
            values[one.name] = read(one, value, strict=strict)
    return values


def create(
    state: State, kind: SObject, record: Mapping[str, Any], *, columns: Plan | None = None, csv: bool = False
) -> Row:
    """Make a record."""
    state.viewer.demand(kind, "create")
    if any(name.lower() == "id" for name in record):
        raise RowError("INVALID_FIELD", "cannot specify Id in an insert call")
    planned = columns or plan(state, kind, record, "create")
    return state.insert(kind.name, typed(state, planned, record, csv=csv))


def update(
    state: State,
    kind: SObject,
    record_id: str,
    record: Mapping[str, Any],
    *,
    columns: Plan | None = None,
    csv: bool = False,
) -> Row:
    """Change a record."""
    state.viewer.demand(kind, "edit")
    planned = columns or plan(state, kind, record, "update")
    held_id = existing_id(kind, record_id)
    return state.update(held_id, typed(state, planned, record, csv=csv))


def upsert(
    state: State,
    kind: SObject,
    one: Field,
    value: Any,
    record: Mapping[str, Any],
    *,
    csv: bool = False,
) -> tuple[Row, bool]:
    """Change the record with this external id, or make it; whether it was made."""
    if value in (None, ""):
        raise RowError("MISSING_ARGUMENT", f"{one.name} not specified")
    key = (from_csv if csv else from_json)(one, value)
    found = holders(state, kind, one, key)
    if len(found) > 1:
        raise AmbiguousError(one, [row.id for row in found])
    if found:
        # The external id may be written once only; on an update it is the address, not a value.
        rest = {name: given for name, given in record.items() if name.lower() not in {one.name.lower(), "id"}}
        return update(state, kind, found[0].id, rest, csv=csv), False
    given = {name: held for name, held in record.items() if name.lower() != one.name.lower()}
    return create(state, kind, {**given, one.name: value}, csv=csv), True


def delete(state: State, record_id: str, *, kind: SObject | None = None) -> Row:
    """Put a record into the recycle bin."""
    held_kind = kind or state.kind_of(record_id[:3]) or None
    held_id = existing_id(held_kind, record_id)
    held_kind = state.kind_of(held_id)
    if held_kind is not None:
        state.viewer.demand(held_kind, "delete")
    return state.delete(held_id)


def holders(state: State, kind: SObject, one: Field, key: Any) -> list[Row]:
    """The live records with this external id."""
    if one.name == "Id":
        row = state.row(str(key))
        return [row] if row is not None and not row.is_deleted and state.kind_of(row.id) is kind else []
    found = state.stores[kind.name].matching(one.name, key)
    return [row for row in found if not row.is_deleted and (not one.case_sensitive or row.values[one.name] == key)]


def existing_id(kind: SObject | None, record_id: Any) -> str:
    """The 18-character id; RowError when it is none, or one of another kind."""
    try:
        full = to_18(str(record_id).strip())
    except ValueError:
        label = "Record ID" if kind is None else f"{kind.label} ID"
        raise RowError("MALFORMED_ID", f"{label}: id value of incorrect type: {record_id}", ["Id"]) from None
    if kind is not None and full[:3] != kind.prefix:
        raise RowError("MALFORMED_ID", f"{kind.label} ID: id value of incorrect type: {record_id}", ["Id"])
    return full


def _field(state: State, kind: SObject, name: str) -> Field:
    relation, _, rest = name.partition(".")
    if rest:
        one = kind.relation(relation)
        if one is None or not state.viewer.sees(kind, one):
            raise RowError("INVALID_FIELD", f"Foreign key external ID: {relation} not found on {kind.name}", [name])
        return one
    one = kind.find(name)
    if one is None or not state.viewer.sees(kind, one):
        one = kind.relation(name)
        if one is None:
            raise RowError("INVALID_FIELD", f"No such column '{name}' on sobject of type {kind.name}", [name])
    return one


def _by_external_id(state: State, link: Field, given: Mapping[str, Any]) -> str:
    """The id of the record a relationship names by its external id (`"Campaign": {"Winback_Key__c": "x"}`)."""
    keys = {name: value for name, value in given.items() if name.lower() != "attributes"}
    if len(keys) != 1:
        raise RowError("INVALID_FIELD", f"The external foreign key reference must name one field: {link.relationship}")
    name, value = next(iter(keys.items()))
    kinds = [kind for refers in link.refers if (kind := state.kind(refers)) is not None]
    for kind in kinds:
        one = kind.find(name)
        if one is None or not (one.external_id or one.name == "Id"):
            continue
        found = holders(state, kind, one, value)
        if len(found) == 1:
            return found[0].id
        raise RowError(
            "INVALID_FIELD",
            f"Foreign key external ID: {value} not found for field {one.name} in entity {kind.name}",
            [link.name],
        )
    raise RowError("INVALID_FIELD", f"No such external id field '{name}' for {link.relationship}", [link.name])

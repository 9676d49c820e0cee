"""Property definitions and groups of one object type: created, read, widened, archived, brought back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapters.hubspot.sandbox.answers import CONFLICT, Refusal, iso, not_found

NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
FIELD_TYPES: Mapping[str, frozenset[str]] = {
    "bool": frozenset({"booleancheckbox", "calculation_equation"}),
    "enumeration": frozenset({"select", "radio", "checkbox", "booleancheckbox", "calculation_equation"}),
    "date": frozenset({"date"}),
    "datetime": frozenset({"date"}),
    "number": frozenset({"number", "calculation_equation"}),
    "string": frozenset({"text", "textarea", "html", "file", "phonenumber", "calculation_equation"}),
    "phone_number": frozenset({"phonenumber"}),
}
MAX_UNIQUE = 10
MAX_CUSTOM = 1000


@dataclass(frozen=True, slots=True)
class Option:
    """One choice of an enumeration."""

    value: str
    label: str
    order: int = -1
    hidden: bool = False
    description: str = ""

    def body(self) -> dict[str, Any]:
        """The choice as the vendor writes it."""
        return {
            "label": self.label,
            "value": self.value,
            "displayOrder": self.order,
            "hidden": self.hidden,
            "description": self.description,
        }


@dataclass(frozen=True, slots=True)
class Definition:
    """One property. `open` is an enumeration whose choices live elsewhere (owners): any value is taken."""

    name: str
    label: str
    type: str
    field_type: str
    group: str
    description: str = ""
    options: tuple[Option, ...] = ()
    unique: bool = False
    read_only: bool = False
    hubspot_defined: bool = True
    open: bool = False
    form_field: bool = False
    hidden: bool = False
    order: int = -1
    created_ms: int = 0
    updated_ms: int = 0
    archived_ms: int | None = None

    def body(self) -> dict[str, Any]:
        """The definition as the vendor writes it."""
        body: dict[str, Any] = {
            "name": self.name,
            "label": self.label,
            "type": self.type,
            "fieldType": self.field_type,
            "description": self.description,
            "groupName": self.group,
            "options": [option.body() for option in self.options],
            "displayOrder": self.order,
            "calculated": False,
            "externalOptions": self.open,
            "archived": self.archived_ms is not None,
            "hasUniqueValue": self.unique,
            "hidden": self.hidden,
            "hubspotDefined": self.hubspot_defined,
            "formField": self.form_field,
            "dataSensitivity": "non_sensitive",
            "createdAt": iso(self.created_ms),
            "updatedAt": iso(self.updated_ms),
            "modificationMetadata": {
                "archivable": not self.hubspot_defined,
                "readOnlyDefinition": self.hubspot_defined,
                "readOnlyOptions": self.hubspot_defined,
                "readOnlyValue": self.read_only,
            },
        }
        if self.archived_ms is not None:
            body["archivedAt"] = iso(self.archived_ms)
        return body


@dataclass(frozen=True, slots=True)
class Group:
    """A heading that properties stand under."""

    name: str
    label: str
    order: int = -1

    def body(self) -> dict[str, Any]:
        """The group as the vendor writes it."""
        return {"name": self.name, "label": self.label, "displayOrder": self.order, "archived": False}


class DefinitionStore:
    """All property definitions of one object type. `in_use` names those something depends on."""

    def __init__(self, *, type_id: str, groups: Mapping[str, str], definitions: Iterable[Definition]) -> None:
        self.type_id = type_id
        self.live: dict[str, Definition] = {d.name: d for d in definitions}
        self.archived: dict[str, Definition] = {}
        self.groups: dict[str, Group] = {name: Group(name, label) for name, label in groups.items()}
        self.in_use: set[str] = set()

    def custom(self) -> list[Definition]:
        """The definitions this account made itself."""
        return [definition for definition in self.live.values() if not definition.hubspot_defined]

    def get(self, name: str, *, archived: bool = False) -> Definition:
        """One definition; 404 when there is none."""
        held = self.archived if archived else self.live
        try:
            return held[name]
        except KeyError:
            raise not_found(f"property {name} does not exist for object type {self.type_id}") from None

    def create(self, body: Mapping[str, Any], *, now_ms: int) -> Definition:
        """Make a property. An archived one of this name comes back as it was, whatever the new body asks."""
        made = definition_from(body, now_ms=now_ms)
        if made.name in self.live:
            raise Refusal(
                f"A property named '{made.name}' already exists.",
                status=CONFLICT,
                category="OBJECT_ALREADY_EXISTS",
                sub_category="Properties.PROPERTY_WITH_NAME_EXISTS",
                context={"name": [made.name]},
            )
        if made.group not in self.groups:
            raise Refusal(
                f"Property group {made.group} does not exist",
                sub_category="PropertyValidationError.GROUP_DOES_NOT_EXIST",
            )
        self._check_room(made)
        buried = self.archived.pop(made.name, None)
        if buried is not None:
            made = replace(buried, archived_ms=None, updated_ms=now_ms, group=made.group)
        self.live[made.name] = made
        return made

    def update(self, name: str, body: Mapping[str, Any], *, now_ms: int) -> Definition:
        """Change label, description, type or choices; the given choices replace all that were there."""
        held = self.get(name)
        if held.hubspot_defined:
            raise Refusal(
                f"Property {name} is defined by HubSpot and cannot be changed",
                sub_category="PropertyValidationError.READ_ONLY_DEFINITION",
            )
        merged = {
            "name": name,
            "label": held.label,
            "type": held.type,
            "fieldType": held.field_type,
            "groupName": held.group,
            "description": held.description,
            "options": [option.body() for option in held.options],
            "hasUniqueValue": held.unique,
            "formField": held.form_field,
            "hidden": held.hidden,
            "displayOrder": held.order,
        } | {key: value for key, value in body.items() if key not in {"name", "hasUniqueValue"}}
        changed = replace(definition_from(merged, now_ms=now_ms), created_ms=held.created_ms)
        if changed.group not in self.groups:
            raise Refusal(f"Property group {changed.group} does not exist")
        self.live[name] = changed
        return changed

    def archive(self, name: str, *, now_ms: int) -> None:
        """Put a property away; its values stay with the records. Archiving twice is no error."""
        held = self.live.get(name)
        if held is None:
            if name in self.archived:
                return
            raise not_found(f"property {name} does not exist for object type {self.type_id}")
        if name in self.in_use:
            raise Refusal(
                f"Property {name} is in use and cannot be deleted",
                sub_category="PropertyValidationError.CANNOT_DELETE_PROPERTY_IN_USE",
            )
        if held.hubspot_defined:
            raise Refusal(
                f"Property {name} is defined by HubSpot and cannot be deleted",
                sub_category="PropertyValidationError.CANNOT_DELETE_HUBSPOT_DEFINED_PROPERTY",
            )
        self.archived[name] = replace(self.live.pop(name), archived_ms=now_ms)

    def create_group(self, body: Mapping[str, Any]) -> Group:
        """Make a heading; 409 when the name is taken."""
        name, label = str(body.get("name") or ""), str(body.get("label") or "")
        if not NAME.match(name) or not label:
            raise Refusal("A property group needs a name of lower case letters, digits and _, and a label")
        if name in self.groups:
            raise Refusal(
                f"A property group named '{name}' already exists.",
                status=CONFLICT,
                category="OBJECT_ALREADY_EXISTS",
                sub_category="Properties.GROUP_WITH_NAME_EXISTS",
                context={"name": [name]},
            )
        self.groups[name] = Group(name, label, int(body.get("displayOrder", -1)))
        return self.groups[name]

    def group(self, name: str) -> Group:
        """One heading; 404 when there is none."""
        try:
            return self.groups[name]
        except KeyError:
            raise not_found(f"property group {name} does not exist for object type {self.type_id}") from None

    def update_group(self, name: str, body: Mapping[str, Any]) -> Group:
        """Change a heading's label or place."""
        held = self.group(name)
        self.groups[name] = replace(
            held, label=str(body.get("label", held.label)), order=int(body.get("displayOrder", held.order))
        )
        return self.groups[name]

    def archive_group(self, name: str) -> None:
        """Remove an empty heading; one that still holds properties stays."""
        self.group(name)
        if any(definition.group == name for definition in self.live.values()):
            raise Refusal(
                f"Property group {name} still contains active properties and cannot be deleted",
                sub_category="PropertyValidationError.GROUP_NOT_EMPTY",
            )
        del self.groups[name]

    def _check_room(self, made: Definition) -> None:
        custom = self.custom()
        if len(custom) >= MAX_CUSTOM:
            raise Refusal(
                f"The limit of {MAX_CUSTOM} custom properties was reached",
                sub_category="PropertyValidationError.PROPERTY_LIMIT_EXCEEDED",
            )
        if made.unique and sum(definition.unique for definition in custom) >= MAX_UNIQUE:
            raise Refusal(
                f"The limit of {MAX_UNIQUE} properties with unique values was reached",
                sub_category="PropertyValidationError.UNIQUE_PROPERTY_LIMIT_EXCEEDED",
            )


def definition_from(body: Mapping[str, Any], *, now_ms: int) -> Definition:
    """The definition a request describes; 400 when a needed part is missing or does not fit the others."""
    absent = [key for key in ("name", "label", "type", "fieldType", "groupName") if not body.get(key)]
    if absent:
        raise Refusal(
            f"Invalid input JSON: Some required fields were not set: {absent}",
            errors=[{"message": f"Some required fields were not set: {absent}", "context": {"fields": absent}}],
        )
    name, kind, field_type = str(body["name"]), str(body["type"]), str(body["fieldType"])
    if not NAME.match(name):
        raise Refusal(
            f"The property name '{name}' is not valid: lower case letters, digits and underscores, a letter first",
            sub_category="PropertyValidationError.INVALID_PROPERTY_NAME",
        )
    if field_type not in FIELD_TYPES.get(kind, frozenset()):
        raise Refusal(
            f"Field type {field_type} is not valid for a property of type {kind}",
            sub_category="PropertyValidationError.INVALID_FIELD_TYPE",
        )
    options = options_from(body.get("options") or ())
    if kind == "enumeration" and not options and not body.get("externalOptions"):
        raise Refusal(
            f"Property {name} is an enumeration and needs at least one option",
            sub_category="PropertyValidationError.ENUMERATION_NEEDS_OPTIONS",
        )
    if kind == "bool" and not options:
        options = (Option("true", "Yes", 0), Option("false", "No", 1))
    return Definition(
        name,
        str(body["label"]),
        kind,
        field_type,
        str(body["groupName"]),
        description=str(body.get("description") or ""),
        options=options,
        unique=bool(body.get("hasUniqueValue")),
        hubspot_defined=False,
        open=bool(body.get("externalOptions")),
        form_field=bool(body.get("formField")),
        hidden=bool(body.get("hidden")),
        order=int(body.get("displayOrder", -1)),
        created_ms=now_ms,
        updated_ms=now_ms,
    )


def options_from(bodies: Sequence[Mapping[str, Any]]) -> tuple[Option, ...]:
    """The choices a request lists; 400 when two share a value or a label."""
    options = tuple(
        Option(
            str(body.get("value", "")),
            str(body.get("label", "")),
            int(body.get("displayOrder", -1)),
            bool(body.get("hidden")),
            str(body.get("description") or ""),
        )
        for body in bodies
    )
    for part in ("value", "label"):
        seen = [getattr(option, part) for option in options]
        twice = sorted({value for value in seen if seen.count(value) > 1})
        if twice:
            raise Refusal(
                f"Property options must have unique {part}s; these appear twice: {twice}",
                sub_category=f"PropertyValidationError.DUPLICATE_OPTION_{part.upper()}",
            )
    return options

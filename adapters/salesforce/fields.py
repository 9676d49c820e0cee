"""The properties winback owns as Salesforce fields: `winback_last_active_at` is `Winback_Last_Active_At__c`.

Each is on Contact and on Lead. Choices are text: a picklist could be restricted, and then a new segment's name would be
refused in every row. The package in deploy/salesforce is made by the same rules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Final, Literal, assert_never, cast, get_args

from connector.model import PropertySpec

PEOPLE: Final = ("Contact", "Lead")
"""The objects a property is a field of."""

ENROLLMENT: Final = "Winback_Enrollment__c"
"""The field a record-triggered flow listens to: the name of the flow a person was put into."""

KEY: Final = "Winback_Key__c"
"""The external id of our campaigns and tasks: what carries it is made once."""

PERMISSION_SET: Final = "Winback_Integration"
PACKAGE: Final = "deploy/salesforce"

TEXT_LENGTH: Final = 255
LONG_LENGTH: Final = 4_000
LONG_LINES: Final = 3
PRECISION: Final = 18
SCALE: Final = 4

Kind = Literal["text", "number", "date", "datetime", "choices", "yes_no"]
FieldType = Literal["Text", "LongTextArea", "Number", "Date", "DateTime", "Checkbox"]

_OURS: Final = "winback_"
_LONG: Final = ("winback_whats_new", "winback_next_step")
_LONG_PREFIX: Final = "winback_link_"
_CUSTOM: Final = "__c"

_TEXTS: Final = frozenset({"string", "textarea", "url"})
_NUMBERS: Final = frozenset({"double", "int", "currency", "percent"})
_HOLDS: Final[Mapping[str, frozenset[str]]] = {
    "text": _TEXTS,
    "choices": _TEXTS,
    "number": _NUMBERS,
    "date": frozenset({"date"}),
    "datetime": frozenset({"datetime"}),
    "yes_no": frozenset({"boolean"}),
}
"""The described types that can hold a neutral kind's values."""


@lru_cache(maxsize=1_024)
def field_name(name: str) -> str:
    """The API name of a property; one that is an API name already stays as it is."""
    if name.endswith(_CUSTOM):
        return name
    return "_".join(part[:1].upper() + part[1:] for part in name.split("_")) + _CUSTOM


def property_name(field: str) -> str:
    """The property a field holds."""
    return field.removesuffix(_CUSTOM).lower()


def field_type(spec: PropertySpec) -> FieldType:
    """The type of the field for a property; ValueError for a kind there is none for."""
    if spec.kind not in get_args(Kind):
        raise ValueError(f"no property kind {spec.kind!r}; there are {', '.join(get_args(Kind))}")
    kind = cast("Kind", spec.kind)
    match kind:
        case "text" if spec.name in _LONG or spec.name.startswith(_LONG_PREFIX):
            return "LongTextArea"
        case "text" | "choices":
            return "Text"
        case "number":
            return "Number"
        case "date":
            return "Date"
        case "datetime":
            return "DateTime"
        case "yes_no":
            return "Checkbox"
        case _:
            assert_never(kind)


def definition(spec: PropertySpec) -> dict[str, Any]:
    """The field as the Metadata and Tooling APIs describe it, without its name."""
    kind = field_type(spec)
    made: dict[str, Any] = {"label": spec.label[:40], "type": kind, "description": spec.description[:1_000]}
    match kind:
        case "Text":
            return {**made, "length": TEXT_LENGTH, "required": False}
        case "LongTextArea":
            return {**made, "length": LONG_LENGTH, "visibleLines": LONG_LINES}
        case "Number":
            return {**made, "precision": PRECISION, "scale": SCALE, "required": False}
        case "Checkbox":
            return {**made, "defaultValue": "false"}
        case "Date" | "DateTime":
            return {**made, "required": False}
        case _:
            assert_never(kind)


@dataclass(frozen=True, slots=True)
class Held:
    """A field as an object's description has it: its API name, type and length, and whether we may write it."""

    name: str
    type: str
    length: int = 0
    updateable: bool = True

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Held:
        """From one entry of a describe."""
        return cls(
            name=str(described["name"]),
            type=str(described.get("type") or ""),
            length=int(described.get("length") or 0),
            updateable=bool(described.get("updateable", True)),
        )

    def lacks(self, spec: PropertySpec) -> str | None:
        """Why the field cannot hold a property's values, in words; None when it can."""
        if spec.kind and self.type not in _HOLDS[spec.kind]:
            return f"it is of type {self.type}, winback needs {field_type(spec)}"
        if not self.updateable:
            return f"the integration user may not edit it: assign the permission set {PERMISSION_SET}"
        return None


def sendable(field: Held, name: str, value: str | None) -> Any:
    """A property's value as JSON for this field; None clears it, and a checkbox then is false.

    Raises:
        ValueError: the value is not of the field's type; its words are for a receipt.
    """
    if value is None or value == "":
        return False if field.type == "boolean" else None
    try:
        return _typed(field, name, value)
    except ValueError as fault:
        raise ValueError(f"{field.name}: the value is no {field.type}") from fault


def readable(field: Held, value: Any) -> str | None:
    """A value of a record as winback's text for it: the one that `sendable` was given."""
    if value is None or value == "":
        return None
    if field.type == "boolean":
        return "true" if value in {True, "true"} else "false"
    if field.type in _NUMBERS:
        number = float(value)
        return str(int(number)) if number.is_integer() else repr(number)
    if field.type == "datetime":
        return _moment(str(value)).isoformat().replace("+00:00", "Z")
    return str(value)


def _typed(field: Held, name: str, value: str) -> Any:
    if field.type == "boolean":
        if value.lower() not in {"true", "false"}:
            raise ValueError(value)
        return value.lower() == "true"
    if field.type in _NUMBERS:
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(value)
        return int(number) if number.is_integer() else number
    if field.type == "date":
        return date.fromisoformat(value).isoformat()
    if field.type == "datetime":
        return _moment(value).isoformat().replace("+00:00", "Z")
    return _cut(value, field.length) if name.startswith(_OURS) and field.length else value


def _moment(text: str) -> datetime:
    """A moment in UTC, to the second: that is as fine as the platform keeps it."""
    moment = datetime.fromisoformat(text)
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).replace(microsecond=0)


def _cut(text: str, length: int) -> str:
    """The text's beginning that fits: the platform counts as Java does, a smiley is two."""
    units = text.encode("utf-16-le", "surrogatepass")
    return text if len(units) <= 2 * length else units[: 2 * length].decode("utf-16-le", "ignore")

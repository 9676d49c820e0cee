"""Which property values the vendor takes, and what it says about those it does not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from adapters.hubspot.sandbox.answers import Refusal, iso, parse_time
from adapters.hubspot.sandbox.definitions import Definition

MAX_TEXT = 65_536
DAY_MS = 86_400_000
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?\Z")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")


class WrongValue(ValueError):
    """One value is wrong: the vendor's code, and its words as the message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_values(given: Mapping[str, Any], definitions: Mapping[str, Definition]) -> dict[str, str | None]:
    """The values to store, None for cleared ones; one wrong value refuses the whole record.

    The refusal's message carries a JSON list inside its text, one item per wrong property.
    """
    stored: dict[str, str | None] = {}
    wrong: list[dict[str, Any]] = []
    for name, value in given.items():
        try:
            stored[name] = _check(name, value, definitions.get(name))
        except WrongValue as wrong_value:
            wrong.append({"isValid": False, "message": str(wrong_value), "error": wrong_value.code, "name": name})
    if wrong:
        raise invalid_values(wrong)
    return stored


def invalid_values(wrong: list[dict[str, Any]]) -> Refusal:
    """The refusal for property values, its details embedded in the message as the vendor does."""
    return Refusal(
        f"Property values were not valid: {json.dumps(wrong, ensure_ascii=False)}",
        errors=[
            {"message": item["message"], "code": item["error"], "context": {"propertyName": [item["name"]]}}
            for item in wrong
        ],
    )


def _check(name: str, value: Any, definition: Definition | None) -> str | None:
    if definition is None:
        raise WrongValue("PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist')
    if definition.read_only:
        raise WrongValue("READ_ONLY_VALUE", f'"{name}" is a read only property; its value cannot be set')
    text = _as_text(value)
    if not text:
        return None
    match definition.type:
        case "number":
            _check_number(text)
        case "bool":
            _check_options(text.lower(), {"true", "false"}, definition)
            return text.lower()
        case "date":
            return _check_date(text)
        case "datetime":
            return _check_datetime(text)
        case "enumeration" if not definition.open:
            return _check_enumeration(text, definition)
        case _:
            _check_text(name, text)
    return text


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _check_number(text: str) -> None:
    if not NUMBER.match(text):
        raise WrongValue("INVALID_NUMBER", f"{text} was not a valid number.")


def _check_options(text: str, allowed: set[str], definition: Definition) -> None:
    if text not in allowed:
        shown = ", ".join(f'label: "{o.label}" value: "{o.value}"' for o in definition.options[:20])
        raise WrongValue("INVALID_OPTION", f"{text} was not one of the allowed options: [{shown}]")


def _check_enumeration(text: str, definition: Definition) -> str:
    allowed = {option.value for option in definition.options}
    chosen = [part for part in text.split(";") if part] if definition.field_type == "checkbox" else [text]
    for part in chosen:
        _check_options(part, allowed, definition)
    return text if text.startswith(";") else ";".join(chosen)


def _check_date(text: str) -> str:
    at_ms = parse_time(text)
    if at_ms is None:
        raise WrongValue("INVALID_DATE", f"{text} was not a valid date.")
    if at_ms % DAY_MS:
        raise WrongValue("INVALID_DATE", f"{text} is at a time other than midnight UTC.")
    return date.fromordinal(date(1970, 1, 1).toordinal() + at_ms // DAY_MS).isoformat()


def _check_datetime(text: str) -> str:
    at_ms = parse_time(text)
    if at_ms is None:
        raise WrongValue("INVALID_DATE", f"{text} was not a valid date-time.")
    return iso(at_ms)


def _check_text(name: str, text: str) -> None:
    if len(text) > MAX_TEXT:
        raise WrongValue("INVALID_LENGTH", f"Property {name} is longer than {MAX_TEXT} characters.")
    if name == "email" and not EMAIL.match(text):
        raise WrongValue("INVALID_EMAIL", "Email address is invalid")

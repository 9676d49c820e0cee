"""A field's value on its way in (JSON or CSV, to what the org keeps) and out (to JSON or CSV)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from adapters.salesforce.ids import to_18
from adapters.salesforce.sandbox.answers import Refusal, RowError, day_text, parse_time, stamp, stamp_csv
from adapters.salesforce.sandbox.fields import IDS, NUMBERS, TEXTS, Field

MAIL = re.compile(r"[^@\s,;<>()\"]+@[^@\s,;<>()\"]+\.[^@\s,;<>()\"]+\Z")
DAY = re.compile(r"\d{4}-\d\d-\d\d")
JSON_WORDS = {bool: "VALUE_TRUE", int: "VALUE_NUMBER_INT", float: "VALUE_NUMBER_FLOAT", str: "VALUE_STRING"}
CSV_NULL = "#N/A"


def from_json(one: Field, value: Any, *, strict: bool = False) -> Any:
    """The value a JSON body gives a field, None for null; RowError for a bad one, Refusal for a wrong JSON type.

    strict: Every picklist takes its listed values only.
    """
    if value is None:
        return False if one.kind == "boolean" else None
    if isinstance(value, dict | list):
        raise _not_json(one, "START_OBJECT" if isinstance(value, dict) else "START_ARRAY", "")
    if one.kind in NUMBERS:
        if isinstance(value, bool):
            raise _not_json(one, "VALUE_TRUE", value)
    elif one.kind == "boolean":
        if not isinstance(value, bool) and str(value).lower() not in {"true", "false"}:
            raise _not_json(one, JSON_WORDS[type(value)], value)
    elif not isinstance(value, str):
        raise _not_json(one, JSON_WORDS[type(value)], value)
    try:
        return _typed(one, value, strict=strict)
    except _NotOfTypeError:
        if one.kind in IDS:
            raise _malformed_id(one, value) from None
        raise _not_json(one, JSON_WORDS[type(value)], value) from None


def from_csv(one: Field, text: str, *, strict: bool = False) -> Any:
    """The value a CSV cell gives a field; `#N/A` is None. The caller leaves empty cells alone."""
    if text == CSV_NULL:
        return False if one.kind == "boolean" else None
    try:
        return _typed(one, text, strict=strict)
    except _NotOfTypeError:
        if one.kind in IDS:
            raise _malformed_id(one, text) from None
        raise RowError(
            "INVALID_TYPE_ON_FIELD_IN_RECORD", f"{one.label}: value not of required type: {text}", [one.name]
        ) from None


def to_json(kind: str, value: Any) -> Any:
    """A stored value as REST writes it."""
    if value is None:
        return None
    if kind == "datetime":
        return stamp(value)
    return value


def to_csv(kind: str, value: Any) -> str:
    """A stored value as Bulk writes it into a file; null is an empty cell."""
    if value is None:
        return ""
    if kind == "datetime":
        return stamp_csv(value)
    if value is True or value is False:
        return "true" if value else "false"
    return str(value)


class _NotOfTypeError(ValueError):
    """The value is none of the field's type."""


def _typed(one: Field, value: Any, *, strict: bool) -> Any:
    if one.kind in TEXTS:
        return _text(one, value, strict=strict)
    return CONVERTERS[one.kind](one, value)


def _text(one: Field, value: str, *, strict: bool) -> str | None:
    bare = value.strip()
    if not bare:
        return None
    if one.length and len(bare) > one.length:
        raise RowError(
            "STRING_TOO_LONG", f"{one.label}: data value too large: {bare} (max length={one.length})", [one.name]
        )
    if one.kind == "email" and not MAIL.match(bare):
        raise RowError("INVALID_EMAIL_ADDRESS", f"{one.label}: invalid email address: {bare}", [one.name])
    if one.kind == "picklist" and one.choices and (one.restricted or strict) and bare not in one.choices:
        raise RowError(
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            f"{one.label}: bad value for restricted picklist field: {bare}",
            [one.name],
        )
    return bare


def _boolean(one: Field, value: Any) -> bool:  # noqa: ARG001 - every converter is called alike
    if isinstance(value, bool):
        return value
    word = value.strip().lower()
    if word in {"true", "1"}:
        return True
    if word in {"false", "0"}:
        return False
    raise _NotOfTypeError


def _number(one: Field, value: Any) -> float | int:
    try:
        number = float(value)
    except ValueError:
        raise _NotOfTypeError from None
    if not math.isfinite(number):
        raise _NotOfTypeError
    if one.precision and abs(number) >= 10 ** (one.precision - one.scale):
        message = f"{one.label}: value outside of valid range on numeric field: {value}"
        raise RowError("NUMBER_OUTSIDE_VALID_RANGE", message, [one.name])
    if one.kind == "int":
        if not number.is_integer():
            raise _NotOfTypeError
        return int(number)
    return round(number, one.scale)


def _date(one: Field, value: str) -> str:  # noqa: ARG001
    text = value.strip()
    if not DAY.fullmatch(text):
        at = parse_time(text)
        if at is None:
            raise _NotOfTypeError
        return day_text(at)
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise _NotOfTypeError from None


def _datetime(one: Field, value: str) -> int:  # noqa: ARG001
    text = value.strip()
    at = parse_time(text)
    if at is None and DAY.fullmatch(text):
        at = parse_time(f"{text}T00:00:00Z")
    if at is None:
        raise _NotOfTypeError
    return at // 1000 * 1000


def _id(one: Field, value: str) -> str | None:  # noqa: ARG001
    text = value.strip()
    if not text:
        return None
    try:
        return to_18(text)
    except ValueError:
        raise _NotOfTypeError from None


CONVERTERS: Mapping[str, Callable[[Field, Any], Any]] = {
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
    **dict.fromkeys(NUMBERS, _number),
    **dict.fromkeys(IDS, _id),
}


def _not_json(one: Field, found: str, value: Any) -> Refusal:
    wanted = {"double": "double", "currency": "double", "percent": "double"}.get(one.kind, one.kind)
    return Refusal(
        "JSON_PARSER_ERROR",
        f"Cannot deserialize instance of {wanted} from {found} value {value} or request may be missing a required "
        f"field at [line:1, column:1]",
    )


def _malformed_id(one: Field, value: Any) -> RowError:
    return RowError("MALFORMED_ID", f"{one.label}: id value of incorrect type: {value}", [one.name])

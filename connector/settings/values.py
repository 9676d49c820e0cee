"""Values with a unit, as a person writes them: `20%`, `36h`."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_PART = r"[0-9]+(?:[.][0-9]+)?\s*[smhd]"
_DURATION = re.compile(rf"{_PART}(?:\s*{_PART})*")
_PERCENT = re.compile(r"([0-9]+(?:[.][0-9]+)?)\s*%")


def read_duration(value: Any) -> Any:
    """`36h`, `1d 12h`, `90s` as a time span; a bare number is refused, its unit would be a guess."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    if not _DURATION.fullmatch(text):
        message = "is not a duration; write a number and a unit: 90s, 10m, 36h, 7d"
        raise ValueError(message)
    parts = re.findall(r"([0-9.]+)\s*([smhd])", text)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds > 3650 * _UNITS["d"]:
        message = "is longer than ten years"
        raise ValueError(message)
    return timedelta(seconds=seconds)


def show_duration(span: timedelta) -> str:
    """The time span in the largest unit that is exact."""
    seconds = span.total_seconds()
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:g}{unit}"
    return f"{seconds:g}s"


def read_share(value: Any) -> Any:
    """`20%` or 0.2 as 0.2."""
    if isinstance(value, str):
        found = _PERCENT.fullmatch(value.strip())
        with suppress(ValueError):
            value = float(found[1]) / 100 if found else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        message = "is not a share; write it like 20% or 0.2"
        raise ValueError(message)
    return float(value)


SECRET_SCHEMA = {
    "type": "string",
    "pattern": r"^\$\{(file:[^}]+|[A-Za-z_][A-Za-z0-9_]*)\}$",
    "description": "a reference, never the secret itself: ${NAME} or ${file:/run/secrets/name}",
}

SEVERAL_SECRETS_SCHEMA = {"anyOf": [SECRET_SCHEMA, {"type": "array", "items": SECRET_SCHEMA}]}

Duration = Annotated[
    timedelta,
    BeforeValidator(read_duration),
    PlainSerializer(show_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^([0-9]+([.][0-9]+)?\s*[smhd]\s*)+$", "examples": ["36h", "7d"]}),
]

SHARE_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "string", "pattern": r"^[0-9]+([.][0-9]+)?\s*%$"},
    ],
    "examples": ["20%"],
}

Share = Annotated[float, BeforeValidator(read_share), WithJsonSchema(SHARE_SCHEMA)]

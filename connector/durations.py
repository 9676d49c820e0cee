"""Spans of time as a person writes them: `36h`, `1d 12h`, `90s`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_PART: Final = r"[0-9]+(?:[.][0-9]+)?\s*(?:ms|[smhd])"
_DURATION: Final = re.compile(rf"{_PART}(?:\s*{_PART})*")


def read_duration(value: Any) -> Any:
    """`36h`, `1d 12h`, `90s` as a time span; a bare number is refused, its unit would be a guess."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    if not _DURATION.fullmatch(text):
        message = "is not a duration; write a number and a unit: 90s, 10m, 36h, 7d"
        raise ValueError(message)
    parts = re.findall(r"([0-9.]+)\s*(ms|[smhd])", text)
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


Duration = Annotated[
    timedelta,
    BeforeValidator(read_duration),
    PlainSerializer(show_duration, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": r"^([0-9]+([.][0-9]+)?\s*(ms|[smhd])\s*)+$", "examples": ["36h", "7d"]}
    ),
]

"""Values as text that others can parse."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime


def plain(value: object) -> object:
    """Times and dates in ISO 8601, times in UTC with a Z; everything else as it is."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def spelled(value: object) -> str:
    """A value for a person to read: numbers without noise, several values by name, nothing as `unknown`."""
    if value is None:
        return "unknown"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {spelled(part)}" for name, part in value.items())
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return str(plain(value))

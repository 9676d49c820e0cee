"""Values as text that others can parse."""

from __future__ import annotations

from datetime import UTC, date, datetime


def plain(value: object) -> object:
    """Times and dates in ISO 8601, times in UTC with a Z; everything else as it is."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value

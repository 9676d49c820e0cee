"""The keys of a hubspot block in winback.yaml."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, field_validator

from connector.contracts import AdapterOptions, Limits

VENDOR_URL: Final = "https://api.hubapi.com"

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")


def _duration(value: Any) -> Any:
    """`10m`, `90s`, `2h` as a time span; a bare number is refused because its unit would be a guess."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(str(value).strip())
    if match is None:
        message = f"{value!r} is not a duration; write a number and a unit: 90s, 10m, 2h, 1d"
        raise ValueError(message)
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(lambda span: f"{span.total_seconds():g}s", return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d)$", "examples": ["10m"]}),
]


class HubSpotOptions(AdapterOptions):
    """A HubSpot account, read from and written to with one token."""

    rate: Limits = Field(
        default_factory=lambda: Limits(per_10s=100),
        description="HubSpot allows 100 calls per 10 s (190 from Professional) and 250,000 a day or more",
    )
    streams: tuple[Literal["contacts", "companies", "email_events"], ...] = Field(
        default=("contacts", "companies"),
        min_length=1,
        description="what to read; email_events: what each contact last did with a mail",
    )
    backfill: Literal["export", "list"] = Field(
        default="export", description="how everything is read the first time: one export job, or pages of 100"
    )
    overlap: Duration = Field(
        default=timedelta(minutes=10), description="how far each incremental read looks back before the last one"
    )
    safety_lag: Duration = Field(
        default=timedelta(minutes=2), description="how far behind now it stops: HubSpot's search index lags"
    )
    export_wait: Duration = Field(
        default=timedelta(hours=6), description="how long to wait for an export job before reading page by page"
    )
    enrollment_settles: Duration = Field(
        default=timedelta(minutes=10),
        description="how long after a direct enrollment without an answer HubSpot may not show it yet",
    )
    list_folder: str = Field(default="winback", min_length=1, description="the folder our lists are kept in")
    members_per_call: int = Field(
        default=1_000, ge=1, le=10_000, description="contacts added to or removed from a list in one call"
    )
    api_version: str | None = Field(
        default=None,
        pattern=r"^(v3|\d{4}-(03|09))$",
        description="one API version for every call (2026-03, 2026-09, v3) instead of the tested one per resource",
    )

    @field_validator("base_url")
    @classmethod
    def _no_trailing_slash(cls, value: str | None) -> str | None:
        """Paths start with a slash themselves."""
        return value.rstrip("/") if value else value

    @property
    def url(self) -> str:
        """Where HubSpot, or the sandbox, answers."""
        return self.base_url or VENDOR_URL

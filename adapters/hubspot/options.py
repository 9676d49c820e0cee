"""The keys of a hubspot block in winback.yaml."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Final, Literal

from pydantic import Field, field_validator

from connector.contracts import AdapterOptions, Limits
from connector.durations import Duration

VENDOR_URL: Final = "https://api.hubapi.com"


class HubSpotOptions(AdapterOptions):
    """A HubSpot account, read from and written to with one token."""

    connection_keys: ClassVar[tuple[str, ...]] = (*AdapterOptions.connection_keys, "api_version")

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

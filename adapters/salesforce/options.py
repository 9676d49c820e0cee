"""The keys of a salesforce block in winback.yaml."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from adapters.salesforce import versions
from connector.contracts import AdapterOptions
from connector.durations import Duration

STREAMS: Final = ("contacts", "leads", "accounts", "consents", "transactions", "engagements", "responses")

_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+")
_PAGES: Final = (".lightning.force.com", ".salesforce-setup.com", ".visualforce.com", ".vf.force.com", ".my.site.com")
"""Hosts that show an org's pages and answer no API call."""


def _refuse_pages(host: str) -> None:
    """Refuse the address that a browser shows: the API answers with INVALID_SESSION_ID there, and never says why."""
    page = next((ending for ending in _PAGES if host.endswith(ending)), None)
    if page is not None:
        name = host.removesuffix(page)
        raise ValueError(f"that is where the org's pages are; its API is at {name}.my.salesforce.com")


class SalesforceOptions(AdapterOptions):
    """A Salesforce org, read from and written to as one integration user."""

    connection_keys: ClassVar[tuple[str, ...]] = (*AdapterOptions.connection_keys, "domain", "api_version")

    domain: str | None = Field(
        default=None,
        description="the org's My Domain: acme.my.salesforce.com, for a sandbox acme--uat.sandbox.my.salesforce.com",
    )
    timeout_seconds: float = Field(
        default=120.0, gt=0, description="how long one call may take; 200 records can keep an org's triggers busy"
    )
    streams: tuple[
        Literal["contacts", "leads", "accounts", "consents", "transactions", "engagements", "responses"], ...
    ] = Field(
        default=("contacts", "leads", "accounts", "consents"),
        min_length=1,
        description="what to read; consents: opt-outs kept apart from the person; transactions: opportunities "
        "that were won; engagements: mails on people's timelines; responses: campaign members who responded",
    )
    backfill: Literal["bulk", "rest"] = Field(
        default="bulk", description="how everything is read the first time: one Bulk job, or pages of 2,000"
    )
    overlap: Duration = Field(
        default=timedelta(minutes=10),
        description="how far each incremental read looks back: a long transaction shows its changes late",
    )
    bulk_wait: Duration = Field(
        default=timedelta(hours=6), description="how long to wait for a Bulk job before going on without it"
    )
    list_folder: str = Field(default="winback", min_length=1, description="the parent campaign of ours")
    members_per_call: int = Field(
        default=10_000, ge=1, le=1_000_000, description="campaign members changed together, inside one Bulk job"
    )
    properties_per_call: int = Field(
        default=10_000, ge=1, le=1_000_000, description="people whose fields are written together, inside one Bulk job"
    )
    bulk_from: int = Field(
        default=2_000, ge=200, description="so many rows and more are written by a Bulk job, fewer in calls of 200"
    )
    on_exit: Literal["keep", "delete"] = Field(
        default="keep", description="who leaves a list: the campaign member is set to Exited, or deleted"
    )
    create_fields: bool = Field(
        default=False, description="make missing Winback_ fields through the API instead of asking for the package"
    )
    api_version: str | None = Field(
        default=None,
        pattern=r"^\d{2,3}\.0$",
        description=f"the API version of every call; {versions.DEFAULT} by default",
    )

    @field_validator("base_url")
    @classmethod
    def _no_trailing_slash(cls, value: str | None) -> str | None:
        """Paths start with a slash themselves; pages are not the API."""
        if value is None:
            return None
        _refuse_pages((urlsplit(value).hostname or "").lower())
        return value.rstrip("/")

    @field_validator("domain")
    @classmethod
    def _is_my_domain(cls, value: str | None) -> str | None:
        """The host of the org's API, with or without https:// in front."""
        if value is None:
            return None
        host = (urlsplit(value).hostname if "://" in value else value.rstrip("/")) or ""
        host = host.strip().lower()
        if not _HOST.fullmatch(host):
            raise ValueError("is not a host; write the org's My Domain: acme.my.salesforce.com")
        _refuse_pages(host)
        if host in {"login.salesforce.com", "test.salesforce.com"}:
            raise ValueError(
                "client credentials work at the org's own My Domain only (Setup → My Domain): acme.my.salesforce.com"
            )
        if not host.endswith((".salesforce.com", ".salesforce.mil")):
            raise ValueError("is no Salesforce host; write the org's My Domain: acme.my.salesforce.com")
        return host

    @property
    def url(self) -> str | None:
        """Where the org, or the sandbox, answers; None when nobody said."""
        return self.base_url or (f"https://{self.domain}" if self.domain else None)

    @property
    def version(self) -> str:
        """The API version of every call."""
        return self.api_version or versions.DEFAULT

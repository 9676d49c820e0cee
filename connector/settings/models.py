"""The keys of winback.yaml, besides those of its adapters."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field

from connector.durations import Duration
from connector.settings.block import Block, Name
from connector.settings.program_blocks import KeysBlock, LinksBlock, ProgramBlock
from connector.settings.values import Share
from connector.settings.webhook_blocks import WebhooksBlock


@functools.cache
def _timezones() -> set[str]:
    """All names; finding them means walking a thousand files."""
    return available_timezones()


def _known_timezone(name: str) -> str:
    """A name of the time zone database."""
    known = _timezones()
    if name in known:
        return name
    near = get_close_matches(name, known, n=1)
    message = "is not a time zone" + (f"; did you mean {near[0]}?" if near else "; for example Europe/Paris")
    raise ValueError(message)


def _starts_with(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        if not url.startswith(schemes):
            message = f"must begin with {' or '.join(schemes)}"
            raise ValueError(message)
        if not _can_be_read(url):
            message = "is not an address; is there a character in it that has to be written as %..?"
            raise ValueError(message)
        return url

    return AfterValidator(check)


def _can_be_read(url: str) -> bool:
    try:
        _ = urlsplit(url).port
    except ValueError:
        return False
    return True


TimeZone = Annotated[str, AfterValidator(_known_timezone)]


class Identity(Block):
    """How product users are matched to contacts, and contacts of several CRMs to one another."""

    match: tuple[Literal["external_id", "email"], ...] = Field(
        default=("external_id", "email"), min_length=1, description="what to match by, best first"
    )
    primary: str | None = Field(
        default=None,
        description="of several CRMs, the one that works whoever it knows (`hubspot`); else the first destination",
    )
    system_of_record: Mapping[str, str] = Field(
        default_factory=dict,
        description="of several CRMs, the one believed about a column (`plan_tier: salesforce`); else the first that "
        "says anything",
    )


class Activity(Block):
    """What usage counts as being active."""

    counts: str | None = Field(
        default=None, description="a condition over `feature` and `events`; without it every use counts"
    )


class SegmentBlock(Block):
    """A named rule: who should be in."""

    name: Name = Field(description="what lists and properties are called after")
    group: Name | None = Field(default=None, description="inside a group the first segment that matches wins")
    where: str | bool = Field(description="a condition over the columns of features, contacts and accounts")


class Guards(Block):
    """What stops a run that could be a disaster."""

    max_change: Share = Field(default=0.2, description="the largest share of a list or of contacts one run may change")
    empty_source: Literal["refuse", "allow"] = Field(
        default="refuse", description="what to do when a source that held rows returns none, or far fewer"
    )
    stale_source: Duration | None = Field(
        default=timedelta(hours=36), description="how old a source's newest fact may be; null: any age"
    )


class ListsBlock(Block):
    """Which lists are kept in the destination."""

    segments: bool = Field(default=True, description="one list per segment")
    steps: bool = Field(default=True, description="one list per step of each program, and one for the sunset")


class DestinationBlock(Block):
    """The core's own keys of a destination; the others are its adapter's."""

    lists: ListsBlock = Field(default_factory=ListsBlock, description="which lists to keep")
    properties: bool = Field(default=True, description="write winback's properties: segment, last activity, reason")
    enroll: Literal["list", "workflow", "none"] = Field(
        default="list",
        description="list: joining a list starts a workflow; workflow: one call a contact; none: nothing is started",
    )


class PlaybookFile(Block):
    """The whole file before its adapters' blocks are checked."""

    version: Literal[1] = Field(description="the version of this file's format")
    account: str = Field(min_length=1, max_length=100, description="a short name for your company")
    timezone: TimeZone = Field(default="UTC", description="where a day begins and ends")
    warehouse: Annotated[str, _starts_with("duckdb:///")] = Field(
        default="duckdb:///state/warehouse.duckdb", description="where the facts are kept"
    )
    journal: Annotated[str, _starts_with("sqlite:///", "postgresql://", "postgresql+psycopg://")] = Field(
        default="sqlite:///state/journal.db", description="where runs, writes and decisions are kept"
    )
    sources: Mapping[str, Any] = Field(min_length=1, description="where contacts and usage come from, by name")
    identity: Identity = Field(default_factory=Identity, description="how product users are matched to contacts")
    activity: Activity = Field(default_factory=Activity, description="what usage counts")
    segments: tuple[SegmentBlock, ...] = Field(min_length=1, description="who should be in what")
    program: ProgramBlock | None = Field(default=None, description="what happens to whom, on which day")
    programs: tuple[ProgramBlock, ...] | None = Field(
        default=None, min_length=1, description="several programs, in order of priority, in place of `program`"
    )
    links: LinksBlock | None = Field(default=None, description="one-click links in mails")
    webhooks: WebhooksBlock | None = Field(default=None, description="what other systems tell us")
    reasons_file: str | None = Field(
        default=None, min_length=1, description="a file: your own words for reasons, over those that come with winback"
    )
    keys: KeysBlock | None = Field(default=None, description="secrets of our own, by reference")
    guards: Guards = Field(default_factory=Guards, description="what stops a run")
    destinations: Mapping[str, Any] = Field(default_factory=dict, description="where lists are written, by name")

"""What the warehouse answers with, and what it needs to know about a segment."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one page. Rows of a replaced origin count as new; `rejects` were set aside."""

    rows: int
    new: int
    changed: int
    unchanged: int
    rejects: int
    reject_sample: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IdentityReport:
    """Which product users are which contacts.

    by_kind: Matched users by what matched them.
    sample: Some of the unmatched, as (user id, reason), alphabetical.
    together: Where there are several CRMs: records found to be people that a CRM before theirs knows.
    apart: Those that share something with another CRM's contact and are not taken for it, by reason.
    """

    users: int
    matched: int
    by_kind: Mapping[str, int]
    unmatched: int
    unmatched_by_reason: Mapping[str, int]
    sample: tuple[tuple[str, str], ...]
    together: int = 0
    apart: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """How many contacts' state was brought up to date, and whether by reading everything."""

    changed_contacts: int
    full: bool


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The segments at the end of a day. entered, left: against the evaluation recorded last."""

    as_of: date
    contacts: int
    counts: Mapping[str, int]
    entered: Mapping[str, int]
    left: Mapping[str, int]
    overlaps: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class ReturnCurve:
    """How likely a contact who has been silent for d days is to return within the horizon.

    p_return: By d, from 0 to 730; None where nobody has been silent that long.
    thresholds: By level (`0.2`): the first d at which fewer than that share return; None if it never happens.
    stays: By level: the first d from which on it stays so.
    """

    as_of: date
    horizon_days: int
    p_return: tuple[float | None, ...]
    thresholds: Mapping[str, int | None]
    stays: Mapping[str, int | None]
    spells: int
    ended: int
    censored: int


@dataclass(frozen=True, slots=True)
class SourceStat:
    """What one stream has brought.

    previous_rows: Rows when an evaluation was recorded last; None before the first.
    newest_at: Time of the newest event, or of the newest change for streams without events.
    """

    source: str
    stream: str
    rows: int
    newest_at: datetime | None
    previous_rows: int | None
    pulled_at: datetime | None


class NamedSegment(Protocol):
    """What evaluation reads of a `Segment`."""

    @property
    def name(self) -> str:
        """The segment's name."""

    @property
    def group_name(self) -> str:
        """The group it competes in."""


class SegmentCondition(Protocol):
    """What evaluation reads of a `Condition`."""

    @property
    def sql(self) -> str:
        """A boolean DuckDB expression over the features relation."""

    @property
    def columns(self) -> Collection[str]:
        """The columns it uses."""


class Checked(Protocol):
    """A segment with its parsed condition (`connector.rules.conditions.CheckedSegment`)."""

    @property
    def segment(self) -> NamedSegment:
        """The segment."""

    @property
    def condition(self) -> SegmentCondition:
        """Its condition."""

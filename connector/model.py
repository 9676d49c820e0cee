"""The neutral model: our own words for people, companies, usage and what the CRM holds.

All ids are text and keep their system (`hubspot:123`). Times are aware and UTC. The field names of the row
classes are the column names of the warehouse tables and the only names a mapping may fill.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

Record = Mapping[str, Any]
"""What a provider sent for one thing, flat, in the provider's own field names."""

Cursor = Mapping[str, Any]
"""How far a stream has been read and stored: JSON values only; safe to resume from."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A person as now: one row of `contacts`, and with validity dates of `contacts_history`."""

    contact_id: str
    account_id: str | None = None
    external_id: str | None = None
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    role: str | None = None
    plan_tier: str | None = None
    lifecycle_stage: str | None = None
    country: str | None = None
    timezone: str | None = None
    language: str | None = None
    owner: str | None = None
    created_at: datetime | None = None
    can_email: bool | None = None
    opted_out: bool | None = None
    bounced: bool | None = None
    deleted_at: datetime | None = None
    merged_into: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Account:
    """A company or workspace."""

    account_id: str
    name: str | None = None
    domain: str | None = None
    plan_tier: str | None = None
    seats: int | None = None
    mrr: float | None = None
    owner: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One use of the product, before it is folded into days.

    `contact_id` is the product's own user id; who that is in the CRM is decided by identity matching.
    `events` is how many times (1 where the source does not count). `event_id`, where the source has one,
    makes the same event count once however often it arrives.
    """

    contact_id: str
    occurred_at: datetime
    feature: str | None = None
    events: int = 1
    event_id: str | None = None
    arrived_at: datetime | None = None
    email: str | None = None
    external_id: str | None = None
    account_id: str | None = None


@dataclass(frozen=True, slots=True)
class Engagement:
    """A mail event; never activity. `machine` is True for a privacy proxy or scanner, None if unknown."""

    contact_id: str
    at: datetime
    kind: str
    event_id: str
    campaign: str | None = None
    step: str | None = None
    machine: bool | None = None


@dataclass(frozen=True, slots=True)
class Transaction:
    """A payment, upgrade or order; `amount` is in `currency` (ISO 4217)."""

    contact_id: str
    at: datetime
    amount: float
    transaction_id: str
    currency: str | None = None
    kind: str | None = None
    account_id: str | None = None


NEUTRAL_TABLES: Mapping[str, type] = {
    "contacts": Contact,
    "accounts": Account,
    "usage": UsageEvent,
    "engagements": Engagement,
    "transactions": Transaction,
}
"""The tables a mapping may fill (`into:`), with the class whose fields are their columns."""


def neutral_columns(table: str) -> tuple[str, ...]:
    """The field names a mapping into this table may fill, in order; KeyError for an unknown table."""
    return tuple(f.name for f in fields(NEUTRAL_TABLES[table]))


@dataclass(frozen=True, slots=True)
class Reject:
    """A row set aside: where it came from, why, and never its personal data.

    `place` is what a person can look up: `events.csv:17`, `hubspot contacts 123`. `row_id` is the provider's id
    where there is one.
    """

    place: str
    reason: str
    row_id: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a stream and the cursor that is safe once the piece is stored.

    records: Raw records in the provider's field names: a list of flat dicts, or an Arrow table. Values may be
        text or typed; the mapping converts them.
    cursor: Where to resume when this page and all before it are stored.
    origin: The file or export the records came from. Rows of an origin that is read again replace what that
        origin brought before (`replaces_origin`), so a changed file changes exactly its own rows.
    partial: Records carry only some fields; fields that are absent keep their stored value (deletions, merges).
    snapshot: Set on every page of a complete listing. Once the page with `snapshot_complete` is stored, contacts
        of this source that no page of the same snapshot named are marked deleted.
    snapshot_ids: What the ids of all that the listing is of begin with, where other streams bring contacts of the
        same system too: only those are marked.
    total: Rows expected in the whole stream, for progress; None if unknown.
    """

    records: Sequence[Record] | pa.Table
    cursor: Cursor
    rejects: tuple[Reject, ...] = ()
    origin: str | None = None
    replaces_origin: bool = False
    partial: bool = False
    snapshot: str | None = None
    snapshot_complete: bool = False
    snapshot_ids: str = ""
    total: int | None = None


class Outcome(StrEnum):
    """What became of one row that we tried to write."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"
    MISSING = "missing"
    """The system does not know this record (deleted or merged away)."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the destination said about one row. `row_id` is the destination's own record id, no prefix.

    `message` is the vendor's words for a rejection, redacted of addresses; `code` its category.
    """

    row_id: str
    outcome: Outcome
    message: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class PropertySpec:
    """A contact property winback owns in the CRM. `kind` is neutral: text, number, date, datetime, choices, yes_no.

    `choices` are (value, label) pairs for kind `choices` (several may be set at once, joined by `;`).
    """

    name: str
    label: str
    kind: str
    description: str = ""
    choices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PropertyRow:
    """New property values of one record; None clears a property. `row_id` has no system prefix."""

    row_id: str
    values: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """What somebody told us, for people who work in the CRM: a note on their record, or a task for its owner.

    key: Ours; it is written along, and what carries it already is not written a second time. No personal data in it.
    row_id: The record, without its system's prefix.
    """

    key: str
    row_id: str
    at: datetime
    title: str
    text: str
    task: bool = False


@dataclass(frozen=True, slots=True)
class Callback:
    """A workflow of the CRM that waits for us, and the output fields it goes on with."""

    callback_id: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ListRef:
    """A list as the destination knows it."""

    list_id: str
    name: str
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class Ensured:
    """What `ensure_*` found or made; `created` tells undo whether it is ours to remove."""

    ref: str
    created: bool


class Severity(StrEnum):
    """How bad a finding of `check` is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `winback check`: what was looked at, what was found, what to do about it."""

    subject: str
    severity: Severity
    message: str
    fix: str | None = None
    credentials: bool = False
    """True when the cause is a token or a permission (exit code 6)."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A named rule of the playbook: who should be in. Ungrouped segments form a group of their own."""

    name: str
    where: str
    group: str | None = None
    line: int | None = None
    column: int | None = None
    """Where `where` stands in winback.yaml, for error messages."""

    @property
    def group_name(self) -> str:
        """The group, or the segment's own name when it stands alone."""
        return self.group or self.name

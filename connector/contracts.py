"""What an adapter must offer, and what it is given to work with.

An adapter is found by an entry point in the group `winback.adapters` that yields an `Adapter`. It never opens our
stores and never reads the time by itself: everything it may lean on comes in its `Connection`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from connector.model import (
    Account,
    Callback,
    Contact,
    Cursor,
    Ensured,
    FeedbackRow,
    Finding,
    ListRef,
    Page,
    PropertyRow,
    PropertySpec,
    Receipt,
)


class Clock(Protocol):
    """Where the time comes from; see `connector.clock`."""

    def now(self) -> datetime:
        """The present moment, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds that never run backwards."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class RateBudget(Protocol):
    """A system's allowance, shared by every process of this install.

    `meter` names an allowance the system counts apart (HubSpot's search); the default one is "".
    """

    def acquire(self, meter: str = "") -> None:
        """Wait until one more call is allowed and count it; raises QuotaExhausted when the day's share is spent."""

    def penalize(self, seconds: float, meter: str = "") -> None:
        """Make every process wait this long: the system said we are too fast."""

    def observe_daily(self, *, used: int, limit: int, resets_at: datetime | None = None) -> None:
        """Record what the system itself says about today's usage by everyone."""

    def calls(self) -> int:
        """Calls counted by this budget object since it was made, all meters together."""

    def remaining_today(self) -> int | None:
        """Calls left of our share today; None when no daily limit is set."""


class Reporter(Protocol):
    """Where progress and notices go: a terminal, a log, nothing. Never given secrets or addresses."""

    def line(self, text: str) -> None:
        """Say one thing worth a line."""

    def progress(self, task: str, done: int, total: int | None = None) -> None:
        """Say how far a long task has come, in rows; called often, shown seldom."""


class Limits(BaseModel):
    """The allowance of one connection: `rate: {per_10s: 100, per_day: 250000, share: 80%}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_10s: int | None = Field(default=None, gt=0, description="calls in any 10 seconds")
    per_day: int | None = Field(default=None, gt=0, description="calls a day, all tools together")
    share: float = Field(default=0.8, gt=0, le=1, description="the part of both that winback may use")


class AdapterOptions(BaseModel):
    """The keys every source and destination block may have; an adapter adds its own in a subclass.

    connection_keys: What a destination takes from the source of the same name, unless it says otherwise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    connection_keys: ClassVar[tuple[str, ...]] = ("adapter", "auth", "base_url", "rate", "timeout_seconds")

    adapter: str = Field(description="which adapter: see `winback adapters`")
    base_url: str | None = Field(default=None, description="where the system answers; the vendor's own by default")
    rate: Limits = Field(default_factory=Limits, description="how much of the API allowance to use")
    auth: Mapping[str, SecretStr] = Field(
        default_factory=dict, description="credentials, by reference only: ${ENV} or ${file:/run/secrets/x}"
    )
    timeout_seconds: float = Field(default=30.0, gt=0, description="how long one call may take")
    mapping: Mapping[str, Mapping[str, str]] = Field(
        default_factory=dict,
        description="per stream, neutral column: provider field; added to the shipped mapping, `attributes.x` allowed",
    )

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"https?://[^/\s]", value):
            raise ValueError("is not an address; write it with https:// in front")
        return value

    def mapping_for(self, stream: str) -> Mapping[str, str]:
        """The user's own mapping of this stream, neutral column to provider field; empty if none."""
        return self.mapping.get(stream, {})


@dataclass(frozen=True, slots=True)
class Connection:
    """Everything an adapter is given: its settings and what it may lean on.

    name: The name in winback.yaml (`crm`); also the system part of ids for adapters without a system of their own.
    base_dir: The folder of winback.yaml; relative paths in settings start there.
    work_dir: A folder for temporary files (downloaded exports), ours to fill and empty.
    fields: For each stream, the provider's field names the mappings want; the adapter reads no others.
    """

    name: str
    options: Any
    budget: RateBudget
    clock: Clock
    reporter: Reporter
    base_dir: Path
    work_dir: Path
    fields: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One kind of record a source yields. `default_mapping` is the shipped mapping file's stem, None if unmapped.

    quiet: A week without anything new is no sign that something is broken: deals, mails, consents.
    """

    name: str
    into: str
    default_mapping: str | None
    quiet: bool = False


@runtime_checkable
class Source(Protocol):
    """Reads one system. `system` is the prefix of its ids (`hubspot`)."""

    system: str

    def check(self) -> Iterator[Finding]:
        """Credentials, scopes, limits, mapped fields: one finding each. Never raises for a bad answer."""

    def streams(self) -> Sequence[StreamInfo]:
        """The streams this source is set up to read."""

    def read(self, stream: str, cursor: Cursor | None) -> Iterator[Page]:
        """Pages from the cursor on, oldest first; None reads everything. Safe to abandon after any page.

        Raises: CredentialsError, QuotaExhausted, RetriableError (retries used up), MappingError (columns changed).
        """

    def close(self) -> None:
        """Let go of connections and temporary files."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """How a destination likes to be written to; apply batches by these and the plan forecasts calls from them.

    enrollments_per_batch: Most rows for `enroll`, `unenroll` and `enrolled`; 0: it cannot enroll.
    opt_outs_per_batch: Most rows for `opt_out` and `opted_out`; 0: it cannot write opt-outs.
    feedback_per_batch: Most rows for `record_feedback` and `recorded_feedback`; 0: it keeps no notes.
    callbacks_per_call: Most rows for `complete`; 0: no workflow of it ever waits for us.
    properties_come_from: What somebody has to do for properties that are missing; "": we make them ourselves.
    """

    members_per_call: int
    properties_per_call: int
    members_per_read: int
    properties_per_read: int
    enrollments_per_batch: int = 0
    opt_outs_per_batch: int = 0
    feedback_per_batch: int = 0
    callbacks_per_call: int = 0
    properties_come_from: str = ""


@runtime_checkable
class Destination(Protocol):
    """Writes back to one system. Record ids carry no prefix here. Every call is safe to repeat.

    Every method may raise CredentialsError, QuotaExhausted, RetriableError (nothing was written), OutcomeUnknown
    (it may have been), RejectedError (the whole call was refused).

    folder: The folder our lists are kept in.
    """

    system: str
    capabilities: Capabilities
    folder: str

    def check(self) -> Iterator[Finding]:
        """Credentials, write scopes, room for lists and properties."""

    def lists(self, names: Sequence[str]) -> Mapping[str, ListRef]:
        """The lists among `names` that exist, by name."""

    def ensure_list(self, name: str, *, folder: str) -> Ensured:
        """Find the list by name or make it, in the folder; `ref` is its id."""

    def remove_list(self, list_id: str) -> None:
        """Delete a list (undo of a creation); no error when it is gone."""

    def existing_properties(self, names: Sequence[str | PropertySpec]) -> Sequence[str]:
        """Those of `names` that the system has; given a spec, with its kind and all its choices."""

    def ensure_properties(self, specs: Sequence[PropertySpec]) -> Sequence[Ensured]:
        """Make what is missing, widen choices where needed; `ref` is the property's name, order as given."""

    def remove_property(self, name: str) -> None:
        """Archive a property we made (undo of a creation); no error when it is gone."""

    def members(self, list_id: str) -> Iterator[Sequence[str]]:
        """Record ids on the list, in pages of `members_per_read`."""

    def change_members(self, list_id: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Sequence[Receipt]:
        """Add and remove at most `members_per_call` records together; one receipt per record given, in order."""

    def read_properties(self, row_ids: Sequence[str], names: Sequence[str]) -> Mapping[str, Mapping[str, str | None]]:
        """Present values by record id; records that do not exist are left out. At most `properties_per_read`."""

    def set_properties(self, rows: Sequence[PropertyRow]) -> Sequence[Receipt]:
        """Write at most `properties_per_call` rows; one receipt per row, in order. Never raises for a bad row."""

    def check_workflow(self, workflow: str) -> Finding:
        """Whether contacts can be enrolled in this workflow directly: it exists, is on, takes contacts."""

    def enroll(self, workflow: str, row_ids: Sequence[str]) -> Sequence[Receipt]:
        """Put at most `enrollments_per_batch` contacts into a workflow; one receipt per row, in order.

        Who is in it now is UNCHANGED. Where no answer came, the row alone is UNKNOWN and is not tried again by this
        object: a second call could start a workflow that is through with the contact already. After a crash or an
        UNKNOWN ask `enrolled` before calling again. What stops the rest of a batch (quota, credentials, no connection)
        is raised when no row was tried yet; else the rows not tried are UNKNOWN and the next call raises it.
        """

    def unenroll(self, workflow: str, row_ids: Sequence[str]) -> Sequence[Receipt]:
        """Take contacts out of a workflow; who is not in it is UNCHANGED. Receipts as in `enroll`; safe to repeat."""

    def enrolled(
        self, workflow: str, row_ids: Sequence[str], *, since: datetime | None = None, still: bool = False
    ) -> Mapping[str, bool]:
        """Whether each contact is in the workflow, or has been; contacts that do not exist are left out.

        With `since` (when the write was intended), an enrollment known to be over before then does not count. In doubt
        the answer is True: nobody is enrolled twice. With `still`, only being in it now counts (after `unenroll`).

        Raises:
            RetriableError: somebody is not seen in it, and what the system shows may be older than `since`, or than an
                enrollment of this object that got no answer. Leave it open and ask again later.
        """

    def opt_out(self, row_ids: Sequence[str]) -> Sequence[Receipt]:
        """Unsubscribe at most `opt_outs_per_batch` contacts from all marketing mail; one receipt per row, in order.

        Who was opted out is UNCHANGED. Never undone: there is no opposite.
        """

    def opted_out(self, row_ids: Sequence[str]) -> Mapping[str, bool]:
        """Whether the system will mail each contact no marketing; contacts that do not exist are left out."""

    def record_feedback(self, rows: Sequence[FeedbackRow]) -> Sequence[Receipt]:
        """Write at most `feedback_per_batch` notes and tasks; one receipt per row, in order, named by the row's `key`.

        What is there already, by its key, is UNCHANGED: a lost answer never makes two notes of one.
        """

    def recorded_feedback(self, rows: Sequence[FeedbackRow]) -> Mapping[str, bool]:
        """Whether each note or task is there, by key; rows of records that do not exist are left out."""

    def complete(self, callbacks: Sequence[Callback]) -> Sequence[Receipt]:
        """Let at most `callbacks_per_call` waiting workflows go on; one receipt per callback, in order, by its id.

        One that waits no more (completed before, or its time is over) is UNCHANGED.
        """

    def forecast(self, work: Work) -> int:
        """Calls this destination will make for this work if nothing goes wrong."""

    def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True, slots=True)
class Work:
    """The size of a plan for one destination, from which it forecasts its calls.

    member_batches: Calls of `change_members` after batching. member_changes: The members in all of them.
    property_batches: Calls of `set_properties` after batching. property_rows: The rows in all of them.
    enrollments: Contacts to enroll or unenroll, in any workflow. workflows: How many workflows they are for.
    opt_outs: Contacts to unsubscribe. feedback: Notes and tasks.
    """

    lists_to_create: int
    properties_to_ensure: int
    member_batches: int
    property_batches: int
    lists_to_look_up: int = 0
    enrollments: int = 0
    workflows: int = 0
    opt_outs: int = 0
    feedback: int = 0
    member_changes: int = 0
    property_rows: int = 0


@dataclass(frozen=True, slots=True)
class Adapter:
    """What an entry point in the group `winback.adapters` yields. Importing it must be cheap: open lazily.

    options: The pydantic model of this adapter's block in winback.yaml.
    folder: Where manifest.yaml and README.md are.
    sandbox: Serves a local look-alike in this process until stopped.
    local_ids: The system has no name of its own (files): its ids carry the source's name from winback.yaml.
    """

    name: str
    title: str
    options: type[AdapterOptions]
    folder: Path
    source: Callable[[Connection], Source] | None = None
    destination: Callable[[Connection], Destination] | None = None
    sandbox: Callable[[SandboxOptions], Sandbox] | None = None
    local_ids: bool = False


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """How a look-alike should behave; `faults` names switches (timeouts, resets, errors, duplicates, lag)."""

    host: str = "127.0.0.1"
    port: int = 0
    faults: Sequence[str] = ()
    seed: int = 0
    limits: bool = True


class Sandbox(Protocol):
    """A running look-alike, with its own movable clock.

    base_url: Where it answers; the page to look at is at this address too.
    auth: Credentials it accepts, for the `auth:` of a connection.
    """

    base_url: str
    auth: Mapping[str, str]

    def seed(self, contacts: Iterable[Contact], accounts: Iterable[Account]) -> None:
        """Fill it with people and companies, translated into the system's own words; ids keep their number."""

    def advance(self, seconds: float) -> None:
        """Move its clock forward; what would have happened by then happens."""

    def page(self) -> str:
        """What it now holds, as one self-contained HTML page."""

    def stop(self) -> None:
        """Stop serving."""


@dataclass(frozen=True, slots=True)
class SentMail:
    """One mail that a workflow of a look-alike sent, or would not send.

    number: From 1, in order. contact_id: The record's id, no prefix. name: The mail's title. sent: Whether it went out.
    """

    number: int
    contact_id: str
    name: str
    at: datetime
    sent: bool


@runtime_checkable
class Rehearsal(Sandbox, Protocol):
    """What a look-alike with workflows offers besides: it sends the mails, and people do something with them."""

    def workflow(self, list_name: str, mail: str, *, wait_until: str | None = None) -> str:
        """Make a workflow and switch it on: who joins the list gets the mail, who leaves it does not; its id.

        wait_until: The contact property that says when the mail may go out.
        """

    def mails(self, after: int = 0) -> Sequence[SentMail]:
        """The mails numbered above `after`, in order."""

    def happen(self, contact_id: str, what: str, *, mail: int | None = None) -> None:
        """Let somebody open, click, reply, bounce, unsubscribe, complain, visit, or be contacted by a colleague.

        contact_id: The record's id, no prefix. mail: With which mail; the last one by default.
        """


def chunks(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """The items in order, in runs of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]

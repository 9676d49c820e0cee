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
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from connector.model import (
    Account,
    Contact,
    Cursor,
    Ensured,
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
    """The keys every source and destination block may have; an adapter adds its own in a subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    """One kind of record a source yields. `default_mapping` is the shipped mapping file's stem, None if unmapped."""

    name: str
    into: str
    default_mapping: str | None


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
    """How a destination likes to be written to; apply batches by these and the plan forecasts calls from them."""

    members_per_call: int
    properties_per_call: int
    members_per_read: int
    properties_per_read: int


@runtime_checkable
class Destination(Protocol):
    """Writes back to one system. Record ids carry no prefix here. Every call is safe to repeat.

    Every method may raise CredentialsError, QuotaExhausted, RetriableError (nothing was written), OutcomeUnknown
    (it may have been), RejectedError (the whole call was refused).
    """

    system: str
    capabilities: Capabilities

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

    def forecast(self, work: Work) -> int:
        """Calls this destination will make for this work if nothing goes wrong."""

    def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True, slots=True)
class Work:
    """The size of a plan for one destination, from which it forecasts its calls.

    member_batches: Calls of `change_members` after batching.
    property_batches: Calls of `set_properties` after batching.
    """

    lists_to_create: int
    properties_to_ensure: int
    member_batches: int
    property_batches: int
    lists_to_look_up: int = 0


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


def chunks(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """The items in order, in runs of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]

"""What a receiver must offer: one file per vendor that verifies, takes apart and understands what it sends us.

A receiver is found by an entry point in the group `winback.receivers` that yields a `Receiver`. It keeps nothing, asks
nobody and reads no clock: the request comes in, a verdict and events come out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from connector.contracts import RateBudget, Reporter
from connector.heard import Heard, Who

MAX_BODY_BYTES = 1_048_576
"""No vendor of ours sends more; the norm is under 20 kB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A request as it came in.

    url: The address the vendor called: the configured `public_base_url` with the raw path and query; never made from
        the Host header. headers: By lower-case name, every copy as it was sent, in order. token: The secret last part
        of the path, where there is one. address: Of the peer, or what a trusted proxy says.
    """

    method: str
    url: str
    headers: Mapping[str, Sequence[str]]
    body: bytes
    received_at: datetime
    token: str | None = None
    address: str | None = None

    def header(self, name: str) -> str | None:
        """The value of a header that was sent once; None when it is missing or was sent twice: neither is trusted."""
        values = self.headers.get(name, ())
        return values[0] if len(values) == 1 else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may be believed, by which scheme, and if not why (for the log: no secret, no body)."""

    ok: bool
    reason: str = ""
    scheme: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a delivery.

    key: The source's own key: a second one with the same key is the same event (W-8). kind: The vendor's name for it.
    at: When it happened, by the vendor; None when it does not say. payload: JSON values, all that `understand` needs.
    """

    key: str
    kind: str
    payload: Any
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a delivery holds: events to keep, and how many were understood but are not wanted, by reason (W-10)."""

    events: Sequence[Event]
    ignored: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the vendor is answered once everything is stored."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"


class ReceiverOptions(BaseModel):
    """The keys every block under `webhooks.sources` may have; a receiver adds its own in a subclass.

    Secrets are by reference only and may be a list, newest first, for rotation (W-6).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    insecure_dev: bool = Field(
        default=False, description="believe everything, for rehearsals; `serve` refuses it unless bound to loopback"
    )
    questions: Mapping[str, str] = Field(
        default_factory=dict,
        description="which question is which: its ref or id → reason, score, comment or ignore (surveys only)",
    )
    choices: Mapping[str, str] = Field(
        default_factory=dict, description="which choice means which reason: its ref, id or label → a reason"
    )


def secrets(value: object) -> object:
    """One secret or several, as a tuple, newest first: a validator (mode `before`) for fields of secrets."""
    if value is None or value == "":
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Secrets = tuple[SecretStr, ...]


class Api(Protocol):
    """What a receiver may ask its vendor with, when ids are all it was told; made by the worker."""

    options: Any
    budget: RateBudget
    reporter: Reporter

    def now(self) -> datetime:
        """The present moment, aware, UTC."""

    def get_json(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """GET below the vendor's address; raises as `connector.rest` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A CRM's workflow asks for something at `/triggers/<crm>/<action>`.

    key: The same for every try of the same call: the second is given the first one's answer (W-23).
    inputs: What the workflow's author filled in: `program`, `days`.
    callback: Where a late answer goes; None where the CRM does not wait.
    """

    key: str
    action: str
    who: Who
    inputs: Mapping[str, str] = field(default_factory=dict)
    callback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggers:
    """How a CRM's workflows call us: verify and sign as in `Receiver`, `parse` with the action's name from the path.

    answer: The reply that carries these output fields; `waits` parks the workflow until `callback` is completed.
    retry_after_unit: What this CRM counts in when it reads Retry-After; by the standard it is seconds.
    """

    verify: Callable[[Any, Incoming], Verdict]
    parse: Callable[[Any, str, Incoming], Call]
    answer: Callable[[Mapping[str, str], timedelta | None], Reply]
    sign: Callable[[Any, str, str, bytes, datetime], Mapping[str, str]]
    sample: Callable[[Any, str, datetime], bytes]
    retry_after_unit: timedelta = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """What an entry point yields. Importing it must be cheap.

    verify: Whether a request may be believed; any exception it raises is a no (W-4).
    parse: The events of a body that was believed; MalformedPayload when it cannot be read. Never verifies.
    understand: What one event means; nothing for one that means nothing to us. Given the options and the event.
    reply: The vendor's own acknowledgement, once everything is stored.
    sign: Signs a body as the vendor does, for `webhooks test` and our tests: method, url, body, now → headers.
    sample: A body the vendor could have sent at that moment, about this contact token.
    fetch: Asks for the answers behind ids; yields events for the inbox (surveys whose webhook tells only ids).
    backfill: Asks for what was missed since a moment; yields events with the same keys as the webhook's.
    api: The vendor's address and how we sign in there, from the options; None where we never ask.
    triggers: How this system's workflows call us, where they do.
    needs_token: The address ends with a secret part. head_ok: The vendor checks the address with HEAD.
    get_ok: The vendor checks the address with GET, which is answered as HEAD is and tells nothing.
    """

    name: str
    title: str
    options: type[ReceiverOptions]
    verify: Callable[[Any, Incoming], Verdict]
    parse: Callable[[Any, Incoming], Parsed]
    understand: Callable[[Any, Event], Sequence[Heard]]
    sign: Callable[[Any, str, str, bytes, datetime], Mapping[str, str]]
    sample: Callable[[Any, str, datetime], bytes]
    reply: Callable[[Any, Parsed], Reply] = lambda _options, _parsed: Reply()
    fetch: Callable[[Api, str, Sequence[str]], Iterator[Event]] | None = None
    backfill: Callable[[Api, datetime], Iterator[Event]] | None = None
    api: Callable[[Any], tuple[str, Mapping[str, str]] | None] = lambda _options: None
    triggers: Triggers | None = None
    needs_token: bool = False
    head_ok: bool = True
    get_ok: bool = False
    content_type: str = "application/json"
    dedupe_for: timedelta = timedelta(days=30)


__all__ = [
    "MAX_BODY_BYTES",
    "Api",
    "Call",
    "Event",
    "Incoming",
    "Parsed",
    "Receiver",
    "ReceiverOptions",
    "Reply",
    "Secrets",
    "Triggers",
    "Verdict",
    "secrets",
]

"""Checks that refuse a dangerous plan: numbers in, verdicts out, no reading and no writing.

What each guard is for, and what a person does about it, stands in its message and hint. The first time a list is
made it may be filled to any size: a list that did not exist has no workflow on it yet, so nothing can start mailing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from connector.errors import EmptySource, GuardTripped, StaleSource, TooManyChanges

SHRUNKEN_SHARE = 0.5
"""A source with less than this share of last time's rows is broken until a person says otherwise.

Customers do leave, but not half of them between two runs; an export cut short does lose half.
"""

EMPTYING_SHARE = 0.5
"""The lists may not lose more than this share of their people to nowhere in one run.

`max_change` cannot see it: where lists hold 8 % of the contacts, emptying them all changes only 8 %.
"""

SMALL_CHANGE = 20
"""Up to this many contacts no share counts: a person reads twenty lines, and 7 of 30 is no disaster."""


RECORD_STREAMS = frozenset({"contacts", "leads", "companies", "accounts", "consents", "email_events"})
"""Streams of things rather than events: nobody editing a company for a week is no sign of a broken source, and neither
is a week in which nobody was mailed.

They are stale when they were not pulled; event streams also when their newest event is old.
"""


class SourceState(Protocol):
    """What a guard wants to know about one stream of one source; the warehouse's own statistics fit."""

    @property
    def source(self) -> str:
        """The source's name in winback.yaml."""

    @property
    def stream(self) -> str:
        """The stream's name."""

    @property
    def rows(self) -> int:
        """Rows the stream holds after the last pull."""

    @property
    def previous_rows(self) -> int | None:
        """Rows it held after the pull before; None when there was none."""

    @property
    def newest_at(self) -> datetime | None:
        """Time of the newest event or change; None if there is none."""

    @property
    def pulled_at(self) -> datetime | None:
        """When it was last pulled to the end; None if never."""


class GuardSettings(Protocol):
    """The `guards:` block of the playbook."""

    @property
    def max_change(self) -> float:
        """The largest share of the reachable contacts that one plan may move, 0 to 1."""

    @property
    def empty_source(self) -> str:
        """`refuse` or `allow`."""

    @property
    def stale_source(self) -> timedelta | None:
        """How old the newest event may be; None when it may be any age."""


@dataclass(frozen=True, slots=True)
class DefaultGuards:
    """The guards of a playbook that says nothing about them."""

    max_change: float = 0.2
    empty_source: str = "refuse"
    stale_source: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """How much a plan moves, in distinct contacts.

    joining: They are put on a list that existed before this plan.
    filling: They are put on lists that this plan makes, and on no other.
    leaving: They are on a list now and on none afterwards, without consent or deletion being the reason.
    held: They are on a list now.
    reachable: All contacts we know and may contact.
    """

    joining: int
    filling: int
    leaving: int
    held: int
    reachable: int


@dataclass(frozen=True, slots=True)
class GuardInputs:
    """Everything the guards look at. Guards named in `allowed` are answered but do not refuse."""

    now: datetime
    settings: GuardSettings
    sources: Sequence[SourceState]
    change: Change
    allowed: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class GuardResult:
    """One guard's verdict: what it saw in numbers, and the next step where it refuses."""

    name: str
    ok: bool
    message: str
    hint: str | None = None


def check_guards(inputs: GuardInputs) -> tuple[GuardResult, ...]:
    """Every guard's verdict, in a fixed order: sources by name, then the size of the change."""
    results: list[GuardResult] = []
    brought: Counter[str] = Counter()
    for state in inputs.sources:
        brought[state.source] += state.rows
    for state in sorted(inputs.sources, key=lambda state: (state.source, state.stream)):
        results.append(_full_source(state, inputs.settings, silent=not brought[state.source]))
        if inputs.settings.stale_source is not None:
            results.append(_fresh_source(state, inputs.settings.stale_source, inputs.now))
    results.append(_bounded_change(inputs.change, inputs.settings.max_change))
    return tuple(_permitted(result, inputs.allowed) for result in results)


def raise_tripped(results: Iterable[GuardResult]) -> None:
    """Raise the first refusal as the error of its kind, naming every refusal; nothing happens without one."""
    refused = [result for result in results if not result.ok]
    if not refused:
        return
    first = refused[0]
    raise _ERRORS.get(first.name, GuardTripped)("; ".join(result.message for result in refused), hint=first.hint)


_ERRORS: dict[str, type[GuardTripped]] = {
    "empty_source": EmptySource,
    "shrunken_source": EmptySource,
    "stale_source": StaleSource,
    "too_many_changes": TooManyChanges,
}


def _full_source(state: SourceState, settings: GuardSettings, *, silent: bool) -> GuardResult:
    """A source with nothing at all never passes; a stream may be empty where it always was (no companies yet)."""
    before = state.previous_rows
    where = f"source {state.source} ({state.stream})"
    seen = f"{where} returned {state.rows:,} rows" + ("" if before is None else f", last time {before:,}")
    allowed = settings.empty_source == "allow"
    check = f"look at what sources.{state.source} reads, then `winback pull {state.source} --full`; "
    consent = "if it is right, set `guards: {empty_source: allow}` for one run."
    if state.rows == 0 and (silent or before):
        if allowed:
            return GuardResult("empty_source", ok=True, message=f"{seen}; allowed by guards.empty_source")
        return GuardResult("empty_source", ok=False, message=seen, hint=check + consent)
    if before is not None and state.rows < before * SHRUNKEN_SHARE:
        said = f"{seen}: less than half"
        if allowed:
            return GuardResult("shrunken_source", ok=True, message=f"{said}; allowed by guards.empty_source")
        return GuardResult("shrunken_source", ok=False, message=said, hint=check + consent)
    return GuardResult("empty_source", ok=True, message=seen)


def _fresh_source(state: SourceState, oldest: timedelta, now: datetime) -> GuardResult:
    where = f"source {state.source} ({state.stream})"
    pull = f"run `winback pull {state.source}` and look at why it brings nothing new"
    hint = f"{pull}; if it is right, raise guards.stale_source."
    if state.pulled_at is None:
        return GuardResult("stale_source", ok=False, message=f"{where} was never pulled to its end", hint=hint)
    limit = f"guards.stale_source is {_span(oldest)}"
    if now - state.pulled_at > oldest:
        said = f"{where} was last pulled {_span(now - state.pulled_at)} ago; {limit}"
        return GuardResult("stale_source", ok=False, message=said, hint=hint)
    events = state.stream not in RECORD_STREAMS
    if events and state.newest_at is not None and now - state.newest_at > oldest:
        said = f"the newest event of {where} is {_span(now - state.newest_at)} old; {limit}"
        return GuardResult("stale_source", ok=False, message=said, hint=hint)
    newest = "" if state.newest_at is None or not events else f", newest event {_span(now - state.newest_at)} old"
    said = f"{where} was pulled {_span(now - state.pulled_at)} ago{newest}"
    return GuardResult("stale_source", ok=True, message=said)


def _bounded_change(change: Change, max_change: float) -> GuardResult:
    name = "too_many_changes"
    known = f"{change.reachable:,} reachable contacts"
    joins = f"{change.joining:,} contacts would join lists, {_share(change.joining, change.reachable)} of {known}"
    if change.joining > SMALL_CHANGE and change.joining > max_change * change.reachable:
        return GuardResult(
            name,
            ok=False,
            message=f"{joins}; guards.max_change is {max_change:.0%}",
            hint="read the plan; if it is right, raise guards.max_change in winback.yaml for one run.",
        )
    if max_change < 1 and change.leaving > SMALL_CHANGE and change.leaving > EMPTYING_SHARE * change.held:
        share = _share(change.leaving, change.held)
        return GuardResult(
            name,
            ok=False,
            message=f"{change.leaving:,} of the {change.held:,} contacts on lists would leave them all ({share})",
            hint="look at the sources and `activity.counts`; if they did all come back, set guards.max_change: 100%.",
        )
    if change.filling:
        filled = f"{change.filling:,} contacts fill lists that this plan makes"
        return GuardResult(name, ok=True, message=f"{joins}; {filled}, which no workflow watches yet")
    return GuardResult(name, ok=True, message=joins)


def _permitted(result: GuardResult, allowed: frozenset[str]) -> GuardResult:
    if result.ok or result.name not in allowed:
        return result
    return GuardResult(result.name, ok=True, message=f"{result.message}; allowed for this run")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "all"


def _span(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    if hours >= 72:  # noqa: PLR2004  # three days: below it hours say more
        return f"{hours / 24:.0f} days"
    return f"{hours:.0f} h" if hours >= 1 else f"{max(hours * 60, 0):.0f} min"

"""The plan as lines of text for a terminal: what changes, why, who is left out, what it costs, what the guards say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from connector.plan.document import ListChange, Plan
from connector.plan.steps import EnsureProperty, SetProperties

WIDTH = 100
"""Columns the text is made for; longer names and reasons are cut."""

SMALL_SHARE = 0.001
"""Below this a share of the day's calls is told as "under 0.1 %"."""

EXCLUDED_WORDS = {
    "opted_out": "opted out",
    "bounced": "mail bounces",
    "deleted": "deleted in the CRM",
    "merged": "merged into another contact",
    "quarantined": "refused too often; `winback status` lists them",
}
"""Reason codes in words; a code that is not here speaks for itself."""


def render_plan(plan: Plan, *, width: int = WIDTH) -> str:
    """The whole plan, ready to print."""
    return "\n".join(_lines(plan, width))


def _lines(plan: Plan, width: int) -> list[str]:
    return [
        f"Plan {plan.plan_id} for {plan.destination}, as of {plan.as_of}",
        "",
        *_changes(plan, width),
        *_excluded(plan),
        *_cost(plan),
        *_guards(plan, width),
        f"  Valid until {plan.expires_at:%Y-%m-%d %H:%M} UTC, as long as nothing it was made from changes.",
    ]


def _changes(plan: Plan, width: int) -> Iterator[str]:
    if plan.empty:
        yield f"  Nothing to do: {plan.destination} holds what it should."
        yield ""
        return
    if plan.lists:
        yield from _lists(plan.lists, width)
        yield ""
    yield from _reasons(plan.lists, width)
    yield from _properties(plan)


def _lists(changes: Iterable[ListChange], width: int) -> Iterator[str]:
    rows = [
        (
            change.name,
            f"{change.now:,}",
            _signed("+", change.add),
            _signed("-", change.remove),
            f"{_after(change):,}",
            _made(change),
        )
        for change in changes
    ]
    heads = ("list", "now", "add", "remove", "after", "")
    numbers = [max(len(row[column]) for row in (heads, *rows)) for column in range(1, 5)]
    taken = 2 + sum(numbers) + 2 * len(numbers) + 6
    name = min(max(len(row[0]) for row in (heads, *rows)), max(width - taken, 12))
    for row in (heads, *rows):
        cells = "  ".join(row[column].rjust(numbers[column - 1]) for column in range(1, 5))
        yield f"  {_cut(row[0], name).ljust(name)}  {cells}  {row[5]}".rstrip()


def _reasons(changes: Iterable[ListChange], width: int) -> Iterator[str]:
    """A few rows of each list with why; samples, never the whole list."""
    shown = [change for change in changes if change.samples]
    for change in shown:
        yield f"  {change.name}, for example"
        for sample in change.samples:
            sign = "+" if sample.change == "add" else "-"
            yield _cut(f"    {sign} {sample.row_id}  {_words(sample.reason)}", width)
    if shown:
        yield ""


def _properties(plan: Plan) -> Iterator[str]:
    made = [step.spec.name for step in plan.steps if isinstance(step, EnsureProperty)]
    if made:
        yield f"  Properties to make: {', '.join(made)}"
    counts: dict[str, int] = {}
    for step in plan.steps:
        if isinstance(step, SetProperties):
            for row in step.rows:
                for name in row.values:
                    counts[name] = counts.get(name, 0) + 1
    if counts:
        named = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
        yield f"  Values to set: {_count(plan.set, 'contact')} ({named})"
    if made or counts:
        yield ""


def _excluded(plan: Plan) -> Iterator[str]:
    if not plan.excluded:
        return
    yield "  Left out"
    width = max(len(f"{len(ids):,}") for ids in plan.excluded.values())
    for reason, ids in sorted(plan.excluded.items(), key=lambda item: (-len(item[1]), item[0])):
        yield f"    {len(ids):>{width},}  {_words(reason)}"
    yield ""


def _cost(plan: Plan) -> Iterator[str]:
    if plan.empty:
        return
    parts = [_count(plan.api_calls, "API call")]
    if plan.allowance.per_10s:
        parts.append(_duration(plan.seconds))
    share = plan.share_of_day
    if share is not None:
        parts.append(f"{_percent(share)} of today's quota")
    yield f"  Cost: {', '.join(parts)}"
    if share is not None and share > 1:
        yield "  That is more than a day's quota: apply stops when it is used up and goes on when it is run again."
    yield ""


def _guards(plan: Plan, width: int) -> Iterator[str]:
    if not plan.guards:
        return
    refused = [guard for guard in plan.guards if not guard.ok]
    yield f"  Guards: {_count(len(refused), 'refusal')}" if refused else "  Guards: all fine"
    for guard in plan.guards:
        yield _cut(f"    {'ok     ' if guard.ok else 'REFUSED'}  {guard.message}", width if guard.ok else 10_000)
        if not guard.ok and guard.hint:
            yield f"             → {guard.hint}"
    yield ""


def _after(change: ListChange) -> int:
    return change.now + change.add - change.remove


def _made(change: ListChange) -> str:
    return "new" if change.list_id is None else ""


def _signed(sign: str, number: int) -> str:
    return f"{sign}{number:,}" if number else "·"


def _words(reason: str) -> str:
    return EXCLUDED_WORDS.get(reason, reason)


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def _percent(share: float) -> str:
    if 0 < share < SMALL_SHARE:
        return "under 0.1 %"
    return f"{share:.1%}".replace("%", " %")


def _duration(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    return f"about {_count(minutes, 'minute')}" if minutes > 1 else "under a minute"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"

"""The plan as lines of text for a terminal: what changes, why, who is left out, what it costs, what the guards say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from connector.plan.document import ListChange, Plan
from connector.plan.steps import EnsureProperty, SetProperties
from connector.program.codes import DEFERRALS, EXCLUSIONS, EXITS

WIDTH = 100
"""Columns the text is made for; longer names and reasons are cut."""

SMALL_SHARE = 0.001
"""Below this a share of the day's calls is told as "under 0.1 %"."""

OWN_WORDS = {
    "not_in_crm": "is not a contact of this CRM",
    "quarantined": "refused too often; `winback status` lists them",
}
"""Reasons that are the plan's own; a code that is nowhere speaks for itself."""


def render_plan(plan: Plan, *, width: int = WIDTH) -> str:
    """The whole plan, ready to print."""
    return "\n".join(_lines(plan, width))


def _lines(plan: Plan, width: int) -> list[str]:
    return [
        f"Plan {plan.plan_id} for {plan.destination}, as of {plan.as_of}",
        "",
        *_changes(plan, width),
        *_programs(plan),
        *_excluded(plan),
        *_deferred(plan),
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


def _programs(plan: Plan) -> Iterator[str]:
    """What each program does now, and what its holdout will be able to show."""
    for name, said in plan.programs.items():
        yield f"  Program {name}: {_count(said['inside'], 'contact')} in it after this"
        yield from _happenings(said)
        yield from _measurement(said)
        yield ""


def _happenings(said: Mapping[str, Any]) -> Iterator[str]:
    held = f"; {said['held_out']:,} held out" if said["held_out"] else ""
    for title, counts, words in (
        ("enter", said["enter"], {}),
        ("step", said["steps"], {}),
        ("passed over", said["skipped"], {}),
        ("leave", said["exit"], EXITS),
        ("offers", said["offers"], {}),
    ):
        if counts or (title == "enter" and held):
            parts = ", ".join(f"{words.get(code, code)} {number:,}" for code, number in _largest_first(counts))
            yield f"    {title:11}  {sum(counts.values()):>6,}  {parts}{held if title == 'enter' else ''}"


def _measurement(said: Mapping[str, Any]) -> Iterator[str]:
    holdout, found = said.get("holdout"), said.get("detectable")
    if not holdout or not found:
        return
    if not holdout["share"]:
        yield "    no holdout: what this program is worth will not be known"
        return
    yield f"    holdout {_percent(holdout['share'])} of {holdout['eligible']:,} eligible, by {holdout['unit']}"
    if found["points"] is None:
        yield "    too few people to detect any lift"
    else:
        judged = f", to be judged from {found['from']}" if found["from"] else ""
        yield f"    detects +{found['points']:g} points on {_percent(found['base'])} who return unasked{judged}"


def _excluded(plan: Plan) -> Iterator[str]:
    yield from _counted("Left out", {reason: len(ids) for reason, ids in plan.excluded.items()}, EXCLUSIONS)


def _deferred(plan: Plan) -> Iterator[str]:
    yield from _counted("Waiting", plan.deferred, DEFERRALS)


def _counted(title: str, counts: Mapping[str, int], words: Mapping[str, str]) -> Iterator[str]:
    """A heading and one line per reason, the most frequent first."""
    if not counts:
        return
    yield f"  {title}"
    width = max(len(f"{number:,}") for number in counts.values())
    for reason, number in _largest_first(counts):
        yield f"    {number:>{width},}  {words.get(reason) or OWN_WORDS.get(reason, reason)}"
    yield ""


def _largest_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


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
    return EXCLUSIONS.get(reason) or OWN_WORDS.get(reason, reason)


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

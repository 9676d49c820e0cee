"""Whether what was heard since entry ends an episode: the run's own conditions over what is known between runs.

What the last run published is the beginning, and every fact heard since moves it on, in the order in which they
happened; a condition counts from the first fact at which it holds, whichever was heard first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from connector.journal.facts import ENGAGEMENT, USAGE, Fact
from connector.live.about import Published, Rules
from connector.program import exits
from connector.program.columns import SIGNALS
from connector.program.model import Episode, Program
from connector.program.signals import NOTHING_HAPPENED
from connector.rules.columns import ACCOUNTS, AS_OF, ATTRIBUTE_PREFIXES, CONTACTS, Column
from connector.rules.conditions import Condition

PAYING = frozenset({"payment", "upgrade", "reactivation"})
"""Kinds of transactions that are an answer; the end of a subscription is none."""

_MOVED = frozenset({"last_active_at", "inactive_days", "last_feature"})
"""Features that a use itself says; the others are only known again once a run has counted."""

_LIVE = _MOVED | {column.name for column in (*SIGNALS, *CONTACTS, *ACCOUNTS)}


@dataclass(frozen=True, slots=True)
class Sign:
    """A reason to end an episode, and when there first was one."""

    reason: str
    at: datetime


def signs(
    program: Program, episode: Episode, published: Published, facts: Iterable[Fact], rules: Rules
) -> tuple[Sign, ...]:
    """Every sign among these facts that counts in the program, earliest first, as far as can be told now."""
    known = published if published.episode_id == episode.episode_id else Published()
    since = _Since(known, rules)
    found: dict[str, Sign] = {}
    for fact in sorted(facts, key=_order):
        if fact.at > episode.entered_at and not _counted(fact, known) and since.hear(fact):
            for code in sorted(since.codes(program)):
                if exits.first({code}, program) is not None:
                    found.setdefault(code, Sign(code, fact.at))
    return tuple(found.values())


def left_to_the_run(program: Program) -> tuple[str, ...]:
    """Columns of the program's `reactivated` that nobody knows between runs."""
    return tuple(name for name in program.reactivated.columns if not _is_live(name))


def counts_as_use(fact: Fact, rules: Rules) -> bool:
    """Whether a single use counts as activity by `activity.counts`."""
    return _counts(fact.values.get("feature"), int(fact.values.get("events", 1)), rules)


def _counts(feature: str | None, events: int, rules: Rules) -> bool:
    return rules.counts is None or rules.counts.holds({"feature": feature, "events": events}) is True


def _order(fact: Fact) -> tuple[datetime, str]:
    return fact.at, fact.key


def _counted(fact: Fact, published: Published) -> bool:
    """Whether the run that published had read this fact already."""
    number: int | None = getattr(fact, "number", None)
    return number is not None and number <= published.upto


class _Since:
    """What is known of somebody since entry, fact after fact."""

    def __init__(self, published: Published, rules: Rules) -> None:
        self._rules = rules
        self._row: dict[str, Any] = {**NOTHING_HAPPENED, **published.columns}
        self._last_active_on = published.last_active_on
        self._days: set[date] = set()
        self._events: Counter[tuple[date, str | None]] = Counter()

    def hear(self, fact: Fact) -> bool:
        """Take a fact in; whether it changed anything that conditions read."""
        self._row[AS_OF] = fact.at.astimezone(self._rules.zone).date()
        if fact.kind == USAGE:
            return self._use(fact)
        return self._mail(fact) if fact.kind == ENGAGEMENT else self._payment(fact)

    def codes(self, program: Program) -> set[str]:
        """The exits whose signs are there by now."""
        found = set()
        if self._holds(program.reactivated):
            found.add(exits.REACTIVATED)
        if self._row["transactions_since_enrollment"] if program.converted is None else self._holds(program.converted):
            found.add("converted")
        if self._row["engaged_replies"]:
            found.add("replied")
        return found

    def _use(self, fact: Fact) -> bool:
        """Counted by contact, day and feature, as the warehouse counts."""
        day: date = self._row[AS_OF]
        feature: str | None = fact.values.get("feature")
        self._events[day, feature] += int(fact.values.get("events", 1))
        if not _counts(feature, self._events[day, feature], self._rules):
            return False
        self._row |= {"last_active_at": fact.at, "inactive_days": 0, "last_feature": feature}
        self._row["active_since_at"] = self._row["active_since_at"] or fact.at
        if day not in self._days and (self._last_active_on is None or day > self._last_active_on):
            self._row["active_days_since_enrollment"] += 1
        self._days.add(day)
        return True

    def _mail(self, fact: Fact) -> bool:
        """A reply, or a click that is certainly a person's; of any other click the run looks at its delivery first."""
        kind, machine = fact.values.get("kind"), fact.values.get("machine")
        if kind == "reply" and not machine:
            self._row["engaged_replies"] += 1
            self._row["engaged_replied_at"] = self._row["engaged_replied_at"] or fact.at
        elif kind == "click" and machine is False:
            self._row["engaged_clicks"] += 1
        else:
            return False
        self._row["engaged_last_at"] = fact.at
        return True

    def _payment(self, fact: Fact) -> bool:
        if fact.values.get("kind") not in PAYING or (fact.values.get("amount") or 0) < 0:
            return False
        self._row["transactions_since_enrollment"] += 1
        return True

    def _holds(self, condition: Condition) -> bool:
        """Whether a condition certainly holds; one that reads what is not known now is left to the next run."""
        if not all(_is_live(name) and _relation(name) in self._row for name in condition.columns):
            return False
        return condition.holds(self._row) is True


_COLUMNS: Mapping[str, Column] = {column.name: column for column in (*SIGNALS, *CONTACTS, *ACCOUNTS)}


def _is_live(name: str) -> bool:
    return name in _LIVE or _prefix(name) is not None


def _relation(name: str) -> str:
    column = _COLUMNS.get(name)
    if column is not None:
        return column.relation or column.name
    prefix = _prefix(name)
    return name if prefix is None else ATTRIBUTE_PREFIXES[prefix]


def _prefix(name: str) -> str | None:
    """Of a free field: what stands in front of it."""
    return next((prefix for prefix in ATTRIBUTE_PREFIXES if name.startswith(f"{prefix}.")), None)

"""The quick way past contacts of whom there is nothing new: most people in a program, on most days."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from connector.program.columns import FEEDBACK, SIGNALS, STEP
from connector.program.model import Program
from connector.program.world import World
from connector.rules.columns import AS_OF, ATTRIBUTE_PREFIXES, COLUMNS
from connector.rules.conditions import Condition

NOTHING_HAPPENED: Mapping[str, Any] = {
    column.relation or column.name: None if column.nullable else 0 for column in SIGNALS
}
"""The signals of somebody who entered and did nothing since."""

signals_of = itemgetter(*NOTHING_HAPPENED)
SILENCE: tuple[Any, ...] = signals_of(NOTHING_HAPPENED)

FLAGS = ("deleted_at", "merged_into", "opted_out", "bounced", "erased", "lead_converted_at")
flags_of = itemgetter(*FLAGS)
"""What may end an episode besides signals: somebody for whom all of these are empty is not concerned."""

READS = (
    "contact_id", "account_id", "timezone", "created_at", "inactive_days", "last_active_at", "last_active_on",
    "deleted_at", "merged_into", "opted_out", "bounced", "value_365d", "last_feature", "top_feature", "role",
    "plan_tier", "language", "as_of",
)  # fmt: skip
"""Columns of the features relation that deciding needs whatever the playbook says, besides SIGNALS and PERSON."""

_NAMES = frozenset(column.name for column in SIGNALS)
_ADDED = frozenset(column.name for column in (*STEP, *FEEDBACK))


@dataclass(frozen=True, slots=True)
class Quiet:
    """What a program makes of somebody of whom there is nothing new.

    row: The signals of such a contact.
    stays: No signal ends the episode; False: that cannot be said in general.
    unless: Conditions over other columns that end it nevertheless.
    ends_by_row: Whether what ends it reads the contact's row alone, nothing of the step and of feedback.
    earliest: For each step, the first day on which it can be due for such a contact.
    enrolling, elsewhere: Segments this program, and other programs, enroll from.
    """

    row: Mapping[str, Any]
    stays: bool
    unless: tuple[Condition, ...]
    ends_by_row: bool
    earliest: tuple[int, ...]
    enrolling: frozenset[str]
    elsewhere: frozenset[str]


def quiet_signals(program: Program, world: World) -> Quiet:
    """What can be said beforehand about everybody in a program of whom there is nothing new."""
    row = {**NOTHING_HAPPENED, AS_OF: world.as_of}
    ending = [condition for condition in (program.reactivated, program.converted) if condition is not None]
    by_row = _ADDED.isdisjoint(name for one in ending for name in one.columns)
    others = frozenset(name for other in world.programs for name in other.enroll if other is not program)
    return Quiet(
        row=NOTHING_HAPPENED,
        stays=by_row and not any(_about_signals(one) and one.holds(row) for one in ending),
        unless=tuple(one for one in ending if not _about_signals(one)),
        ends_by_row=by_row,
        earliest=tuple(
            min([step.day, *(change.day for change in step.adjust if _may_hold(change.when, row))])
            for step in program.steps
        ),
        enrolling=frozenset(program.enroll),
        elsewhere=others,
    )


def _may_hold(condition: Condition, row: Mapping[str, Any]) -> bool:
    """Whether a condition can hold for anybody of whom there is nothing new."""
    return not _about_signals(condition) or bool(condition.holds(row))


def _about_signals(condition: Condition) -> bool:
    """Whether a condition reads nothing but signals: then it says the same about everybody who shows none."""
    return _NAMES.issuperset(condition.columns)


def columns(programs: Iterable[Program]) -> tuple[str, ...]:
    """The columns of the features relation that deciding over these programs reads, besides SIGNALS and PERSON.

    Of PERSON, `best_hour` is named where a program aims at it: it costs something to find.
    """
    named = {*READS}
    for program in programs:
        written = {name for condition in program.conditions for name in condition.columns}
        written |= {name for name in program.holdout.by if name != "segment"}
        named |= {_relation(name) for name in written - _NAMES - _ADDED}
        named |= {"best_hour"} if program.send.best_hour else set()
    return tuple(sorted(named))


def _relation(name: str) -> str:
    """The relation column of a column as it is written in conditions."""
    column = COLUMNS.get(name)
    if column is not None:
        return column.relation or column.name
    prefix = next((prefix for prefix in ATTRIBUTE_PREFIXES if name.startswith(f"{prefix}.")), None)
    return name if prefix is None else ATTRIBUTE_PREFIXES[prefix]

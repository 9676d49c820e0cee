"""The conditions of a program: what they may use, where they stand, and what they read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from connector.location import Problem
from connector.program.columns import FEEDBACK, SIGNALS, STEP
from connector.rules.columns import COLUMNS, Column
from connector.rules.conditions import Condition, ConditionError, parse
from connector.settings.validation import Step, dotted, find
from connector.yaml_loader import Items, Node, Scalar, Table

Path = tuple[Step, ...]

NO_OPENS = "an open proves nothing, mail programs open by themselves: use engaged.clicks, .replies or .visits"


def _named(*groups: tuple[Column, ...]) -> Mapping[str, Column]:
    return {column.name: column for group in groups for column in group}


PROGRAM_COLUMNS: Mapping[str, Column] = {**COLUMNS, **_named(SIGNALS, STEP, FEEDBACK)}
"""What a condition of a program may use: a segment's columns, and what happened since the contact entered."""

OFFER_COLUMNS: Mapping[str, Column] = {**COLUMNS, **_named(SIGNALS)}
"""What `redeemed_by` may use: it is asked after the program, too."""


def read_conditions(table: Node, path: Path, *, timezone: str, problems: list[Problem]) -> Mapping[Path, Condition]:
    """Every condition of one program that can be read, by its path in the program; every other is noted.

    Args:
        table: The program's own table.
        path: Where it stands in the file.
        timezone: The account's.
        problems: What is wrong is added here.
    """
    read: dict[Path, Condition] = {}
    for place, columns in _places(table):
        node = find(table, place).node
        if not isinstance(node, Scalar) or not isinstance(node.value, str | bool):
            continue
        try:
            read[place] = parse(node.text.rstrip(), where=node.location, timezone=timezone, columns=columns)
        except ConditionError as error:
            problems.append(_told(error.problem, dotted((*path, *place))))
    return read


def _places(table: Node) -> Iterator[tuple[Path, Mapping[str, Column]]]:
    """Where a program has conditions, and what each may use."""
    for key in ("reactivated", "converted"):
        if _has(table, (key,)):
            yield (key,), PROGRAM_COLUMNS
    for step in _numbered(table, ("steps",)):
        if _has(table, (*step, "when")):
            yield (*step, "when"), PROGRAM_COLUMNS
        for adjustment in _numbered(table, (*step, "adjust")):
            yield (*adjustment, "when"), PROGRAM_COLUMNS
        for branch in _keyed(table, (*step, "branches")):
            yield branch, PROGRAM_COLUMNS
    for offer in _keyed(table, ("offers", "items")):
        if _has(table, (*offer, "redeemed_by")):
            yield (*offer, "redeemed_by"), OFFER_COLUMNS


def _has(node: Node, path: Path) -> bool:
    return find(node, path).taken == path


def _numbered(node: Node, path: Path) -> Iterator[Path]:
    found = find(node, path)
    if found.taken == path and isinstance(found.node, Items):
        yield from ((*path, number) for number in range(len(found.node.items)))


def _keyed(node: Node, path: Path) -> Iterator[Path]:
    found = find(node, path)
    if found.taken == path and isinstance(found.node, Table):
        yield from ((*path, key) for key in found.node.entries)


def _told(problem: Problem, path: str) -> Problem:
    """The problem at its path; somebody who asks for opens is told why there are none."""
    if problem.message.startswith("no column") and "open" in problem.message.lower():
        return replace(problem, path=path, near="engaged.clicks", allowed=(), hint=NO_OPENS)
    return replace(problem, path=path)

"""Reading many rows quickly: the driver's own values, turned into ours without a detour."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa

Item = TypeVar("Item")


def raw(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The column as the driver gives it: a hundred thousand rows are not worth a call of ours for each value."""
    return sa.type_coerce(column, sa.types.NULLTYPE).label(None)


def each_once(values: Iterable[Any], turn: Callable[[Any], Any]) -> Iterator[Any]:
    """The values turned, in their order; the same one is turned once: a run's moment stands in thousands of rows."""
    values = tuple(values)
    known = {value: turn(value) for value in set(values)}
    return map(known.__getitem__, values)


def moment(value: Any) -> datetime | None:
    """The driver's moment as ours: SQLite keeps text without a zone, PostgreSQL answers in the session's."""
    if isinstance(value, str):
        return datetime.fromisoformat(value + "+00:00")
    return None if value is None else value.astimezone(UTC)


def day(value: Any) -> date:
    """The driver's date as ours: SQLite keeps text."""
    return date.fromisoformat(value) if isinstance(value, str) else value


def parsed(texts: Iterable[str]) -> list[Any]:
    """JSON texts as values; one call of the parser for all."""
    values: list[Any] = json.loads(f"[{','.join(texts)}]")
    return values


def made(kind: type[Item], columns: Mapping[str, Iterable[Any]]) -> list[Item]:
    """Frozen objects with slots, from the columns of all their fields.

    Their class would set each field of each object by a call of its own; this takes half as long.
    """
    (first, *rest) = columns.items()
    values = tuple(first[1])
    objects = [kind.__new__(kind) for _ in values]
    for name, column in ((first[0], values), *rest):
        deque(map(getattr(kind, name).__set__, objects, column), maxlen=0)
    return objects


def in_chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items, so many at a time."""
    left = iter(items)
    while chunk := list(islice(left, size)):
        yield chunk


def whole_groups(
    fetch: Callable[[str, int], Sequence[sa.Row[Any]]], *, key: int, size: int
) -> Iterator[Sequence[sa.Row[Any]]]:
    """Rows in pages of about this size, those that share a key always on the same one.

    Each page is a query of its own: memory stays flat, and no transaction waits for whoever reads.

    Args:
        fetch: Given a key and a number, so many rows of greater keys at most, in the keys' order.
        key: Where in a row its key stands; keys are texts, none of them empty.
        size: Rows of a page.
    """
    after, asked = "", size
    while rows := fetch(after, asked):
        if len(rows) < asked:
            yield rows
            return
        # The last key's rows may go on beyond the page: they come whole with the next one.
        last = rows[-1][key]
        end = next((number for number in range(len(rows), 0, -1) if rows[number - 1][key] != last), 0)
        if not end:
            asked *= 2
            continue
        yield rows[:end]
        after, asked = rows[end - 1][key], size

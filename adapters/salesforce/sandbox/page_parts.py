"""What every part of the page needs: bars, names of people, values a person can read, and no addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.salesforce.sandbox.answers import moment
from adapters.salesforce.sandbox.fields import Field
from adapters.salesforce.sandbox.records import Row
from adapters.salesforce.sandbox.state import State

LONGEST: Final = 80
STYLES: Final = {"double": "num", "int": "num", "currency": "num", "date": "when", "datetime": "when"}
_ADDRESS: Final = re.compile(r"[^\s@<>]+(?:@|%40)[^\s@<>]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Bar:
    """A labelled length: `share` is in percent of the longest."""

    label: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Person:
    """One contact or lead in a table."""

    id: str
    name: str
    kind: str
    account: str


def bars(counted: Iterable[tuple[str, int]]) -> tuple[Bar, ...]:
    """Counts as bars, in the order given."""
    given = list(counted)
    longest = max((count for _, count in given), default=0)
    return tuple(Bar(label, count, 100 * count / longest if longest else 0.0) for label, count in given)


def share(count: int, total: int) -> float:
    """In percent; nothing of nothing is nothing."""
    return 100 * count / total if total else 0.0


def person_of(state: State, record_id: str) -> Person:
    """A contact or lead by its id, deleted ones too."""
    row = state.row(record_id)
    kind = state.kind_of(record_id)
    if row is None or kind is None:
        return Person(record_id, f"Record {record_id}", "", "")
    account = state.row(row.values.get("AccountId") or "")
    firm = account.values.get("Name") if account is not None else row.values.get("Company")
    return Person(record_id, name_of(state, row), kind.label, without_addresses(str(firm or "")))


def name_of(state: State, row: Row) -> str:
    """What a record is called."""
    return without_addresses(str(state.value(row, "Name") or f"Record {row.id}"))


def readable(one: Field, value: Any) -> str:
    """A value as a person reads it: moments without seconds, long texts cut."""
    if value is None or value == "":
        return ""
    if one.kind == "datetime":
        return when(value)
    if one.kind == "boolean":
        return "yes" if value else "no"
    text = f"{value:g}" if isinstance(value, float) else without_addresses(str(value))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def without_addresses(text: str) -> str:
    """The text with every mail address masked."""
    return _ADDRESS.sub("(address)", text) if "@" in text or "%40" in text else text


def when(at_ms: int) -> str:
    """A moment, to the minute."""
    return f"{moment(at_ms):%Y-%m-%d %H:%M}"


def clock(at_ms: int) -> str:
    """The time of day, to the second."""
    return f"{moment(at_ms):%H:%M:%S}"


def whole(text: Any) -> int:
    """A number out of a query; 0 for anything else."""
    return int(text) if text and str(text).isdigit() else 0


def newest(rows: Sequence[Any], most: int) -> Sequence[Any]:
    """The last of them, the newest first."""
    return rows[: -1 - most : -1]

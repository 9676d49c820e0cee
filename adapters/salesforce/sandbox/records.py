"""The records of one kind: all of them, the deleted ones too, in the orders a query can use."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from adapters.salesforce.sandbox.fields import Field, SObject

STALE = 50_000
"""So many outdated entries the order by change may carry before it is made anew."""


@dataclass(slots=True)
class Row:
    """One record. It is never changed: a change stores another in its place, so a query keeps what it saw.

    values: What is set, by field name, in Python's types: moments are milliseconds, days ISO text, no None.
    deleted_ms: When it went into the recycle bin; None while it is live.
    """

    id: str
    values: Mapping[str, Any]
    created_ms: int
    modified_ms: int
    stamp_ms: int
    created_by: str
    modified_by: str
    deleted_ms: int | None = None

    @property
    def is_deleted(self) -> bool:
        """Whether it is in the recycle bin."""
        return self.deleted_ms is not None

    def get(self, name: str) -> Any:
        """The value of a stored or system field, None when it is not set; derived fields are asked of the state."""
        reader = SYSTEM_VALUES.get(name)
        return self.values.get(name) if reader is None else reader(self)


SYSTEM_VALUES: Mapping[str, Callable[[Row], Any]] = {
    "Id": lambda row: row.id,
    "IsDeleted": lambda row: row.deleted_ms is not None,
    "CreatedDate": lambda row: row.created_ms,
    "CreatedById": lambda row: row.created_by,
    "LastModifiedDate": lambda row: row.modified_ms,
    "LastModifiedById": lambda row: row.modified_by,
    "SystemModstamp": lambda row: row.stamp_ms,
}


@dataclass(slots=True)
class Store:
    """The records of one kind by their 18-character id."""

    sobject: SObject
    rows: dict[str, Row] = field(default_factory=dict)
    live: int = 0
    last_number: int = 0
    bin: dict[str, int] = field(default_factory=dict)
    """When each record in the recycle bin was deleted, by id, in the order they came in."""
    purged: list[tuple[int, str]] = field(default_factory=list)
    """(when deleted, id) of records that are out of the recycle bin too."""
    _by: dict[str, dict[Any, dict[str, None]]] = field(default_factory=dict)
    _ids: list[str] = field(default_factory=list)
    _ids_sorted: bool = True
    _stamps: array[int] = field(default_factory=lambda: array("q"))
    _stamp_ids: list[str] = field(default_factory=list)
    _stamps_sorted: bool = True

    def find(self, record_id: str) -> Row | None:
        """The record with this id if it is not deleted."""
        row = self.rows.get(record_id)
        return row if row is not None and row.deleted_ms is None else None

    def put(self, row: Row) -> Row | None:
        """Store a record in place of the one with its id; that one."""
        before = self.rows.get(row.id)
        self.rows[row.id] = row
        if before is None:
            self._ids_sorted = self._ids_sorted and not (self._ids and row.id < self._ids[-1])
            self._ids.append(row.id)
        self.live += (row.deleted_ms is None) - (before is not None and before.deleted_ms is None)
        if row.deleted_ms is not None:
            self.bin[row.id] = row.deleted_ms
        elif self.bin:
            self.bin.pop(row.id, None)
        self._stamps_sorted = self._stamps_sorted and not (self._stamps and row.stamp_ms < self._stamps[-1])
        self._stamps.append(row.stamp_ms)
        self._stamp_ids.append(row.id)
        for name, held in self._by.items():
            _reindex(held, row.id, _value(before, name), row.values.get(name))
        return before

    def remove(self, record_id: str) -> Row | None:
        """Take a record out for good."""
        row = self.rows.pop(record_id, None)
        if row is not None:
            self.live -= row.deleted_ms is None
            self.bin.pop(record_id, None)
            if self._ids[-1] == record_id:
                self._ids.pop()
            else:
                self._ids.remove(record_id)
            for name, held in self._by.items():
                _reindex(held, record_id, row.values.get(name), None)
        return row

    def erase(self, name: str) -> None:
        """Forget what every record holds in a field; no stamp moves for that."""
        self._by.pop(name, None)
        for record_id, row in self.rows.items():
            if name in row.values:
                values = {field: value for field, value in row.values.items() if field != name}
                self.rows[record_id] = replace(row, values=values)

    def __len__(self) -> int:
        return self.live

    def __iter__(self) -> Iterator[Row]:
        """The records that are not deleted, oldest first."""
        return (row for row in self.rows.values() if row.deleted_ms is None)

    def matching(self, name: str, value: Any) -> list[Row]:
        """The records, deleted ones too, whose field holds exactly this; text without regard to case."""
        found = self.index(name).get(_key(value), ())
        return [self.rows[record_id] for record_id in found]

    def holder(self, one: Field, value: Any) -> Row | None:
        """The live record that holds a unique value; None when nobody does."""
        for row in self.matching(one.name, value):
            if row.deleted_ms is None and (not one.case_sensitive or row.values.get(one.name) == value):
                return row
        return None

    def index(self, name: str) -> dict[Any, dict[str, None]]:
        """Ids by the values of a stored field; made when it is first asked for and kept from then on."""
        held = self._by.get(name)
        if held is None:
            held = self._by[name] = {}
            for row in self.rows.values():
                _reindex(held, row.id, None, row.values.get(name))
        return held

    def ids_from(self, lowest: str) -> Iterator[Row]:
        """Every record, deleted ones too, in the order of ids, from this one on."""
        if not self._ids_sorted:
            self._ids.sort()
            self._ids_sorted = True
        for place in range(bisect_left(self._ids, lowest), len(self._ids)):
            yield self.rows[self._ids[place]]

    def changed_from(self, earliest_ms: int) -> Iterator[Row]:
        """Every record, deleted ones too, in the order of (last change, id), from this moment on."""
        self._order_stamps()
        for _, together in groupby(self._newest(bisect_left(self._stamps, earliest_ms)), key=_stamp):
            yield from sorted({row.id: row for row in together}.values(), key=_id)

    def changed_count(self, earliest_ms: int) -> int:
        """At most how many records changed since, without looking at them."""
        self._order_stamps()
        return len(self._stamps) - bisect_left(self._stamps, earliest_ms)

    def new_number(self) -> int:
        """A number no record has had."""
        self.last_number += 1
        return self.last_number

    def _newest(self, start: int) -> Iterator[Row]:
        """The rows whose entry from `start` on is their newest."""
        for place in range(start, len(self._stamps)):
            row = self.rows.get(self._stamp_ids[place])
            if row is not None and row.stamp_ms == self._stamps[place]:
                yield row

    def _order_stamps(self) -> None:
        if self._stamps_sorted and len(self._stamps) <= 2 * len(self.rows) + STALE:
            return
        ordered = sorted(self.rows.values(), key=_stamp_and_id)
        self._stamps = array("q", (row.stamp_ms for row in ordered))
        self._stamp_ids = [row.id for row in ordered]
        self._stamps_sorted = True


def _stamp(row: Row) -> int:
    return row.stamp_ms


def _id(row: Row) -> str:
    return row.id


def _stamp_and_id(row: Row) -> tuple[int, str]:
    return row.stamp_ms, row.id


def _value(row: Row | None, name: str) -> Any:
    return None if row is None else row.values.get(name)


def _key(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _reindex(held: dict[Any, dict[str, None]], record_id: str, before: Any, after: Any) -> None:
    if before == after:
        return
    if before is not None:
        ids = held.get(_key(before))
        if ids is not None:
            ids.pop(record_id, None)
            if not ids:
                del held[_key(before)]
    if after is not None:
        held.setdefault(_key(after), {})[record_id] = None

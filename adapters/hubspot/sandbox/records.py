"""The CRM's records of one kind: contacts or companies, with merges, the recycle bin and the search index."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from adapters.hubspot.sandbox.answers import iso
from adapters.hubspot.sandbox.index import SearchIndex

FIRST_NEW_NUMBER = 90_000_000_001
"""Ids given to records the sandbox makes itself, far above the ones it is seeded with."""


@dataclass(frozen=True, slots=True)
class Record:
    """One version of one record. `properties` holds what was written; ids and times are fields of their own."""

    id: str
    properties: Mapping[str, str]
    created_ms: int
    updated_ms: int
    archived_ms: int | None = None

    def value(self, name: str) -> str | None:
        """One property as the vendor shows it, None when it is not set."""
        found = self.properties.get(name)
        if found is not None:
            return found
        match name:
            case "hs_object_id":
                return self.id
            case "createdate" | "hs_createdate":
                return iso(self.created_ms)
            case "lastmodifieddate" | "hs_lastmodifieddate":
                return iso(self.updated_ms)
            case _:
                return None


class ObjectStore:
    """Every record of one kind. Writing replaces a record's version, so a version once read never changes.

    `changed` is told the id of every record that comes, changes or goes; `versioned` is given the version before (None
    for a new one), the one after and the moment, once nothing takes them back any more.
    """

    def __init__(self, *, object_type: str, type_id: str, modified_property: str) -> None:
        self.changed: Callable[[str], None] = lambda _record_id: None
        self.versioned: Callable[[Record | None, Record, int], None] = lambda _before, _after, _now_ms: None
        self.object_type = object_type
        self.type_id = type_id
        self.modified_property = modified_property
        self.live: dict[str, Record] = {}
        self.archived: dict[str, Record] = {}
        self.merged: dict[str, str] = {}
        self.index = SearchIndex()
        self._emails: dict[str, str] = {}
        self._numbers: list[int] = []
        self._numbers_sorted = True
        self._next_number = FIRST_NEW_NUMBER
        self._undo: list[tuple[str, Record | None]] | None = None
        self._told: list[tuple[Record | None, Record]] | None = None

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """Put many records at once: the search index is ordered when the block ends."""
        with self.index.bulk():
            yield

    @contextmanager
    def all_or_nothing(self, *, now_ms: int) -> Iterator[None]:
        """Take back every `put` of the block when it raises."""
        self._undo, self._told = [], []
        try:
            yield
            told, self._told = self._told, None
            for before, after in told or ():
                self.versioned(before, after, now_ms)
        except BaseException:
            written, self._undo = self._undo, None
            self._told = []
            for record_id, before in reversed(written):
                if before is None:
                    self._take(record_id, now_ms=now_ms)
                else:
                    self.put(before, now_ms=now_ms)
            raise
        finally:
            self._undo = self._told = None

    def new_id(self) -> str:
        """An id nobody had before."""
        number = self._next_number
        self._next_number += 1
        return str(number)

    def put(self, record: Record, *, now_ms: int) -> None:
        """Store a record's newest version; a new id joins the live records."""
        before = self.live.get(record.id)
        if self._undo is not None:
            self._undo.append((record.id, before))
        if before is None:
            self._add_number(int(record.id))
            self.archived.pop(record.id, None)
        self.live[record.id] = record
        self._change_addresses(before, record)
        self.index.offer(record.id, record, now_ms=now_ms)
        self.changed(record.id)
        if self._told is None:
            self.versioned(before, record, now_ms)
        else:
            self._told.append((before, record))

    def find(self, record_id: str) -> Record | None:
        """The live record of this id, or of the survivor it was merged into."""
        return self.live.get(self.survivor(record_id))

    def survivor(self, record_id: str) -> str:
        """The id that now stands for this one, through every merge."""
        while record_id in self.merged:
            record_id = self.merged[record_id]
        return record_id

    def by_email(self, address: str) -> Record | None:
        """The record with this primary or secondary address, whatever its case."""
        owner = self._emails.get(address.strip().lower())
        return self.live.get(owner) if owner else None

    def by_unique(self, name: str, value: str) -> Record | None:
        """The record whose unique property has this value."""
        return next((r for r in self.live.values() if r.properties.get(name) == value), None)

    def archive(self, record_id: str, *, now_ms: int) -> Record | None:
        """Move a record to the recycle bin, as it was; None when there is none."""
        record = self._take(record_id, now_ms=now_ms)
        if record is None:
            return None
        self.archived[record_id] = replace(record, archived_ms=now_ms)
        return record

    def restore(self, record_id: str, *, now_ms: int) -> Record | None:
        """Take a record back out of the recycle bin with its id; None when it is not in there."""
        record = self.archived.pop(record_id, None)
        if record is None:
            return None
        restored = replace(record, archived_ms=None, updated_ms=now_ms)
        self.put(restored, now_ms=now_ms)
        return restored

    def purge(self, record_id: str, *, now_ms: int) -> bool:
        """Forget a record for good (privacy deletion)."""
        taken = self._take(record_id, now_ms=now_ms) is not None
        return self.archived.pop(record_id, None) is not None or taken

    def merge(self, loser_id: str, survivor: Record, *, now_ms: int) -> None:
        """Let one id stand for another from now on; the survivor's new version is given."""
        self._take(loser_id, now_ms=now_ms)
        self.merged[loser_id] = survivor.id
        self.put(survivor, now_ms=now_ms)

    def page(self, *, start: int, limit: int, archived: bool = False) -> tuple[list[Record], int | None]:
        """Records from this number on, by ascending id, and the number the next page starts at."""
        if archived:
            numbers = sorted(int(record_id) for record_id in self.archived)
            held: Mapping[str, Record] = self.archived
        else:
            numbers, held = self._ordered_numbers(), self.live
        first = bisect_left(numbers, start)
        found = [held[str(number)] for number in numbers[first : first + limit]]
        following = numbers[first + limit] if first + limit < len(numbers) else None
        return found, following

    def missing(self, record_ids: Iterable[str]) -> list[str]:
        """Those of the ids that are no live record."""
        return [record_id for record_id in record_ids if record_id not in self.live]

    def _take(self, record_id: str, *, now_ms: int) -> Record | None:
        record = self.live.pop(record_id, None)
        if record is None:
            return None
        numbers = self._ordered_numbers()
        del numbers[bisect_left(numbers, int(record_id))]
        self._change_addresses(record, None)
        self.index.offer(record_id, None, now_ms=now_ms)
        self.changed(record_id)
        return record

    def _add_number(self, number: int) -> None:
        if self._numbers and number < self._numbers[-1]:
            self._numbers_sorted = False
        self._numbers.append(number)
        self._next_number = max(self._next_number, number + 1)

    def _ordered_numbers(self) -> list[int]:
        if not self._numbers_sorted:
            self._numbers.sort()
            self._numbers_sorted = True
        return self._numbers

    def _change_addresses(self, before: Record | None, after: Record | None) -> None:
        old = addresses(before) if before else ()
        new = addresses(after) if after else ()
        if old == new:
            return
        for address in old:
            if before and self._emails.get(address) == before.id:
                del self._emails[address]
        if after:
            self._emails.update(dict.fromkeys(new, after.id))


def addresses(record: Record) -> tuple[str, ...]:
    """A record's primary and secondary addresses, lower case."""
    primary = record.properties.get("email", "")
    secondary = record.properties.get("hs_additional_emails", "")
    if not secondary:
        return (primary.strip().lower(),) if primary else ()
    return tuple(part.strip().lower() for part in (primary, *secondary.split(";")) if part.strip())

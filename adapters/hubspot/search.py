"""Everything changed in a span of time, through a search that pages badly: a keyset walk.

What the search does to a reader, and what is done about it here:

- A query shows 10,000 rows at most, and rows that change while we page leave it, so that row numbers shift and rows are
  skipped. Each page therefore starts a new query at the last row's time. Only where that would read many rows again
  (batch writes give hundreds one time) the same query is read on by row number, one row early: if the first row is not
  the last one we had, something moved, and a new query starts after all.
- Many rows can share one millisecond (imports, bulk edits). When a page does not get past a millisecond, that
  millisecond is read by record id instead, from the last id on in the order HubSpot itself returned (its index compares
  ids as text, so "10" comes before "9"; we never compare ids ourselves).
- Pages may be short, even empty, and still carry a cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from connector.paging import LoopGuard, PagingError

PAGE_ROWS: Final = 200
WINDOW_ROWS: Final = 10_000
"""Row numbers above this are refused."""

RECORD_ID: Final = "hs_object_id"
_CHEAP_TO_REPEAT: Final = 0.05
"""The part of a page that a new query may read again before going on by row number is better."""

Search = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Posts one search body and gives the answer's JSON."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk stands: at a millisecond, or inside a crowded one after a record id."""

    ms: int
    crowded: bool = False
    after_id: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """New rows of one page and the place that is safe once they are stored; `place` is None at the end."""

    records: Sequence[Mapping[str, Any]]
    place: Place | None
    total: int


@dataclass(frozen=True, slots=True)
class _Ahead:
    """Reading on in the same query: from the row before the next one, which must still be `anchor`."""

    query: Place
    offset: int
    anchor: str


class ChangesWalk:
    """Walks the records modified from `start` to `until_ms`, both included, oldest first, none twice.

    Args:
        search: Posts one search.
        modified: The property that holds the time of change (contacts: lastmodifieddate).
        properties: What to read of each record.
        what: What is read, for errors.
        page_rows: Rows to ask for at a time.
        window: Rows that one query shows at most.
    """

    def __init__(
        self,
        search: Search,
        *,
        modified: str,
        properties: Sequence[str],
        what: str,
        page_rows: int = PAGE_ROWS,
        window: int = WINDOW_ROWS,
    ) -> None:
        self._search = search
        self._modified = modified
        self._properties = list(dict.fromkeys((*properties, modified)))
        self._what = what
        self._page_rows = page_rows
        self._window = window

    def walk(self, start: Place, until_ms: int) -> Iterator[Found]:
        """The pages from a place on."""
        guard = LoopGuard(self._what)
        place: Place | None = start
        given: set[str] = set()
        crowd = _Crowd()
        ahead: _Ahead | None = None
        while place is not None and place.ms <= until_ms:
            asked = ahead.query if ahead else place
            results, more, total = self._page(asked, until_ms, guard, offset=ahead.offset if ahead else 0)
            if ahead is not None:
                if not results or str(results[0]["id"]) != ahead.anchor:
                    ahead = None
                    continue
                results = results[1:]
            if place.crowded:
                crowd.count(results, total, from_the_start=place.after_id is None)
                following = self._next_in_crowd(place, results, more=more)
                if not following.crowded:
                    self._settle(crowd, place)
                    crowd = _Crowd()
                fresh = [record for record in results if str(record["id"]) not in given]
                given = given if following.crowded else set()
                place, ahead = following, None
            else:
                times = [self._time_of(record) for record in results]
                self._check_order(times, place)
                rows = [(str(record["id"]), ms) for record, ms in zip(results, times, strict=True)]
                known = {(record_id, place.ms) for record_id in given}
                fresh = [record for record, row in zip(results, rows, strict=True) if row not in known]
                ahead, following_or_end = self._after(place, ahead, rows, more=more)
                if following_or_end is not None:
                    at_edge = {record_id for record_id, ms in rows if ms == following_or_end.ms}
                    given = at_edge | given if following_or_end.ms == place.ms else at_edge
                place = following_or_end
            yield Found(fresh, place if place and place.ms <= until_ms else None, total)

    def _after(
        self, place: Place, ahead: _Ahead | None, rows: Sequence[tuple[str, int]], *, more: bool
    ) -> tuple[_Ahead | None, Place | None]:
        """How to read on after a page in order of time, and the place that is safe then; None at the end."""
        if not more:
            return None, None
        if not rows:
            # Only the row we had already, and a promise of more: a new query, not the same page again.
            return None, place
        last_id, last_ms = rows[-1]
        query = ahead.query if ahead else place
        if last_ms == query.ms:
            return None, Place(last_ms, crowded=True)
        offset = (ahead.offset + len(rows)) if ahead else len(rows) - 1
        repeated = sum(ms == last_ms for _, ms in rows)
        costly = repeated > self._page_rows * _CHEAP_TO_REPEAT
        if costly and 0 < offset <= self._window - self._page_rows:
            return _Ahead(query, offset, last_id), Place(last_ms)
        return None, Place(last_ms)

    def _page(
        self, place: Place, until_ms: int, guard: LoopGuard, *, offset: int
    ) -> tuple[Sequence[Mapping[str, Any]], bool, int]:
        """The first page of a query that holds anything: its rows, whether more follow, and how many match."""
        body = self._body(place, until_ms)
        after: str | None = str(offset) if offset else None
        while True:
            guard.enter((place, after))
            answer = self._search(body if after is None else {**body, "after": after})
            results = answer.get("results") or ()
            guard.count(results)
            following = ((answer.get("paging") or {}).get("next") or {}).get("after")
            if results or following is None:
                return results, following is not None, int(answer.get("total") or 0)
            after = str(following)

    def _body(self, place: Place, until_ms: int) -> dict[str, Any]:
        """The query for what follows a place."""
        if place.crowded:
            filters = [{"propertyName": self._modified, "operator": "EQ", "value": str(place.ms)}]
            if place.after_id is not None:
                filters.append({"propertyName": RECORD_ID, "operator": "GT", "value": place.after_id})
            order = RECORD_ID
        else:
            span = {"value": str(place.ms), "highValue": str(until_ms)}
            filters = [{"propertyName": self._modified, "operator": "BETWEEN", **span}]
            order = self._modified
        return {
            "filterGroups": [{"filters": filters}],
            "sorts": [{"propertyName": order, "direction": "ASCENDING"}],
            "properties": self._properties,
            "limit": self._page_rows,
        }

    def _next_in_crowd(self, place: Place, results: Sequence[Mapping[str, Any]], *, more: bool) -> Place:
        """Further into the crowded millisecond, or past it."""
        if more and results:
            return replace(place, after_id=str(results[-1]["id"]))
        return Place(place.ms + 1)

    def _check_order(self, times: Sequence[int], place: Place) -> None:
        """The whole walk rests on the order of the answer, so it is checked."""
        if times and (times[0] < place.ms or any(a > b for a, b in pairwise(times))):
            raise PagingError(f"{self._what}: the answer is not in order of {self._modified}, so rows would be missed")

    def _settle(self, crowd: _Crowd, place: Place) -> None:
        """Compare what a crowded millisecond gave with what it is said to hold, if it still holds that many."""
        if crowd.counted is None or crowd.counted >= crowd.total:
            return
        answer = self._search({**self._body(Place(place.ms, crowded=True), place.ms), "limit": 1})
        if int(answer.get("total") or 0) > crowd.counted:
            raise PagingError(
                f"{self._what}: of {crowd.total} records changed at {place.ms} ms, reading by id gave {crowd.counted}",
                hint="read everything again with `winback pull --full`",
            )

    def _time_of(self, record: Mapping[str, Any]) -> int:
        """When a record was modified, in ms since 1970."""
        value = (record.get("properties") or {}).get(self._modified) or record.get("updatedAt")
        if value is None:
            raise PagingError(f"{self._what}: record {record.get('id')} has no {self._modified}")
        return to_ms(str(value))


class _Crowd:
    """How many rows one millisecond has given; `counted` is None when the reading began in its middle."""

    def __init__(self) -> None:
        self.counted: int | None = None
        self.total = 0

    def count(self, results: Sequence[Any], total: int, *, from_the_start: bool) -> None:
        """Add one page."""
        if from_the_start:
            self.counted, self.total = 0, total
        if self.counted is not None:
            self.counted += len(results)


def to_ms(value: str) -> int:
    """A HubSpot time, ISO 8601 or ms since 1970, as ms since 1970."""
    if value.lstrip("-").isdigit():
        return int(value)
    moment = datetime.fromisoformat(value)
    return int(moment.timestamp()) * 1_000 + moment.microsecond // 1_000

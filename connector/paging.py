"""Walkers over paged answers: by cursor, by offset, by link. They take short pages and refuse to loop."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from connector.errors import ProviderError

EMPTY_PAGES_ALLOWED: Final = 1_000
"""A system may hide rows and send empty pages with a cursor; this many in a row is a fault, not a habit."""


class PagingError(ProviderError):
    """A system's paging goes round in circles, so the listing can never be complete."""


@dataclass(frozen=True, slots=True)
class Walked:
    """One page of a listing and where the next one starts; `next` is None on the last page."""

    items: Sequence[Any]
    next: Any


class LoopGuard:
    """Remembers the places a walk has been to and refuses to go there again."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._seen: set[Hashable] = set()
        self._empty = 0

    def enter(self, place: Hashable) -> None:
        """Note that the walk is about to read from this place.

        Raises:
            PagingError: it has been there before.
        """
        if place in self._seen:
            raise PagingError(
                f"{self._what}: the system sent us to page {place!r} a second time",
                hint="run again; if it stays, the listing is broken on their side and cannot be read completely",
            )
        self._seen.add(place)

    def count(self, items: Sequence[Any]) -> None:
        """Note what a page held.

        Raises:
            PagingError: too many empty pages followed each other.
        """
        self._empty = 0 if items else self._empty + 1
        if self._empty > EMPTY_PAGES_ALLOWED:
            raise PagingError(f"{self._what}: {self._empty} empty pages in a row, each promising more")


def walk_cursor(
    fetch: Callable[[str | None], tuple[Sequence[Any], str | None]], *, what: str, start: str | None = None
) -> Iterator[Walked]:
    """Pages by an opaque cursor; a short or even empty page that still carries a cursor is followed.

    Args:
        fetch: Gives the items at a cursor and the next cursor, None at the end.
        what: What is listed, for the error: `hubspot list 12 memberships`.
        start: Where to start; None is the beginning.
    """
    guard = LoopGuard(what)
    place = start
    while True:
        guard.enter(place)
        items, place = fetch(place)
        guard.count(items)
        yield Walked(items, place)
        if place is None:
            return


def walk_offset(
    fetch: Callable[[int], tuple[Sequence[Any], bool]], *, what: str, start: int = 0, step: int | None = None
) -> Iterator[Walked]:
    """Pages by a row number; the second value of `fetch` says whether there is more.

    Args:
        fetch: Gives the items from an offset on and whether more follow.
        what: What is listed, for the error.
        start: The first offset.
        step: What the system adds per page; by default the number of items it sent, which suits short pages.
    """
    offset = start
    while True:
        items, more = fetch(offset)
        if more and not items and step is None:
            raise PagingError(f"{what}: an empty page at row {offset} that promises more: no way to go on")
        following = offset + (len(items) if step is None else step)
        yield Walked(items, following if more else None)
        if not more:
            return
        offset = following


def walk_links(fetch: Callable[[str], tuple[Sequence[Any], str | None]], *, what: str, start: str) -> Iterator[Walked]:
    """Pages by a full or relative link to the next one, as in `Link: rel=next` or `nextRecordsUrl`."""
    guard = LoopGuard(what)
    link: str | None = start
    while link is not None:
        guard.enter(link)
        items, link = fetch(link)
        guard.count(items)
        yield Walked(items, link)

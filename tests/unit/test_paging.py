from __future__ import annotations

import pytest

from connector.paging import EMPTY_PAGES_ALLOWED, PagingError, walk_cursor, walk_links, walk_offset


def listing(pages):
    """A cursor endpoint over fixed pages: cursor None, "1", "2", …"""

    def fetch(cursor):
        place = 0 if cursor is None else int(cursor)
        return pages[place], str(place + 1) if place + 1 < len(pages) else None

    return fetch


def all_items(walk):
    return [item for page in walk for item in page.items]


def test_short_and_empty_pages_that_carry_a_cursor_are_followed():
    assert all_items(walk_cursor(listing([[1, 2], [], [3], [], []]), what="x")) == [1, 2, 3]


def test_a_walk_can_start_at_any_cursor_it_gave():
    fetch = listing([[1], [2], [3], [4]])
    for page in walk_cursor(fetch, what="x"):
        rest = [] if page.next is None else all_items(walk_cursor(fetch, what="x", start=page.next))
        assert rest == [n for n in [1, 2, 3, 4] if n > page.items[0]]


def test_a_cursor_that_comes_back_is_refused_and_the_listing_named():
    with pytest.raises(PagingError, match="list 12"):
        all_items(walk_cursor(lambda _: ([1], "same"), what="list 12"))


def test_a_longer_circle_is_refused():
    following = {None: "a", "a": "b", "b": "c", "c": "a"}
    with pytest.raises(PagingError):
        all_items(walk_cursor(lambda cursor: ([1], following[cursor]), what="x"))


def test_empty_pages_do_not_go_on_for_ever():
    count = iter(range(10_000))
    with pytest.raises(PagingError, match="empty"):
        all_items(walk_cursor(lambda _: ([], str(next(count))), what="x"))
    assert next(count) <= EMPTY_PAGES_ALLOWED + 2


def test_offsets_advance_by_what_came_not_by_what_was_asked():
    rows = list(range(25))
    pages = iter([10, 3, 7, 10])

    def fetch(offset):
        part = rows[offset : offset + next(pages)]
        return part, offset + len(part) < len(rows)

    assert all_items(walk_offset(fetch, what="x")) == rows


def test_an_empty_page_at_an_offset_that_promises_more_is_refused():
    with pytest.raises(PagingError, match="row 0"):
        all_items(walk_offset(lambda _: ([], True), what="x"))


def test_links_are_followed_to_the_end_and_never_twice():
    pages = {"/a": ([1], "/b"), "/b": ([2], None)}
    assert all_items(walk_links(pages.__getitem__, what="x", start="/a")) == [1, 2]
    with pytest.raises(PagingError):
        all_items(walk_links({"/a": ([1], "/b"), "/b": ([2], "/a")}.__getitem__, what="x", start="/a"))

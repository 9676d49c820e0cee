"""Work done in another thread while this one waits for a database, and never longer than this one wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TypeVar

Found = TypeVar("Found")
Page = TypeVar("Page")


class Aside:
    """One thread beside this one: it does what it is given in the order in which it is given."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._unwanted = Event()

    def find(self, work: Callable[[], Found]) -> Callable[[], Found]:
        """Begin; the answer waits for it to be done, and raises what it raised."""
        return self._pool.submit(work).result

    def read(self, pages: Iterable[Page]) -> Callable[[], list[Page]]:
        """Read them all; cut short between two where nobody waits for them any more."""
        return self.find(lambda: list(self._while_wanted(pages)))

    def _while_wanted(self, pages: Iterable[Page]) -> Iterator[Page]:
        for page in pages:
            if self._unwanted.is_set():
                return
            yield page

    def leave(self) -> None:
        """Begin nothing more, and let go of what is being read."""
        self._unwanted.set()
        self._pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def aside() -> Iterator[Aside]:
    """A thread for as long as the block lasts, which ends when all is found or, by an exception, as soon as it can."""
    with ThreadPoolExecutor(1, thread_name_prefix="winback-aside") as pool:
        beside = Aside(pool)
        try:
            yield beside
        except BaseException:
            beside.leave()
            raise

"""Turns: threads of one process that write to one SQLite file do it in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType

_SOMEBODY = -1
"""Not the number of any thread."""


class Turns:
    """A lock that is handed from its holder to whoever has waited longest.

    SQLite lets a waiting writer sleep and look again: one that writes in a loop (the worker) would take its next turn
    before the others wake up, and requests would wait for seconds. An ordinary lock favours the loop the same way.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._holder: int | None = None
        self._depth = 0

    def __enter__(self) -> None:
        me, taken = threading.get_ident(), False
        called = threading.Lock()
        try:
            with self._guard:
                if self._holder in (None, me):
                    # Twice from one thread is a mistake of ours, which the database then names; it must not hang here.
                    self._holder, self._depth, taken = me, self._depth + 1, True
                    return
                called.acquire()
                self._waiting.append(called)
        except BaseException:
            # Ctrl-C in that very moment: a turn that nobody gives back would stop every other thread for good.
            if taken:
                self._leave()
            raise
        try:
            called.acquire()
        except BaseException:
            # Ctrl-C while it waits: the turn may have come in that very moment.
            with self._guard:
                if called in self._waiting:
                    self._waiting.remove(called)
                else:
                    self._pass_on()
            raise
        self._holder = me

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        left = False
        try:
            with self._guard:
                self._give_back()
                left = True
        except BaseException:
            if not left:
                with self._guard:
                    self._give_back()
            raise

    def _give_back(self) -> None:
        if self._depth > 1:
            self._depth -= 1
        else:
            self._pass_on()

    def _pass_on(self) -> None:
        """Nobody may come between: until the next one says its name, the holder is nobody who could ask."""
        if self._waiting:
            self._holder = _SOMEBODY
            self._waiting.popleft().release()
        else:
            self._holder, self._depth = None, 0

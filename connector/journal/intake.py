"""Intake: events of many requests, kept in as few commits as the database needs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

from connector.contracts import Clock
from connector.errors import StateError, TooBusy
from connector.journal.inbox import Inbox, Kept

_MOST_IN_COMMIT = 1_000
"""Events of one commit: beyond this a commit costs no less for each, and those behind it wait longer."""

_LOOK_EVERY_SECONDS = 1.0
"""How often the waiting events are counted."""

_Answers: TypeAlias = "Future[list[bool]]"


@dataclass(slots=True)
class _Request:
    """Events one request brought, and where its answer goes."""

    events: Sequence[Kept]
    answers: _Answers = field(default_factory=Future)


class Intake:
    """Keeps events for request threads: `keep` returns once a commit holds them.

    A thread of ours takes whatever requests have brought since its last commit and commits it as one: on SQLite, which
    has one writer at a time, and on PostgreSQL, where a commit waits for the disk too.

    most_queued: Events that may wait for a commit. most_waiting: Events that may wait in the inbox for the worker;
    None: any number. Over either, TooBusy.
    """

    def __init__(
        self, inbox: Inbox, clock: Clock, *, most_queued: int = 2_000, most_waiting: int | None = None
    ) -> None:
        self._inbox = inbox
        self._most_queued = most_queued
        self._depth = _Depth(inbox, clock, most_waiting)
        self._changed = threading.Condition()
        self._queue: deque[_Request] = deque()
        self._queued = 0
        self._closed = False
        self._writer: threading.Thread | None = None

    def keep(self, events: Sequence[Kept]) -> list[bool]:
        """Store these events; for each, whether it is new. Once this returns, none is ever lost.

        Raises:
            TooBusy: More is waiting than may wait, or we are closing; nothing was stored.
            StateError: The database failed; whether they were stored is not known, and keeping them again is safe.
        """
        return self.submit(events).result()

    def submit(self, events: Sequence[Kept]) -> Future[list[bool]]:
        """The same without waiting, for callers who do not hold a thread: the answer, once a commit holds the events.

        Raises:
            TooBusy: As `keep`; a StateError is the future's.
        """
        if not events:
            return _answered([])
        self._depth.check()
        kept = self._enqueue(events)
        kept.add_done_callback(self._count)
        return kept

    def _count(self, kept: Future[list[bool]]) -> None:
        if kept.exception() is None:
            self._depth.add(sum(kept.result()))

    def close(self) -> None:
        """Take nothing more and wait until everything that was taken is kept, or has failed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._writer is not None:
            self._writer.join()

    def _enqueue(self, events: Sequence[Kept]) -> _Answers:
        request = _Request(events)
        with self._changed:
            self._make_room(len(events))
            self._queue.append(request)
            # Not before the first event: a server may still fork, and threads do not come along.
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="winback-intake", daemon=True)
                self._writer.start()
            self._changed.notify_all()
        return request.answers

    def _make_room(self, number: int) -> None:
        if self._closed:
            raise TooBusy("the server is stopping", retry_after_seconds=5)
        if self._queued and self._queued + number > self._most_queued:
            raise TooBusy(f"{self._queued} events are waiting to be stored")
        self._queued += number

    def _write(self) -> None:
        """Commit what was brought, until we are closed and nothing is left."""
        while requests := self._next():
            self._commit(requests)
            with self._changed:
                self._queued -= sum(len(request.events) for request in requests)

    def _next(self) -> list[_Request]:
        """What the next commit holds, the oldest first; nothing once we are closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            taken: list[_Request] = []
            room = _MOST_IN_COMMIT
            while self._queue and (not taken or len(self._queue[0].events) <= room):
                taken.append(self._queue.popleft())
                room -= len(taken[-1].events)
            return taken

    def _commit(self, requests: Sequence[_Request]) -> None:
        self._depth.look()
        try:
            answers = iter(self._inbox.keep([event for request in requests for event in request.events]))
        except StateError as error:
            for request in requests:
                # Each its own: an exception is changed by whoever raises it.
                request.answers.set_exception(StateError(str(error), hint=error.hint))
        except Exception as error:  # noqa: BLE001 - the request that brought it gets it
            if len(requests) == 1:
                requests[0].answers.set_exception(error)
                return
            for request in requests:
                self._commit([request])
        else:
            for request in requests:
                request.answers.set_result(list(islice(answers, len(request.events))))


def _answered(answers: list[bool]) -> Future[list[bool]]:
    done: Future[list[bool]] = Future()
    done.set_result(answers)
    return done


class _Depth:
    """How many events wait for the worker: counted now and then, added to in between.

    Requests do not count, which would hold up an event loop, unless they would be turned away: maybe fewer wait by now.
    """

    def __init__(self, inbox: Inbox, clock: Clock, most: int | None) -> None:
        self._inbox = inbox
        self._clock = clock
        self._most = most
        self._counting = threading.Lock()
        self._counted_at: float | None = None
        self._number = 0

    def check(self) -> None:
        """TooBusy when too many wait."""
        if self._most is None or self._number < self._most:
            return
        self._count()
        if self._number >= self._most:
            raise TooBusy(f"{self._number} events are waiting in the inbox", hint="is `winback work` running?")

    def look(self) -> None:
        """Before a commit; where the database fails, the commit will say so."""
        if self._most is not None:
            with suppress(StateError):
                self._count()

    def add(self, number: int) -> None:
        """So many more wait."""
        self._number += number

    def _count(self) -> None:
        """Count anew when it is time, unless somebody does."""
        if not self._counting.acquire(blocking=False):
            return
        try:
            now = self._clock.monotonic()
            if self._counted_at is None or now - self._counted_at >= _LOOK_EVERY_SECONDS:
                self._number = self._inbox.depth()
                self._counted_at = now
        finally:
            self._counting.release()

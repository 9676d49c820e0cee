"""The worker beside the web processes: a process of its own, started with them, woken by them, stopped with them.

Its own process, because it would take turns with the requests in one Python; a pipe, because an event of one process
wakes nobody in another. When nobody is left who could write into it, the worker ends too.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

log = logging.getLogger("webhooks")

Work = Callable[[threading.Event, threading.Event], None]
"""Works until the first event is set, and at once whenever the second one is: it clears it before it looks."""

_STOP_SECONDS = 10.0
_AGAIN_SECONDS = 5.0


class Beside:
    """Keeps one worker process running. Make it before any process is forked: they all write into its pipe.

    again_seconds: How long to wait before one that ended by itself is started again.
    """

    def __init__(self, work: Work, *, again_seconds: float = _AGAIN_SECONDS) -> None:
        self._work = work
        self._again_seconds = again_seconds
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        # Of this process and all it forks.
        self._alive = multiprocessing.RawValue(ctypes.c_bool, False)
        self._process: ForkProcess | None = None
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    def start(self) -> None:
        """Start the worker, and keep starting it whenever it ends by itself."""
        self._spawn()
        self._watcher = threading.Thread(target=self._watch, name="winback-beside", daemon=True)
        self._watcher.start()

    def wake(self) -> None:
        """Tell the worker that something waits; from any process, never blocking."""
        # A full pipe: it has not even read that it was woken before.
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b".")

    def alive(self) -> bool:
        """Whether a worker is there, seen from any process."""
        return bool(self._alive.value)

    def stop(self) -> None:
        """End the worker within ten seconds: it finishes what it has begun."""
        self._stopping.set()
        process = self._process
        if process is not None and process.is_alive():
            process.terminate()
            process.join(_STOP_SECONDS)
            if process.is_alive():
                log.warning("the worker did not end within %s seconds and is killed", _STOP_SECONDS)
                process.kill()
                process.join()

    def _spawn(self) -> None:
        self._process = multiprocessing.get_context("fork").Process(target=self._run, name="winback-work")
        self._process.start()
        self._alive.value = True

    def _watch(self) -> None:
        while self._process is not None and not self._stopping.is_set():
            self._process.join()
            self._alive.value = False
            if not self._stopping.is_set():
                log.error("the worker ended by itself (%s) and is started again", self._process.exitcode)
                self._stopping.wait(self._again_seconds)
                if not self._stopping.is_set():
                    self._spawn()

    def _run(self) -> None:
        stop, woken = threading.Event(), threading.Event()
        os.close(self._write)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, functools.partial(_end, stop, woken))
        threading.Thread(target=self._listen, args=(stop, woken), name="winback-woken", daemon=True).start()
        self._work(stop, woken)

    def _listen(self, stop: threading.Event, woken: threading.Event) -> None:
        """Until nobody is left who could wake us: then the server is gone, however it went."""
        while os.read(self._read, 4_096):
            woken.set()
        stop.set()
        woken.set()


def _end(stop: threading.Event, woken: threading.Event, _number: int, _frame: object) -> None:
    stop.set()
    woken.set()

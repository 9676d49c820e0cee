"""Clocks that tests move by hand."""

from __future__ import annotations

import fcntl
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


@dataclass
class VirtualClock:
    """Stands still until someone sleeps or moves it; remembers how long was slept."""

    at: datetime = START
    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += timedelta(seconds=seconds)

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class SharedVirtualClock:
    """One virtual time for several processes, in a file: whoever sleeps moves it for all.

    Every reading takes a little time too, so that work costs something. `last_read` is what this process last saw.
    """

    def __init__(self, path: Path, *, tick_seconds: float) -> None:
        if not path.exists():
            path.write_bytes(struct.pack("d", START.timestamp()))
        self._file = path.open("r+b")
        self._time = mmap.mmap(self._file.fileno(), 8)
        self._tick_seconds = tick_seconds
        self.last_read = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.monotonic(), UTC)

    def monotonic(self) -> float:
        with self._alone():
            (moment,) = struct.unpack("d", self._time[:8])
            moment += self._tick_seconds
            self._time[:8] = struct.pack("d", moment)
        self.last_read = moment
        return moment

    def sleep(self, seconds: float) -> None:
        with self._alone():
            (moment,) = struct.unpack("d", self._time[:8])
            self._time[:8] = struct.pack("d", max(moment, self.last_read + seconds))

    def close(self) -> None:
        self._time.close()
        self._file.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

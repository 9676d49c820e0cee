"""The sandbox's own time: it runs with the machine's, can be moved, and can be stopped."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from connector.clock import SystemClock


class SandboxClock:
    """A movable clock in whole milliseconds; everything that takes time in the sandbox reads it."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self._offset_ms = 0
        self._frozen_ms: int | None = None
        self._lock = threading.Lock()

    def now_ms(self) -> int:
        """Milliseconds since 1970 of the sandbox's present moment."""
        with self._lock:
            return self._read()

    def now(self) -> datetime:
        """The sandbox's present moment, aware, UTC."""
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC)

    def advance(self, seconds: float) -> None:
        """Move forward; a negative number moves back, which a test may want and a demo does not."""
        with self._lock:
            self._shift(round(seconds * 1000))

    def set(self, at: datetime) -> None:
        """Jump to a moment and run on from there."""
        with self._lock:
            self._shift(round(at.timestamp() * 1000) - self._read())

    def freeze(self, at: datetime | None = None) -> None:
        """Stop running, at `at` or where it stands: only `advance` and `set` move it now."""
        with self._lock:
            self._frozen_ms = self._read() if at is None else round(at.timestamp() * 1000)

    def thaw(self) -> None:
        """Run on with the machine's clock from where it stands."""
        with self._lock:
            if self._frozen_ms is not None:
                frozen, self._frozen_ms = self._frozen_ms, None
                self._offset_ms += frozen - self._read()

    @property
    def is_frozen(self) -> bool:
        """Whether it stands still."""
        return self._frozen_ms is not None

    def _read(self) -> int:
        if self._frozen_ms is not None:
            return self._frozen_ms
        return round(self._system.now().timestamp() * 1000) + self._offset_ms

    def _shift(self, milliseconds: int) -> None:
        if self._frozen_ms is not None:
            self._frozen_ms += milliseconds
        else:
            self._offset_ms += milliseconds

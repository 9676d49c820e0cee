"""What a request may weigh, looked at before anybody works for it; Flask's own defaults limit nothing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from connector.receivers import MAX_BODY_BYTES
from webhooks.incoming import HEADERS

MAX_HEADER_BYTES: Final = 32_768
MAX_FORM_FIELDS: Final = 1_000
READ_SECONDS: Final = 10
"""How long a request may take to arrive, from its first byte to its last."""

_BETWEEN: Final = 4
"""A header's colon, blank and line end."""


def header_bytes(pairs: Iterable[tuple[str, str]]) -> int:
    """What headers weigh on the wire."""
    return sum([len(name) + len(value) + _BETWEEN for name, value in pairs])


def environ_header_bytes(environ: Mapping[str, Any]) -> int:
    """The same of a WSGI environment; 0 where our own server has weighed them before."""
    if HEADERS in environ:
        return 0
    return header_bytes((name[5:], str(value)) for name, value in environ.items() if name.startswith("HTTP_"))


def is_compressed(encoding: str | None) -> bool:
    """Whether a body comes packed: a small one can unpack to a very large one, so none is taken."""
    return (encoding or "").strip().lower() not in {"", "identity"}


class Rate:
    """So many of something a minute for each key; what was not used can be used at once, up to a minute's worth.

    It remembers at most `most_keys`, the ones seen last: a flood of keys costs no memory.
    """

    def __init__(self, per_minute: int, *, most_keys: int = 10_000) -> None:
        self._per_minute = per_minute
        self._most_keys = most_keys
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._turn = threading.Lock()

    def allows(self, key: str, now: float) -> bool:
        """Whether one more is within the rate; it is counted if so.

        Args:
            key: Whose: an address, a token's digest, a name.
            now: Seconds that never run backwards.
        """
        with self._turn:
            left, at = self._left.pop(key, (float(self._per_minute), now))
            left = min(float(self._per_minute), left + (now - at) * self._per_minute / 60)
            allowed = left >= 1
            self._left[key] = (left - 1 if allowed else left, now)
            if len(self._left) > self._most_keys:
                self._left.popitem(last=False)
        return allowed


__all__ = [
    "MAX_BODY_BYTES",
    "MAX_FORM_FIELDS",
    "MAX_HEADER_BYTES",
    "READ_SECONDS",
    "Rate",
    "environ_header_bytes",
    "header_bytes",
    "is_compressed",
]

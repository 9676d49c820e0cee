"""Cuts a text file into blocks of whole records, and keeps count of where it is.

A block is some megabytes: big enough for the parsers to run at full speed, small enough to hold in memory. The
position after a block (offset, line, digest of everything before it) is what a cursor resumes from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

BLOCK_BYTES = 16 << 20
RECORD_BYTES = 64 << 20
"""A record larger than this is taken for a quote that nobody closed."""

_BOM = b"\xef\xbb\xbf"
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Block:
    """Whole records as UTF-8 bytes.

    line: The number of its first line, from 1.
    last: The file ends with it.
    broken: Why this block is one piece that cannot be parsed; None for an ordinary block.
    """

    data: bytes
    line: int
    last: bool
    broken: str | None = None


class TextBlocks:
    """A text file being read from some position; `offset`, `line` and `digest` say how far it has come."""

    def __init__(self, stream: IO[bytes], *, block_bytes: int = BLOCK_BYTES, record_bytes: int = RECORD_BYTES) -> None:
        self._stream = stream
        self._block_bytes = block_bytes
        self._record_bytes = record_bytes
        self._hash = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self._ready = b""
        self._next: bytes | None = None
        self.offset = 0
        self.line = 1
        self.last_byte = b""

    @property
    def digest(self) -> str:
        """What was taken so far, as a digest."""
        return self._hash.copy().hexdigest()

    def advance_to(self, offset: int, line: int) -> bool:
        """Go forward to a position reached before; False when the file ends earlier."""
        while self.offset < offset:
            chunk = self._stream.read(min(1 << 20, offset - self.offset))
            if not chunk:
                return False
            self._note(chunk)
        self.line = line
        return True

    def peek(self, size: int) -> bytes:
        """At least this many of the next bytes, fewer only at the end, without taking them."""
        while len(self._ready) < size and self._more():
            self._fill()
        return self._ready

    def skip_mark(self) -> None:
        """Step over a byte-order mark at the start."""
        if self.offset == 0 and self.peek(len(_BOM)).startswith(_BOM):
            self.take(len(_BOM))

    def take(self, size: int) -> bytes:
        """The next bytes, counted as read; they must have been peeked at."""
        data, self._ready = self._ready[:size], self._ready[size:]
        self.line += count_lines(data)
        self._note(data)
        return data

    def blocks(self, cut: Callable[[bytes], int]) -> Iterator[Block]:
        """The rest of the file; `cut` says where the last whole record of some bytes ends, 0 for none."""
        while self._ready or self._more():
            self._fill()
            more = self._more()
            end = cut(self._ready) if more else len(self._ready)
            line = self.line
            if end:
                yield Block(self.take(end), line, last=not more)
            elif len(self._ready) > self._record_bytes:
                yield self._overlong(line)

    def _overlong(self, line: int) -> Block:
        """The next physical line alone, however long it is."""
        while (end := self._ready.find(b"\n") + 1) == 0 and self._more():
            self._ready = self._ready[self._drop(len(self._ready)) :]
            self._fill()
        megabytes = self._record_bytes >> 20
        data = self.take(end or len(self._ready))
        last = not self._ready and not self._more()
        return Block(data, line, last=last, broken=f"is longer than {megabytes} MB, or a quote is never closed")

    def _drop(self, size: int) -> int:
        self._note(self._ready[:size])
        return size

    def _more(self) -> bool:
        """Whether the file goes on behind the bytes that are ready: a block is only the last if nothing follows."""
        if self._next is None:
            self._next = self._stream.read(self._block_bytes)
        return bool(self._next)

    def _fill(self) -> None:
        if self._more():
            assert self._next is not None
            self._ready += self._next
            self._next = None

    def _note(self, data: bytes) -> None:
        self._hash.update(data)
        self.offset += len(data)
        self.last_byte = data[-1:] or self.last_byte


def count_lines(data: bytes) -> int:
    """How many line ends, of any of the three kinds."""
    ends = data.count(b"\n")
    returns = data.count(b"\r")
    return ends + returns - data.count(b"\r\n") if returns else ends


def is_text(data: bytes) -> bool:
    """Whether the bytes are valid UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True

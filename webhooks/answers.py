"""Answers where Flask is not: made of a status, a body and headers, at once or once a commit is on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Sequence[tuple[str, str]] = ()

    def start(self, start_response: StartResponse) -> Iterable[bytes]:
        """Say it to a WSGI server."""
        length = ("Content-Length", str(len(self.body)))
        start_response(_status_line(self.status), [("Content-Type", self.content_type), length, *self.headers])
        return [self.body]


def problem(status: int, message: str, *, called: str, retry_after: int | None = None) -> Answer:
    """A failure as JSON: what happened in a word, and the request id to look for in the log."""
    body = json.dumps({"error": message, "request_id": called}).encode() + b"\n"
    return Answer(status, body, JSON, () if retry_after is None else (("Retry-After", str(retry_after)),))


class Held:
    """An answer that waits for a commit, and becomes another one when the commit fails.

    A WSGI server may ask for the status as late as with the first piece of the body; so any server can carry this, and
    one that knows `kept` need not block a thread meanwhile.
    """

    def __init__(
        self,
        kept: Future[list[bool]],
        finish: Callable[[Future[list[bool]]], Answer],
        start_response: StartResponse,
    ) -> None:
        self.kept = kept
        self._finish = finish
        self._start_response = start_response
        self._pieces: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._pieces is None:
            self.kept.exception()
            self._pieces = iter(self._finish(self.kept).start(self._start_response))
        return next(self._pieces)


@cache
def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Answered"

"""Between granian and Flask: reads a request without holding a thread, and answers it once it is done.

granian's own WSGI side gives every connection a thread while its body trickles in (32 slow ones stop the server), keeps
only the last copy of a header, and lets `X_Name` stand for `X-Name`; its asynchronous side (RSGI) does none of that.
"""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import quote

from connector.receivers import MAX_BODY_BYTES
from webhooks import limits
from webhooks.answers import Held
from webhooks.incoming import BODY, HEADERS

log = logging.getLogger("webhooks")

SERVER: Final = "winback"
"""Sent as `Server`: granian would say its own name and version."""

THREADS: Final = 32
MOST_WAITING: Final = 256
"""Requests that may wait for a thread; more are told to come back."""

_QUICK_BYTES: Final = 65_536
"""Larger bodies take long enough to read that they go to a thread."""

_Answer = tuple[int, list[tuple[str, str]], bytes]


class Headers(Protocol):
    """What is asked of granian's headers."""

    def items(self) -> list[tuple[str, str]]:
        """Every copy of every header, in order."""


class Scope(Protocol):
    """What is asked of granian's scope."""

    method: str
    path: str
    query_string: str
    scheme: str
    client: str
    http_version: str
    headers: Headers


class Exchange(Protocol):
    """What is asked of granian's HTTP protocol."""

    async def __call__(self) -> bytes:
        """The whole body."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body, piece by piece."""

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Answer."""


class Bridge:
    """Serves a WSGI application on granian's event loop.

    Requests below `quick` never wait for anything but a commit: they are worked on right in the loop, which awaits the
    commit. All others get a thread, and `quick` ones with a large body too.

    Args:
        app: The application.
        quick: Beginnings of paths, decided by the application.
        read_seconds: How long a body may take to arrive.
        close: Called when no request is left.
    """

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]],
        *,
        quick: Sequence[str] = (),
        read_seconds: float = limits.READ_SECONDS,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._app = app
        self._quick = tuple(quick)
        self._read_seconds = read_seconds
        self._close = close
        self._under_way = 0

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Before the first request."""
        self._loop = loop
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="winback-web")
        self._commits = _Commits(loop)

    def __rsgi_del__(self, _loop: asyncio.AbstractEventLoop) -> None:
        """After the last one."""
        self._pool.shutdown(wait=True)
        self._close()

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        """One request."""
        pairs = scope.headers.items()
        if limits.header_bytes(pairs) > limits.MAX_HEADER_BYTES:
            _refuse(exchange, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        try:
            async with asyncio.timeout(self._read_seconds):
                body, length = await _read(exchange, pairs)
        except TimeoutError:
            _refuse(exchange, HTTPStatus.REQUEST_TIMEOUT)
            return
        status, headers, answer = await self._answer(_environ(scope, pairs, body, length))
        exchange.response_bytes(status, [*headers, ("server", SERVER)], answer)

    async def _answer(self, environ: dict[str, Any]) -> _Answer:
        quick = environ["PATH_INFO"].startswith(self._quick) and len(environ[BODY]) <= _QUICK_BYTES
        call = _Call(self._app, environ)
        if quick:
            call.begin()
            if isinstance(call.body, Held):
                await self._commits.wait(call.body.kept)
            return call.finish()
        if self._under_way >= THREADS + MOST_WAITING:
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE)
        self._under_way += 1
        try:
            return await self._loop.run_in_executor(self._pool, call.whole)
        finally:
            self._under_way -= 1


class _Call:
    """One request to a WSGI application."""

    def __init__(self, app: Callable[..., Iterable[bytes]], environ: dict[str, Any]) -> None:
        self._app = app
        self._environ = environ
        self._status = HTTPStatus.INTERNAL_SERVER_ERROR.value
        self._headers: list[tuple[str, str]] = []
        self.body: Iterable[bytes] = ()

    def begin(self) -> None:
        self.body = self._app(self._environ, self._start)

    def finish(self) -> _Answer:
        try:
            answer = b"".join(self.body)
        finally:
            close = getattr(self.body, "close", None)
            if close is not None:
                close()
        return self._status, self._headers, b"" if self._environ["REQUEST_METHOD"] == "HEAD" else answer

    def whole(self) -> _Answer:
        self.begin()
        return self.finish()

    def _start(self, status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Callable[[bytes], object]:
        self._status = int(status[:3])
        self._headers = [(name.lower(), value) for name, value in headers]
        return _no_write


def _no_write(_data: bytes) -> object:
    raise NotImplementedError("an answer is returned, not written")


class _Commits:
    """Waits for commits in the event loop; one commit of many requests wakes it once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._done: deque[asyncio.Future[None]] = deque()
        self._called = False

    async def wait(self, kept: Future[Any]) -> None:
        """Until it is done, well or not."""
        if not kept.done():
            waiting = self._loop.create_future()
            kept.add_done_callback(lambda _: self._tell(waiting))
            await waiting

    def _tell(self, waiting: asyncio.Future[None]) -> None:
        """From the thread that commits."""
        self._done.append(waiting)
        if not self._called:
            self._called = True
            self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        # First: whoever is appended from here on calls again.
        self._called = False
        while self._done:
            waiting = self._done.popleft()
            if not waiting.done():
                waiting.set_result(None)


async def _read(exchange: Exchange, pairs: Sequence[tuple[str, str]]) -> tuple[bytes, int | None]:
    """The body, and the length it claims; of one that is too large no more than shows that it is."""
    claimed = [value for name, value in pairs if name == "content-length"]
    length = int(claimed[0]) if claimed and claimed[0].isdigit() else None
    if length is not None and length > MAX_BODY_BYTES:
        return b"", length
    if length is not None:
        return (await exchange() if length else b""), length
    body = bytearray()
    if any(name == "transfer-encoding" for name, _ in pairs):
        async for piece in exchange:
            body += piece
            if len(body) > MAX_BODY_BYTES:
                return b"", len(body)
    return bytes(body), len(body)


def _environ(scope: Scope, pairs: Sequence[tuple[str, str]], body: bytes, length: int | None) -> dict[str, Any]:
    # granian decodes the path; ours are plain, and one that is not is quoted anew.
    target = quote(scope.path, safe="/:@!$&'()*+,;=~-._")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "REQUEST_URI": f"{target}?{scope.query_string}" if scope.query_string else target,
        "REMOTE_ADDR": scope.client.rpartition(":")[0],
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "CONTENT_LENGTH": str(length if length is not None else len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        BODY: body,
        HEADERS: pairs,
    }
    for name, value in pairs:
        if name == "content-type":
            environ["CONTENT_TYPE"] = value
        elif name != "content-length" and "_" not in name:
            key = f"HTTP_{name.upper().replace('-', '_')}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def _problem(status: HTTPStatus) -> _Answer:
    body = f'{{"error": "{status.phrase.lower()}"}}\n'.encode()
    headers = [("content-type", "application/json"), ("x-content-type-options", "nosniff")]
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append(("retry-after", "10"))
    return status.value, headers, body


def _refuse(exchange: Exchange, status: HTTPStatus) -> None:
    """Answer before the application is asked; what is left of the request is not read."""
    code, headers, body = _problem(status)
    exchange.response_bytes(code, [*headers, ("connection", "close"), ("server", SERVER)], body)

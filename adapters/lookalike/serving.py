"""A small HTTP/1.1 server with connections that stay open, and that can be cut on purpose.

Werkzeug's own development server closes every connection after one answer, which would make each call pay for a
new one and hide what a real client does with a pool.
"""

from __future__ import annotations

import io
import socket
import struct
import threading
from collections.abc import Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

NO_LINGER = struct.pack("ii", 1, 0)
GOODBYE_SECONDS = 2.0


class ConnectionCut(Exception):
    """The connection ends here, without an answer."""


class SandboxServer(ThreadingHTTPServer):
    """Serves a WSGI application, one thread a connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, host: str, port: int, app: Any) -> None:
        self.app = app
        self._open: set[socket.socket] = set()
        self._cut: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__((host, port), Handler)

    def cut(self, connection: socket.socket) -> None:
        """Let this connection end with a reset instead of a goodbye."""
        with self._guard:
            self._cut.add(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection until it is closed."""
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, with a reset when it was cut."""
        with self._guard:
            self._open.discard(request)
            cut = request in self._cut
            self._cut.discard(request)
        if cut:
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            request.close()
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is shown."""
        import sys

        if not isinstance(sys.exception(), OSError | ValueError):
            super().handle_error(request, client_address)

    def close_all(self) -> None:
        """Stop listening and close every open connection."""
        self.shutdown()
        with self._guard:
            left = list(self._open)
        for connection in left:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self.server_close()
        deadline = monotonic() + GOODBYE_SECONDS
        while self._open and monotonic() < deadline:
            sleep(0.005)


class Handler(BaseHTTPRequestHandler):
    """Turns requests into WSGI calls and their answers back."""

    protocol_version = "HTTP/1.1"
    server_version = "winback-sandbox"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: SandboxServer

    def serve(self) -> None:
        """Answer one request; the connection stays open for the next."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers = "500 Internal Server Error", [("Content-Length", "0")]

        def start_response(given: str, given_headers: list[tuple[str, str]], exc_info: Any = None) -> None:  # noqa: ARG001
            nonlocal status, headers
            status, headers = given, given_headers

        try:
            parts = self.server.app(self._environ(body), start_response)
            self._write(status, headers, parts)
        except ConnectionCut:
            self.close_connection = True
            self.server.cut(self.connection)
        except ConnectionError:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815 - the names http.server looks for

    def _write(self, status: str, headers: Iterable[tuple[str, str]], parts: Any) -> None:
        try:
            body = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
        code, _, reason = status.partition(" ")
        self.send_response_only(int(code), reason)
        names = {name.lower() for name, _ in headers}
        for name, value in headers:
            self.send_header(name, value)
        if "content-length" not in names and int(code) != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _environ(self, body: bytes) -> dict[str, Any]:
        url = urlsplit(self.path)
        host, port = self.server.server_address[:2]
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(url.path).decode("latin-1"),
            "QUERY_STRING": url.query,
            "SERVER_NAME": str(host),
            "SERVER_PORT": str(port),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": self.client_address[0],
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            key = name.upper().replace("-", "_")
            if key not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
                environ[f"HTTP_{key}"] = value
        return environ

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name http.server calls it by
        """Say nothing: the sandbox keeps its own log."""

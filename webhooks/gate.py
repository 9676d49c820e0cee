"""The gate in front of the application: limits before any work, and the headers that every answer carries.

It is WSGI, not Flask, so that a request that is refused costs next to nothing, and one that is not hardly more.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from connector.receivers import MAX_BODY_BYTES
from webhooks import limits
from webhooks.answers import problem
from webhooks.incoming import client_address

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID: Final = "winback.request_id"
PROBES: Final = frozenset({"/healthz", "/readyz"})
"""Answered under any name: an orchestrator knows our address, not our public name."""

HEADERS: Final = (
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Robots-Tag", "noindex"),
    ("Cache-Control", "no-store"),
)
"""On every answer, unless a page has set its own."""

_HSTS: Final = ("Strict-Transport-Security", "max-age=31536000")


class Gate:
    """Lets requests through to an application.

    Args:
        application: What is behind it.
        hosts: Names we may be called by, lower case; any other is refused.
        https: Whether our public address is an https one.
        proxies: Where our own proxies are; for everybody behind the gate the address is of who called them.
    """

    def __init__(
        self,
        application: WSGIApplication,
        *,
        hosts: Iterable[str],
        https: bool,
        proxies: Sequence[IPv4Network | IPv6Network] = (),
    ) -> None:
        self._application = application
        self._proxies = proxies
        # Chance once, then counting: asking the system for chance each time would let go of the interpreter in every
        # request, and wait for whoever took it.
        self._run = os.urandom(4).hex()
        self._numbers = itertools.count(1)
        self._hosts = frozenset(hosts)
        self._headers = [(name.lower(), (name, value)) for name, value in (*HEADERS, *((_HSTS,) if https else ()))]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        called = environ[REQUEST_ID] = f"{self._run}{next(self._numbers):08x}"
        start = self._with_headers(start_response, called)
        status = self._refusal(environ)
        if status is None:
            environ["REMOTE_ADDR"] = client_address(environ, self._proxies)
            return self._application(environ, start)
        return problem(status, status.phrase.lower(), called=called).start(start)

    def _refusal(self, environ: WSGIEnvironment) -> HTTPStatus | None:
        """Why a request is not let through; a length that is no number is for the server to refuse."""
        if environ.get("PATH_INFO") not in PROBES and not self._knows(environ.get("HTTP_HOST", "")):
            return HTTPStatus.BAD_REQUEST
        if limits.environ_header_bytes(environ) > limits.MAX_HEADER_BYTES:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        if limits.is_compressed(environ.get("HTTP_CONTENT_ENCODING")):
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        length = environ.get("CONTENT_LENGTH") or "0"
        if length.isdigit() and int(length[:20]) > MAX_BODY_BYTES:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return None

    def _knows(self, host: str) -> bool:
        name = host.lower()
        if name in self._hosts:
            return True
        name, colon, port = name.rpartition(":")
        return bool(colon) and port.isdigit() and name in self._hosts

    def _with_headers(self, start_response: StartResponse, called: str) -> Callable[..., Any]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            own = {name.lower() for name, _ in headers}
            added = [pair for name, pair in self._headers if name not in own]
            return start_response(status, [*headers, *added, ("X-Request-Id", called)], exc_info)

        return start

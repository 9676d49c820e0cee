"""A request as receivers see it: the bytes, every copy of every header, and the address that the vendor called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import quote

from connector.receivers import Incoming

HEADERS = "winback.headers"
"""Where our own server leaves the headers in a WSGI environment: one by one, as they were sent."""

BODY = "winback.body"
"""Where it leaves the body, which it has read whole, and of one beyond the limit nothing."""

_PATH_SIGNS = "/:@!$&'()*+,;=~-._"


def raw_target(environ: Mapping[str, Any]) -> str:
    """Path and query as they were sent.

    Waitress says them in REQUEST_URI, gunicorn in RAW_URI. Where a server says neither, the path is quoted anew; what
    a proxy may send with a host in front (`GET https://…`) begins at its path.
    """
    target = environ.get("REQUEST_URI") or environ.get("RAW_URI")
    if not target:
        path = str(environ.get("SCRIPT_NAME", "")) + str(environ.get("PATH_INFO", ""))
        query = environ.get("QUERY_STRING", "")
        target = quote(path.encode("latin-1"), safe=_PATH_SIGNS) + (f"?{query}" if query else "")
    target = str(target)
    if not target.startswith("/") and "://" in target:
        _, _, after = target.partition("://")
        path_at = after.find("/")
        target = after[path_at:] if path_at >= 0 else "/"
    return target.partition("#")[0]


def public_url(environ: Mapping[str, Any], base_url: str | None) -> str:
    """The address the vendor called: the configured one with the raw target, never what the Host header says."""
    return f"{(base_url or '').rstrip('/')}{raw_target(environ)}"


def headers_of(environ: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """Headers by lower-case name, every copy; a server that joins copies gives the joined one, which fits nothing."""
    pairs = environ.get(HEADERS)
    if pairs is None:
        pairs = [(name[5:].replace("_", "-"), str(value)) for name, value in environ.items() if name[:5] == "HTTP_"]
        pairs += [
            (name.replace("_", "-"), str(environ[name]))
            for name in ("CONTENT_TYPE", "CONTENT_LENGTH")
            if environ.get(name)
        ]
    found: dict[str, Sequence[str]] = {}
    for spelled, value in pairs:
        name = spelled.lower()
        found[name] = (*found[name], value) if name in found else (value,)
    return found


def client_address(environ: Mapping[str, Any], proxies: Sequence[IPv4Network | IPv6Network]) -> str:
    """Who called us: the peer, or, where the peer is a proxy of ours, the nearest caller that is none.

    Every proxy writes behind what was there before who called it; so X-Forwarded-For is read from its end, and what
    stands before the first stranger is hearsay. Where it names no stranger, or no address, the peer is all we know.
    """
    peer = str(environ.get("REMOTE_ADDR") or "")
    if not proxies or not _is_among(proxies, _address(peer)):
        return peer
    for said in _from_the_end(headers_of(environ).get("x-forwarded-for", ())):
        address = _address(said)
        if address is None:
            return peer
        if not _is_among(proxies, address):
            return str(address)
    return peer


def _from_the_end(values: Sequence[str]) -> Iterator[str]:
    for value in reversed(values):
        yield from reversed(value.split(","))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address as proxies write it, some with a port or in brackets; an IPv4 one in IPv6's dress is an IPv4 one."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    with suppress(ValueError):
        address = ip_address(text)
        return getattr(address, "ipv4_mapped", None) or address
    return None


def _is_among(networks: Sequence[IPv4Network | IPv6Network], address: IPv4Address | IPv6Address | None) -> bool:
    return address is not None and any(address in network for network in networks)


def incoming(
    environ: Mapping[str, Any], body: bytes, *, base_url: str | None, token: str | None, now: datetime
) -> Incoming:
    """The request for a receiver."""
    return Incoming(
        method=str(environ.get("REQUEST_METHOD", "")),
        url=public_url(environ, base_url),
        headers=headers_of(environ),
        body=body,
        received_at=now,
        token=token,
        address=environ.get("REMOTE_ADDR"),
    )

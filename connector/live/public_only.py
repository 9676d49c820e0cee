"""Calls to addresses of the open internet alone: a name that leads into our own network is not dialled (S-2)."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

_CARRIER_GRADE_NAT = ipaddress.ip_network("100.64.0.0/10")
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses that a gateway turns into the IPv4 address in their last four bytes."""


def public_only(session: requests.Session) -> None:
    """Let this session connect to public addresses only; the address that was checked is the one that is dialled."""
    adapter = _PublicAdapter()
    session.mount("https://", adapter)
    session.mount("http://", adapter)


def is_public(address: str) -> bool:
    """Whether this is an address of the open internet: not ours, not this machine's, not a cloud's own."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.sixtofour is not None or ip.teredo is not None:
            return False
        inner = ip.ipv4_mapped
        if inner is None and ip in _TRANSLATED:
            inner = ipaddress.IPv4Address(ip.packed[-4:])
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and ip not in _CARRIER_GRADE_NAT


def _checked(connection: HTTPConnection) -> str:
    """The first address of the host, when all of them are public.

    A name that also leads inside is refused whole: the next look-up may bring the other answer first.
    """
    host = connection._dns_host  # noqa: SLF001  # what urllib3 resolves; setting it pins the address
    try:
        found = socket.getaddrinfo(host, connection.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NewConnectionError(connection, f"{host} cannot be resolved") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(is_public(address) for address in addresses):
        raise NewConnectionError(connection, f"{host} leads into a private network, which is never called")
    return addresses[0]


class _Http(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        self._dns_host = _checked(self)
        return super()._new_conn()


class _Https(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        # The certificate is still checked against `host`: only where the connection goes is pinned.
        self._dns_host = _checked(self)
        return super()._new_conn()


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class _PublicAdapter(HTTPAdapter):
    """Through a proxy the proxy decides where it goes; without one, we do."""

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        super().init_poolmanager(*arguments, **more)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

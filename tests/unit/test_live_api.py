"""What receivers ask their vendors with: one address, no redirects, nothing inside our own network."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import requests

from connector.contracts import Limits
from connector.errors import ConfigurationError, RejectedError, RetriableError, SettingError
from connector.live.api import VendorApi, allowance, can_ask
from connector.live.public_only import is_public, public_only
from connector.receivers import Api, Receiver, ReceiverOptions
from tests.fakes.budget import CountingBudget
from tests.fakes.clocks import VirtualClock
from tests.fakes.http_server import Said, in_order, serving
from tests.fakes.journals import Silence


def receiver(base_url: str | None = None, **headers: str) -> Receiver:
    """A vendor who can be asked at this address; with None, one nobody can ask."""
    nothing: Any = lambda *_: None  # noqa: E731
    return Receiver(
        name="survey",
        title="Survey",
        options=ReceiverOptions,
        verify=nothing,
        parse=nothing,
        understand=nothing,
        sign=nothing,
        sample=nothing,
        api=lambda _: None if base_url is None else (base_url, headers),
    )


@contextmanager
def asking(base_url: str, **headers: str):
    api = VendorApi(
        receiver(base_url, **headers),
        ReceiverOptions(),
        budget=CountingBudget(VirtualClock()),
        clock=VirtualClock(),
        reporter=Silence(),
    )
    try:
        yield api
    finally:
        api.close()


def test_answers_are_asked_for_below_the_vendors_address_signed_in():
    with (
        serving(in_order(Said(body={"items": [1]}))) as server,
        asking(f"{server.url}/v3", Authorization="Bearer t") as api,
    ):
        asked: Api = api
        assert asked.get_json("responses/7", {"page": "2"}) == {"items": [1]}
    (request,) = server.asked
    assert (request.method, request.path, request.query) == ("GET", "/v3/responses/7", {"page": ["2"]})
    assert request.headers["Authorization"] == "Bearer t"
    assert api.now() == VirtualClock().now()


def test_a_redirect_is_not_followed():
    answers = in_order(Said(302, headers={"Location": "/elsewhere"}))
    with serving(answers) as server, asking(server.url) as api, pytest.raises(RejectedError, match="redirect"):
        api.get_json("responses")
    assert [request.path for request in server.asked] == ["/responses"]


@pytest.mark.parametrize("path", ["https://evil.example.com/x", "http://127.0.0.1:1/x", "HTTP://[::1]/x"])
def test_a_next_page_on_another_host_is_not_asked_for(path):
    refused = pytest.raises(RejectedError, match="refused to send credentials")
    with serving(in_order(Said())) as server, asking(server.url) as api, refused:
        api.get_json(path)
    assert server.asked == []


@pytest.mark.parametrize(
    "path", ["@evil.example.com/", "//evil.example.com/x", "\\\\evil.example.com", ".evil.example.com", ":1@evil/"]
)
def test_a_path_that_looks_like_another_host_stays_below_the_address(path):
    with serving(in_order(Said(404))) as server, asking(server.url) as api, pytest.raises(RejectedError):
        api.get_json(path)
    assert len(server.asked) == 1


def test_a_vendor_nobody_can_sign_in_to_is_named():
    assert not can_ask(receiver(), ReceiverOptions())
    assert can_ask(receiver("https://api.example.com"), ReceiverOptions())
    with pytest.raises(SettingError, match=r"webhooks\.sources\.survey: answers have to be asked for"):
        VendorApi(
            receiver(),
            ReceiverOptions(),
            budget=CountingBudget(VirtualClock()),
            clock=VirtualClock(),
            reporter=Silence(),
        )


def test_an_address_that_is_not_encrypted_is_refused():
    with pytest.raises(ConfigurationError, match="must begin with https://"), asking("http://api.example.com"):
        pass


def test_the_allowance_is_the_receivers_own_where_it_has_one():
    class Sparing(ReceiverOptions):
        rate: Limits = Limits(per_day=500)

    assert allowance(Sparing()).per_day == 500
    assert allowance(ReceiverOptions()) == Limits()


INSIDE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.127.255.255", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
    "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "not an address", "",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_are_known_in_every_spelling(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:93.184.215.14"])
def test_addresses_of_the_open_internet_are_public(address):
    assert is_public(address)


def resolving_to(*addresses: str):
    """Name look-ups that answer so, whatever is asked."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]
    return mock.patch("connector.live.public_only.socket.getaddrinfo", return_value=found)


@pytest.mark.parametrize("address", [one for one in INSIDE if one])
def test_a_name_that_leads_inside_is_never_dialled(address):
    with requests.Session() as session, resolving_to(address), mock.patch("socket.socket.connect") as dialled:
        public_only(session)
        session.trust_env = False
        with pytest.raises(requests.ConnectionError, match="private network"):
            session.get("https://api.example.com/x", timeout=1)
    dialled.assert_not_called()


def test_a_name_with_one_address_inside_is_refused_whole():
    with requests.Session() as session, resolving_to("93.184.215.14", "127.0.0.1"):
        public_only(session)
        session.trust_env = False
        with pytest.raises(requests.ConnectionError, match="private network"):
            session.get("http://api.example.com/x", timeout=1)


@pytest.mark.parametrize(
    "spelling", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::ffff:7f00:1]", "[::1]", "localhost"]
)
def test_spellings_of_this_machine_are_not_dialled(spelling):
    with requests.Session() as session:
        public_only(session)
        session.trust_env = False
        with pytest.raises(requests.ConnectionError, match=r"private network|cannot be resolved"):
            session.get(f"http://{spelling}:9/x", timeout=1)


def test_the_address_that_was_checked_is_the_one_that_is_dialled():
    """A name server that answers differently the second time changes nothing."""
    answers = iter([["93.184.215.14"], ["127.0.0.1"]])
    dialled = []

    def look_up(host, port, *_, **__):
        literal = host[0].isdigit()
        address = host if literal else next(answers)[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def connect(_self, address):
        dialled.append(address)
        raise OSError("no network here")

    with (
        requests.Session() as session,
        mock.patch("socket.getaddrinfo", side_effect=look_up),
        mock.patch("socket.socket.connect", connect),
    ):
        public_only(session)
        session.trust_env = False
        with pytest.raises(requests.ConnectionError):
            session.get("http://api.example.com/x", timeout=1)
    assert dialled == [("93.184.215.14", 80)]


def test_a_vendors_address_is_guarded_and_a_rehearsals_is_not():
    with (
        resolving_to("10.0.0.1"),
        asking("https://api.example.com") as api,
        pytest.raises(RetriableError, match="private"),
    ):
        api.get_json("x")
    with serving(in_order(Said(body=1))) as server, asking(server.url) as api:
        assert api.get_json("x") == 1

"""Who called us: the peer, or what a proxy of ours says, and nobody else's word for it."""

from __future__ import annotations

import re
from ipaddress import ip_network

import pytest

from connector.cli.terminal import TerminalReporter
from connector.receivers import Verdict
from connector.workspace import Workspace
from tests.fakes.clocks import VirtualClock
from tests.fakes.databases import sqlite_url
from tests.fakes.incoming import BASE_URL, NOW
from tests.fakes.pages import pages_of
from tests.fakes.vendor_deliveries import VENDORS, body_of
from tests.fakes.web import TINY, TinyOptions, tiny_events, web
from webhooks.incoming import HEADERS, client_address
from webhooks.login import ADDRESS_TRIES
from webhooks.making import made
from webhooks.service import Listening

PROXIES = (ip_network("10.0.0.0/8"), ip_network("127.0.0.1"), ip_network("fd00::/8"))
STRANGER = "203.0.113.7"


def asked(peer: str, *forwarded: str) -> dict:
    return {"REMOTE_ADDR": peer, HEADERS: [("x-forwarded-for", value) for value in forwarded]}


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", [STRANGER], STRANGER),
        ("127.0.0.1", [f"198.51.100.1, {STRANGER}"], STRANGER),
        ("127.0.0.1", [f"198.51.100.1, {STRANGER}, 10.1.2.3"], STRANGER),
        ("127.0.0.1", ["198.51.100.1", f"{STRANGER},10.1.2.3", "10.9.9.9"], STRANGER),
        ("::1", [STRANGER], "::1"),
        ("198.51.100.1", [STRANGER], "198.51.100.1"),
        ("198.51.100.1", ["127.0.0.1"], "198.51.100.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["10.1.2.3"], "127.0.0.1"),
        ("127.0.0.1", [f"{STRANGER}, unknown"], "127.0.0.1"),
        ("127.0.0.1", [f"{STRANGER}, "], "127.0.0.1"),
        ("127.0.0.1", [f"{STRANGER}, _hidden, 10.1.2.3"], "127.0.0.1"),
        ("127.0.0.1", [f"{STRANGER}:50123"], STRANGER),
        ("fd00::7", ["[2001:db8::5]:443"], "2001:db8::5"),
        ("[fd00::7]", ["2001:db8::5"], "2001:db8::5"),
        ("::ffff:10.0.0.1", [f"::ffff:{STRANGER}"], STRANGER),
        ("", [STRANGER], ""),
    ],
)
def test_the_nearest_caller_that_is_no_proxy_of_ours_is_the_client(peer, forwarded, client):
    assert client_address(asked(peer, *forwarded), PROXIES) == client


def test_without_proxies_of_ours_the_header_is_hearsay():
    assert client_address(asked("127.0.0.1", STRANGER), ()) == "127.0.0.1"


def test_a_server_that_joins_the_copies_of_a_header_says_the_same():
    environ = {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": f"198.51.100.1,{STRANGER},10.1.2.3"}
    assert client_address(environ, PROXIES) == STRANGER


def seen_by_a_receiver(tmp_path, peer: str, headers: dict[str, str], proxies=PROXIES):
    """What a receiver is told of a request: the address and the URL."""
    from dataclasses import replace

    seen = []

    def verify(_options, incoming):
        seen.append((incoming.address, incoming.url))
        return Verdict(True)

    sources = {"tiny": Listening(replace(TINY, verify=verify), TinyOptions())}
    with web(sqlite_url(tmp_path), sources, trusted_proxies=proxies) as site:
        answer = site.client().post(
            "/webhooks/tiny", data=tiny_events("a"), headers=headers, environ_overrides={"REMOTE_ADDR": peer}
        )
        assert answer.status_code == 200
    return seen[0]


@pytest.mark.parametrize(
    ("peer", "client"), [("198.51.100.1", "198.51.100.1"), ("10.0.0.1", STRANGER), ("127.0.0.1", STRANGER)]
)
def test_a_receiver_hears_of_the_client_and_nothing_else_is_taken_from_a_proxy(tmp_path, peer, client):
    headers = {
        "X-Forwarded-For": f"{STRANGER}, 10.1.2.3",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Port": "81",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "for=192.0.2.9;host=evil.example",
        "X-Real-Ip": "192.0.2.9",
    }
    assert seen_by_a_receiver(tmp_path, peer, headers) == (client, f"{BASE_URL}/webhooks/tiny")


@pytest.mark.parametrize(
    ("peer", "forwarded", "status"),
    [
        ("10.0.0.1", "13.108.1.1", 200),
        ("10.0.0.1", "13.108.1.1, 10.1.2.3", 200),
        ("10.0.0.1", f"13.108.1.1, {STRANGER}", 401),
        (STRANGER, "13.108.1.1", 401),
        ("10.0.0.1", None, 401),
    ],
)
def test_salesforces_networks_are_held_against_the_client(tmp_path, peer, forwarded, status):
    vendor = VENDORS["salesforce"]
    options = vendor.options.model_copy(update={"networks": (ip_network("13.108.0.0/14"),)})
    sources = {"salesforce": Listening(vendor.receiver, options)}
    path = vendor.url.removeprefix(BASE_URL)
    headers = {"Content-Type": "text/xml"} | ({"X-Forwarded-For": forwarded} if forwarded else {})
    with web(sqlite_url(tmp_path), sources, trusted_proxies=PROXIES) as site:
        body = body_of("salesforce", "outbound_message.xml")
        answer = site.client().post(path, data=body, headers=headers, environ_overrides={"REMOTE_ADDR": peer})
        assert answer.status_code == status


def wrong_password(client, name: str, **called) -> int:
    """Somebody signs in with a wrong password; what they are answered."""
    form = re.search(r'name="form" value="([^"]+)"', client.get("/login", base_url=BASE_URL, **called).text)
    assert form is not None
    data = {"form": form[1], "name": name, "password": "wrong"}
    return int(client.post("/login", base_url=BASE_URL, data=data, **called).status_code)


@pytest.mark.parametrize(("peer", "last"), [("10.0.0.1", 403), ("198.51.100.1", 429)])
def test_who_guesses_passwords_holds_up_their_own_address_and_not_the_proxys(tmp_path, peer, last):
    """Behind a proxy of ours everybody has an address of their own; anybody else has the one they call from."""
    with pages_of(tmp_path, trusted_proxies=PROXIES) as site:

        def tried(number: int, forwarded: str) -> int:
            called = {"environ_overrides": {"REMOTE_ADDR": peer}, "headers": {"X-Forwarded-For": forwarded}}
            return wrong_password(site.app.test_client(), f"name{number}", **called)

        same = [tried(number, STRANGER) for number in range(ADDRESS_TRIES + 1)]
        assert same == [403] * ADDRESS_TRIES + [429]
        assert tried(99, f"{STRANGER}, 192.0.2.44") == last
        assert tried(100, f"192.0.2.44, {STRANGER}, 10.1.2.3") == 429


PLAYBOOK = """\
version: 1
account: acme
warehouse: duckdb:///warehouse.duckdb
journal: sqlite:///journal.db
sources:
  crm: {adapter: hubspot, auth: {token: "${CRM_TOKEN}"}}
segments:
  - {name: dormant_30, where: "inactive_days >= 30"}
webhooks:
  public_base_url: https://winback.example.com
"""


@pytest.mark.parametrize(
    ("more", "proxies"), [("", ()), ("  trusted_proxies: [10.0.0.0/8]\n", (ip_network("10.0.0.0/8"),))]
)
def test_a_playbooks_proxies_are_those_the_app_believes(tmp_path, more, proxies):
    file = tmp_path / "winback.yaml"
    file.write_text(PLAYBOOK + more)
    given = {"clock": VirtualClock(NOW), "reporter": TerminalReporter(quiet=True), "environ": {"CRM_TOKEN": "t" * 20}}
    with Workspace.load(file, **given) as workspace:
        _, service = made(workspace, beside=None, loopback=True)
        service.intake.close()
    assert service.trusted_proxies == proxies

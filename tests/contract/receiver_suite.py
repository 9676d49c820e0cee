"""What every receiver must do, over HTTP and a real journal, as a class to subclass.

A subclass gives a `world`: a `ReceiverWorld` with the receiver, its options, and deliveries as its vendor would send
them. What is special about a vendor (its known answers, its windows of time) is tested beside it.

    class TestAcmeReceiver(ReceiverSuite):
        world = ReceiverWorld(...)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.receivers import Event, Receiver
from tests.fakes.databases import sqlite_url
from tests.fakes.incoming import BASE_URL
from tests.fakes.web import Web, web
from webhooks.service import Listening


@dataclass(frozen=True)
class ReceiverWorld:
    """A receiver, and what its vendor sends.

    bodies: Documented deliveries by name, each with at least one event that is kept. unwanted: Deliveries that are
    understood and not wanted. broken: Bodies that the vendor might sign and nobody can read. token: The secret part of
    the address, where there is one. signed: Whether a signature covers the body; an address alone does not.
    partly_signed: Names of bodies of which the vendor signs a part only.
    """

    receiver: Receiver
    options: Any
    bodies: Mapping[str, bytes]
    unwanted: Mapping[str, bytes] = field(default_factory=dict)
    broken: tuple[bytes, ...] = (b"", b"{", b"nothing", b"[[[[", b"\xff\xfe", b"\x00", b"<", b"null", b"[]]", b"{}x")
    token: str | None = None
    signed: bool = True
    partly_signed: frozenset[str] = frozenset()

    @property
    def path(self) -> str:
        """Where the vendor posts."""
        return f"/webhooks/{self.receiver.name}" + (f"/{self.token}" if self.token else "")


class Site:
    """One receiver behind the application."""

    def __init__(self, world: ReceiverWorld, site: Web) -> None:
        self.world = world
        self.web = site

    def headers(self, body: bytes, *, method: str = "POST", url: str | None = None) -> dict[str, str]:
        """What the vendor would send with it."""
        receiver = self.world.receiver
        sign_at = url if url is not None else f"{BASE_URL}{self.world.path}"
        made = receiver.sign(self.world.options, method, sign_at, body, self.web.clock.now())
        return {"Content-Type": receiver.content_type, **made}

    def post(self, body: bytes, headers: Mapping[str, Any] | None = None, *, path: str | None = None) -> Any:
        """The vendor's POST, signed unless headers are given."""
        given = self.headers(body) if headers is None else headers
        return self.web.client().post(path or self.world.path, data=body, headers=given)

    def kept(self) -> dict[str, Any]:
        """What the inbox holds, by key."""
        return {row.key: row for row in self.web.journal.inbox.recent(10_000)}


_HEADER_VALUES = st.text(st.characters(codec="latin-1", exclude_categories=("Cc",)), max_size=80)


class ReceiverSuite:
    """Every promise of a receiver that its vendor relies on."""

    world: ClassVar[ReceiverWorld]

    @pytest.fixture
    def site(self, tmp_path) -> Iterator[Site]:
        with web(
            sqlite_url(tmp_path), {self.world.receiver.name: Listening(self.world.receiver, self.world.options)}
        ) as site:
            yield Site(self.world, site)

    # --- what is believed ---------------------------------------------------------------------------------------

    def test_every_documented_delivery_is_kept_and_acknowledged(self, site):
        for name, body in self.world.bodies.items():
            before = len(site.kept())
            answer = site.post(body)
            assert 200 <= answer.status_code < 300, (name, answer.text)
            assert len(site.kept()) > before, name
        assert all(row.source == self.world.receiver.name for row in site.kept().values())

    def test_its_own_sample_is_kept_and_acknowledged(self, site):
        body = self.world.receiver.sample(self.world.options, "a-token", site.web.clock.now())
        assert site.post(body).status_code == 200
        assert site.kept()

    def test_a_delivery_that_comes_again_in_any_order_is_acknowledged_alike_and_kept_once(self, site):
        first = {name: site.post(body) for name, body in self.world.bodies.items()}
        rows = set(site.kept())
        for name, body in reversed(list(self.world.bodies.items())):
            for _ in range(2):
                again = site.post(body)
                assert (again.status_code, again.data) == (first[name].status_code, first[name].data)
        assert set(site.kept()) == rows

    def test_what_is_kept_is_enough_to_be_understood_after_a_restart(self, site):
        for body in self.world.bodies.values():
            site.post(body)
        for row in site.kept().values():
            event = Event(key=row.key, kind=row.kind, payload=row.payload, at=row.at)
            assert isinstance(list(self.world.receiver.understand(self.world.options, event)), list)

    def test_what_is_understood_and_not_wanted_is_acknowledged_and_not_kept(self, site):
        for name, body in self.world.unwanted.items():
            assert 200 <= site.post(body).status_code < 300, name
            assert not site.kept(), name

    def test_a_vendor_that_asks_first_finds_the_address(self, site):
        answer = site.web.client().head(self.world.path)
        assert answer.status_code == (200 if self.world.receiver.head_ok else 405)

    # --- what is not --------------------------------------------------------------------------------------------

    def test_a_signed_body_that_cannot_be_read_is_a_client_error(self, site):
        for body in self.world.broken:
            assert 200 <= site.post(body).status_code < 500, body
            assert not site.kept(), body

    def test_without_a_signature_nothing_is_believed(self, site):
        path = self.world.path if self.world.signed else f"/webhooks/{self.world.receiver.name}"
        for body in self.world.bodies.values():
            assert site.post(body, {}, path=path).status_code in {401, 403}
        assert not site.kept()

    def test_a_changed_byte_takes_the_belief_away(self, site):
        if not self.world.signed:
            pytest.skip("nothing vouches for the body itself")
        for body in (body for name, body in self.world.bodies.items() if name not in self.world.partly_signed):
            headers = site.headers(body)
            for changed in (
                bytes([body[0] ^ 1]) + body[1:],
                body[:-1] + bytes([body[-1] ^ 1]),
                body + b"\n",
                body + b" ",
            ):
                assert site.post(changed, headers).status_code == 401
        assert not site.kept()

    def test_a_header_that_is_empty_changed_doubled_or_foreign_takes_the_belief_away(self, site):
        body = next(iter(self.world.bodies.values()))
        good = site.headers(body)
        ours = [name for name in good if name.lower() not in {"content-type", "soapaction"}]
        for name in ours:
            for value in ("", f"x{good[name]}", f"{good[name]},{good[name]}", f"é{good[name]}", good[name][:-1], "0"):
                assert site.post(body, {**good, name: value}).status_code == 401, (name, value)
            missing = {key: value for key, value in good.items() if key != name}
            assert site.post(body, missing).status_code == 401, name
        assert not site.kept()

    def test_the_wrong_secret_part_of_an_address_opens_nothing(self, site):
        if self.world.token is None:
            pytest.skip("its address has no secret part")
        body = next(iter(self.world.bodies.values()))
        name = self.world.receiver.name
        for token in (
            self.world.token[:-1],
            self.world.token + "x",
            self.world.token.swapcase(),
            "x",
            "%00",
            "%2e%2e",
            "é",
        ):
            answer = site.post(body, path=f"/webhooks/{name}/{token}")
            if token != self.world.token:
                assert answer.status_code in {401, 403}, token
        assert site.post(body, path=f"/webhooks/{name}").status_code in {401, 403}
        assert not site.kept()

    def test_without_a_secret_everything_is_refused(self, tmp_path):
        bare = self.world.options.model_copy(update=dict.fromkeys(_secret_fields(self.world.options), ()))
        with web(sqlite_url(tmp_path), {self.world.receiver.name: Listening(self.world.receiver, bare)}) as refusing:
            site = Site(self.world, refusing)
            for body in self.world.bodies.values():
                assert site.post(body).status_code == 403
            assert not site.kept()

    def test_nothing_at_random_is_believed_or_breaks_anything(self, site):
        names = sorted({*site.headers(b"{}"), "Content-Type", "X-Signature", "Authorization"})
        bodies = st.binary(max_size=300) | st.sampled_from(list(self.world.bodies.values()))
        headers = st.dictionaries(st.sampled_from(names), _HEADER_VALUES, max_size=len(names))
        path = self.world.path if self.world.signed else f"/webhooks/{self.world.receiver.name}"

        @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(body=bodies, sent=headers)
        def never(body, sent):
            assert site.post(body, sent, path=path).status_code in {401, 403}

        never()
        assert not site.kept()

    def test_nothing_signed_at_random_breaks_anything(self, site):
        @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(body=st.binary(max_size=200) | _almost(self.world))
        def never(body):
            answer = site.post(body)
            assert answer.status_code < 500, (body, answer.text)

        never()


def _secret_fields(options: Any) -> list[str]:
    return [
        name for name in type(options).model_fields if isinstance(getattr(options, name), tuple) and name in _SECRETS
    ]


_SECRETS = frozenset({"secret", "token", "client_secret", "signing_secret", "header_secret"})


def _almost(world: ReceiverWorld) -> Any:
    """A documented body with a piece of it replaced: nearly right is what breaks readers."""

    def damaged(body: bytes, start: int, length: int, piece: bytes) -> bytes:
        at = start % (len(body) + 1)
        return body[:at] + piece + body[at + length :]

    pieces = st.binary(max_size=6) | st.sampled_from(
        [b"null", b"-1", b"1e999", b"[]", b"{}", b'""', b"99999999999999999999", b"true", b"\\u0000", b"\\ud800"]
    )
    return st.builds(
        damaged, st.sampled_from(list(world.bodies.values())), st.integers(0, 10_000), st.integers(0, 30), pieces
    )

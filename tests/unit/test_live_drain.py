"""The drain: every event once, in the order in which they happened, and none in the way of the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest

from connector.errors import MalformedPayload, RejectedError, StateError
from connector.heard import Heard, MailEvent, Used, Who
from connector.journal.inbox import Kept
from connector.live.drain import ATTEMPTS, Drain, told_of
from connector.receivers import Event, Receiver, ReceiverOptions
from tests.fakes.databases import on_both  # noqa: F401 - the fixture `journal_url`
from tests.fakes.hearing import ANN, NOW, Ear, at
from tests.fakes.journals import expect, kill, spawn


def understand(_options: Any, event: Event) -> Sequence[Heard]:
    """The test's own vendor: a payload says what is heard, or what goes wrong."""
    payload = event.payload
    match payload["do"]:
        case "use":
            days = payload.get("days", 2)
            return [Used(who=Who(record=ANN), at=at(days), feature="deploy", event_id=f"{days}")]
        case "unsubscribe":
            return [MailEvent(who=Who(record=ANN), at=at(1), kind="unsubscribe", event_id="1")]
        case "both":
            parts = (Event(key="", kind="", payload={"do": do}) for do in ("use", "unsubscribe"))
            return [heard for part in parts for heard in understand(_options, part)]
        case "nothing":
            return []
        case "malformed":
            raise MalformedPayload("vendor: no such field")
        case "journal":
            raise StateError("the disk is full")
        case _:
            return payload["ann@example.com"]


def vendor(understood=understand) -> Receiver:
    nothing: Any = lambda *_: None  # noqa: E731
    return Receiver(
        name="vendor",
        title="Vendor",
        options=ReceiverOptions,
        verify=nothing,
        parse=nothing,
        understand=understood,
        sign=nothing,
        sample=nothing,
    )


class Vendor:
    """An ear behind an inbox."""

    def __init__(self, url: str = "sqlite:///:memory:") -> None:
        self.ear = Ear(url=url)
        self.inbox = self.ear.journal.inbox
        self.understood: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ear.journal.close()

    def deliver(self, key: str, do: str, happened: datetime | None = None, source: str = "vendor", **more: Any) -> None:
        payload = json.dumps({"do": do, **more})
        now = self.ear.clock.now()
        self.inbox.keep(
            [Kept(source=source, key=key, kind="k", payload=payload, at=happened, received_at=now, request_id="r")]
        )

    def drain(self, limit: int = 100):
        def remembered(options: Any, event: Event) -> Sequence[Heard]:
            self.understood.append(event.key)
            return understand(options, event)

        receivers = {"vendor": (vendor(remembered), ReceiverOptions())}
        return Drain(self.ear.journal, receivers, self.ear.hearing, clock=self.ear.clock, owner="me")(limit)

    def row(self, key: str):
        return next(row for row in self.inbox.recent(100) if row.key == key)


@pytest.fixture
def shop():
    with Vendor() as opened:
        yield opened


def test_what_follows_from_an_event_and_that_it_is_settled_is_one_thing(shop):
    shop.deliver("a", "use")
    drained = shop.drain()
    assert (drained.done, drained.taken, drained.effects) == (1, 1, {"left win-back: reactivated": 1})
    row = shop.row("a")
    assert (row.state, row.effect, row.contact_id) == ("done", "left win-back: reactivated", ANN)
    assert not shop.ear.episode().open
    assert shop.drain().taken == 0


def test_events_are_taken_in_the_order_in_which_they_happened(shop):
    for key, day in {"c": 3, "a": 1, "b": 2}.items():
        shop.deliver(key, "nothing", at(day))
    shop.deliver("undated", "nothing")
    shop.drain()
    assert shop.understood == ["a", "b", "c", "undated"]


def test_an_event_that_means_nothing_is_ignored_and_gone(shop):
    shop.deliver("a", "nothing")
    assert shop.drain().ignored == 1
    assert (shop.row("a").state, shop.row("a").effect) == ("ignored", "means nothing to us")


def test_a_delivery_that_means_several_things_is_settled_whole(shop):
    shop.deliver("a", "both")
    shop.drain()
    assert shop.row("a").effect == "left win-back: reactivated; unsubscribed: the contact and the address"
    assert (shop.ear.episode().exit_reason, shop.ear.episode().exited_at) == ("unsubscribed", at(1))
    assert shop.ear.journal.consent.state(ANN).opted_out_at == at(1)


def test_a_bad_event_does_not_hold_up_the_others_and_is_tried_again_then_set_aside(shop):
    shop.deliver("bad", "explode", at(1))
    shop.deliver("good", "use", at(2))
    drained = shop.drain()
    assert (drained.later, drained.done) == (1, 1)
    for attempt in range(2, ATTEMPTS + 1):
        assert shop.drain().taken == 0, "it rests first"
        shop.ear.clock.advance(86_400)
        drained = shop.drain()
        assert (drained.later, drained.set_aside) == ((1, 0) if attempt < ATTEMPTS else (0, 1))
    row = shop.row("bad")
    assert row.state == "set_aside" and row.reason.startswith("KeyError")
    assert "@" not in row.reason and "ann" not in row.reason
    shop.ear.clock.advance(86_400)
    assert shop.drain().taken == 0


def test_an_event_that_can_never_be_read_is_set_aside_at_once_and_can_be_replayed(shop):
    shop.deliver("a", "malformed")
    assert shop.drain().set_aside == 1
    assert shop.row("a").reason == "vendor: no such field"
    shop.inbox.replay(source="vendor")
    assert shop.drain().set_aside == 1


def test_a_source_that_is_not_in_the_playbook_is_set_aside_until_it_is(shop):
    shop.deliver("a", "use", source="stranger")
    assert shop.drain().set_aside == 1
    assert shop.row("a").reason == "no source 'stranger' in the playbook: add it under webhooks.sources"


def test_replaying_what_was_settled_changes_nothing(shop):
    shop.deliver("a", "both")
    shop.drain()
    before = (shop.ear.episode(), shop.ear.intents(), shop.ear.journal.consent.history(ANN))
    for _ in range(2):
        assert shop.inbox.replay(since=NOW - timedelta(days=1)) == 1
        assert shop.drain().done == 1
    assert (shop.ear.episode(), shop.ear.intents(), shop.ear.journal.consent.history(ANN)) == before


def test_when_the_journal_fails_the_drain_stops_and_nothing_is_blamed(shop):
    shop.deliver("a", "journal")
    with pytest.raises(StateError):
        shop.drain()
    assert (shop.row("a").state, shop.row("a").reason) == ("waiting", None)


def test_a_workflows_call_needs_no_receiver(shop):
    now = shop.ear.clock.now()
    payload = {
        "who": {"token": None, "record": ANN, "external_id": None},
        "action": "exit",
        "program": None,
        "days": None,
        "callback": None,
    }
    kept = Kept(
        source="hubspot", key="call.1", kind="call.exit", payload=json.dumps(payload), received_at=now, request_id="r"
    )
    shop.inbox.keep([kept])
    assert shop.drain().effects == {"taken out": 1}
    assert shop.ear.episode().exit_reason == "manual"


def test_a_fault_is_told_by_kind_and_place_and_never_with_what_came_in():
    def failing() -> None:
        raise ValueError("ann@example.com said something")

    with pytest.raises(ValueError, match="ann@") as caught:
        failing()
    assert told_of(caught.value).startswith("ValueError in tests/unit/test_live_drain.py:")
    assert told_of(KeyError("x")) == "KeyError"
    assert told_of(RejectedError("asked for ann@example.com")) == "asked for <email>"


KILLED = """
import sys
from tests.unit.test_live_drain import Vendor, vendor
from connector.live import drain

shop = Vendor(sys.argv[1])

def stuck(options, event):
    print("working", flush=True)
    sys.stdin.readline()

receivers = {"vendor": (vendor(stuck), None)}
drain.LEASE_SECONDS = float(sys.argv[2])
drain.Drain(shop.ear.journal, receivers, shop.ear.hearing, clock=shop.ear.clock, owner="killed")()
"""


def test_what_a_killed_worker_held_is_taken_up_once_its_lease_has_run_out(journal_url):
    with Vendor(journal_url) as shop:
        shop.deliver("a", "use")
        process = spawn(KILLED, journal_url, "1.5")
        try:
            expect(process, "working")
            assert shop.drain().taken == 0, "it is another's"
        finally:
            kill(process)
        assert shop.row("a").state == "waiting"
        deadline = datetime.now(UTC) + timedelta(seconds=30)
        while not shop.drain().done:
            assert datetime.now(UTC) < deadline, "nobody took it up"
        assert (shop.row("a").state, shop.row("a").attempts) == ("done", 2)
        assert shop.ear.episode().exit_reason == "reactivated"

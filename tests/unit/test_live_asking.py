"""Asking vendors: for answers behind ids and for what was missed; into the inbox, once, and never for nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from connector.errors import MalformedPayload
from connector.journal.outbox import Intent
from connector.live.asking import ATTEMPTS, EVERY, FIRST_LOOK, OVERLAP, Asked, Asking
from connector.receivers import Api, Event, Receiver, ReceiverOptions
from tests.fakes.clocks import VirtualClock
from tests.fakes.hearing import NOW, Ear
from tests.fakes.http_server import Asked as Request
from tests.fakes.http_server import Said, ScriptedServer, in_order, serving
from tests.fakes.journals import Silence


def fetch(api: Api, survey: str, responses: Sequence[str]) -> Iterator[Event]:
    for response in responses:
        answer = api.get_json(f"surveys/{survey}/responses/{response}")
        if "broken" in answer:
            raise MalformedPayload("survey: an answer without a date")
        yield Event(key=f"answer:{response}", kind="answer", payload=answer, at=NOW)


def missed(api: Api, since: datetime) -> Iterator[Event]:
    for number in api.get_json("responses", {"since": since.isoformat()})["ids"]:
        yield Event(key=f"answer:{number}", kind="answer", payload={"id": number}, at=NOW)


def survey(url: str | None) -> Receiver:
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
        fetch=fetch,
        backfill=missed,
        api=lambda _: None if url is None else (url, {}),
    )


class Office:
    """A journal, a vendor, and whoever asks it."""

    def __init__(self, ear: Ear, url: str | None, options: ReceiverOptions | None = None) -> None:
        self.journal, self.clock, self.reporter = ear.journal, ear.clock, Silence()
        workspace: Any = SimpleNamespace(journal=self.journal, clock=self.clock, reporter=self.reporter)
        receivers = {"survey": (survey(url), options or ReceiverOptions())}
        self.asking = Asking(workspace, receivers, owner="me")

    def told(self, *responses: str, source: str = "survey") -> None:
        payload = {"source": source, "survey": "s1", "responses": list(responses)}
        self.journal.outbox.add([Intent(key=f"fetch:{responses}", kind="fetch", payload=payload)])

    @property
    def waiting(self) -> Any:
        return self.journal.outbox.recent(1)[0]

    def kept(self) -> list[str]:
        return sorted(row.key for row in self.journal.inbox.recent(100))


@contextmanager
def office(*answers: Said, **said: Any) -> Iterator[tuple[Office, ScriptedServer]]:
    with Ear() as ear, serving(in_order(*answers)) as server:
        opened = Office(ear, server.url, **said)
        try:
            yield opened, server
        finally:
            opened.asking.close()


def test_the_answers_behind_ids_come_into_the_inbox():
    with office(Said(body={"reason": "price"})) as (desk, server):
        desk.told("7", "8")
        assert desk.asking.fetch() == Asked(new=2)
        assert [request.path for request in server.asked] == ["/surveys/s1/responses/7", "/surveys/s1/responses/8"]
        assert desk.kept() == ["answer:7", "answer:8"]
        assert desk.journal.inbox.recent(1)[0].payload == {"reason": "price"}
        assert desk.waiting.state == "done"
        assert desk.asking.fetch() == Asked()


def test_an_answer_the_webhook_brought_already_is_kept_once():
    with office(Said(body={"reason": "price"})) as (desk, _):
        for responses in (("7",), ("7", "8")):
            desk.told(*responses)
        assert desk.asking.fetch() == Asked(new=2)
        assert desk.kept() == ["answer:7", "answer:8"]


def test_a_vendor_that_does_not_answer_is_asked_again_later_and_said_once():
    with office(*[Said(503)] * 18, Said(body={})) as (desk, _):
        desk.told("7")
        for _ in range(3):
            assert desk.asking.fetch() == Asked(later=1)
            assert desk.asking.fetch() == Asked(), "it rests first"
            desk.clock.advance(7 * 3600)
        assert desk.asking.fetch() == Asked(new=1)
        away, back = desk.reporter.lines
        assert away.startswith("survey cannot be asked: ") and back == "survey answers again"


def test_a_wrong_token_waits_for_a_better_one():
    with office(*[Said(401)] * (ATTEMPTS + 2), Said(body={})) as (desk, _):
        desk.told("7")
        for _ in range(ATTEMPTS + 2):
            assert desk.asking.fetch() == Asked(later=1)
            desk.clock.advance(7 * 3600)
        assert desk.asking.fetch() == Asked(new=1)


def test_what_the_vendor_refuses_is_set_aside_with_its_words():
    with office(Said(404, body={"message": "no such response of ann@example.com"})) as (desk, _):
        desk.told("7")
        assert desk.asking.fetch() == Asked(set_aside=1)
        assert "404" in desk.waiting.reason and "ann@" not in desk.waiting.reason


def test_an_answer_that_cannot_be_read_is_tried_some_times_and_set_aside():
    with office(Said(body={"broken": True})) as (desk, _):
        desk.told("7")
        for attempt in range(1, ATTEMPTS + 1):
            assert desk.asking.fetch() == (Asked(later=1) if attempt < ATTEMPTS else Asked(set_aside=1))
            desk.clock.advance(7 * 3600)
        assert desk.waiting.reason == "survey: an answer without a date"


def test_what_came_before_a_fault_is_kept():
    with office(Said(body={}), *[Said(500)] * 6) as (desk, _):
        desk.told("7", "8")
        assert desk.asking.fetch() == Asked(later=1)
        assert desk.kept() == ["answer:7"]


@pytest.mark.parametrize("source", ["survey", "stranger"])
def test_a_source_nobody_can_ask_is_set_aside(source):
    with Ear() as ear:
        desk = Office(ear, None)
        desk.told("7", source=source)
        assert desk.asking.fetch() == Asked(set_aside=1)
        assert desk.waiting.reason == "nothing in the playbook says how to ask this source"
        assert desk.asking.backfill() == Asked()


def since_of(request: Request) -> datetime:
    return datetime.fromisoformat(request.query["since"][0])


def test_what_was_missed_is_asked_for_on_schedule_from_where_it_was_left():
    with office(Said(body={"ids": [1, 2]}), Said(body={"ids": [2, 3]})) as (desk, server):
        assert desk.asking.backfill() == Asked(new=2)
        assert since_of(server.asked[0]) == NOW - FIRST_LOOK
        assert desk.asking.backfill() == Asked(), "it was just asked"
        desk.clock.advance(EVERY.total_seconds())
        assert desk.asking.backfill() == Asked(new=1)
        assert since_of(server.asked[1]) == NOW - OVERLAP
        assert desk.kept() == ["answer:1", "answer:2", "answer:3"]


def test_what_could_not_be_asked_is_asked_from_the_same_moment_next_time():
    with office(Said(body={"ids": []}), *[Said(503)] * 6, Said(body={"ids": [1]})) as (desk, server):
        desk.asking.backfill()
        desk.clock.advance(EVERY.total_seconds())
        assert desk.asking.backfill() == Asked(later=1)
        desk.clock.advance(EVERY.total_seconds())
        assert desk.asking.backfill() == Asked(new=1)
        assert since_of(server.asked[-1]) == NOW - OVERLAP
        assert [line.split(":")[0] for line in desk.reporter.lines] == [
            "survey cannot be asked",
            "survey answers again",
        ]


def test_the_receiver_may_say_how_often():
    class Often(ReceiverOptions):
        poll: timedelta = timedelta(minutes=5)

    with office(Said(body={"ids": []}), options=Often()) as (desk, server):
        desk.asking.backfill()
        desk.clock.advance(300)
        desk.asking.backfill()
        assert len(server.asked) == 2


def test_one_process_at_a_time_asks_for_what_was_missed():
    with office(Said(body={"ids": [1]})) as (desk, server):
        with desk.journal.lock("backfill survey"):
            assert desk.asking.backfill() == Asked()
        assert server.asked == []
        assert desk.asking.backfill() == Asked(new=1)


def test_payloads_are_kept_as_they_came():
    with office(Said(body={"ids": ["ü"]})) as (desk, _):
        desk.asking.backfill()
        assert json.dumps(desk.journal.inbox.recent(1)[0].payload, ensure_ascii=False) == '{"id": "ü"}'
        assert isinstance(desk.clock, VirtualClock)

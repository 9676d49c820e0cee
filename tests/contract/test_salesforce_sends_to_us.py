"""Salesforce's look-alike sends to our application over HTTP: outbound messages in SOAP, and a flow's questions."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from connector.heard import MailEvent
from connector.receivers import Event
from tests.contract.test_hubspot_sends_to_us import DEAF, DOWN, GOOD, SandboxClock, Way
from tests.fakes.databases import on_both, sqlite_url  # noqa: F401 - the fixture `journal_url`
from tests.fakes.salesforce_org import Org, contacts, running
from tests.fakes.web import Web, web
from webhooks import salesforce
from webhooks.service import Listening

TOKEN = "unguessable-last-part-of-the-path"
SECRET = "a-secret-of-sixteen-or-more"
FIELDS = ["Email", "HasOptedOutOfEmail", "EmailBouncedDate", "Title", "LastModifiedDate", "LastModifiedById"]


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        pass


@dataclass
class Meeting:
    """The org, our application, and the way between them."""

    org: Org
    site: Web
    way: Way
    url: str
    options: salesforce.SalesforceOptions
    found: set[str]

    def listen(self, *, token: str = TOKEN, **settings: Any) -> None:
        body = {"name": "Winback_Notify", "object": "Contact", "fields": FIELDS, **settings}
        self.org.control("outbound", {**body, "url": f"{self.url}/webhooks/salesforce/{token}"})

    def asks(self, action: str = "evaluate", **step: Any) -> None:
        self.org.control("credential", {"base_url": self.url, "secret": SECRET})
        ask = {"ask": action, "store": {"step": "Winback_Step__c"}, **step}
        mail = {"if": {"field": "answer.decision", "value": "in_program"}, "then": [{"mail": "Hello"}]}
        conditions = [{"field": "Title", "value": "Ask"}]
        body = {"name": "Ask", "object": "Contact", "when": "Update", "conditions": conditions, "steps": [ask, mail]}
        self.org.control("flows", body)

    def send_everything(self) -> None:
        """Until Salesforce has nothing left to send, whatever came between."""
        for _ in range(200):
            self.org.sandbox.sending.send_due()
            if not self.org.sandbox.outbound.waiting:
                return
            self.org.sandbox.advance(1_800)
        raise AssertionError("it never came to an end")

    def rows(self) -> list[Any]:
        return list(self.site.journal.inbox.recent(10_000))

    def heard(self) -> list[Any]:
        events = [Event(key=row.key, kind=row.kind, payload=row.payload, at=row.at) for row in self.rows()]
        return [one for event in events for one in salesforce.RECEIVER.understand(self.options, event)]


@contextmanager
def met(journal_url: str) -> Iterator[Meeting]:
    """The two of them, over a journal."""
    found: set[str] = set()
    server = make_server("127.0.0.1", 0, app=None, threaded=True, request_handler=_Quiet)
    url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    with running(60) as org:
        options = salesforce.SalesforceOptions(
            org_id=org.state.org_id[:15],
            token=[TOKEN],
            secret=[SECRET],
            integration_user=org.state.integration_user,
        )
        with web(
            journal_url,
            {"salesforce": Listening(salesforce.RECEIVER, options)},
            clock=SandboxClock(org.sandbox),
            public_base_url=url,
            find=lambda who: who.record if who.record in found else None,
        ) as site:
            server.app = way = Way(site.app)
            thread.start()
            try:
                yield Meeting(org, site, way, url, options, found)
            finally:
                org.sandbox.stop()
                server.shutdown()
                thread.join()
                server.server_close()


@pytest.fixture
def meeting(tmp_path):
    with met(sqlite_url(tmp_path)) as meeting:
        yield meeting


def edit(meeting, person, **values):
    meeting.org.control("records/edit", {"id": person, "values": values})


# --- outbound messages --------------------------------------------------------------------------------------------


def test_an_opt_out_and_a_bounce_are_kept_once_and_mean_what_they_are(meeting):
    meeting.listen(watches=["HasOptedOutOfEmail", "EmailBouncedDate"])
    one, two, _ = contacts(1, 2, 3)
    meeting.org.control("people", {"person": one, "what": "unsubscribe"})
    edit(meeting, two, EmailBouncedDate="2026-11-21T11:00:00Z")
    meeting.send_everything()
    mails = {(heard.who.record, heard.kind) for heard in meeting.heard() if isinstance(heard, MailEvent)}
    assert mails == {(f"salesforce:{one}", "unsubscribe"), (f"salesforce:{two}", "bounce")}
    assert {status for status, _ in meeting.way.carried} == {"200 OK"}


def test_what_we_wrote_ourselves_is_no_news(meeting):
    meeting.listen()
    record = {"attributes": {"type": "Contact"}, "id": contacts(1)[0], "Title": "Ours"}
    assert meeting.org.patch("/composite/sobjects", {"records": [record]}).json()[0]["success"]
    meeting.send_everything()
    assert [status for status, _ in meeting.way.carried] == ["200 OK"] and meeting.rows() == []


@pytest.mark.parametrize("weather", [[GOOD], [DOWN, DEAF, DEAF, GOOD], [DEAF, DOWN]])
def test_twice_in_no_order_and_after_failures_everything_is_kept_once(journal_url, weather):
    with met(journal_url) as meeting:
        meeting.way.weather = itertools.cycle(weather)
        meeting.listen(watches=["HasOptedOutOfEmail"], duplicates=0.5, disorder_seconds=600)
        people = [person for number, person in enumerate(contacts(*range(1, 41)), 1) if number % 9]
        for person in people:
            meeting.org.control("people", {"person": person, "what": "unsubscribe"})
        meeting.send_everything()
        rows = meeting.rows()
        assert Counter(row.payload["record"] for row in rows) == Counter(people)
        assert len({row.key for row in rows}) == len(rows)
        assert {mail.who.record for mail in meeting.heard() if isinstance(mail, MailEvent)} == {
            f"salesforce:{person}" for person in people
        }


def test_a_message_to_another_address_lets_nothing_in_and_comes_again(meeting):
    meeting.listen(token="guessed")
    edit(meeting, contacts(1)[0], Title="Chief")
    meeting.org.sandbox.sending.send_due()
    assert meeting.rows() == [] and not any(status == "200 OK" for status, _ in meeting.way.carried)
    assert len(meeting.org.sandbox.outbound.waiting) == 1
    meeting.listen()
    meeting.send_everything()
    assert [row.payload["record"] for row in meeting.rows()] == contacts(1)


# --- flows that ask us --------------------------------------------------------------------------------------------


def decide(meeting, *people):
    """Contacts we know, who are in the program."""
    known = {f"salesforce:{person}" for person in people}
    meeting.found.update(known)
    document = {
        "segments": ["dormant_60"],
        "blocked": None,
        "program": {"name": "win-back", "entered_as": "dormant_60", "step": "hello", "offer": None},
    }
    meeting.site.journal.decisions.publish(date(2026, 11, 21), dict.fromkeys(known, document))


def ask(meeting, *people):
    for person in people:
        edit(meeting, person, Title="Ask")
    meeting.org.sandbox.sending.send_due()


def interviews(meeting):
    return meeting.org.control("interviews?flow=Ask", method="GET")["interviews"]


def test_a_flow_stores_and_branches_on_what_we_answer(meeting):
    one, two = contacts(1, 2)
    decide(meeting, one)
    meeting.asks()
    ask(meeting, one, two)
    assert meeting.org.row(one)["Winback_Step__c"] == "hello"
    assert [mail.contact_id for mail in meeting.org.sandbox.mails()] == [one]
    told = {json.loads(body)["decision"] for status, body in meeting.way.carried if status == "200 OK"}
    assert told == {"in_program", "unknown_contact"}
    assert {held["ended_as"] for held in interviews(meeting)} == {"completed"} and meeting.rows() == []


def test_a_flow_that_is_let_down_ends_in_a_fault(meeting):
    decide(meeting, contacts(1)[0])
    meeting.asks()
    meeting.way.weather = itertools.repeat(DOWN)
    ask(meeting, contacts(1)[0])
    (held,) = interviews(meeting)
    assert held["ended_as"] == "faulted" and "502" in held["fault"] and meeting.org.sandbox.mails() == []


def test_a_secret_we_do_not_know_is_refused(meeting):
    decide(meeting, contacts(1)[0])
    meeting.asks()
    meeting.org.control("credential", {"secret": "another-secret-altogether"})
    ask(meeting, contacts(1)[0])
    assert [status[:3] for status, _ in meeting.way.carried] == ["401"]
    assert interviews(meeting)[0]["ended_as"] == "faulted"


def test_what_a_flow_asks_for_is_kept(meeting):
    decide(meeting, contacts(1)[0])
    meeting.asks("exit")
    ask(meeting, contacts(1)[0])
    assert [row.kind for row in meeting.rows()] == ["call.exit"]
    assert interviews(meeting)[0]["answers"]["decision"] == "accepted"

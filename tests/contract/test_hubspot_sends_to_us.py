"""HubSpot's look-alike sends to our application over HTTP: signed as HubSpot signs, twice, in no order, and again."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from hubspot.utils.signature import Signature
from werkzeug.serving import WSGIRequestHandler, make_server

from adapters.hubspot.sandbox import start
from connector.contracts import SandboxOptions
from connector.errors import TooBusy
from connector.heard import MailEvent, RecordGone
from connector.receivers import Event
from tests.fakes.databases import on_both, sqlite_url  # noqa: F401 - the fixture `journal_url`
from tests.fakes.hubspot_worlds import START, people
from tests.fakes.web import Web, web
from tests.unit.test_hubspot_sandbox_outgoing import SECRET, api, asking, control, enter, listen, mailed
from webhooks import hubspot
from webhooks.service import Listening

PORTAL, OUR_APP = 42424242, 77
OPTIONS = hubspot.HubSpotOptions(client_secret=SECRET, portal_id=PORTAL, app_id=OUR_APP)
EVENTS = ("contact.creation", "contact.deletion", "contact.privacyDeletion", "contact.merge", "contact.restore")
GOOD, DOWN, DEAF = "good", "down", "deaf"
"""What the way between the two does: carries, refuses, or carries and loses the answer."""


class SandboxClock:
    """The sandbox's time, so that what is signed there is fresh here."""

    def __init__(self, sandbox: Any) -> None:
        self._clock = sandbox.state.clock

    def now(self):
        return self._clock.now()

    def monotonic(self) -> float:
        return float(self._clock.now().timestamp())

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing waits in a request")


class Way:
    """What lies between HubSpot and us; `weather` says what it does to each request in turn."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app
        self.weather: Iterator[str] = itertools.repeat(GOOD)
        self.carried: list[tuple[str, bytes]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        mood = next(self.weather)
        if mood == DOWN:
            start_response("502 Bad Gateway", [("Content-Length", "0")])
            return []
        told: list[Any] = []
        body = b"".join(self._app(environ, lambda *given: told.append(given)))
        self.carried.append((told[0][0], body))
        if mood == DEAF:
            start_response("504 Gateway Timeout", [("Content-Length", "0")])
            return []
        start_response(*told[0])
        return [body]


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        pass


@dataclass
class Meeting:
    """The sandbox, our application, and the way between them."""

    sandbox: Any
    site: Web
    way: Way
    url: str
    found: set[str] = field(default_factory=set)

    def at(self, path: str) -> SimpleNamespace:
        """An address of ours, as the sandbox's tests name theirs."""
        return SimpleNamespace(url=self.url + path)

    def listen(self, *properties: str, **more: Any) -> None:
        listen(self.sandbox, self.at("/webhooks/hubspot"), *EVENTS, properties=properties, app_id=OUR_APP, **more)

    def send_everything(self) -> None:
        """Until HubSpot has nothing left to send, whatever came between."""
        for _ in range(200):
            self.sandbox.outgoing.send_due()
            if not control(self.sandbox, "GET", "webhooks")["waiting"]:
                return
            self.sandbox.state.clock.advance(600)
        raise AssertionError("it never came to an end")

    def rows(self) -> list[Any]:
        return list(self.site.journal.inbox.recent(10_000))

    def heard(self) -> list[Any]:
        """What all of it means, in no order."""
        events = [Event(key=row.key, kind=row.kind, payload=row.payload, at=row.at) for row in self.rows()]
        return [one for event in events for one in hubspot.RECEIVER.understand(OPTIONS, event)]


@contextmanager
def met(journal_url: str) -> Iterator[Meeting]:
    """The two of them, over a journal."""
    sandbox = start(SandboxOptions(limits=False))
    sandbox.state.clock.freeze(START)
    sandbox.seed(people(250), [])
    found: set[str] = set()
    server = make_server("127.0.0.1", 0, app=None, threaded=True, request_handler=_Quiet)
    url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    with web(
        journal_url,
        {"hubspot": Listening(hubspot.RECEIVER, OPTIONS)},
        clock=SandboxClock(sandbox),
        public_base_url=url,
        find=lambda who: who.record if who.record in found else None,
    ) as site:
        server.app = way = Way(site.app)
        thread.start()
        try:
            yield Meeting(sandbox, site, way, url, found)
        finally:
            sandbox.stop()
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture
def meeting(tmp_path):
    with met(sqlite_url(tmp_path)) as meeting:
        yield meeting


# --- what happens to contacts -------------------------------------------------------------------------------------


def test_what_happens_to_contacts_is_kept_once_and_means_what_it_is(meeting):
    meeting.listen("hs_email_optout", "role")
    sandbox = meeting.sandbox
    control(sandbox, "POST", "contacts/edit", id="7", properties={"firstname": "Ada"})
    control(sandbox, "POST", "people", contact="7", what="unsubscribe")
    control(sandbox, "POST", "contacts/delete", ids=["3"])
    control(sandbox, "POST", "contacts/delete", ids=["4"], for_good=True)
    control(sandbox, "POST", "contacts/merge", primary="5", other="6")
    meeting.send_everything()
    assert Counter(row.kind for row in meeting.rows()) == {
        "contact.propertyChange": 1,
        "contact.deletion": 2,
        "contact.privacyDeletion": 1,
        "contact.merge": 1,
    }
    heard = meeting.heard()
    (mail,) = [one for one in heard if isinstance(one, MailEvent)]
    assert (mail.who.record, mail.kind, mail.at) == ("hubspot:7", "unsubscribe", START)
    gone = {(one.who.record, one.how, one.into) for one in heard if isinstance(one, RecordGone)}
    assert gone == {
        ("hubspot:3", "deleted", None),
        ("hubspot:4", "deleted", None),
        ("hubspot:4", "erased", None),
        ("hubspot:6", "merged", "hubspot:5"),
    }
    assert len(heard) == 5
    assert meeting.site.counted("hubspot", "bad_signature") == 0


def test_what_we_wrote_ourselves_is_no_news(meeting):
    meeting.listen("role")
    assert api(meeting.sandbox, "PATCH", "/crm/v3/objects/contacts/7", {"properties": {"role": "ceo"}}).ok
    meeting.send_everything()
    assert meeting.way.carried == [("200 OK", b"")]
    assert meeting.rows() == []


@pytest.mark.parametrize("weather", [[GOOD], [DOWN, DEAF, DEAF, GOOD], [DEAF, DOWN]])
def test_twice_in_no_order_and_after_failures_everything_is_kept_once(journal_url, weather):
    """A way that never lets an answer through ends HubSpot's patience; what it carried is kept all the same."""
    with met(journal_url) as meeting:
        bad_weather(meeting, weather)


def bad_weather(meeting, weather):
    meeting.listen("hs_email_optout", "role", duplicates=0.5, disorder_seconds=900)
    meeting.way.weather = itertools.cycle(weather)
    sandbox = meeting.sandbox
    for number in range(20, 50):
        control(sandbox, "POST", "contacts/edit", id=str(number), properties={"role": "ceo"})
        control(sandbox, "POST", "people", contact=str(number), what="unsubscribe")
        if number % 5 == 0:
            sandbox.state.clock.advance(60)
    control(sandbox, "POST", "contacts/delete", ids=[str(number) for number in range(60, 80)])
    meeting.send_everything()
    rows = meeting.rows()
    opted_out = {number for number in range(20, 50) if number % 9}
    """Every ninth had opted out before: HubSpot tells of no change where there is none."""
    told = Counter((row.kind, row.payload.get("propertyName"), row.payload["objectId"]) for row in rows)
    expected = Counter(
        [("contact.propertyChange", "role", number) for number in range(20, 50)]
        + [("contact.propertyChange", "hs_email_optout", number) for number in opted_out]
        + [("contact.deletion", None, number) for number in range(60, 80)]
    )
    assert told == expected
    assert {status for status, _ in meeting.way.carried} == {"200 OK"}
    assert len({row.payload["eventId"] for row in rows}) == len(rows)
    unsubscribed = {one.who.record for one in meeting.heard() if isinstance(one, MailEvent)}
    assert unsubscribed == {f"hubspot:{number}" for number in opted_out}


def test_a_secret_hubspot_does_not_know_lets_nothing_in(meeting):
    meeting.listen("role")
    control(meeting.sandbox, "POST", "webhooks", client_secret="another-secret-altogether")
    control(meeting.sandbox, "POST", "contacts/edit", id="7", properties={"role": "ceo"})
    meeting.sandbox.outgoing.send_due()
    assert {status for status, _ in meeting.way.carried} == {"401 Unauthorized"}
    assert meeting.rows() == []
    # Once it is the right one, HubSpot's next try is taken.
    control(meeting.sandbox, "POST", "webhooks", client_secret=SECRET)
    meeting.send_everything()
    assert [row.kind for row in meeting.rows()] == ["contact.propertyChange"]


# --- workflows ----------------------------------------------------------------------------------------------------


def decide(meeting: Meeting, *known: str) -> None:
    """Contacts we know, who are in the program."""
    meeting.found.update(known)
    document = {
        "segments": ["dormant_60"],
        "blocked": None,
        "program": {"name": "win-back", "entered_as": "dormant_60", "step": "hello", "offer": None},
    }
    meeting.site.journal.decisions.publish(date(2026, 11, 21), dict.fromkeys(known, document))


def branching(meeting: Meeting, action: str = "evaluate", word: str = "in_program") -> str:
    """A workflow that asks us, then mails those of whom we say that word; its id."""
    flow = asking(meeting.sandbox, meeting.at(f"/triggers/hubspot/{action}"))
    with meeting.sandbox.state.lock:
        made = meeting.sandbox.state.workflows.flows.flows[flow]
        made.body["actions"][1]["staticBranches"][0]["branchValue"] = word
    return flow


def outputs(meeting: Meeting) -> list[dict[str, str]]:
    return [json.loads(body)["outputFields"] for status, body in meeting.way.carried if status == "200 OK"]


def test_a_workflow_branches_on_what_we_answer(meeting):
    decide(meeting, "hubspot:7")
    flow = branching(meeting)
    enter(meeting.sandbox, flow, "7", "8")
    told = {fields["decision"]: fields for fields in outputs(meeting)}
    assert told["in_program"] == {
        "segment": "dormant_60",
        "step": "hello",
        "reason": "",
        "offer": "",
        "decision": "in_program",
        "hs_execution_state": "SUCCESS",
    }
    assert set(told) == {"in_program", "unknown_contact"}
    assert mailed(meeting.sandbox) == {"7"}
    assert meeting.rows() == []


def test_a_workflow_that_did_not_hear_the_answer_hears_the_same_one_later(meeting):
    decide(meeting, "hubspot:7")
    flow = branching(meeting)
    meeting.way.weather = iter([DEAF, GOOD])
    enter(meeting.sandbox, flow, "7")
    assert mailed(meeting.sandbox) == set()
    meeting.site.journal.decisions.publish(date(2026, 11, 22), {})
    meeting.sandbox.advance(3_600)
    meeting.sandbox.outgoing.send_due()
    first, again = outputs(meeting)
    assert first == again
    assert first["decision"] == "in_program"
    assert mailed(meeting.sandbox) == {"7"}


def test_what_a_workflow_asks_for_is_kept_once_however_often_it_asks(meeting):
    decide(meeting, "hubspot:7")
    flow = branching(meeting, "exit", "accepted")
    meeting.way.weather = iter([DEAF, DEAF, GOOD])
    enter(meeting.sandbox, flow, "7")
    for _ in range(2):
        meeting.sandbox.advance(3_600)
        meeting.sandbox.outgoing.send_due()
    assert [row.kind for row in meeting.rows()] == ["call.exit"]
    assert mailed(meeting.sandbox) == {"7"}


def test_a_workflow_that_is_to_come_again_in_seconds_does(meeting, monkeypatch):
    """HubSpot reads the pause in milliseconds: told `9` it would be back at once."""
    decide(meeting, "hubspot:7")
    flow = branching(meeting, "exit", "accepted")

    def full(_events):
        raise TooBusy("full", retry_after_seconds=9)

    with monkeypatch.context() as busy:
        busy.setattr(meeting.site.service.intake, "keep", full)
        enter(meeting.sandbox, flow, "7")
    for waited, statuses in ((8, ["429"]), (2, ["429", "200"])):
        meeting.sandbox.advance(waited)
        meeting.sandbox.outgoing.send_due()
        assert [status[:3] for status, _ in meeting.way.carried] == statuses
    assert mailed(meeting.sandbox) == {"7"}


# --- HubSpot's own code -------------------------------------------------------------------------------------------


def signed_by_hubspot(meeting: Meeting, path: str, body: str, *, version: str, secret: str = SECRET) -> dict[str, str]:
    """The headers that HubSpot's own client makes for a POST of this body."""
    at = str(int(meeting.site.clock.now().timestamp() * 1_000))
    signature = Signature.get_signature(secret, body, version, meeting.url + path, "POST", at)
    if version == "v3":
        return {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": at}
    return {"X-HubSpot-Signature": signature, "X-HubSpot-Signature-Version": version}


def change(**more: Any) -> str:
    event = {
        "eventId": 1, "subscriptionId": 1, "portalId": PORTAL, "appId": OUR_APP, "attemptNumber": 0, "objectId": 7,
        "occurredAt": int(START.timestamp() * 1_000), "subscriptionType": "contact.propertyChange",
        "changeSource": "CRM_UI", "propertyName": "firstname", "propertyValue": "Zoë ☕",
    }  # fmt: skip
    return json.dumps([event | more], ensure_ascii=False)


def post(meeting: Meeting, path: str, body: str, headers: dict[str, str]) -> int:
    given = {"Content-Type": "application/json", **headers}
    return requests.post(meeting.url + path, data=body.encode(), headers=given, timeout=10).status_code


@pytest.mark.parametrize("path", ["/webhooks/hubspot", "/webhooks/hubspot?from=app&n=1"])
def test_what_hubspots_own_client_signs_is_taken(meeting, path):
    headers = signed_by_hubspot(meeting, path, change(), version="v3")
    assert post(meeting, path, change(), headers) == 200
    (row,) = meeting.rows()
    assert row.payload["propertyValue"] == "Zoë ☕"


def test_a_call_that_hubspots_own_client_signs_is_answered_in_both_versions(meeting):
    path = "/triggers/hubspot/evaluate"
    body = hubspot.RECEIVER.triggers.sample(OPTIONS, "evaluate", meeting.site.clock.now()).decode()
    for version in ("v2", "v3"):
        assert post(meeting, path, body, signed_by_hubspot(meeting, path, body, version=version)) == 200


def test_what_was_changed_after_hubspots_own_client_signed_it_is_refused(meeting):
    path = "/webhooks/hubspot"
    good = signed_by_hubspot(meeting, path, change(), version="v3")
    stamp = good["X-HubSpot-Request-Timestamp"]
    tricks = {
        "another body": (path, change(objectId=8), good),
        "another address": (f"{path}?x=1", change(), good),
        "another moment": (path, change(), good | {"X-HubSpot-Request-Timestamp": str(int(stamp) + 1)}),
        "another secret": (path, change(), signed_by_hubspot(meeting, path, change(), version="v3", secret="x" * 30)),
        "an older version": (path, change(), signed_by_hubspot(meeting, path, change(), version="v2")),
        "the oldest version": (path, change(), signed_by_hubspot(meeting, path, change(), version="v1")),
        "no signature": (path, change(), {"X-HubSpot-Request-Timestamp": stamp}),
    }
    assert {name: post(meeting, *sent) for name, sent in tricks.items()} == dict.fromkeys(tricks, 401)
    meeting.sandbox.state.clock.advance(301)
    assert post(meeting, path, change(), good) == 401
    assert meeting.rows() == []

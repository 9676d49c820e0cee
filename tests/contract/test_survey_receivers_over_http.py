"""Survey tools at our door: what they post is kept before they are answered, and understood out of the inbox."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from connector.heard import Answered, ToFetch, Who
from connector.receivers import Event
from tests.contract.receiver_suite import ReceiverSuite, ReceiverWorld
from tests.fakes.databases import sqlite_url
from tests.fakes.incoming import BASE_URL, NOW
from tests.fakes.survey_vendors import TOKEN, fixture
from tests.fakes.web import web
from webhooks import surveymonkey, typeform, zigpoll
from webhooks.service import Listening

PATH = "0123456789abcdef0123456789abcdef"
SOURCES = {
    "typeform": Listening(typeform.RECEIVER, typeform.TypeformOptions(secret="s")),
    "surveymonkey": Listening(
        surveymonkey.RECEIVER, surveymonkey.SurveyMonkeyOptions(client_id="c", client_secret="s")
    ),
    "zigpoll": Listening(zigpoll.RECEIVER, zigpoll.ZigpollOptions(token=PATH)),
}
NAMES = sorted(SOURCES)


def bodies(system: str, *names: str) -> dict[str, bytes]:
    return {name: json.dumps(fixture(system, name), ensure_ascii=False).encode() for name in names}


class TestZigpollReceiverWithAnApiKeyAndAHeader(ReceiverSuite):
    world = ReceiverWorld(
        zigpoll.RECEIVER,
        zigpoll.ZigpollOptions(token=PATH, secret="0123456789abcdef", api_key="k"),
        bodies("zigpoll", "survey_completed", "poll_only"),
        unwanted={"test": b'{"event":"test"}'},
        token=PATH,
        signed=False,
    )


@pytest.fixture
def site(tmp_path):
    with web(sqlite_url(tmp_path), SOURCES) as site:
        yield site


def address(name: str) -> str:
    return f"/webhooks/{name}" + (f"/{PATH}" if SOURCES[name].receiver.needs_token else "")


def post(site, name: str, body: bytes, **headers: str):
    listening = SOURCES[name]
    url = BASE_URL + address(name)
    signed = listening.receiver.sign(listening.options, "POST", url, body, NOW)
    given = {"Content-Type": listening.receiver.content_type, **signed, **headers}
    return site.client().post(address(name), data=body, headers=given)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_kept_once_however_often_it_comes(site, name):
    body = SOURCES[name].receiver.sample(SOURCES[name].options, TOKEN, NOW)
    assert [post(site, name, body).status_code for _ in range(3)] == [200] * 3
    (row,) = site.journal.inbox.recent()
    assert row.source == name
    event = Event(key=row.key, kind=row.kind, payload=row.payload, at=row.at)
    (heard,) = SOURCES[name].receiver.understand(SOURCES[name].options, event)
    assert heard.at == NOW
    if name == "surveymonkey":
        assert isinstance(heard, ToFetch)
    else:
        assert isinstance(heard, Answered) and heard.who == Who(token=TOKEN)


UNWANTED = {
    "typeform": [{"event_type": "form_closed"}, fixture("typeform", "preview")],
    "surveymonkey": [fixture("surveymonkey", "response_created"), fixture("surveymonkey", "collector_updated")],
    "zigpoll": [{"event": "test"}, {"pollId": "p1"}],
}
UNREADABLE = [b"", b"{", b"[]", b'{"a":1,"a":2}', b'{"event_type":null,"pollId":{}}', b"<xml/>"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_wanted_is_acknowledged_lest_the_hook_be_switched_off(site, name):
    assert [post(site, name, json.dumps(body).encode()).status_code for body in UNWANTED[name]] == [200, 200]
    assert site.counted(name, "ignored") == 2
    assert site.journal.inbox.depth() == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_body_that_cannot_be_read_is_refused_and_never_an_error_of_ours(site, name):
    assert [post(site, name, body).status_code for body in UNREADABLE] == [400] * len(UNREADABLE)
    assert site.journal.inbox.depth() == 0


def test_a_form_is_taken_from_zigpoll(site):
    body = urlencode({"payload": json.dumps(fixture("zigpoll", "survey_completed"))}).encode()
    assert post(site, "zigpoll", body, **{"Content-Type": "application/x-www-form-urlencoded"}).status_code == 200
    assert site.journal.inbox.depth() == 1

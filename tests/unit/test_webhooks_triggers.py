"""What a CRM's workflow is answered: what was decided, always the same, and never who is held out."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta

import pytest

from connector.errors import MalformedPayload, TooBusy
from connector.heard import Asked, Who
from connector.journal.feedback import Answer
from connector.journal.replies import Stored
from connector.live.called import asked, event_of, is_call
from connector.receivers import Call, Event
from tests.fakes.databases import on_both, sqlite_url  # noqa: F401 - the fixture `journal_url`
from tests.fakes.incoming import NOW
from tests.fakes.web import SECRET, TINY, TinyOptions, web
from webhooks.service import Listening

KNOWN = "hubspot:1"

IN_PROGRAM = {
    "segments": ["dormant_60", "high_value_dormant"],
    "blocked": None,
    "program": {"name": "win-back", "entered_as": "high_value_dormant", "step": "offer", "offer": "discount"},
}
HELD_OUT = {**IN_PROGRAM, "program": {**IN_PROGRAM["program"], "step": None, "offer": None}}
IN_SEGMENT = {"segments": ["dormant_60"], "blocked": None, "program": None}
EXCLUDED = {"segments": ["dormant_60"], "blocked": "no_consent", "program": None}


def find(who):
    return KNOWN if who.record == "tiny:1" else None


def body(call_id="c1", **inputs):
    callback = inputs.pop("callback", "cb-1")
    record = inputs.pop("record", "tiny:1")
    return json.dumps({"id": call_id, "record": record, "inputs": inputs, "callback": callback}).encode()


@pytest.fixture
def site(tmp_path):
    with web(sqlite_url(tmp_path), find=find) as site:
        yield site


def fields(answer):
    assert answer.status_code == 200, answer.text
    return answer.json["fields"]


def decide(site, document):
    site.journal.decisions.publish(date(2026, 11, 1), {KNOWN: document})


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (IN_PROGRAM, ("high_value_dormant", "offer", "discount", "in_program")),
        (HELD_OUT, ("high_value_dormant", "", "", "in_program")),
        (IN_SEGMENT, ("dormant_60", "", "", "in_segment")),
        (EXCLUDED, ("dormant_60", "", "", "excluded")),
        ({"segments": [], "blocked": None, "program": None}, ("", "", "", "none")),
        (None, ("", "", "", "none")),
    ],
)
def test_evaluate_says_what_was_decided(site, document, told):
    if document is not None:
        decide(site, document)
    segment, step, offer, decision = told
    assert fields(site.post("/triggers/tiny/evaluate", body())) == {
        "segment": segment, "step": step, "reason": "", "offer": offer, "decision": decision,
    }  # fmt: skip


def test_somebody_held_out_looks_like_somebody_before_their_first_step(site):
    waiting = {**IN_PROGRAM, "program": {**IN_PROGRAM["program"], "step": None, "offer": None}}
    answers = []
    for number, document in enumerate((HELD_OUT, waiting)):
        decide(site, document)
        answers.append(fields(site.post("/triggers/tiny/evaluate", body(f"c{number}"))))
    assert answers[0] == answers[1]
    assert "holdout" not in json.dumps(answers) and "arm" not in json.dumps(answers)


def test_evaluate_says_the_last_reason_that_was_given(site):
    decide(site, IN_PROGRAM)
    site.journal.feedback.record(
        [
            Answer(
                answer_key=f"a{days}", contact_id=KNOWN, at=NOW - timedelta(days=days), source="typeform", reason=reason
            )
            for days, reason in ((9, "price"), (2, "missing_feature"), (1, None))
        ]
    )
    assert fields(site.post("/triggers/tiny/evaluate", body()))["reason"] == "missing_feature"


def test_somebody_whom_nobody_knows_is_told_apart(site):
    told = fields(site.post("/triggers/tiny/evaluate", body(record="tiny:2")))
    assert told == {"segment": "", "step": "", "reason": "", "offer": "", "decision": "unknown_contact"}


def test_the_second_call_gets_the_first_ones_answer_word_for_word(journal_url):
    with web(journal_url, find=find) as site:
        decide(site, IN_SEGMENT)
        first = site.post("/triggers/tiny/evaluate", body())
        decide(site, IN_PROGRAM)
        again = site.post("/triggers/tiny/evaluate", body())
        assert (again.data, again.status_code, again.content_type) == (first.data, 200, first.content_type)
        assert fields(site.post("/triggers/tiny/evaluate", body("c2")))["decision"] == "in_program"


def test_calls_at_once_have_one_effect_and_one_answer(journal_url):
    with web(journal_url, find=find) as site, ThreadPoolExecutor(8) as pool:
        barrier = threading.Barrier(8)

        def call(_):
            barrier.wait()
            answer = site.post("/triggers/tiny/snooze", body(days="30"))
            return answer.status_code, answer.data

        assert len(set(pool.map(call, range(8)))) == 1
        assert site.journal.inbox.depth() == 1


def test_a_crash_between_effect_and_answer_leaves_one_effect_and_one_answer(site, monkeypatch):
    replies = site.journal.replies
    put = replies.put

    def dies(_reply):
        raise RuntimeError("gone")

    monkeypatch.setattr(replies, "put", dies)
    assert site.post("/triggers/tiny/exit", body()).status_code == 500
    monkeypatch.setattr(replies, "put", put)
    assert fields(site.post("/triggers/tiny/exit", body())) == {"decision": "accepted"}
    assert site.journal.inbox.depth() == 1


@pytest.mark.parametrize("action", ["enroll", "exit", "snooze"])
def test_what_is_asked_for_is_kept_and_answered_at_once(site, action):
    assert fields(site.post(f"/triggers/tiny/{action}", body(program="win-back", days="30"))) == {
        "decision": "accepted"
    }
    (row,) = site.journal.inbox.recent()
    assert row.kind == f"call.{action}" and is_call(row.kind)
    kept = Event(key=row.key, kind=row.kind, payload=row.payload, at=row.at)
    assert asked("tiny", kept, row.received_at) == Asked(
        who=Who(record="tiny:1"),
        at=NOW,
        action=action,
        key="call.c1",
        source="tiny",
        program="win-back",
        lasts=timedelta(days=30),
        evidence={"by": "a workflow of tiny"},
    )
    assert site.woken == [1]


def test_a_workflow_waits_only_where_its_author_asked_for_it(site):
    def waits(call_id, action="enroll", **inputs):
        answer = site.post(f"/triggers/tiny/{action}", body(call_id, **inputs))
        return answer.json["waits"], site.journal.inbox.recent(1)[0].payload["callback"]

    assert waits("1") == (None, None)
    assert waits("2", wait="no") == (None, None)
    assert waits("3", wait="true") == (timedelta(days=7).total_seconds(), "cb-1")
    assert waits("4", wait="true", callback=None) == (None, None)
    assert waits("5", action="exit", wait="true") == (None, None)
    assert waits("6", wait="true", record="tiny:2") == (None, None)


def test_no_address_is_kept_with_a_call():
    call = Call(key="c", action="enroll", who=Who(record="hubspot:1", email="ada@example.org"))
    assert "ada" not in json.dumps(event_of(call, NOW, waits=False).payload)


@pytest.mark.parametrize("days", ["0", "-1", "x", "1.5", "3651", "9" * 40, "٣"])
def test_a_number_of_days_that_is_none_is_the_authors_fault(site, days):
    assert site.post("/triggers/tiny/snooze", body(days=days)).status_code == 400
    assert site.journal.inbox.depth() == 0
    with pytest.raises(MalformedPayload):
        event_of(Call(key="c", action="snooze", who=Who(), inputs={"days": days}), NOW, waits=False)


def test_who_is_not_listed_or_not_believed_learns_nothing(tmp_path):
    deaf = Listening(replace(TINY, triggers=None), TinyOptions(secret="s"))
    poor = Listening(TINY, TinyOptions())
    with web(
        sqlite_url(tmp_path), {"deaf": deaf, "poor": poor, "tiny": Listening(TINY, TinyOptions(secret="s"))}
    ) as site:
        assert site.post("/triggers/deaf/evaluate", body()).status_code == 403
        assert site.post("/triggers/nobody/evaluate", body()).status_code == 403
        assert site.post("/triggers/poor/evaluate", body()).status_code == 403
        assert site.post("/triggers/tiny/evaluate", body(), signed_as="another").status_code == 401
        assert site.post("/triggers/tiny/dance", body(), signed_as="s").status_code == 400
        assert site.post("/triggers/tiny/evaluate", b'{"id":"1","id":"2"}', signed_as="s").status_code == 400
        assert site.client().get("/triggers/tiny/evaluate").status_code == 405


@pytest.mark.parametrize(("unit", "told"), [(timedelta(seconds=1), "9"), (timedelta(milliseconds=1), "9000")])
def test_a_call_that_comes_when_too_much_waits_is_to_come_again(tmp_path, unit, told):
    """Each CRM is told when in what it counts in."""
    counting = replace(TINY, triggers=replace(TINY.triggers, retry_after_unit=unit))

    class Full:
        def keep(self, _events):
            raise TooBusy("full", retry_after_seconds=9)

    sources = {"tiny": Listening(counting, TinyOptions(secret=SECRET))}
    with web(sqlite_url(tmp_path), sources, find=find, intake=Full()) as site:
        answer = site.post("/triggers/tiny/enroll", body())
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, told)
        assert site.journal.replies.get("tiny", "c1") is None


def test_an_answer_given_before_is_found_again_whatever_it_was(site):
    stored = Stored(source="tiny", key="c1", status=200, body=b"as it was", content_type="text/x-own")
    site.journal.replies.put(stored)
    answer = site.post("/triggers/tiny/evaluate", body())
    assert (answer.data, answer.content_type) == (b"as it was", "text/x-own")

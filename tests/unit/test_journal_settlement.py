"""Settling: everything that follows from an event in one commit, or nothing of it; and never twice."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from connector.errors import StateError
from connector.journal import Answer, Ask, Settlement, Stop, Stored
from connector.program.model import ConsentEvent, Exit, Status
from tests.fakes.clocks import START
from tests.fakes.episodes import enter, episode_of, leave, step_of, take
from tests.fakes.inboxes import (  # noqa: F401 - fixtures
    DAY,
    claim,
    each_database,
    event,
    everything,
    intent,
    keep,
    keys,
    live_clock,
    live_journal,
    live_real_clock,
    relayed,
    settle,
    used,
)


@pytest.fixture
def row(journal):
    """An event a worker has taken."""
    keep(journal, event("a"))
    return claim(journal)[0]


def withdrawn(key="settlement/a", contact_id="hubspot:1"):
    return ConsentEvent(subject=contact_id, status=Status.WITHDRAWN, captured_at=START, source="link", event_key=key)


def test_everything_that_follows_is_there_at_once(journal, row):
    begun = episode_of()
    enter(journal, begun)
    assert settle(
        journal,
        row,
        consent=[withdrawn("there/a", "hubspot:there")],
        answers=[Answer(answer_key="a", contact_id="hubspot:1", at=START, source="typeform", reason="price")],
        facts=[used("a")],
        exits=[Exit(begun.episode_id, "hubspot:1", "unsubscribed", START, answered=True)],
        stops=[Stop("hubspot:1", "unsubscribed", START)],
        asks=[Ask(key="a", contact_id="hubspot:1", at=START, source="hubspot")],
        intents=[intent("a", "opt_out", urgent=True)],
    )
    assert journal.consent.state("hubspot:there").opted_out_at == START
    assert journal.feedback.reasons() == {"price": 1}
    assert keys(journal.facts.of("hubspot:1")) == ["a"]
    ended = journal.episodes.get(begun.episode_id)
    assert (ended.exit_reason, ended.exited_at, ended.answered) == ("unsubscribed", START, True)
    assert journal.stops.of(["hubspot:1"]) == {"hubspot:1": ("unsubscribed", START)}
    assert keys(journal.asks.open()) == ["a"]
    assert keys(relayed(journal)) == ["a"]
    (kept,) = journal.inbox.recent()
    assert (kept.state, kept.effect, kept.contact_id, kept.done_at) == ("done", "came back", "hubspot:1", START)
    assert claim(journal) == []


def test_an_event_is_settled_once(journal, row):
    assert settle(journal, row, **everything("a"))
    assert not settle(journal, row, effect="again", **everything("b"))
    assert keys(journal.facts.of("hubspot:1")) == ["a/fact"]
    assert journal.outbox.depth() == 1
    assert journal.inbox.get(row.number).effect == "came back"


def test_an_event_nobody_has_is_not_settled(journal):
    assert not settle(journal, 999_999_999, **everything())
    assert journal.facts.newest() == 0


def test_an_event_that_means_nothing_is_ignored(journal, row):
    assert settle(journal, row, state="ignored", effect="unknown form", contact_id=None)
    assert journal.inbox.counts() == {"typeform": {"ignored": 1}}


def test_an_event_that_was_set_aside_is_not_settled_behind_somebodys_back(journal, row):
    journal.inbox.set_aside(row.number, "poison")
    assert not settle(journal, row, **everything())
    assert journal.inbox.get(row.number).state == "set_aside"


def test_what_fails_leaves_nothing_behind(journal, row):
    poisoned = everything() | {"intents": [intent("x", "no such kind")]}
    with pytest.raises(ValueError, match="no such kind"):
        settle(journal, row, **poisoned)
    assert (journal.facts.newest(), journal.stops.of(["hubspot:1"]), journal.outbox.depth()) == (0, {}, 0)
    assert journal.inbox.get(row.number).state == "waiting"


def test_replaying_does_everything_once(journal, row):
    begun = episode_of()
    enter(journal, begun)
    what = everything() | {
        "exits": [Exit(begun.episode_id, "hubspot:1", "reactivated", START)],
        "asks": [Ask(key="a", contact_id="hubspot:1", at=START, source="hubspot")],
        "answers": [Answer(answer_key="a", contact_id="hubspot:1", at=START, source="typeform")],
    }
    settle(journal, row, **what)
    journal.outbox.done([one.number for one in relayed(journal)], run_id="run-1")
    for _ in range(2):
        assert journal.inbox.replay() == 1
        assert settle(journal, claim(journal)[0], **what)
    assert len(journal.facts.of("hubspot:1")) == len(journal.feedback.of("hubspot:1")) == len(journal.asks.open()) == 1
    assert [one.state for one in journal.outbox.recent()] == ["done"]


# --- exits --------------------------------------------------------------------------------------------------------


def test_an_exit_does_not_make_a_plan_stale(journal, row):
    begun = episode_of()
    enter(journal, begun)
    before = journal.episodes.version()
    settle(journal, row, exits=[Exit(begun.episode_id, "hubspot:1", "reactivated", START)])
    assert journal.episodes.version() == before
    # The plan's step is not taken all the same.
    assert take(journal, step_of(begun)) == (begun.episode_id,)


def test_an_episode_that_has_ended_keeps_its_first_reason(journal, row):
    begun = episode_of()
    enter(journal, begun)
    leave(journal, begun, "replied", at=START - DAY)
    settle(journal, row, exits=[Exit(begun.episode_id, "hubspot:1", "unsubscribed", START)])
    assert journal.episodes.get(begun.episode_id).exit_reason == "replied"


def test_undoing_a_run_does_not_bring_back_who_left_by_themselves(journal, row):
    begun = episode_of()
    enter(journal, begun, run="run-1")
    settle(journal, row, exits=[Exit(begun.episode_id, "hubspot:1", "reactivated", START)])
    journal.episodes.undo("run-2", START)
    assert not journal.episodes.get(begun.episode_id).open


# --- without the inbox ----------------------------------------------------------------------------------------------


def test_what_did_not_come_through_the_inbox_counts_once_by_its_keys(journal):
    once = Settlement(effect="unsubscribed", consent=[withdrawn("link/1", "hubspot:link")])
    assert journal.settlement.settle(once)
    assert not journal.settlement.settle(once)
    assert len(journal.consent.history("hubspot:link")) == 1


def test_a_call_is_answered_once_and_everybody_hears_the_same(journal):
    def called(body):
        reply = Stored(source="hubspot", key="call-1", status=200, body=body, content_type="application/json")
        return Settlement(effect="enroll", reply=reply, asks=[
            Ask(key=f"ask/{body.decode()}", contact_id="hubspot:1", at=START, source="hubspot")
        ])  # fmt: skip

    assert journal.settlement.settle(called(b"first"))
    assert not journal.settlement.settle(called(b"second"))
    assert keys(journal.asks.open()) == ["ask/first"]
    assert journal.replies.get("hubspot", "call-1").body == b"first"


def test_a_call_that_was_answered_undoes_the_settling_of_its_event(journal, row):
    reply = Stored(source="hubspot", key="call-1", status=200, body=b"", content_type="text/plain")
    journal.replies.put(reply)
    assert not settle(journal, row, reply=reply, **everything())
    assert journal.inbox.get(row.number).state == "waiting"


def test_a_database_that_fails_is_a_state_error_and_settling_again_completes_it(journal, row):
    engine, failed = journal._database.engine, []

    def fail(_connection, _cursor, statement, *_):
        if "INTO outbox" in statement and not failed:
            failed.append(statement)
            raise sa.exc.OperationalError(statement, None, OSError("disk I/O error"))

    sa.event.listen(engine, "before_cursor_execute", fail)
    try:
        with pytest.raises(StateError, match="disk I/O error"):
            settle(journal, row, **everything())
    finally:
        sa.event.remove(engine, "before_cursor_execute", fail)
    assert journal.facts.newest() == 0
    assert settle(journal, row, **everything())
    assert journal.outbox.depth() == 1

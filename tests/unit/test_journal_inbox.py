"""The inbox: an event is stored once, worked on in the order it happened, and never lost before it is settled."""

from __future__ import annotations

import json
from datetime import UTC, timedelta, timezone

import pytest
import sqlalchemy as sa

from connector.clock import SystemClock
from connector.journal import Journal
from tests.fakes.clocks import START
from tests.fakes.databases import on_both  # noqa: F401 - the fixture `journal_url`
from tests.fakes.inboxes import (  # noqa: F401 - the fixtures `journal`, `clock`, `real_clock`
    DAY,
    MINUTE,
    claim,
    each_database,
    event,
    keep,
    keys,
    live_clock,
    live_journal,
    live_real_clock,
    settle,
)
from tests.fakes.journals import finish_all, spawn

# --- what arrives -------------------------------------------------------------------------------------------------


def test_an_event_is_kept_once_and_the_second_is_known(journal):
    assert keep(journal, event("a"), event("b"), event("a")) == [True, True, False]
    assert keep(journal, event("b", payload={"other": 1}), event("c")) == [False, True]
    assert keep(journal) == []
    assert sorted(keys(claim(journal))) == ["a", "b", "c"]


def test_the_same_key_of_another_source_is_another_event(journal):
    assert keep(journal, event("a"), event("a", source="zigpoll")) == [True, True]


def test_of_two_with_one_key_in_one_delivery_the_first_is_kept(journal):
    keep(journal, event("a", payload={"first": 1}), event("a", payload={"first": 0}))
    assert claim(journal)[0].payload == {"first": 1}


def test_a_row_says_what_was_kept(journal):
    odd = {"text": "Zoë — ☕", "null": None, "nested": [1, {"a": 2.5}]}
    at = START.astimezone(UTC) - 3 * MINUTE
    keep(journal, event("a", kind="contact.deletion", payload=odd, at=at, request_id="r-1"))
    (row,) = claim(journal)
    assert (row.source, row.key, row.kind, row.payload) == ("typeform", "a", "contact.deletion", odd)
    assert (row.at, row.received_at, row.request_id) == (at, START, "r-1")
    assert (row.attempts, row.state, row.effect, row.contact_id) == (1, "waiting", None, None)
    assert (row.reason, row.done_at) == (None, None)
    assert journal.inbox.get(row.number) == row
    assert journal.inbox.get(row.number + 1) is None


def test_letters_no_database_keeps_do_not_lose_the_event(journal):
    # A vendor's JSON may hold \u0000 or half of a surrogate pair in what becomes the key.
    assert keep(journal, event("a\x00b\ud800", kind="odd\x00"), event("fine")) == [True, True]
    assert keep(journal, event("a\x00b\ud800", kind="odd\x00")) == [False]
    assert sorted(keys(claim(journal))) == ["a\ufffdb\ufffd", "fine"]


def test_keys_of_any_length_stay_one_of_a_kind(journal):
    long = "k" * 10_000
    assert keep(journal, event(f"{long}a"), event(f"{long}b")) == [True, True]
    assert keep(journal, event(f"{long}b")) == [False]


def test_a_delivery_is_kept_whole_or_not_at_all(journal):
    naive = START.replace(tzinfo=None)
    with pytest.raises((ValueError, sa.exc.StatementError)):
        keep(journal, event("a"), event("b", at=naive), event("c"))
    assert journal.inbox.depth() == 0


def test_many_processes_that_are_told_the_same_keep_it_once(journal_url):
    code = """
import sys
from connector.clock import SystemClock
from connector.journal import Journal
from tests.fakes.inboxes import event
import random
order = random.Random(sys.argv[2])
with Journal.open(sys.argv[1], clock=SystemClock()) as journal:
    new = 0
    for part in range(5):
        keys = [f"{part}-{number}" for number in range(30)]
        order.shuffle(keys)
        new += sum(journal.inbox.keep([event(key) for key in keys]))
    print(new)
"""
    Journal.open(journal_url, clock=SystemClock()).close()
    assert sum(map(int, finish_all([spawn(code, journal_url, str(seed)) for seed in range(3)]))) == 150
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        assert journal.inbox.depth() == 150


# --- work ---------------------------------------------------------------------------------------------------------


def test_events_are_worked_on_in_the_order_they_happened(journal):
    late = START + 10 * MINUTE
    keep(
        journal,
        event("third", at=START + 2 * MINUTE, received_at=late),
        event("first", at=START, received_at=late),
        event("fourth", at=None, received_at=START + 5 * MINUTE),
        event("second", at=START + MINUTE, received_at=late),
        event("fifth", at=START + 6 * MINUTE, received_at=late),
    )
    assert keys(claim(journal, 3)) == ["first", "second", "third"]
    assert keys(claim(journal, 3)) == ["fourth", "fifth"]
    assert claim(journal, 3) == []


def test_a_lease_that_ran_out_is_anybodys_again(journal, real_clock):
    keep(journal, event("a"))
    assert claim(journal, owner="one", lease_seconds=30)[0].attempts == 1
    real_clock.advance(29)
    assert claim(journal, owner="two") == []
    real_clock.advance(1)
    assert claim(journal, owner="two")[0].attempts == 2


def test_leases_do_not_care_what_day_it_is_for_the_journal(journal, clock):
    keep(journal, event("a"))
    claim(journal)
    clock.advance(400 * 86_400)
    assert claim(journal) == []


def test_an_event_put_off_comes_back_when_it_is_due(journal, clock):
    keep(journal, event("a"))
    (row,) = claim(journal)
    assert journal.inbox.later(row.number, "the CRM is away", START + 5 * MINUTE)
    assert claim(journal) == []
    clock.advance(300)
    (again,) = claim(journal)
    assert (again.reason, again.attempts) == ("the CRM is away", 2)


def test_who_lost_the_lease_cannot_put_off_or_set_aside(journal, real_clock):
    keep(journal, event("a"))
    (row,) = claim(journal, owner="one", lease_seconds=30)
    real_clock.advance(31)
    claim(journal, owner="two")
    assert not journal.inbox.later(row.number, "slow", START, owner="one")
    assert not journal.inbox.set_aside(row.number, "poison", owner="one")
    assert claim(journal, owner="three") == []
    assert journal.inbox.set_aside(row.number, "poison", owner="two")


def test_what_was_set_aside_waits_for_a_person(journal):
    keep(journal, event("a"))
    (row,) = claim(journal)
    assert journal.inbox.set_aside(row.number, "cannot be read")
    assert not journal.inbox.set_aside(row.number, "again")
    assert not journal.inbox.later(row.number, "again", START)
    assert claim(journal) == []
    (found,) = journal.inbox.recent(state="set_aside")
    assert (found.reason, found.done_at) == ("cannot be read", START)


def test_replay_lets_ended_events_wait_again(journal, clock):
    keep(
        journal,
        event("a"),
        event("b", source="zigpoll"),
        event("c", received_at=START + DAY),
        event("waiting", at=START + DAY),
    )
    for row in claim(journal, 3):
        settle(journal, row) if row.key != "c" else journal.inbox.set_aside(row.number, "odd")
    numbers = {row.key: row.number for row in journal.inbox.recent()}
    assert journal.inbox.replay(source="zigpoll") == 1
    assert journal.inbox.replay(since=START + DAY) == 1
    assert journal.inbox.replay(numbers=[numbers["a"], numbers["b"], 999_999]) == 1
    assert journal.inbox.replay() == 0
    rows = journal.inbox.recent()
    assert {(row.state, row.reason, row.effect, row.done_at) for row in rows} == {("waiting", None, None, None)}


@pytest.mark.postgres
def test_two_workers_at_once_take_different_events(tmp_path):
    from tests.fakes.databases import postgres_url

    with postgres_url() as url, Journal.open(url, clock=SystemClock()) as journal:
        keep(journal, *(event(str(number)) for number in range(10)))
        database = journal._database
        with database.write() as held:
            first = journal.inbox._rows.lease(held, 4, owner="one", lease_seconds=60)
            second = claim(journal, 100, owner="two")
        assert len(first) == 4
        assert sorted([row.event_key for row in first] + keys(second)) == [str(number) for number in range(10)]


# --- looking ------------------------------------------------------------------------------------------------------


def test_counting_what_waits_and_what_ended(journal):
    assert (journal.inbox.depth(), journal.inbox.oldest_waiting(), journal.inbox.last_heard()) == (0, None, {})
    keep(
        journal,
        event("a", received_at=START + MINUTE),
        event("b", received_at=START + 2 * MINUTE),
        event("c", source="stripe", at=START + DAY, received_at=START + 3 * MINUTE),
    )
    (row, *_) = claim(journal, 1)
    settle(journal, row, state="ignored", effect="unknown form")
    assert journal.inbox.depth() == 2
    assert journal.inbox.oldest_waiting() == START + 2 * MINUTE
    assert journal.inbox.counts() == {"stripe": {"waiting": 1}, "typeform": {"ignored": 1, "waiting": 1}}
    assert journal.inbox.last_heard() == {"typeform": START + 2 * MINUTE, "stripe": START + 3 * MINUTE}


def test_the_newest_events_come_first(journal):
    keep(
        journal,
        *(event(key, source=source, received_at=START + n * MINUTE)
          for n, (key, source) in enumerate([("a", "x"), ("b", "y"), ("c", "x"), ("d", "y"), ("e", "x")])),
    )  # fmt: skip
    assert keys(journal.inbox.recent(3)) == ["e", "d", "c"]
    assert keys(journal.inbox.recent(2, source="x")) == ["e", "c"]
    assert keys(journal.inbox.recent(state="done")) == []
    settle(journal, journal.inbox.recent(1, source="y")[0])
    assert keys(journal.inbox.recent(state="done")) == ["d"]
    assert keys(journal.inbox.recent(source="y", state="waiting")) == ["b"]
    assert keys(journal.inbox.of("hubspot:1")) == ["d"]


# --- forgetting ---------------------------------------------------------------------------------------------------


def test_payloads_go_and_keys_stay_as_long_as_their_source_asks(journal):
    old, older, newer = START - 40 * DAY, START - 500 * DAY, START - DAY
    keep(
        journal,
        event("old", received_at=old),
        event("older", received_at=older),
        event("newer", received_at=newer),
        event("waits", received_at=old),
        event("other", source="stripe", received_at=old),
    )
    for row in claim(journal):
        if row.key != "waits":
            settle(journal, row)
    keeping = {"typeform": START - 400 * DAY}
    assert journal.inbox.purge(START - 30 * DAY, keep_keys=keeping) == 3
    rows = {row.key: row.payload for row in journal.inbox.recent()}
    assert rows == {"newer": {"key": "newer"}, "waits": {"key": "waits"}, "old": None}
    assert keep(journal, event("old"), event("older"), event("other", source="stripe")) == [False, True, True]
    assert journal.inbox.purge(START - 30 * DAY, keep_keys=keeping) == 0
    assert journal.inbox.replay() == 1


def test_a_purge_in_many_parts_leaves_nothing(journal, monkeypatch):
    monkeypatch.setattr("connector.journal.inbox._PART", 3)
    keep(journal, *(event(str(number), received_at=START - DAY) for number in range(10)))
    for row in claim(journal):
        settle(journal, row)
    assert journal.inbox.purge(START, keep_keys={"typeform": START - 2 * DAY}) == 10
    assert len(journal.inbox.recent()) == 10
    assert journal.inbox.purge(START, keep_keys={}) == 0
    assert journal.inbox.recent() == []


def test_a_source_cannot_keep_keys_for_less_long_than_payloads(journal):
    keep(journal, event("a", received_at=START - DAY))
    settle(journal, claim(journal)[0])
    journal.inbox.purge(START - 2 * DAY, keep_keys={"typeform": START})
    assert keep(journal, event("a")) == [False]


def test_forgetting_somebody_leaves_the_key_alone(journal):
    keep(journal, event("a", payload={"name": "Canary Person"}), event("b"))
    first, second = claim(journal)
    settle(journal, first)
    settle(journal, second, contact_id="hubspot:2")
    assert journal.inbox.forget("hubspot:1") == 1
    assert journal.inbox.forget("hubspot:1") == 0
    assert journal.inbox.of("hubspot:1") == []
    rows = {row.key: (row.payload, row.contact_id, row.effect) for row in journal.inbox.recent()}
    assert rows == {"a": (None, None, None), "b": ({"key": "b"}, "hubspot:2", "came back")}
    assert keep(journal, event("a")) == [False]


def test_the_worker_finds_its_events_without_reading_those_that_ended(tmp_path):
    with Journal.open(f"sqlite:///{tmp_path / 'journal.db'}", clock=SystemClock()) as journal:
        asked = []
        sa.event.listen(
            journal._database.engine,
            "before_cursor_execute",
            lambda _c, _u, text, given, *_: asked.append((text, given)),
        )
        claim(journal)
        journal.outbox.claim(10, owner="relay", lease_seconds=60)
        journal.inbox.depth()
        journal.inbox.oldest_waiting()
        with journal._database.read() as connection:
            plans = [
                str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", given).all())
                for text, given in asked
                if text.startswith("SELECT") and "state = 'waiting'" in text
            ]
        assert len(plans) == 4
        assert all("ix_inbox_waiting" in plan or "ix_outbox_waiting" in plan for plan in plans), plans
        assert json.dumps(plans).count("TEMP B-TREE") == 0


def test_an_event_that_says_when_it_happened_in_another_zone_keeps_its_place(journal):
    there = timezone(timedelta(hours=-7))
    keep(journal, event("b", at=(START + MINUTE).astimezone(there)), event("a", at=START))
    assert keys(claim(journal)) == ["a", "b"]

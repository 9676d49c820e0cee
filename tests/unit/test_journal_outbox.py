"""The outbox: every intent once, urgent ones first, and for each contact in the order they were meant."""

from __future__ import annotations

from datetime import timedelta

import pytest

from connector.journal.outbox import IN_ORDER, KINDS
from tests.fakes.clocks import START
from tests.fakes.inboxes import (  # noqa: F401 - fixtures
    DAY,
    MINUTE,
    each_database,
    intent,
    keys,
    live_clock,
    live_journal,
    live_real_clock,
    relayed,
)


def add(journal, *intents):
    return journal.outbox.add(intents)


def test_an_intent_is_meant_once(journal):
    assert add(journal, intent("a"), intent("b"), intent("a", payload={"values": {"x": "1"}})) == 2
    assert add(journal, intent("b"), intent("c")) == 1
    assert add(journal) == 0
    assert keys(relayed(journal)) == ["a", "b", "c"]


def test_a_row_says_what_was_meant(journal):
    meant = intent("a", "leave", payload={"reason": "replied", "of": "program"}, urgent=True, destination="crm")
    add(journal, meant)
    (row,) = relayed(journal)
    assert (row.key, row.kind, row.payload) == ("a", "leave", {"reason": "replied", "of": "program"})
    assert (row.contact_id, row.urgent, row.destination) == ("hubspot:1", True, "crm")
    assert (row.state, row.attempts, row.added_at, row.run_id, row.done_at) == ("waiting", 1, START, None, None)


def test_a_kind_nobody_carries_out_is_refused(journal):
    with pytest.raises(ValueError, match="there is no kind 'email'"):
        add(journal, intent("a", "email"))
    assert KINDS >= IN_ORDER


def test_urgent_ones_come_first(journal):
    add(
        journal,
        intent("a", contact_id="hubspot:1"),
        intent("b", contact_id="hubspot:2"),
        intent("c", "opt_out", contact_id="hubspot:3", urgent=True),
        intent("d", "opt_out", contact_id="hubspot:2", urgent=True),
    )
    assert keys(relayed(journal, 3)) == ["c", "d", "a"]
    # What was meant before for the same contact waits for it.
    assert keys(relayed(journal)) == []
    assert journal.outbox.done([row.number for row in journal.outbox.recent()], run_id="run-1") == 4


def test_of_one_contact_nothing_overtakes(journal, clock, real_clock):
    add(journal, intent("a"), intent("b"), intent("x", contact_id="hubspot:2"), intent("c"))
    assert keys(relayed(journal, 1)) == ["a"]
    assert keys(relayed(journal, owner="other")) == ["x"]
    (first,) = [row for row in journal.outbox.recent() if row.key == "a"]
    journal.outbox.later(first.number, "the CRM is away", START + 10 * MINUTE)
    assert keys(relayed(journal)) == []
    clock.advance(600)
    assert keys(relayed(journal)) == ["a", "b", "c"]
    real_clock.advance(61)
    journal.outbox.done([first.number], run_id="run-1")
    assert keys(relayed(journal)) == ["b", "x", "c"]


def test_an_opt_out_does_not_wait_for_what_is_not_urgent(journal):
    add(journal, intent("a"), intent("b", "opt_out", urgent=True), intent("c", "leave", urgent=True))
    (first,) = relayed(journal, 1, kinds=["set"]) or relayed(journal, 1)
    assert first.key == "b"
    journal.outbox.later(first.number, "the CRM is away", START + DAY)
    # The next urgent one, and what is not urgent, wait for the opt-out.
    assert keys(relayed(journal)) == []


def test_what_goes_elsewhere_waits_for_nothing(journal):
    add(journal, intent("a"), intent("b", "tell"), intent("c", "complete"), intent("d", "fetch"), intent("e"))
    relayed(journal, 1)
    assert keys(relayed(journal)) == ["b", "c", "d"]


def test_only_kinds_that_were_asked_for_are_taken_and_none_out_of_order(journal):
    add(journal, intent("a", "feedback"), intent("b", "set"), intent("c", "set", contact_id="hubspot:2"))
    assert keys(relayed(journal, kinds=["set", "leave"])) == ["c"]
    assert keys(relayed(journal, kinds=["feedback", "set"])) == ["a", "b"]


def test_one_destination_that_is_away_does_not_hold_up_the_other(journal):
    add(journal, intent("a", destination="crm"), intent("b", destination="crm"), intent("c", destination="other"))
    relayed(journal, 1)
    assert keys(relayed(journal)) == ["c"]


def test_what_ended_is_noted(journal, clock):
    add(journal, intent("a", "opt_out", urgent=True), intent("b", contact_id="hubspot:2"))
    first, second = relayed(journal)
    clock.advance(7.5)
    assert journal.outbox.done([first.number, first.number], run_id="run-7") == 1
    assert journal.outbox.done([first.number], run_id="run-8") == 0
    assert not journal.outbox.later(first.number, "late", START)
    assert journal.outbox.set_aside(second.number, "nobody knows the record")
    rows = {row.key: row for row in journal.outbox.recent()}
    assert (rows["a"].state, rows["a"].run_id, rows["a"].done_at) == ("done", "run-7", START + timedelta(seconds=7.5))
    assert (rows["b"].state, rows["b"].reason) == ("set_aside", "nobody knows the record")
    assert journal.outbox.propagated(START) == [7.5]
    assert journal.outbox.propagated(START + DAY) == []
    assert journal.outbox.counts() == {"opt_out": {"done": 1}, "set": {"set_aside": 1}}
    assert journal.outbox.replay([second.number, first.number + 10_000]) == 1
    assert keys(relayed(journal)) == ["b"]


def test_how_much_waits_and_since_when(journal, clock):
    assert (journal.outbox.depth(), journal.outbox.oldest_waiting()) == (0, None)
    add(journal, intent("a"))
    clock.advance(60)
    add(journal, intent("b", "opt_out", contact_id="hubspot:2", urgent=True))
    assert journal.outbox.depth() == 2
    assert journal.outbox.oldest_waiting() == START
    assert journal.outbox.oldest_waiting(urgent=True) == START + MINUTE
    assert keys(journal.outbox.recent(contact_id="hubspot:2")) == ["b"]
    assert keys(journal.outbox.recent(1)) == ["b"]
    assert keys(journal.outbox.recent(state="done")) == []


def test_a_lease_that_ran_out_is_anybodys_again(journal, real_clock):
    add(journal, intent("a"))
    relayed(journal, owner="one", lease_seconds=30)
    assert relayed(journal, owner="two") == []
    real_clock.advance(30)
    (row,) = relayed(journal, owner="two")
    assert row.attempts == 2
    assert not journal.outbox.later(row.number, "slow", START, owner="one")


def test_forgetting_somebody_keeps_what_must_still_be_done(journal, clock):
    add(journal, intent("a", payload={"values": {"winback_reason": "canary"}}), intent("b", "leave"))
    row = relayed(journal, 1)[0]
    journal.outbox.done([row.number], run_id="run-1")
    assert journal.outbox.forget("hubspot:1") == 1
    rows = {row.key: (row.payload, row.contact_id) for row in journal.outbox.recent()}
    assert rows == {"a": ({}, None), "b": ({"values": {}}, "hubspot:1")}
    clock.advance(86_400)
    assert journal.outbox.purge(START + DAY) == 1
    assert keys(journal.outbox.recent()) == ["b"]

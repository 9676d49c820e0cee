"""What the worker leaves for the next run, and what a run leaves for the worker."""

from __future__ import annotations

import threading
from datetime import date, timedelta

import pytest

from connector.clock import SystemClock
from connector.journal import Ask, Journal, Stop, Stored, known_key
from connector.journal.stops import add_stops
from tests.fakes.clocks import START
from tests.fakes.databases import postgres_url
from tests.fakes.episodes import enter, episode_of
from tests.fakes.inboxes import (  # noqa: F401 - fixtures
    DAY,
    MINUTE,
    each_database,
    event,
    intent,
    keep,
    keys,
    live_clock,
    live_journal,
    live_real_clock,
    settle,
    used,
)

# --- facts --------------------------------------------------------------------------------------------------------


def test_a_fact_counts_once_however_often_it_is_heard(journal):
    assert journal.facts.record([used("a"), used("b"), used("a", at=START + DAY)]) == 2
    assert journal.facts.record([used("a")]) == 0
    assert journal.facts.record([]) == 0
    assert [(row.key, row.at) for row in journal.facts.of("hubspot:1")] == [("a", START), ("b", START)]


def test_the_warehouse_reads_every_fact_once(journal):
    journal.facts.record([used(str(number)) for number in range(5)])
    seen, after = [], 0
    while rows := journal.facts.after(after, 2):
        seen += keys(rows)
        after = rows[-1].number
    assert seen == ["0", "1", "2", "3", "4"]
    assert after == journal.facts.newest()
    journal.facts.record([used("late", at=START - 90 * DAY)])
    assert keys(journal.facts.after(after, 10)) == ["late"]


def test_a_fact_says_what_was_heard(journal):
    fact = used("a", None, kind="transaction", who_kind="email", who="email:0f", values={"amount": 12.5, "kind": "x"})
    journal.facts.record([fact])
    (row,) = journal.facts.after(0, 10)
    assert (row.kind, row.who_kind, row.who, row.contact_id) == ("transaction", "email", "email:0f", None)
    assert (row.values, row.at, row.source, row.heard_at) == ({"amount": 12.5, "kind": "x"}, START, "segment", START)


def test_an_address_is_not_kept_as_a_fact(journal):
    with pytest.raises(ValueError, match="keyed hash") as refused:
        journal.facts.record([used("a", who_kind="email", who="ada@acme.example.com")])
    assert "ada" not in str(refused.value)
    with pytest.raises(ValueError, match="no kind"):
        journal.facts.record([used("a", kind="opened")])


def test_days_on_which_somebody_was_heard_to_use_it(journal):
    journal.facts.record(
        [
            used("a", at=START - DAY),
            used("b", at=START),
            used("c", at=START + MINUTE),
            used("d", at=START + DAY, kind="engagement"),
            used("e", at=START + 2 * DAY),
            used("f", "hubspot:2", at=START + 3 * DAY),
        ]
    )
    assert journal.facts.live_days("hubspot:1", START) == {date(2026, 11, 2), date(2026, 11, 4)}
    assert journal.facts.live_days("hubspot:3", START) == set()


def test_old_facts_and_forgotten_people_go(journal):
    journal.facts.record([used("old", at=START - 400 * DAY), used("a"), used("b", "hubspot:2")])
    assert journal.facts.purge(START - 399 * DAY) == 1
    assert journal.facts.forget("hubspot:1") == 1
    assert keys(journal.facts.after(0, 10)) == ["b"]


@pytest.mark.postgres
def test_a_fact_that_is_committed_late_is_not_passed_over():
    with postgres_url() as url, Journal.open(url, clock=SystemClock()) as journal:
        from connector.journal.facts import add_facts

        database, read = journal._database, []
        with database.write() as slow:
            add_facts(database, slow, [used("lower number, committed last")])
            journal.facts.record([used("higher number, committed first")])
            reader = threading.Thread(target=lambda: read.extend(journal.facts.after(0, 10)))
            reader.start()
            reader.join(0.3)
            assert read == []
        reader.join(30)
    assert keys(read) == ["lower number, committed last", "higher number, committed first"]


# --- who is whom --------------------------------------------------------------------------------------------------

SECRET = b"k" * 32


def test_a_publication_replaces_the_one_before(journal):
    assert journal.known.publish([("record", "hubspot:1", "hubspot:1"), ("email", "email:0f", "hubspot:1")]) == 2
    assert journal.known.contact("email", "email:0f") == "hubspot:1"
    assert journal.known.publish(iter([("email", "email:0f", "hubspot:2")])) == 1
    assert journal.known.contact("email", "email:0f") == "hubspot:2"
    assert journal.known.contact("record", "hubspot:1") is None
    assert journal.known.publish([]) == 0
    assert journal.known.contact("email", "email:0f") is None


def test_a_small_publication_leaves_the_others_alone(journal):
    journal.known.publish([("record", f"hubspot:{n}", f"hubspot:{n}") for n in range(4)])
    changed = [("record", "hubspot:1", "hubspot:9")]
    assert journal.known.publish(changed, complete=False, gone=["hubspot:2", "hubspot:3"]) == 1
    found = [journal.known.contact("record", f"hubspot:{n}") for n in range(4)]
    assert found == ["hubspot:0", "hubspot:9", None, None]
    assert journal.known.forget("hubspot:9") == 1
    assert journal.known.contact("record", "hubspot:1") is None


def test_a_publication_that_dies_half_way_loses_nobody(journal):
    journal.known.publish([("record", "hubspot:1", "hubspot:1"), ("record", "hubspot:2", "hubspot:2")])

    def dying():
        yield "record", "hubspot:1", "hubspot:7"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        journal.known.publish(dying())
    assert journal.known.contact("record", "hubspot:2") == "hubspot:2"
    journal.known.publish([("record", "hubspot:3", "hubspot:3")])
    assert [journal.known.contact("record", f"hubspot:{n}") for n in (1, 2, 3)] == [None, None, "hubspot:3"]


def test_nobody_is_known_by_an_address_or_an_id_in_the_clear():
    for kind, value in (("email", "Ada@Acme.example.com"), ("external_id", "user-17")):
        key = known_key(kind, value, SECRET)
        assert value.lower() not in key.lower()
        assert key != known_key(kind, value, b"o" * 32)
    assert known_key("email", "Ada@Acme.example.com", SECRET) == known_key("email", " ada@acme.example.com", SECRET)
    assert known_key("external_id", "A", SECRET) != known_key("external_id", "a", SECRET)
    assert known_key("record", "hubspot:1", SECRET) == "hubspot:1"
    with pytest.raises(ValueError, match="'phone'"):
        known_key("phone", "1", SECRET)


# --- stops --------------------------------------------------------------------------------------------------------


def stopped(journal, *stops):
    with journal._database.write() as connection:
        return add_stops(journal._database, connection, stops)


def test_the_last_stop_of_each_is_told_in_whatever_order_they_were_heard(journal):
    assert stopped(journal, Stop("hubspot:1", "replied", START + DAY), Stop("hubspot:1", "bounced", START)) == 2
    assert stopped(journal, Stop("hubspot:1", "bounced", START), Stop("hubspot:2", "replied", START)) == 1
    assert journal.stops.of(["hubspot:1", "hubspot:3"]) == {"hubspot:1": ("replied", START + DAY)}
    assert journal.stops.of([]) == {}


def test_a_run_clears_what_it_knew_of_and_older_plans_are_stale(journal):
    stopped(journal, Stop("hubspot:1", "replied", START))
    mark = journal.stops.newest()
    stopped(journal, Stop("hubspot:2", "replied", START - DAY))
    version = journal.episodes.version()
    assert journal.stops.clear(mark) == 1
    assert journal.stops.of(["hubspot:1", "hubspot:2"]) == {"hubspot:2": ("replied", START - DAY)}
    assert journal.episodes.version() != version
    version = journal.episodes.version()
    assert journal.stops.clear(mark) == 0
    assert journal.episodes.version() == version
    assert journal.stops.forget("hubspot:2") == 1


@pytest.mark.postgres
def test_a_mark_waits_for_stops_that_are_being_settled():
    with postgres_url() as url, Journal.open(url, clock=SystemClock()) as journal:
        database, marks = journal._database, []
        with database.write() as slow:
            add_stops(database, slow, [Stop("hubspot:1", "replied", START)])
            reader = threading.Thread(target=lambda: marks.append(journal.stops.newest()))
            reader.start()
            reader.join(0.3)
            assert marks == []
        reader.join(30)
        assert journal.stops.clear(marks[0]) == 1


# --- asks and replies -----------------------------------------------------------------------------------------------


def asked(journal, *asks):
    return [journal.settlement.settle(_settlement(ask)) for ask in asks]


def _settlement(ask):
    from connector.journal import Settlement

    return Settlement(effect="asked", asks=[ask])


def test_asks_wait_until_they_are_answered(journal, clock):
    first = Ask(key="a", contact_id="hubspot:1", at=START, source="hubspot", callback="cb-1", program="win-back")
    second = Ask(key="b", contact_id="hubspot:2", at=START, source="hubspot")
    assert asked(journal, first, second, first) == [True, True, False]
    assert journal.asks.open() == [first, second]
    assert journal.asks.answer(["a", "none"], "entered", intents=[intent("cb", "complete")]) == 1
    assert journal.asks.answer(["a"], "refused") == 0
    assert (journal.asks.decision("a"), journal.asks.decision("b")) == ("entered", None)
    assert journal.asks.open() == [second]
    assert journal.outbox.depth() == 1
    clock.advance(60)
    assert journal.asks.purge(START + MINUTE) == 1
    assert journal.asks.forget("hubspot:2") == 1
    assert journal.asks.open() == []


def test_the_first_answer_to_a_call_is_kept(journal, clock):
    reply = Stored(source="hubspot", key="c", status=200, body=b'{"a":1}\x00', content_type="application/json",
                   contact_id="hubspot:1")  # fmt: skip
    assert journal.replies.get("hubspot", "c") is None
    assert journal.replies.put(reply) == reply
    assert journal.replies.put(Stored(source="hubspot", key="c", status=500, body=b"", content_type="x")) == reply
    assert journal.replies.get("hubspot", "c") == reply
    assert journal.replies.get("salesforce", "c") is None
    clock.advance(60)
    assert journal.replies.purge(START) == 0
    assert journal.replies.forget("hubspot:1") == 1
    journal.replies.put(reply)
    clock.advance(60)
    assert journal.replies.purge(START + timedelta(minutes=3)) == 1


def test_everything_follows_a_merge(journal):
    enter(journal, episode_of("hubspot:9"))
    keep(journal, event("a"))
    settle(
        journal, journal.inbox.claim(1, owner="w", lease_seconds=60)[0],
        facts=[used("a")], stops=[Stop("hubspot:1", "replied", START)], intents=[intent("a")],
        asks=[Ask(key="a", contact_id="hubspot:1", at=START, source="hubspot")],
        reply=Stored(source="hubspot", key="c", status=200, body=b"", content_type="x", contact_id="hubspot:1"),
    )  # fmt: skip
    journal.known.publish([("email", "email:0f", "hubspot:1")])
    journal.episodes.rekey({"hubspot:1": "hubspot:2"})
    assert keys(journal.inbox.of("hubspot:2")) == keys(journal.facts.of("hubspot:2")) == ["a"]
    assert list(journal.stops.of(["hubspot:1", "hubspot:2"])) == ["hubspot:2"]
    assert [ask.contact_id for ask in journal.asks.open()] == ["hubspot:2"]
    assert journal.outbox.recent()[0].contact_id == "hubspot:2"
    assert journal.replies.get("hubspot", "c").contact_id == "hubspot:2"
    assert journal.known.contact("email", "email:0f") == "hubspot:2"

"""However keeping, claiming, dying, settling and replaying are mixed: every event once, everything it does once, and
none is lost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.journal import Intent
from connector.journal.outbox import IN_ORDER
from tests.fakes.clocks import START
from tests.fakes.inboxes import (
    MINUTE,
    claim,
    each_database,  # noqa: F401 - the fixture `on_each`
    empty,
    event,
    everything,
    keep,
    keys,
    relayed,
    settle,
)

KEYS, WORKERS, LEASE_SECONDS = "abcdef", ("one", "two"), 30.0
MANY = 100

# --- the inbox ----------------------------------------------------------------------------------------------------

workers, places = st.sampled_from(WORKERS), st.integers(0, 5)
happenings = st.one_of(
    st.tuples(st.just("keep"), st.lists(st.sampled_from(KEYS), min_size=1, max_size=4)),
    st.tuples(st.just("claim"), workers, st.integers(1, 4)),
    st.tuples(st.just("settle"), workers, places),
    st.tuples(st.just("settle"), workers, places),
    st.tuples(st.just("put_off"), workers, places),
    st.tuples(st.just("set_aside"), workers, places),
    st.tuples(st.just("die"), workers),
    st.tuples(st.just("end_leases")),
    st.tuples(st.just("wait")),
    st.tuples(st.just("replay")),
)


def moment(key: str) -> datetime:
    """When the event with this key happened; later letters happened earlier."""
    return START - KEYS.index(key) * MINUTE


@dataclass
class Line:
    """What the model remembers of an event."""

    state: str = "waiting"
    due: datetime = START
    leased_until: datetime = START
    owner: str | None = None

    def release(self, **changes):
        self.owner, self.leased_until = None, START
        for name, value in changes.items():
            setattr(self, name, value)


class Story:
    """An inbox, the same inbox in a plain dictionary, and what each worker has in hand."""

    def __init__(self, journal, clock, real_clock) -> None:
        self.journal, self.clock, self.real_clock = journal, clock, real_clock
        clock.at = real_clock.at = START
        empty(journal)
        self.lines: dict[str, Line] = {}
        self.hands = {worker: [] for worker in WORKERS}
        self.settled: set[str] = set()

    def keep(self, letters):
        fresh = keep(self.journal, *(event(key, at=moment(key)) for key in letters))
        known = set(self.lines)
        assert fresh == [key not in known and not known.add(key) for key in letters]
        for key in letters:
            self.lines.setdefault(key, Line())

    def claim(self, worker, limit):
        free = [
            key
            for key, line in self.lines.items()
            if line.state == "waiting" and line.due <= self.clock.at and line.leased_until <= self.real_clock.at
        ]
        rows = claim(self.journal, limit, owner=worker, lease_seconds=LEASE_SECONDS)
        assert keys(rows) == sorted(free, key=moment)[:limit]
        for row in rows:
            until = self.real_clock.at + timedelta(seconds=LEASE_SECONDS)
            self.lines[row.key].owner, self.lines[row.key].leased_until = worker, until
        self.hands[worker] += rows

    def settle(self, worker, place):
        """Whoever comes first settles it, lease or no lease."""
        if (row := self.take(worker, place)) is None:
            return
        line = self.lines[row.key]
        assert settle(self.journal, row, **everything(row.key)) == (line.state == "waiting")
        if line.state == "waiting":
            self.settled.add(row.key)
            line.release(state="done")

    def put_off(self, worker, place):
        if (row := self.take(worker, place)) is None:
            return
        until = self.clock.at + MINUTE
        done = self.journal.inbox.later(row.number, "away", until, owner=worker)
        assert done == self.is_leased(row, worker)
        if done:
            self.lines[row.key].release(due=until)

    def set_aside(self, worker, place):
        if (row := self.take(worker, place)) is None:
            return
        done = self.journal.inbox.set_aside(row.number, "odd", owner=worker)
        assert done == self.is_leased(row, worker)
        if done:
            self.lines[row.key].release(state="set_aside")

    def die(self, worker):
        self.hands[worker].clear()

    def end_leases(self):
        self.real_clock.advance(LEASE_SECONDS)

    def wait(self):
        self.clock.advance(60)

    def replay(self):
        ended = [line for line in self.lines.values() if line.state != "waiting"]
        assert self.journal.inbox.replay() == len(ended)
        for line in ended:
            line.release(state="waiting", due=START)

    def take(self, worker, place):
        """A row this worker claimed once, whoever has it now; None when there is none."""
        hand = self.hands[worker]
        return hand.pop(place % len(hand)) if hand else None

    def is_leased(self, row, worker):
        line = self.lines[row.key]
        return line.state == "waiting" and line.owner == worker

    def check(self):
        """The journal says what the model says."""
        states = {row.key: row.state for row in self.journal.inbox.recent(MANY)}
        assert states == {key: line.state for key, line in self.lines.items()}
        assert sorted(keys(self.journal.facts.after(0, MANY))) == sorted(f"{key}/fact" for key in self.settled)
        assert sorted(keys(self.journal.outbox.recent(MANY))) == sorted(f"{key}/intent" for key in self.settled)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(happenings, min_size=5, max_size=30))
def test_every_event_is_settled_once_and_none_is_lost(on_each, steps):
    story = Story(*on_each)
    for what, *how in steps:
        getattr(story, what)(*how)
    story.check()
    # In the end, whoever died and whatever was put off, all of it gets done.
    story.end_leases()
    story.clock.advance(3600)
    story.replay()
    story.claim("one", MANY)
    while story.hands["one"]:
        story.settle("one", 0)
    assert story.settled == set(story.lines)
    story.check()
    assert story.journal.inbox.depth() == 0


# --- the outbox ---------------------------------------------------------------------------------------------------

meant = st.tuples(
    st.sampled_from(("1", "2")),
    st.sampled_from(("set", "leave", "tell")),
    st.booleans(),
    st.sampled_from((None, "crm")),
)
relaying = st.one_of(
    st.tuples(st.just("add"), meant),
    st.tuples(st.just("add"), meant),
    st.tuples(st.just("claim"), st.integers(1, 4), st.sampled_from((None, ("set",), ("leave", "tell")))),
    st.tuples(st.just("finish")),
    st.tuples(st.just("put_off")),
    st.tuples(st.just("die")),
    st.tuples(st.just("wait")),
)


def turn(row):
    return not row.urgent, row.number


def lane(row):
    """Among which others an intent keeps its place; None: none."""
    return (row.contact_id, row.destination) if row.kind in IN_ORDER else None


class Relay:
    """An outbox and a relay that takes from it."""

    def __init__(self, journal, clock, real_clock) -> None:
        self.outbox, self.clock, self.real_clock = journal.outbox, clock, real_clock
        self.journal = journal
        clock.at = real_clock.at = START
        empty(journal)
        self.hand, self.added, self.done = [], 0, 0

    def add(self, intent):
        contact, kind, urgent, destination = intent
        said = {"contact_id": contact, "urgent": urgent, "destination": destination}
        assert self.outbox.add([Intent(key=str(self.added), kind=kind, payload={}, **said)]) == 1
        self.added += 1

    def claim(self, limit, kinds):
        waiting = self.outbox.recent(MANY, state="waiting")
        rows = relayed(self.journal, limit, lease_seconds=LEASE_SECONDS, kinds=kinds)
        assert rows == sorted(rows, key=turn)
        ahead = set()
        for row in rows:
            before = {other.number for other in waiting if lane(other) == lane(row) and turn(other) < turn(row)}
            assert lane(row) is None or before <= ahead
            ahead.add(row.number)
        self.hand += rows

    def finish(self):
        if self.hand:
            self.done += self.outbox.done([self.hand.pop(0).number], run_id="run-1")

    def put_off(self):
        """Who puts one off does not do those behind it."""
        if self.hand:
            assert self.outbox.later(self.hand[0].number, "away", self.clock.at + MINUTE)
            self.die()

    def die(self):
        self.hand.clear()
        self.real_clock.advance(LEASE_SECONDS)

    def wait(self):
        self.clock.advance(60)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(relaying, min_size=5, max_size=30))
def test_nothing_overtakes_in_the_outbox_and_nothing_is_lost(on_each, steps):
    relay = Relay(*on_each)
    for what, *how in steps:
        getattr(relay, what)(*how)
    relay.die()
    relay.clock.advance(3600)
    while relay.outbox.depth():
        relay.claim(2, None)
        while relay.hand:
            relay.finish()
    assert relay.done == relay.added == len(relay.outbox.recent(MANY, state="done"))

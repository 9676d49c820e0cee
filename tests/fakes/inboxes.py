"""Events, intents and what settles them, for tests: the least that has to be said; and journals that are emptied.

`from tests.fakes.inboxes import each_database, live_clock, live_journal, live_real_clock` gives a test module the
fixtures `journal`, `clock` and `real_clock`: one database of each kind for the whole module, emptied before each test,
its clocks back at the start.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import timedelta

import pytest
import sqlalchemy as sa

from connector.journal import Fact, Intent, Journal, Kept, Settlement, Stop
from connector.journal.live_tables import asks, facts, inbox, known, outbox, replies, stops
from connector.journal.program_tables import episode_steps, episodes, feedback
from tests.fakes.clocks import START, VirtualClock
from tests.fakes.databases import ON_BOTH, fresh_url

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def event(key="a", *, source="typeform", kind="form_response", at=START, payload=None, received_at=START, **said):
    """An event as a receiver hands it over."""
    text = json.dumps({"key": key} if payload is None else payload)
    given = {"source": source, "key": key, "kind": kind, "payload": text, "at": at, "received_at": received_at}
    return Kept(**given, **({"request_id": f"request-{key}"} | said))


def keep(journal, *events):
    return journal.inbox.keep(events)


def claim(journal, limit=100, *, owner="worker", lease_seconds=60.0):
    return journal.inbox.claim(limit, owner=owner, lease_seconds=lease_seconds)


def keys(rows):
    return [row.key for row in rows]


def intent(key="i", kind="set", contact_id="hubspot:1", **said):
    return Intent(key=key, kind=kind, contact_id=contact_id, **({"payload": {"values": {}}} | said))


def relayed(journal, limit=100, *, owner="relay", lease_seconds=60.0, kinds=None):
    return journal.outbox.claim(limit, owner=owner, lease_seconds=lease_seconds, kinds=kinds)


def used(key="f", contact_id="hubspot:1", *, at=START, kind="usage", source="segment", **said):
    given = {"who_kind": "external_id", "who": "id:0f", "values": {"feature": "export"}}
    return Fact(key=key, kind=kind, contact_id=contact_id, at=at, source=source, **(given | said))


def settle(journal, row, *, effect="came back", contact_id="hubspot:1", **what):
    """Settle this row (or number) of the inbox."""
    number = getattr(row, "number", row)
    return journal.settlement.settle(Settlement(number=number, effect=effect, contact_id=contact_id, **what))


def everything(key="e", contact_id="hubspot:1", at=START):
    """One of what an event may lead to, with keys made from the event's."""
    return {
        "facts": [used(f"{key}/fact", contact_id, at=at)],
        "intents": [intent(f"{key}/intent", "leave", contact_id, payload={"reason": "reactivated", "of": "program"})],
        "stops": [Stop(contact_id, "reactivated", at)],
    }


def empty(journal):
    """Forget everything the live tables and the episodes hold."""
    with journal._database.write() as connection:
        for table in (inbox, outbox, facts, known, stops, asks, replies, feedback, episode_steps, episodes):
            connection.execute(sa.delete(table))


@pytest.fixture(name="on_each", scope="module", params=ON_BOTH)
def each_database(request, tmp_path_factory):
    """A journal on each kind of database, with a clock for the story and one for leases."""
    with ExitStack() as opened:
        url = opened.enter_context(fresh_url(request.param, tmp_path_factory.mktemp("journal")))
        clock, real_clock = VirtualClock(), VirtualClock()
        journal = opened.enter_context(Journal.open(url, clock=clock, real_clock=real_clock))
        yield journal, clock, real_clock


@pytest.fixture(name="journal")
def live_journal(on_each):
    """The same, emptied."""
    journal, clock, real_clock = on_each
    clock.at = real_clock.at = START
    empty(journal)
    return journal


@pytest.fixture(name="clock")
def live_clock(on_each):
    """What the journal takes for the present."""
    return on_each[1]


@pytest.fixture(name="real_clock")
def live_real_clock(on_each):
    """What leases are timed by."""
    return on_each[2]

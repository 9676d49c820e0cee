"""kill -9 in the middle of ledger writes: every transaction is whole or absent, and work goes on."""

from __future__ import annotations

import random

import pytest
import sqlalchemy as sa

from connector.clock import SystemClock
from connector.journal import Journal
from connector.model import Outcome
from tests.fakes.databases import on_both  # noqa: F401 - the fixture `journal_url`
from tests.fakes.journals import expect, kill, spawn

APPLY = """
import sys
from connector.clock import SystemClock
from connector.journal import Journal
from connector.model import Outcome, Receipt

clock = SystemClock()
with Journal.open(sys.argv[1], clock=clock) as journal, journal.lock("run", ttl_seconds=3600):
    print("held", flush=True)
    for number in range(100_000):
        rows = [f"{number}-{row}" for row in range(50)]
        kind = "add_members" if number % 2 else "set_properties"
        payload = None if number % 2 else {"values": {row: {"winback_segment": "cold"} for row in rows}, "before": {}}
        batch = journal.ledger.intend(
            "run-1", "plan-1", destination="crm", step=1, number=number, kind=kind,
            target="dormant_30" if number % 2 else "", rows=rows, payload=payload,
        )
        print("intended", batch, flush=True)
        outcomes = [Outcome.REJECTED if row.endswith("-7") else Outcome.WRITTEN for row in rows]
        journal.ledger.sent(batch, [Receipt(row, outcome) for row, outcome in zip(rows, outcomes)], clock.now())
        print("sent", batch, flush=True)
        journal.ledger.confirm(batch, clock.now())
        print("confirmed", batch, flush=True)
"""

DIE_AT_STATEMENT = """
import os, signal, sys
import sqlalchemy as sa
from sqlalchemy import event
from connector.clock import SystemClock
from connector.journal import Journal
from connector.model import Outcome, Receipt

clock = SystemClock()
left = int(sys.argv[2])

def die(*_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

with Journal.open(sys.argv[1], clock=clock) as journal:
    rows = [str(row) for row in range(20)]
    batch = journal.ledger.intend(
        "run-1", "plan-1", destination="crm", step=1, number=1, kind="add_members", target="cold", rows=rows
    )
    event.listen(sa.Engine, "before_cursor_execute", die)
    event.listen(sa.Engine, "commit", die)
    receipts = [Receipt(row, Outcome.REJECTED if row == "7" else Outcome.WRITTEN) for row in rows]
    journal.ledger.sent(batch, receipts, clock.now())
    print("sent", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def believed(batches):
    """What the ledger's decided rows prove, worked out anew."""
    members, properties, refused = {}, {}, set()
    for batch in batches:
        for row, outcome in batch.outcomes.items():
            if outcome is Outcome.REJECTED:
                refused.add((batch.kind, batch.target, row))
            elif batch.kind == "add_members":
                members.setdefault(batch.target, set()).add(row)
            else:
                properties[row] = {"winback_segment": "cold"}
    return members, properties, refused


def check_whole(journal):
    """What the destination is believed to hold is exactly what the ledger proves."""
    batches = journal.ledger.batches("run-1")
    members, properties, refused = believed(batches)
    assert journal.held.members("crm") == members
    assert journal.held.properties("crm") == properties
    assert set(journal.rejections.active("crm")) == refused
    return batches


def check_undamaged(journal):
    if journal._database.is_sqlite:
        with journal._database.read() as connection:
            assert connection.execute(sa.text("PRAGMA integrity_check")).scalar() == "ok"


@pytest.mark.parametrize("attempt", range(3))
def test_killed_while_writing_the_ledger_nothing_acknowledged_is_lost(journal_url, attempt):
    process = spawn(APPLY, journal_url)
    expect(process, "held")
    for _ in range(random.Random(attempt).randrange(10, 60)):
        process.stdout.readline()
    process.kill()
    said = process.stdout.read().split("\n")
    kill(process)
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        check_undamaged(journal)
        batches = {batch.batch_id: batch for batch in check_whole(journal)}
        assert batches
        reached = {"intended": 0, "sent": 1, "confirmed": 2}
        for line in said[:-1]:
            state, _, batch_id = line.partition(" ")
            assert reached[batches[int(batch_id)].state] >= reached[state]
        # Only the newest batch can be unresolved, and whoever comes next may take the lock and settle it.
        with journal.lock("run") as lock:
            for batch in journal.ledger.unresolved("crm"):
                assert batch.batch_id == max(batches)
                journal.ledger.settle(batch.batch_id, batch.rows[:10], SystemClock().now())
            lock.check()
        assert journal.ledger.unresolved() == []
        check_whole(journal)


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 99])
def test_killed_at_any_statement_a_batch_is_sent_wholly_or_not_at_all(journal_url, at):
    process = spawn(DIE_AT_STATEMENT, journal_url, str(at))
    said, _ = process.communicate(timeout=60)
    assert process.returncode == -9
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        (batch,) = check_whole(journal)
        assert (batch.state == "sent") == (said == "sent\n")
        assert len(batch.outcomes) == (20 if said else 0)

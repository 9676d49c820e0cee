"""kill -9 in the middle of what the journal does for the program: whole or absent, and repeating it completes it."""

from __future__ import annotations

import random

import pytest
import sqlalchemy as sa

from connector.clock import SystemClock
from connector.journal import Journal
from tests.fakes.clocks import START
from tests.fakes.databases import on_both  # noqa: F401 - the fixture `journal_url`
from tests.fakes.episodes import STEP_LIST, enter, episode_of, leave, step_of, take
from tests.fakes.journals import expect, kill, spawn

PEOPLE = 30

PRELUDE = """
import os, signal, sys
import sqlalchemy as sa
from sqlalchemy import event
from connector.clock import SystemClock
from connector.journal import Journal
from connector.model import Outcome, Receipt
from tests.fakes.clocks import START
from tests.fakes.episodes import STEP_LIST, enter, episode_of, leave, step_of, take

left = int(sys.argv[2])

def die(*_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def die_from_here():
    event.listen(sa.Engine, "before_cursor_execute", die)
    event.listen(sa.Engine, "commit", die)

people = [episode_of(f"hubspot:{number}") for number in range(30)]
"""

MOVE = (
    PRELUDE
    + """
with Journal.open(sys.argv[1], clock=SystemClock()) as journal:
    die_from_here()
    take(journal, *(step_of(one, offer="gift", code=f"C{n}", cost=1.0) for n, one in enumerate(people)))
    print("moved", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
)

CONFIRM = (
    PRELUDE
    + """
with Journal.open(sys.argv[1], clock=SystemClock()) as journal:
    batch = journal.ledger.intend(
        "run-1", "plan-1", destination="crm", step=1, number=1, kind="add_members", target=STEP_LIST,
        rows=[str(number) for number in range(30)],
    )
    die_from_here()
    outcomes = [Outcome.REJECTED if number == 7 else Outcome.WRITTEN for number in range(30)]
    journal.ledger.sent(batch, [Receipt(str(n), outcome) for n, outcome in enumerate(outcomes)], START)
    print("sent", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
)

UNDO = (
    PRELUDE
    + """
with Journal.open(sys.argv[1], clock=SystemClock()) as journal:
    die_from_here()
    journal.episodes.undo("run-2", START)
    print("undone", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
)

DAILY = """
import sys
from datetime import timedelta
from connector.clock import SystemClock
from connector.journal import Journal
from connector.model import Outcome, Receipt
from tests.fakes.clocks import START
from tests.fakes.episodes import STEP_LIST, enter, episode_of, leave, step_of, take

with Journal.open(sys.argv[1], clock=SystemClock()) as journal, journal.lock("run", ttl_seconds=3600):
    print("held", flush=True)
    for day in range(100_000):
        run = f"run-{day}"
        people = [episode_of(f"hubspot:{day}-{number}") for number in range(20)]
        enter(journal, *people, run=run)
        take(journal, *(step_of(one, offer="gift", code=one.contact_id) for one in people), run=run)
        print("taken", day, flush=True)
        rows = [one.contact_id.removeprefix("hubspot:") for one in people]
        batch = journal.ledger.intend(
            run, "plan", destination="crm", step=1, number=1, kind="add_members", target=STEP_LIST, rows=rows
        )
        journal.ledger.sent(batch, [Receipt(row, Outcome.WRITTEN) for row in rows], START)
        journal.ledger.confirm(batch, START)
        print("written", day, flush=True)
        leave(journal, people[0], run=run)
        print("left", day, flush=True)
"""


@pytest.fixture
def people(journal_url):
    """Thirty people who were entered, with nothing taken yet."""
    found = [episode_of(f"hubspot:{number}") for number in range(PEOPLE)]
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        enter(journal, *found)
    return found


def died(code, url, at):
    """What a process said before it was killed at this statement or commit."""
    process = spawn(code, url, str(at))
    said, _ = process.communicate(timeout=60)
    assert process.returncode == -9
    return said


def check_agreeing(journal):
    """The episodes, their log and the codes tell one story."""
    steps = 0
    for episode in journal.episodes.everybody():
        log = journal.episodes.steps(episode.episode_id)
        steps += len(log)
        assert episode.touches == len([step for step in log if step.state in {"decided", "written"}])
        if not log:
            assert (episode.step, episode.step_state) == (None, None)
            continue
        assert (episode.step, episode.step_state, episode.written_at) == (
            log[-1].step,
            log[-1].state,
            log[-1].written_at,
        )
        if log[-1].state != "undone":
            assert journal.coupons.issued(log[-1].code) is not None if log[-1].code else True
    with journal._database.read() as connection:
        codes = connection.execute(sa.text("SELECT count(*) FROM coupons WHERE state = 'issued'")).scalar()
        logged = connection.execute(sa.text("SELECT count(*) FROM episode_steps")).scalar()
    assert logged == steps
    return steps, codes


@pytest.mark.parametrize("at", [6, 8, 10, 99])
def test_killed_at_any_statement_steps_are_taken_wholly_or_not_at_all(journal_url, people, at):
    said = died(MOVE, journal_url, at)
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        assert check_agreeing(journal) in ({(PEOPLE, PEOPLE)} if said else {(0, 0), (PEOPLE, PEOPLE)})
        take(journal, *(step_of(one, offer="gift", code=f"C{n}", cost=1.0) for n, one in enumerate(people)))
        assert check_agreeing(journal) == (PEOPLE, PEOPLE)
        assert journal.coupons.spent(START) == PEOPLE
        assert {episode.touches for episode in journal.episodes.everybody()} == {1}


@pytest.mark.parametrize("at", [7, 8, 9, 13, 15, 99])
def test_killed_at_any_statement_the_ledger_and_the_steps_agree(journal_url, people, at):
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        take(journal, *(step_of(one) for one in people))
    said = died(CONFIRM, journal_url, at)
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        check_agreeing(journal)
        (batch,) = journal.ledger.batches("run-1")
        on_list = journal.held.members("crm").get(STEP_LIST, set())
        written = {
            episode.contact_id.removeprefix("hubspot:")
            for episode in journal.episodes.everybody()
            if episode.step_state == "written"
        }
        assert written == on_list == set(batch.done())
        assert len(written) == (PEOPLE - 1 if batch.state == "sent" else 0)
        assert batch.state == "sent" or not said


@pytest.mark.parametrize("at", [5, 7, 8, 11, 13, 16, 17, 99])
def test_killed_at_any_statement_an_undo_happened_wholly_or_not_at_all(journal_url, people, at):
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        take(journal, *(step_of(one, offer="gift", code=one.contact_id) for one in people[:10]), run="run-2")
        leave(journal, people[20], run="run-2")
        late = [episode_of("late:1"), episode_of("late:2")]
        enter(journal, *late, run="run-2")
        take(journal, step_of(late[0], target=None), step_of(late[1], offer="gift", code="L"), run="run-2")
        before = list(journal.episodes.everybody())
    said = died(UNDO, journal_url, at)
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        if not said and list(journal.episodes.everybody()) == before:
            assert check_agreeing(journal) == (12, 11)
            journal.episodes.undo("run-2", START)
        assert check_agreeing(journal) == (11, 0)
        assert journal.episodes.undo("run-2", START).steps == 0
        states = [journal.episodes.get(one.episode_id).step_state for one in people]
        assert states == ["undone"] * 10 + [None] * 20
        assert journal.episodes.get(people[20].episode_id).open
        assert journal.episodes.get(late[0].episode_id).exit_reason == "undone"
        assert journal.episodes.get(late[1].episode_id) is None


@pytest.mark.parametrize("attempt", range(2))
def test_killed_in_the_middle_of_daily_work_nothing_acknowledged_is_lost(journal_url, attempt):
    process = spawn(DAILY, journal_url)
    expect(process, "held")
    for _ in range(random.Random(attempt).randrange(5, 30)):
        process.stdout.readline()
    process.kill()
    said = [line.split() for line in process.stdout.read().split("\n")[:-1]]
    kill(process)
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        steps, codes = check_agreeing(journal)
        assert steps == codes
        assert steps % 20 == 0
        for what, day in said:
            entered = [journal.episodes.get(episode_of(f"hubspot:{day}-{number}").episode_id) for number in range(20)]
            if what == "taken":
                assert {episode.step for episode in entered} == {"reminder"}
            elif what == "written":
                assert {episode.step_state for episode in entered} == {"written"}
            else:
                assert [episode.open for episode in entered] == [False] + [True] * 19
        # Whatever was written is on the list, and nothing else.
        on_list = journal.held.members("crm").get(STEP_LIST, set())
        written = {e.contact_id[8:] for e in journal.episodes.everybody() if e.step_state == "written"}
        assert written == on_list
        with journal.lock("run"):
            take(journal, *(step_of(one, "offer") for one in journal.episodes.everybody() if one.open), run="next")

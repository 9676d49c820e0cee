"""Runs, cursors, plans, decisions and the audit chain: what is written comes back, on both databases."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from connector.errors import StateError
from connector.journal import Journal, RunState
from connector.journal.audit import _digest
from connector.journal.tables import audit
from tests.fakes.clocks import START, VirtualClock
from tests.fakes.databases import on_both  # noqa: F401 - the fixture `journal_url`
from tests.fakes.journals import finish_all, spawn


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def journal(journal_url, clock):
    with Journal.open(journal_url, clock=clock) as opened:
        yield opened


# --- runs ---------------------------------------------------------------------------------------------------------


def test_a_run_is_remembered_from_start_to_end(journal, clock):
    run_id = journal.runs.start("apply", playbook_digest="abc")
    begun = journal.runs.get(run_id)
    assert (begun.state, begun.started_at, begun.finished_at) == (RunState.RUNNING, START, None)
    clock.advance(90)
    journal.runs.finish(run_id, state="partial", summary={"written": 9995, "rejected": 5})
    ended = journal.runs.get(run_id)
    assert (ended.state, ended.finished_at) == (RunState.PARTIAL, START + timedelta(seconds=90))
    assert ended.summary == {"written": 9995, "rejected": 5}
    assert ended.playbook_digest == "abc"


def test_run_ids_are_unique_and_sort_by_time_even_when_the_clock_stands_still(journal, clock):
    ids = [journal.runs.start("pull", playbook_digest="d") for _ in range(12)]
    clock.advance(1)
    ids.append(journal.runs.start("pull", playbook_digest="d"))
    assert ids == sorted(set(ids))
    assert ids[0] == "20261102-093000-00001"


def test_recent_runs_come_newest_first_and_only_as_many_as_asked(journal):
    ids = [journal.runs.start("pull", playbook_digest="d") for _ in range(5)]
    assert [run.run_id for run in journal.runs.recent(3)] == ids[:1:-1]


def test_the_last_successful_run_of_a_kind_is_neither_failed_nor_of_another_kind(journal):
    states = [("run", "done"), ("run", "failed"), ("pull", "done"), ("run", "stopped"), ("run", "interrupted")]
    ids = []
    for kind, state in states:
        ids.append(journal.runs.start(kind, playbook_digest="d"))
        journal.runs.finish(ids[-1], state=state, summary={})
    journal.runs.start("run", playbook_digest="d")
    assert journal.runs.last_successful("run").run_id == ids[0]
    assert journal.runs.last_successful("apply") is None


def test_a_run_that_never_ended_can_be_closed_as_interrupted(journal):
    killed = journal.runs.start("run", playbook_digest="d")
    elsewhere = journal.runs.start("pull", playbook_digest="d")
    mine = journal.runs.start("run", playbook_digest="d")
    assert journal.runs.close_interrupted(kind="run", but=mine) == (killed,)
    assert [journal.runs.get(run).state for run in (killed, elsewhere, mine)] == ["interrupted", "running", "running"]


def test_finishing_a_run_that_does_not_exist_is_an_error(journal):
    with pytest.raises(StateError, match="no run 20200101"):
        journal.runs.finish("20200101-000000-00001", state="done", summary={})


@pytest.mark.parametrize("state", ["finished", "running", ""])
def test_a_run_ends_only_in_a_state_we_know(journal, state):
    run_id = journal.runs.start("pull", playbook_digest="d")
    with pytest.raises(ValueError, match=f"'{state}'"):
        journal.runs.finish(run_id, state=state, summary={})
    assert journal.runs.get(run_id).state is RunState.RUNNING


# --- cursors ------------------------------------------------------------------------------------------------------


def test_a_cursor_replaces_the_one_before_it(journal):
    assert journal.cursors.load("crm", "contacts") is None
    journal.cursors.save("crm", "contacts", {"after": "1", "nested": {"at": [1, 2.5, None, True]}}, START)
    journal.cursors.save("crm", "companies", {"after": "x"}, START)
    later = START + timedelta(hours=1)
    journal.cursors.save("crm", "contacts", {"after": "2"}, later)
    assert journal.cursors.load("crm", "contacts") == {"after": "2"}
    assert {key: (saved.cursor, saved.saved_at) for key, saved in journal.cursors.all().items()} == {
        ("crm", "companies"): ({"after": "x"}, START),
        ("crm", "contacts"): ({"after": "2"}, later),
    }


def test_times_come_back_in_utc_to_the_microsecond_whatever_zone_they_were_given_in(journal):
    given = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    journal.cursors.save("crm", "contacts", {}, given)
    saved = journal.cursors.all()["crm", "contacts"].saved_at
    assert saved == given
    assert saved.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(journal):
    with pytest.raises(sa.exc.StatementError, match="aware"):
        journal.cursors.save("crm", "contacts", {}, datetime(2026, 1, 1))  # noqa: DTZ001 - the point
    assert journal.cursors.load("crm", "contacts") is None


# --- plans --------------------------------------------------------------------------------------------------------


def test_a_plan_is_saved_once_and_marked_when_applied(journal, clock):
    journal.plans.save("p1", {"changes": {"add": 3}}, START)
    journal.plans.save("p1", {"changes": {"add": 3}}, START + timedelta(days=1))
    clock.advance(60)
    journal.plans.mark_applied("p1", "run-1")
    plan = journal.plans.get("p1")
    assert (plan.document, plan.saved_at) == ({"changes": {"add": 3}}, START)
    assert (plan.run_id, plan.applied_at) == ("run-1", START + timedelta(seconds=60))


def test_an_unknown_plan_is_none_and_cannot_be_marked(journal):
    assert journal.plans.get("nope") is None
    with pytest.raises(StateError, match="no plan nope"):
        journal.plans.mark_applied("nope", "run-1")


# --- decisions ----------------------------------------------------------------------------------------------------

MONDAY, TUESDAY = date(2026, 11, 2), date(2026, 11, 3)


def test_a_complete_publication_replaces_everything(journal):
    assert journal.decisions.publish(MONDAY, {"hubspot:1": {"segment": "cold"}, "hubspot:2": {"segment": None}}) == 2
    assert journal.decisions.publish(TUESDAY, {"hubspot:2": {"segment": "dormant_30"}}) == 1
    assert journal.decisions.get("hubspot:1") is None
    decision = journal.decisions.get("hubspot:2")
    assert (decision.as_of, decision.document) == (TUESDAY, {"segment": "dormant_30"})


def test_a_partial_publication_moves_everyones_date_and_changes_only_its_rows(journal):
    journal.decisions.publish(MONDAY, {f"hubspot:{n}": {"n": n} for n in range(3)})
    journal.decisions.publish(TUESDAY, [("hubspot:1", {"n": "new"})], complete=False, gone=["hubspot:2"])
    assert journal.decisions.get("hubspot:0").document == {"n": 0}
    assert journal.decisions.get("hubspot:0").as_of == TUESDAY
    assert journal.decisions.get("hubspot:1").document == {"n": "new"}
    assert journal.decisions.get("hubspot:2") is None


def test_a_publication_larger_than_one_transaction_is_complete(journal):
    assert journal.decisions.publish(MONDAY, ((f"hubspot:{n}", {"n": n}) for n in range(12_345))) == 12_345
    assert [journal.decisions.get(f"hubspot:{n}").document["n"] for n in (0, 4999, 5000, 12_344)] == [
        0,
        4999,
        5000,
        12_344,
    ]


def test_a_publication_that_broke_off_leaves_the_old_decisions_with_their_date(journal):
    journal.decisions.publish(MONDAY, {"hubspot:1": {"n": 1}, "hubspot:2": {"n": 2}})

    def breaking():
        yield from ((f"hubspot:{n}", {"n": "new"}) for n in range(1000, 7000))
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        journal.decisions.publish(TUESDAY, breaking())
    assert journal.decisions.get("hubspot:1").as_of == MONDAY
    assert journal.decisions.get("hubspot:1000").as_of == TUESDAY
    journal.decisions.publish(TUESDAY, {"hubspot:1": {"n": 1}})
    assert journal.decisions.get("hubspot:1000") is None


# --- audit --------------------------------------------------------------------------------------------------------


def fill(journal, rows: int = 6) -> None:
    for number in range(rows):
        journal.audit.append("apply", {"run": f"run-{number}", "written": number})


def tamper(journal, statement: str) -> None:
    with journal._database.write() as connection:
        assert connection.exec_driver_sql(statement).rowcount >= 1


def test_an_untouched_chain_is_whole(journal, clock):
    assert journal.audit.verify() is None
    fill(journal)
    assert journal.audit.verify() is None
    assert [(row.number, row.kind, row.detail["run"]) for row in journal.audit.recent(2)] == [
        (6, "apply", "run-5"),
        (5, "apply", "run-4"),
    ]


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ('UPDATE audit SET detail = \'{"run":"run-9","written":3}\' WHERE number = 4', 4),
        ("UPDATE audit SET kind = 'undo' WHERE number = 1", 1),
        ("UPDATE audit SET at = (SELECT max(finished_at) FROM runs) WHERE number = 6", 6),
        ("DELETE FROM audit WHERE number = 3", 3),
        ("DELETE FROM audit WHERE number > 4", 5),
        ("DELETE FROM audit", 1),
        ("UPDATE audit SET previous = digest WHERE number = 2", 2),
        ("INSERT INTO audit SELECT 7, at, kind, detail, digest, previous FROM audit WHERE number = 6", 7),
    ],
)
def test_verify_names_the_first_row_that_was_touched(journal, clock, statement, row):
    fill(journal)
    clock.advance(5)
    journal.runs.finish(journal.runs.start("pull", playbook_digest="d"), state="done", summary={})
    tamper(journal, statement)
    assert journal.audit.verify().number == row


def test_a_last_row_that_was_replaced_together_with_its_digest_is_found(journal):
    fill(journal)
    detail = '{"run":"forged"}'
    with journal._database.read() as connection:
        row = connection.execute(sa.select(audit).where(audit.c.number == 6)).one()
    forged = _digest(6, row.at, "apply", detail, row.previous)
    tamper(journal, f"UPDATE audit SET detail = '{detail}', digest = '{forged}' WHERE number = 6")
    broken = journal.audit.verify()
    assert (broken.number, broken.reason) == (6, "row 6 was replaced")


def test_processes_that_append_at_once_make_one_chain(journal, journal_url):
    code = """
import sys
from connector.clock import SystemClock
from connector.journal import Journal
with Journal.open(sys.argv[1], clock=SystemClock()) as journal:
    for number in range(15):
        journal.audit.append("apply", {"number": number})
"""
    finish_all([spawn(code, journal_url) for _ in range(3)])
    assert journal.audit.verify() is None
    assert journal.audit.recent(1)[0].number == 45

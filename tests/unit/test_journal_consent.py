"""The consent ledger: every line once, in no line a word changed, whoever asks the database to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from connector.journal import Journal
from connector.journal import consent as consent_module
from connector.program.consent import fold
from connector.program.model import Basis, ConsentEvent, ConsentState, Status
from tests.fakes.clocks import START, VirtualClock
from tests.fakes.databases import on_both  # noqa: F401 - the fixture `journal_url`
from tests.fakes.journals import finish_all, spawn

DAY = timedelta(days=1)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def journal(journal_url, clock):
    with Journal.open(journal_url, clock=clock) as opened:
        yield opened


def said(subject="hubspot:1", status="withdrawn", *, at=START - DAY, key=None, **more):
    return ConsentEvent(
        subject=subject,
        status=Status(status),
        captured_at=at,
        source="hubspot",
        event_key=key or f"{subject}/{status}/{at:%F %T}",
        **more,
    )


def heard(event, at=START):
    return replace(event, recorded_at=at)


def test_a_line_comes_back_as_it_was_said_with_the_time_it_was_heard(journal):
    given = said(
        status="granted",
        basis=Basis.SOFT_OPT_IN,
        channel="all",
        purpose="newsletter",
        evidence={"form": "https://acme.example/sign-up", "wording": 3, "field": None},
        expires_at=START + 365 * DAY,
        actor="hubspot:user:9",
        recorded_at=START - 300 * DAY,
    )
    assert journal.consent.record([given]) == 1
    (found,) = journal.consent.history("hubspot:1")
    assert found == heard(given)
    assert (found.basis, found.status) == (Basis.SOFT_OPT_IN, Status.GRANTED)
    assert (found.captured_at.tzinfo, found.recorded_at.tzinfo) == (UTC, UTC)
    assert journal.consent.history("hubspot:2") == []


def test_an_event_counts_once_however_often_it_is_heard(journal, clock):
    event = said()
    assert journal.consent.record([event, event]) == 1
    clock.advance(60)
    assert journal.consent.record([replace(event, status=Status.RESUBSCRIBED), said(status="bounced")]) == 1
    assert [(line.status, line.recorded_at) for line in journal.consent.history("hubspot:1")] == [
        ("withdrawn", START),
        ("bounced", START + timedelta(seconds=60)),
    ]
    assert journal.consent.record([]) == 0


@pytest.mark.parametrize(
    "attempt",
    [
        "UPDATE consent_events SET status = 'granted'",
        "UPDATE consent_events SET subject = 'hubspot:2' WHERE subject = 'hubspot:1'",
        "UPDATE consent_events SET evidence = evidence",
        "DELETE FROM consent_events",
        "DELETE FROM consent_events WHERE subject = 'hubspot:1'",
    ],
)
def test_the_database_refuses_to_change_or_delete_a_line(journal, attempt):
    journal.consent.record([said()])
    with pytest.raises(IntegrityError, match="append-only"), journal._database.write() as connection:
        connection.exec_driver_sql(attempt)
    assert journal.consent.history("hubspot:1") == [heard(said())]


def test_a_line_cannot_be_replaced_or_emptied_away_either(journal):
    journal.consent.record([said()])
    again = "number, event_key, subject, 'granted', captured_at, source, basis, channel, purpose, evidence, expires_at, actor, recorded_at"
    with journal._database.write() as connection:
        if journal._database.is_sqlite:
            connection.exec_driver_sql(f"INSERT OR REPLACE INTO consent_events SELECT {again} FROM consent_events")
            other = again.replace("event_key", "'other'")
            connection.exec_driver_sql(f"INSERT OR REPLACE INTO consent_events SELECT {other} FROM consent_events")
    if not journal._database.is_sqlite:
        copied = "INSERT INTO consent_events SELECT * FROM consent_events"
        replaced = f"{copied} ON CONFLICT (event_key) DO UPDATE SET status = 'granted'"
        for attempt in ("TRUNCATE consent_events", replaced):
            with pytest.raises(IntegrityError, match="append-only"), journal._database.write() as connection:
                connection.exec_driver_sql(attempt)
    assert journal.consent.history("hubspot:1") == [heard(said())]


def test_states_are_the_fold_of_each_subjects_lines(journal):
    lines = [
        said("hubspot:1", "granted", basis=Basis.CONSENT_EXPRESS, at=START - 9 * DAY),
        said("hubspot:1", "withdrawn", at=START - 3 * DAY),
        said("hubspot:2", "snoozed", expires_at=START + 30 * DAY),
        said("email:0f1e2d", "complained"),
    ]
    journal.consent.record(lines[::-1])
    states = journal.consent.states()
    assert set(states) == {"hubspot:1", "hubspot:2", "email:0f1e2d"}
    assert states["hubspot:1"] == fold(map(heard, lines[:2]))
    assert states["hubspot:1"].opted_out_at == START - 3 * DAY
    assert states["hubspot:2"].snoozed_until == START + 30 * DAY
    assert states["email:0f1e2d"].complained_at == START - DAY
    assert {subject: journal.consent.state(subject) for subject in states} == states
    assert journal.consent.state("hubspot:9") == ConsentState()


def test_what_a_merged_person_said_counts_for_the_survivor_and_no_line_changes(journal):
    journal.consent.record(
        [
            said("a", "withdrawn", at=START - 5 * DAY),
            said("b", "granted", basis=Basis.CONSENT_EXPRESS, at=START - 4 * DAY),
            said("c", "bounced", at=START - 3 * DAY),
            said("d", "complained"),
        ]
    )
    states = journal.consent.states({"a": "b", "b": "c", "x": "y"})
    assert set(states) == {"c", "d"}
    assert (states["c"].opted_out_at, states["c"].bounced_at) == (START - 5 * DAY, START - 3 * DAY)
    assert states["c"] == journal.consent.state("c", formerly={"a", "b"})
    assert [line.subject for line in journal.consent.history("c", formerly=["b", "a"])] == ["a", "b", "c"]
    assert set(journal.consent.states()) == {"a", "b", "c", "d"}


def test_states_of_some_are_the_states_of_all_for_them(journal):
    journal.consent.record(
        [said("a", "withdrawn", at=START - 5 * DAY), said("b", "bounced"), said("c", "complained"), said("d", "erased")]
    )
    aliases = {"a": "b", "d": "e"}
    everybody = journal.consent.states(aliases)
    assert journal.consent.states_of(["b", "c", "nobody"], aliases) == {name: everybody[name] for name in "bc"}
    assert journal.consent.states_of(["b"])["b"].opted_out_at is None
    assert journal.consent.states_of({"e"}, aliases)["e"].erased_at == START - DAY
    assert journal.consent.states_of([]) == {}


def test_what_was_said_of_a_contact_nobody_has_any_more_reaches_a_survivor_the_ledger_does_not_know(journal):
    journal.consent.record([said("a", "withdrawn")])
    assert journal.consent.states({"a": "b"})["b"].opted_out_at == START - DAY


def test_states_come_whole_however_many_lines_a_subject_has(journal, monkeypatch):
    monkeypatch.setattr(consent_module, "_PAGE", 3)
    lines = [
        said(f"hubspot:{number % 4}", status, at=START - number * DAY)
        for number, status in enumerate(["withdrawn", "bounced", "complained", "granted", "legal_hold"] * 6)
    ]
    journal.consent.record(lines)
    states = journal.consent.states()
    for subject in ("hubspot:0", "hubspot:1", "hubspot:2", "hubspot:3"):
        assert states[subject] == fold(heard(line) for line in lines if line.subject == subject)


def test_more_lines_than_one_statement_takes_are_all_there(journal):
    lines = [said(f"hubspot:{number}") for number in range(5_200)]
    assert journal.consent.record(lines) == 5_200
    assert journal.consent.record([*lines, said("new")]) == 1
    assert len(journal.consent.states()) == 5_201


def test_history_is_in_the_order_things_happened_not_in_the_order_we_heard(journal):
    journal.consent.record([said(status="resubscribed", at=START - DAY), said(status="withdrawn", at=START - 2 * DAY)])
    assert [line.status for line in journal.consent.history("hubspot:1")] == ["withdrawn", "resubscribed"]


def test_processes_that_hear_the_same_event_at_once_record_it_once(journal, journal_url):
    code = """
import sys
from datetime import UTC, datetime
from connector.clock import SystemClock
from connector.journal import Journal
from connector.program.model import ConsentEvent, Status
at = datetime(2026, 11, 1, tzinfo=UTC)
with Journal.open(sys.argv[1], clock=SystemClock()) as journal:
    print(sum(journal.consent.record([
        ConsentEvent(subject="hubspot:1", status=Status.WITHDRAWN, captured_at=at, source="link", event_key=str(number))
    ]) for number in range(40)))
"""
    said_by = finish_all([spawn(code, journal_url) for _ in range(3)])
    assert sum(map(int, said_by)) == 40
    with journal._database.read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM consent_events")).scalar() == 40

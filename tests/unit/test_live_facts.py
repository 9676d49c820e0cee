"""What was heard becomes facts of the warehouse, once each, and what the warehouse knows of people reaches the journal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from connector.journal import Journal
from connector.journal.facts import Fact
from connector.live.facts_source import _MAPPINGS, NAME, FactsSource
from connector.pull import pull
from connector.warehouse import Warehouse
from mappings.schema import from_user
from tests.fakes.clocks import VirtualClock
from tests.fakes.databases import on_both  # noqa: F401 - the fixture `journal_url`
from tests.fakes.hearing import KEYS
from tests.fakes.journals import Silence
from tests.fakes.warehouse_feed import Feed, checked, mapping

DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
CONTACTS = mapping("contacts", "contact_id", "email", "external_id", "merged_ids", "secondary_emails")


@pytest.fixture
def journal(journal_url):
    with Journal.open(journal_url, clock=VirtualClock(NOON)) as opened:
        yield opened


@pytest.fixture
def feed():
    with Warehouse.open("duckdb:///:memory:") as warehouse:
        fed = Feed(warehouse)
        people = [
            {"contact_id": "1", "email": "one@example.com", "external_id": "u1"},
            {"contact_id": "2", "email": "two@example.com", "external_id": None},
            {"contact_id": "3", "email": "three@example.com", "external_id": None, "merged_ids": "30;31"},
        ]
        fed.page(
            [{"merged_ids": None, "secondary_emails": None, **one} for one in people],
            CONTACTS,
            source="crm",
            system="hubspot",
        )
        yield fed


def fact(key: str, kind: str = "usage", *, contact_id=None, who=("external_id", "u1"), days=0.0, **values) -> Fact:
    said = {
        "usage": {"feature": "editor", "events": 1, "event_id": key},
        "transaction": {"kind": "payment", "amount": 9.5, "currency": "EUR"},
        "engagement": {"kind": "click", "campaign": "win-back/offer", "machine": False},
    }[kind]
    return Fact(
        key=key,
        kind=kind,
        who_kind=who[0],
        who=who[1],
        at=NOON - timedelta(days=days),
        source="segment",
        values={**said, **values},
        contact_id=contact_id,
    )


def read(feed: Feed, journal: Journal, *, whose=lambda _: None, merged=None):
    source = FactsSource(journal.facts, whose=whose, merged=merged)
    reports = {}
    for info in source.streams():
        reports[info.name] = pull(
            source,
            info.name,
            name=NAME,
            mapping=from_user(source.system, info.name, info.into, dict(_MAPPINGS[info.name])),
            warehouse=feed.warehouse,
            clock=VirtualClock(NOON),
            reporter=Silence(),
        )
    feed.ready()
    return reports


def days_of(feed: Feed, contact_id: str) -> int:
    return feed.warehouse.contact_row(contact_id, DAY)["active_days_90"]


def test_each_fact_is_read_once_and_into_its_own_table(feed, journal):
    journal.facts.record([fact("a"), fact("b", days=1), fact("p", "transaction"), fact("m", "engagement")])
    reports = read(feed, journal)
    assert {name: report.new for name, report in reports.items()} == {"usage": 2, "transactions": 1, "engagements": 1}
    assert all(report.rejects == 0 for report in reports.values())
    row = feed.warehouse.contact_row("hubspot:1", DAY)
    assert (row["active_days_90"], row["value_365d"], row["last_feature"]) == (2, 9.5, "editor")
    assert all(report.rows == 0 for report in read(feed, journal).values())
    journal.facts.record([fact("c", days=2)])
    assert read(feed, journal)["usage"].new == 1
    assert days_of(feed, "hubspot:1") == 3


def test_a_contact_that_was_known_when_it_was_heard_is_the_contact(feed, journal):
    journal.facts.record([fact("a", contact_id="hubspot:2", who=("contact_id", "hubspot:2"))])
    read(feed, journal)
    assert (days_of(feed, "hubspot:1"), days_of(feed, "hubspot:2")) == (0, 1)


def test_facts_about_somebody_who_was_merged_since_are_the_survivors(feed, journal):
    journal.facts.record([fact("a", contact_id="hubspot:30", who=("contact_id", "hubspot:30"))])
    read(feed, journal, merged=feed.warehouse.merged("hubspot"))
    assert days_of(feed, "hubspot:3") == 1


def test_a_hashed_address_means_whoever_has_it_by_now(feed, journal):
    key = KEYS.email("Two@Example.com")
    owners = {KEYS.email(email): contact_id for contact_id, email in feed.warehouse.addresses()}
    journal.facts.record([fact("a", who=("email", key)), fact("b", who=("email", KEYS.email("nobody@example.com")))])
    reports = read(feed, journal, whose=owners.get)
    assert (reports["usage"].new, reports["usage"].rejects) == (2, 0)
    assert days_of(feed, "hubspot:2") == 1


def test_a_cancellation_is_no_payment(feed, journal):
    entered = NOON - timedelta(days=30)
    ended = fact("p", "transaction", contact_id="hubspot:1")
    journal.facts.record([replace(ended, values={"kind": "cancellation", "amount": 0.0, "currency": None})])
    read(feed, journal)
    feed.warehouse.evaluate([checked("all", "true")], DAY)
    (row,) = feed.warehouse.people(DAY, episodes=[("hubspot:1", entered, entered.date())], only="hubspot:1")
    assert row["transactions_since_enrollment"] == 0


def test_many_facts_are_read_in_pages_and_none_is_passed_over(feed, journal, monkeypatch):
    monkeypatch.setattr("connector.live.facts_source._AT_ONCE", 7)
    journal.facts.record([fact(f"e{n}", days=n) for n in range(30)])
    report = read(feed, journal)["usage"]
    assert (report.new, report.pages) == (30, 5)
    assert feed.warehouse.cursor(NAME, "usage") == {"number": journal.facts.newest()}


# --- who is known by what -----------------------------------------------------------------------------------------


def known(feed: Feed, *entered: str) -> set[tuple[str, str, str]]:
    return set(feed.warehouse.identities(list(entered), ours=NAME))


def test_people_in_a_segment_or_a_program_are_known_by_all_their_ids(feed):
    feed.usage([{"contact_id": "u1", "occurred_at": NOON, "feature": "x"}])
    feed.usage([{"contact_id": "p2", "occurred_at": NOON, "feature": "x", "email": "two@example.com"}])
    feed.ready()
    assert known(feed) == set()
    assert known(feed, "hubspot:1") == {
        ("external_id", "u1", "hubspot:1"),
        ("email", "one@example.com", "hubspot:1"),
    }
    feed.warehouse.evaluate([checked("active", "inactive_days < 9", "inactive_days")], DAY)
    feed.warehouse.record_evaluation(DAY)
    assert known(feed, "hubspot:3") == {
        ("external_id", "u1", "hubspot:1"),
        ("email", "one@example.com", "hubspot:1"),
        ("external_id", "p2", "hubspot:2"),
        ("email", "two@example.com", "hubspot:2"),
        ("email", "three@example.com", "hubspot:3"),
        ("record", "hubspot:30", "hubspot:3"),
        ("record", "hubspot:31", "hubspot:3"),
    }


def test_what_means_two_people_means_nobody_and_a_shared_address_whoever_is_in_a_program(feed):
    double = {"email": "one@example.com", "external_id": "u1", "merged_ids": None, "secondary_emails": None}
    feed.page([{"contact_id": "0", **double}], CONTACTS, source="crm", system="hubspot")
    feed.ready()
    assert known(feed, "hubspot:1") == {("email", "one@example.com", "hubspot:1")}
    assert known(feed, "hubspot:0", "hubspot:1") == {("email", "one@example.com", "hubspot:0")}

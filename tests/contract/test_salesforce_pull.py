"""A Salesforce org pulled into the real warehouse through the shipped mappings."""

from __future__ import annotations

import pytest

from adapters.salesforce.ids import record_id
from adapters.salesforce.options import STREAMS
from connector.pull import pull
from connector.warehouse import Warehouse
from mappings.schema import load_shipped
from tests.fakes.salesforce_worlds import SalesforceWorld, contact, lead


@pytest.fixture
def world(tmp_path):
    world = SalesforceWorld(tmp_path, contacts=40, leads=10, accounts=50, streams=STREAMS)
    yield world
    world.stop()


@pytest.fixture
def warehouse():
    with Warehouse.open("duckdb:///:memory:") as opened:
        yield opened


def pull_all(world, warehouse, *, full=False):
    """Every stream once; nothing may be set aside."""
    source = world.source()
    reports = {}
    for info in source.streams():
        mapping = load_shipped("salesforce", info.default_mapping)
        assert mapping is not None and mapping.into == info.into
        report = pull(
            source,
            info.name,
            name="crm",
            mapping=mapping,
            warehouse=warehouse,
            clock=world.clock,
            reporter=source._reporter,
            full=full,
        )
        assert report.rejects == 0, report.rejected_sample
        reports[info.name] = report
    source.close()
    world.pass_time(1200)
    return reports


def person(warehouse, row_id):
    (row,) = warehouse.flags([f"salesforce:{row_id}"])
    return row


def test_people_of_both_kinds_their_companies_and_deals_arrive(world, warehouse):
    world.insert(
        "Opportunity", Name="A", StageName="Closed Won", CloseDate="2026-10-01", Amount=100.0,
        AccountId=record_id("Account", 1), ContactId=contact(1),
    )  # fmt: skip
    reports = pull_all(world, warehouse)
    new = {name: report.new for name, report in reports.items()}
    assert new == {
        "contacts": 40, "leads": 10, "accounts": 50, "consents": 0, "transactions": 1, "engagements": 0,
        "responses": 0,
    }  # fmt: skip
    again = pull_all(world, warehouse)
    assert {name: (report.new, report.changed) for name, report in again.items()} == dict.fromkeys(STREAMS, (0, 0))
    assert person(warehouse, contact(9))["opted_out_here"] is True
    assert person(warehouse, contact(8))["opted_out_here"] is False


def test_a_second_stream_of_people_does_not_delete_those_of_the_first(world, warehouse):
    pull_all(world, warehouse)
    pull_all(world, warehouse, full=True)
    assert person(warehouse, contact(1))["deleted_at"] is None
    assert person(warehouse, lead(1))["deleted_at"] is None


def test_a_full_reading_finds_who_vanished_while_nothing_was_pulled_and_leaves_the_other_stream_alone(world, warehouse):
    pull_all(world, warehouse)
    world.bin([contact(7)])
    world.state.purge(contact(7))
    world.pass_time(40 * 86_400)
    pull_all(world, warehouse)
    assert person(warehouse, contact(7))["deleted_at"] is None
    pull_all(world, warehouse, full=True)
    assert person(warehouse, contact(7))["deleted_at"] is not None
    assert person(warehouse, contact(8))["deleted_at"] is None and person(warehouse, lead(7))["deleted_at"] is None


def test_a_merged_contact_a_converted_lead_and_a_deleted_one_are_told_apart(world, warehouse):
    pull_all(world, warehouse)
    with world.state.lock:
        world.state.merge(contact(5), [contact(6)])
        world.state.convert(lead(2), contact_id=contact(3))
    world.bin([contact(7)])
    pull_all(world, warehouse)
    warehouse.match_identities(["email"])
    merged, converted, gone = (person(warehouse, row_id) for row_id in (contact(6), lead(2), contact(7)))
    assert merged["merged_into"] == f"salesforce:{contact(5)}"
    assert converted["merged_into"] == f"salesforce:{contact(3)}"
    assert gone["merged_into"] is None and gone["deleted_at"] is not None
    assert warehouse.merged("salesforce") == {
        f"salesforce:{contact(6)}": f"salesforce:{contact(5)}",
        f"salesforce:{lead(2)}": f"salesforce:{contact(3)}",
    }


def test_no_wherever_it_is_kept_is_no(world, warehouse):
    pull_all(world, warehouse)
    individual = world.insert("Individual", LastName="Somebody")
    shy = world.insert("Individual", LastName="Somebody else", HasOptedOutSolicit=True)
    world.edit([contact(1)], IndividualId=individual)
    world.edit([lead(1)], IndividualId=shy)
    world.edit([contact(2)], EmailBouncedDate=world.state.clock.now_ms())
    world.insert(
        "ContactPointTypeConsent",
        Name="No",
        PartyId=individual,
        ContactPointType="Email",
        PrivacyConsentStatus="OptOut",
    )
    world.pass_time(60)
    pull_all(world, warehouse)
    warehouse.match_identities(["email"])
    assert person(warehouse, contact(1))["opted_out"] is True
    assert person(warehouse, lead(1))["opted_out"] is True
    assert person(warehouse, contact(2))["bounced"] is True
    assert not person(warehouse, contact(3))["opted_out"]


def test_a_run_with_nothing_new_takes_less_than_ten_calls_for_all_streams_read_by_default(tmp_path, warehouse):
    world = SalesforceWorld(tmp_path, contacts=40, leads=10, accounts=50)
    pull_all(world, warehouse)
    pull_all(world, warehouse)
    before = world.calls()
    pull_all(world, warehouse)
    made = world.calls() - before
    world.stop()
    assert made <= 9

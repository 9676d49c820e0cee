"""One person in two CRMs: who is taken for whom, who is not and why, and what is believed of them."""

from __future__ import annotations

from datetime import date

import pytest

from connector.warehouse import Warehouse
from connector.warehouse.same_person import Crms
from mappings.schema import from_user
from tests.fakes.warehouse_feed import Feed, checked

COLUMNS = (
    *("contact_id", "email", "external_id", "first_name", "last_name", "plan_tier", "owner", "account_id", "opted_out"),
    *("can_email", "bounced", "created_at", "deleted_at", "merged_into", "secondary_emails", "merged_ids"),
)
_FIELDS = {name: name for name in (*COLUMNS, "attributes.nps", "attributes.legal_hold")}
CONTACTS = from_user("x", "contacts", "contacts", {name: field.split(".")[-1] for name, field in _FIELDS.items()})
DAY = date(2026, 1, 2)
BOTH = Crms(("hubspot", "salesforce"))
MATCH = ("external_id", "email")


@pytest.fixture
def feed():
    with Warehouse.open("duckdb:///:memory:") as warehouse:
        yield Feed(warehouse)


def listed(feed: Feed, system: str, **people: dict) -> None:
    empty = dict.fromkeys((*COLUMNS, "nps", "legal_hold"))
    records = [empty | {"contact_id": row_id.removeprefix("_")} | fields for row_id, fields in people.items()]
    feed.page(records, CONTACTS, source=system)


def matched(feed: Feed, crms: Crms | None = BOTH, match=MATCH):
    report = feed.warehouse.match_identities(match, crms)
    feed.warehouse.refresh()
    return report


def persons(feed: Feed, *columns: str) -> dict[str, tuple]:
    _, batches = feed.warehouse.feature_batches(DAY, columns=columns)
    return {row[0]: row[1:] for batch in batches for row in batch}


def in_salesforce(feed: Feed) -> dict[str, str]:
    return {found.record_id: found.contact_id for found in feed.warehouse.elsewhere("salesforce")}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"email": "ann@acme.example"}, {"email": " ANN@acme.example"}),
        ({"external_id": "u1"}, {"external_id": "u1"}),
        ({"email": "ann@acme.example"}, {"email": "a@b.example", "secondary_emails": "ann@acme.example;x@y.example"}),
        ({"email": "a@b.example", "external_id": "u1"}, {"email": "ann@acme.example", "external_id": "u1"}),
    ],
)
def test_who_shares_an_id_or_an_address_is_one_person(feed, one, other):
    listed(feed, "hubspot", _1=one)
    listed(feed, "salesforce", A=other)
    assert matched(feed).together == 1
    assert set(persons(feed)) == {"hubspot:1"}
    assert in_salesforce(feed) == {"salesforce:A": "hubspot:1"}
    assert feed.warehouse.resolve("salesforce:A") == "hubspot:1"
    assert feed.warehouse.aliases() == {"salesforce:A": "hubspot:1"}


def test_the_order_of_the_crms_says_whose_contact_a_person_goes_by(feed):
    listed(feed, "hubspot", _1={"email": "ann@acme.example"})
    listed(feed, "salesforce", A={"email": "ann@acme.example"})
    matched(feed, Crms(("salesforce", "hubspot")))
    assert set(persons(feed)) == {"salesforce:A"}
    matched(feed)
    assert set(persons(feed)) == {"hubspot:1"}
    matched(feed, None)
    assert set(persons(feed)) == {"hubspot:1", "salesforce:A"}
    assert not feed.warehouse.aliases()


def test_an_id_decides_before_an_address_does(feed):
    listed(feed, "hubspot", _1={"email": "ann@acme.example", "external_id": "u1"}, _2={"email": "bob@acme.example"})
    listed(feed, "salesforce", A={"email": "bob@acme.example", "external_id": "u1"})
    matched(feed)
    assert in_salesforce(feed) == {"salesforce:A": "hubspot:1"}


@pytest.mark.parametrize(
    ("hubspot", "salesforce", "reason"),
    [
        (
            {"_1": {"email": "x@acme.example"}, "_2": {"email": "x@acme.example"}},
            {"A": {"email": "x@acme.example"}},
            "the address means more than one contact of a CRM before it",
        ),
        (
            {"_1": {"external_id": "u1"}, "_2": {"external_id": "u1"}},
            {"A": {"external_id": "u1"}},
            "the external id means more than one contact of a CRM before it",
        ),
        (
            {"_1": {"email": "x@acme.example", "external_id": "u1"}},
            {"A": {"email": "x@acme.example", "external_id": "u2"}},
            "the same address, but another external id",
        ),
        (
            {"_1": {"email": "x@acme.example"}},
            {"A": {"email": "x@acme.example"}, "L": {"email": "x@acme.example", "first_name": "X", "last_name": "Y"}},
            "others in its CRM have the address too, and it is not certain that they are one person",
        ),
    ],
)
def test_nothing_is_guessed_and_the_reason_is_told(feed, hubspot, salesforce, reason):
    listed(feed, "hubspot", **hubspot)
    listed(feed, "salesforce", **salesforce)
    report = matched(feed)
    assert report.apart == {reason: len(salesforce)}
    assert not in_salesforce(feed)
    assert len(persons(feed)) == len(hubspot) + len(salesforce)
    assert feed.warehouse.why_apart("salesforce:A") == reason
    assert feed.warehouse.why_apart("hubspot:1") is None


def test_a_lead_and_a_contact_are_one_person_only_where_that_is_certain(feed):
    name = {"first_name": "Ann", "last_name": "Lee"}
    listed(feed, "hubspot", _1={"email": "ann@acme.example"}, _2={"external_id": "u2"}, _3={"email": "c@acme.example"})
    listed(
        feed, "salesforce",
        A={"email": "ann@acme.example", "created_at": "2025-01-01", **name},
        B={"email": "ann@acme.example", "created_at": "2024-01-01", "first_name": " ann", "last_name": "LEE"},
        C={"external_id": "u2"}, D={"external_id": "u2"},
        E={"email": "c@acme.example", "external_id": "u3", **name},
        F={"email": "c@acme.example", "external_id": "u4", **name},
    )  # fmt: skip
    report = matched(feed)
    assert in_salesforce(feed) == {
        **{f"salesforce:{row}": "hubspot:1" for row in "AB"},
        **{f"salesforce:{row}": "hubspot:2" for row in "CD"},
    }
    assert sum(report.apart.values()) == 2
    main = {found.record_id for found in feed.warehouse.elsewhere("salesforce") if found.main}
    assert main == {"salesforce:B", "salesforce:C"}, "the oldest one is shown"


def test_a_deleted_contact_is_nobody_elsewhere(feed):
    listed(feed, "hubspot", _1={"email": "ann@acme.example"})
    listed(feed, "salesforce", A={"email": "ann@acme.example"})
    matched(feed)
    listed(feed, "hubspot", _1={"email": "ann@acme.example", "deleted_at": "2026-01-01T00:00:00Z"})
    matched(feed)
    assert not in_salesforce(feed)
    assert set(persons(feed)) == {"salesforce:A"}


def test_merges_inside_a_crm_lead_on_to_the_person(feed):
    listed(feed, "hubspot", _1={"email": "ann@acme.example", "merged_ids": "9"})
    listed(feed, "salesforce", A={"email": "ann@acme.example"}, B={"email": "old@acme.example", "merged_into": "A"})
    matched(feed)
    assert set(persons(feed)) == {"hubspot:1"}
    assert feed.warehouse.merged("salesforce") == {"salesforce:B": "salesforce:A"}
    assert feed.warehouse.merged("hubspot") == {"hubspot:9": "hubspot:1"}
    assert feed.warehouse.resolve("salesforce:B") == "hubspot:1"


def test_what_a_merged_contact_was_known_by_means_the_one_that_is_left(feed):
    listed(feed, "hubspot", _1={"email": "ann@acme.example"}, _2={"email": "o@acme.example", "merged_into": "1"})
    listed(feed, "salesforce", A={"email": "o@acme.example"})
    matched(feed)
    assert in_salesforce(feed) == {"salesforce:A": "hubspot:1"}


def test_usage_known_by_either_record_is_the_persons(feed):
    listed(feed, "hubspot", _1={"email": "ann@acme.example"})
    listed(feed, "salesforce", A={"email": "ann@acme.example", "external_id": "u1"})
    uses = [("u1", None, "2025-12-20"), ("login", "ann@acme.example", "2025-12-28")]
    feed.usage(
        [
            dict.fromkeys(("feature", "events", "event_id", "arrived_at", "external_id"))
            | {"contact_id": who, "email": email, "occurred_at": f"{on}T12:00:00Z"}
            for who, email, on in uses
        ]
    )
    matched(feed)
    assert persons(feed, "inactive_days", "active_days_28") == {"hubspot:1": (5, 2)}


def test_a_column_is_what_the_believed_crm_says_else_the_first_that_says_anything(feed):
    listed(feed, "hubspot", _1={"email": "a@b.example", "plan_tier": "free", "nps": "3", "owner": None})
    listed(feed, "salesforce", A={"email": "a@b.example", "plan_tier": "pro", "nps": "9", "owner": "joe"})
    matched(feed)
    assert persons(feed, "plan_tier", "owner")["hubspot:1"] == ("free", "joe")
    matched(feed, Crms(BOTH.systems, {"plan_tier": "salesforce", "attributes.nps": "salesforce"}))
    assert persons(feed, "plan_tier", "owner")["hubspot:1"] == ("pro", "joe")
    (row,) = [feed.warehouse.contact_row("hubspot:1", DAY)]
    assert '"9"' in row["attributes"]
    assert row["email"] == "a@b.example"


@pytest.mark.parametrize(("one", "other", "both"), [(True, False, False), (False, None, False), (None, True, True)])
def test_a_no_of_either_crm_is_one(feed, one, other, both):
    listed(feed, "hubspot", _1={"email": "a@b.example", "can_email": one})
    listed(feed, "salesforce", A={"email": "a@b.example", "can_email": other, "legal_hold": "yes"})
    matched(feed)
    assert persons(feed, "can_email")["hubspot:1"] == (both,)
    assert '"legal_hold":true' in feed.warehouse.contact_row("hubspot:1", DAY)["attributes"].replace(" ", "")


@pytest.mark.parametrize("flag", ["opted_out", "bounced"])
@pytest.mark.parametrize("said_in", ["hubspot", "salesforce"])
def test_an_opt_out_or_a_bounce_in_either_is_the_persons(feed, flag, said_in):
    listed(feed, "hubspot", _1={"email": "a@b.example", flag: said_in == "hubspot"})
    listed(feed, "salesforce", A={"email": "a@b.example", flag: said_in == "salesforce"})
    matched(feed)
    feed.warehouse.evaluate([checked("all", "true")], DAY)
    (row,) = feed.warehouse.people(DAY)
    assert row["contact_id"] == "hubspot:1"
    assert row[flag] is True
    assert bool(row["opted_out_here"]) is (flag == "opted_out" and said_in == "hubspot")
    for contact_id in ("hubspot:1", "salesforce:A"):
        assert feed.warehouse.flags([contact_id])[0][flag] is True


def test_two_who_share_an_address_and_are_not_one_person_get_one_mail(feed):
    """Which of them is first is the first CRM's to say: whoever was active last comes second there."""
    listed(feed, "hubspot", _1={"email": "x@acme.example"}, _2={"email": "x@acme.example"})
    listed(feed, "salesforce", A={"email": "x@acme.example"}, B={"email": "y@acme.example"})
    matched(feed)
    feed.warehouse.evaluate([checked("all", "true")], DAY)
    first = {row["contact_id"]: row["first_with_address"] for row in feed.warehouse.people(DAY)}
    assert first == {"hubspot:1": True, "hubspot:2": False, "salesforce:A": False, "salesforce:B": True}


def test_a_plan_is_stale_once_somebody_turns_out_to_be_known_elsewhere(feed):
    listed(feed, "hubspot", _1={"email": "a@b.example"})
    listed(feed, "salesforce", A={"email": "c@d.example"})
    matched(feed)
    before = feed.warehouse.version()
    matched(feed)
    assert feed.warehouse.version() == before
    listed(feed, "salesforce", A={"email": "a@b.example"})
    changed = feed.warehouse.version()
    matched(feed)
    assert feed.warehouse.version() != changed


def test_a_third_crm_is_matched_against_both_before_it(feed):
    listed(feed, "hubspot", _1={"email": "a@b.example"})
    listed(feed, "salesforce", A={"email": "a@b.example", "external_id": "u1"}, B={"external_id": "u2"})
    listed(feed, "pipedrive", x={"external_id": "u1"}, y={"external_id": "u2"})
    matched(feed, Crms(("hubspot", "salesforce", "pipedrive")))
    assert set(persons(feed)) == {"hubspot:1", "salesforce:B"}
    there = {found.record_id: found.contact_id for found in feed.warehouse.elsewhere("pipedrive")}
    assert there == {"pipedrive:x": "hubspot:1", "pipedrive:y": "salesforce:B"}


def test_whoever_went_by_a_contact_that_was_deleted_goes_on_as_the_other_crms(feed):
    person = {"email": "ann@acme.example", "external_id": "u1"}
    listed(feed, "hubspot", _1=person)
    listed(feed, "salesforce", A={"email": "ann@acme.example"})
    matched(feed)
    listed(feed, "hubspot", _1={**person, "deleted_at": "2026-01-01T00:00:00Z"})
    for _ in range(2):
        matched(feed)
        assert persons(feed).keys() - {"salesforce:B"} == {"salesforce:A"}
        assert feed.warehouse.aliases() == {"hubspot:1": "salesforce:A"}
        (there,) = feed.warehouse.elsewhere("hubspot")
        assert there.gone
        listed(feed, "salesforce", B={"email": "other@acme.example"})
        listed(feed, "salesforce", B={"email": "other@acme.example", "deleted_at": "2026-01-01T00:00:00Z"})
    listed(feed, "hubspot", _1={**person, "deleted_at": None})
    matched(feed)
    assert feed.warehouse.aliases() == {"salesforce:A": "hubspot:1"}

"""Contacts: versions, merges, deletions, matching, what exists when."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from connector.errors import SettingError, StateError
from connector.identity import normal_email
from connector.rules.columns import RELATION_COLUMNS
from connector.warehouse import Warehouse
from tests.fakes.warehouse_feed import Feed, checked, mapping

CONTACTS = mapping(
    "contacts", "contact_id", "account_id", "external_id", "email", "role", "opted_out", "created_at", "deleted_at",
    "merged_ids", "secondary_emails",
)  # fmt: skip
ACCOUNTS = mapping("accounts", "account_id", "name", "seats", "mrr")
PAYMENTS = mapping("transactions", "contact_id", "amount", "currency", "transaction_id", at="paid_at")
MAILS = mapping("engagements", "contact_id", "kind", "event_id", at="sent_at")
MAY = datetime(2026, 5, 1, 9, tzinfo=UTC)


@pytest.fixture
def feed():
    with Warehouse.open("duckdb:///:memory:") as warehouse:
        yield Feed(warehouse)


def person(number, **values):
    return dict.fromkeys(CONTACTS.fields) | {"contact_id": str(number)} | values


def use(user, at=MAY, **values):
    row = {"contact_id": user, "occurred_at": at, "feature": "f", "events": 1, "event_id": None, "arrived_at": None}
    return row | {"email": None, "external_id": None} | values


def crm(feed, *people, **page):
    return feed.page(list(people), CONTACTS, source="crm", system="hubspot", **page)


def row(feed, contact, as_of=date(2026, 5, 20)):
    return feed.warehouse.contact_row(contact, as_of)


def test_the_features_relation_holds_exactly_the_columns_conditions_may_use(feed):
    crm(feed, person(1))
    feed.ready()
    name = feed.warehouse.features(date(2026, 5, 1))
    described = {row[0]: row[1] for row in feed.warehouse._database.rows(f"DESCRIBE {name}")}
    for column, kind in RELATION_COLUMNS.items():
        wanted = "TIMESTAMP WITH TIME ZONE" if kind == "TIMESTAMPTZ" else kind
        assert described[column] == wanted, column


def test_the_first_version_is_valid_from_the_beginning_and_later_ones_from_when_they_were_read(feed):
    feed.pulled_at = datetime(2026, 3, 1, tzinfo=UTC)
    assert crm(feed, person(1, role="dev", email="a@x.io")).new == 1
    feed.pulled_at = datetime(2026, 4, 1, tzinfo=UTC)
    assert crm(feed, person(1, role="cto", email="a@x.io")).changed == 1
    feed.pulled_at = datetime(2026, 4, 2, tzinfo=UTC)
    assert crm(feed, person(1, role="cto", email="a@x.io")).unchanged == 1
    feed.ready()
    roles = [row(feed, "hubspot:1", date(2026, *day))["role"] for day in ((1, 1), (3, 31), (4, 1), (6, 1))]
    assert roles == ["dev", "dev", "cto", "cto"]


def test_a_page_changes_only_the_columns_it_provides(feed):
    crm(feed, person(1, role="cto", email="a@x.io"))
    some = mapping("contacts", "contact_id", "opted_out")
    feed.page([{"contact_id": "1", "opted_out": True}], some, source="crm", system="hubspot")
    feed.page([{"contact_id": "1", "deleted_at": MAY}], CONTACTS, source="crm", system="hubspot", partial=True)
    feed.ready()
    found = row(feed, "hubspot:1", date(2026, 6, 1))
    assert (found["role"], found["email"], found["opted_out"], found["deleted_at"]) == ("cto", "a@x.io", True, MAY)


def test_reading_a_page_twice_changes_nothing_and_the_version_says_so(feed):
    crm(feed, person(1, email="a@x.io", secondary_emails="b@x.io", merged_ids="7"))
    before = feed.warehouse.version()
    crm(feed, person(1, email="a@x.io", secondary_emails="b@x.io", merged_ids="7"))
    assert feed.warehouse.version() == before
    crm(feed, person(1, email="c@x.io"))
    assert feed.warehouse.version() != before


def test_users_match_by_external_id_then_address_then_secondary_address_and_the_rest_have_a_reason(feed):
    crm(
        feed,
        person(1, external_id="u1", email="one@x.io"),
        person(2, email=" Two@X.io "),
        person(3, secondary_emails="drei@x.io;three@x.io"),
        person(4, email="same@x.io"),
        person(5, email="same@x.io"),
    )
    feed.usage(
        [
            use("u1", email="two@x.io"),
            use("u2", email="TWO@x.io"),
            use("u3", email="three@x.io"),
            use("u4", email="same@x.io"),
            use("u5", email="nobody@x.io"),
            use("u6", email="not an address"),
            use("u7"),
        ]
    )
    report = feed.warehouse.match_identities(["external_id", "email"])
    assert (report.users, report.matched, report.unmatched) == (7, 3, 4)
    assert report.by_kind == {"external_id": 1, "email": 1, "secondary_email": 1}
    assert dict(report.sample) == {
        "product:u4": "the email means more than one contact",
        "product:u5": "no contact has this external id or address",
        "product:u6": "no contact has this external id, and the address is not one",
        "product:u7": "no contact has this external id, and no address is known",
    }
    feed.warehouse.refresh()
    active = [row(feed, f"hubspot:{number}")["inactive_days"] for number in range(1, 6)]
    assert active == [19, 19, 19, None, None]


def test_two_facts_of_one_user_that_point_to_two_people_match_nobody(feed):
    crm(feed, person(1, email="one@x.io"), person(2, email="two@x.io"))
    feed.usage([use("u", email="one@x.io"), use("u", email="two@x.io")])
    report = feed.warehouse.match_identities(["email"])
    assert report.unmatched_by_reason == {"the email means more than one contact": 1}


def test_a_deleted_contact_gives_way_to_the_living_one_with_the_same_address(feed):
    crm(feed, person(1, email="a@x.io", deleted_at=MAY), person(2, email="a@x.io"))
    feed.usage([use("u", email="a@x.io")])
    feed.ready()
    assert row(feed, "hubspot:2")["inactive_days"] == 19
    assert row(feed, "hubspot:1")["inactive_days"] is None


def test_chained_merges_bring_all_usage_to_the_survivor_whatever_is_read_first(feed):
    feed.usage([use("u1"), use("u2", MAY + timedelta(days=1)), use("u3", MAY + timedelta(days=2))])
    crm(feed, person(3, external_id="u3", merged_ids="2"))
    crm(feed, person(1, external_id="u1"))
    crm(feed, person(2, external_id="u2", merged_ids="1"))
    feed.ready()
    found = row(feed, "hubspot:3")
    assert (found["active_days_28"], found["first_active_at"]) == (3, MAY)
    assert row(feed, "hubspot:1") is None
    assert row(feed, "hubspot:2") is None
    assert [feed.warehouse.resolve(text) for text in ("hubspot:1", "2", "u1", "product:u2")] == ["hubspot:3"] * 4


def test_a_circle_of_merges_loses_nobody(feed):
    crm(feed, person(1, merged_ids="2"), person(2, merged_ids="1"))
    feed.ready()
    assert row(feed, "hubspot:1") is not None
    assert row(feed, "hubspot:2") is not None


def test_a_merge_seen_later_moves_usage_that_was_counted_before(feed):
    crm(feed, person(1, external_id="u1"), person(2, external_id="u2"))
    feed.usage([use("u1"), use("u2", MAY + timedelta(days=1))])
    feed.ready()
    assert row(feed, "hubspot:2")["active_days_28"] == 1
    crm(feed, person(2, external_id="u2", merged_ids="1"))
    refreshed = feed.ready()
    assert not refreshed.full
    assert row(feed, "hubspot:2")["active_days_28"] == 2


def test_whom_a_complete_listing_does_not_name_is_deleted_and_comes_back_when_listed_again(feed):
    crm(feed, person(1), person(2), person(3))
    crm(feed, person(1), snapshot="s1")
    deleted = crm(feed, person(3), snapshot="s1", snapshot_complete=True)
    assert deleted.changed == 1
    at = feed.pulled_at
    feed.ready()
    day = date(2026, 5, 20)
    assert [row(feed, f"hubspot:{n}", day)["deleted_at"] for n in (1, 2, 3)] == [None, at, None]
    assert row(feed, "hubspot:2", date(2025, 12, 1))["deleted_at"] is None
    crm(feed, person(2))
    assert row(feed, "hubspot:2", day)["deleted_at"] is None


def test_an_abandoned_listing_does_not_vouch_for_anybody(feed):
    crm(feed, person(1), person(2))
    crm(feed, person(2), snapshot="broken off")
    crm(feed, person(1), snapshot="s2", snapshot_complete=True)
    assert row(feed, "hubspot:2")["deleted_at"] is not None


def test_a_contact_exists_from_its_creation_or_its_first_use(feed):
    crm(feed, person(1, created_at=MAY), person(2, created_at=MAY, external_id="u"), person(3))
    feed.usage([use("u", MAY - timedelta(days=30))])
    feed.ready()

    def there(day):
        _, batches = feed.warehouse.feature_batches(day)
        return [row[0] for batch in batches for row in batch]

    assert there(date(2026, 3, 1)) == ["hubspot:3"]
    assert there(date(2026, 4, 15)) == ["hubspot:2", "hubspot:3"]
    assert there(date(2026, 5, 1)) == ["hubspot:1", "hubspot:2", "hubspot:3"]


def test_product_users_are_people_until_a_source_lists_contacts(feed):
    feed.usage([use("u1", email="a@x.io"), use("u2")])
    feed.ready()
    assert row(feed, "product:u1")["email"] == "a@x.io"
    assert row(feed, "product:u1")["inactive_days"] == 19
    assert row(feed, "product:u2", date(2026, 4, 30)) is None
    crm(feed, person(1, email="a@x.io"))
    feed.ready()
    assert row(feed, "product:u1") is None
    assert row(feed, "hubspot:1")["inactive_days"] == 19
    assert feed.warehouse.resolve("u1") == "hubspot:1"


def test_a_product_profile_becomes_part_of_the_crm_contact_with_its_address(feed):
    feed.page([person("u1", email="a@x.io"), person("u2", email="b@x.io")], CONTACTS, source="product")
    crm(feed, person(1, email="a@x.io"))
    feed.usage([use("u1"), use("u2")])
    feed.ready()
    assert row(feed, "product:u1") is None
    assert row(feed, "hubspot:1")["inactive_days"] == 19
    assert row(feed, "product:u2")["inactive_days"] == 19


def test_mail_events_of_the_crm_never_fold_its_contacts_into_product_profiles(feed):
    feed.page([person("u1", email="a@x.io")], CONTACTS, source="product")
    feed.usage([use("u1")])
    crm(feed, person(1, email="a@x.io"))
    mail = {"contact_id": "1", "kind": "open", "event_id": "m1", "sent_at": MAY}
    feed.page([mail], MAILS, source="crm", system="hubspot")
    feed.page([mail], MAILS, source="crm", system="hubspot")
    feed.ready()
    assert row(feed, "hubspot:1")["active_days_28"] == 1
    assert row(feed, "product:u1") is None
    assert {stat.stream: stat.rows for stat in feed.warehouse.source_stats()}["engagements"] == 1


def test_an_id_or_address_that_means_two_people_is_refused_with_both_names(feed):
    crm(feed, person(1, email="same@x.io"), person(2, email="same@x.io"))
    feed.ready()
    with pytest.raises(SettingError, match="hubspot:1, hubspot:2") as refused:
        feed.warehouse.resolve("same@x.io")
    assert "@" not in str(refused.value)
    assert feed.warehouse.resolve("nobody") is None
    assert feed.warehouse.resolve("x") is None


def test_company_columns_come_with_the_contact(feed):
    crm(feed, person(1, account_id="9"), person(2))
    stored = feed.page(
        [{"account_id": "9", "name": "Acme", "seats": 12, "mrr": 99.5}], ACCOUNTS, source="crm", system="hubspot"
    )
    assert stored.new == 1
    found = row(feed, "hubspot:1")
    assert (found["account_id"], found["account_name"], found["account_seats"], found["account_mrr"]) == (
        "hubspot:9", "Acme", 12, 99.5,
    )  # fmt: skip
    assert row(feed, "hubspot:2")["account_name"] is None
    again = feed.page(
        [{"account_id": "9", "name": "Acme AG", "seats": 12, "mrr": 99.5}], ACCOUNTS, source="crm", system="hubspot"
    )
    assert (again.new, again.changed) == (0, 1)
    assert row(feed, "hubspot:1")["account_name"] == "Acme AG"


def test_value_counts_the_main_currency_each_payment_once_and_nothing_later(feed):
    crm(feed, person(1, external_id="c1"), person(2, external_id="c2"))

    def paid(number, who, amount, days, currency="EUR"):
        return {
            "contact_id": who, "amount": amount, "currency": currency, "transaction_id": str(number),
            "paid_at": MAY + timedelta(days=days),
        }  # fmt: skip

    rows = [paid(1, "c1", 100, -400), paid(2, "c1", 10, -10), paid(3, "c1", 1, 30), paid(4, "c2", 5000, 0, "JPY")]
    feed.page(rows, PAYMENTS, source="billing")
    assert feed.page(rows[:2], PAYMENTS, source="billing").unchanged == 2
    assert feed.page([rows[1] | {"amount": 20}], PAYMENTS, source="billing").changed == 1
    feed.ready()
    found = row(feed, "hubspot:1")
    assert (found["lifetime_value"], found["value_365d"], found["monetary_quintile"]) == (120, 20, 1)
    assert found["active_days_28"] == 0
    nobody = row(feed, "hubspot:2")
    assert (nobody["lifetime_value"], nobody["monetary_quintile"]) == (None, None)


def test_somebody_never_active_has_no_recency_and_no_lifecycle(feed):
    crm(feed, person(1))
    feed.ready()
    found = row(feed, "hubspot:1")
    assert [found[name] for name in ("inactive_days", "last_active_at", "recency_quintile", "lifecycle")] == [None] * 4
    assert [found[f"active_days_{n}"] for n in (28, 90, 365)] == [0, 0, 0]


SEGMENTS = (
    checked("quiet", "inactive_days >= 10", "inactive_days", group="g"),
    checked("anybody", "contact_id IS NOT NULL", "contact_id", group="g"),
    checked("chiefs", "role = 'cto'", "role"),
)


def test_the_first_match_wins_in_a_group_and_changes_are_told_against_the_recorded_evaluation(feed):
    crm(feed, person(1, external_id="u1", role="cto"), person(2, external_id="u2"), person(3, opted_out=True))
    feed.usage([use("u1"), use("u2", MAY + timedelta(days=8))])
    feed.ready()
    warehouse, day = feed.warehouse, date(2026, 5, 12)
    first = warehouse.evaluate(SEGMENTS, day)
    assert dict(first.counts) == {"quiet": 1, "anybody": 2, "chiefs": 1}
    assert dict(first.entered) == {"quiet": 1, "anybody": 2, "chiefs": 1}
    assert first.overlaps == (("quiet", "chiefs", 1),)
    assert warehouse.source_stats()[0].previous_rows is None
    warehouse.record_evaluation(day)
    assert warehouse.source_stats()[0].previous_rows == 3
    later = warehouse.evaluate(SEGMENTS, date(2026, 5, 20))
    assert dict(later.entered) == {"quiet": 1, "anybody": 0, "chiefs": 0}
    assert dict(later.left) == {"quiet": 0, "anybody": 1, "chiefs": 0}
    assert later.contacts == 3
    rows = warehouse.members(date(2026, 5, 20)).to_pylist()
    assert [(r["contact_id"], r["group_name"], r["segment"]) for r in rows] == [
        ("hubspot:1", "g", "quiet"), ("hubspot:2", "g", "quiet"), ("hubspot:3", "g", "anybody"),
        ("hubspot:1", "chiefs", "chiefs"), ("hubspot:2", "chiefs", None), ("hubspot:3", "chiefs", None),
    ]  # fmt: skip
    held = warehouse._database.rows("SELECT segment, contact_id FROM segment_members ORDER BY ALL")
    assert held == [("anybody", "hubspot:3"), ("chiefs", "hubspot:1"), ("quiet", "hubspot:1"), ("quiet", "hubspot:2")]
    people = {row["contact_id"]: row for row in warehouse.people(date(2026, 5, 20))}
    assert people["hubspot:1"]["segments"] == ["quiet", "chiefs"]
    assert people["hubspot:3"]["opted_out"] is True
    assert people["hubspot:2"]["last_active_on"] == date(2026, 5, 9)
    assert warehouse.reachable(date(2026, 5, 20)) == 2
    with pytest.raises(StateError, match="2026-05-21"):
        warehouse.members(date(2026, 5, 21))


def test_contacts_and_their_flags_are_told_as_now(feed):
    crm(feed, person(1, email="a@x.io", created_at=MAY, merged_ids="3"), person(2, opted_out=True), person(3))
    feed.ready()
    first, second = feed.warehouse.contacts()
    assert (first.contact_id, first.email, first.created_at, first.attributes) == ("hubspot:1", "a@x.io", MAY, {})
    assert second.opted_out is True
    flags = {row.pop("contact_id"): row for row in feed.warehouse.flags(["hubspot:2", "hubspot:3", "hubspot:9"])}
    assert flags["hubspot:2"] == {
        "email": None, "merged_into": None, "deleted_at": None,
        "opted_out": True, "opted_out_here": True, "opted_out_anywhere": True,
        "bounced": None, "engaged_unsubscribed_at": None, "engaged_complained_at": None,
    }  # fmt: skip
    assert flags["hubspot:3"]["merged_into"] == "hubspot:1"
    assert len(flags) == 2


def test_the_sql_of_the_segments_runs_by_itself_and_names_them(feed):
    crm(feed, person(1))
    feed.ready()
    feed.warehouse.evaluate(SEGMENTS, date(2026, 5, 1))
    sql = feed.warehouse.segment_sql(SEGMENTS, date(2026, 5, 1))
    assert "-- 1: quiet" in sql
    assert "inactive_days >= 10" in sql


def test_people_made_while_no_contacts_were_listed_get_keys_nobody_else_had(feed):
    feed.usage([use("u1"), use("u2")])
    feed.ready()
    feed.warehouse.evaluate(SEGMENTS, date(2026, 5, 20))
    feed.warehouse.record_evaluation(date(2026, 5, 20))
    crm(feed, person(1, role="cto"))
    feed.ready()
    evaluation = feed.warehouse.evaluate(SEGMENTS, date(2026, 5, 20))
    assert dict(evaluation.left) == {"quiet": 2, "anybody": 0, "chiefs": 0}
    assert dict(evaluation.entered) == {"quiet": 0, "anybody": 1, "chiefs": 1}


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        (" Ada@Example.COM ", "ada@example.com"),
        ("ada+x@mail.example.co.uk", "ada+x@mail.example.co.uk"),
        ("josé@münchen.de", "josé@münchen.de"),
        ("jose\u0301@example.com", "josé@example.com"),
        ("a@b", None),
        ("two@at@x.io", None),
        ("dot..dot@x.io", None),
        ("", None),
    ],
)
def test_addresses_have_one_form_or_none(written, normal):
    assert normal_email(written) == normal

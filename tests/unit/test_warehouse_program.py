"""What programs look at: who has episodes, what happened since, who said no anywhere, when people are there."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from connector.program.columns import PERSON, SIGNALS
from connector.warehouse import Warehouse, contacts, gathering
from mappings.schema import StreamMapping, load_shipped
from tests.fakes.warehouse_feed import Feed, checked, mapping

CONTACTS = StreamMapping.model_validate(
    {
        "system": "x",
        "stream": "contacts",
        "into": "contacts",
        "fields": {
            name: {"from": name}
            for name in (
                "contact_id", "account_id", "external_id", "email", "timezone", "opted_out", "bounced", "created_at",
                "deleted_at", "merged_ids", "secondary_emails",
            )
        },
        "attributes": {
            name: {"from": name, "transform": "time"}
            for name in (
                "email_last_click_at", "sales_last_reply_at", "site_last_visit_at", "owner_contacted_at",
                "email_bounced_at", "snoozed_until", "became_customer_at", "became_opportunity_at", "consent_at",
            )
        }
        | {name: {"from": name} for name in ("legal_hold", "erased", "consent_basis")},
    }
)  # fmt: skip
MAILS = mapping("engagements", "contact_id", "kind", "event_id", "campaign", "step", "machine", at="sent_at")
PAYMENTS = mapping("transactions", "contact_id", "amount", "currency", "transaction_id", "kind", at="paid_at")
ENTERED = datetime(2026, 5, 10, 9, tzinfo=UTC)
TODAY = date(2026, 5, 31)
SEGMENTS = (
    checked("quiet", "inactive_days >= 10", "inactive_days", group="g"),
    checked("known", "contact_id IS NOT NULL", "contact_id", group="g"),
    checked("chiefs", "role = 'cto'", "role"),
)
NO_ONE = (checked("nobody", "false"),)


@pytest.fixture
def feed():
    with Warehouse.open("duckdb:///:memory:") as warehouse:
        yield Feed(warehouse)


def person(number, **values):
    names = [*CONTACTS.fields, *CONTACTS.attributes]
    return dict.fromkeys(names) | {"contact_id": str(number)} | values


def use(user, at, **values):
    row = {"contact_id": user, "occurred_at": at, "feature": "f", "events": 1, "event_id": None, "arrived_at": None}
    return row | {"email": None, "external_id": None} | values


def crm(feed, *people, **page):
    return feed.page(list(people), CONTACTS, source="crm", system="hubspot", **page)


def mails(feed, *events, source="crm", system="hubspot"):
    rows = []
    for number, (who, kind, at, *rest) in enumerate(events):
        extra = rest[0] if rest else {}
        rows.append(
            {
                "contact_id": str(who), "kind": kind, "event_id": f"{system}{feed.number}-{number}", "campaign": "c",
                "step": None, "machine": None, "sent_at": at,
            }
            | extra
        )  # fmt: skip
    feed.page(rows, MAILS, source=source, system=system)


def paid(feed, who, at, amount=10.0, kind=None):
    row = {"contact_id": who, "amount": amount, "currency": "EUR", "kind": kind, "paid_at": at}
    feed.page([row | {"transaction_id": f"t{feed.number}"}], PAYMENTS, source="billing")


def people(feed, *, as_of=TODAY, segments=SEGMENTS, **asked):
    feed.ready()
    feed.warehouse.evaluate(segments, as_of)
    return {row["contact_id"]: row for row in feed.warehouse.people(as_of, **asked)}


def episode(number=1, entered_at=ENTERED, since=date(2026, 3, 1)):
    return (f"hubspot:{number}", entered_at, since)


def after(**since):
    return ENTERED + timedelta(**since)


def before(**until):
    return ENTERED - timedelta(**until)


def test_every_row_has_all_signals_and_person_columns_and_what_else_is_asked_for(feed):
    crm(feed, person(1, account_id="9"))
    row = people(feed, columns=["accounts.mrr", "attributes.industry", "value_365d", "engaged.clicks"])["hubspot:1"]
    assert {column.relation or column.name for column in SIGNALS} <= row.keys()
    assert {name for name, _ in PERSON} <= row.keys()
    assert {"account_mrr", "attributes", "value_365d", "first_with_address", "segments", "email"} <= row.keys()
    for column in SIGNALS:
        assert column.nullable or row[column.relation or column.name] == 0


def test_episodes_come_as_a_table_too_and_bring_their_people_whatever_segment_they_are_in(feed):
    crm(feed, person(1), person(2), person(3))
    table = pa.table(
        {
            "contact_id": ["hubspot:2"],
            "entered_at": pa.array([ENTERED], pa.timestamp("us", "UTC")),
            "spell_started_on": pa.array([date(2026, 3, 1)], pa.date32()),
        }
    )
    assert list(people(feed, segments=NO_ONE, episodes=table)) == ["hubspot:2"]
    assert list(people(feed, segments=NO_ONE, episodes=[episode(3), episode(1)])) == ["hubspot:1", "hubspot:3"]
    assert list(people(feed, segments=NO_ONE, everybody_in=["hubspot:3"])) == ["hubspot:3"]
    assert list(people(feed, segments=NO_ONE, everybody_in=["hubspot"])) == ["hubspot:1", "hubspot:2", "hubspot:3"]


def test_one_contact_can_be_asked_for_alone_in_a_segment_or_not(feed):
    crm(feed, person(1, external_id="u1"), person(2))
    feed.usage([use("u1", after(days=1))])
    whole = people(feed, episodes=[episode()])["hubspot:1"]
    assert people(feed, episodes=[episode()], only="hubspot:1") == {"hubspot:1": whole}
    assert list(people(feed, segments=NO_ONE, only="hubspot:2")) == ["hubspot:2"]
    assert people(feed, only="hubspot:7") == {}


def test_other_questions_may_be_asked_between_two_rows(feed):
    crm(feed, *(person(n, external_id=f"u{n}") for n in range(1, 6)))
    feed.ready()
    feed.warehouse.evaluate(SEGMENTS, TODAY)
    seen = [
        (row["contact_id"], len(feed.warehouse.flags([row["contact_id"]])))
        for row in feed.warehouse.people(TODAY, episodes=[episode()])
    ]
    assert seen == [(f"hubspot:{n}", 1) for n in range(1, 6)]


def test_shares_of_any_size_give_the_same_people_in_the_same_order(feed, monkeypatch):
    crm(feed, *(person(n, email=f"{n % 4}@x.io") for n in range(1, 30)))
    whole = people(feed, episodes=[episode(5), episode(77)])
    for rows in (1, 7, 28, 29):
        monkeypatch.setattr(gathering, "SHARE_ROWS", rows)
        parts = people(feed, episodes=[episode(5), episode(77)])
        assert list(parts.items()) == list(whole.items())


def test_use_since_entry_counts_days_and_use_before_it_in_the_silence_breaks_the_spell(feed):
    crm(feed, *(person(n, external_id=f"u{n}") for n in (1, 2, 3, 4)))
    feed.usage(
        [
            use("u1", after(hours=1)), use("u1", after(hours=2)), use("u1", after(days=3)), use("u1", before(days=100)),
            use("u2", before(hours=1)), use("u2", before(days=5)),
            use("u3", before(days=90)),
            use("u4", after(days=40)),
        ]
    )  # fmt: skip
    rows = people(feed, episodes=[episode(n) for n in (1, 2, 3, 4)])
    told = {
        n: tuple(
            rows[f"hubspot:{n}"][name]
            for name in ("active_days_since_enrollment", "active_since_at", "spell_broken_on")
        )
        for n in (1, 2, 3, 4)
    }
    assert told == {
        1: (2, after(hours=1), None),
        2: (0, None, before(days=5)),
        3: (0, None, None),
        4: (0, None, None),
    }


def test_the_moment_of_entry_is_not_since_entry_and_the_silence_begins_with_its_first_day(feed):
    crm(feed, *(person(n, external_id=f"u{n}") for n in (1, 2, 3)))
    feed.usage(
        [
            use("u1", ENTERED), use("u1", ENTERED + timedelta(microseconds=1)),
            use("u2", datetime(2026, 3, 31, 23, tzinfo=UTC)), use("u2", datetime(2026, 4, 1, tzinfo=UTC)),
            use("u3", datetime(2026, 3, 31, 23, tzinfo=UTC)), use("u3", after(days=1)),
        ]
    )  # fmt: skip
    mails(feed, (1, "reply", ENTERED), (1, "bounce", ENTERED))
    paid(feed, "u1", ENTERED)
    rows = people(
        feed,
        episodes=[episode(1), episode(2, since=date(2026, 4, 1)), episode(3, since=date(2026, 4, 1))],
    )
    one, two, three = (rows[f"hubspot:{n}"] for n in (1, 2, 3))
    assert (one["spell_broken_on"], one["active_days_since_enrollment"]) == (ENTERED, 1)
    assert (one["engaged_replies"], one["engaged_bounced_at"], one["transactions_since_enrollment"]) == (0, None, 0)
    assert two["spell_broken_on"] == datetime(2026, 4, 1, tzinfo=UTC)
    assert (three["spell_broken_on"], three["active_days_since_enrollment"]) == (None, 1)


def test_an_event_ninety_days_late_breaks_the_spell_it_falls_into(feed):
    crm(feed, person(1, external_id="u1"))
    feed.usage([use("u1", before(days=150))])
    entered = [episode(since=date(2025, 12, 12))]
    assert people(feed, episodes=entered)["hubspot:1"]["spell_broken_on"] is None
    feed.usage([use("u1", before(days=90))])
    assert people(feed, episodes=entered)["hubspot:1"]["spell_broken_on"] == before(days=90)


def test_only_usage_that_counts_is_a_return(feed):
    crm(feed, person(1, external_id="u1"))
    feed.usage([use("u1", after(days=1), feature="status_page"), use("u1", after(days=2), feature="build")])
    feed.ready("feature <> 'status_page'")
    feed.warehouse.evaluate(SEGMENTS, TODAY)
    (row,) = feed.warehouse.people(TODAY, episodes=[episode()])
    assert (row["active_days_since_enrollment"], row["active_since_at"]) == (1, after(days=2))


def test_a_past_day_knows_nothing_of_what_came_after(feed):
    crm(feed, person(1, external_id="u1"))
    feed.usage([use("u1", before(days=80)), use("u1", after(days=2)), use("u1", after(days=5))])
    mails(feed, (1, "reply", after(days=4)), (1, "spam", after(days=4)))
    paid(feed, "u1", after(days=4))
    then = people(feed, as_of=date(2026, 5, 13), episodes=[episode()])["hubspot:1"]
    now = people(feed, episodes=[episode()])["hubspot:1"]
    names = ("active_days_since_enrollment", "engaged_replies", "transactions_since_enrollment")
    assert [then[name] for name in names] == [1, 0, 0]
    assert [now[name] for name in names] == [2, 1, 1]
    assert (then["engaged_complained_at"], now["engaged_complained_at"]) == (None, after(days=4))
    assert (then["last_paid_at"], now["last_paid_at"]) == (None, after(days=4))
    assert then["milestone_days"] == 2


def test_opens_never_count_and_machines_neither_open_click_nor_reply(feed):
    crm(feed, person(1))
    mails(
        feed,
        (1, "open", after(days=1)),
        (1, "open", after(days=1), {"machine": False}),
        (1, "click", after(days=2), {"machine": True}),
        (1, "reply", after(days=2), {"machine": True}),
        (1, "delivered", after(days=3)),
        (1, "click", after(days=3, seconds=2)),
    )
    row = people(feed, episodes=[episode()])["hubspot:1"]
    assert [row[f"engaged_{name}"] for name in ("clicks", "replies", "visits", "last_at", "replied_at")] == [
        0, 0, 0, None, None,
    ]  # fmt: skip
    mails(
        feed,
        (1, "click", after(days=3, seconds=3)),
        (1, "click", after(days=3, seconds=1), {"machine": False}),
        (1, "click", after(days=3, seconds=1), {"campaign": "another"}),
        (1, "reply", after(days=4)),
        (1, "reply", before(days=4)),
        (1, "bounce", after(days=5), {"machine": True}),
    )
    row = people(feed, episodes=[episode()])["hubspot:1"]
    assert (row["engaged_clicks"], row["engaged_replies"]) == (3, 1)
    assert row["engaged_last_at"] == row["engaged_replied_at"] == after(days=4)
    assert row["engaged_bounced_at"] == after(days=5)


def test_what_the_crm_says_it_saw_last_counts_once_and_not_beside_the_events_themselves(feed):
    crm(
        feed,
        person(
            1, email_last_click_at=after(days=1), sales_last_reply_at=after(days=3), site_last_visit_at=after(days=2),
            owner_contacted_at=after(days=4), email_bounced_at=after(days=5),
        ),
        person(
            2, email_last_click_at=before(days=1), sales_last_reply_at=before(days=3), owner_contacted_at=before(days=4),
            email_bounced_at=before(days=5), site_last_visit_at=ENTERED,
        ),
    )  # fmt: skip
    mails(feed, (1, "click", after(days=1)), (1, "click", after(days=2)))
    rows = people(feed, episodes=[episode(1), episode(2)])
    row = rows["hubspot:1"]
    assert (row["engaged_clicks"], row["engaged_replies"], row["engaged_visits"]) == (2, 1, 1)
    assert (row["engaged_last_at"], row["engaged_replied_at"]) == (after(days=3), after(days=3))
    assert (row["owner_contacted_at"], row["engaged_bounced_at"]) == (after(days=4), after(days=5))
    row = rows["hubspot:2"]
    assert (row["engaged_clicks"], row["engaged_replies"], row["engaged_visits"], row["engaged_last_at"]) == (
        0,
        0,
        0,
        None,
    )
    assert (row["owner_contacted_at"], row["engaged_bounced_at"]) == (None, None)


def test_payments_since_entry_are_conversions_and_refunds_are_not(feed):
    crm(feed, person(1, external_id="c1"))
    paid(feed, "c1", before(days=1))
    paid(feed, "c1", after(days=1))
    paid(feed, "c1", after(days=2), amount=0.0, kind="upgrade")
    paid(feed, "c1", after(days=3), amount=-10.0)
    paid(feed, "c1", after(days=4), kind="Refund")
    row = people(feed, episodes=[episode()])["hubspot:1"]
    assert row["transactions_since_enrollment"] == 2
    assert row["last_paid_at"] == after(days=2)


def test_the_newest_entry_of_a_contact_counts(feed):
    crm(feed, person(1, external_id="u1"))
    feed.usage([use("u1", after(days=1))])
    old = episode(entered_at=before(days=200), since=date(2025, 9, 1))
    later = episode(entered_at=after(days=2), since=date(2026, 5, 12))
    row = people(feed, episodes=[later, old])["hubspot:1"]
    assert (row["active_days_since_enrollment"], row["spell_broken_on"]) == (0, None)


def test_whoever_was_merged_away_or_is_not_known_at_all_is_told_in_place(feed):
    crm(feed, person(1), person(5, merged_ids="3"), person(3), person(9))
    rows = people(feed, episodes=[episode(3), episode(4)])
    assert list(rows) == ["hubspot:1", "hubspot:3", "hubspot:4", "hubspot:5", "hubspot:9"]
    assert rows["hubspot:3"]["merged_into"] == "hubspot:5"
    assert (rows["hubspot:4"]["email"], rows["hubspot:4"]["segments"]) == (None, [])
    assert rows["hubspot:3"].keys() == rows["hubspot:1"].keys()


@pytest.mark.parametrize("told", ["flag", "unsubscribe", "spam"])
def test_an_opt_out_of_the_same_person_in_another_system_is_one_here(feed, told):
    crm(
        feed, person(1, email="A@x.io"), person(2, email="b@x.io", secondary_emails="a@x.io"), person(3, email="c@x.io"),
    )  # fmt: skip
    other = person("m1", email="a@x.io", opted_out=told == "flag")
    feed.page([other], CONTACTS, source="mailer")
    if told != "flag":
        mails(feed, ("m1", told, after(days=1)), source="mailer", system="mailer")
    feed.ready()
    flags = {row["contact_id"]: row for row in feed.warehouse.flags([f"hubspot:{n}" for n in (1, 2, 3)])}
    rows = people(feed)
    names = {"flag": "opted_out", "unsubscribe": "engaged_unsubscribed_at", "spam": "engaged_complained_at"}
    assert [bool(flags[f"hubspot:{n}"]["opted_out"]) for n in (1, 2, 3)] == [True, True, False]
    for found in (flags, rows):
        assert [bool(found[f"hubspot:{n}"][names[told]]) for n in (1, 2, 3)] == [True, True, False]
        assert not found["hubspot:1"]["opted_out_here"]
    assert flags["hubspot:1"]["opted_out_anywhere"] == (told == "flag")


def test_an_opt_out_of_a_profile_matched_into_the_contact_counts_without_any_common_address(feed):
    feed.page([person("u1", email="private@x.io", opted_out=True)], CONTACTS, source="product")
    feed.usage([use("u1", before(days=100))])
    crm(feed, person(1, email="work@x.io", external_id="u1"), person(2, email="work@x.io"))
    feed.ready()
    flags = feed.warehouse.flags(["hubspot:1", "hubspot:2"])
    assert [row["opted_out"] for row in flags] == [True, True]


def test_a_bounce_means_the_address_not_the_person(feed):
    crm(
        feed,
        person(1, email="old@x.io", bounced=True),
        person(2, email="new@x.io", secondary_emails="old@x.io"),
        person(3, email="OLD@x.io"),
    )
    feed.ready()
    flags = {
        row["contact_id"]: bool(row["bounced"]) for row in feed.warehouse.flags([f"hubspot:{n}" for n in (1, 2, 3)])
    }
    assert flags == {"hubspot:1": True, "hubspot:2": False, "hubspot:3": True}


def test_an_opt_out_that_arrives_after_a_look_is_seen_at_the_next(feed):
    crm(feed, person(1, email="a@x.io"))
    feed.ready()
    assert not feed.warehouse.flags(["hubspot:1"])[0]["opted_out"]
    feed.page([person("m1", email="a@x.io", opted_out=True)], CONTACTS, source="mailer")
    assert feed.warehouse.flags(["hubspot:1"])[0]["opted_out"]
    crm(feed, person(2))
    feed.ready()
    assert not feed.warehouse.flags(["hubspot:2"])[0]["opted_out"]
    crm(feed, person(2, secondary_emails="a@x.io"))
    feed.ready()
    assert feed.warehouse.flags(["hubspot:2"])[0]["opted_out"]


def test_whoever_is_known_under_one_address_answers_for_all_its_contacts(feed):
    crm(feed, person(1, email="a@x.io"))
    feed.page([person("m1", email="a@x.io")], CONTACTS, source="mailer")
    mails(feed, ("m1", "click", after(days=1)), source="mailer", system="mailer")
    row = people(feed, episodes=[episode()])["hubspot:1"]
    assert (row["engaged_clicks"], row["engaged_last_at"]) == (1, after(days=1))


def test_of_contacts_with_one_address_the_one_active_last_comes_first_in_its_system(feed):
    crm(
        feed,
        person(1, email="a@x.io", external_id="u1"),
        person(2, email="A@x.io", external_id="u2"),
        person(3, email="a@x.io", deleted_at=before(days=1)),
        person(4, email="b@x.io"),
        person(5, email="b@x.io"),
        person(6),
        person(7),
    )
    feed.page([person("m1", email="b@x.io")], CONTACTS, source="mailer")
    feed.usage([use("u1", before(days=100)), use("u2", before(days=50))])
    rows = people(feed)
    first = {name: row["first_with_address"] for name, row in rows.items()}
    assert first == {
        "hubspot:1": False, "hubspot:2": True, "hubspot:3": True, "hubspot:4": True, "hubspot:5": False,
        "hubspot:6": True, "hubspot:7": True, "mailer:m1": True,
    }  # fmt: skip


def test_the_person_behind_a_contact_is_told_from_attributes_account_and_usage(feed):
    crm(
        feed,
        person(
            1, account_id="a", external_id="u1", legal_hold="under litigation", consent_basis="contract",
            consent_at=before(days=400), snoozed_until=after(days=9), became_customer_at=after(days=1),
            became_opportunity_at=before(days=300),
        ),
        person(2, account_id="a", external_id="u2", legal_hold="no", erased=True),
        person(3, account_id="a", external_id="u3"),
        person(4),
    )  # fmt: skip
    feed.usage(
        [use("u1", after(days=20)), use("u2", after(days=19)), use("u1", before(days=500)), use("u3", before(days=99))]
    )
    rows = people(feed)
    one = rows["hubspot:1"]
    assert (one["legal_hold"], one["erased"]) == (True, False)
    assert (one["consent_basis"], one["consent_at"], one["consent_source"]) == ("contract", before(days=400), "hubspot")
    assert (one["snoozed_until"], one["lead_converted_at"]) == (after(days=9), after(days=1))
    assert (rows["hubspot:2"]["legal_hold"], rows["hubspot:2"]["erased"]) == (False, True)
    assert rows["hubspot:2"]["consent_source"] is None
    assert [rows[f"hubspot:{n}"]["active_teammates"] for n in (1, 2, 3, 4)] == [1, 1, 2, None]
    assert [rows[f"hubspot:{n}"]["milestone_days"] for n in (1, 2, 3, 4)] == [2, 1, 1, 0]


def test_what_the_crm_says_of_consent_is_as_old_as_its_last_reading(feed):
    crm(feed, person(1))
    read = feed.pulled_at
    feed.page([person("m1")], CONTACTS, source="mailer")
    rows = people(feed)
    assert (rows["hubspot:1"]["confirmed_at"], rows["mailer:m1"]["confirmed_at"]) == (read, feed.pulled_at)
    later = read + timedelta(days=3)
    feed.warehouse.note_pulled("crm", "contacts", later)
    assert people(feed)["hubspot:1"]["confirmed_at"] == later


SOME_DAY = datetime(2026, 1, 10, tzinfo=UTC)


def at_hours(user, *hours, days=12, day=SOME_DAY):
    start = day.replace(hour=0)
    return [use(user, start + timedelta(days=n, hours=hour)) for n in range(days) for hour in hours]


def test_the_best_hour_is_the_contacts_own_where_enough_is_known_and_everybodys_elsewhere(feed):
    crm(feed, *(person(n, external_id=f"u{n}") for n in (1, 2, 3, 4)))
    feed.usage(
        at_hours("u1", 21, 22, 22.5, 23, days=40) + at_hours("u2", 6, days=9) + at_hours("u3", 9, 10, 11, days=60)
    )
    rows = people(feed, columns=["best_hour"])
    assert [rows[f"hubspot:{n}"]["best_hour"] for n in (1, 2, 3, 4)] == [21, 9, 9, 9]
    assert people(feed)["hubspot:1"]["best_hour"] is None


def test_the_best_hour_is_on_the_contacts_own_clock_through_changes_of_the_clock(feed):
    """One who works at nine in New York does so at 14:00 UTC in winter and at 13:00 in summer."""
    crm(
        feed, person(1, external_id="u1", timezone="America/New_York"),
        person(2, external_id="u2", timezone="not a zone"), person(3, timezone="Asia/Kolkata"),
    )  # fmt: skip
    winter, summer = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 4, 6, tzinfo=UTC)
    feed.usage(
        at_hours("u1", 14, 15, 16, days=25, day=winter) + at_hours("u1", 13, 14, 15, days=25, day=summer)
        + at_hours("u2", 5, 6, 7, days=20, day=winter)
    )  # fmt: skip
    rows = people(feed, columns=["best_hour"])
    assert rows["hubspot:1"]["best_hour"] == 13
    assert rows["hubspot:2"]["best_hour"] == 5
    assert rows["hubspot:3"]["best_hour"] == (9 * 60 - 330) // 60
    winter_rows = people(feed, as_of=date(2026, 2, 20), columns=["best_hour"])
    assert winter_rows["hubspot:1"]["best_hour"] == 14


def test_hours_kept_are_those_a_new_look_gives_after_new_uses_replaced_files_and_other_zones(feed):
    def looked():
        return {name: row["best_hour"] for name, row in people(feed, columns=["best_hour"]).items()}

    def anew():
        feed.warehouse._database.execute("DELETE FROM contact_hours")
        return looked()

    crm(feed, person(1, external_id="u1"), person(2, external_id="u2"))
    feed.usage(at_hours("u1", 6, days=15), origin="a.csv", replaces_origin=True)
    assert looked() == anew() == {"hubspot:1": 4, "hubspot:2": 4}
    feed.usage(at_hours("u1", 18, days=40) + at_hours("u2", 12, days=11))
    assert looked() == anew()
    assert looked()["hubspot:1"] in {16, 17, 18}
    feed.usage(at_hours("u1", 20, days=15), origin="a.csv", replaces_origin=True)
    assert looked() == anew()
    crm(feed, person(1, external_id="u1", timezone="Asia/Tokyo"), person(2, external_id="u2"))
    assert looked() == anew()


def test_the_people_of_a_run_do_not_change_while_nothing_does(feed):
    crm(feed, person(1, external_id="u1", email="a@x.io"), person(2, opted_out=True, email="b@x.io"))
    feed.usage(at_hours("u1", 6, days=15))
    first = people(feed, columns=["best_hour"], episodes=[episode()])
    assert first == people(feed, columns=["best_hour"], episodes=[episode()])


def test_what_hubspot_knows_reaches_the_rows_by_the_shipped_mapping(feed):
    shipped = load_shipped("hubspot", "contacts")
    record = dict.fromkeys(shipped.provider_fields()) | {
        "hs_object_id": "1",
        "email": "a@x.io",
        "hs_legal_basis": "Legitimate interest – existing customer;Freely given consent from contact",
        "hs_email_last_click_date": after(days=1).isoformat(),
        "hs_sales_email_last_replied": after(days=2).isoformat(),
        "hs_analytics_last_visit_timestamp": after(days=3).isoformat(),
        "notes_last_contacted": after(days=4).isoformat(),
        "hs_lifecyclestage_customer_date": after(days=5).isoformat(),
    }
    feed.page([record], shipped, source="crm", system="hubspot")
    row = people(feed, episodes=[episode()])["hubspot:1"]
    assert row["consent_basis"] == "consent_express"
    assert (row["engaged_clicks"], row["engaged_replies"], row["engaged_visits"]) == (1, 1, 1)
    assert row["engaged_last_at"] == after(days=3)
    assert (row["owner_contacted_at"], row["lead_converted_at"]) == (after(days=4), after(days=5))


def test_how_mail_is_received_is_told_by_campaign(feed):
    crm(feed, person(1), person(2))
    mails(
        feed,
        (1, "delivered", after(days=1)), (1, "delivered", after(days=2)), (2, "delivered", before(days=2)),
        (1, "unsubscribe", after(days=2)), (1, "unsubscribe", after(days=3)), (2, "spam", after(days=2), {"campaign": None}),
    )  # fmt: skip
    feed.ready()
    assert feed.warehouse.mail_health(ENTERED) == {
        "": {"sent": 0, "delivered": 0, "bounce": 0, "spam": 1, "unsubscribe": 0},
        "c": {"sent": 0, "delivered": 2, "bounce": 0, "spam": 0, "unsubscribe": 1},
    }


def test_an_answer_to_mail_counts_once_for_the_program_that_touched_the_contact_last(feed):
    feed.pulled_at = before(days=30)
    crm(feed, *(person(n, bounced=n == 5) for n in (1, 2, 3, 4, 5)))
    mails(
        feed,
        (1, "unsubscribe", after(days=3)), (1, "unsubscribe", after(days=4)), (2, "spam", after(days=1)),
        (2, "spam", before(days=1)), (4, "unsubscribe", after(days=1)),
    )  # fmt: skip
    feed.pulled_at = after(days=5)
    crm(feed, person(1, opted_out=True), person(3, bounced=True), person(5, bounced=True))
    feed.ready()
    touches = [
        ("hubspot:1", "rescue", after(days=1)), ("hubspot:1", "win-back", after(days=2)),
        ("hubspot:2", "rescue", ENTERED), ("hubspot:2", "win-back", after(days=9)),
        ("hubspot:3", "win-back", after(days=1)), ("hubspot:5", "win-back", after(days=1)),
        ("hubspot:4", "rescue", before(days=1)),
    ]  # fmt: skip
    assert feed.warehouse.mail_health(ENTERED, touches=touches) == {
        "rescue": {"sent": 2, "delivered": 0, "bounce": 0, "spam": 1, "unsubscribe": 0},
        "win-back": {"sent": 4, "delivered": 0, "bounce": 1, "spam": 0, "unsubscribe": 1},
    }
    assert feed.warehouse.mail_health(ENTERED, touches=[]) == {}


def test_the_touches_of_those_who_answered_and_the_numbers_sent_say_as_much_as_all_touches(feed):
    feed.pulled_at = before(days=30)
    crm(feed, *(person(n, email=f"{n}@x.io") for n in range(1, 9)))
    mails(feed, (1, "unsubscribe", after(days=3)), (2, "spam", after(days=1)), (3, "click", after(days=1)))
    feed.pulled_at = after(days=5)
    crm(feed, person(4, email="4@x.io", bounced=True), person(2, email="2@x.io", merged_ids="6"))
    feed.ready()
    touches = [(f"hubspot:{n}", "rescue" if n % 2 else "win-back", ENTERED) for n in range(1, 9)]
    answered = feed.warehouse.answered(ENTERED)
    assert answered == ["hubspot:1", "hubspot:2", "hubspot:4", "hubspot:6"]
    some = [touch for touch in touches if touch[0] in answered]
    everything = feed.warehouse.mail_health(ENTERED, touches=touches)
    assert feed.warehouse.mail_health(ENTERED, touches=some, sent={"rescue": 4, "win-back": 4}) == everything
    assert everything["win-back"] == {"sent": 4, "delivered": 0, "bounce": 1, "spam": 1, "unsubscribe": 0}
    assert feed.warehouse.answered(after(days=6)) == []


@pytest.mark.parametrize("before_names_were_kept", [False, True])
def test_an_attribute_that_only_some_have_is_seen_of_them_also_in_a_file_of_before(tmp_path, before_names_were_kept):
    url = f"duckdb:///{tmp_path}/w.duckdb"
    with Warehouse.open(url) as warehouse:
        crm(Feed(warehouse), person(1), person(2))
        assert contacts.attribute_names(warehouse._database) == frozenset()
        crm(Feed(warehouse), person(2, legal_hold="true", snoozed_until="2026-07-01T00:00:00Z"))
        assert contacts.attribute_names(warehouse._database) == {"legal_hold", "snoozed_until"}
        if before_names_were_kept:
            warehouse._database.execute("DROP TABLE attribute_names")
            warehouse._database.set_meta("schema_version", "1")
    with Warehouse.open(url) as warehouse:
        rows = people(Feed(warehouse), columns=["contact_id"])
        assert [rows[f"hubspot:{n}"]["legal_hold"] for n in (1, 2)] == [False, True]
        assert rows["hubspot:1"]["snoozed_until"] is None
        assert rows["hubspot:2"]["snoozed_until"] == datetime(2026, 7, 1, tzinfo=UTC)

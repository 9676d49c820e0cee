"""What programs are told of each contact is what a plain reading of the same events says, however the events came."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.warehouse import Warehouse
from tests.fakes.warehouse_feed import Feed, checked, mapping

START = datetime(2026, 1, 1, tzinfo=UTC)
CONTACTS = mapping(
    "contacts", "contact_id", "external_id", "email", "opted_out", "bounced", "secondary_emails", "merged_ids"
)
MAILS = mapping("engagements", "contact_id", "kind", "event_id", "campaign", "machine", at="sent_at")
PAYMENTS = mapping("transactions", "contact_id", "amount", "transaction_id", "kind", at="paid_at")
EVERYBODY = (checked("everybody", "contact_id IS NOT NULL", "contact_id"),)
USERS = ("1", "2", "3")
ADDRESSES = (None, "a@x.io", "b@x.io", "c@x.io")

moments = st.integers(0, 40 * 3).map(lambda thirds: START + timedelta(hours=8 * thirds))  # often the same moment
uses = st.lists(st.tuples(st.sampled_from(USERS), moments, st.sampled_from("fg")), max_size=25)
mail_events = st.lists(
    st.tuples(
        st.sampled_from(USERS), moments, st.integers(0, 3),
        st.sampled_from(["open", "click", "reply", "visit", "bounce", "delivered", "unsubscribe", "spam"]),
        st.sampled_from([None, True, False]), st.sampled_from(["c", None]),
    ),
    max_size=25,
)  # fmt: skip
payments = st.lists(
    st.tuples(st.sampled_from(USERS), moments, st.sampled_from([-5.0, 0.0, 5.0]), st.sampled_from([None, "refund", "order"])),
    max_size=10,
)  # fmt: skip
entries = st.dictionaries(st.sampled_from(USERS), st.tuples(moments, st.integers(-10, 40)), max_size=3)
zones = st.sampled_from(["UTC", "America/New_York", "Asia/Kathmandu"])


def told(warehouse, as_of, episodes):
    warehouse.evaluate(EVERYBODY, as_of)
    return {row["contact_id"]: row for row in warehouse.people(as_of, episodes=episodes)}


def fed(warehouse, used, mailed, paid, *, counts=None, pieces=1):
    feed = Feed(warehouse)
    people = [
        {"contact_id": n, "external_id": f"u{n}"}
        | dict.fromkeys(("email", "opted_out", "bounced", "secondary_emails", "merged_ids"))
        for n in USERS
    ]
    feed.page(people, CONTACTS, source="crm", system="hubspot")
    size = max(1, -(-len(used) // pieces))
    for start in range(0, len(used), size):
        feed.usage(
            [
                dict.fromkeys(("email", "external_id", "arrived_at"))
                | {
                    "contact_id": f"u{who}",
                    "occurred_at": at,
                    "feature": what,
                    "events": 1,
                    "event_id": f"e{start}-{n}",
                }
                for n, (who, at, what) in enumerate(used[start : start + size])
            ]
        )
        if pieces > 1:
            feed.ready(counts)
    feed.page(
        [
            {
                "contact_id": who, "kind": kind, "event_id": f"m{n}", "campaign": campaign, "machine": machine,
                "sent_at": at + timedelta(seconds=second),
            }
            for n, (who, at, second, kind, machine, campaign) in enumerate(mailed)
        ],
        MAILS, source="crm", system="hubspot",
    )  # fmt: skip
    feed.page(
        [
            {"contact_id": f"u{who}", "amount": amount, "transaction_id": f"t{n}", "kind": kind, "paid_at": at}
            for n, (who, at, amount, kind) in enumerate(paid)
        ],
        PAYMENTS, source="billing",
    )  # fmt: skip
    feed.ready(counts)


def read_plainly(who, entry, used, mailed, paid, *, zone, as_of, features):
    """The definitions written again: what is known at the end of the day, against the moment of entry."""
    ends_at = datetime.combine(as_of + timedelta(days=1), datetime.min.time(), zone)
    entered_at, since = entry
    days = [
        (at, at.astimezone(zone).date())
        for user, at, what in used
        if user == who and what in features and at < ends_at and at.astimezone(zone).date() >= since
    ]
    mine = [
        (at + timedelta(seconds=second), kind, machine, campaign)
        for user, at, second, kind, machine, campaign in mailed
        if user == who and at + timedelta(seconds=second) < ends_at
    ]
    sent = [(at, campaign) for at, kind, _, campaign in mine if kind == "delivered"]

    def human(at, kind, machine, campaign):
        if kind == "click" and machine is None:
            return not any(by == campaign and timedelta(0) <= at - then <= timedelta(seconds=2) for then, by in sent)
        return machine is not True

    heard = {
        kind: [
            at for at, k, machine, campaign in mine if k == kind and at > entered_at and human(at, k, machine, campaign)
        ]
        for kind in ("click", "reply", "visit")
    }
    bounces = [at for at, kind, _, _ in mine if kind == "bounce" and at > entered_at]
    bought = [
        at for user, at, amount, kind in paid
        if user == who and amount >= 0 and kind != "refund" and entered_at < at < ends_at
    ]  # fmt: skip
    return {
        "active_days_since_enrollment": len({day for at, day in days if at > entered_at}),
        "active_since_at": min((at for at, _ in days if at > entered_at), default=None),
        "spell_broken_on": min((at for at, _ in days if at <= entered_at), default=None),
        "engaged_clicks": len(heard["click"]),
        "engaged_replies": len(heard["reply"]),
        "engaged_visits": len(heard["visit"]),
        "engaged_last_at": max((at for times in heard.values() for at in times), default=None),
        "engaged_replied_at": min(heard["reply"], default=None),
        "engaged_bounced_at": min(bounces, default=None),
        "transactions_since_enrollment": len(bought),
    }


@settings(max_examples=8, deadline=None)
@given(st.tuples(uses, mail_events, payments), entries, st.integers(0, 42), zones, st.booleans())
def test_signals_are_what_a_plain_reading_of_the_events_says(events, entered, day, zone_name, narrow):
    used, mailed, paid = events
    as_of, zone = START.date() + timedelta(days=day), ZoneInfo(zone_name)
    episodes = {who: (at, (START + timedelta(days=since)).date()) for who, (at, since) in entered.items()}
    with Warehouse.open("duckdb:///:memory:", timezone=zone_name) as warehouse:
        fed(warehouse, used, mailed, paid, counts="feature <> 'g'" if narrow else None)
        rows = told(warehouse, as_of, [(f"hubspot:{who}", *entry) for who, entry in episodes.items()])
    for who in USERS:
        row = rows[f"hubspot:{who}"]
        never = (datetime(9999, 1, 1, tzinfo=UTC), date(9999, 1, 1))
        wanted = read_plainly(
            who, episodes.get(who, never), used, mailed, paid, zone=zone, as_of=as_of, features="f" if narrow else "fg"
        )
        assert {name: row[name] for name in wanted} == wanted
        said = [
            (kind, at + timedelta(seconds=second)) for user, at, second, kind, _, _ in mailed
            if user == who and (at + timedelta(seconds=second)).astimezone(zone).date() <= as_of
        ]  # fmt: skip
        assert row["engaged_unsubscribed_at"] == max((at for kind, at in said if kind == "unsubscribe"), default=None)
        assert row["engaged_complained_at"] == min((at for kind, at in said if kind == "spam"), default=None)


@settings(max_examples=6, deadline=None)
@given(uses, mail_events, entries, st.integers(2, 5), st.data())
def test_events_in_any_order_and_in_pieces_give_the_same_rows(used, mailed, entered, pieces, data):
    as_of = date(2026, 2, 11)
    episodes = [(f"hubspot:{who}", at, (START + timedelta(days=since)).date()) for who, (at, since) in entered.items()]
    shuffled = data.draw(st.permutations(used))
    with Warehouse.open("duckdb:///:memory:") as whole, Warehouse.open("duckdb:///:memory:") as parts:
        fed(whole, used, mailed, [])
        fed(parts, shuffled, mailed, [], pieces=pieces)
        one, other = told(whole, as_of, episodes), told(parts, as_of, episodes)
    for rows in (one, other):
        for row in rows.values():
            del row["confirmed_at"]
    assert one == other


people = st.lists(
    st.tuples(
        st.sampled_from(["hubspot", "mailer"]), st.sampled_from(ADDRESSES), st.sampled_from(ADDRESSES), st.booleans(),
        st.booleans(),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(max_examples=9, deadline=None)
@given(people)
def test_nobody_of_whose_addresses_one_opted_out_anywhere_looks_willing(known):
    with Warehouse.open("duckdb:///:memory:") as warehouse:
        feed = Feed(warehouse)
        for system in ("hubspot", "mailer"):
            rows = [
                {
                    "contact_id": str(n), "email": email, "secondary_emails": further, "opted_out": out, "bounced": bad,
                    "external_id": None, "merged_ids": None,
                }
                for n, (where, email, further, out, bad) in enumerate(known)
                if where == system
            ]  # fmt: skip
            feed.page(rows, CONTACTS, source=system)
        feed.ready()
        ids = [f"{where}:{n}" for n, (where, *_) in enumerate(known)]
        flags = {row["contact_id"]: row for row in warehouse.flags(ids)}
        rows = told(warehouse, date(2026, 2, 1), [(name, START, START.date()) for name in ids])
    for n, (where, email, further, _, _) in enumerate(known):
        mine = {email, further} - {None}
        out = any(
            opted_out and (m == n or mine & {other, another})
            for m, (_, other, another, opted_out, _) in enumerate(known)
        )
        bad = any(
            bounced and (m == n or (email is not None and email == other))
            for m, (_, other, _, _, bounced) in enumerate(known)
        )
        for found in (flags, rows):
            row = found[f"{where}:{n}"]
            assert (bool(row["opted_out"]), bool(row["bounced"])) == (out, bad)


used_hours = st.lists(
    st.tuples(st.sampled_from(USERS), st.integers(0, 30), st.sampled_from([4, 5, 14, 15, 22, 23, 0]), st.integers(0, 59)),
    max_size=70,
)  # fmt: skip
clocks = st.sampled_from([None, "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])


@settings(max_examples=8, deadline=None)
@given(used_hours, st.tuples(clocks, clocks, clocks), zones)
def test_the_best_hour_is_that_of_the_smoothed_profile_on_the_contacts_own_clock(used, own, account):
    as_of, first = date(2026, 4, 20), datetime(2026, 3, 15, tzinfo=UTC)  # clocks change on 29 March and 5 April
    events = [(who, first + timedelta(days=day, hours=hour, minutes=minute)) for who, day, hour, minute in used]
    with Warehouse.open("duckdb:///:memory:", timezone=account) as warehouse:
        feed = Feed(warehouse)
        rows = [{"contact_id": n, "external_id": f"u{n}", "timezone": zone} for n, zone in zip(USERS, own, strict=True)]
        feed.page(rows, mapping("contacts", "contact_id", "external_id", "timezone"), source="crm", system="hubspot")
        blank = dict.fromkeys(("email", "external_id", "arrived_at", "event_id")) | {"feature": "f", "events": 1}
        feed.usage([blank | {"contact_id": f"u{who}", "occurred_at": at} for who, at in events])
        feed.ready()
        warehouse.evaluate(EVERYBODY, as_of)
        found = {row["contact_id"]: row["best_hour"] for row in warehouse.people(as_of, columns=["best_hour"])}
    zone_of = {who: ZoneInfo(zone or account) for who, zone in zip(USERS, own, strict=True)}
    mine: dict[str, list[int]] = {}
    for who in USERS:
        local = [at.astimezone(zone_of[who]) for user, at in events if user == who]
        hours = {(moment.date(), moment.hour) for moment in local}
        mine[who] = [sum(hour == h for _, h in hours) for hour in range(24)]
    total = sum(sum(counts) for counts in mine.values())
    everybody = [sum(counts[h] for counts in mine.values()) / total if total else 1 / 24 for h in range(24)]
    for who in USERS:
        own_counts = mine[who] if sum(mine[who]) >= 10 else [0] * 24
        score = [sum(own_counts[(h + n) % 24] + 48 * everybody[(h + n) % 24] for n in range(3)) for h in range(24)]
        ends_at = datetime.combine(as_of + timedelta(days=1), datetime.min.time(), ZoneInfo(account))
        ahead = int(ends_at.astimezone(zone_of[who]).utcoffset().total_seconds()) // 60
        begins = {(h * 60 - ahead) // 60 % 24 for h in range(24) if score[h] > max(score) - 1e-9}
        assert found[f"hubspot:{who}"] in begins

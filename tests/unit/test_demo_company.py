from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from email_validator import validate_email

from connector.demo.company import Company, generate
from connector.demo.events import COLUMNS, MAPPING, PAYMENT_COLUMNS, PAYMENT_MAPPING, midnight
from connector.demo.names import RESERVED_DOMAINS
from connector.demo.playbook import playbook_text, whats_new_text
from connector.demo.population import PLAN_TIERS, Link
from connector.demo.product import FEATURE_NAMES, NOT_USAGE, ROLES
from connector.model import neutral_columns
from connector.registry import installed_adapters
from connector.settings import load_playbook

ENDS = date(2026, 11, 21)
CONTACTS = 5_000
RESERVED = re.compile(r"[a-z0-9.-]+\.(example\.com|example\.org|example\.net)")


@pytest.fixture(scope="module")
def company() -> Company:
    return generate(ends=ENDS, contacts=CONTACTS)


@pytest.fixture(scope="module")
def usage(company):
    """The usage log in DuckDB, one row per event, as an analyst would look at it."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone='UTC'")
    connection.register("deliveries", company.events.table())
    connection.execute(
        f"CREATE TABLE log AS SELECT DISTINCT ON (event_id) *, ts::DATE AS day FROM deliveries WHERE event <> '{NOT_USAGE}'"
    )
    connection.execute("CREATE TABLE active AS SELECT DISTINCT user_id, day FROM log")
    connection.execute(
        "CREATE TABLE gaps AS SELECT *, day - lag(day) OVER (PARTITION BY user_id ORDER BY day) AS gap FROM active"
    )
    yield connection
    connection.close()


def one(connection, query: str):
    return connection.execute(query).fetchone()[0]


def test_the_crm_holds_as_many_contacts_as_asked_for(company):
    assert len(company.contacts) == CONTACTS
    assert 0.1 * CONTACTS < len(company.accounts) < 0.3 * CONTACTS
    assert 0.9 * CONTACTS < len(company.users) < 1.05 * CONTACTS


def test_every_id_and_every_address_is_used_once(company):
    contact_ids = [c.contact_id for c in (*company.contacts, *company.merged)]
    assert len(set(contact_ids)) == len(contact_ids)
    assert all(re.fullmatch(r"hubspot:[1-9]\d*", i) for i in contact_ids)
    assert len({a.account_id for a in company.accounts}) == len(company.accounts)
    assert len({u.user_id for u in company.users}) == len(company.users)
    addresses = [c.email for c in company.contacts if c.email]
    addresses += [c.attributes["secondary_emails"] for c in company.contacts if "secondary_emails" in c.attributes]
    assert len({a.lower() for a in addresses}) == len(addresses)
    external = [c.external_id for c in company.contacts if c.external_id]
    assert len(set(external)) == len(external)


def test_contact_ids_sort_differently_as_text_and_as_numbers(company):
    numbers = [c.contact_id.partition(":")[2] for c in company.contacts]
    assert sorted(numbers) != sorted(numbers, key=int)


def test_the_crm_can_be_another_one():
    contacts = generate(ends=ENDS, contacts=30, history_days=3, system="other").contacts
    assert {c.contact_id.partition(":")[0] for c in contacts} == {"other"}


def test_no_address_or_domain_leaves_the_reserved_example_names(company):
    addresses = {c.email for c in (*company.contacts, *company.merged) if c.email}
    addresses |= {u.email for u in company.users if u.email}
    addresses |= {c.attributes["secondary_emails"] for c in company.contacts if "secondary_emails" in c.attributes}
    addresses |= set(pc.unique(company.events.table()["user_email"]).drop_null().to_pylist())
    outside = [a for a in addresses if not RESERVED.fullmatch(a.partition("@")[2].lower())]
    assert outside == []
    assert [a.domain for a in company.accounts if not RESERVED.fullmatch(a.domain)] == []
    assert {a.domain.split(".", 1)[1] for a in company.accounts} == set(RESERVED_DOMAINS)
    for address in [a for a in sorted(addresses) if "..@" not in a][::50]:
        validate_email(address, check_deliverability=False)


def test_contacts_have_roles_plans_places_and_owners(company):
    roles = Counter(c.role for c in company.contacts)
    assert set(roles) == {r.name for r in ROLES}
    assert {"developer", "team_lead", "cto"} <= set(roles)
    assert roles["developer"] > roles["cto"] > 0.02 * CONTACTS
    assert {c.plan_tier for c in company.contacts} == set(PLAN_TIERS) == {a.plan_tier for a in company.accounts}
    assert all(ZoneInfo(c.timezone) for c in company.contacts)
    assert len({c.country for c in company.contacts}) >= 12
    assert all(c.language and c.owner.isdigit() and c.first_name and c.last_name for c in company.contacts)
    accounts = {a.account_id for a in company.accounts}
    assert {c.account_id for c in company.contacts} - {None} <= accounts
    assert 0.02 < sum(c.account_id is None for c in company.contacts) / CONTACTS < 0.1
    assert all((a.mrr > 0) == (a.plan_tier != "free") and a.seats >= 1 for a in company.accounts)


def test_contacts_were_created_by_now_and_not_all_at_once(company):
    created = [c.created_at for c in company.contacts]
    assert max(created) < datetime(2026, 11, 22, tzinfo=UTC)
    assert min(created) < datetime(2024, 9, 1, tzinfo=UTC)
    assert created == sorted(created, key=lambda at: at.date())
    assert max(Counter(at.date() for at in created).values()) < 0.02 * CONTACTS


def test_consent_differs_and_is_not_always_known(company):
    contacts = company.contacts
    assert 0.03 < sum(c.opted_out for c in contacts) / CONTACTS < 0.12
    assert 0.01 < sum(c.bounced for c in contacts) / CONTACTS < 0.05
    assert 0.05 < sum(c.can_email is False for c in contacts) / CONTACTS < 0.15
    assert 0.01 < sum(c.can_email is None for c in contacts) / CONTACTS < 0.04


def test_the_right_answer_of_identity_matching_follows_from_the_data(company):
    by_external = {c.external_id: c.contact_id for c in company.contacts if c.external_id}
    by_email = {c.email: c.contact_id for c in company.contacts}
    by_second = {
        c.attributes["secondary_emails"]: c.contact_id for c in company.contacts if c.attributes.get("secondary_emails")
    }
    for user in company.users:
        address = (user.email or "").lower()
        ways = {
            Link.EXTERNAL_ID: by_external.get(user.user_id),
            Link.EMAIL: by_email.get(address),
            Link.SECONDARY_EMAIL: by_second.get(address),
        }
        first = next((way for way, found in ways.items() if found), Link.UNKNOWN)
        assert (first, ways.get(first)) == (user.link, user.contact_id), user.user_id


def test_every_way_of_matching_occurs(company):
    links = Counter(u.link for u in company.users)
    users = len(company.users)
    assert 0.6 < links[Link.EXTERNAL_ID] / users < 0.85
    assert 0.1 < links[Link.EMAIL] / users < 0.3
    assert 0.01 < links[Link.SECONDARY_EMAIL] / users < 0.08
    assert 0.02 < links[Link.UNKNOWN] / users < 0.06
    typed = [u.email for u in company.users if u.email and u.email != u.email.lower()]
    assert len(typed) > 0.01 * users
    by_id = {c.contact_id: c for c in company.contacts}
    moved = [
        u
        for u in company.users
        if u.link is Link.EXTERNAL_ID and u.email and u.email.lower() != by_id[u.contact_id].email
    ]
    assert len(moved) > 0.01 * users


def test_merged_records_name_the_contact_they_now_are(company):
    by_id = {c.contact_id: c for c in company.contacts}
    assert 0.005 * CONTACTS < len(company.merged) < 0.03 * CONTACTS
    for loser in company.merged:
        winner = by_id[loser.merged_into]
        assert winner.attributes["secondary_emails"] == loser.email
    twice = Counter(u.contact_id for u in company.users if u.contact_id)
    assert {contact for contact, logins in twice.items() if logins > 1} <= {m.merged_into for m in company.merged}
    assert max(twice.values()) == 2


def test_some_contacts_never_used_the_product(company, usage):
    seen = {row[0] for row in usage.execute("SELECT DISTINCT user_id FROM deliveries").fetchall()}
    using = {u.contact_id for u in company.users if u.user_id in seen}
    assert 0.04 < 1 - len(using - {None}) / CONTACTS < 0.2
    assert {c.lifecycle_stage for c in company.contacts} == {"lead", "opportunity", "customer", "other"}


def test_users_of_the_log_are_the_users_of_the_company(company, usage):
    seen = dict(usage.execute("SELECT user_id, any_value(user_email) FROM deliveries GROUP BY 1").fetchall())
    known = {u.user_id: u.email for u in company.users}
    early = {user for user in seen if user not in known}
    # the far east begins the next day before the UTC day is over
    assert len(early) < 0.002 * CONTACTS
    assert {user: email for user, email in seen.items() if user not in early}.items() <= known.items()


def test_shares_of_silent_users_are_those_of_a_living_product(usage):
    shares = usage.execute(
        "WITH last AS (SELECT user_id, DATE '2026-11-21' - max(day) AS quiet FROM active GROUP BY 1) "
        "SELECT avg((quiet < 30)::INT), avg((quiet BETWEEN 30 AND 59)::INT), avg((quiet BETWEEN 60 AND 89)::INT), "
        "avg((quiet BETWEEN 90 AND 179)::INT), avg((quiet >= 180)::INT) FROM last"
    ).fetchone()
    bands = [(0.30, 0.60), (0.03, 0.12), (0.025, 0.10), (0.06, 0.18), (0.20, 0.45)]
    assert [low < share < high for share, (low, high) in zip(shares, bands, strict=True)] == [True] * 5, shares


def test_people_return_after_long_silences(usage):
    after_30 = one(usage, "SELECT count(*) FROM gaps WHERE gap >= 30")
    after_90 = one(usage, "SELECT count(*) FROM gaps WHERE gap >= 90")
    after_180 = one(usage, "SELECT count(*) FROM gaps WHERE gap >= 180")
    assert 0.2 * CONTACTS < after_30 < 1.0 * CONTACTS
    assert 0.03 * CONTACTS < after_90 < 0.5 * after_30
    assert 0 < after_180 < 0.5 * after_90


def test_the_longer_the_silence_the_less_likely_the_return(usage):
    """P(return within 90 days) over every contact-day at this silence, as the return curve defines it."""
    curve = [
        one(
            usage,
            f"WITH spells AS (SELECT coalesce(lead(day) OVER (PARTITION BY user_id ORDER BY day) - day, 10000) AS gap, "
            f"DATE '2026-11-21' - day AS room FROM active) "
            f"SELECT avg((gap <= {silent + 90})::INT) FROM spells WHERE gap > {silent} AND room >= {silent + 90}",
        )
        for silent in (7, 30, 90, 180)
    ]
    assert curve == sorted(curve, reverse=True)
    assert curve[0] > 0.45
    assert 0.15 < curve[1] < 0.6
    assert curve[3] < 0.25


def test_one_time_users_and_daily_users_both_exist(usage):
    days = usage.execute("SELECT count(*) FROM active GROUP BY user_id").fetchnumpy()["count_star()"]
    assert 0.08 < np.mean(days == 1) < 0.30
    assert np.mean(days >= 100) > 0.05
    # rates differ from person to person far more than chance alone would make them
    assert np.var(days) > 10 * np.mean(days)


def test_august_and_the_turn_of_the_year_are_quiet(usage):
    per_day = dict(
        usage.execute(
            "SELECT day, count(DISTINCT user_id) FROM active WHERE dayofweek(day) BETWEEN 1 AND 5 GROUP BY 1"
        ).fetchall()
    )

    def workday_mean(first: date, last: date) -> float:
        return float(np.mean([n for day, n in per_day.items() if first <= day <= last]))

    for year in (2025, 2026):
        around = (
            workday_mean(date(year, 6, 1), date(year, 6, 30)) + workday_mean(date(year, 9, 1), date(year, 9, 30))
        ) / 2
        assert 0.6 < workday_mean(date(year, 8, 1), date(year, 8, 31)) / around < 0.88
    for year in (2024, 2025):
        around = (
            workday_mean(date(year, 12, 1), date(year, 12, 18))
            + workday_mean(date(year + 1, 1, 7), date(year + 1, 1, 25))
        ) / 2
        assert 0.2 < workday_mean(date(year, 12, 22), date(year + 1, 1, 1)) / around < 0.65


def test_europe_takes_august_off_and_america_does_so_less(company, usage):
    europe = {u.user_id for u in company.users if u.timezone.startswith("Europe/")}
    america = {
        u.user_id for u in company.users if u.timezone in ("America/New_York", "America/Chicago", "America/Denver")
    }

    def dip(people: set[str]) -> float:
        months = Counter()
        for user, month, n in usage.execute(
            "SELECT user_id, month(day), count(*) FROM active WHERE year(day) = 2026 GROUP BY ALL"
        ).fetchall():
            if user in people:
                months[month] += n
        return months[8] / ((months[6] + months[9]) / 2)

    assert dip(europe) < dip(america) - 0.1


def test_weekends_are_quiet_but_not_empty(usage):
    weekend, week = usage.execute(
        "SELECT count(*) FILTER (dayofweek(day) IN (0, 6)) / 2, count(*) FILTER (dayofweek(day) BETWEEN 1 AND 5) / 5 FROM log"
    ).fetchone()
    assert 0.05 < weekend / week < 0.35


def test_the_weekend_of_israel_is_friday_and_saturday(company, usage):
    people = [u.user_id for u in company.users if u.timezone == "Asia/Jerusalem"]
    days = dict(
        usage.execute(
            "SELECT dayofweek(day), count(*) FROM log WHERE list_contains($p, user_id) GROUP BY 1", {"p": people}
        ).fetchall()
    )
    assert days[0] > 2 * days[5] > 0


def test_people_work_in_their_own_daytime(company):
    table = company.events.table()
    for zone in ("America/Los_Angeles", "Europe/Amsterdam", "Asia/Tokyo"):
        people = pa.array([u.user_id for u in company.users if u.timezone == zone])
        times = table.filter(pc.is_in(table["user_id"], value_set=people))["ts"]
        hours = pc.hour(times.cast(pa.timestamp("s", tz=zone))).to_numpy()
        assert np.mean((hours >= 8) & (hours < 20)) > 0.85, zone
        assert 11 <= np.median(hours) <= 14, zone


def test_colleagues_fall_silent_together(company, usage):
    """Inside one company people are more alike in being silent than people of different companies are."""
    account = {c.contact_id: c.account_id for c in company.contacts}
    home = {u.user_id: account.get(u.contact_id) for u in company.users}
    quiet = {
        user: days >= 90
        for user, days in usage.execute(
            "SELECT user_id, DATE '2026-11-21' - max(day) FROM active GROUP BY 1"
        ).fetchall()
        if home.get(user)
    }
    overall = np.mean(list(quiet.values()))
    members: dict[str, list[bool]] = {}
    for user, silent in quiet.items():
        members.setdefault(home[user], []).append(silent)
    pairs = agree = 0.0
    for group in members.values():
        n, k = len(group), sum(group)
        pairs += n * (n - 1)
        agree += k * (k - 1) + (n - k) * (n - k - 1)
    by_chance = overall**2 + (1 - overall) ** 2
    assert agree / pairs > by_chance + 0.05


def test_features_rise_and_fall(company, usage):
    months = {
        (feature, year): n
        for feature, year, n in usage.execute("SELECT event, year(day), count(*) FROM log GROUP BY ALL").fetchall()
    }
    assert {feature for feature, _ in months} == set(FEATURE_NAMES) - {NOT_USAGE}
    launched = one(usage, "SELECT min(day) FROM log WHERE event = 'assistant'")
    retired = one(usage, "SELECT max(day) FROM log WHERE event = 'classic_import'")
    assert (launched - company.starts).days in range(420, 440)
    assert (retired - company.starts).days in range(490, 521)
    total = {year: sum(n for (_, y), n in months.items() if y == year) for year in (2025, 2026)}
    assert months["automation", 2026] / total[2026] > 1.05 * months["automation", 2025] / total[2025]
    assert months["prototypes", 2026] / total[2026] < 0.9 * months["prototypes", 2025] / total[2025]
    top = one(usage, "SELECT max(n) / sum(n) FROM (SELECT count(*) AS n FROM log GROUP BY event)")
    assert 0.1 < top < 0.3


def test_people_who_left_still_look_at_the_status_page(usage):
    looks = one(
        usage,
        f"WITH real AS (SELECT user_id, max(ts) AS last FROM log GROUP BY 1) SELECT count(*) FROM deliveries "
        f"JOIN real USING (user_id) WHERE event = '{NOT_USAGE}' AND ts > last + INTERVAL 60 DAY",
    )
    assert looks > 100


def test_most_news_comes_at_once_a_third_in_the_days_batch_and_some_late(company):
    events = company.events
    delay = events.arrived - events.at
    assert delay.min() >= 1
    same_day = events.arrived // 86_400 == events.at // 86_400
    batch = same_day & (events.arrived % 86_400 == 85_800)
    assert 0.5 < np.mean(delay < 600) < 0.75
    assert 0.25 < np.mean(batch) < 0.40
    assert 0.04 < np.mean(~same_day) < 0.10
    assert 0.0005 < np.mean(delay > 30 * 86_400) < 0.01


def test_some_deliveries_come_twice_and_say_the_same(company, usage):
    number, most, same = usage.execute(
        "WITH copies AS (SELECT count(*) AS copies, count(DISTINCT (user_id, ts, event, n)) AS contents "
        "FROM deliveries GROUP BY event_id HAVING count(*) > 1) SELECT count(*), max(copies), max(contents) FROM copies"
    ).fetchone()
    assert 0.004 < number / len(company.events) < 0.012
    assert (most, same) == (2, 1)


def test_events_are_in_order_of_arrival_inside_the_story(company):
    events = company.events
    assert np.all(np.diff(events.arrived) >= 0)
    assert events.arrived[0] >= midnight(company.starts)
    assert events.arrived[-1] < midnight(company.ends + timedelta(days=1))
    assert events.count.min() >= 1


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_the_written_files_hold_exactly_the_events(tmp_path, file_format):
    small = generate(ends=ENDS, contacts=60, history_days=120)
    paths = small.write_usage(tmp_path / "data", file_format=file_format)
    assert [p.name for p in paths] == [f"events-2026-{m:02}.{file_format}" for m in range(7, 12)]
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == [p.name for p in paths]
    connection = duckdb.connect()
    connection.execute("SET TimeZone='UTC'")
    read = "read_csv" if file_format == "csv" else "read_parquet"
    for month, path in zip(range(7, 12), paths, strict=True):
        months = connection.execute(f"SELECT DISTINCT month(ingested_at) FROM {read}('{path}')").fetchall()
        assert months == [(month,)]
    connection.execute(f"CREATE VIEW written AS FROM {read}('{tmp_path}/data/events-*.{file_format}')")
    connection.register("wanted", small.events.table())
    described = connection.execute("DESCRIBE written").fetchall()
    assert tuple(column[0] for column in described) == COLUMNS
    assert (described[3][1], described[6][1]) == ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITH TIME ZONE")
    rows = "SELECT * REPLACE (epoch(ts) AS ts, epoch(ingested_at) AS ingested_at) FROM "
    written = connection.execute(rows + "written").fetchall()
    assert len(written) == len(small.events) > 100
    assert Counter(written) == Counter(connection.execute(rows + "wanted").fetchall())


def test_the_parquet_types_are_plain(tmp_path):
    path = generate(ends=ENDS, contacts=30, history_days=20).write_usage(tmp_path)[0]
    types = {f.name: str(f.type) for f in pq.read_schema(path)}
    assert types == {
        "event_id": "string",
        "user_id": "string",
        "user_email": "string",
        "ts": "timestamp[ms, tz=UTC]",
        "event": "string",
        "n": "int32",
        "ingested_at": "timestamp[ms, tz=UTC]",
    }


def test_the_mapping_fills_neutral_columns_from_columns_of_the_files():
    assert set(MAPPING) <= set(neutral_columns("usage"))
    assert sorted(MAPPING.values()) == sorted(COLUMNS)
    assert set(PAYMENT_MAPPING) <= set(neutral_columns("transactions"))
    assert set(PAYMENT_MAPPING.values()) <= set(PAYMENT_COLUMNS)


def test_the_week_later_brings_new_and_late_news_in_a_file_of_its_own(company, tmp_path):
    week = company.more_days(7)
    assert 0.5 * len(company.events) / 730 * 7 < len(week) < 4 * len(company.events) / 730 * 7
    assert week.arrived[0] >= midnight(date(2026, 11, 22))
    assert week.arrived[-1] < midnight(date(2026, 11, 29))
    late = week.at < midnight(date(2026, 11, 22))
    assert 20 < late.sum() < 0.3 * len(week)
    path = company.write_more_days(tmp_path, 7)
    assert path.name == "events-2026-11-22-to-2026-11-28.parquet"
    assert pq.read_table(path).num_rows == len(week)


def test_the_week_later_moves_people_both_ways(company):
    """Some return who had been silent for 30 days, and some become silent: otherwise the demo has nothing to show."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone='UTC'")
    connection.register("before", company.events.table())
    connection.register("after", company.after(7).events.table())

    def silent(name: str, day: str) -> set[str]:
        rows = connection.execute(
            f"SELECT user_id FROM {name} WHERE event <> '{NOT_USAGE}' GROUP BY 1 HAVING DATE '{day}' - max(ts::DATE) >= 30"
        ).fetchall()
        return {row[0] for row in rows}

    now, later = silent("before", "2026-11-21"), silent("after", "2026-11-28")
    assert len(now - later) > 20
    assert len(later - now) > 20


def test_the_crm_changes_in_a_week_too(company):
    changed = company.changed_contacts(7)
    before = {c.contact_id: c for c in company.contacts}
    later = {c.contact_id: c for c in company.after(7).contacts}
    assert {c.contact_id for c in changed} == {i for i, c in later.items() if before.get(i) != c}
    assert 10 < len(set(later) - set(before)) < 100
    assert any(c.opted_out and not before[c.contact_id].opted_out for c in changed if c.contact_id in before)
    assert set(before) <= set(later)
    assert not any(before[i].opted_out and not later[i].opted_out for i in before)
    assert company.after(0).contacts == company.contacts


def test_another_seed_is_another_company():
    one_, other = (generate(ends=ENDS, contacts=40, history_days=30, seed=s) for s in (1, 2))
    assert one_.contacts != other.contacts
    assert not one_.events.table().equals(other.events.table())


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="at least 20"):
        generate(ends=ENDS, contacts=3)
    with pytest.raises(ValueError, match="at least 1"):
        generate(ends=ENDS, history_days=0)
    with pytest.raises(ValueError, match="goes forward"):
        generate(ends=ENDS, contacts=20, history_days=2).after(-1)


def test_the_playbook_says_where_the_crm_and_the_files_are():
    text = playbook_text(
        base_url="http://127.0.0.1:8123",
        auth={"token": "${HUBSPOT_TOKEN}"},
        usage_folder="data",
        file_format="csv",
        account="Åcme $1: #x",
    )
    playbook = yaml.safe_load(text)
    assert playbook["account"] == "Åcme $$1: #x"
    assert playbook["sources"]["crm"]["base_url"] == "http://127.0.0.1:8123"
    assert playbook["sources"]["crm"]["auth"] == {"token": "${HUBSPOT_TOKEN}"}
    usage = playbook["sources"]["product"]["streams"]["usage"]
    assert usage == {"path": "data/events-*.csv", "mapping": MAPPING}
    assert playbook["activity"]["counts"] == f"feature <> '{NOT_USAGE}'"
    assert [s["name"] for s in playbook["segments"]][:4] == ["dormant_30", "dormant_60", "dormant_90", "cold"]
    payments = playbook["sources"]["product"]["streams"]["transactions"]
    assert payments == {"path": "data/payments-*.csv", "mapping": PAYMENT_MAPPING}
    assert [step["name"] for step in playbook["program"]["steps"]] == ["reminder", "offer", "last_chance", "feedback"]
    assert set(playbook["program"]["enroll"]) <= {s["name"] for s in playbook["segments"]}


@pytest.mark.parametrize(("contacts", "touches"), [(20, 10), (600, 12), (5_000, 100), (100_000, 2_000)])
def test_the_daily_cap_goes_with_the_company_s_size(contacts, touches):
    text = playbook_text(base_url="http://127.0.0.1:8123", auth={"token": "${HUBSPOT_TOKEN}"}, contacts=contacts)
    assert yaml.safe_load(text)["program"]["caps"]["per_day"] == touches


def test_the_playbook_is_one_that_winback_reads_without_a_word_against_it(tmp_path):
    text = playbook_text(base_url="http://127.0.0.1:8123", auth={"token": "${HUBSPOT_TOKEN}"})
    (tmp_path / "winback.yaml").write_text(text)
    (tmp_path / "whats_new.yaml").write_text(whats_new_text("2026-09-01", "2026-10-02"))
    playbook = load_playbook(tmp_path / "winback.yaml", environ={"HUBSPOT_TOKEN": "x"}, adapters=installed_adapters())
    assert playbook.findings == ()
    (program,) = playbook.programs
    assert [str(entry["date"]) for entry in program.personal.whats_new] == ["2026-10-02", "2026-09-01"]
    assert program.sunset.after_episodes == 1
    assert program.holdout.share == 0.3


def test_what_is_known_of_permission_differs_from_country_to_country(company):
    def bases(*countries: str) -> Counter[str | None]:
        return Counter(c.attributes["consent_basis"] for c in company.contacts if c.country in countries)

    europe, america, canada = bases("DE", "NL", "FR", "ES"), bases("US"), bases("CA")
    assert europe["consent_express"] / europe.total() > 0.8 and europe["legitimate_interest"] > 0 and not europe[None]
    assert america[None] / america.total() > 0.6
    assert canada["contract"] / canada.total() > 0.3
    assert all(
        (c.attributes["consent_at"] is None) is (c.attributes["consent_basis"] is None) for c in company.contacts
    )
    assert all(c.attributes["consent_at"] <= str(ENDS) for c in company.contacts if c.attributes["consent_at"])


def test_some_addresses_countries_and_wishes_are_not_ordinary(company):
    contacts = company.contacts
    addresses = [c.email for c in contacts if c.email]
    assert 5 < sum(c.email is None for c in contacts) < 0.03 * CONTACTS
    assert 5 < sum(a.partition("@")[0] in {"info", "sales", "support", "billing"} for a in addresses) < 0.03 * CONTACTS
    assert 3 < sum("..@" in a for a in addresses) < 0.02 * CONTACTS
    assert 20 < sum(c.country is None for c in contacts) < 0.03 * CONTACTS
    assert 2 < sum(c.attributes["legal_hold"] == "true" for c in contacts) < 0.01 * CONTACTS
    snoozed = [c.attributes["snoozed_until"] for c in contacts if c.attributes["snoozed_until"]]
    assert 2 < len(snoozed) < 0.02 * CONTACTS
    assert min(snoozed) > str(ENDS)


def test_a_contact_with_an_odd_address_is_known_by_its_id_or_not_at_all(company):
    users = {u.contact_id: u for u in company.users if u.contact_id}
    odd = [c for c in company.contacts if c.email is None or "..@" in c.email or "@team" in c.email]
    assert len(odd) > 20
    assert {users[c.contact_id].link for c in odd if c.contact_id in users} == {Link.EXTERNAL_ID}


def test_somebody_pays_every_day_and_each_payment_is_told_once(company, tmp_path):
    paid = company.events.payments()
    assert paid.column_names == list(PAYMENT_COLUMNS)
    assert len(set(paid["payment_id"].to_pylist())) == paid.num_rows
    days = {at.date() for at in paid["paid_at"].to_pylist()}
    assert len(days) > 725
    assert set(paid["currency"].to_pylist()) == {"EUR"} and min(paid["amount"].to_pylist()) > 0
    written = company.write_payments(tmp_path)
    assert sum(pq.read_table(path).num_rows for path in written) >= paid.num_rows
    assert company.more_days(1).payments().num_rows >= 3


def test_a_token_is_never_written_into_a_playbook():
    with pytest.raises(ValueError, match="reference"):
        playbook_text(base_url="http://127.0.0.1:8123", auth={"token": "pat-eu1-0000"})

"""What reading HubSpot means beyond the source suite, on the sandbox."""

from __future__ import annotations

import pytest

from adapters.lookalike.faults import Fault
from connector.errors import CredentialsError, QuotaExhausted
from connector.model import Severity
from tests.contract.source_suite import keys_of, read_all, rows_of
from tests.fakes.hubspot_worlds import HubSpotWorld


@pytest.fixture
def make(tmp_path):
    made = []

    def world(**options) -> HubSpotWorld:
        made.append(HubSpotWorld(tmp_path, **options))
        return made[-1]

    yield world
    for each in made:
        each.stop()


def calls(world, source_cursor=None):
    before = world.calls()
    pages = read_all(world, source_cursor)
    return pages, world.calls() - before


def rows_by_id(pages, *, partial=False):
    return {row["hs_object_id"]: row for page in pages if page.partial is partial for row in rows_of(page)}


def paths(world, method=None):
    return [entry.path for entry in world.sandbox.log.entries() if method in {None, entry.method}]


# --- the first reading ---


def test_a_first_reading_takes_as_many_calls_for_many_as_for_few(make):
    small, large = make(contacts=50), make(contacts=3000)
    assert calls(small)[1] == calls(large)[1] <= 7


def test_quoted_newlines_marks_and_several_zipped_parts_come_through(make):
    world = make(contacts=700)
    world.state.behave({"export_rows_per_part": 90, "export_zip_above_bytes": 100})
    rows = rows_by_id(read_all(world))
    assert set(rows) == world.keys()
    assert rows["13"]["firstname"] == "Line\nbreak"
    assert rows["9"]["hs_email_optout"] == "true" and rows["1"]["associatedcompanyid"] is None


def test_export_and_list_give_the_same_rows(make):
    world = make(contacts=300)
    exported = rows_by_id(read_all(world))
    world.options["backfill"] = "list"
    assert rows_by_id(read_all(world)) == exported


def test_the_exported_file_does_not_stay_on_disk(make, tmp_path):
    read_all(make(contacts=20))
    assert list(tmp_path.iterdir()) == []


def test_an_empty_account_is_a_complete_snapshot_of_nobody(make):
    for backfill in ("export", "list"):
        pages = read_all(make(backfill=backfill))
        assert keys_of(pages, "hs_object_id") == [] and pages[-1].snapshot_complete
        assert pages[-1].cursor["mode"] == "changes"


def test_without_the_export_scope_pages_are_read_instead_and_it_is_said(make):
    world = make(contacts=230)
    world.state.missing_scopes = {"crm.export"}
    source = world.source()
    pages = list(source.read("contacts", None))
    assert set(keys_of(pages, "hs_object_id")) == world.keys()
    assert any("crm.export" in line for line in source._reporter.lines)


def test_when_todays_thirty_exports_are_gone_pages_are_read_without_waiting(make):
    world = make(contacts=130)
    for _ in range(30):
        read_all(world)
    slept = world.clock.slept
    pages = read_all(world)
    assert set(keys_of(pages, "hs_object_id")) == world.keys()
    assert pages[-1].snapshot.startswith("list") and world.clock.slept - slept < 5


def test_an_export_that_never_gets_ready_is_given_up_for_pages(make):
    world = make(contacts=130, export_wait="2m")
    world.state.behave({"export_seconds": 10**9, "export_polls": 10**9})
    assert set(keys_of(read_all(world), "hs_object_id")) == world.keys()


def test_an_address_that_expired_is_asked_for_again(make):
    world = make(contacts=130)
    world.sandbox.faults.add(Fault("error", path="download", status=403, times=1))
    pages = read_all(world)
    assert pages[-1].snapshot.startswith("export")
    assert set(keys_of(pages, "hs_object_id")) == world.keys()


def test_a_run_that_died_while_the_export_was_made_finds_the_job_again(make):
    world = make(contacts=130)
    reading = world.source().read("contacts", None)
    cursor = next(reading).cursor
    reading.close()
    read_all(world, cursor)
    assert len(world.state.exports.jobs) == 1


def test_an_export_whose_job_vanished_is_replaced_by_pages(make):
    world = make(contacts=130)
    reading = world.source().read("contacts", None)
    cursor = next(reading).cursor
    reading.close()
    world.state.exports.jobs.clear()
    assert set(keys_of(read_all(world, cursor), "hs_object_id")) == world.keys()


# --- fields ---


def test_only_mapped_fields_are_asked_for_and_none_the_account_lacks(make):
    world = make(contacts=30, backfill="list")
    connection = world.connection()
    connection.fields["contacts"] = ["email", "no_such_field"]
    from adapters.hubspot.source import HubSpotSource

    pages = list(HubSpotSource(connection).read("contacts", None))
    assert set(rows_of(pages[0])[0]) == {"hs_object_id", "lastmodifieddate", "email", "archivedAt", "__place"}


def test_a_mapping_that_wants_more_starts_over(make):
    world = make(contacts=30)
    cursor = read_all(world)[-1].cursor
    connection = world.connection()
    connection.fields["contacts"] = [*connection.fields["contacts"], "phone"]
    from adapters.hubspot.source import HubSpotSource

    pages = list(HubSpotSource(connection).read("contacts", cursor))
    assert set(keys_of(pages, "hs_object_id")) == world.keys()
    assert any("new fields" in line for line in connection.reporter.lines)


def test_very_many_fields_are_read_by_batch_where_queries_are_too_short_for_them(make):
    world = make(contacts=150, backfill="list")
    from adapters.hubspot.sandbox.definitions import Definition
    from adapters.hubspot.source import HubSpotSource

    names = [f"a_rather_long_property_name_{number}" for number in range(300)]
    for name in names:
        world.state.contact_properties.live[name] = Definition(name, name, "string", "text", "product")
    connection = world.connection()
    connection.fields["contacts"] = ["email", *names]
    pages = list(HubSpotSource(connection).read("contacts", None))
    assert set(keys_of(pages, "hs_object_id")) == world.keys()
    world.edit(["3"], **{names[-1]: "here"})
    world.pass_time(600)
    changed = rows_by_id(list(HubSpotSource(connection).read("contacts", pages[-1].cursor)))
    assert changed["3"][names[-1]] == "here"


# --- what changed ---


def test_a_reading_with_nothing_new_takes_two_calls(make):
    world = make(contacts=2000)
    cursor = read_all(world)[-1].cursor
    world.pass_time(3600)
    cursor = read_all(world, cursor)[-1].cursor
    world.pass_time(3600)
    pages, made = calls(world, cursor)
    assert made == 2 and keys_of(pages, "hs_object_id") == []


def test_twelve_thousand_records_of_one_millisecond_all_come(make):
    world = make(contacts=10)
    cursor = read_all(world)[-1].cursor
    now = world.state.settle()
    kind = world.state.kind("contacts")
    from adapters.hubspot.sandbox.seeding import put_raw

    put_raw(
        world.state,
        "contacts",
        [{"id": str(i), "properties": {"email": f"p{i}@example.com"}, "updated_at": now} for i in range(5, 12_005)],
    )
    world.pass_time(600)
    changed = keys_of(read_all(world, cursor), "hs_object_id")
    assert len(changed) == len(set(changed))
    assert set(changed) >= {str(i) for i in range(5, 12_005)}
    assert len(kind.store.live) == 12_004


def test_short_pages_and_a_lagging_index_lose_nothing(make):
    world = make(contacts=600)
    cursor = read_all(world)[-1].cursor
    world.state.behave({"search_lag_seconds": 60, "search_jitter_seconds": 60})
    world.sandbox.faults.add(Fault("short_page", probability=0.5))
    found = set()
    edited = set()
    for start in range(1, 500, 100):
        ids = [str(i) for i in range(start, start + 90)]
        world.edit(ids, firstname=f"round {start}")
        edited |= set(ids)
        world.pass_time(100)
        pages = read_all(world, cursor)
        cursor = pages[-1].cursor
        found |= {k for k, row in rows_by_id(pages).items() if str(row["firstname"]).startswith("round")}
    world.pass_time(900)
    pages = read_all(world, cursor)
    found |= {k for k, row in rows_by_id(pages).items() if str(row["firstname"]).startswith("round")}
    assert found == edited


def test_a_merge_names_the_losers_on_the_survivor_even_in_a_chain(make):
    world = make(contacts=30)
    cursor = read_all(world)[-1].cursor
    kind = world.state.kind("contacts")
    world.state.merge(kind, "5", "6", now_ms=world.state.settle())
    world.state.merge(kind, "7", "5", now_ms=world.state.settle())
    world.pass_time(600)
    row = rows_by_id(read_all(world, cursor))["7"]
    assert set(row["hs_merged_object_ids"].split(";")) == {"5", "6"}
    assert {"person5@example.com", "person6@example.com"} <= set(row["hs_additional_emails"].split(";"))


def test_deletions_are_told_with_their_time_and_restored_people_come_back(make):
    world = make(contacts=30)
    cursor = read_all(world)[-1].cursor
    gone = world.delete()
    pages = read_all(world, cursor)
    told = rows_by_id(pages, partial=True)
    assert set(told) == gone and all(row["archivedAt"] for row in told.values())
    assert all(set(row) == {"hs_object_id", "archivedAt", "__place"} for row in told.values())
    back = min(gone)
    world.state.contacts.restore(back, now_ms=world.state.settle())
    world.edit([back], firstname="Back")
    world.pass_time(600)
    assert rows_by_id(read_all(world, pages[-1].cursor))[back]["archivedAt"] is None


def test_a_full_recycle_bin_is_listed_the_seldomer_the_fuller_it_is(make):
    world = make(contacts=1000)
    cursor = read_all(world)[-1].cursor
    ids = sorted(world.keys())[:900]
    for row_id in ids:
        world.state.archive(world.state.kind("contacts"), row_id, now_ms=world.state.settle())
    world.pass_time(600)
    pages = read_all(world, cursor)
    assert set(rows_by_id(pages, partial=True)) == set(ids)
    world.pass_time(900)
    pages, made = calls(world, pages[-1].cursor)
    assert made == 1
    world.pass_time(6 * 3600)
    assert calls(world, pages[-1].cursor)[1] >= 9


def test_our_own_writes_come_back_as_the_same_values(make):
    world = make(contacts=30)
    before = rows_by_id(read_all(world))
    cursor = read_all(world)[-1].cursor
    from connector.model import PropertyRow, PropertySpec

    destination = world.destination()
    destination.ensure_properties([PropertySpec("winback_last_feature", "x", "text")])
    destination.set_properties([PropertyRow("3", {"winback_last_feature": "export"})])
    world.pass_time(600)
    echo = rows_by_id(read_all(world, cursor))
    assert set(echo) == {"3"}
    assert {k: v for k, v in echo["3"].items() if k != "lastmodifieddate"} == {
        k: v for k, v in before["3"].items() if k != "lastmodifieddate"
    }


# --- bad days ---


@pytest.mark.parametrize("faults", ["resets", "errors", "rate_limits", "short_pages"])
def test_everything_is_read_on_a_bad_day(make, faults):
    from adapters.hubspot.sandbox.faults import faults_named

    world = make(contacts=900, backfill="list")
    world.sandbox.faults.add(*faults_named([faults]))
    first = read_all(world)
    assert set(keys_of(first, "hs_object_id")) == world.keys()
    changed = world.change()
    assert changed <= set(keys_of(read_all(world, first[-1].cursor), "hs_object_id"))


def test_a_daily_limit_that_is_used_up_stops_the_reading_with_words(make):
    world = make(contacts=300, backfill="list")
    world.sandbox.faults.add(Fault("rate_limit", policy="DAILY", calls=(3,)))
    with pytest.raises(QuotaExhausted, match="daily") as caught:
        read_all(world)
    assert "midnight" in caught.value.hint


def test_a_missing_scope_is_named_by_reading_and_by_check(make):
    world = make(contacts=5, backfill="list")
    world.state.missing_scopes = {"crm.objects.contacts.read"}
    with pytest.raises(CredentialsError, match=r"crm\.objects\.contacts\.read"):
        read_all(world)
    bad = [finding for finding in world.source().check() if finding.severity is Severity.ERROR]
    assert any(finding.credentials and "crm.objects.contacts.read" in (finding.fix or "") for finding in bad)


def test_check_names_mapped_fields_that_do_not_exist_and_a_near_one(make):
    world = make(contacts=5)
    connection = world.connection()
    connection.fields["contacts"] = ["emial"]
    from adapters.hubspot.source import HubSpotSource

    finding = next(f for f in HubSpotSource(connection).check() if "emial" in f.subject)
    assert finding.severity is Severity.WARNING and "email" in finding.fix


def test_the_search_is_metered_apart(make):
    world = make(contacts=30)
    cursor = read_all(world)[-1].cursor
    world.budget.by_meter.clear()
    world.change()
    read_all(world, cursor)
    assert world.budget.by_meter["search"] >= 1 and world.budget.by_meter[""] >= 1
    assert sum("search" in path for path in paths(world)) == world.budget.by_meter["search"]

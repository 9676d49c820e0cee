"""What reading Salesforce means beyond the source suite, on the sandbox."""

from __future__ import annotations

import pytest

from adapters.lookalike.faults import Fault
from adapters.salesforce.sandbox.faults import faults_named
from adapters.salesforce.sandbox.making import text
from adapters.salesforce.source import SalesforceSource
from connector.errors import CredentialsError, QuotaExhausted
from connector.model import PropertyRow
from tests.contract.source_suite import keys_of, read_all, rows_of
from tests.fakes.salesforce_worlds import SalesforceWorld, contact, lead, people

FLAGS = ("HasOptedOutSolicit", "HasOptedOutProcessing", "ShouldForget")


@pytest.fixture
def make(tmp_path, request):
    made = []

    def world(**options) -> SalesforceWorld:
        made.append(SalesforceWorld(tmp_path, **options))
        if "_jobs_for_few" in request.fixturenames:
            made[-1].state.behave({"bulk_page_rows": 100})
        return made[-1]

    yield world
    for each in made:
        each.stop()


@pytest.fixture
def _jobs_for_few(monkeypatch):
    """A job for a few hundred records, in pieces of a hundred."""
    monkeypatch.setattr("adapters.salesforce.walking.REST_IS_CHEAPER_BELOW", 10)
    monkeypatch.setattr("adapters.salesforce.bulk_query.ROWS_PER_PIECE", 100)


def calls(world, cursor=None):
    before = world.calls()
    pages = read_all(world, cursor)
    return pages, world.calls() - before


def rows_by_id(pages, *, partial=False):
    return {row["Id"]: row for page in pages if page.partial is partial for row in rows_of(page)}


def paths(world, part=""):
    return [entry.path for entry in world.sandbox.log.entries() if part in entry.path]


def without_individuals(rows):
    """The rows as far as both ways of reading are known to agree: of nobody a job may say false, REST says nothing."""
    return {key: {n: v for n, v in row.items() if not n.startswith("Individual.")} for key, row in rows.items()}


def told(world, cursor=None):
    """One reading, and what it said on the way."""
    source = world.source()
    pages = list(source.read(world.stream, cursor))
    return pages, source._reporter.lines


# --- the first reading ---


def test_a_first_reading_takes_as_many_calls_for_many_as_for_few_but_for_pieces(make):
    small, large = make(contacts=2_500), make(contacts=9_000)
    pages, few = calls(small)
    assert calls(large)[1] == few <= 10
    assert len(keys_of(pages, "Id")) == 2_500 and len(paths(small, "/jobs/query")) >= 4


def test_the_calls_of_a_large_reading_are_those_of_a_small_one_and_one_for_each_piece(make, monkeypatch):
    one_piece, several = make(contacts=2_500), make(contacts=9_000)
    fixed = calls(one_piece)[1]
    monkeypatch.setattr("adapters.salesforce.bulk_query.ROWS_PER_PIECE", 1_000)
    several.state.behave({"bulk_page_rows": 1_000})
    pages, made = calls(several)
    assert len(keys_of(pages, "Id")) == 9_000
    assert made <= fixed + 1 + 8 + 1  # the lists of links, the pieces but the first


def test_few_are_read_in_one_page_without_a_job(make):
    world = make(contacts=1_500)
    _, made = calls(world)
    assert made == 4  # two descriptions, a count, the page
    assert paths(world, "/jobs/") == []


@pytest.mark.usefixtures("_jobs_for_few")
def test_quotes_newlines_and_other_alphabets_come_through_either_way(make):
    world = make(contacts=430, accounts=60)
    by_job = rows_by_id(read_all(world))
    assert by_job[contact(13)]["FirstName"] == "Line\nbreak"
    assert by_job[contact(12)]["FirstName"] == "Zoë “12”" and by_job[contact(12)]["LastName"] == "Name, 12"
    assert by_job[contact(9)]["HasOptedOutOfEmail"] == "true" and by_job[contact(1)]["AccountId"] is None
    world.options["backfill"] = "rest"
    assert without_individuals(rows_by_id(read_all(world))) == without_individuals(by_job)


@pytest.mark.usefixtures("_jobs_for_few")
def test_the_files_of_a_job_do_not_stay_on_disk_nor_in_the_org(make, tmp_path):
    world = make(contacts=430)
    reading = world.source().read("contacts", None)
    for _ in range(3):
        next(reading)
    reading.close()
    assert list(tmp_path.iterdir()) == []
    read_all(world)
    assert list(tmp_path.iterdir()) == []
    deleted = [entry for entry in world.sandbox.log.entries() if entry.method == "DELETE" and "/jobs/" in entry.path]
    assert len(deleted) == 1 and deleted[0].status == 204


def test_an_empty_org_is_read_to_its_end(make):
    pages = read_all(make())
    assert keys_of(pages, "Id") == [] and pages[-1].cursor["mode"] == "changes"


@pytest.mark.usefixtures("_jobs_for_few")
def test_a_run_that_died_while_the_job_was_at_work_finds_it_again(make):
    world = make(contacts=130)
    reading = world.source().read("contacts", None)
    cursor = next(reading).cursor
    reading.close()
    assert cursor["mode"] == "bulk" and cursor["job"]["locator"] is None
    pages = read_all(world, cursor)
    assert set(keys_of(pages, "Id")) == world.keys()
    assert (
        len([entry for entry in world.sandbox.log.entries() if entry.method == "POST" and "/jobs/" in entry.path]) == 1
    )


@pytest.mark.usefixtures("_jobs_for_few")
def test_a_run_that_died_between_two_pieces_goes_on_at_the_locator_of_the_next(make):
    world = make(contacts=430)
    reading = world.source().read("contacts", None)
    read = [next(reading) for _ in range(3)]
    reading.close()
    cursor = read[-1].cursor
    assert cursor["job"]["locator"]
    rest = read_all(world, cursor)
    assert set(keys_of([*read, *rest], "Id")) == world.keys()
    assert not set(keys_of(read, "Id")) & set(keys_of(rest, "Id"))


@pytest.mark.usefixtures("_jobs_for_few")
def test_a_job_whose_result_expired_is_run_again(make):
    world = make(contacts=430)
    reading = world.source().read("contacts", None)
    cursor = [next(reading).cursor for _ in range(3)][-1]
    reading.close()
    world.pass_time(8 * 86_400)
    pages, lines = told(world, cursor)
    assert set(keys_of(pages, "Id")) == world.keys()
    assert any("from the start" in line for line in lines)


@pytest.mark.usefixtures("_jobs_for_few")
def test_a_job_answers_to_the_version_it_was_made_with_and_is_asked_in_it(make):
    world = make(contacts=130)
    reading = world.source().read("contacts", None)
    cursor = next(reading).cursor
    reading.close()
    world.options["api_version"] = "68.0"
    pages, lines = told(world, cursor)
    assert set(keys_of(pages, "Id")) == world.keys() and lines == []


@pytest.mark.usefixtures("_jobs_for_few")
def test_a_job_that_never_ends_is_given_up_for_pages_and_it_is_said(make):
    world = make(contacts=130, bulk_wait="2m", behaviour={"bulk_seconds": 10.0**9, "bulk_polls": 10**9})
    pages, lines = told(world)
    assert set(keys_of(pages, "Id")) == world.keys()
    assert any("after 2 minutes" in line for line in lines)


@pytest.mark.usefixtures("_jobs_for_few")
@pytest.mark.parametrize("status", [400, 403, 503])
def test_a_job_that_is_refused_is_replaced_by_pages(make, status):
    world = make(contacts=130)
    world.sandbox.faults.add(Fault("error", method="POST", path="/jobs/query", status=status))
    pages, lines = told(world)
    assert set(keys_of(pages, "Id")) == world.keys()
    assert any("no Bulk job" in line for line in lines)


@pytest.mark.usefixtures("_jobs_for_few")
def test_a_job_that_may_not_be_deleted_is_left_to_be_forgotten(make):
    world = make(contacts=130)
    world.sandbox.faults.add(Fault("error", method="DELETE", path="/jobs/query", status=403))
    assert set(keys_of(read_all(world), "Id")) == world.keys()


@pytest.mark.usefixtures("_jobs_for_few")
def test_a_token_that_ends_while_a_job_runs_is_renewed(make):
    world = make(contacts=430, behaviour={"session_seconds": 40.0, "bulk_seconds": 300.0, "bulk_polls": 10**9})
    assert set(keys_of(read_all(world), "Id")) == world.keys()
    assert world.sandbox.log.by_kind["logins"] > 2


# --- fields ---


def test_only_mapped_fields_are_asked_for_and_none_that_are_not_there(make):
    world = make(contacts=30)
    connection = world.connection()
    connection.fields["contacts"] = ["Email", "No_Such_Field__c", "Account.Name", "Account.Nothing__c"]
    pages = list(SalesforceSource(connection).read("contacts", None))
    assert set(rows_of(pages[0])[0]) == {
        "Id", "SystemModstamp", "MasterRecordId", "Email", "Account.Name", "DeletedDate", "__place",
    }  # fmt: skip


def test_a_field_that_is_hidden_is_left_out_and_named_not_read_as_empty(make):
    world = make(contacts=30)
    world.state.access.hidden.add("Contact.Title")
    world.state.access.forget()
    pages, lines = told(world)
    assert "Title" not in rows_of(pages[0])[0]
    assert any("Contact.Title" in line and "Winback Integration" in line for line in lines)


@pytest.mark.parametrize(("stream", "kind"), [("contacts", "Contact"), ("leads", "Lead")])
def test_people_are_not_read_while_their_opt_out_is_hidden(make, stream, kind):
    world = make(contacts=5, leads=5, stream=stream)
    world.state.access.hidden.add(f"{kind}.HasOptedOutOfEmail")
    world.state.access.forget()
    with pytest.raises(CredentialsError, match=f"{kind}.HasOptedOutOfEmail") as caught:
        read_all(world)
    assert "Winback Integration" in caught.value.hint
    connection = world.connection()
    connection.fields[stream] = ["Email", "Our_Opt_Out__c"]
    assert list(SalesforceSource(connection).read(stream, None))


def test_an_object_that_may_not_be_read_is_a_matter_of_permissions(make):
    world = make(contacts=5)
    world.state.access.denied.add("Contact.read")
    with pytest.raises(CredentialsError, match="may not read Contact"):
        read_all(world)


def test_a_mapping_that_wants_more_starts_over(make):
    world = make(contacts=30)
    cursor = read_all(world)[-1].cursor
    connection = world.connection()
    connection.fields["contacts"] = [*connection.fields["contacts"], "Department"]
    pages = list(SalesforceSource(connection).read("contacts", cursor))
    assert set(keys_of(pages, "Id")) == world.keys()
    assert any("more fields" in line for line in connection.reporter.lines)


def test_a_field_that_becomes_visible_is_noticed_within_a_day_and_read_for_everybody(make):
    world = make(contacts=30)
    world.state.access.hidden.add("Contact.Title")
    world.state.access.forget()
    cursor = read_all(world)[-1].cursor
    world.state.access.hidden.clear()
    world.state.access.forget()
    world.pass_time(25 * 3600)
    pages = read_all(world, cursor)
    assert set(keys_of(pages, "Id")) == world.keys() and "Title" in rows_of(pages[0])[0]


def test_a_query_too_long_for_an_address_goes_by_a_job_even_for_what_changed(make):
    world = make(contacts=40)
    names = [f"A_Rather_Long_Name_Of_A_Field_{number}__c" for number in range(350)]
    world.state.add_fields("Contact", *(text(name) for name in names), granted_by=world.state.everyday_set())
    connection = world.connection()
    connection.fields["contacts"] = ["Email", *names]
    pages = list(SalesforceSource(connection).read("contacts", None))
    assert set(keys_of(pages, "Id")) == world.keys()
    world.edit([contact(3)], **{names[-1]: "here"})
    world.pass_time(600)
    changed = rows_by_id(list(SalesforceSource(connection).read("contacts", pages[-1].cursor)))
    assert changed[contact(3)][names[-1]] == "here"
    assert paths(world, "/query?q=SELECT+Id%2C+SystemModstamp") == []


# --- what changed ---


def test_a_reading_with_nothing_new_takes_a_call_for_people_and_one_for_their_individuals(make):
    world = make(contacts=3_000)
    cursor = read_all(world)[-1].cursor
    world.pass_time(3600)
    pages, made = calls(world, cursor)
    assert made == 2 and keys_of(pages, "Id") == []
    world.state.behave({"individuals": False})
    world.pass_time(25 * 3600)
    cursor = read_all(world, pages[-1].cursor)[-1].cursor
    world.pass_time(3600)
    assert calls(world, cursor)[1] == 1


def test_a_crowd_with_one_stamp_is_read_once_and_whole(make):
    world = make(contacts=10, behaviour={"page_rows": 200})
    cursor = read_all(world)[-1].cursor
    world.sandbox.seed(people(1_900, first=1_000), [])
    ids = sorted(world.keys())
    world.edit(ids, Department="Everybody")
    world.pass_time(600)
    changed = keys_of(read_all(world, cursor), "Id")
    assert len(changed) == len(set(changed)) and set(changed) == set(ids)


def test_many_changes_at_once_are_read_by_a_job(make, monkeypatch):
    monkeypatch.setattr("adapters.salesforce.walking.BULK_FROM", 500)
    world = make(contacts=900)
    cursor = read_all(world)[-1].cursor
    world.edit(sorted(world.keys()), Department="Everybody")
    world.pass_time(600)
    pages, lines = told(world, cursor)
    assert set(keys_of(pages, "Id")) == world.keys()
    assert any("Bulk job" in line for line in lines)
    stop = next(place for place, page in enumerate(pages) if page.cursor["job"])
    resumed = read_all(world, pages[stop].cursor)
    assert set(keys_of(resumed, "Id")) == world.keys()


def test_what_a_long_transaction_shows_late_is_still_found(make):
    world = make(contacts=30)
    cursor = read_all(world)[-1].cursor
    stamped = world.clock.now()
    world.pass_time(300)
    cursor = read_all(world, cursor)[-1].cursor
    store = world.state.stores["Contact"]
    row = store.find(contact(4))
    from dataclasses import replace

    store.put(replace(row, stamp_ms=round(stamped.timestamp() * 1000)))
    world.pass_time(60)
    assert contact(4) in keys_of(read_all(world, cursor), "Id")


def test_rows_that_change_while_they_are_read_are_not_lost(make):
    world = make(contacts=600, behaviour={"page_rows": 100})
    cursor = read_all(world)[-1].cursor
    ids = sorted(world.keys())
    world.edit(ids, Department="One")
    world.pass_time(600)
    found = {}
    reading = world.source().read("contacts", cursor)
    for number, page in enumerate(reading):
        found |= {row["Id"]: row for row in rows_of(page)}
        last = page.cursor
        if number == 0:
            world.edit(ids[:50], FirstName="Later")
    world.pass_time(600)
    again = rows_by_id(read_all(world, last))
    assert set(found) == set(ids)
    assert {row_id for row_id, row in again.items() if row["FirstName"] == "Later"} == set(ids[:50])


def test_the_rest_of_a_query_that_was_lost_is_asked_for_anew(make, monkeypatch):
    monkeypatch.setattr("adapters.salesforce.walking.ROWS_PER_PAGE", 100)
    world = make(contacts=500, backfill="rest", behaviour={"page_rows": 100, "locator_seconds": 5.0})
    reading = world.source().read("contacts", None)
    pages = [next(reading)]
    world.pass_time(60)
    pages += list(reading)
    keys = keys_of(pages, "Id")
    assert len(keys) == len(set(keys)) and set(keys) == world.keys()


# --- deletions, merges, conversions ---


def test_a_deletion_comes_with_its_time_and_nothing_of_the_person(make):
    world = make(contacts=30)
    cursor = read_all(world)[-1].cursor
    gone = world.delete()
    pages = read_all(world, cursor)
    rows = rows_by_id(pages, partial=True)
    assert set(rows) == gone and all(row["DeletedDate"] for row in rows.values())
    assert all(set(row) == {"Id", "DeletedDate", "MasterRecordId", "__place"} for row in rows.values())
    back = min(gone)
    with world.state.lock:
        world.state.undelete(back)
    world.pass_time(600)
    assert rows_by_id(read_all(world, pages[-1].cursor))[back]["DeletedDate"] is None


def test_who_was_deleted_for_good_is_noticed_within_a_week(make):
    world = make(contacts=30)
    cursor = read_all(world)[-1].cursor
    world.pass_time(3600)
    world.bin([contact(4)])
    world.state.purge(contact(4))
    pages = read_all(world, cursor)
    assert keys_of(pages, "Id", partial=True) == []
    world.pass_time(7 * 86_400)
    pages, made = calls(world, pages[-1].cursor)
    told = rows_by_id(pages, partial=True)
    assert set(told) == {contact(4)} and told[contact(4)]["DeletedDate"].startswith("2026-11-21T")
    assert read_all(world, pages[-2].cursor)[-1].cursor == pages[-1].cursor
    assert made == 5  # what may be read of both kinds, who changed, whose individual did, the list
    world.pass_time(3600)
    assert calls(world, pages[-1].cursor)[1] == 2


def test_who_is_in_the_bin_at_a_first_reading_is_told_as_gone(make):
    world = make(contacts=30)
    gone = world.delete()
    pages = read_all(world)
    assert set(rows_by_id(pages, partial=True)) == gone and set(rows_by_id(pages)) == world.keys()


def test_a_merge_names_the_survivor_on_the_loser_even_in_a_chain(make):
    world = make(contacts=30)
    cursor = read_all(world)[-1].cursor
    with world.state.lock:
        world.state.merge(contact(5), [contact(6)])
        world.state.merge(contact(7), [contact(5)])
    world.pass_time(600)
    rows = rows_by_id(read_all(world, cursor), partial=True)
    assert rows[contact(6)]["MasterRecordId"] in {contact(5), contact(7)}
    assert rows[contact(5)]["MasterRecordId"] == contact(7)


def test_a_converted_lead_is_its_contact(make):
    world = make(contacts=5, leads=5, stream="leads")
    cursor = read_all(world)[-1].cursor
    with world.state.lock:
        world.state.convert(lead(2), contact_id=contact(3))
    world.pass_time(600)
    row = rows_by_id(read_all(world, cursor))[lead(2)]
    assert row["ConvertedContactId"] == contact(3) and row["DeletedDate"] is None


def test_a_converted_lead_whose_contact_is_hidden_is_gone(make):
    world = make(contacts=5, leads=5, stream="leads")
    world.state.access.hidden.add("Lead.ConvertedContactId")
    world.state.access.forget()
    with world.state.lock:
        world.state.convert(lead(2), contact_id=contact(3))
    row = rows_by_id(read_all(world))[lead(2)]
    assert "ConvertedContactId" not in row and row["DeletedDate"]


def test_our_own_writes_come_back_as_the_same_values(make):
    world = make(contacts=30)
    before = rows_by_id(read_all(world))
    cursor = read_all(world)[-1].cursor
    from adapters.salesforce import ADAPTER

    destination = ADAPTER.destination(world.connection())
    destination.set_properties([PropertyRow(contact(3), {"winback_last_feature": "export"})])
    destination.close()
    world.pass_time(600)
    echo = rows_by_id(read_all(world, cursor))
    assert set(echo) == {contact(3)}
    stamp = "SystemModstamp"
    assert {k: v for k, v in echo[contact(3)].items() if k != stamp} == {
        k: v for k, v in before[contact(3)].items() if k != stamp
    }


# --- consent that stands beside the person ---


@pytest.mark.parametrize("flag", FLAGS)
def test_what_an_individual_says_no_to_comes_with_the_person_though_only_the_individual_changed(make, flag):
    world = make(contacts=30)
    individual = world.insert("Individual", LastName="Somebody")
    world.edit([contact(4)], IndividualId=individual)
    world.pass_time(600)
    cursor = read_all(world)[-1].cursor
    world.pass_time(3600)
    world.edit([individual], **{flag: True})
    world.pass_time(600)
    rows = rows_by_id(read_all(world, cursor))
    assert set(rows) == {contact(4)} and rows[contact(4)][f"Individual.{flag}"] == "true"


# --- person accounts ---


def test_person_accounts_are_people_and_no_companies(make):
    world = make(contacts=20, accounts=10, behaviour={"person_accounts": True})
    account, person = world.live("Account")[0], contact(7)
    for row_id in (account, person):
        row = world.state.row(row_id)
        world.state.rewrite(row, {**row.values, "IsPersonAccount": True, "AccountId": account})
    world.pass_time(600)
    cursor = read_all(world)[-1].cursor
    assert rows_by_id(read_all(world))[person]["IsPersonAccount"] == "true"
    world.stream = "accounts"
    assert account not in keys_of(read_all(world), "Id")
    world.stream = "contacts"
    world.pass_time(3600)
    row = world.state.row(account)
    world.state.rewrite(row, {**row.values, "Name": "Somebody Else"})
    world.pass_time(600)
    assert set(keys_of(read_all(world, cursor), "Id")) == {person}


# --- bad days ---


@pytest.mark.usefixtures("_jobs_for_few")
@pytest.mark.parametrize("faults", ["resets", "errors", "rate_limits", "short_pages", "sessions", "lag"])
def test_everything_is_read_on_a_bad_day(make, faults):
    world = make(contacts=700)
    world.sandbox.faults.add(*faults_named([faults]))
    world.sandbox.switch_on([faults])
    first = read_all(world)
    assert set(keys_of(first, "Id")) == world.keys()
    changed = world.change()
    assert changed <= set(keys_of(read_all(world, first[-1].cursor), "Id"))


def test_a_daily_limit_that_is_used_up_stops_the_reading_with_words(make):
    world = make(contacts=300)
    world.sandbox.faults.add(Fault("rate_limit", policy="TotalRequests", calls=(3,)))
    with pytest.raises(QuotaExhausted, match="24 hours"):
        read_all(world)

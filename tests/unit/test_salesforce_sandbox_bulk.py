"""Bulk 2.0 of the sandbox: jobs and their states, pages of results, files of records, rows that are refused."""

from __future__ import annotations

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.lookalike.faults import Fault
from adapters.salesforce.ids import record_id
from adapters.salesforce.sandbox.bulk_ingest import BATCH_ROWS, MOST_BYTES
from adapters.salesforce.sandbox.delimited import DELIMITERS, LINE_ENDINGS, BadFile, Dialect
from tests.fakes.salesforce_org import contacts, rows, running

ALL = "SELECT Id, FirstName, LastName, Account.Name, HasOptedOutOfEmail, Department, SystemModstamp FROM Contact"


@pytest.fixture
def org():
    with running(60) as held:
        yield held


def pages(org, job, **params):
    """Every page of a job's results, by following the locators as a client does."""
    found = []
    while True:
        answer = org.get(f"/jobs/query/{job}/results", params=params)
        assert answer.status_code == 200, answer.text
        found.append(answer)
        if answer.headers["Sforce-Locator"] == "null":
            return found
        params = {**params, "locator": answer.headers["Sforce-Locator"]}


# --- queries ---


def test_a_query_job_moves_on_by_the_clock(org):
    job = org.query(ALL)
    states = []
    for _ in range(4):
        org.sandbox.advance(1.5)
        states.append(org.control("jobs", method="GET")["jobs"][0]["state"])
    assert states == ["InProgress", "InProgress", "InProgress", "JobComplete"]
    told = org.get(f"/jobs/query/{job}").json()
    assert told["numberRecordsProcessed"] == 60 and told["jobType"] == "V2Query" and told["apiVersion"] == 66.0


def test_a_query_job_moves_on_by_being_looked_at_when_the_clock_stands_still(org):
    job = org.query(ALL)
    assert [org.get(f"/jobs/query/{job}").json()["state"] for _ in range(4)] == [
        "InProgress",
        "InProgress",
        "JobComplete",
        "JobComplete",
    ]


def test_results_come_page_by_page_with_the_names_on_each_and_the_word_null_at_the_end(org):
    job = org.query(ALL)
    org.finished("query", job)
    answers = pages(org, job, maxRecords=25)
    assert [answer.headers["Sforce-NumberOfRecords"] for answer in answers] == ["25", "25", "10"]
    assert answers[0].headers["Content-Type"] == "text/csv"  # no charset: whoever trusts a default misreads it
    assert all(answer.content.startswith(b'"Id","FirstName","LastName","Account.Name"') for answer in answers)
    found = [row for answer in answers for row in rows(answer.content)]
    assert sorted(row["Id"] for row in found) == sorted(contacts(*range(1, 61)))
    by_id = {row["Id"]: row for row in found}
    assert by_id[record_id("Contact", 13)]["FirstName"] == "Line\nbreak"
    assert by_id[record_id("Contact", 1)]["FirstName"] == "Zoë “1”"
    assert by_id[record_id("Contact", 9)]["HasOptedOutOfEmail"] == "true"
    assert by_id[record_id("Contact", 1)]["Department"] == by_id[record_id("Contact", 1)]["Account.Name"] == ""
    assert by_id[record_id("Contact", 7)]["Account.Name"].startswith("Company ")
    assert by_id[record_id("Contact", 1)]["SystemModstamp"].endswith(".000Z")


def test_pages_can_be_fetched_at_once_by_links(org):
    org.state.behave({"bulk_page_rows": 7})
    job = org.query(ALL)
    org.finished("query", job)
    links, path = [], f"/jobs/query/{job}/resultPages"
    while path:
        told = org.get(path).json()
        assert len(told["resultPages"]) <= 5
        links += [page["resultUrl"] for page in told["resultPages"]]
        path = told["nextRecordsUrl"].removeprefix("/services/data/v66.0") if not told["done"] else ""
    found = [
        row["Id"]
        for link in reversed(links)
        for row in rows(org.session.get(org.sandbox.base_url + link, timeout=10).content)
    ]
    assert len(links) == 9 and sorted(found) == sorted(contacts(*range(1, 61)))


def test_results_are_those_of_the_moment_the_query_ran(org):
    job = org.query("SELECT Id, Department FROM Contact WHERE Department = null")
    org.finished("query", job)
    org.control("records/edit", {"id": contacts(3)[0], "values": {"Department": "Later"}})
    found = rows(org.get(f"/jobs/query/{job}/results").content)
    assert len(found) == 60 and {row["Department"] for row in found} == {""}


def test_results_are_fetched_with_the_version_of_the_job_only(org):
    job = org.query(ALL)
    org.finished("query", job)
    answer = org.get(f"/jobs/query/{job}/results", version="65.0")
    assert answer.status_code == 409 and answer.json()[0]["errorCode"]


def test_a_job_that_is_not_over_has_no_results(org):
    job = org.query(ALL)
    answer = org.get(f"/jobs/query/{job}/results")
    assert answer.status_code == 400 and answer.json()[0]["errorCode"] == "INVALIDJOBSTATE"


def test_an_answer_without_records_is_the_line_with_the_names(org):
    job = org.query("SELECT Id FROM Lead")
    org.finished("query", job)
    answer = org.get(f"/jobs/query/{job}/results")
    assert answer.content == b'"Id"\n' and answer.headers["Sforce-NumberOfRecords"] == "0"
    assert answer.headers["Sforce-Locator"] == "null"


def test_query_all_sees_the_recycle_bin(org):
    org.control("records/delete", {"ids": contacts(1, 2)})
    for operation, count in (("query", 58), ("queryAll", 60)):
        job = org.query("SELECT Id, IsDeleted FROM Contact", operation=operation)
        org.finished("query", job)
        found = rows(org.get(f"/jobs/query/{job}/results").content)
        assert len(found) == count
        assert sum(row["IsDeleted"] == "true" for row in found) == count - 58


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT COUNT() FROM Contact", "FEATURENOTENABLED"),
        ("SELECT AccountId, COUNT(Id) FROM Contact GROUP BY AccountId", "FEATURENOTENABLED"),
        ("SELECT Id FROM Contact OFFSET 5", "FEATURENOTENABLED"),
        ("SELECT Id, (SELECT Id FROM Contacts) FROM Account", "FEATURENOTENABLED"),
        ("SELECT MailingAddress FROM Contact", "API_ERROR"),
        ("SELECT Nothing__c FROM Contact", "INVALID_FIELD"),
        ("SELECT Id FROM Nobody", "INVALID_TYPE"),
        ("SELECT FROM Contact", "MALFORMED_QUERY"),
        ("", "MALFORMED_QUERY"),
    ],
)
def test_a_query_a_job_cannot_run_is_refused_at_once(org, soql, code):
    answer = org.post("/jobs/query", {"operation": "query", "query": soql})
    assert answer.status_code == 400 and answer.json()[0]["errorCode"] == code
    assert org.control("jobs", method="GET")["jobs"] == []


def test_a_hidden_field_is_no_column(org):
    org.control("access", {"hidden": ["Contact.HasOptedOutOfEmail"]})
    answer = org.post("/jobs/query", {"operation": "query", "query": ALL})
    assert answer.json()[0]["errorCode"] == "INVALID_FIELD"


@pytest.mark.parametrize(("delimiter", "ending"), [("PIPE", "CRLF"), ("TAB", "LF"), ("BACKQUOTE", "LF")])
def test_delimiters_and_line_endings_are_those_asked_for(org, delimiter, ending):
    job = org.query("SELECT Id, FirstName FROM Contact", columnDelimiter=delimiter, lineEnding=ending)
    org.finished("query", job)
    content = org.get(f"/jobs/query/{job}/results").content
    assert content.startswith(f'"Id"{DELIMITERS[delimiter]}"FirstName"{LINE_ENDINGS[ending]}'.encode())
    assert len(rows(content, delimiter=DELIMITERS[delimiter])) == 60


def test_an_unknown_delimiter_or_operation_is_refused(org):
    for settings_ in (
        {"columnDelimiter": "SPACE"},
        {"lineEnding": "CR"},
        {"operation": "insert"},
        {"contentType": "XML"},
    ):
        answer = org.post("/jobs/query", {"operation": "query", "query": ALL, **settings_})
        assert answer.status_code == 400, settings_


def test_a_query_job_can_be_aborted_and_only_a_finished_one_deleted(org):
    job = org.query(ALL)
    assert org.call("DELETE", f"/jobs/query/{job}").json()[0]["errorCode"] == "INVALIDJOBSTATE"
    assert org.patch(f"/jobs/query/{job}", {"state": "Aborted"}).json()["state"] == "Aborted"
    assert org.patch(f"/jobs/query/{job}", {"state": "Aborted"}).status_code == 400
    assert org.finished("query", job)["state"] == "Aborted"
    assert org.call("DELETE", f"/jobs/query/{job}").status_code == 204
    assert org.get(f"/jobs/query/{job}").status_code == 404


def test_the_days_query_jobs_run_out_and_come_back(org):
    org.control("limits", {"DailyBulkV2QueryJobs": 2})
    org.query(ALL)
    org.query(ALL)
    answer = org.post("/jobs/query", {"operation": "query", "query": ALL})
    assert answer.status_code == 400 and answer.json()[0]["errorCode"] == "EXCEEDEDQUOTA"
    assert org.get("/limits").json()["DailyBulkV2QueryJobs"] == {"Max": 2, "Remaining": 0}
    org.sandbox.advance(86_400)
    org = type(org)(org.sandbox)  # the token is as old as the clock says
    assert org.get("/limits").json()["DailyBulkV2QueryJobs"] == {"Max": 2, "Remaining": 2}
    org.query(ALL)


def test_the_days_results_run_out(org, monkeypatch):
    monkeypatch.setattr("adapters.salesforce.sandbox.bulk_jobs.MEGABYTE", 100)
    org.control("limits", {"DailyBulkV2QueryFileStorageMB": 20})
    job = org.query("SELECT Id FROM Contact")
    org.finished("query", job)
    assert org.get(f"/jobs/query/{job}/results").status_code == 200
    assert org.get("/limits").json()["DailyBulkV2QueryFileStorageMB"]["Remaining"] < 10
    answer = org.get(f"/jobs/query/{job}/results")
    assert answer.status_code == 400 and answer.json()[0]["errorCode"] == "EXCEEDEDQUOTA"


def test_a_short_page_still_has_a_locator_and_loses_nothing(org):
    org.sandbox.faults.add(Fault("short_page", path="/results"))
    job = org.query("SELECT Id FROM Contact")
    org.finished("query", job)
    answers = pages(org, job, maxRecords=20)
    found = [row["Id"] for answer in answers for row in rows(answer.content)]
    assert len(answers) > 3 and sorted(found) == sorted(contacts(*range(1, 61)))


def test_results_are_gone_after_a_week(org):
    job = org.query(ALL)
    org.finished("query", job)
    org.sandbox.advance(8 * 86_400)
    assert type(org)(org.sandbox).get(f"/jobs/query/{job}").status_code == 404


def test_a_locator_of_nobody_is_refused(org):
    job = org.query(ALL)
    org.finished("query", job)
    answer = org.get(f"/jobs/query/{job}/results?locator=!!")
    assert answer.status_code == 400 and answer.json()[0]["errorCode"] == "INVALID_QUERY_LOCATOR"


# --- ingest ---


def test_each_row_has_its_own_result_in_an_order_that_is_not_the_files(org):
    ids = contacts(*range(1, 61))
    content = "Id,Winback_Segment__c\n" + "".join(f"{one},seg {n}\n" for n, one in enumerate(ids))
    content += f"{record_id('Contact', 999)},nobody\nnonsense,x\n"
    job = org.ingest("update", content)
    told = org.finished("ingest", job)
    assert (told["state"], told["numberRecordsProcessed"], told["numberRecordsFailed"]) == ("JobComplete", 62, 2)
    done, failed = org.results(job, "successfulResults"), org.results(job, "failedResults")
    assert [row["sf__Id"] for row in done] != list(ids) and sorted(row["sf__Id"] for row in done) == sorted(ids)
    assert all(row["sf__Created"] == "false" and row["Id"] == row["sf__Id"] for row in done)
    assert {row["sf__Error"].split(":")[0] for row in failed} == {"INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID"}
    assert all(row["sf__Error"].endswith(" --") for row in failed)
    assert org.results(job, "unprocessedrecords") == org.results(job, "unprocessedRecords") == []
    assert org.row(ids[4])["Winback_Segment__c"] == "seg 4"


def test_an_empty_cell_leaves_alone_and_only_the_null_word_empties(org):
    one, two = contacts(1, 2)
    org.control("records/edit", {"id": one, "values": {"Department": "Sales", "Winback_Step__c": "offer"}})
    org.control("records/edit", {"id": two, "values": {"Department": "Sales"}})
    job = org.ingest("update", f"Id,Department,Winback_Step__c\n{one},,#N/A\n{two},#N/A,\n")
    assert org.finished("ingest", job)["numberRecordsFailed"] == 0
    assert org.row(one)["Department"] == "Sales" and "Winback_Step__c" not in org.row(one)
    assert "Department" not in org.row(two)


def test_quotes_line_breaks_and_letters_come_through(org):
    (one,) = contacts(1)
    text = 'Zoë said "no",\nthen “yes”'
    cell = text.replace('"', '""')
    job = org.ingest("update", f'Id,Winback_Next_Step__c\n{one},"{cell}"\n')
    assert org.finished("ingest", job)["numberRecordsFailed"] == 0
    assert org.row(one)["Winback_Next_Step__c"] == text
    assert org.results(job, "successfulResults")[0]["Winback_Next_Step__c"] == text


def test_an_upsert_makes_and_changes_by_external_id(org):
    head = "Winback_Key__c,Name\n"
    for name, made in (("First", "true"), ("Second", "false")):
        job = org.ingest("upsert", f"{head}winback:a,{name}\n", kind="Campaign", externalIdFieldName="Winback_Key__c")
        assert org.finished("ingest", job)["numberRecordsFailed"] == 0
        (row,) = org.results(job, "successfulResults")
        assert row["sf__Created"] == made and org.row(row["sf__Id"])["Name"] == name
    job = org.ingest("upsert", f"{head},Nameless\n", kind="Campaign", externalIdFieldName="Winback_Key__c")
    assert org.finished("ingest", job)["numberRecordsFailed"] == 1
    assert "MISSING_ARGUMENT" in org.results(job, "failedResults")[0]["sf__Error"]


def test_members_are_made_once_and_a_second_time_is_told_so(org):
    campaign = org.control("records", {"object": "Campaign", "records": [{"Name": "winback · reminder"}]})["ids"][0]
    content = "CampaignId,ContactId,Status\n" + "".join(f"{campaign},{one},reminder\n" for one in contacts(1, 2, 1))
    job = org.ingest("insert", content, kind="CampaignMember")
    told = org.finished("ingest", job)
    assert told["numberRecordsFailed"] == 1
    (row,) = org.results(job, "failedResults")
    assert row["sf__Error"] == "DUPLICATE_VALUE:Already a campaign member.: --" and row["sf__Id"] == ""


def test_a_delete_takes_ids_only_and_puts_into_the_recycle_bin(org):
    one, two = contacts(1, 2)
    job = org.ingest("delete", f"Id\n{one}\n{two}\n")
    assert org.finished("ingest", job)["numberRecordsProcessed"] == 2
    with org.state.lock:
        assert org.state.row(one).is_deleted and org.state.row(two).is_deleted
    job = org.ingest("delete", f"Id,Department\n{one},x\n")
    assert org.finished("ingest", job)["state"] == "Failed"
    answer = org.post("/jobs/ingest", {"object": "Contact", "operation": "hardDelete"})
    assert answer.json()[0]["errorCode"] == "FEATURENOTENABLED"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("Id,Nothing__c\nx,1\n", "Field name not found : Nothing__c"),
        ("Winback_Step__c\nx\n", "Field name not found : Id"),
        ("Id,Winback_Step__c,winback_step__c\nx,1,2\n", "Duplicate field name"),
        ("Id,Winback_Step__c\r\nx,1\r\n", "LineEnding is invalid on user data. Current LineEnding setting is LF"),
        ("", "Failed to parse CSV header"),
        (b"Id,Department\n\xff\xfe,x\n", "not encoded in UTF-8"),
        ("Id,CreatedDate\nx,2026-01-01\n", "INVALID_FIELD_FOR_INSERT_UPDATE"),
    ],
)
def test_a_file_without_sense_fails_the_job_as_a_whole(org, content, words):
    job = org.ingest("update", content)
    told = org.finished("ingest", job)
    assert told["state"] == "Failed" and words in told["errorMessage"] and told["numberRecordsProcessed"] == 0


def test_a_row_with_other_cells_than_the_header_stops_the_job_after_what_was_done(org):
    job = org.ingest("update", f"Id,Department\n{contacts(1)[0]},x\n{contacts(2)[0]}\n")
    assert org.finished("ingest", job)["state"] == "Failed"


def test_a_job_takes_one_file_while_it_is_open(org):
    job = org.post("/jobs/ingest", {"object": "Contact", "operation": "update"}).json()
    assert job["state"] == "Open" and job["contentUrl"] == f"services/data/v66.0/jobs/ingest/{job['id']}/batches"
    url, csv = f"{org.sandbox.base_url}/{job['contentUrl']}", {"Content-Type": "text/csv"}
    assert org.session.put(url, data=b"{}", headers={"Content-Type": "application/json"}, timeout=10).status_code == 400
    assert org.session.put(url, data=b"Id\nx\n", headers=csv, timeout=10).status_code == 201
    again = org.session.put(url, data=b"Id\nx\n", headers=csv, timeout=10)
    assert again.status_code == 400 and "make sure you only do 'PUT' once" in again.json()[0]["message"]
    assert org.patch(f"/jobs/ingest/{job['id']}", {"state": "UploadComplete"}).status_code == 200
    late = org.session.put(url, data=b"Id\nx\n", headers=csv, timeout=10)
    assert late.json()[0]["errorCode"] == "INVALIDJOBSTATE"
    assert org.patch(f"/jobs/ingest/{job['id']}", {"state": "UploadComplete"}).status_code == 400


def test_a_job_nobody_closes_is_given_up_after_a_day(org):
    job = org.post("/jobs/ingest", {"object": "Contact", "operation": "update"}).json()["id"]
    org.sandbox.advance(86_400)
    told = type(org)(org.sandbox).get(f"/jobs/ingest/{job}").json()
    assert told["state"] == "Failed" and "24 hours" in told["errorMessage"]


def test_a_file_over_a_hundred_megabytes_is_refused(org, monkeypatch):
    assert MOST_BYTES == 100 * 1024 * 1024
    monkeypatch.setattr("adapters.salesforce.sandbox.bulk_routes.MOST_BYTES", 10)
    job = org.post("/jobs/ingest", {"object": "Contact", "operation": "update"}).json()["id"]
    answer = org.call("PUT", f"/jobs/ingest/{job}/batches", data=b"x" * 11, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 400 and answer.json()[0]["errorCode"] == "CLIENTINPUTERROR"


def test_aborting_midway_keeps_what_was_written_and_tells_what_was_not(org, monkeypatch):
    monkeypatch.setattr("adapters.salesforce.sandbox.bulk_ingest.BATCH_ROWS", 20)
    monkeypatch.setattr("adapters.salesforce.sandbox.bulk.BATCHES_AT_ONCE", 1)
    org.state.behave({"bulk_polls": 2})
    content = "Id,Department\n" + "".join(f"{one},x\n" for one in contacts(*range(1, 61)))
    job = org.ingest("update", content)
    states = [org.get(f"/jobs/ingest/{job}").json() for _ in range(2)]
    assert [told["numberRecordsProcessed"] for told in states] == [0, 20]
    assert org.patch(f"/jobs/ingest/{job}", {"state": "Aborted"}).json()["state"] == "Aborted"
    done, left = org.results(job, "successfulResults"), org.results(job, "unprocessedrecords")
    assert len(done) + len(left) == 60 and done and list(left[0]) == ["Id", "Department"]
    assert "Department" not in org.row(left[0]["Id"])


def test_an_open_job_that_is_aborted_wrote_nothing(org):
    job = org.post("/jobs/ingest", {"object": "Contact", "operation": "update"}).json()["id"]
    path = f"/jobs/ingest/{job}"
    org.call(
        "PUT", f"{path}/batches", data=f"Id,Department\n{contacts(1)[0]},x\n", headers={"Content-Type": "text/csv"}
    )
    org.patch(path, {"state": "Aborted"})
    assert org.finished("ingest", job)["state"] == "Aborted" and "Department" not in org.row(contacts(1)[0])
    assert len(org.results(job, "unprocessedrecords")) == 1


def test_batches_that_write_under_one_parent_lock_each_other_out(org, monkeypatch):
    monkeypatch.setattr("adapters.salesforce.sandbox.bulk_ingest.BATCH_ROWS", 20)
    campaign = org.control("records", {"object": "Campaign", "records": [{"Name": "winback · x"}]})["ids"][0]
    org.control("locks", {"seconds": 10})
    content = "CampaignId,ContactId\n" + "".join(f"{campaign},{one}\n" for one in contacts(*range(1, 61)))
    job = org.ingest("insert", content, kind="CampaignMember")
    assert org.finished("ingest", job)["numberRecordsFailed"] == 40
    assert {row["sf__Error"].split(":")[0] for row in org.results(job, "failedResults")} == {"UNABLE_TO_LOCK_ROW"}


def test_batches_count_towards_the_day_and_stop_the_job_when_they_run_out(org):
    assert BATCH_ROWS == 10_000
    org.control("limits", {"DailyBulkApiBatches": 1})
    first = org.ingest("update", f"Id,Department\n{contacts(1)[0]},x\n")
    assert org.finished("ingest", first)["state"] == "JobComplete"
    assert org.get("/limits").json()["DailyBulkApiBatches"] == {"Max": 1, "Remaining": 0}
    second = org.ingest("update", f"Id,Department\n{contacts(2)[0]},x\n")
    told = org.finished("ingest", second)
    assert told["state"] == "Failed" and "ExceededQuota" in told["errorMessage"]
    assert [row["Id"] for row in org.results(second, "unprocessedrecords")] == contacts(2)


def test_what_a_job_writes_is_written_by_whoever_made_it(org):
    org.finished("ingest", org.ingest("update", f"Id,Department\n{contacts(1)[0]},x\n"))
    with org.state.lock:
        assert org.state.row(contacts(1)[0]).modified_by == org.state.integration_user


def test_the_list_of_jobs_says_whose_they_are_and_goes_on(org, monkeypatch):
    monkeypatch.setattr("adapters.salesforce.sandbox.bulk_routes.LISTED", 2)
    made = [org.post("/jobs/ingest", {"object": "Contact", "operation": "update"}).json()["id"] for _ in range(3)]
    org.query(ALL)
    first = org.get("/jobs/ingest").json()
    assert [job["id"] for job in first["records"]] == made[:2] and first["done"] is False
    assert {job["createdById"] for job in first["records"]} == {org.state.integration_user}
    rest = org.get(first["nextRecordsUrl"].removeprefix("/services/data/v66.0")).json()
    assert (
        [job["id"] for job in rest["records"]] == made[2:] and rest["done"] is True and rest["nextRecordsUrl"] is None
    )
    assert len(org.get("/jobs/query").json()["records"]) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"object": "Nobody", "operation": "insert"}, "INVALIDENTITY"),
        ({"object": "Contact", "operation": "mend"}, "INVALIDOPERATION"),
        ({"object": "Contact", "operation": "upsert"}, "INVALIDJOB"),
        ({"object": "Contact", "operation": "insert", "externalIdFieldName": "Id"}, "INVALIDJOB"),
        ({"object": "Contact", "operation": "insert", "contentType": "JSON"}, "API_ERROR"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(org, body, code):
    answer = org.post("/jobs/ingest", body)
    assert answer.status_code == 400 and answer.json()[0]["errorCode"] == code


def test_a_reset_connection_after_closing_leaves_the_job_closed(org):
    job = org.post("/jobs/ingest", {"object": "Contact", "operation": "update"}).json()["id"]
    path = f"/jobs/ingest/{job}"
    org.call(
        "PUT", f"{path}/batches", data=f"Id,Department\n{contacts(1)[0]},x\n", headers={"Content-Type": "text/csv"}
    )
    org.sandbox.faults.add(Fault("reset", path=job, method="PATCH", when="after", times=1))
    with pytest.raises(requests.ConnectionError):
        org.patch(path, {"state": "UploadComplete"})
    assert org.finished("ingest", job)["state"] == "JobComplete"


# --- the files ---

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=5),
    st.sampled_from(sorted(DELIMITERS)),
    st.sampled_from(sorted(LINE_ENDINGS)),
)
def test_what_is_written_is_read_again(lines, delimiter, ending):
    dialect = Dialect(delimiter, ending)
    names, found = dialect.read(dialect.header(["a", "b", "c"]) + dialect.rows(lines))
    assert names == ["a", "b", "c"] and list(found) == lines


def test_a_quote_that_never_ends_is_no_file():
    _, lines = Dialect().read(b'a,b\n"x,y\n')
    with pytest.raises(BadFile, match="EOF reached"):
        list(lines)

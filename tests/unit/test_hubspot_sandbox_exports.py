from __future__ import annotations

import csv
import io
import zipfile

import pytest
import requests

from tests.fakes.hubspot_sandbox import running

EXPORTS = "/crm/exports/2026-03/export"
BODY = {
    "exportType": "VIEW",
    "exportName": "backfill",
    "format": "CSV",
    "language": "EN",
    "objectType": "CONTACT",
    "objectProperties": ["email", "hs_object_id", "lifecyclestage", "lastmodifieddate"],
    "exportInternalValuesOptions": ["NAMES", "VALUES"],
}


@pytest.fixture
def world():
    with running(3) as held:
        held[0].state.clock.freeze()
        yield held


def start(api, **changes):
    answer = api.post(f"{EXPORTS}/async", {**BODY, **changes})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def status(api, job):
    return api.get(f"{EXPORTS}/async/tasks/{job}/status").json()


def finish(sandbox, api, job):
    sandbox.advance(10)
    done = status(api, job)
    assert done["status"] == "COMPLETE"
    return done["result"]


def rows(content):
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_an_export_is_pending_then_processing_then_complete(world):
    _, api = world
    job = start(api)
    assert [status(api, job)["status"] for _ in range(4)] == ["PENDING", "PROCESSING", "COMPLETE", "COMPLETE"]
    details = api.get(f"{EXPORTS}/{job}").json()
    assert (details["exportState"], details["recordCount"]) == ("DONE", 3)


def test_time_alone_finishes_an_export(world):
    sandbox, api = world
    job = start(api)
    sandbox.advance(3)
    assert status(api, job)["status"] == "COMPLETE"


def test_the_file_has_a_mark_internal_names_and_the_record_id_first(world):
    sandbox, api = world
    content = requests.get(finish(sandbox, api, start(api)), timeout=5).content
    assert content.startswith(b"\xef\xbb\xbf")
    table = rows(content)
    assert table[0] == ["hs_object_id", "email", "lifecyclestage", "lastmodifieddate"]
    assert [row[0] for row in table[1:]] == ["1", "2", "3"]
    assert table[1][1:3] == ["person1@acme.example", "customer"]


def test_labels_are_written_unless_names_and_values_are_asked_for(world):
    sandbox, api = world
    url = finish(sandbox, api, start(api, exportInternalValuesOptions=[], associatedObjectType="COMPANY"))
    table = rows(requests.get(url, timeout=5).content)
    assert table[0] == [
        "Record ID",
        "Email",
        "Lifecycle Stage",
        "Last Modified Date",
        "Associated Company IDs",
        "Associated Company",
    ]
    assert table[1][2] == "Customer"
    assert table[1][4:] == ["2", "Company 2"]


def test_quotes_commas_and_line_breaks_survive(world):
    sandbox, api = world
    text = 'a "quoted", one\nand a second line'
    api.control("contacts", {"contacts": [{"id": "1", "properties": {"firstname": text}}]})
    table = rows(requests.get(finish(sandbox, api, start(api, objectProperties=["firstname"])), timeout=5).content)
    assert table[1] == ["1", text]


def test_the_address_lives_five_minutes_from_the_status_call(world):
    sandbox, api = world
    job = start(api)
    url = finish(sandbox, api, job)
    sandbox.advance(299)
    assert requests.get(url, timeout=5).status_code == 200
    sandbox.advance(1)
    expired = requests.get(url, timeout=5)
    assert (expired.status_code, "AccessDenied" in expired.text) == (403, True)
    fresh = status(api, job)["result"]
    assert fresh != url
    assert requests.get(fresh, timeout=5).status_code == 200


def test_large_files_are_zipped_and_larger_ones_have_parts(world):
    sandbox, api = world
    api.control("behaviour", {"export_zip_above_bytes": 100})
    url = finish(sandbox, api, start(api))
    assert url.endswith("backfill.zip")
    with zipfile.ZipFile(io.BytesIO(requests.get(url, timeout=5).content)) as archive:
        assert archive.namelist() == ["backfill.csv"]
    api.control("behaviour", {"export_rows_per_part": 2})
    url = finish(sandbox, api, start(api))
    with zipfile.ZipFile(io.BytesIO(requests.get(url, timeout=5).content)) as archive:
        tables = [rows(archive.read(name)) for name in archive.namelist()]
    assert [len(table) - 1 for table in tables] == [2, 1]
    assert tables[0][0] == tables[1][0]


def test_one_export_runs_at_a_time(world):
    sandbox, api = world
    first, second = start(api), start(api)
    assert [status(api, second)["status"] for _ in range(4)] == ["PENDING"] * 4
    assert api.get(f"{EXPORTS}/{second}").json()["exportState"] == "ENQUEUED"
    finish(sandbox, api, first)
    assert status(api, second)["status"] == "COMPLETE"


def test_thirty_exports_in_a_rolling_day(world):
    sandbox, api = world
    for _ in range(30):
        start(api)
        sandbox.advance(60)
    refused = api.post(f"{EXPORTS}/async", BODY)
    assert refused.status_code == 429
    assert "policyName" not in refused.json()
    sandbox.advance(86_400 - 29 * 60)
    start(api)


def test_an_export_can_be_narrowed_by_a_search_or_a_list(world):
    sandbox, api = world
    narrowed = {
        "filterGroups": [],
        "filters": [{"propertyName": "role", "operator": "EQ", "value": "cto"}],
        "sorts": [],
    }
    url = finish(sandbox, api, start(api, publicCrmSearchRequest=narrowed))
    assert [row[0] for row in rows(requests.get(url, timeout=5).content)[1:]] == ["1", "3"]
    list_id = api.make_list()
    api.put(api.lists(f"/{list_id}/memberships/add"), ["2"])
    url = finish(sandbox, api, start(api, exportType="LIST", listId=list_id))
    assert [row[0] for row in rows(requests.get(url, timeout=5).content)[1:]] == ["2"]


@pytest.mark.parametrize(
    "change",
    [
        {"exportType": "ALL"},
        {"objectProperties": []},
        {"objectProperties": ["no_such"]},
        {"objectType": "TICKET"},
        {"format": "XLSX"},
    ],
)
def test_requests_that_cannot_be_exported_are_refused(world, change):
    _, api = world
    assert api.post(f"{EXPORTS}/async", {**BODY, **change}).status_code == 400


def test_an_unknown_export_is_not_found(world):
    _, api = world
    assert api.get(f"{EXPORTS}/async/tasks/77/status").status_code == 404


def test_records_changed_after_the_export_ran_are_not_in_it(world):
    sandbox, api = world
    job = start(api)
    status(api, job)
    assert status(api, job)["status"] == "PROCESSING"
    api.call("PATCH", api.contacts("/1"), {"properties": {"email": "changed@acme.example"}})
    table = rows(requests.get(finish(sandbox, api, job), timeout=5).content)
    assert table[1][1] == "person1@acme.example"

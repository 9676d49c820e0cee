"""Bulk 2.0 of the sandbox against a description of it, where that is at hand, and against a client of others.

The description (shared/specs/salesforce) is written by a community, not by the vendor: it tells paths, names and types.
"""

from __future__ import annotations

import csv
import io
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from adapters.salesforce.ids import record_id
from tests.fakes.salesforce_org import Org, contacts, rows, running, simple

SPEC = Path(__file__).parents[2].parent / "shared/specs/salesforce/salesforce-bulk-api-2-openapi.community.yml"
described = pytest.mark.skipif(not SPEC.is_file(), reason="the description (shared/specs/salesforce) is not here")

# What the sandbox does although the description says otherwise, each with the reason.
MORE_THAN_DESCRIBED = {
    "concurrencyMode",
    "contentUrl",
    "retries",
    "apiActiveProcessingTime",
    "apexProcessingTime",
    "isPkChunkingSupported",
    "assignmentRuleId",
}
"""Parts of a job that the vendor's own guide has and the description leaves out."""

UNDESCRIBED = re.compile(r"/query/[^/]+/resultPages|/ingest/[^/]+/unprocessedRecords")
"""Pages to be fetched at once (from 58.0 on), and the spelling of a client of others."""

WAIT = 0.01


@pytest.fixture
def org():
    with running(60) as held:
        yield held


@cache
def spec() -> Any:
    return yaml.safe_load(SPEC.read_text(encoding="utf-8"))


@cache
def schemas() -> Any:
    """The schemas, closed: a key nobody described is an error, unless it is named above."""
    held = json.loads(json.dumps(spec()["components"]))
    for schema in held["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
            for name in MORE_THAN_DESCRIBED:
                schema["properties"].setdefault(name, {})
    return held


def operation_of(method: str, path: str) -> tuple[str, Any] | None:
    for template, methods in spec()["paths"].items():
        pattern = re.sub(r"\\\{[^/]+\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path) and method.lower() in methods:
            return template, methods[method.lower()]
    return None


def check(schema: Any, value: Any) -> None:
    jsonschema.validate(value, {**schema, "components": schemas()})


class Watched:
    """Checks every exchange of a session with `/jobs/…`."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str, int]] = set()

    def __call__(self, response: Any, *_: Any, **__: Any) -> None:
        path = response.request.path_url.partition("?")[0].partition("/jobs")[2]
        if not path or UNDESCRIBED.fullmatch(path):
            return
        found = operation_of(response.request.method, path)
        assert found is not None, f"nothing describes {response.request.method} {path}"
        template, operation = found
        if response.request.method == "POST" and response.ok:
            content = operation["requestBody"]["content"]["application/json"]
            check(content["schema"], json.loads(response.request.body))
        self._answer(operation["responses"], response)
        self.seen.add((response.request.method, template, response.status_code))

    @staticmethod
    def _answer(responses: Any, response: Any) -> None:
        if response.status_code >= 400:
            # Described as one object; the vendor answers an array of them.
            for error in response.json():
                check({"$ref": "#/components/schemas/Error"}, error)
            return
        described_as = responses[str(response.status_code)].get("content", {})
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        if not described_as:
            assert response.content == b""
            return
        assert kind in described_as, (kind, list(described_as))
        if kind == "application/json":
            body = {name: value for name, value in response.json().items() if value is not None}
            check(described_as[kind]["schema"], body)


@described
def test_every_described_operation_is_served_as_described(org):
    watched = Watched()
    org.session.hooks["response"].append(watched)
    query = org.query("SELECT Id, FirstName FROM Contact")
    gone = org.query("SELECT Id FROM Contact")
    org.patch(f"/jobs/query/{gone}", {"state": "Aborted"})
    assert org.finished("query", query)["state"] == "JobComplete"
    org.get(f"/jobs/query/{query}/results", params={"maxRecords": 10})
    org.get(f"/jobs/query/{query}/resultPages")
    org.get("/jobs/query")
    org.call("DELETE", f"/jobs/query/{gone}")
    job = org.ingest(
        "upsert", "Winback_Key__c,Name\na,First\n,Bad\n", kind="Campaign", externalIdFieldName="Winback_Key__c"
    )
    assert org.finished("ingest", job)["numberRecordsFailed"] == 1
    for which in ("successfulResults", "failedResults", "unprocessedrecords"):
        org.results(job, which)
    failed = org.finished("ingest", org.ingest("update", "Nothing__c\nx\n"))
    assert failed["state"] == "Failed" and failed["errorMessage"]
    org.get("/jobs/ingest")
    org.call("DELETE", f"/jobs/ingest/{job}")
    served = {(method, template) for method, template, _ in watched.seen}
    wanted = {
        (method.upper(), template)
        for template, methods in spec()["paths"].items()
        for method in methods
        if method in {"get", "post", "put", "patch", "delete"}
    }
    assert served == wanted


@described
def test_refusals_have_the_described_parts(org):
    watched = Watched()
    org.session.hooks["response"].append(watched)
    org.post("/jobs/query", {"operation": "query", "query": "SELECT FROM"})
    org.post("/jobs/ingest", {"operation": "mend", "object": "Contact"})
    org.get("/jobs/query/750000000000999AAA")
    org.session.headers["Authorization"] = "Bearer nothing"
    org.get("/jobs/query")
    assert {status for _, _, status in watched.seen} == {400, 401, 404}


# --- simple-salesforce, unmodified ---


def read(content: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content, newline="")))


def test_a_client_of_others_reads_page_by_page(org):
    client = simple(org)
    texts = list(client.bulk2.Contact.query("SELECT Id, FirstName FROM Contact", max_records=25, wait=WAIT))
    found = [row for text in texts for row in read(text)]
    assert len(texts) == 3 and sorted(row["Id"] for row in found) == contacts(*range(1, 61))
    assert {row["FirstName"] for row in found} > {"Line\nbreak", "Zoë “1”"}


def test_a_client_of_others_downloads_into_files(org, tmp_path):
    parts = simple(org).bulk2.Contact.download(
        "SELECT Id, FirstName FROM Contact", path=str(tmp_path), max_records=25, wait=WAIT
    )
    assert [part["number_of_records"] for part in parts] == [25, 25, 10] and parts[-1]["locator"] == ""
    found = [row for part in parts for row in rows(Path(part["file"]).read_bytes())]
    assert sorted(row["Id"] for row in found) == contacts(*range(1, 61))


def test_a_client_of_others_upserts_and_learns_which_rows_failed(org):
    client = simple(org)
    records = [{"Winback_Key__c": f"key-{number}", "Name": f"Campaign {number}"} for number in range(5)]
    records.append({"Winback_Key__c": "key-bad", "Name": ""})
    (told,) = client.bulk2.Campaign.upsert(records=records, external_id_field="Winback_Key__c", wait=WAIT)
    assert (told["numberRecordsTotal"], told["numberRecordsFailed"]) == (6, 1)
    (failed,) = read(client.bulk2.Campaign.get_failed_records(told["job_id"]))
    assert failed["sf__Error"].startswith("REQUIRED_FIELD_MISSING") and failed["Winback_Key__c"] == "key-bad"
    made = read(client.bulk2.Campaign.get_successful_records(told["job_id"]))
    assert {row["sf__Created"] for row in made} == {"true"} and len(made) == 5
    assert read(client.bulk2.Campaign.get_unprocessed_records(told["job_id"])) == []


def test_a_client_of_others_inserts_updates_and_deletes(org):
    client = simple(org)
    handler = client.bulk2.Contact
    (told,) = handler.insert(records=[{"LastName": "New", "Email": "new@example.com"}], wait=WAIT)
    (row,) = read(handler.get_successful_records(told["job_id"]))
    handler.update(records=[{"Id": row["sf__Id"], "Department": "Sales"}], wait=WAIT)
    assert org.row(row["sf__Id"])["Department"] == "Sales"
    (told,) = handler.delete(records=[{"Id": row["sf__Id"]}, {"Id": record_id("Contact", 999)}], wait=WAIT)
    assert told["numberRecordsFailed"] == 1
    with org.state.lock:
        assert org.state.row(row["sf__Id"]).is_deleted


def test_results_that_are_read_by_the_default_charset_are_misread(org):
    """Why our own loop decodes by itself: the vendor names no charset, and `requests` then takes Latin-1."""
    handler = simple(org).bulk2.Contact
    (told,) = handler.update(records=[{"Id": contacts(1)[0], "Department": "Zoë"}], wait=WAIT)
    assert org.row(contacts(1)[0])["Department"] == "Zoë"
    assert read(handler.get_successful_records(told["job_id"]))[0]["Department"] == "ZoÃ«"
    assert org.results(told["job_id"], "successfulResults")[0]["Department"] == "Zoë"


def test_a_version_that_changed_meanwhile_reads_no_results(org):
    from simple_salesforce.exceptions import SalesforceGeneralError

    job = org.query("SELECT Id FROM Contact")
    org.finished("query", job)
    assert len(read(simple(org).bulk2.Contact._client.get_query_results(job)["records"])) == 60
    with pytest.raises(SalesforceGeneralError, match="409"):
        simple(org, version="65.0").bulk2.Contact._client.get_query_results(job)


def test_the_orgs_calls_are_those_that_were_made(org):
    before = org.sandbox.meter.used(now_ms=org.state.clock.now_ms())
    fresh = Org(org.sandbox)
    job = fresh.query("SELECT Id FROM Contact")
    fresh.finished("query", job)
    fresh.get(f"/jobs/query/{job}/results")
    assert org.sandbox.meter.used(now_ms=org.state.clock.now_ms()) - before == 3

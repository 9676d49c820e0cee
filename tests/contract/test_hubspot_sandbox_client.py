"""HubSpot's own Python client, unmodified, against the sandbox: what it accepts, real code accepts."""

from __future__ import annotations

import threading
import zipfile
from io import BytesIO

import pytest
import requests

hubspot = pytest.importorskip("hubspot")

from hubspot.crm.contacts import ApiException  # noqa: E402

from tests.fakes.hubspot_sandbox import GROUP, SEGMENT, running  # noqa: E402

TIMEOUT = (2, 10)


@pytest.fixture
def world():
    with running(30) as (sandbox, api):
        yield sandbox, api, hubspot.HubSpot(access_token=sandbox.auth["token"], host=sandbox.base_url)


def test_contacts_are_listed_read_and_written(world):
    _, _, client = world
    basic = client.crm.contacts.basic_api
    page = basic.get_page(limit=10, properties=["email"], _request_timeout=TIMEOUT)
    assert len(page.results) == 10
    following = basic.get_page(limit=10, after=page.paging.next.after, _request_timeout=TIMEOUT)
    assert following.results[0].id == "11"
    one = basic.get_by_id("3", properties=["email", "phone"], _request_timeout=TIMEOUT)
    assert (one.properties["email"], one.properties["phone"]) == ("person3@acme.example", None)
    made = basic.create({"properties": {"email": "new@acme.example"}, "associations": []}, _request_timeout=TIMEOUT)
    changed = basic.update(made.id, {"properties": {"country": "NL"}}, _request_timeout=TIMEOUT)
    assert changed.properties["country"] == "NL"
    basic.archive(made.id, _request_timeout=TIMEOUT)
    with pytest.raises(ApiException) as gone:
        basic.get_by_id(made.id, _request_timeout=TIMEOUT)
    assert gone.value.status == 404


def test_search(world):
    _, _, client = world
    found = client.crm.contacts.search_api.do_search(
        {
            "filterGroups": [{"filters": [{"propertyName": "role", "operator": "EQ", "value": "cto"}]}],
            "sorts": [{"propertyName": "lastmodifieddate", "direction": "ASCENDING"}],
            "properties": ["email"],
            "limit": 10,
            "after": "0",
        },
        _request_timeout=TIMEOUT,
    )
    assert (found.total, len(found.results), found.paging.next.after) == (15, 10, "10")


def test_batches_with_errors_beside_results(world):
    _, _, client = world
    batches = client.crm.contacts.batch_api
    read = batches.read(
        {"inputs": [{"id": "1"}, {"id": "999"}], "properties": ["email"], "propertiesWithHistory": []},
        _request_timeout=TIMEOUT,
    )
    assert read.errors[0].context["ids"] == ["999"]
    inputs = [
        {"id": "1", "properties": {"country": "NL"}, "objectWriteTraceId": "a"},
        {"id": "2", "properties": {"no_such": "x"}, "objectWriteTraceId": "b"},
    ]
    mixed = batches.update({"inputs": inputs}, _request_timeout=TIMEOUT)
    assert [record.id for record in mixed.results] == ["1"]
    assert mixed.num_errors == 1
    assert mixed.errors[0].context["objectWriteTraceId"] == ["b"]
    assert batches.update({"inputs": inputs[:1]}, _request_timeout=TIMEOUT).status == "COMPLETE"
    with pytest.raises(ApiException) as refused:
        batches.update({"inputs": [{"id": "2", "properties": {"no_such": "x"}}]}, _request_timeout=TIMEOUT)
    assert refused.value.status == 400
    upserted = batches.upsert(
        {"inputs": [{"id": "up@acme.example", "idProperty": "email", "properties": {"country": "DE"}}]},
        _request_timeout=TIMEOUT,
    )
    assert upserted.results[0].new is True


def test_lists_folders_and_memberships(world):
    _, _, client = world
    lists, members, folders = client.crm.lists.lists_api, client.crm.lists.memberships_api, client.crm.lists.folders_api
    folder = folders.create({"name": "winback"}, _request_timeout=TIMEOUT).folder
    made = lists.create(
        {"name": "winback · cold", "objectTypeId": "0-1", "processingType": "MANUAL", "listFolderId": int(folder.id)},
        _request_timeout=TIMEOUT,
    ).list
    assert lists.get_by_name(made.name, "0-1", _request_timeout=TIMEOUT).list.list_id == made.list_id
    found = lists.do_search(
        {
            "query": "winback",
            "processingTypes": [],
            "listIds": [],
            "offset": 0,
            "additionalProperties": ["hs_folder_name"],
        },
        _request_timeout=TIMEOUT,
    )
    assert found.lists[0].additional_properties == {"hs_folder_name": "winback"}
    changed = members.add_and_remove(
        made.list_id, {"recordIdsToAdd": ["1", "2", "999"], "recordIdsToRemove": []}, _request_timeout=TIMEOUT
    )
    assert (changed.records_ids_added, changed.record_ids_missing) == (["1", "2"], ["999"])
    page = members.get_page(made.list_id, limit=250, _request_timeout=TIMEOUT)
    assert [row.record_id for row in page.results] == ["1", "2"]
    assert members.remove(made.list_id, ["1"], _request_timeout=TIMEOUT).record_ids_removed == ["1"]
    lists.remove(made.list_id, _request_timeout=TIMEOUT)
    lists.restore(made.list_id, _request_timeout=TIMEOUT)
    assert lists.get_by_id(made.list_id, _request_timeout=TIMEOUT).list.name == made.name


def test_properties_and_groups(world):
    _, _, client = world
    groups, core, batch = (
        client.crm.properties.groups_api,
        client.crm.properties.core_api,
        client.crm.properties.batch_api,
    )
    assert groups.create("contacts", GROUP, _request_timeout=TIMEOUT).name == "winback"
    made = core.create("contacts", SEGMENT, _request_timeout=TIMEOUT)
    assert [option.value for option in made.options] == ["dormant_30", "cold"]
    with pytest.raises(hubspot.crm.properties.ApiException) as twice:
        core.create("contacts", SEGMENT, _request_timeout=TIMEOUT)
    assert twice.value.status == 409
    body = {
        "archived": False,
        "dataSensitivity": "non_sensitive",
        "inputs": [{"name": "winback_segment"}, {"name": "nope"}],
    }
    assert batch.read("contacts", body, _request_timeout=TIMEOUT).num_errors == 1
    made_many = batch.create("contacts", {"inputs": [{**SEGMENT, "name": "winback_b"}]}, _request_timeout=TIMEOUT)
    assert made_many.results[0].name == "winback_b"
    core.archive("contacts", "winback_segment", _request_timeout=TIMEOUT)
    assert {p.name for p in core.get_all("contacts", _request_timeout=TIMEOUT).results} >= {"email", "winback_b"}


def test_exports(world):
    _, api, client = world
    api.control("behaviour", {"export_zip_above_bytes": 10})
    exports = client.crm.exports.public_exports_api
    task = exports.start(
        {
            "exportType": "VIEW",
            "exportName": "all",
            "format": "CSV",
            "language": "EN",
            "objectType": "CONTACT",
            "objectProperties": ["email"],
            "associatedObjectType": "COMPANY",
            "exportInternalValuesOptions": ["NAMES", "VALUES"],
            "overrideAssociatedObjectsPerDefinitionPerRowLimit": False,
            "includeLabeledAssociations": False,
            "includePrimaryDisplayPropertyForAssociatedObjects": False,
        },
        _request_timeout=TIMEOUT,
    )
    states = [exports.get_status(task.id, _request_timeout=TIMEOUT) for _ in range(3)]
    assert [state.status for state in states] == ["PENDING", "PROCESSING", "COMPLETE"]
    with zipfile.ZipFile(BytesIO(requests.get(states[-1].result, timeout=5).content)) as archive:
        assert len(archive.read("all.csv").splitlines()) == 31


def test_associations(world):
    _, _, client = world
    read = client.crm.associations.v4.batch_api.get_page(
        "contacts", "companies", {"inputs": [{"id": "1"}]}, _request_timeout=TIMEOUT
    )
    assert read.results[0].to[0].to_object_id == "2"


def test_one_client_serves_many_threads(world):
    sandbox, _, client = world
    basic, found = client.crm.contacts.basic_api, []

    def work(number):
        found.append(basic.get_by_id(str(number), _request_timeout=TIMEOUT).id)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found, key=int) == [str(n) for n in range(1, 17)]
    assert sandbox.log.count("record reads") == 16

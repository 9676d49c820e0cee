from __future__ import annotations

import pytest

from tests.fakes.hubspot_sandbox import GROUP, SEGMENT, running


@pytest.fixture
def world():
    with running(3) as held:
        yield held


def test_groups_and_properties_are_made_once(world):
    _, api = world
    assert api.post(api.properties("/groups"), GROUP).status_code == 201
    assert api.post(api.properties("/groups"), GROUP).status_code == 409
    made = api.post(api.properties(), SEGMENT)
    assert made.status_code == 201
    assert [option["value"] for option in made.json()["options"]] == ["dormant_30", "cold"]
    again = api.post(api.properties(), SEGMENT)
    assert again.status_code == 409
    assert (again.json()["category"], again.json()["subCategory"]) == (
        "OBJECT_ALREADY_EXISTS",
        "Properties.PROPERTY_WITH_NAME_EXISTS",
    )


def test_a_property_needs_its_group_first(world):
    _, api = world
    assert api.post(api.properties(), SEGMENT).status_code == 400


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Winback"},
        {"name": "9lives"},
        {"fieldType": "date"},
        {"type": "colour"},
        {"options": []},
        {"options": [{"label": "a", "value": "x"}, {"label": "b", "value": "x"}]},
        {"label": ""},
    ],
)
def test_definitions_that_make_no_sense_are_refused(world, change):
    _, api = world
    api.post(api.properties("/groups"), GROUP)
    assert api.post(api.properties(), {**SEGMENT, **change}).status_code == 400


def test_patching_options_replaces_them_all(world):
    _, api = world
    api.make_segment_property()
    only = [{"label": "Sunset", "value": "sunset", "displayOrder": 0, "hidden": False}]
    patched = api.call("PATCH", api.properties("/winback_segment"), {"options": only}).json()
    assert [option["value"] for option in patched["options"]] == ["sunset"]
    assert patched["label"] == "Segment"


def test_an_archived_property_keeps_its_values_and_comes_back_as_it_was(world):
    _, api = world
    api.make_segment_property()
    api.update({"1": {"winback_segment": "cold"}})
    assert api.call("DELETE", api.properties("/winback_segment")).status_code == 204
    assert api.call("DELETE", api.properties("/winback_segment")).status_code == 204
    assert api.get(api.properties("/winback_segment")).status_code == 404
    assert api.get(api.properties("/winback_segment?archived=true")).json()["archived"] is True
    assert "winback_segment" not in api.get(api.contacts("/1?properties=winback_segment")).json()["properties"]
    assert api.update({"1": {"winback_segment": "cold"}}, traced=False).status_code == 400
    as_text = {**SEGMENT, "type": "string", "fieldType": "text", "options": []}
    restored = api.post(api.properties(), as_text)
    assert restored.status_code == 201
    assert restored.json()["type"] == "enumeration"
    assert api.get(api.contacts("/1?properties=winback_segment")).json()["properties"]["winback_segment"] == "cold"


def test_what_is_in_use_or_the_vendors_own_cannot_be_archived(world):
    sandbox, api = world
    api.make_segment_property()
    sandbox.state.contact_properties.in_use.add("winback_segment")
    refused = api.call("DELETE", api.properties("/winback_segment"))
    assert (refused.status_code, refused.json()["subCategory"]) == (
        400,
        "PropertyValidationError.CANNOT_DELETE_PROPERTY_IN_USE",
    )
    assert api.call("DELETE", api.properties("/email")).status_code == 400
    assert api.call("DELETE", api.properties("/no_such")).status_code == 404
    assert api.call("PATCH", api.properties("/email"), {"label": "x"}).status_code == 400


def test_a_group_with_properties_stays(world):
    _, api = world
    api.make_segment_property()
    assert api.call("DELETE", api.properties("/groups/winback")).status_code == 400
    api.call("DELETE", api.properties("/winback_segment"))
    assert api.call("DELETE", api.properties("/groups/winback")).status_code == 204
    assert api.get(api.properties("/groups/winback")).status_code == 404


def test_batches_set_aside_what_cannot_be_done(world):
    _, api = world
    api.make_segment_property()
    other = {**SEGMENT, "name": "winback_other"}
    made = api.post(api.properties("/batch/create"), {"inputs": [SEGMENT, other]})
    assert made.status_code == 207
    assert [p["name"] for p in made.json()["results"]] == ["winback_other"]
    assert made.json()["errors"][0]["category"] == "OBJECT_ALREADY_EXISTS"
    body = {
        "archived": False,
        "dataSensitivity": "non_sensitive",
        "inputs": [{"name": "winback_other"}, {"name": "nope"}],
    }
    read = api.post(api.properties("/batch/read"), body)
    assert read.status_code == 207
    assert read.json()["errors"][0]["context"] == {"name": ["nope"]}
    assert api.post(api.properties("/batch/archive"), {"inputs": [{"name": "winback_other"}]}).status_code == 204
    assert api.get(api.properties("/winback_other")).status_code == 404


def test_at_most_ten_properties_are_unique(world):
    _, api = world
    api.post(api.properties("/groups"), GROUP)
    base = {"label": "x", "type": "string", "fieldType": "text", "groupName": "winback", "hasUniqueValue": True}
    answers = [api.post(api.properties(), {**base, "name": f"key_{n}"}).status_code for n in range(11)]
    assert answers == [201] * 10 + [400]


def test_a_unique_value_belongs_to_one_record(world):
    _, api = world
    api.post(api.properties("/groups"), GROUP)
    body = {
        "name": "key",
        "label": "x",
        "type": "string",
        "fieldType": "text",
        "groupName": "winback",
        "hasUniqueValue": True,
    }
    api.post(api.properties(), body)
    assert api.update({"1": {"key": "a"}}).status_code == 200
    assert api.update({"2": {"key": "a"}}).json()["errors"][0]["category"] == "CONFLICT"


def test_the_limits_endpoint_counts_custom_properties(world):
    _, api = world
    before = api.get("/crm/limits/2026-09/custom-properties").json()
    api.make_segment_property()
    after = api.get("/crm/limits/2026-09/custom-properties").json()
    assert after["overallUsage"] == before["overallUsage"] + 1
    assert after["byObjectType"][0]["objectTypeId"] == "0-1"

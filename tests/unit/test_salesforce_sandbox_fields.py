from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from adapters.salesforce.sandbox import package
from connector.program.personal import SPECS
from connector.wanted import FEEDBACK_AT, FEEDBACK_SCORE, property_specs
from tests.fakes.salesforce_sandbox import contact, row, running

KINDS = {
    "text": "string",
    "choices": "string",
    "number": "double",
    "date": "date",
    "datetime": "datetime",
    "yes_no": "boolean",
}


@pytest.fixture
def world():
    with running() as held:
        yield held


def fields(api, kind="Contact"):
    return {one["name"]: one for one in api.get(f"/sobjects/{kind}/describe").json()["fields"]}


def make_field(api, name="Contact.Winback_Extra__c", **metadata):
    metadata = {"label": "Extra", "type": "Text", "length": 80, **metadata}
    return api.post("/tooling/sobjects/CustomField", {"FullName": name, "Metadata": metadata})


def grant(api, name, *, edit=True):
    (held,) = api.ids("SELECT Id FROM PermissionSet WHERE Name = 'Winback_Integration'")
    return api.make(
        "FieldPermissions",
        ParentId=held,
        SobjectType=name.partition(".")[0],
        Field=name,
        PermissionsRead=True,
        PermissionsEdit=edit,
    )


@pytest.mark.parametrize("kind", ["Contact", "Lead"])
def test_the_package_has_a_field_for_everything_winback_writes(world, kind):
    held = fields(world[1], kind)
    specs = [*SPECS.values(), *property_specs(())]
    for spec in specs:
        name = "_".join(part.capitalize() for part in spec.name.split("_")) + "__c"
        one = held[name]
        is_long = spec.name.startswith("winback_link_") or spec.name in {"winback_whats_new", "winback_next_step"}
        assert one["type"] == ("textarea" if is_long else KINDS[spec.kind]), name
        if one["type"] in {"string", "textarea"}:
            assert one["length"] == (4000 if is_long else 255), name
        assert one["createable"]
        assert one["updateable"]
    for name in (FEEDBACK_AT, FEEDBACK_SCORE, "winback_reason", "winback_enrollment"):
        assert "_".join(part.capitalize() for part in name.split("_")) + "__c" in held


def test_the_package_is_what_the_deployment_makes():
    folder = Path(__file__).parents[2] / "deploy/salesforce/force-app/main/default/objects"
    if not folder.is_dir():
        pytest.skip("deploy/salesforce is not in this copy")
    kinds = {"Text": "string", "LongTextArea": "textarea", "Number": "double", "DateTime": "datetime", "Date": "date"}
    made = {}
    for path in folder.glob("*/fields/*.field-meta.xml"):
        tree = ET.parse(path).getroot()
        told = {one.tag.rpartition("}")[2]: one.text for one in tree}
        kind = path.parts[-3].replace("Activity", "Task")
        made[kind, told["fullName"]] = (
            kinds[told["type"]],
            int(told.get("length", 0)),
            int(told.get("precision", 0)),
            *(told.get(name) == "true" for name in ("unique", "externalId", "caseSensitive")),
        )
    ours = {
        (kind, one.name): (one.kind, one.length, one.precision, one.unique, one.external_id, one.case_sensitive)
        for kind, fields in package.PACKAGE.items()
        for one in fields
    }
    assert ours == made


def test_a_new_field_may_be_described_late(world):
    sandbox, api = world
    sandbox.state.behave({"describe_lag_seconds": 60.0})
    make_field(api)
    grant(api, "Contact.Winback_Extra__c")
    assert "Winback_Extra__c" not in fields(api)
    assert api.patch(f"/sobjects/Contact/{contact(1)}", {"Winback_Extra__c": "x"}).status_code == 204
    sandbox.advance(60)
    assert "Winback_Extra__c" in fields(api)


def test_describe_tells_what_a_client_needs(world):
    _, api = world
    held = fields(api)
    assert held["Id"] | {"createable": False, "nillable": False, "type": "id", "length": 18} == held["Id"]
    assert held["LastName"] | {"nillable": False, "createable": True, "length": 80} == held["LastName"]
    assert held["AccountId"] | {"referenceTo": ["Account"], "relationshipName": "Account"} == held["AccountId"]
    assert held["Name"] | {"updateable": False, "nameField": True} == held["Name"]
    assert held["HasOptedOutOfEmail"]["defaultedOnCreate"] is True
    assert held["Description"]["filterable"] is False
    key = fields(api, "Campaign")["Winback_Key__c"]
    assert key | {"externalId": True, "unique": True, "idLookup": True, "custom": True} == key
    whole = api.get("/sobjects/Contact/describe").json()
    assert whole["keyPrefix"] == "003"
    assert {"childSObject": "CampaignMember", "field": "ContactId"}.items() <= next(
        one for one in whole["childRelationships"] if one["childSObject"] == "CampaignMember"
    ).items()
    everything = {one["name"]: one for one in api.get("/sobjects/").json()["sobjects"]}
    assert {"Contact", "Lead", "Account", "Campaign", "CampaignMember", "Task", "Opportunity"} <= everything.keys()
    assert everything["Contact"]["mergeable"] is True
    assert "CustomField" not in everything


def test_a_hidden_field_is_no_field_at_all(world):
    sandbox, api = world
    sandbox.state.access.hidden.add("Contact.HasOptedOutOfEmail")
    assert "HasOptedOutOfEmail" not in fields(api)
    assert "HasOptedOutOfEmail" in fields(api, "Lead")
    assert "HasOptedOutOfEmail" not in api.get(f"/sobjects/Contact/{contact(1)}").json()
    for answer in (
        api.query("SELECT HasOptedOutOfEmail FROM Contact"),
        api.query("SELECT Id FROM Contact WHERE HasOptedOutOfEmail = true"),
        api.patch(f"/sobjects/Contact/{contact(1)}", {"HasOptedOutOfEmail": True}),
    ):
        assert answer.status_code == 400
        assert answer.json()[0]["errorCode"] == "INVALID_FIELD"
        assert "No such column 'HasOptedOutOfEmail'" in answer.json()[0]["message"]


def test_a_read_only_field_is_seen_and_not_written(world):
    sandbox, api = world
    sandbox.state.access.read_only.add("Contact.Winback_Segment__c")
    assert fields(api)["Winback_Segment__c"]["updateable"] is False
    (result,) = api.collect("PATCH", [row("Contact", Id=contact(1), Winback_Segment__c="x")])
    assert result["errors"][0]["statusCode"] == "INVALID_FIELD_FOR_INSERT_UPDATE"
    assert result["errors"][0]["fields"] == ["Winback_Segment__c"]


def test_a_kind_of_record_can_be_closed_to_us(world):
    sandbox, api = world
    sandbox.state.access.denied |= {"Task.read", "Account.create", "Contact.edit", "Lead.delete"}
    lead = sandbox.state.insert("Lead", {"LastName": "L", "Company": "C"}).id
    assert api.get("/sobjects/Task/describe").status_code == 404
    assert api.query("SELECT Id FROM Task").json()[0]["errorCode"] == "INVALID_TYPE"
    results = [
        *api.collect("POST", [row("Account", Name="x")]),
        *api.collect("PATCH", [row("Contact", Id=contact(1), Title="x")]),
        *api.delete("/composite/sobjects", params={"ids": lead}).json(),
    ]
    assert [one["errors"][0]["statusCode"] for one in results] == [
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        "INSUFFICIENT_ACCESS_OR_READONLY",
    ]
    assert {one["name"]: one["createable"] for one in api.get("/sobjects").json()["sobjects"]}["Account"] is False


def test_campaigns_are_for_marketing_users(world):
    sandbox, api = world
    sandbox.state.access.permissions.discard("MarketingUser")
    answer = api.post("/sobjects/Campaign", {"Name": "x"})
    assert answer.json()[0]["errorCode"] == "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
    assert api.query("SELECT Id FROM Campaign").status_code == 200
    text = f"SELECT UserPermissionsMarketingUser FROM User WHERE Id = '{sandbox.state.integration_user}'"
    assert api.records(text) == [{"UserPermissionsMarketingUser": False}]


def test_a_field_made_by_the_tooling_api_is_seen_by_nobody_until_it_is_granted(world):
    _, api = world
    made = make_field(api)
    assert made.status_code == 201
    assert re.fullmatch("00N.{15}", made.json()["id"])
    assert "Winback_Extra__c" not in fields(api)
    grant(api, "Contact.Winback_Extra__c", edit=False)
    assert fields(api)["Winback_Extra__c"]["updateable"] is False
    (held,) = api.ids("SELECT Id FROM FieldPermissions WHERE Field = 'Contact.Winback_Extra__c'")
    api.patch(f"/sobjects/FieldPermissions/{held}", {"PermissionsEdit": True})
    assert fields(api)["Winback_Extra__c"]["updateable"] is True
    assert api.patch(f"/sobjects/Contact/{contact(1)}", {"Winback_Extra__c": "x"}).status_code == 204


def test_a_permission_set_opens_fields_only_to_whom_it_is_assigned(world):
    sandbox, api = world
    (assigned,) = api.ids("SELECT Id FROM PermissionSetAssignment WHERE PermissionSet.Name = 'Winback_Integration'")
    api.delete(f"/sobjects/PermissionSetAssignment/{assigned}")
    assert "Winback_Segment__c" not in fields(api)
    assert "Role__c" in fields(api)
    (held,) = api.ids("SELECT Id FROM PermissionSet WHERE Name = 'Winback_Integration'")
    api.make("PermissionSetAssignment", PermissionSetId=held, AssigneeId=sandbox.state.integration_user)
    assert "Winback_Segment__c" in fields(api)


@pytest.mark.parametrize(
    ("name", "metadata", "code"),
    [
        ("Contact.Winback_Segment__c", {}, "DUPLICATE_DEVELOPER_NAME"),
        ("Contact.NoSuffix", {}, "INVALID_FIELD"),
        ("Nope.Winback_Extra__c", {}, "INVALID_CROSS_REFERENCE_KEY"),
        ("Contact.Winback_Extra__c", {"type": "Moon"}, "INVALID_FIELD"),
        ("Contact.Winback_Extra__c", {"length": None}, "REQUIRED_FIELD_MISSING"),
        ("Contact.Winback_Extra__c", {"length": 256}, "FIELD_INTEGRITY_EXCEPTION"),
        ("Contact.Winback_Extra__c", {"type": "LongTextArea"}, "REQUIRED_FIELD_MISSING"),
        ("Contact.Winback_Extra__c", {"type": "Checkbox"}, "REQUIRED_FIELD_MISSING"),
    ],
)
def test_a_field_that_cannot_be_is_refused(world, name, metadata, code):
    answer = make_field(world[1], name, **metadata)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


@pytest.mark.parametrize(
    ("metadata", "kind"),
    [
        ({"type": "Number", "precision": 18, "scale": 4}, "double"),
        ({"type": "Checkbox", "defaultValue": "false"}, "boolean"),
        ({"type": "LongTextArea", "length": 4000, "visibleLines": 3}, "textarea"),
        ({"type": "DateTime"}, "datetime"),
        ({"type": "Date"}, "date"),
    ],
)
def test_a_field_of_every_kind_we_need_can_be_made(world, metadata, kind):
    _, api = world
    assert make_field(api, **metadata).status_code == 201
    grant(api, "Contact.Winback_Extra__c")
    assert fields(api)["Winback_Extra__c"]["type"] == kind


def test_making_fields_takes_the_right_to_customize(world):
    sandbox, api = world
    sandbox.state.access.permissions.discard("CustomizeApplication")
    assert make_field(api).status_code == 403
    sandbox.state.access.permissions.discard("ManageProfilesPermissionsets")
    answer = api.post("/sobjects/FieldPermissions", {"SobjectType": "Contact"})
    assert answer.json()[0]["errorCode"] == "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"


def test_a_field_is_found_and_deleted_by_the_tooling_api(world):
    _, api = world
    api.patch(f"/sobjects/Contact/{contact(1)}", {"Winback_Segment__c": "x"})
    where = "DeveloperName = 'Winback_Segment' AND TableEnumOrId = 'Contact'"
    found = api.get("/tooling/query", params={"q": f"SELECT Id FROM CustomField WHERE {where}"}).json()
    (one,) = found["records"]
    assert api.query("SELECT Id FROM CustomField").json()[0]["errorCode"] == "INVALID_TYPE"
    path = f"/tooling/sobjects/CustomField/{one['Id']}"
    assert api.get(path).json()["FullName"] == "Contact.Winback_Segment__c"
    assert api.delete(path).status_code == 204
    assert api.delete(path).status_code == 404
    assert "Winback_Segment__c" not in fields(api)
    make_field(api, "Contact.Winback_Segment__c")
    grant(api, "Contact.Winback_Segment__c")
    assert api.get(f"/sobjects/Contact/{contact(1)}").json()["Winback_Segment__c"] is None


def test_field_permissions_are_for_a_field_that_is_there_and_given_once(world):
    _, api = world
    (held,) = api.ids("SELECT Id FROM PermissionSet WHERE Name = 'Winback_Integration'")
    base = {"ParentId": held, "SobjectType": "Contact", "PermissionsRead": True}
    assert [
        api.post("/sobjects/FieldPermissions", {**base, "Field": name}).json()[0]["errorCode"]
        for name in ("Contact.Nope__c", "Lead.Winback_Segment__c", "Contact.Winback_Segment__c")
    ] == ["INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "DUPLICATE_VALUE"]


def test_without_the_package_there_is_nothing_of_ours(world):
    sandbox, api = world
    with sandbox.state.lock:
        package.remove(sandbox.state)
    for kind in package.PACKAGE:
        assert not [name for name in fields(api, kind) if name.startswith("Winback")]
    assert api.ids("SELECT Id FROM PermissionSet WHERE Name = 'Winback_Integration'") == []
    with sandbox.state.lock:
        package.install(sandbox.state)
    assert fields(api)["Winback_Segment__c"]["updateable"] is True


def test_optional_parts_of_the_product_come_and_go(world):
    sandbox, api = world
    assert "IndividualId" in fields(api)
    assert "IsPersonAccount" not in fields(api)
    sandbox.state.behave({"individuals": False, "person_accounts": True, "multi_currency": True})
    assert "IndividualId" not in fields(api)
    assert api.get("/sobjects/Individual/describe").status_code == 404
    assert "IsPersonAccount" in fields(api)
    assert "CurrencyIsoCode" in fields(api, "Opportunity")

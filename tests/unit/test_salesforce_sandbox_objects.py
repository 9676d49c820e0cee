from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adapters.salesforce.ids import record_id
from adapters.salesforce.sandbox.rules import DuplicateRule, Poison, ValidationRule
from connector.errors import SettingError
from connector.model import Account, Contact
from tests.fakes.salesforce_sandbox import accounts, contact, people, running


@pytest.fixture
def world():
    with running() as held:
        yield held


def error(answer):
    assert answer.status_code >= 400, answer.text
    body = answer.json()
    assert isinstance(body, list)
    assert len(body) == 1
    return answer.status_code, body[0]["errorCode"]


def test_seeded_people_are_found_under_their_own_numbers(world):
    _, api = world
    fields = "Id,Email,Name,Title,Role__c,Product_User_Id__c,AccountId,Phone,HasOptedOutOfEmail,CreatedDate"
    body = api.get(f"/sobjects/Contact/{contact(7)}", params={"fields": fields}).json()
    assert body == {
        "attributes": {"type": "Contact", "url": f"/services/data/v66.0/sobjects/Contact/{contact(7)}"},
        "Id": contact(7),
        "Email": "person7@acme.example",
        "Name": "First7 Last7",
        "Title": "cto",
        "Role__c": "cto",
        "Product_User_Id__c": "u-7",
        "AccountId": record_id("Account", 2),
        "Phone": None,
        "HasOptedOutOfEmail": False,
        "CreatedDate": "2025-01-08T00:00:00.000+0000",
    }
    assert api.get(f"/sobjects/Contact/{contact(7)[:15]}").json()["Id"] == contact(7)


def test_consent_bounces_and_leads_are_kept_in_the_vendors_words(world):
    sandbox, api = world
    sandbox.seed(
        [
            Contact("salesforce:50", opted_out=True, bounced=True, can_email=False),
            Contact("salesforce:lead-51", email="x@y.example", country="DE"),
        ],
        [],
    )
    person = api.get(f"/sobjects/Contact/{contact(50)}").json()
    assert person["HasOptedOutOfEmail"] is True
    assert person["IsEmailBounced"] is True
    assert person["EmailBouncedDate"] is not None
    assert person["Email_Permission__c"] is False
    lead = api.get(f"/sobjects/Lead/{record_id('Lead', 51)}").json()
    assert (lead["Country"], lead["IsConverted"], lead["Company"]) == ("DE", False, "Unknown")


def test_seeding_again_changes_only_what_differs(world):
    sandbox, _ = world
    before = dict(sandbox.state.stores["Contact"].rows)
    sandbox.advance(60)
    again = people(12)
    again[2] = Contact("salesforce:3", role="team_lead")
    sandbox.seed(again, accounts())
    after = sandbox.state.stores["Contact"].rows
    assert {one for one in after if after[one] is not before[one]} == {contact(3)}
    assert after[contact(3)].values["Title"] == "team_lead"


def test_deleted_and_merged_people_are_history_from_the_start(world):
    sandbox, api = world
    now = sandbox.state.clock.now()
    sandbox.seed(
        [
            Contact("salesforce:60", deleted_at=now),
            Contact("salesforce:61", merged_into="salesforce:1"),
            Contact("salesforce:lead-62", merged_into="salesforce:2"),
            Contact("salesforce:63", merged_into="salesforce:61"),
            Contact("salesforce:64", merged_into="salesforce:999"),
        ],
        [],
    )
    found = {one["Id"]: one for one in api.records("SELECT Id, MasterRecordId, IsDeleted FROM Contact", deleted=True)}
    assert found[contact(60)] == {"Id": contact(60), "MasterRecordId": None, "IsDeleted": True}
    assert found[contact(61)] == {"Id": contact(61), "MasterRecordId": contact(1), "IsDeleted": True}
    assert found[contact(63)]["MasterRecordId"] == contact(1)
    assert found[contact(64)] == {"Id": contact(64), "MasterRecordId": None, "IsDeleted": False}
    (lead,) = api.records("SELECT IsConverted, ConvertedContactId FROM Lead")
    assert lead == {"IsConverted": True, "ConvertedContactId": contact(2)}


def test_two_people_of_one_number_and_people_without_one_are_refused(world):
    sandbox, _ = world
    with pytest.raises(SettingError, match="the same Salesforce record"):
        sandbox.seed([Contact("salesforce:5"), Contact("salesforce:user-5")], [])
    with pytest.raises(SettingError, match="has no number"):
        sandbox.seed([Contact("salesforce:ann")], [])
    with pytest.raises(SettingError, match="cannot be a Salesforce field"):
        sandbox.seed([], [Account("salesforce:9", attributes={"Größe": 1})])


def test_a_record_is_made_changed_and_deleted(world):
    _, api = world
    answer = api.post("/sobjects/Contact", {"LastName": " New ", "email": "new@acme.example"})
    assert answer.status_code == 201
    made = answer.json()
    assert made == {"id": made["id"], "success": True, "errors": []}
    path = f"/sobjects/Contact/{made['id']}"
    assert api.get(path).json()["LastName"] == "New"
    assert api.patch(path, {"FirstName": "Ann", "Email": None}).status_code == 204
    assert {name: api.get(path).json()[name] for name in ("FirstName", "Email")} == {"FirstName": "Ann", "Email": None}
    assert api.delete(path).status_code == 204
    assert error(api.get(path)) == (404, "ENTITY_IS_DELETED")
    assert error(api.patch(path, {"FirstName": "Bo"})) == (404, "ENTITY_IS_DELETED")


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"FirstName": "No last name"}, "REQUIRED_FIELD_MISSING"),
        ({"LastName": "X", "Nope__c": 1}, "INVALID_FIELD"),
        ({"LastName": "X", "CreatedDate": "2026-01-01T00:00:00Z"}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ({"LastName": "X", "Email": "not an address"}, "INVALID_EMAIL_ADDRESS"),
        ({"LastName": "X" * 81}, "STRING_TOO_LONG"),
        ({"LastName": 5}, "JSON_PARSER_ERROR"),
        ({"LastName": "X", "DoNotCall": "maybe"}, "JSON_PARSER_ERROR"),
        ({"LastName": "X", "Winback_Last_Active_At__c": "yesterday"}, "JSON_PARSER_ERROR"),
        ({"LastName": "X", "Winback_Milestone__c": 1e15}, "NUMBER_OUTSIDE_VALID_RANGE"),
        ({"LastName": "X", "AccountId": "nonsense"}, "MALFORMED_ID"),
        ({"LastName": "X", "AccountId": record_id("Account", 999)}, "INVALID_CROSS_REFERENCE_KEY"),
        ({"LastName": "X", "AccountId": record_id("Contact", 1)}, "INVALID_CROSS_REFERENCE_KEY"),
        ({"LastName": "X", "Id": record_id("Contact", 1)}, "INVALID_FIELD"),
    ],
)
def test_a_value_the_org_does_not_take_is_refused_by_its_code(world, values, code):
    assert error(world[1].post("/sobjects/Contact", values)) == (400, code)


def test_a_body_that_is_no_json_is_refused(world):
    answer = world[1].session.post(
        f"{world[0].base_url}/services/data/v66.0/sobjects/Contact", data="{not json", timeout=10
    )
    assert error(answer) == (400, "JSON_PARSER_ERROR")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/sobjects/Contact/0030000000009zzAAA", "NOT_FOUND"),
        ("/sobjects/Contact/nonsense", "NOT_FOUND"),
        ("/sobjects/Nope", "NOT_FOUND"),
        ("/nowhere", "NOT_FOUND"),
        ("/sobjects/Contact/Email/a@b.example", "NOT_FOUND"),
    ],
)
def test_what_is_not_there_is_a_404(world, path, code):
    assert error(world[1].get(path)) == (404, code)


def test_a_method_that_is_not_there_is_a_405(world):
    assert error(world[1].delete("/limits")) == (405, "METHOD_NOT_ALLOWED")


def test_text_is_trimmed_and_moments_lose_their_fractions(world):
    _, api = world
    made = api.make(
        "Contact",
        LastName="X",
        FirstName="   ",
        Winback_Last_Active_At__c="2026-11-21T10:00:00.987+01:00",
        Winback_Dormant_Since__c="2026-11-01",
        Winback_Milestone__c="12.34567",
        DoNotCall=None,
    )
    body = api.get(f"/sobjects/Contact/{made}").json()
    assert body["FirstName"] is None
    assert body["Winback_Last_Active_At__c"] == "2026-11-21T09:00:00.000+0000"
    assert body["Winback_Dormant_Since__c"] == "2026-11-01"
    assert body["Winback_Milestone__c"] == 12.3457
    assert body["DoNotCall"] is False


def test_an_upsert_by_external_id_makes_once_and_changes_then(world):
    _, api = world
    path = "/sobjects/Campaign/Winback_Key__c/winback%2F%20dormant%2B30"
    made = api.patch(path, {"Name": "winback · dormant_30"})
    assert (made.status_code, made.json()["created"]) == (201, True)
    again = api.patch(path, {"Name": "winback · dormant_30", "IsActive": True})
    assert (again.status_code, again.json()["created"], again.json()["id"]) == (200, False, made.json()["id"])
    assert api.get(path).json()["Winback_Key__c"] == "winback/ dormant+30"
    assert api.get(path).json()["IsActive"] is True
    assert error(api.patch(path, {"Name": "x", "Winback_Key__c": "y"})) == (400, "INVALID_FIELD")
    old = api.call("PATCH", f"/services/data/v45.0{path}", {"Name": "x"})
    assert (old.status_code, old.text) == (204, "")


def test_an_external_id_that_several_carry_is_a_300_with_their_addresses(world):
    _, api = world
    for _ in range(2):
        api.make("Contact", LastName="Twin", Product_User_Id__c="twin")
    answer = api.patch("/sobjects/Contact/Product_User_Id__c/twin", {"LastName": "Which"})
    assert answer.status_code == 300
    assert len(answer.json()) == 2
    assert all(address.startswith("/services/data/v66.0/sobjects/Contact/003") for address in answer.json())


def test_a_unique_value_belongs_to_one_record(world):
    _, api = world
    api.make("Campaign", Name="one", Winback_Key__c="k")
    other = api.make("Campaign", Name="two")
    assert error(api.post("/sobjects/Campaign", {"Name": "three", "Winback_Key__c": "k"})) == (400, "DUPLICATE_VALUE")
    assert error(api.patch(f"/sobjects/Campaign/{other}", {"Winback_Key__c": "k"})) == (400, "DUPLICATE_VALUE")
    # The key tells capitals from small letters: ids are part of it.
    assert api.patch(f"/sobjects/Campaign/{other}", {"Winback_Key__c": "K"}).status_code == 204


def test_every_write_moves_the_stamp_even_within_a_millisecond(world):
    sandbox, api = world
    sandbox.state.clock.freeze()
    stamps = []
    for _ in range(3):
        assert api.patch(f"/sobjects/Contact/{contact(1)}", {"FirstName": "Same"}).status_code == 204
        stamps.append(sandbox.state.row(contact(1)).stamp_ms)
    assert stamps == sorted(set(stamps))
    shown = api.get(f"/sobjects/Contact/{contact(1)}").json()
    assert shown["SystemModstamp"].endswith(".000+0000")
    assert shown["LastModifiedById"] == sandbox.state.integration_user


def test_changes_and_deletions_are_listed_by_time(world):
    sandbox, api = world
    sandbox.advance(3 * 86_400)
    api.login()
    now = sandbox.state.clock.now()
    api.patch(f"/sobjects/Contact/{contact(1)}", {"FirstName": "New"})
    api.delete(f"/sobjects/Contact/{contact(2)}")
    span = {"start": (now - timedelta(hours=1)).isoformat(), "end": (now + timedelta(hours=1)).isoformat()}
    assert api.get("/sobjects/Contact/updated/", params=span).json()["ids"] == [contact(1)]
    deleted = api.get("/sobjects/Contact/deleted/", params=span).json()
    assert [one["id"] for one in deleted["deletedRecords"]] == [contact(2)]
    assert deleted.keys() == {"deletedRecords", "earliestDateAvailable", "latestDateCovered"}
    naive = api.get("/sobjects/Contact/deleted/", params={"start": "2026-11-21T10:00:00", "end": "x"})
    assert error(naive) == (400, "INVALID_REPLICATION_DATE")


def test_what_is_out_of_the_recycle_bin_is_in_no_query_but_still_told_as_deleted(world):
    sandbox, api = world
    api.delete(f"/sobjects/Contact/{contact(2)}")
    at = sandbox.state.clock.now()
    assert contact(2) in api.ids("SELECT Id FROM Contact", deleted=True)
    assert contact(2) not in api.ids("SELECT Id FROM Contact")
    sandbox.advance(15 * 86_400 + 1)
    api.login()
    assert contact(2) not in api.ids("SELECT Id FROM Contact", deleted=True)
    span = {"start": (at - timedelta(hours=1)).isoformat(), "end": (at + timedelta(hours=1)).isoformat()}
    assert [one["id"] for one in api.get("/sobjects/Contact/deleted/", params=span).json()["deletedRecords"]] == [
        contact(2)
    ]


def test_a_poisoned_record_refuses_in_the_words_it_was_given(world):
    sandbox, api = world
    campaign = api.make("Campaign", Name="x")
    sandbox.state.rules.poison[contact(1)] = Poison("Rule 7 says no", fields=("Email",))
    sandbox.state.rules.poison[contact(2)] = Poison("No", on="record")
    sandbox.state.rules.poison[contact(3)] = Poison("Use one of these records?", "DUPLICATES_DETECTED", on="members")

    def member(number):
        return api.post("/sobjects/CampaignMember", {"CampaignId": campaign, "ContactId": contact(number)})

    refused = api.patch(f"/sobjects/Contact/{contact(1)}", {"FirstName": "x"}).json()[0]
    assert refused == {
        "message": "Rule 7 says no",
        "errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "fields": ["Email"],
    }
    assert error(member(1)) == (400, "FIELD_CUSTOM_VALIDATION_EXCEPTION")
    assert error(api.patch(f"/sobjects/Contact/{contact(2)}", {"FirstName": "x"})) == (
        400,
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
    )
    assert member(2).status_code == 201
    assert api.patch(f"/sobjects/Contact/{contact(3)}", {"FirstName": "x"}).status_code == 204
    assert error(member(3)) == (400, "DUPLICATES_DETECTED")


def test_validation_and_duplicate_rules_hold_for_everybody(world):
    sandbox, api = world
    sandbox.state.rules.validations.append(ValidationRule("Contact", "FirstName", "First name, please"))
    sandbox.state.rules.duplicates += [DuplicateRule("Contact", "Email"), DuplicateRule("Lead", "Email", blocks=True)]
    assert error(api.post("/sobjects/Contact", {"LastName": "X"})) == (400, "FIELD_CUSTOM_VALIDATION_EXCEPTION")
    twin = {"FirstName": "A", "LastName": "X", "Email": "Person1@acme.example"}
    allowed = {"Sforce-Duplicate-Rule-Header": "allowSave = true"}
    assert error(api.post("/sobjects/Contact", twin)) == (400, "DUPLICATES_DETECTED")
    assert api.post("/sobjects/Contact", twin, headers=allowed).status_code == 201
    lead = {"LastName": "L", "Company": "C", "Email": "l@x.example"}
    assert api.post("/sobjects/Lead", lead).status_code == 201
    assert error(api.post("/sobjects/Lead", lead, headers=allowed)) == (400, "DUPLICATES_DETECTED")
    assert api.patch(f"/sobjects/Contact/{contact(1)}", {"LastName": "Same address"}).status_code == 204


def test_a_restricted_picklist_takes_its_own_values_only(world):
    sandbox, api = world
    assert api.post("/sobjects/Contact", {"LastName": "X", "LeadSource": "Moon"}).status_code == 201
    sandbox.state.behave({"picklists_strict": True})
    assert error(api.post("/sobjects/Contact", {"LastName": "X", "LeadSource": "Moon"})) == (
        400,
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
    )
    assert api.post("/sobjects/Contact", {"LastName": "X", "LeadSource": "Web"}).status_code == 201


def test_the_clock_of_a_record_is_the_sandboxs(world):
    sandbox, api = world
    sandbox.state.clock.freeze(datetime(2026, 12, 24, 18, tzinfo=UTC))
    api.login()
    made = api.make("Contact", LastName="X")
    assert api.get(f"/sobjects/Contact/{made}").json()["CreatedDate"] == "2026-12-24T18:00:00.000+0000"

from __future__ import annotations

import pytest

from adapters.lookalike.faults import Fault
from adapters.salesforce.ids import record_id
from adapters.salesforce.sandbox.rules import Poison
from tests.fakes.salesforce_sandbox import contact, row, running


@pytest.fixture
def world():
    with running() as held:
        yield held


def codes(results):
    return [None if one["success"] else one["errors"][0]["statusCode"] for one in results]


def test_rows_are_made_and_answered_in_their_order(world):
    _, api = world
    results = api.collect(
        "POST", [row("Contact", LastName="A"), row("Contact", FirstName="B"), row("Account", Name="C")]
    )
    assert codes(results) == [None, "REQUIRED_FIELD_MISSING", None]
    assert [one.get("id", "")[:3] for one in results] == ["003", "", "001"]
    assert results[0] == {"id": results[0]["id"], "success": True, "errors": []}
    assert results[1]["errors"] == [
        {
            "statusCode": "REQUIRED_FIELD_MISSING",
            "message": "Required fields are missing: [LastName]",
            "fields": ["LastName"],
        }
    ]


def test_rows_are_changed_by_long_and_short_ids(world):
    sandbox, api = world
    results = api.collect(
        "PATCH",
        [
            row("Contact", Id=contact(1), Winback_Segment__c="dormant_30"),
            row("Contact", id=contact(2)[:15], Winback_Segment__c=None),
            row("Contact", Winback_Segment__c="no id"),
            row("Contact", Id=record_id("Contact", 99), Winback_Segment__c="x"),
            row("Contact", Id=record_id("Account", 1), Winback_Segment__c="x"),
            row("Contact", Id=contact(1), Winback_Segment__c="twice"),
        ],
    )
    assert codes(results) == [
        None,
        None,
        "MISSING_ARGUMENT",
        "INVALID_CROSS_REFERENCE_KEY",
        "MALFORMED_ID",
        "DUPLICATE_VALUE",
    ]
    assert results[1]["id"] == contact(2)
    assert sandbox.state.row(contact(1)).values["Winback_Segment__c"] == "dormant_30"


def test_deleted_merged_and_converted_records_take_no_values(world):
    sandbox, api = world
    state = sandbox.state
    lead = state.insert("Lead", {"LastName": "L", "Company": "C"}).id
    state.delete(contact(1))
    state.merge(contact(2), [contact(3)])
    state.convert(lead, contact_id=contact(4))
    given = [
        row("Contact", Id=contact(1), Title="x"),
        row("Contact", Id=contact(3), Title="x"),
        row("Lead", Id=lead, Title="x"),
    ]
    assert codes(api.collect("PATCH", given)) == [
        "ENTITY_IS_DELETED",
        "ENTITY_IS_DELETED",
        "CANNOT_UPDATE_CONVERTED_LEAD",
    ]


def test_all_or_none_leaves_no_trace_of_the_good_rows(world):
    sandbox, api = world
    heard = []
    sandbox.state.listeners.append(lambda *change: heard.append(change))
    before = dict(sandbox.state.stores["Contact"].rows)
    given = [row("Contact", LastName="A"), row("Contact", FirstName="B")]
    assert codes(api.collect("POST", given, allOrNone=True)) == [
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "REQUIRED_FIELD_MISSING",
    ]
    given = [row("Contact", Id=contact(1), Title="x"), row("Contact", Id=contact(2), Email="bad")]
    assert codes(api.collect("PATCH", given, allOrNone=True)) == [
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "INVALID_EMAIL_ADDRESS",
    ]
    assert sandbox.state.stores["Contact"].rows == before
    assert heard == []
    assert set(api.ids("SELECT Id FROM Contact ORDER BY SystemModstamp, Id")) == set(before)
    assert codes(api.collect("POST", [row("Contact", LastName="A")], allOrNone=True)) == [None]
    assert [after.values["LastName"] for _, _, after in heard] == ["A"]


def test_rows_are_upserted_by_their_external_id(world):
    _, api = world
    given = [row("Campaign", Winback_Key__c="a", Name="A"), row("Campaign", Winback_Key__c="b", Name="B")]
    path = "/Campaign/Winback_Key__c"
    first = api.collect("PATCH", given, path)
    assert [one["created"] for one in first] == [True, True]
    again = api.collect(
        "PATCH", [*given, row("Campaign", Winback_Key__c="a", Name="twice"), row("Campaign", Name="none")], path
    )
    assert [one.get("created") for one in again] == [False, False, None, None]
    assert codes(again) == [None, None, "DUPLICATE_VALUE", "MISSING_ARGUMENT"]
    assert [one["id"] for one in again[:2]] == [one["id"] for one in first]
    with_id = api.collect("PATCH", [row("Campaign", Winback_Key__c="a", Id=first[0]["id"], Name="x")], path)
    assert codes(with_id) == ["INVALID_FIELD"]


def test_records_are_read_together_and_null_stands_for_one_that_is_gone(world):
    _, api = world
    api.delete(f"/sobjects/Contact/{contact(2)}")
    ids = [contact(3), contact(2), record_id("Contact", 99), contact(1)[:15]]
    answer = api.post("/composite/sobjects/Contact", {"ids": ids, "fields": ["Id", "Email"]}).json()
    assert [one and one["Id"] for one in answer] == [contact(3), None, None, contact(1)]
    by_address = api.get("/composite/sobjects/Contact", params={"ids": ",".join(ids), "fields": "Id,Email"}).json()
    assert by_address == answer


def test_records_are_deleted_together(world):
    _, api = world
    ids = f"{contact(1)},{contact(1)},nonsense"
    results = api.delete("/composite/sobjects", params={"ids": ids}).json()
    assert codes(results) == [None, "ENTITY_IS_DELETED", "MALFORMED_ID"]


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", "/composite/sobjects", {"records": [row("Contact", LastName="x")] * 201}, "EXCEEDED_ID_LIMIT"),
        ("POST", "/composite/sobjects", {"records": []}, "INVALID_ARGUMENT"),
        ("POST", "/composite/sobjects", {"records": [{"LastName": "x"}]}, "INVALID_TYPE"),
        ("POST", "/composite/sobjects", {"records": ["x"]}, "JSON_PARSER_ERROR"),
        ("POST", "/composite/sobjects", [], "JSON_PARSER_ERROR"),
        ("POST", "/composite/sobjects", {"records": [row("Contact", Nope__c="x")]}, "INVALID_FIELD"),
        ("POST", "/composite/sobjects", {"records": [row("Nope", Name="x")]}, "NOT_FOUND"),
        ("PATCH", "/composite/sobjects/Contact/Email", {"records": [row("Contact", Email="x")]}, "INVALID_FIELD"),
        (
            "PATCH",
            "/composite/sobjects/Campaign/Winback_Key__c",
            {"records": [row("Contact", LastName="x")]},
            "INVALID_FIELD",
        ),
        (
            "POST",
            "/composite/sobjects",
            {"records": [row("Contact", LastName="x"), row("Account", Name="x")] * 6},
            "LIMIT_EXCEEDED",
        ),
    ],
)
def test_a_body_that_does_not_fit_is_refused_as_a_whole(world, method, path, body, code):
    answer = world[1].call(method, path, body)
    assert answer.status_code in {400, 404}
    assert answer.json()[0]["errorCode"] == code


def test_a_value_of_another_json_type_leaves_no_row_behind(world):
    sandbox, api = world
    answer = api.post("/composite/sobjects", {"records": [row("Contact", LastName="A"), row("Contact", LastName=5)]})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")
    assert len(sandbox.state.stores["Contact"]) == 12


def test_a_link_to_a_deleted_record_is_no_404(world):
    sandbox, api = world
    campaign = api.make("Campaign", Name="x")
    sandbox.state.delete(contact(1))
    answer = api.post("/sobjects/CampaignMember", {"CampaignId": campaign, "ContactId": contact(1)})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "ENTITY_IS_DELETED")


def test_an_unknown_field_may_be_a_matter_of_its_row_alone(world):
    sandbox, api = world
    sandbox.state.behave({"unknown_field_refuses_all": False})
    given = [row("Contact", LastName="A", Nope__c="x"), row("Contact", LastName="B")]
    assert codes(api.collect("POST", given)) == ["INVALID_FIELD", None]


def test_a_person_is_a_member_of_a_campaign_once(world):
    sandbox, api = world
    campaign = api.make("Campaign", Name="winback · dormant_30")
    lead = sandbox.state.insert("Lead", {"LastName": "L", "Company": "C"}).id

    def join(**who):
        return api.collect("POST", [row("CampaignMember", CampaignId=campaign, **who)])[0]

    first = join(ContactId=contact(1), Status="dormant_30")
    assert first["success"]
    again = join(ContactId=contact(1), Status="dormant_30")
    assert again["errors"] == [{"statusCode": "DUPLICATE_VALUE", "message": "Already a campaign member.", "fields": []}]
    assert join(LeadId=lead)["success"]
    assert codes([join(LeadId=lead), join(), join(ContactId=contact(2), LeadId=lead)]) == [
        "DUPLICATE_VALUE",
        "FIELD_INTEGRITY_EXCEPTION",
        "FIELD_INTEGRITY_EXCEPTION",
    ]
    moved = api.collect("PATCH", [row("CampaignMember", Id=first["id"], ContactId=contact(2))])
    assert codes(moved) == ["INVALID_FIELD_FOR_INSERT_UPDATE"]
    api.delete(f"/sobjects/CampaignMember/{first['id']}")
    assert join(ContactId=contact(1))["success"]


def test_neither_converted_leads_nor_deleted_people_join(world):
    sandbox, api = world
    campaign = api.make("Campaign", Name="x")
    lead = sandbox.state.insert("Lead", {"LastName": "L", "Company": "C"}).id
    sandbox.state.convert(lead, contact_id=contact(1))
    sandbox.state.delete(contact(2))
    given = [row("CampaignMember", CampaignId=campaign, **who) for who in ({"LeadId": lead}, {"ContactId": contact(2)})]
    assert codes(api.collect("POST", given)) == ["CANNOT_UPDATE_CONVERTED_LEAD", "ENTITY_IS_DELETED"]


def test_a_status_the_campaign_does_not_list_is_taken_unless_the_org_is_strict(world):
    sandbox, api = world
    campaign = api.make("Campaign", Name="x")
    member = api.make("CampaignMember", CampaignId=campaign, ContactId=contact(1), Status="nowhere listed")
    sandbox.state.behave({"member_status_free_text": False})
    given = [
        row("CampaignMember", Id=member, Status="Exited"),
        row("CampaignMember", Id=member, Status="sent"),
    ]
    for one, expected in zip(given, ["INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", None], strict=True):
        assert codes(api.collect("PATCH", [one])) == [expected]
    api.make("CampaignMemberStatus", CampaignId=campaign, Label="Exited", SortOrder=3)
    assert codes(api.collect("PATCH", [given[0]])) == [None]


def test_a_new_default_status_replaces_the_old_one(world):
    _, api = world
    campaign = api.make("Campaign", Name="x")
    api.make("CampaignMemberStatus", CampaignId=campaign, Label="dormant_30", SortOrder=3, IsDefault=True)
    found = api.records(f"SELECT Label, IsDefault FROM CampaignMemberStatus WHERE CampaignId = '{campaign}'")
    assert {one["Label"]: one["IsDefault"] for one in found} == {"Sent": False, "Responded": False, "dormant_30": True}
    member = api.make("CampaignMember", CampaignId=campaign, ContactId=contact(1))
    assert api.get(f"/sobjects/CampaignMember/{member}").json()["Status"] == "dormant_30"


def test_relations_may_be_named_by_external_ids(world):
    _, api = world
    api.make("Campaign", Name="x", Winback_Key__c="dormant_30")
    given = [
        row("CampaignMember", Campaign={"Winback_Key__c": "dormant_30"}, ContactId=contact(1)),
        row("CampaignMember", Campaign={"Winback_Key__c": "nobody"}, ContactId=contact(2)),
    ]
    assert codes(api.collect("POST", given)) == [None, "INVALID_FIELD"]


def test_a_locked_row_refuses_as_often_as_it_was_told(world):
    sandbox, api = world
    sandbox.state.locks.stuck = {contact(1): 2, record_id("Account", 3): -1}
    given = [row("Contact", Id=contact(number), Title="x") for number in (1, 2, 3)]
    # Contact 2 belongs to account 3.
    assert [codes(api.collect("PATCH", given)) for _ in range(3)] == [
        ["UNABLE_TO_LOCK_ROW", "UNABLE_TO_LOCK_ROW", None],
        ["UNABLE_TO_LOCK_ROW", "UNABLE_TO_LOCK_ROW", None],
        [None, "UNABLE_TO_LOCK_ROW", None],
    ]
    sandbox.state.locks.in_triggers = True
    (refused, *_) = api.collect("PATCH", [row("Contact", Id=contact(2), Title="x")])
    assert refused["errors"][0]["statusCode"] == "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
    assert "UNABLE_TO_LOCK_ROW" in refused["errors"][0]["message"]


def test_writers_of_one_parent_get_into_each_others_way(world):
    sandbox, api = world
    sandbox.state.clock.freeze()
    sandbox.state.locks.seconds = 5.0
    campaign, other = api.make("Campaign", Name="x"), api.make("Campaign", Name="y")

    def join(place, *people):
        return codes(
            api.collect("POST", [row("CampaignMember", CampaignId=place, ContactId=contact(n)) for n in people])
        )

    assert join(campaign, 1, 2) == [None, None]
    assert join(campaign, 3) == ["UNABLE_TO_LOCK_ROW"]
    assert join(other, 3) == [None]
    sandbox.advance(5.0)
    assert join(campaign, 3) == [None]


def test_rows_can_be_locked_by_chance_the_same_way_each_time(world):
    sandbox, api = world
    given = [row("Contact", Id=contact(number), Title="x") for number in range(1, 13)]

    def struck():
        sandbox.state.locks.dice.seed(7)
        sandbox.state.locks.probability = 0.5
        return codes(api.collect("PATCH", given))

    first = struck()
    assert {None, "UNABLE_TO_LOCK_ROW"} == set(first)
    assert struck() == first


def test_a_swallowed_collection_answers_nothing_and_does_nothing(world):
    sandbox, api = world
    sandbox.faults.add(Fault("no_op", path="/composite/sobjects", times=1))
    assert api.collect("PATCH", [row("Contact", Id=contact(1), Title="swallowed")]) == []
    assert sandbox.state.row(contact(1)).values["Title"] == "cto"


def test_a_repeated_creation_makes_a_second_record_but_no_second_membership(world):
    sandbox, api = world
    campaign = api.make("Campaign", Name="x")
    sandbox.faults.add(Fault("duplicate", path="/composite/sobjects", times=2))
    api.collect("POST", [row("Contact", LastName="Twin")])
    assert len(api.ids("SELECT Id FROM Contact WHERE LastName = 'Twin'")) == 2
    given = [row("CampaignMember", CampaignId=campaign, ContactId=contact(1))]
    assert codes(api.collect("POST", given)) == ["DUPLICATE_VALUE"]
    assert len(api.ids("SELECT Id FROM CampaignMember")) == 1


def test_one_rows_poison_does_not_touch_the_others(world):
    sandbox, api = world
    sandbox.state.rules.poison[contact(2)] = Poison("Rule 7 says no")
    given = [row("Contact", Id=contact(number), Title="x") for number in (1, 2, 3)]
    assert codes(api.collect("PATCH", given)) == [None, "FIELD_CUSTOM_VALIDATION_EXCEPTION", None]


def test_the_log_counts_the_rows_of_a_call(world):
    sandbox, api = world
    api.collect("PATCH", [row("Contact", Id=contact(number), Title="x") for number in (1, 2, 3)])
    last = sandbox.log.entries()[-1]
    assert (last.kind, last.rows, last.status) == ("collections", 3, 200)

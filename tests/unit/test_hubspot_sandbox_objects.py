from __future__ import annotations

import json
import threading

import pytest

from connector.errors import SettingError
from connector.model import Contact
from tests.fakes.hubspot_sandbox import Api, running


@pytest.fixture
def world():
    with running() as held:
        yield held


def test_seeded_people_are_found_under_their_own_numbers(world):
    _, api = world
    answer = api.get(
        api.contacts("/7?properties=email,role,product_user_id,associatedcompanyid,jobtitle,phone,nonsense")
    )
    assert answer.status_code == 200
    body = answer.json()
    assert body["id"] == "7"
    assert body["archived"] is False
    assert body["properties"] == {
        "email": "person7@acme.example",
        "role": "cto",
        "jobtitle": "cto",
        "product_user_id": "u-7",
        "associatedcompanyid": "2",
        "phone": None,
        "createdate": "2025-01-08T00:00:00Z",
        "hs_object_id": "7",
        "lastmodifieddate": body["updatedAt"],
    }


def test_consent_is_kept_in_the_vendors_words(world):
    sandbox, _ = world
    sandbox.seed([Contact("hubspot:50", opted_out=True, bounced=True, can_email=False), Contact("hubspot:51")], [])
    held = sandbox.state.contacts.live
    assert held["50"].properties == {
        "hs_email_optout": "true",
        "hs_email_hard_bounce_reason_enum": "UNKNOWN_USER",
        "hs_marketable_status": "false",
    }
    assert held["51"].properties == {}


def test_seeding_again_changes_only_what_differs(world):
    sandbox, _ = world
    before = dict(sandbox.state.contacts.live)
    sandbox.advance(60)
    from tests.fakes.hubspot_sandbox import people

    again = people(12)
    again[2] = Contact("hubspot:3", role="team_lead")
    sandbox.seed(again, [])
    after = sandbox.state.contacts.live
    assert [i for i in before if before[i] is not after[i]] == ["3"]
    assert after["3"].properties["role"] == "team_lead"
    assert after["3"].properties["email"] == "person3@acme.example"
    assert after["3"].updated_ms > before["3"].updated_ms


def test_seeding_keeps_deletions_and_merges(world):
    sandbox, api = world
    from datetime import UTC, datetime

    sandbox.seed(
        [
            Contact("hubspot:70", deleted_at=datetime(2026, 1, 1, tzinfo=UTC)),
            Contact("hubspot:71", merged_into="hubspot:1"),
        ],
        [],
    )
    assert api.get(api.contacts("/70")).status_code == 404
    assert [r["id"] for r in api.get(api.contacts("?archived=true")).json()["results"]] == ["70"]
    assert api.get(api.contacts("/71")).json()["id"] == "1"


@pytest.mark.parametrize("wrong", ["hubspot:abc", "git:9f3c2e1", "hubspot:1a2"])
def test_an_id_that_is_no_number_is_refused_by_name(world, wrong):
    sandbox, _ = world
    with pytest.raises(SettingError, match=wrong):
        sandbox.seed([Contact(wrong)], [])


def test_two_people_never_become_one_record(world):
    sandbox, _ = world
    with pytest.raises(SettingError, match="the same HubSpot record"):
        sandbox.seed([Contact("hubspot:user-60"), Contact("hubspot:60")], [])
    assert "60" not in sandbox.state.contacts.live


def test_attributes_become_custom_properties(world):
    sandbox, api = world
    sandbox.seed([Contact("hubspot:80", attributes={"seats_used": 3, "beta": "yes"})], [])
    body = api.get(api.contacts("/80?properties=seats_used,beta")).json()["properties"]
    assert (body["seats_used"], body["beta"]) == ("3", "yes")
    assert api.get(api.properties("/seats_used")).json()["type"] == "number"


def test_list_pages_walk_every_record_once_in_id_order(world):
    _, api = world
    seen, after = [], None
    while True:
        page = api.get(api.contacts("?limit=5" + (f"&after={after}" if after else ""))).json()
        seen += [record["id"] for record in page["results"]]
        if "paging" not in page:
            break
        after = page["paging"]["next"]["after"]
    assert seen == [str(n) for n in range(1, 13)]


def test_a_list_page_of_more_than_a_hundred_is_refused(world):
    _, api = world
    answer = api.get(api.contacts("?limit=101"))
    assert answer.status_code == 400
    assert answer.json()["category"] == "VALIDATION_ERROR"


def test_associated_companies_come_along_when_asked(world):
    _, api = world
    record = api.get(api.contacts("?limit=1&associations=companies")).json()["results"][0]
    assert {link["id"] for link in record["associations"]["companies"]["results"]} == {"2"}


def test_deleted_records_are_listed_as_archived_and_leave_their_lists(world):
    _, api = world
    list_id = api.make_list()
    api.put(api.lists(f"/{list_id}/memberships/add"), ["3", "4"])
    assert api.call("DELETE", api.contacts("/3")).status_code == 204
    assert api.call("DELETE", api.contacts("/3")).status_code == 204
    assert api.get(api.contacts("/3")).status_code == 404
    archived = api.get(api.contacts("?archived=true")).json()["results"]
    assert [(r["id"], r["archived"]) for r in archived] == [("3", True)]
    assert "archivedAt" in archived[0]
    assert [m["recordId"] for m in api.get(api.lists(f"/{list_id}/memberships")).json()["results"]] == ["4"]
    assert api.control("contacts/restore", {"ids": ["3"]}) == {"restored": ["3"]}
    assert api.get(api.contacts("/3")).json()["properties"]["email"] == "person3@acme.example"


def test_a_privacy_deletion_leaves_no_trace(world):
    sandbox, api = world
    assert (
        api.post(api.contacts("/gdpr-delete"), {"objectId": "Person4@acme.example", "idProperty": "email"}).status_code
        == 204
    )
    assert "4" not in sandbox.state.contacts.live
    assert api.get(api.contacts("?archived=true")).json()["results"] == []


def test_a_merged_id_leads_to_the_survivor_but_not_in_a_batch(world):
    sandbox, api = world
    api.make_segment_property()
    list_id = api.make_list()
    api.put(api.lists(f"/{list_id}/memberships/add"), ["2"])
    merged = api.post(api.contacts("/merge"), {"primaryObjectId": "1", "objectIdToMerge": "2"})
    assert merged.json()["properties"]["hs_merged_object_ids"] == "2"
    record = api.get(api.contacts("/2?properties=hs_additional_emails,email")).json()
    assert record["id"] == "1"
    assert record["properties"]["hs_additional_emails"] == "person2@acme.example"
    assert list(sandbox.state.lists.lists[list_id].members) == ["1"]
    patched = api.call("PATCH", api.contacts("/2"), {"properties": {"winback_segment": "cold"}})
    assert (patched.status_code, patched.json()["id"]) == (200, "1")
    answer = api.update({"2": {"winback_segment": "cold"}, "3": {"winback_segment": "cold"}})
    assert answer.status_code == 207
    assert [r["id"] for r in answer.json()["results"]] == ["3"]
    assert answer.json()["errors"][0]["context"] == {"ids": ["2"], "objectWriteTraceId": ["row-2"]}


def test_merges_chain_and_a_new_id_can_stand_for_both(world):
    _, api = world
    api.control("behaviour", {"merge_gives_new_id": True})
    first = api.post(api.contacts("/merge"), {"primaryObjectId": "1", "objectIdToMerge": "2"}).json()["id"]
    second = api.post(api.contacts("/merge"), {"primaryObjectId": "3", "objectIdToMerge": first}).json()
    assert second["id"] not in {"1", "2", "3", first}
    assert set(second["properties"]["hs_merged_object_ids"].split(";")) == {"1", "2", "3", first}
    for old in ("1", "2", "3", first):
        assert api.get(api.contacts(f"/{old}")).json()["id"] == second["id"]


def test_batch_read_names_the_missing(world):
    _, api = world
    answer = api.post(
        api.contacts("/batch/read"),
        {"inputs": [{"id": "1"}, {"id": "999"}], "properties": ["email"], "propertiesWithHistory": []},
    )
    assert answer.status_code == 207
    assert [r["id"] for r in answer.json()["results"]] == ["1"]
    assert answer.json()["numErrors"] == 1
    assert answer.json()["errors"][0]["category"] == "OBJECT_NOT_FOUND"
    assert answer.json()["errors"][0]["context"] == {"ids": ["999"]}


def test_batch_read_by_email_finds_secondary_addresses_in_any_case(world):
    _, api = world
    api.control("contacts/merge", {"primary": "1", "other": "2"})
    answer = api.post(
        api.contacts("/batch/read"),
        {
            "idProperty": "email",
            "inputs": [{"id": "PERSON2@acme.example"}],
            "properties": ["email"],
            "propertiesWithHistory": [],
        },
    )
    assert [r["id"] for r in answer.json()["results"]] == ["1"]


def test_without_trace_ids_one_bad_row_stops_the_whole_batch(world):
    sandbox, api = world
    api.make_segment_property()
    answer = api.update({"1": {"winback_segment": "cold"}, "2": {"winback_segment": "nonsense"}}, traced=False)
    assert answer.status_code == 400
    assert "winback_segment" not in sandbox.state.contacts.live["1"].properties


def test_with_trace_ids_bad_rows_are_set_aside(world):
    sandbox, api = world
    api.make_segment_property()
    answer = api.update({"1": {"winback_segment": "cold"}, "2": {"winback_segment": "nonsense"}, "999": {}})
    assert answer.status_code == 207
    body = answer.json()
    assert body["numErrors"] == 2
    assert {e["context"]["objectWriteTraceId"][0]: e["category"] for e in body["errors"]} == {
        "row-2": "VALIDATION_ERROR",
        "row-999": "OBJECT_NOT_FOUND",
    }
    assert [r["id"] for r in body["results"]] == ["1"]
    assert "objectWriteTraceId" not in body["results"][0]
    assert sandbox.state.contacts.live["1"].properties["winback_segment"] == "cold"


def test_an_unknown_property_says_so_inside_the_message(world):
    _, api = world
    answer = api.update({"1": {"no_such": "x"}}, traced=False)
    assert answer.status_code == 400
    message = answer.json()["message"]
    assert message.startswith("Property values were not valid: [")
    item = json.loads(message.split(": ", 1)[1])[0]
    assert (item["isValid"], item["error"], item["name"]) == (False, "PROPERTY_DOESNT_EXIST", "no_such")


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("hs_email_optout", "true", "READ_ONLY_VALUE"),
        ("winback_segment", "dormant_30;lost", "INVALID_OPTION"),
        ("lifecyclestage", "x" * 70_000, "INVALID_LENGTH"),
        ("email", "no address", "INVALID_EMAIL"),
        ("associatedcompanyid", "1,000", "INVALID_NUMBER"),
    ],
)
def test_values_that_do_not_fit_are_refused(world, name, value, code):
    _, api = world
    api.make_segment_property()
    answer = api.call("PATCH", api.contacts("/1"), {"properties": {name: value}})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == code


def test_an_empty_value_clears_and_moments_are_kept_in_utc(world):
    sandbox, api = world
    api.make_segment_property()
    api.post(
        api.properties(),
        {"name": "winback_at", "label": "At", "type": "datetime", "fieldType": "date", "groupName": "winback"},
    )
    api.post(
        api.properties(),
        {"name": "winback_day", "label": "Day", "type": "date", "fieldType": "date", "groupName": "winback"},
    )
    api.update(
        {"1": {"winback_segment": "cold", "winback_at": "2026-03-01T10:00:00+02:00", "winback_day": "1772323200000"}}
    )
    held = sandbox.state.contacts.live["1"].properties
    assert (held["winback_at"], held["winback_day"]) == ("2026-03-01T08:00:00Z", "2026-03-01")
    api.update({"1": {"winback_segment": ""}})
    assert "winback_segment" not in sandbox.state.contacts.live["1"].properties
    bad = api.update({"1": {"winback_day": "1772323200001"}}, traced=False)
    assert bad.json()["errors"][0]["code"] == "INVALID_DATE"


def test_the_same_id_twice_in_a_batch_is_refused(world):
    _, api = world
    answer = api.post(
        api.contacts("/batch/update"), {"inputs": [{"id": "1", "properties": {}}, {"id": "1", "properties": {}}]}
    )
    assert answer.status_code == 400
    assert "Duplicate IDs" in answer.json()["message"]


def test_a_batch_of_more_than_a_hundred_is_refused(world):
    _, api = world
    inputs = [{"id": str(n), "properties": {}} for n in range(1, 102)]
    assert api.post(api.contacts("/batch/update"), {"inputs": inputs}).status_code == 400


def test_a_batch_by_a_property_that_is_not_unique_is_refused(world):
    _, api = world
    inputs = [{"id": "1", "idProperty": "hs_object_id", "properties": {}}]
    answer = api.post(api.contacts("/batch/update"), {"inputs": inputs})
    assert answer.status_code == 400
    assert "non-unique 0-1 property hs_object_id" in answer.json()["message"]


def test_creating_somebody_who_exists_names_the_holder_even_by_secondary_address(world):
    _, api = world
    api.control("contacts/merge", {"primary": "1", "other": "2"})
    answer = api.post(api.contacts(), {"properties": {"email": "Person2@acme.example"}})
    assert answer.status_code == 409
    assert answer.json()["message"] == "Contact already exists. Existing ID: 1"


def test_upsert_tells_new_from_old(world):
    _, api = world
    inputs = [
        {
            "id": "person1@acme.example",
            "idProperty": "email",
            "properties": {"country": "NL"},
            "objectWriteTraceId": "a",
        },
        {"id": "new@acme.example", "idProperty": "email", "properties": {"country": "DE"}, "objectWriteTraceId": "b"},
    ]
    answer = api.post(api.contacts("/batch/upsert"), {"inputs": inputs})
    assert answer.status_code == 200
    assert sorted(r["new"] for r in answer.json()["results"]) == [False, True]


def test_a_poisoned_record_refuses_writes_with_words_of_its_own(world):
    sandbox, api = world
    api.make_segment_property()
    api.control("poison", {"ids": ["2"], "message": "Country is required before a segment can be set"})
    answer = api.update({str(n): {"winback_segment": "cold"} for n in (1, 2, 3)})
    assert answer.status_code == 207
    assert sorted(r["id"] for r in answer.json()["results"]) == ["1", "3"]
    assert "Country is required" in answer.json()["errors"][0]["message"]
    assert api.update({"2": {"winback_segment": "cold"}}, traced=False).status_code == 400
    sandbox.state.poison.clear()
    assert api.update({"2": {"winback_segment": "cold"}}).status_code == 200


def test_companies_are_read_like_contacts(world):
    _, api = world
    body = api.get("/crm/objects/2026-09/companies?properties=name,domain,seats,mrr").json()["results"]
    assert body[1]["properties"]["name"] == "Company 2"
    assert (body[1]["properties"]["seats"], body[1]["properties"]["mrr"]) == ("2", "21.0")
    assert "hs_lastmodifieddate" in body[1]["properties"]


def test_associations_are_read_in_both_directions(world):
    _, api = world
    companies = api.post(
        "/crm/associations/2026-09/contacts/companies/batch/read", {"inputs": [{"id": "1"}, {"id": "999"}]}
    )
    assert companies.status_code == 207
    assert companies.json()["results"][0]["to"][0]["toObjectId"] == "2"
    workers = api.post("/crm/v4/associations/companies/contacts/batch/read", {"inputs": [{"id": "2"}]}).json()[
        "results"
    ][0]
    assert [link["toObjectId"] for link in workers["to"]] == ["1", "4", "7", "10"]


def test_an_unknown_kind_or_address_is_refused(world):
    _, api = world
    assert "tickets" in api.get("/crm/objects/2026-03/tickets").json()["message"]
    assert api.get("/crm/objects/2025-09/contacts").status_code == 404
    assert api.get("/crm/objects/2025-09/contacts").json()["status"] == "error"


def test_many_threads_lose_no_write(world):
    sandbox, api = world
    api.make_segment_property()
    list_id = api.make_list()

    def work(number: int) -> None:
        own = Api(sandbox.base_url)
        for _ in range(10):
            own.update({str(number): {"winback_segment": "cold"}})
            own.put(own.lists(f"/{list_id}/memberships/add"), [str(number)])
        own.session.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sandbox.state.lists.lists[list_id].members, key=int) == [str(n) for n in range(1, 9)]
    assert sandbox.log.count("record writes") == 80
    assert sandbox.log.count("membership writes") == 80

from __future__ import annotations

from urllib.parse import quote

import pytest

from adapters.hubspot.sandbox.filters import root
from tests.fakes.hubspot_sandbox import running


@pytest.fixture
def world():
    with running() as held:
        yield held


def members(api, list_id, **query):
    rest = "&".join(f"{k}={v}" for k, v in query.items())
    return api.get(api.lists(f"/{list_id}/memberships?{rest}")).json()


def test_a_list_is_found_by_name_in_any_case(world):
    _, api = world
    made = api.make_list("winback · Dormant/30")
    found = api.get(api.lists(f"/object-type-id/0-1/name/{quote('WINBACK · dormant/30', safe='')}"))
    assert found.status_code == 200
    assert found.json()["list"]["listId"] == made
    assert api.get(api.lists("/object-type-id/0-1/name/nothing")).status_code == 404


def test_names_are_unique_until_a_list_is_deleted(world):
    _, api = world
    first = api.make_list("A")
    body = {"name": "a", "objectTypeId": "0-1", "processingType": "MANUAL"}
    refused = api.post(api.lists(), body)
    assert (refused.status_code, refused.json()["subCategory"]) == (400, "ILS.DUPLICATE_LIST_NAMES")
    assert api.call("DELETE", api.lists(f"/{first}")).status_code == 204
    assert api.get(api.lists(f"/{first}")).status_code == 404
    second = api.make_list("a")
    assert api.put(api.lists(f"/{first}/restore")).status_code == 400
    api.put(api.lists(f"/{second}/update-list-name?listName=other"))
    assert api.put(api.lists(f"/{first}/restore")).status_code == 204
    assert api.get(api.lists(f"/{first}")).json()["list"]["name"] == "A"


def test_a_deleted_list_comes_back_with_its_members_for_ninety_days(world):
    sandbox, api = world
    list_id = api.make_list()
    api.put(api.lists(f"/{list_id}/memberships/add"), ["1"])
    api.call("DELETE", api.lists(f"/{list_id}"))
    sandbox.advance(89 * 86_400)
    assert api.put(api.lists(f"/{list_id}/restore")).status_code == 204
    assert [m["recordId"] for m in members(api, list_id)["results"]] == ["1"]
    api.call("DELETE", api.lists(f"/{list_id}"))
    sandbox.advance(91 * 86_400)
    assert api.put(api.lists(f"/{list_id}/restore")).status_code == 404


def test_membership_answers_list_only_what_changed_under_the_misspelt_key(world):
    _, api = world
    list_id = api.make_list()
    first = api.put(api.lists(f"/{list_id}/memberships/add"), ["1", "2", "2", "999"]).json()
    assert first == {"recordsIdsAdded": ["1", "2"], "recordIdsRemoved": [], "recordIdsMissing": ["999"]}
    body = {"recordIdsToAdd": ["2", "3"], "recordIdsToRemove": ["1", "5"]}
    second = api.put(api.lists(f"/{list_id}/memberships/add-and-remove"), body).json()
    assert second == {"recordsIdsAdded": ["3"], "recordIdsRemoved": ["1"], "recordIdsMissing": []}
    third = api.put(api.lists(f"/{list_id}/memberships/remove"), ["3", "3", "998"]).json()
    assert third == {"recordsIdsAdded": [], "recordIdsRemoved": ["3"], "recordIdsMissing": ["998"]}


def test_both_keys_are_needed(world):
    _, api = world
    list_id = api.make_list()
    assert api.put(api.lists(f"/{list_id}/memberships/add-and-remove"), {"recordIdsToAdd": ["1"]}).status_code == 400


def test_dynamic_lists_refuse_membership_calls(world):
    _, api = world
    branch = root({"filterType": "CONSTANT", "shouldAccept": True})
    list_id = api.make_list("active", processingType="DYNAMIC", filterBranch=branch)
    for path in ("add", "remove"):
        answer = api.put(api.lists(f"/{list_id}/memberships/{path}"), ["1"])
        assert (answer.status_code, answer.json()["subCategory"]) == (400, "ListError.INVALID_LIST_PROCESSING_TYPE")
    assert api.get(api.lists(f"/{list_id}?includeFilters=true")).json()["list"]["filterBranch"] == branch


def test_members_are_paged_by_record_id_at_most_250_at_a_time():
    with running(600) as (_, api):
        list_id = api.make_list()
        api.put(api.lists(f"/{list_id}/memberships/add"), [str(n) for n in range(600, 0, -1)])
        seen, after = [], "0"
        sizes = []
        while after:
            page = members(api, list_id, limit=250, after=after)
            sizes.append(len(page["results"]))
            seen += [row["recordId"] for row in page["results"]]
            after = page.get("paging", {}).get("next", {}).get("after")
        assert sizes == [250, 250, 100]
        assert seen == [str(n) for n in range(1, 601)]
        assert len(members(api, list_id)["results"]) == 100
        assert api.get(api.lists(f"/{list_id}/memberships?limit=251")).status_code == 400


def test_members_by_join_order(world):
    sandbox, api = world
    list_id = api.make_list()
    for record_id in ("9", "3"):
        api.put(api.lists(f"/{list_id}/memberships/add"), [record_id])
        sandbox.advance(1)
    page = api.get(api.lists(f"/{list_id}/memberships/join-order")).json()
    assert [row["recordId"] for row in page["results"]] == ["9", "3"]


def test_the_lists_of_records_one_by_one_and_together(world):
    _, api = world
    first, second = api.make_list("one"), api.make_list("two")
    api.put(api.lists(f"/{first}/memberships/add"), ["1", "2"])
    api.put(api.lists(f"/{second}/memberships/add"), ["1"])
    own = api.get(api.lists("/records/0-1/1/memberships")).json()["results"]
    assert [row["listId"] for row in own] == [first, second]
    inputs = [{"objectTypeId": "0-1", "recordId": i} for i in ("2", "3")]
    both = api.post(api.lists("/records/memberships/batch/read"), {"inputs": inputs}).json()["results"]
    assert [[row["listId"] for row in item["recordListMemberships"]] for item in both] == [[first], []]


def test_lists_are_searched_by_part_of_their_name(world):
    _, api = world
    for name in ("winback · a", "winback · b", "newsletter"):
        api.make_list(name)
    body = {
        "query": "WINBACK",
        "processingTypes": [],
        "listIds": [],
        "offset": 0,
        "count": 1,
        "additionalProperties": ["hs_list_size"],
    }
    page = api.post(api.lists("/search"), body).json()
    assert (page["total"], page["hasMore"], page["offset"]) == (2, True, 1)
    assert page["lists"][0]["additionalProperties"] == {"hs_list_size": "0"}
    assert api.post(api.lists("/search"), {**body, "count": 501}).status_code == 400


def test_lists_move_between_folders_and_full_folders_stay(world):
    _, api = world
    folder = api.post(api.lists("/folders"), {"name": "winback"}).json()["folder"]["id"]
    assert api.post(api.lists("/folders"), {"name": "Winback"}).status_code == 400
    list_id = api.make_list()
    assert api.put(api.lists("/folders/move-list"), {"listId": list_id, "newFolderId": folder}).status_code == 204
    root = api.get(api.lists("/folders")).json()["folder"]
    assert (root["childNodes"][0]["name"], root["childNodes"][0]["childLists"]) == ("winback", [int(list_id)])
    assert api.call("DELETE", api.lists(f"/folders/{folder}")).status_code == 400
    api.put(api.lists("/folders/move-list"), {"listId": list_id, "newFolderId": "0"})
    inner = api.post(api.lists("/folders"), {"name": "inner", "parentFolderId": folder}).json()["folder"]["id"]
    assert api.put(api.lists(f"/folders/{folder}/move/{inner}")).status_code == 400
    assert api.call("DELETE", api.lists(f"/folders/{inner}")).status_code == 204
    assert api.call("DELETE", api.lists(f"/folders/{folder}")).status_code == 204


def test_size_lags_behind_the_members(world):
    sandbox, api = world
    sandbox.state.clock.freeze()
    api.control("behaviour", {"list_size_lag_seconds": 60})
    list_id = api.make_list()
    api.put(api.lists(f"/{list_id}/memberships/add"), ["1", "2"])
    assert api.get(api.lists(f"/{list_id}")).json()["list"]["size"] == 0
    sandbox.advance(60)
    assert api.get(api.lists(f"/{list_id}")).json()["list"]["size"] == 2


@pytest.mark.parametrize(("rule", "missing", "held"), [("missing", ["2"], []), ("survivor", [], ["1"])])
def test_merged_away_ids_in_a_membership_call(world, rule, missing, held):
    sandbox, api = world
    api.control("behaviour", {"merged_members": rule})
    api.control("contacts/merge", {"primary": "1", "other": "2"})
    list_id = api.make_list()
    answer = api.put(api.lists(f"/{list_id}/memberships/add"), ["2"]).json()
    assert answer["recordIdsMissing"] == missing
    assert list(sandbox.state.lists.lists[list_id].members) == held


def test_one_poisoned_member_refuses_the_whole_call(world):
    sandbox, api = world
    api.control("poison", {"ids": ["2"], "message": "Record 2 cannot be added", "on": "members"})
    list_id = api.make_list()
    answer = api.put(api.lists(f"/{list_id}/memberships/add"), ["1", "2", "3"])
    assert answer.status_code == 400
    assert not sandbox.state.lists.lists[list_id].members


def test_a_list_is_filled_from_another_and_emptied(world):
    sandbox, api = world
    source, target = api.make_list("a"), api.make_list("b")
    api.put(api.lists(f"/{source}/memberships/add"), ["1", "2"])
    assert api.put(api.lists(f"/{target}/memberships/add-from/{source}")).status_code == 204
    assert set(sandbox.state.lists.lists[target].members) == {"1", "2"}
    assert api.call("DELETE", api.lists(f"/{target}/memberships")).status_code == 204
    assert not sandbox.state.lists.lists[target].members

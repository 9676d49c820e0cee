from __future__ import annotations

import pytest

from tests.fakes.hubspot_sandbox import running

BY_CHANGE = [{"propertyName": "lastmodifieddate", "direction": "ASCENDING"}]


@pytest.fixture
def world():
    with running() as held:
        yield held


def filters(*given):
    return [{"filters": [dict(zip(("propertyName", "operator", "value"), item, strict=False)) for item in given]}]


def search(api, groups=(), sorts=(), **more):
    body = {"filterGroups": list(groups), "sorts": list(sorts), "properties": [], "limit": 100, "after": "0", **more}
    return api.post(api.contacts("/search"), body)


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [record["id"] for record in answer.json()["results"]]


def put(api, **updated_at):
    rows = [
        {"id": i.removeprefix("c"), "properties": {"email": f"{i}@x.example"}, "updated_at": at}
        for i, at in updated_at.items()
    ]
    api.control("contacts", {"contacts": rows})


def test_ties_are_ordered_by_id_as_text(world):
    _, api = world
    put(api, c9=1000, c10=1000, c100=1000, c8=999)
    found = ids(search(api, filters(("lastmodifieddate", "LTE", "1000")), BY_CHANGE))
    assert found == ["8", "10", "100", "9"]
    newest_first = ids(
        search(
            api,
            filters(("lastmodifieddate", "LTE", "1000")),
            [{"propertyName": "lastmodifieddate", "direction": "DESCENDING"}],
        )
    )
    assert newest_first[-1] == "8"


@pytest.mark.parametrize(
    ("operator", "value", "found"),
    [
        ("GTE", "2000", ["2", "3"]),
        ("GT", "2000", ["3"]),
        ("LT", "2000", ["1"]),
        ("LTE", "2000", ["1", "2"]),
        ("EQ", "2000", ["2"]),
        ("EQ", "1970-01-01T00:00:02Z", ["2"]),
        ("NEQ", "2000", ["1", "3"]),
    ],
)
def test_spans_of_last_change(operator, value, found):
    with running(0) as (_, api):
        put(api, c1=1000, c2=2000, c3=3000)
        assert ids(search(api, filters(("lastmodifieddate", operator, value)), BY_CHANGE)) == found


def test_between_takes_both_ends():
    with running(0) as (_, api):
        put(api, c1=1000, c2=2000, c3=3000)
        groups = [
            {
                "filters": [
                    {"propertyName": "lastmodifieddate", "operator": "BETWEEN", "value": "2000", "highValue": "3000"}
                ]
            }
        ]
        assert ids(search(api, groups, BY_CHANGE)) == ["2", "3"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"propertyName": "role", "operator": "EQ", "value": "CTO"}, ["1", "3", "5"]),
        ({"propertyName": "role", "operator": "NEQ", "value": "cto"}, ["2", "4"]),
        ({"propertyName": "role", "operator": "IN", "values": ["cto", "nobody"]}, ["1", "3", "5"]),
        ({"propertyName": "role", "operator": "IN", "values": ["CTO"]}, []),
        ({"propertyName": "role", "operator": "NOT_IN", "values": ["cto"]}, ["2", "4"]),
        ({"propertyName": "phone", "operator": "HAS_PROPERTY"}, []),
        ({"propertyName": "phone", "operator": "NOT_HAS_PROPERTY"}, ["1", "2", "3", "4", "5"]),
        ({"propertyName": "email", "operator": "CONTAINS_TOKEN", "value": "person3*"}, ["3"]),
        ({"propertyName": "firstname", "operator": "NOT_CONTAINS_TOKEN", "value": "first3"}, ["1", "2", "4", "5"]),
        ({"propertyName": "associations.company", "operator": "EQ", "value": "2"}, ["1", "4"]),
        ({"propertyName": "createdate", "operator": "LT", "value": "2025-01-04T00:00:00Z"}, ["1", "2"]),
    ],
)
def test_operators(given, found):
    with running(5) as (_, api):
        assert sorted(ids(search(api, [{"filters": [given]}]))) == found


def test_groups_are_joined_by_or():
    with running(5) as (_, api):
        groups = [*filters(("email", "EQ", "person2@acme.example")), *filters(("email", "EQ", "person4@acme.example"))]
        assert sorted(ids(search(api, groups))) == ["2", "4"]


def test_free_text_looks_into_names_and_addresses(world):
    _, api = world
    assert sorted(ids(search(api, query="last11"))) == ["11"]


@pytest.mark.parametrize(
    ("as_text", "found"), [(True, ["6", "7", "8", "9"]), (False, ["6", "7", "8", "9", "10", "11", "12"])]
)
def test_ids_are_compared_and_sorted_alike(world, as_text, found):
    _, api = world
    api.control("behaviour", {"ids_as_text": as_text})
    sorts = [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]
    assert ids(search(api, filters(("hs_object_id", "GT", "5")), sorts)) == found


@pytest.mark.parametrize("as_text", [True, False])
def test_walking_by_id_loses_nothing(as_text):
    with running(60) as (_, api):
        api.control("behaviour", {"ids_as_text": as_text})
        sorts = [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]
        seen, last = [], None
        while True:
            page = ids(search(api, filters(("hs_object_id", "GT", last)) if last else [], sorts, limit=7))
            if not page:
                break
            seen += page
            last = page[-1]
        assert sorted(seen, key=int) == [str(n) for n in range(1, 61)]
        assert len(seen) == 60


def test_values_sort_by_their_type_with_empty_ones_last(world):
    _, api = world
    rows = [{"id": "1", "properties": {"hs_email_bounce": "10"}}, {"id": "2", "properties": {"hs_email_bounce": "9"}}]
    api.control("contacts", {"contacts": rows})
    assert ids(search(api, sorts=[{"propertyName": "hs_email_bounce", "direction": "ASCENDING"}]))[:3] == [
        "2",
        "1",
        "10",
    ]


def test_pages_follow_the_cursor_and_know_the_total():
    with running(30) as (_, api):
        first = search(api, limit=12, sorts=BY_CHANGE).json()
        second = search(api, limit=12, after=first["paging"]["next"]["after"], sorts=BY_CHANGE).json()
        third = search(api, limit=12, after=second["paging"]["next"]["after"], sorts=BY_CHANGE).json()
        assert (first["total"], first["paging"]["next"]["after"]) == (30, "12")
        assert "paging" not in third
        assert len({r["id"] for page in (first, second, third) for r in page["results"]}) == 30


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 201},
        {"limit": 0},
        {"limit": 200, "after": "9801"},
        {"after": "soon"},
        {"sorts": [{"propertyName": "email"}, {"propertyName": "role"}]},
        {"sorts": [{"propertyName": "no_such"}]},
        {"filterGroups": [{"filters": [{"propertyName": "no_such", "operator": "HAS_PROPERTY"}]}]},
        {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "LIKE", "value": "x"}]}]},
        {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "EQ"}]}]},
        {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "IN"}]}]},
        {"filterGroups": [{"filters": [{"propertyName": "lastmodifieddate", "operator": "GT", "value": "yesterday"}]}]},
        {"filterGroups": [{"filters": []}] * 6},
        {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "HAS_PROPERTY"}] * 7}]},
        {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "HAS_PROPERTY"}] * 5}] * 4},
        {"properties": ["x" * 3000]},
    ],
)
def test_what_the_vendor_refuses_is_refused(world, body):
    _, api = world
    answer = api.post(api.contacts("/search"), body)
    assert answer.status_code == 400
    assert answer.json()["category"] == "VALIDATION_ERROR"


def test_the_last_page_of_the_window_is_still_served(world):
    _, api = world
    assert search(api, limit=200, after="9800").status_code == 200


def test_the_index_sees_changes_late_and_keeps_the_old_version_until_then(world):
    sandbox, api = world
    api.control("behaviour", {"search_lag_seconds": 30})
    api.control("clock", {"frozen": True})
    api.call("PATCH", api.contacts("/1"), {"properties": {"country": "NL"}})
    made = api.post(api.contacts(), {"properties": {"email": "new@acme.example"}}).json()["id"]
    api.call("DELETE", api.contacts("/2"))
    with_country = filters(("country", "EQ", "NL"))
    assert ids(search(api, with_country)) == []
    everyone = ids(search(api))
    assert made not in everyone
    assert "2" in everyone
    sandbox.advance(30)
    assert ids(search(api, with_country)) == ["1"]
    everyone = ids(search(api))
    assert made in everyone
    assert "2" not in everyone


def test_late_changes_arrive_out_of_order_but_the_newest_wins():
    with running(1) as (sandbox, api):
        sandbox.state.clock.freeze()
        api.control("behaviour", {"search_lag_seconds": 5, "search_jitter_seconds": 60})
        for n in range(20):
            sandbox.advance(1)
            api.call("PATCH", api.contacts("/1"), {"properties": {"country": f"v{n}"}})
        sandbox.advance(66)
        found = search(api, filters(("country", "EQ", "v19")), properties=["country"]).json()
        assert found["total"] == 1
        assert len(sandbox.state.contacts.index.order()) == 1


def test_a_deleted_record_never_comes_back_through_a_late_change():
    with running(1) as (sandbox, api):
        sandbox.state.clock.freeze()
        api.control("behaviour", {"search_jitter_seconds": 60})
        for n in range(10):
            api.call("PATCH", api.contacts("/1"), {"properties": {"country": f"v{n}"}})
        api.call("DELETE", api.contacts("/1"))
        sandbox.advance(61)
        assert ids(search(api)) == []

from __future__ import annotations

import pytest

from tests.fakes.salesforce_sandbox import contact, row, running


@pytest.fixture
def world():
    with running() as held:
        yield held


def ask(name, method, path, body=None):
    asked = {"referenceId": name, "method": method, "url": f"/services/data/v66.0{path}"}
    return asked if body is None else {**asked, "body": body}


def composite(api, *asked, **extra):
    answer = api.post("/composite", {"compositeRequest": list(asked), **extra})
    assert answer.status_code == 200, answer.text
    return answer.json()["compositeResponse"]


def statuses(results):
    return [one["httpStatusCode"] for one in results]


def test_later_requests_use_what_earlier_ones_answered(world):
    _, api = world
    results = composite(
        api,
        ask("list", "POST", "/sobjects/Campaign", {"Name": "winback"}),
        ask("member", "POST", "/sobjects/CampaignMember", {"CampaignId": "@{list.id}", "ContactId": contact(1)}),
        ask("found", "GET", "/query?q=SELECT+ContactId+FROM+CampaignMember+WHERE+CampaignId='@{list.id}'"),
        ask("person", "GET", "/sobjects/Contact/@{found.records[0].ContactId}?fields=Email"),
    )
    assert statuses(results) == [201, 201, 200, 200]
    assert [one["referenceId"] for one in results] == ["list", "member", "found", "person"]
    assert results[-1]["body"]["Email"] == "person1@acme.example"


def test_a_reference_to_what_failed_halts_its_request_alone(world):
    _, api = world
    results = composite(
        api,
        ask("bad", "POST", "/sobjects/Campaign", {}),
        ask("next", "POST", "/sobjects/CampaignMember", {"CampaignId": "@{bad.id}", "ContactId": contact(1)}),
        ask("good", "PATCH", f"/sobjects/Contact/{contact(1)}", {"Title": "x"}),
    )
    assert statuses(results) == [400, 400, 204]
    assert results[0]["body"][0]["errorCode"] == "REQUIRED_FIELD_MISSING"
    assert results[1]["body"][0]["errorCode"] == "PROCESSING_HALTED"


def test_all_or_none_takes_everything_back(world):
    sandbox, api = world
    results = composite(
        api,
        ask("one", "PATCH", f"/sobjects/Contact/{contact(1)}", {"Title": "x"}),
        ask("bad", "POST", "/sobjects/Contact", {}),
        ask("never", "POST", "/sobjects/Contact", {"LastName": "X"}),
        allOrNone=True,
    )
    assert [one["body"][0]["errorCode"] for one in results] == [
        "PROCESSING_HALTED",
        "REQUIRED_FIELD_MISSING",
        "PROCESSING_HALTED",
    ]
    assert sandbox.state.row(contact(1)).values["Title"] == "cto"
    assert len(sandbox.state.stores["Contact"]) == 12


def test_a_composite_is_one_call_of_the_days(world):
    sandbox, api = world
    before = sandbox.meter.used(now_ms=sandbox.state.clock.now_ms())
    composite(api, *(ask(f"r{n}", "PATCH", f"/sobjects/Contact/{contact(n)}", {"Title": "x"}) for n in range(1, 13)))
    assert sandbox.meter.used(now_ms=sandbox.state.clock.now_ms()) == before + 1


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ([ask("x", "GET", "/limits")] * 26, "LIMIT_EXCEEDED"),
        ([ask("x", "GET", "/query?q=SELECT+Id+FROM+Contact")] * 6, "LIMIT_EXCEEDED"),
        ([], "JSON_PARSER_ERROR"),
        (["x"], "JSON_PARSER_ERROR"),
    ],
)
def test_too_many_or_none_are_refused(world, asked, code):
    answer = world[1].post("/composite", {"compositeRequest": asked})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


def test_an_address_that_leads_nowhere_or_back_into_composite_is_refused_by_itself(world):
    results = composite(
        world[1],
        ask("a", "GET", "/nowhere"),
        ask("b", "POST", "/composite", {"compositeRequest": []}),
        ask("c", "POST", "/jobs/query", {}),
        ask("d", "GET", "/sobjects/Contact/nonsense"),
    )
    assert statuses(results) == [404, 400, 400, 404]


def test_a_collection_within_a_composite_keeps_its_row_results(world):
    (result,) = composite(
        world[1],
        ask("rows", "POST", "/composite/sobjects", {"records": [row("Contact", LastName="A"), row("Contact")]}),
    )
    assert [one["success"] for one in result["body"]] == [True, False]


def test_a_batch_runs_each_request_by_itself(world):
    _, api = world
    asked = [
        {"method": "PATCH", "url": f"v66.0/sobjects/Contact/{contact(1)}", "richInput": {"Title": "x"}},
        {"method": "GET", "url": "v66.0/sobjects/Contact/nonsense"},
        {"method": "GET", "url": f"v66.0/sobjects/Contact/{contact(1)}?fields=Title"},
    ]
    body = api.post("/composite/batch", {"batchRequests": asked}).json()
    assert body["hasErrors"] is True
    assert [one["statusCode"] for one in body["results"]] == [204, 404, 200]
    assert body["results"][2]["result"]["Title"] == "x"
    halted = api.post("/composite/batch", {"batchRequests": asked, "haltOnError": True}).json()
    assert [one["statusCode"] for one in halted["results"]] == [204, 404, 412]

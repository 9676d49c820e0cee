from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.fakes.hubspot_sandbox import Api, running


@pytest.fixture
def world():
    with running(3, limits=True) as held:
        held[0].state.clock.freeze()
        yield held


def test_the_ten_second_window_rolls(world):
    sandbox, api = world
    api.control("limits", {"per_10s": 3})
    path = api.contacts("/1")
    assert api.get(path).status_code == 200
    sandbox.advance(6)
    assert [api.get(path).status_code for _ in range(3)] == [200, 200, 429]
    refused = api.get(path)
    body = refused.json()
    assert (body["policyName"], body["errorType"]) == ("TEN_SECONDLY_ROLLING", "RATE_LIMIT")
    assert "Retry-After" not in refused.headers
    sandbox.advance(4)
    assert [api.get(path).status_code for _ in range(2)] == [200, 429]
    sandbox.advance(10)
    assert [api.get(path).status_code for _ in range(3)] == [200, 200, 200]


def test_every_answer_says_what_is_left_except_a_search(world):
    _, api = world
    headers = api.get(api.contacts("/1")).headers
    assert headers["X-HubSpot-RateLimit-Interval-Milliseconds"] == "10000"
    assert headers["X-HubSpot-RateLimit-Max"] == "190"
    assert headers["X-HubSpot-RateLimit-Remaining"] == "189"
    assert headers["X-HubSpot-RateLimit-Daily"] == "625000"
    assert headers["X-HubSpot-RateLimit-Daily-Remaining"] == "624999"
    searched = api.post(api.contacts("/search"), {}).headers
    assert not [name for name in searched if name.lower().startswith("x-hubspot-ratelimit")]


def test_searches_are_counted_by_the_second_and_outside_the_window(world):
    sandbox, api = world
    api.control("limits", {"per_10s": 1})
    answers = [api.post(api.contacts("/search"), {}) for _ in range(6)]
    assert [a.status_code for a in answers] == [200] * 5 + [429]
    assert answers[-1].json()["policyName"] == "SECONDLY"
    assert api.get(api.contacts("/1")).status_code == 200
    sandbox.advance(1)
    assert api.post(api.contacts("/search"), {}).status_code == 200


def test_the_day_ends_at_the_accounts_midnight(world):
    sandbox, api = world
    sandbox.state.clock.set(datetime(2026, 3, 1, 12, tzinfo=UTC))
    api.control("limits", {"per_day": 100, "timezone": "America/New_York"})
    api.get(api.contacts("/1"))
    api.control("limits", {"daily_used": 100})
    refused = api.get(api.contacts("/1"))
    assert (refused.status_code, refused.json()["policyName"]) == (429, "DAILY")
    sandbox.state.clock.set(datetime(2026, 3, 2, 4, 59, tzinfo=UTC))
    assert api.get(api.contacts("/1")).status_code == 429
    sandbox.state.clock.set(datetime(2026, 3, 2, 5, 0, tzinfo=UTC))
    assert api.get(api.contacts("/1")).status_code == 200
    usage = api.get("/account-info/2026-09/api-usage/daily/private-apps").json()["results"][0]
    assert (usage["usageLimit"], usage["currentUsage"], usage["resetsAt"]) == (100, 2, "2026-03-03T05:00:00Z")
    assert api.get("/account-info/2026-09/details").json()["utcOffset"] == "-05:00"


def test_association_reads_stand_outside_the_ten_seconds(world):
    _, api = world
    api.control("limits", {"per_10s": 1})
    path = "/crm/associations/2026-09/contacts/companies/batch/read"
    answers = [api.post(path, {"inputs": [{"id": "1"}]}).status_code for _ in range(3)]
    assert answers == [200] * 3


def test_a_refused_call_is_not_counted(world):
    sandbox, api = world
    api.control("limits", {"per_10s": 1})
    for _ in range(4):
        api.get(api.contacts("/1"))
    assert sandbox.meter.used_today == 1
    assert sandbox.log.by_status[429] == 3


def test_limits_can_be_off():
    with running(1) as (_, api):
        api.control("limits", {"per_10s": 1})
        assert [api.get(api.contacts("/1")).status_code for _ in range(3)] == [200] * 3


def test_a_wrong_token_is_refused_before_anything_else(world):
    sandbox, _ = world
    stranger = Api(sandbox.base_url, token="wrong")
    answer = stranger.get(stranger.contacts("/1"))
    stranger.session.close()
    assert (answer.status_code, answer.json()["category"]) == (401, "INVALID_AUTHENTICATION")
    assert sandbox.meter.used_today == 0


def test_a_missing_scope_is_named(world):
    _, api = world
    api.control("scopes", {"missing": ["crm.objects.contacts.write"]})
    assert api.get(api.contacts("/1")).status_code == 200
    refused = api.update({"1": {}})
    assert (refused.status_code, refused.json()["category"]) == (403, "MISSING_SCOPES")
    assert refused.json()["errors"][0]["context"]["requiredGranularScopes"] == ["crm.objects.contacts.write"]
    granted = api.post("/oauth/v2/private-apps/get/access-token-info", {"tokenKey": "x"}).json()["scopes"]
    assert "crm.objects.contacts.write" not in granted
    assert "crm.lists.write" in granted


def test_unknown_limits_are_refused(world):
    _, api = world
    assert api.post("/_sandbox/limits", {"per_week": 1}).status_code == 400

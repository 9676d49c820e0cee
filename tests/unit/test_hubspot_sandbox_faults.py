from __future__ import annotations

import time

import pytest
import requests

from adapters.hubspot.sandbox.faults import SWITCHES, faults_named
from adapters.lookalike.faults import Fault, FaultSet
from connector.errors import SettingError
from tests.fakes.hubspot_sandbox import running


@pytest.fixture
def world():
    with running(30) as held:
        yield held


def fault(api, kind, **settings):
    api.control("faults", {"faults": [{"kind": kind, **settings}]})


@pytest.mark.parametrize(("when", "done"), [("before", []), ("after", ["1"])])
def test_a_reset_before_or_after_the_work(world, when, done):
    sandbox, api = world
    list_id = api.make_list()
    fault(api, "reset", path="/memberships/add", when=when, times=1)
    with pytest.raises(requests.ConnectionError):
        api.put(api.lists(f"/{list_id}/memberships/add"), ["1"])
    assert list(sandbox.state.lists.lists[list_id].members) == done
    assert api.put(api.lists(f"/{list_id}/memberships/add"), ["1"]).status_code == 200
    assert [entry.status for entry in sandbox.log][-2:] == [0, 200]


@pytest.mark.parametrize(("when", "done"), [("before", False), ("after", True)])
def test_a_timeout_before_or_after_the_work(world, when, done):
    sandbox, api = world
    api.make_segment_property()
    fault(api, "timeout", path="/batch/update", when=when, seconds=5, calls=[1])
    with pytest.raises(requests.ReadTimeout):
        api.post(
            api.contacts("/batch/update"),
            {"inputs": [{"id": "1", "properties": {"winback_segment": "cold"}}]},
            timeout=0.3,
        )
    assert ("winback_segment" in sandbox.state.contacts.live["1"].properties) is done


@pytest.mark.timeout(60)
def test_stopping_does_not_wait_for_a_hanging_answer():
    with running(1) as (sandbox, api):
        fault(api, "timeout", seconds=200)
        with pytest.raises(requests.ReadTimeout):
            api.get(api.contacts("/1"), timeout=0.2)
        sandbox.stop()


@pytest.mark.parametrize("status", [423, 500, 502, 503, 504])
def test_error_answers_of_any_status(world, status):
    _, api = world
    fault(api, "error", status=status, times=1)
    answer = api.get(api.contacts("/1"))
    assert answer.status_code == status
    assert answer.json()["status"] == "error"
    assert api.get(api.contacts("/1")).status_code == 200


def test_an_error_after_the_work_hides_what_was_done(world):
    sandbox, api = world
    list_id = api.make_list()
    fault(api, "error", status=502, when="after", path="/memberships/")
    assert api.put(api.lists(f"/{list_id}/memberships/add"), ["1"]).status_code == 502
    assert list(sandbox.state.lists.lists[list_id].members) == ["1"]


@pytest.mark.parametrize("policy", ["DAILY", "TEN_SECONDLY_ROLLING", "SECONDLY"])
def test_a_rate_limit_of_any_policy(world, policy):
    _, api = world
    fault(api, "rate_limit", policy=policy)
    assert api.get(api.contacts("/1")).json()["policyName"] == policy


def test_a_duplicate_shows_the_second_answer(world):
    sandbox, api = world
    list_id = api.make_list()
    fault(api, "duplicate", method="PUT")
    answer = api.put(api.lists(f"/{list_id}/memberships/add"), ["1"])
    assert answer.json()["recordsIdsAdded"] == []
    assert list(sandbox.state.lists.lists[list_id].members) == ["1"]


def test_a_no_op_is_a_success_with_nothing_in_it(world):
    sandbox, api = world
    list_id = api.make_list()
    fault(api, "no_op")
    answer = api.put(api.lists(f"/{list_id}/memberships/add"), ["1"])
    assert (answer.status_code, answer.json()["recordsIdsAdded"]) == (200, [])
    assert not sandbox.state.lists.lists[list_id].members
    written = api.update({"1": {"country": "NL"}})
    assert (written.status_code, written.json()["results"]) == (200, [])
    assert "country" not in sandbox.state.contacts.live["1"].properties


def test_short_pages_still_carry_a_cursor_and_lose_nothing(world):
    _, api = world
    fault(api, "short_page")
    list_id = api.make_list()
    api.put(api.lists(f"/{list_id}/memberships/add"), [str(n) for n in range(1, 31)])
    for path, name in ((api.contacts("?limit=10"), "id"), (api.lists(f"/{list_id}/memberships?limit=10"), "recordId")):
        seen, after, sizes = [], None, []
        while True:
            page = api.get(path + (f"&after={after}" if after else "")).json()
            seen += [row[name] for row in page["results"]]
            sizes.append(len(page["results"]))
            if "paging" not in page:
                break
            after = page["paging"]["next"]["after"]
        assert seen == [str(n) for n in range(1, 31)]
        assert min(sizes[:-1]) < 10


def test_slow_is_slow(world):
    _, api = world
    fault(api, "slow", seconds=0.2)
    started = time.monotonic()
    assert api.get(api.contacts("/1")).status_code == 200
    assert time.monotonic() - started >= 0.2


def test_a_fault_strikes_at_exactly_the_named_calls(world):
    _, api = world
    fault(api, "error", status=500, path="/contacts/2$", calls=[2, 4])
    answers = []
    for _ in range(5):
        answers.append(api.get(api.contacts("/2")).status_code)
        assert api.get(api.contacts("/3")).status_code == 200
    assert answers == [200, 500, 200, 500, 200]


def test_the_same_seed_gives_the_same_bad_luck():
    def luck(seed):
        faults = FaultSet(seed=seed)
        faults.add(*faults_named(["errors", "resets"]))
        return [struck.label() if (struck := faults.strike("GET", "/x")) else None for _ in range(400)]

    assert luck(7) == luck(7)
    assert luck(7) != luck(8)
    assert any(luck(7))


def test_every_switch_makes_faults_and_an_unknown_one_is_named():
    for name in SWITCHES:
        faults_named([name])
    assert len(faults_named(["all"])) == sum(len(given) for given in SWITCHES.values())
    with pytest.raises(SettingError, match="gremlins"):
        faults_named(["gremlins"])


@pytest.mark.parametrize("settings", [{"kind": "explode"}, {"kind": "reset", "when": "during"}])
def test_faults_that_do_not_exist_are_refused(settings):
    with pytest.raises(SettingError):
        Fault(**settings)


def test_the_lag_switch_makes_the_index_late():
    with running(1, faults=("lag",)) as (sandbox, _):
        assert sandbox.state.contacts.index.lag_ms == 20_000
        assert sandbox.state.behaviour.search_jitter_seconds == 20


def test_a_download_can_break_too(world):
    sandbox, api = world
    body = {
        "exportType": "VIEW",
        "exportName": "x",
        "format": "CSV",
        "objectType": "CONTACT",
        "objectProperties": ["email"],
    }
    job = api.post("/crm/exports/2026-03/export/async", body).json()["id"]
    sandbox.advance(10)
    url = api.get(f"/crm/exports/2026-03/export/async/tasks/{job}/status").json()["result"]
    fault(api, "reset", path="/downloads/", calls=[1])
    fault(api, "error", status=503, path="/downloads/", calls=[2])
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)
    assert requests.get(url, timeout=5).status_code == 503
    assert requests.get(url, timeout=5).status_code == 200

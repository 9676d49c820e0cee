from __future__ import annotations

import gzip

import pytest
import requests

from adapters.lookalike.faults import Fault
from connector.errors import SettingError
from tests.fakes.salesforce_sandbox import contact, row, running


@pytest.fixture
def world():
    with running(limits=True) as held:
        yield held


def used(sandbox):
    return sandbox.meter.used(now_ms=sandbox.state.clock.now_ms())


def test_every_call_is_counted_and_told_of_the_login_not(world):
    sandbox, api = world
    assert used(sandbox) == 0
    answers = [api.get("/limits"), api.get("/sobjects/Contact/nonsense"), api.get("/query", params={"q": "x"})]
    assert [answer.headers["Sforce-Limit-Info"] for answer in answers] == [
        f"api-usage={number}/100000" for number in (1, 2, 3)
    ]
    assert answers[0].json()["DailyApiRequests"] == {"Max": 100_000, "Remaining": 99_999}
    api.login()
    assert used(sandbox) == 3
    sandbox.meter.per_app_max = 250
    assert api.get("/sobjects").headers["Sforce-Limit-Info"] == (
        "api-usage=4/100000; per-app-api-usage=4/250(appName=winback)"
    )


def test_when_the_days_calls_are_spent_everything_is_refused_until_they_come_back(world):
    sandbox, api = world
    sandbox.meter.configure({"daily_max": 100, "daily_used": 99}, now_ms=sandbox.state.clock.now_ms())
    assert api.get("/limits").status_code == 200
    refused = api.get("/limits")
    assert refused.status_code == 403
    assert refused.json() == [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
    assert "Retry-After" not in refused.headers
    assert sandbox.meter.refused == 1
    sandbox.meter.configure({"daily_used": 0}, now_ms=sandbox.state.clock.now_ms())
    assert api.get("/limits").status_code == 200


def test_the_day_is_the_last_24_hours(world):
    sandbox, api = world
    sandbox.state.behave({"session_seconds": 10 * 86_400})
    api.login()
    api.get("/limits")
    sandbox.advance(12 * 3600)
    api.get("/limits")
    assert used(sandbox) == 2
    sandbox.advance(12 * 3600)
    assert used(sandbox) == 1
    sandbox.advance(12 * 3600 + 900)
    assert used(sandbox) == 0


def test_limits_are_for_who_may_see_setup(world):
    sandbox, api = world
    sandbox.state.access.permissions.discard("ViewSetup")
    assert api.get("/limits").status_code == 403
    sandbox.state.access.permissions.discard("ApiEnabled")
    answer = api.get("/sobjects")
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (403, "API_DISABLED_FOR_ORG")


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("TotalRequests", "TotalRequests Limit exceeded."),
        ("ConcurrentRequests", "ConcurrentRequests (Concurrent API Requests) Limit exceeded."),
        ("ConcurrentPerOrgLongTxn", "ConcurrentPerOrgLongTxn Limit exceeded."),
    ],
)
def test_a_limit_can_strike_although_there_is_room(world, policy, said):
    sandbox, api = world
    sandbox.faults.add(Fault("rate_limit", policy=policy, times=1))
    answer = api.get("/limits")
    assert (answer.status_code, answer.json()[0]["message"]) == (403, said)
    assert api.get("/limits").status_code == 200


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "json"), (500, "json"), (503, "json"), (502, "html"), (504, "html")]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_error_answers_in_json_or_as_a_proxys_page_with_or_without_the_work_done(world, status, kind, when):
    sandbox, api = world
    sandbox.faults.add(Fault("error", method="PATCH", status=status, when=when, times=1))
    answer = api.call("PATCH", "/composite/sobjects", {"records": [row("Contact", Id=contact(1), Title="new")]})
    assert answer.status_code == status
    assert kind in answer.headers["Content-Type"]
    assert sandbox.state.row(contact(1)).values["Title"] == ("new" if when == "after" else "cto")


@pytest.mark.parametrize("kind", ["timeout", "reset"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_can_be_cut_before_or_after_the_work(world, kind, when):
    sandbox, api = world
    sandbox.faults.add(Fault(kind, method="PATCH", when=when, seconds=0.05, times=1))
    with pytest.raises(requests.ConnectionError):
        api.patch(f"/sobjects/Contact/{contact(1)}", {"Title": "new"})
    assert sandbox.state.row(contact(1)).values["Title"] == ("new" if when == "after" else "cto")
    assert sandbox.log.entries()[-1].status == 0


def test_a_page_can_come_short_and_still_go_on(world):
    sandbox, api = world
    sandbox.faults.add(Fault("short_page", path="/query", probability=1.0))
    assert len(api.ids("SELECT Id FROM Contact")) == 12


def test_a_swallowed_change_answers_as_if_it_were_done(world):
    sandbox, api = world
    sandbox.faults.add(Fault("no_op", method="PATCH", times=1))
    assert api.patch(f"/sobjects/Contact/{contact(1)}", {"Title": "new"}).status_code == 204
    assert sandbox.state.row(contact(1)).values["Title"] == "cto"


def test_a_creation_that_is_carried_out_twice_makes_two(world):
    sandbox, api = world
    sandbox.faults.add(Fault("duplicate", method="POST", path="/sobjects/Contact", times=1))
    api.make("Contact", LastName="Twin")
    assert len(api.ids("SELECT Id FROM Contact WHERE LastName = 'Twin'")) == 2


def test_every_switch_has_its_faults_and_an_unknown_one_is_named():
    with running(faults=("all",), seed=3) as (sandbox, _):
        kinds = {fault["kind"] for fault in sandbox.faults.bodies()}
        assert {"timeout", "reset", "error", "rate_limit", "slow", "duplicate", "no_op", "short_page"} == kinds
        assert sandbox.state.locks.probability > 0
        assert sandbox.state.behaviour.session_seconds == 60
    with pytest.raises(SettingError, match="no sandbox fault named nonsense"), running(faults=("nonsense",)):
        pass


def test_long_answers_are_compressed_for_who_takes_that(world):
    _, api = world
    packed = api.get("/sobjects/Contact/describe", stream=True)
    assert packed.headers["Content-Encoding"] == "gzip"
    raw = packed.raw.read(decode_content=False)
    plain = api.get("/sobjects/Contact/describe", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content) / 3


def test_the_log_names_the_call_and_masks_addresses(world):
    sandbox, api = world
    api.query("SELECT Id FROM Contact WHERE Email = 'somebody@acme.example'")
    last = sandbox.log.entries()[-1]
    assert (last.kind, last.status, last.rows) == ("queries", 200, 0)
    assert "somebody" not in last.path


def test_a_port_that_is_taken_is_named(world):
    sandbox, _ = world
    port = int(sandbox.base_url.rpartition(":")[2])
    with pytest.raises(SettingError, match=f"cannot listen on 127.0.0.1:{port}"), running(port=port):
        pass

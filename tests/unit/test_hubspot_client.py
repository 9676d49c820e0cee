"""The client's manners, against a scripted server: what it sends, what it makes of each odd answer."""

from __future__ import annotations

import subprocess
import sys

import pytest

from adapters.hubspot import versions
from adapters.hubspot.client import HubSpotClient, HubSpotRejected, MissingScopesError, VendorError
from adapters.hubspot.options import HubSpotOptions
from connector.errors import CredentialsError, OutcomeUnknown, QuotaExhausted, RetriableError
from connector.rest import Effect
from tests.fakes.connections import connect
from tests.fakes.http_server import Said, in_order, serving

TOKEN = "a-secret-token"
DAILY = {
    "status": "error",
    "message": "You have reached your daily limit.",
    "errorType": "RATE_LIMIT",
    "policyName": "DAILY",
    "correlationId": "c-1",
}


@pytest.fixture
def ask(tmp_path):
    """Make a client for a server and one call."""
    made = []

    def client(server, **options):
        settings = {"adapter": "hubspot", "base_url": server.url, "auth": {"token": TOKEN}, "timeout_seconds": 2}
        connection = connect(HubSpotOptions(**{**settings, **options}), tmp_path)
        made.append(HubSpotClient(connection))
        made[-1].connection = connection
        return made[-1]

    yield client
    for each in made:
        each.close()


def write(client, effect=Effect.REPEATABLE, **more):
    return client.call("POST", "/crm/objects/2026-03/contacts/batch/update", body={"inputs": []}, effect=effect, **more)


def test_a_call_carries_the_token_and_asks_the_budget(ask):
    with serving(in_order(Said(200, {"ok": 1}))) as server:
        client = ask(server)
        assert client.read("/x", query=[("a", 1), ("properties", "p"), ("properties", "q")]) == {"ok": 1}
    asked = server.asked[0]
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"
    assert asked.query == {"a": ["1"], "properties": ["p", "q"]}
    assert client.connection.budget.calls() == 1


def test_names_in_paths_are_quoted(ask):
    with serving(in_order(Said(200, {}))) as server:
        ask(server).read("/name/{name}", place={"name": "winback · a/b?c"})
    assert server.asked[0].path == "/name/winback%20%C2%B7%20a%2Fb%3Fc"


def test_one_connection_serves_many_calls(ask):
    ports = set()

    def answer(asked):
        return Said(200, {})

    with serving(answer) as server:
        client = ask(server)
        for _ in range(5):
            client.read("/x")
        ports = {pool.num_connections for pool in client._api.rest_client.pool_manager.pools._container.values()}
    assert ports == {1}


@pytest.mark.parametrize(
    ("policy", "meter", "pause"),
    [("SECONDLY", "search", 1.0), ("SECONDLY", "", 1.0), ("TEN_SECONDLY_ROLLING", "", 10.0)],
)
def test_too_many_calls_make_the_shared_budget_wait_by_policy(ask, policy, meter, pause):
    body = {"status": "error", "message": "too fast", "policyName": policy}
    with serving(in_order(Said(429, body), Said(200, {}))) as server:
        client = ask(server)
        write(client, meter=meter)
    assert client.connection.budget.penalties == [(meter, pause)]
    assert client.connection.clock.slept >= pause - 0.01


def test_a_429_that_says_only_category_is_a_ten_second_one_and_retry_after_wins(ask):
    with serving(
        in_order(Said(429, {"category": "RATE_LIMITS"}), Said(429, {}, {"Retry-After": "3"}), Said(200, {}))
    ) as s:
        client = ask(s)
        write(client)
    assert client.connection.budget.penalties == [("", 10.0), ("", 3.0)]


@pytest.mark.parametrize("body", [DAILY, {"message": DAILY["message"]}])
def test_the_daily_limit_stops_at_once_and_tells_the_budget(ask, body):
    with serving(in_order(Said(429, body, {"X-HubSpot-RateLimit-Daily": "250000"}))) as server:
        client = ask(server)
        with pytest.raises(QuotaExhausted, match="daily call limit"):
            write(client)
        assert len(server.asked) == 1
    assert client.connection.budget.observed[-1] == (250000, 250000)


def test_the_days_usage_is_passed_on_but_not_with_every_answer(ask):
    headers = {"X-HubSpot-RateLimit-Daily": "1000", "x-hubspot-ratelimit-daily-remaining": "900"}
    with serving(in_order(Said(200, {}, headers))) as server:
        client = ask(server)
        for _ in range(5):
            client.read("/x")
    assert client.connection.budget.observed == [(100, 1000)]


def test_a_migrating_account_is_waited_for_as_long_as_it_says(ask):
    with serving(in_order(Said(477, {}, {"Retry-After": "30"}), Said(200, {}))) as server:
        client = ask(server)
        write(client)
    assert client.connection.clock.slept >= 30


def test_a_refused_token_and_a_missing_scope_are_told_apart(ask):
    scopes = {"category": "MISSING_SCOPES", "errors": [{"context": {"requiredGranularScopes": ["crm.lists.write"]}}]}
    with serving(in_order(Said(401, {"category": "EXPIRED_AUTHENTICATION"}), Said(403, scopes))) as server:
        client = ask(server)
        with pytest.raises(CredentialsError, match="does not accept the token") as caught:
            client.read("/x")
        assert not isinstance(caught.value, MissingScopesError)
        with pytest.raises(MissingScopesError, match=r"crm\.lists\.write"):
            client.read("/x")
        assert len(server.asked) == 2


def test_no_token_says_where_to_put_one(tmp_path):
    with pytest.raises(CredentialsError, match="crm: no HubSpot token") as caught:
        HubSpotClient(connect(HubSpotOptions(adapter="hubspot"), tmp_path))
    assert "HUBSPOT_TOKEN" in caught.value.hint


@pytest.mark.parametrize("effect", list(Effect))
def test_a_lost_answer_is_repeated_only_where_that_is_harmless(ask, effect):
    with serving(in_order(Said(silent=True), Said(200, {"done": 1}))) as server:
        client = ask(server)
        if effect is Effect.ONCE:
            with pytest.raises(OutcomeUnknown):
                write(client, effect)
            assert len(server.asked) == 1
        else:
            assert write(client, effect).data == {"done": 1}


def test_a_stuck_call_is_given_up(ask):
    with serving(in_order(Said(200, {}, delay=30))) as server, pytest.raises(OutcomeUnknown):
        write(ask(server, timeout_seconds=0.2), attempts=1)


def test_a_gateway_that_answers_in_bytes_of_its_own_is_a_passing_fault(ask):
    with serving(in_order(Said(502, b"\xff\xfe<html>"), Said(200, {"ok": 1}))) as server:
        assert ask(server).read("/x") == {"ok": 1}


def test_a_page_of_html_with_status_200_is_not_taken_for_an_answer(ask):
    with serving(in_order(Said(200, b"<html>login</html>"))) as server:
        client = ask(server)
        with pytest.raises(RetriableError, match="not JSON"):
            client.read("/x", attempts=2)
        with pytest.raises(OutcomeUnknown, match="not JSON"):
            write(client, attempts=1)


def test_an_unexpected_success_status_is_still_decoded(ask):
    with serving(in_order(Said(202, {"id": "1"}), Said(207, {"errors": [1]}), Said(204))) as server:
        client = ask(server)
        assert [write(client).data for _ in range(3)] == [{"id": "1"}, {"errors": [1]}, None]


def test_redirects_are_not_followed(ask):
    with serving(in_order(Said(302, {}, {"Location": "/elsewhere"}))) as server:
        with pytest.raises(HubSpotRejected):
            ask(server).read("/x")
        assert [asked.path for asked in server.asked] == ["/x"]


def test_a_certificate_that_is_not_trusted_is_an_error_with_words(ask, tmp_path):
    with serving(in_order(Said(200, {}))) as server:
        client = ask(server, base_url=server.url.replace("http://", "https://"))
        with pytest.raises(RetriableError, match="SSL"):
            client.read("/x", attempts=1)


def test_a_refusal_keeps_the_vendors_words_and_reference_without_addresses(ask):
    body = {
        "status": "error",
        "message": "Contact already exists: ana@example.com. Existing ID: 12",
        "category": "CONFLICT",
        "subCategory": "X.Y",
        "correlationId": "c-77",
    }
    with serving(in_order(Said(409, body))) as server, pytest.raises(HubSpotRejected) as caught:
        ask(server).read("/x")
    refusal = caught.value
    assert refusal.status == 409 and refusal.vendor.category == "CONFLICT" and refusal.vendor.sub_category == "X.Y"
    assert "c-77" in str(refusal) and "Existing ID: 12" in str(refusal)
    assert "example.com" not in str(refusal) + refusal.body


@pytest.mark.parametrize("text", ["", "not json", "[]", "null", '{"errors": ["x", {"context": null}], "context": []}'])
def test_any_error_body_can_be_read(text):
    assert isinstance(VendorError.parse(text).words(), str)


def test_every_resource_has_its_path_in_every_version():
    assert versions.path("objects", "/{t}/search") == "/crm/objects/2026-03/{t}/search"
    assert versions.path("lists", "/{id}", version="2026-03") == "/crm/lists/2026-03/{id}"
    assert versions.path("lists", version="v3") == "/crm/v3/lists"
    assert versions.path("account-info", "/details", version="v3") == "/account-info/v3/details"
    assert str(versions.unsupported_from("2026-03")) == "2027-09-01"
    assert str(versions.unsupported_from("2026-09")) == "2028-03-01"


@pytest.mark.parametrize("text", ["10", "10 minutes", "-5m", "", "1w"])
def test_a_duration_without_a_clear_unit_is_refused(text):
    with pytest.raises(ValueError, match="duration"):
        HubSpotOptions(adapter="hubspot", overlap=text)


def test_durations_are_read_and_written():
    options = HubSpotOptions(adapter="hubspot", overlap="90s", export_wait="2h")
    assert (options.overlap.total_seconds(), options.export_wait.total_seconds()) == (90, 7200)
    assert options.model_dump()["overlap"] == "90s"


def test_importing_the_adapter_loads_neither_the_vendors_library_nor_arrow():
    code = (
        "import sys, adapters.hubspot; "
        "print([m for m in ('hubspot', 'pyarrow', 'duckdb', 'flask', 'requests', 'tenacity') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

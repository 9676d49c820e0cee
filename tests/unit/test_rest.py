from __future__ import annotations

import pytest

from connector.errors import (
    CredentialsError,
    OutcomeUnknown,
    ProviderError,
    QuotaExhausted,
    RejectedError,
    RetriableError,
)
from connector.rest import Effect, RestClient, retry_after
from tests.fakes.budget import CountingBudget
from tests.fakes.connections import HandClock
from tests.fakes.http_server import Said, in_order, serving


@pytest.fixture
def clock():
    return HandClock()


def client_for(server, clock, **options):
    return RestClient(server.url, clock=clock, system="acme", **options)


def test_a_passing_fault_is_tried_again_and_the_pauses_grow_with_jitter(clock):
    with serving(in_order(Said(503), Said(502), Said(200, {"ok": True}))) as server:
        assert client_for(server, clock).get("/x") == {"ok": True}
    assert len(server.asked) == 3
    assert 0 < clock.slept <= 0.5 * 2 + 0.5 * 4


def test_a_named_pause_is_kept(clock):
    with serving(in_order(Said(429, headers={"Retry-After": "7"}), Said(200, {}))) as server:
        client_for(server, clock).get("/x")
    assert clock.slept >= 7


def test_a_short_pause_is_borne_and_a_long_one_ends_the_call_where_the_caller_has_better_things_to_do(clock):
    brief, long = (Said(429, headers={"Retry-After": seconds}) for seconds in ("1", "60"))
    with serving(in_order(brief, Said(200, {}), long)) as server:
        client = client_for(server, clock, longest_wait=3)
        client.get("/x")
        waited = clock.slept
        with pytest.raises(RetriableError):
            client.get("/x")
    assert len(server.asked) == 3
    assert 1 <= waited < 3 and clock.slept == waited


def test_every_attempt_asks_the_budget(clock):
    budget = CountingBudget(clock)
    with serving(in_order(Said(500), Said(500), Said(200, {}))) as server:
        client_for(server, clock, budget=budget).get("/x")
    assert budget.calls() == 3


def test_a_spent_budget_stops_before_anything_is_sent(clock):
    with serving(in_order(Said(200, {}))) as server, pytest.raises(QuotaExhausted):
        client_for(server, clock, budget=CountingBudget(clock, per_day=0)).get("/x")
    assert server.asked == []


def test_a_write_without_an_answer_is_unknown_and_made_once(clock):
    with serving(in_order(Said(silent=True))) as server, pytest.raises(OutcomeUnknown):
        client_for(server, clock).call("POST", "/x", body={})
    assert len(server.asked) == 1


def test_a_repeatable_write_without_an_answer_is_made_again(clock):
    with serving(in_order(Said(silent=True), Said(200, {"done": 1}))) as server:
        answer = client_for(server, clock).call("POST", "/x", body={}, effect=Effect.REPEATABLE)
    assert answer.data == {"done": 1} and len(server.asked) == 2


def test_a_read_without_an_answer_is_retriable_not_unknown(clock):
    with serving(in_order(Said(silent=True))) as server, pytest.raises(RetriableError) as caught:
        client_for(server, clock, attempts=2).get("/x")
    assert not isinstance(caught.value, OutcomeUnknown)


def test_doubt_survives_a_clean_refusal_after_it(clock):
    with serving(in_order(Said(silent=True), Said(429))) as server, pytest.raises(OutcomeUnknown):
        client_for(server, clock, attempts=2).call("PUT", "/x", body={})


def test_a_slow_answer_is_given_up(clock):
    with serving(in_order(Said(200, {}, delay=5))) as server, pytest.raises(RetriableError, match="no answer"):
        client_for(server, clock, timeout_seconds=0.2, attempts=1).get("/x")


def test_a_port_nobody_listens_on_means_nothing_was_done(clock):
    with serving(in_order(Said())) as server:
        url = server.url
    with pytest.raises(RetriableError) as caught:
        RestClient(url, clock=clock, attempts=2).call("POST", "/x", body={})
    assert not isinstance(caught.value, OutcomeUnknown)


@pytest.mark.parametrize(
    ("status", "error"), [(401, CredentialsError), (403, CredentialsError), (400, RejectedError), (404, RejectedError)]
)
def test_refusals_are_told_apart_and_not_repeated(clock, status, error):
    with serving(in_order(Said(status, {"message": "no ana@example.com"}))) as server, pytest.raises(error) as caught:
        client_for(server, clock).get("/x")
    assert len(server.asked) == 1
    assert "example.com" not in str(caught.value) and "acme GET /x" in str(caught.value)


def test_redirects_are_never_followed(clock):
    with serving(in_order(Said(302, headers={"Location": "/elsewhere"}))) as server:
        with pytest.raises(RejectedError, match="redirect"):
            client_for(server, clock).get("/x")
        assert [asked.path for asked in server.asked] == ["/x"]


def test_credentials_go_to_no_other_host(clock):
    with serving(in_order(Said(200, {}))) as server:
        client = client_for(server, clock, headers={"Authorization": "Bearer sekret-sekret"})
        with pytest.raises(RejectedError, match="refused to send credentials"):
            client.get("http://127.0.0.1:1/next")
        client.get(server.url + "/next")
    assert server.asked[0].headers["Authorization"] == "Bearer sekret-sekret"


def test_something_that_is_not_json_is_an_error_and_nothing_is_none(clock):
    with serving(in_order(Said(204), Said(200, b"<html>ana@example.com</html>"))) as server:
        client = client_for(server, clock)
        assert client.get("/x") is None
        with pytest.raises(ProviderError, match="not JSON") as caught:
            client.get("/x")
        assert "ana@" not in str(caught.value)


def test_a_download_carries_no_credentials_and_leaves_the_whole_file(clock, tmp_path):
    with serving(in_order(Said(200, b"x" * 3_000_000))) as server:
        client = client_for(server, clock, headers={"Authorization": "Bearer sekret-sekret"})
        path = client.download(server.url + "/file?signature=abc", tmp_path / "file")
    assert path.stat().st_size == 3_000_000
    assert "Authorization" not in server.asked[0].headers


def test_a_download_that_broke_off_is_fetched_again(clock, tmp_path):
    with serving(in_order(Said(200, b"x" * 1000, cut=400), Said(200, b"y" * 1000))) as server:
        path = client_for(server, clock).download(server.url + "/file", tmp_path / "file")
    assert path.read_bytes() == b"y" * 1000
    assert list(tmp_path.iterdir()) == [path]


def test_an_expired_address_is_refused_without_being_repeated_in_the_error(clock, tmp_path):
    expired = Said(403, b"<Error><Signature>sig-sig-sig</Signature></Error>")
    with serving(in_order(expired)) as server, pytest.raises(RejectedError) as caught:
        client_for(server, clock).download(server.url + "/file?signature=sig-sig-sig", tmp_path / "file")
    assert "sig-sig-sig" not in str(caught.value) and "file?" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_larger_than_allowed_is_refused(clock, tmp_path):
    with serving(in_order(Said(200, b"x" * 2000))) as server, pytest.raises(RejectedError, match="larger"):
        client_for(server, clock).download(server.url + "/f", tmp_path / "f", largest_bytes=1000)
    assert list(tmp_path.iterdir()) == []


def test_people_are_not_downloaded_in_the_clear(clock, tmp_path):
    client = RestClient("https://api.example.com", clock=clock)
    with pytest.raises(RejectedError, match="https"):
        client.download("http://files.example.com/x", tmp_path / "x")


def test_retry_after_is_read_as_number_and_as_date(clock):
    assert retry_after({"retry-after": "3"}, clock) == 3
    assert retry_after({"Retry-After": "Sat, 21 Nov 2026 12:00:30 GMT"}, clock) == 30
    assert retry_after({"Retry-After": "soon"}, clock) is None
    assert retry_after({}, clock) is None

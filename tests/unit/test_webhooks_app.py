"""The web application: what it lets through, what it answers, and what it never says."""

from __future__ import annotations

import gzip
import io
import json
import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest
from flask import Blueprint

from connector.errors import StateError, TooBusy
from connector.receivers import Verdict
from tests.fakes.databases import on_both, sqlite_url  # noqa: F401 - the fixture `journal_url`
from tests.fakes.incoming import BASE_URL
from tests.fakes.web import SECRET, TINY, TinyOptions, signature, tiny_events, web
from webhooks import strict_json
from webhooks.service import Listening

PATH = "/webhooks/tiny"


@pytest.fixture
def site(tmp_path):
    with web(sqlite_url(tmp_path)) as site:
        yield site


# --- what arrives -------------------------------------------------------------------------------------------------


def test_a_delivery_is_on_disk_before_it_is_acknowledged(journal_url):
    with web(journal_url) as site:
        answer = site.post(PATH, tiny_events("a", "b"))
        assert answer.status_code == 200
        rows = {row.key: row for row in site.journal.inbox.recent()}
        assert set(rows) == {"a", "b"}
        assert rows["a"].request_id == answer.headers["X-Request-Id"]
        assert rows["a"].payload["user"] == "u1"
        assert site.woken == [1]


def test_a_delivery_that_comes_again_is_acknowledged_and_kept_once(journal_url):
    with web(journal_url) as site:
        answers = [site.post(PATH, body) for body in (tiny_events("a", "b"), tiny_events("b", "a"), tiny_events("a"))]
        assert [answer.status_code for answer in answers] == [200] * 3
        assert {answer.data for answer in answers} == {b""}
        assert site.journal.inbox.depth() == 2
        assert site.counted("tiny", "accepted") == 1
        assert site.counted("tiny", "duplicate") == 2
        assert site.woken == [1]


def test_the_same_delivery_many_times_at_once_is_kept_once(journal_url):
    with web(journal_url) as site, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: site.post(PATH, tiny_events("a")).status_code, range(24)))
        assert answers == [200] * 24
        assert site.journal.inbox.depth() == 1


def test_what_is_understood_and_not_wanted_is_acknowledged_and_counted(site):
    assert site.post(PATH, tiny_events("a", kind="renamed")).status_code == 200
    assert site.journal.inbox.depth() == 0
    assert site.counted("tiny", "ignored") == 1
    assert "winback_webhook_ignored_total{" in site.client().get("/metrics").text


@pytest.mark.parametrize(
    "body",
    [b'[ {"id":"1", "user": "\\u00e9", "type":"used"} ]\n', '[{"id":"1","user":"Zoë ☕","type":"used"}]'.encode()],
)
def test_the_signature_is_over_the_bytes_as_they_came(site, body):
    assert site.post(PATH, body).status_code == 200
    again = json.dumps(json.loads(body)).encode()
    headers = {"X-Tiny": signature(SECRET, "POST", BASE_URL + PATH, body)}
    assert site.client().post(PATH, data=again, headers=headers).status_code == 401


def test_a_vendor_that_looks_whether_the_address_is_there_finds_it(site):
    assert site.client().head(PATH).status_code == 200


@pytest.mark.parametrize(
    ("head_ok", "get_ok", "statuses"), [(True, False, (200, 405)), (True, True, (200, 200)), (False, False, (405, 405))]
)
def test_a_look_by_get_is_answered_where_the_vendor_looks_that_way(tmp_path, head_ok, get_ok, statuses):
    receiver = replace(TINY, head_ok=head_ok, get_ok=get_ok)
    with web(sqlite_url(tmp_path), {"tiny": Listening(receiver, TinyOptions(secret=SECRET))}) as site:
        for path in (PATH, f"{PATH}/any-token"):
            answers = [site.client().open(path, method=method) for method in ("HEAD", "GET")]
            assert tuple(answer.status_code for answer in answers) == statuses
        if get_ok:
            assert answers[1].data == b""
        assert site.client().get("/webhooks/typeform").status_code == 403
        assert site.journal.inbox.depth() == 0
        assert site.counted("tiny", "accepted") == 0


def test_old_and_new_secret_both_count_until_the_old_one_is_removed(tmp_path):
    for secrets, status in (((SECRET, "the-old-one"), 200), ((SECRET,), 401)):
        with web(sqlite_url(tmp_path), {"tiny": Listening(TINY, TinyOptions(secret=secrets))}) as site:
            assert site.post(PATH, tiny_events("a"), signed_as="the-old-one").status_code == status
            assert site.post(PATH, tiny_events("a")).status_code == 200


def test_the_url_is_the_public_one_with_the_query_as_it_was_sent(site):
    target = f"{PATH}?src=hs%3Aapp%2Fv3&x=%28a%29&keep=%20%26"
    assert site.post(target, tiny_events("a")).status_code == 200
    decoded = signature(SECRET, "POST", f"{BASE_URL}{PATH}?src=hs:app/v3&x=(a)&keep= &", tiny_events("a"))
    assert site.client().post(target, data=tiny_events("a"), headers={"X-Tiny": decoded}).status_code == 401


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/webhooks", "/webhooks/", "/webhooks//", "/webhooks/typeform", "/webhooks/typeform/",
        "/webhooks/typeform/a/b/c", "/webhooks/tiny/", "/webhooks//tiny", "/webhooks/%2e%2e/x", "/webhooks/é",
    ],
)  # fmt: skip
def test_no_address_of_a_vendor_ever_answers_that_it_is_gone(site, path):
    for method in ("POST", "HEAD", "GET", "PUT", "OPTIONS"):
        answer = site.client().open(path, method=method, data=b"{}")
        assert answer.status_code in {401, 403, 405}, (method, path, answer.status_code)
        assert "Location" not in answer.headers


def test_an_address_that_begins_with_two_slashes_is_none_of_ours(site):
    for url in (f"{BASE_URL}//webhooks/tiny", f"{BASE_URL}/webhooks/tiny"):
        headers = {"X-Tiny": signature(SECRET, "POST", url, tiny_events("a"))}
        called = {"PATH_INFO": "//webhooks/tiny"}
        answer = site.client().post("/", data=tiny_events("a"), headers=headers, environ_overrides=called)
        assert answer.status_code == 403


def test_a_source_that_is_not_listed_or_has_no_secret_is_refused_whatever_it_sends(tmp_path):
    with web(sqlite_url(tmp_path), {"tiny": Listening(TINY, TinyOptions(secret=""))}) as site:
        assert site.post(PATH, tiny_events("a")).status_code == 403
        assert site.post("/webhooks/typeform", tiny_events("a")).status_code == 403
        assert site.counted("tiny", "not_configured") == 1
        assert site.counted("unlisted", "unlisted") == 1


def test_a_verifier_that_fails_is_a_no(tmp_path):
    def raises(*_):
        raise TypeError("comparing strings with non-ASCII characters is not supported")

    for verify in (raises, lambda *_: None, lambda *_: True, lambda *_: Verdict(False)):
        with web(
            sqlite_url(tmp_path), {"tiny": Listening(replace(TINY, verify=verify), TinyOptions(secret="s"))}
        ) as site:
            assert site.post(PATH, tiny_events("a")).status_code == 401
            assert site.journal.inbox.depth() == 0


def test_a_header_with_foreign_letters_is_a_wrong_signature(site):
    for value in ("é" * 10, "\udcff", "☕"):
        answer = site.client().post(
            PATH, data=b"[]", headers={"X-Tiny": value.encode("utf-8", "surrogateescape").decode("latin-1")}
        )
        assert answer.status_code == 401


def test_ten_megabytes_that_nobody_signed_are_refused_unread(site, monkeypatch):
    def never(*_):
        raise AssertionError("it was parsed")

    class Unread(io.BytesIO):
        def read(self, *_):
            raise AssertionError("it was read")

        readinto = readline = read

    monkeypatch.setattr(strict_json, "loads", never)
    monkeypatch.setattr(json, "loads", never)
    sent = {"wsgi.input": Unread(), "CONTENT_LENGTH": str(10 * 1_048_576)}
    answer = site.client().post(PATH, environ_overrides=sent)
    assert answer.status_code == 413
    assert site.client().post(PATH, data=b"[" * 1_000).status_code == 401


def test_one_byte_more_than_a_mebibyte_is_too_much(site):
    body = b'[{"id":"a","type":"used","x":"' + b"y" * (1_048_576 - 33) + b'"}]'
    assert len(body) == 1_048_576
    assert site.post(PATH, body).status_code == 200
    assert site.post(PATH, body + b" ").status_code == 413


def test_a_body_without_a_length_is_read_no_further_than_the_limit(site):
    for size, status in ((1_000, 401), (1_048_577, 413)):
        answer = site.client().open(
            PATH, method="POST", input_stream=io.BytesIO(b"x" * size), environ_overrides={"wsgi.input_terminated": True}
        )
        assert answer.status_code == status


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, identity"])
def test_a_compressed_body_is_refused(site, encoding):
    body = gzip.compress(tiny_events("a"))
    assert site.post(PATH, body, headers={"Content-Encoding": encoding}).status_code == 415
    assert site.post(PATH, tiny_events("a"), headers={"Content-Encoding": "identity"}).status_code == 200


def test_headers_may_weigh_thirty_two_kibibytes(site):
    assert site.post(PATH, tiny_events("a"), headers={"X-Large": "x" * 30_000}).status_code == 200
    assert site.post(PATH, tiny_events("a"), headers={"X-Large": "x" * 32_768}).status_code == 431
    many = {f"X-{number}": "x" * 100 for number in range(400)}
    assert site.post(PATH, tiny_events("a"), headers=many).status_code == 431


@pytest.mark.parametrize("body", [b'[{"id":"a","id":"b"}]', b"[" * 33 + b"]" * 33, b"[NaN]", b"[{]", b"{}", b"[1]"])
def test_a_signed_body_that_cannot_be_read_is_the_senders_fault(site, body):
    assert site.post(PATH, body).status_code == 400
    assert site.counted("tiny", "malformed") == 1
    assert site.journal.inbox.depth() == 0


def test_only_two_methods_are_known_at_a_vendors_address(site):
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert site.client().open(PATH, method=method).status_code == 405


def test_a_request_that_calls_us_by_another_name_is_refused_except_by_probes(site):
    client = site.client()
    for host in ("evil.example", "winback.example.com.evil.example", "", "winback.example.com@evil.example", "a b"):
        named = {"Host": host}
        assert client.get("/metrics", headers=named).status_code == 400, host
        assert client.post(PATH, data=b"[]", headers=named).status_code == 400
        assert client.get("/healthz", headers=named).status_code == 200
        assert client.get("/readyz", headers=named).status_code == 200
    for host in ("winback.example.com:443", "WINBACK.example.com", "localhost:8080", "127.0.0.1", "[::1]:80"):
        assert client.get("/metrics", headers={"Host": host}).status_code == 200, host


def test_believing_everybody_counts_on_this_machine_alone(tmp_path):
    sources = {"tiny": Listening(TINY, TinyOptions(insecure_dev=True))}
    for loopback, status in ((True, 200), (False, 403)):
        with web(sqlite_url(tmp_path), sources, bound_to_loopback=loopback) as site:
            assert site.client().post(PATH, data=tiny_events("a")).status_code == status


# --- when it is too much, or something is broken --------------------------------------------------------------------


def test_a_full_inbox_sheds_load_and_loses_nothing(tmp_path):
    with web(sqlite_url(tmp_path), intake_most_waiting=2) as site:
        assert site.post(PATH, tiny_events("a", "b")).status_code == 200
        answer = site.post(PATH, tiny_events("c"))
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert site.counted("tiny", "busy") == 1
        site.journal.inbox.set_aside(1, "read")
        site.journal.inbox.set_aside(2, "read")
        site.clock.advance(2)
        assert site.post(PATH, tiny_events("c")).status_code == 200
        assert {row.key for row in site.journal.inbox.recent()} == {"a", "b", "c"}


class Broken:
    """An intake whose commits fail."""

    def __init__(self, error: Exception, *, at_once: bool = False) -> None:
        self._error, self._at_once = error, at_once

    def submit(self, _events):
        if self._at_once:
            raise self._error
        kept: Future[list[bool]] = Future()
        kept.set_exception(self._error)
        return kept


@pytest.mark.parametrize(
    ("intake", "status", "verdict"),
    [
        (Broken(StateError("journal sqlite:///x: disk I/O error")), 503, "failed"),
        (Broken(StateError("journal sqlite:///x: disk I/O error"), at_once=True), 503, None),
        (Broken(TooBusy("2000 events are waiting", retry_after_seconds=7)), 503, "busy"),
        (Broken(TooBusy("2000 events are waiting", retry_after_seconds=7), at_once=True), 503, "busy"),
        (Broken(RuntimeError("a mistake of ours")), 500, "failed"),
    ],
)
def test_a_commit_that_fails_is_never_acknowledged(tmp_path, intake, status, verdict):
    with web(sqlite_url(tmp_path), intake=intake) as site:
        answer = site.post(PATH, tiny_events("a"))
        assert answer.status_code == status
        assert answer.json["request_id"] == answer.headers["X-Request-Id"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert status != 503 or int(answer.headers["Retry-After"]) > 0
        assert verdict is None or site.counted("tiny", verdict) == 1
        assert not site.woken


def test_a_journal_that_does_not_answer_shows_in_readiness_alone(tmp_path, monkeypatch):
    with web(sqlite_url(tmp_path)) as site:

        def broken():
            raise StateError("journal sqlite:///x: disk I/O error")

        monkeypatch.setattr(site.journal.inbox, "depth", broken)
        assert site.client().get("/healthz").json == {"status": "ok", "version": "0.1.0"}
        answer = site.client().get("/readyz")
        assert answer.status_code == 503
        assert answer.json["checks"] == {"journal": False, "inbox": False, "worker": True}
        assert site.client().get("/metrics").status_code == 503


@pytest.mark.parametrize(
    ("changes", "check"), [({"worker_alive": lambda: False}, "worker"), ({"most_waiting": 0}, "inbox")]
)
def test_readiness_names_what_is_missing(tmp_path, changes, check):
    with web(sqlite_url(tmp_path), **changes) as site:
        answer = site.client().get("/readyz")
        assert answer.status_code == 503
        assert [name for name, holds in answer.json["checks"].items() if not holds] == [check]


def test_the_last_resort_says_a_request_id_and_nothing_else_and_the_process_goes_on(tmp_path, caplog):
    def failing(_service):
        pages = Blueprint("failing", __name__)

        @pages.get("/fails")
        def fails():
            raise KeyError("canary-of-a-secret")

        return pages

    with web(sqlite_url(tmp_path), blueprints=[failing]) as site, caplog.at_level(logging.ERROR, "webhooks"):
        for _ in range(1_000):
            answer = site.client().get("/fails")
            assert answer.status_code == 500
        assert set(answer.json) == {"error", "request_id"}
        assert "canary" not in answer.text and "Traceback" not in answer.text
        assert answer.json["request_id"] in caplog.text
        assert site.post(PATH, tiny_events("a")).status_code == 200


# --- what is never said -------------------------------------------------------------------------------------------


def test_a_refused_request_is_logged_without_its_body_signature_secret_or_path(site, caplog):
    with caplog.at_level(logging.DEBUG):
        site.post("/webhooks/tiny/canary-token", b'[{"id": "canary-body"}]', signed_as="canary-secret")
        site.post("/webhooks/canary-system", b"[]", signed_as="canary-secret")
        site.client().post(PATH, data=b"canary-body", headers={"X-Tiny": "canary-signature"})
        site.post(PATH, b'[{"id": "canary-body", "id": "canary-body"}]')
    assert "canary" not in caplog.text
    assert caplog.text.count("was refused") == 4
    assert "canary" not in site.client().get("/metrics").text


def test_a_flood_of_refused_requests_does_not_fill_the_log(site, caplog):
    with caplog.at_level(logging.WARNING, "webhooks"):
        for _ in range(300):
            assert site.client().post(PATH, data=b"[]").status_code == 401
    assert caplog.text.count("was refused") == 60
    assert site.counted("tiny", "bad_signature") == 300


def test_every_answer_carries_the_headers_that_keep_browsers_in_check(site):
    for path, method in (
        ("/healthz", "GET"),
        ("/nowhere", "GET"),
        (PATH, "POST"),
        ("/openapi.json", "GET"),
        (PATH, "GET"),
    ):
        headers = site.client().open(path, method=method).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Strict-Transport-Security"].startswith("max-age=")
        assert len(headers["X-Request-Id"]) == 16
        assert "Server" not in headers and "Set-Cookie" not in headers


def test_a_page_may_set_headers_of_its_own(tmp_path):
    def page(_service):
        pages = Blueprint("page", __name__)
        pages.add_url_rule("/page", "page", lambda: ("", 200, {"Content-Security-Policy": "default-src 'self'"}))
        return pages

    with web(sqlite_url(tmp_path), blueprints=[page], public_base_url="http://127.0.0.1:8080") as site:
        headers = site.app.test_client().get("/page").headers
        assert headers.getlist("Content-Security-Policy") == ["default-src 'self'"]
        assert "Strict-Transport-Security" not in headers


def test_the_metrics_are_those_that_are_promised(site):
    site.post(PATH, tiny_events("a"))
    page = site.client().get("/metrics")
    assert page.content_type.startswith("text/plain; version=0.0.4")
    for line in (
        'winback_webhook_requests_total{source="tiny",verdict="accepted"} 1.0',
        "winback_inbox_depth 1.0",
        "winback_outbox_depth 0.0",
        "winback_outbox_oldest_seconds 0.0",
        'winback_optout_propagation_seconds_bucket{le="900.0"} 0.0',
        "winback_worker_alive 1.0",
    ):
        assert line in page.text


def test_many_threads_wait_for_one_commit_each_for_its_own(tmp_path):
    barrier = threading.Barrier(16)

    def one(number):
        barrier.wait()
        return site.post(PATH, tiny_events(f"e{number}")).status_code

    with web(sqlite_url(tmp_path)) as site, ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(16))) == [200] * 16
        assert site.journal.inbox.depth() == 16

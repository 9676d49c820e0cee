"""The application behind real servers: what they pass on, whom they drop, and how they stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, nullcontext, suppress

import pytest

from connector.clock import SystemClock
from connector.journal import Journal
from tests.fakes.databases import postgres_url, sqlite_url
from tests.fakes.serving import ROOT, free_port, serving
from tests.fakes.web import SECRET, signature, tiny_events

PATH = "/webhooks/tiny"


def signed(server, body, target=PATH):
    return {"X-Tiny": signature(SECRET, "POST", f"{server.base_url}{target}", body)}


def post(server, body, target=PATH, **headers):
    answer, _ = server.ask("POST", target, body, {**signed(server, body, target), **headers})
    return answer


@pytest.fixture(scope="module")
def granian(tmp_path_factory):
    with serving("granian", sqlite_url(tmp_path_factory.mktemp("granian"))) as server:
        yield server


@pytest.mark.parametrize("name", ["granian", "waitress", "gunicorn"])
def test_every_server_passes_on_what_was_signed_and_no_name_of_its_own(name, tmp_path):
    with serving(name, sqlite_url(tmp_path)) as server:
        target = f"{PATH}?src=hs%3Aapp%2Fv3&x=%28a%29&keep=%20%26&plus=a+b&&e="
        answer = post(server, tiny_events("a"), target)
        assert answer.status == 200
        assert server.ask("POST", target, tiny_events("b"), signed(server, tiny_events("b")))[0].status == 401
        assert server.ask("HEAD", PATH)[0].status == 200
        forged = {**signed(server, tiny_events("c")), "Host": "evil.example"}
        assert server.ask("POST", PATH, tiny_events("c"), forged)[0].status == 400
        assert post(server, b"x" * 1_048_577).status == 413
        if name != "gunicorn":  # which cannot be told to keep it to itself
            assert (answer.headers["Server"] or "winback") == "winback"
        assert answer.headers["Content-Security-Policy"]


def test_our_server_passes_on_every_copy_of_a_header_and_no_look_alike(granian):
    body = tiny_events("copies")
    good = signed(granian, body)["X-Tiny"]
    for lines, status in (
        ([f"X-Tiny: {good}"], 200),
        ([f"X-Tiny: {good}", f"X-Tiny: {good}"], 401),
        ([f"X-Tiny: {good}", "X-Tiny: 0"], 401),
        (["X-Tiny: 0", f"X-Tiny: {good}"], 401),
        ([f"X_Tiny: {good}"], 401),
        ([f"X-Tiny: {good}", "X_Tiny: 0"], 200),
    ):
        assert status_of(granian, [f"Content-Length: {len(body)}", *lines], body) == status, lines


def test_a_body_in_chunks_is_read_no_further_than_the_limit(granian):
    body = tiny_events("chunks")
    chunk = b"%x\r\n%s\r\n" % (len(body), body)
    headers = ["Transfer-Encoding: chunked", f"X-Tiny: {signed(granian, body)['X-Tiny']}"]
    assert status_of(granian, headers, chunk + b"0\r\n\r\n") == 200
    many = b"%x\r\n%s\r\n" % (65_536, b"x" * 65_536) * 17
    assert status_of(granian, headers, many + b"0\r\n\r\n") == 413


def test_ten_megabytes_are_refused_before_they_are_sent(granian):
    assert status_of(granian, ["Content-Length: 10485760"], b"") == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["X-Large: " + "x" * 33_000], 431),
        (["X-Large: " + "x" * 500_000], 431),
        ([f"X-{number}: {'x' * 200}" for number in range(200)], 431),
        (["Content-Encoding: gzip"], 415),
        (["Content-Length: -1"], 400),
        (["Content-Length: 1", "Content-Length: 2"], 400),
    ],
)
def test_a_request_that_weighs_too_much_or_is_none_is_refused(granian, headers, status):
    assert status_of(granian, headers, b"") == status
    assert granian.is_up()


def status_of(server, headers, body, *, target=PATH):
    with server.connect() as connection:
        lines = [f"POST {target} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", "Connection: close", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        with suppress(BrokenPipeError, ConnectionResetError):  # It has heard enough.
            connection.sendall(body)
        answer = b""
        while b"\r\n" not in answer:
            piece = connection.recv(4_096)
            assert piece, "the connection was closed without an answer"
            answer += piece
        return int(answer.split(b" ", 2)[1])


def test_connections_that_trickle_are_dropped_and_hold_nobody_up(granian):
    """Each of these would hold a thread of a server that gives every connection one; there are three times as many."""
    half = [granian.connect() for _ in range(100)]
    for number, connection in enumerate(half):
        if number % 2:
            connection.sendall(b"POST /webhooks/tiny HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        else:
            connection.sendall(b"POST /webhooks/tiny HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n[")
    with trickling(half):
        for number in range(20):
            assert post(granian, tiny_events(f"meanwhile-{number}")).status == 200
        for connection in half:
            # Blocks until the server has had enough; were it never to, this would run into the socket's own limit.
            with connection, suppress(ConnectionResetError):
                while connection.recv(4_096):
                    pass
    assert granian.is_up()


@contextmanager
def trickling(connections):
    """A byte a second on each of them."""
    stop = threading.Event()

    def trickle():
        while not stop.wait(0.5):
            for connection in connections:
                with suppress(OSError):
                    connection.send(b"x")

    trickler = threading.Thread(target=trickle)
    trickler.start()
    try:
        yield
    finally:
        stop.set()
        trickler.join()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.postgres)])
def test_a_server_that_is_told_to_stop_finishes_what_is_under_way(workers, tmp_path):
    database = nullcontext(sqlite_url(tmp_path)) if workers == 1 else postgres_url()
    with database as url, serving("granian", url, workers=workers, beside=True) as server:
        answers = []
        asking = threading.Thread(target=lambda: answers.append(server.ask("POST", "/slow")[1]))
        asking.start()
        assert server.process.stdout is not None
        assert server.process.stdout.readline() == "slow\n"
        server.process.send_signal(signal.SIGTERM)
        asking.join()
        assert answers == [b"finished"]
        assert server.process.wait(timeout=20) == 0


def test_the_worker_beside_is_woken_and_started_again_when_it_dies(tmp_path):
    url = sqlite_url(tmp_path)
    body = json.dumps([{"id": "w1", "type": "used", "user": "worked"}]).encode()
    with serving("granian", url, beside=True) as server:
        ready = json.loads(server.ask("GET", "/readyz")[1])
        assert ready["checks"]["worker"] is True
        assert post(server, body).status == 200
        with Journal.open(url, clock=SystemClock()) as journal:
            wait_until(lambda: journal.inbox.depth() == 0)
        children = subprocess.run(
            ["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        os.kill(int(children[0]), signal.SIGKILL)
        wait_until(lambda: not json.loads(server.ask("GET", "/readyz")[1])["checks"]["worker"])
        wait_until(lambda: json.loads(server.ask("GET", "/readyz")[1])["checks"]["worker"])


def wait_until(holds):
    give_up = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.05)


@pytest.mark.postgres
def test_several_web_processes_count_together():
    with postgres_url() as url, serving("granian", url, workers=2) as server:
        for number in range(30):
            assert post(server, tiny_events(f"e{number}")).status == 200
        page = server.ask("GET", "/metrics")[1].decode()
        assert 'winback_webhook_requests_total{source="tiny",verdict="accepted"} 30.0' in page


def test_a_port_that_is_taken_is_said_in_our_words(tmp_path):
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        code = f"from webhooks.servers import run; run(lambda: 1, host='127.0.0.1', port={port})"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"cannot listen at 127.0.0.1:{port}" in done.stderr

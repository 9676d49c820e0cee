"""The web application behind real servers, in processes of their own."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

READ_SECONDS = 2
"""How long our server waits for a request in tests."""

_PROGRAM = (
    f"READ_SECONDS = {READ_SECONDS}"
    """
import sys, threading
from connector.clock import SystemClock
from connector.journal import Journal
from webhooks.beside import Beside

server, url, port, workers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
base_url = f"http://127.0.0.1:{port}"

def work(stop, woken):
    with Journal.open(url, clock=SystemClock()) as journal:
        while not stop.is_set():
            woken.wait(0.5)
            woken.clear()
            for row in journal.inbox.claim(100, lease_seconds=60, owner="test"):
                if row.payload.get("type") == "used" and row.payload.get("user") == "worked":
                    journal.inbox.set_aside(row.number, "seen by the worker")

def make(wake=lambda: None, alive=lambda: True):
    # Here: what counts must not be imported before the server says whether processes share it.
    from connector.journal.intake import Intake
    from tests.fakes.web import SECRET, TINY, TinyOptions
    from webhooks.app import create_app
    from webhooks.service import Listening, Service

    clock = SystemClock()
    journal = Journal.open(url, clock=clock)
    service = Service(
        journal=journal, intake=Intake(journal.inbox, clock), clock=clock, version="0", public_base_url=base_url,
        sources={"tiny": Listening(TINY, TinyOptions(secret=SECRET))}, wake=wake, worker_alive=alive,
    )
    app = create_app(service)

    @app.post("/slow")
    def slow():
        import time
        print("slow", flush=True)
        time.sleep(1)
        return "finished"

    return app, service

if server == "granian":
    from webhooks import servers
    beside = Beside(work, again_seconds=0.5) if "beside" in sys.argv else None
    given = (lambda: make(beside.wake, beside.alive)) if beside else make
    servers.run(given, host="127.0.0.1", port=port, workers=workers, beside=beside, read_seconds=int(sys.argv[5]))
elif server == "waitress":
    import waitress
    waitress.serve(make()[0], host="127.0.0.1", port=port, threads=4, ident=None)
else:
    from gunicorn.app.base import BaseApplication
    class Served(BaseApplication):
        def load_config(self):
            for name, value in {"bind": f"127.0.0.1:{port}", "worker_class": "gthread", "threads": 4}.items():
                self.cfg.set(name, value)
        def load(self):
            return make()[0]
    sys.argv[1:] = []
    Served().run()
"""
)


def free_port() -> int:
    """A port nobody listens at, just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, timeout: float = 30
    ):
        """One request on a connection of its own: the answer and its body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            # A server may refuse a body before all of it was sent; what it said is there to be read.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def is_up(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return bool(self.ask("GET", "/healthz", timeout=5)[0].status == 200)
        return False

    def kill(self) -> None:
        """End it and all its processes without warning."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)


def start(
    server: str,
    url: str,
    *,
    port: int | None = None,
    workers: int = 1,
    beside: bool = False,
    under: Sequence[str] = (),
) -> Server:
    """Start a server (granian, waitress, gunicorn) on a journal, and wait until it answers.

    under: A command that is given the server's, as strace is.
    """
    port = port or free_port()
    arguments = [server, url, str(port), str(workers), str(READ_SECONDS), *(["beside"] if beside else [])]
    process = subprocess.Popen(
        [*under, sys.executable, "-c", _PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    started = Server(process, port)
    give_up = time.monotonic() + 60
    while not started.is_up():
        assert process.poll() is None, f"{server} ended with {process.returncode}"
        assert time.monotonic() < give_up, f"{server} does not answer"
        time.sleep(0.02)
    return started


@contextlib.contextmanager
def serving(server: str, url: str, **options: Any) -> Iterator[Server]:
    """The same for a block."""
    started = start(server, url, **options)
    try:
        yield started
    finally:
        started.kill()
        if started.process.stdout is not None:
            started.process.stdout.close()

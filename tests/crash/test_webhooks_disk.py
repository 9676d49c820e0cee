"""A disk that fails under the whole server: senders are asked to come again, and what was acknowledged is there."""

from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from pathlib import Path

import pytest

from connector.clock import SystemClock
from connector.journal import Journal
from tests.crash.test_inbox_crash import check_undamaged, strace  # noqa: F401 - the fixture `strace`
from tests.fakes.databases import sqlite_url
from tests.fakes.serving import Server, serving
from tests.fakes.web import SECRET, signature

PATH = "/webhooks/tiny"
DELIVERIES = 24
MOST_TRIES = 200

FAULTS = [
    "fdatasync:error=EIO:when=2..6",
    "pwrite64:error=ENOSPC:when=12..40",
]
MORE_FAULTS = [
    f"{call}:error={error}:when={first}..{first + length}"
    for call, firsts in (("fdatasync", (2, 5, 13)), ("pwrite64", (5, 6, 7, 8, 9, 10, 14, 40)))
    for error in ("EIO", "ENOSPC")
    for first in firsts
    for length in (0, 1, 30)
]
"""Of each thread that writes: strace counts for each its own."""


class Sender:
    """A vendor who sends each delivery until it is acknowledged."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()
        self.statuses: list[int] = []
        self.refusals: list[tuple[Message, bytes]] = []
        self.acknowledged: set[str] = set()

    def send(self, number: int) -> None:
        """Two events, again and again; MOST_TRIES is only there to end what would never end."""
        keys = [f"{number}", f"{number}+"]
        body = json.dumps([{"id": key, "type": "used", "user": "u"} for key in keys]).encode()
        headers = {"X-Tiny": signature(SECRET, "POST", f"{self._server.base_url}{PATH}", body)}
        for _ in range(MOST_TRIES):
            answer, said = self._server.ask("POST", PATH, body, headers)
            with self._lock:
                self.statuses.append(answer.status)
                if answer.status == 200:
                    self.acknowledged.update(keys)
                    return
                self.refusals.append((answer.headers, said))
        raise AssertionError("it was never acknowledged")


@pytest.mark.parametrize(
    "fault", [*FAULTS, *(pytest.param(fault, marks=pytest.mark.soak) for fault in MORE_FAULTS)], ids=str
)
@pytest.mark.parametrize("senders", [1, pytest.param(8, marks=pytest.mark.soak)])
def test_a_disk_that_fails_makes_senders_come_again_and_loses_nothing(tmp_path, strace, fault, senders):  # noqa: F811
    url = sqlite_url(tmp_path)
    Journal.open(url, clock=SystemClock()).close()
    path = url.removeprefix("sqlite:///")
    files = [option for name in (path, f"{path}-wal") for option in ("-P", name)]
    trace = tmp_path / "trace"
    under = [strace, "-f", "-qq", "-o", str(trace), *files, "-e", "trace=fdatasync,pwrite64", "-e", f"inject={fault}"]
    deliveries = range(DELIVERIES * senders)
    with serving("granian", url, under=under) as server:
        sender = Sender(server)
        with ThreadPoolExecutor(senders) as pool:
            list(pool.map(sender.send, deliveries))
        assert server.ask("GET", "/readyz")[0].status == 200
    assert "INJECTED" in trace.read_text()
    assert set(sender.statuses) == {200, 503}, Counter(sender.statuses)
    for headers, said in sender.refusals:
        assert int(headers["Retry-After"]) > 0
        told = json.loads(said)
        assert set(told) == {"error", "request_id"}
        assert Path(path).name not in told["error"]
    with Journal.open(url, clock=SystemClock()) as journal:
        check_undamaged(journal)
        kept = Counter(row.key for row in journal.inbox.recent(1_000))
    assert sender.acknowledged == set(kept) == {f"{n}{more}" for n in deliveries for more in ("", "+")}
    assert set(kept.values()) == {1}

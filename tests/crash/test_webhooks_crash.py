"""kill -9 of the whole server under ten senders: whatever was acknowledged is there, and nothing is there twice."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from contextlib import nullcontext
from typing import Self

import pytest

from connector.clock import SystemClock
from connector.journal import Journal
from tests.fakes.databases import postgres_url, sqlite_url
from tests.fakes.serving import free_port, start
from tests.fakes.web import SECRET, signature

SENDERS = 10
PATH = "/webhooks/tiny"


class Senders:
    """Vendors that post events, note what was acknowledged, and send again whatever was not."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.acknowledged: set[str] = set()
        self.sent = Counter()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._post, args=(number,)) for number in range(SENDERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _post(self, sender: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        number = 0
        while not self._stop.is_set():
            # Some deliveries bring several events, and one of another delivery of this vendor again.
            ids = [f"{sender}-{number}", f"{sender}-{number}-b", f"{sender}-{max(0, number - 1)}"][: 1 + number % 3]
            body = json.dumps([{"id": one, "type": "used", "user": "u"} for one in ids]).encode()
            headers = {"X-Tiny": signature(SECRET, "POST", f"http://127.0.0.1:{self.port}{PATH}", body)}
            try:
                connection.request("POST", PATH, body=body, headers=headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                # Unknown: it may have been kept. As a vendor does, send the same again.
                connection.close()
                self._stop.wait(0.02)
                continue
            finally:
                self.sent[sender] += 1
            if answer.status == 200:
                self.acknowledged.update(ids)
                number += 1
            else:
                assert answer.status == 503, answer.status
        connection.close()


def survive(url: str, *, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    port = free_port()
    server = start("granian", url, port=port, beside=True)
    with Senders(port) as senders:
        for _ in range(kills):
            wanted = len(senders.acknowledged) + chance.randint(1, 120)
            wait_until(lambda wanted=wanted: len(senders.acknowledged) >= wanted)
            server.kill()
            assert server.process.stdout is not None
            server.process.stdout.close()
            server = start("granian", url, port=port, beside=True)
        wanted = len(senders.acknowledged) + 50
        wait_until(lambda: len(senders.acknowledged) >= wanted)
    server.kill()
    assert server.process.stdout is not None
    server.process.stdout.close()
    with Journal.open(url, clock=SystemClock()) as journal:
        kept = Counter(row.key for row in journal.inbox.recent(10_000_000))
    assert senders.acknowledged <= set(kept)
    assert set(kept.values()) == {1}
    # What was never acknowledged may be there: at most one delivery of each sender was under way at the end.
    assert len(set(kept) - senders.acknowledged) <= 3 * SENDERS


def wait_until(holds) -> None:
    give_up = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < give_up, "nothing is acknowledged any more"
        time.sleep(0.005)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    with nullcontext(sqlite_url(tmp_path)) if request.param == "sqlite" else postgres_url() as url:
        yield url


def test_killing_the_server_again_and_again_loses_nothing_that_was_acknowledged(url):
    survive(url, kills=5, seed=20261122)


@pytest.mark.soak
@pytest.mark.timeout(3_000)
def test_killing_the_server_a_hundred_times_loses_nothing_that_was_acknowledged(url):
    survive(url, kills=100, seed=7)

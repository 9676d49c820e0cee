"""kill -9 and failing disks under the inbox: what was acknowledged is there, once, and does what it does once."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys

import pytest
import sqlalchemy as sa

from connector.clock import SystemClock
from connector.journal import Journal
from tests.fakes.databases import fresh_url
from tests.fakes.inboxes import claim, everything, keys, settle
from tests.fakes.journals import ROOT, kill, spawn

SERVE = """
import os, sys, threading
from connector.clock import SystemClock
from connector.journal import Intake, Journal
from tests.fakes.inboxes import event, everything, settle

life = int(sys.argv[2])
clock = SystemClock()

def send(journal, intake, sender):
    for number in range(1_000_000):
        key = f"{life}-{sender}-{number}"
        # A vendor that was not answered sends again, and some send twice for no reason.
        again = [event(f"{life - 1}-{sender}-{number}")] if number % 3 == 0 else []
        intake.keep([event(key), *again, event(f"{key}+"), event(key)])
        os.write(1, f"{key}\\n{key}+\\n".encode())

def work(journal):
    while True:
        for row in journal.inbox.claim(20, owner=f"worker-{life}", lease_seconds=1):
            settle(journal, row, contact_id="hubspot:1", **everything(row.key))

with Journal.open(sys.argv[1], clock=clock) as journal:
    intake = Intake(journal.inbox, clock)
    threads = [threading.Thread(target=send, args=(journal, intake, sender)) for sender in range(10)]
    for thread in [*threads, threading.Thread(target=work, args=(journal,))]:
        thread.start()
"""

KEEP = """
import sys
from connector.clock import SystemClock
from connector.errors import StateError
from connector.journal import Intake, Journal
from tests.fakes.inboxes import claim, event, everything, settle

clock = SystemClock()
with Journal.open(sys.argv[1], clock=clock) as journal:
    intake = Intake(journal.inbox, clock)
    for number in range(8):
        try:
            intake.keep([event(str(number)), event(f"{number}+")])
            print("kept", number, flush=True)
            for row in claim(journal, 1):
                settle(journal, row, **everything(row.key))
                print("settled", row.key, flush=True)
        except StateError as error:
            print("failed", number, error, flush=True)
    intake.close()
"""


def lives(kinds, kills):
    """A long story on each kind of database is left to the soak."""
    return [
        pytest.param(kind, number, marks=[*marks, *([pytest.mark.soak] if soak else [])], id=f"{kind}-{number}")
        for kind, marks in kinds
        for number, soak in kills
    ]


@pytest.mark.parametrize(
    ("kind", "kills"), lives([("sqlite", ()), ("postgres", (pytest.mark.postgres,))], [(3, False), (100, True)])
)
@pytest.mark.timeout(1_800)
def test_no_acknowledged_event_is_lost_or_counted_twice_however_often_the_process_is_killed(tmp_path, kind, kills):
    random.seed(kills)
    acknowledged: set[str] = set()
    with fresh_url(kind, tmp_path) as url:
        Journal.open(url, clock=SystemClock()).close()
        for life in range(kills):
            acknowledged |= one_life(url, life, acknowledgements=random.randrange(5, 120))
        with Journal.open(url, clock=SystemClock(), real_clock=_Tomorrow()) as journal:
            check_undamaged(journal)
            there = {row.key for row in journal.inbox.recent(10_000_000)}
            assert acknowledged - there == set()
            for rows in iter(lambda: claim(journal, 500), []):
                for row in rows:
                    assert settle(journal, row, **everything(row.key))
            facts = keys(journal.facts.after(0, 10_000_000))
            assert sorted(facts) == sorted(f"{key}/fact" for key in there)
            assert journal.outbox.depth() == len(there)
            assert journal.inbox.counts() == {"typeform": {"done": len(there)}}


class _Tomorrow(SystemClock):
    """Whatever the dead had leased is anybody's by then."""

    def now(self):
        from datetime import timedelta

        return super().now() + timedelta(days=1)


def one_life(url: str, life: int, *, acknowledgements: int) -> set[str]:
    """Serve until so many events are acknowledged, then die without warning; which ones were."""
    process = spawn(SERVE, url, str(life))
    said: list[str] = []
    while len(said) < acknowledgements:
        line = process.stdout.readline()
        assert line, f"the server ended by itself: {process.wait()}"
        said.append(line)
    process.kill()
    said += process.stdout.read().splitlines(keepends=True)
    kill(process)
    # The last line may be cut off: then nobody was told.
    return {line.strip() for line in said if line.endswith("\n")}


def check_undamaged(journal):
    if journal._database.is_sqlite:
        with journal._database.read() as connection:
            assert connection.execute(sa.text("PRAGMA integrity_check")).scalar() == "ok"


# --- a disk that fails ----------------------------------------------------------------------------------------------

FAULTS = [
    ("fdatasync:error=EIO:when=1", "disk I/O error"),
    ("fdatasync:error=EIO:when=4", "disk I/O error"),
    ("pwrite64:error=ENOSPC:when=6", "disk is full"),
    ("pwrite64:error=ENOSPC:when=20+", "disk is full"),
]
MORE_FAULTS = [
    (f"{call}:error={error}:when={number}{ever}", "")
    for call, numbers in (("fdatasync", range(1, 16)), ("pwrite64", range(1, 90, 3)))
    for error in ("EIO", "ENOSPC")
    for number in numbers
    for ever in ("", "+")
]


@pytest.fixture(scope="module")
def strace():
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed: a failing disk cannot be played without it")
    tried = subprocess.run([found, "-qq", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace may not trace here: {tried.stderr.strip().splitlines()[-1]}")
    return found


@pytest.mark.parametrize(
    ("fault", "words"),
    [*FAULTS, *(pytest.param(*fault, marks=pytest.mark.soak) for fault in MORE_FAULTS)],
    ids=lambda value: str(value).replace(":", " "),
)
def test_a_disk_that_fails_is_said_plainly_and_loses_nothing_that_was_acknowledged(tmp_path, strace, fault, words):
    path = tmp_path / "journal.db"
    url = f"sqlite:///{path}"
    Journal.open(url, clock=SystemClock()).close()
    files = [option for name in (path, f"{path}-wal") for option in ("-P", str(name))]
    traced = [strace, "-f", "-qq", "-o", str(tmp_path / "trace"), *files, "-e", "trace=fdatasync,pwrite64"]
    done = subprocess.run(
        [*traced, "-e", f"inject={fault}", sys.executable, "-W", "error", "-c", KEEP, url],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=120,
    )
    said = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    if words:
        assert done.returncode == 0, done.stderr
        assert "INJECTED" in (tmp_path / "trace").read_text()
        failures = [line[2] for line in said if line[0] == "failed"]
        assert failures
        assert all(words in failure and str(path) in failure for failure in failures)
    assert "Traceback" not in done.stderr or "StateError" in done.stderr
    kept = {key for what, number, *_ in said if what == "kept" for key in (number, f"{number}+")}
    settled = {line[1] for line in said if line[0] == "settled"}
    if words and not fault.endswith("+"):
        assert len(kept) >= 12, "after one failure the next commits go through"
    with Journal.open(url, clock=SystemClock(), real_clock=_Tomorrow()) as journal:
        check_undamaged(journal)
        assert kept <= {row.key for row in journal.inbox.recent(100)}
        assert settled <= {row.key for row in journal.inbox.recent(100, state="done")}
        for row in claim(journal):
            assert settle(journal, row, **everything(row.key))
        there = keys(journal.inbox.recent(100, state="done"))
        assert sorted(keys(journal.facts.after(0, 100))) == sorted(f"{key}/fact" for key in there)

"""What the other commands say while a run holds the lock and the warehouse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.fakes.installation import NOON, ROOT

WRITES = "/memberships/|/batch/update"


def start(acme, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "connector.cli.main", *arguments, "--config", acme.config, "--now", NOON.isoformat()],
        cwd=ROOT, env={**os.environ, **acme.environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for_a_write(sandbox) -> None:
    deadline = time.monotonic() + 60
    while sandbox.write_count() < 1 and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.fixture
def at_work(acme, sandbox) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own that is writing, slowly."""
    assert acme.run("pull").code == 0
    sandbox.slow(2, path=WRITES)
    child = start(acme, "run", "--json")
    wait_for_a_write(sandbox)
    yield child
    child.kill()
    child.communicate(timeout=60)
    sandbox.slow(0)


def test_looking_at_the_facts_exits_7_and_says_what_to_wait_for(acme, at_work):
    assert at_work.poll() is None
    done = acme.spawn("segments", "--json")
    assert done.code == 7, done.err
    assert done.json["error"]["code"] == "Locked"
    assert "wait for" in done.err


def test_status_names_the_run_that_is_at_work(acme, at_work):
    document = acme.spawn("status", "--json").json
    assert document["runs"][0]["state"] == "running"
    assert str(at_work.pid) in document["lock"]


def test_check_does_not_take_a_run_at_work_for_an_interrupted_one(acme, at_work):
    done = acme.spawn("check")
    assert "interrupted" not in done.out
    assert f"a run is at work: process {at_work.pid}" in done.out


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_was_ended_from_outside_is_shown_as_interrupted_at_once(acme, sandbox, at_work, how):
    at_work.send_signal(how)
    at_work.wait(timeout=60)
    document = acme.spawn("status", "--json").json
    assert document["lock"] is None
    assert document["runs"][0]["state"] == "interrupted"
    assert "a run is at work" not in acme.spawn("check").out
    sandbox.slow(0)
    assert acme.run("run").code == 0


def test_a_scheduler_that_stops_a_run_gets_the_exit_code_of_ctrl_c(acme, sandbox):
    acme.run("pull")
    sandbox.slow(2, path=WRITES)
    child = start(acme, "run", "--json")
    wait_for_a_write(sandbox)
    child.terminate()
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert json.loads(out)["error"]["code"] == "Interrupted"
    assert "Traceback" not in err

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from adapters.salesforce.sandbox import CLIENT_ID, CLIENT_SECRET
from tests.fakes.salesforce_sandbox import Api

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "adapters.salesforce.sandbox"]


def test_it_runs_as_a_process_of_its_own():
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", "--seed", "3", "--faults", "slow"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        api = Api(process.stdout.readline().strip())
        told = process.stdout.readline()
        assert CLIENT_ID in told
        assert CLIENT_SECRET in told
        made = api.make("Contact", LastName="Somebody")
        assert api.ids("SELECT Id FROM Contact") == [made]
        api.session.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def test_a_wrong_switch_ends_the_process_with_code_two():
    done = subprocess.run(
        [*COMMAND, "--faults", "gremlins"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "gremlins" in done.stderr
    assert "known:" in done.stderr

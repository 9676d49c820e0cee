from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from adapters.hubspot.sandbox.running import HubSpotSandbox
from connector.contracts import Sandbox, SandboxOptions
from connector.errors import SettingError
from tests.fakes.hubspot_sandbox import Api, running

ROOT = Path(__file__).parents[2]


@pytest.fixture
def world():
    with running() as held:
        yield held


def test_it_is_a_sandbox_as_the_contract_wants(world):
    sandbox, _ = world
    held: Sandbox = sandbox
    assert held.base_url.startswith("http://127.0.0.1:")
    assert dict(held.auth) == {"token": "sandbox-token"}


def test_the_state_is_told_whole_or_in_numbers(world):
    _, api = world
    api.make_segment_property()
    folder = api.post(api.lists("/folders"), {"name": "winback"}).json()["folder"]["id"]
    list_id = api.make_list("L", listFolderId=int(folder))
    api.put(api.lists(f"/{list_id}/memberships/add"), ["10", "9"])
    short = api.get("/_sandbox/state").json()
    assert (short["contacts"], short["companies"], short["lists"]) == (12, 3, {"L": 2})
    whole = api.get("/_sandbox/state?full=1").json()
    assert whole["lists"]["L"] == {"id": list_id, "folder": "winback", "kind": "MANUAL", "members": ["9", "10"]}
    assert whole["contacts"]["1"]["email"] == "person1@acme.example"
    assert "winback_segment" in whole["properties"]


def test_the_clock_is_moved_frozen_and_set(world):
    _, api = world
    assert api.control("clock", {"frozen": True, "set": "2026-01-01T00:00:00Z"})["now"] == "2026-01-01T00:00:00+00:00"
    assert api.control("clock", {"advance_seconds": 86_400})["now"] == "2026-01-02T00:00:00+00:00"
    assert api.control("clock", {"frozen": False})["frozen"] is False


def test_a_list_edited_by_hand_drifts(world):
    sandbox, api = world
    list_id = api.make_list("By hand")
    assert api.control("members", {"list": "by hand", "add": ["1", "2"]})["members"] == 2
    assert api.control("members", {"list": list_id, "remove": ["1"]})["removed"] == ["1"]
    assert list(sandbox.state.lists.lists[list_id].members) == ["2"]


def test_a_person_edits_even_a_poisoned_record(world):
    sandbox, api = world
    api.control("poison", {"ids": ["1"]})
    api.control("contacts/edit", {"id": "1", "properties": {"country": "NL"}})
    assert sandbox.state.contacts.live["1"].properties["country"] == "NL"
    assert "1" in sandbox.state.poison


def test_reset_forgets_everything(world):
    sandbox, api = world
    api.make_segment_property()
    api.make_list()
    api.control("faults", {"switches": ["resets"]})
    assert api.control("reset")["contacts"] == 0
    assert not sandbox.state.lists.lists
    assert sandbox.faults.bodies() == []
    assert api.get(api.properties("/winback_segment")).status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("behaviour", {"lag": 3}),
        ("faults", {"switches": ["gremlins"]}),
        ("contacts/edit", {}),
        ("contacts/edit", {"id": "999", "properties": {}}),
        ("members", {"list": "nothing"}),
    ],
)
def test_a_wrong_control_call_says_why(world, path, body):
    _, api = world
    answer = api.post(f"/_sandbox/{path}", body)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_the_log_counts_by_class_and_masks_addresses(world):
    sandbox, api = world
    api.get(api.contacts("/person1@acme.example?idProperty=email"))
    api.get(api.contacts("/person1%40acme.example?idProperty=email"))
    api.update({"1": {"country": "NL"}, "2": {"country": "NL"}})
    api.get("/nothing/here")
    told = api.get("/_sandbox/log?limit=3").json()
    assert told["by_kind"] == {"record reads": 2, "record writes": 1, "unknown": 1}
    assert told["by_status"] == {"200": 3, "404": 1}
    assert [entry["rows"] for entry in told["entries"]] == [0, 2, 0]
    assert "acme.example" not in str([entry.body() for entry in sandbox.log])
    assert sandbox.log.count("record reads", "record writes") == 3
    assert api.call("DELETE", "/_sandbox/log").json() == {"total": 0}


def test_control_calls_cost_nothing(world):
    sandbox, api = world
    api.get("/_sandbox/state")
    api.get("/")
    assert (sandbox.log.total, sandbox.meter.used_today) == (0, 0)


def test_connections_stay_open(world):
    sandbox, api = world
    for _ in range(3):
        api.get(api.contacts("/1"))
    assert len(sandbox._server._open) == 1


def test_stopping_twice_is_harmless_and_frees_the_port():
    sandbox = HubSpotSandbox(SandboxOptions())
    sandbox.stop()
    sandbox.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(sandbox.base_url, timeout=2)


def test_a_taken_port_is_named():
    with running(0) as (sandbox, _):
        port = int(sandbox.base_url.rpartition(":")[2])
        with pytest.raises(SettingError, match=str(port)):
            HubSpotSandbox(SandboxOptions(port=port))


def test_it_runs_as_a_process_of_its_own():
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "adapters.hubspot.sandbox",
            "--port",
            "0",
            "--print-url",
            "--seed",
            "3",
            "--faults",
            "slow",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        api = Api(process.stdout.readline().strip())
        api.control("contacts", {"contacts": [{"properties": {"email": "a@acme.example"}}]})
        assert len(api.get(api.contacts()).json()["results"]) == 1
        assert api.get("/_sandbox/faults").json()["faults"][0]["kind"] == "slow"
        api.session.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def test_a_wrong_switch_ends_the_process_with_code_two():
    done = subprocess.run(
        [sys.executable, "-m", "adapters.hubspot.sandbox", "--faults", "gremlins"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "gremlins" in done.stderr

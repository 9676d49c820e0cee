"""`winback webhooks`, as whoever sets a source up uses it: addresses to paste, a sample to see arrive, what came in, again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import requests

from connector.demo.live import free_port
from tests.cli.test_program import day, run, with_program
from tests.fakes.installation import NOON, ROOT, Installation

TOKEN = "4f1c0b9e7a6d5832c1e0f9b8a7d6c5e4"
SECRETS = {
    "TYPEFORM_SECRET": "5" * 8 + "typeform-secret",
    "SEGMENT_SECRET": "segment-secret-0123456789",
    "ZIGPOLL": TOKEN,
}

WEBHOOKS = """\
links: {public_base_url: "https://winback.example.com", destinations: {home: "https://app.example.com"}}

webhooks:
  public_base_url: https://winback.example.com
  sources:
    typeform: {secret: "${TYPEFORM_SECRET}", questions: {why: reason}}
    segment: {secret: "${SEGMENT_SECRET}"}
    zigpoll: {token: "${ZIGPOLL}"}
    hubspot: {client_secret: "${SEGMENT_SECRET}", portal_id: 12345}

"""


@pytest.fixture
def listening(acme) -> Installation:
    with_program(acme)
    text = acme.config.read_text()
    acme.config.write_text(text.replace("guards:", f"{WEBHOOKS}guards:"))
    acme.environment.update(SECRETS)
    return acme


@pytest.fixture
def address(listening) -> Iterator[str]:
    """`winback serve` in a process of its own, up."""
    port = free_port()
    log = (listening.folder / "serve.log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "connector.cli.main", "serve", "--port", str(port), "--config", listening.config,
         "--now", NOON.isoformat()],
        cwd=ROOT, env={**os.environ, **listening.environment}, stdout=log, stderr=log,
    )  # fmt: skip
    here = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if requests.get(f"{here}/readyz", timeout=1).ok:
                break
        except requests.RequestException:
            time.sleep(0.1)
    yield here
    server.terminate()
    code = server.wait(timeout=30)
    log.close()
    assert code == 0, (listening.folder / "serve.log").read_text()


def test_the_addresses_are_the_public_ones_and_end_with_the_secret_where_nothing_is_signed(listening):
    urls = listening.run("webhooks", "urls", "--json").json["urls"]
    assert urls["typeform"] == "https://winback.example.com/webhooks/typeform"
    assert urls["zigpoll"] == f"https://winback.example.com/webhooks/zigpoll/{TOKEN}"
    assert urls["hubspot evaluate"] == "https://winback.example.com/triggers/hubspot/evaluate"
    shown = listening.run("webhooks", "urls")
    assert shown.code == 0 and "https://winback.example.com/webhooks/segment" in shown.out


def test_a_playbook_without_webhooks_says_what_to_add(acme):
    done = acme.run("webhooks", "urls", "--json")
    assert done.code == 2
    assert "webhooks:" in done.json["error"]["hint"]


def test_a_sample_arrives_is_worked_on_and_can_be_repeated_without_counting_twice(listening, address, sandbox):
    run(listening, 0)
    done = listening.run("webhooks", "test", "typeform", "--contact", "u45", "--to", address, "--json")
    assert done.code == 0, done.err
    assert done.json["status"] == 200
    assert done.json["delivery"]["source"] == "typeform"
    assert done.json["delivery"]["state"] == "done", done.out
    (line,) = listening.run("webhooks", "list", "--json").json["deliveries"]
    assert {"id", "source", "key", "received_at", "state", "effect"} <= line.keys()
    assert listening.run("webhooks", "replay", str(line["id"]), "--json").json["replayed"] == 1
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        (again,) = listening.run("webhooks", "list", "--json").json["deliveries"]
        if again["state"] != "waiting":
            break
        time.sleep(0.2)
    assert again["state"] in {"done", "ignored"}
    assert requests.get(f"{address}/openapi.json", timeout=5).json()["openapi"].startswith("3.")


def test_a_server_with_another_secret_refuses_and_the_command_says_so(listening, address):
    listening.environment["TYPEFORM_SECRET"] = "another-secret-0123456789"
    done = listening.run("webhooks", "test", "typeform", "--to", address)
    assert done.code == 2
    assert "401" in done.err and "secret" in done.err
    assert not listening.run("webhooks", "list", "--json").json["deliveries"]


def test_nobody_answering_is_said_with_the_next_step(listening):
    done = listening.run("webhooks", "test", "typeform", "--to", f"http://127.0.0.1:{free_port()}")
    assert done.code == 2
    assert "winback serve" in done.err


def test_a_source_that_is_not_listed_is_named_with_those_that_are(listening):
    done = listening.run("webhooks", "test", "stripe", "--to", "http://127.0.0.1:1")
    assert done.code == 2
    assert "typeform" in done.err


def test_repeating_needs_to_be_told_what(listening):
    done = listening.run("webhooks", "replay")
    assert done.code == 2
    assert "--since" in done.err


def test_work_once_does_what_is_due_and_ends(listening):
    run(listening, 0)
    done = listening.run("work", "--once", "--json", now=day(0))
    assert done.code == 0, done.err
    assert done.json["drained"]["done"] == 0

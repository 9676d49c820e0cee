"""kill -9 at every step of `winback run`: the next run ends where an undisturbed one would have."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from connector.failpoints import DECIDING, FAILPOINTS
from tests.fakes.databases import postgres_url
from tests.fakes.installation import Installation
from tests.fakes.people import people, usage

KILLED = -signal.SIGKILL
IN_A_RUN = [name for name in FAILPOINTS if not name.startswith(("recover.", "relay.")) and name not in DECIDING]
WANTED = {
    "winback · dormant_30": {str(1000 + n) for n in range(31, 40)},
    "winback · dormant_60": {str(1000 + n) for n in range(41, 50)},
    "winback · dormant_90": {str(1000 + n) for n in range(51, 60)},
    "winback · leads": {"1031", "1041", "1051"},
}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def crashing(request, tmp_path, sandbox) -> Iterator[Installation]:
    """An installation whose journal is on SQLite or PostgreSQL and whose lists take a few calls to fill."""
    with ExitStack() as stack:
        journal = "sqlite:///state/journal.db"
        if request.param == "postgresql":
            journal = stack.enter_context(postgres_url())
        sandbox.seed(people(), ())
        installation = Installation(tmp_path / "acme", sandbox.base_url, sandbox.auth["token"], journal=journal)
        installation.write_playbook(
            (
                "destinations:\n  crm: {adapter: hubspot,",
                "destinations:\n  crm: {adapter: hubspot, members_per_call: 4,",
            )
        )
        installation.write_usage(usage())
        yield installation


def everything_is_as_wanted(installation: Installation, sandbox) -> None:
    done = installation.run("run", "--json")
    assert done.code == 0, done.err
    assert {name: set(ids) for name, ids in sandbox.members_by_list().items()} == WANTED
    values = sandbox.dump()["contacts"]
    assert {row_id for row_id, row in values.items() if row} == set().union(*WANTED.values())
    assert all(row["winback_segment"] for row in values.values() if row)
    again = installation.run("run", "--json")
    assert again.json["written"] == 0
    status = installation.run("status", "--json").json
    assert status["unresolved"] == 0
    assert status["lock"] is None


def nothing_was_made_twice(sandbox) -> None:
    """Lists and properties are found by name before they are made, whatever was lost on the way."""
    made = [entry["path"] for entry in sandbox.log() if entry["method"] == "POST" and entry["status"] in (200, 201)]
    lists = [path for path in made if path.rstrip("/").split("/")[-2:-1] == ["lists"]]
    assert len(lists) <= len(WANTED)
    assert len([path for path in made if path.endswith("/folders")]) <= 1


NEAR = ("apply.intended", "apply.sent", "apply.recorded", "apply.confirmed")
"""Between these something could be lost or done twice; the others are for soak."""


def sweep() -> Iterator[Any]:
    """The failpoints around a write on one of the databases, which take turns; all on both for soak."""
    for number, failpoint in enumerate(IN_A_RUN):
        for place, database in enumerate(("sqlite", "postgresql")):
            soak = [] if failpoint in NEAR and place == number % 2 else [pytest.mark.soak]
            marks = [pytest.mark.postgres, *soak] if place else soak
            yield pytest.param(database, failpoint, id=f"{database}-{failpoint}", marks=marks)


@pytest.mark.parametrize(("crashing", "failpoint"), list(sweep()), indirect=["crashing"])
def test_a_kill_at_this_point_is_made_good_by_the_next_run(crashing, sandbox, failpoint):
    killed = crashing.spawn("run", WINBACK_FAILPOINT=failpoint)
    assert killed.code == KILLED, killed.err
    everything_is_as_wanted(crashing, sandbox)
    nothing_was_made_twice(sandbox)


def seeds() -> Iterator[Any]:
    yield pytest.param("postgresql", 0, marks=pytest.mark.postgres)
    for seed in range(100, 140):
        yield pytest.param("sqlite", seed, marks=pytest.mark.soak)
        yield pytest.param("postgresql", seed, marks=[pytest.mark.postgres, pytest.mark.soak])


@pytest.mark.parametrize(("crashing", "seed"), list(seeds()), indirect=["crashing"])
def test_kills_at_random_points_under_faults_are_made_good(crashing, sandbox, seed):
    chance = random.Random(seed)
    sandbox.faults("reset", "error", "timeout", share=0.03, seed=seed)
    for _ in range(4):
        crashing.spawn("run", WINBACK_FAILPOINT=f"*:{chance.randint(1, 60)}")
    sandbox.faults()
    everything_is_as_wanted(crashing, sandbox)
    nothing_was_made_twice(sandbox)


@pytest.mark.soak
@pytest.mark.parametrize("crashing", ["sqlite"], indirect=True)
def test_a_kill_while_recovering_is_made_good_too(crashing, sandbox):
    assert crashing.spawn("run", WINBACK_FAILPOINT="apply.sent:3").code == KILLED
    for failpoint in ("recover.read_back", "recover.settled"):
        crashing.spawn("run", WINBACK_FAILPOINT=failpoint)
    everything_is_as_wanted(crashing, sandbox)

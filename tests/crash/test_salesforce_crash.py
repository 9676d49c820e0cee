"""kill -9 at every point of a run beside a Salesforce org: the next run makes it good."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.cli.test_salesforce_story import WANTED
from tests.crash.test_run_crash import IN_A_RUN, KILLED, NEAR
from tests.fakes.databases import postgres_url
from tests.fakes.installation import Installation
from tests.fakes.people import usage
from tests.fakes.salesforce_crm import SalesforceCrm

DESTINATION = "destinations:\n  crm: {adapter: salesforce,"


@pytest.fixture
def org() -> Iterator[SalesforceCrm]:
    crm = SalesforceCrm()
    yield crm
    crm.stop()


@pytest.fixture
def crashing(request, tmp_path, org) -> Iterator[Installation]:
    """An installation whose journal is on SQLite or PostgreSQL and whose lists take a few calls to fill."""
    with ExitStack() as stack:
        journal = "sqlite:///state/journal.db"
        if request.param == "postgresql":
            journal = stack.enter_context(postgres_url())
        installation = org.installed(tmp_path / "acme", journal=journal)
        installation.write_playbook((DESTINATION, f"{DESTINATION} members_per_call: 4,"))
        installation.write_usage(usage())
        yield installation


def everything_is_as_wanted(installation: Installation, org: SalesforceCrm) -> None:
    done = installation.run("run", "--json")
    assert done.code == 0, done.err
    assert org.members_by_list() == WANTED
    values = org.values()
    assert {number for number, held in values.items() if held} == set().union(*WANTED.values())
    assert all(held["winback_segment"] for held in values.values() if held)
    assert org.made_twice() == []
    again = installation.run("run", "--json")
    assert again.json["written"] == 0
    status = installation.run("status", "--json").json
    assert status["unresolved"] == 0
    assert status["lock"] is None


def sweep() -> Iterator[Any]:
    """The failpoints around a write on one of the databases, which take turns; all on both for soak."""
    for number, failpoint in enumerate(IN_A_RUN):
        for place, database in enumerate(("sqlite", "postgresql")):
            soak = [] if failpoint in NEAR and place == number % 2 else [pytest.mark.soak]
            marks = [pytest.mark.postgres, *soak] if place else soak
            yield pytest.param(database, failpoint, id=f"{database}-{failpoint}", marks=marks)


@pytest.mark.parametrize(("crashing", "failpoint"), list(sweep()), indirect=["crashing"])
def test_a_kill_at_this_point_is_made_good_by_the_next_run(crashing, org, failpoint):
    killed = crashing.spawn("run", WINBACK_FAILPOINT=failpoint)
    assert killed.code == KILLED, killed.err
    everything_is_as_wanted(crashing, org)


def seeds() -> Iterator[Any]:
    for seed in range(100, 120):
        yield pytest.param("sqlite", seed, marks=pytest.mark.soak)


@pytest.mark.parametrize(("crashing", "seed"), list(seeds()), indirect=["crashing"])
def test_kills_at_random_points_under_faults_are_made_good(crashing, org, seed):
    chance = random.Random(seed)
    org.faults("reset", "error", "timeout", share=0.03, seed=seed)
    for _ in range(4):
        crashing.spawn("run", WINBACK_FAILPOINT=f"*:{chance.randint(1, 60)}")
    org.faults()
    everything_is_as_wanted(crashing, org)

"""Fixtures every test may ask for: a sandbox of HubSpot and a winback installation beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

from connector.journal import engine, migrate
from tests.fakes import migrations, statements
from tests.fakes.crm import Crm
from tests.fakes.installation import Installation

TOLD_ONCE = ("tests/cli/test_demo.py", "tests/cli/test_simulate.py", "tests/unit/test_warehouse_devplatform.py")
"""Files whose tests look at one long story: one worker tells it, and runs all of them."""

LONG = (*TOLD_ONCE, "tests/property/test_program_machine.py", "tests/crash/test_run_crash.py")
"""They begin first, so that at the end no worker is left alone with them."""


class _StoriesTogether(LoadScopeScheduling):
    """Every test goes to whichever worker is free, but those of a story go together.

    pytest-xdist's own `loadgroup` does this with marks; 3.8 cannot set them under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file in TOLD_ONCE else nodeid


def pytest_configure():
    migrate._upgrade = migrations.once_for_all
    for make in statements.REAL:
        setattr(engine, make.__name__, statements.compiled_once(make))


@pytest.fixture
def real_migrations(monkeypatch):
    """For tests of the migrations themselves."""
    monkeypatch.setattr(migrate, "_upgrade", migrations.REAL)


def pytest_xdist_make_scheduler(config, log):
    return _StoriesTogether(config, log)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture
def sandbox() -> Iterator[Crm]:
    """A HubSpot sandbox in this process, without rate limits."""
    crm = Crm()
    yield crm
    crm.stop()


@pytest.fixture
def acme(tmp_path: Path, sandbox) -> Installation:
    """An installation with sixty people whose silence is known; see `tests.fakes.people`."""
    from tests.fakes.people import people, usage

    sandbox.seed(people(), ())
    installation = Installation(tmp_path / "acme", sandbox.base_url, sandbox.auth["token"])
    installation.write_usage(usage())
    return installation

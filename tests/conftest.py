"""Fixtures every test may ask for: a sandbox of HubSpot and a winback installation beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.crm import Crm
from tests.fakes.installation import Installation


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

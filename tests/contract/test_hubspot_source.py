from __future__ import annotations

import pytest

from tests.contract.source_suite import SourceSuite
from tests.fakes.hubspot_worlds import HubSpotWorld


class TestContactsByExport(SourceSuite):
    @pytest.fixture
    def world(self, tmp_path, monkeypatch):
        monkeypatch.setattr("adapters.hubspot.export.ROWS_PER_PAGE", 120)
        monkeypatch.setattr("adapters.hubspot.source.ROWS_PER_PAGE", 60)
        world = HubSpotWorld(tmp_path, contacts=430, companies=20)
        world.state.behave({"export_rows_per_part": 150, "export_zip_above_bytes": 1000})
        yield world
        world.stop()


class TestContactsByList(SourceSuite):
    @pytest.fixture
    def world(self, tmp_path, monkeypatch):
        monkeypatch.setattr("adapters.hubspot.source.ROWS_PER_PAGE", 100)
        world = HubSpotWorld(tmp_path, contacts=430, companies=20, backfill="list")
        yield world
        world.stop()


class TestCompanies(SourceSuite):
    @pytest.fixture
    def world(self, tmp_path, monkeypatch):
        monkeypatch.setattr("adapters.hubspot.export.ROWS_PER_PAGE", 40)
        monkeypatch.setattr("adapters.hubspot.source.ROWS_PER_PAGE", 15)
        world = HubSpotWorld(tmp_path, contacts=5, companies=130, stream="companies")
        yield world
        world.stop()

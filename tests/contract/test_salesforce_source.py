from __future__ import annotations

import pytest

from tests.contract.source_suite import SourceSuite
from tests.fakes.salesforce_worlds import SalesforceWorld


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch):
    """Pages small enough that a few hundred records make several of them, and a job is worth it."""
    monkeypatch.setattr("adapters.salesforce.walking.REST_IS_CHEAPER_BELOW", 10)
    monkeypatch.setattr("adapters.salesforce.walking.ROWS_PER_PAGE", 60)
    monkeypatch.setattr("adapters.salesforce.walking.BULK_ROWS_PER_PAGE", 50)
    monkeypatch.setattr("adapters.salesforce.bulk_query.ROWS_PER_PIECE", 120)


class TestContactsByBulk(SourceSuite):
    @pytest.fixture
    def world(self, tmp_path):
        world = SalesforceWorld(tmp_path, contacts=430, accounts=50, behaviour={"bulk_page_rows": 120})
        yield world
        world.stop()


class TestContactsByPages(SourceSuite):
    @pytest.fixture
    def world(self, tmp_path):
        world = SalesforceWorld(tmp_path, contacts=330, accounts=50, behaviour={"page_rows": 50}, backfill="rest")
        yield world
        world.stop()


class TestLeads(SourceSuite):
    @pytest.fixture
    def world(self, tmp_path):
        world = SalesforceWorld(tmp_path, leads=260, stream="leads")
        yield world
        world.stop()


class TestAccounts(SourceSuite):
    @pytest.fixture
    def world(self, tmp_path):
        world = SalesforceWorld(tmp_path, contacts=5, accounts=230, stream="accounts")
        yield world
        world.stop()

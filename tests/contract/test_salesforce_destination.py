from __future__ import annotations

import pytest

from tests.contract.destination_suite import DestinationSuite, EnrollmentSuite, FeedbackSuite, OptOutSuite
from tests.fakes.salesforce_targets import SalesforceTarget


class TestSalesforceDestination(DestinationSuite, EnrollmentSuite, OptOutSuite, FeedbackSuite):
    enrolls_one_by_one = False

    @pytest.fixture(params=["calls of 200", "Bulk jobs", "an older version"])
    def world(self, tmp_path, request):
        settings = {"properties_per_call": 1_000}
        if request.param == "an older version":
            settings |= {"api_version": "60.0", "on_exit": "delete"}
        world = SalesforceTarget(
            tmp_path, contacts=60, deployed=False, in_bulk=request.param == "Bulk jobs", **settings
        )
        yield world
        world.stop()

from __future__ import annotations

import pytest

from tests.contract.destination_suite import (
    CallbackSuite,
    DestinationSuite,
    EnrollmentSuite,
    FeedbackSuite,
    OptOutSuite,
)
from tests.fakes.hubspot_worlds import HubSpotTarget


class TestHubSpotDestination(DestinationSuite, EnrollmentSuite, OptOutSuite, FeedbackSuite, CallbackSuite):
    @pytest.fixture(params=["tested versions", "2026-03", "2026-09", "v3"])
    def world(self, tmp_path, request):
        version = {} if request.param == "tested versions" else {"api_version": request.param}
        world = HubSpotTarget(tmp_path, contacts=60, **version)
        yield world
        world.stop()

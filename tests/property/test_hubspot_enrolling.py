"""Whatever the network does, a workflow that can be started again is started once for one wish."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.lookalike.faults import Fault
from connector.errors import QuotaExhausted, RetriableError
from connector.model import Outcome
from tests.fakes.hubspot_worlds import HubSpotTarget

faults = st.lists(
    st.tuples(
        st.sampled_from(
            [
                {"kind": "reset", "when": "before"},
                {"kind": "reset", "when": "after"},
                {"kind": "error", "status": 500, "when": "before"},
                {"kind": "error", "status": 502, "when": "after"},
                {"kind": "error", "status": 423, "when": "before"},
                {"kind": "rate_limit", "policy": "TEN_SECONDLY_ROLLING"},
                {"kind": "rate_limit", "policy": "DAILY"},
            ]
        ),
        st.sampled_from([r"/enrollments/contacts/", "/batch/read", r"/flows|/lists"]),
        st.integers(1, 12),
    ),
    max_size=8,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = HubSpotTarget(tmp_path_factory.mktemp("hubspot"), contacts=12)
    yield world
    world.stop()


@given(faults=faults)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_wish_is_one_start(world, faults):
    world.sandbox.faults.clear()
    flow = world.make_workflow({"mail": "7001"}, name=f"Instant {len(world.state.workflows.flows.flows)}")
    ids = list(world.ids(5))
    for settings_, path, call in faults:
        world.sandbox.faults.add(Fault(**settings_, path=path, calls=[call]))
    left, claimed, processes = list(ids), set(), 0
    while left and processes < 6:
        processes += 1
        destination, asked_at = world.destination(), world.clock.now()
        for _ in range(2):  # the batch, and once more those its receipts leave open
            try:
                receipts = destination.enroll(flow, left)
            except (RetriableError, QuotaExhausted):
                continue
            assert [receipt.row_id for receipt in receipts] == left
            claimed |= {receipt.row_id for receipt in receipts if receipt.outcome is Outcome.WRITTEN}
            assert {receipt.outcome for receipt in receipts} <= {Outcome.WRITTEN, Outcome.UNKNOWN}
            left = [receipt.row_id for receipt in receipts if receipt.outcome is Outcome.UNKNOWN]
            if not left:
                break
        destination.close()
        world.sandbox.faults.clear()
        world.pass_time(3600)
        if left:
            seen = world.destination().enrolled(flow, left, since=asked_at)
            left = [row_id for row_id in left if not seen[row_id]]
    assert left == []
    assert [world.started(flow, row_id) for row_id in ids] == [1] * 5
    assert all(world.started(flow, row_id) == 1 for row_id in claimed)

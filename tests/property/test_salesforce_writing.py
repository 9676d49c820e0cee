"""Whatever goes wrong on the way: what a receipt says is what the org holds."""

from __future__ import annotations

import itertools
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.lookalike.faults import Fault
from adapters.salesforce import rows
from adapters.salesforce.campaigns import EXITED
from adapters.salesforce.sandbox.rules import Poison
from connector.errors import CredentialsError, OutcomeUnknown, QuotaExhausted, RejectedError, RetriableError
from connector.model import Outcome, PropertyRow
from tests.fakes.salesforce_targets import SalesforceTarget

CROWD = 24
PER_CALL = 7
"""Rows in a call here, so that a few people are several calls."""
FIELD = "winback_last_feature"
OF_CALLS = (
    ("POST", "/composite/sobjects"),
    ("PATCH", "/composite/sobjects"),
    ("POST", "/composite/batch"),
    ("GET", "/query"),
)
OF_JOBS = (
    ("POST", "/jobs/ingest$"),
    ("PUT", "/batches$"),
    ("PATCH", "/jobs/ingest/"),
    ("GET", r"/jobs/ingest/\w+$"),
    ("GET", "Results$"),
)
OF_DELETING = (("DELETE", "/composite/sobjects"),)
TROUBLES = (
    {"kind": "reset", "when": "before"},
    {"kind": "reset", "when": "after"},
    {"kind": "no_op"},
    {"kind": "error", "status": 400},
    {"kind": "error", "status": 500},
    {"kind": "error", "status": 503, "when": "after"},
    {"kind": "duplicate"},
    {"kind": "rate_limit", "policy": "ConcurrentRequests"},
    {"kind": "rate_limit", "policy": "TotalRequests"},
)

faults = st.builds(
    lambda place, trouble, calls, times: {"method": place[0], "path": place[1], **trouble, **calls, "times": times},
    st.sampled_from([*OF_CALLS, *OF_JOBS, *OF_DELETING, (None, "")]),
    st.sampled_from(TROUBLES),
    st.sampled_from([{}, {"calls": (1,)}, {"calls": (2,)}, {"calls": (1, 3)}]),
    st.sampled_from([1, 2, 30]),
)
people = st.sets(st.integers(0, CROWD - 1))
works = st.tuples(st.sampled_from(["add", "remove", "set"]), people.filter(bool))
few = people.filter(lambda chosen: len(chosen) < 4)
days = st.fixed_dictionaries({"troubles": st.lists(faults, max_size=3), "poisoned": few, "locked": few})


class Org:
    """One org for all examples; each begins with a list of its own."""

    def __init__(self, world: SalesforceTarget) -> None:
        self.world = world
        self.ids = world.ids(CROWD)
        self.numbers = itertools.count()
        self.values = itertools.count()
        self.paths = OF_CALLS

    @contextmanager
    def day(self, *, troubles, poisoned, locked):
        """A day on which all this goes wrong."""
        state = self.world.state
        state.rules.poison.update({self.ids[n]: Poison("Rule 7", on="both") for n in poisoned})
        state.locks.stuck.update({self.ids[n]: 2 for n in locked})
        self.world.sandbox.faults.add(*(Fault(**one) for one in troubles))
        try:
            yield
        finally:
            self.world.sandbox.faults.clear()
            state.rules.poison.clear()
            state.locks.stuck.clear()

    def new_list(self, *members) -> str:
        """A list nobody has used, with these people on it."""
        calm = self.world.destination()
        list_id = calm.ensure_list(f"winback · {next(self.numbers)}", folder="winback").ref
        if members:
            calm.change_members(list_id, add=members)
        calm.close()
        return list_id

    def is_on(self, list_id, person) -> bool:
        return self.world.status(list_id, person) not in {None, EXITED}


@pytest.fixture(scope="module", params=["calls", "Bulk jobs", "members deleted"])
def org(request, tmp_path_factory):
    world = SalesforceTarget(
        tmp_path_factory.mktemp("org"),
        contacts=CROWD + 10,
        in_bulk=request.param == "Bulk jobs",
        on_exit="delete" if request.param == "members deleted" else "keep",
        timeout_seconds=2,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "PER_CALL", PER_CALL)
        made = Org(world)
        made.paths = {"calls": OF_CALLS, "Bulk jobs": OF_JOBS, "members deleted": OF_DELETING}[request.param]
        yield made
    world.stop()


@pytest.mark.parametrize(
    ("troubles", "first", "times"),
    [
        pytest.param(TROUBLES[:4], 1, 1, id="the common ones"),
        pytest.param(TROUBLES, 1, 1, id="all", marks=pytest.mark.soak),
        pytest.param(TROUBLES, 2, 1, id="the second time", marks=pytest.mark.soak),
        pytest.param(TROUBLES, 1, 30, id="for good", marks=pytest.mark.soak),
    ],
)
def test_one_trouble_at_a_time_never_makes_a_receipt_untrue(org, troubles, first, times):
    for (method, path), trouble in itertools.product(org.paths, troubles):
        fault = {"method": method, "path": path, **trouble, "calls": tuple(range(first, first + times))}
        list_id = org.new_list()
        destination = org.world.destination()
        for what in ("add", "set", "remove"):
            with org.day(troubles=[fault], poisoned={3}, locked={4}):
                CHECKS[what](org, destination, list_id, org.ids[:18])
        destination.close()
    end_well(org, org.new_list())


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=people, works=st.lists(works, min_size=1, max_size=3), day=days)
def test_what_receipts_say_is_what_the_org_holds(org, before, works, day):
    list_id = org.new_list(*(org.ids[n] for n in sorted(before)))
    destination = org.world.destination()
    with org.day(**day):
        for what, chosen in works:
            CHECKS[what](org, destination, list_id, [org.ids[n] for n in sorted(chosen)])
    # What is left of an interrupted job may still come; afterwards the next process finds what it wants to write.
    end_well(org, list_id)
    destination.close()


def check_joining(org, destination, list_id, ids):
    check_members(org, destination, list_id, ids, adding=True)


def check_leaving(org, destination, list_id, ids):
    check_members(org, destination, list_id, ids, adding=False)


def check_members(org, destination, list_id, ids, *, adding):
    settle(org)
    held = {person: org.is_on(list_id, person) for person in ids}
    try:
        receipts = destination.change_members(list_id, **{"add" if adding else "remove": ids})
    except OutcomeUnknown:
        return
    except (RetriableError, QuotaExhausted, CredentialsError, RejectedError):
        assert {person: org.is_on(list_id, person) for person in ids} == held
        return
    assert [receipt.row_id for receipt in receipts] == ids
    for receipt in receipts:
        now = org.is_on(list_id, receipt.row_id)
        match receipt.outcome:
            case Outcome.WRITTEN | Outcome.UNCHANGED:
                assert now is adding, receipt
            case Outcome.REJECTED | Outcome.MISSING:
                assert now is held[receipt.row_id], receipt
            case Outcome.UNKNOWN:
                assert receipt.message


def check_values(org, destination, _list_id, ids):
    value = f"value {next(org.values)}"
    settle(org)
    held = {person: org.world.stored(person).get(FIELD) for person in ids}
    try:
        receipts = destination.set_properties([PropertyRow(person, {FIELD: value}) for person in ids])
    except OutcomeUnknown:
        return
    except (RetriableError, QuotaExhausted, CredentialsError, RejectedError):
        assert {person: org.world.stored(person).get(FIELD) for person in ids} == held
        return
    assert [receipt.row_id for receipt in receipts] == ids
    for receipt in receipts:
        now = org.world.stored(receipt.row_id).get(FIELD)
        match receipt.outcome:
            case Outcome.WRITTEN | Outcome.UNCHANGED:
                assert now == value, receipt
            case Outcome.REJECTED | Outcome.MISSING:
                assert now == held[receipt.row_id], receipt
            case Outcome.UNKNOWN:
                assert receipt.message


CHECKS = {"add": check_joining, "remove": check_leaving, "set": check_values}


def settle(org):
    """Let what was begun before come to its end, so that only this write is judged."""
    org.world.pass_time(600)


def end_well(org, list_id):
    last = org.world.destination()
    value = f"value {next(org.values)}"
    receipts = last.set_properties([PropertyRow(person, {FIELD: value}) for person in org.ids])
    assert {receipt.outcome for receipt in receipts} == {Outcome.WRITTEN}
    last.change_members(list_id, add=org.ids)
    org.world.pass_time(3_600)
    assert {org.world.stored(person).get(FIELD) for person in org.ids} == {value}
    assert all(org.is_on(list_id, person) for person in org.ids)
    last.close()

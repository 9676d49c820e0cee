"""The CRM in memory is held to the part of the contract that its enrollments and opt-outs have to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from connector.errors import CredentialsError
from tests.contract.destination_suite import CallbackSuite, EnrollmentSuite, FeedbackSuite, OptOutSuite
from tests.fakes.memory_destination import MemoryDestination


class MemoryWorld:
    """One CRM in memory that every destination of the test shares."""

    def __init__(self) -> None:
        self.crm = MemoryDestination(map(str, range(1, 601)))

    def destination(self) -> MemoryDestination:
        return self.crm

    def broken(self) -> None:
        return None

    def ids(self, count: int) -> Sequence[str]:
        return sorted(self.crm.contacts)[:count]

    def unknown_id(self) -> str:
        return "987654321"

    def swallow_next_write(self) -> None:
        self.crm.faults.append("no_op")

    def lose_next_answer(self) -> None:
        self.crm.faults.append("timeout_after")

    def calls(self) -> int:
        return self.crm.calls

    def stored(self, row_id: str) -> Mapping[str, str | None]:
        return self.crm.values.get(row_id, {})

    def workflow(self) -> str:
        return "901"

    def started(self, workflow: str, row_id: str) -> int:
        return self.crm.enrollments[workflow, row_id]

    def inside(self, workflow: str, row_id: str) -> bool:
        return row_id in self.crm.enrolled_in.get(workflow, ())

    def unsubscribed(self, row_id: str) -> bool:
        return row_id in self.crm.unsubscribed

    def notes(self, row_id: str, *, tasks: bool = False) -> Sequence[str]:
        return [note["text"] for note in self.crm.notes.values() if (note["row_id"], note["task"]) == (row_id, tasks)]

    def let_wait(self, count: int) -> Sequence[str]:
        self.crm.waiting = {f"ap-{number}" for number in range(count)}
        return sorted(self.crm.waiting)

    def went_on(self, callback: str) -> Mapping[str, str] | None:
        return self.crm.completed.get(callback)


@pytest.fixture
def world():
    return MemoryWorld()


class TestEnrollment(EnrollmentSuite):
    """All of it."""


class TestOptOuts(OptOutSuite):
    """All of it."""


class TestFeedback(FeedbackSuite):
    """All of it."""


class TestCallbacks(CallbackSuite):
    """All of it."""


def test_what_stops_a_batch_is_raised_before_the_first_row_and_unknown_after_it():
    crm = MemoryWorld().crm
    crm.faults.append("credentials")
    with pytest.raises(CredentialsError):
        crm.enroll("901", ["1", "2"])
    crm.faults.extend([None, "credentials"])
    assert [str(receipt.outcome) for receipt in crm.enroll("901", ["1", "2", "3"])] == ["written", "unknown", "unknown"]

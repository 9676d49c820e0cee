"""Flows of the org, and each run of one: an interview."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.salesforce.ids import record_id
from adapters.salesforce.sandbox.answers import stamp
from adapters.salesforce.sandbox.flow_steps import Ask, Decide, Start, Step, all_steps

COMPLETED, LEFT, DELETED, FAULTED, STOPPED = "completed", "left", "deleted", "faulted", "stopped"
ENDS: Final = {
    COMPLETED: "went through it",
    LEFT: "left: the conditions held no more",
    DELETED: "were deleted",
    FAULTED: "ended in a fault",
    STOPPED: "were stopped with the flow",
}
_SPACE: Final = uuid.UUID("6f0d7a52-7c1b-4a7e-9a0a-3f1f5a6d7b11")


@dataclass(slots=True)
class Flow:
    """One flow. Without a start it is autolaunched: somebody has to run it. answers: What it hands back when run."""

    number: int
    api_name: str
    label: str
    start: Start | None
    steps: tuple[Step, ...]
    active: bool = True
    answers: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The id of its definition."""
        return record_id("FlowDefinition", self.number)

    @property
    def version_id(self) -> str:
        """The id of its version."""
        return record_id("Flow", self.number)

    @property
    def triggered(self) -> bool:
        """Whether a change of a record starts it."""
        return self.start is not None

    def all_steps(self) -> list[Step]:
        """Every step, those of all ways too."""
        return all_steps(self.steps)


@dataclass(slots=True)
class Interview:
    """One run of a flow for one record.

    ahead: The steps still to take, the next first. due_ms: When it goes on; None while it is asked about, or over.
    asking: The call-out it waits for. path: (moment, step in words, what came of it).
    """

    number: int
    flow: str
    record_id: str
    person_id: str
    started_ms: int
    ahead: list[Step]
    inputs: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    due_ms: int | None = None
    waited: bool = False
    asking: Ask | None = None
    asked: int = 0
    ended_ms: int | None = None
    ended_as: str | None = None
    fault: str | None = None
    path: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def guid(self) -> str:
        """What the flow knows itself by (`{!$Flow.InterviewGuid}`): the same for every try of a call-out."""
        return str(uuid.uuid5(_SPACE, f"{self.flow}/{self.number}"))

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.ended_ms is not None

    def take(self, decision: Decide, *, holds: bool) -> None:
        """Go one of two ways."""
        self.ahead[:0] = decision.then if holds else decision.otherwise

    def end(self, why: str, at_ms: int, *, fault: str | None = None) -> None:
        """Nothing more happens in it."""
        self.ended_ms, self.ended_as, self.due_ms, self.asking, self.fault = at_ms, why, None, None, fault

    def body(self) -> dict[str, Any]:
        """For the control API."""
        return {
            "number": self.number,
            "guid": self.guid,
            "flow": self.flow,
            "record": self.record_id,
            "person": self.person_id,
            "started_at": stamp(self.started_ms),
            "due_at": None if self.due_ms is None else stamp(self.due_ms),
            "asking": None if self.asking is None else self.asking.action,
            "ended_at": None if self.ended_ms is None else stamp(self.ended_ms),
            "ended_as": self.ended_as,
            "fault": self.fault,
            "answers": dict(self.answers),
            "path": [{"at": stamp(at), "step": step, "what": what} for at, step, what in self.path],
        }

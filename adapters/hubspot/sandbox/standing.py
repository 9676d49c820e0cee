"""Who is in a workflow: one enrollment after the other, and what the workflow remembers about everybody."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from adapters.hubspot.sandbox.answers import iso

ENDS: Final = {
    "completed": "went through to the end",
    "goal": "met the goal",
    "suppressed": "came onto a suppression list",
    "left": "no longer met the trigger",
    "api": "was unenrolled by an app",
    "hand": "was unenrolled by hand",
    "other workflow": "was enrolled in another workflow",
    "deleted": "was deleted",
    "merged": "was merged into another contact",
    "workflow deleted": "the workflow was deleted",
}
"""Why an enrollment ended."""


@dataclass(slots=True)
class Enrollment:
    """One passage of one contact through one workflow.

    by: What brought the contact in: the trigger, switching the workflow on, an app, another workflow, a person.
    step: The action that comes next or is waited at; `waiting` that its delay has begun; `due_ms` when it goes on.
    outputs: What apps answered, by the action's id. path: (moment, action id, what happened) of every action so far.
    """

    number: int
    flow_id: str
    contact_id: str
    by: str
    started_ms: int
    step: str | None = None
    waiting: bool = False
    due_ms: int | None = None
    ended_ms: int | None = None
    ended_as: str | None = None
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    path: list[tuple[int, str, str]] = field(default_factory=list)

    def body(self) -> dict[str, Any]:
        """The enrollment for the control API."""
        return {
            "number": self.number,
            "flow": self.flow_id,
            "contact": self.contact_id,
            "by": self.by,
            "started_at": iso(self.started_ms),
            "step": self.step,
            "due_at": iso(self.due_ms) if self.due_ms is not None else None,
            "ended_at": iso(self.ended_ms) if self.ended_ms is not None else None,
            "ended_as": self.ended_as,
            "path": [{"at": iso(at), "action": action, "what": what} for at, action, what in self.path],
        }


@dataclass(slots=True)
class Standing:
    """What one workflow knows about contacts.

    matching: Who met the trigger when last looked at. again: for the branches that let somebody in again, what was
    seen when last looked at. waiting: who is in the queue. ever, completed, goal: since when.
    """

    matching: set[str] = field(default_factory=set)
    again: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    active: dict[str, Enrollment] = field(default_factory=dict)
    ever: dict[str, int] = field(default_factory=dict)
    completed: dict[str, int] = field(default_factory=dict)
    goal: dict[str, int] = field(default_factory=dict)
    history: list[Enrollment] = field(default_factory=list)

    def roster(self, name: str) -> dict[str, Any]:
        """Record ids on one of the rosters."""
        by_name: dict[str, dict[str, Any]] = {
            "WORKFLOWS_ENROLLMENT": self.ever,
            "WORKFLOWS_ACTIVE": self.active,
            "WORKFLOWS_COMPLETED": self.completed,
            "WORKFLOWS_GOAL": self.goal,
        }
        return by_name[name]

    def move(self, old: str, new: str) -> None:
        """Everything remembered about one record is remembered about another (a merge); passages are not moved."""
        for held in (self.ever, self.completed, self.goal):
            if old in held:
                held[new] = min(held.pop(old), held.get(new, 1 << 62))
        for seen in (self.matching, self.waiting):
            seen.discard(old)
        self.again.pop(old, None)

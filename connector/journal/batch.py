"""One batch of writes: what it is about, how far it has come, and what became of each of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from connector.model import Outcome
from connector.targets import OPT_OUT_LIST, workflow_list, workflow_of


class BatchKind(StrEnum):
    """What a batch does."""

    ENSURE_PROPERTY = "ensure_property"
    ENSURE_LIST = "ensure_list"
    REMOVE_MEMBERS = "remove_members"
    ADD_MEMBERS = "add_members"
    SET_PROPERTIES = "set_properties"
    REMOVE_LIST = "remove_list"
    REMOVE_PROPERTY = "remove_property"
    ENROLL = "enroll"
    """Into a workflow, one record at a time; the target is `workflow_list(…)`."""
    UNENROLL = "unenroll"
    OPT_OUT = "opt_out"
    """The target is `OPT_OUT_LIST`."""
    FEEDBACK = "feedback"
    """Notes and tasks: a row is the key of one, and the payload says all of it."""


ROW_KINDS = frozenset(
    {
        BatchKind.REMOVE_MEMBERS,
        BatchKind.ADD_MEMBERS,
        BatchKind.SET_PROPERTIES,
        BatchKind.ENROLL,
        BatchKind.UNENROLL,
        BatchKind.OPT_OUT,
        BatchKind.FEEDBACK,
    }
)
"""Kinds whose rows are records (or notes about them); the others are about their target alone."""


def check_target(kind: BatchKind, target: str) -> None:
    """Refuse a target under which what the batch does could not be remembered."""
    if kind in {BatchKind.ENROLL, BatchKind.UNENROLL} and not workflow_of(target):
        raise ValueError(f"{kind} {target}: the target must be '{workflow_list('<id>')}'")
    if kind is BatchKind.OPT_OUT and target != OPT_OUT_LIST:
        raise ValueError(f"{kind} {target}: the target must be '{OPT_OUT_LIST}'")


class BatchState(StrEnum):
    """How far a batch has come."""

    INTENDED = "intended"
    SENT = "sent"
    UNKNOWN = "unknown"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"


UNRESOLVED = frozenset({BatchState.INTENDED, BatchState.SENT, BatchState.UNKNOWN})

LETTERS: Mapping[Outcome, str] = {
    Outcome.WRITTEN: "w",
    Outcome.UNCHANGED: "=",
    Outcome.REJECTED: "r",
    Outcome.MISSING: "m",
    Outcome.UNKNOWN: "?",
}
"""Outcomes are kept as one letter a row, in the rows' order: a batch of a thousand is a thousand bytes."""

UNDECIDED = "."
NOT_DONE = "-"
OPEN = frozenset({UNDECIDED, LETTERS[Outcome.UNKNOWN]})
"""Letters of rows of which we do not know what became."""

_OUTCOMES = {letter: outcome for outcome, letter in LETTERS.items()}


@dataclass(frozen=True, slots=True)
class Batch:
    """One call's worth of writes.

    target: The list's or property's name, `workflow:<id>` or `opt-out`; "" for `set_properties`.
    rows: Record ids, as sent.
    outcomes: What became of each row that is decided. A row that reading back showed not to have been written has
        none, though the batch is confirmed: the next plan sees it again.
    created: For `ensure_*`: True when it was made rather than found. None as long as we do not know.
    ref: For `ensure_*`: the id or name the destination gave it.
    """

    batch_id: int
    run_id: str
    plan_id: str
    destination: str
    step: int
    number: int
    kind: BatchKind
    target: str
    rows: tuple[str, ...]
    payload: Mapping[str, Any] | None
    state: BatchState
    outcomes: Mapping[str, Outcome]
    created: bool | None
    ref: str | None
    reason: str | None
    intended_at: datetime
    sent_at: datetime | None
    settled_at: datetime | None

    @classmethod
    def load(cls, row: sa.Row[Any]) -> Batch:
        """From its line in the journal."""
        kind = BatchKind(row.kind)
        letters = zip(row.rows, row.outcomes, strict=True) if kind in ROW_KINDS else ()
        return cls(
            batch_id=row.batch_id,
            run_id=row.run_id,
            plan_id=row.plan_id,
            destination=row.destination,
            step=row.step,
            number=row.number,
            kind=kind,
            target=row.target,
            rows=tuple(row.rows),
            payload=row.payload,
            state=BatchState(row.state),
            outcomes={name: _OUTCOMES[letter] for name, letter in letters if letter in _OUTCOMES},
            created=None if kind in ROW_KINDS else {"w": True, "=": False}.get(row.outcomes),
            ref=row.ref,
            reason=row.reason,
            intended_at=row.intended_at,
            sent_at=row.sent_at,
            settled_at=row.settled_at,
        )

    @property
    def about_rows(self) -> bool:
        """Whether its rows are records; the other kinds are about their target alone."""
        return self.kind in ROW_KINDS

    @property
    def undecided(self) -> tuple[str, ...]:
        """Rows of which we do not know what became, in order; none once the batch is settled."""
        if self.state not in UNRESOLVED:
            return ()
        return tuple(row for row in self.rows if self.outcomes.get(row, Outcome.UNKNOWN) is Outcome.UNKNOWN)

    def done(self) -> tuple[str, ...]:
        """Rows that this batch changed, in order: what undo has to restore."""
        return tuple(row for row in self.rows if self.outcomes.get(row) is Outcome.WRITTEN)

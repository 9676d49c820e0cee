"""The closed set of things a plan can do, in the order it does them.

A step says what, never how: batching, retries and the ledger belong to `apply.py`. A `match` over `Step` ends in
`assert_never`, so a new kind is found missing by the type checker everywhere it must be handled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from connector.model import FeedbackRow, PropertySpec
from connector.program.model import Entry, Exit, Move, Split
from connector.targets import OPT_OUT_LIST, workflow_list

Values: TypeAlias = Mapping[str, str | None]
"""Property values by name; None means empty, and so does a name that is not there."""


@dataclass(frozen=True, slots=True)
class PropertyChange:
    """New values of one record and what they replace, which is what undo writes back."""

    row_id: str
    values: Values
    before: Values


@dataclass(frozen=True, slots=True)
class EnsureProperty:
    """Make a contact property, or widen its choices."""

    kind: ClassVar[str] = "ensure_property"
    spec: PropertySpec


@dataclass(frozen=True, slots=True)
class EnsureList:
    """Make a list that is not there yet."""

    kind: ClassVar[str] = "ensure_list"
    name: str
    folder: str


@dataclass(frozen=True, slots=True)
class RemoveMembers:
    """Take records off a list."""

    kind: ClassVar[str] = "remove_members"
    list_name: str
    row_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddMembers:
    """Put records on a list. `retried` rows were refused before and travel apart from the others."""

    kind: ClassVar[str] = "add_members"
    list_name: str
    row_ids: tuple[str, ...]
    retried: bool = False


@dataclass(frozen=True, slots=True)
class SetProperties:
    """Write property values. `retried` rows were refused before and travel apart from the others."""

    kind: ClassVar[str] = "set_properties"
    rows: tuple[PropertyChange, ...]
    retried: bool = False


@dataclass(frozen=True, slots=True)
class RemoveList:
    """Delete a list that the run being undone had made; `only_if_empty` where it may not have been us."""

    kind: ClassVar[str] = "remove_list"
    name: str
    list_id: str
    only_if_empty: bool = False


@dataclass(frozen=True, slots=True)
class RemoveProperty:
    """Archive a property that the run being undone had made."""

    kind: ClassVar[str] = "remove_property"
    name: str


@dataclass(frozen=True, slots=True)
class OptOut:
    """Tell the CRM that these people may not be mailed any more; never the opposite."""

    kind: ClassVar[str] = "opt_out"
    row_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Enroll:
    """Enroll records in a workflow directly, one call each. `retried` rows were refused before."""

    kind: ClassVar[str] = "enroll"
    workflow: str
    row_ids: tuple[str, ...]
    retried: bool = False


@dataclass(frozen=True, slots=True)
class Unenroll:
    """Take records out of a workflow directly, one call each."""

    kind: ClassVar[str] = "unenroll"
    workflow: str
    row_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordFeedback:
    """Write what people told us as notes on their records, or as tasks for the records' owners."""

    kind: ClassVar[str] = "feedback"
    rows: tuple[FeedbackRow, ...]


@dataclass(frozen=True, slots=True)
class CloseEpisodes:
    """Write down in the journal whose episodes end, and why; the removals follow."""

    kind: ClassVar[str] = "close_episodes"
    exits: tuple[Exit, ...]


@dataclass(frozen=True, slots=True)
class OpenEpisodes:
    """Write down in the journal who enters, holdouts too: they get nothing else."""

    kind: ClassVar[str] = "open_episodes"
    entries: tuple[Entry, ...]
    splits: Mapping[str, Split] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MoveEpisodes:
    """Write down in the journal who takes which step; values and memberships follow."""

    kind: ClassVar[str] = "move_episodes"
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class AnswerAsks:
    """Tell workflows of the CRM that asked for somebody's entry what came of it: (key of the request, decision)."""

    kind: ClassVar[str] = "answer_asks"
    answers: tuple[tuple[str, str], ...]


JournalStep: TypeAlias = CloseEpisodes | OpenEpisodes | MoveEpisodes | AnswerAsks
"""Decisions: they concern the journal only, and each is one transaction that is safe to repeat."""

DirectStep: TypeAlias = OptOut | Enroll | Unenroll
"""Writes about single records that are neither a list nor a value."""

Step: TypeAlias = (
    EnsureProperty
    | EnsureList
    | RemoveMembers
    | AddMembers
    | SetProperties
    | RemoveList
    | RemoveProperty
    | RecordFeedback
    | JournalStep
    | DirectStep
)


def direct_target(step: DirectStep) -> str:
    """Under what name the books keep the rows of this step."""
    return OPT_OUT_LIST if isinstance(step, OptOut) else workflow_list(step.workflow)

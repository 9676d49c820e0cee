"""Who is in which segment, what is known about each, and how ids are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from connector.errors import SettingError
from connector.pipeline.readying import ready_warehouse

if TYPE_CHECKING:
    from connector.rules.conditions import CheckedSegment
    from connector.warehouse import Evaluation
    from connector.workspace import Workspace


def checked_segments(workspace: Workspace) -> Sequence[CheckedSegment]:
    """The playbook's segments with their conditions parsed."""
    return workspace.playbook.checked_segments


def evaluate(workspace: Workspace, as_of: date) -> Evaluation:
    """Who is in which segment at the end of this day."""
    return ready_warehouse(workspace).evaluate(checked_segments(workspace), as_of)


def segment_sql(workspace: Workspace, as_of: date) -> str:
    """The SQL that decides, ready to paste into a console on the warehouse."""
    return ready_warehouse(workspace).segment_sql(checked_segments(workspace), as_of)


def member_rows(workspace: Workspace, evaluation: Evaluation) -> Iterator[tuple[str, int | None, str | None]]:
    """One row per contact and group: id as shown, silent days, segment or None."""
    prefix = bare_prefix(workspace)
    for batch in workspace.warehouse.members(evaluation.as_of).to_batches():
        columns = [batch.column(name).to_pylist() for name in ("contact_id", "inactive_days", "segment")]
        for contact_id, inactive_days, segment in zip(*columns, strict=True):
            yield contact_id.removeprefix(prefix), inactive_days, segment


def feature_rows(
    workspace: Workspace, as_of: date, *, contact: str | None, columns: Sequence[str] | None
) -> tuple[list[str], Iterable[list[tuple[Any, ...]]]]:
    """Column names and batches of rows of the features table; `contact_id` always comes first."""
    warehouse = ready_warehouse(workspace)
    contact_id = None
    if contact is not None:
        contact_id = warehouse.resolve(contact)
        if contact_id is None:
            raise SettingError(f"nobody here is called {contact!r}", hint="give a contact id or an e-mail address")
    names, batches = warehouse.feature_batches(as_of, columns=columns, contact_id=contact_id)
    prefix = bare_prefix(workspace)
    return names, ([(row[0].removeprefix(prefix), *row[1:]) for row in batch] for batch in batches)


def bare_prefix(workspace: Workspace) -> str:
    """What ids lose when they are shown: the name of the only source, where that is a file source; else nothing."""
    sources = workspace.playbook.sources
    if len(sources) != 1:
        return ""
    name, options = next(iter(sources.items()))
    return f"{name}:" if workspace.adapters.require(options.adapter).local_ids else ""


def shown_id(workspace: Workspace, contact_id: str) -> str:
    """A contact id as the command line shows it."""
    return contact_id.removeprefix(bare_prefix(workspace))

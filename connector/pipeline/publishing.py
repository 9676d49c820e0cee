"""What a run leaves for others to read: this evaluation, and who is in what and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from connector.crms import destination_systems

if TYPE_CHECKING:
    from connector.workspace import Workspace


def publish(workspace: Workspace, as_of: date) -> dict[str, str]:
    """Remember this evaluation for the next run's entered and left, and tell the journal who is in what and why.

    Returns what was published from; nothing is done when the last run published from the same.
    """
    warehouse, journal = workspace.warehouse, workspace.journal
    basis = {"facts": warehouse.version(), "as_of": as_of.isoformat()}
    last = journal.runs.last_successful("run")
    same_playbook = last is not None and last.playbook_digest == workspace.playbook.digest()
    if last is None or not same_playbook or {key: last.summary.get(key) for key in basis} != basis:
        warehouse.record_evaluation(as_of)
        journal.decisions.publish(as_of, _decisions(workspace, as_of))
        if workspace.playbook.webhooks is not None:
            from connector.live.publishing import identities

            journal.known.publish(identities(workspace))
    return basis


def _decisions(workspace: Workspace, as_of: date) -> Iterator[tuple[str, Mapping[str, Any]]]:
    from connector.programs import published

    first, *also = destination_systems(workspace).values()
    return published(workspace, as_of, system=first, also=also)

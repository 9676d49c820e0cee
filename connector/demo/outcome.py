"""What became of everybody once the demo's days are over: counts for both arms, reasons, people worth a look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connector.program.model import Episode
    from connector.workspace import Workspace


@dataclass(slots=True)
class Arm:
    """One arm: how many entered, how many used the product again since, and why their episodes ended."""

    entered: int = 0
    returned: int = 0
    inside: int = 0
    left: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        """Of those who entered, the part that came back."""
        return self.returned / self.entered if self.entered else 0.0


@dataclass(slots=True)
class Outcome:
    """Both arms, and some people: by state, the first contact of it."""

    treated: Arm = field(default_factory=Arm)
    held_out: Arm = field(default_factory=Arm)
    sunset: int = 0
    came_back: list[Episode] = field(default_factory=list)
    left_alone: str | None = None


def outcome(workspace: Workspace, as_of: date) -> Outcome:
    """Count everybody who ever entered, in the arm they were drawn into, whatever happened to them afterwards."""
    last_use = _last_uses(workspace, as_of)
    found = Outcome()
    for episode in workspace.journal.episodes.everybody():
        arm = found.held_out if episode.held_out else found.treated
        arm.entered += 1
        used = last_use.get(episode.contact_id)
        back = used is not None and used > episode.entered_at
        arm.returned += back
        arm.inside += episode.open
        if episode.exit_reason is not None:
            arm.left[episode.exit_reason] += 1
        if back and not episode.held_out and episode.exit_reason == "reactivated":
            found.came_back.append(episode)
        if episode.held_out and episode.open and found.left_alone is None:
            found.left_alone = episode.contact_id
    found.sunset = _on_sunset_lists(workspace)
    return found


def _last_uses(workspace: Workspace, as_of: date) -> Mapping[str, datetime]:
    _, batches = workspace.warehouse.feature_batches(as_of, columns=["last_active_at"])
    return {contact_id: at for batch in batches for contact_id, at in batch if at is not None}


def _on_sunset_lists(workspace: Workspace) -> int:
    from connector.crms import first_destination
    from connector.wanted import sunset_lists

    members = workspace.journal.held.members(first_destination(workspace))
    return len(set().union(*(members.get(name, set()) for name in sunset_lists(workspace.playbook.programs))))

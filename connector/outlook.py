"""What a plan does for each program, and what its holdout will be able to show, and when."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from connector.program import power

if TYPE_CHECKING:
    from connector.program.model import Decisions, Entry, Program, Split
    from connector.programs import Crowd

TYPICAL_SILENCE = 30
"""Silent days for which the base rate is asked when nobody enters on the day of the plan."""


def outlook(crowd: Crowd, decisions: Decisions) -> dict[str, dict[str, Any]]:
    """For each program: who enters, moves and leaves now, and what can be detected. JSON values only."""
    episodes, as_of = crowd.workspace.journal.episodes, crowd.as_of
    splits = {**episodes.splits(), **decisions.splits}
    counts = episodes.counts()
    told = {}
    for program in crowd.programs:
        entries = [entry for entry in decisions.enter if entry.episode.program == program.name]
        known = counts.get(program.name)
        before = sum(known.by_arm.values()) + sum(known.exits.values()) if known else 0
        said = _now(program, decisions, entries)
        split = splits.get(program.name)
        if split is not None:
            base = _base(entries, crowd.curve)
            said["holdout"] = {"share": split.share, "unit": split.unit, "eligible": split.eligible}
            said["detectable"] = _detectable(program, split, base, before + len(entries), as_of)
        told[program.name] = said
    return told


def _now(program: Program, decisions: Decisions, entries: Sequence[Entry]) -> dict[str, Any]:
    """What happens in this program today."""
    treated = [entry.episode for entry in entries if not entry.episode.held_out]
    prefix = f"{program.name}/"
    moves = [move for move in decisions.move if move.episode_id.startswith(prefix)]
    exits = [leaving for leaving in decisions.exit if leaving.episode_id.startswith(prefix)]
    inside = sum(at.program == program.name for at in decisions.placed.values())
    return {
        "enter": dict(Counter(episode.entered_as for episode in treated)),
        "held_out": len(entries) - len(treated),
        "steps": dict(Counter(move.step for move in moves if move.state == "decided")),
        "skipped": dict(Counter(move.step for move in moves if move.state == "skipped")),
        "exit": dict(Counter(leaving.reason for leaving in exits)),
        "inside": inside,
        "offers": dict(Counter(move.offer for move in moves if move.offer and move.offer != "none")),
        "offers_cost": round(sum(move.cost for move in moves), 2),
    }


def _base(entries: Sequence[Entry], curve: Callable[[int], float]) -> float:
    """The rate at which such people return without being asked."""
    known = [e.episode.return_probability for e in entries if e.episode.return_probability is not None]
    return sum(known) / len(known) if known else curve(TYPICAL_SILENCE)


def _detectable(program: Program, split: Split, base: float, entered: int, as_of: date) -> Mapping[str, Any]:
    """The smallest lift that will be seen, and the day from which the result may be read."""
    points = power.detectable(base, split.eligible, split.share)
    treated = split.eligible * (1 - split.share)
    per_day = program.caps.per_day or treated or 1
    both = per_day / max(1 - split.share, 0.01)
    judged = power.when(
        split.eligible, entered=entered, per_day=both, today=as_of, outcome_window=program.outcome_window
    )
    return {
        "base": round(base, 4),
        "points": None if points is None else round(points * 100, 1),
        "from": None if judged is None else judged.isoformat(),
        "days_to_enter": math.ceil(treated / per_day) if treated else 0,
    }

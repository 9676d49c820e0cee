"""Everything a plan depends on, and the fingerprints by which apply sees that some of it has moved."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from connector.heard import SOURCE as HEARD

if TYPE_CHECKING:
    from connector.plan.build import Current, Plan, PlanInputs
    from connector.target import Target
    from connector.warehouse import SourceStat
    from connector.workspace import Workspace

PLAN_LIVES_FOR = timedelta(hours=24)
"""A plan older than this is made anew: consent and usage have moved on."""


def plan_inputs(
    workspace: Workspace, name: str, aim: Target, there: Current, *, day: date, now: datetime, after: Sequence[str]
) -> PlanInputs:
    """Everything the plan for this destination depends on."""
    from connector.plan.build import PlanInputs

    destination = workspace.destination(name)
    settings = workspace.playbook.destinations[name]
    return PlanInputs(
        account=workspace.playbook.account,
        as_of=day,
        now=now,
        expires=now + PLAN_LIVES_FOR,
        destination=name,
        system=destination.system,
        capabilities=destination.capabilities,
        forecast=destination.forecast,
        wanted=aim.wanted,
        current=there,
        fingerprints=fingerprints(workspace, name),
        excluded=aim.excluded,
        blocked=aim.blocked,
        frozen=aim.frozen,
        paced=aim.paced,
        capped=aim.capped,
        decided=aim.decided,
        deferred=aim.deferred,
        programs=aim.programs,
        rejected=workspace.journal.rejections.active(name),
        reachable=aim.reachable,
        # What was heard between runs is no source that could fall silent.
        sources=_stats(workspace),
        guards=workspace.playbook.guards,
        allowance=_allowance(settings.options.rate),
        folder=destination.folder,
        reason=aim.reason,
        shown=aim.records.shown,
        after=after,
    )


def _stats(workspace: Workspace) -> list[SourceStat]:
    """What each stream has brought; of one that may be quiet for long no newest event, which would look stale."""
    sources = workspace.playbook.sources
    quiet = {(name, info.name) for name in sources for info in workspace.source(name).streams() if info.quiet}
    return [
        replace(stat, newest_at=None) if (stat.source, stat.stream) in quiet else stat
        for stat in workspace.warehouse.source_stats()
        if stat.source != HEARD
    ]


def _allowance(rate: Any) -> Any:
    from connector.plan.document import Allowance

    return Allowance(
        per_10s=rate.per_10s * rate.share if rate.per_10s else None,
        per_day=rate.per_day * rate.share if rate.per_day else None,
    )


def fingerprints(workspace: Workspace, destination: str, *, after: Collection[str] = ()) -> dict[str, str]:
    """Of everything a plan depends on; apply compares them and refuses when one has moved.

    after: Plans made together with it: what carrying them out decided is no news.
    """
    episodes = workspace.journal.episodes.version()
    moved = workspace.journal.cursors.load(*_CARRIED_OUT) if after else None
    if moved is not None and moved["plan"] in after and moved["to"] == episodes:
        episodes = moved["from"]
    return {
        "facts": workspace.warehouse.version(),
        "held": f"{workspace.journal.held.version(destination)} {episodes}",
        "playbook": workspace.playbook.digest(),
    }


_CARRIED_OUT = ("winback", "carried_out")
"""What the last plan to be carried out made of the decisions it was made from, kept among the cursors."""


def note_moved(workspace: Workspace, plan: Plan) -> None:
    """Remember how far carrying this plan out moved the decisions: those made together with it stay valid."""
    _, _, begun = plan.fingerprints.get("held", "").rpartition(" ")
    moved = {"plan": plan.plan_id, "from": begun, "to": workspace.journal.episodes.version()}
    workspace.journal.cursors.save(*_CARRIED_OUT, moved, workspace.clock.now())

"""The other verbs in a row, so that what a scheduler does is what a person can do by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

from connector.crms import destinations_in_order
from connector.errors import WinbackError
from connector.pipeline.applying import tried
from connector.pipeline.lock import StillOurs, unlocked
from connector.pipeline.outcome import Applied, not_written_to
from connector.pipeline.plan_files import keep_newest, plan_path
from connector.pipeline.planning import Plans, make_plans
from connector.pipeline.publishing import publish
from connector.pipeline.pulling import pull_sources
from connector.pipeline.recording import Recorded

if TYPE_CHECKING:
    from connector.plan.apply import ApplyReport
    from connector.workspace import Workspace


def run(workspace: Workspace, *, still_ours: StillOurs = unlocked) -> Applied:
    """Pull, evaluate, plan, guard, apply, publish: what a scheduler calls."""
    from connector.plan.outcome import together

    names = destinations_in_order(workspace)
    alone = len(names) == 1
    with Recorded(workspace, "run") as recorded:
        unread: dict[str, WinbackError] = {}
        pulled = pull_sources(workspace, still_ours=still_ours, unread=None if alone else unread)
        still_ours()
        day = workspace.today()
        reports = _run_plans(workspace, recorded.run_id, day, unread, still_ours=still_ours)
        recorded.report = together([reports[name] for name in names])
        if alone or any(report.stopped is None for report in reports.values()):
            recorded.notes = publish(workspace, day)
    return Applied(recorded.report, set_aside=sum(report.rejects for report in pulled))


def _run_plans(
    workspace: Workspace, run_id: str, day: date, unread: Mapping[str, WinbackError], *, still_ours: StillOurs
) -> dict[str, ApplyReport]:
    """Plan for every destination whose CRM was read, and carry it out; what became of each."""
    names = destinations_in_order(workspace)
    alone = len(names) == 1
    adapters = {name: workspace.playbook.destinations[name].options.adapter for name in names}
    away = {name: unread[adapter] for name, adapter in adapters.items() if adapter in unread}
    reports: dict[str, ApplyReport] = {}
    waiting = [name for name in names if name not in away]
    while waiting or away:
        plans = make_plans(workspace, names=waiting, as_of=day) if waiting else Plans()
        for name, error in {**away, **plans.away}.items():
            reports[name] = not_written_to(workspace, error, run_id, name)
        away, waiting = {}, []
        for planned in plans.made:
            planned.plan.write(plan_path(workspace, planned.plan))
        keep_newest(workspace.folder("plans"), "plan-*")
        for number, planned in enumerate(plans.made, start=1):
            name = planned.plan.destination
            reports[name] = tried(workspace, planned.plan, run_id, still_ours=still_ours, alone=alone, planned=planned)
            if reports[name].stopped is not None:
                # What it was to decide has not happened: the others show people as they stand.
                waiting = [later.plan.destination for later in plans.made[number:]]
                break
    return reports

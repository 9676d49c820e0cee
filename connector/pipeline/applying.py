"""Plans carried out in the CRMs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from connector.errors import GuardTripped, SettingError
from connector.pipeline.away import AWAY
from connector.pipeline.context import apply_context, writing_section
from connector.pipeline.inputs import fingerprints, note_moved
from connector.pipeline.lock import StillOurs, unlocked
from connector.pipeline.outcome import Applied, not_written_to
from connector.pipeline.recording import Recorded

if TYPE_CHECKING:
    from connector.pipeline.planning import Planned
    from connector.plan.apply import ApplyReport
    from connector.plan.build import Plan
    from connector.workspace import Workspace


def apply_file(workspace: Workspace, plan: Plan, *, still_ours: StillOurs = unlocked) -> Applied:
    """Carry out a plan that was made earlier; StalePlan when its inputs have moved."""
    return apply_files(workspace, [plan], still_ours=still_ours)


def apply_files(workspace: Workspace, plans: Sequence[Plan], *, still_ours: StillOurs = unlocked) -> Applied:
    """Carry out plans that were made together; one that cannot be does not stop the others."""
    from connector.plan.outcome import together

    for plan in plans:
        if plan.account != workspace.playbook.account:
            raise SettingError(
                f"this plan is for the account {plan.account!r}, the playbook is for {workspace.playbook.account!r}",
                hint="name the playbook the plan was made with: --config",
            )
    with Recorded(workspace, "apply") as run:
        alone = len(plans) == 1
        reports = [tried(workspace, plan, run.run_id, still_ours=still_ours, alone=alone) for plan in plans]
        run.report = together(reports)
    return Applied(run.report)


def tried(
    workspace: Workspace,
    plan: Plan,
    run_id: str,
    *,
    still_ours: StillOurs,
    alone: bool,
    planned: Planned | None = None,
) -> ApplyReport:
    """What became of one plan; unless it is alone, a refusal and a CRM that is away are told in its report.

    planned: For a run: people who opted out come off the lists whatever a guard says.
    """
    try:
        if planned is not None:
            protect(workspace, planned, run_id, still_ours=still_ours)
        return _apply(workspace, plan, run_id, still_ours=still_ours)
    except (GuardTripped, *AWAY) as error:
        if alone:
            raise
        return not_written_to(workspace, error, run_id, plan.destination, plan_id=plan.plan_id)


def protect(workspace: Workspace, planned: Planned, run_id: str, *, still_ours: StillOurs) -> None:
    """When a guard refuses the plan, take those who opted out off the lists all the same; the refusal follows."""
    from connector.plan.build import WIN_AT_ONCE, protection

    refused = [guard for guard in planned.plan.guards if not guard.ok]
    urgent = {row_id: why for row_id, why in planned.inputs.blocked.items() if why in WIN_AT_ONCE}
    if not refused or not urgent:
        return
    shield = protection(replace(planned.inputs, blocked=urgent))
    if shield.empty:
        return
    workspace.reporter.line("a guard refuses the plan; people who opted out or bounced come off the lists all the same")
    _apply(workspace, shield, run_id, still_ours=still_ours)


def _apply(workspace: Workspace, plan: Plan, run_id: str, *, still_ours: StillOurs) -> ApplyReport:
    from connector.plan.apply import apply_plan
    from connector.plan.undo import undo_file

    name = plan.destination
    workspace.journal.plans.save(plan.plan_id, plan.summary(), workspace.clock.now())
    fresh = partial(fingerprints, workspace, name, after=plan.after)
    context = apply_context(workspace, name, run_id, still_ours=still_ours, fresh=fresh)
    undo_path = undo_file(workspace.folder("undo"), run_id, name)
    with writing_section(workspace, context) as locked:
        report = apply_plan(plan, locked, undo_path=undo_path)
    if len(workspace.playbook.destinations) > 1:
        note_moved(workspace, plan)
    return report

"""Carrying a plan out, once: the only place that writes to a provider.

Every write goes the same way: note it in the undo file, *intend* it in the ledger, send it, note what was changed,
record it as *sent* with the receipts, *confirm* it. Whoever dies in between leaves enough behind for `recover.py` to
find out what happened, and for the same plan to be taken up where it was left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from connector.errors import StalePlan
from connector.failpoints import failpoint
from connector.model import Outcome
from connector.plan.document import Plan
from connector.plan.guards import raise_tripped
from connector.plan.outcome import ApplyReport, Refusal
from connector.plan.recover import recover
from connector.plan.undo import (
    Merges,
    UndoFile,
    UndoHead,
    doubtful_properties,
    mark_undone,
    newest_plan,
    read_undo,
    refuse_out_of_order,
    undo_file,
    undo_plan,
)
from connector.plan.walk import ApplyContext, Consent, Done, Walk

if TYPE_CHECKING:
    from connector.journal import Journal

HELD = "held"
"""The fingerprint of what the journal says the destination holds; it moves while a plan is being applied."""

__all__ = ["HELD", "ApplyContext", "ApplyReport", "Consent", "Refusal", "apply_plan", "refuse_stale", "undo_run"]


def apply_plan(plan: Plan, context: ApplyContext, *, undo_path: Path) -> ApplyReport:
    """Carry the plan out, or take it up where an interrupted run left it; the caller holds the run's lock.

    Args:
        plan: What to do; its guards are enforced here.
        context: What to do it with.
        undo_path: Where the undo file goes; `undo_file` says its name.

    Raises:
        GuardTripped: A guard refused the plan. Nothing was written.
        StalePlan: It expired or the world moved since. Nothing was written.
    """
    failpoint("apply.started")
    journal, meter = context.journal, _Meter(context)
    _settle_earlier(context, plan.destination)
    raise_tripped(plan.guards)
    resumed = newest_plan(undo_path.parent, plan.destination) == plan.plan_id
    present = context.fingerprints() if context.fingerprints is not None else None
    refuse_stale(plan, now=context.clock.now(), present=present, resumed=resumed)
    walk = Walk(plan, context, _done_before(plan, journal) if resumed else Done())
    if not plan.empty:
        with UndoFile(undo_path, _undo_head(plan, context)) as undo:
            failpoint("apply.undo_opened")
            walk.walk(undo)
        walk.settle_unknown()
    failpoint("apply.finished")
    if walk.stopped is None and journal.plans.get(plan.plan_id) is not None:
        journal.plans.mark_applied(plan.plan_id, context.run_id)
    walk.outcomes[Outcome.UNKNOWN] += _still_unknown(context, plan.destination)
    return walk.report(api_calls=meter.calls(), seconds=meter.seconds())


def undo_run(
    run_id: str, context: ApplyContext, *, folder: Path, destination_name: str, decisions: bool = True
) -> ApplyReport:
    """Take back what a run changed in one destination; `folder` has the undo files of all runs.

    Safe to start again after a crash. Consent holds here too: an opted-out contact is not put back on a list.

    Args:
        run_id: The run.
        context: What to do it with.
        folder: Of the undo files.
        destination_name: The destination.
        decisions: Whether what the run decided is taken back too: with the last of its destinations.

    Raises:
        StateError: There is no such run, it was undone already, or a later run built on it.
    """
    meter = _Meter(context)
    _settle_earlier(context, destination_name)
    path = undo_file(folder, run_id, destination_name)
    log = read_undo(path)
    refuse_out_of_order(log, folder)
    plan = undo_plan(
        log,
        now=context.clock.now(),
        capabilities=context.destination.capabilities,
        forecast=context.destination.forecast,
        list_ids=context.journal.held.lists(destination_name),
        merges=Merges(context.merged, context.journal.held.members(destination_name)) if context.merged else None,
    )
    walk = Walk(plan, context, Done())
    walk.notices += [
        f"property {name} was left: it is not certain that this run made it" for name in doubtful_properties(log)
    ]
    head = replace(_undo_head(plan, context), undoes=run_id)
    with UndoFile(undo_file(folder, context.run_id, destination_name), head) as undo:
        failpoint("apply.undo_opened")
        walk.walk(undo)
    walk.settle_unknown()
    report = walk.report(api_calls=meter.calls(), seconds=meter.seconds())
    if report.exit_code == 0:
        if decisions:
            context.journal.episodes.undo(run_id, context.clock.now())
        mark_undone(path, context.run_id)
    return report


def refuse_stale(plan: Plan, *, now: datetime, present: Mapping[str, str] | None, resumed: bool = False) -> None:
    """Raise StalePlan when the plan has expired or one of its inputs changed; `present` are today's fingerprints.

    What the destination holds is allowed to have moved when the plan itself moved it.
    """
    hint = "make a new plan: `winback plan`."
    if now > plan.expires_at:
        raise StalePlan(f"the plan expired at {plan.expires_at:%Y-%m-%d %H:%M} UTC", hint=hint)
    if present is None:
        return
    moved = [
        name
        for name in sorted({*plan.fingerprints, *present})
        if plan.fingerprints.get(name) != present.get(name) and not (resumed and name == HELD)
    ]
    if moved:
        raise StalePlan(f"changed since the plan was made: {', '.join(moved)}", hint=hint)


def _settle_earlier(context: ApplyContext, name: str) -> None:
    """Find out what an earlier run left open, and say so."""
    recovered = recover(context.journal, context.destination, name=name, clock=context.clock, merged=context.merged)
    if recovered.batches:
        context.reporter.line(str(recovered))


def _still_unknown(context: ApplyContext, name: str) -> int:
    """Rows of earlier runs of which the destination cannot tell yet what became of them."""
    left = context.journal.ledger.unresolved(name)
    return sum(len(batch.undecided) for batch in left if batch.run_id != context.run_id)


def _done_before(plan: Plan, journal: Journal) -> Done:
    return Done(journal.held.members(plan.destination), journal.held.properties(plan.destination))


def _undo_head(plan: Plan, context: ApplyContext) -> UndoHead:
    return UndoHead(
        run_id=context.run_id,
        plan_id=plan.plan_id,
        account=plan.account,
        destination=plan.destination,
        system=plan.system,
        paced=plan.paced,
    )


class _Meter:
    """Calls and seconds since it was made."""

    def __init__(self, context: ApplyContext) -> None:
        self._context = context
        self._started, self._before = context.clock.monotonic(), context.calls()

    def calls(self) -> int:
        """API calls since then."""
        return self._context.calls() - self._before

    def seconds(self) -> float:
        """Seconds since then."""
        return self._context.clock.monotonic() - self._started

"""What a run wrote, taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from connector.crms import destinations_in_order, records_of
from connector.errors import SettingError
from connector.pipeline.away import AWAY
from connector.pipeline.context import apply_context, writing_section
from connector.pipeline.lock import StillOurs, unlocked
from connector.pipeline.outcome import Applied, not_written_to
from connector.pipeline.recording import Recorded
from connector.pipeline.segmenting import evaluate

if TYPE_CHECKING:
    from pathlib import Path

    from connector.plan.apply import ApplyReport, Consent
    from connector.workspace import Workspace


def undo(workspace: Workspace, run_id: str, *, still_ours: StillOurs = unlocked) -> Applied:
    """Take back what a run wrote, in every CRM it wrote to; what it decided, with the last of them."""
    from connector.plan.outcome import together

    names = destinations_in_order(workspace)
    if workspace.journal.runs.get(run_id) is None:
        raise SettingError(f"no run {run_id!r} is known here", hint="`winback status` lists the runs")
    left = _to_undo(workspace, run_id, names)
    with Recorded(workspace, "undo") as recorded:
        reports: list[ApplyReport] = []
        for name in left:
            last = len(reports) == len(left) - 1 and not any(report.exit_code for report in reports)
            reports.append(
                _undo_one(
                    workspace, run_id, name, recorded.run_id, last=last, still_ours=still_ours, alone=len(left) == 1
                )
            )
        recorded.report = together(reports)
    return Applied(recorded.report)


def _to_undo(workspace: Workspace, run_id: str, names: Sequence[str]) -> list[str]:
    """The destinations the run wrote to and that have not been undone yet; the first where there are none."""
    from connector.plan.undo import read_undo, undo_file

    if len(names) == 1:
        return list(names)
    folder = workspace.folder("undo")
    written = {name: path for name in names if (path := undo_file(folder, run_id, name)).exists()}
    left = [name for name, path in written.items() if read_undo(path).undone_by is None]
    return left or list(written)[:1] or list(names[:1])


def _undo_one(
    workspace: Workspace, run_id: str, name: str, by: str, *, last: bool, still_ours: StillOurs, alone: bool
) -> ApplyReport:
    from connector.plan.apply import undo_run
    from connector.plan.undo import undo_file

    try:
        context = apply_context(workspace, name, by, still_ours=still_ours, fresh=None)
        folder = workspace.folder("undo")
        blocked = _must_be_in_nothing(workspace, name, undo_file(folder, run_id, name))
        context = replace(context, consent=_also(context.consent, blocked))
        with writing_section(workspace, context) as locked:
            return undo_run(run_id, locked, folder=folder, destination_name=name, decisions=last)
    except AWAY as error:
        if alone:
            raise
        return not_written_to(workspace, error, by, name)


def _must_be_in_nothing(workspace: Workspace, name: str, noted: Path) -> Mapping[str, str]:
    """Records a plan of today would keep out, or leave alone: without permission, held out. An undo does no less.

    noted: The undo file. Whom it puts back is looked at, too, which a plan does not do with whoever is in no segment
        any more and in no program.
    """
    from connector.plan.build import Current
    from connector.plan.undo import put_back, read_undo
    from connector.target import target

    if not workspace.playbook.programs:
        return {}
    records = records_of(workspace, workspace.destination(name).system)
    coming = [records.contact_id(row_id) for row_id in put_back(read_undo(noted))] if noted.exists() else []
    aim = target(workspace, name, evaluate(workspace, workspace.today()), Current(), named=coming)
    held_out = {
        row_id: "held_out"
        for episode in workspace.journal.episodes.everybody()
        if episode.open and episode.held_out and (row_id := aim.records.row_id(episode.contact_id)) is not None
    }
    return {**held_out, **aim.frozen, **aim.blocked}


def _also(consent: Consent, blocked: Mapping[str, str]) -> Consent:
    """Whom either keeps out."""
    return lambda row_ids: {row: blocked[row] for row in row_ids if row in blocked} | dict(consent(row_ids))

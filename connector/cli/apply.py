"""`winback apply`: exactly the plan, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, Config, Now

if TYPE_CHECKING:
    from connector.pipeline.outcome import Applied


def command(
    plan: Annotated[
        Path | None,
        typer.Argument(
            help="A plan file; the newest by default, of each CRM.", metavar="[FILE]", exists=True, dir_okay=False
        ),
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Carry out a plan in the CRM. Refuses when the plan's inputs changed since it was made."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import confirmed, say
    from connector.pipeline.applying import apply_files
    from connector.pipeline.plan_files import newest_plans, refuse_other_day
    from connector.plan.document import Plan
    from connector.plan.render import render_plan

    with open_workspace(config, now=now) as workspace, workspace.locked() as still_ours:
        documents = []
        for path in [plan] if plan is not None else newest_plans(workspace):
            documents.append(Plan.read(path))
            if plan is None:
                refuse_other_day(workspace, path, documents[-1])
        todo = [document for document in documents if not document.empty]
        if not yes and todo:
            for document in todo:
                say(render_plan(document))
            if not confirmed("Apply this plan?" if len(documents) == 1 else "Apply these plans?"):
                raise typer.Abort
        applied = apply_files(workspace, documents, still_ours=still_ours)
    finish(applied, as_json=as_json)


def finish(applied: Applied, *, as_json: bool) -> None:
    """Print the outcome and leave with its exit code."""
    from connector.cli.terminal import out, out_json, say
    from connector.redact import redact

    report = applied.report
    if as_json:
        out_json({**report.summary(), "set_aside": applied.set_aside})
    else:
        for part in report.parts:
            out(f"{part.destination}: {part.written:,} written, {part.api_calls:,} API calls")
        out(
            f"run {report.run_id}: {report.written:,} written, {report.unchanged:,} already so, "
            f"{report.rejected:,} rejected, {report.unknown:,} unknown; "
            f"{report.api_calls:,} API calls to {report.destination}; {report.seconds:.1f} s"
        )
        if applied.set_aside:
            out(f"  rows of the sources that could not be read: {applied.set_aside:,}; `winback status` lists them")
        for reason, count in sorted(report.skipped.items()):
            out(f"  left out at the last moment: {count:,} ({reason})")
        for refusal in report.rejections[:_SHOWN]:
            who = refusal.row_id or f"all {refusal.rows:,} rows"
            out(f"  rejected {who} ({refusal.target or 'properties'}): {redact(refusal.message)}")
        if len(report.rejections) > _SHOWN:
            out(f"  … {len(report.rejections) - _SHOWN:,} more: winback status")
        for notice in report.notices:
            out(f"  {redact(notice)}")
    if report.stopped is not None:
        say(f"error: stopped early: {redact(str(report.stopped))}")
        say(f"  → {report.stopped.hint or 'run the same command again: it goes on from there'}")
    if applied.exit_code:
        raise typer.Exit(code=applied.exit_code)


_SHOWN = 10

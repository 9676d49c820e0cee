"""`winback plan`: the difference between what should be and what the CRM holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, AsOf, Config, Now

if TYPE_CHECKING:
    from connector.plan.document import Plan

CHANGES_PENDING = 4


def command(
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Where to write the plan file; of several CRMs, one each: FILE with the destination's name in it.",
            metavar="FILE",
            dir_okay=False,
        ),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Read back what the CRM holds first, and say what others changed.")
    ] = False,
    as_of: AsOf = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 4 when there are changes to apply.")
    ] = False,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Show every change that apply would make, and write it to a plan file."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out_json, say
    from connector.errors import GuardTripped, worst
    from connector.pipeline.plan_files import plan_path
    from connector.pipeline.planning import make_plans
    from connector.plan.guards import raise_tripped
    from connector.plan.together import summary_of
    from connector.redact import redact

    with open_workspace(config, now=now) as workspace, workspace.locked():
        plans = make_plans(workspace, as_of=as_of, refresh=refresh)
        several = len(plans.made) + len(plans.away) > 1
        files = []
        for planned in plans.made:
            path = _beside(out, planned.plan) if out and several else out or plan_path(workspace, planned.plan)
            planned.plan.write(path)
            files.append(path)
        made = [planned.plan for planned in plans.made]
        refused = [guard for plan in made for guard in plan.guards if not guard.ok]
        if as_json:
            said = [{"drift": list(one.drift), "file": str(path)} for one, path in zip(plans.made, files, strict=True)]
            out_json(summary_of(made, further=said, away={n: redact(str(e)) for n, e in plans.away.items()}))
        else:
            _show(made, files, named=out is not None)
        for name, error in plans.away.items():
            say(f"no plan for {name}: {redact(str(error))}")
        if not as_json and not plans.away:
            raise_tripped([guard for plan in made for guard in plan.guards])
    if refused:
        for guard in refused:
            say(f"refused: {guard.message}")
            say(f"  → {guard.hint}")
    if plans.away or refused:
        codes = [error.exit_code for error in plans.away.values()]
        raise typer.Exit(code=worst([*codes, *([GuardTripped.exit_code] if refused else [])]))
    if detailed_exitcode and not all(plan.empty for plan in made):
        raise typer.Exit(code=CHANGES_PENDING)


def _show(plans: Sequence[Plan], files: Sequence[Path], *, named: bool) -> None:
    """What each plan does, where it is, and how to carry all of them out."""
    from connector.cli.terminal import out as print_out
    from connector.plan.render import render_plan

    for number, (plan, path) in enumerate(zip(plans, files, strict=True)):
        print_out(("\n" if number else "") + render_plan(plan))
        print_out(f"\nplan file: {path}")
    todo = [path for plan, path in zip(plans, files, strict=True) if not plan.empty]
    if todo and all(guard.ok for plan in plans for guard in plan.guards):
        for path in todo if named else todo[:1]:
            print_out("carry it out with: winback apply" + (f" {path}" if named else ""))


def _beside(out: Path, plan: Plan) -> Path:
    """`plan.json` for the destination crm is `plan.crm.json`."""
    return out.with_name(f"{out.stem}.{plan.destination}{out.suffix}")

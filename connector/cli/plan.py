"""`winback plan`: the difference between what should be and what the CRM holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, AsOf, Config, Now

CHANGES_PENDING = 4


def command(
    *,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write the plan file.", metavar="FILE", dir_okay=False)
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
    from connector.cli.terminal import out as print_out
    from connector.cli.terminal import out_json, say
    from connector.errors import GuardTripped
    from connector.pipeline import make_plan, plan_path
    from connector.plan.guards import raise_tripped
    from connector.plan.render import render_plan

    with open_workspace(config, now=now) as workspace, workspace.locked():
        planned = make_plan(workspace, as_of=as_of, refresh=refresh)
        plan = planned.plan
        path = out or plan_path(workspace, plan)
        plan.write(path)
        refused = [guard for guard in plan.guards if not guard.ok]
        if as_json:
            out_json({**plan.summary(), "drift": list(planned.drift), "file": str(path)})
        else:
            print_out(render_plan(plan))
            print_out(f"\nplan file: {path}")
            if not plan.empty and not refused:
                print_out("carry it out with: winback apply" + (f" {path}" if out else ""))
            raise_tripped(plan.guards)
    if refused:
        for guard in refused:
            say(f"refused: {guard.message}")
            say(f"  → {guard.hint}")
        raise typer.Exit(code=GuardTripped.exit_code)
    if detailed_exitcode and not plan.empty:
        raise typer.Exit(code=CHANGES_PENDING)

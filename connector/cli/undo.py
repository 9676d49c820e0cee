"""`winback undo`: restores what an apply changed."""

from __future__ import annotations

from typing import Annotated

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, Config, Now


def command(
    run: Annotated[str, typer.Argument(help="The run to undo; `winback status` lists them.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Put back what this run changed in the CRM: memberships, property values, lists it made."""
    from connector.cli.apply import finish
    from connector.cli.session import open_workspace
    from connector.cli.terminal import confirmed
    from connector.pipeline.undoing import undo

    with open_workspace(config, now=now) as workspace, workspace.locked() as still_ours:
        if not yes and not confirmed(f"Undo everything run {run} wrote to the CRM?"):
            raise typer.Abort
        report = undo(workspace, run, still_ours=still_ours)
    finish(report, as_json=as_json)

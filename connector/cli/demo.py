"""`winback demo`: the whole main job on a sandbox, told step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    *,
    repo: Annotated[
        Path | None, typer.Option("--repo", help="Take a git repository's contributors as the users.", metavar="PATH")
    ] = None,
    contacts: Annotated[int, typer.Option("--contacts", help="How many people the CRM knows.", min=20)] = 5000,
    days: Annotated[
        int,
        typer.Option("--days", help="How many days to walk; 30 and more show the end.", min=0, max=365),
    ] = 40,
    crm: Annotated[str, typer.Option("--crm", help="Which CRM's sandbox to use.")] = "hubspot",
    folder: Annotated[Path, typer.Option("--folder", help="Where the demo keeps its files.")] = Path("winback-demo"),
    serve: Annotated[bool, typer.Option("--serve", help="Keep the sandbox and its page up afterwards.")] = False,
) -> None:
    """The whole main job on a local look-alike of your CRM: nothing to set up, nothing leaves this machine."""
    from connector.cli.story import tell

    tell(folder=folder, crm=crm, contacts=contacts, days=days, repo=repo, serve=serve)

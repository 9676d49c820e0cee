"""`winback init`: a few questions, then winback.yaml and .env.example."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

PLAYBOOKS = ("saas", "developer-platform", "ecommerce", "open-source")
CRMS = ("hubspot", "salesforce")


def command(
    folder: Annotated[Path, typer.Argument(help="Where to put the files.", metavar="[FOLDER]")] = Path(),
    *,
    playbook: Annotated[
        str | None, typer.Option("--playbook", help=f"Start from: {', '.join(PLAYBOOKS)}.", metavar="NAME")
    ] = None,
    crm: Annotated[
        str | None, typer.Option("--crm", help=f"Which CRM it begins with: {', '.join(CRMS)}.", metavar="NAME")
    ] = None,
    account: Annotated[str | None, typer.Option("--account", help="A short name for your company.")] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", help="Where your days begin: Europe/Paris.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> None:
    """Write a commented playbook to start from, the schema for your editor and .env.example."""
    from connector.cli.terminal import out
    from connector.scaffold import scaffold

    name = playbook or _ask("Which kind of product", PLAYBOOKS[0], PLAYBOOKS)
    home = crm or _ask("The CRM you run", CRMS[0], CRMS)
    company = account or _ask("A short name for your company", "acme")
    zone = timezone or _ask("The time zone your days begin in", "UTC")
    for path in scaffold(folder, playbook=name, account=company, timezone=zone, crm=home, force=force):
        out(f"wrote {path}")
    out("")
    where = "" if folder == Path() else f"in {folder}: "
    out(f"next, {where}copy .env.example to .env and fill in what it names, then")
    out("  set -a; . ./.env; set +a")
    out("  winback check")
    out("  winback pull && winback segments")


def _ask(question: str, default: str, choices: tuple[str, ...] = ()) -> str:
    """Ask a person; without a terminal the default is the answer."""
    if not sys.stdin.isatty():
        return default
    options = f" ({', '.join(choices)})" if choices else ""
    answer: str = typer.prompt(f"{question}{options}", default=default, err=True)
    return answer

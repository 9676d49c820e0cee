"""`winback config schema|show`: the playbook's schema, and where each value came from."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, Config

app = typer.Typer(help="The playbook's schema, and what it says once everything is filled in.", no_args_is_help=True)


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of winback.yaml, for completion in an editor."""
    import json

    from connector.cli.terminal import out
    from connector.registry import installed_adapters, installed_receivers
    from connector.settings import json_schema

    out(json.dumps(json_schema(installed_adapters(), installed_receivers()), indent=2))


@app.command("show")
def show(
    *,
    config: Config = DEFAULT_CONFIG,
    resolved: Annotated[
        bool, typer.Option("--resolved/--no-resolved", help="With defaults filled in and the origin of each value.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Print every setting, where it came from, secrets masked."""
    from connector.cli.terminal import out, out_json, table
    from connector.registry import installed_adapters, installed_receivers
    from connector.settings import load_playbook

    playbook = load_playbook(config, environ=os.environ, adapters=installed_adapters(), receivers=installed_receivers())
    values = playbook.resolved(mask=True)
    if not resolved:
        values = [value for value in values if value.origin != "default"]
    if as_json:
        body = [{"key": value.key, "value": value.value, "origin": value.origin} for value in values]
        out_json({"schema_version": 1, "settings": body})
        return
    if not values:
        out("nothing is set")
        return
    table(["setting", "value", "from"], [[value.key, str(value.value), value.origin] for value in values])

"""`winback adapters`: what is installed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from connector.cli.options import AsJson


def command(
    name: Annotated[str | None, typer.Argument(help="Show this adapter's manual.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the installed adapters, or show one adapter's manual."""
    from connector.cli.terminal import out, out_json, table
    from connector.registry import installed_adapters

    adapters = installed_adapters()
    if name is not None:
        manual = (adapters.require(name).folder / "README.md").read_text(encoding="utf-8")
        if as_json:
            out_json({"schema_version": 1, "name": name, "manual": manual})
        else:
            out(manual)
        return
    rows: list[dict[str, Any]] = [
        {
            "name": adapter.name,
            "title": adapter.title,
            "source": adapter.source is not None,
            "destination": adapter.destination is not None,
            "sandbox": adapter.sandbox is not None,
            "package": adapters.distribution(adapter.name),
        }
        for adapter in adapters.values()
    ]
    if as_json:
        out_json({"schema_version": 1, "adapters": rows})
        return
    table(list(rows[0]), [list(row.values()) for row in rows])

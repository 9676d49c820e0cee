"""`winback pull`: sources into the warehouse."""

from __future__ import annotations

from typing import Annotated

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, Config, Now


def command(
    sources: Annotated[list[str] | None, typer.Argument(help="Only these sources.", metavar="[SOURCE]...")] = None,
    *,
    config: Config = DEFAULT_CONFIG,
    full: Annotated[bool, typer.Option("--full", help="Read everything again, not only what is new.")] = False,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Read the sources into the warehouse; safe to interrupt, goes on where it stopped."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out_json, table
    from connector.pipeline.pulling import pull_sources

    with open_workspace(config, now=now) as workspace, workspace.locked() as still_ours:
        reports = pull_sources(workspace, sources or None, full=full, still_ours=still_ours)
        if as_json:
            out_json(
                {
                    "schema_version": 1,
                    "streams": [
                        {
                            "source": r.source,
                            "stream": r.stream,
                            "rows": r.rows,
                            "new": r.new,
                            "changed": r.changed,
                            "rejected": r.rejects,
                            "seconds": round(r.seconds, 3),
                        }
                        for r in reports
                    ],
                }
            )
        else:
            table(
                ["source", "stream", "rows", "new", "changed", "set aside"],
                [[r.source, r.stream, r.rows, r.new, r.changed, r.rejects] for r in reports],
            )
    if any(report.rejects for report in reports):
        raise typer.Exit(code=3)

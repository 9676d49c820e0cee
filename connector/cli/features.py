"""`winback features`: the features table, or one contact's row."""

from __future__ import annotations

from typing import Annotated

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, AsOf, Config, Now


def command(
    contact: Annotated[str | None, typer.Argument(help="An id or e-mail address.")] = None,
    *,
    as_of: AsOf = None,
    columns: Annotated[str | None, typer.Option("--columns", help="Only these, by comma.", metavar="A,B")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """What is known about every contact, or one, at the end of a day."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out, out_csv, out_json, table
    from connector.pipeline.segmenting import feature_rows
    from connector.plain import plain

    with open_workspace(config, now=now) as workspace:
        day = as_of or workspace.today()
        wanted = [name.strip() for name in columns.split(",") if name.strip()] if columns else None
        names, batches = feature_rows(workspace, day, contact=contact, columns=wanted)
        if csv:
            out_csv(names, (row for batch in batches for row in batch))
            return
        rows = [row for batch in batches for row in batch]
        if as_json:
            out_json(
                {
                    "schema_version": 1,
                    "as_of": day.isoformat(),
                    "features": [dict(zip(names, map(plain, row), strict=True)) for row in rows],
                }
            )
            return
        if contact is not None and rows:
            for name, value in zip(names, rows[0], strict=True):
                out(f"  {name:22} {plain(value) if value is not None else '-'}")
            return
        short = [n for n in names if n in _SHORT] if wanted is None else names
        index = [names.index(n) for n in short]
        table(short, [[row[i] for i in index] for row in rows[:_SCREENFUL]])
        if len(rows) > _SCREENFUL:
            out(f"  … {len(rows) - _SCREENFUL:,} more; --csv for all of them, --columns to choose")


_SCREENFUL = 20
_SHORT = ("contact_id", "inactive_days", "active_days_90", "active_days_365", "gap_median_days", "lifecycle")

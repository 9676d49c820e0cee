"""`winback growth`: who is new, who stayed, who came back, who went quiet, by period."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, AsOf, Config, Now


class Period(StrEnum):
    """The length of a period."""

    day = "day"
    week = "week"
    month = "month"


def command(
    *,
    by: Annotated[Period, typer.Option("--by", help="The length of a period.")] = Period.month,
    as_of: AsOf = None,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Growth accounting: new, retained, resurrected and dormant contacts per period."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out, out_csv, out_json, table
    from connector.pipeline.readying import ready_warehouse

    with open_workspace(config, now=now) as workspace:
        day = as_of or workspace.today()
        rows = ready_warehouse(workspace).growth(by.value, day).to_pylist()
        columns = ["period", "new", "retained", "resurrected", "dormant"]
        values = [[row[column] for column in columns] for row in rows]
        if as_json:
            periods = [dict(zip(columns, row, strict=True)) for row in values]
            out_json({"schema_version": 1, "as_of": day.isoformat(), "by": by.value, "periods": periods})
        elif csv:
            out_csv(columns, values)
        elif values:
            table(columns, values)
            out(f"  the last {by.value} is unfinished: state at the end of {day}")
        else:
            out("no usage yet: run `winback pull` first")

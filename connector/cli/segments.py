"""`winback segments`: who is in which segment."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, AsOf, Config, Now


def command(
    *,
    as_of: AsOf = None,
    members: Annotated[bool, typer.Option("--members", help="One row per contact and group.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Show the SQL that decides.")] = False,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Count the segments, what overlaps, and what changed since the last run."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out, out_csv, out_json, table
    from connector.pipeline.segmenting import evaluate, member_rows, segment_sql

    with open_workspace(config, now=now) as workspace:
        if sql:
            text = segment_sql(workspace, as_of or workspace.today())
            if as_json:
                out_json({"schema_version": 1, "sql": text})
            else:
                out(text)
            return
        evaluation = evaluate(workspace, as_of or workspace.today())
        if members:
            columns = ["contact_id", "inactive_days", "segment"]
            rows = member_rows(workspace, evaluation)
            if as_json:
                out_json(
                    {
                        "schema_version": 1,
                        "as_of": evaluation.as_of.isoformat(),
                        "members": [dict(zip(columns, row, strict=True)) for row in rows],
                    }
                )
            else:
                out_csv(columns, rows)
            return
        if as_json:
            out_json(_document(evaluation))
        elif csv:
            out_csv(["segment", "count", "entered", "left"], _counts(evaluation))
        else:
            table(["segment", "contacts", "entered", "left"], _counts(evaluation))
            out(f"  {evaluation.contacts:,} contacts as of {evaluation.as_of}; entered and left since the last run")
            for first, second, both in evaluation.overlaps:
                out(f"  {both:,} are in both {first} and {second}")


def _counts(evaluation: Any) -> list[list[Any]]:
    return [
        [name, count, evaluation.entered.get(name, 0), evaluation.left.get(name, 0)]
        for name, count in evaluation.counts.items()
    ]


def _document(evaluation: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "as_of": evaluation.as_of.isoformat(),
        "contacts": evaluation.contacts,
        "segments": {
            name: {"count": count, "entered": entered, "left": left}
            for name, count, entered, left in _counts(evaluation)
        },
        "overlaps": [{"segments": [first, second], "count": both} for first, second, both in evaluation.overlaps],
    }

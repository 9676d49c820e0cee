"""`winback explain`: why a contact is in a segment or not, and what happens next."""

from __future__ import annotations

from typing import Annotated

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, AsOf, Config, Now


def command(
    contact: Annotated[str, typer.Argument(help="An id, external id or e-mail address.")],
    *,
    as_of: AsOf = None,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Every rule for one contact, clause by clause with its values, and what would change it."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out, out_json
    from connector.explain import explain
    from connector.plain import spelled

    with open_workspace(config, now=now) as workspace:
        story = explain(workspace, contact, as_of or workspace.today())
    if as_json:
        out_json(story.document())
        return
    signs = {True: "✓", False: "✗", None: "?"}
    out(f"{story.contact_id} as of {story.as_of}")
    for fact in story.facts:
        out(f"  {fact}")
    for segment in story.segments:
        note = f" (but {segment.shadowed_by} matched first)" if segment.shadowed_by else ""
        out(f"\n{signs[segment.matched]} {segment.name}{note}")
        for clause in segment.clauses:
            change = f" · {clause.would_change}" if clause.would_change and clause.holds is not True else ""
            out(f"    {signs[clause.holds]} {clause.text}   [{spelled(clause.value)}]{change}")
    out("")
    for line in story.outcome:
        out(line)

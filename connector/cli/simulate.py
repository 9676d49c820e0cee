"""`winback simulate`: the programs run forward, day by day, before anybody gets a mail.

`--json` prints one object: `{"schema_version": 1, "days": [{"date", "entered", "held_out", "steps": {step: n},
"exits": {reason: n}, "deferred": {reason: n}, "inside", "refused": [what a guard would have said]}], "totals":
{the same keys over all days; "inside" at the end}}`. "entered" and "inside" are treated contacts, "exits" and
"deferred" are those of both arms; "deferred" counts whoever waits on every day, in the totals as often as they waited.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, Config, Now

if TYPE_CHECKING:
    from connector.simulation import Day, Simulated


def command(
    *,
    days: Annotated[int, typer.Option("--days", help="How many days, from tomorrow on.", min=1, max=730)] = 60,
    chart: Annotated[
        Path | None, typer.Option("--chart", help="Write a page with charts too.", metavar="FILE", dir_okay=False)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of who returns when; the same seed, the same days.")] = 0,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Run the programs forward on a look-alike of the CRM: who enters, is mailed, leaves and waits on each day."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import TerminalReporter, out, out_json, say
    from connector.simulation import simulate

    workspace = open_workspace(config, now=now)
    simulated = simulate(
        workspace.playbook,
        days=days,
        seed=seed,
        now=workspace.clock.now(),
        base_dir=workspace.base_dir,
        reporter=TerminalReporter(),
    )
    if as_json:
        out_json(simulated.document())
    else:
        _print(simulated)
    if chart is not None:
        from connector.simulation.chart import page

        chart.write_text(page(simulated, words=_words), encoding="utf-8")
        (say if as_json else out)(f"chart: {chart}")


def _words(code: str) -> str:
    """A reason's code as one reads it in a heading."""
    return code.replace("_", " ")


def _print(simulated: Simulated) -> None:
    from connector.cli.terminal import out, say, table

    steps = list(simulated.steps)
    heads = ["day", "enter", "held out", *steps, "leave", "wait", "inside"]
    table(heads, [_row(day, steps) for day in simulated.days])
    out("")
    ahead = f"{len(simulated.days)} days: {simulated.entered:,} enter, {simulated.held_out:,} are held out"
    out(f"  {ahead}, {simulated.inside:,} inside at the end")
    _counts("mails", simulated.steps)
    _counts("leave", simulated.exits)
    _counts("wait (contacts × days)", simulated.deferred)
    out("  People return by the measured return curve, treated or not: what the program is worth is not guessed here.")
    for day in simulated.days:
        for message in day.refused:
            say(f"{day.on}: a guard would refuse the plan until somebody looks: {message}")


def _row(day: Day, steps: list[str]) -> list[object]:
    taken = [day.steps.get(step, 0) for step in steps]
    leaving, waiting = sum(day.exits.values()), sum(day.deferred.values())
    return [day.on.isoformat(), day.entered, day.held_out, *taken, leaving, waiting, day.inside]


def _counts(title: str, counts: dict[str, int]) -> None:
    from connector.cli.terminal import out

    if counts:
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        out(f"  {title}: " + ", ".join(f"{_words(name)} {count:,}" for name, count in ranked))

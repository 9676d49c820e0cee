"""The simulated days as one HTML file: small charts drawn in SVG, and the same numbers as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from math import ceil, log10

from connector.simulation.forward import Day, Simulated

WIDTH, HEIGHT = 880, 190
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 26
COLOURS = 8
"""Classes c0 to c7; what comes after the seventh largest is drawn together as the last."""

NOTE = (
    "A simulation: people return by the measured return curve, whether they are treated or not. "
    "Nothing was written anywhere."
)
OTHERS = "other"
DATE_TICKS = 8
GRID_LINES = 4

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --quiet: #5a6275; --line: #d9dde6; --paper: #ffffff; --band: #f5f6f9;
  --c0: #3566c4; --c1: #c2571a; --c2: #2a7f62; --c3: #8a4fb0; --c4: #a8791a; --c5: #b03a5b; --c6: #4b7d9a;
  --c7: #7a7f8c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaf1; --quiet: #a3abbd; --line: #394154; --paper: #151922;
  --band: #1d2330; --c0: #7ea6ff; --c1: #f2965a; --c2: #5cc49c; --c3: #c797ea; --c4: #dcb04c; --c5: #f07f9d;
  --c6: #86bfdf; --c7: #9aa1b1; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .25rem; }
p { margin: .25rem 0; } .quiet { color: var(--quiet); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .5rem 1.5rem; margin: 1.25rem 0; }
dt { color: var(--quiet); font-size: .85rem; } dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; min-width: 36rem; height: auto; }
svg rect { stroke: var(--paper); stroke-width: .75; }
svg text { fill: var(--quiet); font-size: 12px; } svg .grid { stroke: var(--line); }
svg .curve { fill: none; stroke-width: 2.5; stroke-linejoin: round; }
ul.legend { display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; list-style: none; margin: .25rem 0; padding: 0;
  font-size: .9rem; }
ul.legend i { display: inline-block; width: .75em; height: .75em; margin-right: .4em; border-radius: 2px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; width: 100%; }
caption { text-align: left; color: var(--quiet); padding: .25rem 0; }
th, td { padding: .2rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
thead th { color: var(--quiet); font-weight: 600; vertical-align: bottom; white-space: normal; }
th[scope=row], th:first-child { text-align: left; } th[scope=row] { font-weight: 400; }
tfoot th, tfoot td { font-weight: 600; }
tbody tr:nth-child(even) { background: var(--band); }
"""

_COLOUR_STYLE = "".join(
    f".c{n} {{ fill: var(--c{n}); }} .s{n} {{ stroke: var(--c{n}); }} .b{n} {{ background: var(--c{n}); }}\n"
    for n in range(COLOURS)
)

Series = Sequence[tuple[str, Sequence[int]]]
"""A name and a number for each day."""


def page(simulated: Simulated, *, words: Callable[[str], str] = str) -> str:
    """The file's text; `words` says a reason's code in plain words."""
    days = simulated.days
    span = f"{days[0].on} to {days[-1].on}" if days else "no days"
    title = f"{simulated.account}: what the program would do, {span}"
    parts = [
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{_COLOUR_STYLE}</style>\n</head>\n<body>\n<main>",
        f"<h1>{escape(title)}</h1>",
        f"<p class=quiet>{NOTE}</p>",
        _figures(simulated),
        *_charts(simulated, words),
        _table(simulated, words),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _figures(simulated: Simulated) -> str:
    shown = {
        "entered": simulated.entered,
        "held out": simulated.held_out,
        "mails": sum(simulated.steps.values()),
        "left": sum(simulated.exits.values()),
        "inside at the end": simulated.inside,
    }
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value:,}</dd></div>" for name, value in shown.items()) + "</dl>"


def _charts(simulated: Simulated, words: Callable[[str], str]) -> Iterator[str]:
    days = simulated.days
    entering = [("entered", [day.entered for day in days]), ("held out", [day.held_out for day in days])]
    yield _chart("Entering each day", days, entering)
    yield _chart("Inside after each day's run", days, (), curve=[day.inside for day in days])
    mails = [(step, [day.steps.get(step, 0) for day in days]) for step in simulated.steps]
    yield _chart("Mails each day, by step", days, mails)
    yield _chart("Leaving each day, by reason", days, _series(days, lambda day: day.exits, words))
    waiting = _series(days, lambda day: day.deferred, words)
    yield _chart("Waiting each day, by reason", days, waiting)


def _series(
    days: Sequence[Day], of: Callable[[Day], Mapping[str, int]], words: Callable[[str], str]
) -> list[tuple[str, list[int]]]:
    """A series for each name, the largest first; beyond the seventh they are one."""
    names: dict[str, int] = {}
    for day in days:
        for name, count in of(day).items():
            names[name] = names.get(name, 0) + count
    ranked = sorted(names, key=lambda name: (-names[name], name))
    shown = ranked if len(ranked) <= COLOURS else ranked[: COLOURS - 1]
    found = [(words(name), [of(day).get(name, 0) for day in days]) for name in shown]
    rest = ranked[len(shown) :]
    return [*found, (OTHERS, [sum(of(day).get(name, 0) for name in rest) for day in days])] if rest else found


# --- one chart ----------------------------------------------------------------------------------------------


def _chart(title: str, days: Sequence[Day], series: Series, *, curve: Sequence[int] | None = None) -> str:
    """Stacked bars for each day, or a line through them."""
    sums = [sum(values[n] for _, values in series) for n in range(len(days))]
    top = _round_up(max([*sums, *(curve or []), 1]))
    names = [name for name, _ in series] + (["inside"] if curve is not None else [])
    total = "In all: " + (", ".join(f"{name} {sum(values):,}" for name, values in series) or "nothing")
    if curve is not None:
        total = f"At the end: {curve[-1] if curve else 0:,}, at most {max(curve, default=0):,}"
    label = escape(f"{title}. {total}")
    drawn = [*_grid(top), *_dates(days), *_bars(days, series, top)]
    drawn += [_line(curve, top, number=len(series))] if curve is not None else []
    legend = "".join(f'<li><i class="b{n % COLOURS}"></i>{escape(name)}</li>' for n, name in enumerate(names))
    return (
        f"<section>\n<h2>{escape(title)}</h2>\n<ul class=legend>{legend}</ul>\n"
        f'<div class="scroll"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">\n'
        + "\n".join(drawn)
        + "\n</svg></div>\n</section>"
    )


def _x(number: int, count: int) -> float:
    """The left edge of a day's place."""
    return LEFT + (WIDTH - LEFT - RIGHT) * number / max(count, 1)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top


def _grid(top: int) -> Iterator[str]:
    for part in range(GRID_LINES + 1):
        value = top * part / GRID_LINES
        y = _y(value, top)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,.0f}</text>'


def _dates(days: Sequence[Day]) -> Iterator[str]:
    every = max(1, ceil(len(days) / DATE_TICKS))
    for number in range(0, len(days), every):
        x = (_x(number, len(days)) + _x(number + 1, len(days))) / 2
        on = days[number].on
        yield f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{on.day} {on:%b}</text>'


def _bars(days: Sequence[Day], series: Series, top: int) -> Iterator[str]:
    gap = min(2.0, (WIDTH - LEFT - RIGHT) / max(len(days), 1) / 5)
    for number, day in enumerate(days):
        left, right = _x(number, len(days)), _x(number + 1, len(days))
        below = 0
        for colour, (name, values) in enumerate(series):
            count = values[number]
            if not count:
                continue
            high, low = _y(below + count, top), _y(below, top)
            below += count
            yield (
                f'<rect class="c{colour % COLOURS}" x="{left + gap / 2:.1f}" y="{high:.1f}" '
                f'width="{right - left - gap:.1f}" height="{low - high:.1f}">'
                f"<title>{day.on}: {escape(name)} {count:,}</title></rect>"
            )


def _line(values: Sequence[int], top: int, *, number: int) -> str:
    middle = [(_x(n, len(values)) + _x(n + 1, len(values))) / 2 for n in range(len(values))]
    points = " ".join(f"{x:.1f},{_y(value, top):.1f}" for x, value in zip(middle, values, strict=True))
    return f'<polyline class="curve s{number % COLOURS}" points="{points}"/>'


def _round_up(value: int) -> int:
    """A round number at or above, which four parts divide well."""
    scale: int = 10 ** int(log10(max(value, 1)))
    steps = (1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 6.0, 8.0, 10.0)
    return max(GRID_LINES, next(ceil(step * scale) for step in steps if step * scale >= value))


# --- the table ----------------------------------------------------------------------------------------------


def _table(simulated: Simulated, words: Callable[[str], str]) -> str:
    steps, exits, deferred = list(simulated.steps), list(simulated.exits), list(simulated.deferred)
    heads = ["day", "entered", "held out", *steps, *(f"left: {words(reason)}" for reason in exits)]
    heads += [*(f"waits: {words(reason)}" for reason in deferred), "inside"]
    lines = [
        _row(
            day.on.isoformat(),
            [
                day.entered,
                day.held_out,
                *(day.steps.get(step, 0) for step in steps),
                *(day.exits.get(reason, 0) for reason in exits),
                *(day.deferred.get(reason, 0) for reason in deferred),
                day.inside,
            ],
        )
        for day in simulated.days
    ]
    sums: list[int | None] = [simulated.entered, simulated.held_out, *simulated.steps.values()]
    sums += [*simulated.exits.values(), *(None for _ in deferred), simulated.inside]
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in heads)
    foot = _row("all", sums)
    return (
        '<section>\n<h2>Day by day</h2>\n<div class="scroll" tabindex="0" role="region" aria-label="Day by day">\n'
        "<table><caption>The same numbers. Who waits is counted on every day.</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(lines)
        + f"\n</tbody>\n<tfoot>{foot}</tfoot>\n</table>\n</div>\n</section>"
    )


def _row(head: str, values: Sequence[int | None]) -> str:
    cells = "".join(f"<td>{'' if value is None else f'{value:,}'}</td>" for value in values)
    return f"<tr><th scope=row>{escape(head)}</th>{cells}</tr>"

"""What the commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connector.errors import SettingError
from connector.plain import plain

FORMULA_SIGNS = "=+-@\t\r\0＝＋－＠"
"""What a spreadsheet takes for the beginning of a formula."""

PROGRESS_EVERY_SECONDS = 5.0
"""Without a terminal, a long task says how far it is this often."""


def say(text: str) -> None:
    """A message for the person at the terminal, on stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201  # this is the one place that prints messages


def out(text: str = "") -> None:
    """A line of the result, on stdout."""
    print(text, flush=True)  # noqa: T201  # this is the one place that prints results


def out_json(document: Mapping[str, Any]) -> None:
    """The result as one JSON object on stdout."""
    out(json.dumps(document, ensure_ascii=False, sort_keys=False, default=str))


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns that line up: the first to the left, numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(header), *(len(row[i]) for row in cells), 0) for i, header in enumerate(headers)]
    numeric = [all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(headers))]
    for line in [list(headers), *cells]:
        parts = [
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, numeric, strict=True)
        ]
        out("  " + "  ".join(parts).rstrip())


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


class TerminalReporter:
    """Progress for a person: a line that is rewritten on a terminal, a line now and then elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._task: str | None = None
        self._started = 0.0
        self._shown = 0.0

    def line(self, text: str) -> None:
        """Say one thing worth a line."""
        self._clear()
        if not self._quiet:
            say(text)

    def progress(self, task: str, done: int, total: int | None = None) -> None:
        """Say how far a long task has come: rows, rate, time left."""
        now = time.monotonic()
        if task != self._task:
            self._clear()
            self._task, self._started, self._shown = task, now, now
        finished = total is not None and done >= total
        wait = 0.1 if self._live else PROGRESS_EVERY_SECONDS
        if self._quiet or (now - self._shown < wait and not (finished and self._live)):
            return
        self._shown = now
        text = _progress_text(task, done, total, now - self._started)
        if self._live:
            sys.stderr.write(f"\r\x1b[2K{text}")
            sys.stderr.flush()
        else:
            say(text)

    def _clear(self) -> None:
        if self._live and self._task is not None:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
        self._task = None


def _progress_text(task: str, done: int, total: int | None, seconds: float) -> str:
    rate = done / seconds if seconds > 0 else 0.0
    parts = [f"{task}: {done:,}" + (f" of {total:,}" if total else "")]
    if rate > 0:
        parts.append(f"{rate:,.0f}/s")
    if total and rate > 0 and done < total:
        parts.append(f"{_duration((total - done) / rate)} left")
    return " · ".join(parts)


def _duration(seconds: float) -> str:
    minute = 60
    if seconds < minute:
        return f"{seconds:.0f} s"
    if seconds < 60 * minute:
        return f"{seconds / minute:.0f} min"
    return f"{seconds / 3600:.1f} h"


def out_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows as CSV on stdout: empty for unknown, and no cell that a spreadsheet would run as a formula."""
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([_harmless(name) for name in columns])
    writer.writerows([_harmless(plain(value)) for value in row] for row in rows)
    sys.stdout.flush()


def _harmless(value: object) -> object:
    """Text that begins like a formula gets a leading apostrophe (numbers stay numbers)."""
    if value is None:
        return ""
    if isinstance(value, str) and (value.lstrip(" ")[:1] or "x") in FORMULA_SIGNS:
        return f"'{value}"
    return value


def confirmed(question: str) -> bool:
    """Ask a person.

    Raises:
        SettingError: there is no terminal, so nobody to ask.
    """
    if not sys.stdin.isatty():
        raise SettingError(f"{question} There is nobody to ask here", hint="look first, then repeat with --yes")
    say(f"{question} [y/N] ")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}

"""Where something the user wrote stands, for error messages, and how several errors are told at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from connector.errors import SettingError


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a file; lines and columns count from 1.

    file: The file as the user named it, or another origin such as `environment variable WINBACK_ACCOUNT`.
    line: 0 where the origin has no lines.
    offsets: For a text value, the (line, column) of each of its characters and of the place behind the last.
    """

    file: str
    line: int = 0
    column: int = 0
    offsets: tuple[tuple[int, int], ...] = ()

    def at(self, offset: int) -> Location:
        """Where the value's character number `offset` stands."""
        if not self.offsets:
            return self
        line, column = self.offsets[min(max(offset, 0), len(self.offsets) - 1)]
        return replace(self, line=line, column=column, offsets=())

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, at which key, what, and what would be right."""

    message: str
    location: Location | None = None
    path: str = ""
    near: str | None = None
    allowed: tuple[str, ...] = ()
    hint: str | None = None

    def __str__(self) -> str:
        place = "".join(f"{part}: " for part in (self.location, self.path) if part)
        near = f"; did you mean {self.near}?" if self.near else ""
        allowed = f"\n    allowed: {', '.join(self.allowed)}" if self.allowed else ""
        hint = f"\n    {self.hint}" if self.hint else ""
        return f"{place}{self.message}{near}{allowed}{hint}"


class PlaybookError(SettingError):
    """Everything that is wrong with a file, told together."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        ordered = sorted(problems, key=_reading_order)
        super().__init__("\n".join(map(str, ordered)), hint="the winback.yaml reference: `winback config schema`")
        self.problems = tuple(ordered)


def _reading_order(problem: Problem) -> tuple[str, int, int]:
    place = problem.location
    return (place.file, place.line, place.column) if place else ("", 0, 0)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one; None when nothing is close."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    found = difflib.get_close_matches(name.casefold(), list(by_folded), n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None

"""Sets of values a column can have: ranges of numbers and times, and sets of texts. The linter reasons with them.

Every operation keeps at least the values that are possible, so an empty set proves that nothing is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Number = int | float


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """All numbers between two ends; infinite ends are open."""

    low: Number
    low_open: bool
    high: Number
    high_open: bool

    @property
    def empty(self) -> bool:
        """Whether no number is inside."""
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))


EVERYTHING = Range(-math.inf, True, math.inf, True)


@dataclass(frozen=True, slots=True)
class Ranges:
    """A set of numbers as ranges in ascending order; `whole` when only whole numbers occur."""

    parts: tuple[Range, ...] = (EVERYTHING,)
    whole: bool = False

    @property
    def empty(self) -> bool:
        """Whether no number is left."""
        return not self.parts

    def __contains__(self, number: Number) -> bool:
        return not self.intersect(points([number])).empty

    def intersect(self, other: Ranges) -> Ranges:
        """The numbers in both."""
        whole = self.whole or other.whole
        found = [_narrowed(_overlap(one, two), whole=whole) for one in self.parts for two in other.parts]
        return Ranges(tuple(sorted(part for part in found if not part.empty)), whole)

    def complement(self) -> Ranges:
        """The numbers outside."""
        gaps, low, low_open = [], -math.inf, True
        for part in self.parts:
            gaps.append(Range(low, low_open, part.low, not part.low_open))
            low, low_open = part.high, not part.high_open
        gaps.append(Range(low, low_open, math.inf, True))
        kept = [_narrowed(gap, whole=self.whole) for gap in gaps]
        return Ranges(tuple(gap for gap in kept if not gap.empty), self.whole)

    def union(self, other: Ranges) -> Ranges:
        """The numbers in either."""
        return self.complement().intersect(other.complement()).complement()

    def sample(self) -> Number:
        """One of the numbers, a bound where possible."""
        part = self.parts[0]
        for bound, is_open in ((part.low, part.low_open), (part.high, part.high_open)):
            if not is_open and math.isfinite(bound):
                return bound
        if math.isfinite(part.low) and math.isfinite(part.high):
            return (part.low + part.high) / 2
        if math.isfinite(part.low):
            return part.low + 1
        return part.high - 1 if math.isfinite(part.high) else 0


def _overlap(one: Range, two: Range) -> Range:
    low, low_open = max((one.low, one.low_open), (two.low, two.low_open))
    high, high_closed = min((one.high, not one.high_open), (two.high, not two.high_open))
    return Range(low, low_open, high, not high_closed)


def _narrowed(part: Range, *, whole: bool) -> Range:
    """The range between its first and its last whole number, where only those occur."""
    if not whole:
        return part
    low, low_open, high, high_open = part.low, part.low_open, part.high, part.high_open
    if math.isfinite(low):
        low, low_open = (math.floor(low) + 1 if low_open else math.ceil(low)), False
    if math.isfinite(high):
        high, high_open = (math.ceil(high) - 1 if high_open else math.floor(high)), False
    return Range(low, low_open, high, high_open)


def points(numbers: Iterable[Number]) -> Ranges:
    """Just these numbers."""
    return Ranges(tuple(Range(number, False, number, False) for number in sorted(set(numbers))))


def compared(operator: str, bound: Number) -> Ranges:
    """The numbers for which a comparison with `bound` holds."""
    match operator:
        case "=":
            return points([bound])
        case "<>":
            return points([bound]).complement()
        case "<" | "<=":
            return Ranges((Range(-math.inf, True, bound, operator == "<"),))
        case _:
            return Ranges((Range(bound, operator == ">", math.inf, True),))


@dataclass(frozen=True, slots=True)
class Test:
    """A yes/no question about a text, and the answer that is needed; equal questions have equal names."""

    name: str
    answer: bool
    ask: Callable[[str], bool] = field(compare=False, repr=False)

    def passes(self, text: str) -> bool:
        """Whether this text gets the answer."""
        return self.ask(text) is self.answer


@dataclass(frozen=True, slots=True)
class Values:
    """A set of texts (or of yes and no): those allowed, or all but those excluded, that pass the tests."""

    allowed: frozenset[Any] | None = None
    excluded: frozenset[Any] = frozenset()
    tests: frozenset[Test] = frozenset()

    @property
    def empty(self) -> bool:
        """Whether surely nothing is left."""
        if self.allowed is not None:
            return not any(self._fits(value) for value in self.allowed)
        needed = {(test.name, test.answer) for test in self.tests}
        return any((name, not answer) in needed for name, answer in needed)

    def __contains__(self, value: Any) -> bool:
        return (self.allowed is None or value in self.allowed) and self._fits(value)

    def _fits(self, value: Any) -> bool:
        return value not in self.excluded and all(test.passes(value) for test in self.tests)

    def intersect(self, other: Values) -> Values:
        """The values in both."""
        if self.allowed is None or other.allowed is None:
            allowed = other.allowed if self.allowed is None else self.allowed
        else:
            allowed = self.allowed & other.allowed
        return Values(allowed, self.excluded | other.excluded, self.tests | other.tests)

    def sample(self) -> Any:
        """One of the values; None where it would have to be guessed."""
        if self.allowed is not None:
            return min((value for value in self.allowed if self._fits(value)), default=None)
        guesses = ["x", "other", "", *(f"x{number}" for number in range(len(self.excluded) + 1))]
        return next((guess for guess in guesses if self._fits(guess)), None)


Domain = Ranges | Values


def intersect(one: Domain, two: Domain) -> Domain:
    """The values in both; two kinds of value about one column leave the first as it is."""
    if isinstance(one, Ranges) and isinstance(two, Ranges):
        return one.intersect(two)
    if isinstance(one, Values) and isinstance(two, Values):
        return one.intersect(two)
    return one

"""The functions a condition may call, with the kinds they take and give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from connector.rules.columns import Kind


@dataclass(frozen=True, slots=True)
class Function:
    """One function. `takes` is the kind of every argument; `any` means all of one kind, which is also the result's."""

    name: str
    takes: Kind
    gives: Kind
    usage: str
    least: int = 1
    most: int = 1


_ALL = (
    Function("coalesce", Kind.ANY, Kind.ANY, "coalesce(a, b): the first that has a value", 2, 10),
    Function("greatest", Kind.ANY, Kind.ANY, "greatest(a, b): the larger, ignoring empty ones", 2, 10),
    Function("least", Kind.ANY, Kind.ANY, "least(a, b): the smaller, ignoring empty ones", 2, 10),
    Function("abs", Kind.NUMBER, Kind.NUMBER, "abs(a): without its sign"),
    Function("round", Kind.NUMBER, Kind.NUMBER, "round(a) or round(a, digits)", 1, 2),
    Function("floor", Kind.NUMBER, Kind.NUMBER, "floor(a): the next whole number down"),
    Function("ceil", Kind.NUMBER, Kind.NUMBER, "ceil(a): the next whole number up"),
    Function("lower", Kind.TEXT, Kind.TEXT, "lower(a): in small letters"),
    Function("upper", Kind.TEXT, Kind.TEXT, "upper(a): in capitals"),
    Function("length", Kind.TEXT, Kind.NUMBER, "length(a): how many characters"),
    Function("days_since", Kind.TIME, Kind.NUMBER, "days_since(a): days from the date of a to the as-of date"),
)

FUNCTIONS: Mapping[str, Function] = {function.name: function for function in _ALL}

MAX_ROUND_DIGITS = 9

"""The tree of a checked condition: a closed set of small nodes, each with its place in the text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal as OneOf

from connector.rules.columns import Column, Kind

Span = tuple[int, int]
"""First character and the one behind the last, in the text of the condition."""


@dataclass(frozen=True, slots=True)
class ColumnRef:
    """A documented column."""

    column: Column
    span: Span

    @property
    def kind(self) -> Kind:
        """The kind of the column."""
        return self.column.kind

    @property
    def name(self) -> str:
        """As written in a condition."""
        return self.column.name


@dataclass(frozen=True, slots=True)
class Attribute:
    """A free field: `attributes.seats_bought`, read as the kind it is compared with."""

    prefix: str
    key: str
    kind: Kind
    span: Span

    @property
    def name(self) -> str:
        """As written in a condition."""
        return f"{self.prefix}.{self.key}"


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that was written down; None is NULL, whose kind is `any`."""

    value: int | float | str | bool | datetime | None
    kind: Kind
    span: Span


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """A calculation with two numbers; dividing by zero gives NULL."""

    operator: OneOf["+", "-", "*", "/", "%"]
    left: Expression
    right: Expression
    span: Span
    kind: Kind = Kind.NUMBER


@dataclass(frozen=True, slots=True)
class Negative:
    """A number with its sign turned."""

    operand: Expression
    span: Span
    kind: Kind = Kind.NUMBER


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the short list in `functions.py`. `timezone` is set for functions of civil dates."""

    function: str
    arguments: tuple[Expression, ...]
    kind: Kind
    span: Span
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two values of one kind, compared."""

    operator: OneOf["=", "<>", "<", "<=", ">", ">="]
    left: Expression
    right: Expression
    span: Span
    kind: Kind = Kind.BOOLEAN


@dataclass(frozen=True, slots=True)
class Between:
    """Not below `low`, not above `high`."""

    operand: Expression
    low: Expression
    high: Expression
    span: Span
    kind: Kind = Kind.BOOLEAN


@dataclass(frozen=True, slots=True)
class OneOfList:
    """Equal to one of the values: `in (…)`."""

    operand: Expression
    choices: tuple[Expression, ...]
    span: Span
    kind: Kind = Kind.BOOLEAN


@dataclass(frozen=True, slots=True)
class Matches:
    """A text pattern with `%` and `_`; `folded` ignores case (`ilike`)."""

    operand: Expression
    pattern: str
    folded: bool
    span: Span
    kind: Kind = Kind.BOOLEAN


@dataclass(frozen=True, slots=True)
class IsNull:
    """Whether there is no value; never unknown."""

    operand: Expression
    span: Span
    kind: Kind = Kind.BOOLEAN


@dataclass(frozen=True, slots=True)
class IsTruth:
    """Whether a yes/no value is exactly yes (or exactly no); never unknown."""

    operand: Expression
    truth: bool
    span: Span
    kind: Kind = Kind.BOOLEAN


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; unknown stays unknown."""

    operand: Expression
    span: Span
    kind: Kind = Kind.BOOLEAN


@dataclass(frozen=True, slots=True)
class AllOf:
    """`and`: every part holds."""

    parts: tuple[Expression, ...]
    span: Span
    kind: Kind = Kind.BOOLEAN


@dataclass(frozen=True, slots=True)
class AnyOf:
    """`or`: at least one part holds."""

    parts: tuple[Expression, ...]
    span: Span
    kind: Kind = Kind.BOOLEAN


Expression = (
    ColumnRef
    | Attribute
    | Constant
    | Arithmetic
    | Negative
    | Call
    | Comparison
    | Between
    | OneOfList
    | Matches
    | IsNull
    | IsTruth
    | Not
    | AllOf
    | AnyOf
)


def children(node: Expression) -> tuple[Expression, ...]:  # noqa: PLR0911 one case for each shape
    """The parts a node is made of, in the order written."""
    match node:
        case ColumnRef() | Attribute() | Constant():
            return ()
        case Arithmetic() | Comparison():
            return (node.left, node.right)
        case Negative() | Matches() | IsNull() | IsTruth() | Not():
            return (node.operand,)
        case Call():
            return node.arguments
        case Between():
            return (node.operand, node.low, node.high)
        case OneOfList():
            return (node.operand, *node.choices)
        case AllOf() | AnyOf():
            return node.parts


def walk(node: Expression) -> Iterator[Expression]:
    """The node and everything below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def inputs(node: Expression) -> tuple[ColumnRef | Attribute, ...]:
    """The columns and attributes a node reads, each once, in the order written."""
    found = {part.name: part for part in walk(node) if isinstance(part, ColumnRef | Attribute)}
    return tuple(found.values())

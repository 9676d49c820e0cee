"""SOQL read: from text to what is asked for, or to the vendor's MALFORMED_QUERY with the place in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from adapters.salesforce.sandbox.answers import Refusal, parse_time

if TYPE_CHECKING:
    from lark import Lark, Token, Tree

MOST_CHARACTERS = 100_000
ESCAPES = {
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "b": "\b",
    "f": "\f",
    "'": "'",
    '"': '"',
    "\\": "\\",
    "_": "\\_",
    "%": "\\%",
}
"""What follows a backslash in a literal; `\\_` and `\\%` stay escaped, for LIKE to read."""

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Literal:
    """A value as written. kind: string, number, boolean, null, date, dateTime or relative."""

    kind: str
    value: Any


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field beside values. operator: one of `= != < <= > >=`, like, in, not in, includes, excludes."""

    path: Path
    operator: str
    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Negated:
    """What must not hold."""

    inner: Condition


@dataclass(frozen=True, slots=True)
class Every:
    """All of these hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of these holds."""

    parts: tuple[Condition, ...]


Condition = Comparison | Negated | Every | Some


@dataclass(frozen=True, slots=True)
class Order:
    """One field of the order; nulls_first None is the vendor's way: first when ascending."""

    path: Path
    descending: bool = False
    nulls_first: bool | None = None


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A function over a field in the select list (`COUNT(Id)`); alias is what the answer calls it."""

    function: str
    path: Path
    alias: str


@dataclass(frozen=True, slots=True)
class Query:
    """What a query asks for.

    counts: `SELECT COUNT()`: only the number. unsupported: What it asks for that the sandbox does not answer, in words.
    """

    text: str
    sobject: str
    fields: tuple[Path, ...] = ()
    counts: bool = False
    aggregates: tuple[Aggregate, ...] = ()
    where: Condition | None = None
    group_by: tuple[Path, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int | None = None
    unsupported: tuple[str, ...] = field(default=())

    @property
    def groups(self) -> bool:
        """Whether the answer is of groups of records, not of records."""
        return bool(self.aggregates or self.group_by)


def parse(text: str) -> Query:
    """Read a query; Refusal MALFORMED_QUERY when it is none."""
    from lark.exceptions import UnexpectedInput

    if not text.strip():
        raise Refusal("MALFORMED_QUERY", "SOQL query cannot be empty")
    if len(text) > MOST_CHARACTERS:
        raise Refusal("MALFORMED_QUERY", f"SOQL statements cannot be longer than {MOST_CHARACTERS} characters.")
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise _malformed(text, error) from None
    return _Reader(text).query(tree)


def place(text: str, column: int) -> str:
    """The vendor's way to point into a query: the text around, a caret, row and column."""
    start = max(0, column - 30)
    shown = text[start : column + 20].replace("\n", " ")
    return f"\n{shown}\n{' ' * (column - start)}^\nERROR at Row:1:Column:{column + 1}\n"


def unescaped(literal: str) -> str:
    """The text of a quoted literal."""
    return _ESCAPE.sub(lambda found: _sign(found[1]), literal[1:-1])


@cache
def _parser() -> Lark:
    from lark import Lark

    return Lark.open("soql.lark", rel_to=__file__, parser="lalr", maybe_placeholders=False)


def _sign(escaped: str) -> str:
    if len(escaped) > 1:
        return chr(int(escaped[1:], 16))
    if escaped not in ESCAPES:
        raise Refusal("MALFORMED_QUERY", f"Illegal string literal: \\{escaped} is no escape sequence")
    return ESCAPES[escaped]


def _malformed(text: str, error: Any) -> Refusal:
    column = min(getattr(error, "pos_in_stream", None) or 0, len(text))
    token = getattr(error, "token", None)
    if token is None:
        found = text[column : column + 1]
    else:
        found = "<EOF>" if token.type == "$END" else str(token)
        column = len(text) if token.type == "$END" else column
    return Refusal("MALFORMED_QUERY", f"{place(text, column)}unexpected token: '{found}'")


class _Reader:
    """Turns the parser's tree into a query."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._unsupported: list[str] = []

    def query(self, tree: Tree[Token]) -> Query:
        """The query of a `start` tree."""
        asked: dict[str, Any] = {"fields": [], "aggregates": []}
        name = ""
        rank = -1
        for part in tree.children:
            if isinstance(part, str):
                if getattr(part, "type", "") == "NAME" and not name:
                    name = str(part)
                continue
            if part.data in CLAUSES:
                before, rank = rank, CLAUSES.index(part.data)
                if rank < before or (rank == before and part.data != "for_what"):
                    raise self._misplaced(part)
            self._part(part, asked)
        fields, aggregates = tuple(asked.pop("fields")), tuple(asked.pop("aggregates"))
        return Query(self._text, name, fields, aggregates=aggregates, **asked, unsupported=tuple(self._unsupported))

    def _part(self, part: Tree[Token], asked: dict[str, Any]) -> None:
        match part.data:
            case "field":
                asked["fields"].append(_path(part.children[0]))
            case "count":
                asked["counts"] = True
            case "aggregate" | "function":
                self._function(part, asked)
            case "where":
                asked["where"] = self._condition(part.children[-1])
            case "group":
                self._group(part, asked)
            case "order":
                asked["order"] = tuple(_order(one) for one in part.children if not isinstance(one, str))
            case "limit" | "offset":
                asked[str(part.data)] = int(str(part.children[-1]))
            case "using" | "with" | "for_what":
                # They change whose records are seen or what is noted of the reading; neither matters here.
                pass
            case other:
                self._unsupported.append(UNSUPPORTED[str(other)])

    def _misplaced(self, clause: Tree[Token]) -> Refusal:
        word: Any = clause.children[0]
        return Refusal("MALFORMED_QUERY", f"{place(self._text, word.start_pos)}unexpected token: '{word}'")

    def _function(self, part: Tree[Token], asked: dict[str, Any]) -> None:
        name = str(part.children[0]).upper()
        paths = [_path(child) for child in part.children[1:] if not isinstance(child, str)]
        if name not in AGGREGATES or not paths:
            self._unsupported.append(f"the function {name}")
            return
        last = part.children[-1]
        alias = str(last) if isinstance(last, str) else f"expr{len(asked['aggregates'])}"
        asked["aggregates"].append(Aggregate(name, paths[0], alias))

    def _group(self, part: Any, asked: dict[str, Any]) -> None:
        groups = [one for one in part.children if not isinstance(one, str) and one.data == "grouped"]
        if any(getattr(one, "type", "") == "HAVING" for one in part.children):
            self._unsupported.append("HAVING")
        if any(isinstance(one.children[0], str) for one in groups):
            self._unsupported.append("a function in GROUP BY")
            return
        asked["group_by"] = tuple(_path(one.children[0]) for one in groups)

    def _condition(self, tree: Any) -> Condition:
        if tree.data in {"every", "some"}:
            parts = tuple(self._condition(part) for part in tree.children if not isinstance(part, str))
            return Every(parts) if tree.data == "every" else Some(parts)
        if tree.data == "negated":
            return Negated(self._condition(tree.children[-1]))
        return self._comparison(tree)

    def _comparison(self, tree: Any) -> Comparison:
        if tree.data == "compare_function":
            self._unsupported.append(f"the function {tree.children[0]} in a condition")
            return Comparison(("Id",), "=", (Literal("null", None),))
        path, given = _path(tree.children[0]), tree.children[-1]
        if tree.data in {"compare", "like"}:
            sign = "like" if tree.data == "like" else str(tree.children[1]).replace("<>", "!=")
            return Comparison(path, sign, (_literal(given),))
        if given.data == "semi_join":
            self._unsupported.append("a query inside of IN (…)")
            return Comparison(path, "in", ())
        return Comparison(path, SETS[tree.data], tuple(_literal(one) for one in given.children))


AGGREGATES = frozenset({"COUNT", "COUNT_DISTINCT", "MIN", "MAX", "SUM", "AVG"})
SETS = {"among": "in", "not_among": "not in", "includes": "includes", "excludes": "excludes"}
CLAUSES = ("using", "where", "with", "group", "order", "limit", "offset", "for_what")
"""What follows the kind of record, in the one order it may stand in."""

UNSUPPORTED = {
    "fields": "FIELDS()",
    "children": "a query inside of SELECT",
    "typeof": "TYPEOF",
}


def _literal(tree: Any) -> Literal:
    word = str(tree.children[0])
    return LITERALS[tree.data](word)


def _moment(word: str) -> Literal:
    at = parse_time(word)
    if at is None:
        raise Refusal("MALFORMED_QUERY", f"line 1: invalid dateTime '{word}'")
    return Literal("dateTime", at)


def _number(word: str) -> Literal:
    return Literal("number", int(word) if word.lstrip("+-").isdigit() else float(word))


LITERALS: Mapping[str, Callable[[str], Literal]] = {
    "text": lambda word: Literal("string", unescaped(word)),
    "moment": _moment,
    "day": lambda word: Literal("date", word),
    "number": _number,
    "true": lambda _: Literal("boolean", True),
    "false": lambda _: Literal("boolean", False),
    "null": lambda _: Literal("null", None),
    "relative": lambda word: Literal("relative", word.upper()),
}


def _path(tree: Any) -> Path:
    return tuple(str(part) for part in tree.children)


def _order(tree: Any) -> Order:
    words: Sequence[str] = [part.type for part in tree.children[1:]]
    nulls = True if "FIRST" in words else False if "LAST" in words else None
    return Order(_path(tree.children[0]), "DESC" in words, nulls)

"""Reads a condition with sqlglot and checks every name, function and kind, with the place of what is wrong."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from typing import Literal as OneOf
from zoneinfo import ZoneInfo

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ParseError, TokenError
from sqlglot.tokens import Token  # type: ignore[attr-defined]  # exported, but not marked so

from connector.errors import SegmentError
from connector.location import Location, Problem, nearest
from connector.rules.columns import ATTRIBUTE_PREFIXES, Column, Kind
from connector.rules.expressions import (
    AllOf,
    AnyOf,
    Arithmetic,
    Attribute,
    Between,
    Call,
    ColumnRef,
    Comparison,
    Constant,
    Expression,
    IsNull,
    IsTruth,
    Matches,
    Negative,
    Not,
    OneOfList,
    Span,
)
from connector.rules.functions import FUNCTIONS, MAX_ROUND_DIGITS, Function
from connector.rules.sql_text import is_whole

MAX_LENGTH = 10_000
MAX_DEPTH = 100
LARGEST_NUMBER = 1e15

_COMPARISONS: Mapping[type[exp.Expr], OneOf["=", "<>", "<", "<=", ">", ">="]] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_OPERATORS: Mapping[type[exp.Expr], OneOf["+", "-", "*", "/", "%"]] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
}
_REFUSED: Mapping[type[exp.Expr], str] = {
    exp.Subquery: "a sub-query",
    exp.Query: "a query",
    exp.Exists: "a sub-query",
    exp.Cast: "a conversion",
    exp.Case: "`case`",
    exp.DPipe: "joining texts with ||",
    exp.Placeholder: "a parameter",
    exp.Parameter: "a parameter",
    exp.Command: "a statement",
    exp.DDL: "a statement",
    exp.DML: "a statement",
    exp.Interval: "an interval",
}
_WORD_TOKENS = {"TRUE", "FALSE", "NULL", "ISNULL", "NOTNULL", "UNKNOWN"}
_OTHER_NAMES = {"ifnull": "coalesce", "ceiling": "ceil", "lcase": "lower", "ucase": "upper", "len": "length"}
_CALLED = re.compile(r"(\w+)\s*\(")
_ATTRIBUTE_NAME = re.compile(r"[\w][\w .:/-]{0,99}")
_WRITABLE = (
    "comparisons (=, <>, <, <=, >, >=)",
    "and, or, not",
    "in (…)",
    "between … and …",
    "like, ilike",
    "is null, is true, is false",
    "+ - * / %",
)


def parse_expression(
    text: str, *, where: Location | None, columns: Mapping[str, Column], attributes: bool, timezone: str
) -> Expression:
    """The checked tree of a condition; SegmentError says what is wrong and where.

    Args:
        text: The condition.
        where: Where the text stands, to point into it.
        columns: The columns it may use.
        attributes: Whether `attributes.<name>` may be used.
        timezone: The account's time zone; dates without a time begin at midnight there.
    """
    return _Parser(text, where=where, columns=columns, attributes=attributes, timezone=timezone).parse()


class _Parser:
    """One condition being read."""

    def __init__(
        self, text: str, *, where: Location | None, columns: Mapping[str, Column], attributes: bool, timezone: str
    ) -> None:
        self.text = text
        self.where = where
        self.columns = columns
        self.attributes = attributes
        self.timezone = timezone
        self.tokens: Sequence[Token] = ()
        self.starts: Sequence[int] = ()
        self.words: Mapping[int, Span] = {}

    def parse(self) -> Expression:
        """The whole condition."""
        if not self.text.strip():
            raise self._error("the condition is empty", (0, 0), hint="for example: inactive_days >= 30")
        if len(self.text) > MAX_LENGTH:
            raise self._error(f"the condition is longer than {MAX_LENGTH:,} characters", (0, 0))
        self._refuse_strange_characters()
        tree = self._tree()
        node = self._convert(tree, depth=0)
        return self._condition(node)

    # --- sqlglot ------------------------------------------------------------------------------------------

    def _refuse_strange_characters(self) -> None:
        for offset, character in enumerate(self.text):
            if not character.isprintable() and character not in " \t\r\n":
                raise self._error(f"the character U+{ord(character):04X} is not allowed", (offset, offset + 1))

    def _tree(self) -> exp.Expr:
        dialect = DuckDB()
        try:
            self.tokens = dialect.tokenize(self.text)
            self.starts = [token.start for token in self.tokens]
            self._refuse_comments_and_nesting()
            trees = dialect.parse(self.text)
        except TokenError:
            raise self._error(*self._unreadable()) from None
        except ParseError as error:
            raise self._error(*self._unparsable(error)) from None
        except RecursionError:
            raise self._error("the condition is nested too deeply", (0, len(self.text))) from None
        if len(trees) != 1 or trees[0] is None:
            second = self.text.find(";")
            raise self._error("only one expression is allowed, without `;`", (second, second + 1))
        tree = trees[0]
        if isinstance(tree, exp.Alias):
            start, end = self._span(tree.args["alias"])
            raise self._error(f"unexpected '{self.text[start:end]}'; is `and` or `or` missing?", (start, end))
        self.words = self._places_of_words(tree)
        return tree

    def _places_of_words(self, tree: exp.Expr) -> Mapping[int, Span]:
        """The places of true, false and null, which sqlglot does not keep: the nth such word is the nth such node."""
        nodes = [node for node in tree.dfs() if isinstance(node, exp.Boolean | exp.Null)]
        tokens = [token for token in self.tokens if token.token_type.name in _WORD_TOKENS]
        return {id(node): _of(token) for node, token in zip(nodes, tokens, strict=False)}

    def _refuse_comments_and_nesting(self) -> None:
        level = 0
        for token in self.tokens:
            if token.comments:
                raise self._error("comments do not belong in a condition; write them beside it in YAML", _of(token))
            if token.token_type.name == "SEMICOLON":
                raise self._error("only one expression is allowed, without `;`", _of(token))
            level += {"L_PAREN": 1, "R_PAREN": -1}.get(token.token_type.name, 0)
            if level > MAX_DEPTH // 2:
                raise self._error("the condition is nested too deeply", _of(token))

    def _unreadable(self) -> tuple[str, Span]:
        if self.text.count("'") % 2:
            at = self.text.rfind("'")
            return "a quote is not closed; write '' for a quote inside a text", (at, at + 1)
        if self.text.count('"') % 2:
            at = self.text.rfind('"')
            return "a double quote is not closed", (at, at + 1)
        return "the condition cannot be read", (0, len(self.text))

    def _unparsable(self, error: ParseError) -> tuple[str, Span]:
        detail: Mapping[str, Any] = error.errors[0] if error.errors else {}
        highlight = str(detail.get("highlight") or "")
        line, column = detail.get("line") or 1, detail.get("col") or 0
        lines = self.text.splitlines(keepends=True) or [""]
        end = min(sum(map(len, lines[: line - 1])) + column, len(self.text))
        start = max(end - len(highlight), 0)
        said = str(detail.get("description") or "")
        if "missing for" in said:
            return f"something is missing after '{highlight}'", (start, end)
        if "Expecting )" in said:
            return f"a closing parenthesis is missing after '{highlight}'", (start, end)
        return f"unexpected '{highlight}'", (start, end)

    # --- tree to tree -------------------------------------------------------------------------------------

    def _convert(self, tree: exp.Expr, *, depth: int) -> Expression:  # noqa: C901, PLR0911, PLR0912 one case for each node
        """One sqlglot node as one of ours."""
        if depth > MAX_DEPTH:
            raise self._error("the condition is nested too deeply", self._span(tree))
        below = depth + 1
        match tree:
            case exp.Paren():
                node = self._convert(tree.this, depth=below)
                return replace(node, span=self._with_parentheses(node.span))
            case exp.And() | exp.Or():
                return self._connect(tree, depth=below)
            case exp.Not():
                operand = self._condition(self._convert(tree.this, depth=below))
                return Not(operand, self._with_word("NOT", operand.span))
            case exp.Column():
                return self._column(tree)
            case exp.Literal() | exp.Boolean() | exp.Null():
                return self._constant(tree)
            case exp.Cast():
                return self._written_time(tree)
            case exp.Neg():
                return self._negative(tree, depth=below)
            case exp.Between():
                return self._between(tree, depth=below)
            case exp.In():
                return self._one_of(tree, depth=below)
            case exp.Like() | exp.ILike():
                return self._pattern(tree, depth=below)
            case exp.Is():
                return self._is(tree, depth=below)
            case exp.Func() if not isinstance(tree, exp.Connector | exp.Case | exp.If | exp.Exists):
                return self._call(tree, depth=below)
            case _:
                return self._convert_binary(tree, depth=below)

    def _convert_binary(self, tree: exp.Expr, *, depth: int) -> Expression:
        """A comparison or a calculation; everything else is refused."""
        if type(tree) in _COMPARISONS:
            return self._comparison(tree, depth=depth)
        if type(tree) in _OPERATORS:
            return self._arithmetic(tree, depth=depth)
        raise self._refused(tree)

    def _connect(self, tree: exp.Expr, *, depth: int) -> Expression:
        """A chain of the same connective as one flat node; chains are long, so this loops."""
        kind = type(tree)
        pending, operands = [tree], []
        while pending:
            item = pending.pop()
            if type(item) is kind:
                pending += [item.expression, item.this]
            else:
                operands.append(item)
        parts = tuple(self._condition(self._convert(item, depth=depth)) for item in operands)
        flat: list[Expression] = []
        node_type = AllOf if kind is exp.And else AnyOf
        for part in parts:
            flat += part.parts if isinstance(part, node_type) else [part]
        return node_type(tuple(flat), self._joined(parts))

    def _column(self, tree: exp.Column) -> Expression:
        names = [part.name for part in tree.parts]
        span = self._span(tree)
        prefix, key = ".".join(names[:-1]).lower(), names[-1]
        if self.attributes and prefix in ATTRIBUTE_PREFIXES:
            if not _ATTRIBUTE_NAME.fullmatch(key):
                raise self._error(f"'{key}' cannot be the name of an attribute", span)
            return Attribute(prefix, key, Kind.ANY, span)
        name = ".".join(names).lower()
        if name not in self.columns:
            raise self._unknown_column(".".join(names), span)
        return ColumnRef(self.columns[name], span)

    def _unknown_column(self, name: str, span: Span) -> SegmentError:
        start, _ = span
        if self.text[start : start + 1] == '"':
            hint = f"for the text {name}, write single quotes: '{name}'"
        elif self.attributes and name.lower() in ATTRIBUTE_PREFIXES:
            hint = f"write the field's name behind it: {name}.<name>"
        elif self.attributes:
            hint = "fields of your own are written attributes.<name> or accounts.attributes.<name>"
        else:
            hint = None
        return self._error(
            f"no column '{name}'", span, near=nearest(name, self.columns), allowed=tuple(self.columns), hint=hint
        )

    def _constant(self, tree: exp.Expr) -> Constant:
        span = self._span(tree)
        if isinstance(tree, exp.Null):
            return Constant(None, Kind.ANY, span)
        if isinstance(tree, exp.Boolean):
            return Constant(bool(tree.this), Kind.BOOLEAN, span)
        if tree.args.get("is_string"):
            return Constant(str(tree.this), Kind.TEXT, span)
        written = str(tree.this).replace("_", "")
        number = float(written)
        if number > LARGEST_NUMBER:
            raise self._error(f"the number {written} is too large", span)
        return Constant(int(written) if written.isdigit() else number, Kind.NUMBER, span)

    def _written_time(self, tree: exp.Cast) -> Constant:
        """`date '2026-01-31'`, `timestamp '…'`; nothing else may be converted."""
        kinds = {exp.DataType.Type[name] for name in ("DATE", "TIMESTAMP", "TIMESTAMPNTZ", "TIMESTAMPTZ")}
        literal = tree.this
        if not (isinstance(literal, exp.Literal) and literal.args.get("is_string") and tree.to.this in kinds):
            raise self._refused(tree)
        return self._as_time(self._constant(literal))

    def _as_time(self, constant: Constant) -> Constant:
        """A written text read as a time; without an offset it is in the account's time zone."""
        try:
            moment = datetime.fromisoformat(str(constant.value))
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=ZoneInfo(self.timezone))
            moment = moment.astimezone(UTC)
        except (ValueError, OverflowError):
            message = f"'{constant.value}' is not a date or time"
            raise self._error(message, constant.span, hint="write it like '2026-01-31' or '2026-01-31 14:30'") from None
        return Constant(moment, Kind.TIME, constant.span)

    def _negative(self, tree: exp.Expr, *, depth: int) -> Expression:
        operand = self._number(self._convert(tree.this, depth=depth))
        span = self._with_word("DASH", operand.span)
        if isinstance(operand, Constant) and isinstance(operand.value, int | float):
            return Constant(-operand.value, Kind.NUMBER, span)
        return Negative(operand, span)

    def _arithmetic(self, tree: exp.Expr, *, depth: int) -> Expression:
        left = self._number(self._convert(tree.this, depth=depth))
        right = self._number(self._convert(tree.expression, depth=depth))
        return Arithmetic(_OPERATORS[type(tree)], left, right, self._joined((left, right)))

    def _comparison(self, tree: exp.Expr, *, depth: int) -> Expression:
        left, right = self._convert(tree.this, depth=depth), self._convert(tree.expression, depth=depth)
        if isinstance(left, Comparison) and right.kind is Kind.NUMBER:
            raise self._error(
                "comparisons cannot be chained", self._joined((left, right)), hint="write `… between 30 and 59`"
            )
        operator = _COMPARISONS[type(tree)]
        left, right = self._agree((left, right))
        span = self._joined((left, right))
        if left.kind is Kind.BOOLEAN and operator not in ("=", "<>"):
            raise self._error("yes/no values are only equal or not", span)
        return Comparison(operator, left, right, span)

    def _between(self, tree: exp.Between, *, depth: int) -> Expression:
        if tree.args.get("symmetric"):
            raise self._refused(tree)
        operand, low, high = self._agree(
            tuple(self._convert(tree.args[part], depth=depth) for part in ("this", "low", "high"))
        )
        node = Between(operand, low, high, self._joined((operand, high)))
        if operand.kind is Kind.BOOLEAN:
            raise self._error("yes/no values are only equal or not", node.span)
        return self._negated(node, tree)

    def _one_of(self, tree: exp.In, *, depth: int) -> Expression:
        if any(tree.args.get(part) for part in ("query", "unnest", "field", "is_global")):
            raise self._error("`in` needs a written list: in ('a', 'b')", self._span(tree))
        written = tree.expressions
        operand = self._convert(tree.this, depth=depth)
        if not written:
            raise self._error("`in` needs at least one value", operand.span)
        operand, *choices = self._agree((operand, *(self._convert(item, depth=depth) for item in written)))
        start, end = self._joined((operand, *choices))
        return self._negated(OneOfList(operand, tuple(choices), (start, self._closing(end))), tree)

    def _pattern(self, tree: exp.Expr, *, depth: int) -> Expression:
        operand = self._text(self._convert(tree.this, depth=depth))
        pattern = self._convert(tree.expression, depth=depth)
        if not (isinstance(pattern, Constant) and isinstance(pattern.value, str)):
            raise self._error("the pattern must be a written text: like '%admin%'", pattern.span)
        span = self._joined((operand, pattern))
        return self._negated(Matches(operand, pattern.value, isinstance(tree, exp.ILike), span), tree)

    def _is(self, tree: exp.Expr, *, depth: int) -> Expression:
        operand, against = self._convert(tree.this, depth=depth), tree.expression
        span = (operand.span[0], self._span(against)[1])
        if isinstance(against, exp.Null):
            return self._negated(IsNull(operand, span), tree)
        if isinstance(against, exp.Boolean):
            node = IsTruth(self._condition(operand), bool(against.this), span)
            return self._negated(node, tree)
        raise self._error("`is` goes with null, true or false", self._span(tree))

    def _negated(self, node: Expression, tree: exp.Expr) -> Expression:
        return Not(node, node.span) if tree.args.get("negate") else node

    # --- functions ----------------------------------------------------------------------------------------

    def _call(self, tree: exp.Func, *, depth: int) -> Expression:
        written = _arguments(tree)
        if "start" in tree.meta or not written:
            start = self._span(tree)[0]
        else:  # sqlglot does not place every function: the name stands before the parenthesis before the first value
            start = self._name_before(self._convert(written[0], depth=depth).span[0])
        function = self._function(tree, start)
        if not function.least <= len(written) <= function.most:
            name = function.name
            raise self._error(
                f"'{name}' is called with {len(written)} values", (start, start + len(name)), hint=function.usage
            )
        arguments = tuple(self._convert(argument, depth=depth) for argument in written)
        end = self._closing(max(argument.span[1] for argument in arguments))
        return self._checked_call(function, arguments, (start, end))

    def _name_before(self, start: int) -> int:
        """Where the name begins that stands two tokens before this place."""
        number = bisect_left(self.starts, start) - 2
        return self.tokens[number].start if number >= 0 else start

    def _function(self, tree: exp.Func, start: int) -> Function:
        """The function by the name as written: sqlglot gives several functions one node."""
        found = _CALLED.match(self.text, start)
        if found is None:
            raise self._refused(tree)
        name = _OTHER_NAMES.get(found[1].lower(), found[1].lower())
        if name not in FUNCTIONS:
            near = nearest(name, FUNCTIONS)
            raise self._error(f"no function '{found[1]}'", found.span(1), near=near, allowed=tuple(FUNCTIONS))
        return FUNCTIONS[name]

    def _checked_call(self, function: Function, arguments: tuple[Expression, ...], span: Span) -> Call:
        timezone = self.timezone if function.name == "days_since" else None
        if function.takes is Kind.ANY:
            arguments = self._agree(arguments)
            kind = next((argument.kind for argument in arguments if argument.kind is not Kind.ANY), Kind.TEXT)
            if kind is Kind.BOOLEAN and function.name != "coalesce":
                raise self._error(f"'{function.name}' does not go with yes/no values", span)
            return Call(function.name, arguments, kind, span)
        if function.name == "round" and arguments[1:]:
            digits = arguments[1]
            if not (isinstance(digits, Constant) and is_whole(digits) and digits.value in range(MAX_ROUND_DIGITS + 1)):
                raise self._error(f"the digits must be a written number, 0 to {MAX_ROUND_DIGITS}", digits.span)
            arguments = (self._number(arguments[0]), digits)
        else:
            arguments = tuple(self._of_kind(argument, function.takes) for argument in arguments)
        return Call(function.name, arguments, function.gives, span, timezone)

    # --- kinds --------------------------------------------------------------------------------------------

    def _condition(self, node: Expression) -> Expression:
        """The node where a yes/no value is needed."""
        if node.kind is Kind.BOOLEAN:
            return node
        if isinstance(node, Attribute | Constant) and node.kind is Kind.ANY:
            return replace(node, kind=Kind.BOOLEAN)
        written = self._written(node)
        examples = {Kind.NUMBER: f"{written} > 0", Kind.TEXT: f"{written} = '…'", Kind.TIME: f"{written} is not null"}
        raise self._error(
            f"'{written}' is a {node.kind}, but a condition is needed here",
            node.span,
            hint=f"compare it, for example: {examples.get(node.kind, written)}",
        )

    def _number(self, node: Expression) -> Expression:
        return self._of_kind(node, Kind.NUMBER)

    def _text(self, node: Expression) -> Expression:
        return self._of_kind(node, Kind.TEXT)

    def _of_kind(self, node: Expression, kind: Kind) -> Expression:
        """The node where this kind is needed."""
        if isinstance(node, Constant) and node.value is None:
            return replace(node, kind=kind)
        if isinstance(node, Attribute) and node.kind is Kind.ANY:
            return replace(node, kind=kind)
        if isinstance(node, Constant) and kind is Kind.TIME and node.kind is Kind.TEXT:
            return self._as_time(node)
        if node.kind is not kind:
            raise self._error(f"'{self._written(node)}' is a {node.kind}, but a {kind} is needed here", node.span)
        return node

    def _agree(self, nodes: tuple[Expression, ...]) -> tuple[Expression, ...]:
        """The nodes as one kind: that of the first with a kind of its own; a written text beside a time is a time."""
        kinds = [node.kind for node in nodes if node.kind is not Kind.ANY]
        kind = Kind.TIME if Kind.TIME in kinds else next(iter(kinds), Kind.TEXT)
        agreed = []
        for node in nodes:
            readable = kind is Kind.TIME and isinstance(node, Constant) and node.kind is Kind.TEXT
            if node.kind not in (kind, Kind.ANY) and not readable:
                raise self._mixed(nodes, node, kind)
            agreed.append(self._of_kind(node, kind))
        return tuple(agreed)

    def _mixed(self, nodes: tuple[Expression, ...], odd: Expression, kind: Kind) -> SegmentError:
        other = next(node for node in nodes if node.kind is kind)
        message = (
            f"'{self._written(other)}' is a {kind} and '{self._written(odd)}' is a {odd.kind}: they cannot be compared"
        )
        column, constant = (other, odd) if isinstance(odd, Constant) else (odd, other)
        hint = None
        if isinstance(constant, Constant) and column.kind is Kind.NUMBER and constant.kind is Kind.TEXT:
            hint = f"write the number without quotes: {constant.value}" if _looks_numeric(constant.value) else None
        elif isinstance(constant, Constant) and column.kind is Kind.TEXT and constant.kind is Kind.NUMBER:
            hint = f"write the text in quotes: '{constant.value}'"
        elif {odd.kind, kind} == {Kind.TIME, Kind.NUMBER}:
            time = odd if odd.kind is Kind.TIME else other
            hint = f"to count days, write days_since({self._written(time)})"
        return self._error(message, odd.span, hint=hint)

    # --- places -------------------------------------------------------------------------------------------

    def _span(self, tree: exp.Expr) -> Span:
        """Where a node stands: from its first to its last part that knows its place."""
        spans = [self.words[id(item)] for item in tree.walk() if id(item) in self.words]
        spans += [(item.meta["start"], item.meta["end"] + 1) for item in tree.walk() if "start" in item.meta]
        if not spans:
            return 0, len(self.text)
        return min(start for start, _ in spans), max(end for _, end in spans)

    def _with_word(self, name: str, span: Span) -> Span:
        """The span together with the token of this name right before it, if there is one."""
        token = self._token_before(span[0])
        return (token.start, span[1]) if token and token.token_type.name == name else span

    def _with_parentheses(self, span: Span) -> Span:
        """The span together with the pair of parentheses around it."""
        token = self._token_before(span[0])
        start = token.start if token and token.token_type.name == "L_PAREN" else span[0]
        return start, self._closing(span[1])

    def _token_before(self, start: int) -> Token | None:
        number = bisect_left(self.starts, start)
        return self.tokens[number - 1] if number else None

    def _token_from(self, end: int) -> Token | None:
        number = bisect_left(self.starts, end)
        return self.tokens[number] if number < len(self.tokens) else None

    def _joined(self, nodes: Sequence[Expression]) -> Span:
        return min(node.span[0] for node in nodes), max(node.span[1] for node in nodes)

    def _closing(self, end: int) -> int:
        """Behind the closing parenthesis that follows this place."""
        token = self._token_from(end)
        return token.end + 1 if token and token.token_type.name == "R_PAREN" else end

    def _written(self, node: Expression) -> str:
        start, end = node.span
        return self.text[start:end]

    def _refused(self, tree: exp.Expr) -> SegmentError:
        start, end = self._span(tree)
        what = next((words for kind, words in _REFUSED.items() if isinstance(tree, kind)), "this")
        return self._error(
            f"{what} cannot be used in a condition: '{self.text[start:end]}'", (start, end), allowed=_WRITABLE
        )

    def _error(
        self,
        message: str,
        span: Span,
        *,
        near: str | None = None,
        allowed: tuple[str, ...] = (),
        hint: str | None = None,
    ) -> SegmentError:
        place = self.where.at(span[0]) if self.where else Location("condition", 1, span[0] + 1)
        problem = Problem(message, place, near=near, allowed=allowed, hint=hint)
        return ConditionError(problem)


class ConditionError(SegmentError):
    """A condition that cannot be understood; `problem` has the place."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def _of(token: Token) -> Span:
    return token.start, token.end + 1


def _arguments(tree: exp.Func) -> list[exp.Expr]:
    """What a function is called with, in the order written."""
    if isinstance(tree, exp.Anonymous):
        return list(tree.expressions)
    written: list[exp.Expr] = []
    for name in tree.arg_types:
        value = tree.args.get(name)
        written += value if isinstance(value, list) else [value] if isinstance(value, exp.Expr) else []
    return written


def _looks_numeric(value: object) -> bool:
    return bool(re.fullmatch(r"\s*-?[0-9]+([.][0-9]+)?\s*", str(value)))

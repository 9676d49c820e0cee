"""Reads YAML without its surprises, and remembers where every value stands.

PyYAML's own rules turn `no` into False, `12:30:00` into 45000, `010` into 8, and silently keep the last of two equal
keys. Here only `true`, `false`, `null` and plain decimal numbers are anything but text, equal keys are an error, and
size, depth and aliases are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from connector.location import Location, PlaybookError, Problem

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 40
MAX_ALIASES = 50
MAX_NODES = 100_000
"""Nodes after aliases are followed: fifty aliases of aliases could otherwise grow without bound."""

_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^-?(?:0|[1-9][0-9]{0,17})$")
_FLOAT = re.compile(r"^-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,18}(?:[eE][-+]?[0-9]{1,2})?$")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value. `text` is the value as text whatever its type; `plain` is False inside quotes or a block."""

    value: str | int | float | bool | None
    text: str
    location: Location
    plain: bool = True


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    location: Location


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a table and what stands under it."""

    key_location: Location
    node: Node


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping with text keys, in the order written."""

    entries: dict[str, Entry]
    location: Location


Node = Scalar | Items | Table


def scalar_value(text: str) -> str | int | float | bool | None:
    """What a plain, unquoted value means."""
    if _NULL.match(text):
        return None
    if _BOOL.match(text):
        return text.lower() == "true"
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    return text


def plain(node: Node) -> Any:
    """The node as ordinary dicts, lists and values."""
    match node:
        case Scalar():
            return node.value
        case Items():
            return [plain(item) for item in node.items]
        case Table():
            return {key: plain(entry.node) for key, entry in node.entries.items()}


def load_file(path: Path, *, label: str | None = None) -> Node:
    """The document in a file. Raises PlaybookError with the place of everything that is wrong."""
    name = label or str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise PlaybookError(
            [Problem("this file does not exist", Location(name), hint="`winback init` writes one; -c names another")]
        ) from None
    except OSError as error:
        raise PlaybookError([Problem(f"cannot be read: {error.strerror}", Location(name))]) from None
    if len(data) > MAX_BYTES:
        raise PlaybookError([Problem("is larger than 1 MiB, which no settings file needs", Location(name))])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PlaybookError([Problem("is not UTF-8 text", Location(name, line))]) from None
    return load(text, file=name)


def load(text: str, *, file: str) -> Node:
    """The one document in this text. Raises PlaybookError with the place of everything that is wrong."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise PlaybookError([Problem("is larger than 1 MiB, which no settings file needs", Location(file))])
    try:
        root = _compose(text)
    except _RefusedError as error:
        raise PlaybookError([Problem(error.reason, _location(file, error.mark))]) from None
    except yaml.MarkedYAMLError as error:
        raise PlaybookError([_syntax_problem(error, text, file=file)]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        message = f"the character U+{_code_point(error.character):04X} is not allowed"
        raise PlaybookError([Problem(message, Location(file, line))]) from None
    if root is None:
        raise PlaybookError([Problem("is empty", Location(file, 1, 1))])
    reader = _Reader(text, file)
    node = reader.convert(root, path="")
    if reader.problems:
        raise PlaybookError(reader.problems)
    return node


class _RefusedError(Exception):
    """A document that is well-formed but not acceptable."""

    def __init__(self, reason: str, mark: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.mark = mark


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with our rules for plain values, and with bounds."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 PyYAML reads it so

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.level = 0
        self.aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
        if isinstance(event, yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > MAX_ALIASES:
                raise _RefusedError(f"more than {MAX_ALIASES} aliases (*name)", event.start_mark)
        self.level += 1
        if self.level > MAX_DEPTH:
            raise _RefusedError(f"nested more than {MAX_DEPTH} levels deep", event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.level -= 1
        return node


for _name, _pattern in {"null": _NULL, "bool": _BOOL, "int": _INT, "float": _FLOAT}.items():
    _Loader.add_implicit_resolver(_TAG + _name, _pattern, None)


def _compose(text: str) -> yaml.Node | None:
    loader = _Loader(text)
    try:
        root: yaml.Node | None = loader.get_single_node()
    finally:
        loader.dispose()
    return root


class _Reader:
    """Turns PyYAML's nodes into ours and notes what is wrong on the way."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.problems: list[Problem] = []
        self.nodes = 0
        self.open: set[int] = set()

    def convert(self, node: yaml.Node, *, path: str, depth: int = 1) -> Node:
        """One node and all below it."""
        where = _location(self.file, node.start_mark)
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise PlaybookError([Problem("aliases make this too large", where, path)])
        if id(node) in self.open:
            raise PlaybookError([Problem("an alias (*name) contains itself", where, path)])
        self.open.add(id(node))
        try:
            match node:
                case yaml.ScalarNode():
                    return self._scalar(node, path=path)
                case yaml.SequenceNode():
                    return self._items(node, path=path, depth=depth)
                case _:
                    return self._table(node, path=path, depth=depth)
        finally:
            self.open.discard(id(node))

    def _scalar(self, node: yaml.ScalarNode, *, path: str) -> Scalar:
        kind = node.tag.removeprefix(_TAG)
        place = _location(self.file, node.start_mark)
        if kind not in {"str", "null", "bool", "int", "float"} or kind == node.tag:
            self._refuse_tag(node, path)
        value = scalar_value(node.value) if kind != "str" else node.value
        positions = _positions(self.text, node)
        located = Location(self.file, place.line, place.column, tuple(positions))
        return Scalar(value, node.value, located, plain=node.style is None)

    def _items(self, node: yaml.SequenceNode, *, path: str, depth: int) -> Items:
        if node.tag != _TAG + "seq":
            self._refuse_tag(node, path)
        items = tuple(
            self.convert(item, path=f"{path}[{number}]", depth=depth + 1) for number, item in enumerate(node.value)
        )
        return Items(items, _location(self.file, node.start_mark))

    def _table(self, node: yaml.Node, *, path: str, depth: int) -> Table:
        if node.tag != _TAG + "map":
            self._refuse_tag(node, path)
        entries: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            place = _location(self.file, key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.value:
                self.problems.append(Problem("a key must be a word", place, path))
                continue
            key = str(key_node.value)
            child = f"{path}.{key}" if path else key
            if key in entries:
                first = entries[key].key_location.line
                message = f"the key '{key}' is already set in line {first}; the two would fight"
                self.problems.append(Problem(message, place, child))
                continue
            entries[key] = Entry(place, self.convert(value_node, path=child, depth=depth + 1))
        return Table(entries, _location(self.file, node.start_mark))

    def _refuse_tag(self, node: yaml.Node, path: str) -> None:
        shown = node.tag.replace(_TAG, "!!")
        message = f"the tag {shown} is not allowed: plain values, lists and tables are"
        self.problems.append(Problem(message, _location(self.file, node.start_mark), path))


def _location(file: str, mark: yaml.Mark | None) -> Location:
    return Location(file, mark.line + 1, mark.column + 1) if mark else Location(file)


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, *, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    said = " ".join(part for part in (error.context, error.problem) if part)
    message = f"this is not YAML: {said}"
    hint = None
    if "expected a single document" in said:
        message, hint = "holds more than one document", "remove the line `---`"
    elif mark is not None and text[max(mark.index - 1, 0) : mark.index + 1] == "${":
        hint = 'a reference inside { } or [ ] belongs in quotes: "${NAME}"'
    elif "cannot start any token" in said or "mapping values are not allowed" in said:
        hint = "a value with `: `, `#`, `%`, `@`, a tab or a quote in it belongs in quotes"
    elif (alias := re.search(r"undefined alias '([^']*)'", said)) is not None:
        hint = f"no `&{alias[1]}` stands before it"
    return Problem(message, _location(file, mark), hint=hint)


def _code_point(character: int | str | bytes) -> int:
    if isinstance(character, int):
        return character
    return ord(character[:1]) if character else 0


def _positions(text: str, node: yaml.ScalarNode) -> Iterator[tuple[int, int]]:
    """The (line, column) of each character of a scalar's value, and of the place behind it.

    Folding and indentation change only blanks, so each other character is the next one in the source that is not
    blank; inside double quotes an escape stands for its character.
    """
    source = _Source(text, node)
    for character in node.value:
        yield source.take(character)
    yield source.here()


_ESCAPE = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|\r?\n[ \t]*|.)", re.DOTALL)
_BLANK = " \t\r\n\x85\u2028\u2029"


class _Source:
    """A cursor over the characters a scalar was written with."""

    def __init__(self, text: str, node: yaml.ScalarNode) -> None:
        self.text = text
        self.style = node.style
        self.index = node.start_mark.index
        self.line = node.start_mark.line + 1
        self.column = node.start_mark.column + 1
        self.end = node.end_mark.index
        if self.style in ("'", '"'):
            self._advance(1)
        elif self.style in ("|", ">"):
            while self.index < self.end and self.text[self.index] != "\n":
                self._advance(1)

    def here(self) -> tuple[int, int]:
        """Where the cursor stands."""
        return self.line, self.column

    def take(self, character: str) -> tuple[int, int]:
        """Step over the source of this character of the value; says where that began."""
        if character in _BLANK and not self._escape():
            place = self.here()
            if self.index < self.end and self.text[self.index] == character:
                self._advance(1)
            return place
        self._skip_blanks()
        place = self.here()
        escape = self._escape()
        if escape:
            self._advance(len(escape))
        elif self.style == "'" and character == "'":
            self._advance(2)
        else:
            self._advance(1)
        return place

    def _skip_blanks(self) -> None:
        while self.index < self.end:
            escape = self._escape()
            if escape and escape[1] in "\r\n":
                self._advance(len(escape))
            elif self.text[self.index] in _BLANK:
                self._advance(1)
            else:
                return

    def _escape(self) -> str:
        if self.style != '"':
            return ""
        found = _ESCAPE.match(self.text, self.index, self.end)
        return found[0] if found else ""

    def _advance(self, count: int) -> None:
        for character in self.text[self.index : min(self.index + count, self.end)]:
            self.index += 1
            if character == "\n":
                self.line, self.column = self.line + 1, 1
            else:
                self.column += 1

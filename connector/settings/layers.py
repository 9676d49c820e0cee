"""Puts environment variables and flags on top of the file: flag > environment > file > default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from connector.location import Location, PlaybookError, Problem, nearest
from connector.settings.models import PlaybookFile
from connector.settings.secrets import is_secret
from connector.yaml_loader import Entry, Items, Node, Scalar, Table, load

PREFIX = "WINBACK_"
NESTED = "__"

_KEYS = tuple(PlaybookFile.model_fields)
_SLIP = 0.85
"""How alike a variable must be to a key to be taken for a slip of the pen rather than for something else."""


@dataclass(frozen=True, slots=True)
class Override:
    """One value from outside the file."""

    path: tuple[str, ...]
    text: str
    origin: str


def environment_overrides(environ: Mapping[str, str]) -> Iterator[Override]:
    """The `WINBACK_…` variables that set a key: `WINBACK_GUARDS__MAX_CHANGE=10%`."""
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name == PREFIX:
            continue
        path = tuple(name.removeprefix(PREFIX).lower().split(NESTED))
        if path[0] in _KEYS:
            yield Override(path, environ[name], f"environment variable {name}")


def environment_problems(environ: Mapping[str, str], *, referenced: frozenset[str]) -> Iterator[Problem]:
    """Variables that look like a key but are none: they would be ignored without a word."""
    for name in sorted(environ):
        first, nested, _ = name.removeprefix(PREFIX).lower().partition(NESTED)
        if not name.startswith(PREFIX) or not first or first in _KEYS or name in referenced:
            continue
        near = nearest(first, _KEYS)
        if nested or (near and _alike(first, near)):
            shown = f"{PREFIX}{near.upper()}" if near else None
            place = Location(f"environment variable {name}")
            yield Problem(f"'{first}' is not a key of winback.yaml", place, near=shown, allowed=_KEYS)


def _alike(word: str, other: str) -> bool:
    from difflib import SequenceMatcher

    return SequenceMatcher(None, word, other).ratio() >= _SLIP


def flag_overrides(flags: Sequence[str]) -> Iterator[Override]:
    """Flags of the form `guards.max_change=10%`."""
    for flag in flags:
        key, equals, text = flag.partition("=")
        if not equals or not key.strip():
            raise PlaybookError([Problem("must have the form key=value", Location(f"flag {key}"))])
        yield Override(tuple(key.strip().split(".")), text, f"flag {key.strip()}")


def overlay(root: Table, overrides: Sequence[Override]) -> Table:
    """The tree with each value put in its place, later ones winning."""
    for override in overrides:
        changed = _put(root, override.path, _node(override))
        assert isinstance(changed, Table)
        root = changed
    return root


def _node(override: Override) -> Node:
    """Lists and tables may be written in YAML's one-line form; everything else is text, except null."""
    text = override.text.strip()
    place = Location(override.origin)
    if not is_secret(override.path) and text.startswith(("[", "{")):
        return _moved(load(text, file=override.origin), place)
    if not is_secret(override.path) and text in ("null", "~"):
        return Scalar(None, text, place)
    return Scalar(override.text, override.text, place)


def _moved(node: Node, place: Location) -> Node:
    """The node as standing at one place: lines inside a variable mean nothing to anybody."""
    match node:
        case Scalar():
            return Scalar(node.value, node.text, place, plain=node.plain)
        case Items():
            return Items(tuple(_moved(item, place) for item in node.items), place)
        case Table():
            return Table({key: Entry(place, _moved(entry.node, place)) for key, entry in node.entries.items()}, place)


def _put(node: Node | None, path: tuple[str, ...], value: Node) -> Node:
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(node, Items) and head.isdigit() and int(head) < len(node.items):
        items = list(node.items)
        items[int(head)] = _put(items[int(head)], rest, value)
        return Items(tuple(items), node.location)
    table = node if isinstance(node, Table) else Table({}, value.location)
    key = next((key for key in table.entries if _spelled(key) == _spelled(head)), head)
    entry = table.entries.get(key)
    changed = _put(entry.node if entry else None, rest, value)
    place = entry.key_location if entry and rest else value.location
    return Table({**table.entries, key: Entry(place, changed)}, table.location)


def _spelled(key: str) -> str:
    return key.lower().replace("-", "_")

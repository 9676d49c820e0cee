"""Metadata files as text: trees of names and values, written as Salesforce's own tools write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias
from xml.sax.saxutils import escape

NAMESPACE: Final = "http://soap.sforce.com/2006/04/metadata"
API_VERSION: Final = "66.0"

Tree: TypeAlias = "Mapping[str, Value]"
"""A part of a file."""
Value: TypeAlias = "str | bool | int | Tree | Sequence[str] | Sequence[Tree]"
"""What stands under a name; a sequence is an element that is repeated."""

_INDENT: Final = "    "


def document(root: str, tree: Tree) -> str:
    """A whole metadata file."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<{root} xmlns="{NAMESPACE}">']
    lines += [f"{_INDENT}{line}" for line in _inside(tree)]
    return "\n".join([*lines, f"</{root}>", ""])


def tidy(**children: Value) -> Tree:
    """A part whose names are in the order Salesforce's tools keep: `fullName`, then by the alphabet."""
    return {name: children[name] for name in sorted(children, key=lambda name: (name != "fullName", name))}


def text(value: str | bool | int) -> str:  # noqa: FBT001  # a value, not a switch
    """One value as it stands in a file."""
    if isinstance(value, bool):
        return str(value).lower()
    return escape(str(value), {'"': "&quot;", "'": "&apos;"})


def _inside(tree: Tree) -> Iterator[str]:
    for name, value in tree.items():
        repeated = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        for one in repeated:
            if isinstance(one, Mapping):
                yield f"<{name}>"
                yield from (f"{_INDENT}{line}" for line in _inside(one))
                yield f"</{name}>"
            else:
                yield f"<{name}>{text(one)}</{name}>"

"""Salesforce's own description of its metadata (its WSDL, as TypeScript in @salesforce/types), to hold a file against."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree.ElementTree import Element

from tests.fakes.salesforce_flows import META

_BASES = "&"
_FIELD = re.compile(r"^    (\w+)(\??): ([^;]+);$", re.MULTILINE)
_ENUM = re.compile(r"'([^']*)'")


@dataclass(frozen=True)
class Part:
    """An element that a type has: the type of what stands in it, whether it must be there and may be repeated."""

    kind: str
    needed: bool
    repeated: bool


@cache
def types(file: Path) -> Mapping[str, Mapping[str, Part] | frozenset[str]]:
    """Every type: its parts, or for an enumeration the words it allows."""
    found: dict[str, Mapping[str, Part] | frozenset[str]] = {}
    text = file.read_text()
    for declared in re.split(r"^(?=export type )", text, flags=re.MULTILINE)[1:]:
        head, _, body = declared.partition(" = ")
        name = head.removeprefix("export type ")
        words = _ENUM.findall(body)
        if words and "{" not in body:
            found[name] = frozenset(words)
            continue
        bases = re.findall(r"\w+", body.partition("{")[0])
        own = {
            field: Part(kind.removesuffix("[]"), not optional and not kind.endswith("[]"), kind.endswith("[]"))
            for field, optional, kind in _FIELD.findall(body)
        }
        found[name] = {_BASES: Part(" ".join(bases), needed=False, repeated=False), **own}
    return found


def parts_of(file: Path, name: str) -> dict[str, Part]:
    """The elements a type may have, its bases' included."""
    declared = types(file)[name]
    assert isinstance(declared, Mapping), name
    own = dict(declared)
    bases = own.pop(_BASES).kind.split()
    return {field: part for base in bases for field, part in parts_of(file, base).items()} | own


def problems(file: Path, element: Element, kind: str, at: str = "") -> Iterator[str]:
    """What of an element does not fit its type, each with the place."""
    parts = parts_of(file, kind)
    seen: dict[str, int] = {}
    for child in element:
        name = child.tag.removeprefix(META)
        place = f"{at}/{name}"
        part = parts.get(name)
        if part is None:
            yield f"{place}: {kind} has no such element"
            continue
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1 and not part.repeated:
            yield f"{place}: may be there once"
        yield from _value(file, child, part, place)
    yield from (f"{at}/{name}: is missing" for name, part in parts.items() if part.needed and name not in seen)


def _value(file: Path, child: Element, part: Part, place: str) -> Iterator[str]:
    words = (child.text or "").strip()
    known = types(file).get(part.kind)
    if isinstance(known, frozenset):
        if words not in known:
            yield f"{place}: {words!r} is no {part.kind}"
    elif known is not None:
        yield from problems(file, child, part.kind, place)
    elif len(child):
        yield f"{place}: holds elements, and should hold a {part.kind}"
    elif part.kind == "boolean" and words not in {"true", "false"}:
        yield f"{place}: {words!r} is no boolean"
    elif part.kind == "number" and not re.fullmatch(r"-?\d+(\.\d+)?", words):
        yield f"{place}: {words!r} is no number"

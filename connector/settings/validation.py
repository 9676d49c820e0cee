"""Turns pydantic's findings into problems that name the place, the key, what was found and what is allowed."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from connector.location import Location, Problem, nearest
from connector.settings.block import NAME_RULES
from connector.settings.secrets import KEYS, masked
from connector.settings.values import read_share
from connector.yaml_loader import Items, Node, Scalar, Table

Step = str | int


@dataclass(frozen=True, slots=True)
class Found:
    """How far a path leads into the tree: the node there, the place of its key, and the steps taken."""

    node: Node
    place: Location
    taken: tuple[Step, ...]


def find(root: Node, path: Sequence[Step]) -> Found:
    """The deepest node on the path; steps that are not in the file (a union's branch) are passed over."""
    found = Found(root, root.location, ())
    for step in path:
        node = found.node
        if isinstance(node, Table) and str(step) in node.entries:
            entry = node.entries[str(step)]
            found = Found(entry.node, entry.key_location, (*found.taken, str(step)))
        elif isinstance(node, Items) and isinstance(step, int) and step < len(node.items):
            found = Found(node.items[step], node.items[step].location, (*found.taken, step))
    return found


def dotted(path: Sequence[Step]) -> str:
    """`segments[3].where`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def problems_of(
    error: ValidationError,
    model: type[BaseModel],
    root: Node,
    *,
    within: Sequence[Step] = (),
    extra_keys: Sequence[str] = (),
    hidden: frozenset[str] = frozenset(),
) -> Iterator[Problem]:
    """One problem for each thing pydantic found, each place once.

    Args:
        error: What pydantic found.
        model: What it checked against.
        root: The whole file.
        within: Where in the file the checked part stands.
        extra_keys: Further keys that are allowed in the part itself.
        hidden: Dotted paths whose values no message may repeat.
    """
    seen: set[str] = set()
    for detail in error.errors(include_url=False):
        path = (*within, *detail["loc"])
        found = find(root, path)
        key = dotted(path) if detail["type"] == "missing" else dotted(found.taken)
        if key in seen or (detail["type"] == "too_short" and isinstance(found.node, Items) and found.node.items):
            continue  # a list is also too short when what is in it is wrong, which is told by itself
        seen.add(key)
        allowed = (*fields_at(model, detail["loc"][:-1]), *(extra_keys if len(detail["loc"]) == 1 else ()))
        yield _problem(detail, found, path, allowed, hidden=hidden)


def share_problem(values: dict[str, Any], root: Node, path: Sequence[Step]) -> Problem | None:
    """Read `rate.share` of a block where it is written `80%`; what is wrong with it, if anything is."""
    rate = values.get("rate")
    if not isinstance(rate, dict) or "share" not in rate:
        return None
    try:
        values["rate"] = {**rate, "share": read_share(rate["share"])}
    except ValueError as error:
        key = (*path, "rate", "share")
        return Problem(f"'{rate['share']}' {error}", find(root, key).node.location, dotted(key))
    return None


def _problem(
    detail: ErrorDetails, found: Found, path: Sequence[Step], allowed: tuple[str, ...], *, hidden: frozenset[str]
) -> Problem:
    last = str(path[-1]) if path else ""
    if last == _KEY_ITSELF:
        found = _as_written(found)
    key = dotted(found.taken)
    value_place = found.node.location if isinstance(found.node, Scalar) else found.place
    match detail["type"]:
        case "missing":
            return Problem(f"the key '{last}' is missing", found.node.location, key, hint=None)
        case "extra_forbidden":
            parent = dotted(found.taken[:-1])
            return Problem(f"unknown key '{last}'", found.place, parent, near=nearest(last, allowed), allowed=allowed)
        case "literal_error" | "enum":
            choices = tuple(re.findall(r"'([^']*)'|\b(\d+)\b", str(detail.get("ctx", {}).get("expected", ""))))
            names = tuple(first or second for first, second in choices)
            value = shown(found.node, key, hidden=hidden)
            near = nearest(found.node.text, names) if isinstance(found.node, Scalar) else None
            return Problem(f"{value} is not allowed here", value_place, key, near=near, allowed=names)
        case _:
            message, hint = _said(detail, found.node, shown(found.node, key, hidden=hidden))
            return Problem(message, value_place, key, hint=hint)


_KEY_ITSELF = "[key]"
"""What pydantic calls the key of a mapping, where the key is wrong and not what stands under it."""


def _as_written(found: Found) -> Found:
    """The key that was found, as a value of its own."""
    key = str(found.taken[-1])
    return Found(Scalar(key, key, found.place), found.place, found.taken)


def _said(detail: ErrorDetails, node: Node, value: str) -> tuple[str, str | None]:
    said = str(detail["msg"]).removeprefix("Value error, ")
    message, hint = f"{value}: {said[:1].lower()}{said[1:]}", None
    match detail["type"]:
        case "value_error":
            message = said if value in said or isinstance(node, Table) else f"{value} {said}"
        case kind if kind.endswith("_type") and isinstance(node, Scalar) and node.value is None:
            message = "nothing stands here"
        case "string_type" if isinstance(node, Scalar):
            message, hint = f"{value} is not text", f'put it in quotes: "{node.text}"'
        case "string_pattern_mismatch" if detail.get("ctx", {}).get("pattern") in NAME_RULES:
            message, hint = f"{value} is not a name", NAME_RULES[detail["ctx"]["pattern"]]
        case "too_short":
            message = "at least one is needed here"
        case kind if kind in _KINDS:
            message = f"{value} is {_KINDS[kind]}"
        case _:
            pass
    return message, hint


_KINDS = {
    "bool_parsing": "neither true nor false",
    "bool_type": "neither true nor false",
    "dict_type": "not a table",
    "mapping_type": "not a table",
    "model_type": "not a table",
    "model_attributes_type": "not a table",
    "list_type": "not a list",
    "tuple_type": "not a list",
    "string_type": "not text",
    "int_parsing": "not a whole number",
    "int_type": "not a whole number",
    "float_parsing": "not a number",
    "float_type": "not a number",
}
"""What pydantic found, in the words of someone who writes YAML."""


def shown(node: Node, key: str, *, hidden: frozenset[str]) -> str:
    """A value for a message: never a secret, never long."""
    if key in hidden or ".auth" in key or key.startswith(f"{KEYS}."):
        return "the value"
    match node:
        case Scalar(value=None):
            return "nothing"
        case Scalar():
            text = masked(node.text)
            return f"'{text}'" if len(text) <= 60 else f"'{text[:57]}…'"  # noqa: PLR2004 a message stays on a line
        case Items():
            return "a list"
        case Table():
            return "a table"


def fields_at(model: type[BaseModel], path: Sequence[Step]) -> tuple[str, ...]:
    """The keys allowed where this path leads, found in the models' annotations."""
    candidates: list[Any] = [model]
    for step in path:
        following = [inner for candidate in candidates for inner in _under(candidate, step)]
        candidates = following or candidates
    names = [name for candidate in _models(candidates) for name in _keys(candidate)]
    return tuple(dict.fromkeys(names))


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(candidates: Sequence[Any]) -> Iterator[type[BaseModel]]:
    for candidate in candidates:
        for part in _plain_types(candidate):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield part


def _plain_types(annotation: Any) -> Iterator[Any]:
    """The annotation without Annotated, and each branch of a union."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _plain_types(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _plain_types(part)
    else:
        yield annotation


def _under(annotation: Any, step: Step) -> Iterator[Any]:
    """What may stand under one step."""
    for part in _plain_types(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            for name, field in part.model_fields.items():
                if step in (name, field.alias):
                    yield field.annotation
        elif isinstance(get_origin(part), type) and issubclass(get_origin(part), Mapping):
            yield get_args(part)[1]
        elif get_args(part) and isinstance(step, int):
            yield get_args(part)[0]

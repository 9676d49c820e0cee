"""The closed set of things a plan can do, in the order it does them.

A step says what, never how: batching, retries and the ledger belong to `apply.py`. A `match` over `Step` ends in
`assert_never`, so a new kind is found missing by the type checker everywhere it must be handled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from connector.model import PropertySpec

Values: TypeAlias = Mapping[str, str | None]
"""Property values by name; None means empty, and so does a name that is not there."""


@dataclass(frozen=True, slots=True)
class PropertyChange:
    """New values of one record and what they replace, which is what undo writes back."""

    row_id: str
    values: Values
    before: Values


@dataclass(frozen=True, slots=True)
class EnsureProperty:
    """Make a contact property, or widen its choices."""

    kind: ClassVar[str] = "ensure_property"
    spec: PropertySpec


@dataclass(frozen=True, slots=True)
class EnsureList:
    """Make a list that is not there yet."""

    kind: ClassVar[str] = "ensure_list"
    name: str
    folder: str


@dataclass(frozen=True, slots=True)
class RemoveMembers:
    """Take records off a list."""

    kind: ClassVar[str] = "remove_members"
    list_name: str
    row_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddMembers:
    """Put records on a list. `retried` rows were refused before and travel apart from the others."""

    kind: ClassVar[str] = "add_members"
    list_name: str
    row_ids: tuple[str, ...]
    retried: bool = False


@dataclass(frozen=True, slots=True)
class SetProperties:
    """Write property values. `retried` rows were refused before and travel apart from the others."""

    kind: ClassVar[str] = "set_properties"
    rows: tuple[PropertyChange, ...]
    retried: bool = False


@dataclass(frozen=True, slots=True)
class RemoveList:
    """Delete a list that the run being undone had made; `only_if_empty` where it may not have been us."""

    kind: ClassVar[str] = "remove_list"
    name: str
    list_id: str
    only_if_empty: bool = False


@dataclass(frozen=True, slots=True)
class RemoveProperty:
    """Archive a property that the run being undone had made."""

    kind: ClassVar[str] = "remove_property"
    name: str


Step: TypeAlias = EnsureProperty | EnsureList | RemoveMembers | AddMembers | SetProperties | RemoveList | RemoveProperty

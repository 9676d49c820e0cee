"""What a path in a query (`Account.Name`) is, and how its value is read from a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from adapters.salesforce.sandbox.answers import Refusal
from adapters.salesforce.sandbox.fields import Field, SObject
from adapters.salesforce.sandbox.soql import Path, place

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.records import Row
    from adapters.salesforce.sandbox.state import State

DEEPEST = 5
Reader = Callable[["Row"], Any]

ATTRIBUTES: dict[str, Reader] = {
    "Id": attrgetter("id"),
    "IsDeleted": attrgetter("is_deleted"),
    "CreatedDate": attrgetter("created_ms"),
    "CreatedById": attrgetter("created_by"),
    "LastModifiedDate": attrgetter("modified_ms"),
    "LastModifiedById": attrgetter("modified_by"),
    "SystemModstamp": attrgetter("stamp_ms"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One value a query can read. links: The references followed to the record that has it; names: as in the answer."""

    field: Field
    kind: SObject
    links: tuple[Field, ...]
    read: Reader

    @property
    def names(self) -> tuple[str, ...]:
        """The path in the org's own spelling."""
        return (*(str(link.relationship) for link in self.links), self.field.name)

    @property
    def is_own(self) -> bool:
        """Whether it is stored in the record itself, not read through another or worked out."""
        return not self.links and self.field.derived is None


def column(state: State, kind: SObject, path: Path, *, text: str = "") -> Column:
    """The column a path leads to; Refusal INVALID_FIELD as the vendor words it."""
    given = path
    if len(path) > 1 and path[0].lower() == kind.name.lower() and kind.relation(path[0]) is None:
        given = path[1:]
    if len(given) - 1 > DEEPEST:
        raise Refusal("MALFORMED_QUERY", f"{_where(text, path)}relationship path goes deeper than {DEEPEST} levels")
    links: list[Field] = []
    at = kind
    for name in given[:-1]:
        link = at.relation(name)
        if link is None or not state.viewer.sees(at, link):
            raise Refusal(
                "INVALID_FIELD",
                f"{_where(text, path)}Didn't understand relationship '{name}' in field path. If you are attempting to "
                "use a custom relationship, be sure to append the '__r' after the custom relationship name. Please "
                "reference your WSDL or the describe call for the appropriate names.",
            )
        links.append(link)
        at = _led_to(state, link, given[-1])
    one = at.find(given[-1])
    if one is None or not state.viewer.sees(at, one):
        raise Refusal(
            "INVALID_FIELD",
            f"{_where(text, path)}No such column '{given[-1]}' on entity '{at.name}'. If you are attempting to use a "
            "custom field, be sure to append the '__c' after the custom field name. Please reference your WSDL or the "
            "describe call for the appropriate names.",
        )
    return Column(one, at, tuple(links), _reader(state, links, one))


def reader(state: State, one: Field) -> Reader:
    """How a field of a record itself is read."""
    if one.name in ATTRIBUTES:
        return ATTRIBUTES[one.name]
    name = one.name
    if one.derived is not None:
        work_out = one.derived
        return lambda row: work_out(state, row)
    if one.kind == "boolean":
        return lambda row: row.values.get(name, False)
    return lambda row: row.values.get(name)


def _reader(state: State, links: list[Field], one: Field) -> Reader:
    if not links:
        return reader(state, one)
    follow = [reader(state, link) for link in links]
    name = one.name

    def read(row: Row) -> Any:
        for step in follow:
            led_to = step(row)
            found = None if led_to is None else state.row(led_to)
            if found is None:
                return None
            row = found
        return state.value(row, name)

    return read


def _led_to(state: State, link: Field, name: str) -> SObject:
    """The kind a reference leads to; where several are possible, the first that has the field."""
    kinds = [kind for refers in link.refers if (kind := state.kind(refers)) is not None]
    for kind in kinds:
        if kind.find(name) is not None or kind.relation(name) is not None:
            return kind
    if not kinds:
        raise Refusal("INVALID_FIELD", f"Didn't understand relationship '{link.relationship}' in field path.")
    return kinds[0]


def _where(text: str, path: Path) -> str:
    column = text.find(".".join(path))
    return place(text, column) if column >= 0 else ""

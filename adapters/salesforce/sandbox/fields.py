"""What kinds of records the org has, and what a field of one may hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.records import Row
    from adapters.salesforce.sandbox.state import State

TEXTS = frozenset({"string", "textarea", "email", "phone", "url", "picklist", "multipicklist"})
NUMBERS = frozenset({"double", "currency", "percent", "int"})
IDS = frozenset({"id", "reference"})
SYSTEM = frozenset(
    {"Id", "IsDeleted", "CreatedDate", "CreatedById", "LastModifiedDate", "LastModifiedById", "SystemModstamp"}
)
"""Fields that every record has and that are no part of its `values`."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    kind: The vendor's word for the type (`string`, `picklist`, `reference`, …).
    refers: The kinds of records a reference may lead to; `relationship` is its name in a query (`Account`).
    derived: How its value follows from the rest; such a field is never written.
    feature: What the org must have switched on for the field to be there at all; see `Behaviour`.
    """

    name: str
    kind: str
    label: str = ""
    length: int = 0
    precision: int = 0
    scale: int = 0
    required: bool = False
    createable: bool = True
    updateable: bool = True
    unique: bool = False
    external_id: bool = False
    case_sensitive: bool = False
    custom: bool = False
    choices: tuple[str, ...] = ()
    restricted: bool = False
    refers: tuple[str, ...] = ()
    relationship: str | None = None
    default: Any = None
    derived: Callable[[State, Row], Any] | None = None
    feature: str | None = None

    @property
    def is_text(self) -> bool:
        """Whether it holds text."""
        return self.kind in TEXTS

    @property
    def indexed(self) -> bool:
        """Whether looking records up by an exact value is quick."""
        return self.derived is None and (self.kind in {"reference", "email"} or self.unique or self.external_id)


@dataclass(slots=True)
class SObject:
    """One kind of record with its fields, by their names as written and by their names in lower case."""

    name: str
    prefix: str
    label: str
    plural: str
    fields: dict[str, Field] = field(default_factory=dict)
    lower: dict[str, Field] = field(default_factory=dict)
    createable: bool = True
    updateable: bool = True
    deletable: bool = True
    mergeable: bool = False
    custom: bool = False
    tooling: bool = False
    feature: str | None = None
    version: int = 0
    """Grows with every change of the fields, so that what was made from them knows when it is stale."""
    defaults: dict[str, Any] = field(default_factory=dict)
    demanded: tuple[str, ...] = ()

    def add(self, *fields: Field) -> None:
        """Take in fields; one of the same name is replaced."""
        self.version += 1
        for one in fields:
            self.fields[one.name] = one
            self.lower[one.name.lower()] = one
        self._sum_up()

    def drop(self, name: str) -> None:
        """Forget a field."""
        self.version += 1
        self.lower.pop(name.lower(), None)
        self.fields.pop(name, None)
        self._sum_up()

    def find(self, name: str) -> Field | None:
        """The field of this name, however it is written."""
        return self.fields.get(name) or self.lower.get(name.lower())

    def relation(self, name: str) -> Field | None:
        """The reference whose relationship has this name."""
        wanted = name.lower()
        return next((one for one in self.fields.values() if (one.relationship or "").lower() == wanted), None)

    def _sum_up(self) -> None:
        """Note what a new record starts with and what it must be given."""
        self.defaults = {one.name: one.default for one in self.fields.values() if one.default}
        self.demanded = tuple(
            one.name
            for one in self.fields.values()
            if one.required and one.kind != "boolean" and one.name not in self.defaults
        )


def sobject(name: str, prefix: str, label: str, fields: Iterable[Field], **settings: Any) -> SObject:
    """A kind of record with the system's fields in front."""
    made = SObject(name, prefix, label, settings.pop("plural", f"{label}s"), **settings)
    made.add(*SYSTEM_FIELDS, *fields)
    return made


def words(name: str) -> str:
    """A label from a name: `FirstName` is "First Name"."""
    bare = name.removesuffix("__c").replace("_", " ")
    return "".join(
        f" {sign}" if sign.isupper() and place and bare[place - 1].islower() else sign
        for place, sign in enumerate(bare)
    )


SYSTEM_FIELDS = (
    Field("Id", "id", "Record ID", length=18, createable=False, updateable=False),
    Field("IsDeleted", "boolean", "Deleted", createable=False, updateable=False),
    Field("CreatedDate", "datetime", "Created Date", createable=False, updateable=False),
    Field(
        "CreatedById",
        "reference",
        "Created By ID",
        length=18,
        createable=False,
        updateable=False,
        refers=("User",),
        relationship="CreatedBy",
    ),
    Field("LastModifiedDate", "datetime", "Last Modified Date", createable=False, updateable=False),
    Field(
        "LastModifiedById",
        "reference",
        "Last Modified By ID",
        length=18,
        createable=False,
        updateable=False,
        refers=("User",),
        relationship="LastModifiedBy",
    ),
    Field("SystemModstamp", "datetime", "System Modstamp", createable=False, updateable=False),
)

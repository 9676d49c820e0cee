"""Why the org refuses a row: validation rules, duplicate rules, and single records that somebody poisoned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from adapters.salesforce.sandbox.answers import RowError

VALIDATION = "FIELD_CUSTOM_VALIDATION_EXCEPTION"
DUPLICATES = "DUPLICATES_DETECTED"


@dataclass(frozen=True, slots=True)
class Poison:
    """Why writes to one record are refused.

    on: "record" (its own values), "members" (memberships and tasks of this person), or "both".
    """

    message: str
    code: str = VALIDATION
    on: str = "both"
    fields: tuple[str, ...] = ()

    def strikes(self, *, own: bool) -> bool:
        """Whether it refuses a write to the record itself (own), or to one that hangs on it."""
        return self.on in {"both", "record" if own else "members"}

    def error(self) -> RowError:
        """What the row is told."""
        return RowError(self.code, self.message, self.fields)


@dataclass(frozen=True, slots=True)
class ValidationRule:
    """A rule for all records of a kind: refused when the field holds this value once it is written.

    equals: The value; None stands for an empty field.
    """

    sobject: str
    field: str
    message: str
    equals: Any = None
    code: str = VALIDATION

    def body(self) -> dict[str, Any]:
        """The rule as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DuplicateRule:
    """No two live records of a kind may share this field's value.

    blocks: Refuses in any case; otherwise `Sforce-Duplicate-Rule-Header: allowSave=true` passes it.
    """

    sobject: str
    field: str = "Email"
    blocks: bool = False

    def body(self) -> dict[str, Any]:
        """The rule as JSON."""
        return asdict(self)


@dataclass(slots=True)
class Rules:
    """Every rule in force. `allow_save`: the request said that alerts of duplicate rules do not matter."""

    poison: dict[str, Poison] = field(default_factory=dict)
    validations: list[ValidationRule] = field(default_factory=list)
    duplicates: list[DuplicateRule] = field(default_factory=list)
    allow_save: bool = False

    def clear(self) -> None:
        """Let everything pass."""
        self.poison.clear()
        self.validations.clear()
        self.duplicates.clear()

    def check(self, kind: str, record_id: str, values: Mapping[str, Any]) -> None:
        """Refuse a row for its record's poison, its person's poison, or a validation rule."""
        if self.poison:
            poison = self.poison.get(record_id)
            if poison is not None and poison.strikes(own=True):
                raise poison.error()
            for link in ("ContactId", "LeadId", "WhoId"):
                poison = self.poison.get(str(values.get(link)))
                if poison is not None and poison.strikes(own=False):
                    raise poison.error()
        for rule in self.validations:
            if rule.sobject == kind and values.get(rule.field) == rule.equals:
                raise RowError(rule.code, rule.message, [rule.field])

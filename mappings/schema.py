"""What a mapping file says: which provider field fills which neutral column, and how it is converted.

```yaml
version: 1
system: hubspot
stream: contacts
into: contacts
fields:
  contact_id: {from: hs_object_id, required: true}
  email: email                                   # short for {from: email}; the transform follows the column
  role: {from: [role, jobtitle]}                 # the first that is not empty
  bounced: {from: [bounce_reason, bad_address], transform: flagged}   # true when any is
attributes:
  numberemployees: {from: numberemployees, transform: number}
```
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any, Literal, Self, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from connector.errors import MappingError
from connector.model import NEUTRAL_TABLES, neutral_columns
from mappings.transforms import TRANSFORMS

PSEUDO_COLUMNS: Mapping[str, tuple[str, ...]] = {"contacts": ("merged_ids", "secondary_emails")}
"""Columns a mapping may fill that become identities instead of columns; both are text joined by `;`."""

ATTRIBUTES = "attributes"
_ATTRIBUTE_PREFIX = "attributes."
_SPECIAL_TRANSFORMS = {"email": "email", "merged_ids": "split", "secondary_emails": "split"}
_TRANSFORM_BY_TYPE = {"datetime": "time", "bool": "boolean", "int": "integer", "float": "number"}


class FieldMapping(BaseModel):
    """Where one neutral column comes from."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    from_: tuple[str, ...] = Field(default=(), alias="from", description="provider field, or several: the first filled")
    transform: str | None = Field(default=None, description="how to convert; by the column's type when left out")
    required: bool = Field(default=False, description="a record without it is set aside")
    value: str | int | float | bool | None = Field(default=None, description="a constant instead of a field")
    by_user: bool = Field(default=False, exclude=True, description="written in winback.yaml: must exist in the source")

    @field_validator("from_", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("transform")
    @classmethod
    def _known_transform(cls, value: str | None) -> str | None:
        if value is not None and value not in TRANSFORMS:
            raise ValueError(f"no transform {value!r}{_near(value, TRANSFORMS)}")
        return value

    @model_validator(mode="after")
    def _field_or_constant(self) -> Self:
        if bool(self.from_) == (self.value is not None):
            raise ValueError("give either `from` or `value`")
        if any(not name.strip() for name in self.from_):
            raise ValueError("`from` holds an empty field name")
        return self


class StreamMapping(BaseModel):
    """One stream's mapping into one neutral table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    system: str
    stream: str
    into: str
    fields: Mapping[str, FieldMapping]
    attributes: Mapping[str, FieldMapping] = Field(default_factory=dict)

    @field_validator("fields", "attributes", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: {"from": entry} if isinstance(entry, str | list) else entry for name, entry in value.items()}

    @model_validator(mode="after")
    def _only_neutral_columns(self) -> Self:
        if self.into not in NEUTRAL_TABLES:
            raise ValueError(f"no table {self.into!r}{_near(self.into, NEUTRAL_TABLES)}")
        allowed = fillable_columns(self.into)
        for name in self.fields:
            if name not in allowed:
                raise ValueError(
                    f"no column {name!r} in {self.into}{_near(name, allowed)} (columns: {', '.join(allowed)})"
                )
        missing = [name for name in required_columns(self.into) if name not in self.fields]
        if missing:
            raise ValueError(f"{self.into} needs {' and '.join(missing)}")
        if self.attributes and "attributes" not in neutral_columns(self.into):
            raise ValueError(f"{self.into} has no attributes; only its own columns can be filled")
        return self

    def provider_fields(self) -> tuple[str, ...]:
        """Every provider field this mapping reads, once each, in the order written."""
        wanted = (name for entry in (*self.fields.values(), *self.attributes.values()) for name in entry.from_)
        return tuple(dict.fromkeys(wanted))

    def is_required(self, column: str) -> bool:
        """Whether a record without this neutral column is set aside."""
        return self.fields[column].required or column in required_columns(self.into)


def fillable_columns(table: str) -> tuple[str, ...]:
    """The names `fields:` may have for this table: its columns without `attributes`, and the pseudo columns."""
    columns = tuple(name for name in neutral_columns(table) if name != ATTRIBUTES)
    return (*columns, *PSEUDO_COLUMNS.get(table, ()))


def required_columns(table: str) -> tuple[str, ...]:
    """The columns no row of this table can be without."""
    spec = fields(NEUTRAL_TABLES[table])
    return tuple(f.name for f in spec if f.default is MISSING and f.default_factory is MISSING)


def default_transform(table: str, column: str) -> str:
    """How a column is converted when its mapping does not say: by the column's type."""
    if column in _SPECIAL_TRANSFORMS:
        return _SPECIAL_TRANSFORMS[column]
    return _column_transforms(table).get(column, "text")


@cache
def _column_transforms(table: str) -> Mapping[str, str]:
    hints = get_type_hints(NEUTRAL_TABLES[table], include_extras=False)
    return {name: _transform_of(hint) for name, hint in hints.items()}


def _transform_of(hint: Any) -> str:
    names = [getattr(part, "__name__", "") for part in (getattr(hint, "__args__", None) or (hint,))]
    return next((_TRANSFORM_BY_TYPE[name] for name in names if name in _TRANSFORM_BY_TYPE), "text")


@cache
def load_shipped(system: str, stream: str) -> StreamMapping | None:
    """The mapping that ships for this system's stream; None when there is none."""
    if not re.fullmatch(r"[a-z0-9_]+", system) or not re.fullmatch(r"[a-z0-9_]+", stream):
        return None
    resource = files("mappings").joinpath(system, f"{stream}.yaml")
    if not resource.is_file():
        return None
    return parse_mapping(resource.read_text(encoding="utf-8"), place=f"mappings/{system}/{stream}.yaml")


def parse_mapping(text: str, *, place: str) -> StreamMapping:
    """A mapping file's text as a checked mapping; `place` is what errors call it."""
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise MappingError(f"{place}: not readable as YAML: {error}") from error
    if not isinstance(document, Mapping):
        raise MappingError(f"{place}: a mapping file is a set of keys: version, system, stream, into, fields")
    return _checked(document, place=place)


def with_overrides(mapping: StreamMapping, user: Mapping[str, str]) -> StreamMapping:
    """The mapping with the user's own lines on top: neutral column, or `attributes.x`, to provider field.

    A column that was mapped keeps its transform; a constant is replaced by the field.
    """
    place = f"mapping of {mapping.system} {mapping.stream}"
    columns, attributes = _split_user(user, mapping.into, place=place)
    document = {
        "system": mapping.system,
        "stream": mapping.stream,
        "into": mapping.into,
        "fields": {**mapping.fields, **{name: _override(mapping.fields.get(name), at) for name, at in columns.items()}},
        "attributes": {
            **mapping.attributes,
            **{name: _override(mapping.attributes.get(name), at) for name, at in attributes.items()},
        },
    }
    return _checked(document, place=place)


def from_user(system: str, stream: str, into: str, user: Mapping[str, str]) -> StreamMapping:
    """A mapping from the user's lines alone, for systems whose columns nobody can know beforehand."""
    place = f"mapping of {system} {stream}"
    if into not in NEUTRAL_TABLES:
        raise MappingError(f"{place}: no table {into!r}{_near(into, NEUTRAL_TABLES)}")
    columns, attributes = _split_user(user, into, place=place)
    document = {
        "system": system,
        "stream": stream,
        "into": into,
        "fields": {name: _override(None, at) for name, at in columns.items()},
        "attributes": {name: _override(None, at) for name, at in attributes.items()},
    }
    return _checked(document, place=place)


def _override(known: FieldMapping | None, provider_field: str) -> FieldMapping:
    return FieldMapping(
        from_=(provider_field,),
        transform=known.transform if known else None,
        required=known.required if known else False,
        by_user=True,
    )


def _split_user(user: Mapping[str, str], into: str, *, place: str) -> tuple[dict[str, str], dict[str, str]]:
    columns: dict[str, str] = {}
    attributes: dict[str, str] = {}
    allowed = fillable_columns(into)
    for name, provider_field in user.items():
        if not provider_field.strip():
            raise MappingError(f"{place}: {name} names no field", hint=f"write `{name}: <field>` or leave it out.")
        if name.startswith(_ATTRIBUTE_PREFIX) and len(name) > len(_ATTRIBUTE_PREFIX):
            attributes[name.removeprefix(_ATTRIBUTE_PREFIX)] = provider_field
        elif name in allowed:
            columns[name] = provider_field
        else:
            raise MappingError(
                f"{place}: no column {name!r} in {into}{_near(name, allowed)}",
                hint=f"columns: {', '.join(allowed)}; anything else as attributes.<name>.",
            )
    return columns, attributes


def _checked(document: Mapping[str, Any], *, place: str) -> StreamMapping:
    try:
        return StreamMapping.model_validate(dict(document))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise MappingError(f"{place}: {where + ': ' if where else ''}{message}") from error


def _near(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""

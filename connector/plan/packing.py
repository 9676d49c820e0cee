"""Decisions of a program as rows of a plan file, and back: every field as text, so that a person can read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime
from typing import Any, TypeVar, get_type_hints

from connector.model import FeedbackRow
from connector.program.model import Entry, Episode, Exit, Move, Split

T = TypeVar("T")

Packed = Mapping[str, str | None]


def pack(record: Any) -> dict[str, str | None]:
    """The fields of a record that are not at their default, as text."""
    return {
        field.name: _text(value)
        for field in fields(record)
        if (value := getattr(record, field.name)) is not None and value != {}
    }


def unpack(kind: type[T], packed: Packed) -> T:
    """The record again; what is not there has its default."""
    readers = _READERS[kind]
    return kind(**{name: readers[name](text) for name, text in packed.items() if text is not None})


def pack_entry(entry: Entry) -> dict[str, str | None]:
    """An entry is its episode."""
    return pack(entry.episode)


def unpack_entry(packed: Packed) -> Entry:
    """An entry from its episode."""
    return Entry(unpack(Episode, packed))


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return "yes" if value else "no"
        case date():
            return value.isoformat()
        case Mapping():
            return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
        case _:
            return repr(value)


def _readers_by_field(kind: type) -> Mapping[str, Any]:
    hints = get_type_hints(kind, localns={"datetime": datetime, "date": date, "Mapping": Mapping, "Any": Any})
    return {name: _reader(str(hint)) for name, hint in hints.items()}


def _reader(hint: str) -> Any:
    """How text of this type is read; the types are those of the records above."""
    for word, reader in (
        ("Mapping", json.loads),
        ("datetime.datetime", datetime.fromisoformat),
        ("datetime.date", date.fromisoformat),
        ("bool", lambda text: text == "yes"),
        ("float", float),
        ("int", int),
    ):
        if word in hint:
            return reader
    return str


_READERS: Mapping[Any, Mapping[str, Any]] = {
    kind: _readers_by_field(kind) for kind in (Episode, Move, Exit, Split, FeedbackRow)
}

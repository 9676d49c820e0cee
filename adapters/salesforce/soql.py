"""Building queries: literals escaped, a span of time, a place to go on from. Nothing else writes SOQL by hand.

A query travels in the address of a GET. Salesforce takes 16,384 bytes of address and headers together, so one that
is longer than `LONGEST` goes by a Bulk job, which takes 100,000 characters.

Moments are compared in milliseconds and shown in whole seconds, so a moment that was shown is no place to go on from:
the order by id is, because an id is there once and never changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from connector.errors import ConfigurationError

LONGEST: Final = 12_000
"""Bytes of a query inside an address; the rest is left to the path and the headers, the token among them."""

IDS_AT_ONCE: Final = 300
"""Ids in one `IN (…)`: 21 bytes each, and no more than half of the address."""

_ESCAPES: Final = str.maketrans(
    {"\\": "\\\\", "'": "\\'", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*){0,5}")


@dataclass(frozen=True, slots=True)
class Query:
    """A query for records of one kind, by parts.

    where: Conditions that must all hold.
    after: The id to go on from; the records come in the order of ids.
    """

    kind: str
    fields: tuple[str, ...]
    where: tuple[str, ...] = ()
    after: str | None = None

    def going_on(self, after: str | None) -> Query:
        """The same query from behind an id on."""
        return replace(self, after=after)

    def in_order(self) -> str:
        """The query in the order of ids, from its place on."""
        where = self.where if self.after is None else (*self.where, f"Id > {text(self.after)}")
        return f"{_select(self.fields, self.kind, where)} ORDER BY Id"

    def unordered(self) -> str:
        """The query as a Bulk job takes it best: any order would stop Salesforce from splitting it up."""
        return _select(self.fields, self.kind, self.where)

    def count(self) -> str:
        """How many records it finds."""
        where = f" WHERE {' AND '.join(self.where)}" if self.where else ""
        return f"SELECT COUNT() FROM {field_name(self.kind)}{where}"

    @property
    def fits(self) -> bool:
        """Whether it can travel in an address."""
        return len(quote(self.going_on("0" * 18).in_order())) <= LONGEST


def text(value: str) -> str:
    """A text literal, escaped."""
    return f"'{value.translate(_ESCAPES)}'"


def moment(at: datetime) -> str:
    """A moment as a literal: UTC, whole seconds, rounded down."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def changed_since(at: datetime, *, of: str = "") -> str:
    """The condition that a record, or one it refers to (`Individual`), changed since then."""
    stamp = f"{of}.SystemModstamp" if of else "SystemModstamp"
    return f"{field_name(stamp)} >= {moment(at)}"


def one_of(field: str, values: Iterable[str]) -> str:
    """The condition that a field holds one of these."""
    return f"{field_name(field)} IN ({', '.join(text(value) for value in values)})"


def field_name(name: str) -> str:
    """A field or relationship path as it is; ConfigurationError when it could be anything else."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"salesforce: {name!r} cannot be the name of a field",
            hint="write the API name from Setup → Object Manager: Plan_Tier__c, or Account.Name",
        )
    return name


def id_batches(ids: Iterable[str]) -> Iterator[Sequence[str]]:
    """Ids without repetition, in runs that fit into one query."""
    unique = list(dict.fromkeys(ids))
    for start in range(0, len(unique), IDS_AT_ONCE):
        yield unique[start : start + IDS_AT_ONCE]


def _select(fields: Sequence[str], kind: str, where: Sequence[str]) -> str:
    names = ", ".join(field_name(name) for name in fields)
    conditions = f" WHERE {' AND '.join(where)}" if where else ""
    return f"SELECT {names} FROM {field_name(kind)}{conditions}"

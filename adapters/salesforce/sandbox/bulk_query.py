"""Queries run by a Bulk 2.0 job: what such a job refuses, and its records column by column.

Rows are never changed once they are stored, so a job keeps the records it found and writes its files when they are
fetched: a million records cost their references, not their text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from adapters.salesforce.sandbox import querying
from adapters.salesforce.sandbox.answers import Refusal, stamp_csv
from adapters.salesforce.sandbox.fields import SYSTEM, Field
from adapters.salesforce.sandbox.soql import parse

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.bulk_jobs import FileColumn, QueryJob
    from adapters.salesforce.sandbox.reading import Column
    from adapters.salesforce.sandbox.records import Row
    from adapters.salesforce.sandbox.state import State

Values = Callable[[Sequence["Row"]], Sequence[Any]]

NOT_IN_BULK: Final = "{} not supported in Bulk V2 Query with CSV content type"
COMPOUND: Final = frozenset({"mailingaddress", "billingaddress", "address"})

_stamp = lru_cache(maxsize=65_536)(stamp_csv)
_SYSTEM: Final[dict[str, Values]] = {
    "Id": lambda rows: [row.id for row in rows],
    "CreatedById": lambda rows: [row.created_by for row in rows],
    "LastModifiedById": lambda rows: [row.modified_by for row in rows],
    "IsDeleted": lambda rows: ["false" if row.deleted_ms is None else "true" for row in rows],
    "CreatedDate": lambda rows: [_stamp(row.created_ms) for row in rows],
    "LastModifiedDate": lambda rows: [_stamp(row.modified_ms) for row in rows],
    "SystemModstamp": lambda rows: [_stamp(row.stamp_ms) for row in rows],
}


def check(state: State, text: str) -> tuple[tuple[FileColumn, ...], str]:
    """The columns of a query and the kind of its records; 400 for what a job does not run."""
    query = parse(text)
    for asked, words in (
        (query.group_by, "Group By"),
        (query.aggregates or query.counts, "Aggregate Functions"),
        (query.offset is not None, "Offset"),
    ):
        if asked:
            raise Refusal("FEATURENOTENABLED", f"FeatureNotEnabled : {NOT_IN_BULK.format(words)}")
    if query.unsupported:
        words = "Aggregate Relationships" if "SELECT" in query.unsupported[0] else query.unsupported[0]
        raise Refusal("FEATURENOTENABLED", f"FeatureNotEnabled : {NOT_IN_BULK.format(words)}")
    if any(path[-1].lower() in COMPOUND for path in query.fields):
        raise Refusal("API_ERROR", "Selecting compound data not supported in Bulk Query")
    prepared = querying.prepare(state, text)
    columns = tuple((".".join(one.names), _values(one)) for one in prepared.columns)
    return columns, prepared.kind.name


def run(state: State, job: QueryJob, *, now_ms: int) -> Sequence[Row]:
    """The records a job finds now."""
    everything = job.operation == "queryAll"
    return querying.run(state, querying.prepare(state, job.query), all_rows=everything, now_ms=now_ms)


def _values(column: Column) -> Values:
    """The values of a column, as the file has them; the quick way where the records hold them themselves."""
    one, read = column.field, column.read
    name = one.name
    if not column.is_own:
        return lambda rows: [_written(one, read(row)) for row in rows]
    if name in SYSTEM:
        return _SYSTEM[name]
    if one.kind == "boolean":
        return lambda rows: ["true" if row.values.get(name) else "false" for row in rows]
    if one.kind == "datetime":
        return lambda rows: [None if (at := row.values.get(name)) is None else _stamp(at) for row in rows]
    return lambda rows: [row.values.get(name) for row in rows]


def _written(one: Field, value: Any) -> Any:
    if one.kind == "boolean":
        return "true" if value else "false"
    return _stamp(value) if one.kind == "datetime" and value is not None else value

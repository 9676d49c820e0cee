"""Records as tables of text, the same whether they came as JSON or as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

PLACE: Final = "__place"
"""The raw column that says where a record stands: `salesforce contacts 003…`."""


def as_table(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pa.Table:
    """JSON records as text columns; a path (`Individual.ShouldForget`) looks into the record that is referred to."""
    import pyarrow as pa

    return pa.table(
        {name: pa.array([text_of(value_at(row, name)) for row in records], pa.string()) for name in columns}
    )


def empty(columns: Sequence[str]) -> pa.Table:
    """No rows, but every column: the mapping sees the same shape as always."""
    return as_table((), columns)


def value_at(record: Mapping[str, Any], path: str) -> Any:
    """The value of a field or behind a relationship; None where there is nothing."""
    found: Any = record
    for name in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def text_of(value: Any) -> str | None:
    """A JSON value as a Bulk file writes it; empty text is None."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    # REST writes +0000 where Bulk writes Z.
    return f"{text[:-5]}Z" if text.endswith("+0000") and text[10:11] == "T" else text


def is_true(table: pa.Table, column: str) -> pa.ChunkedArray:
    """Where a yes-or-no column says yes; no where it is empty or not there."""
    import pyarrow as pa
    from pyarrow import compute

    if column not in table.column_names:
        return pa.chunked_array([pa.array([False] * table.num_rows, pa.bool_())])
    return compute.fill_null(compute.equal(table.column(column), "true"), fill_value=False)


def column_or_null(table: pa.Table, name: str) -> Any:
    """A column, or nulls of its length."""
    import pyarrow as pa

    return table.column(name) if name in table.column_names else pa.nulls(table.num_rows, pa.string())


def with_place(table: pa.Table, stream: str, key: str = "Id") -> pa.Table:
    """The table with the column that says where each record stands."""
    import pyarrow as pa
    from pyarrow import compute

    said = compute.binary_join_element_wise(
        pa.scalar(f"salesforce {stream}"), compute.fill_null(column_or_null(table, key), "?"), " "
    )
    return table.append_column(PLACE, said)

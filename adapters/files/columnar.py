"""Parquet: row groups → Arrow batches of the columns wanted, with the row each one is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from adapters.files.delimited import LINE
from connector.errors import RejectedError

PAGE_ROWS = 250_000


class Columnar:
    """One Parquet file, opened."""

    def __init__(self, raw: IO[bytes], *, name: str) -> None:
        self._name = name
        try:
            self._file = pq.ParquetFile(raw)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise RejectedError(
                f"{name}: not a readable Parquet file",
                hint="if it is still being written, run again when it is complete; else move it out of the way.",
            ) from error

    @property
    def names(self) -> list[str]:
        """Its top-level columns."""
        return list(self._file.schema_arrow.names)

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return int(self._file.metadata.num_rows)

    def schema(self, wanted: Sequence[str]) -> pa.Schema:
        """The schema of its pages."""
        own = self._file.schema_arrow
        return pa.schema([*(own.field(name) for name in wanted), pa.field(LINE, pa.int64())])

    def pages(self, wanted: Sequence[str], *, start: int, page_rows: int = PAGE_ROWS) -> Iterator[pa.Table]:
        """Its rows from `start` on, in pages; row groups before it are not read."""
        groups, first = self._groups_from(start)
        row, skip = first, start - first
        try:
            for batch in self._file.iter_batches(batch_size=page_rows, row_groups=groups, columns=list(wanted)):
                kept = batch.slice(skip) if skip else batch
                row, skip = row + min(skip, batch.num_rows), max(0, skip - batch.num_rows)
                if kept.num_rows:
                    yield _numbered(pa.Table.from_batches([kept]).select(list(wanted)), row)
                    row += kept.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise RejectedError(f"{self._name}: damaged after row {row}", hint="write the file anew.") from error

    def _groups_from(self, start: int) -> tuple[list[int], int]:
        """The row groups that hold rows from `start` on, and the row the first of them begins with."""
        metadata, first = self._file.metadata, 0
        for group in range(metadata.num_row_groups):
            rows = int(metadata.row_group(group).num_rows)
            if first + rows > start:
                return list(range(group, metadata.num_row_groups)), first
            first += rows
        return [], first


def _numbered(table: pa.Table, rows_before: int) -> pa.Table:
    ones = pa.repeat(pa.scalar(1, pa.int64()), table.num_rows)
    return table.append_column(LINE, pc.cumulative_sum(ones, start=rows_before))

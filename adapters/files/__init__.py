"""Files: product usage, contacts and payments from CSV, JSONL and Parquet, on disk or behind an s3-style URL."""

from __future__ import annotations

from pathlib import Path

from adapters.files.options import FilesOptions
from connector.contracts import Adapter, Connection, Source


def _source(connection: Connection) -> Source:
    from adapters.files.source import FilesSource

    return FilesSource(connection)


ADAPTER = Adapter(
    name="files",
    title="CSV, JSONL and Parquet files",
    options=FilesOptions,
    folder=Path(__file__).parent,
    source=_source,
    local_ids=True,
)

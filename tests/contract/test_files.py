"""The files adapter keeps the contract of a source, for each kind of file."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.files.source import FilesSource
from tests.contract.source_suite import SourceSuite
from tests.fakes.file_streams import files_source, usage_options

FIELDS = ("user", "ts", "event")


class FilesWorld:
    """A folder of files, one day each."""

    stream = "usage"
    key = "user"

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder
        self._kind = kind
        self._days: dict[int, list[str]] = {day: [f"u{day}-{n}" for n in range(5)] for day in range(6)}
        for day in self._days:
            self._write(day)

    def source(self) -> FilesSource:
        return files_source(self._folder, usage_options(f"day-*.{self._kind}"))

    def broken(self) -> None:
        return None

    def keys(self) -> set[str]:
        return {key for keys in self._days.values() for key in keys}

    def change(self) -> set[str]:
        self._days[2].append("late")
        self._days[9] = ["newer"]
        self._write(2)
        self._write(9)
        return {"late", "newer"}

    def delete(self) -> set[str]:
        return set()

    def _write(self, day: int) -> None:
        rows = [(key, f"2026-01-0{day + 1}T10:00:00Z", "login") for key in self._days[day]]
        path = self._folder / f"day-{day}.{self._kind}"
        if self._kind == "parquet":
            pq.write_table(pa.table({name: [row[at] for row in rows] for at, name in enumerate(FIELDS)}), path)
        elif self._kind == "jsonl":
            path.write_text("".join(json.dumps(dict(zip(FIELDS, row, strict=True))) + "\n" for row in rows))
        else:
            out = io.StringIO()
            csv.writer(out).writerows([FIELDS, *rows])
            path.write_text(out.getvalue(), newline="")


class TestFilesSource(SourceSuite):
    """Usage in files of one day each, read in pages of a few rows."""

    @pytest.fixture(params=["csv", "jsonl", "parquet"])
    def world(self, tmp_path, monkeypatch, request):
        monkeypatch.setattr("adapters.files.reading.BLOCK_BYTES", 90)
        monkeypatch.setattr("adapters.files.reading.PAGE_ROWS", 2)
        return FilesWorld(tmp_path, request.param)

"""CSV: blocks of text → columns of text, with the line each row stands on.

The good path is Arrow's reader over whole blocks. A block in which anything is odd (a row with too many columns, bytes
that are not text, a line break inside quotes) is taken apart record by record to find the line of each,
and its good records go through the same reader: a value never depends on which path it took.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from adapters.files.text import Block, count_lines, is_text

LINE = "__line"
_DELIMITERS = ",;\t|"
_ARROW_BLOCK_BYTES = 4 << 20


@dataclass(slots=True)
class Parsed:
    """The rows of a block, those set aside as (line, reason), and whether its last quote is left open."""

    table: pa.Table
    rejects: list[tuple[int, str]] = field(default_factory=list)
    open_quote: bool = False


def sniff_delimiter(head: bytes) -> str:
    """The separator that occurs most in the header line, quoted parts aside; a comma where none does."""
    first = next((line for line in re.split(rb"[\r\n]+", head) if line.strip()), b"")
    bare = re.sub(rb'"[^"]*"', b"", first).decode("utf-8", errors="replace")
    return max(_DELIMITERS, key=bare.count)


def header_names(record: bytes, delimiter: str) -> list[str]:
    """The column names of a header record; a name that comes twice gets a number."""
    text = record.decode("utf-8", errors="replace").strip("\r\n")
    row = next(csv.reader([text], delimiter=delimiter), []) if "\n" not in text else _split(text, delimiter)
    names: list[str] = []
    for name in (part.strip() for part in row):
        seen = sum(1 for known in names if known == name or known.startswith(f"{name} #"))
        names.append(f"{name} #{seen + 1}" if seen else name)
    return names


def _split(text: str, delimiter: str) -> list[str]:
    return next(csv.reader(text.splitlines(keepends=True), delimiter=delimiter), [])


@dataclass(frozen=True)
class Delimited:
    """How one file's rows are read: its columns, its separator, the columns wanted."""

    names: Sequence[str]
    delimiter: str
    wanted: Sequence[str]

    @cached_property
    def _record(self) -> re.Pattern[bytes]:
        return record_pattern(self.delimiter)

    @cached_property
    def _records(self) -> re.Pattern[bytes]:
        return re.compile(b"(?:" + self._record.pattern + b")*+")

    def cut(self, data: bytes) -> int:
        """Where the last whole record ends."""
        if b'"' in data:
            found = self._records.match(data)
            return found.end() if found else 0
        return data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, -1) + 1

    def parse(self, block: Block) -> Parsed:
        """The block's rows and those to set aside."""
        if block.broken:
            return Parsed(self.empty(), [(block.line, block.broken)])
        lines = count_lines(block.data) + (not block.data.endswith((b"\n", b"\r")))
        if is_text(block.data) and self._is_whole(block):
            table, bad = self._read(block.data)
            if not bad and table.num_rows == lines:
                ones = pa.repeat(pa.scalar(1, pa.int64()), table.num_rows)
                return Parsed(table.append_column(LINE, pc.cumulative_sum(ones, start=block.line - 1)))
        return self._parse_record_by_record(block)

    def empty(self) -> pa.Table:
        """No rows, with the columns there would be."""
        return pa.schema([*((name, pa.string()) for name in self.wanted), (LINE, pa.int64())]).empty_table()

    def _parse_record_by_record(self, block: Block) -> Parsed:
        good: list[bytes] = []
        lines: list[int] = []
        rejects: list[tuple[int, str]] = []
        open_quote = False
        for line, record, closed in self._scan(block):
            if not closed:
                open_quote = True
                rejects.append((line, "a quote is never closed"))
            elif record and not is_text(record):
                rejects.append((line, "holds bytes that are not text in this encoding"))
            elif record:
                good.append(record)
                lines.append(line)
        if not good:
            return Parsed(self.empty(), rejects, open_quote)
        table, bad = self._read(b"\n".join(good))
        rejects += [
            (lines[index], f"has {_columns(count)}, the header has {len(self.names)}") for index, count in bad.items()
        ]
        kept = [line for index, line in enumerate(lines) if index not in bad]
        assert table.num_rows == len(kept), "the reader and the scanner disagree about what a record is"
        return Parsed(table.append_column(LINE, pa.array(kept, pa.int64())), sorted(rejects), open_quote)

    def _scan(self, block: Block) -> Iterator[tuple[int, bytes, bool]]:
        """Each record without its line end, the line it begins on, and False where its quote is never closed."""
        position, line, data = 0, block.line, block.data
        while position < len(data):
            found = self._record.match(data, position)
            end = found.end() if found else len(data)
            closed = found is not None or self._ends_closed(data, position)
            if not closed:
                end = data.find(b"\n", position) + 1 or len(data)
            record = data[position:end]
            yield line, record.rstrip(b"\r\n") if closed else record, closed
            line += count_lines(record)
            position = end

    def _is_whole(self, block: Block) -> bool:
        """Whether no quote is left open. Only the end of a file can be: every other block was cut behind a record."""
        if not block.last or b'"' not in block.data:
            return True
        data = block.data if block.data.endswith((b"\n", b"\r")) else block.data + b"\n"
        found = self._records.match(data)
        return found is not None and found.end() >= len(data.rstrip(b"\r"))

    def _ends_closed(self, data: bytes, position: int) -> bool:
        """Whether what is left, which has no line end behind it, is one whole record."""
        return self._record.fullmatch(data[position:] + b"\n") is not None

    def _read(self, data: bytes) -> tuple[pa.Table, dict[int, int]]:
        """The rows Arrow reads, and those it refuses: index to number of columns."""
        quoted = b'"' in data
        if not data.strip(b"\r\n"):
            return self.empty().drop_columns([LINE]), {}
        bad: dict[int, int] = {}
        table = self._arrow(data, quoted=quoted, bad=None)
        if table is None:
            table = self._arrow(data, quoted=quoted, bad=bad)
        assert table is not None
        return table, bad

    def _arrow(self, data: bytes, *, quoted: bool, bad: dict[int, int] | None) -> pa.Table | None:
        """One pass of Arrow's reader; None when a row has the wrong number of columns and `bad` is not given."""

        def refuse(row: Any) -> str:
            if bad is None:
                return "error"
            bad[row.number - 1] = row.actual_columns
            return "skip"

        try:
            return arrow_csv.read_csv(
                pa.BufferReader(data),
                read_options=arrow_csv.ReadOptions(
                    column_names=list(self.names),
                    use_threads=bad is None,
                    block_size=len(data) + 1 if quoted or bad is not None else _ARROW_BLOCK_BYTES,
                ),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=quoted, invalid_row_handler=refuse
                ),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(self.names, pa.string()), include_columns=list(self.wanted)
                ),
            )
        except pa.ArrowInvalid:
            if bad is not None:
                raise
            return None


def record_pattern(delimiter: str) -> re.Pattern[bytes]:
    """One record with its line end: quotes matter only where a field begins with one, as Arrow reads them."""
    sep = re.escape(delimiter.encode())
    quoted = rb'"[^"]*+(?:""[^"]*+)*+"[^' + sep + rb"\r\n]*+"
    bare = rb'(?!")[^' + sep + rb"\r\n]*+"
    fields = b"(?:" + quoted + b"|" + bare + b")(?:" + sep + b"(?:" + quoted + b"|" + bare + b"))*+"
    return re.compile(fields + rb"(?:\r\n|\n|\r(?=[^\n]))")


def _columns(count: int) -> str:
    return f"{count} column{'' if count == 1 else 's'}"

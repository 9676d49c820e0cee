"""JSONL: blocks of text → columns of text, with the line each record stands on; one object a line.

Values come out as text, numbers as they were written: the mapping converts them. `user.id` is the key of that name,
or else `id` inside `user`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from adapters.files.delimited import LINE, Parsed
from adapters.files.text import Block, is_text

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class JsonLines:
    """How one file's records are read: the fields wanted."""

    wanted: Sequence[str]

    @cached_property
    def _engine(self) -> duckdb.DuckDBPyConnection:
        import duckdb

        return duckdb.connect()

    def cut(self, data: bytes) -> int:
        """Where the last whole line ends."""
        return data.rfind(b"\n") + 1

    def parse(self, block: Block) -> Parsed:
        """The block's records and the lines to set aside."""
        if block.broken:
            return Parsed(self.empty(), [(block.line, block.broken)])
        texts = block.data.split(b"\n")
        lines: Sequence[int] = range(block.line, block.line + len(texts))
        rejects: list[tuple[int, str]] = []
        if not is_text(block.data):
            whole = [(line, text) for line, text in zip(lines, texts, strict=True) if is_text(text)]
            good = {line for line, _ in whole}
            rejects = [(line, "holds bytes that are not text in this encoding") for line in lines if line not in good]
            lines, texts = [line for line, _ in whole], [text for _, text in whole]
        raw = pa.table({LINE: pa.array(lines, pa.int64()), "text": pa.array(texts, pa.binary()).cast(pa.string())})
        return self._extract(raw, rejects)

    def empty(self) -> pa.Table:
        """No records, with the columns there would be."""
        return pa.schema([*((name, pa.string()) for name in self.wanted), (LINE, pa.int64())]).empty_table()

    def keys(self, block: Block) -> list[str]:
        """The top-level keys of the block's first good record."""
        raw = pa.table({"text": pa.array(block.data.split(b"\n")[:1000], pa.binary())})  # noqa: F841 - read by name
        found = self._engine.execute(
            "SELECT json_keys(text) FROM (SELECT decode(text) AS text FROM raw)"
            " WHERE json_valid(text) AND json_type(text) = 'OBJECT' LIMIT 1"
        ).fetchall()
        return list(found[0][0]) if found else []

    def _extract(self, raw: pa.Table, rejects: list[tuple[int, str]]) -> Parsed:
        engine = self._engine
        engine.register("raw_lines", raw)
        try:
            kinds = "CASE WHEN json_valid(text) THEN json_type(text) END"
            engine.execute(
                f"CREATE OR REPLACE TEMP TABLE kinds AS SELECT {LINE}, text, {kinds} AS kind FROM raw_lines"
                " WHERE trim(text, ' \t\r') <> ''"
            )
        finally:
            engine.unregister("raw_lines")
        bad = engine.execute(
            f"SELECT {LINE}, kind FROM kinds WHERE kind IS DISTINCT FROM 'OBJECT' ORDER BY {LINE}"
        ).fetchall()
        rejects += [(line, "is not an object" if kind else "is not valid JSON") for line, kind in bad]
        paths: list[str] = []
        shown: list[str] = []
        for name in self.wanted:
            candidates = [_pointer([name])] + ([_pointer(name.split("."))] if "." in name else [])
            values = [f"found[{len(paths) + index}]" for index in range(1, len(candidates) + 1)]
            paths += candidates
            shown.append(f"coalesce({', '.join(values)}) AS {_quoted(name)}")
        table = engine.sql(
            f"SELECT {', '.join([*shown, LINE])} FROM (SELECT {LINE}, json_extract_string(text, ?) AS found FROM kinds"
            f" WHERE kind = 'OBJECT') ORDER BY {LINE}",
            params=[paths],
        ).to_arrow_table()
        return Parsed(table, sorted(rejects))


def _pointer(parts: Sequence[str]) -> str:
    """A JSON pointer: no name can be mistaken for a path expression."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

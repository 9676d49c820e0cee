"""However files are split, grown, rewritten, renamed and interrupted, the store ends with exactly their rows."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.files import reading
from adapters.files.delimited import Delimited
from adapters.files.text import Block, TextBlocks
from tests.fakes.file_streams import OriginStore, files_source, usage_options

VALUES = st.text(st.sampled_from(list("ab,\";\n\r\té😀='\\ ")), max_size=6)
RECORDS = st.lists(st.tuples(VALUES, VALUES), max_size=8)
KINDS = st.sampled_from(["csv", "jsonl", "csv.gz", "parquet"])


def written(kind: str, records: list[tuple[str, str]], start: int) -> bytes:
    """A file of this kind holding the records, each with a number of its own."""
    numbered = [(f"u{start + index}", ts, event) for index, (ts, event) in enumerate(records)]
    if kind == "parquet":
        sink = pa.BufferOutputStream()
        columns = {
            name: pa.array([row[at] for row in numbered], pa.string())
            for at, name in enumerate(("user", "ts", "event"))
        }
        pq.write_table(pa.table(columns), sink, row_group_size=3)
        return sink.getvalue().to_pybytes()
    if kind == "jsonl":
        return "".join(
            json.dumps(dict(zip(("user", "ts", "event"), row, strict=True))) + "\n" for row in numbered
        ).encode()
    out = io.StringIO(newline="")
    # Python's writer leaves a lone \r bare unless told to quote everything or to end lines with one.
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("user", "ts", "event"), *numbered])
    data = out.getvalue().encode()
    return gzip.compress(data) if kind.endswith("gz") else data


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_sequence_of_changes_and_interruptions_ends_with_the_rows_of_the_files(data):
    reading.BLOCK_BYTES, reading.PAGE_ROWS = data.draw(st.sampled_from([5, 37, 1 << 20])), 2
    try:
        with tempfile.TemporaryDirectory() as folder:
            _run(Path(folder), data)
    finally:
        reading.BLOCK_BYTES, reading.PAGE_ROWS = 16 << 20, 250_000


def _run(folder: Path, data) -> None:
    store = OriginStore()
    contents: dict[str, tuple[str, list]] = {}
    source = files_source(folder, usage_options("f*"))
    for _ in range(data.draw(st.integers(1, 6))):
        name = data.draw(st.sampled_from(["f1", "f2", "f3"]))
        kind, records = contents.get(name, (data.draw(KINDS), []))
        action = data.draw(st.sampled_from(["append", "rewrite", "nothing"]))
        if action != "nothing" or not contents:
            fresh = data.draw(RECORDS)
            contents[name] = (kind, [*records, *fresh] if action == "append" else fresh)
            start = 1000 * int(name[1])
            (folder / f"{name}.{kind}").write_bytes(written(kind, contents[name][1], start))
        if data.draw(st.booleans()):
            store.pull(source, stop_after=data.draw(st.integers(1, 3)))
    store.pull(source)
    expected = OriginStore()
    expected.pull(source)
    assert store.all_rows() == expected.all_rows()
    assert sorted(row["user"] for row in store.all_rows()) == sorted(
        f"u{1000 * int(name[1]) + index}" for name, (_, records) in contents.items() for index in range(len(records))
    )
    assert store.all_rejects() == []
    assert store.pull(source) == 0


PIECES = st.lists(
    st.sampled_from(['"', ",", "\n", "\r", "\r\n", "a", "é", '""', '"a"', "b,c", "\x00", "\udcff"]), max_size=40
)


@settings(max_examples=150, deadline=None)
@given(PIECES, st.integers(1, 30))
def test_blocks_of_any_size_give_the_same_rows_places_and_rejects(pieces, block_bytes):
    data = "".join(pieces).encode("utf-8", errors="surrogateescape")
    whole, cut = _parsed(data, 1 << 20), _parsed(data, block_bytes)
    assert whole == cut


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=6), st.integers(1, 40), st.sampled_from(["\n", "\r\n"]))
def test_what_python_writes_as_csv_is_read_back(rows, block_bytes, ending):
    out = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if ending == "\n" else csv.QUOTE_MINIMAL
    csv.writer(out, lineterminator=ending, quoting=quoting).writerows(rows)
    values, rejects = _parsed(out.getvalue().encode(), block_bytes)
    assert [tuple(row[:2]) for row in values] == rows
    assert rejects == []


def _parsed(data: bytes, block_bytes: int) -> tuple[list, list]:
    parser = Delimited(["a", "b"], ",", ["a", "b"])
    values, rejects = [], []
    for block in TextBlocks(io.BytesIO(data), block_bytes=block_bytes).blocks(parser.cut):
        assert isinstance(block, Block)
        parsed = parser.parse(block)
        values += [tuple(row.values()) for row in parsed.table.to_pylist()]
        rejects += parsed.rejects
    return values, rejects

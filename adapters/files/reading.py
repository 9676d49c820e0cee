"""One pass over a stream's files: which of them have something new, and their pages.

A file that is as it was is known by its size and date; one that was touched is compared by the digest of what
was read; one that grew goes on where it ended; one that changed is read again and replaces what it brought; one
that was renamed is recognised; one that disappeared leaves its rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from difflib import get_close_matches
from functools import cached_property
from typing import IO, Any

import pyarrow as pa

from adapters.files.columnar import PAGE_ROWS, Columnar
from adapters.files.delimited import Delimited, Parsed, header_names, record_pattern, sniff_delimiter
from adapters.files.jsonlines import JsonLines
from adapters.files.options import FilesStream
from adapters.files.places import FoundFile, Storage, format_of, readable, utf8_stream
from adapters.files.progress import Ending, FileProgress, write_cursor
from adapters.files.text import BLOCK_BYTES, Block, TextBlocks, is_text
from connector.contracts import Connection
from connector.errors import MappingError, SettingError
from connector.model import NEUTRAL_TABLES, Page, Reject

FILE = "__file"
_HEAD_BYTES = 1 << 20
_SETTLED_SECONDS = 2.0
_SHOWN_NAMES = 3


@dataclass(frozen=True, slots=True)
class Step:
    """What one page brings.

    share: How much of the file is read after it, 0 to 1.
    begins: It is the first of a file read from its beginning, and replaces what the file brought before.
    """

    table: pa.Table
    progress: FileProgress
    share: float
    begins: bool
    rejects: Sequence[tuple[int, str]] = ()


class Reading:
    """The files of one stream, compared with what the cursor knows of them."""

    def __init__(
        self,
        connection: Connection,
        stream: str,
        storage: Storage,
        found: Sequence[FoundFile],
        known: Mapping[str, FileProgress],
    ) -> None:
        self._connection = connection
        self._label = f"{connection.name}.{stream}"
        self._options: FilesStream = connection.options.streams[stream]
        self._into: str = connection.options.into(stream)
        self._columns = {field: column for column, field in connection.options.mapping_for(stream).items()}
        self._fields = tuple(connection.fields[stream])
        self._storage = storage
        self._found = found
        self._progress = dict(known)

    def pages(self) -> Iterator[Page]:
        """Every page there is to store, with the cursor after it."""
        before = dict(self._progress)
        self._note_missing()
        self._recognise_renamed()
        pending = [file for file in self._found if not self._is_read(file)]
        again = self._options.complete and (bool(pending) or self._lost_one(before))
        if again:
            pending = list(self._found)
        yield from self._pending_pages(pending, again=again)
        if not pending and self._progress != before:
            yield self._page(self._no_rows(), origin=None)

    def _pending_pages(self, pending: Sequence[FoundFile], *, again: bool) -> Iterator[Page]:
        snapshot = _listing_name(pending) if again else None
        bytes_total = max(1, sum(file.size for file in pending))
        bytes_before = rows = rejected = 0
        for number, file in enumerate(pending, 1):
            for step in self._steps(file, again=again):
                rows += step.table.num_rows
                rejected += len(step.rejects)
                self._progress[file.name] = step.progress
                share = (bytes_before + step.share * file.size) / bytes_total
                ends = number == len(pending) and step.progress.done
                yield self._page(
                    step.table,
                    origin=step.progress.origin,
                    rejects=tuple(Reject(f"{file.name}:{line}", reason) for line, reason in step.rejects),
                    replaces_origin=step.begins,
                    snapshot=snapshot,
                    snapshot_complete=snapshot is not None and ends and self._may_delete(rejected),
                    total=max(rows, int(rows / share)) if share > 0 else None,
                )
            bytes_before += file.size

    def _may_delete(self, rejected: int) -> bool:
        if rejected:
            self._say(f"{rejected} rows could not be read, so nobody is marked as deleted this time")
        return not rejected

    def _page(
        self,
        table: pa.Table,
        *,
        origin: str | None,
        rejects: tuple[Reject, ...] = (),
        replaces_origin: bool = False,
        snapshot: str | None = None,
        snapshot_complete: bool = False,
        total: int | None = None,
    ) -> Page:
        return Page(
            records=table,
            cursor=write_cursor(self._progress),
            rejects=rejects,
            origin=origin,
            replaces_origin=replaces_origin,
            snapshot=snapshot,
            snapshot_complete=snapshot_complete,
            total=total,
        )

    def _say(self, text: str) -> None:
        self._connection.reporter.line(f"{self._label}: {text}")

    # --- which files ------------------------------------------------------------------------------------

    def _note_missing(self) -> None:
        """Mark files that are no longer there, and say so once."""
        there = {file.name for file in self._found}
        gone = [name for name, entry in self._progress.items() if name not in there and not entry.gone]
        for name in gone:
            self._progress[name] = replace(self._progress[name], gone=True)
        for name in there & self._progress.keys():
            self._progress[name] = replace(self._progress[name], gone=False)
        if gone:
            shown = ", ".join(gone[:_SHOWN_NAMES]) + (" …" if len(gone) > _SHOWN_NAMES else "")
            self._say(f"{shown} no longer there; what was read from it stays")

    def _lost_one(self, before: Mapping[str, FileProgress]) -> bool:
        return any(entry.gone and name in before and not before[name].gone for name, entry in self._progress.items())

    def _recognise_renamed(self) -> None:
        """A new file that begins with everything a vanished one held is that file under another name."""
        for file in self._found:
            if file.name in self._progress:
                continue
            for name, entry in sorted(self._progress.items()):
                if entry.gone and entry.offset > 0 and self._digest_of_first(file, entry.offset) == entry.digest:
                    self._progress[file.name] = replace(entry, gone=False, stamp="")
                    del self._progress[name]
                    self._say(f"{file.name} is {name} under a new name; its rows are known")
                    break

    def _is_read(self, file: FoundFile) -> bool:
        """Whether nothing of this file is left to read; takes note of its date when only that changed."""
        entry = self._progress.get(file.name)
        if entry is None or not entry.done:
            return False
        if file.stamp and (file.size, file.stamp) == (entry.size, entry.stamp):
            return True
        if file.size != entry.size or self._digest_of_first(file, entry.offset, whole=True) != entry.digest:
            return False
        self._progress[file.name] = replace(entry, stamp=self._trusted_stamp(file))
        return True

    def _trusted_stamp(self, file: FoundFile) -> str:
        """The file's stamp, or none when it changed so lately that another change could leave the same one."""
        if file.changed_at is None:
            return file.stamp
        age = self._connection.clock.now().timestamp() - file.changed_at
        return file.stamp if age > _SETTLED_SECONDS else ""

    def _digest_of_first(self, file: FoundFile, size: int, *, whole: bool = False) -> str | None:
        """The digest of the file's first bytes; None when it has fewer, or more although it is to be the whole."""
        if self._format(file) == "parquet":
            etag_only = file.changed_at is None and bool(file.stamp)
            return self._digest_of_parquet(file) if file.size == size and not etag_only else None
        with utf8_stream(self._storage, file, encoding=self._options.encoding) as text:
            blocks = TextBlocks(text.stream)
            if not blocks.advance_to(size, 1) or (whole and blocks.peek(1)):
                return None
            return blocks.digest

    def _digest_of_parquet(self, file: FoundFile) -> str:
        with readable(file), self._storage.open(file) as raw:
            blocks = TextBlocks(raw)
            blocks.advance_to(file.size, 1)
            return blocks.digest

    def _format(self, file: FoundFile) -> str:
        if self._options.format != "auto":
            return self._options.format
        kind = format_of(file.name)
        if kind is None:
            raise SettingError(
                f"{file.name}: the name does not say what is in it",
                hint=f"write `format: csv`, jsonl or parquet under streams.{self._label.rpartition('.')[2]}.",
            )
        return kind

    def _origin(self, file: FoundFile) -> str:
        """What the file's rows are filed under: its own name, unless a renamed file still has that."""
        if file.name in self._progress:
            return self._progress[file.name].origin
        taken = {entry.origin for entry in self._progress.values()}
        names = (file.name if number == 1 else f"{file.name} #{number}" for number in range(1, len(taken) + 2))
        return next(name for name in names if name not in taken)

    # --- one file ---------------------------------------------------------------------------------------

    def _steps(self, file: FoundFile, *, again: bool) -> Iterator[Step]:
        known = None if again else self._progress.get(file.name)
        fresh = FileProgress(origin=self._origin(file), size=file.size, stamp=self._trusted_stamp(file))
        if self._format(file) == "parquet":
            return self._parquet_steps(file, fresh, known)
        return self._text_steps(file, fresh, known)

    def _parquet_steps(self, file: FoundFile, fresh: FileProgress, known: FileProgress | None) -> Iterator[Step]:
        # Storage that says itself when content changed (an ETag) is not made to send the file twice to hash it.
        has_etag = file.changed_at is None and bool(file.stamp)
        digest = "" if has_etag else self._digest_of_parquet(file)
        same = known is not None and (known.size, known.digest) == (file.size, digest)
        same = same and (not has_etag or (known is not None and known.stamp == file.stamp))
        start = known.rows if known is not None and same and not known.done else 0
        with readable(file), self._storage.open(file) as raw:
            reader = Columnar(raw, name=file.name)
            wanted = self._wanted(file, reader.names)
            progress = replace(fresh, offset=file.size, digest=digest, rows=start)
            if reader.rows == start:
                table = _placed(reader.schema(wanted).empty_table(), file.name)
                yield Step(table, replace(progress, done=True), 1.0, begins=start == 0)
            begins = start == 0
            for table in reader.pages(wanted, start=start, page_rows=PAGE_ROWS):
                rows = progress.rows + table.num_rows
                progress = replace(progress, rows=rows, done=rows == reader.rows)
                yield Step(_placed(table, file.name), progress, rows / reader.rows, begins=begins)
                begins = False

    def _text_steps(self, file: FoundFile, fresh: FileProgress, known: FileProgress | None) -> Iterator[Step]:
        with utf8_stream(self._storage, file, encoding=self._options.encoding) as text:
            blocks = TextBlocks(text.stream, block_bytes=BLOCK_BYTES)
            if known is not None and _goes_on(blocks, known):
                progress = replace(known, size=fresh.size, stamp=fresh.stamp, done=False)
                yield from self._block_steps(file, blocks, progress, begins=False, raw=text.raw)
                return
        with utf8_stream(self._storage, file, encoding=self._options.encoding) as text:
            blocks = TextBlocks(text.stream, block_bytes=BLOCK_BYTES)
            progress = self._after_header(file, blocks, fresh)
            yield from self._block_steps(file, blocks, progress, begins=True, raw=text.raw)

    def _after_header(self, file: FoundFile, blocks: TextBlocks, fresh: FileProgress) -> FileProgress:
        """Step over what stands before the first record; for CSV that says which columns there are."""
        blocks.skip_mark()
        if self._format(file) == "jsonl":
            if blocks.peek(1).lstrip()[:1] == b"[":
                raise SettingError(
                    f"{file.name}: holds one JSON array, not one object on each line",
                    hint="write it as JSONL, for example with `jq -c '.[]'`.",
                )
            return fresh
        delimiter, header = self._header(blocks)
        names = tuple(header_names(header, delimiter))
        if not is_text(header):
            raise MappingError(
                f"{file.name}:1: the header is not text in {self._options.encoding}",
                hint="set `encoding:` of the stream (cp1252 and utf-16 are common), or check that it is a CSV file.",
            )
        return replace(fresh, names=names, delimiter=delimiter, **_position(blocks))

    def _header(self, blocks: TextBlocks) -> tuple[str, bytes]:
        """Take the first record that is not blank; also what separates its columns."""
        size, head = 1, b""
        while True:
            longer = blocks.peek(size)
            grew, head = len(longer) > len(head), longer
            blank = len(head) - len(head.lstrip(b"\r\n"))
            delimiter = self._options.delimiter or sniff_delimiter(head[blank:])
            record = record_pattern(delimiter).match(head, blank)
            if record is not None or not grew or len(head) > _HEAD_BYTES:
                break
            size = len(head) + 1
        blocks.take(blank)
        return delimiter, blocks.take((record.end() if record else len(head)) - blank)

    def _block_steps(
        self, file: FoundFile, blocks: TextBlocks, progress: FileProgress, *, begins: bool, raw: IO[bytes]
    ) -> Iterator[Step]:
        parser = self._parser(file, progress)
        read_any = False
        for block in blocks.blocks(parser.cut):
            parsed = parser.parse(block)
            if begins and isinstance(parser, JsonLines):
                self._check_fields(file, parser, block, parsed)
            progress = replace(
                progress,
                rows=progress.rows + parsed.table.num_rows,
                ending=_ending(blocks, parsed),
                done=block.last,
                **_position(blocks),
            )
            share = min(1.0, raw.tell() / max(1, file.size))
            yield Step(_placed(parsed.table, file.name), progress, share, begins=begins, rejects=parsed.rejects)
            begins, read_any = False, True
        if not read_any:
            progress = replace(progress, ending=_ending(blocks, None), done=True, **_position(blocks))
            yield Step(_placed(parser.empty(), file.name), progress, 1.0, begins=begins)

    @cached_property
    def _json_lines(self) -> JsonLines:
        return JsonLines(self._fields)

    def _parser(self, file: FoundFile, progress: FileProgress) -> Delimited | JsonLines:
        if self._format(file) == "jsonl":
            return self._json_lines
        if not progress.names:
            return Delimited(self._fields, progress.delimiter or ",", self._fields)
        return Delimited(progress.names, progress.delimiter, self._wanted(file, progress.names))

    # --- columns ----------------------------------------------------------------------------------------

    def _wanted(self, file: FoundFile, names: Sequence[str]) -> list[str]:
        """The mapped columns the file has; MappingError for one the playbook names that is not there."""
        missing = [field for field in self._fields if field in self._columns and field not in names]
        if missing:
            raise self._missing_field(file, missing[0], names)
        return [field for field in self._fields if field in names]

    def _check_fields(self, file: FoundFile, parser: JsonLines, block: Block, parsed: Parsed) -> None:
        """Keys may be absent from a record; from every record only when the column can be."""
        if not parsed.table.num_rows:
            return
        absent = [name for name in self._fields if parsed.table[name].null_count == parsed.table.num_rows]
        needed = {spec.name for spec in fields(NEUTRAL_TABLES[self._into]) if spec.default is MISSING}
        for name in absent:
            if self._columns.get(name) in needed - {"attributes"}:
                raise self._missing_field(file, name, parser.keys(block))
            if name in self._columns:
                self._say(f"{file.name}: no record has {name!r}, so {self._columns[name]} stays empty")

    def _missing_field(self, file: FoundFile, name: str, there: Sequence[str]) -> MappingError:
        shown = ["<address>" if "@" in known else known for known in there]
        near = get_close_matches(name, shown, n=1)
        return MappingError(
            f"{file.name}: no column {name!r}, which {self._columns[name]} is read from"
            + (f"; did you mean {near[0]}?" if near else ""),
            hint=f"columns there: {', '.join(shown) or 'none'}; change the mapping of {self._label}, or the file.",
        )

    def _no_rows(self) -> pa.Table:
        return pa.schema([(name, pa.string()) for name in self._fields]).empty_table()


def _goes_on(blocks: TextBlocks, known: FileProgress) -> bool:
    """Whether the file still begins with all that was read, and what follows begins with a new record.

    Moves `blocks` to the position reached before.
    """
    if known.offset == 0 or not blocks.advance_to(known.offset, known.line) or blocks.digest != known.digest:
        return False
    following = blocks.peek(1)[:1]
    if not following or not known.done:
        return True
    if known.ending is Ending.OPEN_QUOTE:
        return False
    return known.ending is Ending.CLEAN or following in {b"\n", b"\r"}


def _position(blocks: TextBlocks) -> dict[str, Any]:
    return {"offset": blocks.offset, "line": blocks.line, "digest": blocks.digest}


def _ending(blocks: TextBlocks, parsed: Parsed | None) -> Ending:
    if parsed is not None and parsed.open_quote:
        return Ending.OPEN_QUOTE
    return Ending.CLEAN if blocks.last_byte in {b"\n", b"\r", b""} else Ending.NO_NEWLINE


def _placed(table: pa.Table, name: str) -> pa.Table:
    """The table with the file's name on each row, stored once."""
    names = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), table.num_rows), pa.array([name]))
    return table.append_column(FILE, names)


def _listing_name(pending: Sequence[FoundFile]) -> str:
    """A name for a complete listing of these files as they are."""
    state = "|".join(f"{file.name}:{file.size}:{file.stamp}" for file in pending)
    return hashlib.blake2b(state.encode(), digest_size=8).hexdigest()

"""How far each file of a stream has been read: the entries of the cursor, and what a file's new state means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Self

from connector.model import Cursor

VERSION = 1


class Ending(StrEnum):
    """How the part of a text file that was read ended; decides whether growth can be continued from there."""

    CLEAN = "clean"
    NO_NEWLINE = "no_newline"
    OPEN_QUOTE = "open_quote"


@dataclass(frozen=True, slots=True)
class FileProgress:
    """One file, as far as its rows are stored.

    origin: What its rows are filed under; the name it had when it was first read.
    size, stamp: The file as it was then; the same again means unchanged, without a look inside.
    offset, digest: Bytes taken (of the decompressed text; for Parquet the whole file) and what they were.
    line: The next line's number. `rows`: Parquet rows stored.
    done: Read to its end. `gone`: It was not there the last time.
    """

    origin: str
    size: int
    stamp: str
    offset: int = 0
    digest: str = ""
    line: int = 1
    rows: int = 0
    names: tuple[str, ...] = ()
    delimiter: str = ""
    ending: Ending = Ending.CLEAN
    done: bool = False
    gone: bool = False

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """An entry of a cursor."""
        known = {spec.name for spec in fields(cls)}
        values = {name: value for name, value in entry.items() if name in known}
        values["names"] = tuple(values.get("names", ()))
        values["ending"] = Ending(values.get("ending", Ending.CLEAN))
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """As a cursor entry, without what has its usual value."""
        usual = {spec.name: spec.default for spec in fields(self)}
        plain = {name: value for name, value in asdict(self).items() if value != usual[name]}
        if "names" in plain:
            plain["names"] = list(plain["names"])
        return plain


def read_cursor(cursor: Cursor | None) -> dict[str, FileProgress]:
    """The files a cursor knows, by name."""
    if cursor is None:
        return {}
    return {name: FileProgress.from_json(entry) for name, entry in cursor.get("files", {}).items()}


def write_cursor(progress: Mapping[str, FileProgress]) -> dict[str, Any]:
    """The cursor that says the same."""
    return {"version": VERSION, "files": {name: entry.to_json() for name, entry in sorted(progress.items())}}

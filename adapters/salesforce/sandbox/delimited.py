"""The files of Bulk jobs: six delimiters, two line endings, every value quoted, UTF-8."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.salesforce.sandbox.answers import Refusal

DELIMITERS: Final = {"BACKQUOTE": "`", "CARET": "^", "COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "TAB": "\t"}
LINE_ENDINGS: Final = {"LF": "\n", "CRLF": "\r\n"}
MOST_CELL: Final = 131_072
NULL: Final = "#N/A"
"""What a cell says to empty a field; an empty cell leaves it alone."""

csv.field_size_limit(max(csv.field_size_limit(), 16 * MOST_CELL))


class BadFile(Exception):
    """The file as a whole cannot be read: the job fails with these words."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a job's file is written."""

    delimiter: str = "COMMA"
    line_ending: str = "LF"

    def header(self, names: Sequence[str]) -> bytes:
        """The first line."""
        return self.rows((names,))

    def rows(self, rows: Iterable[Sequence[Any]]) -> bytes:
        """Lines, every value in quotes as the vendor writes them; null is an empty one."""
        out = io.StringIO(newline="")
        csv.writer(
            out,
            delimiter=DELIMITERS[self.delimiter],
            lineterminator=LINE_ENDINGS[self.line_ending],
            quoting=csv.QUOTE_ALL,
        ).writerows(rows)
        return out.getvalue().encode()

    def read(self, content: bytes) -> tuple[list[str], Iterator[list[str]]]:
        """The names of the columns and the lines under them; BadFile when there is no sense in it."""
        end = content.find(b"\n")
        if end >= 0 and content[:end].endswith(b"\r") is not (self.line_ending == "CRLF"):
            raise BadFile(
                "ClientInputError : LineEnding is invalid on user data. "
                f"Current LineEnding setting is {self.line_ending}"
            )
        text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")
        lines = _lines(csv.reader(text, delimiter=DELIMITERS[self.delimiter], strict=True))
        names = [name.strip() for name in next(lines, [])]
        if not any(names):
            raise BadFile("InvalidBatch : Failed to parse CSV header: the file is empty")
        return names, lines


def _lines(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """The lines that are not empty, decoded as they are read."""
    try:
        for line in reader:
            if line:
                yield line
    except UnicodeDecodeError:
        raise BadFile("InvalidBatch : Failed to parse CSV. The file is not encoded in UTF-8") from None
    except csv.Error:
        raise BadFile("InvalidBatch : Failed to parse CSV. EOF reached before closing an opened quote") from None


def dialect_of(body: Any) -> Dialect:
    """The dialect a job asks for; 400 for what the vendor does not know."""
    delimiter, ending = str(body.get("columnDelimiter") or "COMMA"), str(body.get("lineEnding") or "LF")
    for name, value, known in (("columnDelimiter", delimiter, DELIMITERS), ("lineEnding", ending, LINE_ENDINGS)):
        if value not in known:
            raise Refusal("API_ERROR", f"Unrecognized value '{value}' for {name}; it is one of {', '.join(known)}")
    return Dialect(delimiter, ending)

"""Many rows for SQLite in one statement, in the words and values that SQLAlchemy itself would use.

sqlite3 lets go of the interpreter at every step of a statement, and in a busy server waits for its turn to have it
back: an `executemany` pays that for every row, an INSERT of many rows once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from connector.journal.engine import leave_taken
from connector.journal.tables import UtcTime, Words, keepable

_MOST_VALUES = 999
"""SQLite before 3.32 binds no more in one statement."""

Row = tuple[Any, ...]


class ManyRows:
    """Inserts rows into one table, leaving those whose key is taken alone.

    Args:
        table: The table.
        names: The columns that rows have values for, in their order in the table.
    """

    def __init__(self, table: sa.Table, names: Sequence[str]) -> None:
        dialect = sqlite.dialect(paramstyle="qmark")
        one = leave_taken(sqlite.insert(table)).compile(dialect=dialect, column_keys=list(names))
        if one.positiontup != list(names):
            raise ValueError(f"{table.name}: the columns must be named in their order in the table")
        self._text = str(one)
        self._marks = f"({', '.join('?' * len(names))})"
        self._stored = [_stored(table.c[name].type, dialect) for name in names]
        self._largest = 1 << (_MOST_VALUES // len(names)).bit_length() - 1
        self._statement = cache(self._make_statement)

    def stored(self, values: Row) -> Row:
        """A row as the columns store it."""
        return tuple(value if made is None else made(value) for value, made in zip(values, self._stored, strict=True))

    def insert(self, connection: sa.Connection, rows: Sequence[Row]) -> int:
        """Insert rows as the columns store them; how many were new."""
        new = 0
        for part in self._parts(rows):
            values = tuple([value for row in part for value in row])
            new += connection.exec_driver_sql(self._statement(len(part)), values).rowcount
        return new

    def _parts(self, rows: Sequence[Row]) -> Iterable[Sequence[Row]]:
        """Powers of two, so that a few statements, which the driver keeps prepared, fit any number."""
        at, size = 0, self._largest
        while at < len(rows):
            while size > len(rows) - at:
                size //= 2
            yield rows[at : at + size]
            at += size

    def _make_statement(self, rows: int) -> str:
        return self._text.replace(self._marks, ", ".join([self._marks] * rows), 1)


def _stored(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> Callable[[Any], Any] | None:
    """What makes a value of this column's type one that SQLite keeps."""
    match kind:
        case UtcTime():
            return lambda moment: _moment(kind.process_bind_param(moment, dialect))
        case Words():
            return lambda words: None if words is None else keepable(words)
        case _:
            return kind.dialect_impl(dialect).bind_processor(dialect)


def _moment(moment: datetime | None) -> str | None:
    # SQLAlchemy writes the same letters, several times as slowly.
    return None if moment is None else moment.isoformat(" ", "microseconds")

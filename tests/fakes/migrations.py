"""New journals quickly: what the migrations said to the first one of its kind is said to the next ones as it was.

Loading Alembic's scripts takes most of what opening a new journal costs, and thousands of tests open one.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from connector.journal import migrate

REAL = migrate._upgrade
_Said = list[tuple[str, Any, bool]]
_said: dict[str, _Said] = {}


def once_for_all(connection: sa.Connection) -> None:
    """As `_upgrade`, and from the second empty database of a kind on by heart."""
    if sa.inspect(connection).get_table_names():
        REAL(connection)
        return
    kind = connection.dialect.name
    if kind not in _said:
        _said[kind] = _listened(connection)
        return
    for statement, parameters, many in _said[kind]:
        cursor = connection.connection.cursor()
        (cursor.executemany if many else cursor.execute)(statement, parameters)


def _listened(connection: sa.Connection) -> _Said:
    said: _Said = []

    def hear(_connection, _cursor, statement, parameters, _context, executemany) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "PRAGMA")):
            said.append((statement, parameters, executemany))

    sa.event.listen(connection, "before_cursor_execute", hear)
    try:
        REAL(connection)
    finally:
        sa.event.remove(connection, "before_cursor_execute", hear)
    return said

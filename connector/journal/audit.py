"""The audit chain: append-only rows, each sealed with a digest over itself and the row before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from connector.journal.engine import Database
from connector.journal.tables import audit, audit_head, canonical

_GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One thing that happened, and who says so."""

    number: int
    at: datetime
    kind: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """The first row of the chain that was changed, removed or slipped in."""

    number: int
    reason: str


class Audit:
    """What was configured, planned, applied, overridden, exported, erased."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, kind: str, detail: Mapping[str, Any]) -> int:
        """Add a row and return its number. `detail` must hold no secret and no address."""
        moment = self._database.clock.now().astimezone(UTC)
        text = canonical(dict(detail))
        with self._database.write() as connection:
            number, previous = self._head(connection)
            row = {"number": number + 1, "at": moment, "kind": kind, "detail": text, "previous": previous}
            sealed = row | {"digest": _digest(number + 1, moment, kind, text, previous)}
            connection.execute(sa.insert(audit).values(sealed))
            connection.execute(sa.update(audit_head).values(number=number + 1, digest=sealed["digest"]))
        return number + 1

    def recent(self, limit: int = 50) -> tuple[AuditRow, ...]:
        """The newest rows, newest first."""
        query = sa.select(audit).order_by(audit.c.number.desc()).limit(limit)
        with self._database.read() as connection:
            found = connection.execute(query).all()
        return tuple(AuditRow(row.number, row.at, row.kind, json.loads(row.detail)) for row in found)

    def verify(self) -> BrokenRow | None:
        """Walk the whole chain; the first row that is not what was written, None when all are."""
        expected, previous = 1, _GENESIS
        with self._database.read() as connection:
            head = connection.execute(sa.select(audit_head.c.number, audit_head.c.digest)).one_or_none()
            rows = connection.execute(sa.select(audit).order_by(audit.c.number).execution_options(yield_per=1000))
            for row in rows:
                if (broken := _fault(row, expected, previous)) is not None:
                    rows.close()
                    return broken
                expected, previous = row.number + 1, row.digest
        end = (head.number, head.digest) if head else (0, _GENESIS)
        return _fault_at_end(*end, written=expected - 1, previous=previous)

    def _head(self, connection: sa.Connection) -> tuple[int, str]:
        """The chain's end, held until the commit so that two writers cannot both extend it."""
        first = {"only": 1, "number": 0, "digest": _GENESIS}
        self._database.insert_new(connection, self._database.insert(audit_head).values(first))
        row = connection.execute(sa.select(audit_head.c.number, audit_head.c.digest).with_for_update()).one()
        return row.number, row.digest


def _fault(row: sa.Row[Any], expected: int, previous: str) -> BrokenRow | None:
    """What is wrong with this row, given the one before."""
    if row.number != expected:
        return BrokenRow(expected, f"row {expected} is missing")
    if row.previous != previous:
        return BrokenRow(row.number, f"row {row.number} does not follow the row before it")
    if row.digest != _digest(row.number, row.at, row.kind, row.detail, row.previous):
        return BrokenRow(row.number, f"row {row.number} was changed after it was written")
    return None


def _fault_at_end(number: int, digest: str, *, written: int, previous: str) -> BrokenRow | None:
    """What is wrong at the end of a chain whose rows all fit together, given what the head says."""
    if number > written:
        return BrokenRow(written + 1, f"rows {written + 1} to {number} are missing")
    if number < written:
        return BrokenRow(number + 1, f"row {number + 1} was added by something else")
    if digest != previous:
        return BrokenRow(number, f"row {number} was replaced")
    return None


def _digest(number: int, at: datetime, kind: str, detail: str, previous: str) -> str:
    sealed = canonical([number, at.isoformat(timespec="microseconds"), kind, detail, previous])
    return hashlib.sha256(sealed.encode()).hexdigest()

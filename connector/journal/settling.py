"""Taking over what a destination said about a batch: its letters, what it now holds, whom it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from connector.journal.batch import LETTERS, NOT_DONE, OPEN, ROW_KINDS, BatchKind, BatchState
from connector.journal.confirming import Confirming
from connector.journal.engine import Database
from connector.journal.held import HeldWriter
from connector.journal.rejections import Place, Rejections
from connector.journal.tables import batches
from connector.model import Outcome, Receipt
from connector.targets import is_live

_AS_WANTED = frozenset({Outcome.WRITTEN, Outcome.UNCHANGED})
_REMOVALS = frozenset({BatchKind.REMOVE_MEMBERS, BatchKind.UNENROLL, BatchKind.REMOVE_LIST, BatchKind.REMOVE_PROPERTY})
"""What is gone is as wanted here: a record that no longer exists is off the list."""

THIS_BATCH = batches.c.batch_id == sa.bindparam("this")

HOLD = sa.select(batches).where(THIS_BATCH).with_for_update()
_SAVE = sa.update(batches).where(THIS_BATCH)


@dataclass(slots=True)
class _News:
    """Rows decided just now, by what follows from it."""

    fine: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    refused: dict[str, tuple[str, str | None]] = field(default_factory=dict)


class Settling:
    """One batch being changed inside the caller's transaction; `save()` writes it back."""

    def __init__(self, database: Database, rejections: Rejections, connection: sa.Connection, row: sa.Row[Any]) -> None:
        self._database = database
        self._rejections = rejections
        self._connection = connection
        self._batch_id: int = row.batch_id
        self._plan_id: str = row.plan_id
        self._place = Place(destination=row.destination, kind=row.kind, target=row.target)
        self._letters: str = row.outcomes
        self.kind = BatchKind(row.kind)
        self.about_rows = self.kind in ROW_KINDS
        self.target: str = row.target
        self._names: list[str] = row.rows if self.about_rows else [row.target]
        """Record ids, or the target for kinds without rows."""
        self._payload: Mapping[str, Any] = row.payload or {}
        self.state = BatchState(row.state)
        self.reason: str | None = row.reason
        self.ref: str | None = row.ref
        self.sent_at: datetime | None = row.sent_at
        self.settled_at: datetime | None = row.settled_at

    def open_count(self) -> int:
        """How many rows are not decided yet."""
        return sum(self._letters.count(letter) for letter in OPEN)

    def open_rows(self) -> list[str]:
        """Rows not decided yet, in order; for kinds without rows, the target."""
        if not self.open_count():
            return []
        return [name for name, letter in zip(self._names, self._letters, strict=True) if letter in OPEN]

    def decide(self, said: Mapping[str, Receipt], at: datetime) -> None:
        """Take over what was said about rows still open, and write what it proves to `held` and `rejections`."""
        if not said or not self.open_count():
            return
        news = self._read(said)
        quiet = is_live(self._plan_id)
        writer = HeldWriter(self._database, self._connection, self._place.destination, quiet=quiet)
        if self.about_rows:
            self._hold_rows(writer, news)
            self._confirm_steps(news, at)
            self._rejections.note(self._connection, self._place, news.refused, at)
            self._rejections.clear(self._connection, self._place, news.fine)
        elif news.fine:
            self._hold_target(writer)
        writer.seal()

    def give_up_open(self) -> int:
        """Rows still open were not written; returns how many."""
        given_up = self.open_count()
        self._letters = "".join(NOT_DONE if letter in OPEN else letter for letter in self._letters)
        return given_up

    def save(self) -> None:
        """Write the batch back."""
        values = {
            "this": self._batch_id,
            "state": self.state.value,
            "outcomes": self._letters,
            "ref": self.ref,
            "reason": self.reason,
            "sent_at": self.sent_at,
            "settled_at": self.settled_at,
        }
        self._connection.execute(_SAVE, values)

    def _read(self, said: Mapping[str, Receipt]) -> _News:
        """Sort what was said about open rows, and note their letters."""
        news = _News()
        letters = list(self._letters)
        fine = _AS_WANTED | {Outcome.MISSING} if self.kind in _REMOVALS else _AS_WANTED
        answers = map(said.get, self._names)
        for index, (name, letter, receipt) in enumerate(zip(self._names, self._letters, answers, strict=True)):
            if receipt is None or letter not in OPEN:
                continue
            outcome = receipt.outcome
            letters[index] = LETTERS[outcome]
            if outcome in fine:
                news.fine.append(name)
            elif outcome is Outcome.MISSING:
                news.missing.append(name)
                news.refused[name] = (
                    receipt.message or "the destination does not know this record",
                    receipt.code or "missing",
                )
            elif outcome is Outcome.REJECTED:
                news.refused[name] = (receipt.message or "refused without a reason", receipt.code)
        self._letters = "".join(letters)
        return news

    def _hold_rows(self, writer: HeldWriter, news: _News) -> None:
        """Records that are as wanted, and records that no longer exist, change what the destination holds."""
        match self.kind:
            case BatchKind.ADD_MEMBERS | BatchKind.ENROLL | BatchKind.OPT_OUT:
                writer.add_members(self.target, news.fine)
                writer.remove_members(self.target, news.missing)
            case BatchKind.REMOVE_MEMBERS | BatchKind.UNENROLL:
                writer.remove_members(self.target, news.fine)
            case BatchKind.FEEDBACK:
                pass  # a note is nothing that could be wanted or taken back
            case _:
                values = self._payload["values"]
                writer.merge_properties({row: values[row] for row in news.fine})
                writer.replace_properties({row: {} for row in news.missing})

    def _confirm_steps(self, news: _News, at: datetime) -> None:
        """Steps of the program that waited for these records to be written are written."""
        confirming = Confirming(self._database, self._connection, self._place.destination)
        match self.kind:
            case BatchKind.ADD_MEMBERS | BatchKind.ENROLL:
                confirming.on_list(self.target, news.fine, at)
            case BatchKind.SET_PROPERTIES:
                values = self._payload["values"]
                confirming.with_properties(self._batch_id, {row: values[row] for row in news.fine}, at)
            case _:
                pass

    def _hold_target(self, writer: HeldWriter) -> None:
        """A list or property that was made, found or removed changes what the destination holds."""
        match self.kind:
            case BatchKind.ENSURE_LIST:
                if self.ref is not None:
                    writer.set_list(self.target, self.ref)
            case BatchKind.ENSURE_PROPERTY:
                writer.set_property_name(self.target)
            case BatchKind.REMOVE_LIST:
                writer.drop_list(self.target)
            case _:
                writer.drop_property_name(self.target)

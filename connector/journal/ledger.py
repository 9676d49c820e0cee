"""The ledger: every batch of writes, from before it is sent until we know what became of each of its rows.

    intended ──▶ sent ──▶ confirmed
        │         │
        └────┬────┘
             ▼
          unknown ──▶ sent, confirmed (it had happened, or a part of it) or rejected

What a batch proves is written to `held` and `rejections` in the same commit as the proof.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from connector.errors import StateError
from connector.journal.batch import ROW_KINDS, UNDECIDED, UNRESOLVED, Batch, BatchKind, BatchState, check_target
from connector.journal.engine import Database
from connector.journal.rejections import Rejections
from connector.journal.settling import HOLD, THIS_BATCH, Settling
from connector.journal.tables import batches, plans
from connector.model import Outcome, Receipt

_INTEND = sa.insert(batches)
_CONFIRM_SENT = sa.update(batches).where(THIS_BATCH, batches.c.state == BatchState.SENT.value)


class Ledger:
    """The batches of this install. One process writes a batch at a time: whoever holds the run's lock."""

    def __init__(self, database: Database, rejections: Rejections) -> None:
        self._database = database
        self._rejections = rejections

    def intend(
        self,
        run_id: str,
        plan_id: str,
        *,
        destination: str,
        step: int,
        number: int,
        kind: str,
        target: str,
        rows: Sequence[str] = (),
        payload: Mapping[str, Any] | None = None,
    ) -> int:
        """Note a batch before it is sent and return its id.

        `payload` of `set_properties`: {"values": {row id: {property: new}}, "before": {row id: {property: old}}}.
        """
        if len(set(rows)) != len(rows):
            raise ValueError(f"{kind} {target}: a batch names a record twice")
        check_target(BatchKind(kind), target)
        values = {
            "run_id": run_id,
            "plan_id": plan_id,
            "destination": destination,
            "step": step,
            "number": number,
            "kind": BatchKind(kind).value,
            "target": target,
            "rows": list(rows),
            "payload": payload,
            "state": BatchState.INTENDED.value,
            "outcomes": UNDECIDED * len(rows) if kind in ROW_KINDS else UNDECIDED,
            "intended_at": self._database.clock.now(),
        }
        with self._database.write() as connection:
            inserted = connection.execute(_INTEND, values).inserted_primary_key
        return int(inserted[0]) if inserted else 0

    def sent(self, batch_id: int, receipts: Sequence[Receipt], at: datetime) -> BatchState:
        """Note what the destination said; may be called again as more becomes known.

        Rows it said nothing about stay undecided, and with them the batch is `unknown`, which is returned. For
        `ensure_*` the one receipt carries the id (or name) as its row id, `written` when it was made, `unchanged` when
        it was found.
        """
        with self._changing(batch_id) as batch:
            if batch.about_rows:
                said = {receipt.row_id: receipt for receipt in receipts}
            else:
                said = dict(zip([batch.target], receipts, strict=False))
                batch.ref = receipts[0].row_id if receipts else batch.ref
            batch.decide(said, at)
            batch.sent_at = at
            silent = batch.open_count()
            batch.state = BatchState.UNKNOWN if silent else BatchState.SENT
            batch.reason = f"no answer about {silent} of its rows" if silent else None
        return batch.state

    def confirm(self, batch_id: int, at: datetime) -> None:
        """Note that the batch is settled: rows still undecided have been seen to be as we wanted them. Repeatable."""
        settled = {"this": batch_id, "state": BatchState.CONFIRMED.value, "settled_at": at}
        with self._database.write() as connection:
            # Of a batch that is `sent` no row is undecided.
            if connection.execute(_CONFIRM_SENT, settled).rowcount:
                return
        with self._changing(batch_id, repeatable=BatchState.CONFIRMED) as batch:
            if batch.state is not BatchState.CONFIRMED:
                batch.decide({row: Receipt(row, Outcome.WRITTEN) for row in batch.open_rows()}, at)
                batch.state, batch.settled_at = BatchState.CONFIRMED, at

    def settle(self, batch_id: int, done: Collection[str], at: datetime) -> None:
        """Note what reading back showed: of the undecided rows these were written, the others were not.

        For `ensure_*` and `remove_list|property`, `done` holds the target if it happened.
        """
        with self._changing(batch_id) as batch:
            seen = {row: Receipt(row, Outcome.WRITTEN) for row in batch.open_rows() if row in done}
            batch.decide(seen, at)
            lost = batch.give_up_open()
            batch.reason = f"read back: {lost} of its rows had not been written" if lost else None
            batch.state, batch.settled_at = BatchState.CONFIRMED, at

    def unknown(self, batch_id: int, reason: str) -> None:
        """Note that no answer came: it may have happened."""
        with self._changing(batch_id) as batch:
            batch.state, batch.reason = BatchState.UNKNOWN, reason

    def rejected(self, batch_id: int, reason: str) -> None:
        """Note that the destination refused the batch for a reason that is not in its rows.

        A list that is gone, a missing permission: no row is to blame, so none is counted as rejected. A row that is to
        blame has a receipt that says so.
        """
        with self._changing(batch_id) as batch:
            batch.give_up_open()
            batch.reason = reason
            batch.state, batch.settled_at = BatchState.REJECTED, self._database.clock.now()

    def unresolved(self, destination: str | None = None) -> list[Batch]:
        """Batches whose outcome is not settled, oldest first."""
        query = sa.select(batches).where(batches.c.state.in_([state.value for state in UNRESOLVED]))
        if destination is not None:
            query = query.where(batches.c.destination == destination)
        return self._select(query)

    def lists_being_filled(self, destination: str) -> set[str]:
        """Names of lists that were made after the last plan that was carried out to its end: nobody relies on them."""
        mine = batches.c.destination == destination
        finished = (
            sa.select(sa.func.coalesce(sa.func.max(batches.c.batch_id), 0))
            .join(plans, plans.c.plan_id == batches.c.plan_id)
            .where(mine, plans.c.applied_at.is_not(None))
            .scalar_subquery()
        )
        query = sa.select(batches.c.target).where(
            mine, batches.c.kind == BatchKind.ENSURE_LIST.value, batches.c.batch_id > finished
        )
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def batches(self, run_id: str) -> list[Batch]:
        """What a run wrote, in order."""
        return self._select(sa.select(batches).where(batches.c.run_id == run_id))

    def get(self, batch_id: int) -> Batch | None:
        """The batch with this id, None if there is none."""
        found = self._select(sa.select(batches).where(batches.c.batch_id == batch_id))
        return found[0] if found else None

    def _select(self, query: sa.Select[Any]) -> list[Batch]:
        with self._database.read() as connection:
            return [Batch.load(row) for row in connection.execute(query.order_by(batches.c.batch_id))]

    @contextmanager
    def _changing(self, batch_id: int, *, repeatable: BatchState | None = None) -> Iterator[Settling]:
        """The batch, held and saved by one transaction; StateError when it is settled already."""
        with self._database.write() as connection:
            row = connection.execute(HOLD, {"this": batch_id}).one_or_none()
            if row is None:
                raise StateError(f"the ledger has no batch {batch_id}")
            batch = Settling(self._database, self._rejections, connection, row)
            if batch.state not in UNRESOLVED and batch.state is not repeatable:
                raise StateError(f"batch {batch_id} of run {row.run_id} is {row.state} already and cannot change")
            yield batch
            batch.save()

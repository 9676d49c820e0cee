"""Plans: what was shown, and which run carried it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from connector.errors import StateError
from connector.journal.engine import Database
from connector.journal.tables import plans


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan's document, when it was made, and the run that applied it if one did."""

    plan_id: str
    document: Mapping[str, Any]
    saved_at: datetime
    run_id: str | None
    applied_at: datetime | None


class Plans:
    """The plans of this install. An id is a digest of the content, so saving one again changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, plan_id: str, document: Mapping[str, Any], at: datetime) -> None:
        """Keep a plan's document; safe to repeat."""
        row = {"plan_id": plan_id, "document": dict(document), "saved_at": at}
        with self._database.write() as connection:
            self._database.insert_new(connection, self._database.insert(plans).values(row))

    def get(self, plan_id: str) -> SavedPlan | None:
        """The plan with this id, None if it was never saved here."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(plans).where(plans.c.plan_id == plan_id)).one_or_none()
        if row is None:
            return None
        return SavedPlan(
            plan_id=row.plan_id,
            document=row.document,
            saved_at=row.saved_at,
            run_id=row.run_id,
            applied_at=row.applied_at,
        )

    def mark_applied(self, plan_id: str, run_id: str) -> None:
        """Note that this run carried the plan out; a later run of the same plan takes its place."""
        values = {"run_id": run_id, "applied_at": self._database.clock.now()}
        with self._database.write() as connection:
            changed = connection.execute(sa.update(plans).where(plans.c.plan_id == plan_id).values(values))
            if changed.rowcount != 1:
                raise StateError(f"the journal has no plan {plan_id}", hint="make it again with `winback plan`")

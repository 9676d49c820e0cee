"""Records somebody else is just writing to: the vendor waits ten seconds for them, then refuses the row."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.salesforce.sandbox.answers import RowError

PARENTS: Mapping[str, tuple[str, ...]] = {
    "Contact": ("AccountId",),
    "CampaignMember": ("CampaignId",),
    "Opportunity": ("AccountId",),
    "Task": ("WhoId",),
}
"""Which records a write locks besides its own."""

WRAPPED = (
    "RollupTrigger: execution of AfterUpdate\n\ncaused by: System.DmlException: Update failed. "
    "First exception on row 0; first error: {message}: []"
)


@dataclass(slots=True)
class Locks:
    """Who is locked, by a switch or by another writer.

    stuck: How often a record (its own or a parent's id) still refuses; a negative number: until taken away.
    seconds: How long a writer keeps the parents of what it wrote; 0 switches contention off.
    probability: How often a row is refused by chance.
    in_triggers: The refusal comes from a trigger, wrapped into CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY.
    """

    stuck: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    probability: float = 0.0
    in_triggers: bool = False
    refused: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - repeatable bad luck
    _held: dict[str, tuple[int, int]] = field(default_factory=dict)

    def take(self, kind: str, record_id: str, values: Mapping[str, Any], *, writer: int, now_ms: int) -> None:
        """Lock a record and its parents for a writer, or raise UNABLE_TO_LOCK_ROW."""
        if not self.stuck and not self.seconds and not self.probability:
            return
        parents = [str(values[name]) for name in PARENTS.get(kind, ()) if values.get(name)]
        for locked in (*parents, record_id):
            if self._is_stuck(locked):
                raise self._refuse(locked)
        if self.probability and self.dice.random() < self.probability:
            raise self._refuse(parents[0] if parents else record_id)
        if self.seconds:
            self._hold(parents, writer=writer, now_ms=now_ms)

    def release(self) -> None:
        """Let go of everything writers hold."""
        self._held.clear()

    def _is_stuck(self, record_id: str) -> bool:
        left = self.stuck.get(record_id)
        if left is None:
            return False
        if left > 1:
            self.stuck[record_id] = left - 1
        elif left >= 0:
            del self.stuck[record_id]
        return left != 0

    def _hold(self, parents: Iterable[str], *, writer: int, now_ms: int) -> None:
        for parent in parents:
            holder, until_ms = self._held.get(parent, (writer, 0))
            if holder != writer and until_ms > now_ms:
                raise self._refuse(parent)
            self._held[parent] = (writer, now_ms + round(self.seconds * 1000))

    def _refuse(self, record_id: str) -> RowError:
        self.refused += 1
        message = f"unable to obtain exclusive access to this record or 1 records: {record_id}"
        if self.in_triggers:
            return RowError(
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", WRAPPED.format(message=f"UNABLE_TO_LOCK_ROW, {message}")
            )
        return RowError("UNABLE_TO_LOCK_ROW", message)

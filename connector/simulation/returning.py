"""Who uses the product again on a simulated day: the measured return curve, one keyed draw for each contact and day."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from connector.errors import SettingError
from connector.model import Page
from connector.simulation.copies import ProductUser

if TYPE_CHECKING:
    from connector.workspace import Workspace

_RANGE = 2**64
_FIELDS = {"contact_id": "user", "occurred_at": "at", "feature": "feature", "event_id": "event"}


@dataclass(frozen=True, slots=True)
class UsageStream:
    """Where simulated uses are written: a stream of the playbook that brings usage."""

    source: str
    stream: str
    system: str


def usage_streams(workspace: Workspace) -> dict[str, UsageStream]:
    """The streams that bring usage, by the system whose users they speak of; SettingError when there is none."""
    found: dict[str, UsageStream] = {}
    for name in workspace.playbook.sources:
        source = workspace.source(name)
        for info in source.streams():
            if info.into == "usage":
                found.setdefault(source.system, UsageStream(name, info.name, source.system))
    if not found:
        raise SettingError("no source of the playbook brings usage, so nobody can return")
    return found


def draw(seed: int, contact_id: str, day: date) -> float:
    """A number in [0, 1) that belongs to this contact on this day."""
    text = f"{seed}/{contact_id}/{day.isoformat()}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) / _RANGE


class Returning:
    """Everybody's use of the product in days to come.

    users: Each contact's product user; who has none never used it and does not begin to.
    as_of: The last day with facts, up to which the curve is measured.
    """

    def __init__(self, workspace: Workspace, users: Mapping[str, ProductUser], *, as_of: date, seed: int) -> None:
        self._workspace = workspace
        self._streams = usage_streams(workspace)
        self._users = {who: user for who, user in users.items() if user.system in self._streams}
        self._seed = seed
        curve = workspace.warehouse.return_curve(as_of, horizon_days=1).p_return
        self._hazard = [chance or 0.0 for chance in curve]

    def hazard(self, silent_days: int) -> float:
        """The chance that somebody who has been silent for so many days is active on the next."""
        return self._hazard[min(silent_days, len(self._hazard) - 1)] if silent_days >= 0 else 0.0

    def live(self, day: date, at: datetime) -> int:
        """Let everybody live this day, with their use at this moment; how many used the product.

        The day's segments have been evaluated: silent days are those at its end if nothing had happened.
        """
        active = list(self._active(day))
        for system, stream in self._streams.items():
            rows = [(user, feature) for user, feature in active if user.system == system]
            if rows:
                self._store(stream, rows, at)
        self.sources_were_read(at)
        return len(active)

    def sources_were_read(self, at: datetime) -> None:
        """Every source counts as read, as a run would have done: what the CRM says about consent is fresh."""
        for stat in self._workspace.warehouse.source_stats():
            self._workspace.warehouse.note_pulled(stat.source, stat.stream, at)

    def _active(self, day: date) -> Iterator[tuple[ProductUser, str | None]]:
        _, batches = self._workspace.warehouse.feature_batches(day, columns=["inactive_days", "last_feature"])
        for batch in batches:
            for contact_id, inactive, feature in batch:
                user = self._users.get(contact_id)
                if user is None or not inactive:
                    continue
                if draw(self._seed, contact_id, day) < self.hazard(inactive - 1):
                    yield user, feature

    def _store(self, stream: UsageStream, rows: Sequence[tuple[ProductUser, str | None]], at: datetime) -> None:
        import pyarrow as pa

        from mappings.schema import from_user

        bare = [user.user_id.removeprefix(f"{user.system}:") for user, _ in rows]
        records = pa.table(
            {
                "user": pa.array(bare, pa.string()),
                "at": pa.array([at] * len(rows), pa.timestamp("us", "UTC")),
                "feature": pa.array([feature for _, feature in rows], pa.string()),
                "event": pa.array([f"simulated/{at.isoformat()}/{who}" for who in bare], pa.string()),
            }
        )
        warehouse = self._workspace.warehouse
        warehouse.store_page(
            Page(records=records, cursor=warehouse.cursor(stream.source, stream.stream) or {}),
            from_user(stream.system, stream.stream, "usage", _FIELDS),
            source=stream.source,
            system=stream.system,
            stream=stream.stream,
            pulled_at=at,
        )

"""Feeding a warehouse in tests: records in, pages and mappings made; real data where it is at hand."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connector.model import Page, Segment
from connector.warehouse import Warehouse
from mappings.schema import StreamMapping

SHARED = Path(__file__).parents[2].parent / "shared"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def shared(*parts: str) -> Path:
    """A file of the public data; skips the test where it is not at hand."""
    path = SHARED.joinpath("data", *parts)
    if not path.exists():
        pytest.skip(f"needs the public data: {'/'.join(parts)} is not beside the repository")
    return path


def expected(name: str) -> Any:
    return json.loads(shared("expected", name).read_text())


def mapping(into: str, *columns: str, **others: str) -> StreamMapping:
    """A mapping whose fields have the columns' own names, or those given by keyword."""
    fields = {name: {"from": name} for name in columns} | {name: {"from": field} for name, field in others.items()}
    return StreamMapping.model_validate({"system": "x", "stream": into, "into": into, "fields": fields})


USAGE = mapping(
    "usage", "contact_id", "occurred_at", "feature", "events", "event_id", "arrived_at", "email", "external_id"
)
DEVPLATFORM = mapping(
    "usage", "contact_id", "occurred_at", "feature", "event_id", events="items", arrived_at="ingested_at"
)


@dataclass
class Feed:
    """A warehouse and a hand that stores pages into it."""

    warehouse: Warehouse
    pulled_at: datetime = NOON
    number: int = 0

    def page(
        self, records: Any, what: StreamMapping, *, source: str = "product", system: str | None = None, **page: Any
    ):
        self.number += 1
        self.pulled_at += timedelta(minutes=1)
        return self.warehouse.store_page(
            Page(records=records, cursor={"page": self.number}, **page),
            what,
            source=source,
            system=system or source,
            stream=what.into,
            pulled_at=self.pulled_at,
        )

    def usage(self, records: Any, **page: Any):
        return self.page(records, USAGE, **page)

    def ready(self, counts: str | None = None, match: tuple[str, ...] = ("external_id", "email")):
        self.warehouse.match_identities(match)
        return self.warehouse.refresh(counts=counts)


@dataclass(frozen=True)
class Said:
    """A condition as evaluation sees it, written in SQL by hand."""

    sql: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class CheckedByHand:
    segment: Segment
    condition: Said


def checked(name: str, sql: str, *columns: str, group: str | None = None) -> CheckedByHand:
    return CheckedByHand(Segment(name, sql, group), Said(sql, columns))


DORMANCY = tuple(
    checked(name, f"inactive_days {test}", "inactive_days", group="dormancy")
    for name, test in {
        "active": "BETWEEN 0 AND 29",
        "dormant_30": "BETWEEN 30 AND 59",
        "dormant_60": "BETWEEN 60 AND 89",
        "dormant_90": "BETWEEN 90 AND 179",
        "dormant_180": ">= 180",
    }.items()
)


def membership_digest(warehouse: Warehouse, as_of: date, prefix: str = "product:") -> str:
    """The digest of `contact_id,inactive_days,segment` lines, as the expected answers have it."""
    rows = warehouse.members(as_of).to_pylist()
    lines = sorted(
        f"{row['contact_id'].removeprefix(prefix)},{row['inactive_days']},{row['segment']}"
        for row in rows
        if row["inactive_days"] is not None
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

"""A page on its way into the tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from connector.model import Page
from connector.warehouse.database import literal

MAPPED = "mapped_page"
"""The temporary table of the page's neutral rows, with `row_place`, `reject_reason`, `ordinal` (place in the page)."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where a page comes from and when. `system` is what its ids are prefixed with."""

    source: str
    system: str
    stream: str
    into: str
    pulled_at: datetime
    columns: frozenset[str]
    page: Page

    def id_of(self, column: str) -> str:
        """SQL for a provider's id in this column with its system in front; NULL stays NULL."""
        return f"{literal(self.system + ':')} || {column}"


@dataclass(frozen=True, slots=True)
class Folded:
    """What became of the good rows of a page. `held` is how many rows more (or fewer) the stream now has."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    held: int = 0
    newest_at: str | None = None

"""A files source over a folder of a test, and a store that keeps rows the way the warehouse keeps origins."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.files.options import FilesOptions
from adapters.files.source import FilesSource
from connector.model import Cursor, Page, Reject
from mappings.schema import StreamMapping, from_user
from tests.fakes.connections import HandClock, connect

USAGE = {"contact_id": "user", "occurred_at": "ts", "feature": "event"}


def usage_options(
    path: str, mapping: dict[str, str] | None = None, *, stream: str = "usage", **options: Any
) -> FilesOptions:
    """Options with one stream."""
    return FilesOptions.model_validate(
        {"adapter": "files", "streams": {stream: {"path": path, "mapping": mapping or USAGE, **options}}}
    )


def mapping_of(options: FilesOptions, stream: str = "usage") -> StreamMapping:
    """The stream's mapping as the workspace would make it."""
    return from_user("product", stream, options.into(stream), options.mapping_for(stream))


def files_source(folder: Path, options: FilesOptions, *, clock: HandClock | None = None) -> FilesSource:
    """A source called `product` whose paths start in this folder."""
    fields = {name: mapping_of(options, name).provider_fields() for name in options.streams}
    return FilesSource(connect(options, folder, clock=clock, fields=fields, name="product"))


def records_of(page: Page) -> list[dict[str, Any]]:
    """A page's rows without their place."""
    return [
        {name: value for name, value in row.items() if not name.startswith("__")} for row in page.records.to_pylist()
    ]


def places_of(page: Page) -> list[str]:
    """Where each row of a page stands."""
    return [f"{row['__file']}:{row['__line']}" for row in page.records.to_pylist()]


@dataclass
class OriginStore:
    """Rows by origin: a page appends, or replaces when it says so; the cursor moves with it."""

    rows: dict[str | None, list[dict[str, Any]]] = field(default_factory=dict)
    rejects: dict[str | None, list[Reject]] = field(default_factory=dict)
    cursor: Cursor | None = None
    pages: int = 0

    def store(self, page: Page) -> None:
        """Keep one page."""
        if page.replaces_origin:
            self.rows[page.origin] = []
            self.rejects[page.origin] = []
        self.rows.setdefault(page.origin, []).extend(records_of(page))
        self.rejects.setdefault(page.origin, []).extend(page.rejects)
        self.cursor = page.cursor
        self.pages += 1

    def pull(self, source: FilesSource, stream: str = "usage", *, stop_after: int | None = None) -> int:
        """Store what is new, or only so many pages of it; how many pages there were."""
        before = self.pages
        pages = source.read(stream, self.cursor)
        for page in pages:
            self.store(page)
            if stop_after is not None and self.pages - before >= stop_after:
                pages.close()
                break
        return self.pages - before

    def all_rows(self) -> list[dict[str, Any]]:
        """Every row kept, in a fixed order."""
        return sorted(
            (row for rows in self.rows.values() for row in rows), key=lambda row: sorted(map(str, row.items()))
        )

    def all_rejects(self) -> list[tuple[str, str]]:
        """Every row set aside."""
        return sorted((reject.place, reject.reason) for rejects in self.rejects.values() for reject in rejects)

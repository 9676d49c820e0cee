"""One stream of one source into the warehouse, page by page.

The cursor that counts is stored in the warehouse together with the page's rows: a crash reads a page again, never
skips one, and never counts a row twice. The journal gets a copy for `status`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from connector.contracts import Clock, Reporter, Source
from connector.failpoints import failpoint
from connector.model import Cursor, Page, Reject

if TYPE_CHECKING:
    from connector.warehouse import Warehouse
    from mappings.schema import StreamMapping

SAMPLE = 20
"""How many rejected rows a report names; the warehouse keeps all of them."""


@dataclass(frozen=True, slots=True)
class PullReport:
    """What reading one stream brought. `rows` counts what arrived, `rejects` those of them that were set aside."""

    source: str
    stream: str
    pages: int = 0
    rows: int = 0
    new: int = 0
    changed: int = 0
    rejects: int = 0
    rejected_sample: tuple[Reject, ...] = ()
    seconds: float = 0.0

    @property
    def rows_per_second(self) -> float:
        """The rate over the whole pull; 0 when nothing was read."""
        return self.rows / self.seconds if self.seconds > 0 else 0.0


@dataclass(slots=True)
class _Tally:
    """The sums of a pull while it runs."""

    pages: int = 0
    rows: int = 0
    new: int = 0
    changed: int = 0
    rejects: int = 0
    sample: list[Reject] = field(default_factory=list)

    def add(self, stored: Any) -> None:
        self.pages += 1
        self.rows += stored.rows
        self.new += stored.new
        self.changed += stored.changed
        self.rejects += stored.rejects
        self.sample += [_reject(text) for text in stored.reject_sample[: SAMPLE - len(self.sample)]]


def pull(
    source: Source,
    stream: str,
    *,
    name: str,
    mapping: StreamMapping,
    warehouse: Warehouse,
    clock: Clock,
    reporter: Reporter,
    full: bool = False,
    on_cursor: Callable[[Cursor], None] = lambda _: None,
) -> PullReport:
    """Read what is new in a stream and store it; safe to interrupt after any page, goes on where it stopped.

    Args:
        source: Where to read.
        stream: Which of its streams.
        name: The source's name in winback.yaml, under which cursor and rows are kept.
        mapping: How its records become rows.
        warehouse: Where they go.
        clock: Dates the rows.
        reporter: Hears of every page: rows so far, rows expected.
        full: Read everything again instead of going on from the cursor.
        on_cursor: Gets each cursor once its page is stored.
    """
    began = clock.monotonic()
    task = f"{name}.{stream}"
    tally = _Tally()
    pages = source.read(stream, None if full else warehouse.cursor(name, stream))
    with _let_go(pages):
        for page in pages:
            failpoint("pull.page_read")
            tally.add(_stored(page, source, stream, name=name, mapping=mapping, warehouse=warehouse, clock=clock))
            failpoint("pull.page_stored")
            on_cursor(page.cursor)
            failpoint("pull.cursor_mirrored")
            reporter.progress(task, tally.rows, None if page.total is None else max(page.total, tally.rows))
    warehouse.note_pulled(name, stream, clock.now())
    return PullReport(
        source=name,
        stream=stream,
        pages=tally.pages,
        rows=tally.rows,
        new=tally.new,
        changed=tally.changed,
        rejects=tally.rejects,
        rejected_sample=tuple(tally.sample),
        seconds=clock.monotonic() - began,
    )


@contextmanager
def _let_go(pages: Iterator[Page]) -> Iterator[None]:
    """Close the reading at the end: when storing a page fails, its files and connections are still open."""
    try:
        yield
    finally:
        close = getattr(pages, "close", None)
        if close is not None:
            close()


def _stored(
    page: Page,
    source: Source,
    stream: str,
    *,
    name: str,
    mapping: StreamMapping,
    warehouse: Warehouse,
    clock: Clock,
) -> Any:
    return warehouse.store_page(page, mapping, source=name, system=source.system, stream=stream, pulled_at=clock.now())


def _reject(text: str) -> Reject:
    """A `place: reason` of the warehouse's sample, taken apart again."""
    place, separator, reason = text.partition(": ")
    return Reject(place, reason) if separator else Reject("", text)

"""One query read to its end: by pages of REST, or through a Bulk job; from a place on, and to be left at any page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from adapters.salesforce.bulk_query import (
    BulkUnavailableError,
    Place,
    Results,
    ResultsGoneError,
    forget,
    read_tables,
    start_query,
    wait_for,
)
from adapters.salesforce.client import ROWS_PER_PAGE, SalesforceClient, SalesforceRejected
from adapters.salesforce.soql import Query
from adapters.salesforce.tables import as_table
from adapters.salesforce.vendor_errors import TIMEOUTS
from connector.contracts import Connection

if TYPE_CHECKING:
    import pyarrow as pa

BULK_ROWS_PER_PAGE: Final = 50_000
REST_IS_CHEAPER_BELOW: Final = 2_000
"""So many records fit into one page; a Bulk job takes four calls or more."""

BULK_FROM: Final = 20_000
"""A query that turns out to find so many records takes fewer calls by a Bulk job."""

_LOST_LOCATOR: Final = "INVALID_QUERY_LOCATOR"
_RESTARTS: Final = 2


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the reading of one query has come: behind an id, or at a piece of a job's result."""

    after: str | None = None
    job: Place | None = None

    def as_json(self) -> dict[str, Any]:
        """For the cursor."""
        return {"after": self.after, "job": asdict(self.job) if self.job else None}

    @classmethod
    def parse(cls, said: Mapping[str, Any]) -> Standing:
        """Out of a cursor."""
        return cls(said.get("after"), Place(**said["job"]) if said.get("job") else None)


@dataclass(frozen=True, slots=True)
class Part:
    """Some records of a query and the place that is safe once they are stored; None behind the last.

    table: None when a place is to be remembered before there are any records: a job was started.
    total: How many records the query finds, where that is known.
    """

    table: pa.Table | None
    standing: Standing | None
    total: int = 0


class Walk:
    """Reads queries of one connection."""

    def __init__(self, client: SalesforceClient, connection: Connection) -> None:
        self._client = client
        self._clock = connection.clock
        self._reporter = connection.reporter
        self._folder: Path = connection.work_dir
        self._wait = client.options.bulk_wait

    def read(
        self, query: Query, *, what: str, deleted: bool, everything: bool, standing: Standing | None = None
    ) -> Iterator[Part]:
        """The records of a query, none twice.

        Args:
            query: What to read.
            what: What it is, for notices: `salesforce contacts`.
            deleted: Whether records in the recycle bin are read too.
            everything: Whether this is a first reading, for which a Bulk job is worth a count.
            standing: Where to go on; None is the beginning.
        """
        here = standing or Standing()
        if here.job is None and here.after is None and self._by_bulk(query, everything=everything):
            here = Standing(job=self._start(query, what=what, deleted=deleted))
            if here.job is not None:
                # Stored at once: a run that dies while Salesforce works finds the job again.
                yield Part(None, here)
        if here.job is not None:
            done = yield from self._bulk(query, here.job, what=what, deleted=deleted)
            if done:
                return
            here = Standing()
        yield from self._rest(query, here, what=what, deleted=deleted)

    def all_of(self, query: Query, *, what: str) -> Iterator[pa.Table]:
        """Every record of a query at once, for a look-up that is kept in memory."""
        for part in self.read(query, what=what, deleted=False, everything=True):
            if part.table is not None:
                yield part.table

    def _by_bulk(self, query: Query, *, everything: bool) -> bool:
        """Whether a job takes fewer calls, or is the only way."""
        if not query.fits:
            return True
        if not everything or self._client.options.backfill == "rest":
            return False
        try:
            return self._client.count(query.count()) >= REST_IS_CHEAPER_BELOW
        except SalesforceRejected as refusal:
            if refusal.code in TIMEOUTS:
                return True
            raise

    def _start(self, query: Query, *, what: str, deleted: bool) -> Place | None:
        """A new job; None, said aloud, where there is none to be had."""
        try:
            place = start_query(self._client, query.unordered(), deleted=deleted)
        except BulkUnavailableError as reason:
            if not query.fits:
                raise
            self._reporter.line(f"{what}: no Bulk job, reading pages of {ROWS_PER_PAGE:,} instead: {reason}")
            return None
        self._reporter.line(f"{what}: Bulk job {place.job} started")
        return place

    def _bulk(self, query: Query, place: Place | None, *, what: str, deleted: bool) -> Any:
        """The records by a job, by another one where it is gone; answers whether that worked."""
        for _ in range(_RESTARTS + 1):
            if place is None:
                return False
            try:
                total = wait_for(self._client, self._clock, place, wait=self._wait)
                yield from self._pieces(query, place, total)
            except ResultsGoneError as reason:
                self._reporter.line(f"{what}: reading it again from the start: {reason}")
                place = self._start(query, what=what, deleted=deleted)
                if place is not None:
                    yield Part(None, Standing(job=place))
                continue
            except BulkUnavailableError as reason:
                if not query.fits:
                    raise
                self._reporter.line(f"{what}: reading pages of {ROWS_PER_PAGE:,} instead: {reason}")
                return False
            forget(self._client, place)
            return True
        return False

    def _pieces(self, query: Query, place: Place, total: int) -> Iterator[Part]:
        """The result of a job, piece by piece; within a piece the place stays at its beginning."""
        import pyarrow as pa

        here = place
        pieces = Results(self._client, place, self._folder, total=total).pieces()
        try:
            for piece in pieces:
                held: list[pa.Table] = []
                for table in read_tables(piece.path, query.fields):
                    if sum(waiting.num_rows for waiting in held) >= BULK_ROWS_PER_PAGE:
                        yield Part(pa.concat_tables(held), Standing(job=here), total)
                        held = []
                    held.append(table)
                rows = pa.concat_tables(held) if held else as_table((), query.fields)
                yield Part(rows, Standing(job=piece.next) if piece.next else None, total)
                here = piece.next or here
        finally:
            pieces.close()

    def _rest(self, query: Query, here: Standing, *, what: str, deleted: bool) -> Iterator[Part]:
        """The records by pages in the order of ids; where the rest of a query was lost, a new one goes on.

        A query that turns out to be too much for pages is given to a job, once.
        """
        after = here.after
        job_is_open = after is None
        lost = 0
        while True:
            too_much = False
            try:
                for rows, total in self._gathered(query.going_on(after), deleted=deleted):
                    if job_is_open and total >= BULK_FROM and self._client.options.backfill == "bulk":
                        too_much = True
                        break
                    job_is_open, lost = False, 0
                    after = str(rows[-1]["Id"])
                    yield Part(as_table(rows, query.fields), Standing(after=after), total)
            except SalesforceRejected as refusal:
                lost += refusal.code == _LOST_LOCATOR
                too_much = job_is_open and refusal.code in TIMEOUTS
                if not too_much and not 0 < lost <= _RESTARTS:
                    raise
                if not too_much:
                    continue
            if not too_much:
                return
            job_is_open = False
            job = self._start(query, what=what, deleted=deleted)
            if job is not None:
                yield Part(None, Standing(job=job))
                if (yield from self._bulk(query, job, what=what, deleted=deleted)):
                    return

    def _gathered(self, query: Query, *, deleted: bool) -> Iterator[tuple[Sequence[Mapping[str, Any]], int]]:
        """Small pages put together; wide rows come in small pages."""
        rows: list[Mapping[str, Any]] = []
        total = 0
        for records, total in self._client.pages(query.in_order(), deleted=deleted):
            rows.extend(records)
            if len(rows) >= ROWS_PER_PAGE:
                yield rows, total
                rows = []
        if rows:
            yield rows, total

"""One query through a Bulk 2.0 job: a handful of calls, however many records there are.

The library's own Bulk loop loses the job's id when anything goes wrong, never renews its token, and reads UTF-8 as
Latin-1, so the loop is ours: create, poll, fetch the result in pieces to disk, read them into Arrow. A piece is known
by its locator; with the job's id and a locator, a reading that was killed goes on where it was.

Results are kept seven days and answer only to the API version that the job was made with.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from adapters.salesforce.client import CSV, MissingPermissionsError, SalesforceClient, SalesforceRejected, plain
from connector.contracts import Clock
from connector.errors import ProviderError, QuotaExhausted, WinbackError
from connector.paging import LoopGuard
from connector.rest import Effect

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_PIECE: Final = 50_000
PIECES_AT_ONCE: Final = 3
"""Pieces fetched beside each other; each is a file until it is read."""

_FIRST_POLL_SECONDS: Final = 1.0
_LONGEST_POLL_SECONDS: Final = 30.0
_BLOCK_BYTES: Final = 4 << 20
_HEADER_BYTES: Final = 1 << 20
_UNDER_WAY: Final = frozenset({"UploadComplete", "InProgress", "Open"})
_GONE: Final = frozenset({400, 404, 409, 410})


class BulkUnavailableError(ProviderError):
    """No Bulk query is to be had here and now; page by page works instead."""


class ResultsGoneError(ProviderError):
    """The job or its results are no longer there: the reading must start again."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reading of a job's result stands: at the piece with this locator; None is the first."""

    job: str
    version: str
    locator: str | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the result on disk, its records, and where the next one starts; `next` is None behind the last."""

    path: Path
    rows: int
    next: Place | None


def start_query(client: SalesforceClient, soql: str, *, deleted: bool) -> Place:
    """Ask for a query to be run; the place of its first piece.

    Raises:
        BulkUnavailableError: not allowed, today's jobs are used up, or the query cannot be run this way.
    """
    body = {
        "operation": "queryAll" if deleted else "query",
        "query": soql,
        "contentType": "CSV",
        "columnDelimiter": "COMMA",
        "lineEnding": "LF",
    }
    try:
        # Asked for twice it costs one of the day's ten thousand.
        answer = client.call("POST", client.path("/jobs/query"), body=body, effect=Effect.REPEATABLE, attempts=3)
    except QuotaExhausted:
        raise  # paging would only meet it again
    except (ProviderError, MissingPermissionsError) as refusal:
        raise BulkUnavailableError(str(refusal)) from refusal
    job = (answer.data or {}).get("id")
    if not job:
        raise BulkUnavailableError("salesforce Bulk query: accepted, but no job was named")
    return Place(str(job), client.options.version)


def wait_for(client: SalesforceClient, clock: Clock, place: Place, *, wait: timedelta) -> int:
    """Wait until a job is done; how many records it found.

    Raises:
        ResultsGoneError: the org knows of no such job (any more).
        BulkUnavailableError: the job failed, was stopped, or is not done in time.
    """
    pause, waited = _FIRST_POLL_SECONDS, 0.0
    path = client.path(f"/jobs/query/{place.job}", version=place.version)
    while True:
        try:
            said: Mapping[str, Any] = client.read(path) or {}
        except SalesforceRejected as refusal:
            raise ResultsGoneError(f"salesforce Bulk job {place.job}: {refusal}") from refusal
        state = str(said.get("state") or "")
        if state == "JobComplete":
            return int(said.get("numberRecordsProcessed") or 0)
        if state not in _UNDER_WAY:
            reason = plain(str(said.get("errorMessage") or "")) or "no reason given"
            raise BulkUnavailableError(f"salesforce Bulk job {place.job}: {state or 'no state'}: {reason}")
        if waited >= wait.total_seconds():
            raise BulkUnavailableError(
                f"salesforce Bulk job {place.job}: still {state} after {waited / 60:.0f} minutes"
            )
        clock.sleep(pause)
        waited += pause
        pause = min(pause * 2, _LONGEST_POLL_SECONDS)


class Results:
    """The pieces of a finished job with so many records, from a place on, fetched a few at a time."""

    def __init__(self, client: SalesforceClient, place: Place, folder: Path, *, total: int) -> None:
        self._client = client
        self._start = place
        self._folder = folder
        self._total = total

    def pieces(self) -> Generator[Piece]:
        """The pieces in order; each file is deleted when the next one is asked for.

        Raises:
            ResultsGoneError: the result is no longer there.
        """
        held: Path | None = None
        for left in self._folder.glob(f"salesforce-{self._start.job}-*.csv*"):
            left.unlink(missing_ok=True)  # by a reading that was killed
        try:
            for piece in self._fetched():
                held = piece.path
                yield piece
                held.unlink(missing_ok=True)
        finally:
            if held is not None:
                held.unlink(missing_ok=True)

    def _fetched(self) -> Iterator[Piece]:
        """The pieces by the links of the result, several at a time; else, or if those hold too few, one by one."""
        if self._total > ROWS_PER_PIECE and self._start.locator is None:
            found = 0
            for piece in self._linked():
                found += piece.rows
                yield piece
            if found >= self._total:
                return
        guard = LoopGuard(f"salesforce Bulk job {self._start.job}")
        place: Place | None = self._start
        while place is not None:
            guard.enter(place.locator)
            following = self._fetch(place.locator, None)
            yield following
            place = following.next

    def _linked(self) -> Iterator[Piece]:
        """The pieces that the org has links to."""
        links = self._links()
        ahead: deque[tuple[str | None, Future[Piece]]] = deque()
        with ThreadPoolExecutor(PIECES_AT_ONCE, thread_name_prefix="bulk-results") as pool:
            try:
                while True:
                    for locator, link in islice(links, PIECES_AT_ONCE - len(ahead)):
                        ahead.append((locator, pool.submit(self._fetch, locator, link)))
                    if not ahead:
                        return
                    piece = ahead.popleft()[1].result()
                    ahead.extend(
                        (locator, pool.submit(self._fetch, locator, link)) for locator, link in islice(links, 1)
                    )
                    # What a linked piece says of the next one is not relied on: the next link is the next one.
                    after = replace(self._start, locator=ahead[0][0]) if ahead else None
                    yield replace(piece, next=after)
            finally:
                _drop(ahead)

    def _links(self) -> Iterator[tuple[str | None, str]]:
        """The locators and addresses of all pieces, told in advance; none where the org has no such list."""
        link: str | None = self._path("/resultPages")
        guard = LoopGuard(f"salesforce Bulk job {self._start.job} links")
        while link is not None:
            guard.enter(link)
            try:
                said = self._client.read(link) or {}
            except SalesforceRejected:
                return
            for page in said.get("resultPages") or ():
                address = str(page.get("resultUrl") or "")
                yield _locator_of(address), address
            # The documentation's table and its example spell it differently.
            following = said.get("nextRecordsUrl") or said.get("nextRecordUrl")
            link = None if said.get("done") or not following else str(following)

    def _fetch(self, locator: str | None, link: str | None) -> Piece:
        """One piece to disk, by the address it was given, or by its locator."""
        name = re.sub(r"\W", "_", locator or "first")
        target = self._folder / f"salesforce-{self._start.job}-{os.getpid()}-{name}.csv"
        query = {"maxRecords": str(ROWS_PER_PIECE)} | ({} if locator is None else {"locator": locator})
        try:
            headers = self._client.download(link or self._path("/results"), target, query=None if link else query)
        except SalesforceRejected as refusal:
            if refusal.status in _GONE:
                raise ResultsGoneError(f"salesforce Bulk job {self._start.job}: {refusal}") from refusal
            raise
        said = {name.lower(): value for name, value in headers.items()}
        after = said.get("sforce-locator") or "null"
        following = None if after == "null" else replace(self._start, locator=after)
        return Piece(target, int(said.get("sforce-numberofrecords") or 0), following)

    def _path(self, tail: str) -> str:
        return self._client.path(f"/jobs/query/{self._start.job}{tail}", version=self._start.version)


def forget(client: SalesforceClient, place: Place) -> None:
    """Delete a job and what it found: it holds people's data. Whether it works does not matter."""
    try:
        client.call("DELETE", client.path(f"/jobs/query/{place.job}"), effect=Effect.REPEATABLE, attempts=1, accept=CSV)
    except WinbackError:
        return


def read_tables(path: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """A piece's rows as text columns, some megabytes at a time; a column the file lacks comes out empty."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
        header = next(csv.reader(io.StringIO(head.decode("utf-8-sig", "ignore"), newline="")), [])
        if not header:
            return
        file.seek(0)
        present = [column for column in columns if column in header]
        options = {
            "read_options": arrow_csv.ReadOptions(block_size=_BLOCK_BYTES, column_names=header, skip_rows=0),
            "parse_options": arrow_csv.ParseOptions(newlines_in_values=True),
            "convert_options": arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                include_columns=present,
                strings_can_be_null=True,
                null_values=[""],
            ),
        }
        with arrow_csv.open_csv(file, **options) as reader:
            first = True
            for batch in reader:
                # The header is read as a row: the reader would count its lines, and a name may hold a newline.
                rows = pa.Table.from_batches([batch.slice(1) if first else batch])
                first = False
                if rows.num_rows:
                    yield _with_all(rows, columns)


def _with_all(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The table with every wanted column, in the wanted order."""
    import pyarrow as pa

    empty = pa.nulls(table.num_rows, pa.string())
    return pa.table({name: table.column(name) if name in table.column_names else empty for name in columns})


def _locator_of(link: str) -> str | None:
    """The locator in a link to a piece; the first one's may be without."""
    found = parse_qs(urlsplit(link).query).get("locator")
    return found[0] if found and found[0] != "null" else None


def _drop(ahead: deque[tuple[str | None, Future[Piece]]]) -> None:
    """Delete what was fetched and will not be read."""
    while ahead:
        waiting = ahead.popleft()[1]
        if not waiting.cancel():
            try:
                waiting.result().path.unlink(missing_ok=True)
            except (WinbackError, OSError):
                continue

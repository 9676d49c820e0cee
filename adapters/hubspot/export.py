"""A first reading of everything through one export job: a few calls however many records there are.

The job makes a CSV, zipped when large, in several parts when very large. Its address is signed, is a secret, and lives
five minutes. At most 30 jobs a day and one at a time, shared by everybody in the account.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from adapters.hubspot.client import HubSpotClient, HubSpotRejected, MissingScopesError
from connector.contracts import Clock
from connector.errors import ProviderError, QuotaExhausted, RejectedError
from connector.rest import Effect, RestClient

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_PAGE: Final = 50_000
_BLOCK_BYTES: Final = 8 << 20
_HEADER_BYTES: Final = 1 << 20
_FIRST_POLL_SECONDS: Final = 0.5
_LONGEST_POLL_SECONDS: Final = 30.0
_FRESH_ADDRESSES: Final = 3
_SINGULAR: Final = {"contacts": "CONTACT", "companies": "COMPANY"}
_ID_HEADERS: Final = ("hs_object_id", "Record ID", "Record ID - Contact", "Record ID - Company")


class ExportUnavailableError(ProviderError):
    """No export is to be had here and now; page by page works instead."""


def start_export(client: HubSpotClient, stream: str, properties: Sequence[str], *, name: str) -> str:
    """Ask for an export of every record of a stream; returns the job's id.

    Raises:
        ExportUnavailableError: no permission, today's exports are used up, or the account does not allow it.
    """
    body = {
        "exportType": "VIEW",
        "exportName": name,
        "format": "CSV",
        "language": "EN",
        "objectType": _SINGULAR[stream],
        "objectProperties": list(properties),
        "exportInternalValuesOptions": ["NAMES", "VALUES"],
    }
    try:
        # Asked for twice it only costs one of the day's thirty.
        answer = client.call(
            "POST", client.path("exports", "/export/async"), body=body, effect=Effect.REPEATABLE, attempts=3
        )
    except MissingScopesError as refusal:
        raise ExportUnavailableError(f"no permission to export: {refusal}") from refusal
    except QuotaExhausted:
        # Paging would only meet it again.
        raise
    except ProviderError as refusal:
        raise ExportUnavailableError(str(refusal)) from refusal
    job = (answer.data or {}).get("id")
    if not job:
        raise ExportUnavailableError("hubspot POST export: accepted, but no job was named")
    return str(job)


class ExportFile:
    """One export job's file on disk, fetched when it is ready."""

    def __init__(self, client: HubSpotClient, clock: Clock, job: str, folder: Path) -> None:
        self._client = client
        self._clock = clock
        self.job = job
        self._path = folder / f"hubspot-export-{job}"

    def fetch(self, *, wait: timedelta) -> Path:
        """Wait for the job and download its file; a file already here from an interrupted run is used.

        Raises:
            ExportUnavailableError: the job was cancelled, vanished, or is not ready in time.
        """
        if self._path.exists():
            return self._path
        self._path.parent.mkdir(parents=True, exist_ok=True)
        rest = RestClient(
            self._client.options.url,
            clock=self._clock,
            timeout_seconds=max(60.0, self._client.options.timeout_seconds),
            system="hubspot export",
        )
        try:
            for attempt in range(_FRESH_ADDRESSES):
                address = self._address(wait)
                try:
                    return rest.download(address, self._path)
                except RejectedError:
                    # Expired between the answer and the download: the next status call signs a new address.
                    if attempt == _FRESH_ADDRESSES - 1:
                        raise
        finally:
            rest.close()
        raise AssertionError("unreachable")  # pragma: no cover

    def remove(self) -> None:
        """Delete the file: it holds people's data."""
        self._path.unlink(missing_ok=True)

    def _address(self, wait: timedelta) -> str:
        """The signed address, as soon as there is one."""
        pause = _FIRST_POLL_SECONDS
        waited = 0.0
        while True:
            status = self._status()
            state = str(status.get("status") or "")
            if state == "COMPLETE":
                if not status.get("result"):
                    raise ExportUnavailableError(f"hubspot export {self.job}: complete, but without a file")
                return str(status["result"])
            if state not in {"PENDING", "PROCESSING"}:
                raise ExportUnavailableError(f"hubspot export {self.job}: {state or 'no state'}")
            if waited >= wait.total_seconds():
                raise ExportUnavailableError(
                    f"hubspot export {self.job}: still {state} after {waited / 60:.0f} minutes;"
                    " an administrator may have to approve exports"
                )
            self._clock.sleep(pause)
            waited += pause
            pause = min(pause * 2, _LONGEST_POLL_SECONDS)

    def _status(self) -> Mapping[str, Any]:
        """What the job says about itself."""
        path = self._client.path("exports", "/export/async/tasks/{taskId}/status")
        try:
            answer = self._client.read(path, place={"taskId": self.job})
        except HubSpotRejected as refusal:
            raise ExportUnavailableError(f"hubspot export {self.job}: {refusal}") from refusal
        return answer if isinstance(answer, dict) else {}


def read_tables(path: Path, columns: Sequence[str], *, skip_rows: int = 0) -> Iterator[pa.Table]:
    """The file's rows as text columns, about 50,000 at a time; parts of a zip one after the other.

    Args:
        path: A CSV or a zip of CSVs.
        columns: The wanted columns; one the file lacks comes out empty.
        skip_rows: Rows of the whole file that were stored before.
    """
    import pyarrow as pa

    waiting: list[pa.Table] = []
    held = 0
    for table in _blocks(path, columns):
        if skip_rows >= table.num_rows:
            skip_rows -= table.num_rows
            continue
        block = table.slice(skip_rows)
        skip_rows = 0
        while block.num_rows:
            taken = block.slice(0, ROWS_PER_PAGE - held)
            waiting.append(taken)
            held += taken.num_rows
            block = block.slice(taken.num_rows)
            if held == ROWS_PER_PAGE:
                yield pa.concat_tables(waiting)
                waiting, held = [], 0
    if held:
        yield pa.concat_tables(waiting)


def _blocks(path: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The rows as the CSV reader hands them out."""
    with ExitStack() as stack:
        if not zipfile.is_zipfile(path):
            yield from _csv_blocks(stack.enter_context(path.open("rb")), columns)
            return
        archive = stack.enter_context(zipfile.ZipFile(path))
        parts = [name for name in archive.namelist() if not name.endswith("/")]
        for name in sorted(parts, key=_part_order):
            with archive.open(name) as member:
                yield from _csv_blocks(member, columns)


def _part_order(name: str) -> tuple[int, str]:
    """Parts in a stable order, `-2` before `-10`, so that a resumed reading counts the same rows."""
    return len(name), name


def _csv_blocks(file: IO[bytes], columns: Sequence[str]) -> Iterator[pa.Table]:
    """One CSV with a header; every value stays text, empty is null."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    head = file.read(_HEADER_BYTES)
    header = _header(head)
    if not header:
        return
    source = _Rewound(head, file)
    renamed = _renamed(header)
    present = [column for column in columns if column in renamed]
    options = {
        "read_options": arrow_csv.ReadOptions(block_size=_BLOCK_BYTES, column_names=header, skip_rows=0),
        "parse_options": arrow_csv.ParseOptions(newlines_in_values=True),
        "convert_options": arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            include_columns=[renamed[column] for column in present],
            strings_can_be_null=True,
            null_values=[""],
        ),
    }
    with arrow_csv.open_csv(source, **options) as reader:
        first = True
        for batch in reader:
            table = pa.Table.from_batches([batch.slice(1) if first else batch]).rename_columns(present)
            first = False
            yield _with_missing(table, columns)


def _with_missing(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The table with every wanted column, in the wanted order."""
    import pyarrow as pa

    empty = pa.nulls(table.num_rows, pa.string())
    return pa.table({name: table.column(name) if name in table.column_names else empty for name in columns})


def _header(head: bytes) -> list[str]:
    """The column names of a CSV that starts with these bytes; empty for an empty file."""
    text = head.decode("utf-8-sig", "ignore")
    return next(csv.reader(io.StringIO(text)), [])


def _renamed(header: Sequence[str]) -> dict[str, str]:
    """Our column name → the file's: the record id appears under several names."""
    found = {name: name for name in header}
    for spelling in _ID_HEADERS:
        if spelling in found:
            found.setdefault(_ID_HEADERS[0], spelling)
    return found


class _Rewound(io.RawIOBase):
    """A file whose first bytes were read already; a zip member cannot always go back."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        super().__init__()
        self._head = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer from what was read before, then from the file."""
        if self._head:
            size = min(len(buffer), len(self._head))
            buffer[:size] = self._head[:size]
            self._head = self._head[size:]
            return size
        data = self._rest.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

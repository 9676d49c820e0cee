"""Bulk 2.0 jobs: what was asked, how far it is, and how many a day the org allows."""

from __future__ import annotations

import random
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from adapters.salesforce.ids import record_id, to_18
from adapters.salesforce.sandbox.answers import NOT_FOUND, Refusal, stamp
from adapters.salesforce.sandbox.delimited import Dialect

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.limits import Meter
    from adapters.salesforce.sandbox.records import Row

DAY_MS: Final = 86_400_000
KEPT_MS: Final = 7 * DAY_MS
"""So long results can be fetched."""

SLICE_ROWS: Final = 5_000
"""Records written in one go: a page costs its bytes, not its values too."""

LISTED: Final = 1_000
"""Jobs on a page of the list of jobs."""

OPEN, CLOSED, RUNNING = "Open", "UploadComplete", "InProgress"
DONE, FAILED, ABORTED = "JobComplete", "Failed", "Aborted"
ENDED: Final = frozenset({DONE, FAILED, ABORTED})
QUERIES, BATCHES, FILES = ALLOWANCES = (
    "DailyBulkV2QueryJobs",
    "DailyBulkApiBatches",
    "DailyBulkV2QueryFileStorageMB",
)
"""What the org has a day's allowance of: query jobs, the batches ingest jobs are cut into, megabytes of results."""

MEGABYTE: Final = 1_000_000
OPEN_MS: Final = DAY_MS
"""So long a job may be open before it is given up."""

FileColumn = tuple[str, Callable[[Sequence["Row"]], Sequence[Any]]]
"""The name of a column of a result, and what writes it for a run of records."""


@dataclass(slots=True)
class Job:
    """One job. It moves on by the clock, and by being looked at: a stopped clock does not stop it.

    polls: How often it was looked at since it was closed. retries: What the vendor says of its own attempts.
    """

    id: str
    operation: str
    sobject: str
    created_by: str
    created_ms: int
    version: str
    dialect: Dialect
    state: str = CLOSED
    closed_ms: int | None = None
    started_ms: int | None = None
    done_ms: int | None = None
    polls: int = 0
    retries: int = 0
    error: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.state in ENDED

    def end(self, state: str, *, now_ms: int, error: str | None = None) -> None:
        """Nothing more happens to it."""
        self.state, self.done_ms, self.error = state, now_ms, error

    def body(self) -> dict[str, Any]:
        """The job as the vendor describes it when it is made or changed."""
        return {
            "id": self.id,
            "operation": self.operation,
            "object": self.sobject,
            "createdById": self.created_by,
            "createdDate": stamp(self.created_ms),
            "systemModstamp": stamp(self.done_ms or self.started_ms or self.closed_ms or self.created_ms),
            "state": self.state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(self.version),
            "lineEnding": self.dialect.line_ending,
            "columnDelimiter": self.dialect.delimiter,
        }

    def took_ms(self) -> int:
        """How long it was worked on."""
        return (self.done_ms or self.started_ms or 0) - (self.started_ms or 0)


@dataclass(slots=True)
class QueryJob(Job):
    """A query. `rows` are the records as they were when it ran; the files are written when they are fetched."""

    query: str = ""
    columns: tuple[FileColumn, ...] = ()
    rows: Sequence[Row] = ()

    def details(self) -> dict[str, Any]:
        """The job as it is described when it is asked for."""
        told = {
            **self.body(),
            "jobType": "V2Query",
            "numberRecordsProcessed": len(self.rows),
            "retries": self.retries,
            "totalProcessingTime": self.took_ms(),
            "isPkChunkingSupported": True,
        }
        return told if self.error is None else {**told, "errorMessage": self.error}

    def listed(self) -> dict[str, Any]:
        """The job on the list of all jobs."""
        return {**self.body(), "jobType": "V2Query"}

    def page(self, start: int, size: int) -> bytes:
        """A file with some of the records; the line with the names comes first in each."""
        parts = [self.dialect.header([name for name, _ in self.columns])]
        end = min(start + size, len(self.rows))
        for place in range(start, end, SLICE_ROWS):
            rows = self.rows[place : min(place + SLICE_ROWS, end)]
            parts.append(self.dialect.rows(zip(*(write(rows) for _, write in self.columns), strict=True)))
        return b"".join(parts)


@dataclass(slots=True)
class IngestJob(Job):
    """Records to be written. The uploaded file is let go of once it is worked off; results stay, packed.

    left: What is still to be worked off, in batches. left_rows: Lines of batches nobody worked off.
    """

    external_id: str | None = None
    assignment_rule: str | None = None
    content: bytes | None = None
    names: list[str] = field(default_factory=list)
    lines: Iterator[list[str]] | None = None
    batches: int = 0
    processed: int = 0
    failed: int = 0
    successes: list[bytes] = field(default_factory=list)
    failures: list[bytes] = field(default_factory=list)
    left: list[bytes] = field(default_factory=list)
    dice: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - a repeatable disorder

    @property
    def content_url(self) -> str:
        """Where its file is to be sent; the vendor writes it without the first slash."""
        return f"services/data/v{self.version}/jobs/ingest/{self.id}/batches"

    def made(self) -> dict[str, Any]:
        """The job as it is described when it is made."""
        told = {**self.body(), "contentUrl": self.content_url}
        told |= {"externalIdFieldName": self.external_id} if self.external_id else {}
        return told | ({"assignmentRuleId": self.assignment_rule} if self.assignment_rule else {})

    def details(self) -> dict[str, Any]:
        """The job as it is described when it is asked for."""
        told = {
            **self.made(),
            "jobType": "V2Ingest",
            "numberRecordsProcessed": self.processed,
            "numberRecordsFailed": self.failed,
            "retries": self.retries,
            "totalProcessingTime": self.took_ms(),
            "apiActiveProcessingTime": self.took_ms(),
            "apexProcessingTime": 0,
        }
        return told if self.error is None else {**told, "errorMessage": self.error}

    def listed(self) -> dict[str, Any]:
        """The job on the list of all jobs."""
        return {**self.made(), "jobType": "V2Ingest"}

    def keep(self, successes: list[Sequence[str]], failures: list[Sequence[str]]) -> None:
        """Note the results of a batch. They come in an order of their own, never in that of the file."""
        for rows, kept in ((successes, self.successes), (failures, self.failures)):
            if rows:
                self.dice.shuffle(rows)
                kept.insert(self.dice.randint(0, len(kept)), self.packed(rows))

    def packed(self, rows: Sequence[Sequence[str]]) -> bytes:
        """Lines of a file, packed: a job's results are kept for a week."""
        return zlib.compress(self.dialect.rows(rows), 1)

    def file(self, parts: Sequence[bytes], *extra: str) -> bytes:
        """A whole file of results, with the columns the vendor puts in front of those of the file that was sent."""
        return self.dialect.header([*extra, *self.names]) + b"".join(map(zlib.decompress, parts))


@dataclass(slots=True)
class JobStore:
    """Every job of the org. The day's allowances are the meter's, which `/limits` tells of."""

    meter: Meter
    jobs: dict[str, QueryJob | IngestJob] = field(default_factory=dict)
    _last: int = 0
    _spent: dict[str, deque[tuple[int, int]]] = field(default_factory=dict)

    def new_id(self) -> str:
        """The id of a job that is about to be made."""
        self._last += 1
        return record_id("Job", self._last)

    def add(self, job: QueryJob | IngestJob) -> None:
        """Take a job in; 400 when the day's query jobs are used up."""
        if isinstance(job, QueryJob):
            self.spend(QUERIES, 1, now_ms=job.created_ms)
        self.jobs[job.id] = job

    def spend(self, name: str, amount: int, *, now_ms: int) -> None:
        """Use up some of an allowance of the last 24 hours, results in bytes; 400 when there is not so much left."""
        self.tell(now_ms)
        if self.meter.enforced and self.meter.spent[name] + amount // _unit(name) > self.meter.maxima[name]:
            raise Refusal("EXCEEDEDQUOTA", f"ExceededQuota : {name} Limit exceeded.")
        self._spent[name].append((now_ms, amount))
        self.tell(now_ms)

    def tell(self, now_ms: int) -> None:
        """Let the meter know what was used in the last 24 hours."""
        for name in ALLOWANCES:
            used = self._spent.setdefault(name, deque())
            while used and used[0][0] <= now_ms - DAY_MS:
                used.popleft()
            self.meter.spent[name] = sum(amount for _, amount in used) // _unit(name)

    def find(self, kind: type[QueryJob | IngestJob], job_id: str) -> QueryJob | IngestJob:
        """A job of this kind; 404 when there is none."""
        try:
            found = self.jobs.get(to_18(job_id))
        except ValueError:
            found = None
        if not isinstance(found, kind):
            raise Refusal("NOT_FOUND", "The requested resource does not exist", status=NOT_FOUND)
        return found

    def waiting(self) -> list[QueryJob | IngestJob]:
        """The jobs that are to be worked on, the oldest first."""
        return [job for job in self.jobs.values() if job.state in {CLOSED, RUNNING}]

    def forget(self, now_ms: int) -> None:
        """Give up what nobody closed for a day, and throw away what is older than a week."""
        for job in self.jobs.values():
            if job.state == OPEN and job.created_ms <= now_ms - OPEN_MS:
                job.end(FAILED, now_ms=now_ms, error="InvalidJobState : The job was open for more than 24 hours")
        for job in [job for job in self.jobs.values() if (job.done_ms or now_ms) <= now_ms - KEPT_MS]:
            del self.jobs[job.id]


def _unit(name: str) -> int:
    """What one of an allowance is in what is counted."""
    return MEGABYTE if name == FILES else 1


def wrong_state(message: str) -> Refusal:
    """What the vendor says when a job is not at a point where this can be done."""
    return Refusal("INVALIDJOBSTATE", f"InvalidJobState : {message}")

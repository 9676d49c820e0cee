"""Writing many rows of one object by a Bulk API 2.0 ingest job: made, filled, closed, waited for, read.

simple-salesforce's own loop aborts the job on any fault and forgets its id, reads results in the wrong character set,
never renews a token and orders columns by chance; only its session is used. What is known of a job here is its id from
the moment it exists, so that a lost answer is looked into and never sent again blindly. A job that is still at work, of
this process or of one that died, is waited for before anything newer is written: it would overwrite that.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from adapters.salesforce.rows import NO_ASSIGNMENT, SILENT, UNTRIED, WRITTEN, Change, NoJobs, Said, Verb
from adapters.salesforce.vendor_errors import SalesforceRejected, plain
from connector.contracts import Clock, Reporter
from connector.errors import OutcomeUnknown, RejectedError, RetriableError, WinbackError
from connector.paging import walk_links
from connector.rest import Effect

if TYPE_CHECKING:
    from adapters.salesforce.client import SalesforceClient

CALLS_PER_JOB: Final = 4
"""Made, filled, closed, asked for once; while it is at work it is asked for again, and refused rows are read."""

OBJECTS: Final = frozenset({"Contact", "Lead", "CampaignMember"})
"""What our jobs write."""

NULL: Final = "#N/A"
"""How a file says that a field is to be emptied: an empty cell leaves it alone."""

CSV: Final = "text/csv"
LARGEST_BYTES: Final = 90_000_000
"""One upload takes 100 MB."""

_AT_WORK: Final = frozenset({"UploadComplete", "InProgress"})
_COMPLETE, _FAILED = "JobComplete", "Failed"
_FIRST_PAUSE_SECONDS: Final = 5.0
_ROWS_PER_SECOND: Final = 1_000
"""About what an org without triggers of its own takes."""
_LONGEST_PAUSE_SECONDS: Final = 60.0
_UPLOADS: Final = 3
_LOOK: Final = "look at Setup → Bulk Data Load Jobs; winback writes again once it has ended"
_UNPROCESSED: Final = "UNPROCESSED"


@dataclass(frozen=True, slots=True)
class Job:
    """What Salesforce says about a job."""

    job_id: str
    state: str
    sobject: str = ""
    created_by: str = ""
    processed: int = 0
    failed: int = 0
    trouble: str = ""

    @classmethod
    def read(cls, body: Any) -> Job:
        """From its JSON; OutcomeUnknown when that is none."""
        if not isinstance(body, dict) or not body.get("id"):
            raise OutcomeUnknown("salesforce Bulk job: accepted, but no job was named")
        return cls(
            job_id=str(body["id"]),
            state=str(body.get("state") or ""),
            sobject=str(body.get("object") or ""),
            created_by=str(body.get("createdById") or ""),
            processed=int(body.get("numberRecordsProcessed") or 0),
            failed=int(body.get("numberRecordsFailed") or 0),
            trouble=plain(str(body.get("errorMessage") or "")),
        )


class BulkIngest:
    """Ingest jobs of one org.

    Args:
        client: Makes the calls.
        clock: For pauses.
        reporter: Is told what is waited for.
        wait: How long to wait for one job.
    """

    def __init__(self, client: SalesforceClient, *, clock: Clock, reporter: Reporter, wait: timedelta) -> None:
        self._client = client
        self._clock = clock
        self._reporter = reporter
        self._wait = wait
        self._looked = False
        self._doubtful: list[str] = []
        """Jobs of ours that were closed, and whose end we have not seen."""
        self._overdue: set[str] = set()

    def settle(self) -> None:
        """Wait for every job of ours that may still be at work; the first time, for those of earlier processes too.

        Raises:
            RetriableError: one is at work for longer than we wait; the next time it is only looked at.
        """
        if not self._looked:
            self._doubtful += [job.job_id for job in self._unfinished()]
            self._looked = True
        while self._doubtful:
            self._outlast(self._doubtful[0])
            self._doubtful.pop(0)

    def write(self, verb: Verb, sobject: str, changes: Sequence[Change]) -> dict[str, Said]:
        """Write rows; what was said about each, by its key.

        Raises:
            OutcomeUnknown: a job was closed, and what became of it cannot be found out now.
            NoJobs: no job is made for us, or it failed before any row.
        """
        self.settle()
        said: dict[str, Said] = {}
        for part, content in _files(verb, changes):
            try:
                said.update(self._run(verb, sobject, part, content))
            except WinbackError as fault:
                if not said:
                    raise
                lost = SILENT if isinstance(fault, OutcomeUnknown) else UNTRIED
                said.update((change.key, replace(lost, message=str(fault))) for change in part)
        return said

    def _run(self, verb: Verb, sobject: str, changes: Sequence[Change], content: bytes) -> dict[str, Said]:
        job = self._filled(verb, sobject, content)
        self._doubtful.append(job.job_id)
        try:
            job = self._close(job.job_id)
            if job.state in _AT_WORK:
                job = self._finished(job.job_id, rows=len(changes))
            self._doubtful.remove(job.job_id)
            return self._results(verb, job, changes)
        except (OutcomeUnknown, NoJobs):
            raise
        except WinbackError as fault:
            # It was closed, or may have been: whatever stopped us says nothing about its rows.
            raise OutcomeUnknown(
                f"salesforce Bulk job {job.job_id}: what became of it cannot be seen: {fault}"
            ) from fault

    # --- the life of a job --------------------------------------------------------------------------------------

    def _filled(self, verb: Verb, sobject: str, content: bytes) -> Job:
        """An open job with its rows in it. Until it is closed nothing is written, so one in doubt is left behind."""
        for tries in range(1, _UPLOADS + 1):
            job = self._create(verb, sobject)
            path = self._client.path(f"/jobs/ingest/{job.job_id}/batches")
            try:
                self._client.call("PUT", path, content=content, effect=Effect.ONCE, headers=NO_ASSIGNMENT)
            except OutcomeUnknown:
                # Whether the file arrived cannot be seen, and a second one is refused.
                self._abort(job.job_id)
                if tries == _UPLOADS:
                    raise
            except RejectedError as refusal:
                self._abort(job.job_id)
                if tries == _UPLOADS:
                    raise NoJobs(f"salesforce Bulk job {job.job_id}: its rows were not taken: {refusal}") from refusal
            except WinbackError:
                self._abort(job.job_id)
                raise
            else:
                return job
        raise AssertionError("the last upload returns or raises")

    def _create(self, verb: Verb, sobject: str) -> Job:
        body = {
            "object": sobject,
            "operation": verb.operation,
            "contentType": "CSV",
            "columnDelimiter": "COMMA",
            "lineEnding": "LF",
            **({"externalIdFieldName": verb.external_id} if verb.external_id else {}),
        }
        path = self._client.path("/jobs/ingest")
        try:
            # An open job that nobody knows of holds no rows and ends by itself: making a second one is harmless.
            answer = self._client.call("POST", path, body=body, effect=Effect.REPEATABLE, headers=NO_ASSIGNMENT).data
        except SalesforceRejected as refusal:
            raise NoJobs(str(refusal), hint=refusal.hint, status=refusal.status) from refusal
        return Job.read(answer)

    def _close(self, job_id: str) -> Job:
        """Let the job begin; where the answer was lost, or a second closing is refused, the job itself tells."""
        body = {"state": "UploadComplete"}
        try:
            return Job.read(self._client.call("PATCH", self._path(job_id), body=body, effect=Effect.REPEATABLE).data)
        except (OutcomeUnknown, RejectedError) as doubt:
            job = self._look(job_id)
            if job.state == "Open":
                if not self._abort(job_id):
                    raise OutcomeUnknown(f"salesforce Bulk job {job_id}: neither closed nor given up") from doubt
                self._doubtful.remove(job_id)
                raise NoJobs(f"salesforce Bulk job {job_id}: it could not be closed, and was given up") from doubt
            return job

    def _finished(self, job_id: str, *, rows: int) -> Job:
        """The job once it has ended; asked for seldom, for each time is a call.

        Raises:
            OutcomeUnknown: it has not ended in the time we wait.
        """
        start = self._clock.monotonic()
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS + rows / _ROWS_PER_SECOND)
        while True:
            self._clock.sleep(pause)
            job = self._look(job_id)
            if job.state not in _AT_WORK:
                return job
            if self._clock.monotonic() - start > self._wait.total_seconds():
                self._overdue.add(job_id)
                raise OutcomeUnknown(f"salesforce Bulk job {job_id}: still {job.state} after {self._wait}", hint=_LOOK)
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)

    def _outlast(self, job_id: str) -> None:
        """Return once a job is through; one that was waited for in vain before is only looked at."""
        try:
            job = self._look(job_id)
            if job.state not in _AT_WORK:
                return
            if job_id not in self._overdue:
                self._reporter.line(f"a Bulk job of ours ({job_id}, {job.sobject}) is still at work; waiting for it")
                self._finished(job_id, rows=0)
                return
        except SalesforceRejected:
            return  # no longer kept, so it has ended
        except OutcomeUnknown as fault:
            raise RetriableError(str(fault), hint=_LOOK) from fault
        raise RetriableError(f"salesforce Bulk job {job_id}: still {job.state}", hint=_LOOK)

    def _look(self, job_id: str) -> Job:
        return Job.read(self._client.read(self._path(job_id)))

    def _abort(self, job_id: str) -> bool:
        """Give a job up; False when nobody knows whether that worked."""
        try:
            self._client.call("PATCH", self._path(job_id), body={"state": "Aborted"}, effect=Effect.REPEATABLE)
        except WinbackError:
            return False
        return True

    def _unfinished(self) -> Iterator[Job]:
        """Jobs that our user has closed and that are still at work.

        Open ones are left alone: another process may be filling one, and one that was left behind does nothing.
        """

        def fetch(link: str) -> tuple[Sequence[Any], str | None]:
            query = {"jobType": "V2Ingest"} if link == start else None
            answer = self._client.read(link, query=query) or {}
            following = None if answer.get("done", True) else answer.get("nextRecordsUrl")
            return answer.get("records") or (), following

        start = self._client.path("/jobs/ingest")
        for page in walk_links(fetch, what="salesforce Bulk jobs", start=start):
            for job in map(Job.read, page.items):
                # Whose token this is costs a call, so it is asked only when it matters.
                at_work = job.state in _AT_WORK and job.sobject in OBJECTS
                if at_work and job.created_by[:15] == self._client.identity().user_id[:15]:
                    yield job

    def _path(self, job_id: str, tail: str = "") -> str:
        return self._client.path(f"/jobs/ingest/{job_id}{tail}")

    # --- its results --------------------------------------------------------------------------------------------

    def _results(self, verb: Verb, job: Job, changes: Sequence[Change]) -> dict[str, Said]:
        """What the job says about each row; the files are read only as far as its counts leave something open."""
        whole = job.state == _COMPLETE and job.processed >= len(changes)
        if whole and not job.failed:
            return {change.key: WRITTEN for change in changes}
        if job.state == _COMPLETE and not job.processed:
            raise OutcomeUnknown(
                f"salesforce Bulk job {job.job_id}: it ended without a row, {len(changes):,} were sent"
            )
        if job.state == _FAILED and not job.processed:
            # Not a row was looked at, so nothing was written; in calls each row gets an answer of its own.
            raise NoJobs(f"salesforce Bulk job {job.job_id}: {job.trouble or job.state}")
        keys = {_mark(verb, change.values): change.key for change in changes}
        said = {
            keys[mark]: read_error(row.get("sf__Error") or "")
            for row in self._rows(job, "failedResults")
            if (mark := _mark(verb, row)) in keys
        }
        if whole and len(said) == job.failed:
            return {change.key: said.get(change.key, WRITTEN) for change in changes}
        done = {keys[mark] for row in self._rows(job, "successfulResults") if (mark := _mark(verb, row)) in keys}
        left = Said(code=_UNPROCESSED, message=job.trouble or f"the Bulk job ended ({job.state}) before this row")
        return {change.key: WRITTEN if change.key in done else said.get(change.key, left) for change in changes}

    def _rows(self, job: Job, name: str) -> list[Mapping[str, str]]:
        # The vendor names no character set, which is UTF-8; values hold line ends of their own.
        content: bytes = self._client.read(self._path(job.job_id, f"/{name}"), accept=CSV) or b""
        return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def read_error(text: str) -> Said:
    """A row's `sf__Error`: code, message and fields in one text (`DUPLICATE_VALUE:Already a campaign member.:--`)."""
    code, _, rest = text.partition(":")
    rest = rest.rstrip()
    if rest.endswith("--"):
        rest = rest[:-2].rstrip().rpartition(":")[0] or rest[:-2].rstrip()
    return Said(code=code.strip() or "REJECTED", message=plain(rest.strip(": "), code=code) or code)


def _mark(verb: Verb, values: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells a row of the results apart: the columns it was sent with."""
    return tuple(str(values.get(name) or "") for name in verb.match)


def _files(verb: Verb, changes: Sequence[Change]) -> Iterator[tuple[Sequence[Change], bytes]]:
    """The rows as files of at most one upload's size, and the rows in each."""
    columns = list(dict.fromkeys(name for change in changes for name in change.values))
    # A delete takes a file with one column and no other.
    names = ["Id"] if verb.operation == "delete" else columns
    header = _line(names)
    part: list[Change] = []
    lines: list[bytes] = [header]
    size = len(header)
    for change in changes:
        line = _line([_cell(change.values, name) for name in names])
        if part and size + len(line) > LARGEST_BYTES:
            yield part, b"".join(lines)
            part, lines, size = [], [header], len(header)
        part.append(change)
        lines.append(line)
        size += len(line)
    if part:
        yield part, b"".join(lines)


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _cell(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return ""
    value = values[name]
    if value is None:
        return NULL
    return ("true" if value else "false") if isinstance(value, bool) else str(value)

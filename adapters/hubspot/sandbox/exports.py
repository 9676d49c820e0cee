"""Export jobs: queued, slow, one at a time, zipped when large, downloadable for five minutes."""

from __future__ import annotations

import csv
import io
import secrets
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.hubspot.sandbox.answers import TOO_MANY_REQUESTS, Refusal, iso, not_found
from adapters.hubspot.sandbox.definitions import Definition
from adapters.hubspot.sandbox.records import Record

DAY_MS = 86_400_000
URL_LIFE_MS = 300_000
MAX_PER_DAY = 30
STATES = {"PENDING": "ENQUEUED", "PROCESSING": "PROCESSING", "COMPLETE": "DONE", "CANCELED": "CANCELED"}

Snapshot = tuple[Sequence[Record], Mapping[str, str]]
"""The records of an export as they were when it ran, and the names of the companies they belong to."""


@dataclass(frozen=True, slots=True)
class Request:
    """What an export was asked for."""

    kind: str
    name: str
    file_format: str
    object_type: str
    properties: tuple[str, ...]
    internal_names: bool
    internal_values: bool
    with_companies: bool


@dataclass(slots=True)
class Job:
    """One export. It runs when the jobs before it are done; `polls` and sandbox time both move it on."""

    id: str
    request: Request
    take: Callable[[], Snapshot]
    created_ms: int
    status: str = "PENDING"
    polls: int = 0
    started_ms: int | None = None
    done_ms: int | None = None
    snapshot: Snapshot | None = None
    content: bytes | None = None
    suffix: str = ""

    @property
    def records(self) -> int | None:
        """How many records it holds, once it ran."""
        return None if self.snapshot is None else len(self.snapshot[0])

    def body(self) -> dict[str, Any]:
        """The details of the export as the vendor writes them."""
        body: dict[str, Any] = {
            "id": self.id,
            "exportType": self.request.kind,
            "exportState": STATES[self.status],
            "exportName": self.request.name,
            "objectType": self.request.object_type,
            "objectProperties": list(self.request.properties),
            "createdAt": iso(self.created_ms),
            "updatedAt": iso(self.done_ms or self.started_ms or self.created_ms),
        }
        return body if self.records is None else body | {"recordCount": self.records}


@dataclass(slots=True)
class ExportStore:
    """Every export job of the account.

    seconds, polls: A job is done after this much sandbox time, or at this many looks at it, whichever comes first.
    zip_above_bytes, rows_per_part: When a file becomes a zip, and when it becomes several.
    """

    seconds: float = 3.0
    polls: int = 3
    zip_above_bytes: int = 2_000_000
    rows_per_part: int = 1_000_000
    jobs: dict[str, Job] = field(default_factory=dict)
    _urls: dict[str, tuple[str, int]] = field(default_factory=dict)
    _next: int = 1

    def create(self, request: Request, take: Callable[[], Snapshot], *, now_ms: int) -> Job:
        """Queue a job; 429 after 30 in 24 hours."""
        recent = sum(job.created_ms > now_ms - DAY_MS for job in self.jobs.values())
        if recent >= MAX_PER_DAY:
            raise Refusal(
                f"The limit of {MAX_PER_DAY} exports within a rolling 24 hour window was exceeded.",
                status=TOO_MANY_REQUESTS,
                category="RATE_LIMITS",
                sub_category="EXPORTS.LIMIT_EXCEEDED",
            )
        job = Job(str(self._next), request, take, now_ms)
        self._next += 1
        self.jobs[job.id] = job
        return job

    def get(self, job_id: str) -> Job:
        """One job; 404 when there is none."""
        try:
            return self.jobs[job_id]
        except KeyError:
            raise not_found(f"Export {job_id} does not exist", context={"id": [job_id]}) from None

    def poll(self, job_id: str, *, now_ms: int) -> Job:
        """Look at a job, which moves it on when its turn has come."""
        job = self.get(job_id)
        self.settle(now_ms)
        if job.started_ms is not None or self._may_start(job):
            job.polls += 1
            self._move(job, now_ms=now_ms)
        return job

    def settle(self, now_ms: int) -> None:
        """Move every job on by the time that has passed, in turn."""
        for job in self.jobs.values():
            if job.done_ms is None and self._may_start(job):
                self._move(job, now_ms=now_ms)

    def sign(self, job: Job, *, now_ms: int) -> str:
        """A new download address (its last part), good for five minutes."""
        token = secrets.token_urlsafe(24)
        self._urls[token] = (job.id, now_ms + URL_LIFE_MS)
        return f"{token}/{job.request.name}{job.suffix}"

    def download(self, token: str, *, now_ms: int) -> Job | None:
        """The job behind a download address; None when it never was one or has expired."""
        job_id, expires_ms = self._urls.get(token, ("", 0))
        return self.jobs.get(job_id) if now_ms < expires_ms else None

    def _may_start(self, job: Job) -> bool:
        earlier = next((other for other in self.jobs.values() if other.done_ms is None), None)
        return earlier is job

    def _move(self, job: Job, *, now_ms: int) -> None:
        ready_ms = job.created_ms + round(self.seconds * 1000)
        if job.started_ms is None and (job.polls > 1 or now_ms > job.created_ms + round(self.seconds * 300)):
            job.started_ms, job.status, job.snapshot = now_ms, "PROCESSING", job.take()
        if job.started_ms is not None and job.done_ms is None and (job.polls >= self.polls or now_ms >= ready_ms):
            job.done_ms, job.status = now_ms, "COMPLETE"

    def render(self, job: Job, definitions: Mapping[str, Definition]) -> None:
        """Write the job's file, once: CSV with a byte order mark, zipped when it is large."""
        if job.content is not None or job.snapshot is None:
            return
        parts = list(self._parts(job, definitions))
        if len(parts) == 1 and len(parts[0]) <= self.zip_above_bytes:
            job.content, job.suffix = parts[0], ".csv"
            return
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for number, part in enumerate(parts, 1):
                name = f"{job.request.name}.csv" if len(parts) == 1 else f"{job.request.name}-{number}.csv"
                archive.writestr(name, part)
        job.content, job.suffix = packed.getvalue(), ".zip"

    def _parts(self, job: Job, definitions: Mapping[str, Definition]) -> Iterable[bytes]:
        assert job.snapshot is not None
        records, companies = job.snapshot
        for start in range(0, max(1, len(records)), self.rows_per_part):
            rows = records[start : start + self.rows_per_part]
            yield csv_bytes(rows, job.request, definitions=definitions, companies=companies)


def request_from(body: Mapping[str, Any], *, object_type: str, known: Mapping[str, Definition]) -> Request:
    """Check an export request; 400 for what the vendor refuses."""
    kind = str(body.get("exportType") or "")
    if kind not in {"VIEW", "LIST"}:
        raise Refusal(f"exportType must be VIEW or LIST, not '{kind}'")
    file_format = str(body.get("format") or "CSV").upper()
    if file_format != "CSV":
        raise Refusal(f"The sandbox exports CSV only, not {file_format}")
    properties = tuple(str(name) for name in body.get("objectProperties") or ())
    if not properties:
        raise Refusal("objectProperties must name at least one property")
    unknown = [name for name in properties if name not in known]
    if unknown:
        raise Refusal(f"These properties do not exist: {', '.join(unknown)}")
    given = body.get("associatedObjectType") or ()
    associated = {str(name).upper() for name in ((given,) if isinstance(given, str) else given)}
    if not associated <= {"COMPANY", "0-2"}:
        raise Refusal(f"The sandbox knows no associated object types but COMPANY, not {', '.join(sorted(associated))}")
    options = {str(option) for option in body.get("exportInternalValuesOptions") or ()}
    return Request(
        kind,
        str(body.get("exportName") or "export"),
        file_format,
        object_type,
        properties,
        internal_names="NAMES" in options,
        internal_values="VALUES" in options,
        with_companies=bool(associated),
    )


def csv_bytes(
    records: Sequence[Record],
    request: Request,
    *,
    definitions: Mapping[str, Definition],
    companies: Mapping[str, str],
) -> bytes:
    """The rows of an export: the record id always comes first, labels instead of names unless asked otherwise."""
    names = ["hs_object_id", *(name for name in request.properties if name != "hs_object_id")]
    header = names if request.internal_names else [definitions[name].label for name in names]
    if request.with_companies:
        header = [*header, "Associated Company IDs", "Associated Company"]
    labels = {} if request.internal_values else _labels(names, definitions)
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for record in records:
        row = [record.value(name) or "" for name in names]
        if labels:
            row = [labels.get(name, {}).get(value, value) for name, value in zip(names, row, strict=True)]
        if request.with_companies:
            company = record.properties.get("associatedcompanyid", "")
            row += [company, companies.get(company, "")]
        writer.writerow(row)
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def _labels(names: Sequence[str], definitions: Mapping[str, Definition]) -> dict[str, dict[str, str]]:
    return {
        name: {option.value: option.label for option in definitions[name].options}
        for name in names
        if definitions[name].options
    }

"""Bulk 2.0: `/jobs/query` and `/jobs/ingest`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from adapters.salesforce.sandbox.answers import CONFLICT, CREATED, NO_CONTENT, OK, Answer, Refusal
from adapters.salesforce.sandbox.api import Call, Rule
from adapters.salesforce.sandbox.bulk_ingest import MOST_BYTES, OPERATIONS
from adapters.salesforce.sandbox.bulk_jobs import (
    ABORTED,
    CLOSED,
    DONE,
    FILES,
    LISTED,
    OPEN,
    IngestJob,
    QueryJob,
    wrong_state,
)
from adapters.salesforce.sandbox.bulk_query import check
from adapters.salesforce.sandbox.delimited import dialect_of

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.bulk import Bulk
    from adapters.salesforce.sandbox.running import SalesforceSandbox

CSV: Final = "text/csv"
"""Without a charset, as the vendor sends it; what is in it is UTF-8."""

LINKS: Final = 5
"""Links to result pages on one page of them."""

NONE_LEFT: Final = "null"
"""The locator when there is no further page: the word, not nothing."""


def rules(sandbox: SalesforceSandbox) -> tuple[Rule, ...]:
    """The operations on jobs."""
    queries, ingests = QueryRoutes(sandbox.bulk), IngestRoutes(sandbox.bulk)
    return (
        Rule("POST", "/jobs/query", queries.create, "bulk jobs", oldest=47.0),
        Rule("GET", "/jobs/query", queries.listing, "bulk jobs", oldest=47.0),
        Rule("GET", "/jobs/query/<job_id>", queries.get, "bulk polls", oldest=47.0),
        Rule("PATCH", "/jobs/query/<job_id>", queries.change, "bulk jobs", oldest=47.0),
        Rule("DELETE", "/jobs/query/<job_id>", queries.delete, "bulk jobs", oldest=47.0),
        Rule("GET", "/jobs/query/<job_id>/results", queries.results, "bulk results", oldest=47.0),
        Rule("GET", "/jobs/query/<job_id>/resultPages", queries.pages, "bulk results", oldest=58.0),
        Rule("POST", "/jobs/ingest", ingests.create, "bulk jobs", oldest=41.0),
        Rule("GET", "/jobs/ingest", ingests.listing, "bulk jobs", oldest=41.0),
        Rule("GET", "/jobs/ingest/<job_id>", ingests.get, "bulk polls", oldest=41.0),
        Rule("PATCH", "/jobs/ingest/<job_id>", ingests.change, "bulk jobs", oldest=41.0),
        Rule("DELETE", "/jobs/ingest/<job_id>", ingests.delete, "bulk jobs", oldest=41.0),
        Rule("PUT", "/jobs/ingest/<job_id>/batches", ingests.upload, "bulk uploads", _taken, oldest=41.0),
        Rule("GET", "/jobs/ingest/<job_id>/successfulResults", ingests.results("successes"), "bulk results"),
        Rule("GET", "/jobs/ingest/<job_id>/failedResults", ingests.results("failures"), "bulk results"),
        *(
            # The reference writes it small; clients that do not are served all the same.
            Rule("GET", f"/jobs/ingest/<job_id>/{name}", ingests.results("left"), "bulk results")
            for name in ("unprocessedrecords", "unprocessedRecords")
        ),
    )


class Routes:
    """What both kinds of jobs have in common."""

    kind: type[QueryJob | IngestJob]
    family: str

    def __init__(self, bulk: Bulk) -> None:
        self._bulk = bulk

    def listing(self, call: Call) -> Answer:
        """Every job of this kind, a thousand at a time."""
        wanted = str(call.args.get("jobType") or "")
        own = "V2Query" if self.kind is QueryJob else "V2Ingest"
        jobs = [job for job in self._bulk.store.jobs.values() if isinstance(job, self.kind) and wanted in {"", own}]
        start = _offset(call.args.get("queryLocator"))
        rest = start + LISTED
        more = rest < len(jobs)
        following = f"{call.data_path}/jobs/{self.family}?queryLocator={_locator(rest)}" if more else None
        return Answer(
            OK,
            {
                "done": not more,
                "records": [job.listed() for job in jobs[start:rest]],
                "nextRecordsUrl": following,
            },
        )

    def get(self, call: Call, job_id: str) -> Answer:
        """How far a job is."""
        job = self._bulk.store.find(self.kind, job_id)
        self._bulk.look(job, now_ms=call.now_ms)
        return Answer(OK, job.details())

    def delete(self, call: Call, job_id: str) -> Answer:  # noqa: ARG002 - every handler is called alike
        """Forget a job and its results; it must not be at work."""
        job = self._bulk.store.find(self.kind, job_id)
        if not job.ended:
            raise wrong_state(f"Job {job.id} is {job.state}; only a finished one can be deleted")
        del self._bulk.store.jobs[job.id]
        return Answer(NO_CONTENT)

    def _state_asked(self, call: Call) -> str:
        given = call.fields.get("state")
        if set(call.fields) != {"state"} or given not in {CLOSED, ABORTED}:
            raise Refusal("INVALIDJOB", f"InvalidJob : a job's state is set to {CLOSED} or {ABORTED}")
        return str(given)


class QueryRoutes(Routes):
    """Operations on query jobs."""

    kind = QueryJob
    family = "query"

    def create(self, call: Call) -> Answer:
        """Take a query in; 400 for one that a job cannot run."""
        body = call.fields
        operation = body.get("operation")
        if operation not in {"query", "queryAll"}:
            raise Refusal("INVALIDOPERATION", f"InvalidOperation : {operation} is none of query and queryAll")
        if body.get("contentType") not in {None, "CSV"}:
            raise Refusal("API_ERROR", "The only content type supported is CSV")
        query = str(body.get("query") or "")
        dialect = dialect_of(body)
        columns, sobject = check(call.state, query)
        job = QueryJob(
            self._bulk.store.new_id(),
            str(operation),
            sobject,
            call.state.user,
            call.now_ms,
            call.version,
            dialect,
            closed_ms=call.now_ms,
            query=query,
            columns=columns,
        )
        self._bulk.store.add(job)
        return Answer(OK, job.body())

    def change(self, call: Call, job_id: str) -> Answer:
        """Abort a job."""
        job = self._bulk.store.find(QueryJob, job_id)
        if self._state_asked(call) != ABORTED:
            raise wrong_state("A query job can be aborted only")
        self._bulk.abort(job, now_ms=call.now_ms)
        return Answer(OK, job.body())

    def results(self, call: Call, job_id: str) -> Answer:
        """A page of the records; a page of another version than the job's is a 409."""
        job = self._complete(call, job_id)
        start, reach = _place(call.args.get("locator"))
        asked = str(call.args.get("maxRecords") or "")
        if asked and not (asked.isdigit() and int(asked) > 0):
            raise Refusal("API_ERROR", f"maxRecords is a number above 0, not {asked}")
        most = min(int(asked or call.state.behaviour.bulk_page_rows), max(1, len(job.rows)))
        # A page that was linked to is as long as was said; any other may be shorter than asked for.
        size = min(most, reach) if reach else call.shorten(most)
        here = max(0, min(size, len(job.rows) - start))
        call.count(here)
        rest = start + size
        headers = {
            "Sforce-Locator": _locator(rest, max(0, reach - size)) if rest < len(job.rows) else NONE_LEFT,
            "Sforce-NumberOfRecords": str(here),
        }
        raw = job.page(start, size)
        self._bulk.store.spend(FILES, len(raw), now_ms=call.now_ms)
        return Answer(OK, raw=raw, headers=headers, content_type=CSV)

    def pages(self, call: Call, job_id: str) -> Answer:
        """Links to pages that can be fetched at once, at most five on one page."""
        job = self._complete(call, job_id)
        size = call.state.behaviour.bulk_page_rows
        start, _ = _place(call.args.get("locator"))
        base = f"{call.data_path}/jobs/query/{job.id}"
        starts = range(start, max(len(job.rows), 1), size)
        links = [{"resultUrl": f"{base}/results?locator={_locator(place, size)}"} for place in starts[:LINKS]]
        told: dict[str, Any] = {"resultPages": links, "done": len(starts) <= LINKS}
        if len(starts) > LINKS:
            told["nextRecordsUrl"] = f"{base}/resultPages?locator={_locator(starts[LINKS])}"
        return Answer(OK, told)

    def _complete(self, call: Call, job_id: str) -> QueryJob:
        job = cast("QueryJob", self._bulk.store.find(QueryJob, job_id))
        if job.version != call.version:
            raise Refusal(
                "API_ERROR",
                f"The results of a job are fetched with the API version it was made with: {job.version}",
                status=CONFLICT,
            )
        if job.state != DONE:
            raise wrong_state(f"Job {job.id} is {job.state}; it has no results yet")
        return job


class IngestRoutes(Routes):
    """Operations on ingest jobs."""

    kind = IngestJob
    family = "ingest"

    def create(self, call: Call) -> Answer:
        """Open a job that a file is then uploaded to."""
        body = call.fields
        operation, state = str(body.get("operation")), call.state
        if operation not in OPERATIONS:
            raise Refusal("INVALIDOPERATION", f"InvalidOperation : {operation} is none of {', '.join(OPERATIONS)}")
        if body.get("contentType") not in {None, "CSV"}:
            raise Refusal("API_ERROR", "The only content type supported is CSV")
        kind = state.kind(str(body.get("object") or ""))
        if kind is None or not state.viewer.may(kind, "read"):
            name = body.get("object")
            raise Refusal("INVALIDENTITY", f"InvalidEntity : Entity '{name}' is not supported by the Bulk API.")
        if operation == "hardDelete":
            raise Refusal(
                "FEATURENOTENABLED",
                "FeatureNotEnabled : hardDelete operation requires special user profile permission, "
                "please contact your system administrator",
            )
        external_id = body.get("externalIdFieldName")
        if operation == "upsert" and not external_id:
            raise Refusal("INVALIDJOB", "InvalidJob : External ID was blank for upsert")
        if operation != "upsert" and external_id:
            raise Refusal("INVALIDJOB", f"InvalidJob : External ID is not allowed for {operation}")
        job = IngestJob(
            self._bulk.store.new_id(),
            operation,
            kind.name,
            state.user,
            call.now_ms,
            call.version,
            dialect_of(body),
            OPEN,
            external_id=str(external_id) if external_id else None,
            assignment_rule=body.get("assignmentRuleId"),
        )
        job.dice.seed(job.id)
        self._bulk.store.add(job)
        return Answer(OK, job.made())

    def upload(self, call: Call, job_id: str) -> Answer:
        """Take the one file of a job."""
        job = cast("IngestJob", self._bulk.store.find(IngestJob, job_id))
        if job.state != OPEN:
            raise wrong_state(f"Job {job.id} is {job.state}; only an open one takes a file")
        if job.content is not None:
            raise Refusal(
                "CLIENTINPUTERROR",
                f"ClientInputError : Found multiple contents for job: <{job.id}>, please 'Close' / 'Abort' / 'Delete' "
                "the current Job then create a new Job and make sure you only do 'PUT' once on a given Job.",
            )
        if not call.headers.get("content-type", "").lower().startswith(CSV):
            raise Refusal("CLIENTINPUTERROR", "ClientInputError : The file is sent as text/csv")
        if len(call.raw) > MOST_BYTES:
            raise Refusal("CLIENTINPUTERROR", f"ClientInputError : A job takes a file of {MOST_BYTES} bytes at most")
        job.content = call.raw
        call.count(call.raw.count(b"\n") - 1)
        return Answer(CREATED)

    def change(self, call: Call, job_id: str) -> Answer:
        """Close a job, so that it is worked on, or abort it."""
        job = cast("IngestJob", self._bulk.store.find(IngestJob, job_id))
        if self._state_asked(call) == ABORTED:
            self._bulk.abort(job, now_ms=call.now_ms)
        else:
            self._bulk.close(job, now_ms=call.now_ms)
        return Answer(OK, job.body())

    def results(self, which: str) -> Callable[..., Answer]:
        """A whole file of results: there are no pages of it."""

        def get(call: Call, job_id: str) -> Answer:
            job = cast("IngestJob", self._bulk.store.find(IngestJob, job_id))
            if not job.ended:
                raise wrong_state(f"Job {job.id} is {job.state}; it has no results yet")
            extra = {"successes": ("sf__Id", "sf__Created"), "failures": ("sf__Id", "sf__Error")}.get(which, ())
            counts: Mapping[str, int] = {"successes": job.processed - job.failed, "failures": job.failed}
            call.count(counts.get(which, 0))
            return Answer(OK, raw=job.file(getattr(job, which), *extra), content_type=CSV)

        return get


def _taken(_: Call) -> Answer:
    return Answer(CREATED)


def _locator(start: int, size: int = 0) -> str:
    """An opaque word for a place in a result."""
    text = f"{start}-{size}" if size else str(start)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(locator: Any) -> tuple[int, int]:
    """Where a locator points to, and how far it reaches (0: not said); 400 for one that is none of ours."""
    if not locator:
        return 0, 0
    try:
        text = base64.urlsafe_b64decode(str(locator) + "=" * (-len(str(locator)) % 4)).decode()
        start, _, size = text.partition("-")
        return int(start), int(size or 0)
    except (binascii.Error, ValueError):
        raise Refusal("INVALID_QUERY_LOCATOR", f"invalid query locator: {locator}") from None


def _offset(locator: Any) -> int:
    return _place(locator)[0]

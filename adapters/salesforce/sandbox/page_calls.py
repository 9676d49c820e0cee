"""The page's part on the API: Bulk jobs, what the org sends, calls used of the day's allowance, faults, requests."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from adapters.salesforce.sandbox.bulk_jobs import IngestJob, QueryJob
from adapters.salesforce.sandbox.page_parts import bars, clock, newest, when, without_addresses

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.running import SalesforceSandbox

JOBS_SHOWN: Final = 25
REQUESTS_SHOWN: Final = 40
DELIVERIES_SHOWN: Final = 15
QUERY_SHOWN: Final = 100
BAD_STATUS: Final = 400
METERS: Final = {
    "DailyApiRequests": "API requests, 24 h",
    "DailyBulkV2QueryJobs": "Bulk query jobs, 24 h",
    "DailyBulkApiBatches": "Bulk ingest batches, 24 h",
}


@dataclass(frozen=True, slots=True)
class Meter:
    """How much of an allowance is used."""

    label: str
    used: int
    limit: int

    @property
    def share(self) -> float:
        """In percent, at most 100."""
        return min(100.0, 100 * self.used / self.limit) if self.limit else 0.0


def calls_view(sandbox: SalesforceSandbox, now_ms: int) -> dict[str, Any]:
    """What the template needs."""
    limits, log = sandbox.meter.body(now_ms=now_ms), sandbox.log
    jobs = list(sandbox.bulk.store.jobs.values())
    return {
        "jobs": [_job(job) for job in newest(jobs, JOBS_SHOWN)],
        "jobs_total": len(jobs),
        "meters": [
            Meter(label, limits[name]["Max"] - limits[name]["Remaining"], limits[name]["Max"])
            for name, label in METERS.items()
        ],
        "enforced": sandbox.meter.enforced,
        "refused": sandbox.meter.refused,
        "kinds": bars(log.by_kind.most_common()),
        "statuses": sorted(log.by_status.items()),
        "requests": [
            entry.body() | {"time": clock(entry.at_ms), "bad": entry.status >= BAD_STATUS or entry.status == 0}
            for entry in newest(log.entries(), REQUESTS_SHOWN)
        ],
        "requests_total": log.total,
        "faults": _struck(sandbox),
        "messages": [message.body() for message in sandbox.outbound.messages.values()],
        "outbound": {name: getattr(sandbox.outbound, name) for name in ("sent", "dropped")}
        | {"waiting": len(sandbox.outbound.waiting)},
        "deliveries": [
            {**one.body(), "time": when(one.at_ms)} for one in newest(sandbox.sending.deliveries, DELIVERIES_SHOWN)
        ],
        "deliveries_total": len(sandbox.sending.deliveries),
    }


def _job(job: QueryJob | IngestJob) -> dict[str, Any]:
    if isinstance(job, QueryJob):
        rows, failed, what = len(job.rows), 0, without_addresses(" ".join(job.query.split()))
    else:
        rows, failed = job.processed, job.failed
        what = f"by {job.external_id}" if job.external_id else ""
    return {
        "id": job.id,
        "at": when(job.created_ms),
        "operation": job.operation,
        "object": job.sobject,
        "state": job.state,
        "rows": rows,
        "failed": failed,
        "what": what if len(what) <= QUERY_SHOWN else f"{what[: QUERY_SHOWN - 1]}…",
        "error": without_addresses(job.error or ""),
        "bad": bool(failed or job.error),
    }


def _struck(sandbox: SalesforceSandbox) -> list[tuple[str, int]]:
    """How often each kind of fault in force has struck."""
    counted: Counter[str] = Counter()
    for fault in sandbox.faults.bodies():
        counted[fault["kind"].replace("_", " ")] += fault["struck"]
    if sandbox.state.locks.refused:
        counted["locked rows"] += sandbox.state.locks.refused
    return sorted(counted.items())

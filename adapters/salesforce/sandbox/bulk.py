"""The engine behind Bulk 2.0: moves jobs on, by the clock and by being looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from adapters.salesforce.sandbox import bulk_ingest
from adapters.salesforce.sandbox.answers import Refusal, RowError
from adapters.salesforce.sandbox.bulk_jobs import (
    ABORTED,
    CLOSED,
    DONE,
    FAILED,
    RUNNING,
    IngestJob,
    Job,
    JobStore,
    QueryJob,
    wrong_state,
)
from adapters.salesforce.sandbox.bulk_query import run

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.limits import Meter
    from adapters.salesforce.sandbox.state import State

STARTS: Final = 0.3
"""The share of its time after which a job is taken into work."""

BATCHES_AT_ONCE: Final = 2
"""Batches worked off in one go, so that a request in between does not wait long."""


class Bulk:
    """Every job of one org, and what moves them on."""

    def __init__(self, state: State, meter: Meter) -> None:
        self._state = state
        self.store = JobStore(meter)
        state.settlers.append(self.settle)
        state.resetters.append(self.reset)

    def reset(self) -> None:
        """Forget every job."""
        self.store = JobStore(self.store.meter)

    def settle(self, now_ms: int) -> None:
        """Move every job on by the time that has passed."""
        for job in self.store.waiting():
            self._move(job, now_ms)
        self.store.forget(now_ms)
        self.store.tell(now_ms)

    def finish(self) -> None:
        """Work off whatever is due by now, to the end."""
        now_ms, before = self._state.clock.now_ms(), -1
        while (done := sum(job.processed for job in self.store.jobs.values() if isinstance(job, IngestJob))) != before:
            before = done
            self.settle(now_ms)

    def look(self, job: Job, *, now_ms: int) -> None:
        """Look at a job, which moves it on."""
        if not job.ended and job.closed_ms is not None:
            job.polls += 1
            self._move(job, now_ms)

    def close(self, job: IngestJob, *, now_ms: int) -> None:
        """No more is to come: the job may be worked on."""
        if job.state != "Open":
            raise wrong_state(f"Job {job.id} is {job.state}, and only an open one can be closed")
        job.state, job.closed_ms = CLOSED, now_ms

    def abort(self, job: Job, *, now_ms: int) -> None:
        """Stop a job; what was written stays written."""
        if job.ended:
            raise wrong_state(f"Job {job.id} is {job.state} and cannot be aborted")
        job.end(ABORTED, now_ms=now_ms)
        if isinstance(job, IngestJob):
            bulk_ingest.abandon(job)

    def _move(self, job: Job, now_ms: int) -> None:
        if job.closed_ms is None or job.ended:
            return
        behaviour = self._state.behaviour
        took, wanted = now_ms - job.closed_ms, behaviour.bulk_seconds * 1_000
        if job.state == CLOSED and (took >= STARTS * wanted or (behaviour.bulk_polls and job.polls > 0)):
            self._start(job, now_ms)
        ready = took >= wanted or (behaviour.bulk_polls and job.polls >= behaviour.bulk_polls)
        if job.state == RUNNING and ready:
            self._work(job, now_ms)

    def _start(self, job: Job, now_ms: int) -> None:
        if isinstance(job, IngestJob):
            bulk_ingest.begin(self._state, job, now_ms=now_ms)
        else:
            job.started_ms, job.state = now_ms, RUNNING

    def _work(self, job: Job, now_ms: int) -> None:
        if isinstance(job, IngestJob):
            bulk_ingest.work(self._state, self.store, job, now_ms=now_ms, batches=BATCHES_AT_ONCE)
        elif isinstance(job, QueryJob):
            try:
                job.rows = run(self._state, job, now_ms=now_ms)
            except (Refusal, RowError) as error:
                job.end(FAILED, now_ms=now_ms, error=f"{error.code}: {error.message}")
            else:
                job.end(DONE, now_ms=now_ms)

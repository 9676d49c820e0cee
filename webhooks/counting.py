"""What `/metrics` tells: verdicts as they fall, and how much waits in the journal when somebody asks.

Labels never carry a person, an address or anything a stranger chose.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from webhooks.service import Service

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library types its newer parts only

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

ACCEPTED, DUPLICATE, IGNORED = "accepted", "duplicate", "ignored"
UNLISTED, NOT_CONFIGURED, BAD_SIGNATURE = "unlisted", "not_configured", "bad_signature"
MALFORMED, TOO_LARGE, BUSY, FAILED = "malformed", "too_large", "busy", "failed"

NOBODY: Final = "unlisted"
"""The source of requests to a source that the playbook does not list: their name is the stranger's to choose."""

_OPT_OUT_BUCKETS: Final = (10, 60, 300, 900, 3_600, 86_400, 172_800)
"""Seconds; 15 minutes is what we promise with the CRM up, 24 hours the alarm, 48 hours the mail providers' limit."""


class Counting:
    """The counters of one process; several processes of one server share them through a folder."""

    def __init__(self) -> None:
        self._own = CollectorRegistry()
        self.requests = Counter(
            "winback_webhook_requests",
            "Requests of vendors by what became of them.",
            ["source", "verdict"],
            registry=self._own,
        )
        self.ignored = Counter(
            "winback_webhook_ignored",
            "Events that were understood and are not wanted.",
            ["source"],
            registry=self._own,
        )

    def count(self, source: str, verdict: str) -> None:
        """One more request of this source with this verdict."""
        self.requests.labels(source, verdict).inc()

    def page(self, service: Service, started_at: datetime) -> bytes:
        """Everything, in Prometheus' text form."""
        registry = CollectorRegistry()
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library types its newer parts only
            counted = generate_latest(registry)
        else:
            counted = generate_latest(self._own)
        waiting = CollectorRegistry()
        waiting.register(_Waiting(service, started_at))
        return counted + generate_latest(waiting)


class _Waiting:
    """What waits in the journal, asked when it is collected."""

    def __init__(self, service: Service, started_at: datetime) -> None:
        self._service = service
        self._started_at = started_at

    def collect(self) -> Iterable[Metric]:
        """The families of the journal."""
        journal, now = self._service.journal, self._service.clock.now()
        yield GaugeMetricFamily("winback_inbox_depth", "Events that wait for the worker.", journal.inbox.depth())
        yield _age("winback_inbox_oldest_seconds", "Age of the oldest of them.", journal.inbox.oldest_waiting(), now)
        yield GaugeMetricFamily("winback_outbox_depth", "Changes that wait for the CRM.", journal.outbox.depth())
        yield _age("winback_outbox_oldest_seconds", "Age of the oldest of them.", journal.outbox.oldest_waiting(), now)
        oldest = journal.outbox.oldest_waiting(urgent=True)
        yield _age("winback_optout_oldest_seconds", "Age of the oldest opt-out the CRM was not told of.", oldest, now)
        yield _histogram(journal.outbox.propagated(self._started_at))
        alive = 1.0 if self._service.worker_alive() else 0.0
        yield GaugeMetricFamily("winback_worker_alive", "Whether something drains the inbox.", alive)


def _age(name: str, help_text: str, since: datetime | None, now: datetime) -> Metric:
    return GaugeMetricFamily(name, help_text, 0.0 if since is None else max(0.0, (now - since).total_seconds()))


def _histogram(seconds: Sequence[float]) -> Metric:
    return HistogramMetricFamily(
        "winback_optout_propagation_seconds",
        "From the word of the person to the CRM's receipt, of opt-outs since this server started.",
        buckets=list(_buckets(seconds)),
        sum_value=sum(seconds),
    )


def _buckets(seconds: Sequence[float]) -> Iterator[tuple[str, float]]:
    for most in _OPT_OUT_BUCKETS:
        yield str(float(most)), float(sum(1 for one in seconds if one <= most))
    yield "+Inf", float(len(seconds))

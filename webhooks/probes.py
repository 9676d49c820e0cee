"""`/healthz`, `/readyz` and `/metrics`: for whoever keeps the process running."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, jsonify

from connector.errors import StateError
from connector.redact import redact
from webhooks.counting import CONTENT_TYPE
from webhooks.service import Service

log = logging.getLogger("webhooks")


def blueprint(service: Service) -> Blueprint:
    """The routes of the probes."""
    probes = Blueprint("probes", __name__)
    started_at = service.clock.now()

    @probes.get("/healthz")
    def healthz() -> Response:
        """The process is alive; it asks nobody."""
        return jsonify({"status": "ok", "version": service.version})

    @probes.get("/readyz")
    def readyz() -> tuple[Response, int]:
        """Whether it makes sense to send us something."""
        found = checks(service)
        ready = all(found.values())
        return jsonify({"status": "ready" if ready else "not ready", "checks": found}), 200 if ready else 503

    @probes.get("/metrics")
    def metrics() -> Response:
        """Counters and depths, in Prometheus' text form."""
        return Response(service.counting.page(service, started_at), content_type=CONTENT_TYPE)

    return probes


def checks(service: Service) -> dict[str, bool]:
    """What has to hold: the journal answers, the inbox has room, somebody drains it."""
    try:
        depth: int | None = service.journal.inbox.depth()
    except StateError as error:
        log.warning("readyz: %s", redact(str(error)))
        depth = None
    return {
        "journal": depth is not None,
        "inbox": depth is not None and depth < service.most_waiting,
        "worker": service.worker_alive(),
    }

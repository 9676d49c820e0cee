"""The web application: the vendor's operations, downloads, the control API and the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from adapters.hubspot.sandbox import (
    account_routes,
    callback_routes,
    control,
    control_outgoing,
    control_workflows,
    engagement_routes,
    flow_routes,
    list_routes,
    object_routes,
    preference_routes,
    property_routes,
)
from adapters.hubspot.sandbox.answers import FORBIDDEN
from adapters.hubspot.sandbox.api import DATED, FAMILIES, Rule
from adapters.hubspot.sandbox.gate import Gate
from adapters.hubspot.sandbox.page import render
from adapters.lookalike.routes import LookalikeApp

if TYPE_CHECKING:
    from adapters.hubspot.sandbox.running import HubSpotSandbox

EXPIRED = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
)


def make_app(sandbox: HubSpotSandbox) -> Flask:
    """Everything the sandbox answers, as one Flask application."""
    app = LookalikeApp("winback-hubspot-sandbox")
    for rule in (
        *engagement_routes.RULES,
        *object_routes.RULES,
        *list_routes.RULES,
        *property_routes.RULES,
        *flow_routes.RULES,
        *callback_routes.RULES,
        *preference_routes.RULES,
        *account_routes.RULES,
        *account_routes.AccountRoutes(sandbox.meter).rules(),
    ):
        _add(app, rule, sandbox.gate)
    control.add_routes(app, sandbox)
    control_workflows.add_routes(app, sandbox)
    control_outgoing.add_routes(app, sandbox)
    app.add_url_rule("/downloads/<token>/<path:name>", "download", _download(sandbox), methods=["GET"])
    app.add_url_rule("/", "page", _page(sandbox), methods=["GET"])
    app.register_error_handler(HTTPException, lambda error: sandbox.gate.unknown(request, error.code or 500))
    return app


def _add(app: Flask, rule: Rule, gate: Gate) -> None:
    """Answer an operation under its legacy and its dated addresses."""
    legacy, dated = FAMILIES[rule.family]
    versions = ",".join(repr(version) for version in DATED)
    prefixes = [legacy] + ([dated.replace("{version}", f"<any({versions}):version>")] if dated else [])

    def view(version: str = "legacy", **params: str) -> Response:
        return gate.serve(rule, request, version=version, params=params)

    for prefix in prefixes:
        address = f"{prefix}{rule.path}"
        app.add_url_rule(address, endpoint=f"{rule.method} {address}", view_func=view, methods=[rule.method])


def _download(sandbox: HubSpotSandbox) -> Callable[..., Any]:
    def download(token: str, name: str) -> Response:
        spoilt = sandbox.gate.spoil(request)
        if spoilt is not None:
            return spoilt
        now_ms = sandbox.state.clock.now_ms()
        job = sandbox.state.exports.download(token, now_ms=now_ms)
        expired = job is None or job.content is None
        sandbox.log.add(
            at_ms=now_ms,
            method="GET",
            path=f"/downloads/(signed)/{name}",
            kind="downloads",
            status=FORBIDDEN if expired else 200,
            milliseconds=0.0,
        )
        if job is None or job.content is None:
            return Response(EXPIRED, status=FORBIDDEN, content_type="application/xml")
        kind = "application/zip" if job.suffix == ".zip" else "text/csv"
        return Response(job.content, content_type=kind)

    return download


def _page(sandbox: HubSpotSandbox) -> Callable[[], Response]:
    def page() -> Response:
        return Response(render(sandbox, request.args), content_type="text/html; charset=utf-8")

    return page

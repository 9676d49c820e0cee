"""The web application: the vendor's operations, the control API and the page.

A module of operations offers `RULES`, or a function `rules(sandbox)` where it needs more than the state; it is named in
`ROUTES`. What is no operation of the vendor's (the control API, the page) offers `add_routes(app, sandbox)` and is
named in `OTHERS`.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from adapters.lookalike.routes import LookalikeApp
from adapters.salesforce.sandbox import (
    auth_routes,
    bulk_routes,
    collection_routes,
    composite_routes,
    control_routes,
    flow_routes,
    object_routes,
    org_routes,
    page,
    query_routes,
    tooling_routes,
)
from adapters.salesforce.sandbox.api import DATA, Rule
from adapters.salesforce.sandbox.gate import Gate

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.running import SalesforceSandbox

ROUTES: tuple[ModuleType, ...] = (
    auth_routes,
    org_routes,
    object_routes,
    query_routes,
    collection_routes,
    composite_routes,
    tooling_routes,
    bulk_routes,
    flow_routes,
)
OTHERS: tuple[ModuleType, ...] = (control_routes, page)


def make_app(sandbox: SalesforceSandbox) -> Flask:
    """Everything the sandbox answers, as one Flask application."""
    app = LookalikeApp("winback-salesforce-sandbox", merge_slashes=False)
    app.extensions["rules"] = {}
    for module in ROUTES:
        for rule in (*getattr(module, "RULES", ()), *(module.rules(sandbox) if hasattr(module, "rules") else ())):
            _add(app, rule, sandbox.gate)
    for module in OTHERS:
        module.add_routes(app, sandbox)
    app.register_error_handler(HTTPException, lambda error: sandbox.gate.unknown(request, error.code or 500))
    return app


def _add(app: Flask, rule: Rule, gate: Gate) -> None:
    def view(version: str = "", **params: str) -> Response:
        return gate.serve(rule, request, version=version, params=params)

    address = f"{DATA}{rule.path}" if rule.versioned else rule.path
    endpoint = f"{rule.method} {address}"
    app.extensions["rules"][endpoint] = rule
    app.add_url_rule(address, endpoint=endpoint, view_func=view, methods=[rule.method])

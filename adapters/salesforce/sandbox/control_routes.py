"""Every knob of the control API under one address: `/_sandbox/<knob>`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from adapters.salesforce.sandbox import control, control_flows, control_outgoing
from adapters.salesforce.sandbox.answers import BAD_REQUEST, NOT_FOUND, OK, Refusal, RowError
from connector.errors import WinbackError

if TYPE_CHECKING:
    from flask import Flask

    from adapters.salesforce.sandbox.running import SalesforceSandbox

METHODS = ("GET", "POST", "DELETE")


def add_routes(app: Flask, sandbox: SalesforceSandbox) -> None:
    """Put the control API into the application. A knob acts as the org's administrator."""
    from flask import Response, request

    parts = (control, control_flows, control_outgoing)
    knobs = {(method, path): knob for part in parts for method, path, knob in part.knobs(sandbox)}

    def view(path: str) -> Response:
        knob = knobs.get((request.method, path.rstrip("/")))
        if knob is None:
            known = sorted({name for _, name in knobs})
            return _response({"error": f"there is no {request.method} of {path}", "known": known}, NOT_FOUND)
        raw, state = request.get_data(), sandbox.state
        try:
            body = json.loads(raw) if raw else request.args.to_dict()
            with state.lock, state.acting(state.admin_user):
                return _response(knob(body), OK)
        except (Refusal, RowError) as refusal:
            return _response({"error": refusal.message}, BAD_REQUEST)
        except (KeyError, TypeError, ValueError, WinbackError) as error:
            return _response({"error": f"{type(error).__name__}: {error}"}, BAD_REQUEST)

    def _response(answer: Any, status: int) -> Response:
        return Response(json.dumps(answer), status=status, content_type="application/json")

    app.add_url_rule("/_sandbox/<path:path>", endpoint="control", view_func=view, methods=METHODS)

"""The web application: the gate, what vendors post, the other routes, and what is answered when something fails.

Nothing here waits for another system, and nothing is worked on in a request: what arrives is verified and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import HTTPException

from connector.receivers import MAX_BODY_BYTES
from webhooks import answers, limits
from webhooks.failing import failure
from webhooks.gate import REQUEST_ID, Gate
from webhooks.receiving import MOUNT, Receiving
from webhooks.service import Service

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def create_app(service: Service, *, blueprints: Sequence[Callable[[Service], Blueprint]] = ()) -> Flask:
    """The application for this service; pages come as blueprints."""
    from webhooks import openapi, probes, triggers

    app = Flask("webhooks", static_folder=None)
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_BODY_BYTES,
        MAX_FORM_PARTS=limits.MAX_FORM_FIELDS,
        PROVIDE_AUTOMATIC_OPTIONS=False,
        PROPAGATE_EXCEPTIONS=False,
    )
    # A path is what was sent: no redirect may stand between a caller and us.
    app.url_map.merge_slashes = False
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _failed)
    for part in (triggers, probes, openapi):
        app.register_blueprint(part.blueprint(service))
    for make in blueprints:
        app.register_blueprint(make(service))
    mounted = _Mounted(Receiving(service), beside=app.wsgi_app)
    gate = Gate(mounted, hosts=service.trusted_hosts(), https=service.https, proxies=service.trusted_proxies)
    app.wsgi_app = gate  # type: ignore[method-assign]  # Flask's own way to be wrapped
    return app


class _Mounted:
    """Everything at and below `/webhooks`, and what is beside it."""

    def __init__(self, receiving: WSGIApplication, *, beside: WSGIApplication) -> None:
        self._receiving = receiving
        self._beside = beside

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        is_ours = str(environ["PATH_INFO"]).lstrip("/").partition("/")[0] == MOUNT[1:]
        return (self._receiving if is_ours else self._beside)(environ, start_response)


def request_id() -> str:
    """What this request is called in the log and in its answer."""
    called: str = request.environ.get(REQUEST_ID, "")
    return called


def problem(status: int, message: str, *, called: str, retry_after: int | None = None) -> Response:
    """A failure as JSON, as `answers.problem` has it."""
    answer = answers.problem(status, message, called=called, retry_after=retry_after)
    return Response(answer.body, answer.status, list(answer.headers), content_type=answer.content_type)


def _failed(error: Exception) -> Response:
    """The last resort, for whatever was raised and caught by nobody."""
    called = request_id()
    status, message, retry_after = failure(error, called=called)
    return problem(status, message, called=called, retry_after=retry_after)


def _http(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return error
    response = problem(error.code, HTTPStatus(error.code).phrase.lower(), called=request_id())
    for name, value in error.get_headers():
        if name in {"Allow", "Retry-After"}:
            response.headers[name] = value
    return response


__all__ = ["create_app", "failure", "problem", "request_id"]

"""What every call passes: faults, length, version, token, the day's limit; then its handler; then the log."""

from __future__ import annotations

import gzip
import itertools
import json
import threading
from collections.abc import Mapping
from time import perf_counter

from flask import Request, Response

from adapters.lookalike.faults import CUTTING, Fault, FaultSet
from adapters.lookalike.request_log import NO_ANSWER, RequestLog
from adapters.lookalike.serving import ConnectionCut
from adapters.salesforce.sandbox.answers import GONE, NOT_FOUND, URI_TOO_LONG, Answer, Refusal, RowError
from adapters.salesforce.sandbox.api import Call, Rule
from adapters.salesforce.sandbox.limits import Meter, limit_refusal
from adapters.salesforce.sandbox.sessions import Sessions
from adapters.salesforce.sandbox.state import State

OLDEST, NEWEST, FIRST_KEPT = 7, 68, 31
"""API versions: the first there was, the newest there is, the first that is not retired (as of Winter '27)."""

MOST_URI_BYTES = 16_384
SHOWN = 300
COMPRESSED_FROM = 1_024
OWN_ERRORS = {
    500: ("UNKNOWN_EXCEPTION", "An unexpected error occurred. Please include this ErrorId if you contact support"),
    503: ("SERVER_UNAVAILABLE", "The server is temporarily unavailable. Please try again later"),
}
PROXY_ERRORS = frozenset({502, 504})
PROXY_PAGE = b"<html><head><title>Error</title></head><body><h1>We are down for maintenance.</h1></body></html>"
TOO_LONG = {URI_TOO_LONG: "URI Too Long", 431: "Request Header Fields Too Large"}


class Gate:
    """Runs calls one at a time against the state; faults and limits come first, as on the vendor's side."""

    def __init__(
        self,
        state: State,
        *,
        sessions: Sessions,
        meter: Meter,
        faults: FaultSet,
        log: RequestLog,
        stopping: threading.Event,
    ) -> None:
        self._state = state
        self._sessions = sessions
        self._meter = meter
        self._faults = faults
        self._log = log
        self._stopping = stopping
        self._writers = itertools.count(1)

    def serve(self, rule: Rule, request: Request, *, version: str, params: Mapping[str, str]) -> Response:
        """Answer one call, or raise ConnectionCut when a fault takes the connection away."""
        raw, started = request.get_data(), perf_counter()
        fault = self._faults.strike(request.method, request.path)
        call = Call(
            self._state,
            self._state.clock.now_ms(),
            version,
            request.args,
            raw,
            {name.lower(): value for name, value in request.headers.items()},
            request.url_root.rstrip("/"),
            self._faults.shorten if fault and fault.kind == "short_page" else _whole,
        )
        status = NO_ANSWER
        try:
            self._cut(fault, "before")
            answer = self._answer(rule, call, request, params, fault)
            self._cut(fault, "after")
            status = answer.status
            return self._response(answer, call, counted=not rule.free)
        finally:
            self._log.add(
                at_ms=call.now_ms,
                method=request.method,
                path=request.full_path.rstrip("?")[:SHOWN],
                kind=rule.kind,
                status=status,
                milliseconds=(perf_counter() - started) * 1000,
                rows=call.rows,
                fault=fault.label() if fault else None,
            )

    def unknown(self, request: Request, status: int) -> Response:
        """Answer a call to an address the sandbox does not have."""
        self._log.add(
            at_ms=self._state.clock.now_ms(),
            method=request.method,
            path=request.path[:SHOWN],
            kind="unknown",
            status=status,
            milliseconds=0.0,
        )
        code, message = "NOT_FOUND", "The requested resource does not exist"
        if status == 405:  # noqa: PLR2004 - the status of HTTP for a known address
            code = "METHOD_NOT_ALLOWED"
            message = f"HTTP Method '{request.method}' not allowed. Allowed are HEAD,GET,POST,PATCH,DELETE"
        return _plain(Refusal(code, message, status=status).answer())

    def _answer(
        self, rule: Rule, call: Call, request: Request, params: Mapping[str, str], fault: Fault | None
    ) -> Answer:
        try:
            long = _too_long(request)
            if long is not None:
                return long
            self._admit(rule, call)
            spoilt = _spoil(fault, "before")
            if spoilt is not None:
                return spoilt
            answer = self._work(rule, call, params, fault)
            spoilt = _spoil(fault, "after")
        except RowError as error:
            return error.refusal().answer()
        except Refusal as refusal:
            return refusal.answer()
        if fault and fault.kind == "slow":
            self._stopping.wait(fault.seconds)
        return spoilt or answer

    def _work(self, rule: Rule, call: Call, params: Mapping[str, str], fault: Fault | None) -> Answer:
        with self._state.lock:
            self._state.settle()
            if fault and fault.kind == "no_op" and rule.no_op:
                return rule.no_op(call)
            self._state.writer = next(self._writers)
            duplicates = call.headers.get("sforce-duplicate-rule-header", "").replace(" ", "").lower()
            self._state.rules.allow_save = "allowsave=true" in duplicates
            with self._state.acting(self._state.integration_user):
                if fault and fault.kind == "duplicate":
                    rule.handler(call, **params)
                    self._state.writer = next(self._writers)
                return rule.handler(call, **params)

    def _admit(self, rule: Rule, call: Call) -> None:
        if call.version:
            check_version(call.version, oldest=rule.oldest)
        if rule.free:
            return
        with self._state.lock:
            self._sessions.check(call.headers.get("authorization", ""))
            self._state.viewer.need("ApiEnabled")
            self._meter.admit(now_ms=call.now_ms)

    def _cut(self, fault: Fault | None, when: str) -> None:
        if fault and fault.kind in CUTTING and fault.when == when:
            if fault.kind == "timeout":
                self._stopping.wait(fault.seconds)
            raise ConnectionCut

    def _response(self, answer: Answer, call: Call, *, counted: bool) -> Response:
        response = _plain(answer)
        if counted:
            response.headers["Sforce-Limit-Info"] = self._meter.header(now_ms=call.now_ms)
        body = response.get_data()
        if len(body) >= COMPRESSED_FROM and "gzip" in call.headers.get("accept-encoding", ""):
            response.set_data(gzip.compress(body, compresslevel=1))
            response.headers["Content-Encoding"] = "gzip"
        return response


def check_version(version: str, *, oldest: float = 0.0) -> None:
    """Refuse an API version that is retired (410), is none, or is older than the resource (404)."""
    number = float(version) if version.replace(".", "", 1).isdigit() else 0.0
    if OLDEST <= number < FIRST_KEPT:
        raise Refusal(
            "UNSUPPORTED_API_VERSION", f"API version v{version} is retired and no longer available.", status=GONE
        )
    if number != int(number) or number > NEWEST or number < max(oldest, FIRST_KEPT):
        raise Refusal("NOT_FOUND", "The requested resource does not exist", status=NOT_FOUND)


def _spoil(fault: Fault | None, when: str) -> Answer | None:
    if fault is None or fault.when != when:
        return None
    if fault.kind == "rate_limit":
        raise limit_refusal(fault.policy)
    if fault.kind != "error":
        return None
    if fault.status in PROXY_ERRORS:
        return Answer(fault.status, raw=PROXY_PAGE, content_type="text/html; charset=UTF-8")
    code, message = OWN_ERRORS.get(fault.status, OWN_ERRORS[500])
    raise Refusal(code, message, status=fault.status)


def _too_long(request: Request) -> Answer | None:
    uri = len(request.path.encode()) + len(request.query_string) + 1
    headers = sum(len(name) + len(value) + 4 for name, value in request.headers.items())
    status = URI_TOO_LONG if uri > MOST_URI_BYTES else 431 if uri + headers > 2 * MOST_URI_BYTES else None
    if status is None:
        return None
    return Answer(status, raw=f"<h1>{status} {TOO_LONG[status]}</h1>".encode(), content_type="text/html")


def _plain(answer: Answer) -> Response:
    if answer.raw is not None:
        return Response(
            answer.raw, status=answer.status, headers=dict(answer.headers), content_type=answer.content_type
        )
    if answer.payload is None:
        response = Response(b"", status=answer.status, headers=dict(answer.headers))
        del response.headers["Content-Type"]
        return response
    body = json.dumps(answer.payload, ensure_ascii=False, separators=(",", ":"))
    return Response(
        body, status=answer.status, headers=dict(answer.headers), content_type="application/json;charset=UTF-8"
    )


def _whole(limit: int) -> int:
    return limit

"""What every call passes: faults, token, limits, scopes; then its handler; then the log."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from flask import Request, Response

from adapters.hubspot.sandbox.answers import FORBIDDEN, UNAUTHORIZED, Answer, Refusal
from adapters.hubspot.sandbox.api import Call, Rule
from adapters.hubspot.sandbox.limits import RateMeter, rate_refusal
from adapters.hubspot.sandbox.news import APP, WINDOW
from adapters.hubspot.sandbox.state import TYPE_NAMES, State
from adapters.lookalike.faults import CUTTING, Fault, FaultSet
from adapters.lookalike.request_log import NO_ANSWER, RequestLog
from adapters.lookalike.serving import ConnectionCut

TOKEN = "sandbox-token"  # noqa: S105 - the one token the sandbox takes, secret to nobody
FAULT_CATEGORIES = {423: "LOCKED", 429: "RATE_LIMITS", 477: "MIGRATION_IN_PROGRESS"}
SERVER_ERRORS = 500


class Gate:
    """Runs calls one at a time against the state; faults and limits come first, as on the vendor's side."""

    def __init__(
        self, state: State, *, meter: RateMeter, faults: FaultSet, log: RequestLog, stopping: threading.Event
    ) -> None:
        self._state = state
        self._meter = meter
        self._faults = faults
        self._log = log
        self._stopping = stopping

    def serve(self, rule: Rule, request: Request, *, version: str, params: Mapping[str, str]) -> Response:
        """Answer one call, or raise ConnectionCut when a fault takes the connection away."""
        raw, started = request.get_data(), perf_counter()
        fault = self._faults.strike(request.method, request.path)
        shorten = self._faults.shorten if fault and fault.kind == "short_page" else _whole
        base_url = request.url_root.rstrip("/")
        call = Call(self._state, self._state.clock.now_ms(), version, request.args, raw, base_url, shorten)
        status = NO_ANSWER
        try:
            self._cut(fault, "before")
            answer = self._answer(rule, call, request, params, fault)
            self._cut(fault, "after")
            status = answer.status
            return _response(answer, self._meter.headers(rule.meter, now_ms=call.now_ms))
        finally:
            self._log.add(
                at_ms=call.now_ms,
                method=request.method,
                path=request.full_path.rstrip("?"),
                kind=rule.kind,
                status=status,
                milliseconds=(perf_counter() - started) * 1000,
                rows=call.rows,
                fault=fault.label() if fault else None,
            )

    def spoil(self, request: Request) -> Response | None:
        """Let a fault happen to a download: None when none does; cuts and error answers as for a call."""
        fault = self._faults.strike(request.method, request.path)
        self._cut(fault, "before")
        self._cut(fault, "after")
        if fault and fault.kind == "slow":
            self._stopping.wait(fault.seconds)
        if fault and fault.kind == "error":
            return Response("<Error/>", status=fault.status, content_type="application/xml")
        return None

    def unknown(self, request: Request, status: int) -> Response:
        """Answer a call to an address the sandbox does not have."""
        self._log.add(
            at_ms=self._state.clock.now_ms(),
            method=request.method,
            path=request.path,
            kind="unknown",
            status=status,
            milliseconds=0.0,
        )
        message = f"The sandbox has no {request.method} {request.path}"
        return _response(Refusal(message, status=status, category="OBJECT_NOT_FOUND").answer(), {})

    def _answer(
        self, rule: Rule, call: Call, request: Request, params: Mapping[str, str], fault: Fault | None
    ) -> Answer:
        try:
            self._admit(rule, call, request, params)
            _fail(fault, "before")
            answer = self._work(rule, call, params, fault)
            _fail(fault, "after")
        except Refusal as refusal:
            return refusal.answer()
        if fault and fault.kind == "slow":
            self._stopping.wait(fault.seconds)
        return answer

    def _work(self, rule: Rule, call: Call, params: Mapping[str, str], fault: Fault | None) -> Answer:
        with self._state.lock:
            self._state.settle()
            if fault and fault.kind == "no_op" and rule.no_op:
                return rule.no_op(call.now_ms)
            news = self._state.news
            news.source = APP
            try:
                if fault and fault.kind == "duplicate":
                    rule.handler(call, **params)
                return rule.handler(call, **params)
            finally:
                news.source = WINDOW

    def _admit(self, rule: Rule, call: Call, request: Request, params: Mapping[str, str]) -> None:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") != TOKEN:
            raise Refusal(
                "Authentication credentials not found or not valid. This API takes the token 'sandbox-token'.",
                status=UNAUTHORIZED,
                category="INVALID_AUTHENTICATION",
            )
        if rule.meter != "free":
            with self._state.lock:
                self._meter.admit(rule.meter, now_ms=call.now_ms)
        missing = [scope for scope in _scopes(rule, params) if scope in self._state.missing_scopes]
        if missing:
            words = "This app hasn't been granted all required scopes to make this call."
            raise Refusal(
                f"{words} Read more about required scopes in the developer documentation.",
                status=FORBIDDEN,
                category="MISSING_SCOPES",
                errors=[{"message": words, "context": {"requiredGranularScopes": missing}}],
            )

    def _cut(self, fault: Fault | None, when: str) -> None:
        if fault and fault.kind in CUTTING and fault.when == when:
            if fault.kind == "timeout":
                self._stopping.wait(fault.seconds)
            raise ConnectionCut


def _fail(fault: Fault | None, when: str) -> None:
    if fault is None or fault.when != when:
        return
    if fault.kind == "rate_limit":
        raise rate_refusal(fault.policy)
    if fault.kind == "error":
        category = FAULT_CATEGORIES.get(fault.status, "INTERNAL_ERROR")
        message = "internal error" if fault.status >= SERVER_ERRORS else "The resource is locked"
        raise Refusal(message, status=fault.status, category=category)


def _scopes(rule: Rule, params: Mapping[str, str]) -> list[str]:
    type_id = TYPE_NAMES.get(params.get("object_type", "contacts").lower(), "0-1")
    plural = "companies" if type_id == TYPE_NAMES["companies"] else "contacts"
    return [scope.format(type=plural) for scope in rule.scopes]


def _response(answer: Answer, headers: Mapping[str, str]) -> Response:
    body: Any = b"" if answer.payload is None else json.dumps(answer.payload, ensure_ascii=False, separators=(",", ":"))
    response = Response(body, status=answer.status, headers={**headers, **answer.headers})
    if answer.payload is None:
        del response.headers["Content-Type"]
    else:
        response.headers["Content-Type"] = "application/json;charset=utf-8"
    return response


def _whole(limit: int) -> int:
    return limit

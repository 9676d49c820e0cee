"""An app lets contacts go on that wait at an action of its."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from adapters.hubspot.sandbox.answers import NO_CONTENT, Answer, Refusal
from adapters.hubspot.sandbox.api import Call, Rule

MAX_INPUTS: Final = 100


def complete(call: Call, callback_id: str) -> Answer:
    """One."""
    _go_on(call, callback_id, call.fields)
    return Answer(NO_CONTENT)


def complete_batch(call: Call) -> Answer:
    """Many; what the vendor does when one of them waits no more is not documented: here all are refused."""
    inputs = call.inputs(MAX_INPUTS)
    for item in inputs:
        call.state.calls.must_wait(str(item.get("callbackId")))
        _outputs(item)
    for item in inputs:
        _go_on(call, str(item.get("callbackId")), item)
    return Answer(NO_CONTENT)


def _go_on(call: Call, callback_id: str, body: Mapping[str, Any]) -> None:
    waiting = call.state.calls.complete(callback_id, _outputs(body))
    call.state.workflows.resume(waiting.flow_id, waiting.enrollment)
    call.state.settle()


def _outputs(body: Mapping[str, Any]) -> Mapping[str, Any]:
    outputs, typed = body.get("outputFields"), body.get("typedOutputs")
    if not isinstance(outputs, dict) or not isinstance(typed, dict):
        raise Refusal("Invalid input JSON: outputFields and typedOutputs must be objects")
    return outputs


SCOPES = ("automation",)
RULES = (
    Rule("POST", "callbacks", "/complete", complete_batch, "callbacks", SCOPES),
    Rule("POST", "callbacks", "/<callback_id>/complete", complete, "callbacks", SCOPES),
)

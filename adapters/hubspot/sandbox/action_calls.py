"""Actions of an app inside a workflow: a call to its address, and a contact that waits there for the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.hubspot.sandbox.answers import Refusal, iso, not_found
from adapters.hubspot.sandbox.records import Record
from adapters.hubspot.sandbox.standing import Enrollment

OWN_TYPE: Final = "1-"
"""What the type of an app's action begins with; its number follows."""

STATE: Final = "hs_execution_state"
EXPIRES: Final = "hs_expiration_duration"
DEFAULT_WAIT_MS: Final = 7 * 86_400_000
GIVEN_UP_MS: Final = 3 * 86_400_000
FIRST_RETRY_MS: Final = 10_000
LONGEST_RETRY_MS: Final = 3_600_000
CALLING, WAITING, DONE, FAILED, EXPIRED = "calling", "waiting", "done", "failed", "expired"
_DURATION = re.compile(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?\Z")
_UNITS_MS = (7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1_000)
_TOO_MANY, _SERVER_ERRORS, _MOST_ERRORS = 429, 500, 400


@dataclass(frozen=True, slots=True)
class Definition:
    """An action that an app offers: its address, and the properties of the contact that go along."""

    id: int
    name: str
    url: str
    properties: tuple[str, ...] = ()

    @property
    def type_id(self) -> str:
        """What an action in a workflow names it by."""
        return f"{OWN_TYPE}{self.id}"


@dataclass(slots=True)
class ActionCall:
    """One contact at one such action. due_ms: When the address is called next, or when the wait is over."""

    callback_id: str
    definition: Definition
    flow_id: str
    enrollment: Enrollment
    action_id: str
    body: Mapping[str, Any]
    begun_ms: int
    due_ms: int
    state: str = CALLING
    attempt: int = 0
    outputs: dict[str, str] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """For the control API and the page."""
        return {
            "callback_id": self.callback_id,
            "action": self.definition.name,
            "contact": self.enrollment.contact_id,
            "state": self.state,
            "attempts": self.attempt,
            "due_at": iso(self.due_ms),
            "outputs": dict(self.outputs),
        }


@dataclass(slots=True)
class ActionCalls:
    """Every action of apps, and every contact that came to one."""

    portal_id: int
    definitions: dict[str, Definition] = field(default_factory=dict)
    calls: dict[str, ActionCall] = field(default_factory=dict)

    def define(self, name: str, url: str, properties: tuple[str, ...]) -> Definition:
        """Make an action, or give the one of this name another address."""
        there = next((held for held in self.definitions.values() if held.name == name), None)
        number = there.id if there is not None else 101 + len(self.definitions)
        made = Definition(number, name, url, properties)
        self.definitions[made.type_id] = made
        return made

    def begin(
        self, flow_id: str, enrollment: Enrollment, action: Mapping[str, Any], record: Record, *, now_ms: int
    ) -> ActionCall:
        """A contact comes to an action."""
        definition = self.definitions.get(str(action.get("actionTypeId")))
        if definition is None:
            raise Refusal(f"There is no action {action.get('actionTypeId')}")
        action_id = str(action["actionId"])
        callback_id = f"ap-{self.portal_id}-{enrollment.number}-{action_id}-0"
        body = {
            "callbackId": callback_id,
            "origin": {
                "portalId": self.portal_id,
                "actionDefinitionId": definition.id,
                "actionDefinitionVersion": 1,
            },
            "context": {"source": "WORKFLOWS", "workflowId": int(flow_id)},
            "object": {
                "objectId": int(record.id),
                "objectType": "CONTACT",
                "properties": {name: record.value(name) or "" for name in definition.properties},
            },
            "inputFields": {str(name): str(value) for name, value in (action.get("fields") or {}).items()},
        }
        call = ActionCall(callback_id, definition, flow_id, enrollment, action_id, body, now_ms, now_ms)
        self.calls[callback_id] = call
        return call

    def due(self, now_ms: int) -> list[ActionCall]:
        """Calls that are to be made now."""
        return [call for call in self.calls.values() if call.state == CALLING and call.due_ms <= now_ms]

    def waiting(self) -> list[ActionCall]:
        """Contacts whose workflow waits for the app."""
        return [call for call in self.calls.values() if call.state in {CALLING, WAITING}]

    def answered(self, call: ActionCall, status: int, answer: Any, *, pause_ms: int | None, now_ms: int) -> bool:
        """What the address said; whether the contact goes on now."""
        call.attempt += 1
        if status == _TOO_MANY or status >= _SERVER_ERRORS or status == 0:
            if now_ms - call.begun_ms >= GIVEN_UP_MS:
                return self._ends(call, FAILED, {})
            call.due_ms = now_ms + (pause_ms or min(FIRST_RETRY_MS * 2 ** (call.attempt - 1), LONGEST_RETRY_MS))
            return False
        fields = answer.get("outputFields") if isinstance(answer, dict) else None
        outputs = {str(name): str(value) for name, value in fields.items()} if isinstance(fields, dict) else {}
        if status >= _MOST_ERRORS or outputs.get(STATE) == "FAIL_CONTINUE":
            return self._ends(call, FAILED, outputs)
        if outputs.get(STATE) in {"BLOCK", "ASYNC"}:
            call.state, call.due_ms = WAITING, now_ms + _span_ms(outputs.get(EXPIRES))
            return False
        return self._ends(call, DONE, outputs)

    def must_wait(self, callback_id: str) -> ActionCall:
        """The contact that waits under this id; 404 when none does."""
        call = self.calls.get(callback_id)
        if call is None or call.state != WAITING or call.enrollment.ended_ms is not None:
            raise not_found(f"There is no waiting execution with the callback {callback_id}")
        return call

    def complete(self, callback_id: str, outputs: Mapping[str, Any]) -> ActionCall:
        """The app lets a contact go on."""
        call = self.must_wait(callback_id)
        self._ends(call, DONE, {str(name): str(value) for name, value in outputs.items()})
        return call

    def expire(self, now_ms: int) -> list[ActionCall]:
        """Contacts that have waited long enough."""
        over = [call for call in self.calls.values() if call.state == WAITING and call.due_ms <= now_ms]
        for call in over:
            self._ends(call, EXPIRED, {})
        return over

    @staticmethod
    def _ends(call: ActionCall, state: str, outputs: Mapping[str, str]) -> bool:
        call.state, call.outputs = state, dict(outputs)
        call.enrollment.outputs[call.action_id] = dict(outputs)
        return True


def _span_ms(text: str | None) -> int:
    """An ISO 8601 duration of weeks down to seconds; the vendor's week when there is none."""
    match = _DURATION.match(text or "")
    if match is None:
        return DEFAULT_WAIT_MS
    return sum(int(part or 0) * unit for part, unit in zip(match.groups(), _UNITS_MS, strict=True)) or DEFAULT_WAIT_MS

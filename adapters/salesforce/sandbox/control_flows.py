"""The control API for flows and mails: make flows, look into them, let people do something with what they got."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adapters.salesforce.sandbox.answers import Refusal
from adapters.salesforce.sandbox.control import Body, Knobs
from adapters.salesforce.sandbox.flow_steps import BOTH, CREATE, UPDATE, Start, condition_of, in_words, steps_of
from adapters.salesforce.sandbox.interviews import Flow
from adapters.salesforce.sandbox.rehearsing import api_name, campaign_named, joining, members_of, person_id

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.running import SalesforceSandbox

SHOWN = 200


class FlowControl:
    """One method a knob, as in `control`."""

    def __init__(self, sandbox: SalesforceSandbox) -> None:
        self._state = sandbox.state
        self._engine = sandbox.flows

    def flows(self, body: Body) -> Any:  # noqa: ARG002 - every knob is given the body
        """Every flow: whether it is active, how many came in, are in, and how the others left."""
        self._state.settle()
        return {"flows": [self._summary(flow) for flow in self._engine.flows.values()]}

    def make(self, body: Body) -> Any:
        """Make a flow, or a new version of one: `{"name", "steps": [{"wait_until": field}, {"mail": title}]}`.

        What starts it: `"campaign"` (joining it; with `"status"` taking that status), or `"object"` with
        `"conditions": [{"field", "operator", "value"}]` and `"when"` (Create, Update, CreateAndUpdate); neither: it is
        autolaunched. `"run_now": true` runs it once for the members the campaign has already.
        """
        campaign = self._campaign(body) if body.get("campaign") else None
        flow = self._engine.save(
            str(body.get("api_name") or api_name(str(body["name"]))),
            steps_of(body.get("steps")),
            start=self._start(body) if campaign is None else joining(campaign, status=body.get("status")),
            label=str(body["name"]),
            active=bool(body.get("active", True)),
            answers=body.get("answers"),
        )
        if campaign is not None and body.get("run_now"):
            self._engine.run_for(flow, members_of(self._state, campaign))
        self._state.settle()
        return self._summary(flow)

    def switch(self, body: Body) -> Any:
        """Activate or deactivate a flow: `{"flow": API name, "active": true}`; `{"delete": true}` deletes it."""
        self._state.settle()
        flow = self._flow(body)
        if body.get("delete"):
            self._engine.remove(flow)
        else:
            self._engine.switch(flow, active=bool(body.get("active", True)))
        return self._summary(flow)

    def interviews(self, body: Body) -> Any:
        """Runs of flows, newest first; of one `flow`, of one `person`, only those going on (`active`)."""
        self._state.settle()
        chosen = [self._flow(body).api_name] if body.get("flow") else list(self._engine.interviews)
        found = [one for name in chosen for one in self._engine.interviews.get(name, ())]
        if body.get("person"):
            wanted = person_id(str(body["person"]))
            found = [one for one in found if wanted in {one.person_id, one.record_id}]
        if body.get("active"):
            found = [one for one in found if not one.over]
        latest = sorted(found, key=lambda one: (one.started_ms, one.number), reverse=True)
        return {"total": len(found), "interviews": [one.body() for one in latest[: int(body.get("limit") or SHOWN)]]}

    def mails(self, body: Body) -> Any:
        """Mails, newest first, sent or not and why; of one `person`, or of one `result` (sent)."""
        self._state.settle()
        room = self._engine.mails
        found = room.of(person_id(str(body["person"]))) if body.get("person") else room.mails
        if body.get("result"):
            found = [mail for mail in found if mail.result == body["result"]]
        latest = found[: -1 - int(body.get("limit") or SHOWN) : -1]
        return {"total": len(found), "mails": [mail.body() for mail in latest]}

    def happen(self, body: Body) -> Any:
        """Let somebody do something: `{"person" or "people", "what": "reply", "mail": number}`."""
        now_ms = self._state.settle()
        people = body.get("people") or [body["person"]]
        number = int(body["mail"]) if body.get("mail") else None
        room = self._engine.mails
        done = [room.happen(person_id(str(one)), str(body["what"]), at_ms=now_ms, mail=number) for one in people]
        self._state.settle()
        return {"done": len(done), "mails": [mail.number for mail in done if mail is not None]}

    def _start(self, body: Body) -> Start | None:
        name = body.get("object")
        if not name:
            return None
        kind, when = self._state.kind(str(name)), str(body.get("when") or BOTH)
        if kind is None:
            raise Refusal("INVALID_TYPE", f"there is no kind of record '{name}'")
        if when not in {BOTH, CREATE, UPDATE}:
            raise Refusal("INVALID_INPUT", f"a flow starts at {CREATE}, {UPDATE} or {BOTH}, not at '{when}'")
        conditions = tuple(map(condition_of, body.get("conditions") or ()))
        unknown = [one.field for one in conditions if kind.find(one.field) is None]
        if unknown:
            raise Refusal("INVALID_FIELD", f"{kind.name} has no field {', '.join(unknown)}")
        return Start(kind.name, when, conditions)

    def _campaign(self, body: Body) -> str:
        found = campaign_named(self._state, str(body["campaign"]))
        if found is None:
            raise Refusal("NOT_FOUND", f"there is no campaign '{body['campaign']}'")
        return found.id

    def _flow(self, body: Body) -> Flow:
        wanted = str(body["flow"])
        flows = self._engine.flows
        found = flows.get(wanted) or next((flow for flow in flows.values() if wanted in {flow.id, flow.label}), None)
        if found is None:
            raise Refusal("NOT_FOUND", f"there is no flow '{wanted}'")
        return found

    def _summary(self, flow: Flow) -> Mapping[str, Any]:
        held = self._engine.interviews.get(flow.api_name, [])
        inside = [one for one in held if not one.over]
        return {
            "id": flow.id,
            "name": flow.label,
            "api_name": flow.api_name,
            "active": flow.active,
            "triggered": flow.triggered,
            "started": len(held),
            "inside": len(inside),
            "at_step": dict(Counter(in_words(one.ahead[0]) if one.ahead else "asking" for one in inside)),
            "ended": dict(Counter(one.ended_as for one in held if one.ended_as)),
        }


def knobs(sandbox: SalesforceSandbox) -> Knobs:
    """The knobs of flows and mails."""
    control = FlowControl(sandbox)
    return (
        ("GET", "flows", control.flows),
        ("POST", "flows", control.make),
        ("POST", "flows/switch", control.switch),
        ("GET", "interviews", control.interviews),
        ("GET", "mails", control.mails),
        ("POST", "people", control.happen),
    )

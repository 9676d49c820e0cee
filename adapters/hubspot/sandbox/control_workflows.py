"""The control API for workflows and mails: make them, look into them, let people do something with what they got."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask import Flask

from adapters.hubspot.sandbox.answers import Refusal
from adapters.hubspot.sandbox.authoring import workflow
from adapters.hubspot.sandbox.control import Body, Knobs, put_knobs
from adapters.hubspot.sandbox.flows import Flow
from adapters.hubspot.sandbox.workflows import BY_HAND

if TYPE_CHECKING:
    from adapters.hubspot.sandbox.running import HubSpotSandbox

SHOWN = 200
SWITCHES = ("again", "leaving_ends_it", "enabled")


class WorkflowControl:
    """One method a knob, as in `control`."""

    def __init__(self, sandbox: HubSpotSandbox) -> None:
        self._state = sandbox.state

    def workflows(self, body: Body) -> Any:  # noqa: ARG002 - every knob is given the body
        """Every workflow: its ids, whether it is on, and how many have come in, are in and left, by reason."""
        self._state.settle()
        return {"workflows": [self._summary(flow) for flow in self._state.workflows.flows]}

    def make(self, body: Body) -> Any:
        """Make a workflow: `{"name", "list", "steps": [{"wait_days": 6}, {"mail": "offer"}], "suppress": [lists]}`.

        `list` and the lists in `suppress` are names or ids; a mail is a title. See `authoring.workflow` for the rest:
        `again`, `leaving_ends_it`, `goal`, `enabled`; `body` adds keys of the flows API as they are.
        """
        now_ms = self._state.settle()
        steps = [self._step(step) for step in body.get("steps") or ()]
        flow = self._state.workflows.flows.create(
            workflow(
                str(body["name"]),
                steps,
                list_id=self._list(body["list"]) if body.get("list") else None,
                suppress=[self._list(wanted) for wanted in body.get("suppress") or ()],
                goal=body.get("goal"),
                **{key: bool(body[key]) for key in SWITCHES if key in body},
                **(body.get("body") or {}),
            ),
            now_ms=now_ms,
        )
        self._state.workflows.saved(flow, was_enabled=False)
        self._state.settle()
        return self._summary(flow)

    def switch(self, body: Body) -> Any:
        """Switch a workflow on or off: `{"workflow": name or id, "enabled": true}`."""
        now_ms, flow = self._state.settle(), self._flow(body)
        was_enabled = flow.enabled
        flow.replace_body({**flow.body, "isEnabled": bool(body.get("enabled", True))}, now_ms=now_ms)
        self._state.workflows.saved(flow, was_enabled=was_enabled)
        self._state.settle()
        return self._summary(flow)

    def by_hand(self, body: Body) -> Any:
        """Put contacts in or take them out, as a person in the window would: `{"workflow", "add", "remove"}`."""
        self._state.settle()
        flow, engine = self._flow(body), self._state.workflows
        added = [i for i in map(str, body.get("add", ())) if engine.enroll(flow, i, by=BY_HAND)]
        removed = [i for i in map(str, body.get("remove", ())) if engine.unenroll(flow, i, why="hand")]
        self._state.settle()
        return {"added": added, "removed": removed, **self._summary(flow)}

    def enrollments(self, body: Body) -> Any:
        """Passages through workflows, newest first; of a `workflow`, of a `contact`, only those going on (`active`)."""
        self._state.settle()
        chosen = [self._flow(body)] if body.get("workflow") else list(self._state.workflows.flows)
        found = [e for flow in chosen for e in self._state.workflows.standing(flow.id).history]
        if body.get("contact"):
            found = [e for e in found if e.contact_id == str(body["contact"])]
        if body.get("active"):
            found = [e for e in found if e.ended_ms is None]
        latest = sorted(found, key=lambda e: e.number, reverse=True)[: int(body.get("limit") or SHOWN)]
        return {"total": len(found), "enrollments": [e.body() for e in latest]}

    def mails(self, body: Body) -> Any:
        """Mails, newest first, sent or not and why; of one `contact`, or of one `result` (SENT)."""
        self._state.settle()
        found = self._state.mails.of(str(body["contact"])) if body.get("contact") else self._state.mails.mails
        if body.get("result"):
            found = [mail for mail in found if mail.result == body["result"]]
        latest = found[: -1 - int(body.get("limit") or SHOWN) : -1]
        return {"total": len(found), "mails": [mail.body() for mail in latest]}

    def happen(self, body: Body) -> Any:
        """Let somebody do something: `{"contact" or "contacts", "what": "click", "mail": number}`."""
        now_ms = self._state.settle()
        contacts = body.get("contacts") or [body["contact"]]
        number = int(body["mail"]) if body.get("mail") else None
        done = [self._state.mails.happen(str(i), str(body["what"]), at_ms=now_ms, mail=number) for i in contacts]
        self._state.settle()
        return {"done": len(done), "mails": [mail.number for mail in done if mail is not None]}

    def _summary(self, flow: Flow) -> dict[str, Any]:
        standing = self._state.workflows.standing(flow.id)
        ended: dict[str, int] = {}
        steps: dict[str, int] = {}
        for enrollment in standing.history:
            if enrollment.ended_as:
                ended[enrollment.ended_as] = ended.get(enrollment.ended_as, 0) + 1
            else:
                steps[str(enrollment.step)] = steps.get(str(enrollment.step), 0) + 1
        return {
            "flow_id": flow.id,
            "workflow_id": flow.workflow_id,
            "name": flow.name,
            "enabled": flow.enabled,
            "enrolled": len(standing.history),
            "waiting": len(standing.waiting),
            "active": len(standing.active),
            "at_step": steps,
            "ended": ended,
        }

    def _flow(self, body: Body) -> Flow:
        wanted = str(body["workflow"])
        flows = self._state.workflows.flows
        found = flows.flows.get(wanted) or flows.by_workflow_id(wanted)
        found = found or next((flow for flow in flows if flow.name == wanted), None)
        if found is None:
            raise Refusal(f"there is no workflow '{wanted}'")
        return found

    def _list(self, wanted: Any) -> str:
        lists = self._state.lists.lists
        named = (li.id for li in lists.values() if li.name.casefold() == str(wanted).casefold())
        found = str(wanted) if str(wanted) in lists else next(named, None)
        if found is None:
            raise Refusal(f"there is no list '{wanted}'")
        return found

    def _step(self, step: Mapping[str, Any]) -> Mapping[str, Any]:
        """A step with names in place of numbers: a mail's title gets a number of its own."""
        if "mail" in step:
            title, names = str(step["mail"]), self._state.mails.names
            known = next((number for number, name in names.items() if name == title), None)
            number = known or str(7_001 + len(names))
            names[number] = title
            return {"mail": number}
        for key in ("add_to", "remove_from"):
            if key in step:
                return {key: self._list(step[key])}
        return step


def add_routes(app: Flask, sandbox: HubSpotSandbox) -> None:
    """Put the knobs into the application."""
    control = WorkflowControl(sandbox)
    table: Knobs = (
        ("GET", "workflows", control.workflows),
        ("POST", "workflows", control.make),
        ("POST", "workflows/switch", control.switch),
        ("POST", "workflows/members", control.by_hand),
        ("GET", "enrollments", control.enrollments),
        ("GET", "mails", control.mails),
        ("POST", "people", control.happen),
    )
    put_knobs(app, sandbox, table)

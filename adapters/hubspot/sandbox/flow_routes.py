"""Workflows by the flows API, and the legacy v2 calls that put one contact in or take it out."""

from __future__ import annotations

from typing import Any

from adapters.hubspot.sandbox.answers import (
    CREATED,
    NO_CONTENT,
    OK,
    Answer,
    Refusal,
    batch,
    not_found,
)
from adapters.hubspot.sandbox.api import Call, Rule
from adapters.hubspot.sandbox.flows import Flow
from adapters.hubspot.sandbox.records import Record
from adapters.hubspot.sandbox.workflows import APP

MAX_PAGE = 100
MAX_BATCH = 100
PRECONDITION_FAILED = 412


def list_flows(call: Call) -> Answer:
    """One page of workflows, oldest first."""
    limit, start = call.shorten(call.number("limit", default=MAX_PAGE, most=MAX_PAGE)), call.cursor()
    held = list(call.state.workflows.flows)
    page = held[start : start + limit]
    following = start + len(page)
    return Answer(
        OK,
        {"results": [flow.listing() for flow in page], **call.paging(following if following < len(held) else None)},
    )


def create(call: Call) -> Answer:
    """Make a workflow; one that is made switched on lets in who meets its trigger at once."""
    flow = call.state.workflows.flows.create(call.fields, now_ms=call.now_ms)
    call.state.workflows.saved(flow, was_enabled=False)
    return Answer(CREATED, flow.answer())


def read(call: Call, flow_id: str) -> Answer:
    """One workflow."""
    return Answer(OK, call.state.workflows.flows.get(flow_id).answer())


def replace(call: Call, flow_id: str) -> Answer:
    """Replace a workflow as a whole."""
    was_enabled = call.state.workflows.flows.get(flow_id).enabled
    flow = call.state.workflows.flows.replace(flow_id, call.fields, now_ms=call.now_ms)
    call.state.workflows.saved(flow, was_enabled=was_enabled)
    return Answer(OK, flow.answer())


def delete(call: Call, flow_id: str) -> Answer:
    """Remove a workflow for good."""
    call.state.workflows.deleted(call.state.workflows.flows.delete(flow_id))
    return Answer(NO_CONTENT)


def read_many(call: Call) -> Answer:
    """Several workflows by id."""
    found, errors = [], []
    for item in call.inputs(MAX_BATCH):
        flow = call.state.workflows.flows.flows.get(str(item.get("flowId")))
        if flow is None:
            errors.append(not_found(f"no flow {item.get('flowId')}", context={"ids": [str(item.get("flowId"))]}))
        else:
            found.append(flow.answer())
    return batch(found, now_ms=call.now_ms, errors=[error.batch_error() for error in errors])


def map_ids(call: Call) -> Answer:
    """The legacy number of a workflow, or the new one of a legacy number."""
    found, errors = [], []
    for item in call.inputs(MAX_BATCH):
        kind = str(item.get("type"))
        asked = str(item.get("flowId" if kind == "FLOW_ID" else "workflowId"))
        flows = call.state.workflows.flows
        flow = flows.flows.get(asked) if kind == "FLOW_ID" else flows.by_workflow_id(asked)
        if flow is None:
            errors.append(not_found(f"no mapping for {kind} {asked}", context={"ids": [asked]}))
        else:
            found.append({"flowId": int(flow.id), "workflowId": int(flow.workflow_id)})
    return batch(found, now_ms=call.now_ms, errors=[error.batch_error() for error in errors])


def campaigns(call: Call) -> Answer:
    """Which mails which workflows send."""
    wanted = call.args.get("flowId")
    results = [
        {"flowId": flow.id, "emailCampaignId": f"9{fields['content_id']}", "emailContentId": str(fields["content_id"])}
        for flow in call.state.workflows.flows
        if wanted in {None, flow.id}
        for action in flow.actions.values()
        if (fields := action.get("fields") or {}).get("content_id")
    ]
    return Answer(OK, {"results": results})


def enroll(call: Call, workflow_id: str, email: str) -> Answer:
    """Put one contact in by address; the answer is the same whether that had an effect or not."""
    flow, record = _both(call, workflow_id, email)
    if not flow.enabled:
        raise Refusal(
            f"Workflow {workflow_id} is not active", status=PRECONDITION_FAILED, category="PRECONDITION_FAILED"
        )
    call.state.workflows.enroll(flow, record.id, by=APP)
    call.state.workflows.run(call.now_ms)
    return Answer(NO_CONTENT)


def unenroll(call: Call, workflow_id: str, email: str) -> Answer:
    """Take one contact out by address."""
    flow, record = _both(call, workflow_id, email)
    was_in = call.state.workflows.unenroll(flow, record.id, why="api")
    call.state.workflows.run(call.now_ms)
    if not was_in and call.state.behaviour.unenroll_stranger != NO_CONTENT:
        raise not_found(f"The contact is not enrolled in workflow {workflow_id}")
    return Answer(NO_CONTENT)


def enrollments_of(call: Call, vid: str) -> Answer:
    """The workflows one contact is in now."""
    record = call.state.contacts.find(vid)
    if record is None:
        raise not_found(f"contact {vid} does not exist")
    inside = [flow for flow in call.state.workflows.flows if record.id in call.state.workflows.standing(flow.id).active]
    return Answer(OK, [_legacy(flow) for flow in inside])


def nothing_done(now_ms: int) -> Answer:  # noqa: ARG001 - every no-op is given the time
    """The same empty answer, and nothing happened."""
    return Answer(NO_CONTENT)


def _legacy(flow: Flow) -> dict[str, Any]:
    return {
        "id": int(flow.workflow_id),
        "name": flow.name,
        "type": "DRIP_DELAY",
        "enabled": flow.enabled,
        "insertedAt": flow.created_ms,
        "updatedAt": flow.updated_ms,
    }


def _both(call: Call, workflow_id: str, email: str) -> tuple[Flow, Record]:
    """The workflow with this legacy number and the contact with this address; the new number is not understood."""
    flow = call.state.workflows.flows.by_workflow_id(workflow_id)
    if flow is None:
        raise not_found(f"resource not found: workflow {workflow_id}")
    record = call.state.contacts.by_email(email)
    if record is None:
        raise not_found("contact does not exist")
    return flow, record


SCOPE = ("automation",)
RULES = (
    Rule("GET", "flows", "/flows", list_flows, "workflow reads", SCOPE),
    Rule("POST", "flows", "/flows", create, "workflow writes", SCOPE, meter="daily"),
    Rule("POST", "flows", "/flows/batch/read", read_many, "workflow reads", SCOPE),
    Rule("GET", "flows", "/flows/email-campaigns", campaigns, "workflow reads", SCOPE),
    Rule("GET", "flows", "/flows/<flow_id>", read, "workflow reads", SCOPE),
    Rule("PUT", "flows", "/flows/<flow_id>", replace, "workflow writes", SCOPE, meter="daily"),
    Rule("DELETE", "flows", "/flows/<flow_id>", delete, "workflow writes", SCOPE),
    Rule("POST", "flows", "/workflow-id-mappings/batch/read", map_ids, "workflow reads", SCOPE),
    Rule("GET", "enrollments", "/enrollments/contacts/<vid>", enrollments_of, "enrollment reads", SCOPE),
    Rule(
        "POST",
        "enrollments",
        "/<workflow_id>/enrollments/contacts/<path:email>",
        enroll,
        "enrollments",
        SCOPE,
        no_op=nothing_done,
    ),
    Rule(
        "DELETE",
        "enrollments",
        "/<workflow_id>/enrollments/contacts/<path:email>",
        unenroll,
        "enrollments",
        SCOPE,
        no_op=nothing_done,
    ),
)

"""`/actions/custom/flow`: the flows that can be run from outside.

Only active autolaunched flows are there. A record-triggered one is not run by call: a query of `FlowDefinitionView`
finds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from adapters.salesforce.ids import to_18
from adapters.salesforce.sandbox.answers import BAD_REQUEST, NOT_FOUND, OK, Answer, Refusal
from adapters.salesforce.sandbox.api import Call, Rule, nothing_done
from adapters.salesforce.sandbox.interviews import FAULTED, Flow

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.flow_engine import FlowEngine
    from adapters.salesforce.sandbox.running import SalesforceSandbox

MOST_INPUTS: Final = 200
ABOUT: Final = ("recordId", "contactId", "leadId", "whoId")
"""Inputs that say who a flow is run for."""

RECORD_INPUT: Final = {
    "byteLength": 0,
    "description": None,
    "label": "recordId",
    "maxOccurs": 1,
    "name": "recordId",
    "picklistValues": None,
    "required": False,
    "sobjectType": None,
    "type": "STRING",
}

OUTPUT: Final = {"description": None, "label": "", "maxOccurs": 1, "name": "", "picklistValues": None, "type": "STRING"}


def rules(sandbox: SalesforceSandbox) -> tuple[Rule, ...]:
    """The operations on flows."""
    routes = FlowRoutes(sandbox.flows)
    return (
        Rule("GET", "/actions", routes.families, "flows"),
        Rule("GET", "/actions/custom", routes.custom, "flows"),
        Rule("GET", "/actions/custom/flow", routes.listing, "flows"),
        Rule("GET", "/actions/custom/flow/<name>", routes.describe, "flows"),
        Rule("POST", "/actions/custom/flow/<name>", routes.run, "flow runs", nothing_done),
    )


class FlowRoutes:
    """Lists, describes and runs flows."""

    def __init__(self, engine: FlowEngine) -> None:
        self._engine = engine

    def families(self, call: Call) -> Answer:
        """Where actions are."""
        return Answer(OK, {name: f"{call.data_path}/actions/{name}" for name in ("standard", "custom")})

    def custom(self, call: Call) -> Answer:
        """Where the org's own actions are."""
        return Answer(OK, {name: f"{call.data_path}/actions/custom/{name}" for name in ("flow", "apex")})

    def listing(self, call: Call) -> Answer:
        """Every flow that can be run."""
        call.state.viewer.need("RunFlow")
        return Answer(OK, {"actions": [_listed(call, flow) for flow in self._engine.flows.values() if _runs(flow)]})

    def describe(self, call: Call, name: str) -> Answer:
        """One flow with what it takes and gives."""
        flow = self._flow(call, name)
        inputs = [RECORD_INPUT, *({**RECORD_INPUT, "name": one, "label": one} for one in ABOUT[1:])]
        outputs = ["Flow__InterviewStatus", *flow.answers]
        return Answer(
            OK,
            {
                **_listed(call, flow),
                "category": None,
                "description": None,
                "standard": False,
                "inputs": inputs,
                "outputs": [{**OUTPUT, "name": one, "label": one} for one in outputs],
                "targetEntityName": None,
            },
        )

    def run(self, call: Call, name: str) -> Answer:
        """Run a flow for each input, in order; 400 as soon as one of them went wrong, with every result."""
        flow = self._flow(call, name)
        inputs = call.fields.get("inputs")
        if not isinstance(inputs, list) or not inputs or len(inputs) > MOST_INPUTS:
            raise Refusal("INVALID_INPUT", f"inputs is a list of 1 to {MOST_INPUTS}")
        call.count(len(inputs))
        results = [self._result(call, flow, given) for given in inputs]
        return Answer(OK if all(result["isSuccess"] for result in results) else BAD_REQUEST, results)

    def _result(self, call: Call, flow: Flow, given: Any) -> dict[str, Any]:
        told = {"actionName": flow.api_name, "errors": None, "isSuccess": True, "outputValues": None, "version": 1}
        if not isinstance(given, Mapping):
            return _failed(told, "INVALID_API_INPUT", "an input is an object")
        record_id = next((str(given[name]) for name in ABOUT if given.get(name)), "")
        try:
            full = to_18(record_id) if record_id else ""
        except ValueError:
            full = ""
        if record_id and call.state.row(full) is None:
            return _failed(told, "INVALID_API_INPUT", f"The input parameter leads to no record: {record_id}")
        interview = self._engine.launch(flow, full, dict(given))
        if interview.ended_as == FAULTED:
            said = f"An unhandled fault has occurred in this flow: {interview.fault}"
            return _failed(told, "UNKNOWN_EXCEPTION", said)
        status = "Finished" if interview.over else "Paused"
        outputs = {"Flow__InterviewStatus": status, "Flow__InterviewGuid": interview.guid, **flow.answers}
        return {**told, "outputValues": outputs}

    def _flow(self, call: Call, name: str) -> Flow:
        call.state.viewer.need("RunFlow")
        flow = self._engine.flows.get(name)
        if flow is None or not _runs(flow):
            raise Refusal("NOT_FOUND", "The requested resource does not exist", status=NOT_FOUND)
        return flow


def _runs(flow: Flow) -> bool:
    return flow.active and not flow.triggered


def _listed(call: Call, flow: Flow) -> dict[str, Any]:
    return {
        "label": flow.label,
        "name": flow.api_name,
        "type": "FLOW",
        "url": f"{call.data_path}/actions/custom/flow/{flow.api_name}",
    }


def _failed(told: dict[str, Any], code: str, message: str) -> dict[str, Any]:
    return {**told, "isSuccess": False, "errors": [{"statusCode": code, "message": message, "fields": []}]}

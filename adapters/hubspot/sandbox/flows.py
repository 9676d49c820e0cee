"""Workflow definitions: made, read, replaced, deleted as the vendor's flows API does; who is in them is elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.hubspot.sandbox.action_calls import OWN_TYPE
from adapters.hubspot.sandbox.answers import CONFLICT, Refusal, iso, not_found
from adapters.hubspot.sandbox.filters import Test, compile_root, filters_of

CONTACTS: Final = "0-1"
FIRST_FLOW_ID: Final = 1_700_000_001
FIRST_WORKFLOW_ID: Final = 60_001
"""Legacy ids: another number for the same workflow, which the v2 calls want."""

DELAY, DELAY_UNTIL = "0-1", "0-35"
SEND_MAIL, SET_PROPERTY, ANOTHER_FLOW, MARKETABLE = "0-4", "0-5", "0-15", "0-31"
ADD_TO_LIST, REMOVE_FROM_LIST = "0-63809083", "0-63863438"
FIELDS: Final[Mapping[str, frozenset[str]]] = {
    DELAY: frozenset({"delta", "time_unit"}),
    DELAY_UNTIL: frozenset({"date", "delta", "time_unit", "time_of_day"}),
    SEND_MAIL: frozenset({"content_id"}),
    SET_PROPERTY: frozenset({"property_name", "value"}),
    "0-3": frozenset({"task_type", "subject", "body", "priority", "associations", "use_explicit_associations"}),
    "0-8": frozenset({"user_ids", "subject", "body", "delivery_method"}),
    "0-9": frozenset({"user_ids", "subject", "body", "delivery_method"}),
    "0-11": frozenset({"user_ids"}),
    "0-14": frozenset({"object_type_id", "properties", "associations"}),
    ANOTHER_FLOW: frozenset({"flow_id"}),
    MARKETABLE: frozenset({"marketable"}),
    ADD_TO_LIST: frozenset({"listId", "targetObject"}),
    REMOVE_FROM_LIST: frozenset({"listId", "targetObject"}),
}
"""Action types the sandbox knows, and the fields each keeps: others are silently dropped, as the vendor does."""
BRANCHES: Final = frozenset({"LIST_BRANCH", "STATIC_BRANCH", "AB_TEST_BRANCH"})
CRITERIA: Final = frozenset({"LIST_BASED", "EVENT_BASED", "MANUAL"})
REQUIRED: Final = (
    "type",
    "isEnabled",
    "actions",
    "timeWindows",
    "blockedDates",
    "customProperties",
    "suppressionListIds",
    "canEnrollFromSalesforce",
)
CREATED_WITH: Final = (*REQUIRED, "objectTypeId", "flowType", "dataSources")
SETTLED: Final = ("objectTypeId", "flowType", "dataSources")
"""What replacing a workflow cannot change."""
KEPT: Final = frozenset(
    {
        *CREATED_WITH,
        "name",
        "description",
        "startActionId",
        "enrollmentCriteria",
        "goalFilterBranch",
        "unEnrollmentSetting",
        "enrollmentSchedule",
        "eventAnchor",
        "uuid",
    }
)


@dataclass(frozen=True, slots=True)
class Trigger:
    """A branch that lets somebody in again, and the properties whose every new value counts ("is known")."""

    holds: Test
    watched: tuple[str, ...] = ()


@dataclass(slots=True)
class Flow:
    """One workflow: its body as the vendor keeps it, and what the engine needs ready-made from it."""

    id: str
    workflow_id: str
    created_ms: int
    updated_ms: int
    revision: int = 0
    body: dict[str, Any] = field(default_factory=dict)
    actions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    trigger: Test | None = None
    goal: Test | None = None
    re_enroll: tuple[Trigger, ...] = ()

    @property
    def name(self) -> str:
        """Its name, or its number where it has none."""
        return str(self.body.get("name") or f"Workflow {self.id}")

    @property
    def enabled(self) -> bool:
        """Whether it is switched on."""
        return bool(self.body.get("isEnabled"))

    @property
    def criteria(self) -> Mapping[str, Any]:
        """How contacts come in."""
        return self.body.get("enrollmentCriteria") or {"type": "MANUAL", "shouldReEnroll": False}

    @property
    def again(self) -> bool:
        """Whether somebody may come in more than once."""
        return bool(self.criteria.get("shouldReEnroll"))

    @property
    def leaving_ends_it(self) -> bool:
        """Whether who no longer meets the trigger is unenrolled."""
        return bool(self.criteria.get("unEnrollObjectsNotMeetingCriteria"))

    @property
    def suppression(self) -> tuple[str, ...]:
        """Lists whose members neither come in nor go on."""
        return tuple(str(list_id) for list_id in self.body.get("suppressionListIds") or ())

    def start(self) -> str | None:
        """The first action; None when there is none."""
        named = self.body.get("startActionId")
        return str(named) if named else next(iter(self.actions), None)

    def replace_body(self, body: Mapping[str, Any], *, now_ms: int) -> None:
        """Take a checked body over; a new revision."""
        actions = [_kept_action(action) for action in body.get("actions") or ()]
        kept = {key: value for key, value in body.items() if key in KEPT} | {"actions": actions}
        criteria = kept.get("enrollmentCriteria") or {"type": "MANUAL", "shouldReEnroll": False}
        trigger, again = _criteria(criteria)
        goal = compile_root(kept["goalFilterBranch"]) if kept.get("goalFilterBranch") else None
        self.actions = _graph(actions, kept.get("startActionId"))
        self.body, self.trigger, self.goal, self.re_enroll = kept, trigger, goal, again
        self.revision, self.updated_ms = self.revision + 1, now_ms

    def answer(self) -> dict[str, Any]:
        """The workflow as the vendor writes it."""
        following = 1 + max((int(action_id) for action_id in self.actions if action_id.isdigit()), default=0)
        return {
            **self.body,
            **self.listing(),
            "crmObjectCreationStatus": "COMPLETE",
            "nextAvailableActionId": str(following),
        }

    def listing(self) -> dict[str, Any]:
        """The workflow in a page of many."""
        shown = {
            "id": self.id,
            "isEnabled": self.enabled,
            "flowType": self.body["flowType"],
            "objectTypeId": self.body["objectTypeId"],
            "revisionId": str(self.revision),
            "createdAt": iso(self.created_ms),
            "updatedAt": iso(self.updated_ms),
        }
        return shown | ({"name": self.body["name"]} if self.body.get("name") else {})


class FlowStore:
    """Every workflow of the account."""

    def __init__(self) -> None:
        self.flows: dict[str, Flow] = {}
        self._made = 0

    def __iter__(self) -> Iterator[Flow]:
        return iter(self.flows.values())

    def get(self, flow_id: str) -> Flow:
        """One workflow; 404 when there is none."""
        try:
            return self.flows[flow_id]
        except KeyError:
            raise not_found(f"Flow does not exist with ID {flow_id}.", context={"flowId": [flow_id]}) from None

    def by_workflow_id(self, workflow_id: str) -> Flow | None:
        """The workflow with this legacy id."""
        return next((flow for flow in self if flow.workflow_id == workflow_id), None)

    def create(self, body: Mapping[str, Any], *, now_ms: int) -> Flow:
        """Make a workflow."""
        _check_shape(body, CREATED_WITH)
        if (body["type"] == "CONTACT_FLOW") is not (body["objectTypeId"] == CONTACTS):
            # Theirs is as misleading.
            raise Refusal("Invalid input JSON: could not resolve subtype of ApiFlowCreateRequest")
        if body["type"] != "CONTACT_FLOW":
            raise Refusal("The sandbox has contact workflows only")
        flow = Flow(str(FIRST_FLOW_ID + self._made), str(FIRST_WORKFLOW_ID + self._made), now_ms, now_ms)
        flow.replace_body(body, now_ms=now_ms)
        self._made += 1
        self.flows[flow.id] = flow
        return flow

    def replace(self, flow_id: str, body: Mapping[str, Any], *, now_ms: int) -> Flow:
        """Replace a workflow as a whole; 409 when the revision is not the newest."""
        flow = self.get(flow_id)
        _check_shape(body, (*REQUIRED, "revisionId"))
        if str(body["revisionId"]) != str(flow.revision):
            raise Refusal(
                f"Flow {flow_id} is at revision {flow.revision}, not {body['revisionId']}",
                status=CONFLICT,
                category="CONFLICT",
                context={"revisionId": [str(flow.revision)]},
            )
        settled: dict[str, Any] = {key: flow.body[key] for key in SETTLED if key in flow.body}
        flow.replace_body({**body, **settled}, now_ms=now_ms)
        return flow

    def delete(self, flow_id: str) -> Flow:
        """Remove a workflow for good."""
        flow = self.get(flow_id)
        del self.flows[flow_id]
        return flow


def _check_shape(body: Mapping[str, Any], required: tuple[str, ...]) -> None:
    absent = [key for key in required if key not in body]
    if absent:
        raise Refusal(f"Invalid input JSON: Some required fields were not set: {absent}")


def _criteria(criteria: Mapping[str, Any]) -> tuple[Test | None, tuple[Trigger, ...]]:
    """The trigger, and the branches that let somebody in again."""
    kind = criteria.get("type")
    if kind not in CRITERIA:
        raise Refusal(f"Unknown enrollment criteria {kind}")
    if kind != "LIST_BASED":
        return None, ()
    if not isinstance(criteria.get("shouldReEnroll"), bool) or "unEnrollObjectsNotMeetingCriteria" not in criteria:
        raise Refusal("LIST_BASED criteria need shouldReEnroll and unEnrollObjectsNotMeetingCriteria")
    again = tuple(
        Trigger(compile_root(branch), tuple(_known_properties(branch)))
        for branch in criteria.get("reEnrollmentTriggersFilterBranches") or ()
    )
    return compile_root(criteria.get("listFilterBranch")), again


def _known_properties(branch: Mapping[str, Any]) -> Iterator[str]:
    for given in filters_of(branch):
        if (given.get("operation") or {}).get("operator") == "IS_KNOWN":
            yield str(given["property"])


def _kept_action(action: Mapping[str, Any]) -> dict[str, Any]:
    """An action without the fields its type does not have."""
    kind = action.get("type")
    if kind in BRANCHES or kind in {"WEBHOOK", "CUSTOM_CODE"}:
        return dict(action)
    if kind != "SINGLE_CONNECTION":
        raise Refusal(f"Unknown action type {kind}")
    if str(action.get("actionTypeId")).startswith(OWN_TYPE):
        return dict(action)
    known = FIELDS.get(str(action.get("actionTypeId")))
    if known is None:
        raise Refusal(f"Unknown actionTypeId {action.get('actionTypeId')}")
    fields = {key: value for key, value in (action.get("fields") or {}).items() if key in known}
    return {**action, "fields": fields}


def _graph(actions: list[dict[str, Any]], start: Any) -> dict[str, Mapping[str, Any]]:
    """Actions by id; 400 when an id appears twice or a connection leads nowhere."""
    found: dict[str, Mapping[str, Any]] = {}
    for action in actions:
        action_id = str(action.get("actionId") or "")
        if not action_id or action_id in found:
            raise Refusal(f"Action ids must be there and unique: '{action_id}'")
        found[action_id] = action
    wanted = {str(start)} if start else set()
    for action in actions:
        wanted |= set(connections(action))
    lost = sorted(wanted - set(found))
    if lost:
        raise Refusal(f"There are no actions with the ids {lost}")
    return found


def connections(action: Mapping[str, Any]) -> Iterator[str]:
    """The actions an action leads to."""
    legs = [action.get("connection"), action.get("defaultBranch")]
    for key in ("listBranches", "staticBranches", "testBranches"):
        legs += [branch.get("connection") for branch in action.get(key) or ()]
    yield from (str(leg["nextActionId"]) for leg in legs if leg)

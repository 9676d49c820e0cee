"""Workflows in short: what a person would click together, as the body the flows API takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.hubspot.sandbox import flows
from adapters.hubspot.sandbox.answers import Refusal
from adapters.hubspot.sandbox.filters import in_list, root

MINUTES: Final = {"wait_days": 1440, "wait_hours": 60, "wait_minutes": 1}
STEPS: Final = (*MINUTES, "wait_until", "mail", "set", "add_to", "remove_from", "enroll_in", "ask")


def workflow(
    name: str,
    steps: Sequence[Mapping[str, Any]],
    *,
    list_id: str | None = None,
    again: bool = True,
    leaving_ends_it: bool = True,
    suppress: Sequence[str] = (),
    goal: Mapping[str, Any] | None = None,
    enabled: bool = True,
    **more: Any,
) -> dict[str, Any]:
    """A contact workflow whose steps follow each other.

    Args:
        name: What it is called.
        steps: One key each: wait_days, wait_hours, wait_minutes (a number), wait_until (a date property), mail (a
            content id), set (`{"name", "value"}`), add_to, remove_from (a list id), enroll_in (a workflow id), ask
            (`{"action": type id, "inputs"}`: an app's action; `branch` on an output is put in by hand).
        list_id: The list whose members come in; without one only apps and people put somebody in.
        again: Who left the list and joined it again comes in again.
        leaving_ends_it: Who leaves the list leaves the workflow.
        suppress: Lists whose members neither come in nor go on.
        goal: A root filter branch; who meets it leaves.
        enabled: Whether it is switched on.
        more: Further keys of the body, as the API has them.
    """
    criteria: dict[str, Any] = {"type": "MANUAL", "shouldReEnroll": again}
    if list_id is not None:
        branch = in_list(list_id)
        criteria = {
            "type": "LIST_BASED",
            "shouldReEnroll": again,
            "unEnrollObjectsNotMeetingCriteria": leaving_ends_it,
            "listFilterBranch": branch,
            "reEnrollmentTriggersFilterBranches": [branch] if again else [],
        }
    body: dict[str, Any] = {
        "type": "CONTACT_FLOW",
        "objectTypeId": flows.CONTACTS,
        "flowType": "WORKFLOW",
        "isEnabled": enabled,
        "name": name,
        "timeWindows": [],
        "blockedDates": [],
        "customProperties": {},
        "dataSources": [],
        "suppressionListIds": [int(suppressing) for suppressing in suppress],
        "canEnrollFromSalesforce": False,
        "enrollmentCriteria": criteria,
        "actions": [_action(number, step, last=number == len(steps)) for number, step in enumerate(steps, 1)],
    }
    if steps:
        body["startActionId"] = "1"
    if goal is not None:
        body["goalFilterBranch"] = goal
    return body | more


def property_is(name: str, *values: str) -> dict[str, Any]:
    """The root branch for a choice property having one of some values."""
    operation = {
        "operationType": "ENUMERATION",
        "operator": "IS_ANY_OF",
        "values": list(values),
        "includeObjectsWithNoValueSet": False,
    }
    return root({"filterType": "PROPERTY", "property": name, "operation": operation})


def property_is_known(name: str) -> dict[str, Any]:
    """The root branch for a property having any value; as a re-enrollment trigger every new value counts."""
    operation = {"operationType": "ALL_PROPERTY", "operator": "IS_KNOWN", "includeObjectsWithNoValueSet": False}
    return root({"filterType": "PROPERTY", "property": name, "operation": operation})


def _action(number: int, step: Mapping[str, Any], *, last: bool) -> dict[str, Any]:
    kind, value = next(iter(step.items()), ("", None))
    type_id, version, fields = _fields(kind, value)
    action: dict[str, Any] = {
        "type": "SINGLE_CONNECTION",
        "actionId": str(number),
        "actionTypeId": type_id,
        "actionTypeVersion": version,
        "fields": fields,
    }
    return action if last else action | {"connection": {"edgeType": "STANDARD", "nextActionId": str(number + 1)}}


def _fields(kind: str, value: Any) -> tuple[str, int, dict[str, Any]]:  # noqa: PLR0911  # one way out for each step
    """The type, version and fields of one step."""
    if kind in MINUTES:
        return flows.DELAY, 0, {"delta": f"{float(value) * MINUTES[kind]:g}", "time_unit": "MINUTES"}
    if kind == "ask":
        return str(value["action"]), 1, dict(value.get("inputs") or {})
    if kind in {"add_to", "remove_from"}:
        type_id = flows.ADD_TO_LIST if kind == "add_to" else flows.REMOVE_FROM_LIST
        return type_id, 5, {"listId": str(value), "targetObject": "{{ enrolled_object }}"}
    match kind:
        case "wait_until":
            date = {"type": "OBJECT_PROPERTY", "propertyName": str(value)}
            return flows.DELAY_UNTIL, 0, {"date": date, "delta": "0", "time_unit": "DAYS"}
        case "mail":
            return flows.SEND_MAIL, 0, {"content_id": str(value)}
        case "set":
            wanted = {"type": "STATIC_VALUE", "staticValue": str(value["value"])}
            return flows.SET_PROPERTY, 0, {"property_name": str(value["name"]), "value": wanted}
        case "enroll_in":
            return flows.ANOTHER_FLOW, 0, {"flow_id": str(value)}
        case _:
            raise Refusal(f"a workflow's steps are {', '.join(STEPS)}; '{kind}' is none of them")

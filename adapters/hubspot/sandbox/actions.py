"""What the actions of a workflow do: wait, send, write, move between lists, choose a way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from adapters.hubspot.sandbox import flows
from adapters.hubspot.sandbox.action_calls import OWN_TYPE
from adapters.hubspot.sandbox.answers import parse_time
from adapters.hubspot.sandbox.filters import Lookup, compile_root
from adapters.hubspot.sandbox.standing import Enrollment

if TYPE_CHECKING:
    from adapters.hubspot.sandbox.state import State

MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000


class Actions:
    """Does actions for one contact at a time; `enroll` puts a contact into another workflow."""

    def __init__(self, state: State, *, enroll: Callable[[str, str], None]) -> None:
        self._state = state
        self._enroll = enroll

    def delay_until(self, action: Mapping[str, Any], contact_id: str, *, now_ms: int) -> int | None:
        """When a delay is over; None when the action is none. A date that has passed, or is not set, waits no time."""
        kind, fields = action.get("actionTypeId"), action.get("fields") or {}
        if kind == flows.DELAY:
            # Minutes whatever the unit says: the editor misreads DAYS in just this way.
            return now_ms + int(float(fields.get("delta") or 0) * MINUTE_MS)
        if kind == flows.DELAY_UNTIL:
            return max(now_ms, self._date(fields, contact_id) or now_ms)
        return None

    def do(self, flow: flows.Flow, action: Mapping[str, Any], enrollment: Enrollment) -> str:
        """Do one action that does not wait; what it did, in words."""
        state, contact_id = self._state, enrollment.contact_id
        fields = action.get("fields") or {}
        now_ms = state.workflows.now_ms()
        match action.get("actionTypeId"):
            case flows.SEND_MAIL:
                mail = state.mails.send(
                    contact_id,
                    str(fields.get("content_id")),
                    flow_id=flow.id,
                    action_id=str(action["actionId"]),
                    at_ms=now_ms,
                )
                return f"mail {mail.name}: {mail.result}"
            case flows.SET_PROPERTY:
                return self._set(contact_id, str(fields.get("property_name")), fields.get("value") or {}, now_ms=now_ms)
            case flows.MARKETABLE:
                return self._set(contact_id, "hs_marketable_status", {"staticValue": "true"}, now_ms=now_ms)
            case flows.ADD_TO_LIST | flows.REMOVE_FROM_LIST as kind:
                return self._move(contact_id, str(fields.get("listId")), adds=kind == flows.ADD_TO_LIST, now_ms=now_ms)
            case flows.ANOTHER_FLOW:
                self._enroll(str(fields.get("flow_id")), contact_id)
                return f"on to workflow {fields.get('flow_id')}"
            case _:
                return str(action.get("type", "")).replace("_", " ").lower()

    def following(self, action: Mapping[str, Any], enrollment: Enrollment, lookup: Lookup) -> str | None:
        """The action that comes next for this contact; None at the end."""
        leg: Mapping[str, Any] | None
        match action.get("type"):
            case "LIST_BRANCH":
                leg = self._by_filter(action, enrollment.contact_id, lookup)
            case "STATIC_BRANCH":
                leg = self._by_value(action, enrollment)
            case "AB_TEST_BRANCH":
                leg = _by_chance(action, enrollment)
            case _:
                leg = action.get("connection")
        return str(leg["nextActionId"]) if leg else None

    def _by_filter(self, action: Mapping[str, Any], contact_id: str, lookup: Lookup) -> Mapping[str, Any] | None:
        record = self._state.contacts.live[contact_id]
        for branch in action.get("listBranches") or ():
            if compile_root(branch["filterBranch"])(record, lookup):
                chosen: Mapping[str, Any] | None = branch.get("connection")
                return chosen
        return action.get("defaultBranch")

    def _by_value(self, action: Mapping[str, Any], enrollment: Enrollment) -> Mapping[str, Any] | None:
        asked = action.get("inputValue") or {}
        if asked.get("type") == "FIELD_DATA":
            value = enrollment.outputs.get(str(asked.get("actionId")), {}).get(str(asked.get("dataKey")))
        else:
            value = self._state.contacts.live[enrollment.contact_id].value(str(asked.get("propertyName")))
        for branch in action.get("staticBranches") or ():
            if str(branch.get("branchValue")) == value:
                chosen: Mapping[str, Any] | None = branch.get("connection")
                return chosen
        return action.get("defaultBranch")

    def _set(self, contact_id: str, name: str, value: Mapping[str, Any], *, now_ms: int) -> str:
        record = self._state.contacts.live[contact_id]
        text = str(value.get("staticValue") or "")
        properties = {**record.properties, name: text}
        if not text:
            properties.pop(name)
        self._state.contacts.put(
            replace(record, properties=properties, updated_ms=max(now_ms, record.updated_ms)), now_ms=now_ms
        )
        return f"set {name}"

    def _move(self, contact_id: str, list_id: str, *, adds: bool, now_ms: int) -> str:
        held = self._state.lists.lists.get(list_id)
        if held is None or held.processing_type == "DYNAMIC":
            return f"list {list_id} cannot be changed"
        add, remove = ([contact_id], []) if adds else ([], [contact_id])
        self._state.lists.change(held, add=add, remove=remove, now_ms=now_ms)
        return f"{'onto' if adds else 'off'} the list {held.name}"

    def _date(self, fields: Mapping[str, Any], contact_id: str) -> int | None:
        given = fields.get("date") or {}
        if given.get("type") == "OBJECT_PROPERTY":
            text = self._state.contacts.live[contact_id].value(str(given.get("propertyName")))
        else:
            text = str(given.get("staticValue") or "")
        at_ms = parse_time(text or "")
        if at_ms is None:
            return None
        at_ms += int(float(fields.get("delta") or 0) * DAY_MS)
        at = fields.get("time_of_day")
        if at:
            moment = datetime.fromtimestamp(at_ms / 1000, self._state.zone())
            hour, minute = int(at["hour"]), int(at["minute"])
            at_ms = round(moment.replace(hour=hour, minute=minute, second=0, microsecond=0).timestamp() * 1000)
        return at_ms


def _by_chance(action: Mapping[str, Any], enrollment: Enrollment) -> Mapping[str, Any] | None:
    """A random split that is the same for the same contact each time it is asked."""
    text = f"{action.get('actionId')}/{enrollment.contact_id}/{enrollment.number}".encode()
    draw = int.from_bytes(hashlib.sha256(text).digest()[:4]) / 2**32 * 100
    for branch in action.get("testBranches") or ():
        draw -= float(branch.get("percentage") or 0)
        if draw < 0:
            chosen: Mapping[str, Any] | None = branch.get("connection")
            return chosen
    return None


def in_words(action: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """An action as a person reads it."""
    fields, kind = action.get("fields") or {}, action.get("actionTypeId")
    content_id = str(fields.get("content_id"))
    known: dict[str | None, Callable[[], str]] = {
        flows.DELAY: lambda: f"Wait {_span(float(fields.get('delta') or 0))}",
        flows.DELAY_UNTIL: lambda: f"Wait until {(fields.get('date') or {}).get('propertyName') or 'a date'}",
        flows.SEND_MAIL: lambda: f"Mail “{names.get(content_id, content_id)}”",
        flows.SET_PROPERTY: lambda: f"Set {fields.get('property_name')}",
        flows.ADD_TO_LIST: lambda: f"Onto list {fields.get('listId')}",
        flows.REMOVE_FROM_LIST: lambda: f"Off list {fields.get('listId')}",
        flows.ANOTHER_FLOW: lambda: f"On to workflow {fields.get('flow_id')}",
        None: lambda: "Split at random" if action.get("type") == "AB_TEST_BRANCH" else "Choose a branch",
    }
    if kind in known:
        return known[kind]()
    return f"Ask an app (action {kind})" if str(kind).startswith(OWN_TYPE) else f"Action {kind}"


def _span(minutes: float) -> str:
    for unit, length in (("day", 1440), ("hour", 60), ("minute", 1)):
        if minutes >= length or length == 1:
            count = f"{minutes / length:g}"
            return f"{count} {unit}{'' if count == '1' else 's'}"
    return ""

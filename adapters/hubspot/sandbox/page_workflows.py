"""The page's part on workflows and mails: who is in which step, why the others left, what was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from adapters.hubspot.sandbox.actions import in_words
from adapters.hubspot.sandbox.flows import Flow
from adapters.hubspot.sandbox.mails import SENT
from adapters.hubspot.sandbox.standing import ENDS, Enrollment
from adapters.hubspot.sandbox.state import State

PEOPLE_SHOWN = 25
MAILS_SHOWN = 25
NAMES = {
    SENT: "sent",
    "PREVIOUSLY_UNSUBSCRIBED_PORTAL": "not sent: unsubscribed",
    "PREVIOUSLY_BOUNCED": "not sent: bounced before",
    "NON_MARKETABLE_CONTACT": "not sent: no marketing contact",
    "QUARANTINED_ADDRESS": "not sent: quarantined",
    "INVALID_TO_ADDRESS": "not sent: no address",
}
EVENT_NAMES = {
    "open": "opened",
    "click": "clicked",
    "reply": "replied",
    "bounce": "bounced",
    "unsubscribe": "unsubscribed",
    "complain": "reported as spam",
}


@dataclass(frozen=True, slots=True)
class StepView:
    """One action of a workflow and how many are at it; `share` is in percent of everybody in the workflow."""

    number: int
    label: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class PassageView:
    """One contact in a workflow."""

    id: str
    name: str
    step: str
    since: str
    due: str


@dataclass(frozen=True, slots=True)
class WorkflowView:
    """One workflow with its steps and the first people in it."""

    id: str
    name: str
    on: bool
    trigger: str
    rules: str
    active: int
    waiting: int
    enrolled: int
    share: float
    steps: tuple[StepView, ...]
    ended: tuple[tuple[str, int], ...]
    people: tuple[PassageView, ...]


@dataclass(frozen=True, slots=True)
class MailView:
    """One mail and what became of it."""

    number: int
    at: str
    contact_id: str
    contact: str
    name: str
    workflow: str
    step: str
    result: str
    sent: bool
    events: str


def workflows_view(state: State, name_of: Callable[[str], str]) -> dict[str, Any]:
    """What the template needs of workflows and mails; `name_of` gives a contact's name."""
    flows = sorted(state.workflows.flows, key=lambda flow: flow.name.casefold())
    most = max((len(state.workflows.standing(flow.id).active) for flow in flows), default=0)
    sent = Counter((mail.name, mail.result) for mail in state.mails.mails)
    return {
        "workflows": [_workflow(state, flow, most, name_of) for flow in flows],
        "mails": [_mail(state, mail, name_of) for mail in state.mails.mails[: -1 - MAILS_SHOWN : -1]],
        "mails_total": len(state.mails.mails),
        "mails_by_name": [
            (name, NAMES.get(result, result), count)
            for (name, result), count in sorted(sent.items(), key=lambda item: (item[0][1] != SENT, item[0][0]))
        ],
    }


def _workflow(state: State, flow: Flow, most: int, name_of: Callable[[str], str]) -> WorkflowView:
    standing = state.workflows.standing(flow.id)
    inside = sorted(standing.active.values(), key=lambda passage: (passage.due_ms or 0, int(passage.contact_id)))
    at = Counter(passage.step for passage in inside)
    steps = tuple(
        StepView(
            number, _words(state, flow, action_id), at[action_id], 100 * at[action_id] / len(inside) if inside else 0.0
        )
        for number, action_id in enumerate(flow.actions, 1)
    )
    ended = Counter(passage.ended_as for passage in standing.history if passage.ended_as)
    return WorkflowView(
        flow.id,
        flow.name,
        flow.enabled,
        _trigger(state, flow),
        _rules(state, flow),
        len(inside),
        len(standing.waiting),
        len(standing.history),
        100 * len(inside) / most if most else 0.0,
        steps,
        tuple((ENDS[why], count) for why, count in ended.most_common()),
        tuple(_passage(state, flow, passage, name_of) for passage in inside[:PEOPLE_SHOWN]),
    )


def _passage(state: State, flow: Flow, passage: Enrollment, name_of: Callable[[str], str]) -> PassageView:
    return PassageView(
        passage.contact_id,
        name_of(passage.contact_id),
        _words(state, flow, passage.step or ""),
        _moment(passage.started_ms),
        _moment(passage.due_ms) if passage.due_ms is not None else "",
    )


def _mail(state: State, mail: Any, name_of: Callable[[str], str]) -> MailView:
    flow = state.workflows.flows.flows.get(mail.flow_id or "")
    return MailView(
        mail.number,
        _moment(mail.at_ms),
        mail.contact_id,
        name_of(mail.contact_id),
        mail.name,
        flow.name if flow else "",
        mail.values.get("winback_step", ""),
        NAMES.get(mail.result, mail.result),
        mail.sent,
        ", ".join(dict.fromkeys(EVENT_NAMES.get(what, what) for _, what in mail.events)),
    )


def _words(state: State, flow: Flow, action_id: str) -> str:
    action = flow.actions.get(action_id)
    return in_words(action, state.mails.names) if action else ""


def _trigger(state: State, flow: Flow) -> str:
    if flow.criteria.get("type") != "LIST_BASED":
        return "people and apps put contacts in"
    lists = [str(given.get("listId")) for given in _filters(flow) if given.get("filterType") == "IN_LIST"]
    names = [state.lists.lists[list_id].name for list_id in lists if list_id in state.lists.lists]
    return f"joining {', '.join(f'“{name}”' for name in names)}" if names else "meeting its filters"


def _filters(flow: Flow) -> list[Any]:
    from adapters.hubspot.sandbox.filters import filters_of

    return list(filters_of(flow.criteria.get("listFilterBranch") or {}))


def _rules(state: State, flow: Flow) -> str:
    suppressing = [state.lists.lists[i].name for i in flow.suppression if i in state.lists.lists]
    parts = [
        "again after leaving and rejoining" if flow.again else "each contact once",
        "leaving ends it" if flow.leaving_ends_it else "leaving does not end it",
        f"never members of {', '.join(f'“{name}”' for name in suppressing)}" if suppressing else "",
        "ends at its goal" if flow.goal else "",
    ]
    return "; ".join(part for part in parts if part)


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"

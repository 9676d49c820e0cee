"""The page's part on flows and mails: who waits at which step, why the others left, what was sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from adapters.salesforce.sandbox.flow_engine import FlowEngine
from adapters.salesforce.sandbox.flow_steps import BOTH, CREATE, Start, in_words
from adapters.salesforce.sandbox.interviews import ENDS, Flow, Interview
from adapters.salesforce.sandbox.mails import Mail
from adapters.salesforce.sandbox.page_parts import Bar, newest, person_of, share, when, without_addresses
from adapters.salesforce.sandbox.state import State

PEOPLE_SHOWN: Final = 25
MAILS_SHOWN: Final = 25
TASKS_SHOWN: Final = 25
EVENT_NAMES: Final = {
    "open": "opened",
    "click": "clicked",
    "reply": "replied",
    "bounce": "bounced",
    "unsubscribe": "unsubscribed",
    "complain": "reported as spam",
}
CHANGES: Final = {BOTH: "is made or changed", CREATE: "is made"}


@dataclass(frozen=True, slots=True)
class PassageView:
    """One person in a flow."""

    id: str
    name: str
    step: str
    since: str
    due: str


@dataclass(frozen=True, slots=True)
class FlowView:
    """One flow with its steps and the first people in it. sent: What it mailed, by title and result."""

    id: str
    name: str
    api_name: str
    active: bool
    starts: str
    inside: int
    started: int
    share: float
    steps: tuple[Bar, ...]
    ended: tuple[tuple[str, int], ...]
    faults: tuple[tuple[str, int], ...]
    sent: tuple[tuple[str, int], ...]
    people: tuple[PassageView, ...]


def flows_view(state: State, engine: FlowEngine) -> dict[str, Any]:
    """What the template needs of flows, mails and tasks."""
    flows = sorted(engine.flows.values(), key=lambda flow: flow.label.casefold())
    most = max((len(engine.interviews.get(flow.api_name, ())) for flow in flows), default=0)
    sent = Counter((mail.title, mail.result) for mail in engine.mails.mails)
    tasks = [row for row in state.stores["Task"] if row.values.get("TaskSubtype") != "Email"]
    return {
        "flows": [_flow(state, engine, flow, most) for flow in flows],
        "mails": [_mail(state, engine, mail) for mail in newest(engine.mails.mails, MAILS_SHOWN)],
        "mails_total": len(engine.mails.mails),
        "mails_by_title": [
            (title, _result(result), count)
            for (title, result), count in sorted(sent.items(), key=lambda item: (item[0][1] != "sent", item[0][0]))
        ],
        "tasks": [
            {
                "at": when(row.created_ms),
                "person": person_of(state, str(row.values.get("WhoId", ""))).name,
                "subject": without_addresses(str(row.values.get("Subject", ""))),
                "status": row.values.get("Status", ""),
                "kind": row.values.get("TaskSubtype", "Task"),
                "text": without_addresses(str(row.values.get("Description", ""))),
            }
            for row in newest(tasks, TASKS_SHOWN)
        ],
        "tasks_total": len(tasks),
    }


def _flow(state: State, engine: FlowEngine, flow: Flow, most: int) -> FlowView:
    held = engine.interviews.get(flow.api_name, [])
    inside = sorted((one for one in held if not one.over), key=lambda one: (one.due_ms or 0, one.number))
    at = Counter(_step(one) for one in inside)
    words = list(dict.fromkeys(in_words(step) for step in flow.all_steps()))
    sent = Counter(mail.result for mail in engine.mails.mails if mail.flow == flow.api_name)
    return FlowView(
        flow.id,
        flow.label,
        flow.api_name,
        flow.active,
        _starts(state, flow.start),
        len(inside),
        len(held),
        share(len(held), most),
        tuple(Bar(word, at[word], share(at[word], len(inside))) for word in words),
        tuple((ENDS[why], count) for why, count in Counter(o.ended_as for o in held if o.ended_as).most_common()),
        tuple(Counter(without_addresses(one.fault) for one in held if one.fault).most_common(3)),
        tuple((_result(result), count) for result, count in sent.most_common()),
        tuple(_passage(state, one) for one in inside[:PEOPLE_SHOWN]),
    )


def _passage(state: State, one: Interview) -> PassageView:
    person = person_of(state, one.person_id)
    due = when(one.due_ms) if one.due_ms is not None else ""
    return PassageView(one.person_id, person.name, _step(one), when(one.started_ms), due)


def _step(one: Interview) -> str:
    if one.asking is not None:
        return in_words(one.asking)
    return in_words(one.ahead[0]) if one.ahead else ""


def _starts(state: State, start: Start | None) -> str:
    if start is None:
        return "Autolaunched: run by call"
    kind = state.kind(start.sobject)
    label = kind.label if kind is not None else start.sobject
    conditions = [_named(state, one.words()) for one in start.conditions]
    change = CHANGES.get(start.when, "is changed")
    return f"Record-triggered: a {label} {change}{', so that ' + ' and '.join(conditions) if conditions else ''}"


def _named(state: State, words: str) -> str:
    """The words of a condition with a record's name in place of its id."""
    before, quote, rest = words.partition("“")
    row = state.row(rest.removesuffix("”"))
    return words if row is None else f"{before}{quote}{without_addresses(str(state.value(row, 'Name')))}”"


def _mail(state: State, engine: FlowEngine, mail: Mail) -> dict[str, Any]:
    flow = engine.flows.get(mail.flow)
    return {
        "number": mail.number,
        "at": when(mail.at_ms),
        "person": person_of(state, mail.person_id).name,
        "title": mail.title,
        "flow": flow.label if flow else mail.flow,
        "step": mail.values.get("Winback_Step__c", ""),
        "result": _result(mail.result),
        "sent": mail.sent,
        "events": ", ".join(dict.fromkeys(EVENT_NAMES.get(what, what) for _, what in mail.events)),
    }


def _result(result: str) -> str:
    return result if result == "sent" else f"not sent: {result}"

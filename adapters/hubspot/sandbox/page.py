"""The page: what the CRM now holds, for a person to look at. Self-contained; addresses of people are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from adapters.hubspot.sandbox.answers import parse_time
from adapters.hubspot.sandbox.definitions import Definition
from adapters.hubspot.sandbox.lists import ContactList
from adapters.hubspot.sandbox.page_told import told_view
from adapters.hubspot.sandbox.page_workflows import workflows_view
from adapters.hubspot.sandbox.records import Record
from adapters.hubspot.sandbox.state import State
from adapters.lookalike.looks import pages, style

if TYPE_CHECKING:
    from jinja2 import Template

    from adapters.hubspot.sandbox.running import HubSpotSandbox

OWNED = "winback_"
MEMBERS_SHOWN = 25
CONTACTS_SHOWN = 25
REQUESTS_SHOWN = 40
VALUES_SHOWN = 8
BAD_STATUS = 400
STYLES = {"number": "num", "date": "when", "datetime": "when"}


@dataclass(frozen=True, slots=True)
class Bar:
    """A labelled length: `share` is in percent of the longest."""

    label: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Person:
    """One row of a table of people."""

    id: str
    name: str
    role: str
    plan: str
    company: str
    values: tuple[tuple[str, str], ...]
    """Readable values with the style of their cell."""


@dataclass(frozen=True, slots=True)
class ListView:
    """One list with its first members."""

    id: str
    name: str
    folder: str
    kind: str
    count: int
    share: float
    members: tuple[tuple[Person, str], ...]
    first: int
    following: int | None


@dataclass(frozen=True, slots=True)
class PropertyView:
    """One property winback owns, how many contacts have it, and its most frequent values."""

    name: str
    label: str
    type: str
    description: str
    filled: int
    share: float
    values: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Meter:
    """How much of an allowance is used."""

    label: str
    used: int
    limit: int

    @property
    def share(self) -> float:
        """In percent, at most 100."""
        return min(100.0, 100 * self.used / self.limit) if self.limit else 0.0


def render(sandbox: HubSpotSandbox, args: Mapping[str, Any]) -> str:
    """The whole page. `list`, `from` and `contacts_from` in the query turn to further rows."""
    state = sandbox.state
    with state.lock:
        now_ms = state.settle()
        view = {
            "now": state.clock.now(),
            "portal_id": state.portal_id,
            "totals": _totals(sandbox),
            "lists": _lists(state, args),
            "live": bool(args) or _is_live(),
            "limits": sandbox.meter.body(now_ms=now_ms),
            "meters": _meters(sandbox, now_ms),
            "kinds": _bars(sandbox.log.by_kind.most_common()),
            "statuses": sorted(sandbox.log.by_status.items()),
            "requests": _requests(sandbox),
            "requests_total": sandbox.log.total,
            "faults": _struck(sandbox),
            **_contacts_view(state, args),
            **workflows_view(state, lambda record_id: _name(state, record_id)),
            "properties": _properties(state),
            **told_view(state, lambda record_id: _name(state, record_id)),
        }
    return _template().render(**view, style=style())


def _totals(sandbox: HubSpotSandbox) -> list[tuple[str, int]]:
    state = sandbox.state
    members = {i for held in state.lists.lists.values() for i in held.members}
    owned = _owned(state)
    written = sum(any(d.name in r.properties for d in owned) for r in state.contacts.live.values()) if owned else 0
    return [
        ("contacts", len(state.contacts.live)),
        ("companies", len(state.companies.live)),
        ("lists", len(state.lists.lists)),
        ("contacts on a list", len(members)),
        ("contacts with winback properties", written),
        ("in a workflow", len({i for flow in state.workflows.flows for i in state.workflows.standing(flow.id).active})),
        ("mails sent", sum(mail.sent for mail in state.mails.mails)),
        ("API calls so far", sandbox.log.total),
    ]


def _lists(state: State, args: Mapping[str, Any]) -> list[ListView]:
    held = sorted(state.lists.lists.values(), key=lambda item: item.name.casefold())
    longest = max((len(item.members) for item in held), default=0)
    return [_list(state, item, longest, args) for item in held]


def _list(state: State, held: ContactList, longest: int, args: Mapping[str, Any]) -> ListView:
    start = _whole(args.get("from")) if args.get("list") == held.id else 0
    ids, following = held.page(start=start, limit=MEMBERS_SHOWN)
    names = [d.name for d in _owned(state)][:3]
    people = [
        (_person(state, state.contacts.live[i], names), _day(held.members[i])) for i in ids if i in state.contacts.live
    ]
    return ListView(
        held.id,
        held.name,
        state.lists.folders[held.folder].name,
        held.processing_type.capitalize(),
        len(held.members),
        100 * len(held.members) / longest if longest else 0.0,
        tuple(people),
        start,
        following,
    )


def _contacts_view(state: State, args: Mapping[str, Any]) -> dict[str, Any]:
    owned = _owned(state)
    names = [d.name for d in owned]
    start = _whole(args.get("contacts_from"))
    if names:
        touched = sorted(
            (
                int(i)
                for i, r in state.contacts.live.items()
                if int(i) >= start and any(n in r.properties for n in names)
            )
        )
        records = [state.contacts.live[str(n)] for n in touched[:CONTACTS_SHOWN]]
        following = touched[CONTACTS_SHOWN] if len(touched) > CONTACTS_SHOWN else None
    else:
        records, following = state.contacts.page(start=start, limit=CONTACTS_SHOWN)
    return {
        "columns": [(d.name, d.label, STYLES.get(d.type, "")) for d in owned],
        "contacts": [_person(state, record, names) for record in records],
        "contacts_following": following,
        "contacts_from": start,
    }


def _person(state: State, record: Record, names: Sequence[str]) -> Person:
    held = record.properties
    company = state.companies.live.get(held.get("associatedcompanyid", ""))
    known = state.contact_properties.live
    return Person(
        record.id,
        _called(record),
        held.get("role") or held.get("jobtitle") or "",
        held.get("plan_tier") or "",
        company.properties.get("name", "") if company else "",
        tuple((_readable(held.get(name, ""), known[name]), STYLES.get(known[name].type, "")) for name in names),
    )


def _called(record: Record) -> str:
    parts = (record.properties.get("firstname"), record.properties.get("lastname"))
    return " ".join(part for part in parts if part) or f"Contact {record.id}"


def _name(state: State, record_id: str) -> str:
    record = state.contacts.find(record_id)
    return _called(record) if record else f"Contact {record_id}"


def _properties(state: State) -> list[PropertyView]:
    total = len(state.contacts.live) or 1
    views = []
    for definition in _owned(state):
        values = [v for r in state.contacts.live.values() if (v := r.properties.get(definition.name)) is not None]
        counted: Counter[str] = Counter()
        if definition.type in {"enumeration", "bool"}:
            counted.update(part for value in values for part in value.split(";"))
        labels = {option.value: option.label for option in definition.options}
        common = [(labels.get(value, value), count) for value, count in counted.most_common(VALUES_SHOWN)]
        kind = "several choices" if definition.field_type == "checkbox" else definition.type
        views.append(
            PropertyView(
                definition.name,
                definition.label,
                kind,
                definition.description,
                len(values),
                100 * len(values) / total,
                tuple(_bars(common)),
            )
        )
    return views


def _meters(sandbox: HubSpotSandbox, now_ms: int) -> list[Meter]:
    limits = sandbox.meter.body(now_ms=now_ms)
    return [
        Meter("in the last 10 seconds", limits["used_10s"], limits["per_10s"]),
        Meter("in the busiest 10 seconds", limits["busiest_10s"], limits["per_10s"]),
        Meter("today", limits["daily_used"], limits["per_day"]),
    ]


def _requests(sandbox: HubSpotSandbox) -> list[dict[str, Any]]:
    latest = sandbox.log.entries()[-REQUESTS_SHOWN:]
    return [
        entry.body() | {"time": _clock(entry.at_ms), "bad": entry.status >= BAD_STATUS or entry.status == 0}
        for entry in reversed(latest)
    ]


def _struck(sandbox: HubSpotSandbox) -> list[tuple[str, int]]:
    """How often each kind of fault in force has struck."""
    counted: Counter[str] = Counter()
    for fault in sandbox.faults.bodies():
        counted[fault["kind"].replace("_", " ")] += fault["struck"]
    return sorted(counted.items())


def _owned(state: State) -> list[Definition]:
    return [d for d in state.contact_properties.custom() if d.name.startswith(OWNED)]


def _bars(counted: Sequence[tuple[str, int]]) -> list[Bar]:
    longest = max((count for _, count in counted), default=0)
    return [Bar(label, count, 100 * count / longest if longest else 0.0) for label, count in counted]


def _readable(value: str, definition: Definition) -> str:
    """A value as a person reads it: labels for choices, days for moments."""
    if not value:
        return ""
    if definition.type in {"enumeration", "bool"}:
        labels = {option.value: option.label for option in definition.options}
        return ", ".join(labels.get(part, part) for part in value.split(";"))
    if definition.type == "datetime" and (at_ms := parse_time(value)) is not None:
        return _day(at_ms)
    return value


def _day(at_ms: int) -> str:
    return f"{_moment(at_ms):%Y-%m-%d}"


def _clock(at_ms: int) -> str:
    return f"{_moment(at_ms):%H:%M:%S}"


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _whole(text: Any) -> int:
    return int(text) if text and str(text).isdigit() else 0


def _is_live() -> bool:
    """Whether the page is being served: then further rows are one link away."""
    from flask import has_request_context

    return has_request_context()


@cache
def _template() -> Template:
    page = files(__package__) / "templates" / "page.html"
    return pages().from_string(page.read_text(encoding="utf-8"))

"""The page: what the org now holds, for a person to look at. Self-contained; addresses of people are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from adapters.lookalike.looks import pages, style
from adapters.salesforce.sandbox.fields import Field
from adapters.salesforce.sandbox.page_calls import calls_view
from adapters.salesforce.sandbox.page_campaigns import campaigns_view, people_in_campaigns
from adapters.salesforce.sandbox.page_flows import flows_view
from adapters.salesforce.sandbox.page_parts import STYLES, Bar, Person, bars, person_of, readable, share, whole
from adapters.salesforce.sandbox.records import Row
from adapters.salesforce.sandbox.state import State

if TYPE_CHECKING:
    from flask import Flask
    from jinja2 import Template

    from adapters.salesforce.sandbox.running import SalesforceSandbox

OWNED: Final = "Winback_"
LINKS: Final = "Winback_Link_"
"""Links are long, the same for all but a token, and nothing to read in a table."""

PEOPLE: Final = ("Contact", "Lead")
PEOPLE_SHOWN: Final = 25
VALUES_SHOWN: Final = 8
COUNTED: Final = frozenset({"string", "picklist"})


@dataclass(frozen=True, slots=True)
class PersonView:
    """One contact or lead with its winback values, each with the style of its cell."""

    person: Person
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class FieldView:
    """One field winback owns, how many people have it, and its most frequent values."""

    name: str
    label: str
    type: str
    filled: int
    share: float
    values: tuple[Bar, ...]


def render(sandbox: SalesforceSandbox, args: Mapping[str, Any]) -> str:
    """The whole page. `campaign` with `from`, and `people_from`, turn to further rows."""
    state = sandbox.state
    with state.lock:
        now_ms = state.settle()
        owned = _owned(state)
        filled, values = _counted(state, owned)
        view = {
            "now": state.clock.now(),
            "org_id": state.org_id,
            "totals": _totals(sandbox, filled),
            "live": bool(args) or _is_live(),
            **campaigns_view(state, args),
            **flows_view(state, sandbox.flows),
            **_people(state, [one for one in owned if filled[one.name]], args),
            "fields": _fields(state, owned, filled, values),
            **calls_view(sandbox, now_ms),
        }
    return _template().render(**view, style=style())


def add_routes(app: Flask, sandbox: SalesforceSandbox) -> None:
    """Put the page into the application."""
    from flask import Response, request

    def page() -> Response:
        return Response(render(sandbox, request.args), content_type="text/html; charset=utf-8")

    app.add_url_rule("/", endpoint="page", view_func=page, methods=["GET"])


def _totals(sandbox: SalesforceSandbox, filled: Mapping[str, int]) -> list[tuple[str, int]]:
    state, mails = sandbox.state, sandbox.flows.mails.mails
    return [
        ("contacts", state.stores["Contact"].live),
        ("leads", state.stores["Lead"].live),
        ("accounts", state.stores["Account"].live),
        ("campaigns", state.stores["Campaign"].live),
        ("people in a campaign", people_in_campaigns(state)),
        ("people with winback fields", filled[""]),
        ("mails sent", sum(mail.sent for mail in mails)),
        ("API calls so far", sandbox.log.total),
    ]


def _owned(state: State) -> list[Field]:
    """The fields winback owns, on either kind of person."""
    found: dict[str, Field] = {}
    for kind in PEOPLE:
        found.update((name, one) for name, one in state.stores[kind].sobject.fields.items() if name.startswith(OWNED))
    return list(found.values())


def _counted(state: State, owned: Sequence[Field]) -> tuple[Counter[str], dict[str, Counter[str]]]:
    """How many people have each field, `""` for any of them; and the values of those that have few."""
    filled: Counter[str] = Counter()
    values: dict[str, Counter[str]] = {one.name: Counter() for one in owned if one.kind in COUNTED}
    names = {one.name for one in owned}
    for kind in PEOPLE:
        for row in state.stores[kind]:
            there = names.intersection(row.values)
            if not there:
                continue
            filled.update(there)
            filled[""] += 1
            for name in there & values.keys():
                values[name].update(str(row.values[name]).split(";"))
    return filled, values


def _people(state: State, shown: Sequence[Field], args: Mapping[str, Any]) -> dict[str, Any]:
    """The first people: those with winback fields, where there are any."""
    columns = [one for one in shown if not one.name.startswith(LINKS)]
    names = {one.name for one in columns}
    start, place = whole(args.get("people_from")), 0
    found: list[PersonView] = []
    following: int | None = None
    for kind in PEOPLE:
        for row in state.stores[kind].ids_from(""):
            if row.is_deleted or (names and not names & row.values.keys()):
                continue
            place += 1
            if place <= start:
                continue
            if len(found) == PEOPLE_SHOWN:
                following = start + PEOPLE_SHOWN
                break
            found.append(_person(state, row, columns))
        if following is not None:
            break
    return {
        "columns": [(one.name, one.label, STYLES.get(one.kind, "")) for one in columns],
        "people": found,
        "people_from": start,
        "people_following": following,
    }


def _person(state: State, row: Row, columns: Sequence[Field]) -> PersonView:
    values = tuple((readable(one, row.values.get(one.name)), STYLES.get(one.kind, "")) for one in columns)
    return PersonView(person_of(state, row.id), values)


def _fields(
    state: State, owned: Sequence[Field], filled: Mapping[str, int], values: Mapping[str, Counter[str]]
) -> list[FieldView]:
    total = sum(state.stores[kind].live for kind in PEOPLE)
    return [
        FieldView(
            one.name,
            one.label,
            f"{one.kind} {one.length}" if one.length else one.kind,
            filled[one.name],
            share(filled[one.name], total),
            bars((readable(one, value), count) for value, count in _common(values.get(one.name))),
        )
        for one in owned
    ]


def _common(counted: Counter[str] | None) -> list[tuple[str, int]]:
    """The most frequent values, where there are few enough to say something."""
    if not counted or len(counted) > 4 * VALUES_SHOWN:
        return []
    return counted.most_common(VALUES_SHOWN)


def _is_live() -> bool:
    """Whether the page is being served: then further rows are one link away."""
    from flask import has_request_context

    return has_request_context()


@cache
def _template() -> Template:
    page = files(__package__) / "templates" / "page.html"
    return pages().from_string(page.read_text(encoding="utf-8"))

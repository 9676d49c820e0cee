"""The page's part on campaigns: their members, and in which status they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from adapters.salesforce.sandbox.page_parts import Bar, Person, bars, name_of, person_of, share, when, whole
from adapters.salesforce.sandbox.records import Row
from adapters.salesforce.sandbox.rehearsing import EXITED
from adapters.salesforce.sandbox.state import State

MEMBERS_SHOWN: Final = 25


@dataclass(frozen=True, slots=True)
class MemberView:
    """One membership."""

    person: Person
    status: str
    since: str


@dataclass(frozen=True, slots=True)
class CampaignView:
    """One campaign with its first members. count: Those in it now; left: Those whose status says they left."""

    id: str
    name: str
    parent: str
    words: str
    count: int
    left: int
    share: float
    statuses: tuple[Bar, ...]
    members: tuple[MemberView, ...]
    first: int
    following: int | None


def campaigns_view(state: State, args: Mapping[str, Any]) -> dict[str, Any]:
    """What the template needs of campaigns. Those that only hold others together are named by these."""
    rows = list(state.stores["Campaign"])
    parents = {row.values.get("ParentId") for row in rows}
    held = {row.id: _members(state, row.id) for row in rows}
    shown = [row for row in rows if held[row.id] or row.id not in parents]
    inside = {one: sum(member.values.get("Status") != EXITED for member in held[one]) for one in held}
    longest = max((inside[row.id] for row in shown), default=0)
    ordered = sorted(shown, key=lambda row: name_of(state, row).casefold())
    return {
        "campaigns": [_campaign(state, row, held[row.id], share(inside[row.id], longest), args) for row in ordered],
        "members_shown": MEMBERS_SHOWN,
    }


def people_in_campaigns(state: State) -> int:
    """How many different people are in a campaign now."""
    members = (row for row in state.stores["CampaignMember"] if row.values.get("Status") != EXITED)
    return len({row.values.get("ContactId") or row.values.get("LeadId") for row in members})


def _members(state: State, campaign_id: str) -> list[Row]:
    """The memberships of a campaign: those in it now, then those who left, each in the order they were made."""
    found = state.stores["CampaignMember"].matching("CampaignId", campaign_id)
    return sorted((row for row in found if not row.is_deleted), key=lambda row: row.values.get("Status") == EXITED)


def _campaign(state: State, row: Row, members: list[Row], longest: float, args: Mapping[str, Any]) -> CampaignView:
    start = whole(args.get("from")) if args.get("campaign") == row.id else 0
    page = members[start : start + MEMBERS_SHOWN]
    counted = Counter(str(member.values.get("Status", "")) for member in members)
    # Who has left comes last, whatever their number.
    statuses = sorted(counted.items(), key=lambda item: (item[0] == EXITED, -item[1], item[0]))
    parent = state.row(row.values.get("ParentId") or "")
    left = counted.get(EXITED, 0)
    kind, status = row.values.get("Type", "no type"), row.values.get("Status", "no status")
    active = "active" if row.values.get("IsActive") else "not active"
    return CampaignView(
        row.id,
        name_of(state, row),
        name_of(state, parent) if parent is not None else "",
        f"{kind}, {status}, {active}",
        len(members) - left,
        left,
        longest,
        bars(statuses),
        tuple(_member(state, member) for member in page),
        start,
        start + MEMBERS_SHOWN if start + MEMBERS_SHOWN < len(members) else None,
    )


def _member(state: State, member: Row) -> MemberView:
    person = person_of(state, str(member.values.get("ContactId") or member.values.get("LeadId") or ""))
    return MemberView(person, str(member.values.get("Status", "")), when(member.created_ms))

"""Merges: the losers go into the recycle bin with a pointer, what hung on them moves to the master."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapters.salesforce.sandbox.answers import RowError
from adapters.salesforce.sandbox.integrity import member_of

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.records import Row
    from adapters.salesforce.sandbox.state import State

MOST_LOSERS = 2
LINKS = {
    "Contact": (
        ("CampaignMember", "ContactId"),
        ("Task", "WhoId"),
        ("OpportunityContactRole", "ContactId"),
        ("Opportunity", "ContactId"),
        ("EmailMessageRelation", "RelationId"),
    ),
    "Lead": (("CampaignMember", "LeadId"), ("Task", "WhoId"), ("EmailMessageRelation", "RelationId")),
    "Account": (("Contact", "AccountId"), ("Opportunity", "AccountId"), ("Task", "WhatId")),
}
"""What hangs on a record of each kind that can be merged."""


def merge(state: State, master_id: str, loser_ids: Sequence[str]) -> Row:
    """Merge records into the master; fields the master lacks are not filled, as with the API."""
    store, master = state.held(master_id)
    kind = store.sobject
    if not kind.mergeable:
        raise RowError("INVALID_OPERATION", f"{kind.name} cannot be merged")
    if not 0 < len(loser_ids) <= MOST_LOSERS:
        raise RowError("INVALID_OPERATION", f"at most {MOST_LOSERS} records can be merged into a master")
    for loser_id in loser_ids:
        owner, loser = state.held(loser_id)
        if owner is not store or loser_id == master_id:
            raise RowError("INVALID_ID_FIELD", "a record can be merged with others of its kind only")
        _move(state, kind.name, master_id, loser_id)
        state.rewrite(loser, {**loser.values, "MasterRecordId": master_id}, deleted=True)
    return state.rewrite(master, dict(master.values))


def _move(state: State, kind: str, master_id: str, loser_id: str) -> None:
    for child_kind, link in LINKS[kind]:
        for child in state.stores[child_kind].matching(link, loser_id):
            if child.is_deleted:
                continue
            if child_kind == "CampaignMember" and not _keeps(state, child, link, master_id):
                state.rewrite(child, child.values, deleted=True)
            else:
                state.rewrite(child, {**child.values, link: master_id})


def _keeps(state: State, member: Row, link: str, master_id: str) -> bool:
    """Whether a loser's membership moves on: not where the master is a member already."""
    if not state.behaviour.merge_moves_members:
        return False
    return member_of(state, str(member.values["CampaignId"]), link, master_id) is None

"""Lead conversion: the lead stays, read-only, and points to the contact and account that came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adapters.salesforce.sandbox.answers import RowError, day_text
from adapters.salesforce.sandbox.integrity import converted_lead, member_of

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.records import Row
    from adapters.salesforce.sandbox.state import State

NOT_CARRIED = frozenset({"MasterRecordId", "LastActivityDate", "OwnerId"})


def convert(state: State, lead_id: str, *, account_id: str | None, contact_id: str | None) -> Mapping[str, str]:
    """Convert a lead; what it knew that a contact has a field for goes over to a new contact."""
    store, lead = state.held(lead_id)
    if store.sobject.name != "Lead":
        raise RowError("INVALID_ID_FIELD", "only a lead can be converted")
    if lead.values.get("IsConverted"):
        raise converted_lead()
    contact = None if contact_id is None else state.held(contact_id)[1]
    if contact is None:
        account = account_id or state.insert("Account", {"Name": lead.values.get("Company", "Unknown")}).id
        contact = state.insert("Contact", {**_carried(state, lead), "AccountId": account})
    account = account_id or str(contact.values.get("AccountId") or "")
    values = {
        **lead.values,
        "IsConverted": True,
        "Status": "Closed - Converted",
        "ConvertedDate": day_text(state.clock.now_ms()),
        "ConvertedContactId": contact.id,
    }
    if account:
        values["ConvertedAccountId"] = account
    state.rewrite(lead, values)
    _carry_members(state, lead_id, contact.id)
    for task in state.stores["Task"].matching("WhoId", lead_id):
        if not task.is_deleted:
            state.rewrite(task, {**task.values, "WhoId": contact.id})
    return {"Contact": contact.id, "Account": account}


def _carried(state: State, lead: Row) -> dict[str, Any]:
    known = state.stores["Contact"].sobject.fields
    carried = {name: value for name, value in lead.values.items() if name in known and name not in NOT_CARRIED}
    carried |= {
        f"Mailing{part}": lead.values[part]
        for part in ("Street", "City", "State", "PostalCode", "Country")
        if part in lead.values
    }
    return {name: value for name, value in carried.items() if not known[name].unique}


def _carry_members(state: State, lead_id: str, contact_id: str) -> None:
    """Give the lead's memberships the contact; where that is a member already, the lead's ends."""
    for member in state.stores["CampaignMember"].matching("LeadId", lead_id):
        if member.is_deleted:
            continue
        there = member_of(state, str(member.values["CampaignId"]), "ContactId", contact_id)
        if there is None:
            state.rewrite(member, {**member.values, "ContactId": contact_id})
        else:
            state.rewrite(member, member.values, deleted=True)

"""What the org demands of its records beyond their fields' types: references, uniqueness, memberships, leads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adapters.salesforce.sandbox.answers import RowError

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.fields import Field
    from adapters.salesforce.sandbox.records import Row, Store
    from adapters.salesforce.sandbox.state import State

PERSON_LINKS = ("ContactId", "LeadId")
DEFAULT_STATUSES = (("Sent", True, False), ("Responded", False, True))
"""What a new campaign's members may be: (label, is the default, counts as a response)."""

WITH_THEIR_PARENT: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Contact": (("CampaignMember", "ContactId"), ("OpportunityContactRole", "ContactId")),
    "Lead": (("CampaignMember", "LeadId"),),
    "Campaign": (("CampaignMember", "CampaignId"), ("CampaignMemberStatus", "CampaignId")),
    "Account": (("Contact", "AccountId"), ("Opportunity", "AccountId")),
    "Opportunity": (("OpportunityContactRole", "OpportunityId"),),
    "EmailMessage": (("EmailMessageRelation", "EmailMessageId"),),
}
"""What goes into the recycle bin along with a record."""


def converted_lead() -> RowError:
    """What a row is told that would change or use a lead that has become a contact."""
    return RowError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")


def before_insert(state: State, store: Store, new_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values to store, defaults included; RowError where the org refuses them."""
    kind = store.sobject
    stored = {name: value for name, value in values.items() if value is not None}
    for name, value in kind.defaults.items():
        stored.setdefault(name, value)
    missing = [name for name in kind.demanded if name not in stored]
    if "OwnerId" in kind.fields:
        stored.setdefault("OwnerId", state.user)
    if missing:
        raise RowError("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", missing)
    _check_links(state, store, stored, stored)
    if kind.name == "CampaignMember":
        _check_member(state, stored)
    elif kind.name == "FieldPermissions":
        _check_grant(state, stored)
    _check_unique(store, new_id, stored)
    state.rules.check(kind.name, new_id, stored)
    _check_duplicates(state, store, new_id, stored, stored)
    return stored


def after_insert(state: State, store: Store, row: Row) -> None:
    """Make what comes along with a new record."""
    if store.sobject.name == "Campaign":
        for place, (label, is_default, responds) in enumerate(DEFAULT_STATUSES, 1):
            state.insert(
                "CampaignMemberStatus",
                {
                    "CampaignId": row.id,
                    "Label": label,
                    "SortOrder": place,
                    "IsDefault": is_default,
                    "HasResponded": responds,
                },
            )
    elif store.sobject.name == "CampaignMemberStatus" and row.values.get("IsDefault"):
        _one_default(state, row)


def before_update(state: State, store: Store, row: Row, values: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Refuse new values of a record where the org would."""
    kind = store.sobject
    if kind.name == "Lead" and row.values.get("IsConverted"):
        raise converted_lead()
    emptied = [
        name
        for name, value in changes.items()
        if value is None and (one := kind.fields.get(name)) is not None and one.required and one.kind != "boolean"
    ]
    if emptied:
        raise RowError("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(emptied)}]", emptied)
    _check_links(state, store, values, changes)
    if kind.name == "CampaignMember" and changes.get("Status") is not None:
        _check_status(state, str(values["CampaignId"]), str(changes["Status"]))
    _check_unique(store, row.id, changes)
    state.rules.check(kind.name, row.id, values)
    _check_duplicates(state, store, row.id, values, changes)


def before_delete(state: State, store: Store, row: Row) -> None:
    """Refuse to delete a poisoned record."""
    state.rules.check(store.sobject.name, row.id, row.values)


def after_delete(state: State, store: Store, row: Row) -> None:
    """Put into the recycle bin what belongs to a record."""
    for kind, link in WITH_THEIR_PARENT.get(store.sobject.name, ()):
        for child in state.stores[kind].matching(link, row.id):
            if not child.is_deleted:
                owner, held = state.held(child.id)
                after_delete(state, owner, held)
                state.rewrite(held, held.values, deleted=True)


def before_undelete(state: State, row: Row) -> None:
    """Restore what went into the recycle bin together with a record."""
    kind = state.kind_of(row.id)
    for child_kind, link in WITH_THEIR_PARENT.get(kind.name if kind else "", ()):
        for child in state.stores[child_kind].matching(link, row.id):
            if child.is_deleted and child.deleted_ms == row.deleted_ms:
                before_undelete(state, child)
                state.rewrite(child, child.values, deleted=False)


def _check_links(state: State, store: Store, values: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        one = store.sobject.fields.get(name)
        if one is None or one.kind != "reference" or value is None:
            continue
        led_to = state.row(str(values[name]))
        if led_to is None or not _fits(state, one, str(value)):
            raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", [name])
        if led_to.is_deleted:
            code = state.behaviour.deleted_reference
            said = "entity is deleted" if code == "ENTITY_IS_DELETED" else "invalid cross reference id"
            raise RowError(code, said, [name])


def _fits(state: State, one: Field, record_id: str) -> bool:
    kind = state.kind_of(record_id)
    return kind is not None and (not one.refers or kind.name in one.refers)


def _check_member(state: State, values: dict[str, Any]) -> None:
    links = [name for name in PERSON_LINKS if values.get(name)]
    if not links:
        raise RowError("FIELD_INTEGRITY_EXCEPTION", "Lead or Contact ID is required: [LeadId, ContactId]", PERSON_LINKS)
    if len(links) > 1:
        raise RowError("FIELD_INTEGRITY_EXCEPTION", "You can only specify one of LeadId and ContactId", PERSON_LINKS)
    name, campaign = links[0], str(values["CampaignId"])
    if name == "LeadId":
        lead = state.row(str(values[name]))
        if lead is not None and lead.values.get("IsConverted"):
            raise converted_lead()
    if member_of(state, campaign, name, str(values[name])) is not None:
        raise RowError("DUPLICATE_VALUE", "Already a campaign member.")
    if values.get("Status") is None:
        values["Status"] = _default_status(state, campaign)
    else:
        _check_status(state, campaign, str(values["Status"]))


def member_of(state: State, campaign_id: str, link: str, person_id: str) -> Row | None:
    """The live membership of a person at a campaign; `link` is ContactId or LeadId."""
    for row in state.stores["CampaignMember"].matching(link, person_id):
        if row.deleted_ms is None and row.values["CampaignId"] == campaign_id:
            return row
    return None


def _check_grant(state: State, values: Mapping[str, Any]) -> None:
    """Field permissions are for a field that is there, and once in a permission set."""
    kind_name, _, name = str(values["Field"]).partition(".")
    kind = state.kind(kind_name)
    if kind is None or kind_name != values["SobjectType"] or kind.find(name) is None:
        raise RowError(
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            f"Field Name: bad value for restricted picklist field: {values['Field']}",
            ["Field"],
        )
    for row in state.stores["FieldPermissions"].matching("ParentId", values["ParentId"]):
        if row.values["Field"] == values["Field"] and not row.is_deleted:
            raise RowError(
                "DUPLICATE_VALUE", f"duplicate value found: duplicates value on record with id: {row.id[:15]}"
            )


def _default_status(state: State, campaign_id: str) -> str:
    held = state.stores["CampaignMemberStatus"].matching("CampaignId", campaign_id)
    rows = [row for row in held if not row.is_deleted]
    chosen = next((row for row in rows if row.values.get("IsDefault")), rows[0] if rows else None)
    return "Sent" if chosen is None else str(chosen.values["Label"])


def _check_status(state: State, campaign_id: str, status: str) -> None:
    if state.behaviour.member_status_free_text:
        return
    rows = state.stores["CampaignMemberStatus"].matching("CampaignId", campaign_id)
    if not any(str(row.values["Label"]).casefold() == status.casefold() and not row.is_deleted for row in rows):
        raise RowError(
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            f"Member Status: bad value for restricted picklist field: {status}",
            ["Status"],
        )


def _one_default(state: State, chosen: Row) -> None:
    for row in state.stores["CampaignMemberStatus"].matching("CampaignId", chosen.values["CampaignId"]):
        if row.id != chosen.id and row.values.get("IsDefault") and not row.is_deleted:
            state.rewrite(row, {**row.values, "IsDefault": False})


def _check_unique(store: Store, own_id: str, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        one = store.sobject.fields.get(name)
        if one is None or not one.unique or value is None:
            continue
        holder = store.holder(one, value)
        if holder is not None and holder.id != own_id:
            raise RowError(
                "DUPLICATE_VALUE",
                f"duplicate value found: {name} duplicates value on record with id: {holder.id[:15]}",
            )


def _check_duplicates(
    state: State, store: Store, own_id: str, values: Mapping[str, Any], changes: Mapping[str, Any]
) -> None:
    for rule in state.rules.duplicates:
        if rule.sobject != store.sobject.name or changes.get(rule.field) is None:
            continue
        others = store.matching(rule.field, values[rule.field])
        if any(other.id != own_id and not other.is_deleted for other in others) and (
            rule.blocks or not state.rules.allow_save
        ):
            raise RowError("DUPLICATES_DETECTED", "Use one of these records?")

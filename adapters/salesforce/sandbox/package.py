"""What `deploy/salesforce` makes in an org: the Winback fields and the permission set that opens them to us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters.salesforce.sandbox.fields import Field
from adapters.salesforce.sandbox.making import day, long_text, moment, number, text

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.state import State

PERMISSION_SET = "Winback_Integration"
KEY = "Winback_Key__c"
ENROLLMENT = "Winback_Enrollment__c"

_TEXTS = (
    "Winback_Segment__c",
    "Winback_Last_Feature__c",
    "Winback_Program__c",
    "Winback_Step__c",
    "Winback_Variant__c",
    "Winback_Branch__c",
    "Winback_Offer__c",
    "Winback_Offer_Code__c",
    "Winback_Days_Away__c",
    "Winback_Survey_Token__c",
    "Winback_Reason__c",
    ENROLLMENT,
)
_LONG_TEXTS = (
    "Winback_Whats_New__c",
    "Winback_Next_Step__c",
    "Winback_Link_Return__c",
    "Winback_Link_Snooze__c",
    "Winback_Link_Unsubscribe__c",
    "Winback_Link_Preferences__c",
)
_NUMBERS = (
    "Winback_Days_Away_Count__c",
    "Winback_Milestone__c",
    "Winback_Teammates_Active__c",
    "Winback_Feedback_Score__c",
)
_MOMENTS = ("Winback_Last_Active_At__c", "Winback_Send_At__c", "Winback_Feedback_At__c")
_DAYS = ("Winback_Dormant_Since__c", "Winback_Offer_Until__c")


def _key() -> Field:
    return text(KEY, 255, unique=True, external_id=True, case_sensitive=True)


def person_fields() -> tuple[Field, ...]:
    """The fields on Contact and Lead."""
    return (
        *(text(name) for name in _TEXTS),
        *(long_text(name, 4000) for name in _LONG_TEXTS),
        *(number(name, 18, 4) for name in _NUMBERS),
        *(moment(name) for name in _MOMENTS),
        *(day(name) for name in _DAYS),
    )


PACKAGE: Mapping[str, tuple[Field, ...]] = {
    "Contact": person_fields(),
    "Lead": person_fields(),
    "Campaign": (_key(),),
    "CampaignMember": (_key(), moment("Winback_Send_At__c")),
    "Task": (_key(),),
}


def install(state: State) -> str:
    """Make the fields and the permission set, and give that to the integration user; the permission set's id."""
    held = state.insert(
        "PermissionSet",
        {
            "Name": PERMISSION_SET,
            "Label": "Winback Integration",
            "PermissionsApiEnabled": True,
            "PermissionsViewSetup": True,
            "PermissionsRunFlow": True,
            "PermissionsMarketingUser": True,
        },
    )
    for kind, fields in PACKAGE.items():
        state.add_fields(kind, *fields, granted_by=held.id)
    state.insert("PermissionSetAssignment", {"PermissionSetId": held.id, "AssigneeId": state.integration_user})
    return held.id


def remove(state: State) -> None:
    """Take the fields and the permission set away again, as if nothing had been deployed."""
    sets = [row for row in state.stores["PermissionSet"] if row.values["Name"] == PERMISSION_SET]
    for held in sets:
        for kind, parent in (
            ("FieldPermissions", "ParentId"),
            ("ObjectPermissions", "ParentId"),
            ("PermissionSetAssignment", "PermissionSetId"),
        ):
            for row in state.stores[kind].matching(parent, held.id):
                state.purge(row.id)
        state.purge(held.id)
    for kind, fields in PACKAGE.items():
        for one in fields:
            state.drop_field(kind, one.name)

"""The permission sets: what winback's user, who looks, and whose changes make a flow call out need. No more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from adapters.salesforce.fields import KEY, PEOPLE, PERMISSION_SET
from deploy.salesforce.making import fields
from deploy.salesforce.making.documents import Tree, document, tidy

CALL_OUT: Final = "Winback_Call_Out"
PRIVACY: Final = "Winback_Privacy"
VIEWER: Final = "Winback_Viewer"

_USER_PERMISSIONS: Final = ("ApiEnabled", "EditTask", "RunFlow", "ViewSetup")
"""RunFlow and ViewSetup look up whether a flow is active, and what is left of the daily limits."""

_OBJECTS: Final[Mapping[str, str]] = {
    "Account": "read",
    "Campaign": "create edit read",
    "Contact": "edit read",
    "Lead": "edit read",
    "Opportunity": "read",
}
"""Campaign members have no permission of their own: they follow the campaign, and the user's Marketing User checkbox.
Tasks follow the person's record and EditTask."""

_READ: Final[Mapping[str, str]] = {
    "Account": "Website",
    "Contact": "AccountId Email MailingAddress Title",
    "Lead": "Address Email Title",
    "Opportunity": "AccountId Amount Type",
}
"""Standard fields that are read unless a playbook says otherwise. Required ones and the bounce fields have no
field-level security: Salesforce refuses a permission for them (profiles retrieved from orgs never list them)."""

_WRITTEN: Final[Mapping[str, str]] = {
    "Campaign": "Description IsActive ParentId Status Type",
    "Contact": "HasOptedOutOfEmail",
    "Lead": "HasOptedOutOfEmail",
    "Task": "ActivityDate Description WhoId",
}

_FOR_THE_PERSON_ALONE: Final = ("Winback_Link_", "Winback_Survey_Token__c")
"""Signed links and tokens act as the person they were made for: mails merge them, nobody need read them."""

_PRIVACY_OBJECTS: Final = ("ContactPointConsent", "ContactPointEmail", "ContactPointTypeConsent", "Individual")


def integration() -> Tree:
    """What the integration user may do."""
    ours = [(f"{person}.{name}", True) for person in PEOPLE for name in fields.person_fields()]
    # A field of Activity is one of Task and one of Event, each with its own field-level security.
    keys = [(f"{'Task' if where == 'Activity' else where}.{KEY}", True) for where in fields.key_fields()]
    members = [(f"CampaignMember.{name}", True) for name in fields.member_fields()]
    return tidy(
        label="Winback Integration",
        description="For the user winback signs in as: reads people, companies, deals and activities; "
        "writes campaigns, their members, tasks, opt-outs and its own fields.",
        hasActivationRequired=False,
        fieldPermissions=_fields([*ours, *keys, *members, *_named(_READ, False), *_named(_WRITTEN, True)]),
        objectPermissions=[_object(name, may) for name, may in sorted(_OBJECTS.items())],
        userPermissions=[tidy(enabled=True, name=name) for name in _USER_PERMISSIONS],
    )


def viewer() -> Tree:
    """What people need to see in list views, reports and on records: a new field is visible to nobody at first."""
    seen = [
        f"{person}.{name}"
        for person in PEOPLE
        for name in fields.person_fields()
        if not name.startswith(_FOR_THE_PERSON_ALONE)
    ]
    members = [f"CampaignMember.{name}" for name in fields.member_fields()]
    return tidy(
        label="Winback Viewer",
        description="For everybody who looks at win-back fields, list views and reports.",
        hasActivationRequired=False,
        fieldPermissions=_fields((name, False) for name in (*seen, *members)),
    )


def privacy() -> Tree:
    """What reading consent records takes, in orgs with Data Protection and Privacy switched on."""
    return tidy(
        label="Winback Privacy",
        description="For the user winback signs in as, where Data Protection and Privacy is on: reads consent.",
        hasActivationRequired=False,
        fieldPermissions=_fields((f"{person}.IndividualId", False) for person in PEOPLE),
        objectPermissions=[
            # Their fields have field-level security, too, and differ from org to org.
            tidy(**_object(name, "read"), viewAllFields=True)
            for name in _PRIVACY_OBJECTS
        ],
    )


def call_out(credential: str, principal: str) -> Tree:
    """What somebody needs whose change makes a flow ask winback; a flow calls out as that person."""
    asking = [(f"{person}.{name}", True) for person in PEOPLE for name in fields.request_fields()]
    return tidy(
        label="Winback Call Out",
        description="For everybody whose changes make a flow ask winback, and for the default workflow user.",
        hasActivationRequired=False,
        externalCredentialPrincipalAccesses=tidy(enabled=True, externalCredentialPrincipal=f"{credential}-{principal}"),
        fieldPermissions=_fields(asking),
        # The credential's secret is kept in this object: who calls out has to be able to read it.
        objectPermissions=[_object("UserExternalCredential", "read")],
    )


def files() -> Iterator[tuple[str, str]]:
    """The permission sets of the main package."""
    yield file(PERMISSION_SET, integration())
    yield file(VIEWER, viewer())


def file(name: str, permission_set: Tree) -> tuple[str, str]:
    """A permission set: where it is in its package, and its text."""
    return f"permissionsets/{name}.permissionset-meta.xml", document("PermissionSet", permission_set)


def _named(table: Mapping[str, str], editable: bool) -> list[tuple[str, bool]]:  # noqa: FBT001  # part of each pair
    return [(f"{where}.{name}", editable) for where, names in table.items() for name in names.split()]


def _fields(granted: Iterable[tuple[str, bool]]) -> list[Tree]:
    return [tidy(editable=editable, field=name, readable=True) for name, editable in sorted(granted)]


def _object(name: str, may: str) -> Tree:
    allowed = may.split()
    return tidy(
        allowCreate="create" in allowed,
        allowDelete=False,
        allowEdit="edit" in allowed,
        allowRead=True,
        modifyAllRecords=False,
        object=name,
        viewAllRecords=True,
    )

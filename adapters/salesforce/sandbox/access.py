"""What the integration user may see and do: object by object, field by field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adapters.salesforce.sandbox.answers import FORBIDDEN, NOT_FOUND, Refusal, RowError
from adapters.salesforce.sandbox.fields import Field, SObject

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.state import State

USER_PERMISSIONS = frozenset(
    {
        "ApiEnabled",
        "ViewSetup",
        "RunFlow",
        "MarketingUser",
        "CustomizeApplication",
        "ManageProfilesPermissionsets",
        "AssignPermissionSets",
    }
)
DEMANDS = {
    "Campaign": "MarketingUser",
    "CampaignMember": "MarketingUser",
    "CampaignMemberStatus": "MarketingUser",
    "FieldPermissions": "ManageProfilesPermissionsets",
    "ObjectPermissions": "ManageProfilesPermissionsets",
    "PermissionSet": "ManageProfilesPermissionsets",
    "PermissionSetAssignment": "AssignPermissionSets",
}
"""The user's permission that writing records of a kind takes besides the kind's own."""
GRANTS = frozenset({"FieldPermissions", "PermissionSetAssignment", "PermissionSet"})
"""The kinds of records that say who may see a custom field."""


@dataclass(slots=True)
class Access:
    """Permissions, as the administrator of the org left them.

    hidden: Fields that are not to be seen (`Contact.HasOptedOutOfEmail`).
    read_only: Fields that are seen and not written.
    denied: What may not be done with a kind of record (`Campaign.create`, `Task.read`).
    permissions: The permissions of the user as a whole.
    """

    hidden: set[str] = field(default_factory=set)
    read_only: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    permissions: set[str] = field(default_factory=lambda: set(USER_PERMISSIONS))
    grants: dict[str, bool] | None = None
    version: int = 0

    def forget(self) -> None:
        """Look the grants up anew when they are next needed."""
        self.grants = None
        self.version += 1


class Viewer:
    """The integration user's eyes on the org."""

    def __init__(self, state: State) -> None:
        self._state = state

    def granted(self, name: str) -> bool | None:
        """Whether a custom field may be written (True), only read (False), or is not open to us at all (None)."""
        access = self._state.access
        if access.grants is None:
            access.grants = self._grants()
        return access.grants.get(name)

    def sees(self, kind: SObject, one: Field) -> bool:
        """Whether the field is there for us."""
        name = f"{kind.name}.{one.name}"
        if name in self._state.access.hidden or not self._state.has_feature(one.feature):
            return False
        return not one.custom or one.required or self.granted(name) is not None

    def writes(self, kind: SObject, one: Field, operation: str) -> bool:
        """Whether the field may be written by `create` or `update`."""
        name = f"{kind.name}.{one.name}"
        open_to_all = one.createable if operation == "create" else one.updateable
        if not open_to_all or one.derived is not None or name in self._state.access.read_only:
            return False
        return not one.custom or one.required or bool(self.granted(name))

    def may(self, kind: SObject, operation: str) -> bool:
        """Whether records of this kind may be read, created, edited or deleted."""
        demanded = DEMANDS.get(kind.name)
        if demanded is not None and operation != "read" and demanded not in self._state.access.permissions:
            return False
        able = {"create": kind.createable, "edit": kind.updateable, "delete": kind.deletable}.get(operation, True)
        return able and f"{kind.name}.{operation}" not in self._state.access.denied

    def kind(self, name: str) -> SObject:
        """The kind of record of this name; 404 when there is none for us."""
        found = self._state.kind(name)
        if found is None or not self.may(found, "read"):
            raise Refusal("NOT_FOUND", "The requested resource does not exist", status=NOT_FOUND)
        return found

    def field(self, kind: SObject, name: str) -> Field:
        """The field of this name; INVALID_FIELD when there is none for us."""
        found = kind.find(name)
        if found is None or not self.sees(kind, found):
            raise RowError("INVALID_FIELD", f"No such column '{name}' on sobject of type {kind.name}", [name])
        return found

    def fields(self, kind: SObject) -> list[Field]:
        """Every field there is for us, in order."""
        return [one for one in kind.fields.values() if self.sees(kind, one)]

    def demand(self, kind: SObject, operation: str) -> None:
        """Raise what the vendor says to a row whose kind we may not create, edit or delete."""
        if self.may(kind, operation):
            return
        if operation == "delete":
            raise RowError("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id")
        raise RowError(
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            f"entity type cannot be {'inserted' if operation == 'create' else 'updated'}: {kind.label}",
        )

    def need(self, permission: str) -> None:
        """Raise what the vendor says to somebody without this permission."""
        if permission in self._state.access.permissions:
            return
        if permission == "ApiEnabled":
            raise Refusal(
                "API_DISABLED_FOR_ORG", "The REST API is not enabled for this Organization.", status=FORBIDDEN
            )
        raise Refusal(
            "INSUFFICIENT_ACCESS",
            f"You do not have the level of access necessary to perform the operation you requested ({permission}).",
            status=FORBIDDEN,
        )

    def _grants(self) -> dict[str, bool]:
        state = self._state
        assigned = {
            row.values["PermissionSetId"]
            for row in state.stores["PermissionSetAssignment"].matching("AssigneeId", state.integration_user)
            if not row.is_deleted
        }
        found: dict[str, bool] = {}
        for row in state.stores["FieldPermissions"]:
            if row.values["ParentId"] in assigned and row.values.get("PermissionsRead"):
                name = str(row.values["Field"])
                found[name] = found.get(name, False) or bool(row.values.get("PermissionsEdit"))
        return found

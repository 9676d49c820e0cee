"""What an org is set up with: its users, permission sets and custom fields, as kinds of records."""

from __future__ import annotations

from adapters.salesforce.ids import PREFIXES
from adapters.salesforce.sandbox import derived
from adapters.salesforce.sandbox.fields import SObject, sobject
from adapters.salesforce.sandbox.making import address, fixed, link, long_text, moment, once, pick, text, yes_no


def administration() -> list[SObject]:
    """The kinds of records that an administrator works on."""
    return [
        sobject(
            "User",
            PREFIXES["User"],
            "User",
            (
                text("Name", 121, derived=derived.full_name, **fixed()),
                text("FirstName", 40),
                text("LastName", 80, required=True),
                text("Username", 80, required=True, unique=True),
                address("Email", required=True),
                text("Alias", 8),
                yes_no("IsActive", default=True),
                yes_no("UserPermissionsMarketingUser", derived=derived.is_marketing_user, **fixed()),
                link("ProfileId", "Profile"),
                pick("UserType", "Standard", "PowerPartner", default="Standard", **fixed()),
                text("TimeZoneSidKey", 40, default="UTC"),
                moment("LastLoginDate", **fixed()),
            ),
            deletable=False,
        ),
        sobject(
            "Profile",
            PREFIXES["Profile"],
            "Profile",
            (text("Name", 255, required=True), link("UserLicenseId", "UserLicense")),
            createable=False,
            deletable=False,
        ),
        sobject(
            "UserLicense",
            PREFIXES["UserLicense"],
            "User License",
            (text("Name", 40, **fixed()), text("LicenseDefinitionKey", 40, **fixed())),
            createable=False,
            updateable=False,
            deletable=False,
        ),
        sobject(
            "Organization",
            PREFIXES["Organization"],
            "Organization",
            (
                text("Name", 80, required=True),
                pick("OrganizationType", "Developer Edition", "Enterprise Edition", "Unlimited Edition", **fixed()),
                yes_no("IsSandbox", **fixed()),
                text("InstanceName", 5, **fixed()),
                text("NamespacePrefix", 15, **fixed()),
                moment("TrialExpirationDate", **fixed()),
                pick("DefaultLocaleSidKey", "en_US", "de_DE"),
                text("TimeZoneSidKey", 40),
                pick("LanguageLocaleKey", "en_US", "de"),
            ),
            createable=False,
            deletable=False,
        ),
        sobject(
            "PermissionSet",
            PREFIXES["PermissionSet"],
            "Permission Set",
            (
                text("Name", 80, required=True),
                text("Label", 80, required=True),
                long_text("Description", 255),
                yes_no("IsOwnedByProfile", **fixed()),
                link("ProfileId", "Profile", **fixed()),
                yes_no("PermissionsApiEnabled"),
                yes_no("PermissionsViewSetup"),
                yes_no("PermissionsRunFlow"),
                yes_no("PermissionsMarketingUser"),
                yes_no("PermissionsCustomizeApplication"),
            ),
        ),
        sobject(
            "PermissionSetAssignment",
            PREFIXES["PermissionSetAssignment"],
            "Permission Set Assignment",
            (
                link("PermissionSetId", "PermissionSet", required=True, **once()),
                link("AssigneeId", "User", required=True, **once()),
                yes_no("IsActive", default=True, **fixed()),
            ),
        ),
        sobject(
            "CustomField",
            PREFIXES["CustomField"],
            "Custom Field",
            (text("DeveloperName", 40), text("TableEnumOrId", 40), text("NamespacePrefix", 15, **fixed())),
            tooling=True,
        ),
        sobject(
            "ObjectPermissions",
            PREFIXES["ObjectPermissions"],
            "Object Permissions",
            (
                link("ParentId", "PermissionSet", required=True, **once()),
                pick("SobjectType", required=True, **once()),
                *(
                    yes_no(f"Permissions{what}")
                    for what in ("Read", "Create", "Edit", "Delete", "ViewAllRecords", "ModifyAllRecords")
                ),
            ),
        ),
        sobject(
            "FieldPermissions",
            PREFIXES["FieldPermissions"],
            "Field Permissions",
            (
                link("ParentId", "PermissionSet", required=True, **once()),
                pick("SobjectType", required=True, **once()),
                pick("Field", required=True, **once()),
                yes_no("PermissionsRead"),
                yes_no("PermissionsEdit"),
            ),
        ),
    ]

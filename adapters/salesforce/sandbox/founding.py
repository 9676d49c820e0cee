"""What every org has from its first day: itself, two users, a profile, a licence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.salesforce.ids import record_id
from adapters.salesforce.sandbox.records import Row

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.state import State


def found(state: State) -> None:
    """Fill a fresh org."""
    now_ms = state.clock.now_ms()
    profile, licence = record_id("Profile", 1), record_id("UserLicense", 1)
    users = (
        (state.admin_user, "Ada", "Admin", "admin"),
        (state.integration_user, "Winback", "Integration", "integration"),
    )
    rows: list[tuple[str, dict[str, Any]]] = [
        (
            state.org_id,
            {
                "Name": "Acme",
                "OrganizationType": "Developer Edition",
                "IsSandbox": True,
                "InstanceName": "SBX1",
                "DefaultLocaleSidKey": "en_US",
                "TimeZoneSidKey": "UTC",
                "LanguageLocaleKey": "en_US",
            },
        ),
        (licence, {"Name": "Salesforce Integration", "LicenseDefinitionKey": "SFDC_INTEGRATION"}),
        (profile, {"Name": "Minimum Access - API Only Integrations", "UserLicenseId": licence}),
    ]
    for user_id, first, last, name in users:
        values = {
            "FirstName": first,
            "LastName": last,
            "Username": f"{name}@sandbox.example",
            "Email": f"{name}@sandbox.example",
            "Alias": name[:8],
            "IsActive": True,
            "UserType": "Standard",
            "TimeZoneSidKey": "UTC",
            "ProfileId": profile,
        }
        rows.append((user_id, values))
    state.load(Row(one, values, now_ms, now_ms, now_ms, state.admin_user, state.admin_user) for one, values in rows)
    state.stores["User"].last_number = len(users)

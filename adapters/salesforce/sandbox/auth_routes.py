"""The token endpoint, and who we are."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from adapters.salesforce.sandbox import USERNAME
from adapters.salesforce.sandbox.answers import Answer
from adapters.salesforce.sandbox.api import Call, Rule

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.running import SalesforceSandbox


def rules(sandbox: SalesforceSandbox) -> tuple[Rule, ...]:
    """The operations that need no version."""

    def token(call: Call) -> Answer:
        form = dict(parse_qsl(call.raw.decode("utf-8", "replace"), keep_blank_values=True))
        authorization = call.headers.get("authorization", "")
        return Answer(200, sandbox.sessions.login(form, authorization, base_url=call.base_url))

    def userinfo(call: Call) -> Answer:
        state = call.state
        return Answer(
            200,
            {
                "sub": f"{call.base_url}/id/{state.org_id}/{state.integration_user}",
                "user_id": state.integration_user,
                "organization_id": state.org_id,
                "preferred_username": USERNAME,
                "active": True,
            },
        )

    return (
        Rule("POST", "/services/oauth2/token", token, "logins", versioned=False, free=True),
        Rule("GET", "/services/oauth2/userinfo", userinfo, "logins", versioned=False),
    )

"""The control API for what the sandbox sends: outbound messages, the credential of call-outs, what came back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.salesforce.ids import to_18
from adapters.salesforce.sandbox.control import Body, Knobs
from adapters.salesforce.sandbox.outbound import configure

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.running import SalesforceSandbox

SHOWN = 200
OURSELVES = "integration"
"""For `not_by`: the user that winback writes as."""


class OutgoingControl:
    """One method a knob, as in `control`."""

    def __init__(self, sandbox: SalesforceSandbox) -> None:
        self._state = sandbox.state
        self._outbound = sandbox.outbound
        self._sending = sandbox.sending

    def outbound(self, body: Body) -> Any:
        """Read the outbound messages, or make one.

        `{"name", "object": "Contact", "url", "fields": […], "watches": […], "not_by": "integration" or a user's id}`;
        `watches` are the fields a change of which sends it (default: all it carries; `[]`: only a flow sends it).
        `duplicates` (a share) and `disorder_seconds` are the two ways in which deliveries go wrong.
        """
        configure(self._outbound, body)
        if body.get("url"):
            not_by = body.get("not_by")
            self._outbound.define(
                str(body["name"]),
                sobject=str(body["object"]),
                url=str(body["url"]),
                fields=[str(name) for name in body.get("fields") or ()],
                watches=None if body.get("watches") is None else [str(name) for name in body["watches"]],
                not_by=self._state.integration_user if not_by == OURSELVES else to_18(not_by) if not_by else None,
            )
        return {**self._outbound.body(), "org_id": self._state.org_id, "integration_user": self._state.integration_user}

    def credential(self, body: Body) -> Any:
        """Read or set what flows call out with: `{"base_url": "https://…", "secret": "…"}`."""
        for name in ("base_url", "secret"):
            if name in body:
                setattr(self._sending.credential, name, str(body[name]))
        return self._sending.credential.body()

    def deliveries(self, body: Body) -> Any:
        """What was sent, newest first."""
        sent = self._sending.deliveries
        latest = sent[: -1 - int(body.get("limit") or SHOWN) : -1]
        return {"total": len(sent), "deliveries": [delivery.body() for delivery in latest]}


def knobs(sandbox: SalesforceSandbox) -> Knobs:
    """The knobs of what is sent."""
    control = OutgoingControl(sandbox)
    return (
        ("GET", "outbound", control.outbound),
        ("POST", "outbound", control.outbound),
        ("GET", "credential", control.credential),
        ("POST", "credential", control.credential),
        ("GET", "deliveries", control.deliveries),
    )

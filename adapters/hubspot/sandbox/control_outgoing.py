"""The control API for what the sandbox sends: webhooks, an app's actions, and who waits at one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask

from adapters.hubspot.sandbox.control import Body, Knobs, put_knobs

if TYPE_CHECKING:
    from adapters.hubspot.sandbox.running import HubSpotSandbox

SHOWN = 200


class OutgoingControl:
    """One method a knob, as in `control`."""

    def __init__(self, sandbox: HubSpotSandbox) -> None:
        self._state = sandbox.state
        self._outgoing = sandbox.outgoing

    def webhooks(self, body: Body) -> Any:
        """Read or change an app's webhooks.

        `{"target_url", "client_secret", "app_id", "subscriptions": [{"type": "contact.propertyChange", "property"}]}`;
        `duplicates` (a share) and `disorder_seconds` are the two ways in which deliveries go wrong.
        """
        self._state.news.configure(body)
        return self._state.news.body()

    def deliveries(self, body: Body) -> Any:
        """What was sent, newest first."""
        latest = self._outgoing.deliveries[: -1 - int(body.get("limit") or SHOWN) : -1]
        return {"total": len(self._outgoing.deliveries), "deliveries": [delivery.body() for delivery in latest]}

    def actions(self, body: Body) -> Any:
        """Read the actions of apps, or make one: `{"name", "url", "properties": [names]}`."""
        if body.get("url"):
            names = tuple(str(name) for name in body.get("properties") or ())
            self._state.calls.define(str(body["name"]), str(body["url"]), names)
        return {
            "actions": [
                {"type_id": made.type_id, "name": made.name, "url": made.url}
                for made in self._state.calls.definitions.values()
            ]
        }

    def waiting(self, body: Body) -> Any:
        """Contacts at an action of an app; with `?all=1` also those that have gone on."""
        self._state.settle()
        calls = list(self._state.calls.calls.values()) if body.get("all") else self._state.calls.waiting()
        return {"calls": [call.shown() for call in calls]}


def add_routes(app: Flask, sandbox: HubSpotSandbox) -> None:
    """Put the knobs into the application."""
    control = OutgoingControl(sandbox)
    table: Knobs = (
        ("GET", "webhooks", control.webhooks),
        ("POST", "webhooks", control.webhooks),
        ("GET", "deliveries", control.deliveries),
        ("GET", "actions", control.actions),
        ("POST", "actions", control.actions),
        ("GET", "waiting", control.waiting),
    )
    put_knobs(app, sandbox, table)

"""HubSpot: reads contacts, companies and mail events, writes lists and contact properties."""

from __future__ import annotations

from pathlib import Path

from adapters.hubspot.options import HubSpotOptions
from connector.contracts import Adapter, Connection, Destination, Sandbox, SandboxOptions, Source


def _source(connection: Connection) -> Source:
    """The reading side."""
    from adapters.hubspot.source import HubSpotSource

    return HubSpotSource(connection)


def _destination(connection: Connection) -> Destination:
    """The writing side."""
    from adapters.hubspot.destination import HubSpotDestination

    return HubSpotDestination(connection)


def _sandbox(options: SandboxOptions) -> Sandbox:
    """A local look-alike, served until stopped."""
    from adapters.hubspot.sandbox import start

    return start(options)


ADAPTER = Adapter(
    name="hubspot",
    title="HubSpot",
    options=HubSpotOptions,
    folder=Path(__file__).parent,
    source=_source,
    destination=_destination,
    sandbox=_sandbox,
)

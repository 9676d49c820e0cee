"""Salesforce: reads people, accounts, deals and consent, writes campaign members and fields."""

from __future__ import annotations

from pathlib import Path

from adapters.salesforce.options import SalesforceOptions
from connector.contracts import Adapter, Connection, Destination, Sandbox, SandboxOptions, Source


def _source(connection: Connection) -> Source:
    """The reading side."""
    from adapters.salesforce.source import SalesforceSource

    return SalesforceSource(connection)


def _destination(connection: Connection) -> Destination:
    """The writing side."""
    from adapters.salesforce.destination import SalesforceDestination

    return SalesforceDestination(connection)


def _sandbox(options: SandboxOptions) -> Sandbox:
    """A local look-alike, served until stopped."""
    from adapters.salesforce.sandbox import start

    return start(options)


ADAPTER = Adapter(
    name="salesforce",
    title="Salesforce",
    options=SalesforceOptions,
    folder=Path(__file__).parent,
    source=_source,
    destination=_destination,
    sandbox=_sandbox,
)

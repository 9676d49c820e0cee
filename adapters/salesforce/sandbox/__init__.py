"""A local look-alike of a Salesforce org: stateful, over real HTTP, with its limits, odd shapes and bad days."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.contracts import SandboxOptions

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.running import SalesforceSandbox

CLIENT_ID = "sandbox-consumer-key"
CLIENT_SECRET = "sandbox-consumer-secret"  # noqa: S105 - the one secret the sandbox takes, secret to nobody
USERNAME = "integration@sandbox.example"
"""The user of the org that we act as."""

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "USERNAME", "start"]


def start(options: SandboxOptions) -> SalesforceSandbox:
    """Serve a look-alike in a thread of this process until its `stop` is called; Flask is imported only now."""
    from adapters.salesforce.sandbox.running import SalesforceSandbox as Running

    return Running(options)

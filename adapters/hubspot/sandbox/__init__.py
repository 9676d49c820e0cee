"""A local look-alike of HubSpot: stateful, over real HTTP, with its limits, odd shapes and bad days."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.contracts import SandboxOptions

if TYPE_CHECKING:
    from adapters.hubspot.sandbox.running import HubSpotSandbox

TOKEN = "sandbox-token"  # noqa: S105 - the one token the sandbox takes, secret to nobody

__all__ = ["TOKEN", "start"]


def start(options: SandboxOptions) -> HubSpotSandbox:
    """Serve a look-alike in a thread of this process until its `stop` is called; Flask is imported only now."""
    from adapters.hubspot.sandbox.running import HubSpotSandbox as Running

    return Running(options)

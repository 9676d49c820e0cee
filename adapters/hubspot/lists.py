"""Lists as both the destination and the workflows look them up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from adapters.hubspot.client import HubSpotClient, HubSpotRejected

CONTACT_TYPE: Final = "0-1"
_NOT_FOUND = 404


def list_named(client: HubSpotClient, name: str) -> Mapping[str, Any]:
    """The contact list that HubSpot finds under this name, whatever its case; empty if there is none."""
    path = client.path("lists", "/object-type-id/{objectTypeId}/name/{listName}")
    try:
        answer = client.read(path, place={"objectTypeId": CONTACT_TYPE, "listName": name}) or {}
    except HubSpotRejected as refusal:
        if refusal.status == _NOT_FOUND:
            return {}
        raise
    found: Mapping[str, Any] = answer.get("list") or {}
    return found

"""Which API version each resource is called with, and until when HubSpot supports it.

HubSpot publishes dated versions each March and September; one is unsupported 18 months after its release. Contacts and
companies stay on 2026-03: from 2026-09 on, writes enforce the administrators' conditional-required rules, which would
refuse rows that 2026-03 accepts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Final


@dataclass(frozen=True, slots=True)
class Resource:
    """A family of paths: the dated form, the form before dates, and the version we call.

    only: It exists in this version alone, whatever version the settings ask for. undated: what stands in for `v3`,
    where the family's `v3` is another one.
    """

    dated: str
    legacy: str
    version: str
    only: bool = False
    undated: str | None = None


RESOURCES: Final[dict[str, Resource]] = {
    "objects": Resource("/crm/objects/{version}", "/crm/{version}/objects", "2026-03"),
    "lists": Resource("/crm/lists/{version}", "/crm/{version}/lists", "2026-09"),
    "properties": Resource("/crm/properties/{version}", "/crm/{version}/properties", "2026-09"),
    "exports": Resource("/crm/exports/{version}", "/crm/{version}/exports", "2026-09"),
    "limits": Resource("/crm/limits/{version}", "/crm/{version}/limits", "2026-09"),
    "account-info": Resource("/account-info/{version}", "/account-info/{version}", "2026-09"),
    # No dated version of the workflows is out of beta, and enrolling one contact has no successor at all.
    "automation": Resource("/automation/{version}", "/automation/{version}", "v4", only=True),
    "enrollments": Resource("/automation/{version}/workflows", "/automation/{version}/workflows", "v2", only=True),
    "associations": Resource("/crm/associations/{version}", "/crm/{version}/associations", "2026-09", undated="v4"),
    "callbacks": Resource(
        "/automation/actions/callbacks/{version}", "/automation/{version}/actions/callbacks", "2026-09", undated="v4"
    ),
    "preferences": Resource(
        "/communication-preferences/{version}", "/communication-preferences/{version}", "2026-09", undated="v4"
    ),
}
"""Everything we call, by the name used in `path`."""

_DATED = re.compile(r"(\d{4})-(\d{2})")
_SUPPORT_MONTHS = 18
_LEGACY_ENDS = date(2027, 9, 1)  # v1 to v3, announced 15 September 2026
_V4_ENDS = date(2027, 3, 30)  # with the release 2027-03


def path(resource: str, tail: str = "", *, version: str | None = None) -> str:
    """The path of a call: `path("lists", "/{listId}/memberships")`; `version` overrides the table."""
    entry = RESOURCES[resource]
    chosen = _chosen(entry, version)
    template = entry.dated if _DATED.fullmatch(chosen) else entry.legacy
    return template.format(version=chosen) + tail


def unsupported_from(version: str) -> date:
    """The first day HubSpot no longer supports a version."""
    match = _DATED.fullmatch(version)
    if match is None:
        return _V4_ENDS if version == "v4" else _LEGACY_ENDS
    months = int(match[1]) * 12 + int(match[2]) - 1 + _SUPPORT_MONTHS
    return date(months // 12, months % 12 + 1, 1)


def in_use(version: str | None = None) -> dict[str, str]:
    """The version each resource is called with; without those that only direct enrollment needs."""
    return {name: _chosen(entry, version) for name, entry in RESOURCES.items() if not entry.only}


def _chosen(entry: Resource, version: str | None) -> str:
    if entry.only or version is None:
        return entry.version
    return version if _DATED.fullmatch(version) else entry.undated or version

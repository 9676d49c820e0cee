"""What the CRM should hold: lists and properties, for everybody who may be on them.

Reads one row per contact that is in a segment or known to the destination; decides nothing that is not in the
row. Who may not be touched is left out with a reason code and taken off whatever list they are on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connector.model import PropertySpec, Segment

LIST_PREFIX = "winback · "

SEGMENT_PROPERTY = "winback_segment"
"""The property that names the segments a contact is in; its choices are the playbook's segments."""

REASONS: Mapping[str, str] = {
    "opted_out": "has unsubscribed",
    "bounced": "mail to the address fails for good",
    "deleted": "was deleted in the CRM",
    "merged": "was merged into another contact",
    "not_in_crm": "is not a contact of this CRM",
}
"""Why somebody in a segment is written nowhere: code and words."""


def list_name(segment: str) -> str:
    """The name of a segment's list in the CRM."""
    return f"{LIST_PREFIX}{segment}"


def blocked_reason(row: Mapping[str, Any]) -> str | None:
    """The code of the first reason why this contact must not be on a list; None if there is none."""
    if row.get("merged_into") is not None:
        return "merged"
    if row.get("deleted_at") is not None:
        return "deleted"
    if row.get("opted_out"):
        return "opted_out"
    return "bounced" if row.get("bounced") else None


def property_specs(segments: Iterable[Segment]) -> tuple[PropertySpec, ...]:
    """The contact properties winback owns; the choices of `winback_segment` are the playbook's segments."""
    choices = tuple((segment.name, segment.name.replace("_", " ")) for segment in segments)
    return (
        PropertySpec(
            SEGMENT_PROPERTY, "Winback segment", "choices", "Which dormancy segments this person is in.", choices
        ),
        PropertySpec(
            "winback_last_active_at", "Winback last active", "datetime", "Last use of the product that counts, in UTC."
        ),
        PropertySpec(
            "winback_dormant_since", "Winback dormant since", "date", "First day without any use of the product."
        ),
        PropertySpec("winback_last_feature", "Winback last feature", "text", "What this person used last."),
    )


def property_values(row: Mapping[str, Any], segments: Sequence[str]) -> dict[str, str | None]:
    """The values of one contact's properties as the CRM stores them: text, times in UTC, None for empty."""
    from datetime import UTC, timedelta

    last = row.get("last_active_at")
    since = row.get("last_active_on")
    return {
        SEGMENT_PROPERTY: ";".join(segments) or None,
        "winback_last_active_at": (
            last.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z") if last else None
        ),
        "winback_dormant_since": (since + timedelta(days=1)).isoformat() if since else None,
        "winback_last_feature": row.get("last_feature"),
    }

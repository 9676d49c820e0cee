"""Why people leave: the reasons we tell apart, by code, with their plain titles."""

from __future__ import annotations

from collections.abc import Mapping

REASONS: Mapping[str, str] = {
    "price": "Price",
    "missing_feature": "Something is missing",
    "not_now": "Not now",
    "competitor": "Switched to something else",
    "too_complex": "Too complex",
    "quality": "Bugs or performance",
    "support": "Support",
    "project_ended": "The need is gone",
    "changed_job": "Changed job",
    "other": "Another reason",
}
"""Code → title. `other` comes from a choice only: no text is ever read as it, one that says nothing stays unknown."""

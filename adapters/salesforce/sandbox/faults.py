"""The bad days of this vendor, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adapters.lookalike.faults import Fault, chosen_faults

SWITCHES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "timeouts": (
        {"kind": "timeout", "when": "before", "probability": 0.004},
        {"kind": "timeout", "when": "after", "probability": 0.004},
    ),
    "resets": (
        {"kind": "reset", "when": "before", "probability": 0.015},
        {"kind": "reset", "when": "after", "probability": 0.015},
    ),
    "errors": tuple(
        {"kind": "error", "status": status, "when": when, "probability": 0.006}
        for status in (500, 502, 503, 504)
        for when in (("before", "after") if status >= 502 else ("before",))  # noqa: PLR2004 - a gateway may lose an answer
    ),
    "rate_limits": ({"kind": "rate_limit", "policy": "ConcurrentRequests", "probability": 0.005},),
    "slow": ({"kind": "slow", "seconds": 0.4, "probability": 0.03},),
    "duplicates": ({"kind": "duplicate", "method": "PATCH", "path": "/composite/sobjects", "probability": 0.05},),
    "no_ops": ({"kind": "no_op", "path": "/composite/sobjects", "probability": 0.03},),
    "short_pages": ({"kind": "short_page", "path": "/query", "probability": 0.3},),
    "locks": (),
    "sessions": (),
    "lag": (),
    "webhook_duplicates": (),
    "webhook_disorder": (),
}
"""Names for `SandboxOptions.faults` and `--faults`.

`locks`: rows are locked by others now and then. `sessions`: tokens end early. `lag`: flows and jobs are late.
`webhook_duplicates`, `webhook_disorder`: outbound messages come twice, and late.
"""


def faults_named(names: Iterable[str]) -> list[Fault]:
    """The faults behind the switches; `all` is every one of them."""
    return chosen_faults(names, SWITCHES)

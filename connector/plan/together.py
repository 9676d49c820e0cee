"""Plans that were made together, one for each CRM, told as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from connector.plan.document import SCHEMA_VERSION, Plan

_COUNTED = ("enter", "steps", "skipped", "exit", "offers")
_SUMMED = ("held_out", "inside", "offers_cost")


def summary_of(
    plans: Sequence[Plan], *, further: Sequence[Mapping[str, Any]], away: Mapping[str, str]
) -> dict[str, Any]:
    """What `winback plan --json` prints: one plan's summary, or the sums of several with each of them under its name.

    Args:
        plans: In order.
        further: What is said besides of each.
        away: Destinations nothing could be planned for, and why not.
    """
    each = {plan.destination: {**plan.summary(), **more} for plan, more in zip(plans, further, strict=True)}
    if len(plans) == 1 and not away:
        return each[plans[0].destination]
    if not plans:
        return {"schema_version": SCHEMA_VERSION, "destinations": {}, "away": dict(away)}
    first = plans[0]
    excluded: dict[str, set[str]] = {}
    for plan in plans:
        for reason, contact_ids in plan.excluded.items():
            excluded.setdefault(reason, set()).update(contact_ids)
    return {
        "schema_version": SCHEMA_VERSION,
        "plan_id": "+".join(plan.plan_id for plan in plans),
        "account": first.account,
        "as_of": first.as_of.isoformat(),
        "made_at": first.made_at.isoformat(),
        "expires_at": first.expires_at.isoformat(),
        "changes": _added(one["changes"] for one in each.values()),
        "excluded": {reason: len(excluded[reason]) for reason in sorted(excluded)},
        "deferred": _added(plan.deferred for plan in plans),
        "holdout": sum(plan.holdout for plan in plans),
        "programs": {name: _program([plan.programs[name] for plan in plans]) for name in first.programs},
        "api_calls": {plan.destination: plan.api_calls for plan in plans},
        "guards": [{**guard, "destination": name} for name, one in each.items() for guard in one["guards"]],
        "drift": [f"{name}: {note}" for name, one in each.items() for note in one.get("drift", ())],
        "destinations": each,
        **({"away": dict(away)} if away else {}),
    }


def _added(counts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def _program(said: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What happens in a program in all CRMs; how it is split, and what can be detected, is the install's."""
    return {
        **said[0],
        **{key: _added(one.get(key, {}) for one in said) for key in _COUNTED},
        **{key: round(sum(one.get(key, 0) for one in said), 2) for key in _SUMMED},
    }

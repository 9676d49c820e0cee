"""The health gate: whether a program's mail is welcome enough to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from connector.program.model import HealthSettings

DAYS = 30
"""Over how many days back the counts are taken."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a program may go on.

    paused: It may not. why: The limits that are reached, one line each.
    warnings: What is near a limit.
    figures: Shares by name: spam, bounce, unsubscribe; empty where nothing was sent.
    sent: How many mails they are of.
    judged: There were enough mails to judge by.
    """

    paused: bool
    warnings: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    why: tuple[str, ...] = ()
    sent: int = 0
    judged: bool = False


def judge(counts: Mapping[str, int], settings: HealthSettings) -> Health:
    """The verdict on one program.

    counts: `sent`, `delivered`, `bounce` (for good), `spam`, `unsubscribe` of the last `DAYS` days; what is missing
        is zero. Bounces are a share of the mails sent; complaints and unsubscribes of those delivered, or sent less
        bounced where the system reports no deliveries. A share that reaches its limit exactly is over it.
    """
    bounces = _count(counts, "bounce")
    sent = max(_count(counts, "sent"), _count(counts, "delivered") + bounces)
    delivered = _count(counts, "delivered") or sent - bounces
    shares = {
        "spam": (_count(counts, "spam"), delivered),
        "bounce": (bounces, sent),
        "unsubscribe": (_count(counts, "unsubscribe"), delivered),
    }
    figures = {name: part / whole for name, (part, whole) in shares.items() if whole}
    if sent < settings.sample:
        return Health(paused=False, figures=figures, sent=sent)
    limits = {"spam": settings.spam, "bounce": settings.bounce, "unsubscribe": settings.unsubscribe}
    why = tuple(_line(name, *shares[name], limits[name]) for name in limits if _reaches(*shares[name], limits[name]))
    warned = _reaches(*shares["bounce"], settings.bounce_warn) and not _reaches(*shares["bounce"], settings.bounce)
    warnings = (_line("bounce", *shares["bounce"], settings.bounce_warn),) if warned else ()
    return Health(bool(why), warnings, figures, why, sent, judged=True)


_SAID = {"spam": "spam reports", "bounce": "hard bounces", "unsubscribe": "unsubscribes"}


def _count(counts: Mapping[str, int], name: str) -> int:
    return max(0, int(counts.get(name) or 0))


def _reaches(part: int, whole: int, limit: float) -> bool:
    """Exactly: 0.05 of 200 is 10, whatever binary fractions make of it. Complaints about nothing delivered count."""
    return part > 0 and part >= Fraction(str(limit)) * whole


def _line(name: str, part: int, whole: int, limit: float) -> str:
    share = f"{part / whole:.2%}" if whole else "100%"
    return (
        f"{part:,} {_SAID[name]} in {whole:,} mails of the last {DAYS} days ({share}); the limit is {limit * 100:.3g}%"
    )

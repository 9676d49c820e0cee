"""Who is left alone and who gets which variant: keyed hashes, so that the answer is the same whenever it is asked.

The draw is `u = first 8 hex digits of SHA-256("salt:unit") / 2**32`, uniform in [0, 1). Nothing about the contact
goes into it but the unit, so it cannot lean towards anybody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from connector.program.model import HOLDOUT, TREATED, HoldoutSettings, Split

DEFAULT_SHARES: tuple[tuple[int, float], ...] = ((2_000, 0.5), (5_000, 0.3), (20_000, 0.2))
"""Up to so many eligible contacts, such a share of them is held out."""

LEAST_SHARE = 0.1
"""The share above the last line of DEFAULT_SHARES."""

CROWDED = 1.3
"""Above so many eligible contacts an account, whole accounts are drawn: colleagues talk."""

CONTACT = "contact"
ACCOUNT = "account"

_RANGE = 2**32
_OF_ACCOUNTS = "account_"


def draw(salt: str, unit: str) -> float:
    """A number in [0, 1) that belongs to this unit under this salt, for good."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{unit}".encode()).digest()[:4]) / _RANGE


def unit_of(split: Split, *, contact_id: str, spell_started_on: date, account_id: str | None) -> str:
    """What is drawn: the spell of the contact or, where whole accounts are, the account; without one, the contact."""
    if split.unit == ACCOUNT:
        return account_id or contact_id
    return f"{contact_id}/{spell_started_on.isoformat()}"


def stratum_of(by: Sequence[str], split: Split, *, segment: str, row: Mapping[str, Any]) -> str:
    """The part of the program a contact is drawn and measured in: its segment and columns, joined by `/`.

    Where whole accounts are drawn only what colleagues share counts, or they would be drawn apart.

    Args:
        by: `HoldoutSettings.by`: `segment`, or columns as written in conditions.
        split: How the program is split.
        segment: The segment the contact enters by.
        row: The contact's columns of the features relation.
    """
    relation = [_OF_ACCOUNTS + name.removeprefix("accounts.") if name.startswith("accounts.") else name for name in by]
    if split.unit == ACCOUNT:
        relation = [name for name in relation if name.startswith(_OF_ACCOUNTS) and name != "account_id"]
    parts = [segment if name == "segment" else _part(row.get(name)) for name in relation]
    return "/".join(parts)


def _part(value: Any) -> str:
    return "" if value is None else str(value).replace("%", "%25").replace("/", "%2F")


def drawn(split: Split, unit: str) -> float:
    """The draw that decides the arm: whoever is below the share is held out.

    The stratum is not part of it: whoever waits and moves on to another segment meanwhile keeps their arm. By chance
    each stratum holds its share; that it is recorded lets the result be worked out within strata.
    """
    return draw(split.salt, unit)


def arm(split: Split, unit: str) -> str:
    """`holdout` or `treated`. Kept in the episode when it opens; asked again it says the same."""
    return HOLDOUT if drawn(split, unit) < split.share else TREATED


def variant(step: str, shares: Mapping[str, float], split: Split, unit: str) -> str:
    """The variant of a step for this unit, by cumulative shares in the order written.

    Each step has a salt of its own, apart from the holdout's: who is held out, and which variant another step gave,
    says nothing about this one.
    """
    u = draw(f"{split.salt}/variant/{step}", unit) * sum(shares.values())
    reached = 0.0
    name = ""
    for name, share in shares.items():  # noqa: B007 - rounding may leave u beyond the last sum: the last one then
        reached += share
        if u < reached:
            break
    return name


def default_share(eligible: int) -> float:
    """The share to hold out of so many eligible contacts: half of a few, a tenth of very many."""
    return next((share for limit, share in DEFAULT_SHARES if eligible <= limit), LEAST_SHARE)


def choose_split(
    settings: HoldoutSettings, eligible: int, contacts_per_account: float | None, default_salt: str
) -> Split:
    """How a program is split: what the playbook says, else by the table. Kept at the first entry, never re-drawn.

    Args:
        settings: The program's.
        eligible: Contacts that could enter now.
        contacts_per_account: How many of them an account holds on average; None: no accounts are known.
        default_salt: Used where the playbook names none; the account's and the program's name.
    """
    unit = settings.unit
    if unit not in (CONTACT, ACCOUNT):
        unit = ACCOUNT if contacts_per_account is not None and contacts_per_account > CROWDED else CONTACT
    share = default_share(eligible) if settings.share is None else settings.share
    return Split(share=share, unit=unit, salt=settings.salt or default_salt, eligible=eligible)

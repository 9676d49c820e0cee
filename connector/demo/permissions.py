"""What the CRM knows of each contact's permission to be mailed, and what is odd about some of their addresses.

Drawn from a random stream of its own, so that the company is the same with it and without.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from connector.demo.names import ascii_slug
from connector.demo.places import COUNTRIES
from connector.demo.population import NEVER, Accounts, Flags, Floats, Ints, People, some

STREAM = 3
"""Which family of random streams this draws from; the population and the days have their own."""

BASES: tuple[str | None, ...] = ("consent_express", "contract", "legitimate_interest", None)
"""On what a permission rests, by number; the last is not said."""

_US = next(n for n, country in enumerate(COUNTRIES) if country.code == "US")
_CA = next(n for n, country in enumerate(COUNTRIES) if country.code == "CA")

_USUAL_BASES = (0.88, 0.05, 0.07, 0.0)
_BASES_IN_CANADA = (0.5, 0.5, 0.0, 0.0)
_BASES_IN_AMERICA = (0.2, 0.1, 0.0, 0.7)
"""Shares of BASES."""

USUAL, ABSENT, ROLE, BROKEN = range(4)
_ODD_SHARES = (0.012, 0.022, 0.026)
"""Cumulated shares of contacts without an address, with that of a role, and with one that is no address."""
_ODDITIES = np.array([ABSENT, ROLE, BROKEN, USUAL])

_ROLES = ("info", "sales", "support", "billing")


@dataclass(frozen=True, slots=True)
class Permissions:
    """One entry per contact, as in People.

    basis: Index into BASES. given: The day it was given.
    country_known: Whether the CRM knows the country.
    address: USUAL, ABSENT, ROLE or BROKEN.
    on_hold: Whether legal has put a hold on the contact.
    snoozed: The day on which somebody asks to be left alone; NEVER for most. snoozed_for: For how many days.
    """

    basis: Ints
    given: Ints
    country_known: Flags
    address: Ints
    on_hold: Flags
    snoozed: Ints
    snoozed_for: Ints


def draw_permissions(people: People, seed: int, contacts: int) -> Permissions:
    """Draw them for everybody: consent mostly, contracts in some countries, for Americans often nothing."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, STREAM, contacts])))
    count = len(people)
    draw = rng.random(count)
    basis = _drawn(draw, _USUAL_BASES)
    basis = np.where(people.country == _CA, _drawn(draw, _BASES_IN_CANADA), basis)
    basis = np.where(people.country == _US, _drawn(draw, _BASES_IN_AMERICA), basis)
    asked = people.created + rng.integers(0, 800, count)
    return Permissions(
        basis=basis,
        given=people.created + rng.integers(0, 20, count),
        country_known=~some(rng, count, 0.012),
        address=_ODDITIES[np.searchsorted(_ODD_SHARES, rng.random(count), side="right")],
        on_hold=some(rng, count, 0.002),
        snoozed=np.where(some(rng, count, 0.02), asked, NEVER),
        snoozed_for=rng.choice([30, 60, 90], count),
    )


def _drawn(draw: Floats, shares: tuple[float, ...]) -> Ints:
    return np.searchsorted(np.cumsum(shares)[:-1], draw, side="right").astype(np.int64)


def said_by(permissions: Permissions, at: int, *, day: int, starts: date) -> dict[str, str | None]:
    """The attributes of one contact that say something about permission, as of a day; None for what is not said."""
    basis = BASES[int(permissions.basis[at])]
    given = starts + timedelta(days=min(int(permissions.given[at]), day))
    asked = int(permissions.snoozed[at])
    until = asked + int(permissions.snoozed_for[at])
    return {
        "consent_basis": basis,
        "consent_at": given.isoformat() if basis is not None else None,
        "legal_hold": "true" if permissions.on_hold[at] else None,
        "snoozed_until": (starts + timedelta(days=until)).isoformat() if asked <= day < until else None,
    }


def odd_address(kind: int, at: int, people: People, accounts: Accounts) -> str | None:
    """The address of a contact whose address is not an ordinary one."""
    home = accounts.domain[people.account[at]] if people.account[at] >= 0 else "post.example.org"
    if kind == ROLE:
        return f"{_ROLES[at % len(_ROLES)]}@team{people.number[at]}.{home}"
    if kind == BROKEN:
        return f"{ascii_slug(people.first_name[at])}{people.number[at]}..@{home}"
    return None

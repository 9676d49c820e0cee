"""What each region's rules allow: on what a permission may rest, how long it holds, what the mail must carry.

A help to keep the rules one has chosen, not legal advice. Where the law leaves a length open, ours says so.
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from connector.errors import SettingError
from connector.program.countries import country_code
from connector.program.model import Basis, ConsentEvent, ConsentSettings

MONTHS_IN_YEAR = 12
_SHORTEST_MONTH = 28


class Since(StrEnum):
    """What a permission's time is counted from."""

    GIVEN = "given"
    """The day it was given."""
    PURCHASE = "purchase"
    """The last purchase or contract that is known."""
    CONTACT = "contact"
    """The last thing that came from the person: the permission, a purchase, a use, a click. Never an open."""


@dataclass(frozen=True, slots=True)
class Term:
    """How long a permission holds, to the day of the calendar; both absent: without end."""

    months: int = 0
    length: timedelta | None = None
    since: Since = Since.GIVEN

    @property
    def endless(self) -> bool:
        """No end is set."""
        return not self.months and self.length is None

    def ends(self, start: datetime) -> datetime:
        """The first moment it holds no more."""
        if self.length is not None:
            return start.astimezone(UTC) + self.length
        return months_after(start, self.months)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The rules of one region.

    bases: What a permission may rest on, each with the terms it may run by; where there are several, the one that
        ends last serves.
    opt_in: Permission is needed; otherwise it is enough that nobody objected.
    needs_country: Rests on the law of one country, so that it must be known that somebody is there.
    retention_months: How long somebody who does not answer may be kept; None: the law names no limit.
    footer: What every mail must carry.
    """

    name: str
    bases: Mapping[Basis, tuple[Term, ...]] = field(default_factory=dict)
    opt_in: bool = True
    needs_country: bool = False
    retention_months: int | None = None
    footer: tuple[str, ...] = ("unsubscribe_link", "sender_identity", "postal_address")


ENDLESS = (Term(),)
_EXISTING_BUSINESS = (
    Term(months=2 * MONTHS_IN_YEAR, since=Since.PURCHASE),  # CASL s. 10(10)(a): two years from the last purchase
    Term(months=6),  # CASL s. 10(10)(e): six months from an inquiry
)

PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            name="gdpr_strict",
            bases={Basis.CONSENT_EXPRESS: ENDLESS},
            retention_months=3 * MONTHS_IN_YEAR,  # CNIL: from the last contact that came from the person
            footer=("unsubscribe_link", "sender_identity", "postal_address", "reason_for_mail"),
        ),
        Profile(
            name="gdpr_soft_opt_in",
            bases={
                Basis.CONSENT_EXPRESS: ENDLESS,
                # 2002/58 art. 13(2) sets no length; three years without a sign is where regulators end a relation.
                Basis.SOFT_OPT_IN: (Term(months=3 * MONTHS_IN_YEAR, since=Since.CONTACT),),
            },
            retention_months=3 * MONTHS_IN_YEAR,
            footer=("unsubscribe_link", "sender_identity", "postal_address", "reason_for_mail"),
        ),
        Profile(
            name="can_spam",
            bases=dict.fromkeys(Basis, ENDLESS),
            opt_in=False,
            needs_country=True,
            footer=("unsubscribe_link", "sender_identity", "postal_address", "advertisement_notice"),
        ),
        Profile(
            name="casl",
            bases={
                Basis.CONSENT_EXPRESS: ENDLESS,
                Basis.CONSENT_IMPLIED: _EXISTING_BUSINESS,
                Basis.SOFT_OPT_IN: _EXISTING_BUSINESS,
                Basis.CONTRACT: _EXISTING_BUSINESS,
            },
        ),
        Profile(
            name="ccpa",
            bases=dict.fromkeys(Basis, ENDLESS),
            opt_in=False,
            needs_country=True,
            footer=("unsubscribe_link", "sender_identity", "postal_address", "privacy_choices_link"),
        ),
    )
}
"""The profiles that ship; `custom` is made of what the playbook says."""

CUSTOM = "custom"


def profile_for(settings: ConsentSettings, country: str | None) -> Profile:
    """The rules for somebody there; with no country known, for the assumed one, else the playbook's general ones."""
    name = settings.profile
    if settings.countries:
        code = country_code(country) or country_code(settings.assume_country)
        name = settings.countries.get(code or "", name)
    profile = PROFILES.get(name)
    return profile if profile is not None else _custom(name, settings)


def country_matters(settings: ConsentSettings, profile: Profile) -> bool:
    """Whether somebody whose country is unknown cannot be judged.

    That is so where the playbook has other rules for some countries, or where the rules are those of one country.
    """
    if settings.assume_country is not None:
        return False
    return profile.needs_country or any(name != settings.profile for name in settings.countries.values())


def keep_until(settings: ConsentSettings, profile: Profile, last_contact_at: datetime) -> datetime | None:
    """From when somebody who gave no sign since should be proposed for deletion; None: no limit."""
    if settings.retention is not None:
        return last_contact_at.astimezone(UTC) + settings.retention
    if profile.retention_months is None:
        return None
    return months_after(last_contact_at, profile.retention_months)


def months_after(start: datetime, months: int) -> datetime:
    """The same day so many months on, or the month's last where it has no such day; counted in UTC.

    29 February goes to 28 February, 31 August to 28 February: where the calendar leaves a choice, the earlier day.
    """
    start = start.astimezone(UTC)
    years, month = divmod(start.month - 1 + months, MONTHS_IN_YEAR)
    year, month = start.year + years, month + 1
    if start.day > _SHORTEST_MONTH:
        return start.replace(year=year, month=month, day=min(start.day, calendar.monthrange(year, month)[1]))
    return start.replace(year=year, month=month)


PURCHASES = frozenset({"purchase", "contract", "order", "upgrade", "payment", "membership"})
"""What `evidence.kind` of a permission may say for it to count as a purchase."""


def shows_purchase(grant: ConsentEvent) -> bool:
    """Whether the permission itself is evidence of a purchase or contract."""
    return grant.basis is Basis.CONTRACT or str(grant.evidence.get("kind", "")).lower() in PURCHASES


def _custom(name: str, settings: ConsentSettings) -> Profile:
    if name != CUSTOM:
        known = ", ".join((*PROFILES, CUSTOM))
        raise SettingError(f"program.consent: no profile '{name}'", hint=f"There are: {known}.")
    return _made_of(tuple(settings.custom.items()))


@lru_cache(maxsize=16)
def _made_of(terms: tuple[tuple[str, timedelta | None], ...]) -> Profile:
    return Profile(name=CUSTOM, bases={_basis(word): (Term(length=length),) for word, length in terms})


def _basis(word: str) -> Basis:
    try:
        return Basis(word)
    except ValueError:
        hint = f"There are: {', '.join(Basis)}."
        raise SettingError(f"program.consent.custom: no basis '{word}'", hint=hint) from None

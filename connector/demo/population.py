"""Who there is: the companies, the people the CRM knows and the users the product knows, as columns.

Drawn once from the seed and independent of how long the story runs, so that a longer story has the same people.
Days are counted from the first day of usage (day 0); the company was founded FOUNDED_DAY days before.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from connector.demo.names import RESERVED_DOMAINS, Addresses, firm_names, people_names
from connector.demo.places import COUNTRIES
from connector.demo.product import NOT_USAGE_INDEX, ROLES, feature_odds

FOUNDED_DAY = -240
"""The company is older than the usage it kept: who used it before day 0 may be long gone by then."""

GROWTH_DAYS = 730
"""By this day the CRM knows as many people as were asked for; some of them begin to use the product only later."""

COMING_DAYS = 90
"""How long after GROWTH_DAYS new people still become known; the story has no newcomers after that."""

NEVER = 1_000_000
"""A day that does not come."""

EVENTS_PER_DAY_MOST = 10_000_000
"""Event numbers of a day stay below this, so that numbers never repeat across days."""

PLAN_TIERS = ("free", "starter", "pro", "enterprise")
_TIER_SHARES = (0.30, 0.34, 0.26, 0.10)
_SEATS_WITHOUT_DISCOUNT = 20
_SEAT_PRICES = np.array([0.0, 12.0, 29.0, 54.0])

_PEOPLE_PER_ACCOUNT = 7
_CONTACTS_PER_OWNER = 400
_EXTRA_USERS_SHARE = 0.04
"""Product users the CRM has never heard of, per contact."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Link(StrEnum):
    """How a product user can be told to be a contact: the right answer that matching must find."""

    EXTERNAL_ID = "external_id"
    EMAIL = "email"
    SECONDARY_EMAIL = "secondary_email"
    UNKNOWN = "unknown"
    """Nobody in the CRM."""


LINKS = tuple(Link)


@dataclass(frozen=True, slots=True)
class Accounts:
    """One entry per company, in order of their start."""

    number: Ints
    name: list[str]
    domain: list[str]
    tier: Ints
    seats: Ints
    mrr: Floats
    owner: Ints
    country: Ints
    started: Ints

    def __len__(self) -> int:
        """How many companies."""
        return len(self.number)


@dataclass(frozen=True, slots=True)
class People:
    """One entry per contact of the CRM. `account` is an index into Accounts, -1 for none."""

    number: Ints
    account: Ints
    first_name: list[str]
    last_name: list[str]
    email: list[str]
    secondary_email: list[str | None]
    merged_number: Ints
    """The CRM id that was merged into this one; 0 for none."""
    role: Ints
    country: Ints
    zone: Ints
    owner: Ints
    created: Ints
    created_second: Ints
    opted_out: Ints
    bounced: Ints
    marketable: Ints
    """1 yes, 0 no, -1 not said."""
    personal_tier: Ints

    def __len__(self) -> int:
        """How many contacts."""
        return len(self.number)


@dataclass(frozen=True, slots=True)
class Users:
    """One entry per user of the product. `person` is an index into People, -1 for strangers.

    account: Index into Accounts; len(accounts) for users without a company.
    pace: Active days per weekday while engaged, before season and mood.
    restless: Chance per day of falling silent; `faithful` of coming back on a silent day; `final` that a silence is
        for good.
    """

    user_id: list[str]
    email: list[str | None]
    person: Ints
    link: Ints
    account: Ints
    role: Ints
    country: Ints
    zone: Ints
    signed_up: Ints
    once: Flags
    pace: Floats
    restless: Floats
    faithful: Floats
    final: Floats
    weekend_worker: Flags
    clock_shift: Floats
    intensity: Floats
    favourite: Ints

    def __len__(self) -> int:
        """How many users."""
        return len(self.user_id)


ZONES: tuple[str, ...] = tuple(name for country in COUNTRIES for name, _ in country.zones)
_ZONE_OFFSETS = np.cumsum([0, *(len(country.zones) for country in COUNTRIES)])


def _shares(weights: list[float]) -> Floats:
    values = np.array(weights, dtype=np.float64)
    return np.asarray(values / values.sum())


def some(rng: np.random.Generator, count: int, share: float) -> Flags:
    """Yes for about this share of `count`, drawn one by one."""
    return np.asarray(rng.random(count) < share)


def _pick(rng: np.random.Generator, count: int, weights: list[float]) -> Ints:
    """Draw `count` indices with these weights."""
    edges = np.cumsum(_shares(weights))[:-1]
    return np.searchsorted(edges, rng.random(count), side="right").astype(np.int64)


def _zones_of(countries: Ints, rng: np.random.Generator) -> Ints:
    """A time zone for each person, by the shares inside the country; index into ZONES."""
    draw = rng.random(len(countries))
    zones = np.zeros(len(countries), dtype=np.int64)
    for index, country in enumerate(COUNTRIES):
        inside = countries == index
        edges = np.cumsum(_shares([share for _, share in country.zones]))[:-1]
        zones[inside] = _ZONE_OFFSETS[index] + np.searchsorted(edges, draw[inside], side="right")
    return zones


def _numbers(count: int, rng: np.random.Generator, *, first: int, gap: int) -> Ints:
    """Rising record numbers with holes, of several lengths, as a CRM hands them out."""
    return first + np.cumsum(rng.integers(1, gap, count))


def draw_accounts(contacts: int, rng: np.random.Generator) -> Accounts:
    """The companies for so many contacts: heavy-tailed sizes, plans that go with the size."""
    count = max(3, contacts // _PEOPLE_PER_ACCOUNT)
    names, domains = firm_names(count, rng)
    started = np.sort(FOUNDED_DAY + ((GROWTH_DAYS - FOUNDED_DAY - 20) * rng.random(count) ** 1.5).astype(np.int64))
    appetite = rng.random(count)
    tier = np.searchsorted(np.cumsum(_TIER_SHARES)[:-1], appetite, side="right").astype(np.int64)
    seats = np.ceil(np.exp(rng.normal(1.1 + 0.55 * tier, 0.8))).astype(np.int64)
    discount = 1.0 - 0.3 * rng.random(count) * (seats > _SEATS_WITHOUT_DISCOUNT)
    return Accounts(
        number=_numbers(count, rng, first=900, gap=900),
        name=names,
        domain=domains,
        tier=tier,
        seats=seats,
        mrr=np.round(seats * _SEAT_PRICES[tier] * discount, 2),
        owner=71_001 + rng.integers(0, 3 + contacts // _CONTACTS_PER_OWNER, count),
        country=_pick(rng, count, [c.share for c in COUNTRIES]),
        started=started,
    )


def draw_people(contacts: int, accounts: Accounts, rng: np.random.Generator) -> People:
    """The contacts of the CRM, in the order in which it comes to know them: `contacts` by GROWTH_DAYS, then some more.

    More come with the same speed as all along, so that a week later there is somebody new.
    """
    coming = round(contacts * COMING_DAYS / (GROWTH_DAYS - FOUNDED_DAY))
    attraction = accounts.seats.astype(np.float64) ** 0.8
    account = _pick(rng, contacts + coming, attraction.tolist())
    account[some(rng, contacts + coming, 0.05)] = -1
    since = np.where(account >= 0, accounts.started[account], FOUNDED_DAY)[:contacts]
    early = since + ((GROWTH_DAYS - since) * rng.random(contacts) ** 1.7).astype(np.int64)
    created = np.concatenate([early, GROWTH_DAYS + rng.integers(0, COMING_DAYS, coming)])
    by_age = np.argsort(created, kind="stable")
    account, created = account[by_age], created[by_age]
    contacts = len(created)

    at_home = (account >= 0) & some(rng, contacts, 0.85)
    country = np.where(at_home, accounts.country[account], _pick(rng, contacts, [c.share for c in COUNTRIES]))
    first, last = people_names(contacts, rng)
    addresses = Addresses()
    tails = rng.integers(0, len(RESERVED_DOMAINS), contacts).tolist()
    second = rng.random(contacts)
    email: list[str] = []
    secondary: list[str | None] = []
    for who, (home, tail, chance) in enumerate(zip(account.tolist(), tails, second.tolist(), strict=True)):
        private = f"post.{RESERVED_DOMAINS[tail]}"
        email.append(addresses.new(first[who], last[who], accounts.domain[home] if home >= 0 else private))
        secondary.append(addresses.new(first[who], last[who], f"home.{private}") if chance < _SECOND_ADDRESS else None)
    merged = _numbers(contacts, rng, first=120, gap=1700)
    return People(
        number=merged,
        account=account,
        first_name=first,
        last_name=last,
        email=email,
        secondary_email=secondary,
        merged_number=np.where(second < _MERGED, merged + 5_000_000_000, 0),
        role=_pick(rng, contacts, [r.share for r in ROLES]),
        country=country,
        zone=_zones_of(country, rng),
        owner=np.where(account >= 0, accounts.owner[account], 71_001),
        created=created,
        created_second=rng.integers(0, 86_400, contacts),
        opted_out=_some_day(created, rng, share=0.09),
        bounced=_some_day(created, rng, share=0.03),
        marketable=np.searchsorted([0.02, 0.11], rng.random(contacts), side="right").astype(np.int64) - 1,
        personal_tier=_pick(rng, contacts, [0.8, 0.2, 0.0, 0.0]),
    )


_SECOND_ADDRESS = 0.05
"""People with a second address on their contact; the product knows some of them by that one only."""
_MERGED = 0.015
"""Of all people, those whose second address came with another record that was merged into theirs."""


def _some_day(created: Ints, rng: np.random.Generator, *, share: float) -> Ints:
    """For a share of the people a day after they became known, for the others never."""
    later = created + np.floor(rng.exponential(240.0, len(created))).astype(np.int64)
    return np.where(some(rng, len(created), share), later, NEVER)


def draw_users(people: People, accounts: Accounts, rng: np.random.Generator) -> Users:
    """The product's users: most contacts, a second login for merged people, and some whom the CRM does not know."""
    contacts = len(people)
    strangers = max(1, round(contacts * _EXTRA_USERS_SHARE))
    uses = np.flatnonzero(some(rng, contacts, 0.93))
    merged = np.flatnonzero((people.merged_number > 0) & np.isin(np.arange(contacts), uses))
    person = np.concatenate([uses, merged, np.full(strangers, -1)])
    count = len(person)
    known = person >= 0

    link = np.where(some(rng, count, 0.78), LINKS.index(Link.EXTERNAL_ID), LINKS.index(Link.EMAIL))
    has_second = np.array([address is not None for address in people.secondary_email])[person] & known
    link[has_second & some(rng, count, 0.6)] = LINKS.index(Link.SECONDARY_EMAIL)
    link[len(uses) : len(uses) + len(merged)] = LINKS.index(Link.SECONDARY_EMAIL)
    link[: len(uses)][np.isin(uses, merged)] = LINKS.index(Link.EXTERNAL_ID)
    link[~known] = LINKS.index(Link.UNKNOWN)

    colleague = rng.integers(0, contacts, count)
    model = np.where(known, person, colleague)
    account = np.where(people.account[model] >= 0, people.account[model], len(accounts))
    lag = np.where(some(rng, count, 0.7), rng.exponential(2.0, count), rng.exponential(45.0, count))
    role = np.where(known, people.role[model], _pick(rng, count, [r.share for r in ROLES]))
    pace = np.array([r.pace for r in ROLES])[role]
    numbers = rng.permutation(count) + 10_000
    user_id = [f"u-{n}" for n in numbers.tolist()]
    return Users(
        user_id=user_id,
        email=_product_addresses(people, person, link, user_id, rng),
        person=person,
        link=link,
        account=account,
        role=role,
        country=people.country[model],
        zone=people.zone[model],
        signed_up=people.created[model] + np.floor(lag).astype(np.int64),
        once=some(rng, count, 0.13),
        pace=rng.gamma(1.15, 0.34, count) * pace + 0.01,
        restless=rng.gamma(1.4, 1 / 420.0, count),
        faithful=rng.gamma(1.3, 1 / 36.0, count),
        final=np.clip(rng.normal(0.24, 0.13, count), 0.02, 0.8),
        weekend_worker=some(rng, count, 0.09),
        clock_shift=rng.normal(0.0, 1.1, count) + 5.5 * some(rng, count, 0.05),
        intensity=rng.gamma(1.5, 0.9, count),
        favourite=_favourites(role, rng),
    )


def _favourites(role: Ints, rng: np.random.Generator) -> Ints:
    """The feature each user comes back for, by the taste of the role on day 0."""
    odds = feature_odds(0)[role]
    picked: Ints = (rng.random(len(role))[:, None] >= odds).sum(axis=1)
    return np.minimum(picked, NOT_USAGE_INDEX - 1)


def _product_addresses(
    people: People, person: Ints, link: Ints, user_id: list[str], rng: np.random.Generator
) -> list[str | None]:
    """The address each user signed up with: right, written differently, another one, or none at all."""
    count = len(person)
    changed, silent, typed = (some(rng, count, share).tolist() for share in (0.04, 0.04, 0.04))
    private = some(rng, count, 0.2).tolist()
    tails = rng.integers(0, len(RESERVED_DOMAINS), count).tolist()
    addresses: list[str | None] = []
    for at, (who, how) in enumerate(zip(person.tolist(), link.tolist(), strict=True)):
        elsewhere = f"{user_id[at]}@signup.{RESERVED_DOMAINS[tails[at]]}"
        match LINKS[how]:
            case Link.UNKNOWN:
                addresses.append(None if private[at] else elsewhere)
            case Link.EXTERNAL_ID if changed[at] or silent[at]:
                addresses.append(None if silent[at] else elsewhere)
            case Link.SECONDARY_EMAIL:
                addresses.append(people.secondary_email[who])
            case _:
                right = people.email[who]
                addresses.append(_as_typed(right) if typed[at] else right)
    return addresses


def _as_typed(address: str) -> str:
    """The same address as people type it: capitals where they like them."""
    name, _, domain = address.partition("@")
    return f"{'.'.join(part.capitalize() for part in name.split('.'))}@{domain.capitalize()}"

"""A whole made-up company: what its CRM holds, who uses its product, and two years of what they did.

`generate` is seeded: the same arguments give the same company on every machine and in every process. The story is
told forward day by day, so `after(days)` and `more_days(days)` continue it without changing anything that was there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from connector.demo.events import Events, FileFormat, gather, midnight, write_table
from connector.demo.permissions import USUAL, Permissions, draw_permissions, odd_address, said_by
from connector.demo.places import COUNTRIES
from connector.demo.population import (
    LINKS,
    PLAN_TIERS,
    ZONES,
    Accounts,
    Ints,
    Link,
    People,
    Users,
    draw_accounts,
    draw_people,
    draw_users,
)
from connector.demo.product import ROLES
from connector.demo.rhythm import DAY_SECONDS, FIRST_KEPT_DAY, Day, Story
from connector.model import Account, Contact

DEFAULT_CONTACTS = 5_000
DEFAULT_SEED = 20
HISTORY_DAYS = 730
FEWEST_CONTACTS = 20

_POPULATION_STREAM = 1
_MARKETABLE: dict[int, bool | None] = {1: True, 0: False, -1: None}


@dataclass(frozen=True, slots=True)
class ProductUser:
    """Somebody who uses the product, and the right answer to who that is in the CRM.

    contact_id: The contact; None when the CRM does not know this person.
    link: By which of our identity rules the two can be told to be the same.
    """

    user_id: str
    email: str | None
    contact_id: str | None
    link: Link
    signed_up: date
    timezone: str


class _History:
    """The days told so far; shared by a company and its later selves, and never told twice."""

    def __init__(self, story: Story, user_ids: pa.Array, user_emails: pa.Array) -> None:
        self._story = story
        self._days = story.days()
        self._ids = user_ids
        self._emails = user_emails
        self._parts: list[Events] = []
        self._told = FIRST_KEPT_DAY - 1

    @property
    def cancelled(self) -> Ints:
        """For each company the day on which it ended its contract, as far as the story has been told."""
        return self._story.cancelled

    def until(self, day: int) -> Events:
        """Everything that happened up to this day, in order of arrival; more may still be on its way."""
        while self._told < day:
            self._parts.append(self._as_events(next(self._days)))
            self._told += 1
        if len(self._parts) > 1:
            self._parts = [gather(self._parts)]
        return self._parts[0]

    def _as_events(self, day: Day) -> Events:
        return Events(
            number=day.number,
            user=day.user,
            at=day.at,
            feature=day.feature,
            count=day.count,
            arrived=day.arrived,
            user_ids=self._ids,
            user_emails=self._emails,
        )


@dataclass(frozen=True)
class Company:
    """The company as known at the end of the day `ends`.

    system: The CRM that knows the contacts; the prefix of their ids.
    accounts: Its customers in the CRM.
    contacts: The people in the CRM. A second address is the attribute `secondary_emails`.
    merged: Records that are in the CRM no more because they were merged into a contact (`merged_into`); their address
        is a second address of that contact.
    users: The product's users who have signed up, with the right answer for identity matching.
    events: The usage that has arrived, in order of arrival, from `starts` on.
    """

    starts: date
    ends: date
    system: str
    _accounts: Accounts
    _people: People
    _users: Users
    _permissions: Permissions
    _history: _History

    @cached_property
    def accounts(self) -> tuple[Account, ...]:
        """The companies that are customers by `ends`, those that cancelled on the free plan."""
        return tuple(self._build_accounts())

    @cached_property
    def contacts(self) -> tuple[Contact, ...]:
        """The contacts created by `ends`, as the CRM describes them then, in order of creation."""
        return tuple(self._build_contacts())

    @cached_property
    def merged(self) -> tuple[Contact, ...]:
        """The records that were merged away, each naming the contact it now is."""
        p = self._people
        winners = {contact.contact_id: contact for contact in self.contacts}
        losers = []
        for at in np.flatnonzero(p.merged_number).tolist():
            winner = winners.get(f"{self.system}:{p.number[at]}")
            if winner is None:
                continue
            loser = Contact(
                contact_id=f"{self.system}:{p.merged_number[at]}",
                email=p.secondary_email[at],
                first_name=winner.first_name,
                last_name=winner.last_name,
                created_at=winner.created_at,
                merged_into=winner.contact_id,
            )
            losers.append(loser)
        return tuple(losers)

    @cached_property
    def users(self) -> tuple[ProductUser, ...]:
        """The product's users who have signed up by `ends`."""
        return tuple(self._build_users())

    @cached_property
    def events(self) -> Events:
        """The usage that has arrived by the end of `ends`, in order of arrival."""
        return self._history.until(self._day + 1).arrived_between(self.starts, self.ends)

    def after(self, days: int) -> Company:
        """The same company so many days later; everything that was known stays as it is."""
        if days < 0:
            msg = f"a story goes forward: cannot tell the company {-days} days before {self.ends}"
            raise ValueError(msg)
        return Company(
            starts=self.starts,
            ends=self.ends + timedelta(days=days),
            system=self.system,
            _accounts=self._accounts,
            _people=self._people,
            _users=self._users,
            _permissions=self._permissions,
            _history=self._history,
        )

    def more_days(self, days: int) -> Events:
        """The usage that arrives in the so many days after `ends`, late news of earlier days included."""
        later = self.after(days)
        return later.events.arrived_between(self.ends + timedelta(days=1), later.ends)

    def changed_contacts(self, days: int) -> tuple[Contact, ...]:
        """The contacts that the CRM describes differently so many days later, as it describes them then."""
        known = {contact.contact_id: contact for contact in self.contacts}
        return tuple(c for c in self.after(days).contacts if known.get(c.contact_id) != c)

    def write_usage(self, folder: Path, *, file_format: FileFormat = "parquet") -> list[Path]:
        """Write the usage into the folder, one file per month of arrival (`events-2026-10.parquet`)."""
        folder.mkdir(parents=True, exist_ok=True)
        return [part.write(folder / f"events-{month}.{file_format}") for month, part in self.events.months()]

    def write_more_days(self, folder: Path, days: int, *, file_format: FileFormat = "parquet") -> Path:
        """Write `more_days(days)` as one more file beside those of `write_usage`; says which."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events-{self.ends + timedelta(days=1)}-to-{self.ends + timedelta(days=days)}.{file_format}"
        return self.more_days(days).write(folder / name)

    def write_payments(self, folder: Path, *, file_format: FileFormat = "parquet") -> list[Path]:
        """Write what was paid into the folder, one file per month of arrival (`payments-2026-10.parquet`)."""
        folder.mkdir(parents=True, exist_ok=True)
        months = ((month, part.payments()) for month, part in self.events.months())
        return [
            write_table(paid, folder / f"payments-{month}.{file_format}") for month, paid in months if paid.num_rows
        ]

    @property
    def _day(self) -> int:
        """`ends`, counted from the first day of usage."""
        return (self.ends - self.starts).days

    def _cancelled(self) -> list[bool]:
        """For each company, and last for none, whether its contract has ended by `ends`."""
        self._history.until(self._day)
        over: list[bool] = (self._history.cancelled <= self._day).tolist()
        return over

    def _build_accounts(self) -> Iterator[Account]:
        a = self._accounts
        started, seats, mrr, owner, number = (c.tolist() for c in (a.started, a.seats, a.mrr, a.owner, a.number))
        for at, cancelled in enumerate(self._cancelled()[:-1]):
            if started[at] > self._day:
                continue
            yield Account(
                account_id=f"{self.system}:{number[at]}",
                name=a.name[at],
                domain=a.domain[at],
                plan_tier=PLAN_TIERS[0] if cancelled else PLAN_TIERS[a.tier[at]],
                seats=seats[at],
                mrr=0.0 if cancelled else mrr[at],
                owner=str(owner[at]),
                attributes={"country": COUNTRIES[a.country[at]].code},
            )

    def _build_contacts(self) -> Iterator[Contact]:
        p, permissions = self._people, self._permissions
        external, signed_up = self._external_ids(), self._signed_up_people()
        cancelled, odd = self._cancelled(), self._odd_addresses
        base = midnight(self.starts)
        moments = (base + p.created * DAY_SECONDS + p.created_second).tolist()
        tiers = self._accounts.tier.tolist()
        account_numbers = self._accounts.number.tolist()
        columns = zip(
            *(c.tolist() for c in (p.number, p.account, p.role, p.country, p.zone, p.owner, p.created)),
            *(c.tolist() for c in (p.opted_out, p.bounced, p.marketable, p.personal_tier)),
            strict=True,
        )
        for at, row in enumerate(columns):
            number, account, role, country, zone, owner, created, opted_out, bounced, marketable, own = row
            if created > self._day:
                continue
            tier = own if account < 0 else 0 if cancelled[account] else tiers[account]
            yield Contact(
                contact_id=f"{self.system}:{number}",
                account_id=f"{self.system}:{account_numbers[account]}" if account >= 0 else None,
                external_id=external.get(at),
                email=odd.get(at, p.email[at]),
                first_name=p.first_name[at],
                last_name=p.last_name[at],
                role=ROLES[role].name,
                plan_tier=PLAN_TIERS[tier],
                lifecycle_stage=_stage(uses=at in signed_up, paying=tier > 0, left=account >= 0 and cancelled[account]),
                country=COUNTRIES[country].code if permissions.country_known[at] else None,
                timezone=ZONES[zone],
                language=COUNTRIES[country].language,
                owner=str(owner),
                created_at=datetime.fromtimestamp(moments[at], UTC),
                can_email=_MARKETABLE[marketable],
                opted_out=opted_out <= self._day,
                bounced=bounced <= self._day,
                attributes=_second_address(p.secondary_email[at])
                | said_by(permissions, at, day=self._day, starts=self.starts),
            )

    def _build_users(self) -> Iterator[ProductUser]:
        u, numbers = self._users, self._people.number.tolist()
        columns = (c.tolist() for c in (u.person, u.link, u.signed_up, u.zone))
        for user_id, email, person, link, signed_up, zone in zip(u.user_id, u.email, *columns, strict=True):
            if signed_up > self._day:
                continue
            yield ProductUser(
                user_id=user_id,
                email=email,
                contact_id=f"{self.system}:{numbers[person]}" if person >= 0 else None,
                link=LINKS[link],
                signed_up=self.starts + timedelta(days=signed_up),
                timezone=ZONES[zone],
            )

    @cached_property
    def _odd_addresses(self) -> Mapping[int, str | None]:
        """For some people who can be told by their id, an address that is none, or nobody's in person."""
        u, p, kinds = self._users, self._people, self._permissions.address
        by_address = set(u.person[u.link != LINKS.index(Link.EXTERNAL_ID)].tolist())
        return {
            at: odd_address(kind, at, p, self._accounts)
            for at, kind in enumerate(kinds.tolist())
            if kind != USUAL and at not in by_address and p.secondary_email[at] is None
        }

    def _external_ids(self) -> Mapping[int, str]:
        """For each person whose contact carries the product's user id, that id."""
        u = self._users
        carries = (u.link == LINKS.index(Link.EXTERNAL_ID)) & (u.signed_up <= self._day)
        return {int(u.person[at]): u.user_id[at] for at in np.flatnonzero(carries)}

    def _signed_up_people(self) -> frozenset[int]:
        """The people who have begun to use the product."""
        u = self._users
        return frozenset(u.person[u.signed_up <= self._day].tolist())


def _stage(*, uses: bool, paying: bool, left: bool) -> str:
    """The CRM's lifecycle stage."""
    if not uses:
        return "lead"
    if left:
        return "other"
    return "customer" if paying else "opportunity"


def _second_address(address: str | None) -> dict[str, str]:
    """The attribute that holds the second address of a contact; none for most."""
    return {} if address is None else {"secondary_emails": address}


def generate(
    *,
    ends: date,
    contacts: int = DEFAULT_CONTACTS,
    seed: int = DEFAULT_SEED,
    history_days: int = HISTORY_DAYS,
    system: str = "hubspot",
) -> Company:
    """Make up a company whose CRM holds so many contacts at the end of the day `ends`.

    Args:
        ends: The last day of the story; what arrived by its end (UTC) is known.
        contacts: How many contacts the CRM has come to know after HISTORY_DAYS. With a shorter history some are
            not there yet.
        seed: Another seed is another company.
        history_days: Days of usage up to `ends`. Two calls with the same first day tell the same story, the longer
            one further.
        system: The CRM the contacts are in; the prefix of their ids.
    """
    if contacts < FEWEST_CONTACTS:
        raise ValueError(f"a company of {contacts} contacts has no story to tell: at least {FEWEST_CONTACTS}")
    if history_days < 1:
        raise ValueError(f"{history_days} days of history: at least 1")
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _POPULATION_STREAM, contacts])))
    accounts = draw_accounts(contacts, rng)
    people = draw_people(contacts, accounts, rng)
    users = draw_users(people, accounts, rng)
    starts = ends - timedelta(days=history_days - 1)
    story = Story(users, accounts, first_day=starts, seed=seed)
    history = _History(story, pa.array(users.user_id), pa.array(users.email, pa.string()))
    return Company(
        starts=starts,
        ends=ends,
        system=system,
        _accounts=accounts,
        _people=people,
        _users=users,
        _permissions=draw_permissions(people, seed, contacts),
        _history=history,
    )

"""Facts heard between runs: usage, payments, mail events; the warehouse reads them at the next pull."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from connector.journal.engine import Database, leave_taken
from connector.journal.live_tables import facts

USAGE, ENGAGEMENT, TRANSACTION = "usage", "engagement", "transaction"
KINDS = frozenset({USAGE, ENGAGEMENT, TRANSACTION})

_ADDING = "facts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that happened, in neutral words. `key` makes it count once, however often it is heard.

    kind: usage, engagement or transaction. who_kind, who: Whom it is about as the source put it: `external_id`,
    `contact_id`, or `email` as a keyed hash; never an address. contact_id: Who that was when it was heard.
    values: What the warehouse's row says besides.
    """

    key: str
    kind: str
    who_kind: str
    who: str
    at: datetime
    source: str
    values: Mapping[str, Any]
    contact_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FactRow(Fact):
    """A fact and its place in the order in which they were heard."""

    number: int
    heard_at: datetime


class Facts:
    """The facts of this install, those the warehouse has read and those it has not."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, given: Sequence[Fact]) -> int:
        """Keep these facts in one commit and return how many are new."""
        with self._database.write() as connection:
            return add_facts(self._database, connection, given)

    def after(self, number: int, limit: int) -> list[FactRow]:
        """The next facts after this one, in the order of their numbers.

        Nothing is passed over: a fact whose transaction is under way while this reads has a greater number, or is
        waited for.
        """
        query = sa.select(facts).where(facts.c.number > number).order_by(facts.c.number).limit(limit)
        opened = self._database.read() if self._database.is_sqlite else self._database.write()
        with opened as connection:
            # PostgreSQL gives numbers out before the commit: the lower one may become visible last.
            self._database.in_turn(connection, _ADDING)
            return [_row(row) for row in connection.execute(query)]

    def of(self, contact_id: str, *, since: datetime | None = None) -> list[FactRow]:
        """What was heard about this contact, from this moment on, in the order in which it happened."""
        query = sa.select(facts).where(facts.c.contact_id == contact_id).order_by(facts.c.at, facts.c.number)
        if since is not None:
            query = query.where(facts.c.at >= since)
        with self._database.read() as connection:
            return [_row(row) for row in connection.execute(query)]

    def live_days(self, contact_id: str, since: datetime) -> set[date]:
        """Days (UTC) on which this contact was heard to use the product, from this moment on."""
        mine = (facts.c.contact_id == contact_id, facts.c.at >= since, facts.c.kind == USAGE)
        with self._database.read() as connection:
            return {at.date() for at in connection.execute(sa.select(facts.c.at).where(*mine)).scalars()}

    def newest(self) -> int:
        """The number of the newest fact; 0 when there is none."""
        with self._database.read() as connection:
            return int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(facts.c.number), 0))).scalar_one())

    def purge(self, before: datetime) -> int:
        """Forget facts that happened before this moment; returns how many."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(facts).where(facts.c.at < before)).rowcount

    def forget(self, contact_id: str) -> int:
        """Forget what was heard about this contact; returns how many facts it was."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(facts).where(facts.c.contact_id == contact_id)).rowcount


def add_facts(database: Database, connection: sa.Connection, given: Sequence[Fact]) -> int:
    """Keep these facts, in the caller's transaction; how many are new."""
    if not given:
        return 0
    database.in_turn(connection, _ADDING, together=True)
    now = database.clock.now()
    return connection.execute(leave_taken(database.insert(facts)), [_line(fact, now) for fact in given]).rowcount


def _line(fact: Fact, now: datetime) -> dict[str, Any]:
    if fact.kind not in KINDS:
        raise ValueError(f"fact {fact.key}: there is no kind '{fact.kind}'")
    if fact.who_kind == "email" and "@" in fact.who:
        raise ValueError(f"fact {fact.key}: an address is kept as its keyed hash only")
    return {
        "fact_key": fact.key,
        "kind": fact.kind,
        "who_kind": fact.who_kind,
        "who": fact.who,
        "contact_id": fact.contact_id,
        "at": fact.at,
        "source": fact.source,
        "details": dict(fact.values),
        "heard_at": now,
    }


def _row(row: sa.Row[Any]) -> FactRow:
    return FactRow(
        key=row.fact_key,
        kind=row.kind,
        who_kind=row.who_kind,
        who=row.who,
        at=row.at,
        source=row.source,
        values=row.details,
        contact_id=row.contact_id,
        number=row.number,
        heard_at=row.heard_at,
    )

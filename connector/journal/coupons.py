"""Coupons: codes that were bought or made, to whom each was given, and what became of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from connector.errors import StateError
from connector.journal.engine import Database, leave_taken
from connector.journal.loading import in_chunks
from connector.journal.program_tables import coupons, episode_steps, episodes

_CHUNK = 5_000
_MAKE_AGAIN = "make the plan again with `winback plan`"


class CouponState(StrEnum):
    """What became of a code."""

    FREE = "free"
    ISSUED = "issued"
    REDEEMED = "redeemed"
    VOID = "void"
    """It lapsed before it was used; never given out again."""


@dataclass(frozen=True, slots=True)
class Coupon:
    """One code. `cost` is what it costs when taken, in the account's currency; `redeemed_cost` what it did cost."""

    code: str
    offer: str
    state: CouponState
    cost: float
    episode_id: str | None
    step: str | None
    contact_id: str | None
    issued_at: datetime | None
    expires_at: datetime | None
    redeemed_at: datetime | None
    redeemed_cost: float | None


class Coupons:
    """The codes of this install. They are given out where steps are logged: `episodes.move`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, offer: str, codes: Sequence[str]) -> int:
        """Keep these codes for this offer and return how many are new; safe to repeat.

        Raises:
            StateError: One of them is kept for another offer: somebody would get the wrong thing.
        """
        now = self._database.clock.now()
        fresh = {"offer": offer, "state": CouponState.FREE.value, "generated": False, "added_at": now, "cost": 0.0}
        insert = leave_taken(self._database.insert(coupons))
        with self._database.write() as connection:
            number = 0
            for chunk in in_chunks(list(dict.fromkeys(codes)), _CHUNK):
                number += connection.execute(insert, [fresh | {"code": code} for code in chunk]).rowcount
                other = sa.select(coupons.c.offer).where(
                    coupons.c.code.in_(self._database.ids(chunk)), coupons.c.offer != offer
                )
                if (taken := connection.execute(other.limit(1)).scalar()) is not None:
                    raise StateError(
                        f"offer {offer}: one of its codes is kept for offer {taken} already",
                        hint="give each offer a file of its own, with codes of its own",
                    )
        return number

    def free(self, offer: str, limit: int | None = None) -> list[str]:
        """Codes nobody has, oldest first, as many as asked for."""
        query = sa.select(coupons.c.code).where(coupons.c.offer == offer, coupons.c.state == CouponState.FREE.value)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(coupons.c.number).limit(limit)).scalars())

    def issued(self, code: str) -> Coupon | None:
        """The code and to whom it was given; None when it is unknown or nobody has it."""
        given = (coupons.c.code == code, coupons.c.state != CouponState.FREE.value)
        with self._database.read() as connection:
            row = connection.execute(sa.select(coupons).where(*given)).one_or_none()
        return None if row is None else _coupon(row)

    def redeem(self, code: str, at: datetime, amount: float | None = None) -> bool:
        """Note that a code was used; False when nobody has it, or it was noted before.

        A code that lapsed and was used all the same counts: the shop's word is what was paid.

        Args:
            code: As given out.
            at: When it was used.
            amount: What it cost, in the account's currency; None: what the offer says.
        """
        usable = coupons.c.state.in_((CouponState.ISSUED.value, CouponState.VOID.value))
        values = {"state": CouponState.REDEEMED.value, "redeemed_at": at, "redeemed_cost": amount}
        update = sa.update(coupons).where(coupons.c.code == code, usable).values(values)
        with self._database.write() as connection:
            return connection.execute(update).rowcount == 1

    def void_expired(self, now: datetime) -> int:
        """Void codes that were given out and have lapsed; what they would have cost is free again."""
        lapsed = (coupons.c.state == CouponState.ISSUED.value, coupons.c.expires_at < now)
        with self._database.write() as connection:
            update = sa.update(coupons).where(*lapsed).values(state=CouponState.VOID.value)
            return connection.execute(update).rowcount

    def spent(self, since: datetime, *, program: str | None = None) -> float:
        """What offers made from this moment on cost: those redeemed, and those still out, with or without a code."""
        query = sa.select(sa.func.coalesce(sa.func.sum(_COST), 0.0)).select_from(_OFFERED)
        query = query.where(*_COUNTS, episode_steps.c.at >= since)
        if program is not None:
            query = query.join(episodes, episodes.c.episode_id == episode_steps.c.episode_id)
            query = query.where(episodes.c.program == program)
        with self._database.read() as connection:
            return float(connection.execute(query).scalar_one())

    def spent_on(self, contact_ids: Collection[str] | None, since: datetime) -> dict[str, float]:
        """The same by contact; whoever was offered nothing is missing. None: everybody."""
        contact = episode_steps.c.contact_id
        query = sa.select(contact, sa.func.sum(_COST)).select_from(_OFFERED)
        query = query.where(*_COUNTS, episode_steps.c.at >= since).group_by(contact)
        chunks = [None] if contact_ids is None else in_chunks(sorted(contact_ids), _CHUNK)
        found: dict[str, float] = {}
        with self._database.read() as connection:
            for chunk in chunks:
                asked = query if chunk is None else query.where(contact.in_(self._database.ids(chunk)))
                found |= {contact_id: float(cost) for contact_id, cost in connection.execute(asked)}
        return found


_OFFERED = episode_steps.outerjoin(coupons, coupons.c.code == episode_steps.c.code)
_COST = sa.func.coalesce(coupons.c.redeemed_cost, episode_steps.c.cost)
_COUNTS = (
    sa.or_(episode_steps.c.cost > 0, coupons.c.redeemed_cost > 0),
    sa.or_(episode_steps.c.state.in_(("decided", "written")), episode_steps.c.written_at.is_not(None)),
    sa.or_(coupons.c.state.is_(None), coupons.c.state != CouponState.VOID.value),
)
"""Steps whose offer costs something, was not taken back before it was made, and has not lapsed."""


def issue(database: Database, connection: sa.Connection, lines: Sequence[Mapping[str, Any]]) -> None:
    """Give each line's code to its contact, in the caller's transaction: a free one, or one made just now.

    Raises:
        StateError: A code is somebody else's, or another offer's.
    """
    if not lines:
        return
    codes = sorted({line["code"] for line in lines})
    query = sa.select(coupons).where(coupons.c.code.in_(database.ids(codes))).order_by(coupons.c.code)
    known = {row.code: row for row in connection.execute(query.with_for_update())}
    given: set[str] = set()
    made: list[dict[str, Any]] = []
    taken: list[dict[str, Any]] = []
    for line in lines:
        row = known.get(line["code"])
        if line["code"] in given or (row is not None and not _may_have(row, line)):
            raise StateError(
                f"episode {line['episode_id']}: the code for offer {line['offer']} is not free any more",
                hint=_MAKE_AGAIN,
            )
        given.add(line["code"])
        (made if row is None else taken).append(_given(line))
    if made:
        new = [values | {"code": values["this"], "generated": True, "added_at": values["issued_at"]} for values in made]
        connection.execute(sa.insert(coupons), [{k: v for k, v in row.items() if k != "this"} for row in new])
    if taken:
        connection.execute(sa.update(coupons).where(coupons.c.code == sa.bindparam("this")), taken)


def take_back(database: Database, connection: sa.Connection, codes: Sequence[str]) -> None:
    """Nobody ever saw these codes: a file's are free again, made ones forgotten; in the caller's transaction."""
    if not codes:
        return
    unused = coupons.c.state.in_((CouponState.ISSUED.value, CouponState.VOID.value))
    chosen = (coupons.c.code.in_(database.ids(codes)), unused)
    connection.execute(sa.delete(coupons).where(*chosen, coupons.c.generated.is_(True)))
    nobodys = dict.fromkeys(("episode_id", "step", "contact_id", "issued_at", "expires_at"))
    connection.execute(sa.update(coupons).where(*chosen).values(state=CouponState.FREE.value, cost=0.0, **nobodys))


def _may_have(row: sa.Row[Any], line: Mapping[str, Any]) -> bool:
    """Whether the code is there to be given."""
    return bool(row.state == CouponState.FREE.value and row.offer == line["offer"])


def _given(line: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "this": line["code"],
        "offer": line["offer"] or "",
        "state": CouponState.ISSUED.value,
        "cost": line["cost"],
        "episode_id": line["episode_id"],
        "step": line["step"],
        "contact_id": line["contact_id"],
        "issued_at": line["at"],
        "expires_at": line["expires_at"],
    }


def _coupon(row: sa.Row[Any]) -> Coupon:
    return Coupon(
        code=row.code,
        offer=row.offer,
        state=CouponState(row.state),
        cost=row.cost,
        episode_id=row.episode_id,
        step=row.step,
        contact_id=row.contact_id,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        redeemed_at=row.redeemed_at,
        redeemed_cost=row.redeemed_cost,
    )

"""Settling an event: everything that follows from it, and that it is settled, in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from connector.journal.asks import Ask, add_asks
from connector.journal.consent import add_consent
from connector.journal.engine import Database
from connector.journal.facts import Fact, add_facts
from connector.journal.feedback import Answer, add_answers
from connector.journal.leaving import leave
from connector.journal.live_tables import inbox
from connector.journal.outbox import Intent, add_intents
from connector.journal.replies import Stored, add_reply
from connector.journal.stops import Stop, add_stops
from connector.journal.waiting import WaitingRows
from connector.program.model import ConsentEvent, Exit


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What follows from one event.

    number: Of the event in the inbox; None for what did not come through it (a link's POST, a workflow's call). Then
        the keys of what it holds make it count once; or its `reply`, where there is one.
    effect: What it did, in a word or two, for whoever looks at the inbox later; no personal data.
    state: done, or ignored where it means nothing to us.
    contact_id: Whom it was about, as far as known.
    exits: Of episodes that are still open; the others stay as they are.
    reply: The answer to the call this settles. A call that was answered already is settled already.
    """

    effect: str
    state: Literal["done", "ignored"] = "done"
    number: int | None = None
    contact_id: str | None = None
    consent: Sequence[ConsentEvent] = ()
    answers: Sequence[Answer] = ()
    facts: Sequence[Fact] = ()
    exits: Sequence[Exit] = ()
    stops: Sequence[Stop] = ()
    asks: Sequence[Ask] = ()
    intents: Sequence[Intent] = ()
    reply: Stored | None = None

    @property
    def only_facts(self) -> bool:
        """Whether an event of the inbox does nothing but tell facts, or nothing at all."""
        others = (self.consent, self.answers, self.exits, self.stops, self.asks, self.intents)
        return self.number is not None and self.reply is None and not any(others)


class _AlreadySettled(Exception):
    """Undoes the transaction; never leaves this module."""


class Settlements:
    """Settles events; two workers may try the same one, and one of them does it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._inbox = WaitingRows(database, inbox, (inbox.c.happened_at, inbox.c.number))

    def settle(self, settlement: Settlement) -> bool:
        """Do all of it in one commit; False when it was settled before, and then nothing changes.

        A plan made before stays valid: exits do not move `journal.episodes.version()`. Apply takes no step of an
        episode that has ended, and asks `journal.stops` before it adds anybody to anything.
        """
        try:
            with self._database.write() as connection:
                self._take(connection, settlement)
                return self._carry_out(connection, settlement) or settlement.number is not None
        except _AlreadySettled:
            return False

    def settle_facts(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Settle events that only tell facts, all in one commit; which of them had not been settled before.

        A product's live usage is mostly of people in nothing: a commit for each would be most of the work.
        """
        if not all(settlement.only_facts for settlement in settlements):
            raise ValueError("these settlements do more than tell facts: each needs a commit of its own")
        with self._database.write() as connection:
            return [self._tell(connection, settlement) for settlement in settlements]

    def _tell(self, connection: sa.Connection, settlement: Settlement) -> bool:
        try:
            self._take(connection, settlement)
        except _AlreadySettled:
            return False
        add_facts(self._database, connection, settlement.facts)
        return True

    def _take(self, connection: sa.Connection, settlement: Settlement) -> None:
        """Make it ours: of several who try, whoever holds the line first."""
        if settlement.number is not None:
            ended = {"state": settlement.state, "effect": settlement.effect, "contact_id": settlement.contact_id}
            if not self._inbox.end(connection, [settlement.number], ended):
                raise _AlreadySettled
        if settlement.reply is not None and not add_reply(self._database, connection, settlement.reply):
            raise _AlreadySettled

    def _carry_out(self, connection: sa.Connection, settlement: Settlement) -> bool:
        """Everything that follows; whether any of it was new."""
        database = self._database
        changes = (
            # In one order for everybody: two processes must not wait for each other.
            add_facts(database, connection, settlement.facts),
            add_stops(database, connection, settlement.stops),
            add_consent(database, connection, settlement.consent),
            add_answers(database, connection, settlement.answers),
            leave(connection, settlement.exits, None),
            add_asks(database, connection, settlement.asks),
            add_intents(database, connection, settlement.intents),
        )
        return any(changes) or settlement.reply is not None

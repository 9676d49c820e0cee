"""The journal opened: one object with a part for each thing we remember."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, tzinfo
from typing import Self

from connector.contracts import Clock, Limits, Reporter
from connector.journal.asks import Asks
from connector.journal.audit import Audit
from connector.journal.budget import SharedBudget
from connector.journal.consent import ConsentLedger
from connector.journal.coupons import Coupons
from connector.journal.cursors import Cursors
from connector.journal.decisions import Decisions
from connector.journal.engine import Database
from connector.journal.episodes import Episodes
from connector.journal.facts import Facts
from connector.journal.feedback import FeedbackBook
from connector.journal.held import Held
from connector.journal.inbox import Inbox
from connector.journal.keys import Keys
from connector.journal.known import Known
from connector.journal.ledger import Ledger
from connector.journal.links import Links
from connector.journal.locks import Holder, Lock, Locks
from connector.journal.migrate import migrate
from connector.journal.outbox import Outbox
from connector.journal.plans import Plans
from connector.journal.rejections import Rejections
from connector.journal.replies import Replies
from connector.journal.runs import Runs
from connector.journal.settlement import Settlements
from connector.journal.stops import Stops


class Journal:
    """What we were told, decided and did. Every method is one transaction; only this package commits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._locks = Locks(database)
        self.runs = Runs(database)
        self.cursors = Cursors(database)
        self.rejections = Rejections(database)
        self.ledger = Ledger(database, self.rejections)
        self.held = Held(database)
        self.plans = Plans(database)
        self.decisions = Decisions(database)
        self.audit = Audit(database)
        self.episodes = Episodes(database)
        self.consent = ConsentLedger(database)
        self.coupons = Coupons(database)
        self.feedback = FeedbackBook(database)
        self.keys = Keys(database)
        self.links = Links(database)
        self.inbox = Inbox(database)
        self.replies = Replies(database)
        self.settlement = Settlements(database)
        self.outbox = Outbox(database)
        self.facts = Facts(database)
        self.known = Known(database)
        self.stops = Stops(database)
        self.asks = Asks(database)

    @classmethod
    def open(cls, url: str, *, clock: Clock, real_clock: Clock | None = None) -> Self:
        """Open the journal at `sqlite:///path` or `postgresql://…`, made or migrated where needed.

        real_clock: What leases and locks are timed by; the machine's (or the database server's) unless a test brings
            its own. It is never `--now`.

        Raises:
            SettingError: The URL is not one we support.
            StateError: The database cannot be reached, is damaged, or was written by a newer winback.
        """
        database = Database(url, clock=clock, real_clock=real_clock)
        try:
            migrate(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def lock(self, name: str, *, ttl_seconds: float = 60) -> AbstractContextManager[Lock]:
        """Hold a lock inside the block; Locked names the holder when another process has it."""
        return self._locks.hold(name, ttl_seconds=ttl_seconds)

    def holders(self) -> tuple[Holder, ...]:
        """Who holds which lock."""
        return self._locks.holders()

    def budget(
        self,
        system: str,
        limits: Limits,
        *,
        reporter: Reporter,
        meters: Mapping[str, tuple[int, float]] | None = None,
        timezone: tzinfo = UTC,
    ) -> SharedBudget:
        """This system's allowance, shared with every process on this journal.

        meters: Allowances counted apart: name to (calls, in seconds); `search` at 4 a second unless given.
        timezone: Where the system's day begins, until it says itself when its counter resets.
        """
        return SharedBudget(self._database, system, limits, reporter=reporter, meters=meters, timezone=timezone)

    def close(self) -> None:
        """Let go of every connection."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

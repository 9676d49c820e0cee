"""What is kept only for a while goes when its time is over: payloads, words, what was written between runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connector.live.drain import Receivers
    from connector.workspace import Workspace

EVERY = timedelta(hours=6)
"""How often it is looked whether something's time is over."""

INTENTS_LONGER = timedelta(days=30)
"""How much longer than the payloads: an event that is replayed must find what it led to."""


@dataclass(frozen=True, slots=True)
class Swept:
    """How much went."""

    payloads: int = 0
    words: int = 0
    intents: int = 0

    @property
    def anything(self) -> bool:
        """Whether anything did."""
        return bool(self.payloads or self.words or self.intents)


class Housekeeping:
    """Forgets what its time is over for, every few hours; asked more often, it does nothing."""

    def __init__(self, workspace: Workspace, receivers: Receivers) -> None:
        self._workspace = workspace
        self._dedupe_for = {name: receiver.dedupe_for for name, (receiver, _) in receivers.items()}
        self._due: datetime | None = None

    def __call__(self) -> Swept:
        """Sweep if it is time to; safe to repeat, and to break off."""
        now = self._workspace.clock.now()
        settings = self._workspace.playbook.webhooks
        if settings is None or (self._due is not None and now < self._due):
            return Swept()
        journal = self._workspace.journal
        before = now - settings.inbox.keep
        swept = Swept(
            payloads=journal.inbox.purge(before, keep_keys=self._keys_until(now)),
            words=journal.feedback.purge_texts(now - settings.feedback.keep),
            intents=journal.outbox.purge(before - INTENTS_LONGER),
        )
        self._due = now + EVERY
        if swept.anything:
            journal.audit.append("swept", {"payloads": swept.payloads, "words": swept.words, "intents": swept.intents})
        return swept

    def _keys_until(self, now: datetime) -> Mapping[str, datetime]:
        """Before when an event of each source can come no more, so that its key need not be remembered."""
        return {name: now - known for name, known in self._dedupe_for.items()}

"""The worker: settles what was heard, carries out what follows, and asks vendors for what they only hinted at.

As many may work on one PostgreSQL journal as like to: events are leased, and only one at a time writes to the CRM.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connector.errors import StateError
from connector.live.asking import Asked, Asking
from connector.live.drain import Drain, Drained, Receivers
from connector.live.hearing import Hearing
from connector.live.housekeeping import Housekeeping
from connector.redact import redact

if TYPE_CHECKING:
    from connector.live.relay import Relay, Relayed
    from connector.workspace import Workspace

POLL_SECONDS = 1.0
"""How long nothing is looked for when nothing was there, unless somebody wakes us."""

_AFTER_A_FAULT_SECONDS = 5.0
KIND = "work"


@dataclass(frozen=True, slots=True)
class Worked:
    """What one round came to."""

    drained: Drained = field(default_factory=Drained)
    relayed: Relayed | None = None
    asked: Asked = field(default_factory=Asked)

    @property
    def anything(self) -> bool:
        """Whether there may be more to do at once."""
        return bool(self.drained.taken or self.asked.new or (self.relayed is not None and self.relayed.done))


class Worker:
    """Works for one playbook until told to stop.

    Args:
        workspace: Journal and destination; the warehouse is never opened.
        receivers: The sources of the playbook; None: those that are installed, with the playbook's options.
        poll_seconds: How often it looks by itself.
    """

    def __init__(
        self, workspace: Workspace, *, receivers: Receivers | None = None, poll_seconds: float = POLL_SECONDS
    ) -> None:
        self._workspace = workspace
        self._poll_seconds = poll_seconds
        owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        known = receivers_of(workspace) if receivers is None else receivers
        hearing = Hearing.of(workspace)
        self._drain = Drain(workspace.journal, known, hearing, clock=workspace.clock, owner=owner)
        self._asking = Asking(workspace, known, owner=owner)
        self._sweep = Housekeeping(workspace, known)
        self._relays = _relays_of(workspace)
        self._run_id: str | None = None
        self._failing = False
        self._totals: dict[str, int] = {}

    def run(self, stop: threading.Event, woken: threading.Event | None = None) -> None:
        """Work until `stop` is set, at once whenever `woken` is; what has been begun is finished."""
        wake = woken or threading.Event()
        try:
            while not stop.is_set():
                wake.clear()
                if not self._round():
                    wake.wait(self._poll_seconds if not self._failing else _AFTER_A_FAULT_SECONDS)
        finally:
            self.close()

    def until_done(self) -> Worked:
        """Work until nothing is due any more; what waits for a later moment is left. Returns the last round."""
        worked = self.once()
        while worked.anything:
            worked = self.once()
        return worked

    def once(self) -> Worked:
        """One round: hear, carry out, ask, and let go of what is over."""
        drained = self._drain()
        relayed = self._carry_out()
        asked = self._asking.fetch() + self._asking.backfill()
        self._sweep()
        for name, number in {"heard": drained.taken, "set_aside": drained.set_aside, "asked": asked.new}.items():
            self._totals[name] = self._totals.get(name, 0) + number
        return Worked(drained, relayed, asked)

    def close(self) -> None:
        """Let go of connections, and note what was done."""
        self._asking.close()
        if self._run_id is not None:
            self._workspace.journal.runs.finish(self._run_id, state="done", summary=self._totals)
            self._run_id = None

    def _round(self) -> bool:
        """One round that survives the journal being away: it says so once, and once that it is back."""
        try:
            worked = self.once()
        except StateError as fault:
            if not self._failing:
                self._workspace.reporter.line(f"the journal cannot be used, everything waits: {redact(str(fault))}")
            self._failing = True
            return False
        if self._failing:
            self._workspace.reporter.line("the journal can be used again")
            self._failing = False
        return worked.anything

    def _carry_out(self) -> Relayed | None:
        """Everything that is due for the CRMs; a run of kind `work` is noted once there is something."""
        if not self._relays or not self._workspace.journal.outbox.depth():
            return None
        if self._run_id is None:
            digest = self._workspace.playbook.digest()
            self._run_id = self._workspace.journal.runs.start(KIND, playbook_digest=digest)
        first, *others = self._relays
        relayed = first(run_id=self._run_id)
        for relay in others:
            relayed += relay(run_id=self._run_id)
        self._totals["relayed"] = self._totals.get("relayed", 0) + relayed.done
        return relayed


def receivers_of(workspace: Workspace) -> Receivers:
    """The sources of the playbook with their receivers; one whose receiver is not installed is left out."""
    from connector.registry import installed_receivers

    settings = workspace.playbook.webhooks
    if settings is None:
        return {}
    installed = installed_receivers()
    return {name: (installed[name], options) for name, options in settings.sources.items() if name in installed}


def work(workspace: Workspace) -> Callable[[threading.Event, threading.Event], None]:
    """What `winback serve` lets run beside it."""

    def until_stopped(stop: threading.Event, woken: threading.Event) -> None:
        Worker(workspace).run(stop, woken)

    return until_stopped


def _relays_of(workspace: Workspace) -> list[Relay]:
    """What writes to the playbook's destinations."""
    from connector.live.alerts import Alerts
    from connector.live.relay import relays

    return relays(workspace, alerts=Alerts.of(workspace)) if workspace.playbook.destinations else []

"""What apply and undo are given to write with: the lock held, and what is due relayed between two batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from connector.crms import records_of
from connector.permission import StillAllowed
from connector.pipeline.lock import StillOurs
from connector.writing import RUN_WAITS_SECONDS, writing

if TYPE_CHECKING:
    from connector.contracts import RateBudget
    from connector.plan.apply import ApplyContext
    from connector.workspace import Workspace

RELAY_EVERY_SECONDS = 2.0
"""While a run writes, which can take an hour, it looks this often whether somebody is to come off at once."""


class _Between:
    """What a run does before each of its batches: it relays what is due, for it holds the lock."""

    def __init__(self, workspace: Workspace, run_id: str, check_lock: StillOurs) -> None:
        from connector.live.relay import relays

        self._clock = workspace.clock
        self._relays = relays(workspace)
        self._run_id = run_id
        self._check_lock = check_lock
        self._relayed_at: float | None = None

    def __call__(self) -> None:
        now = self._clock.monotonic()
        if self._relayed_at is None or now - self._relayed_at >= RELAY_EVERY_SECONDS:
            self._relayed_at = now
            for relay in self._relays:
                relay.within(run_id=self._run_id, check_lock=self._check_lock)


@contextmanager
def writing_section(workspace: Workspace, context: ApplyContext) -> Iterator[ApplyContext]:
    """The context of a section that writes: with the lock, and with what is due done between its batches."""
    with writing(workspace.journal, workspace.clock, wait_seconds=RUN_WAITS_SECONDS) as lock:
        ours = context.check_lock

        def check_locks() -> None:
            ours()
            lock.check()

        between = _Between(workspace, context.run_id, check_locks)
        yield replace(context, check_lock=check_locks, between=between)


def apply_context(
    workspace: Workspace,
    name: str,
    run_id: str,
    *,
    still_ours: StillOurs,
    fresh: Callable[[], Mapping[str, str]] | None,
) -> ApplyContext:
    """What apply and undo are given to write to this destination."""
    from connector.merged import records_merged
    from connector.plan.apply import ApplyContext

    destination = workspace.destination(name)
    budget: RateBudget | None = workspace.budget(name)
    return ApplyContext(
        destination=destination,
        journal=workspace.journal,
        clock=workspace.clock,
        reporter=workspace.reporter,
        consent=StillAllowed(workspace, records_of(workspace, destination.system)),
        run_id=run_id,
        fingerprints=fresh,
        check_lock=still_ours,
        calls=budget.calls if budget is not None else lambda: 0,
        merged=records_merged(workspace.warehouse, destination.system),
    )

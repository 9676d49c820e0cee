"""The lock around every section that writes to a CRM.

A run and the relay take turns, and nobody settles what another is just sending.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from connector.errors import Locked

if TYPE_CHECKING:
    from connector.contracts import Clock
    from connector.journal import Journal, Lock

WRITE = "write"
"""The lock's name. Held by the relay for one short batch, by a run while it settles and while it applies."""

RUN_WAITS_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 0.25


@contextmanager
def writing(journal: Journal, clock: Clock, *, wait_seconds: float = 0.0) -> Iterator[Lock]:
    """Hold the lock inside the block, waiting so long for whoever holds it.

    Raises:
        Locked: Another process holds it still.
    """
    give_up = clock.monotonic() + wait_seconds
    with ExitStack() as held:
        yield _taken(journal, held, clock, give_up)


def _taken(journal: Journal, held: ExitStack, clock: Clock, give_up: float) -> Lock:
    while True:
        try:
            return held.enter_context(journal.lock(WRITE))
        except Locked:
            if clock.monotonic() >= give_up:
                raise
            clock.sleep(_LOOK_AGAIN_SECONDS)

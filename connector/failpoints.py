"""Places where a crash test can kill the process: every spot between two things that must not come apart.

`WINBACK_FAILPOINT=apply.batch_sent` kills at the first hit of that name, `apply.batch_sent:3` at the third, and
`*:7` at the seventh hit of any name. Without the variable a failpoint does nothing.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Mapping

VARIABLE = "WINBACK_FAILPOINT"

FAILPOINTS: Mapping[str, str] = {
    "pull.page_read": "a page has arrived and nothing of it is stored",
    "pull.page_stored": "a page and its cursor are stored in the warehouse, the journal does not know yet",
    "pull.cursor_mirrored": "the journal knows the cursor as well",
    "apply.started": "the run exists, nothing is intended yet",
    "apply.undo_opened": "the undo file exists, nothing is written outside",
    "apply.deciding": "the next decisions of a program are not in the journal yet",
    "apply.decided": "decisions of a program are in the journal, nothing follows from them yet",
    "apply.undo_noted": "the undo file knows of a write that the ledger does not",
    "apply.intended": "the ledger intends a write that was not sent",
    "apply.sent": "the destination did the write, only the destination knows",
    "apply.undo_settled": "the undo file holds the receipts, the ledger does not",
    "apply.recorded": "the ledger holds the receipts and has not confirmed",
    "apply.confirmed": "one write is complete, the next one is not begun",
    "apply.step_done": "one step is complete",
    "apply.finished": "everything is written, the plan is not marked as applied",
    "recover.read_back": "an unknown write was read back, the ledger does not know",
    "recover.settled": "one unknown write is settled, others may be left",
    "relay.claimed": "the relay has leased what is to be written, nothing of it is written",
    "relay.written": "the CRM holds it and the ledger says so, the outbox does not know",
    "relay.ended": "the outbox knows of one kind of end, others may be left",
    "relay.completed": "a workflow of the CRM went on, the outbox does not know",
}
"""Every failpoint there is, by name, with the state the world is in when it is hit."""

DECIDING = frozenset({"apply.deciding", "apply.decided"})
"""Those that only a playbook with a program comes past."""

RELAYING = frozenset(name for name in FAILPOINTS if name.startswith("relay."))
"""Those that only the relay comes past."""

_hits: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Die here if the environment says so; otherwise do nothing."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    target, _, count = wanted.partition(":")
    if target not in (name, "*"):
        return
    _hits[target] += 1
    if _hits[target] == int(count or 1):
        die(name)


def die(name: str) -> None:  # noqa: ARG001  # tests put something gentler in its place and want to know where
    """End this process as a power cut would: no clean-up, no flushing, no exit handlers."""
    os.kill(os.getpid(), signal.SIGKILL)


def reset() -> None:
    """Forget earlier hits, for tests that crash several times in one process."""
    _hits.clear()

"""Opening the playbook for a command, the same way everywhere."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from connector.cli.terminal import TerminalReporter
from connector.clock import FixedClock, SystemClock

if TYPE_CHECKING:
    from connector.workspace import Workspace


def open_workspace(config: Path, *, now: datetime | None = None, quiet: bool = False) -> Workspace:
    """The workspace of this playbook; `now` fixes the clock."""
    from connector.workspace import Workspace

    return Workspace.load(
        config,
        clock=FixedClock(now) if now is not None else SystemClock(),
        reporter=TerminalReporter(quiet=quiet),
        environ=os.environ,
    )

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

    _keep_logs_clean()
    return Workspace.load(
        config,
        clock=FixedClock(now) if now is not None else SystemClock(),
        reporter=TerminalReporter(quiet=quiet),
        environ=os.environ,
    )


def _keep_logs_clean() -> None:
    """What libraries log goes to stderr without secrets and addresses; only warnings unless WINBACK_DEBUG is set."""
    import logging

    from connector.redact import RedactingFilter

    handler = logging.StreamHandler()
    handler.addFilter(RedactingFilter(value for name, value in os.environ.items() if "TOKEN" in name and value))
    level = logging.DEBUG if os.environ.get("WINBACK_DEBUG") else logging.WARNING
    logging.basicConfig(level=level, handlers=[handler], format="%(levelname)s %(name)s: %(message)s")

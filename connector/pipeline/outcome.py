"""What became of the work: of all of it, and of a CRM that was not written to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from connector.errors import WinbackError

if TYPE_CHECKING:
    from connector.plan.apply import ApplyReport
    from connector.workspace import Workspace

PARTIAL = 3
"""The exit code when some rows were refused or set aside and the others went through."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a run wrote, and what ended it early if something did."""

    report: ApplyReport
    set_aside: int = 0
    """Rows of the sources that could not be read."""

    @property
    def exit_code(self) -> int:
        """0, 3 or the code of what stopped it."""
        return self.report.exit_code or (PARTIAL if self.set_aside else 0)


def not_written_to(
    workspace: Workspace, error: WinbackError, run_id: str, name: str, *, plan_id: str = ""
) -> ApplyReport:
    """The report of a CRM that was not written to at all; the reporter hears why."""
    from connector.plan.outcome import not_carried_out
    from connector.redact import redact

    workspace.reporter.line(f"{name} was not written to: {redact(str(error))}")
    return not_carried_out(error, run_id=run_id, destination=name, plan_id=plan_id)

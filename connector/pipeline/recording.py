"""A run in the journal, from its start to whatever ends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from connector.errors import GuardTripped, WinbackError

if TYPE_CHECKING:
    from connector.plan.apply import ApplyReport
    from connector.workspace import Workspace


def _numbers(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A report's summary without what it says of single rows."""
    said = {key: value for key, value in summary.items() if key not in {"rejections", "notices"}}
    if "destinations" in said:
        said["destinations"] = {name: _numbers(part) for name, part in said["destinations"].items()}
    return said


class Recorded:
    """A run being recorded in the journal, whatever ends it."""

    report: ApplyReport

    def __init__(self, workspace: Workspace, kind: str) -> None:
        self._workspace = workspace
        self._kind = kind
        self.run_id = ""
        self.notes: Mapping[str, str] = {}

    def __enter__(self) -> Self:
        journal = self._workspace.journal
        self.run_id = journal.runs.start(self._kind, playbook_digest=self._workspace.playbook.digest())
        for kind in ("run", "apply", "undo"):
            journal.runs.close_interrupted(kind=kind, but=self.run_id)
        journal.audit.append(f"{self._kind} started", {"run_id": self.run_id})
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        journal = self._workspace.journal
        state, summary = self._outcome(error)
        journal.runs.finish(self.run_id, state=state, summary=summary)
        journal.audit.append(f"{self._kind} {state}", {"run_id": self.run_id, **summary})

    def _outcome(self, error: BaseException | None) -> tuple[str, dict[str, Any]]:
        from connector.errors import Locked
        from connector.redact import redact

        if error is None:
            report = self.report
            summary = {**_numbers(report.summary()), **self.notes}
            if report.stopped is not None:
                state = "stopped" if isinstance(report.stopped, GuardTripped) else "failed"
                return state, {**summary, "error": redact(str(report.stopped))}
            return ("partial" if report.rejected or report.unknown else "done"), summary
        if isinstance(error, KeyboardInterrupt):
            return "interrupted", {}
        stopped = isinstance(error, GuardTripped | Locked)
        message = redact(str(error)) if isinstance(error, WinbackError) else type(error).__name__
        return ("stopped" if stopped else "failed"), {"error": message}

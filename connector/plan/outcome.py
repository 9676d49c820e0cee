"""What became of a plan that was carried out, in rows and in the vendor's words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector.errors import WinbackError, worst


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row the destination refused, or a whole step of `rows` rows when `row_id` is None; in the vendor's words."""

    kind: str
    target: str
    row_id: str | None
    rows: int
    message: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class ApplyReport:
    """What an apply did, in rows.

    unknown: Rows that may have been written, by this run or an earlier one, and of which the CRM cannot tell yet.
    skipped: Rows left out because consent was withdrawn since the plan was made, by reason code.
    stopped: Why it ended before the plan did: quota, credentials, a system that is down. Applying the same plan again
        takes it up from there.
    notices: What a person should know and nobody has to act on at once.
    parts: Where there are several CRMs: one for each, and this one is all of them together.
    """

    run_id: str
    plan_id: str
    destination: str
    written: int
    unchanged: int
    rejected: int
    unknown: int
    skipped: Mapping[str, int]
    api_calls: int
    seconds: float
    rejections: tuple[Refusal, ...]
    stopped: WinbackError | None = None
    notices: tuple[str, ...] = ()
    parts: tuple[ApplyReport, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 done, 3 partial, otherwise the code of what stopped it; of several CRMs, the worst."""
        if self.stopped is not None:
            return self.stopped.exit_code
        return 3 if self.rejected or self.unknown else 0

    def summary(self) -> dict[str, Any]:
        """What `winback apply --json` prints."""
        return {
            "schema_version": 1,
            "run_id": self.run_id,
            "plan_id": self.plan_id,
            "written": self.written,
            "unchanged": self.unchanged,
            "rejected": self.rejected,
            "unknown": self.unknown,
            "skipped": dict(sorted(self.skipped.items())),
            "api_calls": {part.destination: part.api_calls for part in self.parts or (self,)},
            "seconds": round(self.seconds, 3),
            "stopped": None if self.stopped is None else str(self.stopped),
            "rejections": [
                {
                    "kind": refusal.kind,
                    "target": refusal.target,
                    "row_id": refusal.row_id,
                    "rows": refusal.rows,
                    "message": refusal.message,
                    "code": refusal.code,
                }
                for refusal in self.rejections
            ],
            "notices": list(self.notices),
            **({"destinations": {part.destination: part.summary() for part in self.parts}} if self.parts else {}),
        }


def not_carried_out(error: WinbackError, *, run_id: str, destination: str, plan_id: str = "") -> ApplyReport:
    """Of a CRM that was not written to at all: a guard refused, or it was away."""
    return ApplyReport(
        run_id=run_id,
        plan_id=plan_id,
        destination=destination,
        written=0,
        unchanged=0,
        rejected=0,
        unknown=0,
        skipped={},
        api_calls=0,
        seconds=0.0,
        rejections=(),
        stopped=error,
    )


def together(reports: Sequence[ApplyReport]) -> ApplyReport:
    """One report of several CRMs: what became of all rows, and the worst that happened to any of them."""
    if len(reports) == 1:
        return reports[0]
    stopped = [report.stopped for report in reports if report.stopped is not None]
    skipped: Counter[str] = Counter()
    for report in reports:
        skipped.update(report.skipped)
    return ApplyReport(
        run_id=reports[0].run_id,
        plan_id="+".join(report.plan_id for report in reports if report.plan_id),
        destination=" and ".join(report.destination for report in reports),
        written=sum(report.written for report in reports),
        unchanged=sum(report.unchanged for report in reports),
        rejected=sum(report.rejected for report in reports),
        unknown=sum(report.unknown for report in reports),
        skipped=dict(skipped),
        api_calls=sum(report.api_calls for report in reports),
        seconds=sum(report.seconds for report in reports),
        rejections=tuple(refusal for report in reports for refusal in report.rejections),
        stopped=next((error for error in stopped if error.exit_code == worst(e.exit_code for e in stopped)), None),
        notices=tuple(f"{report.destination}: {notice}" for report in reports for notice in report.notices),
        parts=tuple(reports),
    )

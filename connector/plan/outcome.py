"""What became of a plan that was carried out, in rows and in the vendor's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connector.errors import WinbackError


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

    skipped: Rows left out because consent was withdrawn since the plan was made, by reason code.
    stopped: Why it ended before the plan did: quota, credentials, a system that is down. Applying the same plan again
        takes it up from there.
    notices: What a person should know and nobody has to act on at once.
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

    @property
    def exit_code(self) -> int:
        """0 done, 3 partial, otherwise the code of what stopped it."""
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
            "api_calls": {self.destination: self.api_calls},
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
        }

"""Where plans are kept, which is the newest, and how many stay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from connector.crms import destinations_in_order
from connector.errors import SettingError

if TYPE_CHECKING:
    from connector.plan.build import Plan
    from connector.workspace import Workspace


def plan_path(workspace: Workspace, plan: Plan) -> Path:
    """Where a plan is kept unless the user says otherwise; of several CRMs, under the destination's name."""
    short = plan.plan_id.removeprefix("plan-")[:8]
    whose = f".{plan.destination}" if len(workspace.playbook.destinations) > 1 else ""
    return workspace.folder("plans") / f"plan-{plan.made_at:%Y%m%dT%H%M%SZ}-{short}{whose}.json"


def newest_plans(workspace: Workspace) -> list[Path]:
    """The plan made last for each destination, in order; SettingError when there is none."""
    names = destinations_in_order(workspace)
    if len(names) == 1:
        return [newest_plan(workspace)]
    found = [sorted(workspace.folder("plans").glob(f"plan-*.{name}.json"))[-1:] for name in names]
    if not any(found):
        raise SettingError("there is no plan to apply", hint="make one: `winback plan`")
    return [path for paths in found for path in paths]


def newest_plan(workspace: Workspace) -> Path:
    """The plan made last; SettingError when there is none."""
    plans = sorted(workspace.folder("plans").glob("plan-*.json"))
    if not plans:
        raise SettingError("there is no plan to apply", hint="make one: `winback plan`")
    return plans[-1]


def refuse_other_day(workspace: Workspace, path: Path, plan: Plan) -> None:
    """A plan made for another day with `--as-of` is carried out only when its file is named: SettingError otherwise."""
    if plan.as_of != plan.made_at.astimezone(ZoneInfo(workspace.playbook.timezone)).date():
        raise SettingError(
            f"the newest plan shows {plan.as_of}, not the day it was made",
            hint=f"make a new one: `winback plan`; or, if that day is meant: winback apply {path}",
        )


KEPT_PLANS = 50
"""Plan files older than the newest fifty are deleted; the journal keeps their heads."""


def keep_newest(folder: Path, pattern: str, count: int = KEPT_PLANS) -> None:
    """Delete all but the newest files of this pattern, together with what lies beside them."""
    for path in sorted(folder.glob(f"{pattern}.json"))[:-count]:
        for beside in (path, path.with_suffix(".parquet")):
            beside.unlink(missing_ok=True)

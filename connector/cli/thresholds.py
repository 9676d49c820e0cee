"""`winback thresholds`: how likely a silent contact is to return, and what that says about thresholds."""

from __future__ import annotations

from typing import Any

from connector.cli.options import DEFAULT_CONFIG, AsJson, AsOf, Config, Now

HORIZON_DAYS = 90
SHOWN = (7, 14, 30, 45, 60, 90, 120, 180, 270, 365, 540, 730)


def command(*, as_of: AsOf = None, as_json: AsJson = False, config: Config = DEFAULT_CONFIG, now: Now = None) -> None:
    """The return curve of your own data, and the silent days at which return becomes unlikely."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out, out_json, table
    from connector.pipeline.readying import ready_warehouse

    with open_workspace(config, now=now) as workspace:
        day = as_of or workspace.today()
        curve = ready_warehouse(workspace).return_curve(day, horizon_days=HORIZON_DAYS)
    if as_json:
        document: dict[str, Any] = {
            "schema_version": 1,
            "as_of": day.isoformat(),
            "horizon_days": HORIZON_DAYS,
            "curve": [{"inactive_days": d, "p_return": p} for d, p in enumerate(curve.p_return)],
            "thresholds": curve.thresholds,
        }
        out_json(document)
        return
    known = [(d, curve.p_return[d]) for d in SHOWN if curve.p_return[d] is not None]
    if not known:
        out("not enough data: no usage up to this day")
        return
    table(
        ["silent days", f"returns within {HORIZON_DAYS} days"],
        [[d, f"{p:6.1%}  {'█' * round(p * 40)}"] for d, p in known if p is not None],
    )
    out("")
    for level, days in curve.thresholds.items():
        reached = f"from {days} silent days" if days is not None else "never in this data"
        out(f"  less than {float(level):.0%} return within {HORIZON_DAYS} days: {reached}")

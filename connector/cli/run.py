"""`winback run`: everything, for a scheduler."""

from __future__ import annotations

from connector.cli.options import DEFAULT_CONFIG, AsJson, Config, Now


def command(*, as_json: AsJson = False, config: Config = DEFAULT_CONFIG, now: Now = None) -> None:
    """Pull, evaluate, plan, guard, apply and publish in one go; made for cron."""
    from connector.cli.apply import finish
    from connector.cli.session import open_workspace
    from connector.pipeline.running import run

    with open_workspace(config, now=now) as workspace, workspace.locked() as still_ours:
        applied = run(workspace, still_ours=still_ours)
    finish(applied, as_json=as_json)

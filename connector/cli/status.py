"""`winback status`: the last runs, what was refused, what is locked, what is left of the quota."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.cli.options import DEFAULT_CONFIG, AsJson, Config, Now

if TYPE_CHECKING:
    from connector.status import ProgramLine


def command(*, as_json: AsJson = False, config: Config = DEFAULT_CONFIG, now: Now = None) -> None:
    """Runs, how far each source was read, rejected and quarantined rows, the lock, the quota left."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out, out_json, table
    from connector.redact import redact
    from connector.status import look

    with open_workspace(config, now=now, quiet=as_json) as workspace:
        status = look(workspace)
    if as_json:
        out_json({"schema_version": 1, **status.document()})
        return
    if status.runs:
        table(
            ["run", "kind", "started", "state", "what came of it"],
            [[r.run_id, r.kind, r.started, r.state, r.outcome] for r in status.runs],
        )
    else:
        out("no run yet: `winback run`, or `winback pull` and `winback plan`")
    out("")
    for source in status.sources:
        newest = source.newest or "-"
        out(f"  {source.source} {source.stream}: {source.rows:,} rows, newest {newest}, read {source.read}")
    for program in status.programs:
        _program(program)
    out(f"  lock: {status.lock or 'free'}")
    for name, left in status.quota.items():
        out(f"  {name}: {left:,} API calls left today" if left is not None else f"  {name}: no daily limit set")
    out(f"  unresolved writes: {status.unresolved:,} · rejected rows: {len(status.rejections):,}")
    for rejection in status.rejections[:20]:
        state = "quarantined" if rejection.quarantined else f"tried {rejection.attempts}×"
        out(f"    {rejection.row_id} ({rejection.target}), {state}: {rejection.reason}")
    if status.unmatched:
        out(f"  product users that are no contact: {status.unmatched:,}, for example")
        for person in status.unmatched_sample[:10]:
            out(f"    {redact(person.place)}: {person.reason}")
    for reject in status.set_aside[:20]:
        out(f"  set aside {reject.place}: {reject.reason}")


def _program(program: ProgramLine) -> None:
    """How a program stands, on a line or two."""
    from connector.cli.terminal import out

    inside = ", ".join(f"{step or 'before the first step'} {n:,}" for step, n in program.steps.items())
    held = f" · {program.held_out:,} held out" if program.held_out else ""
    out(f"  program {program.program}: {inside or 'nobody in it'}{held}")
    if program.exits:
        out("    left: " + ", ".join(f"{reason} {n:,}" for reason, n in program.exits.items()))

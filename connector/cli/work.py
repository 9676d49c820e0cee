"""`winback work`: drains what was heard, and writes what follows into the CRM."""

from __future__ import annotations

import dataclasses
import signal
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, Config, Now

if TYPE_CHECKING:
    from connector.live.worker import Worked


def command(
    *,
    once: Annotated[bool, typer.Option("--once", help="Do what is due and end.")] = False,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Settle what was heard, carry out what follows, ask for what was only hinted at; until told to stop."""
    from connector.cli.session import open_workspace
    from connector.live.worker import Worker

    with open_workspace(config, now=now, quiet=as_json) as workspace:
        worker = Worker(workspace)
        if not once:
            stop, woken = _until_told()
            worker.run(stop, woken)
            return
        try:
            worked = worker.until_done()
        finally:
            worker.close()
    _finish(worked, as_json=as_json)


def _until_told() -> tuple[threading.Event, threading.Event]:
    """Events that SIGTERM and Ctrl-C set: what has been begun is finished; a second one ends at once."""
    stop, woken = threading.Event(), threading.Event()

    def end(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        woken.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return stop, woken


def _finish(worked: Worked, *, as_json: bool) -> None:
    from connector.cli.terminal import out, out_json

    document: dict[str, Any] = {"schema_version": 1, **dataclasses.asdict(worked)}
    if as_json:
        out_json(document)
        return
    for part in ("drained", "relayed", "asked"):
        numbers = document[part] or {}
        told = ", ".join(f"{name} {number}" for name, number in numbers.items() if isinstance(number, int) and number)
        out(f"{part}: {told or 'nothing'}")

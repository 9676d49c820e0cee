"""A process that applies a plan and may be killed on the way; what it wrote outlives it in files and a database."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connector import failpoints
from connector.contracts import Capabilities
from connector.journal import Journal
from connector.plan.document import Plan
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.plan_world import StillClock, World

TINY = Capabilities(members_per_call=2, properties_per_call=2, members_per_read=2, properties_per_read=2)

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.fakes.apply_driver"])


def open_world(folder: Path, url: str) -> World:
    """The world in this folder, as the last process left it."""
    crm = MemoryDestination(map(str, range(1, 30)), capabilities=TINY, path=folder / "crm.json")
    clock = StillClock()
    return World(crm, Journal.open(url, clock=clock), folder / "undo", clock)


def drive(folder: Path, url: str, wanted: Mapping[str, Any], *, resume: bool) -> None:
    """Apply what is wanted: the plan in the folder if it may be taken up, a new one otherwise."""
    w = open_world(folder, url)
    path = folder / "plan.json"
    w.recover()
    if not (resume and path.exists()):
        w.plan(wanted["lists"], wanted["values"]).write(path)
    w.apply(Plan.read(path))
    w.journal.close()


def _main(folder: Path, url: str, wanted: Mapping[str, Any], resume: bool, failpoint: str | None) -> None:
    if failpoint is not None:
        os.environ[failpoints.VARIABLE] = failpoint
    drive(folder, url, wanted, resume=resume)


def run_process(
    folder: Path, url: str, wanted: Mapping[str, Any], *, resume: bool = True, failpoint: str | None = None
) -> int | None:
    """Drive in a process of its own; returns how it ended."""
    process = _processes.Process(target=_main, args=(folder, url, wanted, resume, failpoint))
    process.start()
    process.join(60)
    return process.exitcode

"""Which process this is, and whether another one still lives."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_START_FIELD = 19
"""Where /proc/<pid>/stat keeps the start time, counted after the command's closing bracket."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process as others can recognise it.

    place: Machine, boot and container: only inside one place does a process id mean something.
    started: When it started, in the kernel's ticks; tells it from a later process with the same id. "" if unknown.
    """

    host: str
    pid: int
    place: str
    started: str

    def is_dead(self) -> bool:
        """True when this process certainly no longer runs; False when it does or when we cannot know."""
        if self.place != _place():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        now_started = _started(self.pid)
        return bool(self.started and now_started and now_started != self.started)


def this_process() -> Process:
    """The process that is running this."""
    return Process(host=socket.gethostname(), pid=os.getpid(), place=_place(), started=_started(os.getpid()))


@cache
def _place() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    booted = boot.read_text().strip() if boot.exists() else ""
    try:
        container = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        container = ""
    return f"{socket.gethostname()}/{booted}/{container}"


def _started(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return "ended"
    return fields[_START_FIELD]

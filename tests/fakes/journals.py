"""Journals for tests, and other processes that work on them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Silence:
    """A reporter that keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, task: str, done: int, total: int | None = None) -> None:
        pass


def spawn(code: str, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Run Python code in a process of its own, our packages at hand, its answers on a pipe."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
    )


def expect(process: subprocess.Popen[str], line: str) -> None:
    """Wait until the process says this line."""
    assert process.stdout is not None
    said = process.stdout.readline().strip()
    assert said == line, f"the process said {said!r} instead of {line!r}; it ended with {process.poll()}"


def kill(process: subprocess.Popen[str]) -> None:
    """End it without warning, as a power cut would, and wait until it is gone."""
    process.kill()
    process.wait(timeout=30)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def finish_all(processes: list[subprocess.Popen[str]]) -> list[str]:
    """What each of them said, once all have ended; all must have ended well."""
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return said


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a process that ends by itself and return the rest of what it said; it must have ended well."""
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, f"the process ended with {process.returncode} after saying {said!r}"
    return said

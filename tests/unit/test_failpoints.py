"""Failpoints: quiet by default, deadly by name, and every one of them real."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from connector import failpoints

ROOT = Path(__file__).parents[2]


@pytest.fixture
def died(monkeypatch) -> list[str]:
    names: list[str] = []
    failpoints.reset()
    monkeypatch.setattr(failpoints, "die", names.append)
    yield names
    failpoints.reset()


def hit(*names: str) -> None:
    for name in names:
        failpoints.failpoint(name)


def test_without_the_variable_nothing_happens(died, monkeypatch):
    monkeypatch.delenv(failpoints.VARIABLE, raising=False)
    hit("apply.sent", "apply.sent")
    assert died == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("apply.sent", ["apply.sent"]),
        ("apply.sent:2", ["apply.sent"]),
        ("*:3", ["apply.recorded"]),
        ("apply.sent:9", []),
    ],
)
def test_the_variable_names_the_point_and_the_hit(died, monkeypatch, value, expected):
    monkeypatch.setenv(failpoints.VARIABLE, value)
    hit("apply.intended", "apply.sent", "apply.recorded", "apply.sent")
    assert died == expected


def test_dying_is_a_kill_that_nothing_can_catch():
    code = "from connector.failpoints import failpoint\ntry:\n failpoint('apply.sent')\nfinally:\n print('cleaned up')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={failpoints.VARIABLE: "apply.sent", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == ""


def test_the_registry_and_the_code_name_the_same_points_of_apply_and_recover():
    used = set()
    for path in (ROOT / "connector" / "plan").glob("*.py"):
        used |= set(re.findall(r'failpoint\("([a-z_.]+)"\)', path.read_text()))
    assert used == {name for name in failpoints.FAILPOINTS if name.startswith(("apply.", "recover."))}

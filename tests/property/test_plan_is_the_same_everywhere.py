"""The plan is the same to the byte whatever the machine's language, time zone and hash order."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import hashlib, locale, sys, time
from pathlib import Path
try:
    locale.setlocale(locale.LC_ALL, "")
except locale.Error:
    pass
time.tzset()
from connector.plan.build import Current, Wanted, build_plan
from connector.plan.document import Allowance
from connector.plan.render import render_plan
from tests.fakes.plan_world import SPECS, inputs
count = int(sys.argv[2])
names = ["winback · Ångström", "winback · dormant_30", "winback · Zoë", "winback · äpfel", "winback · \u0131\u015f\u0131k"]
rows = {f"{n * 7919 % 100_003}" for n in range(count)}
lists = {name: {row: f"hubspot:{row}" for row in rows} for name in set(names)}
current = {name: {f"{n}" for n in range(0, count, 3)} for name in set(names)}
plan = build_plan(inputs(
    wanted=Wanted(lists, {row: {"winback_segment": "é;ß", "winback_reason": row} for row in rows}, SPECS),
    current=Current(current, {name: str(i) for i, name in enumerate(sorted(names))}),
    blocked={row: "opted_out" for row in rows if row.endswith("3")},
    excluded={reason: {f"product:{n}" for n in range(40)} for reason in {"not_in_crm", "no_consent", "bounced"}},
    fingerprints={name: name.upper() for name in {"facts", "held", "playbook"}},
    allowance=Allowance(152.0, 200_000.5),
))
path = Path(sys.argv[1]) / "plan.json"
plan.write(path)
digest = hashlib.sha256()
for file in sorted(path.parent.iterdir()):
    digest.update(file.read_bytes())
digest.update(render_plan(plan).encode())
print(plan.plan_id, digest.hexdigest(), len(list(path.parent.iterdir())))
"""

WORLDS: list[Mapping[str, str]] = [
    {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8"},
    {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LC_ALL": "C"},
    {"PYTHONHASHSEED": "4242", "TZ": "America/St_Johns", "LC_ALL": "POSIX", "PYTHONUTF8": "0"},
    {"PYTHONHASHSEED": "random", "TZ": "Asia/Kathmandu", "LC_ALL": "de_DE.UTF-8"},
    {"PYTHONHASHSEED": "99", "TZ": "Europe/Amsterdam", "LC_ALL": "tr_TR.UTF-8", "LANGUAGE": "tr"},
]


@pytest.mark.parametrize(("count", "files"), [(300, 1), (4_000, 2)], ids=["in JSON", "in Parquet"])
def test_the_same_inputs_give_the_same_plan_everywhere(tmp_path: Path, count: int, files: int):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    answers = set()
    for number, world in enumerate(WORLDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, str(program), str(folder), str(count)],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **world},
            capture_output=True,
            text=True,
            check=True,
        )
        answers.add(done.stdout.strip())
    assert len(answers) == 1
    assert answers.pop().endswith(f" {files}")

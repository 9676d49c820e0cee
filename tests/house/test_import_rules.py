"""The rules about who may import whom hold, and the checker would notice if they did not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip


def test_a_core_module_that_names_an_adapter_breaks_a_contract(tmp_path: Path):
    for package in ("connector", "adapters", "mappings", "webhooks"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert lint_imports(tmp_path).returncode == 0
    with (tmp_path / "connector" / "plain.py").open("a") as file:
        file.write("\nimport adapters.hubspot  # noqa\n")
    broken = lint_imports(tmp_path)
    assert broken.returncode != 0
    assert "The core never names an adapter" in broken.stdout

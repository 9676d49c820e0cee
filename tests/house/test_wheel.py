"""The built wheel is whole: installed alone into a clean environment it runs the main job."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True, capture_output=True,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A clean environment with our wheel; the dependencies are seen where this one has them, our checkout is not."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    site = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
            check=True, capture_output=True, text=True,
        ).stdout.strip()
    )  # fmt: skip
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)],
        check=True, capture_output=True,
    )  # fmt: skip
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python


def test_the_wheel_carries_every_data_file(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    suffixes = {".sql", ".yaml", ".html", ".css", ".mako", ".md", ".typed"}
    wanted = {
        str(path.relative_to(ROOT))
        for package in ("connector", "adapters", "mappings", "webhooks")
        for path in (ROOT / package).rglob("*")
        if path.suffix in suffixes or path.name == "py.typed"
    }
    assert wanted <= inside
    assert not [name for name in inside if name.startswith(("tests/", "docs/"))]


def test_the_demo_runs_from_the_wheel(installed, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    code = "import connector, sys; print(connector.__file__); from connector.cli.main import main; main()"
    done = subprocess.run(
        [installed, "-c", code, "demo", "--contacts", "20", "--days", "0", "--folder", str(tmp_path / "demo")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(ROOT) not in done.stdout.splitlines()[0]
    assert "winback · " in (tmp_path / "demo" / "crm.html").read_text()

"""`winback demo` tells the whole story by itself and ends well."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fakes.installation import Installation


@pytest.fixture
def shell(tmp_path) -> Installation:
    return Installation(tmp_path / "unused", "http://127.0.0.1:9", "unused")


def test_the_demo_does_the_main_job_and_writes_a_page(shell, tmp_path):
    folder = tmp_path / "demo"
    done = shell.spawn("demo", "--contacts", "300", "--folder", str(folder), now=None)
    assert done.code == 0, done.err
    for command in ("check", "pull", "segments", "plan", "apply --yes", "run", "explain"):
        assert f"$ winback {command}" in done.out
    assert "0 written" in done.out
    page = (folder / "crm.html").read_text()
    assert "winback · dormant_30" in page
    assert str(folder / "crm.html") in done.out


def test_the_demo_goes_on_from_its_folder_afterwards(shell, tmp_path):
    folder = tmp_path / "demo"
    assert shell.spawn("demo", "--contacts", "60", "--folder", str(folder), now=None).code == 0
    after = shell.spawn("segments", "--json", "-c", str(folder / "winback.yaml"), now=None)
    assert after.code == 0, after.err
    assert after.json["contacts"] > 0
    assert shell.spawn("demo", "--contacts", "60", "--folder", str(folder), now=None).code == 0


def test_the_demo_leaves_a_folder_that_is_not_its_own_alone(shell, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear reader")
    done = shell.spawn("demo", "--folder", str(tmp_path / "mine"), now=None)
    assert done.code == 2
    assert (tmp_path / "mine" / "letter.txt").exists()


def commit(repo: Path, name: str, day: str, path: str) -> None:
    file = repo / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{name} {day}\n")
    who = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": f"{name}@example.com", "GIT_AUTHOR_DATE": f"{day}T12:00:00Z"}
    who |= {key.replace("AUTHOR", "COMMITTER"): value for key, value in who.items()}
    subprocess.run(["git", "add", "."], cwd=repo, check=True)
    subprocess.run(["git", "commit", "-qm", "work"], cwd=repo, check=True, env={"PATH": "/usr/bin:/bin", **who})


def test_the_demo_takes_a_repository_s_contributors_as_the_users(shell, tmp_path):
    repo = tmp_path / "repo"
    repo.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=repo, check=True)
    for name, days in {"ann": ["2026-01-05", "2026-06-01"], "bob": ["2026-02-01"], "cem": ["2026-04-20"]}.items():
        for day in days:
            commit(repo, name, day, f"{name}/notes.txt")
    done = shell.spawn("demo", "--repo", str(repo), "--folder", str(tmp_path / "demo"), now=None)
    assert done.code == 0, done.err
    assert "3 contributors" in done.out
    assert "@example.com" not in done.out

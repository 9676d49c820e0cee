"""Rules of the house that a machine can check: locks, links, packages, generated documents."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("adapters/**/*.md")]
    if ".venv" not in path.parts
)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_file_has_hashes_and_no_addresses(name: str):
    text = (ROOT / name).read_text()
    assert "--hash=sha256:" in text
    assert not re.search(r"https?:|file:|--index-url|--extra-index-url|--find-links|@ ", text)
    pinned = re.findall(r"^[A-Za-z0-9._\[\]-]+==", text, flags=re.MULTILINE)
    assert len(pinned) > 20
    assert all("==" in line or line.startswith((" ", "#")) or not line.strip() for line in text.splitlines())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_inside_the_repository_leads_somewhere(document: Path):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), f"{document.name} points to {target}"


def test_generated_documents_follow_the_code():
    done = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_top_level_folder_is_one_of_the_card_or_its_guests():
    allowed = {
        ".ci", "adapters", "benchmarks", "changes", "connector", "deploy", "docs", "examples", "mappings", "tests",
        "webhooks",
    }  # fmt: skip
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    folders = {line.split("/")[0] for line in tracked.splitlines() if "/" in line}
    assert folders <= allowed


def test_every_data_file_of_the_packages_is_tracked_or_generated_by_nobody():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    wanted = {".sql", ".yaml", ".html", ".css", ".mako"}
    for package in ("connector", "adapters", "mappings", "webhooks"):
        for path in (ROOT / package).rglob("*"):
            if path.suffix in wanted:
                assert str(path.relative_to(ROOT)) in tracked

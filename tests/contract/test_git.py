"""The git adapter keeps the contract of a source, for commits and for authors."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.git.options import GitOptions
from adapters.git.source import GitSource
from tests.contract.source_suite import SourceSuite, keys_of
from tests.fakes.connections import connect
from tests.fakes.repositories import MadeRepository


class GitWorld:
    """A repository that people commit to."""

    def __init__(self, folder: Path, stream: str, key: str) -> None:
        self.stream = stream
        self.key = key
        self._folder = folder
        self._repository = MadeRepository(folder / "repo")
        for day in range(1, 8):
            self._repository.commit(
                {f"part{day}/x": "1"}, author=f"P{day} <p{day}@example.org>", at=f"2026-01-0{day}T00:00:00Z"
            )

    def source(self) -> GitSource:
        return GitSource(connect(GitOptions(adapter="git", path="repo"), self._folder, name="code"))

    def broken(self) -> None:
        return None

    def keys(self) -> set[str]:
        commits = self._repository.git("log", "--format=%H %ae").splitlines()
        if self.stream == "usage":
            folders = self._repository.git("log", "--format=", "--name-only").split()
            return {f"{line.split()[0]}:{path.partition('/')[0]}" for line, path in zip(commits, folders, strict=True)}
        return {line.split()[1] for line in commits}

    def change(self) -> set[str]:
        before = self.keys()
        for day in (1, 2, 3):
            self._repository.commit(
                {f"new{day}/x": "1"}, author=f"N{day} <n{day}@example.org>", at=f"2026-02-0{day}T00:00:00Z"
            )
        return self.keys() - before

    def delete(self) -> set[str]:
        return set()


class TestGitUsage(SourceSuite):
    """Commits, one to a page."""

    @pytest.fixture
    def world(self, tmp_path, monkeypatch):
        monkeypatch.setattr("adapters.git.source._PAGE_ROWS", 1)
        return GitWorld(tmp_path, "usage", "change_id")


class TestGitContacts(SourceSuite):
    """Authors, as complete listings."""

    @pytest.fixture
    def world(self, tmp_path):
        return GitWorld(tmp_path, "contacts", "author_email")

    def test_a_listing_in_several_pages_is_one_snapshot(self, world, monkeypatch):
        monkeypatch.setattr("adapters.git.source._PAGE_ROWS", 3)
        pages = list(world.source().read("contacts", None))
        assert [page.snapshot_complete for page in pages] == [False, False, True]
        assert len({page.snapshot for page in pages}) == 1
        assert set(keys_of(pages, world.key)) == world.keys()

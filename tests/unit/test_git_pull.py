"""A repository pulled into the real warehouse: one contact a person, one usage row a commit and folder."""

from __future__ import annotations

from connector.pull import pull
from connector.warehouse import Warehouse
from mappings.schema import load_shipped
from tests.fakes.connections import HandClock, KeptLines
from tests.fakes.repositories import MadeRepository
from tests.unit.test_git_source import source_of


def pull_all(repository, warehouse) -> dict[str, tuple[int, int]]:
    reports = {}
    for info in (source := source_of(repository)).streams():
        mapping = load_shipped("git", info.default_mapping)
        assert mapping is not None
        report = pull(
            source,
            info.name,
            name="code",
            mapping=mapping,
            warehouse=warehouse,
            clock=HandClock(),
            reporter=KeptLines(),
        )
        assert report.rejects == 0, report.rejected_sample
        reports[info.name] = (report.rows, report.new)
    return reports


def test_authors_become_contacts_and_their_commits_match_them(tmp_path):
    repository = MadeRepository(tmp_path / "repo")
    repository.commit({"a/x": "1", "b/x": "1"}, author="Ann Lee <ann@example.org>", at="2026-01-01T00:00:00Z")
    repository.commit({"a/x": "2"}, author="Ben <ben@example.org>", at="2026-01-02T00:00:00+05:30")
    with Warehouse.open("duckdb:///:memory:") as warehouse:
        assert pull_all(repository, warehouse) == {"contacts": (2, 2), "usage": (3, 3)}
        assert pull_all(repository, warehouse) == {"contacts": (0, 0), "usage": (0, 0)}
        matched = warehouse.match_identities(["external_id", "email"])
        assert (matched.users, matched.matched) == (2, 2)
        repository.commit({"a/x": "3"}, author="Ann Lee <ann@example.org>", at="2026-01-03T00:00:00Z")
        assert pull_all(repository, warehouse)["usage"] == (1, 1)


def test_rewritten_history_leaves_exactly_the_new_one(tmp_path):
    repository = MadeRepository(tmp_path / "repo")
    for day in (1, 2, 3):
        repository.commit({f"d{day}/x": "1"}, at=f"2026-01-0{day}T00:00:00Z")
    with Warehouse.open("duckdb:///:memory:") as warehouse:
        pull_all(repository, warehouse)
        repository.git("reset", "-q", "--hard", "HEAD~2")
        repository.commit({"other/x": "1"}, at="2026-01-04T00:00:00Z")
        pull_all(repository, warehouse)
        assert {stat.stream: stat.rows for stat in warehouse.source_stats()}["usage"] == 2

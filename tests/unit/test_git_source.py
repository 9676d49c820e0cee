"""The git adapter: commits as usage, authors as contacts, against repositories made on the spot."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.git import ADAPTER
from adapters.git.options import GitOptions
from adapters.git.source import GitSource
from connector.contracts import Source
from connector.errors import SettingError
from connector.model import Severity
from mappings.schema import load_shipped
from tests.fakes.connections import connect
from tests.fakes.repositories import MadeRepository

ANN = "Ann Lee <ann@example.org>"
BEN = "Ben <ben@example.org>"


@pytest.fixture
def repository(tmp_path):
    return MadeRepository(tmp_path / "repo")


def source_of(repository: MadeRepository, **options) -> GitSource:
    settings = GitOptions.model_validate({"adapter": "git", "path": repository.path.name, **options})
    return GitSource(connect(settings, repository.path.parent, name="code"))


def rows_of(pages) -> list[dict]:
    return [record for page in pages for record in page.records]


def test_each_folder_a_commit_touches_is_one_use(repository):
    commit = repository.commit({"src/a.py": "1", "src/b/c.py": "1", "README": "1"}, at="2026-01-02T03:04:05+02:00")
    rows = rows_of(source_of(repository).read("usage", None))
    assert {(row["folder"], row["files"], row["change_id"]) for row in rows} == {
        ("src", 2, f"{commit}:src"),
        ("(root)", 1, f"{commit}:(root)"),
    }
    assert {row["authored_at"] for row in rows} == {1767315845}


def test_author_time_is_when_it_happened_and_committer_time_when_it_arrived(repository):
    repository.commit({"a/x": "1"}, at="2026-01-01T00:00:00Z", committed="2026-03-01T00:00:00Z")
    (row,) = rows_of(source_of(repository).read("usage", None))
    assert row["committed_at"] - row["authored_at"] == 59 * 86400


def test_an_author_clock_ahead_of_the_committers_is_not_believed(repository):
    repository.commit({"a/x": "1"}, at="2031-01-01T00:00:00Z", committed="2026-03-01T00:00:00Z")
    (row,) = rows_of(source_of(repository).read("usage", None))
    assert row["authored_at"] == row["committed_at"]


def test_merges_are_left_out_and_an_empty_commit_is_a_use_without_a_folder(repository):
    repository.commit({"a/x": "1"}, at="2026-01-01T00:00:00Z")
    repository.git("checkout", "-q", "-b", "side")
    repository.commit({"b/x": "1"}, at="2026-01-02T00:00:00Z")
    repository.git("checkout", "-q", "main")
    repository.commit({}, at="2026-01-03T00:00:00Z")
    repository.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    rows = rows_of(source_of(repository).read("usage", None))
    assert sorted(str(row["folder"]) for row in rows) == ["None", "a", "b"]


def test_hostile_paths_and_names_cannot_be_mistaken_for_structure(repository):
    repository.commit(
        {'d\nir/we\tird "q".txt': "1", "ünï/x": "1", ":/x": "1"},
        author="=cmd|'x'! Ж <ann@example.org>",
        at="2026-01-01T00:00:00Z",
    )
    repository.commit({'d\nir/we\tird "q".txt': "2"}, at="2026-01-02T00:00:00Z")
    rows = rows_of(source_of(repository).read("usage", None))
    assert sorted(row["folder"] for row in rows) == [":", "d\nir", "d\nir", "ünï"]
    people = rows_of(source_of(repository).read("contacts", None))
    assert [(person["first_name"], person["last_name"]) for person in people] == [("Ann", "Lee")]


def test_the_mail_map_joins_addresses_and_equal_addresses_join_whatever_their_case(repository):
    repository.commit({"a/x": "1"}, author="Ann Lee <ann@example.org>", at="2026-01-02T00:00:00Z")
    repository.commit({"a/x": "2"}, author="A. Lee <Ann@Example.ORG>", at="2026-01-03T00:00:00Z")
    repository.commit({"a/x": "3"}, author="ann <ann@old.example.org>", at="2026-01-01T00:00:00Z")
    repository.commit({"a/x": "4"}, author="ann lee <other@example.org>", at="2026-01-04T00:00:00Z")
    repository.commit(
        {".mailmap": "Ann Lee <ann@example.org> <ann@old.example.org>\n"}, author=BEN, at="2026-01-05T00:00:00Z"
    )
    people = {person["author_email"]: person for person in rows_of(source_of(repository).read("contacts", None))}
    assert set(people) == {"ann@example.org", "other@example.org", "ben@example.org"}
    assert people["ann@example.org"]["other_emails"] == "ann@old.example.org"
    assert people["ann@example.org"]["first_authored_at"] == 1767225600
    assert people["other@example.org"]["author_id"] != people["ann@example.org"]["author_id"]


def test_ids_are_hashes_that_depend_on_the_key_and_show_no_address(repository):
    repository.commit({"a/x": "1"}, at="2026-01-01T00:00:00Z")
    plain = rows_of(source_of(repository).read("usage", None))[0]["author_id"]
    keyed = rows_of(source_of(repository, auth={"key": "s3cret"}).read("usage", None))[0]["author_id"]
    shown = rows_of(source_of(repository, ids="email").read("usage", None))[0]["author_id"]
    assert plain != keyed
    assert "@" not in plain + keyed
    assert shown == "ann@example.org"


def test_an_author_without_an_address_is_known_by_name(repository):
    repository.commit({"a/x": "1"}, author="No Mail <>", at="2026-01-01T00:00:00Z")
    repository.commit({"a/x": "2"}, at="2026-01-02T00:00:00Z")
    people = rows_of(source_of(repository).read("contacts", None))
    assert sorted(str(person["author_email"]) for person in people) == ["None", "ann@example.org"]


def test_bots_are_left_out_unless_let_in(repository):
    repository.commit(
        {"a/x": "1"}, author="dependabot[bot] <49699333+dependabot[bot]@users.example.org>", at="2026-01-01T00:00:00Z"
    )
    repository.commit({"a/x": "2"}, author="Abbott Robotham <abbott@example.org>", at="2026-01-02T00:00:00Z")
    assert len(rows_of(source_of(repository).read("usage", None))) == 1
    assert len(rows_of(source_of(repository, bots=[]).read("usage", None))) == 2
    assert len(rows_of(source_of(repository).read("contacts", None))) == 1


def test_since_leaves_out_what_is_older(repository):
    repository.commit({"a/x": "1"}, at="2025-12-31T23:59:59Z")
    repository.commit({"a/x": "2"}, at="2026-01-01T00:00:00Z")
    rows = rows_of(source_of(repository, since="2026-01-01").read("usage", None))
    assert [row["authored_at"] for row in rows] == [1767225600]


def test_the_next_pull_reads_only_new_commits(repository):
    repository.commit({"a/x": "1"}, at="2026-01-01T00:00:00Z")
    source = source_of(repository)
    (first,) = source.read("usage", None)
    assert first.replaces_origin
    assert list(source.read("usage", first.cursor)) == []
    newer = repository.commit({"b/x": "1"}, at="2026-01-02T00:00:00Z")
    (second,) = source.read("usage", first.cursor)
    assert [row["change_id"] for row in second.records] == [f"{newer}:b"]
    assert not second.replaces_origin


def test_a_commit_merged_late_is_not_missed(repository):
    repository.commit({"a/x": "1"}, at="2026-01-01T00:00:00Z")
    repository.git("checkout", "-q", "-b", "side")
    late = repository.commit({"b/x": "1"}, at="2026-01-02T00:00:00Z")
    repository.git("checkout", "-q", "main")
    repository.commit({"c/x": "1"}, at="2026-02-01T00:00:00Z")
    source = source_of(repository)
    (first,) = source.read("usage", None)
    repository.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    (second,) = source.read("usage", first.cursor)
    assert [row["change_id"] for row in second.records] == [f"{late}:b"]


def test_an_interrupted_read_goes_on_where_it_stopped_even_if_the_branch_moved(repository, monkeypatch):
    monkeypatch.setattr("adapters.git.source._PAGE_ROWS", 2)
    for day in range(1, 8):
        repository.commit({"a/x": str(day)}, at=f"2026-01-0{day}T00:00:00Z")
    source = source_of(repository)
    whole = [row["change_id"] for row in rows_of(source.read("usage", None))]
    pages = source.read("usage", None)
    first, second = next(pages), next(pages)
    pages.close()
    newer = repository.commit({"a/x": "new"}, at="2026-01-09T00:00:00Z")
    rest = list(source.read("usage", second.cursor))
    assert [row["change_id"] for row in rows_of([first, second, *rest])] == [*whole, f"{newer}:a"]
    assert not any(page.replaces_origin for page in rest)


def test_rewritten_history_is_read_again_and_replaces_what_was_there(repository):
    repository.commit({"a/x": "1"}, at="2026-01-01T00:00:00Z")
    repository.commit({"a/x": "2"}, at="2026-01-02T00:00:00Z")
    source = source_of(repository)
    (first,) = source.read("usage", None)
    repository.git("reset", "-q", "--hard", "HEAD~1")
    repository.commit({"b/x": "other"}, at="2026-01-03T00:00:00Z")
    (again,) = source.read("usage", first.cursor)
    assert again.replaces_origin
    assert [row["folder"] for row in again.records] == ["a", "b"]
    assert "rewritten" in source._connection.reporter.lines[-1]


def test_a_changed_mail_map_reads_everything_again(repository):
    repository.commit({"a/x": "1"}, author="ann <ann@old.example.org>", at="2026-01-01T00:00:00Z")
    source = source_of(repository)
    (first,) = source.read("usage", None)
    (repository.path / ".mailmap").write_text("Ann Lee <ann@example.org> <ann@old.example.org>\n")
    (again,) = source.read("usage", first.cursor)
    assert again.replaces_origin
    assert [row["author_email"] for row in again.records] == ["ann@example.org"]


def test_history_of_only_bots_still_replaces_and_moves_the_cursor(repository):
    repository.commit({"a/x": "1"}, author="renovate <r@example.org>", at="2026-01-01T00:00:00Z")
    source = source_of(repository)
    (page,) = source.read("usage", None)
    assert page.replaces_origin
    assert len(page.records) == 0
    assert list(source.read("usage", page.cursor)) == []


def test_people_are_a_complete_listing_read_only_when_something_changed(repository):
    repository.commit({"a/x": "1"}, at="2026-01-01T00:00:00Z")
    source = source_of(repository)
    (page,) = source.read("contacts", None)
    assert page.snapshot_complete
    assert list(source.read("contacts", page.cursor)) == []
    repository.commit({"a/x": "2"}, author=BEN, at="2026-01-02T00:00:00Z")
    (again,) = source.read("contacts", page.cursor)
    assert len(again.records) == 2
    assert again.snapshot != page.snapshot


def test_the_users_own_git_settings_change_nothing(repository):
    repository.commit({"a/x": "1\n2\n3\n"}, at="2026-01-01T00:00:00Z")
    repository.git("mv", "a/x", "a/y")
    repository.commit({}, at="2026-01-02T00:00:00Z")
    before = rows_of(source_of(repository).read("usage", None))
    for name, value in [
        ("log.showSignature", "true"),
        ("color.ui", "always"),
        ("diff.renames", "copies"),
        ("log.showRoot", "false"),
        ("diff.noprefix", "true"),
        ("core.quotePath", "true"),
    ]:
        repository.git("config", name, value)
    assert rows_of(source_of(repository).read("usage", None)) == before
    assert [row["files"] for row in before] == [1, 2]


def test_a_shallow_clone_is_noticed_and_its_cut_commit_counts_once(repository, tmp_path):
    for day in range(1, 5):
        repository.commit({f"d{day}/x": "1", f"d{day}/y": "1"}, at=f"2026-01-0{day}T00:00:00Z")
    repository.git("clone", "-q", "--depth", "2", f"file://{repository.path}", str(tmp_path / "shallow"))
    shallow = MadeRepository.__new__(MadeRepository)
    shallow.path = tmp_path / "shallow"
    source = source_of(shallow)
    (first,) = source.read("usage", None)
    assert [(row["folder"], row["files"]) for row in first.records] == [(None, 1), ("d4", 2)]
    assert "shallow" in source._connection.reporter.lines[0]
    assert [finding.severity for finding in source.check()] == [Severity.OK, Severity.WARNING]
    shallow.git("fetch", "-q", "--unshallow")
    (again,) = source.read("usage", first.cursor)
    assert again.replaces_origin
    assert len(again.records) == 4


def test_a_bare_repository_can_be_read(repository, tmp_path):
    repository.commit(
        {"a/x": "1", ".mailmap": "Ann Lee <ann@example.org> <ann@old.example.org>\n"},
        author="x <ann@old.example.org>",
        at="2026-01-01T00:00:00Z",
    )
    repository.git("clone", "-q", "--bare", str(repository.path), str(tmp_path / "bare.git"))
    bare = MadeRepository.__new__(MadeRepository)
    bare.path = tmp_path / "bare.git"
    rows = rows_of(source_of(bare).read("usage", None))
    assert {row["author_email"] for row in rows} == {"ann@example.org"}


def test_what_is_not_a_repository_is_said_plainly(tmp_path):
    (tmp_path / "plain").mkdir()
    source = GitSource(connect(GitOptions(adapter="git", path="plain"), tmp_path))
    (finding,) = source.check()
    assert (finding.severity, finding.message) == (Severity.ERROR, "plain: not a git repository")
    with pytest.raises(SettingError, match="plain: not a git repository"):
        next(source.read("usage", None))
    missing = GitSource(connect(GitOptions(adapter="git", path="nowhere"), tmp_path))
    with pytest.raises(SettingError, match="nowhere: there is no such folder"):
        next(missing.read("usage", None))


def test_an_empty_repository_yields_nothing_and_says_so(repository):
    source = source_of(repository)
    assert list(source.read("usage", None)) == []
    assert source._connection.reporter.lines == ["code: the repository has no commits yet; nothing to read"]
    assert [finding.severity for finding in source.check()] == [Severity.WARNING]


def test_an_unknown_ref_names_the_near_one(repository):
    repository.commit({"a/x": "1"}, at="2026-01-01T00:00:00Z")
    with pytest.raises(SettingError, match="no branch, tag or commit 'mian'; did you mean main"):
        next(source_of(repository, ref="mian").read("usage", None))


@pytest.mark.parametrize("ref", ["--output=x", "a..b"])
def test_a_ref_cannot_be_a_flag_or_a_range(ref):
    with pytest.raises(ValueError, match="is not the name of a branch"):
        GitOptions(adapter="git", ref=ref)


def test_the_shipped_mappings_read_the_fields_the_source_yields(repository):
    repository.commit({"a/x": "1"}, at="2026-01-01T00:00:00Z")
    source = source_of(repository)
    for info in source.streams():
        mapping = load_shipped("git", info.default_mapping)
        assert mapping is not None
        assert set(mapping.provider_fields()) <= set(rows_of(source.read(info.name, None))[0])


def test_the_adapter_is_a_source(tmp_path):
    source = ADAPTER.source(connect(GitOptions(adapter="git"), tmp_path))
    assert isinstance(source, Source)
    source.close()


def test_a_page_names_no_address_where_a_row_came_from(repository):
    repository.commit({"a/x": "1"}, at="2026-01-01T00:00:00Z")
    source = source_of(repository, ids="email")
    places = [row["__place"] for stream in ("contacts", "usage") for row in rows_of(source.read(stream, None))]
    assert not any("@" in place for place in places)
    assert Path(repository.path).is_dir()

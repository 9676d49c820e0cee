"""What every source must do, as a class to subclass.

A subclass gives a fixture `world` with the shape of `SourceWorld`: a system filled with records, and how to change it.

    class TestAcmeSource(SourceSuite):
        @pytest.fixture
        def world(self, tmp_path): ...
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import pytest

from connector.contracts import Source
from connector.errors import CredentialsError
from connector.model import NEUTRAL_TABLES, Page, Severity


class SourceWorld(Protocol):
    """A system to read from."""

    stream: str
    key: str
    """The raw column that identifies a record."""

    def source(self) -> Source:
        """A new source with good credentials, as a new process would have."""

    def broken(self) -> Source | None:
        """A source with bad credentials; None where there are none to get wrong."""

    def keys(self) -> set[str]:
        """The keys of all records there are."""

    def change(self) -> set[str]:
        """Change some records, let enough time pass that they can be read, and name them."""

    def delete(self) -> set[str]:
        """Delete some records, likewise; empty where the system cannot tell."""


def rows_of(page: Page) -> list[dict[str, Any]]:
    """A page's records as dictionaries, whatever it carries."""
    return page.records.to_pylist() if hasattr(page.records, "to_pylist") else [dict(row) for row in page.records]


def keys_of(pages: Iterable[Page], key: str, *, partial: bool = False) -> list[str]:
    """The keys in order of reading; partial records (deletions) only when asked for."""
    return [str(row[key]) for page in pages if page.partial is partial for row in rows_of(page)]


def read_all(world: SourceWorld, cursor: Any = None) -> list[Page]:
    """One reading to its end."""
    source = world.source()
    try:
        return list(source.read(world.stream, cursor))
    finally:
        source.close()


class SourceSuite:
    """Subclass with a `world` fixture."""

    def test_checking_finds_nothing_wrong_when_nothing_is(self, world: SourceWorld):
        findings = list(world.source().check())
        assert findings
        assert [finding for finding in findings if finding.severity is Severity.ERROR] == []

    def test_checking_bad_credentials_says_so_and_how_to_fix_it(self, world: SourceWorld):
        broken = world.broken()
        if broken is None:
            pytest.skip("there are no credentials")
        bad = [finding for finding in broken.check() if finding.severity is Severity.ERROR]
        assert bad and all(finding.fix for finding in bad)
        assert any(finding.credentials for finding in bad)

    def test_reading_with_bad_credentials_is_a_credentials_error(self, world: SourceWorld):
        broken = world.broken()
        if broken is None:
            pytest.skip("there are no credentials")
        with pytest.raises(CredentialsError) as caught:
            list(broken.read(world.stream, None))
        assert caught.value.hint

    def test_every_stream_goes_into_a_neutral_table(self, world: SourceWorld):
        streams = world.source().streams()
        assert world.stream in [stream.name for stream in streams]
        assert all(stream.into in NEUTRAL_TABLES for stream in streams)

    def test_everything_is_read_and_nothing_twice(self, world: SourceWorld):
        keys = keys_of(read_all(world), world.key)
        assert len(keys) == len(set(keys))
        assert set(keys) == world.keys()

    def test_every_record_has_its_key_and_every_record_the_same_columns(self, world: SourceWorld):
        rows = [row for page in read_all(world) if not page.partial for row in rows_of(page)]
        assert rows and all(row[world.key] for row in rows)
        assert len({tuple(sorted(row)) for row in rows}) == 1

    def test_cursors_are_plain_json(self, world: SourceWorld):
        for page in read_all(world):
            assert json.loads(json.dumps(page.cursor)) == page.cursor

    def test_resuming_after_any_page_loses_nothing(self, world: SourceWorld):
        total = len(read_all(world))
        for stop in range(1, total + 1):
            before = self._some_pages(world, None, stop)
            after = read_all(world, json.loads(json.dumps(before[-1].cursor)))
            assert set(keys_of(before, world.key)) | set(keys_of(after, world.key)) == world.keys()

    def test_a_complete_snapshot_names_everybody_however_often_it_was_interrupted(self, world: SourceWorld):
        pages: list[Page] = []
        cursor: Any = None
        while not any(page.snapshot_complete for page in pages):
            one = self._some_pages(world, cursor, 1)
            assert one, "the reading ended without completing a snapshot"
            if not any(page.snapshot for page in (*pages, *one)) and len(pages) > 3:
                pytest.skip("this source gives no snapshots")
            pages += one
            cursor = json.loads(json.dumps(one[-1].cursor))
        token = next(page.snapshot for page in pages if page.snapshot_complete)
        named = keys_of([page for page in pages if page.snapshot == token], world.key)
        assert set(named) == world.keys()

    def test_a_second_reading_brings_no_stranger(self, world: SourceWorld):
        cursor = read_all(world)[-1].cursor
        assert set(keys_of(read_all(world, cursor), world.key)) <= world.keys()

    def test_a_change_comes_with_the_next_reading(self, world: SourceWorld):
        cursor = read_all(world)[-1].cursor
        changed = world.change()
        second = read_all(world, cursor)
        assert changed and changed <= set(keys_of(second, world.key))

    def test_resuming_a_second_reading_anywhere_loses_no_change(self, world: SourceWorld):
        cursor = read_all(world)[-1].cursor
        changed = world.change()
        total = len(read_all(world, cursor))
        for stop in range(1, total + 1):
            before = self._some_pages(world, cursor, stop)
            after = read_all(world, json.loads(json.dumps(before[-1].cursor)))
            assert changed <= set(keys_of([*before, *after], world.key))

    def test_a_deletion_is_told_once_the_record_is_known(self, world: SourceWorld):
        cursor = read_all(world)[-1].cursor
        deleted = world.delete()
        if not deleted:
            pytest.skip("this system cannot tell what was deleted")
        assert deleted <= set(keys_of(read_all(world, cursor), world.key, partial=True))

    def _some_pages(self, world: SourceWorld, cursor: Any, count: int) -> Sequence[Page]:
        """The first pages of a reading that is then abandoned, as a crash would."""
        source = world.source()
        pages: list[Page] = []
        reading = source.read(world.stream, cursor)
        for page in reading:
            pages.append(page)
            if len(pages) == count:
                break
        reading.close()
        source.close()
        return pages

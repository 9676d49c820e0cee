"""Which files are read again, continued, skipped or missed; where files may be; what the options refuse."""

from __future__ import annotations

import builtins
import gzip
import json
import os
import sys
from datetime import timedelta

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.files import ADAPTER
from adapters.files.options import FilesOptions
from connector.contracts import Source
from connector.errors import SettingError
from connector.model import Severity
from tests.fakes.connections import HandClock
from tests.fakes.file_streams import OriginStore, files_source, usage_options

HEADER = "user,ts,event\n"


def rows(*numbers: int, event: str = "x") -> str:
    return "".join(f"u{n},2026-01-01,{event}\n" for n in numbers)


def users(store: OriginStore) -> list[str]:
    return sorted(row["user"] for row in store.all_rows())


@pytest.fixture
def store():
    return OriginStore()


def pull(store: OriginStore, folder, path: str = "*.csv", **options) -> tuple[int, list[str]]:
    """Pages stored and lines said."""
    source = files_source(folder, usage_options(path, **options))
    return store.pull(source), source._connection.reporter.lines


def test_files_are_read_in_the_order_of_their_names(tmp_path, store):
    for name in ("b.csv", "a.csv", "c.csv"):
        (tmp_path / name).write_text(HEADER + rows(1))
    (tmp_path / "d.csv").mkdir()
    pull(store, tmp_path)
    assert list(store.rows) == ["a.csv", "b.csv", "c.csv"]


def test_the_same_files_read_twice_change_nothing(tmp_path, store):
    (tmp_path / "a.csv").write_text(HEADER + rows(1))
    pq.write_table(pa.table({"user": ["u2"], "ts": ["t"], "event": ["x"]}), tmp_path / "b.parquet")
    assert pull(store, tmp_path, "*") == (2, [])
    assert pull(store, tmp_path, "*") == (0, [])
    assert json.loads(json.dumps(store.cursor)) == store.cursor


def test_touching_a_file_changes_nothing(tmp_path, store):
    (tmp_path / "a.csv").write_text(HEADER + rows(1))
    pq.write_table(pa.table({"user": ["u2"], "ts": ["t"], "event": ["x"]}), tmp_path / "b.parquet")
    pull(store, tmp_path, "*")
    for name in ("a.csv", "b.parquet"):
        os.utime(tmp_path / name, (1, 1))
    assert store.pull(files_source(tmp_path, usage_options("*")), stop_after=5) <= 1
    assert users(store) == ["u1", "u2"]


def test_a_settled_file_is_skipped_without_a_look_inside(tmp_path, store, monkeypatch):
    (tmp_path / "a.csv").write_text(HEADER + rows(1))
    clock = HandClock()
    clock.at = clock.at + timedelta(days=365_0)
    options = usage_options("*.csv")
    store.pull(files_source(tmp_path, options, clock=clock))
    assert store.cursor is not None
    assert store.cursor["files"]["a.csv"]["stamp"]
    monkeypatch.setattr("adapters.files.places.LocalStorage.open", lambda *_: pytest.fail("opened"))
    assert store.pull(files_source(tmp_path, options, clock=clock)) == 0


def test_a_file_changed_within_the_same_instant_is_still_noticed(tmp_path, store):
    path = tmp_path / "a.csv"
    path.write_text(HEADER + rows(1))
    stamp = path.stat()
    clock = HandClock()
    source = files_source(tmp_path, usage_options("*.csv"), clock=clock)
    clock.at = type(clock.at).fromtimestamp(stamp.st_ctime, tz=clock.at.tzinfo)
    store.pull(source)
    path.write_text(HEADER + rows(2))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    store.pull(source)
    assert users(store) == ["u2"]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.csv.gz"])
def test_a_grown_file_goes_on_where_it_ended(tmp_path, store, name):
    def written(*numbers):
        if name == "a.jsonl":
            return "".join(json.dumps({"user": f"u{n}", "ts": "t", "event": "x"}) + "\n" for n in numbers).encode()
        text = (HEADER + rows(*numbers)).encode()
        return gzip.compress(text) if name.endswith("gz") else text

    (tmp_path / name).write_bytes(written(1, 2))
    pull(store, tmp_path, "a.*")
    (tmp_path / name).write_bytes(written(1, 2, 3))
    (page,) = files_source(tmp_path, usage_options("a.*")).read("usage", store.cursor)
    assert not page.replaces_origin
    assert page.records.num_rows == 1
    assert page.records["__line"].to_pylist() == [3 if name == "a.jsonl" else 4]


def test_growth_after_a_last_line_without_an_end_is_read_right(tmp_path, store):
    (tmp_path / "a.csv").write_text(HEADER + "u1,t,x")
    pull(store, tmp_path)
    (tmp_path / "a.csv").write_text(HEADER + "u1,t,x\nu2,t,y")
    pull(store, tmp_path)
    assert users(store) == ["u1", "u2"]
    (tmp_path / "a.csv").write_text(HEADER + "u1,t,x\nu2,t,yes and more\nu3,t,z\n")
    pull(store, tmp_path)
    assert [row["event"] for row in store.all_rows()] == ["x", "yes and more", "z"]


def test_a_quote_that_closes_later_is_read_again(tmp_path, store):
    (tmp_path / "a.csv").write_text(HEADER + 'u1,t,"half\n')
    pull(store, tmp_path)
    assert len(store.all_rejects()) == 1
    (tmp_path / "a.csv").write_text(HEADER + 'u1,t,"half\nand half"\n')
    pull(store, tmp_path)
    assert [row["event"] for row in store.all_rows()] == ["half\nand half"]
    assert store.all_rejects() == []


@pytest.mark.parametrize(
    "changed",
    [HEADER + rows(1, 3), HEADER + rows(1), HEADER, "", "ts,user,event\n2026-01-01,u7,x\n", HEADER + rows(9, 2, 3, 4)],
)
def test_a_file_changed_in_place_changes_exactly_its_own_rows(tmp_path, store, changed):
    (tmp_path / "a.csv").write_text(HEADER + rows(1, 2))
    (tmp_path / "b.csv").write_text(HEADER + rows(5))
    pull(store, tmp_path)
    (tmp_path / "a.csv").write_text(changed)
    pull(store, tmp_path)
    fresh = OriginStore()
    pull(fresh, tmp_path)
    assert store.all_rows() == fresh.all_rows()
    assert pull(store, tmp_path) == (0, [])


def test_a_changed_parquet_file_is_read_again(tmp_path, store):
    for name in ("u1", "u2"):
        pq.write_table(pa.table({"user": [name], "ts": ["t"], "event": ["x"]}), tmp_path / "a.parquet")
        pull(store, tmp_path, "*.parquet")
    assert users(store) == ["u2"]


def test_a_vanished_file_is_a_notice_said_once_and_its_rows_stay(tmp_path, store):
    (tmp_path / "a.csv").write_text(HEADER + rows(1))
    (tmp_path / "b.csv").write_text(HEADER + rows(2))
    pull(store, tmp_path)
    (tmp_path / "a.csv").unlink()
    _, said = pull(store, tmp_path)
    assert said == ["product.usage: a.csv no longer there; what was read from it stays"]
    assert pull(store, tmp_path) == (0, [])
    assert users(store) == ["u1", "u2"]


def test_a_renamed_file_may_have_grown(tmp_path, store):
    (tmp_path / "a.csv").write_text(HEADER + rows(1))
    pull(store, tmp_path)
    (tmp_path / "a.csv").rename(tmp_path / "z.csv")
    with (tmp_path / "z.csv").open("a") as file:
        file.write(rows(2))
    pull(store, tmp_path)
    assert users(store) == ["u1", "u2"]
    assert list(store.rows) == ["a.csv"]


def test_a_renamed_file_keeps_its_rows(tmp_path, store):
    (tmp_path / "a.csv").write_text(HEADER + rows(1))
    pull(store, tmp_path)
    (tmp_path / "a.csv").rename(tmp_path / "z.csv")
    _, said = pull(store, tmp_path)
    assert "product.usage: z.csv is a.csv under a new name; its rows are known" in said
    (tmp_path / "a.csv").write_text(HEADER + rows(3))
    pull(store, tmp_path)
    assert users(store) == ["u1", "u3"]
    assert set(store.rows) >= {"a.csv", "a.csv #2"}


def test_an_interrupted_file_goes_on_where_it_stopped(tmp_path, store, monkeypatch):
    monkeypatch.setattr("adapters.files.reading.BLOCK_BYTES", 40)
    monkeypatch.setattr("adapters.files.reading.PAGE_ROWS", 2)
    (tmp_path / "a.csv").write_text(HEADER + rows(*range(10)))
    pq.write_table(
        pa.table({"user": [f"p{n}" for n in range(7)], "ts": ["t"] * 7, "event": ["x"] * 7}),
        tmp_path / "b.parquet",
        row_group_size=3,
    )
    source = files_source(tmp_path, usage_options("*"))
    for _ in range(30):
        store.pull(source, stop_after=1)
    assert users(store) == sorted([f"u{n}" for n in range(10)] + [f"p{n}" for n in range(7)])


def test_an_interrupted_file_that_changed_meanwhile_starts_over(tmp_path, store, monkeypatch):
    monkeypatch.setattr("adapters.files.reading.BLOCK_BYTES", 40)
    (tmp_path / "a.csv").write_text(HEADER + rows(*range(10)))
    source = files_source(tmp_path, usage_options("*"))
    store.pull(source, stop_after=2)
    (tmp_path / "a.csv").write_text(HEADER + rows(*range(20, 25)))
    store.pull(source)
    assert users(store) == [f"u{n}" for n in range(20, 25)]


def test_reading_everything_again_replaces_every_file(tmp_path, store):
    (tmp_path / "a.csv").write_text(HEADER + rows(1))
    (tmp_path / "b.csv").write_text(HEADER + rows(2))
    pull(store, tmp_path)
    store.cursor = None
    pull(store, tmp_path)
    assert users(store) == ["u1", "u2"]


def test_a_complete_listing_is_one_snapshot_over_all_files(tmp_path):
    for name, number in (("a.csv", 1), ("b.csv", 2)):
        (tmp_path / name).write_text(f"id,mail\nc{number},x\n")
    options = usage_options("*.csv", {"contact_id": "id"}, stream="contacts", complete=True)
    source = files_source(tmp_path, options)
    first = list(source.read("contacts", None))
    assert [page.snapshot_complete for page in first] == [False, True]
    assert len({page.snapshot for page in first}) == 1
    assert list(source.read("contacts", first[-1].cursor)) == []
    (tmp_path / "b.csv").write_text("id,mail\nc3,x\n")
    again = list(source.read("contacts", first[-1].cursor))
    assert [page.records["id"].to_pylist() for page in again] == [["c1"], ["c3"]]
    assert again[0].snapshot == again[1].snapshot != first[0].snapshot


def test_a_complete_listing_with_bad_rows_deletes_nobody(tmp_path):
    (tmp_path / "a.csv").write_text("id,mail\nc1,x\nc2\n")
    source = files_source(tmp_path, usage_options("a.csv", {"contact_id": "id"}, stream="contacts", complete=True))
    (page,) = source.read("contacts", None)
    assert not page.snapshot_complete
    assert "nobody is marked as deleted" in source._connection.reporter.lines[0]


def test_no_file_that_matches_is_an_error_that_shows_what_is_there(tmp_path, store):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "event-1.csv").write_text(HEADER)
    with pytest.raises(SettingError) as caught:
        pull(store, tmp_path, "data/events-1.csv")
    assert str(caught.value) == "data/events-1.csv: no file matches; did you mean event-1.csv?"
    assert caught.value.hint == "in data there is: event-1.csv."
    with pytest.raises(SettingError, match="there is no folder nowhere"):
        pull(store, tmp_path, "nowhere/*.csv")


def test_check_says_what_was_found_and_what_is_wrong(tmp_path):
    (tmp_path / "a.csv").write_text(HEADER + rows(1))
    (good,) = files_source(tmp_path, usage_options("*.csv")).check()
    assert (good.severity, good.message) == (Severity.OK, "1 file, 30 bytes")
    (bad,) = files_source(tmp_path, usage_options("*.parquet")).check()
    assert (bad.severity, bad.message) == (Severity.ERROR, "*.parquet: no file matches")


def test_urls_are_read_through_fsspec(store, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/day=1/a.csv", (HEADER + rows(1)).encode())
    memory.pipe("/bucket/day=2/a.csv.gz", gzip.compress((HEADER + rows(2)).encode()))
    try:
        path = "memory://bucket/*/a.csv*"
        assert pull(store, tmp_path, path)[0] == 2
        assert users(store) == ["u1", "u2"]
        assert pull(store, tmp_path, path)[0] == 0
        memory.pipe("/bucket/day=1/a.csv", (HEADER + rows(1, 3)).encode())
        pull(store, tmp_path, path)
        assert users(store) == ["u1", "u2", "u3"]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"user": ["p"], "ts": ["t"], "event": ["x"]}), sink)
        memory.pipe("/bucket/p.parquet", sink.getvalue().to_pybytes())
        parquet = OriginStore()
        pull(parquet, tmp_path, "memory://bucket/p.parquet")
        assert users(parquet) == ["p"]
        with pytest.raises(SettingError, match="memory://bucket/none-\\*: no file matches"):
            pull(OriginStore(), tmp_path, "memory://bucket/none-*")
    finally:
        memory.rm("/bucket", recursive=True)


def test_a_missing_library_names_the_extra_to_install(store, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "fsspec":
            raise ModuleNotFoundError("No module named 'fsspec'", name="fsspec")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingError) as caught:
        pull(store, tmp_path, "s3://bucket/events-*.parquet")
    assert str(caught.value) == "s3:// needs a library that is not installed (fsspec)"
    assert caught.value.hint == "install winback[s3]"


def test_an_unknown_kind_of_storage_is_refused(store, tmp_path):
    with pytest.raises(SettingError, match="gopher:// is not a kind of storage"):
        pull(store, tmp_path, "gopher://bucket/x.csv")


@pytest.mark.parametrize(
    ("stream", "settings", "problem"),
    [
        ("clicks", {"path": "a.csv"}, "no table 'clicks'"),
        ("usage", {"path": "a.csv", "complete": True}, "`complete` is for contacts only"),
        ("usage", {"path": "a.csv", "encoding": "klingon"}, "no encoding 'klingon'"),
        ("usage", {"path": "a.csv", "delimiter": '"'}, "cannot separate columns"),
        ("usage", {"path": ""}, "at least 1 character"),
        ("usage", {"path": "a.csv", "formt": "csv"}, "Extra inputs"),
    ],
)
def test_options_that_cannot_work_are_refused(stream, settings, problem):
    with pytest.raises(ValueError, match=problem):
        FilesOptions.model_validate({"adapter": "files", "streams": {stream: settings}})


def test_a_stream_may_have_any_name_when_it_says_its_table(tmp_path):
    options = usage_options("a.csv", stream="logins", into="usage")
    (info,) = files_source(tmp_path, options).streams()
    assert (info.name, info.into, info.default_mapping) == ("logins", "usage", None)


def test_the_adapter_is_a_source_and_imports_no_arrow_until_it_reads(tmp_path):
    source = ADAPTER.source(files_source(tmp_path, usage_options("a.csv"))._connection)
    assert isinstance(source, Source)
    source.close()
    assert "adapters.files.source" in sys.modules

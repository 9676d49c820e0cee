"""What the files adapter makes of CSV, JSONL and Parquet, the hostile kinds included."""

from __future__ import annotations

import bz2
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connector.errors import MappingError, RejectedError, RetriableError, SettingError
from tests.fakes.file_streams import OriginStore, files_source, places_of, records_of, usage_options

HOSTILE_CSV = (
    b"\xef\xbb\xbfuser,ts,event\r\n"
    b'u1,2026-01-01,"two\r\nlines"\r\n'
    b"\r\n"
    b'u2,2026-01-01,"say ""hi"", friend"\n'
    b"u3,2026-01-01,=HYPERLINK(1+1)\n"
    b"u4,2026-01-01\n"
    b"u5,2026-01-01,a,b\n"
    b"\xff\xfe,2026-01-01,x\n"
    b"u6,2026-01-01,nul\x00inside\n"
    b'u7,2026-01-01,5" pipe\n'
    b"u8,2026-01-01,\xd0\x96\xf0\x9f\x98\x80\xe2\x80\xae\n"
    b"u9,2026-01-01,' OR 1=1 --\n"
    b"u10,2026-01-01,last without an end"
)
HOSTILE_ROWS = {
    "u1": "two\r\nlines",
    "u2": 'say "hi", friend',
    "u3": "=HYPERLINK(1+1)",
    "u6": "nul\x00inside",
    "u7": '5" pipe',
    "u8": "Ж😀\u202e",
    "u9": "' OR 1=1 --",
    "u10": "last without an end",
}
HOSTILE_REJECTS = [
    ("e.csv:7", "has 2 columns, the header has 3"),
    ("e.csv:8", "has 4 columns, the header has 3"),
    ("e.csv:9", "holds bytes that are not text in this encoding"),
]


def read_all(folder, name: str, **options) -> OriginStore:
    store = OriginStore()
    store.pull(files_source(folder, usage_options(name, **options)))
    return store


@pytest.mark.parametrize("block_bytes", [7, 64, 1 << 24])
def test_a_hostile_csv_loads_its_good_rows_and_names_the_line_of_each_bad_one(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr("adapters.files.reading.BLOCK_BYTES", block_bytes)
    (tmp_path / "e.csv").write_bytes(HOSTILE_CSV)
    store = read_all(tmp_path, "e.csv")
    assert {row["user"]: row["event"] for row in store.all_rows()} == HOSTILE_ROWS
    assert store.all_rejects() == HOSTILE_REJECTS


def test_each_row_knows_its_line_even_after_line_breaks_in_values(tmp_path):
    (tmp_path / "e.csv").write_bytes(HOSTILE_CSV)
    (page,) = files_source(tmp_path, usage_options("e.csv")).read("usage", None)
    lines = dict(zip((row["user"] for row in records_of(page)), places_of(page), strict=True))
    assert (lines["u1"], lines["u2"], lines["u3"], lines["u10"]) == ("e.csv:2", "e.csv:5", "e.csv:6", "e.csv:14")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_separator_is_found_from_the_header(tmp_path, delimiter):
    (tmp_path / "e.csv").write_text(
        delimiter.join(["user", "ts", "event"]) + "\n" + delimiter.join(["u1", "t", "x"]) + "\n"
    )
    assert read_all(tmp_path, "e.csv").all_rows() == [{"user": "u1", "ts": "t", "event": "x"}]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_any_line_ending_will_do(tmp_path, ending):
    (tmp_path / "e.csv").write_bytes(ending.join(["user,ts,event", "u1,t,x", "u2,t,y"]).encode())
    store = read_all(tmp_path, "e.csv")
    assert [row["user"] for row in store.all_rows()] == ["u1", "u2"]
    assert store.all_rejects() == []


@pytest.mark.parametrize(
    ("encoding", "written"), [("utf-8", "utf-16"), ("cp1252", "cp1252"), ("utf-8", "utf-8-sig"), ("utf-8", "utf-32")]
)
def test_other_encodings_are_read_and_a_byte_order_mark_wins(tmp_path, encoding, written):
    (tmp_path / "e.csv").write_text("user,ts,event\nu1,t,café\n", encoding=written)
    assert read_all(tmp_path, "e.csv", encoding=encoding).all_rows() == [{"user": "u1", "ts": "t", "event": "café"}]


def test_a_byte_the_encoding_does_not_have_sets_its_row_aside(tmp_path):
    (tmp_path / "e.csv").write_bytes(b"user,ts,event\nu1,t,caf\x81\nu2,t,ok\n")
    store = read_all(tmp_path, "e.csv", encoding="cp1252")
    assert [row["user"] for row in store.all_rows()] == ["u2"]
    assert store.all_rejects() == [("e.csv:2", "holds bytes that are not text in this encoding")]


def test_a_quote_nobody_closes_costs_one_line(tmp_path):
    (tmp_path / "e.csv").write_text('user,ts,event\nu1,t,x\nu2,t,"never closed\nu3,t,y\nu4,t,z\n')
    store = read_all(tmp_path, "e.csv")
    assert [row["user"] for row in store.all_rows()] == ["u1", "u3", "u4"]
    assert store.all_rejects() == [("e.csv:3", "a quote is never closed")]


def test_a_huge_field_is_one_field(tmp_path):
    huge = "x" * 5_000_000
    (tmp_path / "e.csv").write_text(f'user,ts,event\nu1,t,"{huge}\n{huge}"\nu2,t,{huge}\n')
    rows = read_all(tmp_path, "e.csv").all_rows()
    assert sorted(len(row["event"]) for row in rows) == [5_000_000, 10_000_001]


@pytest.mark.parametrize(
    "content", [b"", b"user,ts,event", b"user,ts,event\r\n", b"\xef\xbb\xbfuser,ts,event\n", b"\n\n"]
)
def test_a_file_without_rows_is_fine_and_is_read_once(tmp_path, content):
    if content.strip():
        assert b"user" in content
    (tmp_path / "e.csv").write_bytes(content if content.strip() else b"")
    store = read_all(tmp_path, "e.csv")
    assert (store.all_rows(), store.all_rejects(), store.pages) == ([], [], 1)
    assert store.pull(files_source(tmp_path, usage_options("e.csv"))) == 0


@pytest.mark.parametrize("name", ["e.jsonl", "e.jsonl.gz", "e.csv.gz", "e.csv.bz2", "e.csv.zst", "e.csv"])
def test_compressed_files_are_read_like_others(tmp_path, name):
    is_csv = name.startswith("e.csv")
    text = b"user,ts,event\nu1,t,x\n" if is_csv else b'{"user": "u1", "ts": "t", "event": "x"}\n'
    packed = {
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    }.get(name.rpartition(".")[2], lambda data: data)
    (tmp_path / name).write_bytes(packed(text))
    assert read_all(tmp_path, name).all_rows() == [{"user": "u1", "ts": "t", "event": "x"}]


def test_a_cut_off_gzip_file_is_an_error_that_keeps_what_was_read(tmp_path):
    text = b"user,ts,event\n" + b"".join(b"u%d,t,%d\n" % (n, n * 7919) for n in range(20_000))
    (tmp_path / "e.csv.gz").write_bytes(gzip.compress(text)[:-2000])
    with pytest.raises(RetriableError, match=r"e\.csv\.gz: the compressed file is cut off"):
        read_all(tmp_path, "e.csv.gz")
    (tmp_path / "e.csv.gz").write_bytes(gzip.compress(text))
    assert len(read_all(tmp_path, "e.csv.gz").all_rows()) == 20_000


def test_jsonl_keeps_numbers_as_written_and_finds_nested_keys(tmp_path):
    lines = [
        '{"user": {"id": 12345678901234567890123}, "ts": 1700000000, "event": true}',
        '{"user.id": "u2", "ts": "t", "event": {"a": [1]}, "other": 1}',
        '{"user": {"id": "u3"}, "ts": null}\r',
    ]
    (tmp_path / "e.jsonl").write_text("\n".join(lines))
    mapping = {"contact_id": "user.id", "occurred_at": "ts", "feature": "event"}
    store = OriginStore()
    store.pull(files_source(tmp_path, usage_options("e.jsonl", mapping)))
    assert store.all_rows() == sorted(
        [
            {"user.id": "12345678901234567890123", "ts": "1700000000", "event": "true"},
            {"user.id": "u2", "ts": "t", "event": '{"a":[1]}'},
            {"user.id": "u3", "ts": None, "event": None},
        ],
        key=lambda row: sorted(map(str, row.items())),
    )


def test_bad_jsonl_lines_are_set_aside_with_their_line(tmp_path):
    good = json.dumps({"user": "u1", "ts": "t", "event": "x"}).encode()
    (tmp_path / "e.jsonl").write_bytes(
        b"\xef\xbb\xbf"
        + b"\n".join([good, b"", b"[1, 2]", b'{"user": "u2', b'"text"', b'{"user": "\xff"}', good, b"null"])
    )
    store = read_all(tmp_path, "e.jsonl")
    assert len(store.all_rows()) == 2
    assert store.all_rejects() == [
        ("e.jsonl:3", "is not an object"),
        ("e.jsonl:4", "is not valid JSON"),
        ("e.jsonl:5", "is not an object"),
        ("e.jsonl:6", "holds bytes that are not text in this encoding"),
        ("e.jsonl:8", "is not an object"),
    ]


def test_one_json_array_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "e.json").write_text('[{"user": "u1"}]')
    with pytest.raises(SettingError, match=r"e\.json: holds one JSON array") as caught:
        read_all(tmp_path, "e.json")
    assert "jq" in str(caught.value.hint)


def test_parquet_is_read_in_pages_of_the_wanted_columns(tmp_path, monkeypatch):
    monkeypatch.setattr("adapters.files.reading.PAGE_ROWS", 4)
    table = pa.table(
        {
            "user": [f"u{n}" for n in range(10)],
            "ts": pa.array(range(10), pa.timestamp("s")),
            "event": ["x"] * 10,
            "wide": [b"x" * 100] * 10,
        }
    )
    pq.write_table(table, tmp_path / "e.parquet", row_group_size=3)
    pages = list(files_source(tmp_path, usage_options("e.parquet")).read("usage", None))
    assert [place for page in pages for place in places_of(page)] == [f"e.parquet:{n}" for n in range(1, 11)]
    assert "wide" not in pages[0].records.column_names
    assert pages[0].records.schema.field("ts").type == pa.timestamp("ms")
    assert [page.records.num_rows for page in pages] == [4, 4, 2]
    assert [(page.replaces_origin, page.total) for page in pages] == [(True, 10), (False, 10), (False, 10)]


def test_a_parquet_file_without_rows_is_fine(tmp_path):
    pq.write_table(
        pa.table({name: pa.array([], pa.string()) for name in ("user", "ts", "event")}), tmp_path / "e.parquet"
    )
    store = read_all(tmp_path, "e.parquet")
    assert (store.all_rows(), store.pages) == ([], 1)


def test_what_is_not_parquet_is_said_plainly(tmp_path):
    (tmp_path / "e.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(RejectedError, match=r"e\.parquet: not a readable Parquet file"):
        read_all(tmp_path, "e.parquet")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_mapped_column_that_is_gone_names_file_column_and_the_near_one(tmp_path, kind):
    if kind == "csv":
        (tmp_path / "e.csv").write_text("user_name,ts,evnt\nu1,t,x\n")
    else:
        pq.write_table(pa.table({"user_name": ["u"], "ts": ["t"], "evnt": ["x"]}), tmp_path / "e.parquet")
    mapping = {"contact_id": "user_name", "occurred_at": "ts", "feature": "event"}
    with pytest.raises(MappingError) as caught:
        read_all(tmp_path, f"e.{kind}", mapping=mapping)
    assert str(caught.value) == f"e.{kind}: no column 'event', which feature is read from; did you mean evnt?"
    assert "user_name, ts, evnt" in str(caught.value.hint)


def test_a_headerless_file_does_not_spill_addresses_into_the_error(tmp_path):
    (tmp_path / "e.csv").write_text("someone@example.org,2026-01-01,x\n")
    with pytest.raises(MappingError) as caught:
        read_all(tmp_path, "e.csv")
    assert "someone" not in str(caught.value) + str(caught.value.hint)


def test_jsonl_without_a_needed_key_anywhere_is_an_error_and_without_another_a_notice(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"usr": "u1", "ts": "t", "event": "x"}\n')
    with pytest.raises(
        MappingError, match=r"a\.jsonl: no column 'user', which contact_id is read from; did you mean usr"
    ):
        read_all(tmp_path, "a.jsonl")
    (tmp_path / "b.jsonl").write_text('{"user": "u1", "ts": "t"}\n')
    source = files_source(tmp_path, usage_options("b.jsonl"))
    assert len(list(source.read("usage", None))) == 1
    assert source._connection.reporter.lines == [
        "product.usage: b.jsonl: no record has 'event', so feature stays empty"
    ]


def test_a_column_that_comes_twice_is_read_from_its_first(tmp_path):
    (tmp_path / "e.csv").write_text("user,ts,event,user\nu1,t,x,other\n")
    assert read_all(tmp_path, "e.csv").all_rows() == [{"user": "u1", "ts": "t", "event": "x"}]


def test_a_name_that_says_nothing_needs_a_format(tmp_path):
    (tmp_path / "export.dat").write_text("user,ts,event\nu1,t,x\n")
    with pytest.raises(SettingError, match=r"export\.dat: the name does not say") as caught:
        read_all(tmp_path, "export.dat")
    assert "streams.usage" in str(caught.value.hint)
    assert len(read_all(tmp_path, "export.dat", format="csv").all_rows()) == 1

"""Raw values of every kind through the compiled SELECT: typed rows out, reasons for what cannot be."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.errors import MappingError
from mappings.apply import compile_mapping
from mappings.schema import StreamMapping, from_user, parse_mapping

ZONES = ["America/New_York", "Asia/Kathmandu"]


@pytest.fixture(params=ZONES)
def engine(request):
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = '{request.param}'")
        yield connection


def apply(engine, mapping: StreamMapping, table: pa.Table, **options) -> list[dict]:
    """The rows the compiled SELECT gives, times as UTC."""
    engine.register("staged", table)
    described = {row[0]: row[1] for row in engine.execute("DESCRIBE SELECT * FROM staged").fetchall()}
    compiled = compile_mapping(mapping, described, **options)
    result = engine.sql(compiled.sql("staged")).to_arrow_table()
    assert tuple(result.column_names) == (*compiled.columns, "row_place", "reject_reason")
    return [
        {name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in row.items()}
        for row in _utc(result).to_pylist()
    ]


def _utc(table: pa.Table) -> pa.Table:
    fields = [
        pa.field(f.name, pa.timestamp("us", "UTC") if pa.types.is_timestamp(f.type) else f.type) for f in table.schema
    ]
    return table.cast(pa.schema(fields))


def usage(**more: str) -> StreamMapping:
    return from_user("product", "usage", "usage", {"contact_id": "user", "occurred_at": "ts", **more})


def one_time(engine, values: pa.Array):
    table = pa.table({"user": ["u"] * len(values), "ts": values})
    return [(row["occurred_at"], row["reject_reason"]) for row in apply(engine, usage(), table)]


NEW_YEAR = datetime(2026, 1, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-01 10:00:00", NEW_YEAR),
        ("2026-01-01T10:00", NEW_YEAR),
        ("2026-01-01T10:00:00Z", NEW_YEAR),
        ("2026-01-01T12:00:00+02:00", NEW_YEAR),
        ("2026-01-01 12:00:00 +0200", NEW_YEAR),
        ("2026-01-01 02:00:00 -0800", NEW_YEAR),
        ("2026-01-01 02:00:00-08", NEW_YEAR),
        ("2026-01-01T10:00:00.123456Z", NEW_YEAR.replace(microsecond=123456)),
        ("2026-01-01 11:00:00 Europe/Amsterdam", NEW_YEAR),
        ("2026-01-01 10:00:00 UTC", NEW_YEAR),
        ("  2026-01-01 10:00:00  ", NEW_YEAR),
        ("2026-01-01", NEW_YEAR.replace(hour=0)),
        ("1767261600", NEW_YEAR),
        ("1767261600000", NEW_YEAR),
        ("1767261600000000", NEW_YEAR),
        ("1767261600000000000", NEW_YEAR),
        ("1767261600.5", NEW_YEAR.replace(microsecond=500000)),
    ],
)
def test_times_are_read_the_same_in_every_time_zone(engine, text, expected):
    assert one_time(engine, pa.array([text])) == [(expected, None)]


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-02-30",
        "2026-01-01 10:00:00 garbage",
        "epoch",
        "infinity",
        "0001-01-01",
        "12:30",
        "20260101",
        "2026-13-01",
        "99999-01-01",
        "now",
        "1",
        "-5",
        "2026-01-01'); DROP TABLE x; --",
    ],
)
def test_what_is_not_a_time_is_set_aside_with_its_words(engine, text):
    ((value, reason),) = one_time(engine, pa.array([text]))
    assert value is None
    assert reason == f"occurred_at: '{text[:40]}' is not a time (field ts)"


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1767261600], pa.int64()),
        pa.array([1767261600000], pa.int64()),
        pa.array([1767261600.0]),
        pa.array([1767261600], pa.timestamp("s")),
        pa.array([1767261600000000000], pa.timestamp("ns")),
        pa.array([1767261600000], pa.timestamp("ms", "Asia/Tokyo")),
        pa.array([b"2026-01-01T10:00:00Z"]),
    ],
)
def test_typed_times_need_no_parsing(engine, values):
    assert one_time(engine, values) == [(NEW_YEAR, None)]


def test_a_date_column_is_its_midnight_in_utc(engine):
    assert one_time(engine, pa.array([20454], pa.date32())) == [(NEW_YEAR.replace(hour=0), None)]


@pytest.mark.parametrize(
    "values", [pa.array([20573], pa.date32()), pa.array(["2026-04-30"]), pa.array([" 2026/4/30 "])]
)
@pytest.mark.parametrize(
    ("zone", "begins"),
    [
        ("UTC", datetime(2026, 4, 30, 0, tzinfo=UTC)),
        ("Europe/Amsterdam", datetime(2026, 4, 29, 22, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 4, 30, 4, tzinfo=UTC)),
        ("Asia/Kathmandu", datetime(2026, 4, 29, 18, 15, tzinfo=UTC)),
    ],
)
def test_a_date_without_a_time_is_the_moment_that_day_begins_for_the_account(engine, values, zone, begins):
    table = pa.table({"user": ["u"], "ts": values})
    (row,) = apply(engine, usage(), table, zone=zone)
    assert (row["occurred_at"], row["reject_reason"]) == (begins, None)


def test_a_midnight_that_the_clocks_skip_still_begins_that_day(engine):
    table = pa.table({"user": ["u"], "ts": ["2018-11-04"]})
    (row,) = apply(engine, usage(), table, zone="America/Sao_Paulo")
    assert row["occurred_at"].astimezone(ZoneInfo("America/Sao_Paulo")).date() == date(2018, 11, 4)


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu"])
def test_a_time_keeps_its_moment_and_a_day_asked_for_as_such_is_utcs(engine, zone):
    table = pa.table({"user": ["u"], "ts": ["2026-04-30 00:00:00"], "gone": ["2026-04-30"]})
    mapping = parse_mapping(
        "{version: 1, system: x, stream: contacts, into: contacts, fields: {contact_id: user, "
        "created_at: ts, deleted_at: {from: gone, transform: date}}}",
        place="test",
    )
    (row,) = apply(engine, mapping, table, zone=zone)
    midnight = datetime(2026, 4, 30, tzinfo=UTC)
    assert (row["created_at"], row["deleted_at"]) == (midnight, midnight)


def test_needed_values_that_are_empty_set_the_row_aside(engine):
    table = pa.table({"user": ["", None, " ", "u"], "ts": ["2026-01-01", "2026-01-01", "2026-01-01", None]})
    assert [row["reject_reason"] for row in apply(engine, usage(), table)] == [
        "contact_id is empty (field user)",
        "contact_id is empty (field user)",
        "contact_id is empty (field user)",
        "occurred_at is empty (field ts)",
    ]


def test_a_reason_never_shows_an_address(engine):
    ((_, reason),) = one_time(engine, pa.array(["on behalf of someone@example.org today"]))
    assert reason == "occurred_at: 'on behalf of <address> today' is not a time (field ts)"


def test_places_come_from_a_place_or_from_a_file_and_a_line(engine):
    table = pa.table({"user": ["u"], "ts": ["2026-01-01"], "__file": ["e.csv"], "__line": [17]})
    assert apply(engine, usage(), table)[0]["row_place"] == "e.csv:17"
    assert apply(engine, usage(), table.append_column("__place", pa.array(["crm 5"])))[0]["row_place"] == "crm 5"


@pytest.mark.parametrize(
    ("text", "events", "reason"),
    [
        ("3", 3, None),
        ("3.0", 3, None),
        (None, 1, None),
        ("", 1, None),
        ("0", 0, None),
        ("3.5", 1, "events: '3.5' is not a whole number (field n)"),
        ("many", 1, "events: 'many' is not a whole number (field n)"),
        ("1e3", 1, "events: '1e3' is not a whole number (field n)"),
        ("0x10", 1, "events: '0x10' is not a whole number (field n)"),
        ("1_000", 1, "events: '1_000' is not a whole number (field n)"),
        ("99999999999999999999", 1, "events: '99999999999999999999' is not a whole number (field n)"),
        ("-1", -1, "events is below zero"),
    ],
)
def test_counts_are_whole_numbers_and_one_when_absent(engine, text, events, reason):
    table = pa.table({"user": ["u"], "ts": ["2026-01-01"], "n": pa.array([text], pa.string())})
    (row,) = apply(engine, usage(events="n"), table)
    assert (row["events"], row["reject_reason"]) == (events, reason)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([12]), "12"),
        (pa.array([12.0]), "12"),
        (pa.array([12.5]), "12.5"),
        (pa.array([b"bin"]), "bin"),
        (pa.array(["  a\x00b "]), "ab"),
        (pa.array([True]), "true"),
        (pa.array(["x"]).dictionary_encode(), "x"),
        (pa.array(["x"], pa.large_string()), "x"),
        (pa.array([2**64 - 1], pa.uint64()), "18446744073709551615"),
    ],
)
def test_ids_of_any_type_become_text(engine, values, expected):
    table = pa.table({"user": values, "ts": ["2026-01-01"]})
    (row,) = apply(engine, usage(), table)
    assert (row["contact_id"], row["reject_reason"]) == (expected, None)


CRM = parse_mapping(
    """
version: 1
system: crm
stream: contacts
into: contacts
fields:
  contact_id: id
  email: mail
  role: [role, jobtitle]
  opted_out: optout
  can_email: {from: optout, transform: negated}
  bounced: {from: [reason, bad], transform: flagged}
  secondary_emails: others
  timezone: {from: zone, transform: zone_name}
  lifecycle_stage: {value: customer}
attributes:
  size: {from: employees, transform: number}
  tier: tier
  tags: tags
""",
    place="crm.yaml",
)


def contacts(**columns) -> pa.Table:
    return pa.table(
        {"id": ["1"], **{name: value if isinstance(value, pa.Array) else [value] for name, value in columns.items()}}
    )


def test_a_contact_is_made_of_converted_fields(engine):
    table = contacts(
        mail="  Ann@Example.ORG ", role="", jobtitle="CTO", optout="true", reason=None, bad="false",
        others="A@x.org;b@x.org, ;", zone="us_slash_pacific", employees="12", tier=" gold ", tags=pa.array([["a", "b"]]),
    )  # fmt: skip
    (row,) = apply(engine, CRM, table)
    assert row["email"] == "ann@example.org"
    assert row["role"] == "CTO"
    assert (row["opted_out"], row["can_email"], row["bounced"]) == (True, False, False)
    assert row["secondary_emails"] == "A@x.org;b@x.org"
    assert row["timezone"] == "us/pacific"
    assert row["lifecycle_stage"] == "customer"
    assert json.loads(row["attributes"]) == {"size": 12.0, "tier": "gold", "tags": ["a", "b"]}


@pytest.mark.parametrize(
    ("reason", "bad", "expected"),
    [
        ("OTHER", None, True),
        (None, "true", True),
        ("OTHER", "false", True),
        (None, "false", False),
        ("", None, None),
        (None, None, None),
    ],
)
def test_a_flag_is_true_when_any_field_says_so_and_unknown_when_none_does(engine, reason, bad, expected):
    table = contacts(reason=pa.array([reason], pa.string()), bad=pa.array([bad], pa.string()))
    assert apply(engine, CRM, table)[0]["bounced"] is expected


@pytest.mark.parametrize(
    ("text", "expected"), [("Yes", True), ("0", False), ("FALSE", False), ("t", True), ("", None), (None, None)]
)
def test_yes_and_no_come_in_many_words(engine, text, expected):
    (row,) = apply(engine, CRM, contacts(optout=pa.array([text], pa.string())))
    assert row["opted_out"] is expected
    assert row["can_email"] is (None if expected is None else not expected)


def test_an_unclear_opt_out_sets_the_row_aside_instead_of_guessing(engine):
    (row,) = apply(engine, CRM, contacts(optout="perhaps"))
    assert row["reject_reason"] == "opted_out: 'perhaps' is not yes or no (field optout)"


def test_a_bad_attribute_sets_the_row_aside(engine):
    (row,) = apply(engine, CRM, contacts(employees="a dozen"))
    assert row["reject_reason"] == "attributes.size: 'a dozen' is not a number (field employees)"


def test_fields_the_provider_left_out_are_empty_unless_the_page_is_partial(engine):
    (row,) = apply(engine, CRM, contacts(mail="a@example.org"))
    assert (row["role"], row["attributes"], row["bounced"]) == (None, None, None)
    (partial,) = apply(engine, CRM, contacts(mail="a@example.org"), partial=True)
    assert set(partial) == {"contact_id", "email", "lifecycle_stage", "row_place", "reject_reason"}


def test_a_missing_field_is_an_error_when_needed_or_written_by_the_user():
    with pytest.raises(
        MappingError, match=r"e\.csv: product usage: no field 'user', which contact_id is read from; did you mean usr\?"
    ):
        compile_mapping(usage(), {"usr": "VARCHAR", "ts": "VARCHAR"}, origin="e.csv")
    with pytest.raises(MappingError, match="no field 'what', which feature is read from") as caught:
        compile_mapping(usage(feature="what"), {"user": "VARCHAR", "ts": "VARCHAR", "__line": "BIGINT"})
    assert caught.value.hint is not None
    assert "fields there: user, ts;" in caught.value.hint


@pytest.mark.parametrize("kind", ["BOOLEAN", "BIGINT[]", "STRUCT(a INTEGER)", "TIME", "INTERVAL"])
def test_a_type_that_cannot_become_a_time_means_the_source_changed(kind):
    with pytest.raises(MappingError, match=r"field 'ts' is .*, but occurred_at needs a time"):
        compile_mapping(usage(), {"user": "VARCHAR", "ts": kind}, origin="e.parquet")


def test_columns_that_are_all_null_are_just_empty(engine):
    table = pa.table({"user": ["u"], "ts": ["2026-01-01"], "n": pa.nulls(1), "f": pa.nulls(1)})
    (row,) = apply(engine, usage(events="n", feature="f"), table)
    assert (row["events"], row["feature"], row["reject_reason"]) == (1, None, None)


HOSTILE_NAMES = ['we"ird', "it's", "{raw}", "a b;c", "select", "ünï", "__made_contact_id", "${x}", "%s", "\\"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_field_names_and_values_cannot_break_out_of_the_select(name):
    with duckdb.connect() as engine:
        mapping = usage(feature=name)
        table = pa.table({"user": ["'; DROP TABLE x; --"], "ts": ["2026-01-01"], name: ["{raw}'\""]})
        (row,) = apply(engine, mapping, table)
        assert (row["contact_id"], row["feature"]) == ("'; DROP TABLE x; --", "{raw}'\"")
        bad = pa.table({"user": ["u"], "ts": ["2026-01-01"], name: ["x"]})
        (row,) = apply(engine, usage(events=name), bad)
        assert row["reject_reason"] == f"events: 'x' is not a whole number (field {name})"


ONE_ENGINE = duckdb.connect()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=30)), min_size=1, max_size=5))
def test_no_text_makes_the_select_fail(values):
    table = pa.table(
        {"user": [user for user, _ in values], "ts": [ts for _, ts in values], "n": [ts for _, ts in values]}
    )
    rows = apply(ONE_ENGINE, usage(events="n"), table)
    assert len(rows) == len(values)
    for row in rows:
        assert row["reject_reason"] or (row["contact_id"] and row["occurred_at"])


@pytest.mark.parametrize("text", ["\tu\r\n", " u", "u ", "u\x00", "\nu\t"])
def test_blanks_and_nul_characters_around_an_id_do_not_make_another_id(engine, text):
    table = pa.table({"user": [text], "ts": ["2026-01-01"]})
    assert apply(engine, usage(), table)[0]["contact_id"] == "u"


def test_an_infinite_typed_time_is_set_aside(engine):
    mapping = usage()
    compiled = compile_mapping(mapping, {"user": "VARCHAR", "ts": "TIMESTAMP"})
    engine.execute("CREATE OR REPLACE TEMP TABLE endless AS SELECT 'u' AS \"user\", 'infinity'::TIMESTAMP AS ts")
    (row,) = engine.execute(f"SELECT occurred_at, reject_reason FROM ({compiled.sql('endless')})").fetchall()
    assert row == (None, "occurred_at: 'infinity' is not a time (field ts)")


TEXTS = [
    None, "", " ", "2026-01-01", "2026-1-1", "2026-01-01 10:00", "2026-01-01T10:00:00Z", "2026-01-01T10:00:00 +02:00",
    "1767225600", "1767225600000", "0001-01-01", "9999-12-31", "infinity", "yes", "No", "1.0", "2", "-3", "maybe",
    "Legitimate interest – existing customer", "a; b,,c|d", "2026-03-29 02:30:00",
]  # fmt: skip


@pytest.mark.parametrize(
    "transform", ["time", "date", "boolean", "negated", "flagged", "number", "split", "legal_basis"]
)
def test_a_conversion_that_many_columns_share_says_what_it_says_of_each_alone(engine, transform):
    def attributes_of(columns: list[str]) -> StreamMapping:
        fields = {name: f"{{from: {name}, transform: {transform}}}" for name in columns}
        listed = "".join(f"  {name}: {field}\n" for name, field in fields.items())
        return parse_mapping(
            f"version: 1\nsystem: crm\nstream: people\ninto: contacts\nfields:\n  contact_id: id\nattributes:\n{listed}",
            place="here",
        )

    columns = ["a", "b", "c", "d"]
    table = pa.table(
        {
            "id": [str(n) for n in range(len(TEXTS))],
            **{name: pa.array(TEXTS[n:] + TEXTS[:n], pa.string()) for n, name in enumerate(columns)},
        }
    )
    together = apply(engine, attributes_of(columns), table, zone="Europe/Paris")
    alone = {name: apply(engine, attributes_of([name]), table, zone="Europe/Paris") for name in columns}
    for row, whole in enumerate(together):
        parts = [json.loads(alone[name][row]["attributes"] or "{}") for name in columns]
        assert json.loads(whole["attributes"] or "{}") == {key: value for part in parts for key, value in part.items()}
        reasons = [alone[name][row]["reject_reason"] for name in columns]
        assert whole["reject_reason"] == next(filter(None, reasons), None)


def test_several_fields_of_one_column_among_shared_conversions_are_told_apart(engine):
    mapping = parse_mapping(
        "version: 1\nsystem: crm\nstream: people\ninto: contacts\nfields:\n  contact_id: id\n"
        "  created_at: {from: [a, b]}\n  deleted_at: {from: [c, d]}\n",
        place="here",
    )
    table = pa.table(
        {
            "id": ["1", "2", "3"],
            "a": [None, "rubbish", "2026-01-01"],
            "b": ["2026-01-02", "2026-01-02", "2026-01-02"],
            "c": ["2026-01-03", None, "x"],
            "d": [None, "2026-01-04", None],
        }
    )
    rows = apply(engine, mapping, table)
    assert [row["created_at"].day for row in rows] == [2, 2, 1]
    assert [row["deleted_at"] and row["deleted_at"].day for row in rows] == [3, 4, None]
    assert [row["reject_reason"] for row in rows] == [
        None,
        "created_at: 'rubbish' is not a time (field a)",
        "deleted_at: 'x' is not a time (field c)",
    ]

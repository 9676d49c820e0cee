"""Queries: what is put into them cannot get out of its place, and none is longer than an address may be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.salesforce.soql import LONGEST, Query, changed_since, field_name, id_batches, moment, one_of, text
from adapters.salesforce.tables import as_table, text_of
from connector.errors import ConfigurationError


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("O'Hara", r"'O\'Hara'"),
        ('say "hi"', r"'say \"hi\"'"),
        ("a\\b", r"'a\\b'"),
        ("two\nlines\tand\rmore", r"'two\nlines\tand\rmore'"),
        ("winback · dormant_30", "'winback · dormant_30'"),
    ],
)
def test_a_literal_is_escaped(value, written):
    assert text(value) == written


@settings(deadline=None, max_examples=200)
@given(st.text())
def test_no_text_ends_its_own_literal(value):
    inner = text(value)[1:-1]
    assert "'" not in inner.replace("\\\\", "").replace("\\'", "")
    assert "\n" not in inner and "\r" not in inner


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=40))
def test_the_sandboxs_own_parser_reads_back_what_was_written(value):
    from adapters.salesforce.sandbox.soql import parse

    clean = "".join(sign for sign in value if sign >= " ")
    query = parse(Query("Contact", ("Id",), (f"LastName = {text(clean)}",)).in_order())
    assert repr(clean)[1:-1] in repr(query) or clean in repr(query)


def test_moments_are_utc_and_whole_seconds_never_later_than_they_were():
    at = datetime(2026, 11, 21, 13, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert moment(at) == "2026-11-21T12:00:00Z"
    assert changed_since(datetime(2026, 1, 1, tzinfo=UTC), of="Individual") == (
        "Individual.SystemModstamp >= 2026-01-01T00:00:00Z"
    )


@pytest.mark.parametrize("name", ["Id FROM Contact --", "Name, Id", "", "1st", "a.b.c.d.e.f.g", "Name'", "Näme"])
def test_what_cannot_be_a_field_is_refused_before_it_is_asked_for(name):
    with pytest.raises(ConfigurationError, match="cannot be the name of a field"):
        Query("Contact", (name,)).in_order()


def test_names_and_paths_are_taken_as_they_are():
    assert field_name("Account.Plan_Tier__c") == "Account.Plan_Tier__c"


def test_a_query_goes_on_behind_an_id_in_order_and_a_job_gets_it_without_any():
    query = Query("Contact", ("Id", "Email"), ("SystemModstamp >= 2026-01-01T00:00:00Z",))
    assert query.going_on("003A").in_order() == (
        "SELECT Id, Email FROM Contact WHERE SystemModstamp >= 2026-01-01T00:00:00Z AND Id > '003A' ORDER BY Id"
    )
    assert "ORDER BY" not in query.unordered() and query.count().startswith("SELECT COUNT() FROM Contact WHERE")


def test_long_queries_are_told_from_those_that_fit():
    assert Query("Contact", ("Id",)).fits
    many = tuple(f"A_Rather_Long_Name_{number}__c" for number in range(500))
    assert not Query("Contact", many).fits


def test_ids_are_asked_for_in_runs_that_fit():
    ids = [f"003{number:015d}" for number in range(700)]
    batches = list(id_batches([*ids, *ids]))
    assert [one for batch in batches for one in batch] == ids
    assert all(Query("Contact", ("Id",), (one_of("Id", batch),)).fits for batch in batches)
    assert LONGEST < 16_384


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "true"),
        (False, "false"),
        (None, None),
        ("", None),
        (1200.5, "1200.5"),
        ("2026-11-21T10:00:00.000+0000", "2026-11-21T10:00:00.000Z"),
        ("a+0000", "a+0000"),
    ],
)
def test_json_becomes_the_text_that_a_job_would_have_written(value, written):
    assert text_of(value) == written


def test_a_path_looks_into_the_record_that_is_referred_to():
    rows = [{"Id": "1", "Individual": {"ShouldForget": True}}, {"Id": "2", "Individual": None}, {"Id": "3"}]
    table = as_table(rows, ("Id", "Individual.ShouldForget"))
    assert table.column("Individual.ShouldForget").to_pylist() == ["true", None, None]

"""With `--json`, stdout is exactly one JSON object, whatever happens."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.fakes.installation import NOON


def error_of(done) -> dict:
    document = json.loads(done.out)
    assert document["schema_version"] == 1
    assert set(document["error"]) == {"code", "message", "hint"}
    return document["error"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("segments", "--as-of", "yesterday"),
        ("segments", "--nonsense"),
        ("nonsense",),
        ("growth", "--by", "year"),
        ("apply", "no-such-plan.json"),
        ("explain",),
    ],
)
def test_a_usage_error_is_an_object_too(acme, arguments):
    done = acme.run(*arguments, "--json", now=None)
    assert done.code == 2, done.err
    assert error_of(done)["message"] in done.err.replace("\n", " ")


@pytest.mark.parametrize("arguments", [("apply",), ("undo", "20260615-120000-00001")])
def test_a_command_that_needs_a_yes_says_so_where_nobody_can_be_asked(acme, arguments):
    acme.run("pull")
    acme.run("plan")
    done = acme.run(*arguments, "--json")
    assert done.code == 2
    assert "--yes" in error_of(done)["hint"]


def test_a_refused_plan_is_one_object_and_the_reason_is_in_it(acme):
    acme.run("run")
    done = acme.run("plan", "--json", now=NOON + timedelta(days=31))
    assert done.code == 5
    assert [guard["name"] for guard in done.json["guards"] if not guard["ok"]] == ["too_many_changes"]
    assert "max_change" in done.err


def test_a_refused_plan_is_not_offered_to_be_carried_out(acme):
    acme.run("run")
    refused = acme.run("plan", now=NOON + timedelta(days=31))
    assert "winback apply" not in refused.out


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("adapters", "hubspot"), "manual"),
        (("segments", "--sql"), "sql"),
        (("growth", "--by", "week"), "periods"),
    ],
)
def test_what_is_text_otherwise_stands_in_an_object(acme, arguments, key):
    acme.run("pull")
    done = acme.run(*arguments, "--json", now=None if arguments[0] == "adapters" else NOON)
    assert done.code == 0, done.err
    assert done.json[key]


def test_growth_as_json_has_the_columns_of_the_csv(acme):
    acme.run("pull")
    periods = acme.run("growth", "--json").json["periods"]
    assert set(periods[0]) == {"period", "new", "retained", "resurrected", "dormant"}
    assert sum(period["new"] for period in periods) == 60

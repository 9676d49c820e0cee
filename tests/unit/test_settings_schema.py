from __future__ import annotations

import copy

import jsonschema
import pytest

from connector.settings import json_schema
from connector.settings.schema import every_key
from connector.yaml_loader import load, plain
from tests.fakes.tiny_adapters import ADAPTERS
from tests.unit.test_settings import GOOD


@pytest.fixture(scope="module")
def validator():
    schema = json_schema(ADAPTERS)
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def document(old="", new=""):
    assert old in GOOD
    return plain(load(GOOD.replace(old, new) if old else GOOD, file="w"))


def test_a_good_playbook_is_good_for_the_editor_too(validator):
    assert list(validator.iter_errors(document())) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("account: acme", "acount: acme"),
        ("version: 1", "version: 2"),
        ("page_size: 50", "pagesize: 50"),
        ("page_size: 50", "enroll: workflow"),
        ("page_size: 50", "page_size: 5000"),
        ("segments: false", "steps: false"),
        ("adapter: table", "adapter: tabel"),
        ("${CRM_TOKEN}", "a literal token"),
        ("${CRM_TOKEN}", "${CRM_TOKEN:-default}"),
        ("name: dormant_30", "name: Dormant 30"),
        ("path: data.csv", "pth: data.csv"),
        ("36h", "36"),
        ("10%", "lots"),
        ("share: 50%", "share: 50"),
        ("  product:", "  Product-2:"),
    ],
)
def test_the_editor_refuses_what_loading_refuses(validator, old, new):
    assert list(validator.iter_errors(document(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("page_size: 50", "page_size: '${PAGE_SIZE}'"),
        ("segments: false", "segments: '${LISTS:-true}'"),
        ("10%", "'${MAX_CHANGE}'"),
        ("36h", "null"),
        ("share: 50%", "share: 0.5"),
        ("timezone: Europe/Amsterdam", "timezone: ${ZONE}"),
    ],
)
def test_a_reference_may_stand_for_any_kind_of_value(validator, old, new):
    assert list(validator.iter_errors(document(old, new))) == []


def test_a_destination_may_leave_out_what_it_shares_and_a_source_may_not(validator):
    made = document()
    assert "adapter" not in made["destinations"]["crm"]
    source = copy.deepcopy(made)
    del source["sources"]["crm"]["adapter"]
    assert list(validator.iter_errors(source))


def test_every_key_has_words_for_the_editor():
    schema = json_schema(ADAPTERS)
    assert {"version", "segments", "guards.max_change", "identity.match"} <= set(every_key(schema))
    for key, part in schema["properties"].items():
        assert part.get("description"), key


def test_the_schema_is_the_same_every_time():
    assert json_schema(ADAPTERS) == json_schema(ADAPTERS)

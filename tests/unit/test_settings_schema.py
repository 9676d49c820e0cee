from __future__ import annotations

import copy

import jsonschema
import pytest

from connector.settings import json_schema
from connector.settings.schema import every_key
from connector.yaml_loader import load, plain
from tests.fakes.tiny_adapters import ADAPTERS
from tests.unit.test_settings import GOOD
from tests.unit.test_settings_programs import GOOD as PROGRAM
from tests.unit.test_settings_programs import MINIMAL, SEVERAL


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
        ("page_size: 50", "enroll: workflows"),
        ("page_size: 50", "page_size: 5000"),
        ("segments: false", "step: false"),
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


# --- programs -----------------------------------------------------------------------------------------------------


def program_document(old="", new="", text=PROGRAM):
    assert old in text
    return plain(load(text.replace(old, new) if old else text, file="w"))


@pytest.mark.parametrize("text", [PROGRAM, SEVERAL, MINIMAL])
def test_a_good_program_is_good_for_the_editor_too(validator, text):
    assert [error.message for error in validator.iter_errors(program_document(text=text))] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("enroll: [high_value_dormant, dormant_60]", "enroll: []"),
        ("exit: [reactivated", "exit: [reactivatd"),
        ("day: 7", "day: -1"),
        ("day: 7", "dya: 7"),
        ("name: win-back", "name: Win back"),
        ("per_contact: 4 in 30d", "per_contact: 4"),
        ("per_contact: 4 in 30d", "per_contact: 4 in 30"),
        ("gap: 2d 12h", "gap: 2"),
        ('window: "09:00-17:30"', "window: morning"),
        ("days: business", "days: busy"),
        ("days: business", "days: []"),
        ("2026-12-24..2027-01-01", "Christmas"),
        ("hold: winback", "hold: me"),
        ("profile: casl", "profile: gdpr"),
        ("US: can_spam", "US: spam"),
        ("US: can_spam", "United States: can_spam"),
        ("share: 25%", "share: some"),
        ("soft: 30%", "soft: lots"),
        ('"${PEPPER}"', '"a key that is written here, for all to see"'),
        ('"${LINK_KEY}", ', '"a key that is written here, for all to see", '),
        ('"https://docs.example.com"', "docs"),
    ],
)
def test_the_editor_refuses_in_a_program_what_loading_refuses(validator, old, new):
    assert list(validator.iter_errors(program_document(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("day: 7", "day: '${DAY:-7}'"),
        ("share: 25%", "share: auto"),
        ("share: 25%", "share: '${SHARE}'"),
        ("per_day: 500", "per_day: null"),
        ("days: business", "days: [mon, tue]"),
        ("days: business", "days: sat"),
        ("best_hour: true", "best_hour: '${BEST:-true}'"),
        ("per_contact: 4 in 30d", "per_contact: '${CAP}'"),
        ('["${LINK_KEY}", "${OLD_LINK_KEY}"]', '"${LINK_KEY}"'),
        ("profile: casl", "profile: '${PROFILE}'"),
    ],
)
def test_the_editor_accepts_in_a_program_what_loading_accepts(validator, old, new):
    assert [error.message for error in validator.iter_errors(program_document(old, new))] == []


def _described(part, key=""):
    for name, inner in part.get("properties", {}).items():
        assert inner.get("description"), f"{key}.{name}"
        yield f"{key}.{name}"
        yield from _described(inner, f"{key}.{name}")
    for below in [part.get("items"), part.get("additionalProperties"), *part.get("anyOf", [])]:
        if isinstance(below, dict) and key.split(".")[1] not in ("sources", "destinations"):
            yield from _described(below, key)


def test_every_key_of_a_program_has_words_for_the_editor():
    schema = json_schema(ADAPTERS)
    for section in ("program", "programs", "links", "keys"):
        assert schema["properties"][section]["description"]
    keys = set(_described(schema))
    assert {".programs.steps.adjust.when", ".program.offers.items.redeemed_by", ".links.destinations"} <= keys

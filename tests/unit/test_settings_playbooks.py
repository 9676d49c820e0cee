from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import jsonschema
import pytest

from connector.contracts import Adapter
from connector.rules.boxes import Truth, boxes, sample_row
from connector.rules.conditions import parse_usage
from connector.settings import json_schema, load_playbook
from connector.yaml_loader import load_file, plain

FOLDER = Path(__file__).parents[2] / "connector" / "rules" / "playbooks"
NAMES = ["developer-platform", "ecommerce", "open-source", "saas"]


@pytest.fixture(scope="module")
def adapters():
    found = {}
    for name in ("files", "git", "hubspot"):
        adapter = import_module(f"adapters.{name}").ADAPTER
        assert isinstance(adapter, Adapter)
        found[name] = adapter
    return found


@pytest.fixture(params=NAMES)
def file(request):
    return FOLDER / f"{request.param}.yaml"


@pytest.fixture
def playbook(file, adapters):
    return load_playbook(file, environ={"HUBSPOT_TOKEN": "x"}, adapters=adapters)


def test_the_shipped_playbooks_are_these_four():
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == NAMES


def test_a_shipped_playbook_loads_with_only_a_token_and_nothing_to_complain_about(playbook):
    assert playbook.findings == ()
    assert playbook.sources["crm"].adapter == "hubspot"
    assert playbook.destinations["crm"].options.auth["token"].get_secret_value() == "x"
    assert any(source.adapter == "files" for source in playbook.sources.values())


def test_a_shipped_playbook_is_valid_for_the_editor(file, adapters):
    errors = jsonschema.Draft7Validator(json_schema(adapters)).iter_errors(plain(load_file(file)))
    assert [error.message for error in errors] == []


def test_a_shipped_playbook_begins_with_the_line_that_gives_completion(file):
    assert file.read_text().splitlines()[0] == "# yaml-language-server: $schema=winback.schema.json"


def test_a_shipped_playbook_explains_itself(file):
    lines = [line.strip() for line in file.read_text().splitlines() if line.strip()]
    comments = [line for line in lines if "#" in line]
    assert len(comments) >= len(lines) / 4


def test_everybody_silent_is_in_exactly_one_band_from_the_first_on(playbook):
    bands = [item.condition for item in playbook.checked_segments if item.segment.group == "dormancy"]
    assert len(bands) >= 3
    row = {"can_email": True, "as_of": None}
    counts = [sum(band.holds({**row, "inactive_days": days}) is True for band in bands) for days in range(1500)]
    first = counts.index(1)
    assert 14 <= first <= 365
    assert set(counts[:first]) == {0}
    assert set(counts[first:]) == {1}


def test_nobody_who_was_never_active_is_in_a_band(playbook):
    for item in playbook.checked_segments:
        if item.segment.group == "dormancy":
            assert item.condition.holds({"can_email": True, "inactive_days": None, "as_of": None}) is not True


def test_a_use_without_a_feature_name_counts_as_activity(playbook):
    assert parse_usage(playbook.activity.counts).holds({"feature": None, "events": 1}) is True


def test_every_number_in_a_condition_is_a_day_a_count_or_a_fifth_not_a_slip(playbook):
    for segment in playbook.segments:
        for number in map(float, re.findall(r"(?<![\w.])\d+(?:\.\d+)?", segment.where)):
            assert number <= 400, segment.name


def test_every_segment_can_have_somebody_in_it(playbook):
    for item in playbook.checked_segments:
        possible = boxes(item.condition.tree, Truth.TRUE)
        assert possible, item.segment.name
        samples = [row for box in possible if (row := sample_row(box)) is not None]
        assert not samples or any(item.condition.holds(row) is True for row in samples), item.segment.name


def test_the_open_source_playbook_writes_only_about_people_who_agreed():
    text = plain(load_file(FOLDER / "open-source.yaml"))
    assert all("can_email is true" in segment["where"] for segment in text["segments"])

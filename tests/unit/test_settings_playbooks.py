from __future__ import annotations

import base64
import json
import re
from datetime import timedelta
from importlib import import_module
from itertools import pairwise, takewhile
from pathlib import Path

import jsonschema
import pytest

from connector.contracts import Adapter
from connector.registry import installed_receivers
from connector.rules.boxes import Truth, boxes, sample_row
from connector.rules.conditions import parse_usage
from connector.scaffold import scaffold
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


# --- programs -----------------------------------------------------------------------------------------------------


def test_a_shipped_playbook_has_a_program_over_its_own_segments(playbook):
    names = {segment.name for segment in playbook.segments}
    assert playbook.programs
    for program in playbook.programs:
        assert set(program.enroll) <= names
        assert "came_back" not in program.enroll
        assert playbook.destinations["crm"].lists.steps is True


def test_a_shipped_program_is_complete(playbook):
    for program in playbook.programs:
        assert len(program.steps) >= 2
        assert program.steps[-1].when is not None
        assert program.exit >= {"reactivated", "replied", "snoozed"}
        assert program.sunset.after_episodes == 1
        assert program.send.window is not None
        assert program.holdout.share != 0
        assert program.caps.per_day is not None


def test_a_shipped_program_spells_out_consent_caps_and_health(file):
    document = plain(load_file(file))
    first = document["programs"][0] if "programs" in document else document["program"]
    assert {"holdout", "caps", "send", "consent", "sunset", "health", "exit", "reactivated"} <= set(first)
    assert set(first["caps"]) == {"per_contact", "gap", "per_day", "quiet_after"}


def test_a_shipped_program_follows_the_rule_of_thumb_for_touches(playbook):
    for program in playbook.programs:
        days = [step.day for step in program.steps]
        assert all(later - earlier >= 3 for earlier, later in pairwise(days))
        assert len(days) <= 4
        assert program.caps.per_contact[0] <= 4
        assert program.caps.gap >= timedelta(days=3)


def test_offers_of_a_shipped_program_keep_within_their_rails(playbook):
    for program in playbook.programs:
        offers = program.offers
        if not offers.offers:
            continue
        assert offers.budget is not None and offers.per_contact is not None
        for ladder in (offers.ladder, *offers.ladders.values()):
            assert not offers.offers[ladder[0]].discount
            assert sum(offers.offers[rung].cost for rung in ladder) <= offers.per_contact[0]
        assert all(offer.codes in (None, "generate") for offer in offers.offers.values())


def test_every_condition_of_a_shipped_program_can_hold_and_fail(playbook):
    for program in playbook.programs:
        for condition in program.conditions:
            assert boxes(condition.tree, Truth.TRUE) and boxes(condition.tree, Truth.NOT_TRUE), condition.text


def test_two_programs_of_the_developer_playbook_share_caps_and_consent(adapters):
    file = FOLDER / "developer-platform.yaml"
    rescue, first_steps = load_playbook(file, environ={"HUBSPOT_TOKEN": "x"}, adapters=adapters).programs
    assert (rescue.caps.per_contact, rescue.caps.gap, rescue.caps.per_day) == (
        first_steps.caps.per_contact,
        first_steps.caps.gap,
        first_steps.caps.per_day,
    )
    assert rescue.consent == first_steps.consent
    assert rescue.sunset.segment != first_steps.sunset.segment
    assert not set(rescue.enroll) & set(first_steps.enroll)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "open-source"])
def test_the_commented_lines_of_a_shipped_playbook_work_when_uncommented(name, adapters, tmp_path):
    written = (FOLDER / f"{name}.yaml").read_text()
    (tmp_path / "whats_new.yaml").write_text("- {date: 2026-09-14, text: New}\n")
    text = re.sub(r"(?m)^( +)# (personalize:|  (?:whats_new|links|next_steps):)", r"\1\2", written)
    assert text != written
    made = tmp_path / "winback.yaml"
    made.write_text(text + "links: {public_base_url: 'https://links.example.com'}\n")
    playbook = load_playbook(made, environ={"HUBSPOT_TOKEN": "x"}, adapters=adapters)
    assert playbook.programs[0].personal.links is True
    assert playbook.programs[0].personal.whats_new


@pytest.mark.parametrize("name", NAMES)
def test_the_webhooks_of_a_shipped_playbook_work_when_uncommented(name, adapters, tmp_path):
    written = (FOLDER / f"{name}.yaml").read_text()
    head, _, rest = written.partition("# webhooks:\n")
    lines = rest.splitlines(keepends=True)
    block = list(takewhile(lambda line: line.startswith("#   "), lines))
    assert block
    made = tmp_path / "winback.yaml"
    made.write_text(head + "webhooks:\n" + "".join(line[2:] for line in block) + "".join(lines[len(block) :]))
    token = "3f9c1e0b7a5d4826b1c3d5e7f9a0b2c4"
    names = set(re.findall(r"\$\{([A-Z_]+)\}", "".join(block)))
    environ = dict.fromkeys(names, token) | {
        "HUBSPOT_TOKEN": "x",
        "SLACK_URL": "https://hooks.slack.example/x",
        "STANDARD_SECRET": "whsec_" + base64.b64encode(token.encode()).decode(),
    }
    playbook = load_playbook(made, environ=environ, adapters=adapters, receivers=installed_receivers())
    assert playbook.webhooks is not None
    assert playbook.webhooks.sources
    assert playbook.findings == ()


def test_a_shipped_program_says_what_follows_from_reasons(playbook):
    reasons = playbook.programs[0].reasons
    assert len(reasons) >= 4
    assert any(rule.snooze for rule in reasons.values())


@pytest.mark.parametrize("name", NAMES)
def test_what_init_writes_loads_and_has_nothing_to_complain_about(name, tmp_path, adapters):
    made = list(scaffold(tmp_path, playbook=name, account="Acme & Co: 7", timezone="America/New_York"))
    assert [path.name for path in made] == ["winback.yaml", "winback.schema.json", ".env.example"]
    playbook = load_playbook(tmp_path / "winback.yaml", environ={"HUBSPOT_TOKEN": "x"}, adapters=adapters)
    assert (playbook.account, playbook.timezone) == ("Acme & Co: 7", "America/New_York")
    assert playbook.programs
    assert playbook.findings == ()
    schema = json.loads((tmp_path / "winback.schema.json").read_text())
    assert "steps" in json.dumps(schema["properties"]["program"])


def test_every_example_of_a_program_in_the_documentation_loads(tmp_path, adapters):
    text = (FOLDER.parents[2] / "docs" / "playbook.md").read_text()
    examples = re.findall(r"```yaml\n((?:program|links):.*?)```", text, re.DOTALL)
    assert len(examples) == 2
    names = ("high_value_dormant", "dormant_90", "dormant_60", "dormant_30")
    segments = "\n".join(f"  - {{name: {name}, where: 'inactive_days > {n}'}}" for n, name in enumerate(names))
    head = (
        "version: 1\naccount: a\nsources: {crm: {adapter: hubspot, auth: {token: '${HUBSPOT_TOKEN}'}}}\n"
        f"segments:\n{segments}\n"
    )
    file = tmp_path / "winback.yaml"
    file.write_text(head + examples[0] + examples[1])
    keys = dict.fromkeys(("LINK_KEY", "OLD_LINK_KEY", "SUPPRESSION_PEPPER"), "k" * 32)
    playbook = load_playbook(file, environ={"HUBSPOT_TOKEN": "x", **keys}, adapters=adapters)
    assert [step.name for step in playbook.programs[0].steps] == ["reminder", "offer", "last_chance", "feedback"]
    assert playbook.links.default_destination == "app"

"""What we send as Typeform and ask of it is what its description allows; skipped where that is not at hand."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator

from tests.fakes.survey_vendors import NOW, TOKEN, TypeformApi, asking, fixture, item
from webhooks.typeform import RECEIVER, TypeformOptions

SPECS = Path(__file__).parents[2].parent / "shared" / "specs" / "typeform"
LATER = {"response_type"}
"""Parameters that came after the description was written."""

pytestmark = pytest.mark.skipif(not SPECS.is_dir(), reason="the vendor's API descriptions are not at hand")


def delivery() -> Draft7Validator:
    document = yaml.safe_load((SPECS / "typeform-asyncapi.yml").read_text())
    return Draft7Validator({"$ref": "#/components/schemas/FormResponseEvent", "components": document["components"]})


@pytest.mark.parametrize("name", ["form_response", "preview"])
def test_a_fixture_is_what_the_webhook_is_said_to_send(name):
    delivery().validate(fixture("typeform", name))


def test_a_sample_is_what_the_webhook_is_said_to_send():
    delivery().validate(json.loads(RECEIVER.sample(TypeformOptions(), TOKEN, NOW)))


def test_every_described_kind_of_answer_is_in_the_fixtures():
    described = set(delivery().schema["components"]["schemas"]["Answer"]["properties"]["type"]["enum"])
    shown = {one["type"] for one in fixture("typeform", "every_kind_of_answer")["form_response"]["answers"]}
    assert described <= shown


def test_what_is_asked_of_the_api_is_described(monkeypatch):
    monkeypatch.setattr("webhooks.typeform.PAGE_SIZE", 2)
    description = json.loads((SPECS / "typeform-fern-2023.swagger.json").read_text())["paths"]
    options = TypeformOptions(token="tfp_sample", forms=("aBcD12",))
    server = TypeformApi(
        forms={"aBcD12": fixture("typeform", "form")},
        items={"aBcD12": [item(f"t{number}", NOW - timedelta(minutes=number)) for number in range(5)][::-1]},
    )
    with asking(RECEIVER, options, server) as (api, asked):
        assert len(list(RECEIVER.backfill(api, NOW - timedelta(hours=1)))) == 5
    assert len(asked.asked) > 3
    for request in asked.asked:
        place = "/forms/{form_id}/responses" if request.path.endswith("/responses") else "/forms/{form_id}"
        allowed = {parameter["name"] for parameter in description[place]["get"]["parameters"]}
        assert request.query.keys() - LATER <= allowed

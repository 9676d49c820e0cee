"""Every request the adapter makes is one that HubSpot's own description allows; skipped where that is not at hand."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from adapters.hubspot.client import HubSpotClient
from connector.contracts import Work
from connector.model import Callback, PropertyRow
from tests.contract.destination_suite import CHOICES, FOLDER, KINDS, LIST, TEXT, VALUES, note
from tests.contract.source_suite import read_all
from tests.fakes.hubspot_worlds import HubSpotTarget

SPECS = Path(__file__).parents[2].parent / "shared" / "specs" / "hubspot"
FILES = {
    "2026-03": ["crm-contacts-2026-03.json", "crm-lists-2026-03.json"],
    "2026-09": [
        "crm-objects-2026-09.json",
        "crm-lists-2026-09.json",
        "crm-properties-2026-09.json",
        "crm-exports-2026-09.json",
        "crm-limits-2026-09.json",
        "account-info-2026-09.json",
        "communication-preferences-2026-09.json",
        "crm-associations-2026-09.json",
        "automation-actions-2026-09.json",
    ],
    "v4": [
        "automation-v4.json",
        "communication-preferences-v4.json",
        "crm-associations-v4.json",
        "automation-actions-v4.json",
    ],
    "v3": [
        "crm-contacts-v3.json",
        "crm-companies-v3.json",
        "crm-objects-v3.json",
        "crm-lists-v3.json",
        "crm-properties-v3.json",
        "crm-exports-v3.json",
        "crm-limits-v3.json",
        "account-info-v3.json",
    ],
}
UNDESCRIBED = re.compile(
    r"^/oauth/|^/automation/v2/|^/crm/objects/2026-03/(companies|notes|tasks)|^/crm/(?!lists|objects)[a-z]+/2026-03|^/account-info/2026-03"
)
"""Called, but not in the descriptions that came along (the others on 2026-03 have the shape of contacts)."""

pytestmark = pytest.mark.skipif(not SPECS.is_dir(), reason="the vendor's API descriptions are not at hand")


@cache
def operations(version: str) -> list[tuple[re.Pattern[str], str, dict[str, Any], dict[str, Any]]]:
    """(path pattern, method, operation, whole document), the most literal paths first."""
    found = []
    for name in FILES[version]:
        document = json.loads((SPECS / name).read_text())
        unroll_exports(document["components"]["schemas"])
        open_filters(document["components"]["schemas"])
        for path, methods in document["paths"].items():
            pattern = re.compile("^" + re.sub(r"\{[^}]+\}", "[^/]+", path) + "/?$")
            for method, operation in methods.items():
                if isinstance(operation, dict):
                    found.append((path.count("{"), pattern, method.upper(), operation, document))
    return [entry[1:] for entry in sorted(found, key=lambda entry: entry[0])]


def unroll_exports(schemas: dict[str, Any]) -> None:
    """An export request is described as one of two, each of them all of an export request: a circle."""
    for name in ("PublicExportViewRequest", "PublicExportListRequest"):
        if name in schemas:
            parts = [
                part for part in schemas[name].get("allOf", ()) if not part.get("$ref", "").endswith("ExportRequest")
            ]
            schemas[name] = {**schemas[name], "allOf": parts} if parts else schemas[name]


def open_filters(schemas: dict[str, Any]) -> None:
    """A filter is described as one of many, and the kinds share their shapes: any that fits is enough."""
    for schema in schemas.values():
        for part in (schema.get("properties") or {}).values():
            items = part.get("items") or {}
            if "oneOf" in items:
                items["anyOf"] = items.pop("oneOf")


def version_of(path: str) -> str:
    match = re.search(r"/(v[34]|\d{4}-\d\d)(/|$)", path)
    assert match, path
    return match[1]


def allowed_keys(schema: dict[str, Any], document: dict[str, Any]) -> set[str] | None:
    """Every key the schema names at its top, through references and choices; None if it names none."""
    if "$ref" in schema:
        return allowed_keys(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    keys = set(schema.get("properties") or ())
    for part in (*schema.get("oneOf", ()), *schema.get("allOf", ()), *schema.get("anyOf", ())):
        keys |= allowed_keys(part, document) or set()
    return keys or None


def complaints(method: str, path: str, query: Any, body: Any) -> list[str]:
    """What is wrong with a request, by the description."""
    for pattern, described_method, operation, document in operations(version_of(path)):
        if described_method != method or not pattern.match(path):
            continue
        known = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"}
        wrong = [f"unknown query parameter {name}" for name, _ in query if name not in known]
        content = (operation.get("requestBody") or {}).get("content", {}).get("application/json")
        if content is None:
            return [*wrong, "a body where none is described"] if body is not None else wrong
        schema = content["schema"]
        validator = Draft202012Validator({**schema, "components": document["components"]})
        wrong += [f"{error.json_path}: {error.message}" for error in validator.iter_errors(body)]
        keys = allowed_keys(schema, document)
        if keys is not None and isinstance(body, dict):
            wrong += [f"unknown key {name}" for name in body if name not in keys]
        return wrong
    return ["no such operation"]


@pytest.mark.parametrize("version", ["tested versions", "2026-09", "v3"])
def test_every_request_is_allowed(tmp_path, monkeypatch, version):
    made: list[tuple[str, str, Any, Any]] = []
    once = HubSpotClient._once

    def recorded(self, method, path, query, place, body, **more):  # noqa: PLR0917 - the shape of what it replaces
        full = path
        for key, value in (place or {}).items():
            full = full.replace("{" + key + "}", str(value).replace("/", "%2F"))
        made.append((method, full, query, body))
        return once(self, method, path, query, place, body, **more)

    monkeypatch.setattr(HubSpotClient, "_once", recorded)
    options = {} if version == "tested versions" else {"api_version": version}
    world = HubSpotTarget(tmp_path, contacts=150, companies=5, **options)
    try:
        exercise(world)
    finally:
        world.stop()
    # The description says every part of a search is required; their documented examples leave `query` out.
    described = [entry for entry in made if not UNDESCRIBED.match(entry[1])]
    wrong = {
        f"{method} {path}: {complaint}"
        for method, path, query, body in described
        for complaint in complaints(method, path, query, body)
    }
    assert len(described) > 40
    assert {line for line in wrong if not tolerated(line)} == set()


def tolerated(line: str) -> bool:
    """Where the description asks for more than the vendor's own examples send, or check sends nothing on purpose."""
    required_but_optional_in_examples = (
        r"/search: \$: '(query|after|sorts|properties)' is a required property",
        r"/search: \$\.filterGroups",
        # Described as text; their documentation and every client send objects.
        r"/search: \$\.sorts\[0\]: .* is not of type 'string'",
        r"/export/async: \$: .* is not valid under any",
        r"POST /crm/(properties/[^/]+|v3/properties)/contacts: \$: '(name|label|type|fieldType|groupName)' is a required",
        r"batch/(read|update): \$: 'propertiesWithHistory' is a required",
        r"batch/(read|update): \$\.inputs",
    )
    return any(re.search(pattern, line) for pattern in required_but_optional_in_examples)


def exercise(world: HubSpotTarget) -> None:
    """Everything the adapter does."""
    list(world.source().check())
    for stream in ("contacts", "companies", "email_events"):
        world.stream = stream
        for backfill in ("export", "list"):
            world.options["backfill"] = backfill
            cursor = read_all(world)[-1].cursor
        world.stream = "contacts"
        world.change()
        world.stream = stream
        read_all(world, cursor)
    world.reads = False
    destination = world.destination()
    list(destination.check())
    destination.ensure_properties(KINDS)
    destination.ensure_properties([CHOICES.__class__(CHOICES.name, CHOICES.label, "choices", "", (("cold", "Cold"),))])
    destination.existing_properties([TEXT.name])
    list_id = destination.ensure_list(LIST, folder=FOLDER).ref
    destination.lists([LIST, "winback · none"])
    destination.change_members(list_id, add=["1", "2"], remove=["3"])
    destination.change_members(list_id, add=["1", "2"], remove=["3"])
    list(destination.members(list_id))
    destination.set_properties([PropertyRow("1", VALUES), PropertyRow(world.unknown_id(), {TEXT.name: "x"})])
    destination.read_properties(["1"], list(VALUES))
    workflow = world.workflow()
    numbers = world.state.workflows.flows.get(workflow)
    for ref in (workflow, numbers.workflow_id, "Winback", "nobody made this", "404"):
        destination.check_workflow(ref)
    first, second, third = world.ids(3)
    destination.enroll(workflow, [first, second, world.unknown_id()])
    destination.enroll(workflow, [first])
    destination.enrolled(workflow, [first, second, third])
    destination.unenroll(workflow, [first, third])
    destination.forecast(Work(0, 0, 0, 0, enrollments=3, workflows=1, opt_outs=2))
    destination.opt_out([first])
    destination.opted_out([first, second])
    rows = [note("aaaaaaaa", first), note("bbbbbbbb", second, task=True), note("cccccccc", world.unknown_id())]
    destination.record_feedback(rows)
    destination.record_feedback(rows)
    destination.recorded_feedback(rows)
    waiting = world.let_wait(2)
    destination.complete([Callback(one, {"decision": "enrolled"}) for one in waiting])
    destination.complete([Callback(one, {"decision": "enrolled"}) for one in waiting])
    destination.remove_property(TEXT.name)
    destination.remove_list(list_id)
    destination.close()

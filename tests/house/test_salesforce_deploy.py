"""The Salesforce project is in step with the code, whole, and says nothing it should not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import import_module
from xml.etree.ElementTree import fromstring

import pytest

from adapters.salesforce import campaigns, feedback
from adapters.salesforce.fields import ENROLLMENT, KEY, definition, field_name
from adapters.salesforce.sandbox import package as sandbox
from connector.model import FeedbackRow
from connector.program.personal import SPECS
from connector.settings import load_playbook
from connector.wanted import owned_properties
from connector.yaml_loader import load_file, plain
from deploy.salesforce import generate
from deploy.salesforce.making import access, fields
from tests.fakes.incoming import NOW
from tests.fakes.salesforce_flows import META, PROJECT, every, flow_files, nodes, reachable, read, targets, text

ROOT = PROJECT.parents[1]
FILES = sorted(path for path in PROJECT.rglob("*.xml"))
SOURCES = [path for path in FILES if path.parent.name != "manifest"]
FLOWS = flow_files()
OURS = re.compile(r"\bWinback_\w+__c\b")

ROOTS = {
    "field": "CustomField",
    "reportFolder": "ReportFolder",
    "permissionset": "PermissionSet",
    "workflow": "Workflow",
}
"""The root of a file where it is not the kind with a capital."""


def named(path):
    return str(path.relative_to(PROJECT))


def kind_of(path):
    return path.name.removesuffix("-meta.xml").rpartition(".")[2]


def fields_there():
    """Every custom field of the project, by object; those of Activity are on Task and Event."""
    found = {}
    for path in PROJECT.glob("*/main/default/objects/*/fields/*.field-meta.xml"):
        where = path.parts[-3]
        for name in ("Task", "Event") if where == "Activity" else (where,):
            found.setdefault(name, {})[text(read(path), "fullName")] = read(path)
    return found


FIELDS = fields_there()


# In step.


def test_every_file_is_what_the_code_makes():
    assert generate.stale() == []


def test_the_command_says_so_too():
    done = subprocess.run(
        [sys.executable, "-m", "deploy.salesforce.generate", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_that_is_changed_missing_or_too_much_is_named(tmp_path):
    generate.write(tmp_path)
    assert generate.stale(tmp_path) == []
    flow = "force-app/main/default/flows/Winback_Step_Mail.flow-meta.xml"
    (tmp_path / flow).write_text("<Flow/>")
    (tmp_path / "manifest/package.xml").unlink()
    (tmp_path / "privacy/more.xml").write_text("")
    assert generate.stale(tmp_path) == [flow, "manifest/package.xml", "privacy/more.xml"]
    generate.write(tmp_path)
    assert generate.stale(tmp_path) == []


def test_every_property_a_playbook_can_ask_for_is_a_field_of_contacts_and_leads():
    wanted = {spec.name for spec in fields.owned()}
    assert set(SPECS) | {"winback_segment", "winback_reason", "winback_last_active_at"} < wanted
    for person in ("Contact", "Lead"):
        there = FIELDS[person].keys() - fields.request_fields().keys()
        assert there == {field_name(name) for name in wanted}
        assert ENROLLMENT in there


@pytest.mark.parametrize("name", ["developer-platform", "ecommerce", "open-source", "saas"])
def test_a_ready_playbook_asks_for_no_field_that_is_not_there(name):
    adapters = {one: import_module(f"adapters.{one}").ADAPTER for one in ("files", "git", "hubspot")}
    file = ROOT / "connector" / "rules" / "playbooks" / f"{name}.yaml"
    playbook = load_playbook(file, environ={"HUBSPOT_TOKEN": "x"}, adapters=adapters)
    wanted = {field_name(spec.name): definition(spec)["type"] for spec in owned_properties(playbook)}
    assert len(wanted) > 4
    assert wanted == {field: text(FIELDS["Lead"][field], "type") for field in wanted}


def test_a_field_is_of_the_type_that_is_written_to_it():
    for spec in fields.owned():
        for person in ("Contact", "Lead"):
            made = FIELDS[person][field_name(spec.name)]
            assert {name: text(made, name) for name in definition(spec)} == {
                name: str(value).lower() if isinstance(value, bool) else str(value)
                for name, value in definition(spec).items()
            }


def test_the_sandbox_stands_for_this_project():
    for kind, installed in sandbox.PACKAGE.items():
        assert {one.name for one in installed} <= FIELDS[kind].keys(), kind
        for one in installed:
            made = FIELDS[kind][one.name]
            assert int(text(made, "length") or 0) == (one.length or 0), one.name
            assert (text(made, "unique") == "true", text(made, "externalId") == "true") == (one.unique, one.external_id)
    assert sandbox.PERMISSION_SET == "Winback_Integration"


# Whole.


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_file_is_one_document_of_its_kind(path):
    content = path.read_text(encoding="utf-8")
    assert content.startswith('<?xml version="1.0" encoding="UTF-8"?>\n') and content.endswith(">\n")
    root = fromstring(content)
    kind = kind_of(path)
    expected = "Package" if path.parent.name == "manifest" else ROOTS.get(kind, kind[0].upper() + kind[1:])
    assert root.tag == f"{META}{expected}"
    assert all(one.tag.startswith(META) for one in root.iter())
    # The same element in two places of a file is read as two lists, and the first is lost.
    tags = [one.tag for one in root]
    assert [tag for at, tag in enumerate(tags) if at == 0 or tags[at - 1] != tag] == sorted(set(tags), key=tags.index)
    assert tags == sorted(tags, key=lambda tag: (tag != f"{META}fullName", tag))


@pytest.mark.parametrize("path", [path for path in SOURCES if kind_of(path) in {"field", "listView"}], ids=named)
def test_a_part_of_an_object_is_called_as_its_file(path):
    assert text(read(path), "fullName") == path.name.split(".")[0]


def test_names_and_labels_fit():
    for path in SOURCES:
        root = read(path)
        assert len(text(root, "label") or "") <= (40 if kind_of(path) in {"field", "listView"} else 80), path
        assert len(text(root, "description") or "") <= (
            255 if kind_of(path) in {"permissionset", "externalCredential"} else 1000
        ), path
        if kind_of(path) == "field":
            assert len(text(root, "fullName").removesuffix("__c")) <= 40


@pytest.mark.parametrize("package", generate.PACKAGES)
def test_a_manifest_lists_what_its_package_holds(package):
    listed = read(PROJECT / generate.manifest_path(package))
    types = [text(one, "name") for one in every(listed, "types")]
    order = list(dict.fromkeys(generate.TYPES.values()))
    assert types == sorted(types, key=order.index)
    there = {generate.component(named(path)) for path in SOURCES if named(path).startswith(f"{package}/")}
    assert {
        (text(one, "name"), member.text) for one in every(listed, "types") for member in every(one, "members")
    } == there
    for one in every(listed, "types"):
        members = [member.text for member in every(one, "members")]
        assert members == sorted(set(members))


def test_the_project_is_read_as_one_project():
    project = json.loads((PROJECT / "sfdx-project.json").read_text())
    assert [one["path"] for one in project["packageDirectories"]] == list(generate.PACKAGES)
    assert all((PROJECT / one["path"]).is_dir() for one in project["packageDirectories"])
    assert project["sourceApiVersion"] == text(read(PROJECT / "manifest/package.xml"), "version") == "66.0"
    for one in project["replacements"]:
        matching = list(PROJECT.glob(one["glob"]))
        assert matching and all(one["stringToReplace"] in path.read_text() for path in matching)


# Flows.


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_is_a_draft_and_every_place_of_it_can_be_reached(name):
    flow = read(FLOWS[name])
    places = nodes(flow)
    assert text(flow, "status") == "Draft"
    assert {target for _, place in places.values() for target in targets(place)} <= places.keys()
    assert reachable(flow) == places.keys()


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_uses_only_what_it_declares(name):
    flow = read(FLOWS[name])
    known = {text(one, "name") for kind in ("variables", "formulas", "textTemplates") for one in every(flow, kind)}
    known |= nodes(flow).keys()
    said = " ".join(one.text or "" for one in flow.iter())
    referred = {one.text for one in flow.iter(f"{META}elementReference")} | set(re.findall(r"{!([^}]+)}", said))
    referred |= {one.text for one in flow.iter(f"{META}assignToReference")}
    referred |= {one.text for one in flow.iter(f"{META}leftValueReference")}
    assert {one for one in referred if not one.startswith("$") and one.split(".")[0] not in known} == set()
    names = [text(one, "name") for kind in ("variables", "formulas", "textTemplates") for one in every(flow, kind)]
    assert len(names) == len(set(names)) and not set(names) & nodes(flow).keys()
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", one) for one in [name, *names, *nodes(flow)])


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_names_fields_that_are_there(name):
    flow = read(FLOWS[name])
    kind = text(flow, "start/object")
    said = " ".join(one.text or "" for one in flow.iter() if one.tag not in {f"{META}description", f"{META}label"})
    for owner, field in re.findall(r"\$Record\.(?:(\w+)\.)?(Winback_\w+__c)", said):
        assert field in FIELDS[owner or kind], f"{owner or kind}.{field}"
    if kind:
        used = {one.text for tag in ("field", "recordField") for one in every(flow, "start")[0].iter(f"{META}{tag}")}
        assert {one for one in used if OURS.fullmatch(one)} <= FIELDS[kind].keys()


def test_a_flow_that_another_needs_comes_with_it_or_before():
    order = list(generate.PACKAGES)
    at = {name: order.index(path.relative_to(PROJECT).parts[0]) for name, path in FLOWS.items()}
    for name, path in FLOWS.items():
        for call in every(read(path), "subflows"):
            assert at[text(call, "flowName")] <= at[name]


# What may be done, and what is said.


def granted(name):
    path = next(PROJECT.glob(f"*/main/default/permissionsets/{name}.permissionset-meta.xml"))
    root = read(path)
    may = {text(one, "field"): text(one, "editable") == "true" for one in every(root, "fieldPermissions")}
    return root, may


def test_the_integration_user_may_write_every_field_of_ours_and_delete_nothing():
    root, may = granted("Winback_Integration")
    ours = {f"{kind}.{field}" for kind, there in FIELDS.items() for field in there}
    ours -= {f"{person}.{name}" for person in ("Contact", "Lead") for name in fields.request_fields()}
    assert {name for name, editable in may.items() if OURS.search(name)} == ours - {f"Event.{KEY}"}
    assert all(may[name] for name in ours - {f"Event.{KEY}"})
    assert may["Contact.HasOptedOutOfEmail"] and may["Lead.HasOptedOutOfEmail"]
    written = {name for name, editable in may.items() if editable and not OURS.search(name)}
    assert {name.split(".")[0] for name in written} == {"Campaign", "Contact", "Lead", "Task"}
    for one in every(root, "objectPermissions"):
        assert (text(one, "allowDelete"), text(one, "modifyAllRecords")) == ("false", "false")
        assert text(one, "allowCreate") == str(text(one, "object") == "Campaign").lower()
    users = {text(one, "name") for one in every(root, "userPermissions")}
    assert users == {"ApiEnabled", "EditTask", "RunFlow", "ViewSetup"}


def test_what_the_source_reads_by_default_may_be_read():
    """Only fields with field-level security of their own can be granted, and have to be."""
    _, may = granted("Winback_Integration")
    streams = {"contacts": "Contact", "leads": "Lead", "accounts": "Account", "transactions": "Opportunity"}
    for stream, kind in streams.items():
        mapping = plain(load_file(ROOT / "mappings" / "salesforce" / f"{stream}.yaml"))
        read_by_default = set(json.dumps(mapping).replace('"', " ").replace(",", " ").split())
        for field in SECURED[kind] & read_by_default:
            assert f"{kind}.{field}" in may, f"{kind}.{field}"


SECURED = {
    "Account": {"AnnualRevenue", "Industry", "NumberOfEmployees", "ParentId", "Type", "Website"},
    "Campaign": {"Description", "EndDate", "IsActive", "ParentId", "StartDate", "Status", "Type"},
    "Contact": {"AccountId", "Department", "DoNotCall", "Email", "HasOptedOutOfEmail", "LeadSource", "Phone", "Title"},
    "Lead": {"DoNotCall", "Email", "HasOptedOutOfEmail", "Industry", "LeadSource", "Phone", "Title", "Website"},
    "Opportunity": {"AccountId", "Amount", "CampaignId", "Type"},
    "Task": {"ActivityDate", "Description", "Type", "WhatId", "WhoId"},
}
"""Standard fields that have it, as profiles retrieved from orgs list them."""


def test_what_the_destination_writes_may_be_written():
    _, may = granted("Winback_Integration")
    said = FeedbackRow(key="k", row_id="0035g00000XyZabAAF", at=NOW, title="They answered", text="…")
    written = {
        "Campaign": {"ParentId", *campaigns._campaign("winback · dormant_30")},
        "Task": set(feedback._values(said, said.row_id, "0055g00000UsErAAAV")),
    }
    for kind, names in written.items():
        assert len(names) > 4
        assert {f"{kind}.{name}" for name in names & SECURED[kind]} <= {
            name for name, editable in may.items() if editable
        }
        assert names - SECURED[kind] <= {"Name", "OwnerId", "Status", "Subject", KEY}
    assert not {name for name in may if name.startswith(("Task.", "Campaign."))} - {
        f"{kind}.{name}" for kind, names in written.items() for name in names
    }


@pytest.mark.parametrize("name", ["Winback_Viewer", "Winback_Privacy", "Winback_Call_Out"])
def test_the_other_permission_sets_open_no_more_than_their_purpose(name):
    root, may = granted(name)
    assert every(root, "userPermissions") == []
    asked_with = {f"{person}.{field}" for person in ("Contact", "Lead") for field in fields.request_fields()}
    assert {field for field, editable in may.items() if editable} == (asked_with if name == access.CALL_OUT else set())
    for one in every(root, "objectPermissions"):
        assert [text(one, may_do) for may_do in ("allowCreate", "allowDelete", "allowEdit", "modifyAllRecords")] == [
            "false"
        ] * 4


def test_links_that_act_for_a_person_are_shown_to_nobody():
    _, may = granted("Winback_Viewer")
    assert "Contact.Winback_Segment__c" in may and "Lead.Winback_Reason__c" in may
    assert not [name for name in may if "Link" in name or "Token" in name]


def test_list_views_and_the_report_show_what_people_may_see():
    _, may = granted("Winback_Viewer")
    for person in ("Contact", "Lead"):
        view = read(PROJECT / f"force-app/main/default/objects/{person}/listViews/Winback.listView-meta.xml")
        columns = {one.text for one in every(view, "columns")}
        shown = {column for column in columns if OURS.fullmatch(column)}
        assert shown and {f"{person}.{column}" for column in shown} <= may.keys()
        assert text(view, "label") == "Win-back"
    base = PROJECT / "force-app/main/default"
    offered = {
        f"{text(one, 'table')}${text(one, 'field')}"
        for one in every(read(base / "reportTypes/Winback_Campaign_Members.reportType-meta.xml"), "sections/columns")
    }
    report = read(base / "reports/Winback/Winback_Members_by_Status.report-meta.xml")
    used = {one.text for tag in ("field", "column", "dateColumn") for one in report.iter(f"{META}{tag}")}
    assert used <= offered
    assert text(report, "reportType") == "Winback_Campaign_Members__c"


@pytest.mark.parametrize("path", [*FILES, PROJECT / "sfdx-project.json"], ids=named)
def test_no_file_holds_a_secret_an_address_or_a_person(path):
    said = path.read_text(encoding="utf-8").replace("http://soap.sforce.com/2006/04/metadata", "")
    said = said.replace("https://login.salesforce.com", "")
    assert not re.search(r"https?://", said)
    assert not re.search(r"[\w.+-]+@[\w-]+\.\w+", said)
    # Ids, keys and tokens are long runs of letters and digits; names have words in them.
    assert not re.search(r"\b(?=\w*\d)(?=\w*[a-z])(?=\w*[A-Z])[A-Za-z0-9]{15,}\b", said)

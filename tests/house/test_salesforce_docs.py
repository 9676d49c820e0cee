"""What the pages for Salesforce administrators say can be typed, clicked and found as it stands there."""

from __future__ import annotations

import re
from importlib import import_module

import pytest
import typer
import yaml

from connector.settings import load_playbook
from connector.wanted import program_list_name
from deploy.salesforce import generate
from tests.fakes.salesforce_flows import PROJECT, every, flow_files, read, text
from webhooks.salesforce import RECEIVER

ROOT = PROJECT.parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "docs/salesforce.md", PROJECT / "README.md")
}
GUIDE = PAGES["docs/salesforce.md"]
BOTH = "\n".join(PAGES.values())


def blocks(language):
    """The code blocks of the guide in a language."""
    # Every other fence opens a block; what is between a block's end and the next one's beginning is prose.
    pieces = re.split(r"^```", GUIDE, flags=re.MULTILINE)[1::2]
    return [body for name, _, body in (piece.partition("\n") for piece in pieces) if name == language]


def labels():
    """What people read of everything in the project that has a name on the screen."""
    found = {}
    for path in PROJECT.rglob("*-meta.xml"):
        root = read(path)
        found.setdefault(text(root, "label") or text(root, "name"), path)
    return found


def typed_lines():
    """The lines of code blocks, as they are typed."""
    return [line for block in blocks("") for line in block.splitlines()]


def test_every_command_is_one_of_winbacks():
    from connector.cli.main import app

    group = typer.main.get_command(app)
    typed = {
        words.strip()
        for words in re.findall(
            r"`winback ([a-z]+(?: [a-z]+)?)", "".join(f"`{line}" for line in typed_lines()) + GUIDE, flags=re.MULTILINE
        )
    }
    assert len(typed) > 8
    for words in typed:
        first, *rest = words.split()
        command = group.commands[first]
        inside = getattr(command, "commands", None)
        assert inside is None or rest[0] in inside, words


def test_every_folder_that_is_deployed_is_there():
    named = re.findall(r"--source-dir ([\w-]+)", BOTH)
    assert set(named) == generate.PACKAGES.keys()
    assert all(f"| `{package}` |" in PAGES["deploy/salesforce/README.md"] for package in generate.PACKAGES)
    for manifest in re.findall(r"manifest/[\w-]+\.xml", BOTH):
        assert (PROJECT / manifest).is_file()


@pytest.mark.parametrize("word", [word for _, word in generate.REPLACED])
def test_what_is_replaced_while_it_is_sent_is_explained(word):
    assert f"| `{word}` |" in PAGES["deploy/salesforce/README.md"]
    assert re.search(rf"export .*\b{word}=", GUIDE)


@pytest.mark.parametrize(
    "label",
    ["Winback Integration", "Winback Viewer", "Winback Call Out", "Winback Member Send At", "Winback Step Mail",
     "Winback Evaluate", "Winback Exit", "Win-back", "Win-back: members by status", "Winback request",
     "Winback request: days", "Winback request: answer", "Winback segment", "Winback step", "Winback last active"],
)  # fmt: skip
def test_what_the_guide_tells_to_look_for_is_called_so(label):
    assert label in labels()
    assert re.search(rf"\*{re.escape(label)}\*|\*{re.escape(label)}, ", GUIDE), label


def test_permission_sets_are_assigned_by_their_names():
    there = {path.name.split(".")[0] for path in PROJECT.rglob("*.permissionset-meta.xml")}
    assert set(re.findall(r"--name (\w+)", GUIDE)) | {"Winback_Privacy"} <= there
    assert set(re.findall(r"`(Winback_\w+)`", GUIDE)) <= there | flow_files().keys() | {"Winback_Last_Active_At__c"}


def test_the_playbook_of_the_guide_loads(tmp_path):
    parts = [yaml.safe_load(block) for block in blocks("yaml")]
    whole = {"version": 1, "account": "acme", "segments": [{"name": "dormant_30", "where": "inactive_days >= 30"}]}
    for part in parts:
        whole |= part
    told = whole["webhooks"]["sources"]["salesforce"]
    told |= {"org_id": "00D5g000004abCD", "integration_user": "0055g00000UsErA"}
    file = tmp_path / "winback.yaml"
    file.write_text(yaml.safe_dump(whole, allow_unicode=True))
    environ = {
        "SF_CLIENT_ID": "an-id",
        "SF_CLIENT_SECRET": "a-secret",
        "SF_SECRET": "f1" * 24,
        "SF_TOKEN": "f1c2d3e4b5a697887766554433221100",
    }
    adapters = {"salesforce": import_module("adapters.salesforce").ADAPTER}
    playbook = load_playbook(file, environ=environ, adapters=adapters, receivers={"salesforce": RECEIVER})
    source = playbook.sources["crm"]
    assert source.url == "https://acme--uat.sandbox.my.salesforce.com"
    assert source.auth["client_secret"].get_secret_value() == "a-secret"
    assert playbook.destinations["crm"].options.url == source.url
    assert playbook.webhooks.sources.keys() == {"salesforce"}


def test_the_guides_campaign_is_the_one_the_example_listens_to():
    flow = flow_files()["Winback_Step_Mail"]
    name = program_list_name("win-back", "reminder")
    assert f"`{name}`" in GUIDE
    assert any(name in (text(one, "expression") or "") for one in every(read(flow), "formulas"))


def test_nothing_on_the_pages_is_a_secret_or_somebodys():
    assert not re.search(r"[\w.+-]+@[\w-]+\.\w+", BOTH)
    assert not re.search(r"\b(?=\w*\d)(?=\w*[a-z])(?=\w*[A-Z])[A-Za-z0-9]{15,}\b", BOTH)

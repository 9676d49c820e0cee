"""Salesforce's own library reads the project: what `sf project deploy start` would send is what we mean.

The library comes from npm by the lock in tests/npm/salesforce and is kept in the temp folder, so that it is fetched once
a machine. Without node, npm or a registry the tests are skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from deploy.salesforce import generate
from tests.fakes.salesforce_flows import META, PROJECT, every, read, text
from tests.fakes.salesforce_types import problems

TOOL = Path(__file__).parents[1] / "npm" / "salesforce"
OFFLINE = re.compile(
    r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT|E[45]\d\d)\b"
)
GIVEN = {
    "WINBACK_URL": "https://winback.example.com",
    "WINBACK_OUTBOUND_URL": "https://winback.example.com/webhooks/salesforce/a-token",
    "WINBACK_INTEGRATION_USER": "integration.user",
}
PLAIN = [name for name in generate.PACKAGES if name != "outbound-messages"]


@pytest.fixture(scope="module")
def tool() -> Path:
    """The folder with the library and our script that asks it."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} is not installed: Salesforce's own library cannot be asked")
    lock = b"".join((TOOL / name).read_bytes() for name in ("package.json", "package-lock.json"))
    kept = Path(tempfile.gettempdir()) / f"winback-npm-{os.getuid()}-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not kept.is_dir():
        fresh = Path(tempfile.mkdtemp(prefix="winback-npm-"))
        for name in ("package.json", "package-lock.json"):
            shutil.copy(TOOL / name, fresh)
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=fresh, capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        if done.returncode:
            shutil.rmtree(fresh)
            why = OFFLINE.search(done.stderr)
            assert why, done.stderr[-2_000:]
            pytest.skip(f"the npm registry cannot be reached ({why[0]}): Salesforce's own library cannot be asked")
        try:
            fresh.rename(kept)
        except OSError:
            # Another test process was first.
            shutil.rmtree(fresh)
    return kept


@pytest.fixture(scope="module")
def types(tool) -> Path:
    """Salesforce's description of every metadata type; it comes with the library."""
    return tool / "node_modules" / "@salesforce" / "types" / "lib" / "metadata.d.ts"


def ask(tool: Path, project: Path, out: Path, environ=GIVEN):
    # node looks for libraries beside the script.
    script = shutil.copy(TOOL / "read.mjs", tool / f"read-{os.getpid()}.mjs")
    return subprocess.run(
        ["node", script, project, out],
        env={"PATH": os.environ["PATH"], "HOME": str(out.parent), "TMPDIR": str(out.parent), **environ},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def answer(tool, tmp_path_factory):
    done = ask(tool, PROJECT, tmp_path_factory.mktemp("read") / "out")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def members(package):
    listed = read(PROJECT / generate.manifest_path(package))
    return sorted(
        f"{text(one, 'name')}:{member.text}" for one in every(listed, "types") for member in every(one, "members")
    )


def written(root):
    return {f"{text(one, 'name')}:{member.text}" for one in every(root, "types") for member in every(one, "members")}


@pytest.mark.parametrize("package", generate.PACKAGES)
def test_every_file_is_a_component_and_every_component_of_the_manifest_is_found(package, answer):
    told = answer[package]
    ours = {str(path) for path in (PROJECT / package).rglob("*") if path.is_file()}
    assert set(told["files"]) == ours
    assert told["missing"] == []
    assert len(told["listed"]) == len(members(package))


@pytest.mark.parametrize("package", PLAIN)
def test_a_manifest_is_the_one_the_library_would_write(package, answer):
    types = answer[package]["packageXml"]["Package"]["types"]
    assert sorted(f"{one['name']}:{member}" for one in types for member in one["members"]) == members(package)
    assert answer[package]["packageXml"]["Package"]["version"] == "66.0"


def test_of_the_workflows_only_the_messages_are_listed(answer):
    types = answer["outbound-messages"]["packageXml"]["Package"]["types"]
    found = {f"{one['name']}:{member}" for one in types for member in one["members"]}
    assert found - {"Workflow:Contact", "Workflow:Lead"} == set(members("outbound-messages"))


@pytest.mark.parametrize("package", generate.PACKAGES)
def test_what_is_sent_has_every_part_and_no_word_left_to_replace(package, answer):
    sent = Path(answer[package]["packagePath"])
    listed = written(fromstring((sent / "package.xml").read_text(encoding="utf-8")))
    assert set(members(package)) <= listed
    for path in sent.rglob("*"):
        if path.is_file():
            assert not [word for word in GIVEN if word in path.read_text(encoding="utf-8")], path
    fields = [one for one in members(package) if one.startswith("CustomField:")]
    inside = [
        f"CustomField:{path.stem}.{text(one, 'fullName')}"
        for path in sent.glob("objects/*.object")
        for one in every(read(path), "fields")
    ]
    assert sorted(inside) == fields


def test_the_address_and_the_user_are_put_in_while_it_is_sent(answer):
    credential = Path(answer["call-outs"]["packagePath"]) / "namedCredentials" / "Winback.namedCredential"
    assert f"<parameterValue>{GIVEN['WINBACK_URL']}</parameterValue>" in credential.read_text()
    for person in ("Contact", "Lead"):
        workflow = Path(answer["outbound-messages"]["packagePath"]) / "workflows" / f"{person}.workflow"
        (told,) = every(read(workflow), "outboundMessages")
        assert text(told, "endpointUrl") == GIVEN["WINBACK_OUTBOUND_URL"]
        assert text(told, "integrationUser") == GIVEN["WINBACK_INTEGRATION_USER"]
    assert {one.tag for one in read(credential)} >= {f"{META}label", f"{META}namedCredentialType"}


def test_who_forgot_the_address_is_told_its_name(tool, tmp_path):
    done = ask(tool, PROJECT, tmp_path / "out", {})
    assert done.returncode
    assert "WINBACK_URL" in done.stderr


def test_the_library_finds_what_is_wrong(tool, tmp_path):
    """These tests could fail: a manifest that names what is not there, a file that belongs to nothing."""
    broken = tmp_path / "project"
    shutil.copytree(PROJECT, broken)
    (broken / "force-app/main/default/flows/Winback_Step_Mail.flow-meta.xml").rename(
        broken / "force-app/main/default/flows/Winback_Other.flow-meta.xml"
    )
    done = ask(tool, broken, tmp_path / "out")
    told = json.loads(done.stdout)["force-app"]
    assert told["missing"] == ["Flow:Winback_Step_Mail"]
    assert "Flow:Winback_Other" in told["components"]


@pytest.mark.parametrize("path", sorted(PROJECT.rglob("*.xml")), ids=lambda path: str(path.relative_to(PROJECT)))
def test_a_file_is_of_the_shape_that_salesforce_describes(path, types):
    root = read(path)
    assert list(problems(types, root, root.tag.removeprefix(META))) == []


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("<status>Drafted</status>", "/status: 'Drafted' is no FlowVersionStatus"),
        ("<label>Again</label>", "/label: may be there once"),
        ("<mood>good</mood>", "/mood: Flow has no such element"),
        ("<isTemplate>maybe</isTemplate>", "/isTemplate: 'maybe' is no boolean"),
        ("<triggerOrder>first</triggerOrder>", "/triggerOrder: 'first' is no number"),
        ("<start><locationX>0</locationX></start>", "/start/locationY: is missing"),
        ("<formulas><name>x</name><expression><a/></expression></formulas>", "/formulas/expression: holds elements"),
    ],
)
def test_a_file_of_another_shape_is_told_from_it(broken, said, types):
    flow = f'<Flow xmlns="{META[1:-1]}"><label>One</label>{broken}</Flow>'
    assert any(problem.startswith(said) for problem in problems(types, fromstring(flow), "Flow"))


def test_the_lock_names_no_address():
    lock = (TOOL / "package-lock.json").read_text()
    assert "resolved" not in lock and "integrity" in lock
    assert not re.search(r"\"(https?|file|git\+?\w*):", re.sub(r'"(url|funding|homepage)":.*', "", lock))

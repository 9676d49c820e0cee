"""From nothing to a checked playbook, and what the files look like."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from connector.scaffold import crms, playbooks


@pytest.mark.parametrize("crm", ["hubspot", "salesforce"])
@pytest.mark.parametrize("name", ["saas", "developer-platform", "ecommerce", "open-source"])
def test_init_writes_a_playbook_that_loads(acme, tmp_path, name, crm):
    folder = tmp_path / name
    answers = ("--playbook", name, "--crm", crm, "--account", "initech", "--timezone", "Europe/Paris")
    done = acme.run("init", str(folder), *answers, now=None)
    assert done.code == 0, done.err
    assert {path.name for path in folder.iterdir()} == {"winback.yaml", "winback.schema.json", ".env.example"}
    wanted = [line.split("=")[0] for line in (folder / ".env.example").read_text().splitlines() if line.endswith("=")]
    values = {"SALESFORCE_DOMAIN": "acme.my.salesforce.com", "HUBSPOT_TOKEN": "sandbox-token"}
    acme.environment.update({name: values.get(name, "somewhere") for name in wanted})
    shown = acme.run("config", "show", "--json", "-c", str(folder / "winback.yaml"), now=None)
    assert shown.code == 0, shown.err
    settings = {s["key"]: s for s in shown.json["settings"]}
    assert settings["account"]["value"] == "initech"
    assert settings["timezone"]["value"] == "Europe/Paris"
    assert {settings[f"{part}.crm.adapter"]["value"] for part in ("sources", "destinations")} == {crm}
    assert "sandbox-token" not in shown.out


def test_the_playbooks_and_crms_offered_are_those_that_ship():
    from connector.cli.init import CRMS, PLAYBOOKS

    assert set(PLAYBOOKS) == set(playbooks())
    assert crms() == CRMS


def test_a_playbook_for_salesforce_names_no_other_crm(acme, tmp_path):
    done = acme.run("init", str(tmp_path / "mine"), "--crm", "salesforce", now=None)
    assert done.code == 0, done.err
    text = (tmp_path / "mine" / "winback.yaml").read_text()
    assert "hubapi" not in text and "HUBSPOT" not in text
    assert "SALESFORCE_CLIENT_SECRET=" in (tmp_path / "mine" / ".env.example").read_text()


def test_init_does_not_overwrite(acme, tmp_path):
    folder = tmp_path / "mine"
    assert acme.run("init", str(folder), now=None).code == 0
    (folder / "winback.yaml").write_text("mine\n")
    again = acme.run("init", str(folder), now=None)
    assert again.code == 2
    assert (folder / "winback.yaml").read_text() == "mine\n"


def test_a_misspelt_time_zone_is_refused_with_the_near_one(acme, tmp_path):
    done = acme.run("init", str(tmp_path / "x"), "--timezone", "Europe/Amsterdm", now=None)
    assert done.code == 2
    assert "Europe/Amsterdam" in done.err


def test_check_is_content_with_a_good_installation(acme):
    done = acme.run("check", "--json")
    assert done.code == 0, done.out
    severities = {finding["severity"] for finding in done.json["findings"]}
    assert "error" not in severities


def test_check_names_a_mapped_field_the_crm_does_not_have(acme):
    acme.write_playbook(("streams: [contacts, companies]}", "mapping: {contacts: {attributes.nps: no_such_property}}}"))
    done = acme.run("check")
    assert done.code == 0
    assert "warn  hubspot contacts.no_such_property" in done.out
    assert "no_such_property" in done.out


def test_check_names_the_missing_scope(acme, sandbox):
    sandbox.remove_scope("crm.lists.write")
    done = acme.run("check")
    assert done.code == 6
    assert "crm.lists.write" in done.out


def test_the_state_folder_is_for_its_owner_only(acme):
    acme.run("run")
    state = acme.folder / "state"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "journal.db").stat().st_mode) == 0o600


def test_the_schema_is_json_and_knows_the_adapters(acme):
    schema = json.loads(acme.run("config", "schema", now=None).out)
    text = json.dumps(schema)
    assert "segments" in text
    assert "hubspot" in text


def test_no_secret_and_no_address_reaches_a_log_a_plan_or_the_screen(acme, sandbox):
    acme.environment["WINBACK_DEBUG"] = "1"
    shown = []
    sandbox.poison(["1033"], "Email address person33@example.com is not allowed here")
    for arguments in (("check",), ("pull",), ("segments",), ("plan",), ("apply", "--yes"), ("status",), ("run",)):
        done = acme.run(*arguments)
        shown.append(done.out + done.err)
    plans = [path.read_text() for path in (acme.folder / "state" / "plans").glob("*.json")]
    undo = [path.read_text() for path in (acme.folder / "state" / "undo").iterdir()]
    everything = "\n".join([*shown, *plans, *undo])
    assert acme.token not in everything
    assert "person33@example.com" not in everything
    assert "@example.com" not in everything


def test_the_intruder_in_our_folders_is_named(tmp_path):
    from importlib.metadata import distributions

    import connector
    from connector.doctor import intruders

    ours = Path(connector.__file__).parents[1]
    site = tmp_path / "site"
    info = site / "adapters-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: adapters\nVersion: 1.0\n")
    (info / "RECORD").write_text("adapters/__init__.py,,\n")
    (site / "adapters").symlink_to(ours / "adapters")
    findings = list(intruders(distributions(path=[str(site)])))
    assert [finding.severity.value for finding in findings] == ["error"]
    assert "adapters 1.0" in findings[0].message


def test_check_notices_an_audit_log_that_somebody_edited(acme):
    import sqlite3

    assert acme.run("run").code == 0
    assert acme.run("check").code == 0
    with sqlite3.connect(acme.folder / "state" / "journal.db") as journal:
        journal.execute("UPDATE audit SET detail = replace(detail, 'run_id', 'ran_id') WHERE number = 1")
    journal.close()
    done = acme.run("check")
    assert done.code == 2
    assert "breaks at row 1" in done.out

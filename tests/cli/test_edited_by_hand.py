"""What people do in the CRM's own window between two runs: lists and properties deleted, renamed, archived."""

from __future__ import annotations

from datetime import datetime, timedelta

import requests

from tests.fakes.installation import NOON
from tests.fakes.people import TODAY

LIST = "winback · dormant_30"
REST_OF_30 = {str(1000 + number) for number in range(32, 40)}


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def by_hand(sandbox, method: str, path: str) -> None:
    headers = {"Authorization": f"Bearer {sandbox.auth['token']}"}
    requests.request(method, f"{sandbox.base_url}{path}", headers=headers, timeout=30).raise_for_status()


def list_id(sandbox, name: str = LIST) -> str:
    return sandbox.state()["lists"][name]["id"]


def somebody_comes_back(acme) -> None:
    acme.write_usage([("u31", TODAY.isoformat(), "editor")], name="usage-later.csv")


def test_a_list_deleted_by_hand_is_made_anew_by_the_run_after_the_one_that_found_out(acme, sandbox):
    acme.run("run")
    by_hand(sandbox, "DELETE", f"/crm/lists/2026-09/{list_id(sandbox)}")
    somebody_comes_back(acme)
    assert acme.run("run", now=at(1)).code == 3
    healed = acme.run("run", now=at(2))
    assert healed.code == 0, healed.err
    assert f"list {LIST}: it was deleted; it will be made anew" in healed.err
    assert set(sandbox.members_by_list()[LIST]) == REST_OF_30


def test_a_property_archived_by_hand_is_made_anew_by_the_run_after_the_one_that_found_out(acme, sandbox):
    acme.run("run")
    by_hand(sandbox, "DELETE", "/crm/properties/2026-09/contacts/winback_last_feature")
    somebody_comes_back(acme)
    assert acme.run("run", now=at(1)).code == 3
    healed = acme.run("run", now=at(2))
    assert healed.code == 0, healed.err
    assert "winback_last_feature: it was archived" in healed.err
    assert sandbox.properties_of("1032")["winback_last_feature"] == "editor"


def test_a_list_renamed_by_hand_is_kept_with_the_workflow_that_hangs_on_it(acme, sandbox):
    acme.run("run")
    by_hand(sandbox, "PUT", f"/crm/lists/2026-09/{list_id(sandbox)}/update-list-name?listName=My%20win-back")
    somebody_comes_back(acme)
    acme.run("pull", now=at(1))
    seen = acme.run("plan", "--refresh", "--json", now=at(1)).json
    assert seen["drift"] == [f"list {LIST}: it was renamed; winback goes on with it under its new name"]
    assert acme.run("apply", "--yes", now=at(1)).code == 0
    assert set(sandbox.members_by_list()["My win-back"]) == REST_OF_30
    assert LIST not in sandbox.members_by_list()


def test_a_list_deleted_after_its_segment_is_not_said_to_be_made_anew(acme, sandbox):
    acme.run("run")
    acme.write_playbook(("  - {name: leads, where: \"inactive_days >= 30 and role = 'team_lead'\"}\n", ""))
    by_hand(sandbox, "DELETE", f"/crm/lists/2026-09/{list_id(sandbox, 'winback · leads')}")
    seen = acme.run("plan", "--refresh", "--json", now=at(1)).json
    assert seen["drift"] == ["list winback · leads: it was deleted"]


def test_the_list_of_a_segment_that_left_the_playbook_is_emptied_and_that_is_shown(acme, sandbox):
    acme.run("run")
    acme.write_playbook(("name: dormant_60", "name: sleeping_60"))
    planned = acme.run("plan", now=at(1))
    shown = {line.split("  ")[1].strip(): line for line in planned.out.splitlines() if line.startswith("  winback · ")}
    assert "-9" in shown["winback · dormant_60"]
    assert "+9" in shown["winback · sleeping_60"]
    assert acme.run("apply", "--yes", now=at(1)).code == 0
    assert sandbox.members_by_list()["winback · dormant_60"] == []
    assert len(sandbox.members_by_list()["winback · sleeping_60"]) == 9
    assert sandbox.properties_of("1042")["winback_segment"] == "sleeping_60"

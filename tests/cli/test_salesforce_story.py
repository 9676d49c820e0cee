"""The main job beside a Salesforce org, as a user does it: run, see, refuse, drift, undo."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.fakes.installation import NOON, Installation
from tests.fakes.people import TODAY, usage
from tests.fakes.salesforce_crm import SalesforceCrm, person

WANTED = {
    "winback · dormant_30": set(range(1031, 1040)),
    "winback · dormant_60": set(range(1041, 1050)),
    "winback · dormant_90": set(range(1051, 1060)),
    "winback · leads": {1031, 1041, 1051},
}
WORDS = "Amount may not be empty for this record type"


@pytest.fixture
def org() -> Iterator[SalesforceCrm]:
    crm = SalesforceCrm()
    yield crm
    crm.stop()


@pytest.fixture
def acme(tmp_path, org) -> Installation:
    installed = org.installed(tmp_path / "acme")
    installed.write_usage(usage())
    return installed


def at(hours: float):
    return NOON + timedelta(hours=hours)


def test_a_run_fills_campaigns_and_fields_and_the_next_one_writes_nothing(acme, org):
    done = acme.run("run", "--json")
    assert done.code == 0, done.err
    assert org.members_by_list() == WANTED
    values = org.values()
    assert {number for number, held in values.items() if held} == set().union(*WANTED.values())
    assert values[1031]["winback_segment"] == "dormant_30;leads"
    calls = done.json["api_calls"]["crm"]
    again = acme.run("run", "--json", now=at(1)).json
    assert (again["written"], again["rejected"]) == (0, 0)
    assert again["api_calls"]["crm"] < calls
    assert org.made_twice() == []


def test_the_forecast_of_the_plan_is_what_the_apply_uses(acme):
    assert acme.run("pull").code == 0
    planned = acme.run("plan", "--json").json
    applied = acme.run("apply", "--yes", "--json")
    assert applied.code == 0, applied.err
    assert applied.json["api_calls"]["crm"] == planned["api_calls"]["crm"]


def test_undo_takes_members_off_and_clears_the_fields(acme, org):
    run_id = acme.run("run", "--json").json["run_id"]
    undone = acme.run("undo", run_id, "--yes", "--json", now=at(1))
    assert undone.code == 0, undone.err
    assert not any(org.members_by_list().values())
    assert not any(org.values().values())


def test_refused_rows_are_listed_in_salesforces_words_and_the_rest_is_written(acme, org):
    org.poison([1033, 1044], WORDS)
    done = acme.run("run", "--json")
    assert done.code == 3, done.err
    assert {refused["row_id"] for refused in done.json["rejections"]} == {person(1033), person(1044)}
    assert all(WORDS in refused["message"] for refused in done.json["rejections"])
    written = {number for number, held in org.values().items() if held}
    assert written == set().union(*WANTED.values()) - {1033, 1044}
    org.state.rules.poison.clear()
    healed = acme.run("run", "--json", now=at(1))
    assert healed.code == 0, healed.err
    assert {number for number, held in org.values().items() if held} == set().union(*WANTED.values())


def test_who_comes_back_or_opts_out_leaves_every_campaign_and_stays_in_it_as_exited(acme, org):
    acme.run("run")
    acme.write_usage([("u31", TODAY.isoformat(), "editor")], name="usage-later.csv")
    org.opt_out(1042)
    assert acme.run("run", now=at(1)).code == 0
    held = org.members_by_list()
    assert held["winback · dormant_30"] == WANTED["winback · dormant_30"] - {1031}
    assert held["winback · dormant_60"] == WANTED["winback · dormant_60"] - {1042}
    statuses = {
        row.values["Status"]
        for row in org.state.stores["CampaignMember"]
        if row.values["ContactId"] in {person(1031), person(1042)}
    }
    assert statuses == {"Exited"}


def test_what_a_person_changed_in_a_campaign_is_seen_and_put_right(acme, org):
    acme.run("run")
    with org.state.lock:
        campaign = next(r for r in org.state.stores["Campaign"] if r.values["Name"] == "winback · dormant_30")
        somebody = next(
            r
            for r in org.state.stores["CampaignMember"]
            if (r.values["CampaignId"], r.values["ContactId"]) == (campaign.id, person(1035))
        )
        org.state.delete(somebody.id)
        org.state.update(person(1036), {"Winback_Last_Feature__c": "by hand"})
    acme.run("pull", now=at(1))
    seen = acme.run("plan", "--refresh", "--json", now=at(1)).json
    assert seen["drift"] == [
        "list winback · dormant_30: 1 taken off, merged or deleted",
        "properties: the values of 1 contact were changed by others",
    ]
    assert acme.run("apply", "--yes", now=at(1)).code == 0
    assert org.members_by_list() == WANTED
    assert org.values()[1036]["winback_last_feature"] == "editor"


def test_a_campaign_deleted_by_hand_is_made_anew_by_the_run_after_the_one_that_found_out(acme, org):
    acme.run("run")
    with org.state.lock:
        campaign = next(r for r in org.state.stores["Campaign"] if r.values["Name"] == "winback · dormant_30")
        org.state.delete(campaign.id)
    acme.write_usage([("u31", TODAY.isoformat(), "editor")], name="usage-later.csv")
    assert acme.run("run", now=at(1)).code == 3
    healed = acme.run("run", now=at(2))
    assert healed.code == 0, healed.err
    assert org.members_by_list()["winback · dormant_30"] == WANTED["winback · dormant_30"] - {1031}


def test_check_is_content_and_says_what_is_missing_when_the_package_was_not_deployed(acme, org):
    fine = acme.run("check", "--json")
    assert fine.code == 0, fine.out
    with org.state.lock:
        for kind in ("Contact", "Lead"):
            org.state.drop_field(kind, "Winback_Segment__c")
    missing = acme.run("check", "--json")
    assert missing.code != 0
    said = [one for one in missing.json["findings"] if one["severity"] == "error"]
    assert [one["message"] for one in said] == ["the playbook needs, and crm lacks: winback_segment"]
    assert "deploy" in said[0]["fix"]


def test_the_demo_is_told_in_salesforce_too(acme, tmp_path):
    folder = tmp_path / "demo"
    few = ("--contacts", "20", "--days", "1", "--folder", str(folder))
    told = acme.spawn("demo", "--crm", "salesforce", *few, now=None)
    assert told.code == 0, told.err
    assert "A local look-alike of Salesforce" in told.out
    assert len([line for line in told.out.splitlines() if " mails  " in line]) == 1
    page = (folder / "crm.html").read_text()
    assert "Campaigns" in page and "winback · win-back · reminder" in page

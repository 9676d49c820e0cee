"""The control API: looking into the sandbox and turning its knobs from another process."""

from __future__ import annotations

import json

import pytest

from adapters.salesforce.ids import record_id
from tests.fakes.salesforce_org import contacts, running

LIST = "winback · dormant_30"


@pytest.fixture
def org():
    with running(20, leads=3) as held:
        yield held


def update(org, person, **values):
    kind = "Lead" if person.startswith("00Q") else "Contact"
    record = {"attributes": {"type": kind}, "id": person, **values}
    (result,) = org.patch("/composite/sobjects", {"allOrNone": False, "records": [record]}).json()
    if "errorCode" in result:
        return result["errorCode"]
    return "" if result["success"] else result["errors"][0]["statusCode"]


def refused(org, path, body):
    answer = org.session.post(f"{org.sandbox.base_url}/_sandbox/{path}", json=body, timeout=10)
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


def test_the_state_counts_what_there_is_and_lists_it_in_full(org):
    told = org.control("state", method="GET")
    assert told["records"]["Contact"] == 20 and told["records"]["Lead"] == 3 and told["mails"] == 0
    assert "rows" not in told
    full = org.control("state?full=1", method="GET")
    assert sorted(full["rows"]["Contact"]) == sorted(contacts(*range(1, 21)))


def test_the_clock_can_be_moved_and_stopped(org):
    assert org.control("clock", method="GET") == {"now": "2026-11-21T12:00:00+00:00", "frozen": True}
    assert org.control("clock", {"advance_seconds": 3600})["now"] == "2026-11-21T13:00:00+00:00"
    assert org.control("clock", {"set": "2026-12-01T00:00:00", "frozen": True})["now"] == "2026-12-01T00:00:00+00:00"
    assert org.control("clock", {"frozen": False})["frozen"] is False


def test_moving_the_clock_finishes_jobs(org):
    job = org.query("SELECT Id FROM Contact")
    org.control("clock", {"advance_seconds": 60})
    assert [one["state"] for one in org.control("jobs", method="GET")["jobs"] if one["id"] == job] == ["JobComplete"]


def test_behaviour_is_read_and_changed_and_an_unknown_name_is_refused(org):
    assert org.control("behaviour", {"bulk_polls": 7})["bulk_polls"] == 7
    assert org.control("behaviour", method="GET")["bulk_polls"] == 7
    assert "moods" in refused(org, "behaviour", {"moods": True})


def test_a_spent_allowance_refuses_calls_and_not_knobs(org):
    org.control("limits", {"daily_max": 100, "daily_used": 100})
    answer = org.get("/limits")
    assert answer.status_code == 403 and answer.json()[0]["errorCode"] == "REQUEST_LIMIT_EXCEEDED"
    told = org.control("limits", {"enforced": False})
    assert told["DailyApiRequests"]["Remaining"] == 0 and told["enforced"] is False
    assert org.get("/limits").status_code == 200


def test_faults_are_put_in_force_and_taken_away(org):
    told = org.control("faults", {"seed": 1, "faults": [{"kind": "error", "status": 503, "path": "/limits"}]})
    assert told["faults"][0]["kind"] == "error" and "timeouts" in told["switches"]
    assert org.get("/limits").status_code == 503
    assert org.control("faults", method="DELETE") == {"faults": []}
    assert org.get("/limits").status_code == 200
    assert len(org.control("faults", {"switches": ["resets", "locks"]})["faults"]) == 2
    assert org.state.locks.probability > 0
    assert "no fault kind" in refused(org, "faults", {"faults": [{"kind": "gremlin"}]})


def test_webhook_faults_are_switched_on_for_what_is_sent(org):
    org.control("faults", {"switches": ["webhook_duplicates", "webhook_disorder"]})
    told = org.control("outbound", method="GET")
    assert told["duplicates"] > 0 and told["disorder_seconds"] > 0


def test_poison_refuses_a_record_in_the_orgs_words(org):
    one, two = contacts(1, 2)
    org.control("poison", {"ids": ["1"], "message": "Frozen by finance", "on": "record"})
    assert update(org, one, Title="x") == "FIELD_CUSTOM_VALIDATION_EXCEPTION" and update(org, two, Title="x") == ""
    assert org.control("records/edit", {"id": one, "values": {"Title": "By hand"}}) == {"id": one}
    assert org.row(one)["Title"] == "By hand" and one in org.control("poison", method="GET")["poison"]
    assert org.control("poison", {"clear": True}) == {"poison": {}} and update(org, one, Title="x") == ""


def test_validation_and_duplicate_rules_hold_for_everybody(org):
    org.control(
        "rules",
        {
            "validations": [{"sobject": "Contact", "field": "Title", "message": "No clowns", "equals": "Clown"}],
            "duplicates": [{"sobject": "Contact", "field": "Email", "blocks": True}],
        },
    )
    assert update(org, contacts(1)[0], Title="Clown") == "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    assert update(org, contacts(1)[0], Email="person2@example.com") == "DUPLICATES_DETECTED"
    assert org.control("rules", {"clear": True})["validations"] == []
    assert update(org, contacts(1)[0], Title="Clown") == ""


def test_a_stuck_record_refuses_as_often_as_asked(org):
    (one,) = contacts(1)
    org.control("locks", {"stuck": {one[:15]: 2}})
    assert [update(org, one, Title=str(n)) for n in range(3)] == ["UNABLE_TO_LOCK_ROW", "UNABLE_TO_LOCK_ROW", ""]
    org.control("locks", {"probability": 1.0, "in_triggers": True})
    assert update(org, one, Title="x") == "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
    assert org.control("locks", {"clear": True})["refused"] == 3 and update(org, one, Title="x") == ""


def test_access_takes_fields_objects_and_the_package_away(org):
    org.control("access", {"hidden": ["Contact.HasOptedOutOfEmail"], "denied": ["Campaign.create"]})
    answer = org.get("/query", params={"q": "SELECT HasOptedOutOfEmail FROM Contact"})
    assert answer.json()[0]["errorCode"] == "INVALID_FIELD"
    body = {"records": [{"attributes": {"type": "Campaign"}, "Name": "x"}]}
    assert org.post("/composite/sobjects", body).json()[0]["success"] is False
    org.control("access", {"package": False, "hidden": [], "denied": []})
    assert update(org, contacts(1)[0], Winback_Step__c="x") == "INVALID_FIELD"
    org.control("access", {"package": True})
    assert update(org, contacts(1)[0], Winback_Step__c="x") == ""


def test_sessions_end_when_told(org):
    assert org.get("/limits").status_code == 200
    org.control("access", {"sessions": "expire"})
    answer = org.get("/limits")
    assert answer.status_code == 401 and answer.json()[0]["errorCode"] == "INVALID_SESSION_ID"


def test_records_are_made_merged_deleted_and_restored_by_hand(org):
    record = {"Id": record_id("Contact", 777), "LastName": "Hand", "Email": "hand@example.com"}
    assert org.control("records", {"object": "contact", "records": [record]})["ids"] == [record_id("Contact", 777)]
    assert org.control("records/merge", {"primary": "1", "others": ["2", "777"]})["id"] == contacts(1)[0]
    with org.state.lock:
        assert org.state.row(contacts(2)[0]).values["MasterRecordId"] == contacts(1)[0]
    assert org.control("records/delete", {"ids": ["3", "4"]})["deleted"] == contacts(3, 4)
    assert org.control("records/restore", {"ids": ["3"]})["restored"] == contacts(3)
    org.control("records/delete", {"ids": ["4"], "for_good": True})
    assert "there is no record 4" in refused(org, "records/restore", {"ids": ["4"]})
    assert "merged" in refused(org, "records/restore", {"ids": ["2"]})
    assert refused(org, "records", {"object": "Nobody", "records": []}) == "there is no kind of record 'Nobody'"
    assert "No such column" in refused(org, "records/edit", {"id": "1", "values": {"Nothing__c": 1}})


def test_a_lead_is_converted_into_a_contact_of_an_account(org):
    made = org.control("leads/convert", {"lead": record_id("Lead", 1)})
    lead = org.row(record_id("Lead", 1))
    assert lead["IsConverted"] and lead["ConvertedContactId"] == made["Contact"]
    assert org.row(made["Contact"])["AccountId"] == made["Account"]
    assert refused(org, "leads/convert", {"lead": record_id("Lead", 1)})


def test_members_join_leave_and_are_deleted_by_hand(org):
    (campaign,) = org.control("records", {"object": "Campaign", "records": [{"Name": LIST}]})["ids"]
    told = org.control("members", {"campaign": LIST, "add": ["1", "2", record_id("Lead", 1)], "status": "dormant_30"})
    assert told["members"] == 3 and told["campaign"] == campaign
    assert org.control("members", {"campaign": campaign, "remove": ["1"]})["members"] == 2
    assert org.control("members", {"campaign": LIST, "remove": ["2", "9"], "delete": True})["members"] == 1
    with org.state.lock:
        statuses = {row.values["Status"] for row in org.state.stores["CampaignMember"]}
    assert statuses == {"dormant_30", "Exited"}
    assert refused(org, "members", {"campaign": "nobody", "add": []})


def test_the_log_counts_calls_and_hides_addresses(org):
    org.get("/query", params={"q": "SELECT Id FROM Contact WHERE Email = 'person1@example.com'"})
    told = org.control("log?limit=1", method="GET")
    assert told["by_kind"]["queries"] == 1 and len(told["entries"]) == 1
    assert "person1@example.com" not in json.dumps(told) and "person1%40example.com" not in json.dumps(told)
    assert org.control("log", method="DELETE") == {"total": 0}


def test_a_reset_forgets_everything_but_the_clock(org):
    org.control("records", {"object": "Campaign", "records": [{"Name": LIST}]})
    org.control("flows", {"name": "F", "campaign": LIST, "steps": [{"mail": "x"}]})
    org.control("members", {"campaign": LIST, "add": ["1"]})
    org.query("SELECT Id FROM Contact")
    told = org.control("reset", {})
    assert told["records"]["Contact"] == told["records"]["Campaign"] == told["records"]["FlowDefinitionView"] == 0
    assert org.control("flows", method="GET")["flows"] == org.control("jobs", method="GET")["jobs"] == []
    assert org.sandbox.mails() == [] and org.control("log", method="GET")["total"] == 0
    assert org.control("clock", method="GET")["now"].startswith("2026-11-21T12:00")


def test_an_unknown_knob_is_a_404_that_lists_the_known_ones(org):
    answer = org.session.get(f"{org.sandbox.base_url}/_sandbox/moon", timeout=10)
    assert answer.status_code == 404 and "clock" in answer.json()["known"]
    assert "Error" in refused(org, "records/edit", {})

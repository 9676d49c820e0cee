"""Flows of the sandbox: what starts and ends them, the mails they send, the records the org keeps of it."""

from __future__ import annotations

import pytest

from adapters.salesforce.ids import record_id
from connector.contracts import Rehearsal
from connector.errors import SettingError
from tests.fakes.salesforce_org import contacts, running

DAY = 86_400
LIST = "winback · win-back · reminder"


@pytest.fixture
def org():
    with running(12, leads=2) as held:
        held.control("records", {"object": "Campaign", "records": [{"Name": LIST, "IsActive": True}]})
        yield held


def join(org, *people, status="reminder"):
    return org.control("members", {"campaign": LIST, "add": list(people), "status": status})


def leave(org, *people, **how):
    return org.control("members", {"campaign": LIST, "remove": list(people), **how})


def mails(org, **query):
    rest = "&".join(f"{name}={value}" for name, value in query.items())
    return org.control(f"mails?{rest}", method="GET")["mails"]


def interviews(org, flow, **query):
    rest = "".join(f"&{name}={value}" for name, value in query.items())
    return org.control(f"interviews?flow={flow}{rest}", method="GET")["interviews"]


def found(org, kind, **values):
    with org.state.lock:
        return [row for row in org.state.stores[kind] if all(row.values.get(n) == v for n, v in values.items())]


# --- what starts and ends a flow ---


def test_the_sandbox_is_a_rehearsal(org):
    assert isinstance(org.sandbox, Rehearsal)


def test_joining_the_campaign_starts_the_flow_and_who_left_gets_no_mail(org):
    one, two = contacts(1, 2)
    org.control("records/edit", {"id": one, "values": {"Winback_Send_At__c": "2026-11-23T09:00:00Z"}})
    org.control("records/edit", {"id": two, "values": {"Winback_Send_At__c": "2026-11-23T09:00:00Z"}})
    org.sandbox.workflow(LIST, "win-back: reminder", wait_until="winback_send_at")
    join(org, one, two)
    assert list(org.sandbox.mails()) == []
    leave(org, two)
    org.sandbox.advance(3 * DAY)
    (mail,) = org.sandbox.mails()
    assert (mail.number, mail.contact_id, mail.name, mail.sent) == (1, one, "win-back: reminder", True)
    assert mail.at.isoformat() == "2026-11-23T09:00:00+00:00"
    assert {one["ended_as"] for one in interviews(org, "win_back_reminder")} == {"completed", "left"}


def test_a_moment_on_the_membership_itself_wins(org):
    org.control("records/edit", {"id": contacts(1)[0], "values": {"Winback_Send_At__c": "2026-11-30T09:00:00Z"}})
    org.sandbox.workflow(LIST, "win-back: reminder", wait_until="winback_send_at")
    campaign = found(org, "Campaign", Name=LIST)[0].id
    member = {"CampaignId": campaign, "ContactId": contacts(1)[0], "Winback_Send_At__c": "2026-11-22T09:00:00Z"}
    org.control("records", {"object": "CampaignMember", "records": [member]})
    org.sandbox.advance(DAY)
    assert [mail.at.isoformat() for mail in org.sandbox.mails()] == ["2026-11-22T09:00:00+00:00"]


def test_a_moment_that_has_passed_or_is_not_set_waits_no_time(org):
    org.sandbox.workflow(LIST, "win-back: reminder", wait_until="winback_send_at")
    org.control("records/edit", {"id": contacts(2)[0], "values": {"Winback_Send_At__c": "2026-11-01T09:00:00Z"}})
    join(org, *contacts(1, 2))
    assert len(org.sandbox.mails()) == 2


def test_a_deleted_membership_ends_the_interview(org):
    org.control("flows", {"name": "Late", "campaign": LIST, "steps": [{"wait_days": 2}, {"mail": "Late"}]})
    join(org, *contacts(1, 2, 3))
    leave(org, *contacts(1), delete=True)
    org.control("records/delete", {"ids": contacts(2)})
    org.sandbox.advance(3 * DAY)
    assert [mail["person"] for mail in mails(org)] == contacts(3)
    assert sorted(one["ended_as"] for one in interviews(org, "Late")) == ["completed", "deleted", "deleted"]


def test_coming_back_starts_it_again_and_staying_does_not(org):
    org.sandbox.workflow(LIST, "win-back: reminder")
    join(org, *contacts(1))
    join(org, *contacts(1), status="opened")  # still a member: nothing starts
    assert len(mails(org)) == 1
    leave(org, *contacts(1))
    join(org, *contacts(1))
    assert len(mails(org)) == 2


def test_a_flow_may_listen_to_one_status_only(org):
    org.control("flows", {"name": "Offer", "campaign": LIST, "status": "offer", "steps": [{"mail": "Offer"}]})
    join(org, *contacts(1), status="reminder")
    assert mails(org) == []
    join(org, *contacts(1), status="offer")
    assert len(mails(org)) == 1


def test_a_flow_made_late_is_run_for_those_who_are_members(org):
    join(org, *contacts(1, 2))
    leave(org, *contacts(2))
    first = org.sandbox.workflow(LIST, "win-back: reminder")
    assert [mail.contact_id for mail in org.sandbox.mails()] == contacts(1)
    assert org.sandbox.workflow(LIST, "win-back: reminder") == first and len(org.sandbox.mails()) == 1


def test_a_record_triggered_flow_by_itself_sees_changes_only(org):
    join(org, *contacts(1))
    org.control("flows", {"name": "Offer", "campaign": LIST, "steps": [{"mail": "Offer"}]})
    assert mails(org) == []


def test_a_campaign_that_is_not_there_is_named(org):
    with pytest.raises(SettingError, match="no campaign 'winback · nobody'"):
        org.sandbox.workflow("winback · nobody", "mail")


def test_a_field_on_contact_or_lead_starts_a_flow_and_clearing_it_ends_it(org):
    for kind in ("Contact", "Lead"):
        org.control(
            "flows",
            {
                "name": f"Winback {kind}",
                "object": kind,
                "conditions": [{"field": "Winback_Enrollment__c", "value": "winback_flow"}],
                "steps": [{"wait_days": 1}, {"mail": "Hello"}],
            },
        )
    one, two, lead = *contacts(1, 2), record_id("Lead", 1)
    for person in (one, two, lead):
        record = {"attributes": {"type": "Lead" if person == lead else "Contact"}, "id": person}
        body = {"allOrNone": False, "records": [{**record, "Winback_Enrollment__c": "Winback_Flow"}]}
        assert org.patch("/composite/sobjects", body).json()[0]["success"]
    org.control("records/edit", {"id": two, "values": {"Winback_Enrollment__c": None}})
    org.control("records/edit", {"id": one, "values": {"Title": "still in it"}})
    org.sandbox.advance(2 * DAY)
    assert sorted(mail["person"] for mail in mails(org)) == sorted([lead, one])
    assert interviews(org, "Winback_Contact", person=two)[0]["ended_as"] == "left"


def test_flows_that_are_late_see_what_holds_by_then(org):
    org.control("behaviour", {"flow_lag_seconds": 20})
    org.control("flows", {"name": "Offer", "campaign": LIST, "steps": [{"mail": "Offer"}]})
    join(org, *contacts(1, 2))
    leave(org, *contacts(2))
    assert mails(org) == []
    org.sandbox.advance(30)
    assert contacts(1)[0] in [mail["person"] for mail in mails(org)]


def test_a_flow_switched_off_starts_no_more_and_who_waits_inside_goes_on(org):
    org.control("flows", {"name": "Late", "campaign": LIST, "steps": [{"wait_days": 1}, {"mail": "Late"}]})
    join(org, *contacts(1))
    assert org.control("flows/switch", {"flow": "Late", "active": False})["active"] is False
    join(org, *contacts(2))
    org.sandbox.advance(2 * DAY)
    assert [mail["person"] for mail in mails(org)] == contacts(1)


def test_a_deleted_flow_stops_who_waits_in_it(org):
    org.control("flows", {"name": "Late", "campaign": LIST, "steps": [{"wait_days": 1}, {"mail": "Late"}]})
    join(org, *contacts(1))
    org.control("flows/switch", {"flow": "Late", "delete": True})
    org.sandbox.advance(2 * DAY)
    assert mails(org) == [] and org.control("flows", method="GET")["flows"] == []


def test_a_merge_leaves_the_membership_in_the_flow_and_mails_the_winner(org):
    org.control("flows", {"name": "Late", "campaign": LIST, "steps": [{"wait_days": 1}, {"mail": "Late"}]})
    join(org, *contacts(2))
    org.control("records/merge", {"primary": contacts(1)[0], "other": contacts(2)[0]})
    org.sandbox.advance(2 * DAY)
    assert [mail["person"] for mail in mails(org)] == contacts(1)


def test_steps_decide_write_and_make_tasks(org):
    org.control(
        "flows",
        {
            "name": "Steps",
            "campaign": LIST,
            "steps": [
                {
                    "if": {"field": "Title", "value": "CTO"},
                    "then": [{"set": {"Winback_Offer__c": "discount"}}, {"task": "Call them"}],
                    "else": [{"status": "skipped"}],
                }
            ],
        },
    )
    org.control("records/edit", {"id": contacts(2)[0], "values": {"Title": "Intern"}})
    join(org, *contacts(1, 2))
    assert org.row(contacts(1)[0])["Winback_Offer__c"] == "discount"
    (task,) = found(org, "Task", Subject="Call them")
    assert task.values["WhoId"] == contacts(1)[0] and task.values["Status"] == "Not Started"
    (member,) = found(org, "CampaignMember", ContactId=contacts(2)[0])
    assert member.values["Status"] == "skipped" and "Winback_Offer__c" not in org.row(contacts(2)[0])


def test_a_refused_write_ends_the_interview_in_a_fault(org):
    steps = [{"set": {"Winback_Offer__c": "discount"}}, {"mail": "Offer"}]
    org.control("flows", {"name": "Offer", "campaign": LIST, "steps": steps})
    org.control("poison", {"ids": contacts(1), "message": "Frozen by finance", "on": "record"})
    join(org, *contacts(1))
    (one,) = interviews(org, "Offer")
    assert one["ended_as"] == "faulted" and "Frozen by finance" in one["fault"] and mails(org) == []


def test_what_no_flow_can_be_made_of_is_refused(org):
    for body in (
        {"name": "x", "steps": [{"jump": 1}]},
        {"name": "x", "object": "Nobody"},
        {"name": "x", "object": "Contact", "when": "Delete"},
        {"name": "x", "object": "Contact", "conditions": [{"field": "Nothing__c"}]},
        {"name": "x", "object": "Contact", "conditions": [{"field": "Title", "operator": "Rhymes"}]},
        {"name": "x", "campaign": "winback · nobody"},
    ):
        answer = org.session.post(f"{org.sandbox.base_url}/_sandbox/flows", json=body, timeout=10)
        assert answer.status_code == 400 and answer.json()["error"], body


# --- flows over the API ---


def test_only_active_autolaunched_flows_are_actions(org):
    org.control("flows", {"name": "Triggered", "campaign": LIST, "steps": []})
    org.control("flows", {"name": "Sleeping", "steps": [], "active": False})
    org.control("flows", {"name": "Run me", "steps": [{"mail": "Now"}], "answers": {"told": "yes"}})
    (action,) = org.get("/actions/custom/flow").json()["actions"]
    assert action == {
        "label": "Run me",
        "name": "Run_me",
        "type": "FLOW",
        "url": "/services/data/v66.0/actions/custom/flow/Run_me",
    }
    assert org.get("/actions/custom/flow/Run_me").json()["outputs"][1]["name"] == "told"
    assert org.get("/actions/custom/flow/Triggered").status_code == 404
    soql = "SELECT ApiName, IsActive, TriggerType FROM FlowDefinitionView WHERE IsActive = true ORDER BY ApiName"
    views = org.get("/query", params={"q": soql}).json()["records"]
    assert [(one["ApiName"], one["TriggerType"]) for one in views] == [
        ("Run_me", None),
        ("Triggered", "RecordAfterSave"),
    ]


def test_a_flow_is_run_for_each_input_and_one_bad_input_is_a_400_with_every_result(org):
    org.control("flows", {"name": "Run me", "steps": [{"mail": "Now"}], "answers": {"told": "yes"}})
    one, two = contacts(1, 2)
    answer = org.post("/actions/custom/flow/Run_me", {"inputs": [{"contactId": one}, {"recordId": two}]})
    assert answer.status_code == 200
    assert [result["outputValues"]["Flow__InterviewStatus"] for result in answer.json()] == ["Finished", "Finished"]
    assert answer.json()[0]["outputValues"]["told"] == "yes" and answer.json()[0]["errors"] is None
    answer = org.post(
        "/actions/custom/flow/Run_me", {"inputs": [{"contactId": record_id("Contact", 999)}, {"contactId": one}]}
    )
    assert answer.status_code == 400 and [result["isSuccess"] for result in answer.json()] == [False, True]
    assert answer.json()[0]["errors"][0]["statusCode"] == "INVALID_API_INPUT"
    assert [mail["person"] for mail in mails(org)] == [one, two, one]
    org.control("access", {"permissions": ["ApiEnabled"]})
    assert org.get("/actions/custom/flow").status_code == 403


# --- mails and what people do ---


def mailed(org, *people):
    org.control("flows", {"name": "Mail", "campaign": LIST, "steps": [{"mail": "Come back"}]})
    join(org, *people)


def test_a_mail_is_kept_as_email_message_relation_and_closed_task(org):
    mailed(org, *contacts(1), record_id("Lead", 1))
    for number, person in enumerate((contacts(1)[0], record_id("Lead", 1)), 1):
        (relation,) = found(org, "EmailMessageRelation", RelationId=person)
        message = org.row(relation.values["EmailMessageId"])
        assert message["Subject"] == "Come back" and message["Status"] == "3" and not message.get("Incoming")
        task = org.row(message["ActivityId"])
        assert (task["WhoId"], task["TaskSubtype"], task["Status"]) == (person, "Email", "Completed")
        assert org.row(person)["LastActivityDate"] == "2026-11-21"
        assert mails(org, person=person)[0]["number"] == number


@pytest.mark.parametrize(
    ("values", "result"),
    [
        ({"HasOptedOutOfEmail": True}, "opted out"),
        ({"EmailBouncedDate": "2026-11-01T00:00:00Z"}, "bounced"),
        ({"Email": None}, "no address"),
    ],
)
def test_mail_is_not_sent_to_whom_it_may_or_can_not(org, values, result):
    org.control("records/edit", {"id": contacts(1)[0], "values": values})
    mailed(org, *contacts(1))
    assert mails(org)[0]["result"] == result and not org.sandbox.mails()[0].sent
    assert found(org, "EmailMessage") == []


def test_an_individual_who_opted_out_gets_no_mail(org):
    (individual,) = org.control(
        "records", {"object": "Individual", "records": [{"LastName": "X", "HasOptedOutSolicit": True}]}
    )["ids"]
    org.control("records/edit", {"id": contacts(1)[0], "values": {"IndividualId": individual}})
    mailed(org, *contacts(1))
    assert mails(org)[0]["result"] == "opted out as an individual"


def test_openings_are_kept_first_and_last(org):
    mailed(org, *contacts(1))
    org.sandbox.happen(contacts(1)[0], "open")
    org.sandbox.advance(60)
    org.sandbox.happen(contacts(1)[0], "click", mail=1)
    (message,) = found(org, "EmailMessage")
    assert message.values["IsOpened"] and message.values["LastOpenedDate"] - message.values["FirstOpenedDate"] == 60_000
    assert [event["what"] for event in mails(org)[0]["events"]] == ["open", "click"]


def test_a_reply_is_an_incoming_message_with_a_task(org):
    mailed(org, *contacts(1))
    org.sandbox.happen(contacts(1)[0], "reply")
    (reply,) = found(org, "EmailMessage", Incoming=True)
    assert reply.values["Subject"] == "Re: Come back" and reply.values["FromAddress"] == "person1@example.com"
    (relation,) = found(org, "EmailMessageRelation", RelationType="FromAddress")
    assert relation.values["RelationId"] == contacts(1)[0]


def test_a_bounce_an_unsubscription_and_a_complaint_are_fields_of_the_person(org):
    mailed(org, *contacts(1, 2, 3))
    for person, what in zip(contacts(1, 2, 3), ("bounce", "unsubscribe", "complain"), strict=True):
        org.sandbox.happen(person, what)
    bounced, left, complained = map(org.row, contacts(1, 2, 3))
    assert bounced["EmailBouncedDate"] and bounced["EmailBouncedReason"].startswith("550")
    assert left["HasOptedOutOfEmail"] and complained["HasOptedOutOfEmail"]
    with org.state.lock:
        assert org.state.row(contacts(1)[0]).modified_by == org.state.admin_user  # not our own write
    message = next(one for one in found(org, "EmailMessage") if one.values.get("IsBounced"))
    assert message.id == mails(org, person=contacts(1)[0])[0]["message"]


def test_a_colleague_who_contacts_somebody_leaves_a_task(org):
    org.sandbox.happen("5", "contacted")
    (task,) = found(org, "Task", TaskSubtype="Call")
    assert task.values["WhoId"] == contacts(5)[0] and task.values["Status"] == "Completed"


def test_a_visit_leaves_nothing_in_the_org(org):
    mailed(org, *contacts(1))
    before = org.row(contacts(1)[0])
    org.sandbox.happen(contacts(1)[0], "visit")
    assert org.row(contacts(1)[0]) == before and mails(org)[0]["events"] == []


def test_who_was_merged_away_still_answers_as_the_winner(org):
    mailed(org, *contacts(2))
    org.control("records/merge", {"primary": contacts(1)[0], "other": contacts(2)[0]})
    org.sandbox.happen(contacts(2)[0], "unsubscribe", mail=1)
    assert org.row(contacts(1)[0])["HasOptedOutOfEmail"]


def test_nobody_does_what_cannot_be_done(org):
    url = f"{org.sandbox.base_url}/_sandbox/people"
    for body in (
        {"person": contacts(1)[0], "what": "open"},
        {"person": contacts(1)[0], "what": "dance"},
        {"person": record_id("Contact", 999), "what": "visit"},
        {"person": "nobody", "what": "visit"},
    ):
        assert org.session.post(url, json=body, timeout=10).status_code == 400

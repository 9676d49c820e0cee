"""What the Salesforce project's flows and messages send is what the receiver reads, and the other way round."""

from __future__ import annotations

import json
from datetime import timedelta
from xml.sax.saxutils import escape

import pytest

from connector.errors import MalformedPayload
from connector.heard import MailEvent, Who
from connector.live.called import event_of
from tests.fakes.databases import sqlite_url
from tests.fakes.incoming import NOW, incoming
from tests.fakes.salesforce_flows import META, PROJECT, asked, every, flow_files, nodes, read, text
from tests.fakes.vendor_deliveries import HEADER_SECRET, ORGANIZATION, VENDORS
from tests.fakes.web import web
from webhooks.salesforce import ACTIONS, answer
from webhooks.service import Listening
from webhooks.triggers import FIELDS

SALESFORCE = VENDORS["salesforce"]
TRIGGERS = SALESFORCE.receiver.triggers
CALL_OUTS = PROJECT / "call-outs" / "main" / "default"
MESSAGES = PROJECT / "outbound-messages" / "main" / "default" / "workflows"
FLOWS = flow_files()
ADA = "0035g00000XyZabAAF"

KNOWN = f"salesforce:{ADA}"
IN_PROGRAM = {
    "segments": ["dormant_60", "high_value_dormant"],
    "blocked": None,
    "program": {"name": "win-back", "entered_as": "high_value_dormant", "step": "offer", "offer": "discount"},
}

STARTED = {
    "$Organization.Id": ORGANIZATION,
    "$Flow.InterviewGuid": "4f1c9d3e2b7a8c6d5e4f1c9d3e2b7a8c6d5e-f3a9",
    "recordId": ADA,
}
"""What every flow knows when it starts."""


@pytest.fixture(scope="module")
def schema():
    path = CALL_OUTS / "externalServiceRegistrations" / "Winback.externalServiceRegistration-meta.xml"
    return json.loads(text(read(path), "schema"))


@pytest.fixture(scope="module")
def header():
    """The header that the external credential adds, with the secret an administrator typed in."""
    credential = read(CALL_OUTS / "externalCredentials" / "Winback.externalCredential-meta.xml")
    (named,) = [
        one for one in every(credential, "externalCredentialParameters") if text(one, "parameterType") == "AuthHeader"
    ]
    assert text(named, "parameterValue") == "{!$Credential.Winback.Secret}"
    return {text(named, "parameterName"): HEADER_SECRET}


def as_json(body, schema, *, empty_as_null=False, decimals=False):
    """The body as Salesforce writes it by the service's schema: whole numbers as such, nothing for what is empty."""
    properties = schema["components"]["schemas"]["Question"]["properties"]
    assert body.keys() <= properties.keys()
    written = {}
    for name, value in body.items():
        if value is None:
            if empty_as_null:
                written[name] = None
        elif properties[name]["type"] == "integer":
            assert float(value).is_integer()
            written[name] = float(value) if decimals else int(value)
        else:
            assert properties[name]["type"] == "string" and isinstance(value, str)
            written[name] = value
    return json.dumps(written)


def flow_of(action):
    return read(FLOWS[f"Winback_{action.capitalize()}"])


def operation(schema, name):
    """The path and the parts of the operation that an action of a flow names as `Winback.<operation>`."""
    service, _, wanted = name.partition(".")
    assert service == "Winback"
    (found,) = [(path, way["post"]) for path, way in schema["paths"].items() if way["post"]["operationId"] == wanted]
    return found


@pytest.mark.parametrize("decimals", [False, True])
@pytest.mark.parametrize("empty_as_null", [False, True])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_flows_question_is_read_as_it_is_sent(action, schema, header, empty_as_null, decimals):
    known = STARTED | {"program": "win-back", "days": 30.0}
    name, body = asked(flow_of(action), known)
    path, _ = operation(schema, name)
    request = incoming(as_json(body, schema, empty_as_null=empty_as_null, decimals=decimals), header)
    assert path == f"/triggers/salesforce/{action}"
    assert TRIGGERS.verify(SALESFORCE.options, request).ok
    call = TRIGGERS.parse(SALESFORCE.options, action, request)
    assert call.who == Who(record=f"salesforce:{ADA}")
    assert call.key.endswith(f":{action}:{ADA}:{STARTED['$Flow.InterviewGuid']}")
    inputs = {"enroll": {"program": "win-back"}, "exit": {"program": "win-back"}, "snooze": {"days": "30"}}
    assert call.inputs == inputs.get(action, {})
    if action != "evaluate":
        kept = event_of(call, NOW, waits=False).payload
        assert (kept["days"], kept["program"]) == ({"snooze": 30}.get(action), inputs[action].get("program"))


@pytest.mark.parametrize("action", ACTIONS)
def test_a_flow_that_is_given_nothing_but_the_record_asks_all_the_same(action, schema, header):
    _, body = asked(flow_of(action), STARTED)
    call = TRIGGERS.parse(SALESFORCE.options, action, incoming(as_json(body, schema), header))
    assert call.inputs == {}


def test_an_address_is_passed_on_as_a_hint(schema, header):
    _, body = asked(flow_of("exit"), STARTED | {"email": "ada@example.com"})
    call = TRIGGERS.parse(SALESFORCE.options, "exit", incoming(as_json(body, schema), header))
    assert call.who.email == "ada@example.com"


def test_two_interviews_about_one_person_are_two_questions(schema, header):
    keys = set()
    for guid in ("one", "two"):
        _, body = asked(flow_of("snooze"), STARTED | {"$Flow.InterviewGuid": guid})
        keys.add(TRIGGERS.parse(SALESFORCE.options, "snooze", incoming(as_json(body, schema), header)).key)
    assert len(keys) == 2


@pytest.mark.parametrize("action", ACTIONS)
def test_a_flow_reads_the_fields_of_the_answer_and_no_others(action, schema):
    _, parts = operation(schema, asked(flow_of(action), STARTED)[0])
    (code,) = parts["responses"]
    assert parts["responses"][code]["content"]["application/json"]["schema"]["$ref"].endswith("/Answer")
    told = json.loads(answer(dict.fromkeys(FIELDS, "x"), timedelta(days=7)).body)
    properties = schema["components"]["schemas"]["Answer"]["properties"]
    assert told.keys() == properties.keys()
    assert all(isinstance(value, str) and properties[name]["type"] == "string" for name, value in told.items())
    read_by_flow = {
        reference.text.removeprefix(f"Ask_Winback.{code}.")
        for reference in flow_of(action).iter(f"{META}elementReference")
        if reference.text.startswith("Ask_Winback.")
    }
    assert read_by_flow == told.keys()


def test_the_service_has_every_action_and_switches_each_on(schema):
    path = CALL_OUTS / "externalServiceRegistrations" / "Winback.externalServiceRegistration-meta.xml"
    on = {text(one, "name") for one in every(read(path), "operations") if text(one, "active") == "true"}
    assert on == {way["post"]["operationId"] for way in schema["paths"].values()}
    assert sorted(schema["paths"]) == sorted(f"/triggers/salesforce/{action}" for action in ACTIONS)
    # Salesforce makes Apex of these names, where `exit` is a word of the language and capitals are lost on the way.
    assert all(name.isalpha() and name.islower() and name != "exit" for name in on)


def test_what_a_question_needs_is_what_the_receiver_insists_on(schema):
    question = schema["components"]["schemas"]["Question"]
    assert set(question["required"]) == {"org_id", "record_id", "idempotency_key"}
    for action in ACTIONS:
        _, body = asked(flow_of(action), STARTED)
        assert all(body[name] for name in question["required"])


@pytest.fixture
def site(tmp_path):
    sources = {"salesforce": Listening(SALESFORCE.receiver, SALESFORCE.options)}
    with web(sqlite_url(tmp_path), sources, find=lambda who: KNOWN if who.record == KNOWN else None) as site:
        yield site


def test_the_running_server_answers_each_flow_in_words_it_reads(site, schema, header):
    site.journal.decisions.publish(NOW.date(), {KNOWN: IN_PROGRAM})
    properties = schema["components"]["schemas"]["Answer"]["properties"]
    said = {}
    for action in ACTIONS:
        name, body = asked(flow_of(action), STARTED | {"program": "win-back", "days": 30.0})
        path, _ = operation(schema, name)
        answered = site.client().post(
            path, data=as_json(body, schema), headers={**header, "Content-Type": "application/json"}
        )
        assert (answered.status_code, answered.content_type) == (200, "application/json")
        assert answered.json.keys() <= properties.keys()
        assert all(isinstance(value, str) for value in answered.json.values())
        said[action] = answered.json
    assert said["evaluate"] == {
        "segment": "high_value_dormant", "step": "offer", "reason": "", "offer": "discount", "decision": "in_program",
        "state": "done",
    }  # fmt: skip
    assert {said[action]["decision"] for action in ("enroll", "exit", "snooze")} == {"accepted"}


def test_the_running_server_refuses_another_secret_and_another_org(site, schema, header):
    name, body = asked(flow_of("exit"), STARTED)
    path, _ = operation(schema, name)
    (named,) = header
    for headers, org, status in (({named: "wrong"}, ORGANIZATION, 401), (header, "00D5g000004abCd", 400)):
        answered = site.client().post(
            path,
            data=as_json(body | {"org_id": org}, schema),
            headers={**headers, "Content-Type": "application/json"},
        )
        assert answered.status_code == status


@pytest.mark.parametrize("person", ["Contact", "Lead"])
def test_every_choice_of_the_request_field_leads_to_its_flow(person):
    field = PROJECT / f"call-outs/main/default/objects/{person}/fields/Winback_Request__c.field-meta.xml"
    choices = {text(one, "fullName") for one in every(read(field), "valueSet/valueSetDefinition/value")}
    flow = read(FLOWS[f"Winback_Request_{person}"])
    led = {
        text(rule, "conditions/rightValue/stringValue"): text(
            nodes(flow)[text(rule, "connector/targetReference")][1], "flowName"
        )
        for rule in every(flow, "decisions/rules")
    }
    assert led == {choice: f"Winback_{choice}" for choice in choices}
    assert {action.capitalize() for action in ACTIONS} == choices


@pytest.mark.parametrize("person", ["Contact", "Lead"])
def test_what_a_request_hands_to_a_flow_is_an_input_there_and_what_it_takes_an_output(person):
    flow = read(FLOWS[f"Winback_Request_{person}"])
    ours = {text(one, "name") for one in every(flow, "variables")}
    for call in every(flow, "subflows"):
        called = read(FLOWS[text(call, "flowName")])
        variables = {text(one, "name"): one for one in every(called, "variables")}
        for given in every(call, "inputAssignments"):
            assert text(variables[text(given, "name")], "isInput") == "true"
        for taken in every(call, "outputAssignments"):
            assert text(variables[text(taken, "name")], "isOutput") == "true"
            assert text(taken, "assignToReference") in ours


def test_flows_call_out_only_after_the_change_is_saved():
    calling = {name for name, path in FLOWS.items() if every(read(path), "subflows")}
    assert calling == {"Winback_Request_Contact", "Winback_Request_Lead"}
    for name in calling:
        (start,) = every(read(FLOWS[name]), "start")
        assert start.find(f"{META}connector") is None
        assert text(start, "scheduledPaths/pathType") == "AsyncAfterCommit"


def test_a_flow_that_writes_cannot_undo_the_change_that_started_it():
    """Before the change is saved, an element that fails takes the change back: winback's row would be refused."""
    for name, path in FLOWS.items():
        flow = read(path)
        (start,) = every(flow, "start")
        if text(start, "triggerType") == "RecordAfterSave" and start.find(f"{META}connector") is not None:
            at_once = {kind for kind, _ in nodes(flow).values()}
            assert at_once == {"actionCalls"}, name
            assert {text(one, "actionType") for one in every(flow, "actionCalls")} == {"outboundMessage"}, name


# Outbound messages.


def message(person, values):
    """The message as Salesforce makes it: the chosen fields that have a value, in SOAP."""
    (told,) = every(read(MESSAGES / f"{person}.workflow-meta.xml"), "outboundMessages")
    chosen = [one.text for one in every(told, "fields")]
    fields = "".join(f"<sf:{name}>{escape(values[name])}</sf:{name}>" for name in chosen if name in values)
    return (
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
        '<notifications xmlns="http://soap.sforce.com/2005/09/outbound">'
        f"<OrganizationId>{ORGANIZATION}</OrganizationId><ActionId>04k5g000000TNsqAAG</ActionId>"
        f'<SessionId xsi:nil="true"/><Notification><Id>04l5g00000AbCdEAAV</Id><sObject xsi:type="sf:{person}" '
        f'xmlns:sf="urn:sobject.enterprise.soap.sforce.com">{fields}</sObject></Notification>'
        "</notifications></soapenv:Body></soapenv:Envelope>"
    )


@pytest.mark.parametrize(("person", "record"), [("Contact", ADA), ("Lead", "00Q5g00000XyZabEAF")])
@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"HasOptedOutOfEmail": "true"}, "unsubscribe"),
        ({"EmailBouncedDate": "2026-11-01T09:00:00.000Z", "EmailBouncedReason": "550 no such user"}, "bounce"),
    ],
)
def test_a_message_tells_what_its_flow_watches(person, record, changed, kind):
    values = {
        "Id": record,
        "LastModifiedDate": "2026-11-01T09:59:30.000Z",
        "LastModifiedById": "0055g00000UsErAAAV",
        **changed,
    }
    heard = SALESFORCE.heard(SALESFORCE.delivery(message(person, values).encode()))
    (mail,) = [one for one in heard if isinstance(one, MailEvent)]
    assert (mail.kind, mail.who.record) == (kind, f"salesforce:{record}")


def test_what_winbacks_own_user_changed_comes_back_as_no_news():
    vendor = SALESFORCE.with_options(integration_user="0055g00000UsErA")
    values = {"Id": ADA, "HasOptedOutOfEmail": "true", "LastModifiedById": "0055g00000UsErAAAV"}
    assert vendor.heard(vendor.delivery(message("Contact", values).encode())) == []


@pytest.mark.parametrize("person", ["Contact", "Lead"])
def test_a_message_carries_what_its_flow_watches(person):
    (told,) = every(read(MESSAGES / f"{person}.workflow-meta.xml"), "outboundMessages")
    chosen = {one.text for one in every(told, "fields")}
    flow = read(FLOWS[f"Winback_Notify_{person}"])
    (sent,) = every(flow, "actionCalls")
    assert text(sent, "actionName") == f"{person}.{text(told, 'fullName')}"
    watched = {field for field in chosen if f"ISCHANGED({{!$Record.{field}}})" in text(flow, "start/filterFormula")}
    assert {"HasOptedOutOfEmail", "EmailBouncedDate", "Email"} == watched
    assert {"Id", "LastModifiedById", "LastModifiedDate"} <= chosen


def test_a_part_of_a_day_is_refused_and_not_dropped(schema, header):
    _, body = asked(flow_of("snooze"), STARTED)
    request = incoming(json.dumps({**{k: v for k, v in body.items() if v is not None}, "days": 1.5}), header)
    call = TRIGGERS.parse(SALESFORCE.options, "snooze", request)
    with pytest.raises(MalformedPayload, match="days"):
        event_of(call, NOW, waits=False)

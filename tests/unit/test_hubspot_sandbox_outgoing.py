"""What the sandbox sends: webhooks as the vendor's guide says, and actions of an app that workflows wait at."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest
import requests
from hubspot.utils.signature import Signature

from adapters.hubspot.sandbox import start
from adapters.hubspot.sandbox.authoring import workflow
from adapters.hubspot.sandbox.news import MOST_EVENTS, RETRIES
from adapters.hubspot.sandbox.outgoing import signed
from connector.contracts import SandboxOptions
from tests.fakes.hubspot_worlds import START, people

SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"  # of the vendor's own test vectors


class Ear:
    """A server that keeps what it is sent and answers as it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        self.answer: dict | None = None
        ear = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                ear.heard.append((dict(self.headers.items()), body))
                raw = json.dumps(ear.answer).encode() if ear.answer is not None else b""
                self.send_response(ear.status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hubspot?x=1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def events(self) -> list[dict]:
        return [event for _, body in self.heard for event in json.loads(body)]


@pytest.fixture
def ear() -> Iterator[Ear]:
    made = Ear()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def sandbox():
    made = start(SandboxOptions(limits=False))
    made.state.clock.freeze(START)
    made.seed(people(250), [])
    yield made
    made.stop()


def control(sandbox, method: str, path: str, **body):
    answer = requests.request(method, f"{sandbox.base_url}/_sandbox/{path}", json=body or None, timeout=10)
    assert answer.ok, answer.text
    return answer.json()


def listen(sandbox, ear: Ear, *types: str, properties: tuple[str, ...] = (), **more) -> None:
    subscriptions = [{"type": kind} for kind in types]
    subscriptions += [{"type": "contact.propertyChange", "property": name} for name in properties]
    control(
        sandbox, "POST", "webhooks", target_url=ear.url, client_secret=SECRET, subscriptions=subscriptions, **more
    )  # fmt: skip


def api(sandbox, method: str, path: str, body=None):
    headers = {"Authorization": f"Bearer {sandbox.auth['token']}"}
    return requests.request(method, f"{sandbox.base_url}{path}", json=body, headers=headers, timeout=10)


def test_a_change_arrives_signed_and_says_what_changed(sandbox, ear):
    listen(sandbox, ear, properties=("role",))
    control(sandbox, "POST", "contacts/edit", id="7", properties={"role": "ceo", "firstname": "Ada"})
    sandbox.outgoing.send_due()
    ((headers, body),) = ear.heard
    expected = signed(ear.url, body, secret=SECRET, at_ms=sandbox.state.clock.now_ms(), version="v1")
    assert headers["X-HubSpot-Signature-v3"] == expected["X-HubSpot-Signature-v3"]
    (event,) = ear.events()
    assert (event["objectId"], event["propertyName"], event["propertyValue"]) == (7, "role", "ceo")
    assert (event["subscriptionType"], event["changeSource"]) == ("contact.propertyChange", "CRM_UI")
    assert (event["occurredAt"], event["attemptNumber"]) == (sandbox.state.clock.now_ms(), 0)


@pytest.mark.parametrize(
    ("version", "header", "value"),
    [
        ("v1", "X-HubSpot-Signature", "69fc6631a867edd4f9e9e627fc5c1148e3fbdd8b21837b6d2b8901c1fa57f750"),
        ("v2", "X-HubSpot-Signature", "4fe4e3a7d3cf09db53be39d0a58130e2aaba074ec123a9e355b876a689a1c383"),
        ("v2", "X-HubSpot-Signature-v3", "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="),
    ],
)
def test_signatures_are_those_of_the_vendors_vectors(version, header, value):
    body = b"{'example_field':'example_value'}"
    url = "https://www.example.com/webhook_uri"
    assert signed(url, body, secret=SECRET, at_ms=1693657560000, version=version)[header] == value


def test_what_an_app_writes_is_marked_as_its_own(sandbox, ear):
    listen(sandbox, ear, properties=("role",), app_id=77)
    answer = api(sandbox, "PATCH", "/crm/v3/objects/contacts/7", {"properties": {"role": "ceo"}})
    assert answer.ok
    sandbox.outgoing.send_due()
    (event,) = ear.events()
    assert (event["changeSource"], event["sourceId"], event["appId"]) == ("INTEGRATION", "77", 77)


def test_creation_deletion_privacy_and_merge_are_told(sandbox, ear):
    listen(sandbox, ear, "contact.creation", "contact.deletion", "contact.privacyDeletion", "contact.merge")
    made = api(sandbox, "POST", "/crm/v3/objects/contacts", {"properties": {"email": "new@example.com"}}).json()["id"]
    control(sandbox, "POST", "contacts/delete", ids=["3"])
    control(sandbox, "POST", "contacts/delete", ids=["4"], for_good=True)
    control(sandbox, "POST", "contacts/merge", primary="5", other="6")
    sandbox.outgoing.send_due()
    told = {(event["subscriptionType"].removeprefix("contact."), event["objectId"]) for event in ear.events()}
    assert told == {
        ("creation", int(made)),
        ("deletion", 3),
        ("deletion", 4),
        ("privacyDeletion", 4),
        ("merge", 5),
    }
    (merged,) = [event for event in ear.events() if event["subscriptionType"] == "contact.merge"]
    assert (merged["primaryObjectId"], merged["mergedObjectIds"], merged["newObjectId"]) == (5, [6], 5)


def test_a_delivery_has_at_most_a_hundred_events(sandbox, ear):
    listen(sandbox, ear, properties=("role",))
    for number in range(1, 131):
        control(sandbox, "POST", "contacts/edit", id=str(number), properties={"role": "ceo"})
    with sandbox.state.lock:
        sizes_due = len(sandbox.state.news.waiting)
    sandbox.outgoing.send_due()
    sizes = [len(json.loads(body)) for _, body in ear.heard]
    assert max(sizes) <= MOST_EVENTS
    assert sum(sizes) == 130
    assert sizes_due <= 130


def test_what_is_not_taken_comes_again_on_the_sandboxs_clock_and_is_given_up_after_ten_more(sandbox, ear):
    ear.status = 503
    listen(sandbox, ear, properties=("role",))
    control(sandbox, "POST", "contacts/edit", id="7", properties={"role": "ceo"})
    for _ in range(RETRIES + 5):
        sandbox.outgoing.send_due()
        sandbox.state.clock.advance(6 * 3600)
    assert [event["attemptNumber"] for event in ear.events()] == list(range(RETRIES + 1))
    assert {event["eventId"] for event in ear.events()} == {1}
    assert control(sandbox, "GET", "webhooks")["dropped"] == 1


def test_events_come_twice_and_in_no_order_where_that_is_switched_on(sandbox, ear):
    control(sandbox, "POST", "faults", switches=["webhook_duplicates", "webhook_disorder"])
    told = control(sandbox, "GET", "webhooks")
    assert told["duplicates"] > 0
    assert told["disorder_seconds"] > 0
    listen(sandbox, ear, properties=("role",), duplicates=1.0, disorder_seconds=50)
    for number in range(1, 31):
        control(sandbox, "POST", "contacts/edit", id=str(number), properties={"role": "ceo"})
    for _ in range(60):
        sandbox.outgoing.send_due()
        sandbox.state.clock.advance(1)
    ids = [event["eventId"] for event in ear.events()]
    assert sorted(ids) == sorted([*range(1, 31), *range(1, 31)])
    assert ids != sorted(ids)


def test_what_is_taken_back_is_not_told(sandbox, ear):
    listen(sandbox, ear, properties=("role",))
    rows = [{"id": "7", "properties": {"role": "ceo"}}, {"id": "8", "properties": {"no_such": "x"}}]
    assert api(sandbox, "POST", "/crm/v3/objects/contacts/batch/update", {"inputs": rows}).status_code == 400
    sandbox.outgoing.send_due()
    assert ear.heard == []


# --- actions of an app ---------------------------------------------------------------------------------------------


def asking(sandbox, ear: Ear) -> str:
    """A workflow that asks an app, then mails those of whom it says so; its id."""
    definition = control(sandbox, "POST", "actions", name="evaluate", url=ear.url, properties=["role"])["actions"][0]
    control(sandbox, "POST", "webhooks", client_secret=SECRET)
    body = workflow("Ask", [{"ask": {"action": definition["type_id"], "inputs": {"program": "win-back"}}}])
    body["actions"][0]["connection"] = {"edgeType": "STANDARD", "nextActionId": "2"}
    body["actions"] += [
        {
            "type": "STATIC_BRANCH",
            "actionId": "2",
            "inputValue": {"type": "FIELD_DATA", "actionId": "1", "dataKey": "decision"},
            "staticBranches": [{"branchValue": "send", "connection": {"edgeType": "STANDARD", "nextActionId": "3"}}],
        },
        {
            "type": "SINGLE_CONNECTION",
            "actionId": "3",
            "actionTypeId": "0-4",
            "actionTypeVersion": 0,
            "fields": {"content_id": "7001"},
        },
    ]
    with sandbox.state.lock:
        flow = sandbox.state.workflows.flows.create(body, now_ms=sandbox.state.settle())
        sandbox.state.workflows.saved(flow, was_enabled=False)
    return flow.id


def enter(sandbox, flow: str, *people_ids: str) -> None:
    control(sandbox, "POST", "workflows/members", workflow=flow, add=list(people_ids))
    sandbox.outgoing.send_due()


def mailed(sandbox) -> set[str]:
    with sandbox.state.lock:
        sandbox.state.settle()
        return {mail.contact_id for mail in sandbox.state.mails.mails}


def test_a_workflow_branches_on_what_an_app_answers(sandbox, ear):
    flow = asking(sandbox, ear)
    ear.status, ear.answer = 200, {"outputFields": {"decision": "send", "hs_execution_state": "SUCCESS"}}
    enter(sandbox, flow, "7")
    ear.answer = {"outputFields": {"decision": "wait", "hs_execution_state": "SUCCESS"}}
    enter(sandbox, flow, "8")
    assert mailed(sandbox) == {"7"}
    headers, body = ear.heard[0]
    asked = json.loads(body)
    assert (asked["object"]["objectId"], asked["object"]["properties"]) == (7, {"role": "cto"})
    assert (asked["inputFields"], asked["context"]["workflowId"]) == ({"program": "win-back"}, int(flow))
    assert headers["X-HubSpot-Signature-Version"] == "v2"
    assert Signature.is_valid(
        signature=headers["X-HubSpot-Signature"],
        client_secret=SECRET,
        request_body=body.decode(),
        http_uri=ear.url,
        http_method="POST",
        signature_version="v2",
    )


def test_a_blocked_contact_waits_until_the_app_completes_it(sandbox, ear):
    flow = asking(sandbox, ear)
    ear.status, ear.answer = 200, {"outputFields": {"hs_execution_state": "BLOCK", "hs_expiration_duration": "P1D"}}
    enter(sandbox, flow, "7", "8")
    assert mailed(sandbox) == set()
    calls = control(sandbox, "GET", "waiting")["calls"]
    assert {call["contact"] for call in calls} == {"7", "8"}
    outputs = {"outputFields": {"decision": "send", "hs_execution_state": "SUCCESS"}, "typedOutputs": {}}
    inputs = [{"callbackId": call["callback_id"], **outputs} for call in calls]
    assert api(sandbox, "POST", "/automation/v4/actions/callbacks/complete", {"inputs": inputs}).status_code == 204
    assert mailed(sandbox) == {"7", "8"}
    again = api(sandbox, "POST", f"/automation/v4/actions/callbacks/{inputs[0]['callbackId']}/complete", outputs)
    assert again.status_code == 404


def test_a_blocked_contact_goes_on_when_its_time_is_over(sandbox, ear):
    flow = asking(sandbox, ear)
    ear.status, ear.answer = 200, {"outputFields": {"hs_execution_state": "BLOCK", "hs_expiration_duration": "PT1H"}}
    enter(sandbox, flow, "7")
    sandbox.advance(3500)
    assert control(sandbox, "GET", "waiting")["calls"]
    sandbox.advance(200)
    assert control(sandbox, "GET", "waiting")["calls"] == []
    assert control(sandbox, "GET", f"enrollments?workflow={flow}")["enrollments"][0]["ended_as"] == "completed"
    assert mailed(sandbox) == set()


@pytest.mark.parametrize(("status", "tries"), [(400, 1), (503, 3), (429, 3)])
def test_an_action_that_fails_is_tried_again_only_where_that_can_help(sandbox, ear, status, tries):
    flow = asking(sandbox, ear)
    ear.status = status
    enter(sandbox, flow, "7")
    for _ in range(2):
        sandbox.advance(3600)
        sandbox.outgoing.send_due()
    assert len(ear.heard) == tries
    assert len({json.loads(body)["callbackId"] for _, body in ear.heard}) == 1


def test_the_page_shows_notes_and_who_waits(sandbox, ear):
    flow = asking(sandbox, ear)
    ear.status, ear.answer = 200, {"outputFields": {"hs_execution_state": "BLOCK"}}
    enter(sandbox, flow, "7")
    link = {"to": {"id": "8"}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 202}]}
    note = {
        "properties": {"hs_timestamp": "2026-11-21T12:00:00Z", "hs_note_body": "<p>Too &lt;dear&gt;</p>"},
        "associations": [link],
    }
    assert api(sandbox, "POST", "/crm/v3/objects/notes/batch/create", {"inputs": [note]}).status_code == 201
    page = sandbox.page()
    assert "Too &lt;dear&gt;" in page
    assert "Who waits for an app" in page

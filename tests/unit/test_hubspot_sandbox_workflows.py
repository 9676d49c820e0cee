"""HubSpot's own rules of enrollment, one test each, over its API and on the sandbox's clock."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from adapters.hubspot.sandbox.authoring import property_is, property_is_known, workflow
from adapters.hubspot.sandbox.filters import in_list
from tests.fakes.hubspot_sandbox import running

FLOWS = "/automation/v4/flows"
DAY = 86_400
MONTH_LONG = ({"wait_days": 30}, {"mail": "7001"})


@pytest.fixture
def world():
    with running(60) as (sandbox, api):
        sandbox.state.clock.freeze(datetime(2026, 3, 2, 9, tzinfo=UTC))
        yield sandbox, api


def make(api, *steps, name="Winback", **settings):
    answer = api.post(FLOWS, workflow(name, steps or MONTH_LONG, **settings))
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def join(api, list_id, *ids):
    assert api.put(api.lists(f"/{list_id}/memberships/add"), list(ids)).status_code == 200


def leave(api, list_id, *ids):
    assert api.put(api.lists(f"/{list_id}/memberships/remove"), list(ids)).status_code == 200


def passages(api, flow, contact=None, **query):
    rest = "".join(f"&{key}={value}" for key, value in {"contact": contact, **query}.items() if value is not None)
    return api.get(f"/_sandbox/enrollments?workflow={flow}{rest}").json()["enrollments"]


def inside(api, flow):
    return sorted((e["contact"] for e in passages(api, flow, active=1)), key=int)


def mails(api, contact=None):
    return api.get(f"/_sandbox/mails{f'?contact={contact}' if contact else ''}").json()["mails"]


# --- coming in ---


def test_joining_the_list_enrolls_and_the_workflow_waits_and_mails(world):
    sandbox, api = world
    entry = api.make_list()
    flow = make(api, {"wait_days": 6}, {"mail": "7001"}, list_id=entry)
    join(api, entry, "1", "2")
    assert inside(api, flow) == ["1", "2"] and mails(api) == []
    sandbox.advance(6 * DAY - 60)
    assert mails(api) == []
    sandbox.advance(60)
    assert sorted(mail["contact"] for mail in mails(api)) == ["1", "2"]
    assert {mail["at"] for mail in mails(api)} == {"2026-03-08T09:00:00Z"}
    assert {e["ended_as"] for e in passages(api, flow)} == {"completed"}


def test_once_is_the_default_leaving_and_rejoining_does_nothing(world):
    sandbox, api = world
    entry = api.make_list()
    body = workflow("Winback", [{"mail": "7001"}], list_id=entry, again=False)
    # Triggers that are ticked count for nothing while re-enrollment itself is off.
    body["enrollmentCriteria"]["reEnrollmentTriggersFilterBranches"] = [in_list(entry)]
    flow = api.post(FLOWS, body).json()["id"]
    join(api, entry, "1")
    leave(api, entry, "1")
    sandbox.advance(DAY)
    join(api, entry, "1")
    sandbox.advance(DAY)
    assert len(passages(api, flow)) == len(mails(api)) == 1


def test_with_re_enrollment_leaving_and_rejoining_starts_it_again_and_staying_never_does(world):
    sandbox, api = world
    entry = api.make_list()
    flow = make(api, {"mail": "7001"}, list_id=entry)
    join(api, entry, "1")
    sandbox.advance(30 * DAY)
    join(api, entry, "1")  # still on it: nothing joins
    assert len(passages(api, flow)) == 1
    leave(api, entry, "1")
    sandbox.advance(60)
    join(api, entry, "1")
    assert len(passages(api, flow)) == len(mails(api)) == 2


def test_re_enrollment_without_a_trigger_to_look_at_takes_nobody_again(world):
    _, api = world
    entry = api.make_list()
    body = workflow("Winback", [{"mail": "7001"}], list_id=entry)
    body["enrollmentCriteria"]["reEnrollmentTriggersFilterBranches"] = []
    flow = api.post(FLOWS, body).json()["id"]
    join(api, entry, "1")
    leave(api, entry, "1")
    join(api, entry, "1")
    assert len(passages(api, flow)) == 1


def test_every_new_value_of_a_watched_property_starts_it_again(world):
    _, api = world
    body = workflow("Winback", [{"mail": "7001"}], list_id="unused")
    branch = property_is_known("country")
    body["enrollmentCriteria"] |= {"listFilterBranch": branch, "reEnrollmentTriggersFilterBranches": [branch]}
    flow = api.post(FLOWS, body).json()["id"]
    for value in ("NL", "DE", "DE", "FR"):
        api.update({"1": {"country": value}})
    assert [e["by"] for e in passages(api, flow, contact=1)] == ["trigger"] * 3


def test_nobody_comes_in_while_still_in_and_the_second_start_is_not_queued(world):
    sandbox, api = world
    entry = api.make_list()
    flow = make(api, list_id=entry, leaving_ends_it=False)
    join(api, entry, "1")
    leave(api, entry, "1")
    join(api, entry, "1")
    assert len(passages(api, flow)) == 1
    sandbox.advance(31 * DAY)
    assert len(passages(api, flow)) == len(mails(api)) == 1


def test_a_start_that_comes_too_soon_does_not_wait_in_line(world):
    sandbox, api = world
    entry = api.make_list()
    flow = make(api, {"wait_minutes": 1}, {"mail": "7001"}, list_id=entry, leaving_ends_it=False)
    join(api, entry, "1")
    sandbox.advance(58)
    crowd = [str(n) for n in range(2, 61)]
    join(api, entry, *crowd)  # fills the next three seconds
    leave(api, entry, "1")
    join(api, entry, "1")
    sandbox.advance(DAY)
    assert len(passages(api, flow, contact=1)) == 1


def test_removing_and_adding_before_it_is_looked_at_is_no_leaving(world):
    sandbox, api = world
    api.control("behaviour", {"workflow_lag_seconds": 60})
    entry = api.make_list()
    flow = make(api, {"mail": "7001"}, list_id=entry)
    join(api, entry, "1")
    sandbox.advance(61)
    leave(api, entry, "1")
    sandbox.advance(30)
    join(api, entry, "1")
    sandbox.advance(DAY)
    assert len(passages(api, flow)) == 1
    leave(api, entry, "1")
    sandbox.advance(61)
    join(api, entry, "1")
    sandbox.advance(61)
    assert len(passages(api, flow)) == 2


def test_switching_on_enrolls_who_is_on_the_list_already(world):
    _, api = world
    entry = api.make_list()
    join(api, entry, "1", "2", "3")
    flow = make(api, list_id=entry, enabled=False)
    assert inside(api, flow) == []
    held = api.get(f"{FLOWS}/{flow}").json()
    assert api.put(f"{FLOWS}/{flow}", {**held, "isEnabled": True}).status_code == 200
    assert inside(api, flow) == ["1", "2", "3"]
    assert {e["by"] for e in passages(api, flow)} == {"switched on"}


def test_about_twenty_a_second_are_let_in(world):
    sandbox, api = world
    entry = api.make_list()
    flow = make(api, list_id=entry)
    join(api, entry, *(str(n) for n in range(1, 51)))
    seen = [len(inside(api, flow))]
    for _ in range(3):
        sandbox.advance(1)
        seen.append(len(inside(api, flow)))
    assert seen == [20, 40, 50, 50]
    assert sorted({e["started_at"] for e in passages(api, flow)}) == [
        "2026-03-02T09:00:00Z",
        "2026-03-02T09:00:01Z",
        "2026-03-02T09:00:02Z",
    ]


def test_who_left_the_list_while_waiting_to_be_let_in_stays_out(world):
    sandbox, api = world
    entry = api.make_list()
    flow = make(api, list_id=entry)
    join(api, entry, *(str(n) for n in range(1, 31)))
    leave(api, entry, "30")
    sandbox.advance(10)
    assert len(inside(api, flow)) == 29 and "30" not in inside(api, flow)


# --- leaving ---


@pytest.mark.parametrize("switch", [True, False])
def test_leaving_the_list_ends_it_only_if_the_switch_is_on(world, switch):
    sandbox, api = world
    entry = api.make_list()
    flow = make(api, list_id=entry, leaving_ends_it=switch)
    join(api, entry, "1", "2")
    leave(api, entry, "1")
    assert inside(api, flow) == (["2"] if switch else ["1", "2"])
    sandbox.advance(31 * DAY)
    assert sorted(mail["contact"] for mail in mails(api)) == (["2"] if switch else ["1", "2"])


def test_members_of_a_suppression_list_neither_come_in_nor_go_on(world):
    sandbox, api = world
    entry, never = api.make_list(), api.make_list("winback · suppress")
    flow = make(api, list_id=entry, suppress=[never])
    join(api, never, "1")
    join(api, entry, "1", "2", "3")
    assert inside(api, flow) == ["2", "3"]
    join(api, never, "2")
    assert [e["ended_as"] for e in passages(api, flow, contact=2)] == ["suppressed"]
    sandbox.advance(31 * DAY)
    assert [mail["contact"] for mail in mails(api)] == ["3"]


def test_who_meets_the_goal_leaves_and_is_on_its_roster(world):
    sandbox, api = world
    api.make_segment_property()
    entry = api.make_list()
    flow = make(api, list_id=entry, goal=property_is("winback_segment", "cold"))
    join(api, entry, "1", "2")
    api.update({"1": {"winback_segment": "cold"}})
    assert [e["ended_as"] for e in passages(api, flow, contact=1)] == ["goal"]
    goal = api.make_list("goal", processingType="DYNAMIC", filterBranch=in_list(flow, roster="WORKFLOWS_GOAL"))
    assert members(api, goal) == ["1"]
    sandbox.advance(31 * DAY)
    assert [mail["contact"] for mail in mails(api)] == ["2"]


def test_who_becomes_one_contact_with_another_is_not_enrolled_by_that(world):
    sandbox, api = world
    entry = api.make_list()
    flow = make(api, list_id=entry)
    join(api, entry, "1")
    api.control("contacts/merge", {"primary": "2", "other": "1"})
    assert [(e["contact"], e["ended_as"]) for e in passages(api, flow)] == [("1", "merged")]
    assert "2" in members(api, entry)
    sandbox.advance(31 * DAY)
    assert mails(api) == []


def test_the_survivor_goes_on_where_it_was(world):
    sandbox, api = world
    entry = api.make_list()
    flow = make(api, list_id=entry)
    join(api, entry, "1")
    api.control("contacts/merge", {"primary": "1", "other": "2"})
    sandbox.advance(31 * DAY)
    assert [mail["contact"] for mail in mails(api)] == ["1"] and len(passages(api, flow)) == 1


def test_deleted_contacts_leave_and_do_not_go_on_when_restored(world):
    sandbox, api = world
    entry = api.make_list()
    flow = make(api, list_id=entry)
    join(api, entry, "1")
    api.control("contacts/delete", {"ids": ["1"]})
    api.control("contacts/restore", {"ids": ["1"]})
    sandbox.advance(31 * DAY)
    assert [e["ended_as"] for e in passages(api, flow)] == ["deleted"] and mails(api) == []


def test_another_workflow_may_end_this_one(world):
    _, api = world
    first, second = api.make_list("a"), api.make_list("b")
    ended = make(api, name="Ended", list_id=first)
    make(api, name="Ending", list_id=second, unEnrollmentSetting={"type": "SELECTIVE", "flowIds": [ended]})
    join(api, first, "1")
    join(api, second, "1")
    assert [e["ended_as"] for e in passages(api, ended)] == ["other workflow"]


def test_switched_off_it_lets_people_pass_and_does_nothing(world):
    sandbox, api = world
    entry = api.make_list()
    flow = make(api, list_id=entry)
    join(api, entry, "1")
    api.control("workflows/switch", {"workflow": flow, "enabled": False})
    join(api, entry, "2")
    sandbox.advance(31 * DAY)
    assert [(e["contact"], e["ended_as"]) for e in passages(api, flow)] == [("1", "completed")]
    assert mails(api) == []


# --- one at a time ---


def enroll(api, workflow_id, email, method="POST"):
    return api.call(method, f"/automation/v2/workflows/{workflow_id}/enrollments/contacts/{quote(email, safe='')}")


def legacy(api, flow):
    body = {"inputs": [{"flowId": flow, "type": "FLOW_ID"}]}
    return api.post("/automation/v4/workflow-id-mappings/batch/read", body).json()["results"][0]["workflowId"]


def test_the_v2_call_takes_the_legacy_number_an_address_and_no_filters(world):
    sandbox, api = world
    entry = api.make_list()
    flow = make(api, list_id=entry)
    assert enroll(api, flow, "person1@acme.example").status_code == 404
    assert enroll(api, legacy(api, flow), "nobody@acme.example").status_code == 404
    answer = enroll(api, legacy(api, flow), "PERSON1@acme.example")
    assert (answer.status_code, answer.content) == (204, b"")
    assert inside(api, flow) == ["1"]
    current = api.get("/automation/v2/workflows/enrollments/contacts/1").json()
    assert [entry["id"] for entry in current] == [legacy(api, flow)]
    assert enroll(api, legacy(api, flow), "person1@acme.example", "DELETE").status_code == 204
    assert inside(api, flow) == [] and api.get("/automation/v2/workflows/enrollments/contacts/1").json() == []
    assert sandbox.state.workflows.standing(flow).history[0].ended_as == "api"


def test_the_v2_call_says_the_same_whether_it_had_an_effect_or_not(world):
    _, api = world
    once = make(api, {"mail": "7001"}, again=False)
    for _ in range(2):
        assert enroll(api, legacy(api, once), "person1@acme.example").status_code == 204
    assert len(passages(api, once)) == 1
    often = make(api, {"mail": "7001"}, name="Often")
    for _ in range(2):
        assert enroll(api, legacy(api, often), "person2@acme.example").status_code == 204
    assert len(passages(api, often)) == 2  # through at once, and in again: repeating is not harmless


def test_the_v2_call_needs_a_workflow_that_is_on(world):
    _, api = world
    flow = make(api, enabled=False)
    assert enroll(api, legacy(api, flow), "person1@acme.example").status_code == 412


# --- lists that filter ---


def members(api, list_id):
    return [row["recordId"] for row in api.get(api.lists(f"/{list_id}/memberships?limit=250")).json()["results"]]


def test_rosters_show_who_has_been_in_who_is_and_who_went_through(world):
    sandbox, api = world
    entry = api.make_list()
    flow = make(api, list_id=entry)
    rosters = {
        name: api.make_list(name, processingType="DYNAMIC", filterBranch=in_list(flow, roster=f"WORKFLOWS_{name}"))
        for name in ("ENROLLMENT", "ACTIVE", "COMPLETED")
    }
    join(api, entry, "1", "2")
    leave(api, entry, "1")
    assert {name: members(api, i) for name, i in rosters.items()} == {
        "ENROLLMENT": ["1", "2"],
        "ACTIVE": ["2"],
        "COMPLETED": [],
    }
    sandbox.advance(31 * DAY)
    assert {name: members(api, i) for name, i in rosters.items()} == {
        "ENROLLMENT": ["1", "2"],
        "ACTIVE": [],
        "COMPLETED": ["2"],
    }


def test_a_dynamic_list_follows_properties_other_lists_and_the_calendar(world):
    sandbox, api = world
    source = api.make_list("source")
    on_source = api.make_list("on source", processingType="DYNAMIC", filterBranch=in_list(source))
    ctos = api.make_list("ctos", processingType="DYNAMIC", filterBranch=text_is("role", "cto"))
    days_ago = {
        "operationType": "TIME_POINT",
        "operator": "IS_BEFORE",
        "propertyParser": "VALUE",
        "endpointBehavior": "EXCLUSIVE",
        "includeObjectsWithNoValueSet": False,
        "timePoint": {
            "timeType": "INDEXED",
            "indexReference": {"referenceType": "TODAY"},
            "offset": {"days": -2},
            "timezoneSource": "CUSTOM",
            "zoneId": "Europe/Amsterdam",
        },
    }
    api.control(
        "contacts", {"contacts": [{"id": "7", "properties": {"hs_email_last_click_date": "2026-03-01T12:00:00Z"}}]}
    )
    stale = api.make_list("stale", processingType="DYNAMIC", filterBranch=by("hs_email_last_click_date", days_ago))
    assert len(members(api, ctos)) == 30 and members(api, on_source) == members(api, stale) == []
    join(api, source, "4")
    api.update({"1": {"role": "developer"}})
    assert members(api, on_source) == ["4"] and "1" not in members(api, ctos)
    sandbox.advance(DAY)
    assert members(api, stale) == []
    sandbox.advance(DAY)
    assert members(api, stale) == ["7"]
    refused = api.put(
        api.lists(f"/{on_source}/update-list-filters"),
        {"filterBranch": in_list(on_source)},
    )
    assert refused.status_code == 400
    api.put(api.lists(f"/{on_source}/update-list-filters"), {"filterBranch": in_list(ctos)})
    assert members(api, on_source) == members(api, ctos)


def by(name, operation):
    branch = property_is(name)
    branch["filterBranches"][0]["filters"][0]["operation"] = operation
    return branch


def text_is(name, value):
    return by(
        name,
        {
            "operationType": "MULTISTRING",
            "operator": "IS_EQUAL_TO",
            "values": [value],
            "includeObjectsWithNoValueSet": False,
        },
    )


@pytest.mark.parametrize(
    "branch",
    [
        {"filterBranchType": "AND", "filterBranchOperator": "AND", "filters": [], "filterBranches": []},
        {"filterBranchType": "OR", "filterBranchOperator": "OR", "filters": [], "filterBranches": []},
        by("winback_segment", {"operationType": "ENUMERATION", "operator": "IS_NOT_EQUAL_TO", "values": ["x"]}),
        in_list("1", roster="WORKFLOWS_DREAMT"),
        {**in_list("1"), "filters": [{"filterType": "CONSTANT", "shouldAccept": True}]},
    ],
)
def test_broken_filters_are_refused_when_written(world, branch):
    _, api = world
    body = {"name": "x", "objectTypeId": "0-1", "processingType": "DYNAMIC", "filterBranch": branch}
    answer = api.post(api.lists(), body)
    assert (answer.status_code, answer.json()["subCategory"]) == (400, "ILS.INVALID_FILTER_BRANCH")


# --- what workflows do ---


def test_steps_wait_for_a_date_write_branch_and_move_between_lists(world):
    sandbox, api = world
    api.make_segment_property()
    entry, done = api.make_list(), api.make_list("done")
    api.control(
        "contacts", {"contacts": [{"id": "1", "properties": {"hs_email_last_send_date": "2026-03-05T10:00:00Z"}}]}
    )
    steps = (
        {"wait_until": "hs_email_last_send_date"},
        {"set": {"name": "winback_segment", "value": "cold"}},
        {"add_to": done},
        {"remove_from": entry},
    )
    flow = make(api, *steps, list_id=entry)
    join(api, entry, "1", "2")
    assert members(api, done) == ["2"]  # a date that is not set waits no time
    sandbox.advance(3 * DAY)
    assert members(api, done) == ["2"]
    sandbox.advance(DAY)
    assert members(api, done) == ["1", "2"] and members(api, entry) == []
    assert api.get(api.contacts("/1?properties=winback_segment")).json()["properties"]["winback_segment"] == "cold"
    assert [what["what"] for what in passages(api, flow, contact=1)[0]["path"]] == [
        "waits",
        "set winback_segment",
        "onto the list done",
        "off the list winback · dormant_30",
    ]


def test_branches_choose_by_list_value_and_chance(world):
    _, api = world
    vip = api.make_list("vip")
    join(api, vip, "1")

    def send(number, **more):
        return {
            "type": "SINGLE_CONNECTION",
            "actionId": number,
            "actionTypeId": "0-4",
            "actionTypeVersion": 0,
            "fields": {"content_id": number, "wrong_field": "dropped"},
            **more,
        }

    def to(number):
        return {"connection": {"edgeType": "STANDARD", "nextActionId": number}}

    body = workflow("Branches", [])
    body["startActionId"] = "1"
    body["actions"] = [
        {
            "type": "LIST_BRANCH",
            "actionId": "1",
            "listBranches": [{"branchName": "VIP", "filterBranch": in_list(vip), **to("10")}],
            "defaultBranchName": "Others",
            "defaultBranch": to("2")["connection"],
        },
        {
            "type": "STATIC_BRANCH",
            "actionId": "2",
            "inputValue": {"propertyName": "role", "type": "OBJECT_PROPERTY"},
            "staticBranches": [{"branchValue": "cto", **to("20")}],
            "defaultBranch": to("3")["connection"],
        },
        {
            "type": "AB_TEST_BRANCH",
            "actionId": "3",
            "testBranches": [{"percentage": 50, **to("30")}, {"percentage": 50, **to("31")}],
        },
        *(send(number) for number in ("10", "20", "30", "31")),
    ]
    flow = api.post(FLOWS, body).json()
    assert "wrong_field" not in str(flow) and flow["nextAvailableActionId"] == "32"
    api.control("workflows/members", {"workflow": flow["id"], "add": [str(n) for n in range(1, 21)]})
    got = {mail["contact"]: mail["content"] for mail in mails(api)}
    assert got["1"] == "10" and got["3"] == "20"
    developers = [got[str(n)] for n in range(2, 20, 2)]
    assert set(developers) == {"30", "31"}


def test_actions_keep_to_their_hours_and_blocked_dates(world):
    sandbox, api = world
    entry = api.make_list()
    windows = [
        {"day": day, "startTime": {"hour": 10, "minute": 0}, "endTime": {"hour": 12, "minute": 0}}
        for day in ("TUESDAY", "WEDNESDAY")
    ]
    blocked = [{"month": "MARCH", "dayOfMonth": 3, "year": 2026}]
    make(api, {"mail": "7001"}, list_id=entry, timeWindows=windows, blockedDates=blocked)
    join(api, entry, "1")  # Monday, 9:00
    sandbox.advance(7 * DAY)
    assert [mail["at"] for mail in mails(api)] == ["2026-03-04T10:00:00Z"]


def test_the_flows_api_keeps_revisions_and_replaces_as_a_whole(world):
    _, api = world
    flow = make(api)
    held = api.get(f"{FLOWS}/{flow}").json()
    renamed = api.put(f"{FLOWS}/{flow}", {**held, "name": "Other"}).json()
    assert (renamed["name"], renamed["revisionId"]) == ("Other", "2")
    assert api.put(f"{FLOWS}/{flow}", {**held, "name": "Late"}).status_code == 409
    assert api.put(f"{FLOWS}/{flow}", {"name": "Part"}).status_code == 400
    assert [f["name"] for f in api.get(FLOWS).json()["results"]] == ["Other"]
    assert api.call("DELETE", f"{FLOWS}/{flow}").status_code == 204
    assert api.get(f"{FLOWS}/{flow}").status_code == 404


@pytest.mark.parametrize(
    "broken",
    [
        {"type": "PLATFORM_FLOW"},
        {"enrollmentCriteria": {"type": "SOMEHOW"}},
        {"startActionId": "99"},
        {"actions": [{"type": "SINGLE_CONNECTION", "actionId": "1", "actionTypeId": "0-777", "fields": {}}]},
    ],
)
def test_broken_workflows_are_refused(world, broken):
    _, api = world
    assert api.post(FLOWS, {**workflow("Broken", []), **broken}).status_code == 400
    assert api.get(FLOWS).json()["results"] == []

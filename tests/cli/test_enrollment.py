"""Enrollment in HubSpot workflows, every way there is, told from what the sandbox's workflows saw."""

from __future__ import annotations

from datetime import timedelta

import pytest
import requests

from tests.cli.test_program import DORMANT, STEPS, day, run, step_lists, use, with_program


def workflow(sandbox, name: str, **more) -> dict:
    return sandbox.control("POST", "workflows", name=name, steps=[{"mail": name}], **more)


def enrollments(sandbox, name: str) -> dict[str, list[dict]]:
    """By contact: the passages through this workflow."""
    found: dict[str, list[dict]] = {}
    answer = requests.get(
        f"{sandbox.base_url}/_sandbox/enrollments", params={"workflow": name, "limit": 5000}, timeout=30
    ).json()
    for passage in answer["enrollments"]:
        found.setdefault(passage["contact"], []).append(passage)
    return found


def days_go_by(acme, sandbox, *numbers: int) -> None:
    """Runs on these days, the sandbox's clock going with them."""
    for before, number in zip((0, *numbers), numbers, strict=False):
        sandbox.advance((number - before) * 86_400)
        run(acme, number)


@pytest.mark.soak
def test_joining_a_steps_list_sends_its_mail_once_and_leaving_ends_it(acme, sandbox):
    with_program(acme)
    run(acme, 0)
    for step in STEPS:
        workflow(sandbox, step, list=f"winback · win-back · {step}", leaving_ends_it=True)
    days_go_by(acme, sandbox, 1, 2, 7, 8, 14, 21)
    sandbox.advance(3600)
    for step in STEPS:
        assert enrollments(sandbox, step).keys() >= DORMANT
        assert all(len(passages) == 1 for passages in enrollments(sandbox, step).values())


def test_with_the_crm_doing_the_waiting_there_is_one_list_and_the_exit_is_ours(acme, sandbox):
    with_program(acme, **{"  enroll: [": "  driver: crm\n  enroll: ["})
    run(acme, 0)
    entry = "winback · win-back"
    assert set(sandbox.members_by_list()[entry]) == DORMANT
    use(acme, sandbox, 45, on=4)
    for number in (1, 5, 7):
        run(acme, number)
    assert "1045" not in sandbox.members_by_list()[entry]
    assert set(sandbox.members_by_list()[entry]) >= DORMANT - {"1045"}
    assert not step_lists(sandbox)
    told = acme.run("status", "--json").json["programs"][0]
    assert told["exits"] == {"reactivated": 1}


def enrolling_directly(acme, sandbox) -> None:
    """A program whose steps each enroll in a workflow of their own."""
    flows = {step: workflow(sandbox, step, list=None, again=False) for step in STEPS}
    steps = {
        f"{{name: {step}, day: {day}}}": f'{{name: {step}, day: {day}, workflow: "{flows[step]["workflow_id"]}"}}'
        for step, day in zip(STEPS, (1, 7, 14, 21), strict=True)
    }
    with_program(acme, **steps)
    text = acme.config.read_text().replace(
        "lists: {segments: true, steps: true}", "lists: {segments: true}, enroll: workflow"
    )
    acme.config.write_text(text)


def test_direct_enrollment_enrolls_each_contact_once_and_takes_out_who_comes_back(acme, sandbox):
    enrolling_directly(acme, sandbox)
    checked = acme.run("check")
    assert checked.code == 0, checked.out + checked.err
    run(acme, 0)
    days_go_by(acme, sandbox, 1, 2)
    assert enrollments(sandbox, "reminder").keys() == DORMANT
    days_go_by(acme, sandbox, 3)
    assert all(len(passages) == 1 for passages in enrollments(sandbox, "reminder").values())
    assert not step_lists(sandbox)


def test_enrollments_nobody_can_tell_of_yet_are_counted_as_unknown_until_the_crm_can(acme, sandbox):
    enrolling_directly(acme, sandbox)
    run(acme, 0)
    sandbox.advance(86_400)
    lost = {"kind": "reset", "path": "/enrollments/contacts/", "when": "before", "calls": [2, 5]}
    sandbox.control("POST", "faults", faults=[lost])
    told = [acme.run("run", "--json", now=day(1)) for _ in range(2)]
    assert [(done.code, done.json["unknown"], done.json["rejected"]) for done in told] == [(3, 2, 0)] * 2
    assert told[0].json["written"] > 0
    assert "2 cannot be told yet" in told[1].err
    assert len(enrollments(sandbox, "reminder")) == len(DORMANT) - 2
    sandbox.advance(3600)
    after = acme.run("run", "--json", now=day(1) + timedelta(hours=1))
    assert (after.code, after.json["unknown"], after.json["rejected"]) == (0, 0, 0)
    assert {contact: len(passages) for contact, passages in enrollments(sandbox, "reminder").items()} == dict.fromkeys(
        DORMANT, 1
    )

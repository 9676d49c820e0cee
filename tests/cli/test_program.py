"""The program as a user runs it: in by priority, from step to step, out at once, and nobody who must be left alone."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.fakes.installation import NOON, Installation
from tests.fakes.people import BOUNCED, OPTED_OUT, TODAY

STEPS = ("reminder", "offer", "last_chance", "feedback")
DORMANT = {str(1000 + n) for n in range(31, 61)} - {str(1000 + n) for n in (*OPTED_OUT, *BOUNCED)}

PROGRAM = """\
program:
  name: win-back
  enroll: [dormant_90, dormant_60, dormant_30]
  steps:
    - {name: reminder, day: 1}
    - {name: offer, day: 7}
    - {name: last_chance, day: 14}
    - {name: feedback, day: 21}
  ends_after: 7d
  holdout: {share: HOLDOUT}
  caps: {per_contact: 4 in 30d, gap: 3d, per_day: PER_DAY, quiet_after: 90d}
  consent: {profile: gdpr_strict, max_age: 48h, assume_country: NL}
  sunset: {after_episodes: 1, segment: sunset}

"""


def with_program(acme: Installation, *, holdout: str = "0%", per_day: int = 5000, **words: str) -> Installation:
    text = PROGRAM.replace("HOLDOUT", holdout).replace("PER_DAY", str(per_day))
    for old, new in words.items():
        assert old in text, old
        text = text.replace(old, new)
    acme.write_playbook(
        ("guards:", f"{text}guards:"), ("lists: {segments: true}", "lists: {segments: true, steps: true}")
    )
    return acme


def day(number: int) -> datetime:
    return NOON + timedelta(days=number)


def run(acme: Installation, number: int) -> dict:
    done = acme.run("run", "--json", now=day(number))
    assert done.code == 0, done.err
    return done.json


def step_lists(sandbox) -> dict[str, set[str]]:
    prefix = "winback · win-back · "
    return {
        name.removeprefix(prefix): set(ids)
        for name, ids in sandbox.members_by_list().items()
        if name.startswith(prefix)
    }


def use(acme: Installation, sandbox, *numbers: int, on: int) -> None:
    """These people use the product on that day."""
    at = (TODAY + timedelta(days=on)).isoformat()
    acme.write_usage([(f"u{number}", at, "editor") for number in numbers], name=f"usage-day-{on}.csv")


def test_the_cadence_walks_from_list_to_list_and_ends_in_sunset(acme, sandbox):
    with_program(acme)
    run(acme, 0)
    assert step_lists(sandbox) == {step: set() for step in STEPS}
    for number, step in ((1, "reminder"), (7, "offer"), (14, "last_chance"), (21, "feedback")):
        run(acme, number)
        assert step_lists(sandbox) == {name: DORMANT if name == step else set() for name in STEPS}, number
        assert sandbox.properties_of("1045")["winback_step"] == step
        run(acme, number + 1)
        assert step_lists(sandbox)[step] == DORMANT
    run(acme, 28)
    assert not DORMANT & set().union(*step_lists(sandbox).values())
    assert set(sandbox.members_by_list()["winback · sunset"]) == DORMANT
    told = acme.run("explain", "u45", "--json", now=day(29)).json
    assert told["program"]["state"] == "sunset"


def test_who_comes_back_is_out_at_the_next_run_and_out_wins_over_a_due_step(acme, sandbox):
    with_program(acme)
    run(acme, 0)
    run(acme, 1)
    use(acme, sandbox, 45, on=6)
    run(acme, 7)
    lists = step_lists(sandbox)
    assert "1045" not in set.union(*lists.values())
    assert lists["offer"] == DORMANT - {"1045"}
    assert not sandbox.properties_of("1045").get("winback_step")
    status = acme.run("status", "--json", now=day(7)).json
    assert status["programs"][0]["exits"] == {"reactivated": 1}
    told = acme.run("explain", "u45", now=day(7))
    assert (
        "before: in win-back from 2026-06-15 to 2026-06-22, after the step reminder: uses the product again" in told.out
    )


def test_an_opt_out_between_plan_and_apply_is_honoured_and_told_to_the_crm(acme, sandbox):
    with_program(acme)
    run(acme, 0)
    assert acme.run("pull", now=day(1)).code == 0
    assert acme.run("plan", now=day(1)).code == 0
    said = acme.run("consent", "opt-out", "u45", "--source", "a call", now=day(1) + timedelta(minutes=1))
    assert said.code == 0, said.err
    applied = acme.run("apply", "--yes", "--json", now=day(1) + timedelta(minutes=2))
    assert applied.code == 0, applied.err
    assert "1045" not in step_lists(sandbox)["reminder"]
    run(acme, 2)
    assert not any("1045" in ids for ids in sandbox.members_by_list().values())
    assert sandbox.properties_of("1045")["hs_email_optout"] == "true"


def test_without_a_known_permission_nobody_is_on_any_list(acme, sandbox):
    from dataclasses import replace

    from tests.fakes.people import people

    refusing = {"hubspot:1042", "hubspot:1043"}
    sandbox.seed([replace(p, can_email=p.contact_id not in refusing) for p in people()], ())
    with_program(acme)
    acme.run("pull")
    plan = acme.run("plan", "--json").json
    assert plan["excluded"]["no_consent"] == 2
    run(acme, 0)
    run(acme, 1)
    everybody = set().union(*(set(ids) for ids in sandbox.members_by_list().values()))
    assert not {"1042", "1043"} & everybody
    assert not sandbox.properties_of("1042").get("winback_segment")


def test_the_holdout_appears_in_nothing_that_is_written(acme, sandbox):
    with_program(acme, holdout="50%")
    acme.run("pull")
    plan = acme.run("plan", "--json").json
    assert 0 < plan["holdout"] < len(DORMANT)
    assert plan["changes"]["enroll"] == len(DORMANT) - plan["holdout"]
    for number in (0, 1, 7):
        run(acme, number)
    reminded = step_lists(sandbox)["offer"]
    held_out = DORMANT - reminded
    assert len(held_out) == plan["holdout"]
    assert not any(held_out & set(ids) for ids in sandbox.members_by_list().values())
    for row_id in held_out:
        assert not any(v for name, v in sandbox.properties_of(row_id).items() if name.startswith("winback_")), row_id
    written = [entry for entry in sandbox.log() if entry["method"] in {"PUT", "POST", "PATCH"}]
    bodies = " ".join(str(entry.get("body")) for entry in written if "/search" not in entry["path"])
    assert bodies
    told = acme.run("explain", f"hubspot:{min(held_out)}", "--json", now=day(7)).json
    assert told["program"]["state"] == "held_out"


def test_explain_names_the_steps_list_and_what_comes_next(acme, sandbox):
    with_program(acme)
    run(acme, 0)
    run(acme, 1)
    told = acme.run("explain", "u45", now=day(1))
    assert told.code == 0, told.err
    assert "in the program win-back, at the step reminder" in told.out
    assert "winback · win-back · reminder" in told.out
    assert "next: 2026-06-22: offer" in told.out


@pytest.mark.soak
def test_the_daily_cap_lets_in_so_many_a_day_by_priority(acme, sandbox):
    with_program(acme, per_day=4)
    acme.run("pull")
    plan = acme.run("plan", "--json").json
    assert plan["changes"]["enroll"] == 4
    assert plan["deferred"]["daily_cap"] == len(DORMANT) - 4
    assert plan["programs"]["win-back"]["enter"] == {"dormant_90": 4}
    run(acme, 0)
    run(acme, 1)
    assert len(step_lists(sandbox)["reminder"]) == 4
    assert step_lists(sandbox)["reminder"] <= {str(1000 + n) for n in range(51, 61)}


@pytest.mark.soak
def test_a_person_taken_off_a_step_list_by_hand_is_not_put_back(acme, sandbox):
    import requests

    with_program(acme)
    run(acme, 0)
    run(acme, 1)
    lists = {held["name"]: list_id for list_id, held in _lists(sandbox).items()}
    requests.put(
        f"{sandbox.base_url}/crm/v3/lists/{lists['winback · win-back · reminder']}/memberships/remove",
        json=["1045"], headers={"Authorization": f"Bearer {sandbox.auth['token']}"}, timeout=30,
    ).raise_for_status()  # fmt: skip
    assert acme.run("plan", "--refresh", now=day(2)).code == 0
    run(acme, 2)
    assert "1045" not in step_lists(sandbox)["reminder"]
    run(acme, 7)
    assert "1045" in step_lists(sandbox)["offer"]


def _lists(sandbox) -> dict[str, dict]:
    import requests

    answer = requests.post(
        f"{sandbox.base_url}/crm/v3/lists/search",
        json={"query": "winback", "count": 100, "offset": 0, "processingTypes": [], "listIds": [],
              "additionalProperties": []},
        headers={"Authorization": f"Bearer {sandbox.auth['token']}"}, timeout=30,
    )  # fmt: skip
    return {held["listId"]: held for held in answer.json()["lists"]}


def test_undoing_a_step_takes_people_off_and_never_puts_them_back_on_the_step_before(acme, sandbox):
    with_program(acme)
    run(acme, 0)
    run(acme, 1)
    moved = run(acme, 7)
    undone = acme.run("undo", moved["run_id"], "--yes", now=day(7) + timedelta(hours=1))
    assert undone.code == 0, undone.err
    assert not any(step_lists(sandbox).values())
    run(acme, 8)
    assert not step_lists(sandbox)["offer"]
    run(acme, 14)
    assert step_lists(sandbox)["last_chance"] == DORMANT


@pytest.mark.soak
def test_a_snooze_is_kept_until_its_day(acme, sandbox):
    with_program(acme)
    run(acme, 0)
    assert acme.run("consent", "snooze", "u45", "--until", "2026-07-15", now=day(1)).code == 0
    run(acme, 1)
    assert not any("1045" in ids for ids in sandbox.members_by_list().values())
    shown = acme.run("consent", "show", "u45", "--json", now=day(2)).json
    assert (shown["may_be_mailed"], shown["reason"]) == (False, "snoozed")


def test_plan_says_what_would_enter_what_waits_and_what_can_be_detected(acme):
    with_program(acme, holdout="20%", per_day=10)
    acme.run("pull")
    shown = acme.run("plan")
    assert shown.code == 0, shown.err
    assert "Program win-back" in shown.out
    assert "holdout 20.0 %" in shown.out
    assert "today's touches are used up" in shown.out
    assert "points on" in shown.out or "too few people to detect any lift" in shown.out


def test_an_opt_out_takes_effect_even_when_a_guard_refuses_the_run(acme, sandbox):
    with_program(acme)
    run(acme, 0)
    run(acme, 1)
    acme.run("consent", "opt-out", "u45", now=day(2))
    acme.config.write_text(acme.config.read_text().replace("stale_source: 3000d", "stale_source: 1h"))
    refused = acme.run("run", now=day(2))
    assert refused.code == 5
    assert "come off the lists all the same" in refused.err
    assert not any("1045" in ids for ids in sandbox.members_by_list().values())
    assert step_lists(sandbox)["reminder"] == DORMANT - {"1045"}
    told = acme.run("status", "--json", now=day(2)).json["programs"][0]
    assert told["exits"] == {"unsubscribed": 1}


@pytest.mark.soak
def test_leaving_the_program_out_of_the_playbook_ends_it(acme, sandbox):
    with_program(acme)
    run(acme, 0)
    run(acme, 1)
    acme.write_playbook(("lists: {segments: true}", "lists: {segments: true, steps: true}"))
    done = acme.run("run", "--json", now=day(2))
    assert done.code == 0, done.err
    assert not any(step_lists(sandbox).values())
    with_program(acme)
    run(acme, 3)
    assert not any(step_lists(sandbox).values())


def test_two_programs_share_the_people_by_priority(acme, sandbox):
    with_program(acme)
    text = acme.config.read_text()
    block = text[text.index("program:") : text.index("guards:")]
    second = block.replace("program:\n", "").replace("name: win-back", "name: leads-first")
    second = second.replace("enroll: [dormant_90, dormant_60, dormant_30]", "enroll: [leads]")
    lines = [f"  {line}" if line.strip() else line for line in block.replace("program:\n", "").splitlines()]
    first_lines = [f"  {line}" if line.strip() else line for line in second.splitlines()]

    def item(rows: list[str]) -> str:
        return "\n".join(rows).replace("    name:", "  - name:", 1)

    acme.config.write_text(text.replace(block, f"programs:\n{item(first_lines)}\n{item(lines)}\n\n"))
    run(acme, 0)
    run(acme, 1)
    lists = {name: set(ids) for name, ids in sandbox.members_by_list().items()}
    assert lists["winback · leads-first · reminder"] == {"1031", "1041", "1051"}
    assert lists["winback · win-back · reminder"] == DORMANT - {"1031", "1041", "1051"}

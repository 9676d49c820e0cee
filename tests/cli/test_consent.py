"""What people allowed and forbade, as an operator handles it: look, write down, import, export."""

from __future__ import annotations

import csv
import stat
from datetime import timedelta

import pytest

from tests.cli.test_program import day, run, step_lists, with_program
from tests.fakes.installation import NOON


def lists_with(sandbox, row_id: str) -> list[str]:
    return [name for name, ids in sandbox.members_by_list().items() if row_id in ids]


def test_an_imported_suppression_list_keeps_people_off_everything_and_tells_the_crm(acme, sandbox, tmp_path):
    with_program(acme)
    run(acme, 0)
    listed = tmp_path / "old-tool.csv"
    listed.write_text("email,reason,date\nPerson45@example.com,unsubscribed,2024-01-01\nnot an address,,\n")
    taken = acme.run("consent", "import", str(listed), "--source", "old mail tool", "--basis", "objections", "--json")
    assert taken.code == 3
    assert taken.json == {"schema_version": 1, "new": 1, "known": 0, "set_aside": 1}
    assert "old-tool.csv:3" in taken.err
    assert "person45" not in (taken.err + taken.out).lower()
    again = acme.run("consent", "import", str(listed), "--source", "old mail tool", "--basis", "objections", "--json")
    assert (again.json["new"], again.json["known"]) == (0, 1)
    run(acme, 1)
    assert not lists_with(sandbox, "1045")
    assert sandbox.properties_of("1045")["hs_email_optout"] == "true"


def test_a_list_taken_in_between_plan_and_apply_holds_at_once(acme, sandbox, tmp_path):
    with_program(acme)
    run(acme, 0)
    acme.run("pull", now=day(1))
    acme.run("plan", now=day(1))
    listed = tmp_path / "objections.csv"
    listed.write_text("person45@example.com\n")
    assert acme.run("consent", "import", str(listed), "--source", "desk", "--basis", "objection", now=day(1)).code == 0
    applied = acme.run("apply", "--yes", "--json", now=day(1))
    assert applied.code == 0, applied.err
    assert "1045" not in step_lists(sandbox)["reminder"]


def test_a_list_nobody_can_account_for_is_not_taken_in(acme, tmp_path):
    with_program(acme)
    listed = tmp_path / "bought.csv"
    listed.write_text("email\nperson45@example.com\n")
    assert acme.run("consent", "import", str(listed), "--source", " ", "--basis", "none").code == 2
    assert acme.run("consent", "import", str(listed)).code == 2


def test_an_export_brings_the_list_to_another_installation(acme, tmp_path):
    with_program(acme)
    acme.run("pull")
    assert acme.run("consent", "opt-out", "u45").code == 0
    exported = tmp_path / "suppressed.csv"
    assert acme.run("consent", "export", str(exported)).code == 0
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    assert "person45" not in exported.read_text()
    assert acme.run("consent", "export", str(exported), "--addresses").code == 0
    (row,) = csv.DictReader(exported.read_text().splitlines())
    assert (row["email"], row["reason"]) == ("person45@example.com", "opted_out")


@pytest.mark.soak
def test_a_snooze_ends_by_itself_and_is_shown_until_then(acme, sandbox):
    with_program(acme)
    acme.run("pull")
    assert acme.run("consent", "snooze", "u45", "--until", "2026-06-20").code == 0
    shown = acme.run("consent", "show", "u45", "--json").json
    assert (shown["may_be_mailed"], shown["reason"]) == (False, "snoozed")
    run(acme, 0)
    assert not lists_with(sandbox, "1045")
    run(acme, 6)
    assert "winback · dormant_60" in lists_with(sandbox, "1045")
    assert acme.run("consent", "snooze", "u45", "--until", "2020-01-01", now=day(6)).code == 2


def test_only_a_return_with_evidence_lifts_an_opt_out(acme, sandbox):
    with_program(acme)
    acme.run("pull")
    acme.run("consent", "opt-out", "u45")
    later = NOON + timedelta(hours=1)
    bare = acme.run("consent", "resubscribe", "u45", "--evidence", " ", now=later)
    assert bare.code == 2
    assert acme.run("consent", "show", "u45", "--json", now=later).json["reason"] == "opted_out"
    back = acme.run("consent", "resubscribe", "u45", "--evidence", "preferences page, wording 4", now=later)
    assert back.code == 0, back.err
    shown = acme.run("consent", "show", "u45", "--json", now=later).json
    assert shown["may_be_mailed"]
    assert [line["status"] for line in shown["ledger"]] == ["withdrawn", "resubscribed"]


def test_the_radar_counts_who_can_be_reached_in_each_segment(acme):
    with_program(acme)
    acme.run("pull")
    counted = acme.run("consent", "radar", "--json").json["segments"]
    assert counted["dormant_60"]["people"] == 10
    assert counted["dormant_60"]["reachable"] == 9
    table = acme.run("consent", "radar")
    assert "dormant_60" in table.out


def test_consent_that_was_not_read_for_too_long_moves_nobody_either_way(acme, sandbox):
    with_program(acme)
    run(acme, 0)
    run(acme, 1)
    before = sandbox.members_by_list()
    late = day(7)
    assert acme.run("plan", "--json", now=late).json["excluded"]["consent_stale"] > 0
    applied = acme.run("apply", "--yes", now=late)
    assert applied.code == 0, applied.err
    assert sandbox.members_by_list() == before
    run(acme, 8)
    assert len(step_lists(sandbox)["offer"]) > 0


@pytest.mark.soak
def test_an_operator_takes_somebody_out_by_hand(acme, sandbox):
    with_program(acme)
    run(acme, 0)
    run(acme, 1)
    out = acme.run("program", "exit", "u45", now=day(2))
    assert out.code == 0, out.err
    run(acme, 2)
    assert "1045" not in step_lists(sandbox)["reminder"]
    run(acme, 7)
    assert "1045" not in step_lists(sandbox)["offer"]
    told = acme.run("explain", "u45", "--json", now=day(7)).json["program"]
    assert (told["state"], told["reason"]) == ("deferred", "same_spell")


def test_a_link_says_nothing_about_whom_it_is_for(acme):
    with_program(acme)
    acme.write_playbook(("guards:", "links: {public_base_url: https://winback.acme.example}\n\nguards:"))
    acme.run("pull")
    made = acme.run("links", "make", "u45", "--action", "unsubscribe")
    assert made.code == 0, made.err
    assert made.out.startswith("https://winback.acme.example/l/")
    assert "1045" not in made.out
    assert acme.run("links", "make", "u45", "--action", "unsubscribe", now=NOON + timedelta(days=1)).out == made.out


def test_who_gave_no_sign_for_three_years_is_proposed_for_deletion_and_nobody_else(acme):
    with_program(acme)
    acme.run("pull")
    assert acme.run("consent", "retention", "--json").json["proposed"] == []
    later = NOON.replace(year=2029, month=5)
    proposed = acme.run("consent", "retention", "--json", now=later).json["proposed"]
    # Silent for 90 days and more in June 2026: last seen before May 2026, three years before.
    assert {row["contact_id"] for row in proposed} >= {f"hubspot:{1000 + n}" for n in range(52, 60)}
    assert "hubspot:1005" not in {row["contact_id"] for row in proposed}
    assert all(row["keep_until"] <= "2029-05-15" for row in proposed)

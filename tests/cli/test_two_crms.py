"""Two CRMs in one install, as a user runs it: both read, both written, everybody worked in one and shown in the other."""

from __future__ import annotations

from unittest import mock

import pytest

from connector import programs
from tests.fakes.two_crms import STEP_LISTS, TwoCrms

SEGMENTS = ("winback · dormant_30", "winback · dormant_60")


@pytest.fixture
def both(tmp_path):
    """1 and A are one person, by address; 2 is in the first CRM alone, B in the second; 3 is active."""
    made = TwoCrms(tmp_path)
    made.a.add("1", email="both@acme.example", external_id="u1")
    made.a.add("2", email="first@acme.example", external_id="u2")
    made.a.add("3", email="active@acme.example", external_id="u4")
    made.b.add("A", email="Both@acme.example", plan_tier="pro")
    made.b.add("B", email="second@acme.example", external_id="u3")
    made.uses({"u1": 40, "u2": 70, "u3": 45, "u4": 2})
    return made


def done(outcome):
    assert outcome.code == 0, outcome.err
    return outcome.json


def test_everybody_is_worked_in_the_first_crm_that_knows_them_and_shown_in_the_others(both):
    report = done(both.cli("run", "--json"))
    assert both.a.on(*STEP_LISTS) == {"1", "2"}
    assert both.b.on(*STEP_LISTS) == {"B"}
    assert both.b.on(*SEGMENTS) == {"A", "B"}
    assert both.b.values["A"]["winback_step"] == "reminder"
    assert both.b.values["A"]["winback_segment"] == "dormant_30"
    assert set(report["destinations"]) == set(report["api_calls"]) == {"a", "b"}
    assert report["written"] == sum(part["written"] for part in report["destinations"].values()) > 0
    assert {part["run_id"] for part in report["destinations"].values()} == {report["run_id"]}
    again = done(both.cli("run", "--json", day=0.1))
    assert again["written"] == 0


def test_the_shorter_way_through_a_large_crowd_comes_to_the_same(both):
    both.b.opt_out_by_hand("A")
    both.cli("pull")
    one_by_one = done(both.cli("plan", "--json"))
    with mock.patch.object(programs, "LARGE", 0):
        at_once = done(both.cli("plan", "--json"))
    assert one_by_one["plan_id"] == at_once["plan_id"]
    assert one_by_one["excluded"] == {"opted_out": 1}


def test_a_plan_for_each_is_shown_and_then_carried_out(both):
    done_pulling = both.cli("pull")
    assert done_pulling.code == 0, done_pulling.err
    shown = both.cli("plan", "--json", "--detailed-exitcode")
    assert shown.code == 4, shown.err
    document = shown.json
    parts = document["destinations"]
    assert list(parts) == ["a", "b"]
    assert document["changes"] == {
        key: parts["a"]["changes"][key] + parts["b"]["changes"][key]
        for key in ("add", "remove", "set", "enroll", "exit")
    }
    assert document["changes"]["enroll"] == 3
    assert document["excluded"] == {}, "nobody is left out for being in one CRM alone"
    assert parts["b"]["after"] == [parts["a"]["plan_id"]]
    assert not both.a.holdings()
    applied = done(both.cli("apply", "--yes", "--json"))
    assert applied["plan_id"] == document["plan_id"]
    assert both.b.on(*STEP_LISTS) == {"B"}
    assert both.cli("plan", "--detailed-exitcode", day=0.01).code == 0


def test_plans_are_carried_out_one_by_one_as_well(both):
    both.cli("pull")
    document = done(both.cli("plan", "--json"))
    files = {name: part["file"] for name, part in document["destinations"].items()}
    assert len(set(files.values())) == 2
    done(both.cli("apply", files["a"], "--yes", "--json"))
    assert both.a.on(*STEP_LISTS) == {"1", "2"}
    assert not both.b.holdings()
    done(both.cli("apply", files["b"], "--yes", "--json"))
    assert both.b.on(*STEP_LISTS) == {"B"}
    assert both.b.values["A"]["winback_step"] == "reminder"


def test_a_plan_whose_decisions_moved_for_another_reason_is_stale(both):
    both.cli("pull")
    files = {name: part["file"] for name, part in done(both.cli("plan", "--json"))["destinations"].items()}
    done(both.cli("apply", files["a"], "--yes", "--json"))
    run_id = done(both.cli("apply", files["a"], "--yes", "--json"))["run_id"]
    assert run_id
    with both.opened() as workspace:
        (episode, *_) = workspace.journal.episodes.everybody()
        workspace.journal.episodes.rekey({episode.contact_id: "alpha:99"})
    refused = both.cli("apply", files["b"], "--yes")
    assert refused.code == 5
    assert not both.b.holdings()


def test_a_named_file_becomes_one_for_each_crm(both, tmp_path):
    both.cli("pull")
    shown = both.cli("plan", "--out", str(tmp_path / "mine.json"))
    assert shown.code == 0, shown.err
    assert (tmp_path / "mine.a.json").exists()
    assert f"winback apply {tmp_path / 'mine.b.json'}" in shown.out


@pytest.mark.parametrize("said_in", ["a", "b"])
def test_an_opt_out_in_either_reaches_both(both, said_in):
    done(both.cli("run", "--json"))
    here, there, rows = (both.a, both.b, "1A") if said_in == "a" else (both.b, both.a, "A1")
    here.opt_out_by_hand(rows[0])
    done(both.cli("run", "--json", day=0.1))
    assert there.unsubscribed == {rows[1]}
    assert not here.unsubscribed, "whoever says so is not told"
    assert "1" not in both.a.on()
    assert "A" not in both.b.on()
    assert not both.b.values.get("A", {}).get("winback_step")
    calls = both.a.calls, both.b.calls
    again = done(both.cli("run", "--json", day=0.2))
    assert again["written"] == 0
    assert (both.a.calls, both.b.calls) == calls, "our own word that comes back is no news"


def test_a_crm_that_is_away_does_not_hold_the_other_up(both):
    both.cli("pull")
    both.b.away = True
    away = both.cli("run", "--json")
    assert away.code == 1
    assert both.a.on(*STEP_LISTS) == {"1", "2"}
    assert away.json["destinations"]["b"]["stopped"]
    assert away.json["destinations"]["a"]["stopped"] is None
    both.b.away = False
    done(both.cli("run", "--json", day=0.1))
    assert both.b.on(*STEP_LISTS) == {"B"}
    assert both.a.joins["winback · win-back · reminder", "1"] == 1


@pytest.mark.soak
def test_while_the_first_is_away_the_second_shows_what_is_so(both):
    both.cli("pull")
    both.a.faults.extend(["unreachable"] * 40)
    away = both.cli("run", "--json")
    assert away.code == 1
    assert both.b.on(*SEGMENTS) == {"A", "B"}
    assert both.b.on(*STEP_LISTS) == {"B"}
    assert "winback_step" not in both.b.values["A"], "the step was not taken"
    both.a.faults.clear()
    done(both.cli("run", "--json", day=0.1))
    assert both.b.values["A"]["winback_step"] == "reminder"
    assert both.a.on(*STEP_LISTS) == {"1", "2"}


@pytest.mark.soak
def test_who_is_left_alone_for_good_stays_so_while_the_first_is_away(both):
    for number in (0, 7, 15):
        done(both.cli("run", "--json", day=number))
    assert "A" in both.b.on("winback · sunset")
    calls = both.b.calls
    both.a.faults.extend(["unreachable"] * 40)
    both.cli("run", "--json", day=15.1)
    assert "A" in both.b.on("winback · sunset")
    assert "A" not in both.b.on(*SEGMENTS)
    assert both.b.calls == calls, "there was nothing to do"


def test_a_guard_that_refuses_one_plan_leaves_the_other(both):
    for number in range(100, 130):
        both.a.add(str(number), email=f"p{number}@acme.example", external_id=f"u{number}")
    crowd = {f"u{number}": 3 for number in range(100, 130)}
    both.uses({"u1": 2, "u2": 2, "u3": 45, **crowd})
    both.write_playbook(("max_change: 100%", "max_change: 20%"), ("per_day: 5000, ", ""))
    done(both.cli("run", "--json"))
    both.b.add("C", email="later@acme.example", external_id="u9")
    both.uses({"u9": 50, "u1": 50}, name="usage-later")
    both.uses({"u2": 2, "u3": 45, **dict.fromkeys(crowd, 40)})
    refused = both.cli("run", "--json", day=0.1)
    assert refused.code == 5, refused.err
    assert "max_change" in refused.json["destinations"]["a"]["stopped"] or "a" in refused.err
    assert "C" in both.b.on(*SEGMENTS)
    assert not both.a.on(*SEGMENTS)


def test_undo_takes_back_what_a_run_did_in_both(both):
    before = both.a.state(), both.b.state()
    both.cli("pull")
    both.cli("plan")
    run_id = done(both.cli("apply", "--yes", "--json"))["run_id"]
    assert (both.a.state(), both.b.state()) != before
    both.b.away = True
    assert both.cli("undo", run_id, "--yes").code == 1
    both.b.away = False
    done(both.cli("undo", run_id, "--yes", "--json"))
    assert (both.a.state(), both.b.state()) == before
    with both.opened() as workspace:
        assert all(episode.exit_reason == "undone" for episode in workspace.journal.episodes.everybody())
    assert both.cli("undo", run_id, "--yes").code == 1


def test_somebody_who_turns_up_in_the_first_crm_keeps_the_place_they_had_in_the_second(both):
    done(both.cli("run", "--json"))
    both.a.add("9", email="second@acme.example")
    done(both.cli("run", "--json", day=1))
    with both.opened() as workspace:
        (episode,) = workspace.journal.episodes.of("alpha:9")
        assert episode.open
        assert episode.step == "reminder"
    assert both.b.on(*STEP_LISTS) == {"B"}, "the mail of the step may still be on its way"
    assert "9" not in both.a.on(*STEP_LISTS)
    assert "9" in both.a.on(*SEGMENTS)
    done(both.cli("run", "--json", day=7))
    assert both.a.on("winback · win-back · offer") == {"1", "2", "9"}
    assert not both.b.on(*STEP_LISTS)
    assert both.b.values["B"]["winback_step"] == "offer"
    assert both.a.joins["winback · win-back · reminder", "9"] == 0


def test_who_is_held_out_appears_in_neither(both):
    both.write_playbook(("share: 0%", "share: 90%"))
    done(both.cli("run", "--json"))
    with both.opened() as workspace:
        held = {episode.contact_id for episode in workspace.journal.episodes.everybody() if episode.held_out}
    assert held
    assert not {f"alpha:{row}" for row in both.a.on()} & held
    assert ("alpha:1" in held) == ("A" not in both.b.on())
    plan = done(both.cli("plan", "--json", day=0.01))
    assert plan["holdout"] == len(held)


def test_the_caps_of_the_install_are_shared(both):
    both.write_playbook(("per_day: 5000", "per_day: 1"))
    done(both.cli("run", "--json"))
    assert len(both.a.on(*STEP_LISTS)) + len(both.b.on(*STEP_LISTS)) == 1


def test_the_primary_may_be_the_second(both):
    both.write_playbook(("match: [external_id, email]", "match: [external_id, email], primary: beta"))
    report = done(both.cli("run", "--json"))
    assert list(report["destinations"]) == ["b", "a"]
    assert both.b.on(*STEP_LISTS) == {"A", "B"}
    assert both.a.on(*STEP_LISTS) == {"2"}
    assert both.a.on(*SEGMENTS) == {"1", "2"}


def test_conditions_read_what_the_believed_crm_says(both):
    both.a.add("1", plan_tier="free")
    both.write_playbook(
        ("match: [external_id, email]", "match: [external_id, email], system_of_record: {plan_tier: beta}"),
        (
            'where: "inactive_days between 30 and 59"',
            "where: \"inactive_days between 30 and 59 and plan_tier = 'pro'\"",
        ),
    )
    done(both.cli("run", "--json"))
    assert both.a.on("winback · dormant_30") == {"1"}


def test_explain_says_in_which_crm_somebody_is_worked(both):
    done(both.cli("run", "--json"))
    told = both.cli("explain", "beta:A", day=0.1)
    assert "alpha:1" in told.out
    assert "worked in a, shown in b as beta:A" in told.out
    assert "on the list winback · dormant_30, winback · win-back · reminder" in told.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("primary: gamma", "is no CRM that is written to"),
        ("primary: files", "is no CRM that is written to"),
        ("system_of_record: {plan_tier: files}", "is no CRM of this playbook"),
        ("system_of_record: {opted_out: beta}", "no column 'opted_out' that one CRM could be believed about"),
    ],
)
def test_what_cannot_be_is_told_with_its_place(both, words, said):
    both.write_playbook(("match: [external_id, email]", f"match: [external_id, email], {words}"))
    wrong = both.cli("segments")
    assert wrong.code == 2
    assert said in wrong.err
    assert "winback.yaml:" in wrong.err


def test_two_accounts_of_one_crm_are_refused(both):
    text = both.config.read_text()
    head, _, tail = text.rpartition("b: {adapter: beta")
    both.config.write_text(f"{head}b: {{adapter: alpha{tail}")
    wrong = both.cli("plan")
    assert wrong.code == 2
    assert "an install of its own" in wrong.err


def test_where_values_alone_start_something_a_step_is_not_shown(both):
    head, _, tail = both.config.read_text().rpartition("  b: {adapter: beta,")
    both.config.write_text(f"{head}  b: {{adapter: beta, enroll: none,{tail}")
    done(both.cli("run", "--json"))
    assert both.b.values["A"]["winback_segment"] == "dormant_30"
    assert "winback_step" not in both.b.values["A"]
    assert both.b.values["B"]["winback_step"] == "reminder"

"""The main job as a user does it: pull, look, plan, apply, run again, undo."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

from tests.fakes.installation import NOON
from tests.fakes.people import BOUNCED, OPTED_OUT, TODAY, people

IN_30 = {str(1000 + n) for n in range(31, 41)} - {str(1000 + n) for n in OPTED_OUT}
IN_60 = {str(1000 + n) for n in range(41, 51)} - {str(1000 + n) for n in OPTED_OUT}
IN_90 = {str(1000 + n) for n in range(51, 61)} - {str(1000 + n) for n in BOUNCED}


def lists_of(sandbox) -> dict[str, set[str]]:
    return {name: set(ids) for name, ids in sandbox.members_by_list().items() if name.startswith("winback")}


def property_of(sandbox, number: int, name: str) -> str | None:
    return sandbox.properties_of(str(1000 + number)).get(name)


def test_a_run_fills_the_lists_with_exactly_the_silent_people(acme, sandbox):
    done = acme.run("run", "--json")
    assert done.code == 0, done.err
    assert lists_of(sandbox) == {
        "winback · dormant_30": IN_30,
        "winback · dormant_60": IN_60,
        "winback · dormant_90": IN_90,
        "winback · leads": {"1031", "1041", "1051"},
    }
    assert property_of(sandbox, 31, "winback_segment") in {"dormant_30;leads", "leads;dormant_30"}
    assert property_of(sandbox, 45, "winback_last_active_at") == f"{TODAY - timedelta(days=65)}T12:00:00Z"
    assert property_of(sandbox, 45, "winback_dormant_since") == (TODAY - timedelta(days=64)).isoformat()
    assert not property_of(sandbox, 5, "winback_segment")


def test_a_second_run_makes_no_call_that_writes(acme, sandbox):
    assert acme.run("run").code == 0
    before = sandbox.write_count()
    again = acme.run("run", "--json", now=NOON + timedelta(minutes=5))
    assert again.code == 0
    assert again.json["written"] == 0
    assert sandbox.write_count() == before


def test_a_plan_shows_what_apply_then_does(acme, sandbox):
    acme.run("pull")
    planned = acme.run("plan", "--json", "--detailed-exitcode")
    assert planned.code == 4, planned.err
    document = planned.json
    assert document["changes"]["add"] == len(IN_30 | IN_60 | IN_90) + 3
    assert document["changes"]["remove"] == 0
    assert document["excluded"] == {"bounced": 1, "opted_out": 2}
    assert not sandbox.members_by_list()
    applied = acme.run("apply", "--yes", "--json")
    assert applied.code == 0, applied.err
    body = applied.json
    assert body["plan_id"] == document["plan_id"]
    assert abs(body["api_calls"]["crm"] - document["api_calls"]["crm"]) <= 0.02 * document["api_calls"]["crm"]
    assert lists_of(sandbox)["winback · dormant_30"] == IN_30
    assert acme.run("plan", "--detailed-exitcode").code == 0


def test_apply_refuses_a_plan_whose_facts_have_moved(acme, sandbox):
    acme.run("pull")
    acme.run("plan")
    acme.write_usage([("u31", TODAY.isoformat(), "editor")], name="usage-later.csv")
    assert acme.run("pull").code == 0
    refused = acme.run("apply", "--yes")
    assert refused.code == 5
    assert "winback plan" in refused.err
    assert not sandbox.members_by_list()


def test_apply_without_a_yes_writes_nothing(acme, sandbox):
    acme.run("pull")
    acme.run("plan")
    assert acme.run("apply").code != 0
    assert not sandbox.members_by_list()


def test_who_comes_back_leaves_every_list_at_the_next_run(acme, sandbox):
    acme.run("run")
    acme.write_usage([("u31", TODAY.isoformat(), "editor")], name="usage-later.csv")
    done = acme.run("run", "--json", now=NOON + timedelta(hours=1))
    assert done.code == 0, done.err
    assert all("1031" not in members for members in lists_of(sandbox).values())
    assert not property_of(sandbox, 31, "winback_segment")


def test_who_opts_out_in_the_crm_leaves_every_list(acme, sandbox):
    acme.run("run")
    sandbox.opt_out(people()[34])
    done = acme.run("run", "--json", now=NOON + timedelta(hours=1))
    assert done.code == 0, done.err
    assert "1035" not in lists_of(sandbox)["winback · dormant_30"]


def test_undo_puts_everything_back(acme, sandbox):
    acme.run("pull")
    before = sandbox.dump()
    acme.run("plan")
    run_id = acme.run("apply", "--yes", "--json").json["run_id"]
    assert sandbox.dump() != before
    undone = acme.run("undo", run_id, "--yes", "--json")
    assert undone.code == 0, undone.err
    assert sandbox.dump() == before


def test_segments_count_and_list_everybody(acme):
    acme.run("pull")
    document = acme.run("segments", "--json").json
    assert document["contacts"] == 60
    assert {name: s["count"] for name, s in document["segments"].items()} == {
        "dormant_30": 10, "dormant_60": 10, "dormant_90": 10, "leads": 3,
    }  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(acme.run("segments", "--members", "--csv").out)))
    assert list(rows[0]) == ["contact_id", "inactive_days", "segment"]
    dormancy = [row for row in rows if row["segment"].startswith("dormant")]
    assert len(dormancy) == 30
    assert len(rows) == 120


def test_entered_and_left_are_told_against_the_last_run(acme):
    acme.run("run")
    later = acme.run("segments", "--json", now=NOON + timedelta(days=30)).json
    assert later["segments"]["dormant_30"]["entered"] == 30
    assert later["segments"]["dormant_30"]["left"] == 10


def test_explain_names_each_clause_with_its_value(acme):
    acme.run("pull")
    story = acme.run("explain", "person31@example.com", "--json").json
    assert story["contact_id"] == "hubspot:1031"
    by_name = {segment["name"]: segment for segment in story["segments"]}
    assert by_name["dormant_30"]["matched"] is True
    assert {clause["text"]: clause["value"] for clause in by_name["leads"]["clauses"]}[
        "role = 'team_lead'"
    ] == "team_lead"
    assert set(story["program"]) == {"state", "step", "next", "reasons"}
    assert "dormant_60" in story["program"]["next"]


def test_explain_says_who_is_unknown(acme):
    acme.run("pull")
    unknown = acme.run("explain", "nobody@example.com")
    assert unknown.code == 2
    assert "nobody here" in unknown.err.lower()


def test_growth_adds_up(acme):
    acme.run("pull")
    rows = list(csv.DictReader(io.StringIO(acme.run("growth", "--by", "month", "--csv").out)))
    assert list(rows[0]) == ["period", "new", "retained", "resurrected", "dormant"]
    active = 0
    for row in rows:
        assert active == int(row["retained"]) + int(row["dormant"])
        active = int(row["new"]) + int(row["retained"]) + int(row["resurrected"])
    assert sum(int(row["new"]) for row in rows) == 60


def test_thresholds_give_every_day_of_two_years(acme):
    acme.run("pull")
    document = acme.run("thresholds", "--json").json
    assert [point["inactive_days"] for point in document["curve"]] == list(range(731))
    assert set(document["thresholds"]) == {"0.5", "0.3", "0.2", "0.1", "0.05"}


def test_features_are_printed_by_column(acme):
    acme.run("pull")
    rows = list(
        csv.DictReader(io.StringIO(acme.run("features", "--columns", "inactive_days,top_feature", "--csv").out))
    )
    assert list(rows[0]) == ["contact_id", "inactive_days", "top_feature"]
    assert len(rows) == 60
    one = acme.run("features", "u45", "--json").json["features"]
    assert [row["inactive_days"] for row in one] == [65]


def test_status_shows_runs_and_how_far_sources_were_read(acme):
    acme.run("run")
    document = acme.run("status", "--json").json
    assert document["runs"][0]["kind"] == "run"
    assert document["runs"][0]["state"] == "done"
    assert {(s["source"], s["stream"]) for s in document["sources"]} >= {("crm", "contacts"), ("product", "usage")}
    assert document["lock"] is None


def test_the_json_of_every_command_is_one_object(acme):
    acme.run("pull", "--json")
    for arguments in (("segments",), ("plan",), ("status",), ("check",), ("adapters",), ("thresholds",)):
        done = acme.run(*arguments, "--json", now=None if arguments == ("adapters",) else NOON)
        json.loads(done.out)


def test_product_users_nobody_knows_are_counted_and_listed_with_the_reason(acme):
    acme.write_usage([("stranger-1", TODAY.isoformat(), "editor")], name="usage-stranger.csv")
    pulled = acme.run("pull")
    assert pulled.code == 0
    assert "60 of 61 product users" in pulled.err
    status = acme.run("status", "--json").json
    assert status["unmatched"] == 1
    assert status["unmatched_sample"][0]["place"].endswith("stranger-1")
    assert "no contact" in status["unmatched_sample"][0]["reason"]
    assert "stranger-1" in acme.run("status").out


def test_the_daily_allowance_used_up_stops_the_run_and_is_not_tried_again_today(acme, sandbox):
    assert acme.run("pull").code == 0
    acme.run("plan")
    sandbox.faults_raw({"kind": "rate_limit", "policy": "DAILY", "path": "/memberships/"})
    stopped = acme.run("apply", "--yes")
    assert stopped.code == 1
    assert "daily" in stopped.err.lower()
    sandbox.faults()
    asked = sandbox.request_count()
    again = acme.run("run", now=NOON + timedelta(minutes=5))
    assert again.code == 1
    assert "run again after" in again.err
    assert sandbox.request_count() == asked


def test_a_list_edited_by_hand_is_seen_and_mended_on_refresh(acme, sandbox):
    acme.run("run")
    sandbox.control("POST", "members", list="winback · dormant_30", add=["1001"], remove=["1035"])
    quiet = acme.run("plan", "--json", now=NOON + timedelta(minutes=5))
    assert quiet.json["changes"] == {"add": 0, "remove": 0, "set": 0, "enroll": 0, "exit": 0}
    seen = acme.run("plan", "--refresh", "--json", now=NOON + timedelta(minutes=10))
    assert seen.json["changes"]["add"] == 1
    assert seen.json["changes"]["remove"] == 1
    assert "1 put on by hand" in " ".join(seen.json["drift"])
    acme.run("apply", "--yes", now=NOON + timedelta(minutes=11))
    assert lists_of(sandbox)["winback · dormant_30"] == IN_30


def test_a_run_with_nothing_new_asks_the_crm_no_more_than_it_must(acme, sandbox):
    acme.run("run")
    acme.run("run", now=NOON + timedelta(minutes=5))
    asked = sandbox.request_count()
    quiet = acme.run("run", "--json", now=NOON + timedelta(minutes=10))
    assert quiet.json["written"] == 0
    assert sandbox.request_count() - asked <= 10
    later = acme.run("segments", "--json", now=NOON + timedelta(minutes=15)).json
    assert all(segment["entered"] == segment["left"] == 0 for segment in later["segments"].values())

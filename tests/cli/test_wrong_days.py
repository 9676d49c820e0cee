"""A wrong date somewhere, or a plan for another day, does no harm."""

from __future__ import annotations

from datetime import timedelta

from tests.fakes.installation import NOON


def test_an_event_dated_in_the_future_does_not_make_a_dead_source_look_alive(acme, sandbox):
    acme.stale = "36h"
    acme.write_playbook()
    assert acme.run("run").code == 0
    before = sandbox.members_by_list()
    acme.write_usage([("u1", "2030-01-01", "editor")], name="usage-wrong-year.csv")
    done = acme.run("run", now=NOON + timedelta(days=5))
    assert done.code == 5
    assert "guards.stale_source" in done.err
    assert sandbox.members_by_list() == before


def test_a_plan_for_another_day_is_carried_out_only_by_name(acme, sandbox):
    assert acme.run("run").code == 0
    before = sandbox.members_by_list()
    later = NOON + timedelta(minutes=1)
    path = acme.run("plan", "--as-of", "2026-05-01", "--json", now=later).json["file"]
    refused = acme.run("apply", "--yes", now=later)
    assert refused.code == 2
    assert "2026-05-01" in refused.err
    assert sandbox.members_by_list() == before
    assert acme.run("apply", path, "--yes", now=later).code == 0
    assert sandbox.members_by_list() != before


def test_undoing_a_run_nobody_knows_says_where_to_look(acme):
    done = acme.run("undo", "nope", "--yes")
    assert done.code == 2
    assert "winback status" in done.err

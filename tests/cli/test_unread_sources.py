"""A plan is made from facts, and only when every source has been read."""

from __future__ import annotations

from datetime import timedelta

from tests.fakes.installation import NOON


def test_a_plan_before_the_first_pull_is_refused(acme):
    refused = acme.run("plan")
    assert refused.code == 5
    assert "has not been read yet" in refused.err
    assert "winback pull" in refused.err


def test_a_plan_after_the_warehouse_was_deleted_is_refused_however_much_may_change(acme, sandbox):
    acme.run("run")
    before = sandbox.members_by_list()
    for path in (acme.folder / "state").glob("warehouse.duckdb*"):
        path.unlink()
    acme.write_playbook(("max_change: 20%", "max_change: 100%"))
    assert acme.run("pull", "crm", now=NOON + timedelta(hours=1)).code == 0
    refused = acme.run("plan", now=NOON + timedelta(hours=1))
    assert refused.code == 5
    assert "source product (usage) has not been read yet" in refused.err
    assert acme.run("run", now=NOON + timedelta(hours=2)).code == 0
    assert sandbox.members_by_list() == before

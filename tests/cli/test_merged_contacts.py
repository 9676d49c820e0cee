"""Contacts merged in the CRM between two runs: the survivor is on exactly the lists it should be on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.fakes.installation import NOON

ACTIVE, OPTED_OUT, DORMANT_30, ALSO_30, DORMANT_60 = "1005", "1040", "1031", "1032", "1041"


def lists_with(sandbox, row_id: str) -> set[str]:
    return {name.removeprefix("winback · ") for name, ids in sandbox.members_by_list().items() if row_id in ids}


def merge(sandbox, *, into: str, other: str) -> None:
    sandbox.control("POST", "clock", set=(NOON + timedelta(hours=1)).isoformat())
    sandbox.control("POST", "contacts/merge", primary=into, other=other)


def run_later(acme) -> dict:
    done = acme.run("run", "--json", now=NOON + timedelta(hours=2))
    assert done.code == 0, done.err
    return done.json


def nothing_is_left_to_do(acme) -> None:
    again = acme.run("run", "--json", now=NOON + timedelta(hours=3)).json
    assert (again["written"], again["unchanged"]) == (0, 0)
    again = acme.run("plan", "--refresh", "--json", now=NOON + timedelta(hours=3)).json
    assert again["drift"] == []
    assert set(again["changes"].values()) == {0}


@pytest.mark.soak
def test_who_is_active_after_a_merge_leaves_the_lists_of_the_other(acme, sandbox):
    acme.run("run")
    merge(sandbox, into=ACTIVE, other=DORMANT_30)
    assert lists_with(sandbox, ACTIVE) == {"dormant_30", "leads"}
    run_later(acme)
    assert lists_with(sandbox, ACTIVE) == set()
    assert not sandbox.properties_of(ACTIVE).get("winback_segment")
    nothing_is_left_to_do(acme)


def test_who_opted_out_leaves_the_lists_of_a_contact_merged_into_it(acme, sandbox):
    acme.run("run")
    merge(sandbox, into=OPTED_OUT, other=ALSO_30)
    assert lists_with(sandbox, OPTED_OUT) == {"dormant_30"}
    run_later(acme)
    assert lists_with(sandbox, OPTED_OUT) == set()
    nothing_is_left_to_do(acme)


def test_when_both_were_on_lists_the_survivor_is_on_those_of_the_whole_person(acme, sandbox):
    acme.run("run")
    merge(sandbox, into=DORMANT_60, other=DORMANT_30)
    run_later(acme)
    assert lists_with(sandbox, DORMANT_60) == {"dormant_30", "leads"}
    assert set(sandbox.properties_of(DORMANT_60)["winback_segment"].split(";")) == {"dormant_30", "leads"}
    nothing_is_left_to_do(acme)


@pytest.mark.soak
def test_a_chain_of_merges_ends_at_the_last_survivor(acme, sandbox):
    acme.run("run")
    merge(sandbox, into=DORMANT_60, other=DORMANT_30)
    merge(sandbox, into=ACTIVE, other=DORMANT_60)
    assert lists_with(sandbox, ACTIVE) == {"dormant_30", "dormant_60", "leads"}
    run_later(acme)
    assert lists_with(sandbox, ACTIVE) == set()
    nothing_is_left_to_do(acme)


def test_nothing_is_written_to_a_contact_that_was_merged_away(acme, sandbox):
    acme.run("run")
    merge(sandbox, into=ACTIVE, other=DORMANT_30)
    document = run_later(acme)
    assert document["unchanged"] == 0
    assert document["rejected"] == 0


def test_a_plan_that_is_not_carried_out_forgets_no_merge(acme, sandbox):
    acme.run("run")
    merge(sandbox, into=DORMANT_60, other=DORMANT_30)
    acme.run("pull", now=NOON + timedelta(hours=2))
    planned = acme.run("plan", "--json", now=NOON + timedelta(hours=2)).json["changes"]
    assert acme.run("plan", "--json", now=NOON + timedelta(hours=2)).json["changes"] == planned
    acme.write_usage([("u31", NOON.date().isoformat(), "editor")], name="usage-later.csv")
    run_later(acme)
    assert lists_with(sandbox, DORMANT_60) == set()
    nothing_is_left_to_do(acme)

"""Ten thousand rows of which five are refused, each in a batch of its own: the others are written."""

from __future__ import annotations

from datetime import timedelta

import pytest

from connector.model import Contact
from tests.fakes.installation import NOON
from tests.fakes.people import CREATED, TODAY

PEOPLE = 10_000
POISONED = [str(100_000 + number) for number in (17, 2_222, 4_567, 7_001, 9_999)]
WORDS = "Property values were not valid: this record is locked by a merge"


def test_five_of_ten_thousand_are_refused_and_the_rest_are_written(acme, sandbox):
    sandbox.seed(
        [Contact(f"hubspot:{100_000 + n}", external_id=f"w{n}", created_at=CREATED) for n in range(PEOPLE)], ()
    )
    silent = (TODAY - timedelta(days=45)).isoformat()
    acme.write_usage([(f"w{n}", silent, "editor") for n in range(PEOPLE)], name="usage-many.csv")
    acme.write_playbook(("lists: {segments: true}", "lists: {segments: false}"))
    sandbox.poison(POISONED, WORDS)
    done = acme.run("run", "--json")
    assert done.code == 3, done.err
    document = done.json
    earlier = 30 - 3
    assert document["written"] - earlier == PEOPLE - len(POISONED)
    assert sorted(refused["row_id"] for refused in document["rejections"]) == POISONED
    assert all(WORDS in refused["message"] for refused in document["rejections"])
    values = sandbox.dump()["contacts"]
    written = {row_id for row_id, row in values.items() if row and int(row_id) >= 100_000}
    assert len(written) == PEOPLE - len(POISONED)
    assert not written & set(POISONED)
    shown = acme.run("status").out
    assert all(row_id in shown for row_id in POISONED)
    assert "locked by a merge" in shown


@pytest.mark.soak
def test_a_row_is_tried_again_and_set_aside_after_five_refusals(acme, sandbox):
    sandbox.poison(["1033"], WORDS)
    codes = [acme.run("run", now=NOON + timedelta(minutes=n)).code for n in range(6)]
    assert codes == [3, 3, 3, 3, 3, 0]
    planned = acme.run("plan", "--json", now=NOON + timedelta(minutes=10)).json
    assert planned["excluded"]["quarantined"] == 1
    assert "quarantined" in acme.run("status").out

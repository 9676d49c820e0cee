"""Offers as a user sees them: a rung at a time, a code for one person, a budget that holds, and what was used."""

from __future__ import annotations

import pytest

from tests.cli.test_program import DORMANT, PROGRAM, day, run, step_lists
from tests.fakes.installation import Installation

OFFERS = """\
  offers:
    items:
      trial_extension: {cost: 5}
      discount: {cost: 20, discount: true, codes: codes.txt, expires: 14d}
    ladder: [none, trial_extension, discount]
    budget: BUDGET in 30d
    skip_above: 0.99
"""


def with_offers(acme: Installation, *, budget: int = 5000, codes: int = 100) -> Installation:
    text = PROGRAM.replace("HOLDOUT", "0%").replace("PER_DAY", "5000").replace(
        "{name: offer, day: 7}", "{name: offer, day: 7, offer: trial_extension}"
    ).replace("{name: last_chance, day: 14}", "{name: last_chance, day: 14, offer: discount}")  # fmt: skip
    text = text.rstrip() + "\n" + OFFERS.replace("BUDGET", str(budget)) + "\n"
    acme.write_playbook(
        ("guards:", f"{text}guards:"), ("lists: {segments: true}", "lists: {segments: true, steps: true}")
    )
    (acme.folder / "codes.txt").write_text("".join(f"BACK-{n:04}\n" for n in range(codes)))
    return acme


def test_everybody_gets_a_code_of_their_own_and_it_is_in_the_crm(acme, sandbox):
    with_offers(acme)
    for number in (0, 1, 7):
        run(acme, number)
    assert sandbox.properties_of("1045")["winback_offer"] == "trial_extension"
    run(acme, 14)
    codes = {row_id: sandbox.properties_of(row_id)["winback_offer_code"] for row_id in DORMANT}
    assert all(code and code.startswith("BACK-") for code in codes.values())
    assert len(set(codes.values())) == len(DORMANT)


@pytest.mark.soak
def test_a_used_code_is_noted_once_and_a_foreign_one_is_named(acme, sandbox, tmp_path):
    with_offers(acme)
    for number in (0, 1, 7, 14):
        run(acme, number)
    code = sandbox.properties_of("1045")["winback_offer_code"]
    used = tmp_path / "used.csv"
    used.write_text(f"code,redeemed_at,amount\n{code},2026-07-01,18.50\nFOREIGN,2026-07-01,1\n")
    first = acme.run("program", "redeem", str(used), "--json")
    assert first.code == 3
    assert first.json == {"schema_version": 1, "redeemed": 1, "known": 0, "set_aside": 1}
    assert acme.run("program", "redeem", str(used), "--json").json["known"] == 1


@pytest.mark.soak
def test_when_the_codes_run_out_the_others_wait_and_more_can_be_brought(acme, sandbox, tmp_path):
    with_offers(acme, codes=10)
    for number in (0, 1, 7, 14):
        run(acme, number)
    assert len(step_lists(sandbox)["last_chance"]) == 10
    more = tmp_path / "more.txt"
    more.write_text("".join(f"MORE-{n:04}\n" for n in range(50)))
    assert acme.run("program", "codes", "discount", str(more)).code == 0
    run(acme, 15)
    assert step_lists(sandbox)["last_chance"] == DORMANT


def test_a_budget_is_never_exceeded(acme, sandbox):
    with_offers(acme, budget=50)
    for number in (0, 1, 7):
        run(acme, number)
    offered = step_lists(sandbox)["offer"]
    assert len(offered) == 10
    waiting = acme.run("plan", "--json", now=day(7)).json
    assert waiting["deferred"]["offer_budget"] == len(DORMANT) - 10

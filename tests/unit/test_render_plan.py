"""The plan as text: what a person reads before saying yes."""

from __future__ import annotations

from connector.plan.build import Current, Wanted, build_plan
from connector.plan.document import Allowance
from connector.plan.render import render_plan
from tests.fakes.plan_world import SPECS, A, B, ids, inputs


def shown(**changes) -> str:
    return render_plan(build_plan(inputs(**changes)))


def test_a_plan_reads_like_this():
    text = shown(
        wanted=Wanted({A: ids(*range(1, 1_500)), B: ids(5)}, {"7": {"winback_segment": "x"}}, SPECS),
        current=Current({A: {"1", "99999"}}, {A: "7"}),
        blocked={"5": "opted_out"},
        excluded={"not_in_crm": ("product:1", "product:2")},
        allowance=Allowance(80, 200_000),
        reason=lambda _name, row_id: f"silent for {row_id} days",
    )
    lines = text.splitlines()
    assert lines[2:12] == [
        "  list                  now     add  remove  after",
        "  winback · dormant_30    2  +1,497      -1  1,498",
        "  winback · dormant_60    0       ·       ·      0  new",
        "",
        "  winback · dormant_30, for example",
        "    + 10  silent for 10 days",
        "    + 100  silent for 100 days",
        "    + 1000  silent for 1000 days",
        "    - 99999  no longer in the segment",
        "",
    ]
    assert "  Properties to make: winback_segment, winback_reason" in lines
    assert "  Values to set: 1 contact (winback_segment 1)" in lines
    assert lines[lines.index("  Left out") + 1 :][:2] == [
        "    2  is not a contact of this CRM",
        "    1  has unsubscribed",
    ]
    assert "  Cost: 6 API calls, under a minute, under 0.1 % of today's quota" in lines
    assert max(map(len, lines)) <= 100


def test_an_empty_plan_says_so():
    assert "  Nothing to do: crm holds what it should." in shown()
    assert "Cost" not in shown()


def test_refusals_stand_out_with_their_next_step():
    text = shown(wanted=Wanted({A: ids(*range(1, 101))}), current=Current({}, {A: "7"}), reachable=200)
    assert "  Guards: 1 refusal" in text
    assert "REFUSED  100 contacts would join lists, 50% of 200 reachable contacts; guards.max_change is 20%" in text
    assert "→ read the plan; if it is right, raise guards.max_change" in text


def test_time_and_quota_are_told_for_a_long_plan():
    text = shown(
        wanted=Wanted({A: {}}, {str(n): {"winback_segment": "x"} for n in range(200_000)}, SPECS[:1]),
        allowance=Allowance(80, 1_000),
    )
    assert "Cost: 2,002 API calls, about 5 minutes, 200.2 % of today's quota" in text
    assert "more than a day's quota" in text


def test_a_long_list_name_is_cut_to_the_terminal():
    name = "winback · " + "very " * 40 + "long"
    assert max(len(line) for line in shown(wanted=Wanted({name: ids(1)})).splitlines()) <= 100

"""From wanted and current to steps: the rules, one by one."""

from __future__ import annotations

from dataclasses import dataclass

from connector.model import PropertySpec
from connector.plan.build import Current, Wanted, build_plan, protection
from connector.plan.steps import (
    AddMembers,
    EnsureList,
    EnsureProperty,
    PropertyChange,
    RemoveMembers,
    SetProperties,
)
from tests.fakes.plan_world import REASON, SEGMENT, SPECS, A, B, ids, inputs

C = "winback · cold"


@dataclass
class Refused:
    """A row refused before."""

    quarantined: bool = False


def steps(**changes) -> list:
    return list(build_plan(inputs(**changes)).steps)


def test_only_differences_become_steps_in_the_promised_order():
    wanted = Wanted({A: ids(1, 2), B: ids(3), C: {}}, {"1": {"winback_segment": "a"}}, SPECS)
    current = Current({A: {"2", "3"}}, {A: "10", B: "11"}, {}, {"winback_segment"})
    assert steps(wanted=wanted, current=current) == [
        EnsureProperty(REASON),
        EnsureList(C, "winback"),
        RemoveMembers(A, ("3",)),
        SetProperties((PropertyChange("1", {"winback_segment": "a"}, {}),)),
        AddMembers(A, ("1",)),
        AddMembers(B, ("3",)),
    ]


def test_nothing_to_change_is_an_empty_plan_that_costs_no_call():
    wanted = Wanted({A: ids(1)}, {"1": {"winback_segment": "a"}}, (SEGMENT,))
    current = Current({A: {"1"}}, {A: "10"}, {"1": {"winback_segment": "a"}}, {"winback_segment"})
    plan = build_plan(inputs(wanted=wanted, current=current))
    assert plan.empty
    assert plan.api_calls == 0


def test_a_list_is_made_even_when_nobody_is_on_it_yet():
    assert steps(wanted=Wanted({A: {}})) == [EnsureList(A, "winback")]


def test_members_of_a_list_that_is_gone_are_added_again():
    assert steps(wanted=Wanted({A: ids(1)}), current=Current({A: {"1"}}, {})) == [
        EnsureList(A, "winback"),
        AddMembers(A, ("1",)),
    ]


def test_everybody_leaves_a_list_that_no_segment_wants_any_more():
    assert steps(current=Current({A: {"1", "2"}}, {A: "10"})) == [RemoveMembers(A, ("1", "2"))]
    assert steps(current=Current({A: {"1", "2"}}, {})) == []


def test_blocked_rows_are_never_added_are_removed_and_are_cleared():
    wanted = Wanted({A: ids(1, 2, 3)}, {str(n): {"winback_segment": "a"} for n in (1, 2, 3)}, (SEGMENT,))
    held = {"2": {"winback_segment": "a"}, "3": {"winback_segment": "a"}}
    current = Current({A: {"2", "3"}}, {A: "10"}, held, {"winback_segment"})
    plan = build_plan(
        inputs(wanted=wanted, current=current, blocked={"1": "bounced", "2": "opted_out", "3": "deleted"})
    )
    assert list(plan.steps) == [
        RemoveMembers(A, ("2", "3")),
        SetProperties((PropertyChange("2", {"winback_segment": None}, {"winback_segment": "a"}),)),
    ]
    assert plan.excluded == {"bounced": ("hubspot:1",), "deleted": ("hubspot:3",), "opted_out": ("hubspot:2",)}


def test_each_excluded_contact_counts_once_per_reason():
    wanted = Wanted({A: ids(1), B: ids(1)})
    plan = build_plan(inputs(wanted=wanted, blocked={"1": "bounced"}, excluded={"bounced": ["hubspot:1"], "none": []}))
    assert plan.excluded == {"bounced": ("hubspot:1",)}


def test_values_are_compared_with_empty_text_as_nothing():
    wanted = Wanted({}, {"1": {"winback_segment": "", "winback_reason": "x"}}, SPECS)
    current = Current(
        {}, {}, {"1": {"winback_segment": None, "winback_reason": "x"}}, {"winback_segment", "winback_reason"}
    )
    assert steps(wanted=wanted, current=current) == []


def test_a_contact_in_no_segment_any_more_is_cleared_once():
    current = Current({}, {}, {"1": {"winback_segment": "a"}, "2": {"winback_segment": None}}, {"winback_segment"})
    assert steps(wanted=Wanted({}, {}, (SEGMENT,)), current=current) == [
        SetProperties((PropertyChange("1", {"winback_segment": None}, {"winback_segment": "a"}),))
    ]


def test_properties_that_are_not_ours_are_left_alone():
    current = Current({}, {}, {"1": {"theirs": "a"}}, {"theirs"})
    assert steps(wanted=Wanted({}, {}, (SEGMENT,)), current=current) == [EnsureProperty(SEGMENT)]
    assert steps(current=current) == []


def test_widening_a_property_does_not_write_every_value_again():
    wanted = Wanted({}, {"1": {"winback_segment": "a"}, "2": {"winback_segment": "b"}}, (SEGMENT,))
    current = Current({}, {}, {"1": {"winback_segment": "a"}}, ())
    assert steps(wanted=wanted, current=current) == [
        EnsureProperty(SEGMENT),
        SetProperties((PropertyChange("2", {"winback_segment": "b"}, {}),)),
    ]


def test_rows_refused_before_travel_apart_and_quarantined_rows_stay_home():
    rejected = {
        ("add_members", A, "2"): Refused(),
        ("add_members", A, "3"): Refused(quarantined=True),
        ("add_members", B, "1"): Refused(quarantined=True),
        ("set_properties", "", "1"): Refused(),
        ("set_properties", "", "2"): Refused(quarantined=True),
    }
    wanted = Wanted({A: ids(1, 2, 3)}, {str(n): {"winback_segment": "a"} for n in (1, 2, 3)}, (SEGMENT,))
    plan = build_plan(inputs(wanted=wanted, current=Current({}, {A: "1"}, {}, {"winback_segment"}), rejected=rejected))
    assert list(plan.steps) == [
        SetProperties((PropertyChange("3", {"winback_segment": "a"}, {}),)),
        SetProperties((PropertyChange("1", {"winback_segment": "a"}, {}),), retried=True),
        AddMembers(A, ("1",)),
        AddMembers(A, ("2",), retried=True),
    ]
    assert plan.excluded == {"quarantined": ("hubspot:3", "memory:2")}  # a list row, and a row of values


def test_removals_are_never_quarantined():
    rejected = {("remove_members", A, "1"): Refused(quarantined=True)}
    assert steps(current=Current({A: {"1"}}, {A: "1"}), rejected=rejected) == [RemoveMembers(A, ("1",))]


def test_the_forecast_asks_for_batches_of_the_destinations_size():
    asked = []
    wanted = Wanted(
        {A: ids(*range(1, 2_502)), B: ids(1)}, {str(n): {"winback_segment": "a"} for n in range(101)}, SPECS
    )
    current = Current({A: set(ids(5_000))}, {A: "1"})
    plan = build_plan(inputs(wanted=wanted, current=current, forecast=lambda work: asked.append(work) or 42))
    assert plan.api_calls == 42
    [work] = asked
    assert (work.lists_to_create, work.properties_to_ensure) == (1, 2)
    assert (work.member_batches, work.property_batches) == (1 + 3 + 1, 2)


def test_reasons_are_asked_for_the_few_rows_that_are_shown():
    asked = []

    def reason(name: str, row_id: str) -> str:
        asked.append(row_id)
        return f"silent for {row_id} days"

    plan = build_plan(inputs(wanted=Wanted({A: ids(*range(1, 1_001))}), reason=reason))
    assert len(asked) == 3
    assert [sample.reason for sample in plan.lists[0].samples] == [f"silent for {row} days" for row in asked]


def test_a_spec_keeps_its_choices():
    spec = PropertySpec("winback_segment", "Segment", "choices", "", (("a", "A"), ("b", "B")))
    assert steps(wanted=Wanted({}, {}, (spec,))) == [EnsureProperty(spec)]


def test_protection_takes_blocked_rows_off_and_changes_nothing_else():
    wanted = Wanted({A: ids(*range(1, 500))}, {"9": {"winback_segment": "a"}}, SPECS)
    held = {"2": {"winback_segment": "a"}, "3": {"winback_segment": "b"}}
    current = Current({A: {"2", "3"}, B: {"2"}}, {A: "10", B: "11"}, held, {"winback_segment"})
    refused = inputs(wanted=wanted, current=current, blocked={"2": "opted_out", "4": "bounced"}, reachable=100)
    assert not all(guard.ok for guard in build_plan(refused).guards)
    plan = protection(refused)
    assert list(plan.steps) == [
        RemoveMembers(A, ("2",)),
        RemoveMembers(B, ("2",)),
        SetProperties((PropertyChange("2", {"winback_segment": None}, {"winback_segment": "a"}),)),
    ]
    assert all(guard.ok for guard in plan.guards)
    assert plan.excluded == {"opted_out": ("memory:2",)}

from __future__ import annotations

import pytest

from connector.errors import SegmentError
from connector.model import Segment, Severity
from connector.rules.conditions import check_segments
from connector.rules.lint import Defect, issues, lint


def found(*segments):
    made = [Segment(name, where, group, number, 5) for number, (name, where, group) in enumerate(segments, start=1)]
    return [(issue.segment.segment.name, issue.kind, issue.other) for issue in issues(check_segments(made))]


def alone(where):
    return [kind for _, kind, _ in found(("a", where, None))]


CONTRADICTIONS = [
    "inactive_days > 30 and inactive_days < 30",
    "inactive_days > 30 and inactive_days < 31",
    "inactive_days >= 31 and not (inactive_days > 20)",
    "inactive_days between 59 and 30",
    "inactive_days = 0.5",
    "inactive_days < 0",
    "active_days_28 > 28",
    "monetary_quintile >= 6",
    "length(role) < 0",
    "lifecycle = 'asleep'",
    "lifecycle = 'Dormant'",
    "lower(role) = 'CTO'",
    "upper(role) in ('cto', 'Dev')",
    "role = 'a' and role = 'b'",
    "role in ('a', 'b') and role not in ('a', 'b', 'c')",
    "role in ('a', 'b') and role like 'c%'",
    "role like 'a%' and role not like 'a%'",
    "role > 'b' and role <= 'b'",
    "role is null and role = 'a'",
    "contact_id is null",
    "active_days_365 is null",
    "role = null",
    "role <> null and inactive_days > 3",
    "role not in ('a', null)",
    "opted_out and not opted_out",
    "opted_out is not true and opted_out = true",
    "coalesce(opted_out, false) and opted_out is null",
    "coalesce(monetary_quintile, 0) = 0 and monetary_quintile is not null",
    "created_at > '2026-01-01' and created_at < '2025-01-01'",
    "inactive_days > gap_p90_days and gap_p90_days >= inactive_days",
    "inactive_days <> inactive_days",
    "lifetime_value > 3 and lifetime_value < 3",
    "(role = 'a' or role = 'b') and (role = 'c' or role = 'd')",
    "attributes.seats > 5 and attributes.seats < 3",
    "1 = 2",
    "false",
    "null",
]


@pytest.mark.parametrize("where", CONTRADICTIONS)
def test_what_can_never_hold_is_an_error(where):
    assert alone(where) == [Defect.CONTRADICTORY]
    (finding,) = lint([Segment("a", where, None, 7, 20)])
    assert finding.severity is Severity.ERROR
    assert finding.subject == "segment a"
    assert finding.message == "winback.yaml:7:20: this can never hold"


POSSIBLE = [
    "inactive_days > 30 and inactive_days < 32",
    "gap_p90_days > 30 and gap_p90_days < 31",
    "lower(role) = 'cto' and role = 'CTO'",
    "role like 'a%' and role like '%b'",
    "role > 'b' and role < 'c'",
    "opted_out is not true and opted_out is null",
    "coalesce(monetary_quintile, 6) = 6",
    "inactive_days > gap_p90_days and inactive_days < gap_p90_days + 1",
    "inactive_days + 1 > 5 and inactive_days < 5",
    "attributes.x = 'a' and attributes.x is not null",
    "role in ('a', 'b') and role <> 'a'",
]


@pytest.mark.parametrize("where", POSSIBLE)
def test_what_can_hold_is_left_alone(where):
    assert alone(where) == []


def test_a_comparison_with_null_is_told_even_where_another_clause_can_hold():
    assert alone("role = null or inactive_days > 3") == [Defect.NULL_COMPARED]
    assert alone("role in ('a', null)") == [Defect.NULL_COMPARED]


def test_a_condition_that_everybody_meets_is_told_unless_it_says_so():
    assert alone("active_days_28 >= 0") == [Defect.ALWAYS]
    assert alone("role is null or role is not null") == [Defect.ALWAYS]
    assert alone("inactive_days >= 0") == []
    assert alone("true") == []


def test_the_same_condition_twice_is_told_however_it_is_spaced():
    assert found(("a", "inactive_days>3", None), ("b", "(INACTIVE_DAYS  >\n 3)", None)) == [
        ("b", Defect.DUPLICATE, "a")
    ]


def test_a_segment_hidden_by_an_earlier_one_of_its_group_is_told():
    assert found(("a", "inactive_days >= 30", "g"), ("b", "inactive_days between 60 and 89 and role = 'x'", "g")) == [
        ("b", Defect.UNREACHABLE, "a")
    ]


def test_a_segment_hidden_by_two_together_is_told():
    result = found(
        ("a", "inactive_days between 30 and 59", "g"),
        ("b", "inactive_days between 60 and 89", "g"),
        ("c", "inactive_days between 40 and 80", "g"),
    )
    assert ("c", Defect.UNREACHABLE, "a") in result


def test_a_null_that_slips_past_the_first_segment_keeps_the_second_reachable():
    assert found(("a", "role <> 'x'", "g"), ("b", "role is null or role = 'x'", "g")) == []
    assert found(("a", "role <> 'x'", "g"), ("b", "role <> 'x' or role is null", "g")) == [
        ("b", Defect.OVERLAPPING, "a")
    ]


def test_other_groups_and_segments_alone_hide_nothing():
    assert (
        found(("a", "inactive_days >= 30", "g"), ("b", "inactive_days >= 60", "h"), ("c", "inactive_days >= 90", None))
        == []
    )


def test_an_overlap_is_told_with_an_example_that_is_one():
    (finding,) = lint(
        [
            Segment("a", "inactive_days between 30 and 60", "g", 3, 5),
            Segment("b", "inactive_days between 60 and 90", "g", 4, 5),
        ]
    )
    assert finding.severity is Severity.WARNING
    assert "overlaps 'a', which comes first and wins, for example at inactive_days = 60" in finding.message


def test_an_overlap_over_different_columns_is_told():
    assert found(("a", "inactive_days >= 30", "g"), ("b", "role = 'x'", "g")) == [("b", Defect.OVERLAPPING, "a")]


def test_a_gap_between_the_bands_of_a_group_is_told():
    made = [
        Segment("a", "inactive_days between 30 and 59", "g", 3, 5),
        Segment("b", "inactive_days between 61 and 89", "g", 4, 5),
        Segment("c", "inactive_days >= 100", "g", 5, 5),
    ]
    assert [finding.message.partition(": ")[2] for finding in lint(made)] == [
        "inactive_days 60 is in no segment of the group 'g'",
        "inactive_days 90 to 99 is in no segment of the group 'g'",
    ]


def test_bands_that_touch_have_no_gap_and_no_overlap():
    assert (
        found(
            *[(f"d{low}", f"inactive_days >= {low} and inactive_days < {low + 30}", "g") for low in range(30, 180, 30)]
        )
        == []
    )


def test_impossible_segments_are_left_out_of_the_other_findings():
    assert found(("a", "inactive_days < 0", "g"), ("b", "inactive_days >= 30", "g")) == [
        ("a", Defect.CONTRADICTORY, None)
    ]


def test_a_condition_with_very_many_alternatives_is_given_up_not_guessed():
    where = " and ".join(
        f"(inactive_days <> {n} or active_days_90 <> {n} or active_days_365 <> {n})" for n in range(12)
    )
    assert alone(where) == []


def test_a_condition_that_cannot_be_read_is_an_error_of_its_own():
    with pytest.raises(SegmentError, match="no column"):
        lint([Segment("a", "rol = 'x'")])

"""Guards: numbers in, verdicts out, with the next step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from connector.errors import EmptySource, StaleSource, TooManyChanges
from connector.plan.build import Current, Wanted, build_plan
from connector.plan.guards import (
    SMALL_CHANGE,
    Change,
    DefaultGuards,
    GuardInputs,
    GuardResult,
    check_guards,
    raise_tripped,
)
from tests.fakes.plan_world import NOW, A, B, ids, inputs

QUIET = Change(joining=0, filling=0, leaving=0, held=0, reachable=10_000)


@dataclass
class Stat:
    """One stream, as the warehouse tells it."""

    source: str = "product"
    stream: str = "usage"
    rows: int = 10_000
    previous_rows: int | None = 10_000
    newest_at: datetime | None = NOW - timedelta(hours=2)
    pulled_at: datetime | None = NOW - timedelta(minutes=3)


def verdicts(*sources: Stat, change: Change = QUIET, allowed: frozenset[str] = frozenset(), **settings):
    return check_guards(GuardInputs(NOW, DefaultGuards(**settings), sources, change, allowed))


def refusals(*sources: Stat, **more) -> list[GuardResult]:
    return [result for result in verdicts(*sources, **more) if not result.ok]


def test_an_empty_source_is_refused_with_its_numbers_and_the_next_step():
    [refused] = refusals(Stat(rows=0))
    assert refused.name == "empty_source"
    assert refused.message == "source product (usage) returned 0 rows, last time 10,000"
    assert "winback pull product --full" in refused.hint
    assert "empty_source: allow" in refused.hint


def test_an_empty_source_never_passes_even_the_first_time():
    [refused] = refusals(Stat(rows=0, previous_rows=None))
    assert refused.message == "source product (usage) returned 0 rows"


def test_an_empty_stream_passes_where_it_always_was_empty():
    companies = Stat("crm", "companies", rows=0, previous_rows=0)
    assert refusals(companies, Stat("crm", "contacts")) == []
    assert [r.name for r in refusals(replace(companies, previous_rows=7), Stat("crm", "contacts"))] == ["empty_source"]


@pytest.mark.parametrize(("rows", "name"), [(4_999, "shrunken_source"), (5_000, None), (20_000, None)])
def test_a_source_with_less_than_half_of_last_time_is_refused(rows: int, name: str | None):
    assert [r.name for r in refusals(Stat(rows=rows))] == ([name] if name else [])


def test_the_playbook_can_allow_an_empty_source():
    assert refusals(Stat(rows=0), Stat("crm", "contacts", rows=10), empty_source="allow") == []


@pytest.mark.parametrize(
    ("stat", "words"),
    [
        (Stat(newest_at=NOW - timedelta(days=5)), "the newest event of source product (usage) is 5 days old"),
        (Stat(pulled_at=None), "source product (usage) was never pulled to its end"),
        (Stat(pulled_at=NOW - timedelta(hours=40)), "source product (usage) was last pulled 40 h ago"),
    ],
)
def test_a_stale_source_is_refused(stat: Stat, words: str):
    [refused] = refusals(stat, stale_source=timedelta(hours=36))
    assert refused.name == "stale_source"
    assert refused.message.startswith(words)
    assert refusals(stat, stale_source=None) == []


def test_records_that_nobody_edits_are_not_stale():
    companies = Stat("crm", "companies", newest_at=NOW - timedelta(days=90))
    assert refusals(companies, stale_source=timedelta(hours=36)) == []


def test_too_large_a_change_is_refused_by_its_share_of_the_reachable():
    over = replace(QUIET, joining=2_001)
    [refused] = refusals(change=over)
    assert refused.name == "too_many_changes"
    assert refused.message == (
        "2,001 contacts would join lists, 20% of 10,000 reachable contacts; guards.max_change is 20%"
    )
    assert refusals(change=replace(QUIET, joining=2_000)) == []
    assert refusals(change=over, max_change=0.5) == []


def test_a_handful_of_contacts_is_never_too_many():
    small = Change(joining=SMALL_CHANGE, filling=0, leaving=0, held=0, reachable=30)
    assert refusals(change=small) == []
    assert len(refusals(change=replace(small, joining=SMALL_CHANGE + 1))) == 1


def test_lists_that_would_empty_are_refused_unless_everything_is_allowed():
    gone = Change(joining=0, filling=0, leaving=500, held=800, reachable=10_000)
    [refused] = refusals(change=gone)
    assert refused.message == "500 of the 800 contacts on lists would leave them all (62%)"
    assert refusals(change=gone, max_change=1.0) == []


def test_no_reachable_contact_at_all_is_no_way_around_the_guard():
    assert len(refusals(change=replace(QUIET, joining=500, reachable=0))) == 1


def test_allowing_a_guard_for_one_run_keeps_its_words():
    [allowed] = verdicts(change=replace(QUIET, joining=9_000), allowed=frozenset({"too_many_changes"}))
    assert allowed.ok
    assert allowed.message.endswith("; allowed for this run")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("empty_source", EmptySource),
        ("shrunken_source", EmptySource),
        ("stale_source", StaleSource),
        ("too_many_changes", TooManyChanges),
    ],
)
def test_a_refusal_is_raised_as_the_error_of_its_kind(name: str, error):
    fine = GuardResult("empty_source", ok=True, message="fine")
    with pytest.raises(error, match="one; two") as raised:
        raise_tripped([fine, GuardResult(name, False, "one", "do this"), GuardResult("stale_source", False, "two")])
    assert raised.value.hint == "do this"
    raise_tripped([fine])


# --- how the plan measures its own size -----------------------------------------------------------------


def tripped(**changes) -> list[str]:
    return [guard.message for guard in build_plan(inputs(reachable=1_000, **changes)).guards if not guard.ok]


EVERYBODY = {A: ids(*range(1, 1_001))}


def test_the_first_fill_of_a_list_the_plan_makes_may_be_any_size_and_is_said():
    plan = build_plan(inputs(wanted=Wanted(EVERYBODY), reachable=1_000))
    [guard] = plan.guards
    assert guard.ok
    assert "1,000 contacts fill lists that this plan makes, which no workflow watches yet" in guard.message


def test_a_list_that_was_there_before_is_not_filled_without_asking():
    assert len(tripped(wanted=Wanted(EVERYBODY), current=Current({}, {A: "1"}))) == 1


def test_a_contact_on_two_lists_counts_once():
    wanted = Wanted({A: ids(*range(1, 151)), B: ids(*range(1, 151))})
    assert tripped(wanted=wanted, current=Current({}, {A: "1", B: "2"})) == []


def test_moving_from_list_to_list_is_joining_and_not_leaving():
    current = Current({A: set(ids(*range(1, 301)))}, {A: "1", B: "2"})
    [message] = tripped(wanted=Wanted({A: {}, B: ids(*range(1, 301))}), current=current)
    assert message.startswith("300 contacts would join lists")


def test_opt_outs_never_count_as_leaving():
    current = Current({A: set(ids(*range(1, 301)))}, {A: "1"})
    blocked = {str(n): "opted_out" for n in range(1, 301)}
    assert tripped(wanted=Wanted({A: {}}), current=current, blocked=blocked) == []
    assert len(tripped(wanted=Wanted({A: {}}), current=current)) == 1

"""The short way through a crowd comes to what the long one does, over companies with all kinds of people."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from connector import shortlisting
from connector.program.eligibility import NOBODY_SUPPRESSED, NOTHING_SAID, eligibility
from connector.program.hygiene import address_problem
from connector.program.model import Basis, ConsentSettings
from connector.program.profiles import PROFILES
from connector.program.shortlist import PLAIN, SAME, THERE, judged
from connector.programs import Crowd
from connector.target import Target
from tests.fakes.crowds import company

SEEDS = st.integers(min_value=0, max_value=2**32)
NOW = datetime(2026, 11, 19, 10, 30, tzinfo=UTC)
TIMES = st.sampled_from([NOW - timedelta(days=days) for days in (1200, 700, 100, 3, -3)])
FLAGS = st.sampled_from([None, None, False, False, True])
ROWS = st.fixed_dictionaries(
    dict.fromkeys(("opted_out", "bounced", "erased", "legal_hold"), FLAGS)
    | {name: st.none() | TIMES for name in THERE if name != "merged_into"}
    | {
        "merged_into": st.sampled_from([None, None, None, "crm:2"]),
        "can_email": st.sampled_from([True, True, False, None]),
        "consent_basis": st.sampled_from([None, *map(str, Basis), "word"]),
        "country": st.sampled_from(["NL", "US", "CA", "Holland", None, "Atlantis"]),
        "confirmed_at": st.sampled_from([NOW, NOW, NOW - timedelta(days=9), None]),
        "first_with_address": st.sampled_from([True, True, False]),
        "email": st.sampled_from(["ann@x.org", "ann@x.org", None, "", "info@x.org", "nothing", "ann@mailinator.com"]),
    }
)
CONSENTS = st.builds(
    ConsentSettings,
    profile=st.sampled_from([*PROFILES, "custom"]),
    countries=st.sampled_from([{}, {"US": "can_spam", "CA": "casl"}]),
    assume_country=st.sampled_from([None, "NL"]),
    custom=st.just({"consent_express": None, "soft_opt_in": timedelta(days=200)}),
    hygiene=st.booleans(),
)


def verdict(row: Any, consent: ConsentSettings) -> Any:
    """What the rules say about one contact the ledger does not know."""
    return eligibility(
        row,
        NOTHING_SAID,
        consent,
        now=NOW,
        suppressed=NOBODY_SUPPRESSED,
        first_with_address=row["first_with_address"],
    )


@settings(deadline=None, max_examples=600)
@given(ROWS, CONSENTS)
def test_what_is_said_of_a_kind_holds_for_everybody_in_it(row, consent):
    email = row["email"]
    kind = {name: row[name] for name in SAME} | {f"there_{name}": row[name] is not None for name in THERE}
    kind[PLAIN] = None if email is None else email == "ann@x.org"
    found = judged(kind, lambda of_kind: verdict(of_kind, consent))
    assert found is None or found.reason == verdict(row, consent).reason


def test_the_address_that_stands_for_plain_ones_is_one_and_ordinary_people_are_of_a_kind_that_is_judged():
    kind = dict.fromkeys(SAME) | dict.fromkeys((f"there_{name}" for name in THERE), False)
    kind |= {"can_email": True, "country": "NL", "confirmed_at": NOW, "first_with_address": True, PLAIN: True}
    kind |= {"there_last_active_at": True, "there_last_paid_at": True, "there_consent_at": True}
    addresses: list[str] = []

    def note(row: Any) -> Any:
        addresses.append(row["email"])
        return verdict(row, ConsentSettings())

    found = judged(kind, note)
    assert found is not None
    assert found.reason is None
    assert [address_problem(address) for address in addresses] == [None]


def told(target: Target) -> dict[str, Any]:
    """Everything of a target that can be compared."""
    values = {field.name: getattr(target, field.name) for field in fields(target)}
    values["excluded"] = {reason: sorted(ids) for reason, ids in values["excluded"].items()}
    why, lists = values.pop("reason"), target.wanted.lists
    return values | {"why": {(name, row): why(name, row) for name in lists for row in lists[name]}}


@settings(deadline=None, max_examples=5)
@given(SEEDS)
def test_the_short_way_decides_what_the_long_one_does_and_shows_everybody_the_same(seed):
    with company(seed) as drawn:
        decisions, people, redeemed = drawn.decided(shortlist=True)
        expected, seen, taken = drawn.decided(shortlist=False)
    assert people == seen
    for field in fields(expected):
        assert getattr(decisions, field.name) == getattr(expected, field.name), field.name
    assert redeemed == taken


@settings(deadline=None, max_examples=4)
@given(SEEDS)
def test_of_many_who_are_due_the_same_ones_go_first_and_the_others_wait_for_the_same(seed):
    with company(seed, calm=True) as drawn:
        decisions, people, _ = drawn.decided(shortlist=True)
        expected, seen, _ = drawn.decided(shortlist=False)
    assert people == seen
    for field in fields(expected):
        assert getattr(decisions, field.name) == getattr(expected, field.name), field.name


@settings(deadline=None, max_examples=4)
@given(SEEDS)
def test_the_target_is_the_same_by_both_ways(seed):
    with company(seed) as drawn:
        assert told(drawn.target(shortlist=True)) == told(drawn.target(shortlist=False))


@settings(deadline=None, max_examples=4)
@given(SEEDS)
def test_what_is_published_is_the_same_by_both_ways(seed):
    with company(seed) as drawn:
        assert drawn.published(shortlist=True) == drawn.published(shortlist=False)


def test_many_are_not_looked_at_one_by_one_and_every_short_cut_is_taken():
    looked_at, shortcuts = 0, dict.fromkeys(("stays", "held_out", "waiting", "due", "out"), 0)
    everybody = 0
    for seed, calm in ((3, False), (8, False), (3, True)):
        with (
            company(seed, people=80 if calm else 200, calm=calm) as drawn,
            mock.patch.object(Crowd, "person", autospec=True, side_effect=Crowd.person) as one,
            mock.patch.object(
                shortlisting.Deciding, "stays", autospec=True, side_effect=shortlisting.Deciding.stays
            ) as stays,
            mock.patch.object(shortlisting.Dues, "fate", autospec=True, side_effect=shortlisting.Dues.fate) as due,
            mock.patch.object(shortlisting._Pass, "_out", autospec=True, side_effect=shortlisting._Pass._out) as out,
        ):
            decisions, people, _ = drawn.decided(shortlist=True)
        everybody += len(people)
        looked_at += one.call_count
        shortcuts["stays"] += stays.call_count
        shortcuts["due"] += due.call_count
        shortcuts["out"] += sum(len(call.args[1]) for call in out.call_args_list)
        shortcuts["held_out"] += len(decisions.held_out)
        shortcuts["waiting"] += len(decisions.deferred.get("daily_cap", ()))
    assert looked_at < everybody * 3 / 4
    assert all(shortcuts.values()), shortcuts

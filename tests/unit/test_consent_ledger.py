from __future__ import annotations

from datetime import timedelta

import pytest

from connector.program.consent import NOTHING_SAID, fold
from connector.program.model import Basis, Status
from tests.fakes.consent import days_ago, word


def test_of_somebody_unknown_nothing_is_said():
    assert fold([]) == NOTHING_SAID


def test_an_opt_out_wins_over_every_permission_given_before_and_after():
    before = word(Status.GRANTED, days_ago(30))
    after = word(Status.GRANTED, days_ago(1))
    state = fold([before, word(Status.WITHDRAWN, days_ago(10)), after])
    assert state.opted_out_at == days_ago(10)


def test_only_a_later_return_lifts_an_opt_out():
    out = word(Status.WITHDRAWN, days_ago(10))
    assert fold([out, word(Status.RESUBSCRIBED, days_ago(11))]).opted_out_at == days_ago(10)
    assert fold([out, word(Status.RESUBSCRIBED, days_ago(9))]).opted_out_at is None


def test_a_return_at_the_same_moment_does_not_lift_an_opt_out():
    at = days_ago(10)
    assert fold([word(Status.WITHDRAWN, at), word(Status.RESUBSCRIBED, at)]).opted_out_at == at


def test_a_return_without_evidence_is_no_return():
    state = fold([word(Status.WITHDRAWN, days_ago(10)), word(Status.RESUBSCRIBED, days_ago(1), evidence={})])
    assert state.opted_out_at == days_ago(10)
    assert state.granted is None


def test_a_return_with_a_clock_that_runs_ahead_counts_from_when_it_was_heard():
    ahead = word(Status.RESUBSCRIBED, days_ago(-900), recorded_at=days_ago(20))
    assert fold([ahead, word(Status.WITHDRAWN, days_ago(10))]).opted_out_at == days_ago(10)


def test_an_opt_out_after_the_return_holds_again():
    lines = [
        word(Status.WITHDRAWN, days_ago(30)),
        word(Status.RESUBSCRIBED, days_ago(20)),
        word(Status.WITHDRAWN, days_ago(10)),
    ]
    assert fold(lines).opted_out_at == days_ago(10)
    assert fold(lines).granted is None


def test_permissions_from_before_an_opt_out_stay_void_after_the_return():
    old = word(Status.GRANTED, days_ago(100), basis=Basis.CONTRACT)
    back = word(Status.RESUBSCRIBED, days_ago(5))
    state = fold([old, word(Status.WITHDRAWN, days_ago(50)), back])
    assert state.grants == (back,)


def test_an_opt_out_of_any_purpose_counts():
    assert fold([word(Status.WITHDRAWN, days_ago(3), purpose="newsletter")]).opted_out_at == days_ago(3)


def test_a_return_to_one_purpose_lifts_that_purpose_only():
    newsletter = word(Status.WITHDRAWN, days_ago(9), purpose="newsletter")
    marketing = word(Status.WITHDRAWN, days_ago(8))
    back = word(Status.RESUBSCRIBED, days_ago(1), purpose="newsletter")
    assert fold([newsletter, back]).opted_out_at is None
    assert fold([newsletter, marketing, back]).opted_out_at == days_ago(8)
    assert fold([newsletter, back]).granted is None, "the newsletter is no permission for anything else"


def test_a_return_to_all_mail_lifts_every_purpose():
    lines = [word(Status.WITHDRAWN, days_ago(9), purpose="newsletter"), word(Status.WITHDRAWN, days_ago(8))]
    assert fold([*lines, word(Status.RESUBSCRIBED, days_ago(1))]).opted_out_at is None


def test_an_opt_out_of_another_channel_is_not_one_of_mail_but_one_of_all_channels_is():
    assert fold([word(Status.WITHDRAWN, days_ago(3), channel="sms")]).opted_out_at is None
    assert fold([word(Status.WITHDRAWN, days_ago(3), channel="all")]).opted_out_at == days_ago(3)


def test_a_permission_for_another_channel_is_none_for_mail():
    assert fold([word(Status.GRANTED, days_ago(3), channel="sms")]).granted is None


@pytest.mark.parametrize("status", [Status.LEGAL_HOLD, Status.ERASED, Status.SNOOZED])
def test_holds_erasures_and_snoozes_are_about_the_person_whatever_the_channel(status):
    state = fold([word(status, days_ago(3), channel="sms", expires_at=days_ago(-3))])
    assert state != NOTHING_SAID


def test_complaints_and_bounces_hold_until_a_later_return():
    lines = [word(Status.COMPLAINED, days_ago(9)), word(Status.BOUNCED, days_ago(8))]
    assert (fold(lines).complained_at, fold(lines).bounced_at) == (days_ago(9), days_ago(8))
    state = fold([*lines, word(Status.RESUBSCRIBED, days_ago(1))])
    assert (state.complained_at, state.bounced_at) == (None, None)


def test_an_erasure_is_for_good():
    state = fold([word(Status.ERASED, days_ago(9)), word(Status.RESUBSCRIBED, days_ago(1))])
    assert state.erased_at == days_ago(9)


def test_a_release_ends_the_holds_before_it_only():
    hold, release = word(Status.LEGAL_HOLD, days_ago(9)), word(Status.RELEASED, days_ago(5))
    assert not fold([hold, release]).legal_hold
    assert fold([hold, release, word(Status.LEGAL_HOLD, days_ago(5))]).legal_hold
    assert not fold([release]).legal_hold


def test_the_longest_snooze_holds_unless_the_person_came_back_since():
    long = word(Status.SNOOZED, days_ago(9), expires_at=days_ago(-60))
    short = word(Status.SNOOZED, days_ago(2), expires_at=days_ago(-10))
    assert fold([long, short]).snoozed_until == days_ago(-60)
    assert fold([long, short, word(Status.RESUBSCRIBED, days_ago(5))]).snoozed_until == days_ago(-10)


def test_a_snooze_without_an_end_is_an_opt_out():
    assert fold([word(Status.SNOOZED, days_ago(9))]).opted_out_at == days_ago(9)


def test_a_snooze_never_ends_an_opt_out():
    state = fold([word(Status.WITHDRAWN, days_ago(9)), word(Status.SNOOZED, days_ago(2), expires_at=days_ago(1))])
    assert state.opted_out_at == days_ago(9)


def test_the_strongest_permission_comes_first_and_weaker_ones_are_kept():
    implied = word(Status.GRANTED, days_ago(1), basis=Basis.CONSENT_IMPLIED)
    express = word(Status.GRANTED, days_ago(100))
    state = fold([implied, express])
    assert state.granted is express
    assert state.grants == (express, implied)


def test_a_permission_that_a_later_one_of_its_kind_outlasts_is_dropped():
    days = [word(Status.GRANTED, days_ago(d), basis=Basis.CONSENT_IMPLIED) for d in (300, 200, 100)]
    assert fold(days).grants == (days[-1],)


def test_an_older_permission_that_holds_longer_is_kept():
    long = word(Status.GRANTED, days_ago(100), expires_at=days_ago(-300))
    new = word(Status.GRANTED, days_ago(1), expires_at=days_ago(-10))
    assert fold([new, long]).grants == (long, new)


def test_a_permission_that_names_no_basis_is_none():
    assert fold([word(Status.GRANTED, days_ago(1), basis=None)]).granted is None


def test_what_was_said_at_the_very_moment_of_a_return_or_an_opt_out_goes_against_mailing():
    at = days_ago(5)
    back, end = word(Status.RESUBSCRIBED, at), days_ago(-9)
    assert fold([back, word(Status.COMPLAINED, at)]).complained_at == at
    assert fold([back, word(Status.BOUNCED, at)]).bounced_at == at
    assert fold([back, word(Status.SNOOZED, at, expires_at=end)]).snoozed_until == end
    assert fold([word(Status.GRANTED, at), word(Status.WITHDRAWN, at)]).granted is None
    assert fold([word(Status.GRANTED, at), word(Status.COMPLAINED, at)]).granted is None


def test_a_moment_decides():
    out = word(Status.WITHDRAWN, days_ago(3))
    back = word(Status.RESUBSCRIBED, days_ago(3) + timedelta(microseconds=1))
    assert fold([back, out]).opted_out_at is None

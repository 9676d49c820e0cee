from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from connector.program.codes import EXCLUSIONS
from connector.program.consent import fold
from connector.program.eligibility import may_be_shared
from connector.program.model import Basis, ConsentSettings, ConsentState, Status
from tests.fakes.consent import FORM, MAILABLE, NOW, days_ago, judged, word

OUT = word(Status.WITHDRAWN, days_ago(20))
BACK = word(Status.RESUBSCRIBED, days_ago(10))
COUNTRIES = ConsentSettings(countries={"US": "can_spam", "CA": "casl"})


def said(*lines) -> ConsentState:
    return fold(lines)


CASES: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
    # code, columns changed, other arguments of `judged`
    ("merged", {"merged_into": "crm:2"}, {}),
    ("deleted", {"deleted_at": days_ago(3)}, {}),
    ("erased", {"erased": True}, {}),
    ("erased", {}, {"state": said(word(Status.ERASED, days_ago(3)))}),
    ("opted_out", {"opted_out": True}, {}),
    ("opted_out", {"opted_out": True}, {"state": said(OUT, BACK)}),  # the CRM's flag, while set
    ("opted_out", {}, {"state": said(OUT)}),
    ("opted_out", {}, {"state": said(OUT, word(Status.GRANTED, days_ago(1)))}),
    ("opted_out", {"engaged_unsubscribed_at": days_ago(5)}, {}),
    ("opted_out", {"engaged_unsubscribed_at": days_ago(5)}, {"state": said(BACK)}),  # after the return
    ("opted_out", {"engaged_unsubscribed_at": days_ago(10)}, {"state": said(BACK)}),  # at the very moment of it
    ("complained", {}, {"state": said(word(Status.COMPLAINED, days_ago(3)))}),
    ("complained", {"engaged_complained_at": days_ago(3)}, {}),
    ("bounced", {"bounced": True}, {}),
    ("bounced", {}, {"state": said(word(Status.BOUNCED, days_ago(3)))}),
    ("bounced", {"engaged_bounced_at": days_ago(3)}, {}),
    ("suppressed", {}, {"suppressed": True}),
    ("legal_hold", {"legal_hold": True}, {}),
    ("legal_hold", {}, {"state": said(word(Status.LEGAL_HOLD, days_ago(3)))}),
    ("no_email", {"email": None}, {}),
    ("no_email", {"email": "  "}, {}),
    ("invalid_email", {"email": "ada.king@acme"}, {}),
    ("invalid_email", {"email": "ada king@acme.example.com"}, {"settings": ConsentSettings(hygiene=False)}),
    ("role_address", {"email": "support@acme.example.com"}, {}),
    ("disposable_address", {"email": "ada@mailinator.com"}, {}),
    ("duplicate_address", {}, {"first": False}),
    ("no_consent", {"can_email": None}, {}),
    ("no_consent", {"can_email": False}, {}),
    ("no_consent", {"can_email": False}, {"state": said(BACK)}),  # the CRM's no is final
    ("no_consent", {"can_email": False, "country": "US"}, {"settings": COUNTRIES}),
    ("no_consent", {"consent_basis": "soft_opt_in"}, {}),
    ("no_consent", {"consent_basis": "a word nobody knows"}, {}),
    ("no_consent", {"can_email": None, "country": "CA"}, {"settings": COUNTRIES}),
    ("no_consent", {"consent_basis": "consent_implied", "country": "CA"}, {"settings": COUNTRIES}),  # no date
    ("no_consent", {"can_email": None}, {"state": said(word(Status.GRANTED, days_ago(9), basis=Basis.CONTRACT))}),
    ("no_consent", {"can_email": None}, {"state": said(word(Status.GRANTED, days_ago(-1)))}),  # not yet given
    (
        "consent_expired",
        {"consent_basis": "consent_implied", "consent_at": days_ago(200), "country": "CA"},
        {"settings": COUNTRIES},
    ),
    (
        "consent_expired",
        {"can_email": None},
        {"state": said(word(Status.GRANTED, days_ago(90), expires_at=days_ago(1)))},
    ),
    ("consent_stale", {"confirmed_at": None}, {}),
    ("consent_stale", {"confirmed_at": NOW - timedelta(hours=48, microseconds=1)}, {}),
    ("consent_stale", {"confirmed_at": None, "can_email": None, "country": "US"}, {"settings": COUNTRIES}),
    ("unknown_country", {"country": None}, {"settings": COUNTRIES}),
    ("unknown_country", {"country": "Atlantis"}, {"settings": COUNTRIES}),
    ("unknown_country", {"country": None}, {"settings": ConsentSettings(profile="can_spam")}),
    ("snoozed", {"snoozed_until": days_ago(-1)}, {}),
    ("snoozed", {}, {"state": said(word(Status.SNOOZED, days_ago(3), expires_at=days_ago(-1)))}),
    ("snoozed", {"snoozed_until": days_ago(1)}, {"state": ConsentState(snoozed_until=days_ago(-1))}),
]


@pytest.mark.parametrize(("code", "changes", "others"), CASES)
def test_each_fact_excludes_with_its_own_code(code, changes, others):
    verdict = judged(changes, **others)
    assert verdict.reason == code
    assert verdict.rule, "an exclusion says what it was seen by"


def test_the_table_covers_every_code():
    assert {code for code, *_ in CASES} == set(EXCLUSIONS)


def test_the_first_code_in_order_is_given_when_all_of_them_apply():
    """Take one obstacle away after the other: each time the next code of the order shows."""
    row: dict[str, Any] = {
        "merged_into": "crm:2",
        "deleted_at": days_ago(1),
        "erased": True,
        "opted_out": True,
        "engaged_complained_at": days_ago(1),
        "bounced": True,
        "legal_hold": True,
        "email": "",
        "can_email": False,
        "consent_basis": "consent_implied",
        "consent_at": days_ago(900),
        "confirmed_at": None,
        "country": None,
        "snoozed_until": days_ago(-1),
    }
    # Suppression is by address, so that whoever is on the list has one; its step comes before the address is lost.
    how: dict[str, Any] = {"settings": ConsentSettings(profile="casl", countries={"US": "can_spam"}), "first": False}
    steps: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
        ("merged", {}, {}),
        ("deleted", {"merged_into": None}, {}),
        ("erased", {"deleted_at": None}, {}),
        ("opted_out", {"erased": False}, {}),
        ("complained", {"opted_out": False}, {}),
        ("bounced", {"engaged_complained_at": None}, {}),
        ("suppressed", {"bounced": False, "email": "info@mailinator"}, {"suppressed": True}),
        ("legal_hold", {}, {"suppressed": False}),
        ("no_email", {"legal_hold": False, "email": ""}, {}),
        ("invalid_email", {"email": "info@mailinator"}, {}),
        ("role_address", {"email": "info@mailinator.com"}, {}),
        ("disposable_address", {"email": "ada@mailinator.com"}, {}),
        ("duplicate_address", {"email": MAILABLE["email"]}, {}),
        ("no_consent", {}, {"first": True}),
        ("consent_expired", {"can_email": True}, {}),
        ("consent_stale", {"consent_at": days_ago(9)}, {}),
        ("unknown_country", {"confirmed_at": NOW}, {}),
        ("snoozed", {"country": "NL"}, {}),
    ]
    for code, changes, others in steps:
        row |= changes
        how |= others
        assert judged(row, **how).reason == code
    assert judged(row | {"snoozed_until": None}, **how).reason is None
    assert [code for code, *_ in steps] == list(EXCLUSIONS)


def test_a_row_that_knows_nothing_is_excluded():
    for column in MAILABLE:
        blank = judged({column: None})
        expected = {"email": "no_email", "can_email": "no_consent", "confirmed_at": "consent_stale"}.get(column)
        assert blank.reason == expected, column


@pytest.mark.parametrize(
    ("changes", "others"),
    [
        ({}, {}),
        ({"confirmed_at": NOW - timedelta(hours=48)}, {}),  # exactly the age that is allowed
        ({"snoozed_until": NOW}, {}),  # over at its very end
        ({"country": None}, {}),  # strict rules are good anywhere
        ({"country": None}, {"settings": ConsentSettings(countries={"CA": "gdpr_strict"})}),
        ({"country": None}, {"settings": ConsentSettings(profile="can_spam", assume_country="US")}),
        ({"country": "Canada"}, {"settings": COUNTRIES}),
        ({"can_email": None, "country": "USA"}, {"settings": COUNTRIES}),
        ({"consent_basis": "a word nobody knows", "country": "US"}, {"settings": COUNTRIES}),
        ({"can_email": None, "confirmed_at": None}, {"state": said(word(Status.GRANTED, days_ago(900)))}),
        ({"can_email": None}, {"state": said(OUT, BACK)}),
        ({"engaged_unsubscribed_at": days_ago(20)}, {"state": said(BACK)}),
        ({"engaged_complained_at": days_ago(20), "engaged_bounced_at": days_ago(20)}, {"state": said(BACK)}),
        ({"email": "support@acme.example.com"}, {"settings": ConsentSettings(hygiene=False)}),
        ({"email": "ada@mailinator.com"}, {"settings": ConsentSettings(hygiene=False)}),
        ({}, {"first": False, "settings": ConsentSettings(hygiene=False)}),
    ],
)
def test_what_is_no_obstacle(changes, others):
    assert judged(changes, **others).reason is None


def test_the_verdict_names_the_permission_it_rests_on_and_its_end():
    grant = word(Status.GRANTED, days_ago(30), expires_at=days_ago(-30), evidence=FORM)
    verdict = judged({"can_email": None}, said(grant))
    assert (verdict.basis, verdict.until) == ("consent_express", days_ago(-30))
    assert verdict.rule == "gdpr_strict: consent_express by the consent ledger since 2026-10-23"


def test_the_crms_word_is_named_with_the_day_it_was_read():
    verdict = judged({"consent_at": days_ago(400)})
    assert verdict.rule == "gdpr_strict: consent_express by the CRM since 2025-10-18, read 2026-11-22"
    assert (verdict.basis, verdict.until) == ("consent_express", None)


@pytest.mark.parametrize(
    ("changes", "profile", "rule"),
    [
        ({"can_email": None}, "gdpr_strict", "neither the CRM nor the consent ledger knows of a permission"),
        ({"consent_basis": "contract"}, "gdpr_strict", "contract is no permission under it"),
        ({"consent_basis": "odd"}, "gdpr_strict", "the CRM names a basis that is none of ours"),
        ({"consent_basis": "consent_implied"}, "casl", "consent_implied without a date to count from"),
        ({}, "custom", "consent_express is no permission under it"),
    ],
)
def test_who_lacks_consent_is_told_what_is_lacking(changes, profile, rule):
    verdict = judged(changes, settings=ConsentSettings(profile=profile))
    assert verdict.rule == f"{profile}: {rule}, read 2026-11-22"


def test_an_expired_permission_is_named_with_the_day_it_lapsed():
    verdict = judged({"can_email": None}, said(word(Status.GRANTED, days_ago(90), expires_at=days_ago(1))))
    assert (verdict.basis, verdict.until) == ("consent_express", days_ago(1))
    assert verdict.rule.endswith("lapsed on 2026-11-21")


def test_the_permission_that_lasts_longest_is_the_one_relied_on():
    casl = ConsentSettings(profile="casl")
    implied = {"consent_basis": "consent_implied", "consent_at": days_ago(30)}
    assert judged(implied, settings=casl).basis == "consent_implied"
    express = judged(implied, said(word(Status.GRANTED, days_ago(60))), casl)
    assert (express.basis, express.until) == ("consent_express", None)


def test_a_lapsed_express_consent_does_not_hide_a_live_implied_one():
    casl = ConsentSettings(profile="casl")
    lapsed = word(Status.GRANTED, days_ago(90), expires_at=days_ago(1))
    inquiry = word(Status.GRANTED, days_ago(30), basis=Basis.CONSENT_IMPLIED)
    assert judged({"can_email": None}, said(lapsed, inquiry), casl).basis == "consent_implied"


def test_a_permission_in_the_ledger_serves_where_the_crms_word_is_stale():
    verdict = judged({"confirmed_at": None}, said(word(Status.GRANTED, days_ago(60), expires_at=days_ago(-5))))
    assert (verdict.reason, verdict.until) == (None, days_ago(-5))


def test_a_stale_word_is_said_to_be_stale_even_where_the_ledgers_permission_has_lapsed():
    lapsed = word(Status.GRANTED, days_ago(90), expires_at=days_ago(1))
    assert judged({"confirmed_at": None}, said(lapsed)).reason == "consent_stale"


def test_silence_is_no_obstacle_only_where_the_law_is_opt_out():
    for profile, reason in [
        ("gdpr_strict", "no_consent"),
        ("gdpr_soft_opt_in", "no_consent"),
        ("casl", "no_consent"),
        ("custom", "no_consent"),
        ("can_spam", None),
        ("ccpa", None),
    ]:
        assert judged({"can_email": None}, settings=ConsentSettings(profile=profile)).reason == reason, profile


def test_an_address_is_never_in_what_a_verdict_says():
    for _, changes, others in CASES:
        verdict = judged(changes, **others)
        assert "@" not in verdict.rule
        assert "nobody knows" not in verdict.rule, "words of the CRM are not repeated"


@pytest.mark.parametrize(
    ("attributes", "shared"),
    [
        (None, True),
        ("{}", True),
        ('{"do_not_sell_or_share": "false"}', True),
        ('{"do_not_sell_or_share": false, "global_privacy_control": 0}', True),
        ('{"do_not_sell_or_share": true}', False),
        ('{"do_not_sell_or_share": "Yes"}', False),
        ('{"do_not_sell_or_share": "perhaps"}', False),
        ('{"global_privacy_control": 1}', False),
        ('{"broken', False),
        ('["a"]', False),
        ({"do_not_sell_or_share": True}, False),
    ],
)
def test_whoever_objected_to_sale_or_sharing_is_in_no_audience(attributes, shared):
    assert may_be_shared({"attributes": attributes}) is shared

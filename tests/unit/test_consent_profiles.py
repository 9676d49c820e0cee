from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from connector.errors import SettingError
from connector.program.consent import fold
from connector.program.countries import country_code
from connector.program.model import Basis, ConsentSettings, ConsentState, Status
from connector.program.profiles import PROFILES, country_matters, keep_until, months_after, profile_for
from tests.fakes.consent import NOW, judged, word

MICROSECOND = timedelta(microseconds=1)
INDIA, CHATHAM = ZoneInfo("Asia/Kolkata"), ZoneInfo("Pacific/Chatham")


def at(text: str, zone=UTC) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


ALLOWED = {
    "gdpr_strict": {Basis.CONSENT_EXPRESS},
    "gdpr_soft_opt_in": {Basis.CONSENT_EXPRESS, Basis.SOFT_OPT_IN},
    "can_spam": set(Basis),
    "casl": {Basis.CONSENT_EXPRESS, Basis.CONSENT_IMPLIED, Basis.SOFT_OPT_IN, Basis.CONTRACT},
    "ccpa": set(Basis),
}


@pytest.mark.parametrize("basis", list(Basis))
@pytest.mark.parametrize("profile", list(ALLOWED))
def test_each_profile_takes_the_permissions_of_its_law(profile, basis):
    """A permission of yesterday is live under every term there is, so only the basis decides."""
    row = {"consent_basis": basis.value, "consent_at": NOW - timedelta(days=1)}
    taken = judged(row, settings=ConsentSettings(profile=profile))
    ledger = fold([word(Status.GRANTED, NOW - timedelta(days=1), basis=basis)])
    told = judged({"can_email": None}, ledger, ConsentSettings(profile=profile))
    assert taken.reason == told.reason == (None if basis in ALLOWED[profile] else "no_consent")
    if basis in ALLOWED[profile]:
        assert taken.basis == told.basis == basis.value


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ("2024-11-22T09:00", 24, "2026-11-22T09:00"),
        ("2024-02-29T12:00", 24, "2026-02-28T12:00"),  # leap day to a year without one
        ("2022-02-28T12:00", 24, "2024-02-28T12:00"),  # and not to one it was not
        ("2024-02-29T12:00", 48, "2028-02-29T12:00"),
        ("2026-08-31T23:59:59.999999", 6, "2027-02-28T23:59:59.999999"),
        ("2023-08-31T00:00", 6, "2024-02-29T00:00"),
        ("2026-12-31T00:00", 6, "2027-06-30T00:00"),
        ("2026-07-01T00:00", 6, "2027-01-01T00:00"),
        ("2026-11-30T00:00", 3, "2027-02-28T00:00"),
        ("2026-12-15T00:00", 1, "2027-01-15T00:00"),
        ("2026-11-15T00:00", 1, "2026-12-15T00:00"),
        ("2026-01-31T00:00", 36, "2029-01-31T00:00"),
    ],
)
def test_months_are_counted_on_the_calendar(start, months, end):
    assert months_after(at(start), months) == at(end)


CASL = [
    # given, basis, evidence, last paid, the first moment it holds no more
    ("2024-11-22T09:00", "contract", {}, None, "2026-11-22T09:00"),
    ("2024-02-29T23:30", "contract", {}, None, "2026-02-28T23:30"),
    ("2026-05-31T08:00", "consent_implied", {}, None, "2026-11-30T08:00"),
    ("2025-08-31T08:00", "consent_implied", {}, None, "2026-02-28T08:00"),
    ("2023-08-31T08:00", "consent_implied", {}, None, "2024-02-29T08:00"),
    ("2024-02-29T08:00", "consent_implied", {"kind": "purchase"}, None, "2026-02-28T08:00"),
    ("2024-02-29T08:00", "consent_implied", {"kind": "inquiry"}, None, "2024-08-29T08:00"),
    ("2023-01-01T00:00", "consent_implied", {}, "2024-02-29T08:00", "2026-02-28T08:00"),
    ("2024-03-01T00:00", "contract", {}, "2022-01-01T00:00", "2026-03-01T00:00"),
    ("2022-01-01T00:00", "soft_opt_in", {}, "2024-06-30T00:00", "2026-06-30T00:00"),
]


@pytest.mark.parametrize(("given", "basis", "evidence", "paid", "end"), CASL)
def test_an_implied_permission_lapses_to_the_moment_under_casl(given, basis, evidence, paid, end):
    state = fold([word(Status.GRANTED, at(given), basis=Basis(basis), evidence=evidence)])
    row = {"can_email": None, "last_paid_at": paid and at(paid), "country": "CA"}
    rules = ConsentSettings(countries={"CA": "casl"})
    before = judged(row, state, rules, now=at(end) - MICROSECOND)
    assert (before.reason, before.until) == (None, at(end))
    after = judged(row, state, rules, now=at(end))
    assert (after.reason, after.until) == ("consent_expired", at(end))


def test_an_end_that_was_said_comes_before_the_laws():
    state = fold(
        [word(Status.GRANTED, at("2026-01-01T00:00"), basis=Basis.CONTRACT, expires_at=at("2026-06-01T00:00"))]
    )
    rules = ConsentSettings(profile="casl")
    assert judged({"can_email": None}, state, rules, now=at("2026-05-31T23:59")).until == at("2026-06-01T00:00")
    assert judged({"can_email": None}, state, rules, now=at("2026-06-01T00:00")).reason == "consent_expired"


def test_express_consent_has_no_end_under_casl_and_gdpr():
    for profile in ("casl", "gdpr_strict", "gdpr_soft_opt_in"):
        state = fold([word(Status.GRANTED, at("1999-01-01T00:00"))])
        verdict = judged({"can_email": None}, state, ConsentSettings(profile=profile))
        assert (verdict.reason, verdict.until) == (None, None)


@pytest.mark.parametrize("sign", ["last_active_at", "last_paid_at", "engaged_last_at", "consent_at"])
def test_the_soft_opt_in_holds_three_years_from_the_last_sign_of_the_person(sign):
    old = at("2020-01-01T00:00")
    row = {"consent_basis": "soft_opt_in", "consent_at": old, "last_active_at": old, sign: at("2024-02-29T10:00")}
    rules = ConsentSettings(profile="gdpr_soft_opt_in", max_age=timedelta(days=9999))
    last = at("2027-02-28T10:00")
    assert judged(row, settings=rules, now=last - MICROSECOND).until == last
    assert judged(row, settings=rules, now=last).reason == "consent_expired"


def test_a_date_to_come_proves_nothing():
    row = {"consent_basis": "consent_implied", "consent_at": NOW + timedelta(days=1), "last_paid_at": NOW + MICROSECOND}
    assert judged(row, settings=ConsentSettings(profile="casl")).reason == "no_consent"
    assert judged({**row, "last_paid_at": NOW}, settings=ConsentSettings(profile="casl")).reason is None


@pytest.mark.parametrize("zone", [timezone(timedelta(hours=h)) for h in range(-12, 15)] + [INDIA, CHATHAM])
def test_a_permission_ends_at_the_same_moment_whatever_zone_it_was_written_in(zone):
    given = at("2024-02-29T01:00")
    state = fold([word(Status.GRANTED, given.astimezone(zone), basis=Basis.CONTRACT)])
    verdict = judged({"can_email": None}, state, ConsentSettings(profile="casl"), now=at("2025-01-01T00:00", zone))
    assert verdict.until == at("2026-02-28T01:00")


def test_a_permission_given_before_the_clocks_change_ends_at_the_same_utc_hour():
    amsterdam = ZoneInfo("Europe/Amsterdam")
    summer = at("2026-07-15T09:30", amsterdam)
    state = fold([word(Status.GRANTED, summer, basis=Basis.CONSENT_IMPLIED)])
    verdict = judged({"can_email": None}, state, ConsentSettings(profile="casl"), now=at("2026-08-01T00:00"))
    assert verdict.until == at("2027-01-15T07:30")


def test_a_custom_profile_allows_what_it_names_for_as_long_as_it_says():
    rules = ConsentSettings(profile="custom", custom={"legitimate_interest": timedelta(days=90), "contract": None})
    state = fold([word(Status.GRANTED, at("2026-08-24T09:00"), basis=Basis.LEGITIMATE_INTEREST)])
    assert judged({"can_email": None}, state, rules, now=at("2026-11-22T08:59")).until == at("2026-11-22T09:00")
    assert judged({"can_email": None}, state, rules, now=at("2026-11-22T09:00")).reason == "consent_expired"
    contract = fold([word(Status.GRANTED, at("2001-01-01T00:00"), basis=Basis.CONTRACT)])
    assert judged({"can_email": None}, contract, rules).reason is None
    assert judged({}, ConsentState(), rules).reason == "no_consent", "express consent is not among what it names"


def test_an_unknown_profile_or_basis_is_named_with_those_there_are():
    with pytest.raises(SettingError, match="no profile 'gdpr'") as caught:
        profile_for(ConsentSettings(profile="gdpr"), None)
    assert "gdpr_strict" in (caught.value.hint or "")
    with pytest.raises(SettingError, match="no basis 'consent'") as caught:
        profile_for(ConsentSettings(profile="custom", custom={"consent": None}), None)
    assert "consent_express" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("country", "profile"),
    [("CA", "casl"), ("canada", "casl"), ("US", "can_spam"), ("NL", "gdpr_strict"), (None, "gdpr_strict")],
)
def test_the_country_decides_between_profiles(country, profile):
    rules = ConsentSettings(countries={"CA": "casl", "US": "can_spam"})
    assert profile_for(rules, country).name == profile


def test_somebody_without_a_country_is_taken_for_the_assumed_one():
    rules = ConsentSettings(countries={"CA": "casl"}, assume_country="CA")
    assert profile_for(rules, None).name == "casl"
    assert profile_for(rules, "Atlantis").name == "casl"
    assert profile_for(rules, "DE").name == "gdpr_strict"
    assert not country_matters(rules, profile_for(rules, None))


def test_a_country_is_needed_where_the_rules_are_those_of_one_country():
    assert [name for name, profile in PROFILES.items() if country_matters(ConsentSettings(), profile)] == [
        "can_spam",
        "ccpa",
    ]


@pytest.mark.parametrize(
    ("profile", "last", "end"),
    [
        ("gdpr_strict", "2024-02-29T10:00", "2027-02-28T10:00"),
        ("gdpr_soft_opt_in", "2023-11-22T09:00", "2026-11-22T09:00"),
        ("can_spam", "2023-11-22T09:00", None),
        ("casl", "2023-11-22T09:00", None),
    ],
)
def test_whoever_gives_no_sign_is_kept_as_long_as_the_profile_says(profile, last, end):
    assert keep_until(ConsentSettings(), PROFILES[profile], at(last)) == (end and at(end))


def test_the_playbooks_own_retention_comes_before_the_profiles():
    rules = ConsentSettings(retention=timedelta(days=400))
    for profile in PROFILES.values():
        assert keep_until(rules, profile, at("2025-01-01T00:00")) == at("2026-02-05T00:00")


def test_every_profile_asks_for_a_way_out_and_a_sender_in_each_mail():
    for profile in PROFILES.values():
        assert {"unsubscribe_link", "sender_identity", "postal_address"} <= set(profile.footer)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("us", "US"),
        (" U.S.A. ", "US"),
        ("United States of America", "US"),
        ("UK", "GB"),
        ("Great Britain", "GB"),
        ("The Netherlands", "NL"),
        ("GERMANY", "DE"),
        ("deu", "DE"),
        ("Côte d\u2019Ivoire", "CI"),
        ("Cote d'Ivoire", "CI"),
        ("Bosnia & Herzegovina", "BA"),
        ("Viet Nam", "VN"),
        ("NO", "NO"),
        ("no country", None),
        ("EU", None),
        ("", None),
        (None, None),
    ],
)
def test_a_country_is_understood_as_people_write_it(text, code):
    assert country_code(text) == code

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.permission import ledger_reason
from connector.program.codes import EXCLUSIONS
from connector.program.consent import fold
from connector.program.eligibility import eligibility
from connector.program.model import Basis, ConsentSettings
from tests.fakes.consent import MAILABLE, NOW, days_ago, lines

TIMES = st.none() | st.integers(-3, 900).map(days_ago)
FLAGS = st.none() | st.booleans()
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "merged_into": st.none() | st.just("crm:2"),
        "deleted_at": st.none() | TIMES,
        "erased": FLAGS,
        "opted_out": FLAGS,
        "bounced": FLAGS,
        "legal_hold": FLAGS,
        "email": st.sampled_from([None, "", "a@b", "info@acme.example.com", "x@mailinator.com", MAILABLE["email"]]),
        "can_email": FLAGS,
        "consent_basis": st.none() | st.sampled_from([*(b.value for b in Basis), "other"]),
        "consent_at": TIMES,
        "confirmed_at": TIMES,
        "last_paid_at": TIMES,
        "country": st.sampled_from([None, "US", "CA", "NL", "?"]),
        "snoozed_until": TIMES,
        "engaged_unsubscribed_at": TIMES,
        "engaged_complained_at": TIMES,
        "engaged_bounced_at": TIMES,
    },
)
SETTINGS = st.builds(
    ConsentSettings,
    profile=st.sampled_from(["gdpr_strict", "gdpr_soft_opt_in", "can_spam", "casl", "ccpa", "custom"]),
    countries=st.dictionaries(st.sampled_from(["US", "CA"]), st.sampled_from(["can_spam", "casl"])),
    assume_country=st.none() | st.sampled_from(["US", "CA"]),
    custom=st.dictionaries(st.sampled_from([b.value for b in Basis]), st.none() | st.just(timedelta(days=30))),
    hygiene=st.booleans(),
)


@settings(deadline=None, max_examples=300)
@given(ledger=lines())
def test_what_is_asked_before_a_write_is_what_the_verdict_says_of_the_ledger(ledger):
    state = fold(ledger)
    verdict = eligibility(
        MAILABLE, state, ConsentSettings(), now=NOW, suppressed=lambda _: False, first_with_address=True
    )
    assert ledger_reason(state, NOW) == verdict.reason


@settings(deadline=None, max_examples=400)
@given(
    changes=ROWS,
    nearly=st.booleans(),
    ledger=lines(),
    rules=SETTINGS,
    lists=st.tuples(st.booleans(), st.booleans()),
)
def test_nobody_is_eligible_against_any_fact(changes, nearly, ledger, rules, lists):
    """Whatever the rest says: an objection from anywhere, or no permission that can be shown, is the end of it."""
    row: dict[str, Any] = {**MAILABLE, **changes} if nearly else changes
    state, (suppressed, first) = fold(ledger), lists
    verdict = eligibility(row, state, rules, now=NOW, suppressed=lambda _: suppressed, first_with_address=first)
    if verdict.reason is not None:
        assert verdict.reason in EXCLUSIONS
        return
    gone = row.get("merged_into") or row.get("deleted_at") or row.get("erased") or state.erased_at
    objected = row.get("opted_out") or state.opted_out_at or state.complained_at
    unreachable = row.get("bounced") or state.bounced_at or not row.get("email") or "@b" in row["email"]
    assert not (gone or objected or unreachable or suppressed or state.legal_hold or row.get("legal_hold"))
    assert row.get("can_email") is not False
    assert (first and "info@" not in row["email"] and "mailinator" not in row["email"]) or not rules.hygiene
    for until in (row.get("snoozed_until"), state.snoozed_until):
        assert until is None or until <= NOW
    assert verdict.until is None or verdict.until > NOW
    if verdict.basis is None:
        assert verdict.rule.startswith(("can_spam", "ccpa")), "only opt-out rules do without a permission"
    elif not state.grants:
        assert row["can_email"]
        assert row["confirmed_at"] >= NOW - rules.max_age


@settings(deadline=None, max_examples=200)
@given(changes=ROWS, ledger=lines(), rules=SETTINGS)
def test_an_obstacle_more_never_makes_somebody_eligible(changes, ledger, rules):
    row, state = {**MAILABLE, **changes}, fold(ledger)

    def reason(more: dict[str, Any]) -> str | None:
        asked = {**row, **more}
        return eligibility(asked, state, rules, now=NOW, suppressed=lambda _: False, first_with_address=True).reason

    before = reason({})
    for more in (
        {"opted_out": True},
        {"engaged_unsubscribed_at": NOW},
        {"engaged_complained_at": NOW},
        {"bounced": True},
        {"legal_hold": True},
        {"erased": True},
        {"can_email": False},
        {"snoozed_until": days_ago(-1)},
    ):
        after = reason(more)
        assert after is not None
        if before is not None:
            order = list(EXCLUSIONS)
            assert order.index(after) <= order.index(before)

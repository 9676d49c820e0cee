"""Whether somebody may be contacted, and why not: facts, ledger and profile in, one verdict out. Fails closed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from connector.program.codes import EXCLUSIONS
from connector.program.consent import NOTHING_SAID, basis_of, said_at
from connector.program.countries import country_code
from connector.program.hygiene import address_problem
from connector.program.model import Basis, ConsentSettings, ConsentState, Eligibility, Status
from connector.program.profiles import Profile, Since, Term, country_matters, profile_for, shows_purchase

_Row = Mapping[str, Any]
_FOREVER = datetime.max.replace(tzinfo=UTC)
_BASES = {basis.value: basis for basis in Basis}
_EXPRESS, _CONTRACT = Basis.CONSENT_EXPRESS, Basis.CONTRACT


class _Permission(NamedTuple):
    """Something a mail could rest on; `until` None: without end; `stale`: the CRM's word, too long unread."""

    basis: Basis | None
    until: datetime | None
    stale: bool
    said: str


def eligibility(
    row: _Row,
    state: ConsentState,
    settings: ConsentSettings,
    *,
    now: datetime,
    suppressed: Callable[[str], bool],
    first_with_address: bool,
) -> Eligibility:
    """The verdict on one contact; the reason is the first of EXCLUSIONS that applies.

    row: Columns of the features relation and of PERSON; signals, where they are there, count too. A missing key is
        an unknown value.
    suppressed: Whether an address is on the suppression list (`suppression.Suppressions`).
    first_with_address: No other contact with this address comes before: active later, or else of a lower id.
    """
    no = _gone(row, state) or _refused(row, state)
    if no is None:
        no = _unmailable(row, state, settings, suppressed=suppressed, first_with_address=first_with_address)
    if no is not None:
        return no
    profile = profile_for(settings, row.get("country"))
    found = _permission(row, state, settings, profile, now=now)
    if isinstance(found, Eligibility):
        return found
    if country_code(row.get("country")) is None and country_matters(settings, profile):
        return _no("unknown_country", f"{profile.name}: its rules, or others of the playbook, are those of a country")
    snoozed = _latest(row.get("snoozed_until"), state.snoozed_until)
    if snoozed is not None and snoozed > now:
        return _no("snoozed", f"asked to be left alone until {_day(snoozed)}")
    basis = None if found.basis is None else found.basis.value
    return Eligibility(None, basis, found.until, f"{profile.name}: {found.said}")


def may_be_shared(row: _Row) -> bool:
    """Whether the contact may be in an audience handed to an advertiser: did not object to sale or sharing (CCPA).

    Looks for `do_not_sell_or_share` or `global_privacy_control` in the attributes; attributes that cannot be read
    count as an objection.
    """
    attributes = row.get("attributes") or {}
    if isinstance(attributes, str):
        try:
            attributes = json.loads(attributes)
        except ValueError:
            return False
    if not isinstance(attributes, Mapping):
        return False
    return all(_denied(attributes.get(flag)) for flag in ("do_not_sell_or_share", "global_privacy_control"))


def stands(at: datetime, state: ConsentState) -> bool:
    """Whether no later return of the person, with evidence, lifts what the mail events say."""
    return not any(grant.status is Status.RESUBSCRIBED and said_at(grant) > at for grant in state.grants)


def _denied(flag: object) -> bool:
    """Whether a flag is clearly not set; a word nobody understands counts as set."""
    return flag is None or str(flag).strip().lower() in {"", "0", "0.0", "false", "no", "off", "none", "null"}


def _gone(row: _Row, state: ConsentState) -> Eligibility | None:
    if row.get("merged_into"):
        return _no("merged", "merged in the CRM")
    deleted = row.get("deleted_at")
    if deleted is not None:
        return _no("deleted", f"deleted in the CRM on {_day(deleted)}")
    if state.erased_at is not None:
        return _no("erased", f"consent ledger, {_day(state.erased_at)}")
    return _no("erased", "marked in the CRM") if row.get("erased") else None


def _refused(row: _Row, state: ConsentState) -> Eligibility | None:
    """Opt-outs, complaints and bounces, from wherever they come."""
    get = row.get
    said = _heard(get("opted_out"), state.opted_out_at, get("engaged_unsubscribed_at"), row, state)
    if said is not None:
        return _no("opted_out", said)
    said = _heard(None, state.complained_at, get("engaged_complained_at"), row, state)
    if said is not None:
        return _no("complained", said)
    said = _heard(get("bounced"), state.bounced_at, get("engaged_bounced_at"), row, state)
    return None if said is None else _no("bounced", said)


def _heard(
    flag: object, ledger: datetime | None, events: datetime | None, row: _Row, state: ConsentState
) -> str | None:
    """Who says so: the CRM by its flag, for as long as it is set; our ledger; the mail events since. None: nobody."""
    if flag:
        return f"marked in the CRM, {_read(row)}"
    if ledger is not None:
        return f"consent ledger, {_day(ledger)}"
    return f"mail events, {_day(events)}" if events is not None and stands(events, state) else None


def _unmailable(
    row: _Row,
    state: ConsentState,
    settings: ConsentSettings,
    *,
    suppressed: Callable[[str], bool],
    first_with_address: bool,
) -> Eligibility | None:
    email = row.get("email")
    if email and suppressed(email):
        return _no("suppressed", "the suppression list has the address")
    if state.legal_hold or row.get("legal_hold"):
        return _no("legal_hold", "consent ledger" if state.legal_hold else f"marked in the CRM, {_read(row)}")
    if not email or not email.strip():
        return _no("no_email", f"the CRM has none, {_read(row)}")
    problem = address_problem(email, hygiene=settings.hygiene)
    if problem is not None:
        return _no(problem, "checked by its form; no name server was asked")
    if settings.hygiene and not first_with_address:
        return _no("duplicate_address", "the most recently active of them comes first, then the lowest id")
    return None


def _permission(
    row: _Row, state: ConsentState, settings: ConsentSettings, profile: Profile, *, now: datetime
) -> _Permission | Eligibility:
    """The best permission that holds now, else why there is none.

    The CRM's no is final. A permission out of the ledger does not age as the CRM's word does: it is kept here.
    """
    if row.get("can_email") is False:
        return _no("no_consent", f"{profile.name}: the CRM says no, {_read(row)}")
    by_crm = _by_the_crm(row, settings, profile, now=now)
    if not state.grants and by_crm is not None and by_crm.until is None and not by_crm.stale:
        return by_crm  # most people, most of the time
    found = [] if by_crm is None else [by_crm]
    found += _by_the_ledger(row, state, profile, now=now)
    if not found:
        return _no("no_consent", f"{profile.name}: {_what_lacks(row, profile)}, {_read(row)}")
    live = [p for p in found if p.until is None or p.until > now]
    best = found[0] if len(found) == 1 else max(live or found, key=_worth)
    if not live:
        assert best.until is not None
        return _no("consent_expired", f"{profile.name}: {best.said}, lapsed on {_day(best.until)}", best)
    if best.stale:
        return _no("consent_stale", f"{profile.name}: {best.said}; older than {settings.max_age}", best)
    return best


def _worth(permission: _Permission) -> tuple[bool, datetime, bool]:
    """What can be relied on before what is stale; then what lasts longest; then a permission before none needed."""
    return not permission.stale, permission.until or _FOREVER, permission.basis is not None


def _by_the_crm(row: _Row, settings: ConsentSettings, profile: Profile, *, now: datetime) -> _Permission | None:
    """The CRM's yes, on the basis it names; in an opt-out regime its silence as well."""
    confirmed = row.get("confirmed_at")
    stale = confirmed is None or now - confirmed > settings.max_age
    if row.get("can_email"):
        word = row.get("consent_basis")
        basis = _EXPRESS if word is None else _BASES.get(word)
        terms = None if basis is None else profile.bases.get(basis)
        if terms is not None:
            given = row.get("consent_at")
            ends = _ends(terms, row, given=given, purchase=given if basis is _CONTRACT else None, now=now)
            if ends is not None:
                since = "" if given is None else f" since {_day(given)}"
                return _Permission(
                    basis, None if ends is _FOREVER else ends, stale, f"{basis} by the CRM{since}, {_read(row)}"
                )
    if profile.opt_in:
        return None
    return _Permission(None, None, stale, f"no permission needed, the CRM knows of no objection, {_read(row)}")


def _by_the_ledger(row: _Row, state: ConsentState, profile: Profile, *, now: datetime) -> Iterator[_Permission]:
    for grant in state.grants:
        basis, given = basis_of(grant), said_at(grant)
        terms = profile.bases.get(basis)
        if terms is None or given > now:
            continue
        ends = _ends(terms, row, given=given, purchase=given if shows_purchase(grant) else None, now=now)
        if ends is None:
            continue
        until = min(ends, grant.expires_at or _FOREVER)
        yield _Permission(
            basis, None if until is _FOREVER else until, False, f"{basis} by the consent ledger since {_day(given)}"
        )


def _ends(
    terms: Iterable[Term], row: _Row, *, given: datetime | None, purchase: datetime | None, now: datetime
) -> datetime | None:
    """When the last of the terms runs out; None when nothing is known to count from."""
    last: datetime | None = None
    for term in terms:
        if term.endless:
            return _FOREVER
        start = _start(term, row, given=given, purchase=purchase, now=now)
        if start is not None:
            end = term.ends(start)
            last = end if last is None or end > last else last
    return last


def _start(
    term: Term, row: _Row, *, given: datetime | None, purchase: datetime | None, now: datetime
) -> datetime | None:
    """What a term counts from; dates after now are not facts yet and count for nothing."""
    known: tuple[datetime | None, ...]
    if term.since is Since.GIVEN:
        known = (given,)
    elif term.since is Since.PURCHASE:
        known = (purchase, row.get("last_paid_at"))
    else:
        known = (given, purchase, row.get("last_paid_at"), row.get("last_active_at"), row.get("engaged_last_at"))
    return max((at for at in known if at is not None and at <= now), default=None)


def _what_lacks(row: _Row, profile: Profile) -> str:
    if not row.get("can_email"):
        return "neither the CRM nor the consent ledger knows of a permission"
    word = row.get("consent_basis") or Basis.CONSENT_EXPRESS
    if word not in _BASES:
        return "the CRM names a basis that is none of ours"
    if _BASES[word] not in profile.bases:
        return f"{_BASES[word]} is no permission under it"
    return f"{_BASES[word]} without a date to count from"


def _no(reason: str, rule: str, lost: _Permission | None = None) -> Eligibility:
    """A refusal; `lost` is the permission that would have served."""
    assert reason in EXCLUSIONS
    if lost is None:
        return Eligibility(reason, None, None, rule)
    return Eligibility(reason, None if lost.basis is None else lost.basis.value, lost.until, rule)


def _latest(*times: datetime | None) -> datetime | None:
    return max((at for at in times if at is not None), default=None)


def _read(row: _Row) -> str:
    confirmed = row.get("confirmed_at")
    return "never read" if confirmed is None else "read " + _day(confirmed)


def _day(at: datetime) -> str:
    return at.date().isoformat()


NOBODY_SUPPRESSED: Callable[[str], bool] = frozenset[str]().__contains__
"""For a caller without a suppression list."""

__all__ = ["NOBODY_SUPPRESSED", "NOTHING_SAID", "eligibility", "may_be_shared", "stands"]

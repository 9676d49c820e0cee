"""What a mail can merge: contact properties that a step writes. Values are text as the CRM stores it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, tzinfo
from typing import Any

from connector.model import PropertySpec
from connector.program import whats_new
from connector.program.model import Episode, Program, StepSettings
from connector.program.offers import LADDER, NONE, Reserved

Links = Callable[[str, str], Mapping[str, str]]
"""(contact_id, campaign) → action → URL, and `survey` → the token for a survey's hidden field; see connector.links."""

PROGRAM = "winback_program"
STEP = "winback_step"
SEND_AT = "winback_send_at"
VARIANT = "winback_variant"
BRANCH = "winback_branch"
OFFER = "winback_offer"
OFFER_CODE = "winback_offer_code"
OFFER_UNTIL = "winback_offer_until"
DAYS_AWAY = "winback_days_away"
DAYS_AWAY_COUNT = "winback_days_away_count"
MILESTONE = "winback_milestone"
TEAMMATES = "winback_teammates_active"
WHATS_NEW = "winback_whats_new"
NEXT_STEP = "winback_next_step"
LINK = "winback_link_"
SURVEY_TOKEN = "winback_survey_token"  # noqa: S105  # a property's name

ACTIONS = ("return", "snooze", "unsubscribe", "preferences")
"""What a one-click link can do."""

SURVEY = "survey"
"""What the token for a survey's hidden field is called among the links."""

MILESTONES = (10, 25, 50, 100, 200, 365, 500, 750, 1_000, 1_500, 2_000, 3_000)
"""Active days in all worth a word."""

ANY_FEATURE = "*"
"""In `next_steps`: for everybody whose feature is not listed."""

SPECS: Mapping[str, PropertySpec] = {
    spec.name: spec
    for spec in (
        PropertySpec(PROGRAM, "Winback program", "text", "The program this person is in; empty outside of one."),
        PropertySpec(STEP, "Winback step", "text", "The newest step of the program for this person."),
        PropertySpec(SEND_AT, "Winback send at", "datetime", "When the step's mail may be sent, in UTC."),
        PropertySpec(VARIANT, "Winback variant", "text", "The variant of the step in a test."),
        PropertySpec(BRANCH, "Winback branch", "text", "Which form of the step is meant for this person."),
        PropertySpec(OFFER, "Winback offer", "text", "The offer meant for this person; empty for none."),
        PropertySpec(OFFER_CODE, "Winback offer code", "text", "The person's own coupon code."),
        PropertySpec(OFFER_UNTIL, "Winback offer until", "date", "Last day of the offer."),
        PropertySpec(DAYS_AWAY, "Winback days away", "text", "How long this person has been away, in English words."),
        PropertySpec(
            DAYS_AWAY_COUNT, "Winback days away (number)", "number", "Days away on the day the step may be sent."
        ),
        PropertySpec(MILESTONE, "Winback milestone", "number", "Active days this person had reached, a round number."),
        PropertySpec(
            TEAMMATES, "Winback teammates active", "number", "Others of the account active in the last 28 days."
        ),
        PropertySpec(WHATS_NEW, "Winback what's new", "text", "What is new since this person was last there."),
        PropertySpec(NEXT_STEP, "Winback next step", "text", "What to try next, by what the person used."),
        PropertySpec(f"{LINK}return", "Winback link: come back", "text", "Signed link of this person."),
        PropertySpec(f"{LINK}snooze", "Winback link: snooze", "text", "Signed link of this person."),
        PropertySpec(f"{LINK}unsubscribe", "Winback link: unsubscribe", "text", "Signed link of this person."),
        PropertySpec(f"{LINK}preferences", "Winback link: preferences", "text", "Signed link of this person."),
        PropertySpec(
            SURVEY_TOKEN, "Winback survey token", "text", "For a survey's hidden field: tells us who answers."
        ),
    )
}
"""Every property a step can write."""


def specs(programs: Sequence[Program]) -> tuple[PropertySpec, ...]:
    """The properties the steps of these programs write, each once; only those their settings give a value."""
    used = {name for program in programs for name in _used(program)}
    return tuple(spec for name, spec in SPECS.items() if name in used)


def cleared(programs: Sequence[Program]) -> Mapping[str, str | None]:
    """The same properties, all empty: what is written for somebody who is in no program (any more)."""
    return {spec.name: None for spec in specs(programs)}


def columns(programs: Sequence[Program]) -> tuple[str, ...]:
    """The columns of the features relation that `values` reads for these programs, as written in conditions."""
    found = {"inactive_days", "last_active_on", "language"}
    for program in programs:
        if program.personal.whats_new:
            found |= {"last_active_at", "created_at", "last_feature", "top_feature", "role", "plan_tier"}
            found.add("accounts.plan_tier")
        if program.personal.next_steps:
            found |= {"last_feature", "top_feature"}
    return tuple(sorted(found))


def _used(program: Program) -> Iterator[str]:
    yield from (PROGRAM, STEP, DAYS_AWAY, DAYS_AWAY_COUNT, MILESTONE, TEAMMATES)
    send = program.send
    if send.window is not None or len(send.days) < len(range(7)) or send.blackout or send.best_hour:
        yield SEND_AT
    if any(step.variants for step in program.steps):
        yield VARIANT
    if any(step.branches for step in program.steps):
        yield BRANCH
    made = [program.offers.offers[name] for name in _makes(program) if name in program.offers.offers]
    if made:
        yield OFFER
    if any(offer.codes is not None for offer in made):
        yield OFFER_CODE
    if any(offer.expires is not None for offer in made):
        yield OFFER_UNTIL
    if program.personal.whats_new:
        yield WHATS_NEW
    if program.personal.next_steps:
        yield NEXT_STEP
    if program.personal.links:
        yield from (f"{LINK}{action}" for action in ACTIONS)
        yield SURVEY_TOKEN


def _makes(program: Program) -> set[str]:
    """Names of the offers its steps can make."""
    asked = {step.offer for step in program.steps if step.offer is not None}
    asked |= {name for step in program.steps for name in step.variants}
    if LADDER in asked:
        asked |= {*program.offers.ladder, *(name for ladder in program.offers.ladders.values() for name in ladder)}
    return asked


def values(
    program: Program,
    step: StepSettings,
    row: Mapping[str, Any],
    episode: Episode,
    *,
    send_at: datetime | None,
    zone: tzinfo,
    variant: str | None = None,
    branch: str | None = None,
    reserved: Reserved | None = None,
    links: Links | None = None,
) -> Mapping[str, str | None]:
    """Every property of `specs([program])` with its value for this contact at this step; None clears it.

    Args:
        program: The program.
        step: The step that is taken.
        row: The contact's columns of the features relation and PERSON.
        episode: The contact's.
        send_at: When the mail may go out.
        zone: The contact's time zone: the date an offer ends is a date there.
        variant: The step's variant for this contact.
        branch: The step's branch for this contact.
        reserved: The offer that was set aside.
        links: Where the program writes links; without it they stay empty.
    """
    made = reserved or Reserved()
    on = _day_of(row, send_at, zone)
    away = _days_away(row, on)
    found: dict[str, str | None] = {
        PROGRAM: program.name,
        STEP: step.name,
        SEND_AT: _moment(send_at),
        VARIANT: variant,
        BRANCH: branch,
        OFFER: made.name if made.name != NONE else None,
        OFFER_CODE: made.code,
        OFFER_UNTIL: made.until.astimezone(zone).date().isoformat() if made.until is not None else None,
        DAYS_AWAY: in_words(away) if away is not None and _reads_english(row) else None,
        DAYS_AWAY_COUNT: _count(away),
        MILESTONE: _count(milestone(row.get("milestone_days"))),
        TEAMMATES: _count(row.get("active_teammates")),
        WHATS_NEW: _whats_new(program, row, on),
        NEXT_STEP: _next_step(program.personal.next_steps, row),
    }
    if program.personal.links and links is not None:
        urls = links(episode.contact_id, f"{program.name}/{step.name}")
        found |= {f"{LINK}{action}": urls.get(action) for action in ACTIONS} | {SURVEY_TOKEN: urls.get(SURVEY)}
    return {name: found.get(name) for name in _used(program)}


def _day_of(row: Mapping[str, Any], send_at: datetime | None, zone: tzinfo) -> date | None:
    """The day the mail is read: that of sending, else the one the facts are of."""
    as_of: date | None = row.get("as_of")
    return send_at.astimezone(zone).date() if send_at is not None else as_of


def _days_away(row: Mapping[str, Any], on: date | None) -> int | None:
    """Days without use on that day; None if never active."""
    inactive: int | None = row.get("inactive_days")
    last: date | None = row.get("last_active_on")
    if inactive is None or last is None or on is None:
        return inactive
    return max(inactive, (on - last).days)


def _moment(at: datetime | None) -> str | None:
    return at.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z") if at is not None else None


def _count(number: int | None) -> str | None:
    return None if number is None else str(number)


def _whats_new(program: Program, row: Mapping[str, Any], on: date | None) -> str | None:
    """What came since the last use (never active: since the person is known), in one line."""
    last: datetime | None = row.get("last_active_at") or row.get("created_at")
    if last is None or on is None:
        return None
    since = row.get("last_active_on") or last.date()
    texts = whats_new.pick(program.personal.whats_new, row, since=since, until=on)
    return "; ".join(text.rstrip(".") for text in texts) or None


def _next_step(next_steps: Mapping[str, str], row: Mapping[str, Any]) -> str | None:
    for feature in (row.get("last_feature"), row.get("top_feature"), ANY_FEATURE):
        if feature is not None and feature in next_steps:
            return next_steps[feature]
    return None


def milestone(active_days: int | None) -> int | None:
    """The highest round number of active days that was reached; None below the first."""
    reached = bisect_right(MILESTONES, active_days) if active_days is not None else 0
    return MILESTONES[reached - 1] if reached else None


def _reads_english(row: Mapping[str, Any]) -> bool:
    """Words in the wrong language are worse than none: mails in others use the number."""
    return whats_new.main_language(row.get("language")) in ("", "en", "english")


_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")
_DAYS_IN_MONTH = 30.44
_DAYS_IN_YEAR = 365.25
_WORDS: tuple[tuple[int, str], ...] = (
    (0, "a few days"),
    (6, "about a week"),
    (11, "about two weeks"),
    (18, "about three weeks"),
    (25, "about a month"),
    (46, "about two months"),
    *((round((n - 0.5) * _DAYS_IN_MONTH), f"about {_NUMBERS[n - 2]} months") for n in range(3, 12)),
    (350, "about a year"),
    (457, "about a year and a half"),
    (640, "about two years"),
    *((round((n - 0.5) * _DAYS_IN_YEAR), f"about {_NUMBERS[n - 2]} years") for n in range(3, 11)),
    (round(10.5 * _DAYS_IN_YEAR), "more than ten years"),
)
"""From so many days on, such words."""
_FROM = tuple(days for days, _ in _WORDS)


def in_words(days: int) -> str:
    """How long that is, as one would say it: 63 → `about two months`."""
    return _WORDS[max(bisect_right(_FROM, days) - 1, 0)][1]

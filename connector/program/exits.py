"""Why an episode ends: every reason is looked for, and the first in the order of EXITS is the one given.

Decided before anything else, and the same for both arms: a holdout's episode ends by the same signs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from connector.program.codes import ALWAYS_EXIT, EXITS
from connector.program.model import REQUESTED, Episode, Person, Program
from connector.program.world import Row

_OF_EXCLUSION: Mapping[str, str] = {
    "merged": "merged",
    "deleted": "deleted",
    "erased": "erased",
    "opted_out": "unsubscribed",
    "complained": "complained",
    "bounced": "bounced",
    "snoozed": "snoozed",
}
"""What an exclusion that comes up in mid-sequence is called as an exit; every other is `lost_consent`.

An excluded contact never stays in a sequence and waits: put back on a list later, the CRM could mail the step again.
"""

HOLDS = frozenset({"consent_stale"})
"""Exclusions that end nothing: they say that our reading is old, not that somebody said no. The contact stays where it
is, takes no step, and goes on once the CRM has been read again.
"""

LOST = "lost_consent"
REACTIVATED = "reactivated"
NEVER_DORMANT = "never_dormant"
LEFT_SEGMENT = "left_segment"
COMPLETED = "completed"

ANSWERS = frozenset({REACTIVATED, "converted", "replied", "lead_converted"})
"""Exits that are an answer by themselves."""

ANSWERED_BY = (
    "active_days_since_enrollment",
    "engaged_clicks",
    "engaged_replies",
    "engaged_visits",
    "transactions_since_enrollment",
)
"""Counts since entry that are an answer when they are not zero. Opens are not among them."""


def reason(program: Program, episode: Episode, person: Person, facts: Row, *, ordered: str | None) -> str | None:
    """Why this episode ends now, `completed` apart; None: it does not.

    Args:
        program: The episode's program.
        episode: The open episode.
        person: Its contact.
        facts: The contact's row, with the columns of the step and of feedback where the program's conditions read any.
        ordered: An exit ordered from outside (`manual`, or what an integration reports).
    """
    enrolled = episode.entered_as == REQUESTED or _enrolled(program, person)
    codes = set(_signs(program, episode, facts, enrolled=enrolled))
    if ordered is not None:
        codes.add(ordered)
    excluded = person.eligibility.reason
    if excluded in HOLDS:
        excluded = None
    if excluded is not None:
        codes.add(of_exclusion(excluded))
    found = first(codes, program)
    return LOST if found is None and excluded is not None else found


def of_exclusion(reason: str) -> str:
    """The exit of somebody whom this exclusion takes out in mid-sequence."""
    return _OF_EXCLUSION.get(reason, LOST)


def first(codes: Iterable[str], program: Program) -> str | None:
    """The one to record: the first in the order of EXITS that the program's `exit:` lets count."""
    wanted = program.exit
    counting = {code for code in codes if wanted is None or code in wanted or code in ALWAYS_EXIT}
    return next((code for code in EXITS if code in counting), None)


def answered(episode: Episode, row: Row, reason: str | None = None) -> bool:
    """Whether the contact has answered since entry: by use, a human click, a reply, a visit or a purchase."""
    return episode.answered or reason in ANSWERS or any(row.get(column) for column in ANSWERED_BY)


def _enrolled(program: Program, person: Person) -> bool:
    return any(segment in program.enroll for segment in person.segments)


def _signs(program: Program, episode: Episode, facts: Row, *, enrolled: bool) -> Iterable[str]:
    yield from _state_of_contact(facts)
    yield from _mail(facts, episode.entered_at)
    if program.reactivated.holds(facts):
        yield REACTIVATED
    if facts.get("spell_broken_on") is not None and not enrolled:
        yield NEVER_DORMANT
    if converted(program, facts):
        yield "converted"
    if _since(facts.get("lead_converted_at"), episode.entered_at):
        yield "lead_converted"
    if _since(facts.get("owner_contacted_at"), episode.entered_at):
        yield "owner_took_over"
    if not enrolled:
        yield LEFT_SEGMENT


def converted(program: Program, facts: Row) -> bool:
    """Whether the contact did what the program asks for: its condition, or any transaction since entry."""
    if program.converted is not None:
        return bool(program.converted.holds(facts))
    return bool(facts.get("transactions_since_enrollment"))


def _state_of_contact(facts: Row) -> Iterable[str]:
    """What the CRM says of the contact, for a run in which eligibility was told less."""
    if facts.get("deleted_at") is not None:
        yield "deleted"
    if facts.get("erased"):
        yield "erased"
    if facts.get("merged_into") is not None:
        yield "merged"
    if facts.get("opted_out"):
        yield "unsubscribed"
    if facts.get("bounced"):
        yield "bounced"


def _mail(facts: Row, entered_at: datetime) -> Iterable[str]:
    """What the contact did with our mail since entry; what was before is for eligibility to weigh."""
    if _since(facts.get("engaged_unsubscribed_at"), entered_at):
        yield "unsubscribed"
    if _since(facts.get("engaged_complained_at"), entered_at):
        yield "complained"
    if _since(facts.get("engaged_bounced_at"), entered_at):
        yield "bounced"
    if facts.get("engaged_replies") or _since(facts.get("engaged_replied_at"), entered_at):
        yield "replied"


def _since(moment: datetime | None, entered_at: datetime) -> bool:
    return moment is not None and moment >= entered_at

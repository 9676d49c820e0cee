"""The cadence: which step comes next, on which day, whether it is taken, and in which form.

Days are calendar days since entry in the contact's own time zone: a run that drifts by seconds slips no day.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from connector.program import caps, exits, windows
from connector.program.model import Driver, Episode, Move, Person, Program, SendSettings, StepSettings
from connector.program.world import Feedback, Row

DECIDED = "decided"
WRITTEN = "written"
SKIPPED = "skipped"
UNDONE = "undone"

NOT_WRITTEN = "not_written_yet"
SEND_WINDOW = "send_window"
BLACKOUT = "blackout"

DRIFT = timedelta(hours=1)
"""So much earlier on its day than the last time may a scheduled run be, and take the step all the same."""


def facts_of(
    row: Row, program: Program, episode: Episode, *, today: date, zone: tzinfo, feedback: Feedback | None
) -> dict[str, Any]:
    """The contact's row with the columns of the step and of feedback: what the program's conditions read."""
    number = None if episode.step is None else program.number(episode.step)
    said = feedback if feedback is not None and feedback[2] >= episode.entered_at else (None, None, None)
    return {
        **row,
        "step_name": episode.step,
        "step_number": None if number is None else number + 1,
        "step_days": None if episode.step_at is None else (today - windows.day_in(episode.step_at, zone)).days,
        "step_answered": exits.answered(episode, row),
        "step_variant": episode.variant,
        "step_offer": episode.offer,
        "step_entered_as": episode.entered_as,
        "step_days_in_program": (today - windows.day_in(episode.entered_at, zone)).days,
        "feedback_reason": said[0],
        "feedback_score": said[1],
        "feedback_at": said[2],
    }


def following(program: Program, episode: Episode, zone: tzinfo) -> int:
    """The place of the step after the newest one; the number of steps when there is none left.

    A step the playbook has no more is followed by the first that comes on a later day than it was taken on.
    """
    if episode.step is None:
        return 0
    number = program.number(episode.step)
    if number is not None:
        return number + 1
    if episode.step_at is None:
        return 0
    taken = (windows.day_in(episode.step_at, zone) - windows.day_in(episode.entered_at, zone)).days
    return next((n for n, step in enumerate(program.steps) if step.day > taken), len(program.steps))


def day_of(step: StepSettings, facts: Row) -> int:
    """Its day since entry: that of the first adjustment that holds, else its own."""
    return next((change.day for change in step.adjust if change.when.holds(facts)), step.day)


def due_on(program: Program, number: int, entered_on: date, facts: Row) -> date:
    """The date on which a step is due.

    Where the CRM does the waiting the first one is due at entry: it puts the contact on the one list, and the workflow
    behind that list waits for the step's day.
    """
    if program.driver is Driver.CRM and number == 0:
        return entered_on
    return entered_on + timedelta(days=day_of(program.steps[number], facts))


def wanted(step: StepSettings, facts: Row) -> bool:
    """Whether a step is taken at all: its condition holds; unknown counts as not."""
    return step.when is None or step.when.holds(facts) is True


def branch_of(step: StepSettings, facts: Row) -> str | None:
    """The first branch whose condition holds; None where none does."""
    return next((name for name, condition in step.branches.items() if condition.holds(facts)), None)


def ends_on(program: Program, episode: Episode, zone: tzinfo) -> date:
    """The date on which an episode is completed when nothing else happens.

    Treated: `ends_after` the last step taken, or planned. Holdout: as if every step were taken on its day.
    """
    entered_on = windows.day_in(episode.entered_at, zone)
    planned = entered_on + timedelta(days=max((step.day for step in program.steps), default=0))
    if episode.held_out or following(program, episode, zone) < len(program.steps):
        return planned + program.ends_after
    last = episode.send_at or episode.step_at
    return (planned if last is None else windows.day_in(last, zone)) + program.ends_after


def skipped(episode: Episode, step: StepSettings, *, on: date, at: datetime) -> Move:
    """A step passed over because its condition does not hold; the properties stay as they are."""
    return Move(
        episode_id=episode.episode_id,
        contact_id=episode.contact_id,
        step=step.name,
        state=SKIPPED,
        due_on=on,
        at=at,
        values=episode.values,
    )


def after(episode: Episode, move: Move) -> Episode:
    """The episode as it is once a move is carried out."""
    if move.state == SKIPPED:
        return replace(
            episode,
            step=move.step,
            step_state=SKIPPED,
            step_at=move.at,
            send_at=None,
            written_at=None,
            variant=None,
            branch=None,
        )
    return replace(
        episode,
        step=move.step,
        step_state=move.state,
        step_at=move.at,
        send_at=move.send_at,
        written_at=None,
        variant=move.variant,
        branch=move.branch,
        offer=move.offer or episode.offer,
        code=move.code if move.offer else episode.code,
        values=move.values,
        touches=episode.touches + 1,
    )


@dataclass(frozen=True, slots=True)
class Slot:
    """When a due step may be sent.

    send_at: The moment; None: not in sight.
    waits: The code of DEFERRALS for which it is not taken now; None: it is.
    """

    send_at: datetime | None
    waits: str | None = None


def slot(program: Program, person: Person, episode: Episode, *, now: datetime, zone: tzinfo) -> Slot:
    """Whether a step that is due is taken now, and when it may be sent: caps, then window, weekdays and blackouts.

    With `hold: crm` it is taken on its day, and the CRM sends it at `send_at`; only a cap that moves it to another
    date, or a blackout, makes it wait. With `hold: winback` it is taken only when it may be sent at once, or so soon
    that waiting for the next run would slip a day for nothing.
    """
    if program.driver is Driver.CRM:
        return Slot(now)
    free, rule = caps.free_at(touches(person, episode), program.caps)
    best = person.row.get("best_hour")
    if program.send.hold == "winback":
        return _now_or_wait(program.send, free, rule, now=now, zone=zone)
    plain = windows.opens(now, zone, program.send, best_hour=best)
    if plain is None:
        return Slot(None, _closed(now, zone, program.send))
    if free > plain:
        moved = None if free >= caps.NEVER else windows.opens(free, zone, program.send, best_hour=best)
        if moved is None or windows.day_in(moved, zone) > windows.day_in(plain, zone):
            return Slot(moved, rule)
        plain = moved
    if windows.in_blackout(now, zone, program.send):
        return Slot(plain, BLACKOUT)
    return Slot(plain)


def _now_or_wait(send: SendSettings, free: datetime, rule: str | None, *, now: datetime, zone: tzinfo) -> Slot:
    if now < free <= now + DRIFT and windows.allowed(free, zone, send):
        return Slot(free)
    if free > now:
        return Slot(None if free >= caps.NEVER else windows.opens(free, zone, send), rule)
    if windows.allowed(now, zone, send):
        return Slot(now)
    return Slot(windows.opens(now, zone, send), _closed(now, zone, send))


def _closed(now: datetime, zone: tzinfo, send: SendSettings) -> str:
    return BLACKOUT if windows.in_blackout(now, zone, send) else SEND_WINDOW


def touches(person: Person, episode: Episode) -> tuple[datetime, ...]:
    """The contact's touches, newest first, that of this episode's newest step among them."""
    known = tuple(person.touches)
    if episode.held_out or episode.send_at is None or episode.send_at in known:
        return known
    return tuple(sorted((*known, episode.send_at), reverse=True))

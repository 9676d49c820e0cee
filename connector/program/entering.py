"""Who enters: by which program and segment, what keeps somebody out for now, and the episode that opens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from connector.program import holdout, windows
from connector.program.exits import COMPLETED, NEVER_DORMANT, REACTIVATED
from connector.program.model import HOLDOUT, REQUESTED, Eligibility, Episode, Person, Program, Request, Split
from connector.program.world import Row, World

SAME_SPELL = "same_spell"
QUIET = "quiet_period"
SUNSET = "sunset"
HELD_BEFORE = "held_out_before"
OTHER_PROGRAM = "other_program"
PAUSED = "paused"
DAILY_CAP = "daily_cap"

NO_EPISODE_AT_ALL = frozenset({REACTIVATED, NEVER_DORMANT, "merged"})
"""Exits after which a holdout is not left alone any longer: back, never away, or measured in another episode."""

BREAKS_THE_ROW = frozenset({REACTIVATED, "converted", "replied", "lead_converted"})


@dataclass(frozen=True, slots=True)
class Way:
    """A way into a program: the first of its segments, in its order, that the contact is in, or a request.

    rank: The segment's place; BEFORE_ALL of a request.
    """

    place: int
    program: Program
    rank: int
    segment: str


BEFORE_ALL = -1


def ways(programs: Sequence[Program], segments: Sequence[str], requests: Sequence[Request] = ()) -> Iterator[Way]:
    """The programs the contact is asked for in, then those whose segments it is in, each in order of priority."""
    wanted = {request.program for request in requests}
    for place, program in enumerate(programs if requests else ()):
        if None in wanted or program.name in wanted:
            yield Way(place, program, BEFORE_ALL, REQUESTED)
    for place, program in enumerate(programs):
        for rank, segment in enumerate(program.enroll):
            if segment in segments:
                yield Way(place, program, rank, segment)
                break


def last_active_on(row: Row, as_of: date) -> date | None:
    """The last active day; None: never active."""
    known: date | None = row.get("last_active_on")
    if known is not None:
        return known
    silent = row.get("inactive_days")
    return None if silent is None else as_of - timedelta(days=int(silent))


def spell_started_on(row: Row, as_of: date, zone: tzinfo) -> date:
    """The first silent day: the one after the last active day, else the day the contact was made, else today."""
    last = last_active_on(row, as_of)
    if last is not None:
        return last + timedelta(days=1)
    created: datetime | None = row.get("created_at")
    return as_of if created is None else windows.day_in(created, zone)


def returned_since(episode: Episode, row: Row, as_of: date, zone: tzinfo) -> bool:
    """Whether the contact was active on the day the episode opened, or later: another silence than the one it was."""
    last = last_active_on(row, as_of)
    return last is not None and last >= windows.day_in(episode.entered_at, zone)


def episode_id(program: Program, contact_id: str, started_on: date) -> str:
    """The key of everything that is written about one silence of one contact in one program."""
    return f"{program.name}/{contact_id}/{started_on.isoformat()}"


def still_held_out(person: Person, world: World) -> Episode | None:
    """The ended episode in whose holdout the contact still is: nothing is written until the outcome is known."""
    for episode in person.episodes:
        if (
            episode.held_out
            and not episode.open
            and episode.exit_reason not in NO_EPISODE_AT_ALL
            and episode.outcome_until is not None
            and world.now < episode.outcome_until
            and not returned_since(episode, person.row, world.as_of, world.zone)
        ):
            return episode
    return None


def sunset_until(episodes: Sequence[Episode], row: Row, world: World) -> datetime | None:
    """Until when a contact who did not answer is left alone; None: is not.

    Args:
        episodes: The contact's, all ended, newest first.
        row: The contact's.
        world: The run.
    """
    for program in world.programs:
        if program.sunset.after_episodes is None:
            continue
        row_of_silence = unanswered_in_a_row(episodes, program)
        if not row_of_silence or len(row_of_silence) < program.sunset.after_episodes:
            continue
        newest = row_of_silence[0]
        assert newest.exited_at is not None
        until = newest.exited_at + program.sunset.lasts
        if world.now < until and not returned_since(newest, row, world.as_of, world.zone):
            return until
    return None


def unanswered_in_a_row(episodes: Sequence[Episode], program: Program) -> list[Episode]:
    """The completed episodes of a program that nothing came back from, newest first, up to one that was answered.

    Episodes that ended in another way (a lost permission, an undo), holdouts, and those in which every step was
    skipped say nothing either way.
    """
    found = []
    for episode in episodes:
        if episode.program != program.name or episode.held_out or episode.open:
            continue
        if episode.answered or episode.exit_reason in BREAKS_THE_ROW:
            break
        if episode.exit_reason == COMPLETED and episode.touches:
            found.append(episode)
    return found


def same_spell(program: Program, person: Person, world: World, opens_as: str) -> bool:
    """Whether the contact was in this program for this very silence: an episode is never opened twice.

    The first silent day may have moved since (late facts), so what counts is that nothing happened since entry.
    """
    return any(
        episode.episode_id == opens_as
        or (
            episode.program == program.name
            and episode.exit_reason != NEVER_DORMANT
            and not returned_since(episode, person.row, world.as_of, world.zone)
        )
        for episode in person.episodes
    )


def quiet_until(program: Program, person: Person) -> datetime | None:
    """When the quiet period after the newest ended episode, of whatever program, is over; None: there was none."""
    ended = [episode.exited_at for episode in person.episodes if episode.exited_at is not None]
    return max(ended) + program.caps.quiet_after if ended else None


def open_episode(way: Way, person: Person, world: World, *, split: Split, arm: str, unit: str, stratum: str) -> Episode:
    """The episode of a contact who enters now."""
    row, program = person.row, way.program
    contact_id = row["contact_id"]
    started = spell_started_on(row, world.as_of, world.zone)
    return Episode(
        episode_id=episode_id(program, contact_id, started),
        contact_id=contact_id,
        program=program.name,
        spell_started_on=started,
        entered_at=world.now,
        entered_as=way.segment,
        arm=arm,
        unit=unit,
        stratum=stratum,
        share=split.share,
        outcome_until=world.now + program.outcome_window,
        account_id=row.get("account_id"),
        return_probability=return_probability(row, world),
        consent=relied_on(person.eligibility),
    )


def return_probability(row: Row, world: World) -> float | None:
    """The contact's chance to return without being asked; None where it is not known."""
    silent = row.get("inactive_days")
    if silent is None or world.return_probability is None:
        return None
    return world.return_probability(int(silent))


def relied_on(eligibility: Eligibility) -> dict[str, str | None]:
    """The permission an episode rests on, as it is remembered."""
    until = eligibility.until
    return {
        "basis": eligibility.basis,
        "until": None if until is None else until.isoformat(),
        "rule": eligibility.rule,
    }


@dataclass(frozen=True, slots=True)
class Draw:
    """How a contact is drawn under one kind of unit: what with, and what came out."""

    unit: str
    stratum: str
    u: float


def drawn(way: Way, person: Person, split: Split, started_on: date) -> Draw:
    """The draw of a contact for the program it would enter."""
    row = person.row
    unit = holdout.unit_of(
        split, contact_id=row["contact_id"], spell_started_on=started_on, account_id=row.get("account_id")
    )
    stratum = holdout.stratum_of(way.program.holdout.by, split, segment=way.segment, row=row)
    return Draw(unit, stratum, holdout.drawn(split, unit))


def arm_of(draw: Draw, split: Split) -> str:
    """The arm a draw falls into."""
    return holdout.arm(split, draw.unit)


def is_held_out(draw: Draw, split: Split) -> bool:
    """Whether a draw falls into the holdout."""
    return arm_of(draw, split) == HOLDOUT

"""The verdict on one contact: whether an episode ends, which step it takes, or what keeps a contact from entering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, tzinfo

from connector.program import cadence, caps, entering, exits, holdout, reasons, windows
from connector.program.entering import Way
from connector.program.model import (
    Driver,
    Entry,
    Episode,
    Exit,
    Move,
    Person,
    Program,
    Split,
    StepSettings,
    Upcoming,
    Verdict,
)
from connector.program.offers import Proposal
from connector.program.signals import Quiet, quiet_signals
from connector.program.world import World

TOMORROW = timedelta(days=1)

ENTERS = "enter"
ENDS = exits.COMPLETED


@dataclass(frozen=True, slots=True)
class Touch:
    """A step that would be taken now; its move has neither code nor values yet."""

    step: StepSettings
    move: Move
    proposal: Proposal
    zone: tzinfo


@dataclass(frozen=True, slots=True)
class Walk:
    """How far an open episode goes now.

    skips: Steps passed over. episode: As it is after them.
    touch: The step it takes then. waits: The code of DEFERRALS for which it takes none.
    """

    skips: tuple[Move, ...]
    episode: Episode
    touch: Touch | None = None
    waits: str | None = None
    upcoming: Upcoming | None = None


@dataclass(frozen=True, slots=True)
class Candidacy:
    """A contact who may enter a program, now or once `waits` is over.

    started_on: First silent day. until: When the wait is over, where that is known.
    """

    way: Way
    started_on: date
    waits: str | None = None
    until: datetime | None = None


@dataclass(slots=True)
class Judge:
    """Everything about one run that does not depend on the contact, worked out once."""

    world: World
    programs: dict[str, Program] = field(init=False)
    places: dict[str, int] = field(init=False)
    quiet: dict[str, Quiet] = field(init=False)
    _today: dict[str | None, tuple[tzinfo, date]] = field(init=False)

    def __post_init__(self) -> None:
        world = self.world
        self.programs = {program.name: program for program in world.programs}
        self.places = {program.name: place for place, program in enumerate(world.programs)}
        self.quiet = {program.name: quiet_signals(program, world) for program in world.programs}
        self._today = {}

    # --- the contact's own day ----------------------------------------------------------------------------

    def here(self, name: str | None) -> tuple[tzinfo, date]:
        """The time zone of that name (else the account's) and the date it is there."""
        found = self._today.get(name)
        if found is None:
            zone = windows.zone_of(name, self.world.zone)
            found = self._today[name] = (zone, windows.day_in(self.world.now, zone))
        return found

    # --- open episodes ------------------------------------------------------------------------------------

    def open_episodes(self, person: Person) -> tuple[Episode | None, Sequence[Episode]]:
        """The one open episode that counts, and those a merge left beside it.

        The program that comes first wins, then the longest open one.
        """
        found = [episode for episode in person.episodes if episode.exited_at is None]
        if len(found) <= 1:
            return (found[0] if found else None), ()
        last = len(self.places)
        found.sort(key=lambda e: (self.places.get(e.program, last), e.entered_at, e.episode_id))
        return found[0], found[1:]

    def closing(self, episode: Episode, person: Person, reason: str) -> Exit:
        """The end of an episode for that reason."""
        return Exit(
            episode_id=episode.episode_id,
            contact_id=person.row["contact_id"],
            reason=reason,
            at=self.world.now,
            answered=exits.answered(episode, person.row, reason),
        )

    def ending(self, person: Person, episode: Episode) -> Exit | None:
        """The end of an open episode, if it ends now. One whose program is in the playbook no more ends."""
        program = self.programs.get(episode.program)
        if program is None:
            return self.closing(episode, person, exits.LEFT_SEGMENT)
        zone, today = self.here(person.row.get("timezone"))
        by_row = self.quiet[program.name].ends_by_row
        facts = person.row if by_row else self._facts(person, episode, program, zone, today)
        ordered = self.world.ordered.get(person.row["contact_id"])
        reason = exits.reason(program, episode, person, facts, ordered=ordered)
        if reason is None and self._measured_elsewhere(person, episode):
            reason = "merged"
        if reason is None and self._completed(program, episode, zone, today):
            reason = exits.COMPLETED
        return None if reason is None else self.closing(episode, person, reason)

    def _measured_elsewhere(self, person: Person, episode: Episode) -> bool:
        """Whether a merge brought an open episode to somebody who is still measured as a holdout, and left alone."""
        if episode.held_out or len(person.episodes) == 1:
            return False
        return entering.still_held_out(person, self.world) is not None

    def _completed(self, program: Program, episode: Episode, zone: tzinfo, today: date) -> bool:
        """Whether all steps are behind the contact, confirmed, and the time to answer is over."""
        if today < cadence.ends_on(program, episode, zone):
            return False
        return episode.held_out or (
            episode.step_state != cadence.DECIDED and cadence.following(program, episode, zone) >= len(program.steps)
        )

    def _facts(
        self, person: Person, episode: Episode, program: Program, zone: tzinfo, today: date
    ) -> dict[str, object]:
        feedback = self.world.feedback.get(person.row["contact_id"])
        return cadence.facts_of(person.row, program, episode, today=today, zone=zone, feedback=feedback)

    def walk(self, person: Person, episode: Episode) -> Walk:
        """The steps a treated, open episode takes or passes over now. At most one touches the contact."""
        program = self.programs[episode.program]
        zone, today = self.here(person.row.get("timezone"))
        entered_on = windows.day_in(episode.entered_at, zone)
        skips: list[Move] = []
        while True:
            made = tuple(skips)
            if episode.step_state == cadence.DECIDED:
                return Walk(made, episode, waits=cadence.NOT_WRITTEN)
            number = cadence.following(program, episode, zone)
            if number >= len(program.steps):
                ends = max(cadence.ends_on(program, episode, zone), today + TOMORROW)
                return Walk(made, episode, upcoming=Upcoming(ends, ENDS))
            step = program.steps[number]
            facts = self._facts(person, episode, program, zone, today)
            due = cadence.due_on(program, number, entered_on, facts)
            asked = reasons.asked_step(program, episode, person.row["contact_id"], self.world)
            if asked >= number:
                due = min(due, today)
            if today < due:
                return Walk(made, episode, upcoming=Upcoming(due, step.name))
            if program.name in self.world.paused and program.driver is Driver.WINBACK:
                return Walk(made, episode, waits=entering.PAUSED)
            if asked <= number and cadence.wanted(step, facts):
                return self._take(person, Walk(made, episode), step, facts, due)
            move = cadence.skipped(episode, step, on=due, at=self.world.now)
            skips.append(move)
            episode = cadence.after(episode, move)

    def _take(self, person: Person, so_far: Walk, step: StepSettings, facts: dict[str, object], due: date) -> Walk:
        """The walk with a due step at its end: taken, or waiting for caps, hours or an offer."""
        episode = so_far.episode
        program = self.programs[episode.program]
        zone, today = self.here(person.row.get("timezone"))
        slot = cadence.slot(program, person, episode, now=self.world.now, zone=zone)
        if slot.waits is not None or slot.send_at is None:
            on = None if slot.send_at is None else max(windows.day_in(slot.send_at, zone), today)
            return replace(so_far, waits=slot.waits, upcoming=None if on is None else Upcoming(on, step.name))
        variant = (
            holdout.variant(step.name, step.variants, self._split(program), episode.unit) if step.variants else None
        )
        proposal = self.world.offers.propose(
            program,
            step,
            contact_id=episode.contact_id,
            segment=episode.entered_as,
            episodes=(episode, *(e for e in person.episodes if e.episode_id != episode.episode_id)),
            row=person.row,
            return_probability=entering.return_probability(person.row, self.world),
            variant=variant,
            preferred=reasons.preference(program, episode, person.row["contact_id"], self.world),
        )
        move = Move(
            episode_id=episode.episode_id,
            contact_id=person.row["contact_id"],
            step=step.name,
            state=cadence.DECIDED,
            due_on=due,
            at=self.world.now,
            send_at=slot.send_at,
            variant=variant,
            branch=cadence.branch_of(step, facts),
            offer=proposal.name,
        )
        lacking = self._lacking(program, proposal, move)
        if lacking is not None:
            return replace(so_far, waits=lacking, upcoming=Upcoming(today + TOMORROW, step.name))
        return replace(so_far, touch=Touch(step, move, proposal, zone), upcoming=Upcoming(today, step.name))

    def _lacking(self, program: Program, proposal: Proposal, move: Move) -> str | None:
        """What an offer lacks before anybody of this run is served; asked of a copy, so nothing is spent."""
        if proposal.offer is None:
            return None
        answer = replace(self.world.offers).reserve(
            program,
            proposal,
            contact_id=move.contact_id,
            episode_id=move.episode_id,
            step=move.step,
            at=move.send_at or move.at,
        )
        return answer if isinstance(answer, str) else None

    def _split(self, program: Program) -> Split:
        """How a program is split; one whose split was lost draws variants with the salt it would have."""
        known = self.world.splits.get(program.name)
        return known or holdout.choose_split(program.holdout, 0, None, self.world.default_salt(program))

    # --- contacts without an open episode -----------------------------------------------------------------

    def outside(self, person: Person) -> Verdict | Candidacy:
        """Why a contact without an open episode cannot enter, or how it may."""
        row, world = person.row, self.world
        excluded = person.eligibility.reason
        if excluded is not None:
            return Verdict("excluded" if person.segments else "none", excluded)
        if person.episodes:
            barred = self._barred(person)
            if barred is not None:
                return barred
        started_on: date | None = None
        first: Way | None = None
        for way in entering.ways(world.programs, person.segments, world.asked.get(row["contact_id"], ())):
            first = first or way
            started_on = started_on or entering.spell_started_on(row, world.as_of, world.zone)
            opens_as = entering.episode_id(way.program, row["contact_id"], started_on)
            if not person.episodes or not entering.same_spell(way.program, person, world, opens_as):
                return self.candidacy(person, way, started_on)
        if first is None:
            return Verdict("none")
        return Verdict("deferred", entering.SAME_SPELL, program=first.program.name)

    def _barred(self, person: Person) -> Verdict | None:
        """The verdict on somebody still measured as a holdout, or sunset; None: neither."""
        held = entering.still_held_out(person, self.world)
        zone, _ = self.here(person.row.get("timezone"))
        if held is not None:
            assert held.outcome_until is not None
            until = windows.day_in(held.outcome_until, zone)
            return Verdict(
                "held_out", entering.HELD_BEFORE, program=held.program, episode=held, upcoming=Upcoming(until, ENTERS)
            )
        sunset = entering.sunset_until(person.episodes, person.row, self.world)
        if sunset is None:
            return None
        return Verdict("sunset", entering.SUNSET, upcoming=Upcoming(windows.day_in(sunset, zone), ENTERS))

    def candidacy(self, person: Person, way: Way, started_on: date) -> Candidacy:
        """What a contact who is not barred for good has to wait for before it enters."""
        program, now = way.program, self.world.now
        quiet = entering.quiet_until(program, person) if person.episodes else None
        if quiet is not None and now < quiet:
            return Candidacy(way, started_on, entering.QUIET, quiet)
        if program.name in self.world.paused:
            return Candidacy(way, started_on, entering.PAUSED)
        if program.driver is Driver.CRM:
            free, rule = caps.free_at(person.touches, program.caps)
            if free > now:
                return Candidacy(way, started_on, rule, None if free >= caps.NEVER else free)
        return Candidacy(way, started_on)

    def possible_splits(self, program: Program) -> tuple[Split, ...]:
        """How the program is split or, before that is chosen, the ways it may come to be, each at its largest share."""
        known = self.world.splits.get(program.name)
        if known is not None:
            return (known,)
        most = holdout.choose_split(program.holdout, 0, None, self.world.default_salt(program))
        if program.holdout.unit in (holdout.CONTACT, holdout.ACCOUNT):
            return (most,)
        return (most, replace(most, unit=holdout.ACCOUNT))

    def entry(self, person: Person, candidacy: Candidacy, split: Split, draw: entering.Draw) -> Entry:
        """The opening of an episode, in the arm the draw says."""
        return Entry(
            entering.open_episode(
                candidacy.way,
                person,
                self.world,
                split=split,
                arm=entering.arm_of(draw, split),
                unit=draw.unit,
                stratum=draw.stratum,
            )
        )

    def first_walk(self, person: Person, episode: Episode) -> Walk:
        """What a contact who enters now takes on the day of entry: nothing has happened since."""
        fresh = self.quiet[episode.program].row
        entered = replace(person, row={**person.row, **fresh}, episodes=(episode, *person.episodes))
        return self.walk(entered, episode)

    # --- the verdict --------------------------------------------------------------------------------------

    def verdict(self, person: Person) -> Verdict:
        """The whole verdict on one contact."""
        episode, _ = self.open_episodes(person)
        if episode is not None:
            return self._inside(person, episode)
        found = self.outside(person)
        return found if isinstance(found, Verdict) else self._candidate(person, found)

    def _inside(self, person: Person, episode: Episode) -> Verdict:
        ending = self.ending(person, episode)
        if ending is not None:
            return Verdict("leaving", ending.reason, episode.program, episode.step, episode, exit=ending)
        program = self.programs[episode.program]
        zone, _ = self.here(person.row.get("timezone"))
        if episode.held_out:
            ends = Upcoming(cadence.ends_on(program, episode, zone), ENDS)
            return Verdict("held_out", None, program.name, None, episode, upcoming=ends)
        if person.eligibility.reason is not None:
            return Verdict("excluded", person.eligibility.reason, program.name, episode.step, episode)
        walk = self._capped(program, self.walk(person, episode))
        reason = walk.waits
        if reason is None and self.wanted_elsewhere(program, person):
            reason = entering.OTHER_PROGRAM
        return Verdict(
            "in_program", reason, program.name, episode.step, episode, moves=_moves(walk), upcoming=walk.upcoming
        )

    def _candidate(self, person: Person, found: Candidacy) -> Verdict:
        program, zone_name = found.way.program, person.row.get("timezone")
        zone, today = self.here(zone_name)
        waits = found.waits
        if waits is None and caps.room(program.caps.per_day, self.world.entered_today) == 0:
            waits = entering.DAILY_CAP
        if waits == entering.DAILY_CAP:
            later: Upcoming | None = Upcoming(today + TOMORROW, ENTERS)
        else:
            later = None if found.until is None else Upcoming(windows.day_in(found.until, zone), ENTERS)
        split = self.world.splits.get(program.name)
        if split is None:
            return Verdict("candidate" if waits is None else "deferred", waits, program.name, upcoming=later)
        draw = entering.drawn(found.way, person, split, found.started_on)
        if waits is not None:
            state = "held_out" if entering.is_held_out(draw, split) else "deferred"
            return Verdict(state, waits, program.name, upcoming=later)
        entry = self.entry(person, found, split, draw)
        if entry.episode.held_out:
            ends = Upcoming(cadence.ends_on(program, entry.episode, zone), ENDS)
            return Verdict("held_out", None, program.name, None, entry.episode, entry=entry, upcoming=ends)
        walk = self._capped(program, self.first_walk(person, entry.episode))
        return Verdict(
            "candidate", walk.waits, program.name, None, entry.episode, moves=_moves(walk), entry=entry,
            upcoming=walk.upcoming,
        )  # fmt: skip

    def _capped(self, program: Program, walk: Walk) -> Walk:
        """The walk without its touch where today's touches were used up before this run."""
        if walk.touch is None or program.driver is Driver.CRM:
            return walk
        if caps.room(program.caps.per_day, self.world.touches_today) != 0:
            return walk
        assert walk.upcoming is not None
        later = replace(walk.upcoming, on=walk.upcoming.on + TOMORROW)
        return replace(walk, touch=None, waits=entering.DAILY_CAP, upcoming=later)

    def wanted_elsewhere(self, program: Program, person: Person) -> bool:
        """Whether another program would enroll this contact if it were not in this one."""
        return not self.quiet[program.name].elsewhere.isdisjoint(person.segments)


def _moves(walk: Walk) -> tuple[Move, ...]:
    return walk.skips if walk.touch is None else (*walk.skips, walk.touch.move)

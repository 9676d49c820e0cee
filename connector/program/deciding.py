"""What only everybody together decides: how programs are split, who of many goes first, who gets the last coupon."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from operator import attrgetter
from typing import Any

from connector.program import cadence, caps, entering, exits, holdout
from connector.program.caps import Shortlist
from connector.program.codes import (
    ENTERED,
    EXCLUSIONS,
    IN_PROGRAM,
    NO_PROGRAM,
    NOT_IN_CRM,
    NOT_NOW,
    TOLD_TO_WHO_ASKS,
)
from connector.program.entering import Draw
from connector.program.model import HOLDOUT, Decisions, Driver, Episode, Person, Placed, Program, Split, Verdict
from connector.program.offers import Reserved
from connector.program.stillness import Stillness
from connector.program.verdicts import Candidacy, Judge, Touch, Walk
from connector.program.world import World


def _told_to_who_asks(code: str) -> str:
    return code if code in TOLD_TO_WHO_ASKS or code in EXCLUSIONS else NOT_NOW


@dataclass(slots=True)
class Pool:
    """Everybody who could enter a program, as far as that is needed once all have been seen.

    splits: The split or, where that is chosen at the end, the ways it may come to be.
    ids, draws: Who could enter, and the draw under each of `splits`; only filled where the split is not known yet.
    accounts: Their accounts. with_account: How many have one.
    """

    program: Program
    splits: tuple[Split, ...]
    first: Shortlist[tuple[Person, Candidacy, tuple[Draw, ...]]]
    known: bool
    ids: list[str] = field(default_factory=list)
    draws: tuple[array[float], ...] = ()
    accounts: set[str] = field(default_factory=set)
    with_account: int = 0

    def note(self, person: Person, draws: tuple[Draw, ...]) -> None:
        """One more contact that the split will be chosen for."""
        self.ids.append(person.row["contact_id"])
        for column, draw in zip(self.draws, draws, strict=True):
            column.append(draw.u)
        account = person.row.get("account_id")
        if account is not None:
            self.accounts.add(account)
            self.with_account += 1

    def chosen(self, world: World) -> tuple[Split, int]:
        """The split, and which of `splits` it is."""
        if self.known:
            return self.splits[0], 0
        per_account = self.with_account / len(self.accounts) if self.accounts else None
        split = holdout.choose_split(self.program.holdout, len(self.ids), per_account, world.default_salt(self.program))
        return split, next(n for n, possible in enumerate(self.splits) if possible.unit == split.unit)


@dataclass(slots=True)
class Deciding:
    """Takes everybody in, one by one, then settles what is left open. Keeps only what is decided."""

    judge: Judge
    decisions: Decisions = field(default_factory=Decisions)
    excluded: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    deferred: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    pools: list[Pool] = field(init=False)
    due: list[Shortlist[tuple[Person, Walk, Touch]]] = field(init=False)
    late: Counter[tuple[str, str]] = field(default_factory=Counter)
    forgotten: Counter[str] = field(default_factory=Counter)
    _sunsets: bool = field(init=False)

    def __post_init__(self) -> None:
        world = self.judge.world
        self._sunsets = any(program.sunset.after_episodes is not None for program in world.programs)
        self.pools = [self._pool(program) for program in world.programs]
        self.due = [self.line(program) for program in world.programs]

    def line(self, program: Program) -> Shortlist[Any]:
        """An empty line of those who are due in a program, as long as touches may be decided today."""
        return Shortlist(self._limit(program, self.judge.world.touches_today))

    @staticmethod
    def _limit(program: Program, used: int) -> int | None:
        """How many touches of a program may be decided; those a CRM takes by itself cannot be held back."""
        return None if program.driver is Driver.CRM else caps.room(program.caps.per_day, used)

    def _pool(self, program: Program) -> Pool:
        splits = self.judge.possible_splits(program)
        known = program.name in self.judge.world.splits
        draws = () if known else tuple(array("d") for _ in splits)
        room = caps.room(program.caps.per_day, self.judge.world.entered_today)
        return Pool(program, splits, Shortlist(room), known, draws=draws)

    # --- one by one ---------------------------------------------------------------------------------------

    def take_all(self, people: Iterable[Person]) -> None:
        """Takes everybody in. The quick way covers whoever has nothing new; the rest is judged."""
        nothing_new, asked = Stillness(self.judge).nothing_new, self.judge.world.asked
        for person in people:
            if not person.episodes:
                if person.segments or (asked and person.row["contact_id"] in asked):
                    self.take(person)
            elif nothing_new(person):
                episode = person.episodes[0]
                self.stays(person.row["contact_id"], episode, Placed.by(episode), person.segments)
            else:
                self.take(person)

    def stays(
        self, contact_id: str, alike: Episode, placed: Placed, segments: Sequence[str], *, waits: str | None = None
    ) -> None:
        """One contact of whom there is nothing new.

        Args:
            contact_id: Who.
            alike: Their episode, or one of the same program, arm and step.
            placed: Where they are; of no meaning for a holdout.
            segments: What they are in.
            waits: The code of DEFERRALS a due step waits for.
        """
        asked = self.judge.world.asked
        if alike.arm == HOLDOUT:
            self.decisions.held_out.add(contact_id)
            if asked:
                self._answer(contact_id, NOT_NOW)
            return
        if asked:
            self._answer(contact_id, IN_PROGRAM, alike.program)
        if alike.step_state != cadence.UNDONE:
            self.decisions.placed[contact_id] = placed
        if waits is not None:
            self.deferred[waits].append(contact_id)
        elsewhere = self.judge.quiet[alike.program].elsewhere
        if elsewhere and not elsewhere.isdisjoint(segments):
            self.deferred[entering.OTHER_PROGRAM].append(contact_id)

    def take(self, person: Person) -> None:
        """One contact, judged."""
        episode, surplus = self.judge.open_episodes(person)
        for extra in surplus:
            self.decisions.exit.append(self.judge.closing(extra, person, "merged"))
        if episode is not None:
            self._inside(person, episode)
            return
        found = self.judge.outside(person)
        if isinstance(found, Verdict):
            self.barred(person.row["contact_id"], person.segments, found)
        else:
            self._candidate(person, found)

    def _inside(self, person: Person, episode: Episode) -> None:
        contact_id = person.row["contact_id"]
        ending = self.judge.ending(person, episode)
        if person.row.get("spell_broken_on") is not None:
            self.late[episode.program, "stays" if ending is None else ending.reason] += 1
        if ending is not None:
            self._leaving(person, episode, ending.reason)
            self.decisions.exit.append(ending)
            self._answer(contact_id, person.eligibility.reason or NOT_NOW)
            return
        if episode.held_out:
            self.decisions.held_out.add(contact_id)
            self._answer(contact_id, NOT_NOW)
            return
        self._answer(contact_id, IN_PROGRAM, episode.program)
        if person.eligibility.reason is not None:
            self.excluded[person.eligibility.reason].append(contact_id)
            self._place(episode, contact_id)
            return
        program = self.judge.programs[episode.program]
        walk = self.judge.walk(person, episode)
        self.decisions.move += walk.skips
        self._place(walk.episode, contact_id)
        if walk.touch is not None:
            self._queue(person, walk, walk.touch)
        elif walk.waits is not None:
            self.deferred[walk.waits].append(contact_id)
        if self.judge.wanted_elsewhere(program, person):
            self.deferred[entering.OTHER_PROGRAM].append(contact_id)

    def _leaving(self, person: Person, episode: Episode, reason: str) -> None:
        """What else the end of an episode means in this run."""
        contact_id, world = person.row["contact_id"], self.judge.world
        if episode.program not in self.judge.programs:
            self.forgotten[episode.program] += 1
        if person.eligibility.reason is not None:
            self.excluded[person.eligibility.reason].append(contact_id)
        if not self._sunsets and not any(one.held_out for one in person.episodes):
            return
        ended = replace(
            episode, exited_at=world.now, exit_reason=reason, answered=exits.answered(episode, person.row, reason)
        )
        others = [other for other in person.episodes if other.episode_id != episode.episode_id and not other.open]
        after = replace(person, episodes=(ended, *others))
        if entering.still_held_out(after, world) is not None:
            self.decisions.held_out.add(contact_id)
        elif person.eligibility.reason is None and entering.sunset_until(after.episodes, person.row, world) is not None:
            self.decisions.sunset.add(contact_id)

    def barred(self, contact_id: str, segments: Sequence[str], found: Verdict) -> None:
        """One contact without an open episode who does not enter, for this reason."""
        if found.reason is not None:
            self._answer(contact_id, _told_to_who_asks(found.reason))
        if found.state == "excluded":
            assert found.reason is not None
            self.excluded[found.reason].append(contact_id)
            return
        if found.state == "held_out":
            self.decisions.held_out.add(contact_id)
        elif found.state == "sunset":
            self.decisions.sunset.add(contact_id)
        waits = found.reason is not None and found.state != "none"
        world = self.judge.world
        ways = entering.ways(world.programs, segments, world.asked.get(contact_id, ()))
        if waits and next(ways, None) is not None:
            self.deferred[found.reason or ""].append(contact_id)

    def _candidate(self, person: Person, found: Candidacy) -> None:
        contact_id = person.row["contact_id"]
        pool = self.pools[found.way.place]
        draws = tuple(entering.drawn(found.way, person, split, found.started_on) for split in pool.splits)
        held = [draw.u < split.share for draw, split in zip(draws, pool.splits, strict=True)]
        if not pool.known:
            pool.note(person, draws)
        elif held[0]:
            self.decisions.held_out.add(contact_id)
        self._answer(contact_id, _told_to_who_asks(found.waits or NOT_NOW))
        if found.waits is not None:
            self.deferred[found.waits].append(contact_id)
            return
        key = (found.way.rank, found.started_on.toordinal(), contact_id)
        pool.first.add(key, contact_id, (person, found, draws), counts=not any(held))

    def _queue(self, person: Person, walk: Walk, touch: Touch) -> None:
        place = self.judge.places[walk.episode.program]
        key = (touch.move.due_on.toordinal(), 0, walk.episode.episode_id)
        self.due[place].add(key, person.row["contact_id"], (person, walk, touch), counts=True)

    def _place(self, episode: Episode, contact_id: str) -> None:
        if episode.step_state != cadence.UNDONE:
            self.decisions.placed[contact_id] = Placed.by(episode)

    # --- all together -------------------------------------------------------------------------------------

    def settle(self) -> Decisions:
        """Splits, then touches of those inside, then entries, all in an order that does not depend on the arm."""
        for pool in self.pools:
            self._split(pool)
        used = self._touches(self.judge.world.touches_today)
        self._entries(used)
        return self._told()

    def _split(self, pool: Pool) -> None:
        """The split of a program nobody was drawn for yet, and what it says about all who could enter."""
        if pool.known or not pool.ids:
            return
        split, kind = pool.chosen(self.judge.world)
        self.decisions.splits[pool.program.name] = split
        for contact_id, u in zip(pool.ids, pool.draws[kind], strict=True):
            if u < split.share:
                self.decisions.held_out.add(contact_id)

    def _touches(self, used: int) -> int:
        """Takes due steps, earliest due first, up to the day's cap; returns the touches of the day so far."""
        shortlists = list(self.due)
        free = [item for shortlist in shortlists for item in shortlist.in_order()]
        for shortlist in shortlists:
            self.deferred[entering.DAILY_CAP] += shortlist.dropped
        for _, _, (person, walk, touch) in sorted(free, key=self._turn):
            used += self._touch(person, walk, touch, used)
        return used

    def _turn(self, entry: tuple[caps.Key, str, tuple[Person, Walk, Touch]]) -> tuple[bool, caps.Key]:
        """Whose turn it is: first the touches a CRM takes by itself, which only count, then the earliest due."""
        program = self.judge.programs[entry[2][1].episode.program]
        return program.driver is not Driver.CRM, entry[0]

    def _touch(self, person: Person, walk: Walk, touch: Touch, used: int) -> int:
        """Takes one step, if the day and the offers still allow it; returns the touches that makes."""
        program = self.judge.programs[walk.episode.program]
        contact_id = touch.move.contact_id
        if self._limit(program, used) == 0:
            self.deferred[entering.DAILY_CAP].append(contact_id)
            return 0
        reserved = self._reserve(program, touch)
        if isinstance(reserved, str):
            self.deferred[reserved].append(contact_id)
            return 0
        world = self.judge.world
        values = world.values(
            program,
            touch.step,
            person.row,
            walk.episode,
            send_at=touch.move.send_at,
            zone=touch.zone,
            variant=touch.move.variant,
            branch=touch.move.branch,
            reserved=reserved,
            links=world.links,
        )
        move = replace(
            touch.move,
            offer=reserved.name,
            code=reserved.code,
            cost=reserved.cost,
            values=values,
            expires_at=reserved.until,
        )
        self.decisions.move.append(move)
        taken = cadence.after(walk.episode, move)
        self._place(taken, contact_id)
        return 1 + self._further(person, program, taken, used + 1)

    def _further(self, person: Person, program: Program, taken: Episode, used: int) -> int:
        """The next steps that a workflow of the CRM has taken by itself meanwhile: all that are past, in one run.

        The first one is not among them: it is what puts the contact on the list, and waits for the CRM's word.
        """
        if program.driver is not Driver.CRM or program.number(taken.step or "") == 0:
            return 0
        walk = self.judge.walk(person, replace(taken, step_state=cadence.WRITTEN, written_at=taken.step_at))
        self.decisions.move += walk.skips
        if walk.skips:
            self._place(walk.episode, person.row["contact_id"])
        return 0 if walk.touch is None else self._touch(person, walk, walk.touch, used)

    def _reserve(self, program: Program, touch: Touch) -> Reserved | str:
        move = touch.move
        assert move.send_at is not None
        return self.judge.world.offers.reserve(
            program,
            touch.proposal,
            contact_id=move.contact_id,
            episode_id=move.episode_id,
            step=move.step,
            at=move.send_at,
        )

    def _entries(self, used: int) -> None:
        """Opens episodes in order of priority, both arms alike, until treated ones fill the day's cap.

        Whoever was asked for goes first, in whichever program.
        """
        entered = self.judge.world.entered_today
        lines = [(pool, *pool.chosen(self.judge.world), list(pool.first.in_order())) for pool in self.pools]
        for requested, (pool, split, kind, line) in product((True, False), lines):
            for _, contact_id, (person, found, draws) in line:
                if (found.way.rank == entering.BEFORE_ALL) is not requested:
                    continue
                if caps.room(pool.program.caps.per_day, entered) == 0:
                    self.deferred[entering.DAILY_CAP].append(contact_id)
                    continue
                entry = self.judge.entry(person, found, split, draws[kind])
                self.decisions.enter.append(entry)
                if entry.episode.held_out:
                    continue
                entered += 1
                used += self._first_day(person, entry.episode, used)
                self._answer(contact_id, ENTERED, pool.program.name)
        for pool in self.pools:
            self.deferred[entering.DAILY_CAP] += pool.first.dropped

    def _first_day(self, person: Person, episode: Episode, used: int) -> int:
        """Places a contact who enters and takes a step of day 0; returns the touches that makes."""
        contact_id = episode.contact_id
        walk = self.judge.first_walk(person, episode)
        self.decisions.move += walk.skips
        self._place(walk.episode, contact_id)
        if walk.touch is not None:
            return self._touch(person, walk, walk.touch, used)
        if walk.waits is not None:
            self.deferred[walk.waits].append(contact_id)
        return 0

    # --- told ---------------------------------------------------------------------------------------------

    def _answer(self, contact_id: str, decision: str, program: str | None = None) -> None:
        """Tell who asked for this contact what was decided; `program`: in which, where that matters."""
        for request in self.judge.world.asked.get(contact_id, ()):
            mine = program is None or request.program in (None, program)
            self.decisions.answers[request.key] = decision if mine else entering.OTHER_PROGRAM

    def _unanswered(self) -> Iterator[tuple[str, str]]:
        """Requests for somebody nobody has seen, or for a program there is not."""
        for requests in self.judge.world.asked.values():
            for request in requests:
                if request.program is not None and request.program not in self.judge.programs:
                    yield request.key, NO_PROGRAM
                elif request.key not in self.decisions.answers:
                    yield request.key, NOT_IN_CRM

    def _told(self) -> Decisions:
        """The decisions in an order that does not depend on who came first, with what must be said aloud."""
        decisions = self.decisions
        decisions.exit.sort(key=attrgetter("episode_id"))
        decisions.enter.sort(key=lambda entry: entry.episode.episode_id)
        decisions.move.sort(key=attrgetter("episode_id"))
        decisions.excluded = {code: sorted(found) for code, found in sorted(self.excluded.items()) if found}
        decisions.deferred = {code: sorted(found) for code, found in sorted(self.deferred.items()) if found}
        decisions.answers = dict(sorted({**decisions.answers, **dict(self._unanswered())}.items()))
        decisions.notes += self._notes()
        return decisions

    def _notes(self) -> Iterator[str]:
        for program, why in sorted(self.judge.world.paused.items()):
            if program in self.judge.programs:
                yield f"{program} is paused: {why}. Nobody enters, and no step is taken"
        for program, count in sorted(self.forgotten.items()):
            yield f"{program} is in the playbook no more: {count} open episode(s) of it end as {exits.LEFT_SEGMENT}"
        for (program, outcome), count in sorted(self.late.items()):
            yield (
                f"{program}: late facts show {count} contact(s) at work in the silence they entered for: "
                f"{_LATE.get(outcome, _OTHER)}"
            )


_LATE = {
    "stays": "still silent enough, they go on",
    exits.NEVER_DORMANT: "there was no such silence, and their episodes end",
}
_OTHER = "their episodes end for another reason"

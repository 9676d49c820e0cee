"""The shorter way through a large crowd: of most people all is known without looking at them one by one.

What is decided, and what everybody is seen as, is the same as when each is put before the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from connector.program import holdout, shortlist
from connector.program.consent import NOTHING_SAID
from connector.program.deciding import Deciding
from connector.program.due import Dues
from connector.program.eligibility import NOBODY_SUPPRESSED, eligibility
from connector.program.entering import DAILY_CAP
from connector.program.hygiene import address_problem
from connector.program.model import Decisions, Eligibility, Episode, Person
from connector.program.stillness import Stillness
from connector.program.verdicts import Judge
from connector.warehouse.rows import values_of
from connector.warehouse.shortlist import INSIDE, UNSURE, Waiting

if TYPE_CHECKING:
    from connector.programs import Crowd, Seen
    from connector.warehouse.shortlist import Shortlist

ELIGIBLE = Eligibility(None)

Due = tuple[str, Sequence[Episode], Sequence[str], str | None]
"""Somebody silent whose next step may be due: id, episodes, segments, time zone."""


def decide(crowd: Crowd, known: Shortlist, seen: Seen) -> Decisions:
    """What the programs decide about everybody gathered."""
    return _Pass(crowd, known, seen).decide()


def shown(crowd: Crowd, known: Shortlist) -> Iterator[Person]:
    """Everybody gathered, in no order, with what is shown of them; nothing is decided."""
    crowd.touches = {}
    questions = _Questions(crowd, known)
    # Of others' contacts it is shown too whether they may be mailed.
    questions.place(prefix="", apart=crowd.states)
    known.sort({}, ())
    for batch in known.told():
        for row, segments, code in zip(*known.people(batch), strict=True):
            yield Person(row, segments, (), questions.verdicts[code])
    kept: list[Episode] = []
    for _, person, group in _side_by_side(_silent_ones(known), _by_contact(crowd)):
        if person is not None and person[2] == INSIDE:
            yield Person(person[0], person[1], tuple(group), ELIGIBLE)
        else:
            kept += group
    yield from crowd.with_episodes(known.rows(()), kept)


class _Questions:
    """What is asked once for all who are alike."""

    def __init__(self, crowd: Crowd, known: Shortlist) -> None:
        self.crowd = crowd
        self.known = known
        self.verdicts: dict[int, Eligibility] = {UNSURE: ELIGIBLE, 0: ELIGIBLE}
        """By the number of the answer."""
        self.numbers: dict[str | None, int] = {None: 0}

    def place(self, *, prefix: str, apart: Iterable[str]) -> None:
        """Ask about contacts whose id begins so; `apart`: of whom more is known than their row says."""
        crowd = self.crowd
        hygiene = crowd.consent.hygiene
        self.known.place(
            prefix=prefix,
            episodes=crowd.workspace.journal.episodes.contacts(),
            apart=list(apart),
            fine=lambda domain: address_problem(f"a@{domain}", hygiene=hygiene) is None,
            suppressed=crowd.suppressed if crowd.on_file else None,
            answer=self._answer,
        )

    def _answer(self, kind: Mapping[str, Any]) -> int:
        found = shortlist.judged(kind, self._eligibility)
        if found is None:
            return UNSURE
        if found.reason not in self.numbers:
            self.verdicts[len(self.numbers)] = Eligibility(found.reason)
            self.numbers[found.reason] = len(self.numbers)
        return self.numbers[found.reason]

    def _eligibility(self, row: Mapping[str, Any]) -> Eligibility:
        """Of somebody the ledger knows nothing about, and whose address is not suppressed."""
        return eligibility(
            row,
            NOTHING_SAID,
            self.crowd.consent,
            now=self.crowd.now,
            suppressed=NOBODY_SUPPRESSED,
            first_with_address=row["first_with_address"],
        )


class _Pass:
    """One way through the crowd."""

    def __init__(self, crowd: Crowd, known: Shortlist, seen: Seen) -> None:
        self.crowd = crowd
        self.known = known
        self.seen = seen
        self.judge = Judge(crowd.world)
        self.deciding = Deciding(self.judge)
        self.questions = _Questions(crowd, known)
        self.shown: set[str] = set()
        """Who was seen already, and is looked at all the same."""

    def decide(self) -> Decisions:
        """Those of whom all is known, then those to be looked at."""
        queues = shortlist.queues(self.judge)
        self._place(queues)
        self._told()
        for place, queue in queues.items():
            self._waiting(place, queue)
        also, episodes = self._inside()
        people = self.crowd.with_episodes(self.known.rows(also), episodes)
        self.deciding.take_all(person for person in people if self._seen(person))
        return self.deciding.settle()

    def _seen(self, person: Person) -> bool:
        return person.row["contact_id"] in self.shown or self.seen(person)

    def _place(self, queues: Mapping[int, shortlist.Queue]) -> None:
        crowd, known = self.crowd, self.known
        journal = crowd.workspace.journal.episodes
        # Without an episode nobody else's touches matter; those of people inside are read once it is clear whose.
        crowd.touches = journal.touches(crowd.touches_since, journal.touched_alone())
        self.questions.place(prefix=f"{crowd.system}:", apart=[*crowd.told_elsewhere, *crowd.touches])
        ways = {}
        for number, segments in enumerate(known.combinations):
            way = shortlist.way_in(self.judge, segments)
            if way is not None:
                ways[number] = (way.place, way.rank)
        known.sort(ways, queues)

    # --- those of whom all is known -------------------------------------------------------------------------

    def _told(self) -> None:
        """Whoever may not be mailed, enrolls nowhere, or is another system's, and has no episode."""
        excluded, seen, verdicts = self.deciding.excluded, self.seen, self.questions.verdicts
        for batch in self.known.told():
            for row, segments, code in zip(*self.known.people(batch), strict=True):
                verdict = verdicts[code]
                if seen(Person(row, segments, (), verdict)) and segments and verdict.reason is not None:
                    excluded[verdict.reason].append(row["contact_id"])

    def _waiting(self, place: int, queue: shortlist.Queue) -> None:
        """Whoever could enter, without those who may be among the first."""
        split, held_out, seen = queue.split, self.deciding.decisions.held_out, self.seen
        room = 0 if queue.waits is not None else queue.room
        waiting = Waiting(place, split.salt, split.share, split.unit == holdout.ACCOUNT, room)
        deferred = self.deciding.deferred[queue.waits or DAILY_CAP]
        for batch in self.known.waiting(waiting):
            rows, segments, _ = self.known.people(batch)
            for row, names, held in zip(rows, segments, batch.column("held").to_pylist(), strict=True):
                if seen(Person(row, names, (), ELIGIBLE)):
                    deferred.append(row["contact_id"])
                    if held:
                        held_out.add(row["contact_id"])

    # --- those in a program ---------------------------------------------------------------------------------

    def _inside(self) -> tuple[list[str], list[Episode]]:
        """Leave those where they are of whom there is nothing new; returns the others, and episodes still to be read.

        Both are read by contact id, side by side.
        """
        nothing_new, covers = Stillness(self.judge).nothing_new_about, (dues := Dues(self.judge)).covers
        also: list[str] = []
        kept: list[Episode] = []
        due: list[Due] = []
        for contact_id, person, group in _side_by_side(_silent_ones(self.known), _by_contact(self.crowd)):
            episodes = tuple(group)
            if person is None:
                kept += episodes if any(episode.open for episode in episodes) else ()
                continue
            row, segments, what = person
            silent = what == INSIDE and self._unredeemed(episodes)
            if silent and nothing_new(episodes, segments, row):
                if self.seen(Person(row, segments, episodes, ELIGIBLE)):
                    self.deciding.stays(contact_id, episodes[0], segments)
            elif silent and covers(episodes, segments, row):
                if self.seen(Person(row, segments, episodes, ELIGIBLE)):
                    due.append((contact_id, episodes, segments, row["timezone"]))
            else:
                also += [contact_id] if what == INSIDE else ()
                kept += episodes
        self._read_touches([episode.contact_id for episode in kept] + [contact_id for contact_id, *_ in due])
        first = self._due(due, dues)
        kept += [episode for _, episodes, *_ in first for episode in episodes]
        kept.sort(key=attrgetter("contact_id"))
        self.shown.update(contact_id for contact_id, *_ in first)
        return [*also, *self.shown], kept

    def _read_touches(self, contacts: Iterable[str]) -> None:
        crowd = self.crowd
        mine = crowd.workspace.journal.episodes.touches(crowd.touches_since, sorted(set(contacts)))
        crowd.touches = {**crowd.touches, **mine}

    def _due(self, due: Sequence[Due], dues: Dues) -> list[Due]:
        """Leave those where they are whose step waits; returns those who may be among the first to take one."""
        deciding, judge, touches = self.deciding, self.judge, self.crowd.touches
        first: list[Due] = []
        lines = [deciding.line(program) for program in judge.world.programs]
        for one in due:
            contact_id, episodes, segments, zone = one
            fate = dues.fate(episodes[0], zone, touches.get(contact_id, ()))
            place = judge.places[episodes[0].program]
            if fate is None or (fate.due_on is not None and lines[place].room is None):
                first.append(one)
            elif fate.due_on is not None:
                key = (fate.due_on.toordinal(), 0, episodes[0].episode_id)
                lines[place].add(key, contact_id, one, counts=True)
            else:
                deciding.stays(contact_id, episodes[0], segments, waits=fate.waits)
        front = [one for line in lines for _, _, one in line.in_order()]
        late = {name for line in lines for name in line.dropped}
        for contact_id, episodes, segments, _ in due:
            if contact_id in late:
                deciding.stays(contact_id, episodes[0], segments, waits=DAILY_CAP)
        return first + front

    def _unredeemed(self, episodes: Iterable[Episode]) -> bool:
        """Whether no code of theirs can have been redeemed since: that is read off the row."""
        redeemable = self.crowd.redeemable
        return not redeemable or not any(episode.code and episode.offer in redeemable for episode in episodes)


def _silent_ones(known: Shortlist) -> Iterator[tuple[str, tuple[dict[str, Any], Sequence[str], int]]]:
    """Row, segments and place of those who have an episode, by id."""
    for batch in known.inside():
        rows, segments, _ = known.people(batch, "timezone")
        for row, names, what in zip(rows, segments, values_of(batch.column("what")), strict=True):
            yield row["contact_id"], (row, names, what)


def _by_contact(crowd: Crowd) -> Iterator[tuple[str, Iterator[Episode]]]:
    return groupby(crowd.workspace.journal.episodes.everybody(), key=attrgetter("contact_id"))


def _side_by_side(
    people: Iterator[tuple[str, Any]], grouped: Iterator[tuple[str, Any]]
) -> Iterator[tuple[str, Any, Any]]:
    """Episodes by contact, each with its contact, who may not be there (None)."""
    person = next(people, None)
    for contact_id, group in grouped:
        while person is not None and person[0] < contact_id:
            person = next(people, None)
        yield contact_id, person[1] if person is not None and person[0] == contact_id else None, group

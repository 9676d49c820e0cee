"""The shorter way through a large crowd: of most people all is known without looking at them one by one.

What is decided, and what everybody is seen as, is the same as when each is put before the engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, groupby
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
    from connector.programs import Crowd, Seen, SeenTogether
    from connector.warehouse.shortlist import Alike, Shortlist

ELIGIBLE = Eligibility(None)

DueOne = tuple[str, Sequence[Episode], Sequence[str], str | None]
"""Somebody silent whose next step may be due: id, episodes, segments, time zone."""


def decide(
    crowd: Crowd,
    known: Shortlist,
    episodes: Callable[[], list[Episode]],
    seen: Seen,
    together: SeenTogether | None = None,
) -> Decisions:
    """What the programs decide about everybody gathered; `episodes`: all of them, as the journal orders them."""
    return _Pass(crowd, known, episodes, seen, together).decide()


def shown(crowd: Crowd, known: Shortlist) -> Iterator[Person]:
    """Everybody gathered, in no order, with what is shown of them; nothing is decided."""
    crowd.touches = {}
    questions = _Questions(crowd, known)
    # Of others' contacts it is shown too whether they may be mailed.
    questions.place(prefix="", apart=crowd.states)
    known.sort({}, (), episodes=crowd.workspace.journal.episodes.contacts())
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

    def place(self, *, prefix: str | tuple[str, ...], apart: Iterable[str]) -> None:
        """Ask about contacts whose id begins so; `apart`: of whom more is known than their row says."""
        crowd = self.crowd
        hygiene = crowd.consent.hygiene
        self.known.place(
            prefix=prefix,
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

    def __init__(
        self,
        crowd: Crowd,
        known: Shortlist,
        episodes: Callable[[], list[Episode]],
        seen: Seen,
        together: SeenTogether | None,
    ) -> None:
        self.crowd = crowd
        self.known = known
        self.episodes = episodes
        self.seen = seen
        self.together = together
        self.judge = Judge(crowd.world)
        self.deciding = Deciding(self.judge)
        self.questions = _Questions(crowd, known)
        self.shown: set[str] = set()
        """Who was seen already, and is looked at all the same."""

    def decide(self) -> Decisions:
        """Those of whom all is known, then those to be looked at."""
        queues = shortlist.queues(self.judge)
        held = self._place(queues)
        self._told()
        for place, queue in queues.items():
            self._waiting(place, queue)
        also, episodes = self._inside(held)
        people = self.crowd.with_episodes(self.known.rows(also), episodes)
        self.deciding.take_all(person for person in people if self._seen(person))
        return self.deciding.settle()

    def _seen(self, person: Person) -> bool:
        return person.row["contact_id"] in self.shown or self.seen(person)

    def _show(self, alike: Alike, eligibility: Eligibility) -> None:
        if self.together is not None:
            self.together(alike, eligibility)
            return
        for row in alike.rows():
            self.seen(Person(row, alike.segments, (), eligibility))

    def _place(self, queues: Mapping[int, shortlist.Queue]) -> Held:
        """Find out what becomes of everybody; the episodes are waited for when all that needs none is known."""
        crowd, known = self.crowd, self.known
        journal = crowd.workspace.journal.episodes
        # Without an episode nobody else's touches matter; those of people inside are read once it is clear whose.
        crowd.touches = journal.touches(crowd.touches_since, journal.touched_alone())
        apart = [*crowd.told_elsewhere, *crowd.touches]
        self.questions.place(prefix=crowd.prefixes, apart=apart)
        ways = {}
        for number, segments in enumerate(known.combinations):
            way = shortlist.way_in(self.judge, segments)
            if way is not None:
                ways[number] = (way.place, way.rank)
        held = Held.of(self.episodes())
        known.sort(ways, queues, episodes=list(held.newest))
        return held

    # --- those of whom all is known -------------------------------------------------------------------------

    def _told(self) -> None:
        """Whoever may not be mailed, enrolls nowhere, or is another system's, and has no episode."""
        for batch in self.known.told():
            for alike in self.known.alike(batch):
                verdict = self.questions.verdicts[alike.code]
                self._show(alike, verdict)
                if alike.own and alike.segments and verdict.reason is not None:
                    self.deciding.excluded[verdict.reason] += alike.ids()

    def _waiting(self, place: int, queue: shortlist.Queue) -> None:
        """Whoever could enter, without those who may be among the first."""
        split, held_out = queue.split, self.deciding.decisions.held_out
        room = 0 if queue.waits is not None else queue.room
        waiting = Waiting(place, split.salt, split.share, split.unit == holdout.ACCOUNT, room)
        deferred = self.deciding.deferred[queue.waits or DAILY_CAP]
        for batch in self.known.waiting(waiting):
            for alike in self.known.alike(batch):
                self._show(alike, ELIGIBLE)
            ids = values_of(batch.column("contact_id"))
            deferred += ids
            held_out.update(compress(ids, batch.column("held").to_pylist()))

    # --- those in a program ---------------------------------------------------------------------------------

    def _inside(self, held: Held) -> tuple[list[str], list[Episode]]:
        """Leave those where they are of whom there is nothing new; returns the others, and episodes still to be read.

        `held` is emptied.
        """
        standing = _Standing(self)
        also: list[str] = []
        kept: list[Episode] = []
        due: list[DueOne] = []
        stays, take = self.deciding.stays, held.take
        for batch in self.known.inside():
            columns = (values_of(batch.column(name)) for name in ("contact_id", "combination", "timezone", "what"))
            there: list[int] = []
            for place, (contact_id, combination, zone, what) in enumerate(zip(*columns, strict=True)):
                episodes = take(contact_id)
                found = standing.of(contact_id, episodes, combination, zone) if what == INSIDE else LOOKED_AT
                if found == STAYS:
                    there.append(place)
                    stays(contact_id, episodes[0], standing.segments[combination])
                elif found == DUE:
                    there.append(place)
                    due.append((contact_id, episodes, standing.segments[combination], zone))
                else:
                    also += [contact_id] if what == INSIDE else ()
                    kept += episodes
            for alike in self.known.alike(batch, there):
                self._show(alike, ELIGIBLE)
        kept += held.open_ones()
        self._read_touches([episode.contact_id for episode in kept] + [contact_id for contact_id, *_ in due])
        first = self._due(due, standing.dues)
        kept += [episode for _, episodes, *_ in first for episode in episodes]
        kept.sort(key=attrgetter("contact_id"))
        self.shown.update(contact_id for contact_id, *_ in first)
        return [*also, *self.shown], kept

    def _read_touches(self, contacts: Iterable[str]) -> None:
        crowd = self.crowd
        mine = crowd.workspace.journal.episodes.touches(crowd.touches_since, sorted(set(contacts)))
        crowd.touches = {**crowd.touches, **mine}

    def _due(self, due: Sequence[DueOne], dues: Dues) -> list[DueOne]:
        """Leave those where they are whose step waits; returns those who may be among the first to take one."""
        deciding, judge, touches = self.deciding, self.judge, self.crowd.touches
        first: list[DueOne] = []
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


@dataclass(slots=True)
class Held:
    """Everybody's episodes, by contact, until each contact has been met.

    newest: Of each contact, by id. several: All of those who have more than one.
    """

    newest: dict[str, Episode]
    several: dict[str, tuple[Episode, ...]]

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> Held:
        """From all of them, by contact, the newest of each first."""
        ids = [episode.contact_id for episode in episodes]
        newest = dict(zip(reversed(ids), reversed(episodes), strict=True))
        more = (
            {contact_id for contact_id, number in Counter(ids).items() if number > 1} if len(newest) < len(ids) else ()
        )
        several: dict[str, list[Episode]] = {contact_id: [] for contact_id in more}
        for episode in episodes if more else ():
            if episode.contact_id in several:
                several[episode.contact_id].append(episode)
        return cls(newest, {contact_id: tuple(mine) for contact_id, mine in several.items()})

    def take(self, contact_id: str) -> tuple[Episode, ...]:
        """This contact's, newest first; they are gone from here then."""
        newest = self.newest.pop(contact_id)
        return self.several.get(contact_id, (newest,))

    def open_ones(self) -> Iterator[Episode]:
        """Of the contacts left, all episodes of those who have an open one."""
        for contact_id, newest in self.newest.items():
            mine = self.several.get(contact_id, (newest,))
            if any(episode.open for episode in mine):
                yield from mine


LOOKED_AT, STAYS, DUE = range(3)
"""How somebody silent stands: to be judged, left where they are, or where they are but for a step that may be due."""


class _Standing:
    """Tells how those in a program stand of whom nothing is to be heard, asking once about all who are alike."""

    def __init__(self, run: _Pass) -> None:
        world = run.judge.world
        self.segments = run.known.combinations
        self.dues = Dues(run.judge)
        self._still = Stillness(run.judge)
        self._redeemable = run.crowd.redeemable
        self._heard_of = frozenset().union(world.ordered, world.feedback, world.said)
        self._known: dict[tuple[object, ...], int] = {}

    def of(self, contact_id: str, episodes: Sequence[Episode], combination: int, zone: str | None) -> int:
        """One of LOOKED_AT, STAYS and DUE; somebody of whom more is known is asked about alone."""
        episode = episodes[0]
        if len(episodes) > 1 or contact_id in self._heard_of or (self._redeemable and episode.code):
            return self._asked(contact_id, episodes, combination, zone)
        kind = (
            episode.program, episode.arm, episode.step, episode.step_state, episode.entered_at, episode.step_at,
            episode.send_at, episode.exited_at, combination, zone,
        )  # fmt: skip
        found = self._known.get(kind)
        if found is None:
            found = self._known[kind] = self._asked(contact_id, episodes, combination, zone)
        return found

    def _asked(self, contact_id: str, episodes: Sequence[Episode], combination: int, zone: str | None) -> int:
        # Whether a code of theirs has been redeemed since is read off the row.
        if any(episode.code and episode.offer in self._redeemable for episode in episodes):
            return LOOKED_AT
        row, segments = {"contact_id": contact_id, "timezone": zone}, self.segments[combination]
        if self._still.nothing_new_about(episodes, segments, row):
            return STAYS
        return DUE if self.dues.covers(episodes, segments, row) else LOOKED_AT


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

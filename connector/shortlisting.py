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
from connector.program.crowd import Crowd as Taking
from connector.program.eligibility import NOBODY_SUPPRESSED, eligibility
from connector.program.entering import DAILY_CAP
from connector.program.hygiene import address_problem
from connector.program.model import Decisions, Eligibility, Episode, Person
from connector.program.stillness import Stillness
from connector.program.verdicts import Judge
from connector.warehouse.shortlist import INSIDE, UNSURE, Waiting

if TYPE_CHECKING:
    from connector.programs import Crowd, Seen
    from connector.warehouse.shortlist import Shortlist

ELIGIBLE = Eligibility(None)


def decide(crowd: Crowd, known: Shortlist, seen: Seen) -> Decisions:
    """What the programs decide about everybody gathered."""
    return _Pass(crowd, known, seen).decide()


class _Pass:
    """One way through the crowd."""

    def __init__(self, crowd: Crowd, known: Shortlist, seen: Seen) -> None:
        self.crowd = crowd
        self.known = known
        self.seen = seen
        self.judge = Judge(crowd.world)
        self.taking = Taking(self.judge)
        self.answers: list[Eligibility] = [ELIGIBLE]
        self.numbers: dict[str | None, int] = {None: 0}

    def decide(self) -> Decisions:
        """Those of whom all is known, then those to be looked at."""
        queues = shortlist.queues(self.judge)
        self._place(queues)
        self._told()
        for place, queue in queues.items():
            self._waiting(place, queue)
        also, episodes = self._inside()
        people = self.crowd.with_episodes(self.known.rows(also), episodes)
        self.taking.take_all(person for person in people if self.seen(person))
        return self.taking.settle()

    # --- questions ------------------------------------------------------------------------------------------

    def _place(self, queues: Mapping[int, shortlist.Queue]) -> None:
        crowd, known = self.crowd, self.known
        hygiene = crowd.consent.hygiene
        on_file = any(subject.startswith("email:") for subject in crowd.states)
        episodes = crowd.workspace.journal.episodes.contacts()
        known.place(
            system=crowd.system,
            episodes=episodes,
            apart=[*crowd.told_elsewhere, *(crowd.touches.keys() - episodes)],
            fine=lambda domain: address_problem(f"a@{domain}", hygiene=hygiene) is None,
            suppressed=crowd.suppressed if on_file else None,
            answer=self._answer,
        )
        ways = {}
        for number, segments in enumerate(known.combinations):
            way = shortlist.way_in(self.judge, segments)
            if way is not None:
                ways[number] = (way.place, way.rank)
        known.sort(ways, queues)

    def _answer(self, kind: Mapping[str, Any]) -> int:
        found = shortlist.judged(kind, self._eligibility)
        if found is None:
            return UNSURE
        if found.reason not in self.numbers:
            self.numbers[found.reason] = len(self.answers)
            self.answers.append(Eligibility(found.reason))
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

    # --- those of whom all is known ------------------------------------------------------------------------------

    def _told(self) -> None:
        """Whoever may not be mailed, enrolls nowhere, or is another system's, and has no episode."""
        excluded = self.taking.excluded
        for batch in self.known.told():
            for row, segments, code in self.known.people(batch):
                verdict = ELIGIBLE if code == UNSURE else self.answers[code]
                if self.seen(Person(row, segments, (), verdict)) and segments and verdict.reason is not None:
                    excluded[verdict.reason].append(row["contact_id"])

    def _waiting(self, place: int, queue: shortlist.Queue) -> None:
        """Whoever could enter, without those who may be among the first."""
        split, decisions = queue.split, self.taking.decisions
        room = 0 if queue.waits is not None else queue.room
        waiting = Waiting(place, split.salt, split.share, split.unit == holdout.ACCOUNT, room)
        deferred = self.taking.deferred[queue.waits or DAILY_CAP]
        for batch in self.known.waiting(waiting):
            for (row, segments, _), held in zip(
                self.known.people(batch), batch.column("held").to_pylist(), strict=True
            ):
                if self.seen(Person(row, segments, (), ELIGIBLE)):
                    deferred.append(row["contact_id"])
                    if held:
                        decisions.held_out.add(row["contact_id"])

    # --- those in a program ----------------------------------------------------------------------------------

    def _inside(self) -> tuple[list[str], list[Episode]]:
        """Leave those where they are of whom there is nothing new; returns the others, and episodes still to be read.

        Both are read by contact id, side by side.
        """
        nothing_new = Stillness(self.judge).nothing_new_about
        also: list[str] = []
        kept: list[Episode] = []
        grouped = groupby(self.crowd.workspace.journal.episodes.everybody(), key=attrgetter("contact_id"))
        mine = _side_by_side(self._silent_ones(), grouped)
        for contact_id, person, group in mine:
            episodes = tuple(group)
            if person is None:
                kept += episodes if any(episode.open for episode in episodes) else ()
                continue
            row, segments, what = person
            if what != INSIDE:
                kept += episodes
            elif self._unredeemed(episodes) and nothing_new(episodes, segments, row):
                if self.seen(Person(row, segments, episodes, ELIGIBLE)):
                    self.taking.stays(contact_id, episodes[0], segments)
            else:
                also.append(contact_id)
                kept += episodes
        return also, kept

    def _silent_ones(self) -> Iterator[tuple[str, tuple[dict[str, Any], Sequence[str], int]]]:
        for batch in self.known.inside():
            zones, whats = batch.column("timezone").to_pylist(), batch.column("what").to_pylist()
            for (row, segments, _), zone, what in zip(self.known.people(batch), zones, whats, strict=True):
                row["timezone"] = zone
                yield row["contact_id"], (row, segments, what)

    def _unredeemed(self, episodes: Iterable[Episode]) -> bool:
        """Whether no code of theirs can have been redeemed since: that is read off the row."""
        redeemable = self.crowd.redeemable
        return not redeemable or not any(episode.code and episode.offer in redeemable for episode in episodes)


def _side_by_side(
    people: Iterator[tuple[str, Any]], grouped: Iterator[tuple[str, Any]]
) -> Iterator[tuple[str, Any, Any]]:
    """Episodes by contact, each with its contact, who may not be there (None)."""
    person = next(people, None)
    for contact_id, group in grouped:
        while person is not None and person[0] < contact_id:
            person = next(people, None)
        yield contact_id, person[1] if person is not None and person[0] == contact_id else None, group

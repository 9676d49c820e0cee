"""The shorter way through a large crowd: of most people all is known without looking at them one by one.

What is decided, and what everybody is seen as, is the same as when each is put before the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import compress, groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from connector.journal.loading import parsed
from connector.program import holdout, shortlist
from connector.program.consent import NOTHING_SAID
from connector.program.deciding import Deciding
from connector.program.due import Dues
from connector.program.eligibility import NOBODY_SUPPRESSED, eligibility
from connector.program.entering import DAILY_CAP
from connector.program.hygiene import address_problem
from connector.program.model import Decisions, Eligibility, Episode, Person, Placed, Verdict
from connector.program.stillness import Stillness
from connector.program.verdicts import Judge
from connector.program.windows import day_in
from connector.warehouse.rows import values_of
from connector.warehouse.shortlist import INSIDE, UNSURE, Group, Waiting

if TYPE_CHECKING:
    from datetime import datetime

    import pyarrow as pa

    from connector.journal.standing import Standing
    from connector.programs import Crowd, Seen, SeenTogether
    from connector.warehouse.shortlist import Alike, Shortlist

ELIGIBLE = Eligibility(None)

DueOne = tuple[str, Episode, Placed, Sequence[str], str | None]
"""Somebody silent whose next step may be due: id, an episode like theirs, where they are, segments, time zone."""


def decide(
    crowd: Crowd,
    known: Shortlist,
    standing: Callable[[], list[Standing]],
    seen: Seen,
    together: SeenTogether | None = None,
    *,
    left: Callable[[], Mapping[str, list[datetime]]],
) -> Decisions:
    """What the programs decide about everybody gathered.

    Args:
        crowd: Who they are, and all that is known besides.
        known: They, gathered.
        standing: How all episodes stand.
        seen: Shown one by one.
        together: Shown those who are alike; None: they are shown to `seen` as well.
        left: Touches of people who have no episode any more.
    """
    return _Pass(crowd, known, seen, together).decide(standing, left)


def shown(crowd: Crowd, known: Shortlist) -> Iterator[Person]:
    """Everybody gathered, in no order, with what is shown of them; nothing is decided."""
    crowd.touches = {}
    questions = _Questions(crowd, known)
    # Of others' contacts it is shown too whether they may be mailed.
    questions.place(prefix="", apart=crowd.states)
    known.sort({}, (), episodes=_table(crowd.workspace.journal.episodes.standing()))
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
        seen: Seen,
        together: SeenTogether | None,
    ) -> None:
        self.crowd = crowd
        self.known = known
        self.seen = seen
        self.together = together
        self.judge = Judge(crowd.world)
        self.deciding = Deciding(self.judge)
        self.questions = _Questions(crowd, known)
        self.shown: set[str] = set()
        """Who was seen already, and is looked at all the same."""

    def decide(
        self, standing: Callable[[], list[Standing]], left: Callable[[], Mapping[str, list[datetime]]]
    ) -> Decisions:
        """Those of whom all is known, then those to be looked at."""
        queues = shortlist.queues(self.judge)
        alike = self._place(queues, standing, left)
        self._told()
        for place, queue in queues.items():
            self._waiting(place, queue)
        also, episodes = self._inside(alike)
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

    def _place(
        self,
        queues: Mapping[int, shortlist.Queue],
        standing: Callable[[], list[Standing]],
        left: Callable[[], Mapping[str, list[datetime]]],
    ) -> Sequence[Episode]:
        """Find out what becomes of everybody; returns an episode of each kind.

        How episodes stand is waited for when all that needs none is known.
        """
        crowd, known = self.crowd, self.known
        # Without an episode nobody else's touches matter; those of people inside are read once it is clear whose.
        crowd.touches = left()
        apart = [*crowd.told_elsewhere, *crowd.touches]
        self.questions.place(prefix=crowd.prefixes, apart=apart)
        ways = {}
        for number, segments in enumerate(known.combinations):
            way = shortlist.way_in(self.judge, segments)
            if way is not None:
                ways[number] = (way.place, way.rank)
        pages = standing()
        known.sort(ways, queues, episodes=_table(pages))
        return [episode for page in pages for _, episode in sorted(page.alike.items())]

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

    def _inside(self, alike: Sequence[Episode]) -> tuple[list[str], list[Episode]]:
        """Leave those where they are of whom there is nothing new; returns the others, and episodes still to be read.

        alike: One of each kind.
        """
        known, journal = self.known, self.crowd.workspace.journal.episodes
        standing = _Standing(self, alike)
        judged = known.elsewhere()
        also: list[str] = []
        due: list[DueOne] = []
        for batch in known.standing(
            standing.of_group, alone=ALONE, apart=standing.heard_of, entered_on=standing.entered_on
        ):
            stay, wait, out = (_where(batch, how) for how in (STAYS, DUE, OUT))
            look, alone, heard = (_where(batch, how) for how in (LOOKED_AT, ALONE, None))
            for contact_id, episode, placed, segments, _ in self._placed(stay, alike):
                self.deciding.stays(contact_id, episode, placed, segments)
            due += self._placed(wait, alike)
            also += values_of(look.column("contact_id"))
            also += self._alone(alone, standing)
            judged += values_of(heard.column("contact_id"))
            self._out(out, standing)
            for some in (*known.alike(stay), *known.alike(wait), *known.alike(out)):
                self._show(some, ELIGIBLE)
        judged += also
        self._read_touches([*judged, *(contact_id for contact_id, *_ in due)])
        first = self._due(due, standing.dues)
        self.shown.update(first)
        return [*also, *first], journal.about([*judged, *first])

    def _placed(self, batch: pa.RecordBatch, alike: Sequence[Episode]) -> Iterator[DueOne]:
        """Where those of a batch are who are like all others of their kind."""
        columns = (values_of(batch.column(name)) for name in ("contact_id", "kind", "episode_id", "combination"))
        further = parsed(values_of(batch.column("values"))), values_of(batch.column("timezone"))
        combinations = self.known.combinations
        for contact_id, kind, episode_id, number, values, zone in zip(*columns, *further, strict=True):
            episode = alike[kind]
            placed = Placed(episode_id, episode.program, episode.step, episode.step_state, values)
            yield contact_id, episode, placed, combinations[number], zone

    def _out(self, batch: pa.RecordBatch, standing: _Standing) -> None:
        """Leave those out who were in a program before, and whose silence goes on."""
        columns = (values_of(batch.column(name)) for name in ("contact_id", "kind", "combination", "timezone"))
        for contact_id, kind, number, zone in zip(*columns, strict=True):
            found = standing.barred[Group(kind, number, zone, again=False)]
            self.deciding.barred(contact_id, self.known.combinations[number], found)

    def _alone(self, batch: pa.RecordBatch, standing: _Standing) -> Iterator[str]:
        """Leave those where they are who have to be asked about one by one; gives those to be looked at."""
        columns = [values_of(batch.column(name)) for name in ("contact_id", "combination", "timezone")]
        read = self.crowd.workspace.journal.episodes.about(columns[0])
        episodes = {contact_id: tuple(mine) for contact_id, mine in groupby(read, key=attrgetter("contact_id"))}
        there: list[int] = []
        for place, (contact_id, number, zone) in enumerate(zip(*columns, strict=True)):
            mine, segments = episodes[contact_id], self.known.combinations[number]
            if standing.of(contact_id, mine, segments, zone) == STAYS:
                there.append(place)
                self.deciding.stays(contact_id, mine[0], Placed.by(mine[0]), segments)
            else:
                yield contact_id
        for some in self.known.alike(batch, there):
            self._show(some, ELIGIBLE)

    def _read_touches(self, contacts: Iterable[str]) -> None:
        crowd = self.crowd
        mine = crowd.workspace.journal.episodes.touches(crowd.touches_since, sorted(set(contacts)))
        crowd.touches = {**crowd.touches, **mine}

    def _due(self, due: Sequence[DueOne], dues: Dues) -> list[str]:
        """Leave those where they are whose step waits; returns those who may be among the first to take one."""
        deciding, judge, touches = self.deciding, self.judge, self.crowd.touches
        first: list[str] = []
        lines = [deciding.line(program) for program in judge.world.programs]
        for contact_id, alike, placed, segments, zone in due:
            fate = dues.fate(alike, zone, touches.get(contact_id, ()))
            place = judge.places[alike.program]
            if fate is None or (fate.due_on is not None and lines[place].room is None):
                first.append(contact_id)
            elif fate.due_on is not None:
                lines[place].add((fate.due_on.toordinal(), 0, placed.episode_id), contact_id, contact_id, counts=True)
            else:
                deciding.stays(contact_id, alike, placed, segments, waits=fate.waits)
        front = [contact_id for line in lines for _, contact_id, _ in line.in_order()]
        late = {name for line in lines for name in line.dropped}
        for contact_id, alike, placed, segments, _ in due:
            if contact_id in late:
                deciding.stays(contact_id, alike, placed, segments, waits=DAILY_CAP)
        return first + front


def _table(pages: Iterable[Standing]) -> pa.Table:
    """How episodes stand, as the shortlist is told it."""
    import pyarrow as pa

    schema = pa.schema(
        [
            ("contact_id", pa.string()), ("episode_id", pa.string()), ("values", pa.string()), ("kind", pa.int32()),
            ("open", pa.bool_()),
        ]
    )  # fmt: skip
    batches = (
        pa.record_batch([page.contacts, page.episodes, page.values, page.kinds, page.open], schema) for page in pages
    )
    return pa.Table.from_batches(batches, schema)


LOOKED_AT, STAYS, DUE, OUT, ALONE = range(5)
"""How somebody silent stands: to be judged, left in place, there but for a step that may be due, left out, unknown."""


def _where(batch: pa.RecordBatch, stands: int | None) -> pa.RecordBatch:
    """Those of a batch who stand so; None: who are not silent."""
    from pyarrow import compute

    column = batch.column("stands")
    return batch.filter(compute.is_null(column) if stands is None else compute.equal(column, stands))


class _Standing:
    """Tells how those in a program stand of whom nothing is to be heard, asking once about all who are alike."""

    def __init__(self, run: _Pass, alike: Sequence[Episode]) -> None:
        world = run.judge.world
        self.dues = Dues(run.judge)
        self.heard_of = frozenset().union(world.ordered, world.feedback, world.said)
        """Whoever is not like all others of their kind."""
        self.entered_on = [day_in(episode.entered_at, world.zone) for episode in alike]
        self.barred: dict[Group, Verdict] = {}
        """Why those are left out who are OUT."""
        self._run = run
        self._alike = alike
        self._still = Stillness(run.judge)
        self._redeemable = run.crowd.redeemable

    def of_group(self, group: Group) -> int:
        """Any but ALONE."""
        episode, segments = self._alike[group.kind], self._run.known.combinations[group.combination]
        if episode.open or group.again or (episode.code and episode.offer in self._redeemable):
            return self.of("", (episode,), segments, group.timezone)
        # Of their silence only that it began before they entered is asked.
        silent_since = self.entered_on[group.kind] - timedelta(days=1)
        row = {"contact_id": "", "timezone": group.timezone, "last_active_on": silent_since}
        found = self._run.judge.outside(Person(row, segments, (episode,), ELIGIBLE))
        if not isinstance(found, Verdict):
            return LOOKED_AT
        self.barred[group] = found
        return OUT

    def of(self, contact_id: str, episodes: Sequence[Episode], segments: Sequence[str], zone: str | None) -> int:
        """LOOKED_AT, STAYS or DUE: somebody alone."""
        # Whether a code of theirs has been redeemed since is read off the row.
        if any(episode.code and episode.offer in self._redeemable for episode in episodes):
            return LOOKED_AT
        row = {"contact_id": contact_id, "timezone": zone}
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

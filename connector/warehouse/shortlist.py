"""Which of everybody a plan may have to do with must be looked at one by one; of the others, what is said of them.

It knows no rule: kinds of contacts, address domains and combinations of segments are told to the caller, who answers
each once, and the answers are joined back. Whoever no answer covers is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from connector.program.hygiene import ADDRESS_LONGEST, LOCAL_LONGEST, PLAIN_LOCAL, ROLES
from connector.program.shortlist import PLAIN, SAME, THERE, YES_OR_NO
from connector.program.signals import FLAGS, NOTHING_HAPPENED
from connector.rules import sql_files
from connector.warehouse import gathering
from connector.warehouse.database import Database, day_literal, literal
from connector.warehouse.rows import values_of

if TYPE_CHECKING:
    from datetime import date

    import pyarrow as pa

    from connector.warehouse.features import Made
    from connector.warehouse.gathering import Asked, Assigned

_FACTS, _KINDS, _PLACED, _DRAWN = "shortlist_facts", "shortlist_kinds", "shortlist", "shortlist_drawn"
_EPISODES, _APART, _DOMAINS, _CODES, _WAYS, _QUEUES, _ALSO = (
    "shortlist_episodes", "shortlist_apart", "shortlist_domains", "shortlist_codes", "shortlist_ways",
    "shortlist_queues", "shortlist_also",
)  # fmt: skip

_STAGED = "episodes_given"

UNSURE = -1
"""The answer about a kind that has none; 0 and above number the answers."""

TOLD, CANDIDATE, INSIDE, JUDGED = range(4)
"""What becomes of somebody: all is said of them; they may enter; they are in a program, and silent; to be looked at."""

_ROWS = 50_000
_BOOLEAN = frozenset({"opted_out", "bounced", "erased"})


@dataclass(frozen=True, slots=True)
class Waiting:
    """Who could enter a program and was never in one.

    place: The program's. salt, share, by_account: How they are drawn. room: How many treated ones are looked at.
    """

    place: int
    salt: str
    share: float
    by_account: bool
    room: int


class Group(NamedTuple):
    """Silent ones with a single episode who are alike in all that is asked of many.

    kind: Of their episodes. combination: Of segments. again: Whether they were active again since they entered.
    """

    kind: int
    combination: int
    timezone: str | None
    again: bool


class Alike:
    """Some who are in the same segments and of whom the rules say the same.

    own: Contacts of the CRM that was asked about. code: The number of the answer.
    """

    def __init__(self, batch: pa.RecordBatch, segments: Sequence[str], *, code: int, own: bool) -> None:
        self._batch = batch
        self.segments = segments
        self.code = code
        self.own = own

    def values(self, name: str) -> list[Any]:
        """A column of `SHOWN`, or one of the batch they are from."""
        return values_of(self._batch.column(name))

    def ids(self) -> list[str]:
        """Who they are."""
        return self.values("contact_id")

    def rows(self) -> Iterator[dict[str, Any]]:
        """What is told of each."""
        for values in zip(*map(self.values, SHOWN), strict=True):
            yield dict(zip(SHOWN, values, strict=True))


class Shortlist:
    """Everybody gathered for a plan."""

    def __init__(self, database: Database, made: Made, assigned: Assigned, asked: Asked) -> None:
        self._database = database
        self._made = made
        self._assigned = assigned
        self._asked = asked
        self._combinations = assigned.combinations

    def __len__(self) -> int:
        return int(self._database.value(f"SELECT count(*) FROM {gathering.CROWD}"))

    def all_rows(self) -> Iterator[dict[str, Any]]:
        """Everybody, one by one."""
        gathering.line_up(self._database, self._assigned.as_of)
        return self._handed_over()

    def _handed_over(self) -> Iterator[dict[str, Any]]:
        return gathering.handed_over(self._database, self._made, self._assigned, self._asked)

    # --- questions and answers ------------------------------------------------------------------------------

    def place(
        self,
        *,
        prefix: str | tuple[str, ...],
        apart: Collection[str],
        fine: Callable[[str], bool],
        suppressed: Callable[[str], bool] | None,
        answer: Callable[[Mapping[str, Any]], int],
    ) -> None:
        """Find out what is the same about many.

        Args:
            prefix: What ids of contacts begin with, one or the other; of others only those with episodes are looked at.
            apart: Contacts of whom more is known than their row says.
            fine: Whether nothing speaks against a domain.
            suppressed: Whether an address is on the suppression list; None: the list is empty.
            answer: The number of what the rules say about a kind, or UNSURE.
        """
        database = self._database
        self._keep(_APART, contact_id=apart)
        people = gathering.sql_of(
            database, self._made, self._assigned, gathering.Asked(), within=gathering.CROWD, short=True
        )
        facts = sql_files.render(
            "shortlist",
            people=people,
            same=", ".join(_AS_THEY_ARE),
            marks=_marks(),
            silent=_silent(),
            local=PLAIN_LOCAL.replace("'", "''"),
            local_longest=str(LOCAL_LONGEST),
            longest=str(ADDRESS_LONGEST),
            desks=", ".join(map(literal, sorted(ROLES))),
            own=_begins(prefix),
            apart=_APART,
        )
        database.execute(f"CREATE OR REPLACE TEMP TABLE {_FACTS} AS {facts}")
        domains = [row[0] for row in database.rows(f"SELECT DISTINCT domain FROM {_FACTS} WHERE domain IS NOT NULL")]
        self._keep(_DOMAINS, domain=[domain for domain in domains if fine(domain)])
        self._keep(_ALSO, contact_id=[] if suppressed is None else self._suppressed(suppressed))
        self._ask(answer)

    def _suppressed(self, suppressed: Callable[[str], bool]) -> list[str]:
        """Contacts whose address is on the list."""
        found = []
        sql = f"SELECT contact_id, email FROM {_FACTS} WHERE own AND domain IN (FROM {_DOMAINS})"
        for batch in self._database.reader(sql, rows=_ROWS):
            ids, emails = (column.to_pylist() for column in batch.columns)
            found += [contact_id for contact_id, email in zip(ids, emails, strict=True) if suppressed(email)]
        return found

    def _ask(self, answer: Callable[[Mapping[str, Any]], int]) -> None:
        """Make `shortlist_kinds`, each with its answer."""
        import pyarrow as pa

        database = self._database
        kinds = database.arrow(f"SELECT DISTINCT {', '.join(_KIND)} FROM {_with_plain()}")
        answers = [answer(_unpacked(kind)) for kind in kinds.to_pylist()]
        database.connection.register(_CODES, kinds.append_column("code", pa.array(answers, pa.int32())))
        database.execute(f"CREATE OR REPLACE TEMP TABLE {_KINDS} AS FROM {_CODES}")
        database.connection.unregister(_CODES)

    @property
    def combinations(self) -> Sequence[Sequence[str]]:
        """The segments that somebody has together; people tell them by number."""
        return self._combinations

    def sort(self, ways: Mapping[int, tuple[int, int]], queues: Collection[int], *, episodes: pa.Table) -> None:
        """Decide what becomes of everybody.

        Args:
            ways: Combination → the program it leads into first, and the segment's rank there.
            queues: Programs whose candidates need not all be looked at.
            episodes: All of them, ended or not: contact_id, episode_id, values (JSON), kind, open.
        """
        database = self._database
        self._keep(
            _WAYS,
            combination=list(range(len(self._combinations))),
            place=[ways.get(number, (None, None))[0] for number in range(len(self._combinations))],
            rank=[ways.get(number, (None, None))[1] for number in range(len(self._combinations))],
        )
        self._keep(_QUEUES, place=list(queues))
        self._keep_episodes(episodes)
        sql = sql_files.render(
            "shortlisted",
            facts=_with_plain(),
            kinds=_KINDS,
            same_kind=" AND ".join(f"f.{name} IS NOT DISTINCT FROM k.{name}" for name in _KIND),
            ways=_WAYS,
            queues=_QUEUES,
            suppressed=_ALSO,
            episodes=_EPISODES,
            told=str(TOLD),
            candidate=str(CANDIDATE),
            inside=str(INSIDE),
            judged=str(JUDGED),
        )
        database.execute(f"CREATE OR REPLACE TEMP TABLE {_PLACED} AS {sql}")
        database.drop(_FACTS, _KINDS, _WAYS, _QUEUES, _ALSO, _DOMAINS, _APART)

    # --- what is said of people ------------------------------------------------------------------------------

    def told(self) -> Iterator[pa.RecordBatch]:
        """Those of whom all is said: see `_SAID`."""
        return iter(self._database.reader(f"SELECT {_SAID} FROM {_PLACED} WHERE what = {TOLD}", rows=_ROWS))

    def inside(self) -> Iterator[pa.RecordBatch]:
        """Those who have an episode, ended or not, by id; `what` tells the silent ones from the others."""
        sql = f"SELECT {_SAID}, timezone, what FROM {_PLACED} SEMI JOIN {_EPISODES} USING (contact_id)"
        return iter(self._database.reader(f"{sql} ORDER BY contact_id", rows=_ROWS))

    def standing(
        self,
        answer: Callable[[Group], int],
        *,
        alone: int,
        apart: Collection[str],
        entered_on: Sequence[date],
    ) -> Iterator[pa.RecordBatch]:
        """The same, with `kind`, `episode_id` and `values` of an episode of each, and with how they stand (`stands`).

        Args:
            answer: How all of a group stand.
            alone: How those silent ones stand who are in no group: `apart`, or with several episodes.
            apart: Contacts of whom more is known.
            entered_on: The day on which those of each kind entered.
        """
        database = self._database
        self._keep(_APART, contact_id=apart)
        self._keep(_WAYS, of_kind=range(len(entered_on)), entered_on=entered_on)
        people = (
            f"(SELECT *, what = {INSIDE} AS silent, several OR contact_id IN (FROM {_APART}) AS apart, "
            "coalesce(last_active_on >= entered_on, false) AS again "
            f"FROM {_PLACED} JOIN {_EPISODES} USING (contact_id) JOIN {_WAYS} ON of_kind = kind)"
        )
        alike = f"SELECT DISTINCT kind, combination, timezone, again FROM {people} WHERE silent AND NOT apart"
        groups = [Group(*row) for row in database.rows(alike)]
        kinds, combinations, zones, again = zip(*groups, strict=True) if groups else ((), (), (), ())
        stands = [answer(group) for group in groups]
        self._keep(_KINDS, of_kind=kinds, together=combinations, there=zones, since=again, found=stands)
        sql = (
            f"SELECT {_SAID}, kind, episode_id, values, timezone, "
            f"CASE WHEN silent THEN CASE WHEN apart THEN {alone} ELSE found END END AS stands "
            f"FROM (SELECT * EXCLUDE (of_kind) FROM {people}) LEFT JOIN {_KINDS} ON of_kind = kind "
            "AND together = combination AND there IS NOT DISTINCT FROM timezone AND since = again ORDER BY contact_id"
        )
        return iter(database.reader(sql, rows=_ROWS))

    def elsewhere(self) -> list[str]:
        """Who has an open episode and was not gathered."""
        found = self._database.rows(
            f"SELECT contact_id FROM {_EPISODES} WHERE open AND contact_id NOT IN (SELECT contact_id FROM {_PLACED})"
        )
        return [row[0] for row in found]

    def waiting(self, queue: Waiting) -> Iterator[pa.RecordBatch]:
        """Who could enter and need not be looked at, with `held`; those who may be among the first are looked at."""
        database = self._database
        unit = "contact_id || '/' || (last_active_on + 1)::DATE::VARCHAR"
        if queue.by_account:
            unit = "coalesce(nullif(account_id, ''), contact_id)"
        sql = sql_files.render(
            "drawn",
            people=f"(FROM {_PLACED} WHERE what = {CANDIDATE} AND place = {queue.place})",
            unit=unit,
            salt=literal(queue.salt),
            share=repr(queue.share),
        )
        database.execute(f"CREATE OR REPLACE TEMP TABLE {_DRAWN} AS {sql}")
        order = "rank, last_active_on, contact_id"
        first = "false"
        if queue.room:
            last = database.rows(
                f"SELECT {order} FROM {_DRAWN} WHERE NOT held ORDER BY {order} LIMIT 1 OFFSET {queue.room - 1}"
            )
            first = "true"
            for rank, on, contact_id in last:
                first = f"({order}) <= ({rank}, {day_literal(on)}, {literal(contact_id)})"
        among = f"SELECT contact_key FROM {_DRAWN} WHERE {first}"
        database.execute(f"UPDATE {_PLACED} SET what = {JUDGED} WHERE contact_key IN ({among})")
        return iter(database.reader(f"SELECT {_SAID}, held FROM {_DRAWN} WHERE NOT ({first})", rows=_ROWS))

    def alike(self, batch: pa.RecordBatch, places: Sequence[int] | None = None) -> Iterator[Alike]:
        """Those of a batch, or of these places in it, with those together who are alike."""
        import numpy as np
        import pyarrow as pa

        if places is not None:
            batch = batch.take(pa.array(places, pa.int64()))
        if not len(batch):
            return
        combination, code = (batch.column(name).to_numpy().astype(np.int64) for name in ("combination", "code"))
        own = batch.column("own").to_numpy(zero_copy_only=False)
        kinds = ((code - UNSURE) * len(self._combinations) + combination) * 2 + own
        order = np.argsort(kinds, kind="stable")
        ends = [*(np.flatnonzero(np.diff(kinds[order])) + 1).tolist(), len(order)]
        ordered, start = batch.take(pa.array(order)), 0
        for end in ends:
            first = order[start]
            yield Alike(
                ordered.slice(start, end - start),
                self._combinations[combination[first]],
                code=int(code[first]),
                own=bool(own[first]),
            )
            start = end

    def people(
        self, batch: pa.RecordBatch, *further: str
    ) -> tuple[list[dict[str, Any]], list[Sequence[str]], list[int]]:
        """Rows, segments and answers of those of a batch; `further`: columns that rows have besides what is told."""
        names = (*SHOWN, *further)
        columns = zip(*(values_of(batch.column(name)) for name in names), strict=True)
        rows = [dict(zip(names, values, strict=False)) for values in columns]
        segments: list[Sequence[str]] = [
            self._combinations[number] for number in values_of(batch.column("combination"))
        ]
        return rows, segments, values_of(batch.column("code"))

    def rows(self, also: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Those to be looked at and these, one by one."""
        self._keep(_ALSO, contact_id=also)
        chosen = f"(SELECT contact_key FROM {_PLACED} WHERE what = {JUDGED} OR contact_id IN (FROM {_ALSO}))"
        gathering.line_up(self._database, self._assigned.as_of, chosen=chosen)
        self._database.drop(_PLACED, _DRAWN, _ALSO, _EPISODES)
        return self._handed_over()

    def _keep_episodes(self, episodes: pa.Table) -> None:
        """One row for whoever has any."""
        self._database.connection.register(_STAGED, episodes)
        self._database.execute(
            f"CREATE OR REPLACE TEMP TABLE {_EPISODES} AS SELECT contact_id, any_value(episode_id) AS episode_id, "
            "any_value(values) AS values, any_value(kind) AS kind, bool_or(open) AS open, count(*) > 1 AS several "
            f"FROM {_STAGED} GROUP BY contact_id"
        )
        self._database.connection.unregister(_STAGED)

    def _keep(self, table: str, **columns: Any) -> None:
        """A temporary table with these columns."""
        import pyarrow as pa

        staged, types = f"{table}_given", _types()
        arrays = {name: pa.array(values, types[name]) for name, values in columns.items()}
        self._database.connection.register(staged, pa.table(arrays))
        self._database.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS FROM {staged}")
        self._database.connection.unregister(staged)


SHOWN = (
    "contact_id", "inactive_days", "last_active_at", "last_active_on", "last_feature", "opted_out_here", "email",
)  # fmt: skip
"""What lists and properties are made of."""

_SAID = ", ".join((*SHOWN, "combination", "code", "own"))

_AS_THEY_ARE = tuple(name for name in SAME if name not in YES_OR_NO)
_KIND = (*_AS_THEY_ARE, "marks", PLAIN)
_UNKNOWN, _BASE = 2, 3


def _marks() -> str:
    """SQL for what is yes, no or unknown, and for which columns are filled, as one number."""
    known = [f"coalesce({name}::INTEGER, {_UNKNOWN}) * {_BASE**place}" for place, name in enumerate(YES_OR_NO)]
    first = _BASE ** len(YES_OR_NO)
    return " + ".join((*known, *(f"({name} IS NOT NULL)::INTEGER * {first << n}" for n, name in enumerate(THERE))))


def _unpacked(kind: Mapping[str, Any]) -> dict[str, Any]:
    """A kind with its marks as the columns they were made of."""
    found = {name: kind[name] for name in (*_AS_THEY_ARE, PLAIN)}
    rest = kind["marks"]
    for name in YES_OR_NO:
        rest, digit = divmod(rest, _BASE)
        found[name] = None if digit == _UNKNOWN else bool(digit)
    return found | {f"there_{name}": bool(rest >> n & 1) for n, name in enumerate(THERE)}


def _types() -> Mapping[str, Any]:
    import pyarrow as pa

    return {
        "contact_id": pa.string(), "domain": pa.string(), "combination": pa.int32(),
        "place": pa.int32(), "rank": pa.int32(), "of_kind": pa.int32(), "together": pa.int32(),
        "there": pa.string(), "since": pa.bool_(), "found": pa.int32(), "entered_on": pa.date32(),
    }  # fmt: skip


def _begins(prefix: str | tuple[str, ...]) -> str:
    """SQL: the id begins so."""
    prefixes = (prefix,) if isinstance(prefix, str) else prefix
    return "(" + " OR ".join(f"starts_with(contact_id, {literal(one)})" for one in prefixes) + ")"


def _with_plain() -> str:
    """The facts with what is known of the form of the address."""
    return (
        f"(SELECT *, CASE WHEN email IS NOT NULL THEN coalesce(domain IN (FROM {_DOMAINS}), false) END AS plain "
        f"FROM {_FACTS})"
    )


def _silent() -> str:
    """SQL: nothing happened since entry, as `Stillness` asks it of a row."""
    signals = (
        f"{name} IS NOT DISTINCT FROM {'NULL' if value is None else value}" for name, value in NOTHING_HAPPENED.items()
    )
    flags = (f"NOT coalesce({name}, false)" if name in _BOOLEAN else f"{name} IS NULL" for name in FLAGS)
    return f"({' AND '.join((*signals, *flags))})"

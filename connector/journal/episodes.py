"""Episodes: every dormant spell somebody was entered for, how far it has come, and how it ended."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, fields
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from connector.journal.engine import Database, leave_taken
from connector.journal.leaving import leave
from connector.journal.loading import day, each_once, in_chunks, made, moment, parsed, raw, whole_groups
from connector.journal.merging import merge, remembered
from connector.journal.program_tables import episode_steps, episodes, program_splits, versions
from connector.journal.standing import Standing, standing
from connector.journal.stepping import take
from connector.journal.taking_back import Undone, take_back
from connector.journal.versions import EPISODES, move_on
from connector.program.model import HOLDOUT, TREATED, Entry, Episode, Exit, Move, Split

_CHUNK = 5_000
"""Rows per statement."""

_PAGE = 10_000
"""Episodes read at a time."""

_FIELDS = tuple(field.name for field in fields(Episode))
_RAW = tuple(raw(episodes.c["properties" if name == "values" else name]) for name in _FIELDS)
"""The columns of an episode, in the order of its fields."""

_MOMENTS = ("entered_at", "step_at", "send_at", "written_at", "exited_at", "outcome_until")

_NEWEST_FIRST = (episodes.c.contact_id, episodes.c.entered_at.desc(), episodes.c.episode_id)


@dataclass(frozen=True, slots=True)
class StepTaken:
    """One line of an episode's log: a step that was decided (and since written or undone), or skipped."""

    episode_id: str
    contact_id: str
    step: str
    state: str
    due_on: date
    at: datetime
    run_id: str
    send_at: datetime | None = None
    variant: str | None = None
    branch: str | None = None
    offer: str | None = None
    code: str | None = None
    cost: float = 0.0
    values: Mapping[str, str | None] = field(default_factory=dict)
    destination: str | None = None
    target: str | None = None
    row_id: str | None = None
    written_at: datetime | None = None
    undone_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ProgramCounts:
    """How a program stands.

    by_arm: Open episodes by arm.
    by_step: Those that are treated by their newest step; "" before the first.
    by_state: The same by what became of that step: `decided` has not reached the CRM yet.
    exits: Ended episodes by reason.
    """

    by_arm: Counter[str] = field(default_factory=Counter)
    by_step: Counter[str] = field(default_factory=Counter)
    by_state: Counter[str] = field(default_factory=Counter)
    exits: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Change:
    """A transaction, and how many rows it has changed."""

    connection: sa.Connection
    rows: int = 0


class Episodes:
    """The episodes of this install, all programs together. One process changes them: whoever holds the run's lock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- reading ---

    def everybody(self) -> Iterator[Episode]:
        """Every episode, by contact (in the order of the ids' bytes), each contact's newest first.

        Read some thousands at a time, so that memory is flat and no transaction stays open between them; all episodes
        of one contact are of one moment.
        """
        query = sa.select(*_RAW).order_by(*_NEWEST_FIRST)

        def fetch(after: str, size: int) -> Sequence[sa.Row[Any]]:
            with self._database.read() as connection:
                return connection.execute(query.where(episodes.c.contact_id > after).limit(size)).all()

        for rows in whole_groups(fetch, key=_FIELDS.index("contact_id"), size=_PAGE):
            yield from self._loaded(rows)

    def standing(self) -> Iterator[Standing]:
        """How every episode stands, in no order: what tells who needs a closer look. All pages are of one moment.

        A transaction stays open until the last one is read: to be read at once.
        """
        with self._database.read() as connection:
            yield from standing(connection, size=_PAGE)

    def open_spells(self) -> list[tuple[str, datetime, date]]:
        """(contact_id, entered_at, spell_started_on) of every open episode: what the warehouse measures from."""
        query = sa.select(episodes.c.contact_id, raw(episodes.c.entered_at), raw(episodes.c.spell_started_on))
        with self._database.read() as connection:
            rows = connection.execute(query.where(episodes.c.exited_at.is_(None))).all()
        entered = each_once([row[1] for row in rows], moment)
        started = each_once([row[2] for row in rows], day)
        return [(row[0], at, on) for row, at, on in zip(rows, entered, started, strict=True)]

    def of(self, contact_id: str) -> list[Episode]:
        """This contact's episodes, newest first."""
        return self._select(episodes.c.contact_id == contact_id)

    def about(self, contacts: Iterable[str]) -> list[Episode]:
        """All episodes of these contacts, by contact, each one's newest first."""
        found: list[Episode] = []
        for chunk in in_chunks(sorted(set(contacts)), _CHUNK):
            found += self._select(episodes.c.contact_id.in_(self._database.ids(chunk)))
        return found

    def get(self, episode_id: str) -> Episode | None:
        """The episode of this id, None if there is none."""
        found = self._select(episodes.c.episode_id == episode_id)
        return found[0] if found else None

    def steps(self, episode_id: str) -> list[StepTaken]:
        """What was taken and skipped in this episode, in order."""
        query = sa.select(episode_steps).where(episode_steps.c.episode_id == episode_id)
        with self._database.read() as connection:
            return [_step(row) for row in connection.execute(query.order_by(episode_steps.c.number))]

    def touches(self, since: datetime, contacts: Collection[str] | None = None) -> dict[str, list[datetime]]:
        """When each contact is or was touched, newest first, from this moment on (and in the future).

        A step that was undone still counts when it had been written and its moment had come: the mail may be out.

        Args:
            since: From when on.
            contacts: Only these; None: everybody.
        """
        step, counts = episode_steps.c, _counts_as_touch()
        query = sa.select(step.contact_id, raw(step.send_at)).where(step.send_at >= since, step.arm != HOLDOUT, counts)
        rows = self._about(query.order_by(step.send_at.desc()), contacts)
        found: dict[str, list[datetime]] = {}
        for (contact_id, _), at in zip(rows, each_once([row[1] for row in rows], moment), strict=True):
            found.setdefault(contact_id, []).append(at)
        return found

    def touched_alone(self) -> list[str]:
        """Contacts with a step in the log who have no episode any more, open or ended."""
        query = sa.select(episode_steps.c.contact_id).except_(sa.select(episodes.c.contact_id))
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def sent(self, since: datetime, contacts: Collection[str] | None = None) -> Iterator[tuple[str, str, datetime]]:
        """(contact_id, program, when) of every touch that reached the CRM from this moment on; of these contacts."""
        step = episode_steps.c
        query = sa.select(step.contact_id, episodes.c.program, raw(step.send_at)).join(
            episodes, episodes.c.episode_id == step.episode_id
        )
        rows = self._about(query.where(*_reached(since)), contacts)
        ids, programs, times = zip(*rows, strict=True) if rows else ((), (), ())
        return zip(ids, programs, each_once(times, moment), strict=True)

    def sent_counts(self, since: datetime, programs: Sequence[str]) -> dict[str, int]:
        """How many touches of each of these programs reached the CRM from this moment on, where there are any."""
        of_program = (episode_steps.c.episode_id.startswith(f"{name}/", autoescape=True) for name in programs)
        numbers = [sa.func.count().filter(condition) for condition in of_program]
        if not numbers:
            return {}
        with self._database.read() as connection:
            row = connection.execute(sa.select(*numbers).where(*_reached(since))).one()
        return {name: number for name, number in zip(programs, row, strict=True) if number}

    def _about(self, query: sa.Select[Any], contacts: Collection[str] | None) -> list[Any]:
        """The steps of this query: everybody's, or those of these contacts, so many at a time."""
        with self._database.read() as connection:
            if contacts is None:
                return list(connection.execute(query).all())
            found: list[Any] = []
            for chunk in in_chunks(contacts, _CHUNK):
                mine = query.where(episode_steps.c.contact_id.in_(self._database.ids(chunk)))
                found += connection.execute(mine).all()
            return found

    def touches_decided(self, start: datetime, end: datetime) -> int:
        """Touches decided from `start` until before `end`."""
        step = episode_steps.c
        chosen = (step.at >= start, step.at < end, _counts_as_touch(), step.arm != HOLDOUT)
        return self._count(sa.select(sa.func.count()).select_from(episode_steps).where(*chosen))

    def entered(self, start: datetime, end: datetime) -> int:
        """Treated contacts entered from `start` until before `end`."""
        chosen = (episodes.c.entered_at >= start, episodes.c.entered_at < end, episodes.c.arm != HOLDOUT)
        return self._count(sa.select(sa.func.count()).select_from(episodes).where(*chosen))

    def counts(self) -> dict[str, ProgramCounts]:
        """How each program stands, by name."""
        episode = episodes.c
        is_open = episode.exited_at.is_(None)
        keys = (episode.program, episode.arm, episode.step, episode.step_state, episode.exit_reason)
        query = sa.select(*keys, is_open.label("open"), sa.func.count().label("number")).group_by(*keys, is_open)
        found: dict[str, ProgramCounts] = {}
        with self._database.read() as connection:
            for row in connection.execute(query.order_by(*keys)):
                counts = found.setdefault(row.program, ProgramCounts())
                if not row.open:
                    counts.exits[row.exit_reason] += row.number
                    continue
                counts.by_arm[row.arm] += row.number
                if row.arm == TREATED:
                    counts.by_step[row.step or ""] += row.number
                    counts.by_state[row.step_state or ""] += row.number
        return found

    def version(self) -> str:
        """A text that changes whenever a decision about anybody does: what a plan was made from."""
        query = sa.select(versions.c.number).where(versions.c.name == EPISODES)
        with self._database.read() as connection:
            return str(connection.execute(query).scalar() or 0)

    def splits(self) -> dict[str, Split]:
        """How each program is split, by name."""
        with self._database.read() as connection:
            return {
                row.program: Split(share=row.share, unit=row.unit, salt=row.salt, eligible=row.eligible)
                for row in connection.execute(sa.select(program_splits).order_by(program_splits.c.program))
            }

    # --- changing ---

    def enter(self, entries: Sequence[Entry], *, run_id: str) -> int:
        """Open these episodes and return how many are new; one that exists, open or ended, stays as it is."""
        insert = leave_taken(self._database.insert(episodes))
        with self._changing() as change:
            for chunk in in_chunks(entries, _CHUNK):
                rows = [_opened(entry.episode, run_id) for entry in chunk]
                change.rows += change.connection.execute(insert, rows).rowcount
        return change.rows

    def move(self, moves: Sequence[Move], *, run_id: str) -> tuple[str, ...]:
        """Log these steps, issue their codes, and make each the newest of its episode; safe to repeat.

        A step that is logged already stays as it is. A step of an episode that has ended is not taken: those episodes
        are returned, and nothing may be written for them.

        Raises:
            StateError: An episode does not exist, or a code has been given to somebody else.
        """
        ended: set[str] = set()
        with self._changing() as change:
            for chunk in in_chunks(moves, _CHUNK):
                gone, fresh = take(self._database, change.connection, chunk, run_id)
                ended |= gone
                change.rows += fresh
        return tuple(sorted(ended))

    def exit(self, exits: Sequence[Exit], *, run_id: str) -> int:
        """Close these episodes and return how many were open; the first reason stays."""
        with self._changing() as change:
            change.rows = leave(change.connection, exits, run_id)
        return change.rows

    def rekey(self, moved: Mapping[str, str]) -> int:
        """Let episodes, codes and answers follow people who were merged, by old id; returns how many episodes did.

        Ids of episodes stay. Of two open episodes of one program the merged person's is closed as `merged`.
        """
        with self._changing() as change:
            change.rows = merge(self._database, change.connection, moved)
        return change.rows

    def remembered(self, systems: Collection[str]) -> set[str]:
        """Contacts of these systems of whom the journal remembers anything that follows a merge."""
        with self._database.read() as connection:
            return remembered(connection, systems)

    def undo(self, run_id: str, at: datetime) -> Undone:
        """Take back what this run entered, decided and ended, as far as nothing that reached the CRM is forgotten.

        Episodes it entered are deleted when none of their steps was written, else closed as `undone`. Its steps of
        other episodes become `undone`. Episodes it ended are open again, unless the contact has another open one.
        """
        with self._changing() as change:
            undone = take_back(self._database, change.connection, run_id, at)
            change.rows = sum(astuple(undone))
        return undone

    def fix_splits(self, splits: Mapping[str, Split]) -> None:
        """Fix how programs are split; one that is fixed already never changes."""
        rows = [
            {
                "program": program,
                "share": split.share,
                "unit": split.unit,
                "salt": split.salt,
                "eligible": split.eligible,
                "fixed_at": self._database.clock.now(),
            }
            for program, split in splits.items()
        ]
        if rows:
            with self._database.write() as connection:
                connection.execute(leave_taken(self._database.insert(program_splits)), rows)

    # --- how ---

    def _select(self, chosen: sa.ColumnElement[bool]) -> list[Episode]:
        query = sa.select(*_RAW).where(chosen).order_by(*_NEWEST_FIRST)
        with self._database.read() as connection:
            return self._loaded(connection.execute(query).all())

    def _loaded(self, rows: Sequence[sa.Row[Any]]) -> list[Episode]:
        """Rows of the driver's values, in the order of the fields, as episodes; turned column by column."""
        if not rows:
            return []
        columns: dict[str, Iterable[Any]] = dict(zip(_FIELDS, zip(*rows, strict=True), strict=True))
        for name in _MOMENTS:
            columns[name] = each_once(columns[name], moment)
        columns["spell_started_on"] = each_once(columns["spell_started_on"], day)
        columns["answered"] = map(bool, columns["answered"])
        columns["values"] = parsed(columns["values"])
        columns["consent"] = each_once(columns["consent"], json.loads)
        return made(Episode, columns)

    def _count(self, query: sa.Select[int]) -> int:
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    @contextmanager
    def _changing(self) -> Iterator[_Change]:
        """A transaction that moves the version on if it changed any rows."""
        with self._database.write() as connection:
            change = _Change(connection)
            yield change
            if change.rows:
                move_on(self._database, connection, EPISODES)


def _counts_as_touch() -> sa.ColumnElement[bool]:
    """Steps that touch the contact: not undone, or undone after the mail may have gone out."""
    step = episode_steps.c
    gone_out = sa.and_(step.state == "undone", step.written_at.is_not(None), step.send_at <= step.undone_at)
    return sa.or_(step.state.in_(("decided", "written")), gone_out)


def _reached(since: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    """Steps whose touch reached the CRM from this moment on."""
    step = episode_steps.c
    return step.send_at >= since, step.arm != HOLDOUT, step.written_at.is_not(None)


def _opened(episode: Episode, run_id: str) -> dict[str, Any]:
    """The row of an episode that begins: what is known at entry, and nothing of any step."""
    return {
        "episode_id": episode.episode_id,
        "contact_id": episode.contact_id,
        "program": episode.program,
        "spell_started_on": episode.spell_started_on,
        "entered_at": episode.entered_at,
        "entered_as": episode.entered_as,
        "arm": episode.arm,
        "unit": episode.unit,
        "stratum": episode.stratum,
        "share": episode.share,
        "properties": {},
        "touches": 0,
        "answered": False,
        "outcome_until": episode.outcome_until,
        "account_id": episode.account_id,
        "return_probability": episode.return_probability,
        "consent": dict(episode.consent),
        "run_id": run_id,
    }


def _step(row: sa.Row[Any]) -> StepTaken:
    known = {f.name: getattr(row, f.name) for f in fields(StepTaken) if f.name != "values"}
    return StepTaken(values=row.properties, **known)

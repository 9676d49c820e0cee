"""Segments at the end of a day: who is in, what overlaps, what changed since the evaluation recorded last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import combinations
from typing import TYPE_CHECKING, Any

from connector.errors import StateError
from connector.rules import sql_files
from connector.warehouse import features, gathering, said_no
from connector.warehouse.answers import Checked, Evaluation
from connector.warehouse.database import Database, case_of, literal
from connector.warehouse.features import Made
from connector.warehouse.gathering import Asked, Assigned
from connector.warehouse.said_no import Heard
from connector.warehouse.shortlist import Shortlist

if TYPE_CHECKING:
    import pyarrow as pa

ASSIGNED = "assigned_segments"
MEMBERS = "segment_members"
NOT_PEOPLE_TO_WRITE = "deleted_at IS NOT NULL OR opted_out OR bounced"


class Evaluator:
    """Evaluates segments and remembers the last evaluation of this process, until it is recorded."""

    def __init__(self, database: Database, made: Made) -> None:
        self._database = database
        self._made = made
        self._heard = Heard()
        self._as_of: date | None = None
        self._segments: Sequence[Checked] = ()
        self._together: Sequence[tuple[int | None, ...]] = ()

    def evaluate(self, segments: Sequence[Checked], as_of: date) -> Evaluation:
        """Assign every contact its segment in every group, and count."""
        database = self._database
        features.measure(database, as_of, self._made)
        self._as_of, self._segments = as_of, tuple(segments)
        database.execute(f"CREATE OR REPLACE TEMP TABLE {ASSIGNED} AS {self.sql(segments, as_of)}")
        self._make_members()
        counts = self._combinations()
        self._together = sorted((slots for slots, _ in counts), key=lambda slots: [number or 0 for number in slots])
        numbers = {s.segment.name: number for number, s in enumerate(segments, start=1)}
        entered, left = self._changes(numbers)
        names = {number: name for name, number in numbers.items()}
        sizes: Counter[int] = Counter()
        pairs: Counter[tuple[int, int]] = Counter()
        for combination, n in counts:
            there = sorted(number for number in combination if number is not None)
            sizes.update(dict.fromkeys(there, n))
            pairs.update(dict.fromkeys(combinations(there, 2), n))
        return Evaluation(
            as_of=as_of,
            contacts=sum(n for _, n in counts),
            counts={name: sizes[number] for name, number in numbers.items()},
            entered=entered,
            left=left,
            overlaps=tuple((names[a], names[b], n) for (a, b), n in sorted(pairs.items())),
        )

    def sql(self, segments: Sequence[Checked], as_of: date) -> str:
        """The statement that decides: contact_key, inactive_days and one segment number per group."""
        wanted = {"inactive_days"}
        for checked in segments:
            wanted |= {features.relation_name(name) for name in checked.condition.columns}
        return sql_files.render(
            "segments",
            choices=_choices(segments),
            features=features.relation(self._database, as_of, sorted(wanted)),
        )

    def _make_members(self) -> None:
        """Make `segment_members` (segment, group_name, contact_id) as a view over the assignment."""
        parts = [
            f"SELECT s.segment, {literal(group)} AS group_name, a.contact_key FROM {ASSIGNED} AS a "
            f"JOIN (VALUES {case_of(numbers)}) AS s(segment, number) ON s.number = a.{_slot(place)}"
            for place, (group, numbers) in enumerate(_groups(self._segments).items())
        ]
        rows = " UNION ALL ".join(parts) or "SELECT NULL::VARCHAR, NULL::VARCHAR, NULL::INTEGER WHERE false"
        self._database.execute(
            f"CREATE OR REPLACE TEMP VIEW {MEMBERS} AS SELECT m.segment, m.group_name, c.contact_id "
            f"FROM ({rows}) AS m(segment, group_name, contact_key) JOIN contacts AS c USING (contact_key)"
        )

    def _combinations(self) -> list[tuple[tuple[int | None, ...], int]]:
        """How many contacts have which segments together; few rows, whatever the number of contacts."""
        slots = [_slot(place) for place in range(len(_groups(self._segments)))]
        columns = "".join(f"{slot}, " for slot in slots)
        rows = self._database.rows(f"SELECT {columns}count(*) FROM {ASSIGNED} GROUP BY ALL")
        return [(tuple(row[:-1]), int(row[-1])) for row in rows]

    def _numbered(self) -> str:
        """SQL for (segment number, contact_key) of every membership."""
        slots = [_slot(place) for place in range(len(_groups(self._segments)))]
        parts = [f"SELECT {slot} AS segment, contact_key FROM {ASSIGNED} WHERE {slot} IS NOT NULL" for slot in slots]
        return " UNION ALL ".join(parts) or "SELECT 0 AS segment, 0 AS contact_key WHERE false"

    def _changes(self, numbers: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
        entered, left = dict.fromkeys(numbers, 0), dict.fromkeys(numbers, 0)
        if not numbers:
            return entered, left
        before = (
            f"SELECT s.number::SMALLINT AS segment, r.contact_key FROM recorded_members AS r "
            f"JOIN (VALUES {case_of(numbers)}) AS s(segment, number) ON s.segment = r.segment"
        )
        names = {number: name for name, number in numbers.items()}
        changes = sql_files.render("segment_changes", now=f"({self._numbered()})", before=f"({before})")
        for number, arrived, departed in self._database.rows(changes):
            entered[names[number]], left[names[number]] = arrived, departed
        return entered, left

    def record(self, as_of: date) -> None:
        """Keep the last evaluation as the one the next is compared with, and the size of every source with it."""
        database = self._database
        self._require(as_of)
        numbers = {s.segment.name: number for number, s in enumerate(self._segments, start=1)}
        with database.transaction():
            database.execute("DELETE FROM recorded_members")
            if numbers:
                database.execute(
                    f"INSERT INTO recorded_members SELECT s.segment, m.contact_key FROM ({self._numbered()}) AS m "
                    f"JOIN (VALUES {case_of(numbers)}) AS s(segment, number) ON s.number = m.segment"
                )
            database.execute("UPDATE stream_stats SET previous_rows = rows")
            database.set_meta("recorded_as_of", as_of.isoformat())

    def members(self, as_of: date) -> pa.Table:
        """contact_id, inactive_days, group_name, segment: one row per contact and group, NULL where none matches."""
        self._require(as_of)
        groups = _groups(self._segments)
        none = "NULL::VARCHAR"
        parts = [
            f"SELECT c.contact_id, a.inactive_days, {place} AS place, {literal(group)} AS group_name, s.segment "
            f"FROM {ASSIGNED} AS a JOIN contacts AS c USING (contact_key) "
            f"LEFT JOIN (VALUES {case_of(numbers)}) AS s(segment, number) ON s.number = a.{_slot(place)}"
            for place, (group, numbers) in enumerate(groups.items())
        ] or [
            f"SELECT contact_id, inactive_days, 0 AS place, {none} AS group_name, {none} AS segment "  # noqa: ISC004
            f"FROM {ASSIGNED} JOIN contacts USING (contact_key)"
        ]
        return self._database.arrow(
            f"SELECT contact_id, inactive_days, group_name, segment FROM ({' UNION ALL '.join(parts)}) "
            "ORDER BY place, contact_id"
        )

    def people(self, as_of: date, asked: Asked) -> Iterator[dict[str, Any]]:
        """Everybody a plan may have to do with: see `gathering.people`."""
        return gathering.people(self._database, self._made, self._heard, self._assigned(as_of), asked)

    def shortlist(self, as_of: date, asked: Asked) -> Shortlist:
        """The same people, most of whom need not be handed over one by one."""
        assigned = self._assigned(as_of)
        gathering.gather(self._database, self._made, self._heard, assigned, asked, in_line=False)
        return Shortlist(self._database, self._made, assigned, asked)

    def _assigned(self, as_of: date) -> Assigned:
        self._require(as_of)
        return Assigned(
            as_of=as_of,
            table=ASSIGNED,
            slots=[_slot(place) for place in range(len(_groups(self._segments)))],
            together=self._together,
            names=[checked.segment.name for checked in self._segments],
        )

    def flags(self, contact_ids: Sequence[str]) -> list[dict[str, Any]]:
        """What may keep these contacts off a list, as known now."""
        return said_no.flags(self._database, self._heard, contact_ids)

    def reachable(self, as_of: date, system: str | None = None) -> int:
        """How many contacts may be written at all: not deleted, opted out or bounced."""
        columns = ["deleted_at", "opted_out", "bounced"]
        features.measure(self._database, as_of, self._made)
        within = ""
        if system is not None:
            columns.append("contact_id")
            there = f"SELECT into_key FROM same_person WHERE system = {literal(system)}"
            within = f" AND (starts_with(contact_id, {literal(system + ':')}) OR contact_key IN ({there}))"
        sql = features.relation(self._database, as_of, columns)
        return self._database.count(f"SELECT count(*) FROM ({sql}) WHERE ({NOT_PEOPLE_TO_WRITE}) IS NOT TRUE{within}")

    def _require(self, as_of: date) -> None:
        if self._as_of != as_of:
            raise StateError(f"nothing was evaluated as of {as_of} yet", hint="evaluate before asking for members")


def _groups(segments: Sequence[Checked]) -> dict[str, dict[str, int]]:
    """Each group with its segments' names and numbers, in the playbook's order."""
    groups: dict[str, dict[str, int]] = {}
    for number, checked in enumerate(segments, start=1):
        groups.setdefault(checked.segment.group_name, {})[checked.segment.name] = number
    return groups


def _slot(place: int) -> str:
    return f"group_{place}"


def _choices(segments: Sequence[Checked]) -> str:
    conditions = {checked.segment.name: checked.condition.sql for checked in segments}
    choices = []
    for place, numbers in enumerate(_groups(segments).values()):
        whens = " ".join(f"WHEN {conditions[name]} THEN {number}" for name, number in numbers.items())
        choices.append(f"CASE {whens} END::SMALLINT AS {_slot(place)}")
    return ", ".join(choices)

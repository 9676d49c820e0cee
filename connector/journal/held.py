"""What we believe a destination holds because of us: lists, members, properties; a plan's `current`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from connector.journal.confirming import Confirming
from connector.journal.engine import Database, leave_taken
from connector.journal.loading import in_chunks
from connector.journal.tables import (
    canonical,
    dumps,
    held_lists,
    held_members,
    held_properties,
    held_property_names,
    held_versions,
)

_CHUNK = 10_000
_SEPARATOR = "\x1f"

_MINE = sa.bindparam("mine", type_=sa.Text)
_VERSION = sa.select(held_versions).where(held_versions.c.destination == _MINE).with_for_update()
_MOVE_ON = sa.update(held_versions).where(held_versions.c.destination == _MINE)


@dataclass(frozen=True, slots=True)
class Holding:
    """What one record holds because of us: the names its memberships go by in the books, and values by property."""

    targets: frozenset[str] = frozenset()
    values: Mapping[str, str | None] = field(default_factory=dict)


class HeldWriter:
    """Changes to what one destination holds, inside the caller's transaction.

    The first change takes the destination's version for itself, so that two processes cannot interleave; the last
    word is `seal()`, which moves the version on if anything really changed. A `quiet` writer leaves it where it is:
    plans made before stay valid.
    """

    def __init__(self, database: Database, connection: sa.Connection, destination: str, *, quiet: bool = False) -> None:
        self._database = database
        self._connection = connection
        self._destination = destination
        self._quiet = quiet
        self._changes: list[str] = []
        mine = {"mine": destination}
        version = connection.execute(_VERSION, mine).one_or_none()
        if version is None:
            first = {"destination": destination, "number": 0, "digest": ""}
            database.insert_new(connection, database.insert(held_versions).values(first))
            version = connection.execute(_VERSION, mine).one()
        self._version = version

    def add_members(self, name: str, row_ids: Sequence[str]) -> None:
        """These records are on the list now."""
        if not row_ids:
            return
        self._change_members(_adding, "add", name, row_ids)

    def remove_members(self, name: str, row_ids: Sequence[str]) -> None:
        """These records are no longer on the list."""
        if not row_ids:
            return
        self._change_members(_removing, "remove", name, row_ids)

    def set_list(self, name: str, list_id: str) -> None:
        """The list of this name has this id now."""
        mine = (held_lists.c.destination == self._destination, held_lists.c.name == name)
        if self._connection.execute(sa.select(held_lists.c.list_id).where(*mine)).scalar() != list_id:
            row = {"destination": self._destination, "name": name, "list_id": list_id}
            self._database.upsert(self._connection, held_lists, [row])
            self._note(1, "list", name, [list_id])

    def drop_list(self, name: str) -> None:
        """The list is gone, and with it its members."""
        members = sa.delete(held_members).where(
            held_members.c.destination == self._destination, held_members.c.list_name == name
        )
        lists = sa.delete(held_lists).where(held_lists.c.destination == self._destination, held_lists.c.name == name)
        dropped = self._connection.execute(members).rowcount + self._connection.execute(lists).rowcount
        self._note(dropped, "drop list", name, [])

    def set_property_name(self, name: str) -> None:
        """The property exists now, as we need it."""
        row = {"destination": self._destination, "name": name}
        insert = self._database.insert(held_property_names).values(row)
        self._note(self._database.insert_new(self._connection, insert), "property", name, [])

    def drop_property_name(self, name: str) -> None:
        """The property is gone, and with it its values."""
        there = sa.and_(held_property_names.c.destination == self._destination, held_property_names.c.name == name)
        dropped = self._connection.execute(sa.delete(held_property_names).where(there)).rowcount
        self._note(dropped, "drop property", name, [])
        for rows in list(_property_chunks(self._connection, self._destination)):
            left = {row_id: _without(values, name) for row_id, values in rows.items() if name in values}
            self.replace_properties(left)

    def merge_properties(self, rows: Mapping[str, Mapping[str, str | None]]) -> None:
        """These properties have these values now; the rows' other properties keep theirs."""
        if not rows:
            return
        before = self._properties_of(list(rows))
        self._store_properties(
            before, {row_id: {**before.get(row_id, {}), **values} for row_id, values in rows.items()}
        )

    def replace_properties(self, rows: Mapping[str, Mapping[str, str | None]]) -> None:
        """These rows hold exactly these values now; an empty row is no longer held."""
        if not rows:
            return
        self._store_properties(self._properties_of(list(rows)), rows)

    def drop_all_properties(self, *, but: Collection[str]) -> None:
        """Rows other than these are no longer held."""
        mine = sa.select(held_properties.c.row_id).where(held_properties.c.destination == self._destination)
        gone = set(self._connection.execute(mine).scalars()).difference(but)
        self.replace_properties({row_id: {} for row_id in gone})

    def seal(self) -> None:
        """Move the version on if anything changed: same history, same version."""
        if self._quiet or not self._changes:
            return
        digest = hashlib.sha256("\n".join([self._version.digest, *self._changes]).encode()).hexdigest()
        next_version = {"mine": self._destination, "number": self._version.number + 1, "digest": digest}
        self._connection.execute(_MOVE_ON, next_version)

    def _change_members(
        self, make: Callable[[Database], sa.Insert | sa.Delete], what: str, name: str, row_ids: Sequence[str]
    ) -> None:
        values = {"mine": self._destination, "list": name, "ids": dumps(list(row_ids))}
        self._note(self._connection.execute(self._database.prepared(make), values).rowcount, what, name, row_ids)

    def _properties_of(self, row_ids: Sequence[str]) -> dict[str, dict[str, str | None]]:
        mine = held_properties.c.destination == self._destination
        chosen = held_properties.c.row_id.in_(self._database.ids(row_ids))
        query = sa.select(held_properties.c.row_id, held_properties.c.properties).where(mine, chosen)
        return _decoded(self._connection.execute(query).all())

    def _store_properties(
        self, before: Mapping[str, Mapping[str, str | None]], after: Mapping[str, Mapping[str, str | None]]
    ) -> None:
        changed = {row_id: values for row_id, values in after.items() if dict(values) != before.get(row_id, {})}
        kept = {row_id: canonical(dict(values)) for row_id, values in changed.items() if values}
        rows = [
            {"destination": self._destination, "row_id": row_id, "properties": text} for row_id, text in kept.items()
        ]
        self._database.upsert(self._connection, held_properties, rows)
        gone = [row_id for row_id in changed if row_id not in kept]
        if gone:
            mine = held_properties.c.destination == self._destination
            chosen = held_properties.c.row_id.in_(self._database.ids(gone))
            self._connection.execute(sa.delete(held_properties).where(mine, chosen))
        self._note(len(changed), "set", "", [*kept.values(), *kept, *gone])

    def _note(self, changed: int, what: str, name: str, row_ids: Sequence[str]) -> None:
        if changed:
            self._changes.append(_SEPARATOR.join([what, name, *row_ids]))


def _adding(database: Database) -> sa.Insert:
    """These records are on this list now, some maybe before."""
    ids = database.ids_given_later().subquery()
    rows = sa.select(_MINE, sa.bindparam("list", type_=sa.Text), ids.c[0]).where(sa.true())
    return leave_taken(database.insert(held_members).from_select(["destination", "list_name", "row_id"], rows))


def _removing(database: Database) -> sa.Delete:
    """These records are not on this list any more."""
    there = (held_members.c.destination == _MINE, held_members.c.list_name == sa.bindparam("list", type_=sa.Text))
    return sa.delete(held_members).where(*there, held_members.c.row_id.in_(database.ids_given_later()))


class Held:
    """What each destination holds because of us. Values that were cleared are kept as None."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def members(self, destination: str) -> dict[str, set[str]]:
        """Record ids by list name; lists that are known and empty are there too."""
        collect = sa.func.json_group_array if self._database.is_sqlite else sa.func.json_agg
        packed = sa.cast(collect(held_members.c.row_id), sa.Text)
        query = sa.select(held_members.c.list_name, packed).where(held_members.c.destination == destination)
        with self._database.read() as connection:
            empty: dict[str, set[str]] = {name: set() for name in _lists(connection, destination)}
            # One packed value a list: a million members cost one row here, not a million.
            full = {name: set(json.loads(ids)) for name, ids in connection.execute(query.group_by("list_name"))}
        return empty | full

    def properties(self, destination: str) -> dict[str, dict[str, str | None]]:
        """Values by record id."""
        with self._database.read() as connection:
            return {row_id: row for rows in _property_chunks(connection, destination) for row_id, row in rows.items()}

    def of(self, destination: str, row_ids: Collection[str]) -> dict[str, Holding]:
        """What these records hold because of us, by record id; who holds nothing is left out."""
        members: dict[str, set[str]] = {}
        values: dict[str, dict[str, str | None]] = {}
        with self._database.read() as connection:
            names = list(_names(connection, destination))
            for chunk in in_chunks(sorted(set(row_ids)), _CHUNK):
                ids = self._database.ids(chunk)
                # By name too: the key begins with it, and a few lookups do what would else read all members.
                on = sa.select(held_members.c.row_id, held_members.c.list_name).where(
                    held_members.c.destination == destination,
                    held_members.c.list_name.in_(names),
                    held_members.c.row_id.in_(ids),
                )
                for row_id, name in connection.execute(on):
                    members.setdefault(row_id, set()).add(name)
                mine = sa.select(held_properties.c.row_id, held_properties.c.properties).where(
                    held_properties.c.destination == destination, held_properties.c.row_id.in_(ids)
                )
                values |= _decoded(connection.execute(mine).all())
        return {
            row_id: Holding(frozenset(members.get(row_id, ())), values.get(row_id, {}))
            for row_id in {*members, *values}
        }

    def lists(self, destination: str) -> dict[str, str]:
        """List ids by name."""
        with self._database.read() as connection:
            return _lists(connection, destination)

    def property_names(self, destination: str) -> set[str]:
        """Properties that exist because we made or found them."""
        mine = held_property_names.c.destination == destination
        with self._database.read() as connection:
            return set(connection.execute(sa.select(held_property_names.c.name).where(mine)).scalars())

    def version(self, destination: str) -> str:
        """A text that changes with any change of the above and with nothing else."""
        chosen = sa.select(held_versions).where(held_versions.c.destination == destination)
        with self._database.read() as connection:
            row = connection.execute(chosen).one_or_none()
        return f"{row.number}-{row.digest[:16]}" if row is not None and row.number else "0"

    def replace_members(self, destination: str, name: str, ids: Collection[str]) -> None:
        """The list was read back: it holds exactly these records; steps that waited for it are written."""
        wanted = set(ids)
        there = (held_members.c.destination == destination, held_members.c.list_name == name)
        with self._database.write() as connection:
            writer = HeldWriter(self._database, connection, destination)
            held = set(connection.execute(sa.select(held_members.c.row_id).where(*there)).scalars())
            writer.remove_members(name, sorted(held - wanted))
            writer.add_members(name, sorted(wanted - held))
            Confirming(self._database, connection, destination).read_back(name, wanted, self._database.clock.now())
            writer.seal()

    def replace_properties(
        self, destination: str, rows: Mapping[str, Mapping[str, str | None]], *, complete: bool = False
    ) -> None:
        """Rows were read back: they hold exactly these values, and an empty row holds nothing.

        complete: Rows that are not given hold nothing either; otherwise they stay as they are.
        """
        with self._database.write() as connection:
            writer = HeldWriter(self._database, connection, destination)
            if complete:
                writer.drop_all_properties(but=rows.keys())
            writer.replace_properties(dict(sorted(rows.items())))
            writer.seal()

    def replace_lists(self, destination: str, lists: Mapping[str, str]) -> None:
        """The destination was asked: of our lists it has exactly these, by name; others are gone with their members."""
        with self._database.write() as connection:
            writer = HeldWriter(self._database, connection, destination)
            for name in sorted(_lists(connection, destination).keys() - lists.keys()):
                writer.drop_list(name)
            for name, list_id in sorted(lists.items()):
                writer.set_list(name, list_id)
            writer.seal()

    def replace_property_names(self, destination: str, names: Collection[str]) -> None:
        """The destination was asked: of our properties it has exactly these; others are gone with their values."""
        with self._database.write() as connection:
            writer = HeldWriter(self._database, connection, destination)
            mine = held_property_names.c.destination == destination
            held = set(connection.execute(sa.select(held_property_names.c.name).where(mine)).scalars())
            for name in sorted(held.difference(names)):
                writer.drop_property_name(name)
            for name in sorted(set(names) - held):
                writer.set_property_name(name)
            writer.seal()


def _lists(connection: sa.Connection, destination: str) -> dict[str, str]:
    query = sa.select(held_lists.c.name, held_lists.c.list_id).where(held_lists.c.destination == destination)
    return {row.name: row.list_id for row in connection.execute(query.order_by(held_lists.c.name))}


def _names(connection: sa.Connection, destination: str) -> Iterator[str]:
    """The names memberships go by, one look-up each however many members there are."""
    mine = sa.select(sa.func.min(held_members.c.list_name)).where(held_members.c.destination == destination)
    name: str | None = connection.execute(mine).scalar()
    while name is not None:
        yield name
        name = connection.execute(mine.where(held_members.c.list_name > name)).scalar()


def _property_chunks(connection: sa.Connection, destination: str) -> Iterator[dict[str, dict[str, str | None]]]:
    """All rows of a destination, some thousands at a time."""
    query = sa.select(held_properties.c.row_id, held_properties.c.properties)
    mine = query.where(held_properties.c.destination == destination)
    for rows in connection.execute(mine.execution_options(yield_per=_CHUNK)).partitions():
        yield _decoded(rows)


def _decoded(rows: Sequence[tuple[Any, Any]]) -> dict[str, dict[str, str | None]]:
    """Rows of (row_id, properties) as values by id; one call of the JSON parser for all."""
    values: list[dict[str, str | None]] = json.loads(f"[{','.join(text for _, text in rows)}]")
    return {row_id: value for (row_id, _), value in zip(rows, values, strict=True)}


def _without(values: Mapping[str, str | None], name: str) -> dict[str, str | None]:
    return {key: value for key, value in values.items() if key != name}

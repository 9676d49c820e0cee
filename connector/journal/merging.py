"""Merges: what we remember of a person follows them to the contact that is left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

import sqlalchemy as sa

from connector.journal.engine import Database
from connector.journal.live_tables import asks, facts, inbox, known, outbox, replies, stops
from connector.journal.loading import in_chunks
from connector.journal.program_tables import coupons, episode_steps, episodes, feedback, link_subjects

_CHUNK = 5_000
_FOLLOW = (
    *(episodes, episode_steps, coupons, feedback, link_subjects),
    *(inbox, outbox, facts, stops, asks, replies, known),
)


def survivors(moved: Mapping[str, str]) -> dict[str, str]:
    """Old id → the id that is left in the end, where merges followed on merges."""
    return {old: last for old in moved if (last := _last(old, moved)) != old}


def merge(database: Database, connection: sa.Connection, moved: Mapping[str, str]) -> int:
    """Re-key everything of the people who were merged, in the caller's transaction; how many episodes followed."""
    finally_at = survivors(moved)
    followed = 0
    for chunk in in_chunks(sorted(finally_at), _CHUNK):
        there = _having_anything(database, connection, chunk)
        if not there:
            continue
        _close_doubles(database, connection, {old: finally_at[old] for old in there})
        rows = [{"old": old, "contact_id": finally_at[old]} for old in there]
        for table in _FOLLOW:
            update = sa.update(table).where(table.c.contact_id == sa.bindparam("old"))
            changed = connection.execute(update.execution_options(preserve_rowcount=True), rows).rowcount
            followed += changed if table is episodes else 0
    return followed


def remembered(connection: sa.Connection, systems: Collection[str]) -> set[str]:
    """Contacts whose ids begin with one of these systems, and of whom we remember anything."""
    found: set[str] = set()
    for table in _FOLLOW:
        mine = [sa.and_(table.c.contact_id >= f"{name}:", table.c.contact_id < f"{name};") for name in systems]
        if mine:
            found.update(connection.execute(sa.select(table.c.contact_id).where(sa.or_(*mine)).distinct()).scalars())
    return {contact_id for contact_id in found if contact_id.partition(":")[0] in systems}


def _last(old: str, moved: Mapping[str, str]) -> str:
    seen = {old}
    while (new := moved.get(old)) is not None and new not in seen:
        seen.add(new)
        old = new
    return old


def _having_anything(database: Database, connection: sa.Connection, contact_ids: list[str]) -> list[str]:
    """Those of the contacts of whom we remember anything."""
    found: set[str] = set()
    for table in _FOLLOW:
        chosen = table.c.contact_id.in_(database.ids(contact_ids))
        found.update(connection.execute(sa.select(table.c.contact_id).where(chosen).distinct()).scalars())
    return sorted(found)


def _close_doubles(database: Database, connection: sa.Connection, moved: Mapping[str, str]) -> None:
    """Of several open episodes of one program that come together, the survivor's own stays, else the oldest."""
    episode = episodes.c
    query = sa.select(episode.episode_id, episode.contact_id, episode.program, episode.entered_at)
    involved = database.ids(sorted({*moved, *moved.values()}))
    together = defaultdict(list)
    for row in connection.execute(query.where(episode.contact_id.in_(involved), episode.exited_at.is_(None))):
        together[moved.get(row.contact_id, row.contact_id), row.program].append(row)
    doubles = [
        row.episode_id
        for (survivor, _), rows in together.items()
        for row in sorted(rows, key=lambda row: (row.contact_id != survivor, row.entered_at, row.episode_id))[1:]
    ]
    if doubles:
        ended = {"exited_at": database.clock.now(), "exit_reason": "merged"}
        connection.execute(sa.update(episodes).where(episode.episode_id.in_(database.ids(doubles))).values(ended))

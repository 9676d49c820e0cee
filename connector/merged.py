"""Contacts that the CRM merged since we wrote to them: the books follow, so that the survivor is planned for.

HubSpot puts the survivor on the lists of both, and fills its empty properties from the other. A write to the id that
is no more may be refused, or be carried out on the survivor, so none is planned.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from connector.contracts import chunks

if TYPE_CHECKING:
    from connector.contracts import Destination
    from connector.journal.held import Held
    from connector.plan.build import Current, Wanted
    from connector.plan.steps import Values
    from connector.warehouse import Warehouse


def records_merged(warehouse: Warehouse, system: str) -> dict[str, str]:
    """Record ids of this system that are no more, and those of the survivors."""
    prefix = f"{system}:"
    return {away.removeprefix(prefix): now.removeprefix(prefix) for away, now in warehouse.merged(system).items()}


def follow_merges(
    current: Current,
    *,
    merged: Mapping[str, str],
    wanted: Wanted,
    blocked: Collection[str],
    held: Held,
    destination: Destination,
    name: str,
) -> Current:
    """What the CRM holds, with survivors in the place of whoever was merged into them; the books are corrected.

    A survivor who should be on a list is added to be sure, and until then whom it replaces stays in the books: should
    the plan not be carried out, a later one still knows of the merge. One who should not be on it is taken off.

    Args:
        current: What the books say.
        merged: Record ids that are no more, and those of the survivors.
        wanted: What should be.
        blocked: Records that must be on no list.
        held: The books.
        destination: Asked for the survivors' property values.
        name: Its name in the books.
    """
    lists = dict(current.lists)
    for listed, there in current.lists.items():
        members = set(there)
        away = members & merged.keys()
        if not away:
            continue
        joining = wanted.lists.get(listed, {}).keys() - set(blocked)
        taken_off = {merged[row_id] for row_id in away} - joining
        added_first = {row_id for row_id in away if merged[row_id] in joining and merged[row_id] not in members}
        lists[listed] = (members - away) | taken_off
        held.replace_members(name, listed, (members - away) | taken_off | added_first)
    gone = current.properties.keys() & merged.keys()
    if not gone:
        return replace(current, lists=lists)
    changed: dict[str, Values] = {row_id: {} for row_id in gone}
    survivors = sorted({merged[row_id] for row_id in gone})
    changed |= _values(destination, survivors, sorted(held.property_names(name)))
    held.replace_properties(name, changed)
    properties = {row_id: row for row_id, row in ({**current.properties, **changed}).items() if row}
    return replace(current, lists=lists, properties=properties)


def _values(destination: Destination, survivors: Sequence[str], names: Sequence[str]) -> dict[str, Values]:
    """The survivors' values as the CRM has them: which record each comes from depends on both."""
    found: dict[str, Values] = {}
    for batch in chunks(survivors, destination.capabilities.properties_per_read):
        there = destination.read_properties(batch, names) if names else {}
        found |= {row_id: there.get(row_id, {}) for row_id in batch}
    return found

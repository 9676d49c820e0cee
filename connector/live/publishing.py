"""What a run leaves for those who never open the warehouse: who is whom, and what its conditions read.

Only of people who are in a segment or in a program, and of their ids and addresses only keyed hashes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from connector.crms import crms_of, destination_systems
from connector.journal.known import AT, EMAIL, EXTERNAL_ID, RECORD
from connector.live.facts_source import NAME, read_upto
from connector.live.hearing import LIVE
from connector.live.people import IdentityKeys
from connector.plain import plain
from connector.program.signals import NOTHING_HAPPENED
from connector.rules.columns import ATTRIBUTE_PREFIXES, COLUMNS

if TYPE_CHECKING:
    from connector.program.model import Episode, Person, Program
    from connector.workspace import Workspace

COLUMNS_SHOWN = "columns"
"""The part of a published decision that pages read: what the conditions look at, as it was, and the language; by the
relation's names.
"""


def identities(workspace: Workspace) -> Iterator[tuple[str, str, str]]:
    """(kind, key, contact_id) of everybody a run is about: for `journal.known.publish`."""
    keys = IdentityKeys.of(workspace)
    hashed: Mapping[str, Callable[[str], str]] = {EXTERNAL_ID: keys.external_id, EMAIL: keys.email, RECORD: str}
    entered = [contact_id for contact_id, _, _ in workspace.journal.episodes.open_spells()]
    several = bool(workspace.playbook.destinations) and crms_of(workspace) is not None
    published: set[str] = set(entered) if several else set()
    for kind, value, contact_id in workspace.warehouse.identities(entered, ours=NAME):
        yield kind, hashed[kind](value), contact_id
        if several:
            published.add(contact_id)
    if several:
        yield from _records(workspace, published)


def _records(workspace: Workspace, contact_ids: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """The records of these people in the CRMs they are not worked in; and of those worked in a later one, their own.

    Their own lead to them still once a CRM before it knows them too: the journal lets them follow.
    """
    first, *later = destination_systems(workspace).values()
    prefixes = tuple(f"{system}:" for system in later)
    for contact_id in sorted(contact_ids):
        if contact_id.startswith(prefixes):
            yield AT, contact_id, contact_id
    for system in (first, *later):
        for found in workspace.warehouse.elsewhere(system):
            if found.main and found.contact_id in contact_ids:
                yield AT, found.record_id, found.contact_id


def shown_columns(workspace: Workspace) -> set[str]:
    """What pages show of somebody, as written in conditions; nothing where nobody listens between runs."""
    playbook = workspace.playbook
    if playbook.webhooks is None:
        return set()
    conditions = [checked.condition for checked in playbook.checked_segments]
    conditions += [condition for program in playbook.programs for condition in program.conditions]
    return {"language", *(name for condition in conditions for name in condition.columns)}


class Beyond:
    """What is published of a person besides segments and program.

    A value that a row does not carry is left out: what judges by it then waits for the next run.
    """

    def __init__(self, workspace: Workspace) -> None:
        programs = workspace.playbook.programs
        self._listening = workspace.playbook.webhooks is not None
        self._upto = read_upto(workspace) if self._listening else 0
        self._ends = {program.name: _ending(program) for program in programs}
        self._shown = sorted(_relation(name) for name in shown_columns(workspace) if _is_plain(name))

    def of(self, person: Person, episode: Episode | None) -> Mapping[str, Any]:
        """The further parts of the person's document; none where nobody listens between runs."""
        if not self._listening:
            return {}
        row = person.row
        values = {column: plain(row[column]) for column in self._shown if row.get(column) is not None}
        shown = {COLUMNS_SHOWN: values} if values else {}
        return shown if episode is None else {**shown, LIVE: self._live(row, episode)}

    def _live(self, row: Mapping[str, Any], episode: Episode) -> Mapping[str, Any]:
        last = row.get("last_active_on")
        return {
            "episode_id": episode.episode_id,
            "columns": {
                column: plain(row[column])
                for column in self._ends.get(episode.program, ())
                if column in row and (column not in NOTHING_HAPPENED or row[column] != NOTHING_HAPPENED[column])
            },
            "upto": self._upto,
            **({"last_active_on": last.isoformat()} if isinstance(last, date) else {}),
        }


def _ending(program: Program) -> tuple[str, ...]:
    """Relation columns by which it is judged between runs whether an episode ends, and what they count from."""
    conditions = (program.reactivated, program.converted)
    named = {_relation(name) for condition in conditions if condition is not None for name in condition.columns}
    return tuple(sorted(named | NOTHING_HAPPENED.keys()))


def _relation(name: str) -> str:
    column = COLUMNS.get(name)
    if column is not None:
        return column.relation or column.name
    for prefix, relation in ATTRIBUTE_PREFIXES.items():
        if name.startswith(f"{prefix}."):
            return relation
    return name.replace(".", "_")


_PERSONAL = frozenset({"email", "first_name", "last_name"})


def _is_plain(name: str) -> bool:
    """Whether a value may be shown as it is: not a name or an address, nor a whole table of free fields."""
    return name not in _PERSONAL and "attributes." not in name

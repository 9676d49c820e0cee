"""Several CRMs in one install: which comes first, and which record in each of them a person is.

With one CRM there is nothing to find out: a contact's id is its record's, with the CRM's name in front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

from connector.errors import SettingError

if TYPE_CHECKING:
    from connector.warehouse.same_person import Crms, RecordElsewhere
    from connector.workspace import Workspace


def destinations_in_order(workspace: Workspace) -> list[str]:
    """The playbook's destinations, the one that works people first in front; SettingError when there is none."""
    playbook = workspace.playbook
    names = list(playbook.destinations)
    if not names:
        raise SettingError(
            "the playbook has no destination, so there is nowhere to write",
            hint="add `destinations: {crm: {adapter: hubspot}}` to winback.yaml",
        )
    if len(names) == 1:
        return names
    for one, other in combinations(names, 2):
        adapter = playbook.destinations[one].options.adapter
        if adapter == playbook.destinations[other].options.adapter:
            raise SettingError(
                f"the destinations {one} and {other} are both {adapter}, and their contacts have the same ids",
                hint="keep one of them; an account of its own needs an install of its own",
            )
    primary = playbook.identity.primary
    return sorted(names, key=lambda name: playbook.destinations[name].options.adapter != primary) if primary else names


def first_destination(workspace: Workspace) -> str:
    """The destination whose CRM comes first; SettingError when there is none."""
    return destinations_in_order(workspace)[0]


def destination_systems(workspace: Workspace) -> dict[str, str]:
    """Destination → the system of its ids, in order."""
    return {name: workspace.destination(name).system for name in destinations_in_order(workspace)}


def crms_of(workspace: Workspace) -> Crms | None:
    """The CRMs people are matched across: destinations, then sources that could be written to; None: just one."""
    from connector.warehouse.same_person import Crms

    playbook, adapters = workspace.playbook, workspace.adapters
    names = destinations_in_order(workspace) if playbook.destinations else []
    places = {playbook.destinations[name].options.adapter: name for name in names}
    read = {
        options.adapter: name
        for name, options in playbook.sources.items()
        if options.adapter not in places
        and (adapter := adapters.get(options.adapter)) is not None
        and adapter.destination is not None
    }
    if len(places) + len(read) <= 1:
        return None
    systems = {adapter: workspace.destination(name).system for adapter, name in places.items()}
    systems |= {adapter: workspace.source(name).system for adapter, name in read.items()}
    record = {column: systems[adapter] for column, adapter in playbook.identity.system_of_record.items()}
    return Crms(tuple(systems.values()), record)


def became(workspace: Workspace, systems: Sequence[str]) -> Mapping[str, str]:
    """Contacts that are another one by now: merged in their CRM, or known to one that comes before it."""
    warehouse = workspace.warehouse
    if crms_of(workspace) is None:
        return warehouse.merged(systems[0]) if systems else {}

    def found() -> Mapping[str, str]:
        from connector.journal.merging import survivors

        gone = {away: now for system in systems for away, now in warehouse.merged(system).items()}
        return survivors(gone | warehouse.aliases())

    return warehouse.once(f"became {' '.join(systems)}", found)


def still_known(workspace: Workspace, moved: Mapping[str, str], *, first: str) -> Mapping[str, str]:
    """Of these, the first CRM's own, and those of whom the journal remembers anything under the old id.

    Nearly everybody may be in both CRMs, and few of them were ever known under the id they have in the other.
    """
    others = sorted({away.partition(":")[0] for away in moved} - {first})
    remembered = workspace.journal.episodes.remembered(others)
    return {away: now for away, now in moved.items() if away.startswith(f"{first}:") or away in remembered}


@dataclass(frozen=True)
class Records:
    """Contacts and their records in one CRM.

    found: The records in it of people who go by another CRM's contact, each person's main one first.
    """

    system: str
    found: Sequence[RecordElsewhere] = ()

    @cached_property
    def prefix(self) -> str:
        """What ids of its own contacts begin with."""
        return f"{self.system}:"

    @cached_property
    def elsewhere(self) -> Sequence[RecordElsewhere]:
        """Those of them that are still there."""
        return [one for one in self.found if not one.gone]

    @cached_property
    def gone(self) -> Sequence[str]:
        """The others: records that were deleted, of people who go on as another CRM's."""
        return [self._bare(one) for one in self.found if one.gone]

    def owns(self, contact_id: str) -> bool:
        """Whether people with this id are worked in this CRM: no CRM before it knows them."""
        return contact_id.startswith(self.prefix)

    def row_id(self, contact_id: str) -> str | None:
        """The contact's record here; None when the CRM does not know them."""
        if contact_id.startswith(self.prefix):
            return contact_id[len(self.prefix) :]
        return self._main.get(contact_id)

    def all_of(self, contact_id: str) -> Sequence[RecordElsewhere]:
        """All records here of somebody who goes by another CRM's contact."""
        return self._by_contact.get(contact_id, ())

    def contact_id(self, row_id: str) -> str:
        """Whose record it is."""
        return self.shown.get(row_id) or f"{self.prefix}{row_id}"

    @cached_property
    def shown(self) -> Mapping[str, str]:
        """Record → contact, of people who are worked in another CRM and only shown in this one."""
        return {self._bare(found): found.contact_id for found in self.elsewhere}

    @cached_property
    def _main(self) -> Mapping[str, str]:
        return {found.contact_id: self._bare(found) for found in self.elsewhere if found.main}

    @cached_property
    def _by_contact(self) -> Mapping[str, Sequence[RecordElsewhere]]:
        found: dict[str, list[RecordElsewhere]] = {}
        for one in self.elsewhere:
            found.setdefault(one.contact_id, []).append(one)
        return found

    def _bare(self, found: RecordElsewhere) -> str:
        return found.record_id.removeprefix(self.prefix)


def records_of(workspace: Workspace, system: str) -> Records:
    """Who is whom in this CRM."""
    if crms_of(workspace) is None:
        return Records(system)
    warehouse = workspace.warehouse
    return warehouse.once(f"records {system}", lambda: Records(system, warehouse.elsewhere(system)))

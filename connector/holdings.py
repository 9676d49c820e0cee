"""What the CRM holds because of us: what our books say, corrected by what the CRM says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from connector.errors import RejectedError
from connector.merged import records_merged
from connector.targets import is_list
from connector.wanted import owned_lists, owned_properties

if TYPE_CHECKING:
    from connector.contracts import Destination
    from connector.plan.build import Current
    from connector.workspace import Workspace


def wanted_lists(workspace: Workspace, name: str) -> tuple[str, ...]:
    """The names of the lists this destination is to have."""
    settings = workspace.playbook.destinations[name]
    return owned_lists(workspace.playbook, settings.lists, settings.enroll)


def current(workspace: Workspace, destination: str) -> Current:
    """What the CRM holds because of us, as the journal has it."""
    from connector.plan.build import Current

    held = workspace.journal.held
    list_ids = held.lists(destination)
    names = held.property_names(destination)
    settings = workspace.playbook.destinations[destination]
    if not settings.lists.segments:
        # Without lists nothing tells which segments the CRM has seen, so it is asked: one call.
        specs = owned_properties(workspace.playbook)
        names = set(workspace.destination(destination).existing_properties(specs))
    elif any(listed not in list_ids for listed in wanted_lists(workspace, destination)):
        # A segment or step the CRM has not seen yet: its choice may be missing from a property, so all with choices
        # are ensured again.
        names -= {spec.name for spec in owned_properties(workspace.playbook) if spec.choices}
    return Current(
        lists=held.members(destination),
        list_ids=list_ids,
        properties=held.properties(destination),
        property_names=names,
        being_filled=workspace.journal.ledger.lists_being_filled(destination),
    )


def settle(workspace: Workspace, name: str) -> None:
    """Find out what became of the writes an interrupted run left behind; nothing happens when there are none."""
    from connector.plan.recover import recover

    if workspace.journal.ledger.unresolved(name):
        destination = workspace.destination(name)
        recover(
            workspace.journal,
            destination,
            name=name,
            clock=workspace.clock,
            merged=records_merged(workspace.warehouse, destination.system),
        )


def adopt_lists(workspace: Workspace, name: str) -> list[str]:
    """Take over lists of our names that the CRM has and the journal does not know, with whoever is on them.

    Somebody may have made such a list by hand and hung a workflow on it, or the journal is new. Either way it is not
    a list that this plan makes, so filling it is a change that the guards judge. One call, and only while a segment
    has no list.
    """
    destination, held = workspace.destination(name), workspace.journal.held
    known = held.lists(name)
    missing = [listed for listed in wanted_lists(workspace, name) if listed not in known]
    found = destination.lists(missing) if missing else {}
    notes = []
    for listed, ref in sorted(found.items()):
        members = {row_id for page in destination.members(ref.list_id) for row_id in page}
        known = {**known, listed: ref.list_id}
        held.replace_lists(name, known)
        held.replace_members(name, listed, members)
        notes.append(f"list {listed}: it was there already, with {len(members):,} members; taken over")
    return notes


def read_back(workspace: Workspace, name: str) -> list[str]:
    """Read lists and properties back from the CRM, correct our books, and say what others changed."""
    destination = workspace.destination(name)
    held = workspace.journal.held
    members = {listed: rows for listed, rows in held.members(name).items() if is_list(listed)}
    there, notes = _lists_there(workspace, name, sorted({*members, *wanted_lists(workspace, name)}))
    held.replace_lists(name, there)
    for listed in sorted(there):
        now = {row_id for page in destination.members(there[listed]) for row_id in page}
        ours = members.get(listed, set())
        if now != ours:
            notes += _list_drift(listed, joined=len(now - ours), gone=len(ours - now))
            held.replace_members(name, listed, now)
    return notes + _property_drift(workspace, name)


def drop_what_is_gone(workspace: Workspace, name: str) -> list[str]:
    """After a run in which something was refused: forget lists and properties that are no longer there.

    They are made anew by the plan that follows, where a run that goes on believing in them would be refused for ever.
    """
    finished = (run for run in workspace.journal.runs.recent() if run.kind != "undo" and "rejected" in run.summary)
    last = next(finished, None)
    if last is None or not last.summary["rejected"]:
        return []
    held = workspace.journal.held
    there, notes = _lists_there(workspace, name, sorted(held.lists(name)))
    held.replace_lists(name, there)
    _, gone = _properties_there(workspace, name)
    return notes + gone


def _lists_there(workspace: Workspace, name: str, names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Ids of those of these lists that the CRM has, and what became of the others; a renamed list goes by its id."""
    destination, known = workspace.destination(name), workspace.journal.held.lists(name)
    there = {listed: ref.list_id for listed, ref in destination.lists(names).items()}
    wanted = set(wanted_lists(workspace, name))
    notes = []
    for listed in sorted(known.keys() - there.keys()):
        if _is_there(destination, known[listed]):
            there[listed] = known[listed]
            notes.append(f"list {listed}: it was renamed; winback goes on with it under its new name")
        else:
            notes.append(f"list {listed}: it was deleted" + ("; it will be made anew" if listed in wanted else ""))
    return there, notes


def _is_there(destination: Destination, list_id: str) -> bool:
    try:
        next(iter(destination.members(list_id)), None)
    except RejectedError:
        return False
    return True


def _properties_there(workspace: Workspace, name: str) -> tuple[set[str], list[str]]:
    """Those of our properties that the CRM has as we need them; the books forget the others, which are told."""
    held = workspace.journal.held
    existing = set(workspace.destination(name).existing_properties(owned_properties(workspace.playbook)))
    gone = sorted(held.property_names(name) - existing)
    held.replace_property_names(name, existing)
    return existing, [f"property {missing}: it was archived or changed" for missing in gone]


def _list_drift(listed: str, *, joined: int, gone: int) -> list[str]:
    parts = [f"{joined:,} put on by hand or another tool"] * bool(joined) + [
        f"{gone:,} taken off, merged or deleted"
    ] * bool(gone)
    return [f"list {listed}: {', '.join(parts)}"] if parts else []


def _property_drift(workspace: Workspace, name: str) -> list[str]:
    from connector.contracts import chunks

    destination = workspace.destination(name)
    held = workspace.journal.held
    ours = held.properties(name)
    existing, notes = _properties_there(workspace, name)
    edited = 0
    for batch in chunks(sorted(ours), destination.capabilities.properties_per_read):
        found = destination.read_properties(batch, sorted(existing)) if existing else {}
        now = {
            row_id: {key: value for key, value in found.get(row_id, {}).items() if key in ours[row_id]}
            for row_id in batch
        }
        changed = {row_id: now[row_id] for row_id in batch if _values(now[row_id]) != _values(ours[row_id])}
        edited += len(changed)
        held.replace_properties(name, changed)
    if edited:
        people = "1 contact" if edited == 1 else f"{edited:,} contacts"
        notes.append(f"properties: the values of {people} were changed by others")
    return notes


def _values(row: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in row.items() if value}

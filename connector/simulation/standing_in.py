"""A look-alike that stands in for the CRM: the same contacts, lists and members, nobody outside of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from connector.contracts import AdapterOptions, Limits, SandboxOptions, chunks
from connector.crms import records_of
from connector.errors import SettingError
from connector.model import Contact
from connector.registry import Adapters

if TYPE_CHECKING:
    from collections.abc import Callable

    from connector.contracts import Sandbox
    from connector.settings import Playbook
    from connector.workspace import Workspace

EVERYTHING = 1.0


def sandbox_of(playbook: Playbook, name: str, adapters: Adapters) -> Callable[[SandboxOptions], Sandbox]:
    """How the destination's look-alike is started; SettingError when it has none."""
    adapter = adapters.require(playbook.destinations[name].options.adapter)
    if adapter.sandbox is None:
        raise SettingError(
            f"the adapter {adapter.name} has no sandbox, so there is nothing to simulate on",
            hint="`winback plan` shows what the next run would do",
        )
    return adapter.sandbox


def pointed_at(
    playbook: Playbook,
    sandbox: Sandbox,
    *,
    warehouse: str,
    journal: str,
    others: Mapping[str, Sandbox] = MappingProxyType({}),
) -> Playbook:
    """The same playbook over copies of the stores, with every system that can be written to replaced by the sandbox.

    Where contacts are enrolled directly, lists take the workflows' place: the sandbox has no workflows of the CRM's
    ids. Facts may be of any age: it is their future that is asked for.

    others: Of several CRMs, the look-alikes of those after the first, by destination.
    """
    changed = _there(sandbox)
    destinations = {
        name: settings.model_copy(
            update={
                "options": settings.options.model_copy(update=_there(others.get(name, sandbox))),
                "enroll": "list" if settings.enroll == "workflow" else settings.enroll,
            }
        )
        for name, settings in playbook.destinations.items()
    }
    return playbook.model_copy(
        update={
            "warehouse": warehouse,
            "journal": journal,
            "sources": _harmless(playbook.sources, changed),
            "destinations": destinations,
            "guards": playbook.guards.model_copy(update={"stale_source": None, "empty_source": "allow"}),
        }
    )


def _there(sandbox: Sandbox) -> dict[str, Any]:
    """Where a look-alike answers, without the limits of the real one."""
    auth = {key: SecretStr(value) for key, value in sandbox.auth.items()}
    return {"base_url": sandbox.base_url, "auth": auth, "rate": Limits()}


def _harmless(sources: Mapping[str, AdapterOptions], changed: Mapping[str, Any]) -> dict[str, AdapterOptions]:
    """Sources are not read; those that would need credentials do not even know where."""
    return {
        name: options.model_copy(update=dict(changed)) if options.auth else options for name, options in sources.items()
    }


def fill(workspace: Workspace, sandbox: Sandbox, name: str) -> None:
    """Give the sandbox the contacts the warehouse knows, and the lists and properties the journal says are there."""
    destination, held = workspace.destination(name), workspace.journal.held
    prefix = f"{destination.system}:"
    people = workspace.warehouse.contacts()
    sandbox.seed((_bare(person) for person in people if person.contact_id.startswith(prefix)), ())
    shown = {found.contact_id: found for found in records_of(workspace, destination.system).elsewhere if found.main}
    others = (replace(_bare(p), contact_id=shown[p.contact_id].record_id) for p in people if p.contact_id in shown)
    sandbox.seed(others, ())
    known, members = held.lists(name), held.members(name)
    there = {listed: destination.ensure_list(listed, folder=destination.folder).ref for listed in sorted(known)}
    for listed, list_id in there.items():
        for ids in chunks(sorted(members.get(listed, ())), destination.capabilities.members_per_call):
            destination.change_members(list_id, add=ids)
    held.replace_lists(name, there)
    from connector.wanted import owned_properties

    owned = [spec for spec in owned_properties(workspace.playbook) if spec.name in held.property_names(name)]
    destination.ensure_properties(owned)


def _bare(person: Contact) -> Contact:
    """As much of a person as lists need."""
    return Contact(
        contact_id=person.contact_id, email=person.email, opted_out=person.opted_out, deleted_at=person.deleted_at
    )

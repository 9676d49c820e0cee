"""Checks of `identity:` that need the rest of the playbook: which CRMs there are, what one may be believed about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from connector.contracts import Adapter, AdapterOptions
from connector.identity import ATTRIBUTE, BELIEVED
from connector.location import Location, Problem, nearest
from connector.settings.models import Identity
from connector.settings.playbook import DestinationSettings
from connector.settings.validation import Step, dotted, find
from connector.yaml_loader import Node


def identity_problems(
    root: Node,
    identity: Identity,
    sources: Mapping[str, AdapterOptions],
    destinations: Mapping[str, DestinationSettings],
    adapters: Mapping[str, Adapter],
) -> Iterator[Problem]:
    """What is wrong with `identity.primary` and `identity.system_of_record`."""
    written = {settings.options.adapter: None for settings in destinations.values()}
    read = {options.adapter: None for options in sources.values() if adapters[options.adapter].destination is not None}
    crms = tuple(written | read)
    first = tuple(written) or crms
    if identity.primary is not None and identity.primary not in first:
        yield _problem(root, ("identity", "primary"), f"'{identity.primary}' is no CRM that is written to", first)
    for column, crm in identity.system_of_record.items():
        path = ("identity", "system_of_record", column)
        if crm not in crms:
            yield _problem(root, path, f"'{crm}' is no CRM of this playbook", crms, found=crm)
        if column not in BELIEVED and not column.startswith(ATTRIBUTE):
            place = find(root, path).place
            message = f"no column '{column}' that one CRM could be believed about"
            yield Problem(message, place, dotted(path[:-1]), near=nearest(column, BELIEVED), allowed=BELIEVED)


def _problem(
    root: Node, path: tuple[Step, ...], message: str, allowed: tuple[str, ...], *, found: str | None = None
) -> Problem:
    there = find(root, path)
    place: Location = there.node.location
    return Problem(message, place, dotted(path), near=nearest(found, allowed) if found else None, allowed=allowed)

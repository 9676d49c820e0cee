"""What is wrong and how to fix it: the findings behind `winback check`."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING

from connector.errors import CredentialsError, WinbackError
from connector.model import Finding, Severity
from connector.program.model import Driver
from connector.wanted import owned_properties

if TYPE_CHECKING:
    from connector.workspace import Workspace

OUR_PACKAGES = ("connector", "adapters", "mappings", "webhooks")
OUR_DISTRIBUTION = "winback"


def examine(workspace: Workspace) -> Iterator[Finding]:
    """Every finding, the cheap ones first; a part that fails is one finding and the rest go on."""
    yield from intruders(distributions())
    yield from _playbook(workspace)
    yield from _state(workspace)
    for name in workspace.playbook.sources:
        yield from _guarded(f"source {name}", _check_source(workspace, name))
    for name in workspace.playbook.destinations:
        yield from _guarded(f"destination {name}", _check_destination(workspace, name))


def intruders(installed: Iterable[Distribution]) -> Iterator[Finding]:
    """Other distributions that put files into our top-level packages: they may have overwritten ours."""
    ours = Path(__file__).resolve().parents[1]
    found = False
    for distribution in installed:
        if (distribution.name or "").lower() == OUR_DISTRIBUTION:
            continue
        foreign = sorted(
            file.parts[0]
            for file in distribution.files or ()
            if len(file.parts) > 1
            and file.parts[0] in OUR_PACKAGES
            and Path(str(distribution.locate_file(file))).resolve().is_relative_to(ours)
        )
        if foreign:
            found = True
            yield Finding(
                "installation",
                Severity.ERROR,
                f"the package {distribution.name} {distribution.version} wrote into our folder {foreign[0]}/",
                fix="install winback into an environment of its own (pipx install winback, or uv tool install winback)",
            )
    if not found:
        yield Finding("installation", Severity.OK, "no other package has written into winback's folders")


def _playbook(workspace: Workspace) -> Iterator[Finding]:
    playbook = workspace.playbook
    yield Finding(
        "playbook",
        Severity.OK,
        f"segments: {len(playbook.segments)}, sources: {len(playbook.sources)}, "
        f"destinations: {len(playbook.destinations)}",
    )
    yield from playbook.findings
    if not playbook.destinations:
        yield Finding(
            "playbook",
            Severity.WARNING,
            "no destination: segments are computed but never written anywhere",
            fix="add `destinations: {crm: {adapter: …}}`",
        )


def _state(workspace: Workspace) -> Iterator[Finding]:
    folder = workspace.state_dir
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        yield Finding(
            "state folder",
            Severity.WARNING,
            f"{folder} can be read by other users of this machine",
            fix=f"chmod 700 {folder}",
        )
    if not os.access(folder, os.W_OK):
        yield Finding("state folder", Severity.ERROR, f"{folder} cannot be written", fix="give this user write access")
        return
    try:
        unresolved = len(workspace.journal.ledger.unresolved())
        broken = workspace.journal.audit.verify()
    except WinbackError as error:
        yield Finding("journal", Severity.ERROR, str(error), fix=error.hint)
        return
    if broken is not None:
        yield Finding(
            "audit",
            Severity.ERROR,
            f"the chain of the audit log breaks at row {broken.number}: {broken.reason}",
            fix="somebody changed the journal by hand; restore it from a backup",
        )
    at_work = workspace.at_work()
    if at_work is not None:
        yield Finding("journal", Severity.OK, f"opens, is up to date; a run is at work: {at_work}")
    elif unresolved:
        yield Finding(
            "journal",
            Severity.WARNING,
            f"{unresolved} writes of an interrupted run are unresolved",
            fix="the next `winback run` reads them back and settles them",
        )
    else:
        yield Finding("journal", Severity.OK, "opens, is up to date, and no write is unresolved")


def _check_source(workspace: Workspace, name: str) -> Callable[[], Iterator[Finding]]:
    def check() -> Iterator[Finding]:
        source = workspace.source(name)
        for info in source.streams():
            workspace.mapping(name, info.name)
        yield from source.check()

    return check


def _check_destination(workspace: Workspace, name: str) -> Callable[[], Iterator[Finding]]:
    def check() -> Iterator[Finding]:
        yield from workspace.destination(name).check()
        yield from _properties(workspace, name)
        yield from _workflows(workspace, name)

    return check


def _properties(workspace: Workspace, name: str) -> Iterator[Finding]:
    """Whether the properties of the playbook are there, where we do not make them ourselves."""
    destination = workspace.destination(name)
    fix = destination.capabilities.properties_come_from
    specs = owned_properties(workspace.playbook) if workspace.playbook.destinations[name].properties else ()
    if not fix or not specs:
        return
    there = set(destination.existing_properties(specs))
    missing = [spec.name for spec in specs if spec.name not in there]
    subject = f"{name} properties"
    if missing:
        yield Finding(subject, Severity.ERROR, f"the playbook needs, and {name} lacks: {', '.join(missing)}", fix)
    else:
        yield Finding(subject, Severity.OK, f"all {len(specs)} that the playbook needs are there")


def _workflows(workspace: Workspace, name: str) -> Iterator[Finding]:
    """Whether the workflows that contacts are enrolled in directly can take them."""
    if workspace.playbook.destinations[name].enroll != "workflow":
        return
    for program in workspace.playbook.programs:
        steps = [] if program.driver is Driver.CRM else [step.workflow for step in program.steps]
        for workflow in dict.fromkeys([program.workflow, *steps]):
            if workflow is not None:
                yield workspace.destination(name).check_workflow(workflow)


def _guarded(subject: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of one part; an error of ours becomes its finding."""
    try:
        yield from check()
    except WinbackError as error:
        yield Finding(
            subject, Severity.ERROR, str(error), fix=error.hint, credentials=isinstance(error, CredentialsError)
        )

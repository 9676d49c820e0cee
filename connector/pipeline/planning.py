"""A plan for every destination: what should be, compared with what the CRM holds because of us."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from connector.crms import became, crms_of, destination_systems, destinations_in_order, still_known
from connector.errors import EmptySource, WinbackError
from connector.holdings import adopt_lists, current, drop_what_is_gone, read_back, settle
from connector.pipeline.away import Reached
from connector.pipeline.inputs import plan_inputs
from connector.pipeline.segmenting import evaluate
from connector.writing import RUN_WAITS_SECONDS, writing

if TYPE_CHECKING:
    from connector.plan.build import Current, Plan, PlanInputs
    from connector.target import Target
    from connector.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, what it was made from, and what a look at the CRM found that others had changed."""

    plan: Plan
    inputs: PlanInputs
    drift: Sequence[str] = ()


@dataclass(slots=True)
class Plans:
    """A plan for each destination that can be written to, in order, all from one pass over everybody.

    away: Of the others, why not.
    """

    made: list[Planned] = field(default_factory=list)
    away: dict[str, WinbackError] = field(default_factory=dict)

    def only(self) -> Planned:
        """The first; what keeps it away is raised."""
        for error in self.away.values():
            raise error
        return self.made[0]


def make_plan(workspace: Workspace, *, as_of: date | None = None, refresh: bool = False) -> Planned:
    """The plan of the first destination; of the only one, as a rule."""
    return make_plans(workspace, as_of=as_of, refresh=refresh).only()


def make_plans(
    workspace: Workspace, *, names: Sequence[str] | None = None, as_of: date | None = None, refresh: bool = False
) -> Plans:
    """Compare what should be with what each CRM holds because of us; unresolved writes are settled first.

    names: The destinations to write to, in order; people who are worked in others stand where they are. None: all.
    """
    from connector.target import targets

    everywhere = destinations_in_order(workspace)
    there = Reached(everywhere if names is None else names, alone=len(everywhere) == 1)
    day = as_of or workspace.today()
    now = workspace.clock.now()
    with writing(workspace.journal, workspace.clock, wait_seconds=RUN_WAITS_SECONDS):
        there.each(lambda name: settle(workspace, name))
    _require_facts(workspace)
    drift = there.each(lambda name: _drift(workspace, name, refresh=refresh))
    for name, notes in drift.items():
        for note in notes:
            workspace.reporter.line(note if len(everywhere) == 1 else f"{name}: {note}")
    evaluation = evaluate(workspace, day)
    _follow_people(workspace)
    held = there.each(lambda name: current(workspace, name))
    aims = targets(workspace, held, evaluation) if held else {}
    for aim in aims.values():
        for note in aim.notes:
            workspace.reporter.line(note)
    held = there.each(lambda name: _merges_followed(workspace, name, held[name], aims[name]))
    made: list[Planned] = []
    for name in there.names:
        inputs = plan_inputs(
            workspace, name, aims[name], held[name], day=day, now=now, after=[one.plan.plan_id for one in made]
        )
        made.append(Planned(_built(inputs), inputs, drift[name]))
    return Plans(made, there.away)


def _drift(workspace: Workspace, name: str, *, refresh: bool) -> Sequence[str]:
    if refresh:
        return read_back(workspace, name)
    return drop_what_is_gone(workspace, name) + adopt_lists(workspace, name)


def _follow_people(workspace: Workspace) -> None:
    """Let what we remember follow people who were merged, or whom another CRM turns out to know."""
    systems = tuple(destination_systems(workspace).values())
    moved = became(workspace, systems)
    if crms_of(workspace) is not None:
        moved = still_known(workspace, moved, first=systems[0])
    workspace.journal.episodes.rekey(moved)


def _merges_followed(workspace: Workspace, name: str, there: Current, aim: Target) -> Current:
    from connector.merged import follow_merges, records_merged

    destination = workspace.destination(name)
    return follow_merges(
        there,
        merged=records_merged(workspace.warehouse, destination.system),
        wanted=aim.wanted,
        blocked=aim.blocked,
        held=workspace.journal.held,
        destination=destination,
        name=name,
    )


def _built(inputs: PlanInputs) -> Plan:
    from connector.plan.build import build_plan

    return build_plan(inputs)


def _require_facts(workspace: Workspace) -> None:
    """Without a source everybody may look dormant, or nobody: refuse until each has been read to its end once."""
    read = {(stat.source, stat.stream) for stat in workspace.warehouse.source_stats() if stat.pulled_at is not None}
    for name in workspace.playbook.sources:
        for info in workspace.source(name).streams():
            if (name, info.name) not in read:
                raise EmptySource(
                    f"source {name} ({info.name}) has not been read yet", hint="read it first: `winback pull`"
                )

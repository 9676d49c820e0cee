"""What the CRM should hold, worked out in one pass: segments from the warehouse, steps from the programs.

The pass is over everybody a plan may have to do with, in the order of their ids; their episodes come from the journal
in the same order, so that both are read once and neither is held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from connector.outlook import outlook
from connector.plan.build import HELD_OUT, Decided, Wanted
from connector.program.exits import HOLDS
from connector.program.model import Driver
from connector.programs import Crowd
from connector.targets import is_workflow, workflow_of
from connector.wanted import (
    feedback_specs,
    list_name,
    owned_lists,
    owned_properties,
    place_of,
    property_values,
    step_lists,
    sunset_lists,
)

if TYPE_CHECKING:
    from connector.contracts import Destination
    from connector.plan.build import Current
    from connector.program.model import Decisions, Eligibility, Episode, Person, Program
    from connector.settings.playbook import DestinationSettings
    from connector.warehouse import Evaluation
    from connector.warehouse.shortlist import Alike
    from connector.workspace import Workspace


@dataclass(slots=True)
class Target:
    """What should be, who may not be touched, and what the programs decided.

    blocked: Record id → why it may be in nothing. frozen: Record id → why nothing about it is written.
    excluded: Contacts left out that have no record in this CRM, by reason.
    """

    wanted: Wanted
    decided: Decided
    blocked: dict[str, str] = field(default_factory=dict)
    frozen: dict[str, str] = field(default_factory=dict)
    excluded: dict[str, list[str]] = field(default_factory=dict)
    deferred: dict[str, int] = field(default_factory=dict)
    programs: dict[str, dict[str, Any]] = field(default_factory=dict)
    paced: tuple[str, ...] = ()
    capped: bool = False
    reachable: int = 0
    reason: Callable[[str, str], str | None] = lambda _list_name, _row_id: None
    notes: list[str] = field(default_factory=list)


def target(workspace: Workspace, name: str, evaluation: Evaluation, there: Current) -> Target:
    """What the destination of this name should hold at the end of the day that was evaluated.

    there: What it holds; a step that has been written is not written again.
    """
    return _Aim(workspace, name, evaluation, there).taken()


class _Aim:
    """The pass: what it has seen so far."""

    def __init__(self, workspace: Workspace, name: str, evaluation: Evaluation, there: Current) -> None:
        self.workspace = workspace
        self.destination: Destination = workspace.destination(name)
        self.settings: DestinationSettings = workspace.playbook.destinations[name]
        self.name = name
        self.evaluation = evaluation
        self.prefix = f"{self.destination.system}:"
        playbook = workspace.playbook
        self.programs: tuple[Program, ...] = playbook.programs
        owned = owned_lists(playbook, self.settings.lists, self.settings.enroll)
        self.lists: dict[str, dict[str, str]] = {listed: {} for listed in owned}
        self.values: dict[str, Mapping[str, str | None]] = {}
        self.silent: dict[str, int | None] = {}
        self.blocked: dict[str, str] = {}
        self.frozen: dict[str, str] = dict.fromkeys(_in_doubt(workspace, name), NOT_KNOWN_YET)
        self.excluded: dict[str, list[str]] = {}
        self.opt_outs: set[str] = set()
        self.enrolled: dict[str, dict[str, str]] = {}
        self.there = there

    def taken(self) -> Target:
        """Go through everybody, then put together what was seen."""
        crowd = Crowd(self.workspace, self.evaluation.as_of, system=self.destination.system)
        decisions = crowd.decide(self._seen, together=self._seen_together)
        for contact_id in decisions.held_out:
            self.blocked.setdefault(self._row_id(contact_id), HELD_OUT)
        self._sunset(decisions)
        self._place(decisions)
        playbook = self.workspace.playbook
        specs = owned_properties(playbook) if self.settings.properties else ()
        kept = tuple(spec.name for spec in feedback_specs(playbook))
        wanted = Wanted(self.lists, self.values, specs, self.enrolled, self.opt_outs, kept)
        made = Target(wanted, self._decided(decisions), self.blocked, self.frozen, self.excluded)
        made.deferred = {reason: len(ids) for reason, ids in decisions.deferred.items() if ids}
        made.reachable = self.workspace.warehouse.reachable(self.evaluation.as_of)
        steps = step_lists(self.programs, self.settings.lists, self.settings.enroll)
        made.paced = (*steps, *sunset_lists(self.programs))
        made.capped = bool(self.programs) and all(program.caps.per_day is not None for program in self.programs)
        made.reason = self._why
        made.notes = decisions.notes
        if self.programs:
            made.programs = outlook(crowd, decisions)
        return made

    # --- one person -----------------------------------------------------------------------------------------

    def _seen(self, person: Person) -> bool:
        """Take a person over into lists and values; False for somebody who is no contact of this CRM."""
        row = person.row
        contact_id: str = row["contact_id"]
        if not contact_id.startswith(self.prefix):
            if person.segments:
                self.excluded.setdefault("not_in_crm", []).append(contact_id)
            return False
        row_id = contact_id.removeprefix(self.prefix)
        reason = person.eligibility.reason
        if reason is not None:
            (self.frozen if reason in HOLDS else self.blocked)[row_id] = reason
        if self.settings.lists.segments:
            for segment in person.segments:
                self.lists[list_name(segment)][row_id] = contact_id
        if person.segments and self.settings.properties and reason is None:
            self.values[row_id] = property_values(row, person.segments)
        if person.segments:
            self.silent[row_id] = row.get("inactive_days")
        if reason in _OPTED_OUT and not row.get("opted_out_here") and row.get("email"):
            self.opt_outs.add(row_id)
        return True

    def _seen_together(self, alike: Alike, eligibility: Eligibility) -> None:
        """The same for many who are in the same segments, and of whom the rules say the same."""
        ids, segments, reason = alike.ids(), alike.segments, eligibility.reason
        if not alike.own:
            if segments:
                self.excluded.setdefault("not_in_crm", []).extend(ids)
            return
        row_ids = [contact_id[len(self.prefix) :] for contact_id in ids]
        if reason is not None:
            (self.frozen if reason in HOLDS else self.blocked).update(dict.fromkeys(row_ids, reason))
        if self.settings.lists.segments:
            for segment in segments:
                self.lists[list_name(segment)].update(zip(row_ids, ids, strict=True))
        if segments and self.settings.properties and reason is None:
            values = (property_values(row, segments) for row in alike.rows())
            self.values.update(zip(row_ids, values, strict=True))
        if segments:
            self.silent.update(zip(row_ids, alike.values("inactive_days"), strict=True))
        if reason in _OPTED_OUT:
            elsewhere = zip(row_ids, alike.values("opted_out_here"), alike.values("email"), strict=True)
            self.opt_outs.update(row_id for row_id, here, email in elsewhere if not here and email)

    # --- what the programs decided --------------------------------------------------------------------------

    def _sunset(self, decisions: Decisions) -> None:
        """Who is left alone for good is on that list and on no other."""
        names = sunset_lists(self.programs)
        if not names or not decisions.sunset:
            return
        gone = {self._row_id(contact_id): contact_id for contact_id in decisions.sunset}
        for listed in self.lists:
            if listed not in names:
                for row_id in gone.keys() & self.lists[listed].keys():
                    del self.lists[listed][row_id]
        if names[0] in self.lists:
            self.lists[names[0]].update(gone)

    def _place(self, decisions: Decisions) -> None:
        """Put everybody in a program on the list of their step, or into its workflow, and add what the mail merges.

        A step the CRM confirmed once is never written again: who is not on its list any more was taken off by hand, or
        by the workflow itself, and joining again could start it again.
        """
        programs = {program.name: program for program in self.programs}
        for contact_id, episode in decisions.placed.items():
            row_id = self._row_id(contact_id)
            program = programs.get(episode.program)
            if program is None or row_id in self.blocked:
                continue
            place = self._place_of(program, episode)
            if place and (self._starts(program, episode) or row_id in self.there.lists.get(place, ())):
                self._put(place, row_id, contact_id)
            if self.settings.properties and episode.values:
                self.values[row_id] = {**self.values.get(row_id, {}), **episode.values}

    def _starts(self, program: Program, episode: Episode) -> bool:
        """Whether this step is what puts the contact there, and the CRM has not confirmed it yet."""
        return episode.step_state == "decided" and (
            program.driver is not Driver.CRM or program.number(episode.step or "") == 0
        )

    def _place_of(self, program: Program, episode: Episode) -> str | None:
        return place_of(program, episode, enroll=self.settings.enroll, owned=self.lists)

    def _put(self, place: str, row_id: str, contact_id: str) -> None:
        if is_workflow(place):
            self.enrolled.setdefault(workflow_of(place), {})[row_id] = contact_id
        elif place in self.lists:
            self.lists[place][row_id] = contact_id

    def _decided(self, decisions: Decisions) -> Decided:
        """The decisions with what will confirm each step in the CRM."""
        programs = {program.name: program for program in self.programs}
        moves = []
        for move in decisions.move:
            episode = decisions.placed.get(move.contact_id)
            if move.state != "decided" or episode is None or episode.episode_id != move.episode_id:
                moves.append(move)
                continue
            program = programs[episode.program]
            place = self._place_of(program, episode) if self._starts(program, episode) else None
            if place is not None and self._is_there(place, self._row_id(move.contact_id), episode):
                place = None
            moves.append(
                replace(move, target=place, row_id=self._row_id(move.contact_id), destination=self.name)
                if place is not None
                else move
            )
        return Decided(decisions.enter, moves, decisions.exit, decisions.splits, decisions.answers)

    def _is_there(self, place: str, row_id: str, episode: Episode) -> bool:
        """Whether the CRM holds already what the step writes: then no write will confirm it, and none has to."""
        if place:
            return row_id in self.there.lists.get(place, ())
        if not self.settings.properties:
            return True
        values = self.there.properties.get(row_id, {})
        return all((values.get(name) or None) == (value or None) for name, value in episode.values.items())

    def _row_id(self, contact_id: str) -> str:
        return contact_id.removeprefix(self.prefix)

    def _why(self, _listed: str, row_id: str) -> str | None:
        days = self.silent.get(row_id)
        return None if days is None else f"silent for {days} days"


NOT_KNOWN_YET = "not_written_yet"
"""Why nothing is written about a record whose enrollment may have happened, until the CRM can say."""


def _in_doubt(workspace: Workspace, name: str) -> set[str]:
    """Records whose enrollment got no answer, and of which the CRM cannot say yet whether they are in."""
    open_ones = workspace.journal.ledger.unresolved(name)
    return {row_id for batch in open_ones if batch.kind == "enroll" for row_id in batch.undecided}


_OPTED_OUT = frozenset({"opted_out", "complained", "suppressed"})

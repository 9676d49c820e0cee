"""What the CRM should hold, worked out in one pass: segments from the warehouse, steps from the programs.

The pass is over everybody a plan may have to do with, in the order of their ids; their episodes come from the journal
in the same order, so that both are read once and neither is held.

Where there are several CRMs it is one pass for all of them: caps, budgets and the draw are the install's. Whoever more
than one of them knows is worked in the first, and shown in the others: on the lists of segments and with the values of
their step, on no list that starts anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from connector.crms import Records, destination_systems, records_of
from connector.outlook import outlook
from connector.plan.build import HELD_OUT, Decided, Wanted
from connector.program.exits import HOLDS
from connector.program.model import Decisions, Driver, Person, Placed
from connector.programs import Crowd
from connector.settings.models import ListsBlock
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
    from connector.program.model import Eligibility, Program
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
    records: Records = field(default_factory=lambda: Records(""))


def target(
    workspace: Workspace, name: str, evaluation: Evaluation, there: Current, *, named: Collection[str] = ()
) -> Target:
    """What the destination of this name should hold at the end of the day that was evaluated.

    Args:
        workspace: Where facts and journal are.
        name: The destination.
        evaluation: The day's.
        there: What it holds; a step that has been written is not written again.
        named: Contacts to be looked at though they are in no segment and in no program.
    """
    return targets(workspace, {name: there}, evaluation, named=named)[name]


def targets(
    workspace: Workspace, there: Mapping[str, Current], evaluation: Evaluation, *, named: Collection[str] = ()
) -> dict[str, Target]:
    """What each of these destinations should hold, in order; what is decided is the same whichever are left out.

    Args:
        workspace: Where facts and journal are.
        there: What they hold. Of whoever is worked in a destination that is left out it is shown how they stand now.
        evaluation: The day's.
        named: Contacts to be looked at though they are in no segment and in no program.
    """
    systems = destination_systems(workspace)
    several = len(systems) > 1
    aims = [_Aim(workspace, name, evaluation, held, several=several) for name, held in there.items()]
    first, *others = systems.values()
    crowd = Crowd(workspace, evaluation.as_of, system=first, also=others, named=named)
    if not several:
        (aim,) = aims
        decisions = crowd.decide(aim.seen, together=aim.seen_together)
        return {aim.name: aim.taken(crowd, decisions, decisions)}
    everywhere = _Everywhere(aims, crowd.prefixes)
    decisions = crowd.decide(everywhere.seen, together=everywhere.seen_together)
    _as_they_stand(workspace, decisions, [aim.records for aim in aims])
    worked = {aim.records.prefix: aim for aim in aims}
    asked = {request.key: contact_id for contact_id, requests in crowd.asked.items() for request in requests}
    made = {}
    for number, aim in enumerate(aims):
        mine = _of(decisions, aim.records, asked=asked, others=() if number else crowd.prefixes)
        made[aim.name] = aim.taken(crowd, decisions, mine, worked=worked)
    for aim in aims[1:]:
        made[aim.name].notes = []
    return made


class _Everywhere:
    """Shows everybody to all destinations; whom no CRM knows is told once.

    worked: What ids of people begin with who are decided about, also where their own destination is left out.
    """

    def __init__(self, aims: Sequence[_Aim], worked: tuple[str, ...]) -> None:
        self._aims = aims
        self._worked = worked

    def seen(self, person: Person) -> bool:
        """Whether somebody is decided about."""
        for aim in self._aims:
            aim.seen(person)
        contact_id: str = person.row["contact_id"]
        if contact_id.startswith(self._worked):
            return True
        self._aims[0].not_here([contact_id] if person.segments else ())
        return False

    def seen_together(self, alike: Alike, eligibility: Eligibility) -> None:
        """The same for many."""
        for aim in self._aims:
            aim.seen_together(alike, eligibility)
        if not alike.own:
            self._aims[0].not_here(alike.ids() if alike.segments else ())


def _as_they_stand(workspace: Workspace, decisions: Decisions, carried: Sequence[Records]) -> None:
    """Of people whose CRM is not written to this time, what is so already takes the place of what was decided."""
    everywhere = destination_systems(workspace).values()
    left_out = tuple(f"{system}:" for system in everywhere if system not in {records.system for records in carried})
    if not left_out:
        return
    for contact_id in [one for one in decisions.placed if one.startswith(left_out)]:
        del decisions.placed[contact_id]
    decisions.held_out -= {one for one in decisions.held_out if one.startswith(left_out)}
    for episode in workspace.journal.episodes.everybody():
        if episode.open and episode.contact_id.startswith(left_out):
            if episode.held_out:
                decisions.held_out.add(episode.contact_id)
            else:
                decisions.placed[episode.contact_id] = Placed.by(episode)


def _of(decisions: Decisions, records: Records, *, asked: Mapping[str, str], others: tuple[str, ...]) -> Decisions:
    """The part of the decisions that is about people who are worked in this CRM.

    others: Where this is the first plan: what ids of people of any CRM begin with; requests about others are its too.
    """
    owns = records.owns

    def mine(contact_ids: Iterable[str]) -> list[str]:
        return [contact_id for contact_id in contact_ids if owns(contact_id)]

    return Decisions(
        enter=[entry for entry in decisions.enter if owns(entry.episode.contact_id)],
        move=[move for move in decisions.move if owns(move.contact_id)],
        exit=[leaving for leaving in decisions.exit if owns(leaving.contact_id)],
        placed={contact_id: at for contact_id, at in decisions.placed.items() if owns(contact_id)},
        held_out=set(mine(decisions.held_out)),
        excluded={reason: mine(ids) for reason, ids in decisions.excluded.items()},
        deferred={reason: mine(ids) for reason, ids in decisions.deferred.items()},
        sunset=set(mine(decisions.sunset)),
        splits=decisions.splits,
        answers={
            key: answer
            for key, answer in decisions.answers.items()
            if owns(asked.get(key, "")) or (others and not asked.get(key, "").startswith(others))
        },
        notes=decisions.notes,
    )


class _Aim:
    """One destination's side of the pass: what it has seen so far.

    several: Whether there are other destinations, where people may be worked who are shown in this one.
    """

    def __init__(
        self, workspace: Workspace, name: str, evaluation: Evaluation, there: Current, *, several: bool
    ) -> None:
        self.workspace = workspace
        self.destination: Destination = workspace.destination(name)
        self.settings: DestinationSettings = workspace.playbook.destinations[name]
        self.name = name
        self.evaluation = evaluation
        self.several = several
        self.records = records_of(workspace, self.destination.system)
        playbook = workspace.playbook
        self.programs: tuple[Program, ...] = playbook.programs
        owned = owned_lists(playbook, self.settings.lists, self.settings.enroll)
        self.lists: dict[str, dict[str, str]] = {listed: {} for listed in owned}
        self.values: dict[str, Mapping[str, str | None]] = {}
        self.silent: dict[str, int | None] = {}
        self.blocked: dict[str, str] = dict.fromkeys(self.records.gone, "deleted")
        self.frozen: dict[str, str] = dict.fromkeys(_in_doubt(workspace, name, self.records), NOT_KNOWN_YET)
        self.excluded: dict[str, list[str]] = {}
        self.opt_outs: set[str] = set()
        self.enrolled: dict[str, dict[str, str]] = {}
        self.there = there

    def taken(
        self,
        crowd: Crowd,
        decisions: Decisions,
        mine: Decisions,
        *,
        worked: Mapping[str, _Aim] | None = None,
    ) -> Target:
        """Put together what was seen, now that everybody was.

        Args:
            crowd: Who was seen.
            decisions: About everybody.
            mine: About people who are worked here.
            worked: Where there are several destinations: each by what the ids of its people begin with.
        """
        for contact_id in decisions.held_out:
            row_id = self.records.row_id(contact_id)
            if row_id is not None:
                self.blocked.setdefault(row_id, HELD_OUT)
        self._sunset(decisions)
        self._place(mine)
        if worked is not None:
            self._show(decisions, worked)
        playbook = self.workspace.playbook
        specs = owned_properties(playbook) if self.settings.properties else ()
        kept = tuple(spec.name for spec in feedback_specs(playbook))
        wanted = Wanted(self.lists, self.values, specs, self.enrolled, self.opt_outs, kept)
        made = Target(wanted, self._decided(mine), self.blocked, self.frozen, self.excluded, records=self.records)
        made.deferred = {reason: len(ids) for reason, ids in mine.deferred.items() if ids}
        made.reachable = self._reachable()
        steps = step_lists(self.programs, self.settings.lists, self.settings.enroll)
        made.paced = (*steps, *sunset_lists(self.programs))
        made.capped = bool(self.programs) and all(program.caps.per_day is not None for program in self.programs)
        made.reason = self._why
        made.notes = decisions.notes
        if self.programs:
            made.programs = outlook(crowd, mine)
        return made

    def _reachable(self) -> int:
        warehouse, as_of = self.workspace.warehouse, self.evaluation.as_of
        return warehouse.reachable(as_of, system=self.records.system) if self.several else warehouse.reachable(as_of)

    # --- one person -----------------------------------------------------------------------------------------

    def not_here(self, contact_ids: Iterable[str]) -> None:
        """These are in a segment, and no CRM that is written to knows them."""
        found = list(contact_ids)
        if found:
            self.excluded.setdefault("not_in_crm", []).extend(found)

    def seen(self, person: Person) -> bool:
        """Take a person over into lists and values; False for somebody who is not worked in this CRM."""
        row = person.row
        contact_id: str = row["contact_id"]
        row_id = self.records.row_id(contact_id)
        if row_id is None:
            if person.segments and not self.several:
                self.not_here([contact_id])
            return False
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
        if not self.records.owns(contact_id):
            self._opt_out_elsewhere([contact_id] if reason in _OPTED_OUT else ())
            return False
        if reason in _OPTED_OUT and not row.get("opted_out_here") and row.get("email"):
            self.opt_outs.add(row_id)
        return True

    def _opt_out_elsewhere(self, contact_ids: Iterable[str]) -> None:
        """Tell every record of these people who are worked in another CRM, where it does not say so itself."""
        told = (record for contact_id in contact_ids for record in self.records.all_of(contact_id))
        new = (record for record in told if record.has_address and not record.told)
        self.opt_outs.update(record.record_id.removeprefix(self.records.prefix) for record in new)

    def seen_together(self, alike: Alike, eligibility: Eligibility) -> None:
        """The same for many who are in the same segments, and of whom the rules say the same."""
        if self.several:
            # Of those who are alike, some may be known here and some not.
            people = (Person(row, alike.segments, (), eligibility) for row in alike.rows())
            deque(map(self.seen, people), maxlen=0)
            return
        ids, segments, reason = alike.ids(), alike.segments, eligibility.reason
        if not alike.own:
            self.not_here(ids if segments else ())
            return
        row_ids = [contact_id[len(self.records.prefix) :] for contact_id in ids]
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
        found = ((self.records.row_id(contact_id), contact_id) for contact_id in decisions.sunset)
        gone = {row_id: contact_id for row_id, contact_id in found if row_id is not None}
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
        for contact_id, at in decisions.placed.items():
            row_id = self._row_id(contact_id)
            program = programs.get(at.program)
            if program is None or row_id in self.blocked:
                continue
            place = self._place_of(program, at)
            if place and (self._starts(program, at) or row_id in self.there.lists.get(place, ())):
                self._put(place, row_id, contact_id)
            if self.settings.properties and at.values:
                self.values[row_id] = {**self.values.get(row_id, {}), **at.values}

    def _show(self, decisions: Decisions, worked: Mapping[str, _Aim]) -> None:
        """What is shown of people in a program who are worked in another CRM: the values of their step.

        Where values are all that starts anything (`enroll: none`) none are shown. Somebody whom the other CRM has come
        to know on the way stays where the last step put them, until there is a next one.
        """
        programs = {program.name: program for program in self.programs}
        for contact_id, at in decisions.placed.items():
            row_id = None if self.records.owns(contact_id) else self.records.row_id(contact_id)
            program = programs.get(at.program)
            if row_id is None or program is None or row_id in self.blocked:
                continue
            if self.settings.properties and at.values and self.settings.enroll != "none":
                self.values[row_id] = {**self.values.get(row_id, {}), **at.values}
            place = self._place_of(program, at) if at.step_state == "written" else None
            other = worked.get(f"{contact_id.partition(':')[0]}:")
            if place and other is not None and row_id in self.there.lists.get(place, ()):
                there = other.there.lists.get(other._place_of(program, at) or "", ())  # noqa: SLF001
                if other.records.row_id(contact_id) not in there:
                    self._put(place, row_id, contact_id)

    def _starts(self, program: Program, at: Placed) -> bool:
        """Whether this step is what puts the contact there, and the CRM has not confirmed it yet."""
        return at.step_state == "decided" and (program.driver is not Driver.CRM or program.number(at.step or "") == 0)

    def _place_of(self, program: Program, at: Placed) -> str | None:
        return place_of(program, at, enroll=self.settings.enroll, owned=self.lists)

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
            at = decisions.placed.get(move.contact_id)
            if move.state != "decided" or at is None or at.episode_id != move.episode_id:
                moves.append(move)
                continue
            program = programs[at.program]
            place = self._place_of(program, at) if self._starts(program, at) else None
            if place is not None and self._is_there(place, self._row_id(move.contact_id), at):
                place = None
            moves.append(
                replace(move, target=place, row_id=self._row_id(move.contact_id), destination=self.name)
                if place is not None
                else move
            )
        return Decided(decisions.enter, moves, decisions.exit, decisions.splits, decisions.answers)

    def _is_there(self, place: str, row_id: str, at: Placed) -> bool:
        """Whether the CRM holds already what the step writes: then no write will confirm it, and none has to."""
        if place:
            return row_id in self.there.lists.get(place, ())
        if not self.settings.properties:
            return True
        values = self.there.properties.get(row_id, {})
        return all((values.get(name) or None) == (value or None) for name, value in at.values.items())

    def _row_id(self, contact_id: str) -> str:
        """The record of somebody who is worked here."""
        return contact_id.removeprefix(self.records.prefix)

    def _why(self, _listed: str, row_id: str) -> str | None:
        days = self.silent.get(row_id)
        return None if days is None else f"silent for {days} days"


NOT_KNOWN_YET = "not_written_yet"
"""Why nothing is written about a record whose enrollment may have happened, until the CRM can say."""


def _in_doubt(workspace: Workspace, name: str, records: Records) -> set[str]:
    """Records whose enrollment got no answer, and of which the CRM cannot say yet whether they are in.

    So are people who may have been put on a list of another CRM, before this one was found to know them too.
    """
    ledger = workspace.journal.ledger
    found = {row_id for batch in ledger.unresolved(name) if batch.kind == "enroll" for row_id in batch.undecided}
    playbook = workspace.playbook
    starting = step_lists(playbook.programs, ListsBlock(), "list")
    for other, system in destination_systems(workspace).items():
        open_ones = ledger.unresolved(other) if other != name else ()
        adding = [b for b in open_ones if b.kind == "enroll" or (b.kind == "add_members" and b.target in starting)]
        theirs = records_of(workspace, system) if adding else None
        for batch in adding:
            assert theirs is not None
            people = (theirs.contact_id(row_id) for row_id in batch.undecided)
            found.update(row_id for one in people if records.owns(one) and (row_id := records.row_id(one)))
    return found


_OPTED_OUT = frozenset({"opted_out", "complained", "suppressed"})

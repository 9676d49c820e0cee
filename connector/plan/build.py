"""From wanted and current to an ordered list of steps: pure, so the same inputs give the same plan to the byte.

The rules, all of them:

- Only differences become steps. Properties and lists first, then opt-outs, then who ends an episode and every removal,
  then who enters and moves, then the values, then the additions: the mail that one sets off finds its values.
- A row that is blocked (opted out, bounced, deleted) is never added, is taken off every list, and what we wrote about
  it is cleared; a record that is gone in the CRM is not written to any more.
- A row that was refused too often is left out and counted as `quarantined`; one refused before travels in a step of
  its own, so that it cannot hold up the others again. Removals are tried for ever: nobody stays on a list for that.
- A list that exists in our books but not in the CRM is made anew and filled from nothing.
- A row that is frozen (what is known about its consent is too old) is not added anywhere and no value of it is written;
  it stays where it belongs, and comes off where it does not. A row that is held out is in nothing, like a blocked one,
  and counted apart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Protocol

from connector.contracts import Capabilities, Work
from connector.model import PropertySpec
from connector.plan.document import Allowance, ListChange, Plan, Sample
from connector.plan.guards import Change, DefaultGuards, GuardInputs, GuardSettings, SourceState, check_guards
from connector.plan.steps import (
    AddMembers,
    AnswerAsks,
    CloseEpisodes,
    Enroll,
    EnsureList,
    EnsureProperty,
    MoveEpisodes,
    OpenEpisodes,
    OptOut,
    PropertyChange,
    RecordFeedback,
    RemoveMembers,
    SetProperties,
    Step,
    Unenroll,
    Values,
)
from connector.program.exits import of_exclusion
from connector.program.model import Entry, Exit, Move, Split
from connector.targets import OPT_OUT_LIST, is_list, is_workflow, workflow_list, workflow_of

__all__ = ["GONE", "Allowance", "Current", "Plan", "PlanInputs", "Rejected", "Wanted", "build_plan", "protection"]

GONE = frozenset({"deleted", "merged", "erased"})
"""Reasons for being blocked that mean the CRM no longer has the record: nothing can be written to it."""

HELD_OUT = "held_out"
"""The reason code of rows that are in nothing because they are a program's holdout: not an exclusion, a choice."""

QUARANTINED = "quarantined"
"""The reason code of rows that were refused too often."""

WIN_AT_ONCE = frozenset(
    {
        "opted_out",
        "bounced",
        "complained",
        "suppressed",
        "erased",
        "snoozed",
        "legal_hold",
        "no_consent",
        "consent_expired",
    }
)
"""Reasons for leaving every list that do not wait until a person has looked at a refused plan.

Deletions do wait: a CRM that suddenly lost its contacts may be what the guard is about.
"""

_WIN_AT_ONCE_EXITS = frozenset(map(of_exclusion, WIN_AT_ONCE))

PROPERTIES_TARGET = ""
"""The target under which refused property rows are remembered; refused members are under their list's name."""

SAMPLES_PER_LIST = 3

_NOTHING: Values = {}


class Rejected(Protocol):
    """A row the destination refused before, as the journal remembers it."""

    @property
    def quarantined(self) -> bool:
        """True once it was refused too often to be tried again."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the destination should hold: who on which list (record id to contact id), and which values on whom.

    specs: The properties we own. A name that is not among them is never touched.
    enrolled: Who is to be in which workflow, where enrollment is direct (workflow id, then record id to contact id).
    opt_outs: Records whose opt-out the CRM has not heard of.
    kept: Properties that are made like the others, and whose values no plan writes or clears: they say what somebody
        told us, whatever becomes of them in segments and programs.
    """

    lists: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    properties: Mapping[str, Values] = field(default_factory=dict)
    specs: tuple[PropertySpec, ...] = ()
    enrolled: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    opt_outs: Collection[str] = ()
    kept: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Decided:
    """What the programs decided, to be written down in the journal as the plan is carried out.

    answers: Key of a CRM's request for an entry → what was decided.
    """

    enter: Sequence[Entry] = ()
    move: Sequence[Move] = ()
    exit: Sequence[Exit] = ()
    splits: Mapping[str, Split] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Current:
    """What the destination holds because of us.

    list_ids: The lists that exist there, by name. What we believe about the members of others is not believed.
    property_names: The properties that exist there as we need them; others are made, or widened, first.
    being_filled: Lists made by a plan that was cut short: they count as new until one is carried out to its end.
    """

    lists: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Members by list, workflow (`workflow:<id>`) and `opt-out`."""
    list_ids: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, Values] = field(default_factory=dict)
    property_names: Collection[str] = ()
    being_filled: Collection[str] = ()


def no_reason(list_name: str, row_id: str) -> str | None:  # noqa: ARG001  # the shape of PlanInputs.reason
    """The reason of a change nobody asked about."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInputs:
    """Everything a plan depends on.

    forecast: Calls the destination will need for an amount of work.
    excluded: Contacts left out before they became rows, by reason code.
    blocked: Records that may not be on a list or have a value of ours, with the reason code.
    frozen: Records about which nothing is written, neither added nor taken off, with the reason code.
    paced: Lists whose additions a program's own caps pace: moving on from one to the next is no large change.
    capped: Whether those caps bound how many enter a day.
    rejected: Rows refused before, by (kind, list name or "", record id).
    reachable: How many contacts we know and may contact; what `guards.max_change` is a share of.
    reason: Why a record joins a list, asked for the few that are shown.
    shown: Records of people who are worked in another CRM, and their contact ids: here they are on no list of a step.
    after: Plans made together with this one and carried out before it.
    """

    account: str
    as_of: date
    now: datetime
    expires: datetime
    destination: str
    system: str
    capabilities: Capabilities
    forecast: Callable[[Work], int]
    wanted: Wanted
    current: Current
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    excluded: Mapping[str, Sequence[str]] = field(default_factory=dict)
    blocked: Mapping[str, str] = field(default_factory=dict)
    frozen: Mapping[str, str] = field(default_factory=dict)
    paced: Collection[str] = ()
    capped: bool = False
    decided: Decided = field(default_factory=Decided)
    deferred: Mapping[str, int] = field(default_factory=dict)
    programs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rejected: Mapping[tuple[str, str, str], Rejected] = field(default_factory=dict)
    reachable: int = 0
    sources: Sequence[SourceState] = ()
    guards: GuardSettings = field(default_factory=DefaultGuards)
    allowed: frozenset[str] = frozenset()
    allowance: Allowance = field(default_factory=Allowance)
    folder: str = "winback"
    reason: Callable[[str, str], str | None] = no_reason
    shown: Mapping[str, str] = field(default_factory=dict)
    after: Sequence[str] = ()

    def contact_id(self, row_id: str) -> str:
        """Whose record it is."""
        return self.shown.get(row_id) or f"{self.system}:{row_id}"


def build_plan(inputs: PlanInputs) -> Plan:
    """The plan for these inputs, guards answered but not enforced."""
    names = {*inputs.wanted.lists, *filter(is_list, inputs.current.lists)}
    diffs = [_list_diff(name, inputs) for name in sorted(names)]
    workflows = [_workflow_diff(workflow, inputs) for workflow in _workflows(inputs)]
    decided = inputs.decided
    steps: tuple[Step, ...] = (
        *_missing_properties(inputs),
        *(EnsureList(diff.name, inputs.folder) for diff in diffs if diff.made),
        *_opt_outs(inputs),
        *([CloseEpisodes(tuple(decided.exit))] if decided.exit else []),
        *(RemoveMembers(diff.name, diff.remove) for diff in diffs if diff.remove),
        *(Unenroll(diff.name, diff.remove) for diff in workflows if diff.remove),
        *([OpenEpisodes(tuple(decided.enter), decided.splits)] if decided.enter else []),
        *([MoveEpisodes(tuple(decided.move))] if decided.move else []),
        *_property_steps(inputs),
        *(AddMembers(diff.name, diff.add) for diff in diffs if diff.add),
        *(AddMembers(diff.name, diff.retry, retried=True) for diff in diffs if diff.retry),
        *(Enroll(diff.name, diff.add) for diff in workflows if diff.add),
        *(Enroll(diff.name, diff.retry, retried=True) for diff in workflows if diff.retry),
        *([AnswerAsks(tuple(sorted(decided.answers.items())))] if decided.answers else []),
    )
    guards = check_guards(
        GuardInputs(
            now=inputs.now,
            settings=inputs.guards,
            sources=inputs.sources,
            change=_change(diffs, inputs),
            allowed=inputs.allowed,
        )
    )
    return Plan(
        account=inputs.account,
        destination=inputs.destination,
        system=inputs.system,
        as_of=inputs.as_of,
        made_at=inputs.now,
        expires_at=inputs.expires,
        fingerprints=dict(sorted(inputs.fingerprints.items())),
        steps=steps,
        lists=tuple(_list_change(diff, inputs) for diff in diffs),
        excluded=_excluded([*diffs, *workflows], inputs),
        deferred=dict(sorted(inputs.deferred.items())),
        holdout=sum(reason == HELD_OUT and row_id not in inputs.shown for row_id, reason in inputs.blocked.items()),
        programs=dict(inputs.programs),
        paced=tuple(sorted(inputs.paced)),
        after=tuple(inputs.after),
        guards=guards,
        api_calls=inputs.forecast(work_of(steps, inputs.capabilities)) if any(map(_outside, steps)) else 0,
        allowance=inputs.allowance,
    ).identified()


def protection(inputs: PlanInputs) -> Plan:
    """The part of the plan that no guard may hold up: blocked rows leave every list and lose what we wrote about them.

    For a run whose plan was refused: an opt-out does not wait until somebody has looked at a broken export.
    """
    current = inputs.current
    held = {
        name: {row_id: inputs.contact_id(row_id) for row_id in current.lists.get(name, ())} for name in current.list_ids
    }
    specs = tuple(spec for spec in inputs.wanted.specs if spec.name in current.property_names)
    blocked_values = {row_id: current.properties[row_id] for row_id in current.properties if row_id in inputs.blocked}
    return build_plan(
        replace(
            inputs,
            wanted=Wanted(
                {name: rows for name, rows in held.items() if is_list(name)},
                {},
                specs,
                enrolled={
                    workflow: dict.fromkeys(current.lists[workflow_list(workflow)], "")
                    for workflow in _held_workflows(current)
                },
                opt_outs=inputs.wanted.opt_outs,
                kept=inputs.wanted.kept,
            ),
            current=replace(current, properties=blocked_values),
            decided=Decided(exit=[leaving for leaving in inputs.decided.exit if leaving.reason in _WIN_AT_ONCE_EXITS]),
            excluded={},
            deferred={},
            programs={},
            sources=(),
        )
    )


def _outside(step: Step) -> bool:
    """Whether a step is a write to the destination."""
    return not isinstance(step, CloseEpisodes | OpenEpisodes | MoveEpisodes | AnswerAsks)


def work_of(steps: Sequence[Step], capabilities: Capabilities) -> Work:
    """How much these steps ask of a destination, in batches of its own sizes."""
    members = [len(step.row_ids) for step in steps if isinstance(step, RemoveMembers | AddMembers)]
    rows = [len(step.rows) for step in steps if isinstance(step, SetProperties)]
    return Work(
        lists_to_create=sum(isinstance(step, EnsureList) for step in steps),
        properties_to_ensure=sum(isinstance(step, EnsureProperty) for step in steps),
        member_batches=sum(-(-count // capabilities.members_per_call) for count in members),
        property_batches=sum(-(-count // capabilities.properties_per_call) for count in rows),
        enrollments=sum(len(step.row_ids) for step in steps if isinstance(step, Enroll | Unenroll)),
        workflows=len({step.workflow for step in steps if isinstance(step, Enroll | Unenroll)}),
        opt_outs=sum(len(step.row_ids) for step in steps if isinstance(step, OptOut)),
        feedback=sum(len(step.rows) for step in steps if isinstance(step, RecordFeedback)),
        member_changes=sum(members),
        property_rows=sum(rows),
    )


# --- lists ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _ListDiff:
    """One list: who is on it now, and who joins and leaves."""

    name: str
    made: bool
    list_id: str | None
    now: frozenset[str]
    add: tuple[str, ...]
    retry: tuple[str, ...]
    remove: tuple[str, ...]
    quarantined: tuple[str, ...]


def _list_diff(name: str, inputs: PlanInputs) -> _ListDiff:
    list_id = inputs.current.list_ids.get(name)
    held = inputs.current.lists.get(name, ()) if list_id is not None else ()
    return _diff(
        name, inputs, list_id=list_id, wanted=inputs.wanted.lists.get(name), held=held, refused=(AddMembers.kind, name)
    )


def _workflows(inputs: PlanInputs) -> list[str]:
    """Every workflow somebody is to be in, or is in because of us."""
    return sorted({*inputs.wanted.enrolled, *_held_workflows(inputs.current)})


def _held_workflows(current: Current) -> list[str]:
    """Workflows somebody is in because of us."""
    return [workflow_of(target) for target in current.lists if is_workflow(target)]


def _workflow_diff(workflow: str, inputs: PlanInputs) -> _ListDiff:
    """Like a list's, but one that is always there."""
    target = workflow_list(workflow)
    wanted, held = inputs.wanted.enrolled.get(workflow), inputs.current.lists.get(target, ())
    return _diff(workflow, inputs, list_id=workflow, wanted=wanted, held=held, refused=(Enroll.kind, target))


def _diff(
    name: str,
    inputs: PlanInputs,
    *,
    list_id: str | None,
    wanted: Mapping[str, str] | None,
    held: Collection[str],
    refused: tuple[str, str],
) -> _ListDiff:
    """Who joins and leaves; `refused`: the kind of step and the target under which refusals are remembered."""
    now = frozenset(held)
    target = [row_id for row_id in wanted or () if row_id not in inputs.blocked]
    joining = [row_id for row_id in target if row_id not in now and row_id not in inputs.frozen]
    fresh, retry, quarantined = _by_history(*refused, joining, inputs)
    return _ListDiff(
        name=name,
        made=list_id is None and wanted is not None,
        list_id=list_id,
        now=now,
        add=tuple(sorted(fresh)),
        retry=tuple(sorted(retry)),
        remove=tuple(sorted(now.difference(target))),
        quarantined=tuple(sorted(quarantined)),
    )


def _opt_outs(inputs: PlanInputs) -> Iterable[OptOut]:
    """Opt-outs the CRM has not heard of, and that it can still be told."""
    told = inputs.current.lists.get(OPT_OUT_LIST, ())
    new = [row_id for row_id in inputs.wanted.opt_outs if row_id not in told and inputs.blocked.get(row_id) not in GONE]
    if new:
        yield OptOut(tuple(sorted(new)))


def _by_history(
    kind: str, target: str, row_ids: Collection[str], inputs: PlanInputs
) -> tuple[list[str], list[str], list[str]]:
    """The rows never refused, those refused before, and those refused too often."""
    if not inputs.rejected:
        return list(row_ids), [], []
    fresh, retry, quarantined = [], [], []
    for row_id in row_ids:
        rejection = inputs.rejected.get((kind, target, row_id))
        if rejection is None:
            fresh.append(row_id)
        elif rejection.quarantined:
            quarantined.append(row_id)
        else:
            retry.append(row_id)
    return fresh, retry, quarantined


def _list_change(diff: _ListDiff, inputs: PlanInputs) -> ListChange:
    adds = (Sample("add", row_id, inputs.reason(diff.name, row_id) or "") for row_id in diff.add[:SAMPLES_PER_LIST])
    removes = (
        Sample("remove", row_id, inputs.blocked.get(row_id, "no longer in the segment"))
        for row_id in diff.remove[:SAMPLES_PER_LIST]
    )
    return ListChange(
        name=diff.name,
        list_id=diff.list_id,
        now=len(diff.now),
        add=len(diff.add) + len(diff.retry),
        remove=len(diff.remove),
        samples=(*(sample for sample in adds if sample.reason), *removes),
    )


def _excluded(diffs: Sequence[_ListDiff], inputs: PlanInputs) -> dict[str, tuple[str, ...]]:
    """Who was left out, each contact once per reason."""
    found: dict[str, set[str]] = {reason: set(ids) for reason, ids in inputs.excluded.items()}
    for diff in diffs:
        wanted = inputs.wanted.lists.get(diff.name) or inputs.wanted.enrolled.get(diff.name) or {}
        for row_id in wanted.keys() & inputs.blocked.keys():
            if inputs.blocked[row_id] != HELD_OUT:
                found.setdefault(inputs.blocked[row_id], set()).add(wanted[row_id])
        for row_id in wanted.keys() & inputs.frozen.keys():
            found.setdefault(inputs.frozen[row_id], set()).add(wanted[row_id])
        for row_id in diff.quarantined:
            found.setdefault(QUARANTINED, set()).add(wanted[row_id])
    for row_id in _quarantined_rows(inputs):
        found.setdefault(QUARANTINED, set()).add(inputs.contact_id(row_id))
    return {reason: tuple(sorted(found[reason])) for reason in sorted(found) if found[reason]}


def _change(diffs: Sequence[_ListDiff], inputs: PlanInputs) -> Change:
    """How many contacts the lists gain and lose, each counted once."""
    held: set[str] = set()
    staying: set[str] = set()
    joining: set[str] = set()
    filling: set[str] = set()
    entering: set[str] = set()
    for diff in diffs:
        held |= diff.now
        staying |= diff.now.difference(diff.remove)
        if diff.name in inputs.paced:
            entering.update(diff.add, diff.retry)
        else:
            (filling if diff.made or diff.name in inputs.current.being_filled else joining).update(diff.add, diff.retry)
    if not inputs.capped:
        under_way = (set(diff.now) for diff in diffs if diff.name in inputs.paced)
        joining |= entering.difference(*under_way)
    leaving = held.difference(staying, joining, filling, entering, inputs.blocked)
    return Change(
        joining=len(joining),
        filling=len(filling - joining),
        leaving=len(leaving),
        held=len(held),
        reachable=inputs.reachable,
    )


# --- properties -------------------------------------------------------------------------------------------


def _missing_properties(inputs: PlanInputs) -> Iterator[EnsureProperty]:
    """The properties to make, in the playbook's order."""
    existing = frozenset(inputs.current.property_names)
    return (EnsureProperty(spec) for spec in inputs.wanted.specs if spec.name not in existing)


def _property_steps(inputs: PlanInputs) -> Iterator[SetProperties]:
    """The values to write: at most one step for rows never refused and one for the others."""
    changes = {change.row_id: change for change in _property_changes(inputs)}
    fresh, retry, _ = _by_history(SetProperties.kind, PROPERTIES_TARGET, changes, inputs)
    if fresh:
        yield SetProperties(tuple(changes[row_id] for row_id in fresh))
    if retry:
        yield SetProperties(tuple(changes[row_id] for row_id in retry), retried=True)


def _quarantined_rows(inputs: PlanInputs) -> Iterator[str]:
    """Records whose values differ and were refused too often to be tried again."""
    if any(rejection.quarantined for rejection in inputs.rejected.values()):
        changed = [change.row_id for change in _property_changes(inputs)]
        yield from _by_history(SetProperties.kind, PROPERTIES_TARGET, changed, inputs)[2]


def _property_changes(inputs: PlanInputs) -> Iterator[PropertyChange]:
    """Each record whose values differ, in the order of its id."""
    wanted, current = inputs.wanted.properties, inputs.current.properties
    kept = frozenset(inputs.wanted.kept)
    cleared: Values = dict.fromkeys(spec.name for spec in inputs.wanted.specs if spec.name not in kept)
    for row_id in sorted({*wanted, *current}):
        reason = inputs.blocked.get(row_id)
        if reason in GONE or row_id in inputs.frozen:
            continue
        now = current.get(row_id, _NOTHING)
        target = cleared if reason is not None else wanted.get(row_id, cleared)
        if target is not cleared and not now.keys() <= target.keys():
            target = {**{name: None for name in now if name in cleared}, **target}
        change = _property_change(row_id, target, now)
        if change.values:
            yield change


def _property_change(row_id: str, target: Values, current: Values) -> PropertyChange:
    """What differs; an empty text is no value."""
    values: dict[str, str | None] = {}
    before: dict[str, str | None] = {}
    for name, new in target.items():
        old = current.get(name) or None
        if (new or None) != old:
            values[name] = new or None
            if old is not None:
                before[name] = old
    return PropertyChange(row_id, values, before or _NOTHING)

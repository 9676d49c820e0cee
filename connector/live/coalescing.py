"""From intents to steps: what several of them want of one contact is one wish, and all wishes are one small plan.

Only differences become steps, by what the books say the CRM holds because of us: to do an intent again does nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from connector.contracts import Capabilities
from connector.model import FeedbackRow, PropertySpec
from connector.plan.steps import (
    EnsureProperty,
    OptOut,
    PropertyChange,
    RecordFeedback,
    RemoveMembers,
    SetProperties,
    Step,
    Unenroll,
)
from connector.targets import OPT_OUT_LIST, is_list, is_workflow, workflow_list, workflow_of
from connector.wanted import FEEDBACK_AT, FEEDBACK_SCORE

if TYPE_CHECKING:
    from connector.journal import OutboxRow
    from connector.journal.held import Holding

Part: TypeAlias = tuple[str, str, str]
"""One row of one step: its kind, its target, and the record or the note."""

PROGRAM = "program"
"""What a `leave` is of, where the lists of segments stay as they are; else it is of everything."""

_KEY_LENGTH = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the playbook wants and the destination can.

    of_segments: Lists that are not a program's. of_programs: Properties that steps write. told: Those that hold what
    people answered, by name. existing: Properties the CRM has. reasons: Code → title. system: With its colon.
    records: Of people who are worked in another CRM: contact id → the record here.
    """

    system: str
    capabilities: Capabilities
    list_ids: Mapping[str, str]
    of_segments: frozenset[str] = frozenset()
    of_programs: frozenset[str] = frozenset()
    told: Mapping[str, PropertySpec] = field(default_factory=dict)
    owned: frozenset[str] = frozenset()
    existing: frozenset[str] = frozenset()
    reasons: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Coalesced:
    """A small plan, and what each intent needs of it.

    parts: By the intent's number; an intent without any is done already, or there is nothing to do.
    nowhere: Intents about nobody this CRM has, by number. leaving: Those that only take somebody off: who is gone from
    the CRM is off everything.
    """

    steps: tuple[Step, ...]
    parts: Mapping[int, frozenset[Part]]
    nowhere: frozenset[int] = frozenset()
    leaving: frozenset[int] = frozenset()


@dataclass(slots=True)
class _Wish:
    """What is wanted of one record."""

    row_id: str
    holding: Holding
    opt_out: bool = False
    off: set[str] = field(default_factory=set)
    values: dict[str, str | None] = field(default_factory=dict)
    notes: list[FeedbackRow] = field(default_factory=list)

    def set(self, values: Mapping[str, str | None]) -> set[Part]:
        """Want these values, where they are not there already."""
        self.values |= values
        return {(SetProperties.kind, "", self.row_id)} if values else set()

    def change(self) -> PropertyChange | None:
        """The values that differ from what is held."""
        held = self.holding.values
        values = {name: new for name, new in self.values.items() if (new or None) != (held.get(name) or None)}
        before = {name: old for name in values if (old := held.get(name))}
        return PropertyChange(self.row_id, values, before) if values else None


def coalesce(rows: Iterable[OutboxRow], holdings: Mapping[str, Holding], books: Books) -> Coalesced:
    """The steps for these intents, in the order in which they are to be done.

    Args:
        rows: In the outbox's order; of two that write one value, the later counts.
        holdings: What the records hold because of us, by record id; who holds nothing may be left out.
        books: What the playbook wants and the destination can.
    """
    from connector.journal.held import Holding

    wishes: dict[str, _Wish] = {}
    parts: dict[int, frozenset[Part]] = {}
    nowhere: set[int] = set()
    leaving: set[int] = set()
    for row in rows:
        row_id = record_of(row, books.system, books.records)
        if row_id is None:
            nowhere.add(row.number)
            continue
        if row.kind in _LEAVING:
            leaving.add(row.number)
        wish = wishes.setdefault(row_id, _Wish(row_id, holdings.get(row_id, Holding())))
        parts[row.number] = frozenset(_WANTS[row.kind](row, wish, books))
    steps = tuple(_steps(list(wishes.values()), books))
    there = {part for step in steps for part in _parts_of(step)}
    return Coalesced(
        steps, {number: mine & there for number, mine in parts.items()}, frozenset(nowhere), frozenset(leaving)
    )


def record_of(row: OutboxRow, system: str, records: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """The record an intent is about; None when it is about nobody, or about somebody the system does not know.

    records: Of people of other systems whom this one knows too.
    """
    contact_id = row.contact_id
    if contact_id is None:
        return None
    return contact_id.removeprefix(system) if contact_id.startswith(system) else records.get(contact_id)


# --- what each kind of intent wants ---------------------------------------------------------------------------------


def _leave(row: OutboxRow, wish: _Wish, books: Books) -> set[Part]:
    """Off everything we put them on, and without what we wrote about them; what they answered stays."""
    of_program = row.payload.get("of") == PROGRAM
    targets = {
        target
        for target in wish.holding.targets
        if target != OPT_OUT_LIST
        and (not is_list(target) or target in books.list_ids)
        and not (of_program and target in books.of_segments)
    }
    ours = books.of_programs if of_program else books.owned - books.told.keys()
    wish.off |= targets
    kinds = {target: Unenroll.kind if is_workflow(target) else RemoveMembers.kind for target in targets}
    cleared = {name: None for name, value in wish.holding.values.items() if value and name in ours}
    return {(kind, target, wish.row_id) for target, kind in kinds.items()} | wish.set(cleared)


def _opt_out(row: OutboxRow, wish: _Wish, books: Books) -> set[Part]:
    """Nobody who opts out stays on anything, whatever else was heard of it."""
    wish.opt_out = True
    return {(OptOut.kind, OPT_OUT_LIST, wish.row_id)} | _leave(row, wish, books)


def _set(row: OutboxRow, wish: _Wish, books: Books) -> set[Part]:
    given: Mapping[str, Any] = row.payload["values"]
    return wish.set({name: _text(value) for name, value in given.items() if name in books.owned})


def _feedback(row: OutboxRow, wish: _Wish, books: Books) -> set[Part]:
    """When they answered, and the score, as values of the newest answer; and a note, where the CRM keeps some."""
    at = datetime.fromisoformat(row.payload["at"])
    moment = at.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    found: set[Part] = set()
    last = wish.values.get(FEEDBACK_AT) or wish.holding.values.get(FEEDBACK_AT)
    if FEEDBACK_AT in books.told and (last is None or last <= moment):
        found |= wish.set({FEEDBACK_AT: moment, FEEDBACK_SCORE: _text(row.payload.get("score"))})
    reason, score = row.payload.get("reason"), _text(row.payload.get("score"))
    lines = (
        f"Reason: {books.reasons.get(reason, reason)}" if reason else "",
        f"Score: {score}" if score is not None else "",
        f"Survey: {row.payload.get('survey')}",
    )
    told = FeedbackRow(_key(row), wish.row_id, at, "Win-back feedback", "\n".join(filter(None, lines)))
    return found | _note(told, wish, books)


def _task(row: OutboxRow, wish: _Wish, books: Books) -> set[Part]:
    reason = row.payload.get("reason")
    title = f"Win-back: {books.reasons.get(reason, reason)}" if reason else "Win-back"
    return _note(FeedbackRow(_key(row), wish.row_id, row.added_at, title, row.payload["text"], task=True), wish, books)


def _note(note: FeedbackRow, wish: _Wish, books: Books) -> set[Part]:
    if not books.capabilities.feedback_per_batch:
        return set()
    wish.notes.append(note)
    return {(RecordFeedback.kind, "", note.key)}


def _key(row: OutboxRow) -> str:
    """What a note is found by again: the intent's own key says too much."""
    return hashlib.sha256(row.key.encode()).hexdigest()[:_KEY_LENGTH]


def _text(value: object) -> str | None:
    """A value as the CRM stores it: text; a whole number without its zero."""
    if value is None or value == "":
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


_WANTS: Mapping[str, Callable[[OutboxRow, _Wish, Books], set[Part]]] = {
    "leave": _leave,
    "opt_out": _opt_out,
    "set": _set,
    "feedback": _feedback,
    "task": _task,
}

_LEAVING = frozenset({"leave", "opt_out"})

WRITES = frozenset(_WANTS)
"""Kinds of intents that write to the CRM, and are done in the order of their contact."""


# --- steps ----------------------------------------------------------------------------------------------------------


def _steps(wishes: Sequence[_Wish], books: Books) -> Iterable[Step]:
    """Opt-outs, then everybody who leaves, then values, then notes."""
    changes = [change for wish in wishes if (change := wish.change()) is not None]
    missing = {name for change in changes for name, new in change.values.items() if new} - books.existing
    out = [wish.row_id for wish in wishes if wish.opt_out and OPT_OUT_LIST not in wish.holding.targets]
    if out and books.capabilities.opt_outs_per_batch:
        yield OptOut(tuple(sorted(out)))
    off: dict[str, list[str]] = {}
    for wish in wishes:
        for target in wish.off:
            off.setdefault(target, []).append(wish.row_id)
    for target in sorted(off, key=lambda name: (is_workflow(name), name)):
        rows = tuple(sorted(off[target]))
        yield Unenroll(workflow_of(target), rows) if is_workflow(target) else RemoveMembers(target, rows)
    yield from (EnsureProperty(spec) for name, spec in books.told.items() if name in missing)
    if changes:
        yield SetProperties(tuple(sorted(changes, key=lambda change: change.row_id)))
    notes = {note.key: note for wish in wishes for note in wish.notes}
    if notes:
        yield RecordFeedback(tuple(notes[key] for key in sorted(notes)))


def _parts_of(step: Step) -> Iterable[Part]:
    match step:
        case OptOut():
            return [(step.kind, OPT_OUT_LIST, row_id) for row_id in step.row_ids]
        case RemoveMembers():
            return [(step.kind, step.list_name, row_id) for row_id in step.row_ids]
        case Unenroll():
            return [(step.kind, workflow_list(step.workflow), row_id) for row_id in step.row_ids]
        case SetProperties():
            return [(step.kind, "", change.row_id) for change in step.rows]
        case RecordFeedback():
            return [(step.kind, "", note.key) for note in step.rows]
        case _:
            return ()

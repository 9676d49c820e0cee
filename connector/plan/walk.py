"""The walk over a plan's steps: every write goes out here, called by `apply.py` only.

Each write goes the same way: note it in the undo file, *intend* it in the ledger, send it, note what was changed,
record it as *sent* with the receipts, *confirm* it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, assert_never

from connector.answering import answer_asks
from connector.contracts import Clock, Destination, Reporter, chunks
from connector.errors import OutcomeUnknown, ProviderError, RejectedError, RetriableError, WinbackError
from connector.failpoints import failpoint
from connector.model import Ensured, FeedbackRow, Outcome, PropertyRow, PropertySpec, Receipt
from connector.plan.document import Plan
from connector.plan.outcome import ApplyReport, Refusal
from connector.plan.recover import (
    enrollment_reader,
    feedback_reader,
    membership_reader,
    notes_payload,
    opt_out_reader,
    property_reader,
    recover,
)
from connector.plan.sending import PAUSE_SECONDS, TROUBLES_IN_A_ROW, Answer, ReadBack, Send, send_batch
from connector.plan.steps import (
    AddMembers,
    AnswerAsks,
    CloseEpisodes,
    DirectStep,
    Enroll,
    EnsureList,
    EnsureProperty,
    MoveEpisodes,
    OpenEpisodes,
    OptOut,
    PropertyChange,
    RecordFeedback,
    RemoveList,
    RemoveMembers,
    RemoveProperty,
    SetProperties,
    Step,
    Unenroll,
    Values,
    direct_target,
)
from connector.plan.undo import Notes

if TYPE_CHECKING:
    from connector.journal import Journal

Consent = Callable[[Sequence[str]], Mapping[str, str]]
"""Which of these records may not be contacted now, with the reason code; asked just before each batch."""

ENSURE_ATTEMPTS = 3
"""How often finding or making a list or a property is tried: it is harmless to repeat."""

DECISIONS_AT_ONCE = 5000
"""For so many contacts consent is asked at once before a decision about them is written down."""

T = TypeVar("T")

MISSING = "missing"
"""The code of rows whose record the destination does not have."""


def no_calls() -> int:
    """The calls of a destination without a budget."""
    return 0


def no_check() -> None:
    """The lock of a run that holds none."""


Told = Callable[[str, str, Mapping[str, Receipt]], None]
"""Given what the destination said about a batch: its kind, its target, and a receipt for each row."""


def nobody_asked(kind: str, target: str, receipts: Mapping[str, Receipt]) -> None:
    """For a plan whose counts are enough."""
    del kind, target, receipts


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyContext:
    """What an apply works with.

    fingerprints: Those of the present world, taken after unfinished writes are settled; None leaves the check out.
    check_lock: Raises Locked when another process has taken our lock.
    calls: How many API calls were counted so far.
    told: Hears what became of every row, batch by batch.
    between: What else is to be done before each batch, before it is asked who may still be contacted: whoever leaves
        now is not put on the next list.
    troubles: So many requests in a row without an answer, and it stops.
    merged: Record ids that are no more, and those of the survivors.
    """

    destination: Destination
    journal: Journal
    clock: Clock
    reporter: Reporter
    consent: Consent
    run_id: str
    fingerprints: Callable[[], Mapping[str, str]] | None = None
    check_lock: Callable[[], None] = no_check
    calls: Callable[[], int] = no_calls
    told: Told = nobody_asked
    between: Callable[[], None] = no_check
    troubles: int = TROUBLES_IN_A_ROW
    merged: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """What an interrupted apply of the same plan had done already."""

    members: Mapping[str, set[str]] | None = None
    properties: Mapping[str, Mapping[str, str | None]] | None = None

    def still_to_move(self, step: AddMembers | RemoveMembers, row_ids: Sequence[str]) -> Sequence[str]:
        """Those of the rows that are not where this step wants them."""
        if self.members is None:
            return row_ids
        return self._elsewhere(step.list_name, row_ids, adding=isinstance(step, AddMembers))

    def still_to_do(self, step: DirectStep, row_ids: Sequence[str]) -> Sequence[str]:
        """Those of the rows for which this step was not done."""
        if self.members is None:
            return row_ids
        return self._elsewhere(direct_target(step), row_ids, adding=not isinstance(step, Unenroll))

    def _elsewhere(self, target: str, row_ids: Sequence[str], *, adding: bool) -> Sequence[str]:
        members = (self.members or {}).get(target, ())
        return [row_id for row_id in row_ids if (row_id in members) != adding]

    def is_set(self, change: PropertyChange) -> bool:
        """Whether the record has these values."""
        if self.properties is None:
            return False
        held = self.properties.get(change.row_id, {})
        return all((held.get(name) or None) == value for name, value in change.values.items())


# --- one walk over the steps ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Batch:
    """One write: at most as many rows as the destination takes in a call."""

    step: int
    number: int
    kind: str
    target: str
    row_ids: Sequence[str]
    list_id: str | None = None
    changes: Sequence[PropertyChange] = ()
    notes: Sequence[FeedbackRow] = ()

    @property
    def payload(self) -> Mapping[str, Any] | None:
        """What recovery needs to know beyond the rows."""
        if self.notes:
            return notes_payload(self.notes)
        if not self.changes:
            return None
        return {
            "values": {change.row_id: dict(change.values) for change in self.changes},
            "before": {change.row_id: dict(change.before) for change in self.changes},
        }


class _Stopped(Exception):  # not an error: it ends the walk
    """There is no point in sending anything more."""


class Walk:
    """Walks the steps in order and counts what became of every row."""

    def __init__(self, plan: Plan, context: ApplyContext, done: Done) -> None:
        self.plan = plan
        self.context = context
        self.done = done
        self.destination = context.destination
        self.ledger = context.journal.ledger
        self.list_ids = {**context.journal.held.lists(plan.destination), **plan.list_ids}
        self.failed_properties: set[str] = set()
        self.outcomes: Counter[Outcome] = Counter()
        self.skipped: Counter[str] = Counter()
        self.refusals: list[Refusal] = []
        self.notices: list[str] = []
        self.unsettled: dict[int, int] = {}
        self.kept_out: set[str] = set()
        """Episodes that were to begin and did not: consent was withdrawn since the plan was made."""
        self.out: set[str] = set()
        """Records whose step was to be taken and was not: their episode ended since, or never began."""
        self.stopped: WinbackError | None = None
        self.answer_lost = False
        self.rows_done = 0
        self.rows_total = plan.written_rows

    def walk(self, undo: Notes) -> None:
        """Every step, in order; stops early when nothing more can be sent."""
        self.undo = undo
        numbered = list(enumerate(self.plan.steps))
        try:
            for ensuring, group in groupby(numbered, key=lambda pair: isinstance(pair[1], EnsureProperty)):
                if ensuring:
                    self._ensure_properties([(n, step.spec) for n, step in group if isinstance(step, EnsureProperty)])
                    continue
                for number, step in group:
                    self._step(number, step)
                    failpoint("apply.step_done")
        except _Stopped:
            pass

    def report(self, *, api_calls: int, seconds: float) -> ApplyReport:
        """What became of the rows."""
        whole = sum(refusal.rows for refusal in self.refusals if refusal.row_id is None)
        return ApplyReport(
            run_id=self.context.run_id,
            plan_id=self.plan.plan_id,
            destination=self.plan.destination,
            written=self.outcomes[Outcome.WRITTEN],
            unchanged=self.outcomes[Outcome.UNCHANGED],
            rejected=self.outcomes[Outcome.REJECTED] + whole,
            unknown=self.outcomes[Outcome.UNKNOWN],
            skipped=dict(self.skipped),
            api_calls=api_calls,
            seconds=seconds,
            rejections=tuple(self.refusals),
            stopped=self.stopped,
            notices=tuple(self.notices),
        )

    def _step(self, number: int, step: Step) -> None:  # noqa: C901  # one case per kind of step
        match step:
            case EnsureProperty():
                self._ensure_properties([(number, step.spec)])
            case EnsureList():
                self._ensure_list(number, step)
            case RemoveMembers() | AddMembers():
                self._change_members(number, step)
            case SetProperties():
                self._set_properties(number, step)
            case RemoveList():
                self._remove_list(number, step)
            case RemoveProperty():
                self._remove_property(number, step)
            case OptOut() | Enroll() | Unenroll():
                self._direct(number, step)
            case RecordFeedback():
                self._record_feedback(number, step)
            case OpenEpisodes() | MoveEpisodes() | CloseEpisodes():
                self._decide(step)
            case AnswerAsks():
                answer_asks(self.context.journal, dict(step.answers))
            case _:
                assert_never(step)

    # --- decisions ----------------------------------------------------------------------------------------

    def _decide(self, step: OpenEpisodes | MoveEpisodes | CloseEpisodes) -> None:
        """Write decisions down before anything follows from them; who opted out meanwhile neither enters nor moves."""
        self.context.check_lock()
        episodes = self.context.journal.episodes
        failpoint("apply.deciding")
        match step:
            case CloseEpisodes():
                episodes.exit(step.exits, run_id=self.context.run_id)
            case OpenEpisodes():
                entries = self._allowed(step.entries, lambda entry: entry.episode.contact_id)
                episodes.fix_splits(step.splits)
                episodes.enter(entries, run_id=self.context.run_id)
                self.kept_out = {e.episode.episode_id for e in step.entries} - {e.episode.episode_id for e in entries}
            case MoveEpisodes():
                moves = self._allowed(step.moves, lambda move: move.contact_id)
                moves = [move for move in moves if move.episode_id not in self.kept_out]
                ended = set(episodes.move(moves, run_id=self.context.run_id))
                gone = ended | self.kept_out
                prefix = f"{self.plan.system}:"
                self.out = {m.contact_id.removeprefix(prefix) for m in step.moves if m.episode_id in gone}
            case _:
                assert_never(step)
        self.undo.settle(self.undo.intend(step.kind, ""))
        failpoint("apply.decided")

    def _allowed(self, rows: Sequence[T], contact_id: Callable[[T], str]) -> Sequence[T]:
        """The rows of contacts who may be contacted at this moment."""
        prefix = f"{self.plan.system}:"
        allowed: list[T] = []
        for part in chunks(rows, DECISIONS_AT_ONCE):
            blocked = self.context.consent([contact_id(row).removeprefix(prefix) for row in part])
            allowed += [row for row in part if contact_id(row).removeprefix(prefix) not in blocked]
        return allowed

    # --- properties and lists themselves ------------------------------------------------------------------

    def _ensure_properties(self, wanted: Sequence[tuple[int, PropertySpec]]) -> None:
        """Make all missing properties in one call; if that is refused, one by one to see which is to blame."""
        self.context.check_lock()
        self.answer_lost = False
        entries, batch_ids = [], []
        for number, spec in wanted:
            entries.append(self.undo.intend(EnsureProperty.kind, spec.name))
            failpoint("apply.undo_noted")
            batch_ids.append(self._intend(_Batch(number, 0, EnsureProperty.kind, spec.name, ())))
            failpoint("apply.intended")
        specs = [spec for _, spec in wanted]
        made: list[Ensured | RejectedError] = []
        try:
            made.extend(self._ensured(lambda: self.destination.ensure_properties(specs)))
        except RejectedError as error:
            made.extend([error] if len(specs) == 1 else [self._ensured_alone(spec) for spec in specs])
        failpoint("apply.sent")
        for spec, entry, batch_id, outcome in zip(specs, entries, batch_ids, made, strict=True):
            if isinstance(outcome, RejectedError):
                self.failed_properties.add(spec.name)
                self._target_refused(EnsureProperty.kind, spec.name, entry, batch_id, outcome)
            else:
                self._target_done(entry, batch_id, outcome)
        failpoint("apply.step_done")

    def _ensured_alone(self, spec: PropertySpec) -> Ensured | RejectedError:
        try:
            return self._ensured(lambda: self.destination.ensure_properties([spec]))[0]
        except RejectedError as error:
            return error

    def _ensure_list(self, number: int, step: EnsureList) -> None:
        self.context.check_lock()
        self.answer_lost = False
        entry = self.undo.intend(EnsureList.kind, step.name)
        failpoint("apply.undo_noted")
        batch_id = self._intend(_Batch(number, 0, EnsureList.kind, step.name, ()))
        failpoint("apply.intended")
        try:
            outcome = self._ensured(lambda: self.destination.ensure_list(step.name, folder=step.folder))
        except RejectedError as error:
            self._target_refused(EnsureList.kind, step.name, entry, batch_id, error)
            return
        failpoint("apply.sent")
        self.list_ids[step.name] = outcome.ref
        self._target_done(entry, batch_id, outcome)

    def _remove_list(self, number: int, step: RemoveList) -> None:
        if step.only_if_empty and self._ensured(lambda: any(self.destination.members(step.list_id))):
            self.notices.append(f"list {step.name} was left: somebody is on it and it may not be ours")
            return
        self._remove(number, step, lambda: self.destination.remove_list(step.list_id))

    def _remove_property(self, number: int, step: RemoveProperty) -> None:
        self._remove(number, step, lambda: self.destination.remove_property(step.name))

    def _remove(self, number: int, step: RemoveList | RemoveProperty, remove: Callable[[], None]) -> None:
        self.context.check_lock()
        entry = self.undo.intend(step.kind, step.name)
        batch_id = self._intend(_Batch(number, 0, step.kind, step.name, ()))
        failpoint("apply.intended")
        try:
            self._ensured(remove)
        except RejectedError as error:
            self._target_refused(step.kind, step.name, entry, batch_id, error)
            return
        failpoint("apply.sent")
        self._target_done(entry, batch_id, Ensured(step.name, created=True))

    def _ensured(self, call: Callable[[], T]) -> T:
        """The answer of a call that finds, makes or removes; repeated when no answer comes."""
        for attempt in range(1, ENSURE_ATTEMPTS + 1):
            try:
                return call()
            except RejectedError:
                raise
            except RetriableError as error:
                self.answer_lost |= isinstance(error, OutcomeUnknown)
                if attempt == ENSURE_ATTEMPTS:
                    self._stop(error)
                self.context.clock.sleep(error.retry_after_seconds or PAUSE_SECONDS)
            except WinbackError as error:
                self._stop(error)
        raise AssertionError("the last attempt returns or stops")

    def _target_done(self, entry: int, batch_id: int, outcome: Ensured) -> None:
        # What is found after a lost answer was probably made by the request whose answer was lost.
        created = None if self.answer_lost and not outcome.created else outcome.created
        self.undo.settle(entry, created=created, ref=outcome.ref)
        failpoint("apply.undo_settled")
        said = Outcome.WRITTEN if outcome.created else Outcome.UNCHANGED
        self.ledger.sent(batch_id, [Receipt(outcome.ref, said)], self.context.clock.now())
        failpoint("apply.recorded")
        self.ledger.confirm(batch_id, self.context.clock.now())
        failpoint("apply.confirmed")

    def _target_refused(self, kind: str, target: str, entry: int, batch_id: int, error: RejectedError) -> None:
        self.undo.settle(entry, created=False)
        self.ledger.rejected(batch_id, str(error))
        self._refuse(kind, target, 1, error)

    # --- rows ---------------------------------------------------------------------------------------------

    def _change_members(self, number: int, step: RemoveMembers | AddMembers) -> None:
        adding = isinstance(step, AddMembers)
        list_id = self.list_ids.get(step.list_name)
        if list_id is None:
            self._refuse(step.kind, step.list_name, len(step.row_ids), RejectedError("the list is not there"))
            return

        def send(row_ids: Sequence[str]) -> Sequence[Receipt]:
            if adding:
                return self.destination.change_members(list_id, add=row_ids)
            return _gone_is_off(self.destination.change_members(list_id, remove=row_ids))

        read_back = membership_reader(self.destination, list_id, adding=adding)
        left = len(step.row_ids)
        for index, part in enumerate(chunks(step.row_ids, self.destination.capabilities.members_per_call)):
            self.context.between()
            row_ids = self.done.still_to_move(step, part)
            self.outcomes[Outcome.UNCHANGED] += len(part) - len(row_ids)
            row_ids = self._permitted(row_ids) if adding else row_ids
            batch = _Batch(number, index, step.kind, step.list_name, row_ids, list_id=list_id)
            if row_ids and not self._write(batch, send, read_back, left=left):
                return
            left -= len(part)
            self._progress(len(part))

    def _direct(self, number: int, step: DirectStep) -> None:
        """Enroll, unenroll or opt out, a few records to a ledger batch."""

        def send(row_ids: Sequence[str]) -> Sequence[Receipt]:
            match step:
                case Enroll():
                    return self.destination.enroll(step.workflow, row_ids)
                case Unenroll():
                    return _gone_is_off(self.destination.unenroll(step.workflow, row_ids))
                case OptOut():
                    return _gone_is_off(self.destination.opt_out(row_ids))
                case _:
                    assert_never(step)

        if isinstance(step, OptOut):
            read_back = opt_out_reader(self.destination)
        else:
            read_back = enrollment_reader(
                self.destination, step.workflow, enrolling=isinstance(step, Enroll), since=self.context.clock.now()
            )
        left = len(step.row_ids)
        for index, part in enumerate(chunks(step.row_ids, self._direct_size(step))):
            self.context.between()
            row_ids = self.done.still_to_do(step, part)
            self.outcomes[Outcome.UNCHANGED] += len(part) - len(row_ids)
            row_ids = self._permitted(row_ids) if isinstance(step, Enroll) else row_ids
            batch = _Batch(number, index, step.kind, direct_target(step), row_ids)
            if row_ids and not self._write(batch, send, read_back, left=left):
                return
            left -= len(part)
            self._progress(len(part))

    def _direct_size(self, step: DirectStep) -> int:
        """How many records such a step takes at once."""
        able = self.destination.capabilities
        return (able.opt_outs_per_batch if isinstance(step, OptOut) else able.enrollments_per_batch) or 1

    def _set_properties(self, number: int, step: SetProperties) -> None:
        left = len(step.rows)
        for index, part in enumerate(chunks(step.rows, self.destination.capabilities.properties_per_call)):
            self.context.between()
            changes = {change.row_id: change for change in self._writable(part)}
            wanted = {row_id: change.values for row_id, change in changes.items()}

            def send(row_ids: Sequence[str], wanted: Mapping[str, Values] = wanted) -> Sequence[Receipt]:
                rows = [PropertyRow(row_id, wanted[row_id]) for row_id in row_ids]
                return [_gone_is_clear(receipt, wanted) for receipt in self.destination.set_properties(rows)]

            batch = _Batch(number, index, step.kind, "", list(changes), changes=list(changes.values()))
            read_back = property_reader(self.destination, wanted)
            if changes and not self._write(batch, send, read_back, left=left):
                return
            left -= len(part)
            self._progress(len(part))

    def _record_feedback(self, number: int, step: RecordFeedback) -> None:
        left = len(step.rows)
        for index, part in enumerate(chunks(step.rows, self.destination.capabilities.feedback_per_batch or 1)):
            notes = {note.key: note for note in part}

            def send(keys: Sequence[str], notes: Mapping[str, FeedbackRow] = notes) -> Sequence[Receipt]:
                return self.destination.record_feedback([notes[key] for key in keys])

            batch = _Batch(number, index, step.kind, "", list(notes), notes=part)
            if not self._write(batch, send, feedback_reader(self.destination, notes), left=left):
                return
            left -= len(part)
            self._progress(len(part))

    def _writable(self, part: Sequence[PropertyChange]) -> list[PropertyChange]:
        """The changes still to be made: a row that may not be contacted is only ever cleared."""
        missing = [change for change in part if not self.done.is_set(change)]
        self.outcomes[Outcome.UNCHANGED] += len(part) - len(missing)
        changes = [_without(change, self.failed_properties) for change in missing]
        changes = [change for change in changes if change.values]
        telling = [change.row_id for change in changes if any(change.values.values())]
        permitted = set(self._permitted(telling))
        return [change for change in changes if change.row_id in permitted or not any(change.values.values())]

    def _permitted(self, row_ids: Sequence[str]) -> Sequence[str]:
        """The rows that may be contacted at this moment."""
        blocked = self.context.consent(row_ids) if row_ids else {}
        if self.out:
            blocked = {**blocked, **{row_id: "ended" for row_id in row_ids if row_id in self.out}}
        if not blocked:
            return row_ids
        self.skipped.update(blocked[row_id] for row_id in row_ids if row_id in blocked)
        return [row_id for row_id in row_ids if row_id not in blocked]

    def _write(self, batch: _Batch, send: Send, read_back: ReadBack, *, left: int) -> bool:
        """One batch from intention to confirmation; False when it was refused for a reason that is not in its rows.

        Then the `left` rows of the step, from this batch on, have no chance either.
        """
        self.context.check_lock()
        entry = self.undo.intend(
            batch.kind, batch.target, row_ids=batch.row_ids, list_id=batch.list_id, changes=batch.changes
        )
        failpoint("apply.undo_noted")
        batch_id = self._intend(batch)
        failpoint("apply.intended")
        answer = send_batch(
            batch.row_ids, send, read_back, sleep=self.context.clock.sleep, troubles=self.context.troubles
        )
        failpoint("apply.sent")
        tally = Counter(map(_OUTCOME, answer.receipts.values()))
        self.undo.settle(entry, written=_changed(answer.receipts, tally))
        failpoint("apply.undo_settled")
        self._record(batch_id, answer, unknown=tally[Outcome.UNKNOWN])
        self._count(batch, answer, tally)
        if answer.stopped is not None:
            self._stop(answer.stopped)
        if answer.refused is not None and left > len(answer.receipts):
            self._refuse(batch.kind, batch.target, left - len(answer.receipts), answer.refused)
        return answer.refused is None

    def _record(self, batch_id: int, answer: Answer, *, unknown: int) -> None:
        """Tell the ledger what the destination said, and close the batch where nothing is open."""
        now = self.context.clock.now()
        if answer.receipts:
            self.ledger.sent(batch_id, list(answer.receipts.values()), now)
        failpoint("apply.recorded")
        ended = answer.refused or answer.stopped
        if unknown:
            self.unsettled[batch_id] = unknown
            self.ledger.unknown(batch_id, f"no answer about {unknown} rows")
        elif ended is not None:
            self.ledger.rejected(batch_id, str(ended))
        else:
            self.ledger.confirm(batch_id, now)
        failpoint("apply.confirmed")

    def _count(self, batch: _Batch, answer: Answer, tally: Counter[Outcome]) -> None:
        """Add up the outcomes; a row that is missing counts as rejected."""
        self.context.told(batch.kind, batch.target, answer.receipts)
        self.outcomes.update(tally)
        self.outcomes[Outcome.REJECTED] += self.outcomes.pop(Outcome.MISSING, 0)
        if _REFUSED.isdisjoint(tally):
            return
        for row_id, receipt in answer.receipts.items():
            if receipt.outcome in _REFUSED:
                missing = receipt.outcome is Outcome.MISSING
                message = receipt.message or ("the destination does not have this record" if missing else "refused")
                code = receipt.code or (MISSING if missing else None)
                self.refusals.append(Refusal(batch.kind, batch.target, row_id, 1, message, code))

    def settle_unknown(self) -> None:
        """Read back what is still open, now that the system had time to recover."""
        if not self.unsettled or self.stopped is not None:
            return
        name = self.plan.destination
        try:
            recover(self.context.journal, self.destination, name=name, clock=self.context.clock)
        except ProviderError as error:
            self.notices.append(f"{sum(self.unsettled.values()):,} rows are still unknown: {error}")
            return
        for batch_id, unknown in self.unsettled.items():
            batch = self.ledger.get(batch_id)
            if batch is not None and batch.undecided:
                self.notices.append(
                    f"{len(batch.undecided):,} enrollments got no answer, and the workflow cannot tell yet: "
                    "nothing more is written about these contacts until it can"
                )
                continue
            lost = [row for row in batch.rows if row not in batch.outcomes] if batch is not None else []
            self.outcomes[Outcome.UNKNOWN] -= unknown
            self.outcomes[Outcome.WRITTEN] += unknown - len(lost)
            self.outcomes[Outcome.REJECTED] += len(lost)
            if batch is not None:
                self.refusals += [Refusal(batch.kind.value, batch.target, row, 1, "no answer came") for row in lost]

    # --- small things -------------------------------------------------------------------------------------

    def _intend(self, batch: _Batch) -> int:
        return self.ledger.intend(
            self.context.run_id,
            self.plan.plan_id,
            destination=self.plan.destination,
            step=batch.step,
            number=batch.number,
            kind=batch.kind,
            target=batch.target,
            rows=batch.row_ids,
            payload=batch.payload,
        )

    def _refuse(self, kind: str, target: str, rows: int, error: RejectedError) -> None:
        code = None if error.status is None else str(error.status)
        self.refusals.append(Refusal(kind, target, None, rows, str(error), code))

    def _stop(self, error: WinbackError) -> NoReturn:
        self.stopped = error
        raise _Stopped from error

    def _progress(self, rows: int) -> None:
        self.rows_done += rows
        self.context.reporter.progress(f"writing to {self.plan.destination}", self.rows_done, self.rows_total)


_REFUSED = frozenset({Outcome.REJECTED, Outcome.MISSING})

_CHANGED = frozenset({Outcome.WRITTEN, Outcome.UNKNOWN})

_OUTCOME = attrgetter("outcome")


def _changed(receipts: Mapping[str, Receipt], tally: Counter[Outcome]) -> Iterable[str]:
    """The rows that were changed by us, or may have been."""
    if _CHANGED.issuperset(tally):
        return receipts
    return [row_id for row_id, receipt in receipts.items() if receipt.outcome in _CHANGED]


def _gone_is_off(receipts: Sequence[Receipt]) -> Sequence[Receipt]:
    """A record that no longer exists is not on the list: as wanted."""
    return [
        replace(receipt, outcome=Outcome.UNCHANGED) if receipt.outcome is Outcome.MISSING else receipt
        for receipt in receipts
    ]


def _gone_is_clear(receipt: Receipt, wanted: Mapping[str, Values]) -> Receipt:
    """A record that no longer exists has no values: as wanted, when it was to be cleared."""
    if receipt.outcome is Outcome.MISSING and not any(wanted[receipt.row_id].values()):
        return replace(receipt, outcome=Outcome.UNCHANGED)
    return receipt


def _without(change: PropertyChange, names: AbstractSet[str]) -> PropertyChange:
    """The change without properties that could not be made."""
    if not names or names.isdisjoint(change.values):
        return change
    values = {name: value for name, value in change.values.items() if name not in names}
    return replace(change, values=values)

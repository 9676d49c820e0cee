"""The relay: what the outbox holds is carried out, urgent things first, through the same ledger as any plan.

A crash, a lost answer, a refused row and the allowance of calls are therefore handled by the code that handles them in
a run. What is written here is not undone by anybody, and moves no version that a plan was made from.
"""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Self

from connector.contracts import chunks
from connector.crms import destinations_in_order, first_destination
from connector.errors import CredentialsError, Locked, RetriableError, WinbackError
from connector.failpoints import failpoint
from connector.journal.known import AT
from connector.live.coalescing import WRITES, Books, Coalesced, Part, coalesce, record_of
from connector.model import Callback, Outcome, Receipt
from connector.plan.document import Plan
from connector.plan.recover import recover
from connector.plan.sending import UNREACHED, send_batch
from connector.plan.steps import EnsureProperty, OptOut, RecordFeedback, RemoveMembers, Step, Unenroll
from connector.plan.undo import NoUndo
from connector.plan.walk import ApplyContext, Done, Walk, no_calls, no_check
from connector.redact import redact
from connector.targets import live_plan
from connector.wanted import feedback_specs, owned_properties, segment_lists, sunset_lists
from connector.writing import writing

if TYPE_CHECKING:
    from connector.contracts import Destination
    from connector.journal import Journal, OutboxRow
    from connector.live.alerts import Alerts
    from connector.plan.outcome import Refusal
    from connector.workspace import Workspace

AT_ONCE: Final = 100
"""Intents a batch takes: a few calls' worth, so that whoever waits for the lock waits seconds."""

TROUBLES: Final = 4
"""Requests in a row without an answer after which the CRM is away: what waits here can, and a run wants the lock."""

LEASE_SECONDS: Final = 300.0
FIRST_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 300.0
"""The CRM hears of an opt-out within a quarter of an hour of being back."""

COMPLETE, TELL = "complete", "tell"
_NEWS = frozenset({"set", "feedback", "task"})
_NOT_FOUND = 404
_AS_WANTED = frozenset({Outcome.WRITTEN, Outcome.UNCHANGED})


@dataclass(slots=True)
class Relayed:
    """What became of the intents that were taken, in numbers.

    busy: A run holds the lock, and relays itself between its batches. away: Why the CRM could not be written to.
    """

    done: int = 0
    later: int = 0
    set_aside: int = 0
    busy: bool = False
    away: WinbackError | None = None

    @property
    def taken(self) -> int:
        """Intents that were taken; when it is none, there is nothing to do now."""
        return self.done + self.later + self.set_aside

    def __iadd__(self, other: Relayed) -> Self:
        self.done += other.done
        self.later += other.later
        self.set_aside += other.set_aside
        self.busy |= other.busy
        self.away = self.away or other.away
        return self


def relay(workspace: Workspace, destination_name: str, *, limit: int = AT_ONCE, run_id: str) -> Relayed:
    """Carry out what is due, once; a worker keeps a `Relay`, which remembers that the CRM is away."""
    return Relay(workspace, destination_name)(limit=limit, run_id=run_id)


class Relay:
    """Carries out what is due for one destination; one of them in a process, called again and again."""

    def __init__(
        self,
        workspace: Workspace,
        destination_name: str,
        *,
        alerts: Alerts | None = None,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.workspace = workspace
        self.name = destination_name
        self._mine = _meant_for(workspace, destination_name)
        self._alerts = alerts
        self._jitter = jitter
        self._owner = f"relay-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._failures = 0
        self._away_until: float | None = None
        self._said: set[str] = set()

    @property
    def journal(self) -> Journal:
        """The journal."""
        return self.workspace.journal

    def __call__(self, *, limit: int = AT_ONCE, run_id: str) -> Relayed:
        """Do what is due, at most so many intents: messages, callbacks, then what is written to the CRM.

        While a run holds the lock nothing is written here: it does it itself.
        """
        relayed = self._tell(limit, run_id)
        if self.is_away():
            return relayed
        relayed += self._complete(limit, run_id)
        if relayed.away is not None or not self._anything_waits():
            return relayed
        try:
            with writing(self.journal, self.workspace.clock) as lock:
                relayed += self._write(limit, run_id, check_lock=lock.check)
        except Locked:
            relayed.busy = True
        return relayed

    def within(self, *, limit: int = AT_ONCE, run_id: str, check_lock: Callable[[], None] = no_check) -> Relayed:
        """The same for who holds the lock already: a run, between two of its batches."""
        if self.is_away() or not self._anything_waits():
            return Relayed()
        return self._write(limit, run_id, check_lock=check_lock)

    def is_away(self) -> bool:
        """Whether the CRM did not answer a moment ago, and is not to be asked yet."""
        return self._away_until is not None and self.workspace.clock.monotonic() < self._away_until

    def _anything_waits(self) -> bool:
        return self.journal.outbox.depth() > 0

    # --- the CRM ----------------------------------------------------------------------------------------------------

    def _write(self, limit: int, run_id: str, *, check_lock: Callable[[], None]) -> Relayed:
        rows = self._due(limit)
        if not rows:
            return Relayed()
        failpoint("relay.claimed")
        try:
            destination = self.workspace.destination(self.name)
            doubtful = self._settle_doubts(destination)
        except WinbackError as error:
            return self._went_away(rows, error)
        prefix, there = f"{destination.system}:", self._records(destination, rows)
        waiting = [row for row in rows if row.kind != OptOut.kind and record_of(row, prefix, there) in doubtful]
        relayed = self._put_off(waiting, "whether an earlier write happened is not known yet")
        held_up = {row.number for row in waiting}
        ready = [row for row in rows if row.number not in held_up]
        carried = self._carry(destination, ready, run_id, check_lock)
        return self._end(relayed, ready, carried, run_id)

    def _due(self, limit: int) -> list[OutboxRow]:
        """What to do now; when more waits than fits, opt-outs come before everything else."""
        outbox = self.journal.outbox
        lease: dict[str, Any] = {
            "owner": self._owner,
            "lease_seconds": LEASE_SECONDS,
            "destinations": self._mine,
        }
        first = outbox.claim(limit, kinds={OptOut.kind}, **lease) if outbox.depth() > limit else []
        left = limit - len(first)
        return [*first, *(outbox.claim(left, kinds=WRITES, **lease) if left else [])]

    def _records(self, destination: Destination, rows: Sequence[OutboxRow]) -> Mapping[str, str]:
        """The records here of people who are worked in another CRM, as the last run published them."""
        prefix = f"{destination.system}:"
        others = {row.contact_id for row in rows if row.contact_id and not row.contact_id.startswith(prefix)}
        known = {contact_id: self.journal.known.keys(contact_id, AT) for contact_id in sorted(others)}
        return {
            contact_id: record.removeprefix(prefix)
            for contact_id, records in known.items()
            for record in records
            if record.startswith(prefix)
        }

    def _settle_doubts(self, destination: Destination) -> set[str]:
        """Find out what became of writes that were left open; the records about which nobody can say yet."""
        ledger = self.journal.ledger
        if not ledger.unresolved(self.name):
            return set()
        recovered = recover(self.journal, destination, name=self.name, clock=self.workspace.clock)
        if recovered.batches:
            self.workspace.reporter.line(str(recovered))
        return {row_id for batch in ledger.unresolved(self.name) for row_id in batch.undecided}

    def _carry(
        self, destination: Destination, rows: Sequence[OutboxRow], run_id: str, check_lock: Callable[[], None]
    ) -> _Carried:
        prefix, there = f"{destination.system}:", self._records(destination, rows)
        records = {record for row in rows if (record := record_of(row, prefix, there)) is not None}
        erased = self._erased([row.contact_id for row in rows if row.contact_id is not None])
        untold = {row.number for row in rows if row.kind in _NEWS and row.contact_id in erased}
        books = replace(books_of(self.workspace, self.name, destination), records=there)
        wanted = coalesce(
            [row for row in rows if row.number not in untold], self.journal.held.of(self.name, records), books
        )
        carried = _Carried(wanted)
        context = ApplyContext(
            destination=destination,
            journal=self.journal,
            clock=self.workspace.clock,
            reporter=_NoProgress(self.workspace.reporter.line),
            consent=_nobody_is_kept_out,
            run_id=run_id,
            check_lock=check_lock,
            calls=no_calls,
            told=carried.told,
            troubles=TROUBLES,
        )
        for steps in _families(wanted.steps):
            walk = Walk(self._plan(steps, destination.system), context, Done())
            walk.walk(NoUndo())
            carried.take(walk)
            if walk.stopped is not None and not isinstance(walk.stopped, CredentialsError):
                break
        failpoint("relay.written")
        return carried

    def _erased(self, contact_ids: Sequence[str]) -> set[str]:
        """Those of whom nothing new may be told, not even what they said; they still come off everything."""
        states = self.journal.consent.states_of(contact_ids)
        return {contact_id for contact_id, state in states.items() if state.erased_at is not None}

    def _plan(self, steps: Sequence[Step], system: str) -> Plan:
        """A plan that is nowhere kept: what it does is in the ledger, and why in the outbox."""
        now = self.workspace.clock.now()
        plan = Plan(
            account=self.workspace.playbook.account,
            destination=self.name,
            system=system,
            as_of=now.date(),
            made_at=now,
            expires_at=now,
            fingerprints={},
            steps=tuple(steps),
            lists=(),
            excluded={},
            guards=(),
            api_calls=0,
        )
        return replace(plan, plan_id=live_plan(uuid.uuid4().hex[:20]))

    # --- how each ends ----------------------------------------------------------------------------------------------

    def _end(self, relayed: Relayed, rows: Sequence[OutboxRow], carried: _Carried, run_id: str) -> Relayed:
        """Tell the outbox how each intent ended."""
        outbox = self.journal.outbox
        ends = {row.number: carried.end(row.number) for row in rows}
        done = [number for number, end in ends.items() if end.state is _DONE]
        relayed.done += outbox.done(done, run_id=run_id)
        failpoint("relay.ended")
        for row in rows:
            end = ends[row.number]
            if end.state is _REFUSED:
                relayed.set_aside += outbox.set_aside(row.number, end.words, owner=self._owner)
        open_ones = [row for row in rows if ends[row.number].state is _OPEN]
        away = carried.away
        if away is not None:
            relayed += self._went_away(open_ones, away)
            return relayed
        if carried.reached:
            self._came_back()
        if carried.stopped is not None:
            self._say_once(f"{self.name}: {redact(str(carried.stopped))}")
        for row in open_ones:
            relayed += self._put_off([row], ends[row.number].words or "no answer came")
        return relayed

    def _put_off(self, rows: Sequence[OutboxRow], reason: str, *, pause: float | None = None) -> Relayed:
        now = self.workspace.clock.now()
        later = 0
        for row in rows:
            due = now + timedelta(seconds=self._pause(row.attempts) if pause is None else pause)
            later += self.journal.outbox.later(row.number, reason, due, owner=self._owner)
        return Relayed(later=later)

    def _pause(self, attempts: int) -> float:
        """Full jitter: anything up to a bound that doubles."""
        return self._jitter(0.0, min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(attempts, 20)))

    def _went_away(self, rows: Sequence[OutboxRow], error: WinbackError) -> Relayed:
        """The CRM cannot be written to: everything waits until it is asked again, and then comes in its order."""
        self._failures += 1
        named = error.retry_after_seconds if isinstance(error, RetriableError) else None
        pause = max(named or 0.0, self._pause(self._failures))
        self._away_until = self.workspace.clock.monotonic() + pause
        words = redact(str(error))
        if self._failures == 1:
            self.workspace.reporter.line(f"{self.name} cannot be written to, and what is due waits: {words}")
        relayed = self._put_off(rows, words, pause=pause)
        relayed.away = error
        return relayed

    def _came_back(self) -> None:
        if self._failures:
            self.workspace.reporter.line(f"{self.name} can be written to again")
        self._failures, self._away_until = 0, None

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.workspace.reporter.line(line)

    # --- workflows that wait, and people who are told -----------------------------------------------------------------

    def _complete(self, limit: int, run_id: str) -> Relayed:
        """Let workflows of the CRM go on; to do it again is harmless, so the ledger is not asked."""
        outbox, relayed = self.journal.outbox, Relayed()
        rows = self._claim(COMPLETE, limit, destinations=self._called_back())
        if not rows:
            return relayed
        destination = self.workspace.destination(self.name)
        size = destination.capabilities.callbacks_per_call
        if not size:
            for row in rows:
                words = f"no workflow of {destination.system} waits for us"
                relayed.set_aside += outbox.set_aside(row.number, words, owner=self._owner)
            return relayed
        for part in chunks(rows, size):
            relayed += self._complete_part(destination, part, run_id)
            if relayed.away is not None:
                break
        return relayed

    def _called_back(self) -> tuple[str | None, ...]:
        """What callbacks say that are this destination's; those that name none are the first's that has any."""
        names = destinations_in_order(self.workspace)
        able = (one for one in names if self.workspace.destination(one).capabilities.callbacks_per_call)
        first = names[0] if len(names) == 1 else next(able, names[0])
        return (None, self.name) if self.name == first else (self.name,)

    def _complete_part(self, destination: Destination, rows: Sequence[OutboxRow], run_id: str) -> Relayed:
        fields = {row.payload["callback"]: row.payload.get("fields") or {} for row in rows}

        def send(ids: Sequence[str]) -> Sequence[Receipt]:
            return destination.complete([Callback(one, fields[one]) for one in ids])

        answer = send_batch(list(fields), send, _cannot_look, sleep=self.workspace.clock.sleep, troubles=TROUBLES)
        failpoint("relay.completed")
        outbox, relayed, open_ones = self.journal.outbox, Relayed(), []
        for row in rows:
            receipt = answer.receipts.get(row.payload["callback"])
            refused = answer.refused if receipt is None else None
            if receipt is not None and receipt.outcome in _AS_WANTED:
                relayed.done += outbox.done([row.number], run_id=run_id)
            elif refused is not None or (receipt is not None and not _is_open(receipt)):
                words = redact(str(refused) if receipt is None else receipt.message or "refused")
                relayed.set_aside += outbox.set_aside(row.number, words, owner=self._owner)
            else:
                open_ones.append(row)
        stopped = answer.stopped
        if stopped is None and open_ones and all(map(_is_open, answer.receipts.values())):
            stopped = RetriableError("no answer came")
        if stopped is not None:
            relayed += self._went_away(open_ones, stopped)
        else:
            relayed += self._put_off(open_ones, "no answer came")
        return relayed

    def _tell(self, limit: int, run_id: str) -> Relayed:
        """Send messages to the channels the playbook names; each waits for itself alone."""
        outbox, relayed = self.journal.outbox, Relayed()
        for row in self._claim(TELL, limit):
            try:
                self._messenger().send(row.payload["channel"], row.payload["text"])
            except RetriableError as error:
                relayed += self._put_off([row], redact(str(error)))
            except WinbackError as error:
                relayed.set_aside += outbox.set_aside(row.number, redact(str(error)), owner=self._owner)
            else:
                relayed.done += outbox.done([row.number], run_id=run_id)
        return relayed

    def _messenger(self) -> Alerts:
        if self._alerts is None:
            from connector.live.alerts import Alerts

            self._alerts = Alerts.of(self.workspace)
        return self._alerts

    def _claim(self, kind: str, limit: int, *, destinations: Collection[str | None] | None = None) -> list[OutboxRow]:
        return self.journal.outbox.claim(
            limit, kinds={kind}, owner=self._owner, lease_seconds=LEASE_SECONDS, destinations=destinations
        )


def _meant_for(workspace: Workspace, name: str) -> tuple[str | None, ...]:
    """What intents say that this destination's relay does; those that name none are the first one's."""
    return (None, name) if name == first_destination(workspace) else (name,)


def relays(workspace: Workspace, *, alerts: Alerts | None = None) -> list[Relay]:
    """One for each destination: that one CRM is away does not hold the others up."""
    return [Relay(workspace, name, alerts=alerts) for name in destinations_in_order(workspace)]


# --- what the walks said --------------------------------------------------------------------------------------------

_DONE, _REFUSED, _OPEN = "done", "refused", "open"


@dataclass(frozen=True, slots=True)
class _End:
    state: str
    words: str = ""


class _Carried:
    """What became of every row of the small plans."""

    def __init__(self, wanted: Coalesced) -> None:
        self.wanted = wanted
        self.stopped: WinbackError | None = None
        self._receipts: dict[Part, Receipt] = {}
        self._whole: dict[tuple[str, str], Refusal] = {}
        self._unmade: str | None = None
        self.reached = False
        """Whether the CRM said anything about anybody."""
        self._turned_away = False

    def told(self, kind: str, target: str, receipts: Mapping[str, Receipt]) -> None:
        """What the CRM said about a batch."""
        self._receipts |= {(kind, target, row_id): receipt for row_id, receipt in receipts.items()}
        self.reached |= not all(map(_is_open, receipts.values()))

    def take(self, walk: Walk) -> None:
        """How one walk ended."""
        for refusal in walk.refusals:
            if refusal.row_id is None:
                self._whole[refusal.kind, refusal.target] = refusal
                self.reached = True
                if refusal.kind == EnsureProperty.kind:
                    self._unmade = refusal.message
        if walk.stopped is not None:
            self.stopped = walk.stopped
            # Without the permission for anything else people still come off everything.
            exits = any(isinstance(step, RemoveMembers | Unenroll) for step in walk.plan.steps)
            self._turned_away |= exits or not isinstance(walk.stopped, CredentialsError)

    @property
    def away(self) -> WinbackError | None:
        """Why nothing at all got through; None when something did, or there was nothing to do."""
        if self.reached or (self.stopped is not None and not self._turned_away):
            return None
        silent = next((receipt for receipt in self._receipts.values() if _is_open(receipt)), None)
        return self.stopped or (None if silent is None else RetriableError(silent.message or "no answer came"))

    def end(self, number: int) -> _End:
        """How an intent ended: by the worst end of what it needed."""
        if number in self.wanted.nowhere:
            return _End(_DONE)
        leaving = number in self.wanted.leaving
        ends = [self._end_of(part, leaving=leaving) for part in self.wanted.parts.get(number, ())]
        worst = {end.state: end for end in ends}
        return worst.get(_OPEN) or worst.get(_REFUSED) or _End(_DONE)

    def _end_of(self, part: Part, *, leaving: bool) -> _End:
        kind, target, _ = part
        receipt = self._receipts.get(part)
        if receipt is not None:
            return _end_by(receipt, leaving=leaving)
        whole = self._whole.get((kind, target))
        if whole is not None:
            # From a list that is gone everybody is gone.
            gone = kind == RemoveMembers.kind and whole.code in {None, str(_NOT_FOUND)}
            return _End(_DONE) if gone else _End(_REFUSED, redact(whole.message))
        if self.stopped is not None:
            return _End(_OPEN, redact(str(self.stopped)))
        return _End(_REFUSED, redact(self._unmade)) if self._unmade else _End(_DONE)


def _end_by(receipt: Receipt, *, leaving: bool) -> _End:
    if _is_open(receipt):
        return _End(_OPEN, redact(receipt.message or "no answer came"))
    if receipt.outcome in _AS_WANTED or (leaving and receipt.outcome is Outcome.MISSING):
        return _End(_DONE)
    return _End(_REFUSED, redact(receipt.message or "the CRM does not have this record"))


def _nobody_is_kept_out(_row_ids: Sequence[str]) -> Mapping[str, str]:
    """Everything a relay writes takes people off, or says what they said themselves."""
    return {}


def _is_open(receipt: Receipt) -> bool:
    """Whether a row may be tried again: nobody knows what became of it, or it never got through."""
    return receipt.outcome is Outcome.UNKNOWN or receipt.code == UNREACHED


@dataclass(frozen=True, slots=True)
class _NoProgress:
    """A few rows a second need no bar."""

    line: Callable[[str], None]

    def progress(self, task: str, done: int, total: int | None = None) -> None:
        """Say nothing."""


def _families(steps: Sequence[Step]) -> Iterable[Sequence[Step]]:
    """Opt-outs, exits, values and notes apart: each needs a permission of its own in the CRM."""
    yield from (list(family) for _, family in groupby(steps, key=_family))


def _family(step: Step) -> int:
    match step:
        case OptOut():
            return 0
        case RemoveMembers() | Unenroll():
            return 1
        case RecordFeedback():
            return 3
        case _:
            return 2


def _cannot_look(_row_ids: Sequence[str]) -> Mapping[str, bool]:
    raise RetriableError("whether a workflow went on cannot be looked up")


def books_of(workspace: Workspace, name: str, destination: Destination) -> Books:
    """What the playbook wants of this destination, and what it can."""
    from connector.program import personal
    from connector.reasons.codes import REASONS

    playbook, settings, held = workspace.playbook, workspace.playbook.destinations[name], workspace.journal.held
    owned = owned_properties(playbook) if settings.properties else ()
    told = feedback_specs(playbook) if settings.properties else ()
    written_by_steps = {*personal.SPECS}
    return Books(
        system=f"{destination.system}:",
        capabilities=destination.capabilities,
        list_ids=held.lists(name),
        of_segments=frozenset((*segment_lists(playbook, settings.lists), *sunset_lists(playbook.programs))),
        of_programs=frozenset(written_by_steps),
        told={spec.name: spec for spec in told},
        owned=frozenset(spec.name for spec in owned) | (written_by_steps if settings.properties else frozenset()),
        existing=frozenset(held.property_names(name)),
        reasons=REASONS,
    )


__all__ = ["AT_ONCE", "Relay", "Relayed", "relay", "relays"]

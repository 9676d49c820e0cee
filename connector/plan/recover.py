"""Finding out what became of writes that a crash or a lost answer left open, by reading back; never by writing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, assert_never

from connector.contracts import Clock, Destination, chunks
from connector.errors import RejectedError, RetriableError
from connector.failpoints import failpoint
from connector.model import FeedbackRow, Outcome, Receipt
from connector.plan.sending import ReadBack
from connector.plan.steps import Values
from connector.targets import is_live, workflow_of

NO_MERGES: Mapping[str, str] = {}

if TYPE_CHECKING:
    from connector.journal import Batch, Journal


@dataclass(frozen=True, slots=True)
class Recovered:
    """What reading back showed. `not_written` rows are simply wanted again by the next plan."""

    batches: int = 0
    written: int = 0
    not_written: int = 0
    still_open: int = 0

    def __str__(self) -> str:
        """One line for the terminal."""
        told = (
            f"settled {self.batches:,} unfinished writes of an earlier run: "
            f"{self.written:,} rows had been written, {self.not_written:,} had not"
        )
        return told + (f", {self.still_open:,} cannot be told yet and wait" if self.still_open else "")


def recover(
    journal: Journal, destination: Destination, *, name: str, clock: Clock, merged: Mapping[str, str] = NO_MERGES
) -> Recovered:
    """Settle every open batch of this destination; afterwards the ledger holds no unknowns.

    All but enrollments of which the system cannot say yet whether they happened: they stay open, and their rows are
    left alone until it can. A list is read once however many open batches it has. Safe to interrupt and to repeat.

    merged: Record ids that were merged away since, and their survivors: it is they who are on a list then.
    """
    left = journal.ledger.unresolved(name)
    members = _Members(destination, journal.held.lists(name), left, merged)
    written = not_written = still_open = 0
    for batch in left:
        undecided = _undecided(batch)
        try:
            done = _done(batch, undecided, destination, members) if undecided else ()
        except RetriableError:
            if batch.kind != "enroll":
                raise
            still_open += len(undecided)
            continue
        failpoint("recover.read_back")
        if not undecided:
            journal.ledger.confirm(batch.batch_id, clock.now())
        elif batch.kind == "ensure_list" and done:
            # The ledger learns the id together with the fact.
            list_id = members.list_ids[batch.target]
            journal.ledger.sent(batch.batch_id, [Receipt(list_id, Outcome.WRITTEN)], clock.now())
            journal.ledger.confirm(batch.batch_id, clock.now())
        else:
            journal.ledger.settle(batch.batch_id, done, clock.now())
        written += len(done)
        not_written += len(undecided) - len(done)
        failpoint("recover.settled")
    return Recovered(len(left), written, not_written, still_open)


def membership_reader(destination: Destination, list_id: str, *, adding: bool) -> ReadBack:
    """Reads the list back and says for each row whether it is where we want it."""

    def read(row_ids: Sequence[str]) -> Mapping[str, bool]:
        present = _present(destination, list_id, row_ids)
        return {row_id: (row_id in present) == adding for row_id in row_ids}

    return read


def property_reader(destination: Destination, wanted: Mapping[str, Values]) -> ReadBack:
    """Reads records back and says for each whether it has the values we want; records that are gone are left out."""

    def read(row_ids: Sequence[str]) -> Mapping[str, bool]:
        names = sorted({name for row_id in row_ids for name in wanted[row_id]})
        found: dict[str, bool] = {}
        for part in chunks(row_ids, destination.capabilities.properties_per_read):
            for row_id, values in destination.read_properties(part, names).items():
                found[row_id] = _same(wanted[row_id], values)
        return found

    return read


def enrollment_reader(destination: Destination, workflow: str, *, enrolling: bool, since: datetime) -> ReadBack:
    """Asks the workflow about the rows; whoever went through it since counts as enrolled: never twice.

    since: When the write was intended; what the workflow shows may be older, and then it raises RetriableError.
    """

    def read(row_ids: Sequence[str]) -> Mapping[str, bool]:
        if not enrolling:
            return {row: not there for row, there in destination.enrolled(workflow, row_ids, still=True).items()}
        return destination.enrolled(workflow, row_ids, since=since)

    return read


def opt_out_reader(destination: Destination) -> ReadBack:
    """Asks the destination whether it counts these records as opted out."""
    return destination.opted_out


def feedback_reader(destination: Destination, notes: Mapping[str, FeedbackRow]) -> ReadBack:
    """Asks the destination which of these notes it has, by their keys."""
    return lambda keys: destination.recorded_feedback([notes[key] for key in keys])


def notes_payload(notes: Iterable[FeedbackRow]) -> Mapping[str, Any]:
    """What the ledger keeps of notes, enough to find each again: whose they are, not what they say."""
    return {
        "notes": {note.key: {"row_id": note.row_id, "task": note.task, "at": note.at.isoformat()} for note in notes}
    }


def _notes_of(batch: Batch) -> Mapping[str, FeedbackRow]:
    kept = (batch.payload or {})["notes"]
    return {
        key: FeedbackRow(key, note["row_id"], datetime.fromisoformat(note["at"]), "", "", task=note["task"])
        for key, note in kept.items()
    }


def _undecided(batch: Batch) -> tuple[str, ...]:
    """What is open about a batch: rows, or its target for the kinds without rows."""
    if batch.about_rows:
        return batch.undecided
    return (batch.target,) if batch.state != "sent" else ()


def _done(  # noqa: C901, PLR0911  # one answer per kind of batch
    batch: Batch, undecided: tuple[str, ...], destination: Destination, members: _Members
) -> Collection[str]:
    """Which of the open rows were written after all."""
    match batch.kind.value:
        case "add_members":
            on = members.on(batch.target)
            return [row_id for row_id in undecided if row_id in on or members.merged.get(row_id) in on]
        case "remove_members" if is_live(batch.plan_id):
            # What asked for it still waits and asks again: cheaper than to read the list, and it changes nothing.
            return ()
        case "remove_members":
            return set(undecided) - members.on(batch.target)
        case "set_properties":
            wanted = (batch.payload or {})["values"]
            found = property_reader(destination, wanted)(undecided)
            return [row_id for row_id in undecided if found.get(row_id)]
        case "enroll" | "unenroll":
            workflow = workflow_of(batch.target)
            enrolling = batch.kind == "enroll"
            reader = enrollment_reader(destination, workflow, enrolling=enrolling, since=batch.intended_at)
            return [row_id for row_id, done in reader(undecided).items() if done]
        case "opt_out":
            return [row_id for row_id, done in opt_out_reader(destination)(undecided).items() if done]
        case "feedback":
            return [key for key, done in feedback_reader(destination, _notes_of(batch))(undecided).items() if done]
        case "ensure_list":
            return undecided if members.exists(batch.target) else ()
        case "remove_list":
            return () if members.exists(batch.target) else undecided
        case "ensure_property":
            return undecided if destination.existing_properties([batch.target]) else ()
        case "remove_property":
            return () if destination.existing_properties([batch.target]) else undecided
        case _:
            assert_never(batch.kind)


class _Members:
    """Memberships of the lists with open batches, each list read once and only as far as it matters."""

    def __init__(
        self, destination: Destination, list_ids: Mapping[str, str], left: Iterable[Batch], merged: Mapping[str, str]
    ) -> None:
        self.merged = merged
        self._destination = destination
        self._asked: dict[str, set[str]] = defaultdict(set)
        self._found: dict[str, set[str]] = {}
        self._looked_up: set[str] = set()
        self.list_ids = dict(list_ids)
        for batch in left:
            self._asked[batch.target].update(batch.undecided)
            self._asked[batch.target].update(merged[row] for row in batch.undecided if row in merged)

    def exists(self, name: str) -> bool:
        """Whether the destination has this list now; asks, since our books may be older."""
        if name not in self._looked_up:
            self._looked_up.add(name)
            found = self._destination.lists([name]).get(name)
            if found is None:
                self.list_ids.pop(name, None)
            else:
                self.list_ids[name] = found.list_id
        return name in self.list_ids

    def on(self, name: str) -> set[str]:
        """Those of the open rows that are on the list; none if it is gone."""
        if name not in self._found:
            self._found[name] = self._read(name)
        return self._found[name]

    def _read(self, name: str) -> set[str]:
        if name not in self.list_ids and not self.exists(name):
            return set()
        try:
            return _present(self._destination, self.list_ids[name], self._asked[name])
        except RejectedError:
            if not self.exists(name):
                return set()
            raise


def _present(destination: Destination, list_id: str, row_ids: Collection[str]) -> set[str]:
    """Those of the rows that are on the list; stops reading once all are found."""
    wanted = set(row_ids)
    present: set[str] = set()
    for page in destination.members(list_id):
        present |= wanted.intersection(page)
        if len(present) == len(wanted):
            break
    return present


def _same(wanted: Values, present: Values) -> bool:
    """Whether every value is there; an empty text is no value."""
    return all((present.get(name) or None) == (value or None) for name, value in wanted.items())

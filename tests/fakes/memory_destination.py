"""A CRM in memory that behaves like a real one: idempotent memberships, odd rows, lost answers.

With a `path` it keeps its state in that file after every call, so that a test process can look at what a killed
driver process left behind.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from connector.contracts import Capabilities, Work
from connector.errors import CredentialsError, OutcomeUnknown, QuotaExhausted, RejectedError, RetriableError
from connector.model import (
    Callback,
    Ensured,
    FeedbackRow,
    Finding,
    ListRef,
    Outcome,
    PropertyRow,
    PropertySpec,
    Receipt,
    Severity,
)

CAPABILITIES = Capabilities(
    members_per_call=1000,
    properties_per_call=100,
    members_per_read=250,
    properties_per_read=100,
    enrollments_per_batch=25,
    opt_outs_per_batch=100,
    feedback_per_batch=100,
    callbacks_per_call=100,
)

FAULTS = {
    "timeout_before": "the request never arrived, and nobody can know",
    "timeout_after": "the work was done, the answer was lost",
    "unreachable": "the request was refused before anything happened",
    "no_op": "the answer is a success with nothing in it, and nothing happened",
    "mute": "the work was done, the answer is a success with nothing in it",
    "short": "the work was done, the answer names only the first half of the rows",
    "quota": "the day's calls are used up",
    "credentials": "the token was revoked",
    "gone": "the whole request is refused, whatever is in it",
}


class MemoryDestination:
    """Contacts, lists, properties and workflows.

    `calls` counts requests, `joins` how often a record came onto a list, `enrollments` how often a workflow started
    for a record. A workflow exists when it is in `workflows`; one in `instant` is through with everybody at once, so
    that enrolling again starts it again.
    """

    system = "memory"
    folder = "winback"

    def __init__(
        self,
        contacts: Iterable[str] = (),
        *,
        capabilities: Capabilities = CAPABILITIES,
        path: Path | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.capabilities = capabilities
        self.now = now
        self.path = path
        self.contacts = set(contacts)
        self.list_names: dict[str, str] = {}
        self.members_of: dict[str, set[str]] = {}
        self.specs: dict[str, PropertySpec] = {}
        self.values: dict[str, dict[str, str]] = {}
        self.joins: Counter[tuple[str, str]] = Counter()
        self.workflows: set[str] = {"901", "902", "903", "904"}
        self.instant: set[str] = set()
        self.enrolled_in: dict[str, set[str]] = {}
        """Workflow → who is in it now."""
        self.enrollments: Counter[tuple[str, str]] = Counter()
        self.enrolled_at: dict[tuple[str, str], datetime] = {}
        self.unsubscribed: set[str] = set()
        self.notes: dict[str, dict[str, Any]] = {}
        """Notes and tasks by our key."""
        self.notes_written: Counter[str] = Counter()
        self.opt_outs_written: Counter[str] = Counter()
        self.leaves: Counter[tuple[str, str]] = Counter()
        """(list, record) → how often the record came off it."""
        self.waiting: set[str] = set()
        """Workflows that wait for a callback."""
        self.completed: dict[str, dict[str, str]] = {}
        self._unanswered: set[tuple[str, str]] = set()
        self.requests: list[tuple[str, int]] = []
        self.refused: dict[str, str] = {}
        """Rows that get a rejected receipt of their own, with the vendor's words."""
        self.poison: dict[str, str] = {}
        """Rows that make the whole request fail, with the vendor's words."""
        self.faults: deque[str | None] = deque()
        """What goes wrong with the next requests, one each; None or no entry is a good one."""
        self.before_request: Callable[[str], None] = lambda _name: None
        if path is not None and path.exists():
            self._load(json.loads(path.read_text()))

    # --- what a test looks at -------------------------------------------------------------------------

    def holdings(self) -> dict[str, set[str]]:
        """Members by list name."""
        return {name: set(self.members_of[list_id]) for list_id, name in self.list_names.items()}

    def state(self) -> dict[str, Any]:
        """Everything that undo must restore, comparable."""
        return {
            "lists": {name: sorted(members) for name, members in sorted(self.holdings().items())},
            "properties": sorted(self.specs),
            "values": {row: dict(sorted(values.items())) for row, values in sorted(self.values.items()) if values},
            "workflows": {name: sorted(rows) for name, rows in sorted(self.enrolled_in.items()) if rows},
        }

    @property
    def calls(self) -> int:
        """Requests so far."""
        return len(self.requests)

    # --- the contract ---------------------------------------------------------------------------------

    def check(self) -> Iterator[Finding]:
        return iter(())

    def lists(self, names: Sequence[str]) -> Mapping[str, ListRef]:
        self._begin("lists", len(names))
        return {name: ListRef(list_id, name) for list_id, name in self.list_names.items() if name in names}

    def ensure_list(self, name: str, *, folder: str) -> Ensured:
        fault = self._begin("ensure_list", 1)
        for list_id, known in self.list_names.items():
            if known == name:
                return self._end(fault, Ensured(list_id, created=False))
        list_id = str(1 + max(map(int, self.list_names), default=0))
        self.list_names[list_id] = name
        self.members_of[list_id] = set()
        return self._end(fault, Ensured(list_id, created=True))

    def remove_list(self, list_id: str) -> None:
        fault = self._begin("remove_list", 1)
        self.list_names.pop(list_id, None)
        self.members_of.pop(list_id, None)
        self._end(fault, None)

    def existing_properties(self, names: Sequence[str]) -> Sequence[str]:
        self._begin("existing_properties", len(names))
        return [name for name in names if name in self.specs]

    def ensure_properties(self, specs: Sequence[PropertySpec]) -> Sequence[Ensured]:
        fault = self._begin("ensure_properties", len(specs))
        made = [Ensured(spec.name, created=spec.name not in self.specs) for spec in specs]
        self.specs.update({spec.name: spec for spec in specs})
        return self._end(fault, made)

    def remove_property(self, name: str) -> None:
        fault = self._begin("remove_property", 1)
        self.specs.pop(name, None)
        for values in self.values.values():
            values.pop(name, None)
        self._end(fault, None)

    def members(self, list_id: str) -> Iterator[Sequence[str]]:
        page = self.capabilities.members_per_read
        self._begin("members", 0)
        rows = sorted(self._list(list_id))
        yield rows[:page]
        for start in range(page, len(rows), page):
            self._begin("members", 0)
            yield rows[start : start + page]

    def change_members(self, list_id: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Sequence[Receipt]:
        assert 0 < len(add) + len(remove) <= self.capabilities.members_per_call
        fault = self._begin("change_members", len(add) + len(remove))
        if fault == "no_op":
            return []
        members = self._list(list_id)
        self._refuse_poison(add)
        receipts = [self._join(list_id, members, row) for row in add]
        receipts += [self._leave(list_id, members, row) for row in remove]
        return self._end(fault, receipts)

    def read_properties(self, row_ids: Sequence[str], names: Sequence[str]) -> Mapping[str, Mapping[str, str | None]]:
        assert 0 < len(row_ids) <= self.capabilities.properties_per_read
        self._begin("read_properties", len(row_ids))
        return {
            row: {name: self.values.get(row, {}).get(name) for name in names} for row in row_ids if row in self.contacts
        }

    def set_properties(self, rows: Sequence[PropertyRow]) -> Sequence[Receipt]:
        assert 0 < len(rows) <= self.capabilities.properties_per_call
        assert len({row.row_id for row in rows}) == len(rows)
        fault = self._begin("set_properties", len(rows))
        if fault == "no_op":
            return []
        self._refuse_poison([row.row_id for row in rows])
        return self._end(fault, [self._write(row) for row in rows])

    def check_workflow(self, workflow: str) -> Finding:
        self._begin("check_workflow", 1)
        if workflow in self.workflows:
            return Finding(f"workflow {workflow}", Severity.OK, "takes contacts")
        return Finding(f"workflow {workflow}", Severity.ERROR, "does not exist", "name one that does")

    def enroll(self, workflow: str, row_ids: Sequence[str]) -> Sequence[Receipt]:
        return self._one_by_one("enroll", workflow, row_ids, self._enter)

    def unenroll(self, workflow: str, row_ids: Sequence[str]) -> Sequence[Receipt]:
        return self._one_by_one("unenroll", workflow, row_ids, self._exit)

    def enrolled(
        self, workflow: str, row_ids: Sequence[str], *, since: datetime | None = None, still: bool = False
    ) -> Mapping[str, bool]:
        assert len(row_ids) <= self.capabilities.enrollments_per_batch
        if not row_ids:
            return {}
        self._begin("enrolled", len(row_ids))
        self._workflow(workflow)
        there = [row for row in row_ids if row in self.contacts]
        if still:
            return {row: row in self.enrolled_in.get(workflow, ()) for row in there}
        return {row: self._counts(workflow, row, since) for row in there}

    def opt_out(self, row_ids: Sequence[str]) -> Sequence[Receipt]:
        assert len(row_ids) <= self.capabilities.opt_outs_per_batch
        if not row_ids:
            return []
        fault = self._begin("opt_out", len(row_ids))
        if fault == "no_op":
            return []
        self._refuse_poison(row_ids)
        return self._end(fault, [self._unsubscribe(row) for row in row_ids])

    def opted_out(self, row_ids: Sequence[str]) -> Mapping[str, bool]:
        assert len(row_ids) <= self.capabilities.opt_outs_per_batch
        if not row_ids:
            return {}
        self._begin("opted_out", len(row_ids))
        return {row: row in self.unsubscribed for row in row_ids if row in self.contacts}

    def record_feedback(self, rows: Sequence[FeedbackRow]) -> Sequence[Receipt]:
        assert 0 < len(rows) <= self.capabilities.feedback_per_batch
        fault = self._begin("record_feedback", len(rows))
        if fault == "no_op":
            return []
        self._refuse_poison([row.row_id for row in rows])
        return self._end(fault, [self._record(row) for row in rows])

    def recorded_feedback(self, rows: Sequence[FeedbackRow]) -> Mapping[str, bool]:
        self._begin("recorded_feedback", len(rows))
        return {row.key: row.key in self.notes for row in rows if row.row_id in self.contacts}

    def complete(self, callbacks: Sequence[Callback]) -> Sequence[Receipt]:
        assert 0 < len(callbacks) <= self.capabilities.callbacks_per_call
        fault = self._begin("complete", len(callbacks))
        if fault == "no_op":
            return []
        return self._end(fault, [self._go_on(callback) for callback in callbacks])

    def forecast(self, work: Work) -> int:
        one_by_one = work.enrollments + (work.opt_outs > 0) + (work.feedback > 0)
        ensured = 1 if work.properties_to_ensure else 0
        looked_up = 1 if work.lists_to_look_up else 0
        return ensured + looked_up + work.lists_to_create + work.member_batches + work.property_batches + one_by_one

    def close(self) -> None:
        return

    # --- inside ---------------------------------------------------------------------------------------

    def _begin(self, name: str, size: int) -> str | None:
        """A request arrives, or does not; returns the fault that its answer will suffer."""
        self.before_request(name)
        self.requests.append((name, size))
        self.save()
        fault = self.faults.popleft() if self.faults else None
        match fault:
            case "timeout_before":
                raise OutcomeUnknown(f"{name}: no answer")
            case "unreachable":
                raise RetriableError(f"{name}: connection refused")
            case "quota":
                raise QuotaExhausted("the daily limit is reached")
            case "credentials":
                raise CredentialsError("the token was revoked")
            case "gone":
                raise RejectedError("this is not available in your subscription", status=403)
        return fault

    def _end(self, fault: str | None, answer: Any) -> Any:
        """The work is done; the answer as it arrives at the caller."""
        self.save()
        if fault == "timeout_after":
            raise OutcomeUnknown("the answer was lost")
        if isinstance(answer, list) and answer and isinstance(answer[0], Receipt):
            if fault == "mute":
                return []
            if fault == "short":
                return answer[: len(answer) // 2]
        return answer

    def _list(self, list_id: str) -> set[str]:
        if list_id not in self.members_of:
            raise RejectedError(f"list {list_id} does not exist", status=404)
        return self.members_of[list_id]

    def _refuse_poison(self, row_ids: Sequence[str]) -> None:
        bad = [row for row in row_ids if row in self.poison]
        if bad:
            raise RejectedError(self.poison[bad[0]], status=400)

    def _join(self, list_id: str, members: set[str], row: str) -> Receipt:
        if row not in self.contacts:
            return Receipt(row, Outcome.MISSING)
        if row in self.refused:
            return Receipt(row, Outcome.REJECTED, self.refused[row], "VALIDATION_ERROR")
        if row in members:
            return Receipt(row, Outcome.UNCHANGED)
        members.add(row)
        self.joins[self.list_names[list_id], row] += 1
        return Receipt(row, Outcome.WRITTEN)

    def _leave(self, list_id: str, members: set[str], row: str) -> Receipt:
        if row not in self.contacts:
            members.discard(row)
            return Receipt(row, Outcome.MISSING)
        if row not in members:
            return Receipt(row, Outcome.UNCHANGED)
        self.leaves[self.list_names[list_id], row] += 1
        members.discard(row)
        return Receipt(row, Outcome.WRITTEN)

    def _write(self, row: PropertyRow) -> Receipt:
        if row.row_id not in self.contacts:
            return Receipt(row.row_id, Outcome.MISSING)
        if row.row_id in self.refused:
            return Receipt(row.row_id, Outcome.REJECTED, self.refused[row.row_id], "VALIDATION_ERROR")
        unknown = [name for name in row.values if name not in self.specs]
        if unknown:
            return Receipt(row.row_id, Outcome.REJECTED, f"property {unknown[0]} does not exist", "VALIDATION_ERROR")
        held = self.values.setdefault(row.row_id, {})
        for name, value in row.values.items():
            if value:
                held[name] = value
            else:
                held.pop(name, None)
        return Receipt(row.row_id, Outcome.WRITTEN)

    def _one_by_one(
        self, name: str, workflow: str, row_ids: Sequence[str], do: Callable[[str, str], Receipt]
    ) -> list[Receipt]:
        """A request for each row, as a real system wants it; what a lost answer did is not tried again."""
        assert len(row_ids) <= self.capabilities.enrollments_per_batch
        receipts: list[Receipt] = []
        for row in row_ids:
            if name == "enroll" and (workflow, row) in self._unanswered:
                receipts.append(Receipt(row, Outcome.UNKNOWN, "no answer came"))
                continue
            try:
                receipts.append(self._one(name, workflow, row, do))
            except OutcomeUnknown as unknown:
                self._unanswered.add((workflow, row))
                receipts.append(Receipt(row, Outcome.UNKNOWN, str(unknown)))
            except RejectedError as refusal:
                if refusal.status != 400:
                    raise
                receipts.append(Receipt(row, Outcome.REJECTED, str(refusal), "400"))
            except (RetriableError, QuotaExhausted, CredentialsError):
                if not receipts:
                    raise
                receipts += [Receipt(left, Outcome.UNKNOWN, "not tried") for left in row_ids[len(receipts) :]]
                break
        return receipts

    def _one(self, name: str, workflow: str, row: str, do: Callable[[str, str], Receipt]) -> Receipt:
        fault = self._begin(name, 1)
        self._workflow(workflow)
        self._refuse_poison([row])
        if fault == "no_op":
            raise OutcomeUnknown(f"{name}: accepted without a word")
        receipt: Receipt = self._end(fault, do(workflow, row))
        if fault in {"mute", "short"}:
            raise OutcomeUnknown(f"{name}: accepted without a word")
        return receipt

    def _workflow(self, workflow: str) -> None:
        if workflow not in self.workflows:
            raise RejectedError(f"workflow {workflow} does not exist", status=404)

    def _enter(self, workflow: str, row: str) -> Receipt:
        if row not in self.contacts:
            return Receipt(row, Outcome.MISSING)
        if row in self.refused:
            return Receipt(row, Outcome.REJECTED, self.refused[row], "VALIDATION_ERROR")
        inside = self.enrolled_in.setdefault(workflow, set())
        if row in inside:
            return Receipt(row, Outcome.UNCHANGED)
        self.enrollments[workflow, row] += 1
        if self.now is not None:
            self.enrolled_at[workflow, row] = self.now()
        if workflow not in self.instant:
            inside.add(row)
        return Receipt(row, Outcome.WRITTEN)

    def _exit(self, workflow: str, row: str) -> Receipt:
        inside = self.enrolled_in.setdefault(workflow, set())
        if row not in self.contacts:
            inside.discard(row)
            return Receipt(row, Outcome.MISSING)
        if row not in inside:
            return Receipt(row, Outcome.UNCHANGED)
        inside.discard(row)
        return Receipt(row, Outcome.WRITTEN)

    def _counts(self, workflow: str, row: str, since: datetime | None) -> bool:
        """Whether the record is in the workflow, or has been since then; without a clock, ever."""
        if row in self.enrolled_in.get(workflow, ()):
            return True
        at = self.enrolled_at.get((workflow, row))
        if since is not None and at is not None:
            return at >= since
        return self.enrollments[workflow, row] > 0

    def _unsubscribe(self, row: str) -> Receipt:
        if row not in self.contacts:
            return Receipt(row, Outcome.MISSING)
        if row in self.unsubscribed:
            return Receipt(row, Outcome.UNCHANGED)
        self.unsubscribed.add(row)
        self.opt_outs_written[row] += 1
        return Receipt(row, Outcome.WRITTEN)

    def _record(self, row: FeedbackRow) -> Receipt:
        if row.row_id not in self.contacts:
            return Receipt(row.key, Outcome.MISSING)
        if row.row_id in self.refused:
            return Receipt(row.key, Outcome.REJECTED, self.refused[row.row_id], "VALIDATION_ERROR")
        if row.key in self.notes:
            return Receipt(row.key, Outcome.UNCHANGED)
        self.notes[row.key] = {"row_id": row.row_id, "title": row.title, "text": row.text, "task": row.task}
        self.notes_written[row.key] += 1
        return Receipt(row.key, Outcome.WRITTEN)

    def _go_on(self, callback: Callback) -> Receipt:
        if callback.callback_id not in self.waiting:
            return Receipt(callback.callback_id, Outcome.UNCHANGED)
        self.waiting.discard(callback.callback_id)
        self.completed[callback.callback_id] = dict(callback.fields)
        return Receipt(callback.callback_id, Outcome.WRITTEN)

    def save(self) -> None:
        """Keep the state in the file, whole or not at all."""
        if self.path is None:
            return
        document = {
            "contacts": sorted(self.contacts),
            "list_names": self.list_names,
            "members_of": {key: sorted(rows) for key, rows in self.members_of.items()},
            "specs": {name: [spec.label, spec.kind] for name, spec in self.specs.items()},
            "values": self.values,
            "joins": [[*key, count] for key, count in self.joins.items()],
            "workflows": sorted(self.workflows),
            "instant": sorted(self.instant),
            "enrolled_in": {name: sorted(rows) for name, rows in self.enrolled_in.items()},
            "enrollments": [[*key, count] for key, count in self.enrollments.items()],
            "enrolled_at": [[*key, at.isoformat()] for key, at in self.enrolled_at.items()],
            "unsubscribed": sorted(self.unsubscribed),
            "notes": self.notes,
            "notes_written": self.notes_written,
            "opt_outs_written": self.opt_outs_written,
            "leaves": [[*key, count] for key, count in self.leaves.items()],
            "waiting": sorted(self.waiting),
            "completed": self.completed,
            "requests": self.requests,
        }
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(document))
        temporary.replace(self.path)

    def _load(self, document: dict[str, Any]) -> None:
        self.contacts = set(document["contacts"])
        self.list_names = document["list_names"]
        self.members_of = {key: set(rows) for key, rows in document["members_of"].items()}
        self.specs = {name: PropertySpec(name, label, kind) for name, (label, kind) in document["specs"].items()}
        self.values = document["values"]
        self.joins = Counter({(name, row): count for name, row, count in document["joins"]})
        self.workflows, self.instant = set(document["workflows"]), set(document["instant"])
        self.enrolled_in = {name: set(rows) for name, rows in document["enrolled_in"].items()}
        self.enrollments = Counter({(name, row): count for name, row, count in document["enrollments"]})
        self.enrolled_at = {(name, row): datetime.fromisoformat(at) for name, row, at in document["enrolled_at"]}
        self.unsubscribed = set(document["unsubscribed"])
        self.notes, self.completed = document["notes"], document["completed"]
        self.notes_written = Counter(document["notes_written"])
        self.opt_outs_written = Counter(document["opt_outs_written"])
        self.leaves = Counter({(name, row): count for name, row, count in document["leaves"]})
        self.waiting = set(document["waiting"])
        self.requests = [(name, size) for name, size in document["requests"]]

"""The undo file of a run, and the plan that takes a run back.

Every write is noted in the file, durably, before it is sent; what the destination really changed is noted after. A
write that was noted and never settled (the process died) is taken back as if it had happened, which changes nothing
where it had not. Undoing is a plan like any other, carried out by `apply.py`: an opted-out contact is not put back on a
list, refused rows hold up nobody, and an undo that dies halfway is simply started again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from connector.contracts import Capabilities, Work
from connector.errors import StateError
from connector.plan.build import work_of
from connector.plan.document import ListChange, Plan
from connector.plan.steps import (
    AddMembers,
    Enroll,
    EnsureList,
    EnsureProperty,
    PropertyChange,
    RemoveList,
    RemoveMembers,
    RemoveProperty,
    SetProperties,
    Step,
    Unenroll,
    Values,
)
from connector.targets import workflow_of

SCHEMA_VERSION = 1


def undo_file(folder: Path, run_id: str, destination: str) -> Path:
    """Where the undo file of a run for one destination is."""
    return folder / f"{run_id}.{destination}.jsonl"


@dataclass(frozen=True, slots=True)
class UndoHead:
    """Whose undo file this is.

    undoes: The run that this run took back, if it did.
    paced: Step lists of programs: joining one again could start a sequence again, so nobody is put back on them.
    order: Which one of the folder's files this is; run ids sort by a clock that `--now` may have set back.
    """

    run_id: str
    plan_id: str
    account: str
    destination: str
    system: str
    undoes: str | None = None
    order: int = 0
    paced: Sequence[str] = ()


class UndoFile:
    """The undo file being written. Every line is on the disk before the call returns."""

    def __init__(self, path: Path, head: UndoHead) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.entries = 0
        order = 1 + max((other.order for other, _ in _heads(path.parent, head.destination)), default=0)
        try:
            self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except FileExistsError:
            raise StateError(
                f"{path}: this run has an undo file already", hint="start again under a new run; nothing was written."
            ) from None
        self._append({"record": "head", "schema_version": SCHEMA_VERSION, **asdict(replace(head, order=order))})
        _sync_folder(path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)

    def intend(
        self,
        kind: str,
        target: str,
        *,
        row_ids: Sequence[str] = (),
        list_id: str | None = None,
        changes: Sequence[PropertyChange] = (),
    ) -> int:
        """Note a write that is about to be sent; the number is for `settle`."""
        entry = self.entries
        self.entries += 1
        self._append(
            {
                "record": "intent",
                "entry": entry,
                "kind": kind,
                "target": target,
                "list_id": list_id,
                "rows": list(row_ids),
                "changes": [[row.row_id, dict(row.values), dict(row.before)] for row in changes],
            }
        )
        return entry

    def settle(
        self, entry: int, *, written: Iterable[str] = (), created: bool | None = False, ref: str | None = None
    ) -> None:
        """Note what that write really changed; `created` is None where nobody knows whether it was made or found."""
        self._append({"record": "settled", "entry": entry, "written": list(written), "created": created, "ref": ref})

    def _append(self, record: Mapping[str, Any]) -> None:
        os.write(self._handle, (json.dumps(record, separators=(",", ":")) + "\n").encode())
        os.fsync(self._handle)


class Notes(Protocol):
    """Where a walk notes what it is about to write and what became of it."""

    def intend(
        self,
        kind: str,
        target: str,
        *,
        row_ids: Sequence[str] = (),
        list_id: str | None = None,
        changes: Sequence[PropertyChange] = (),
    ) -> int:
        """Note a write that is about to be sent; the number is for `settle`."""

    def settle(
        self, entry: int, *, written: Iterable[str] = (), created: bool | None = False, ref: str | None = None
    ) -> None:
        """Note what that write really changed."""


class NoUndo:
    """Notes nothing: who left because of what they did or said is not put back by anybody."""

    def intend(
        self,
        kind: str,
        target: str,
        *,
        row_ids: Sequence[str] = (),
        list_id: str | None = None,
        changes: Sequence[PropertyChange] = (),
    ) -> int:
        """Nothing to note."""
        del kind, target, row_ids, list_id, changes
        return 0

    def settle(
        self, entry: int, *, written: Iterable[str] = (), created: bool | None = False, ref: str | None = None
    ) -> None:
        """Nothing was noted."""
        del entry, written, created, ref


@dataclass(slots=True)
class UndoEntry:
    """One noted write. `written` is None while it is not known what became of it."""

    kind: str
    target: str
    row_ids: tuple[str, ...]
    list_id: str | None
    changes: tuple[PropertyChange, ...]
    written: frozenset[str] | None = None
    created: bool | None = None

    def changed(self, row_id: str) -> bool:
        """Whether this write changed the row, as far as anyone can know."""
        return self.written is None or row_id in self.written

    @property
    def made_property(self) -> bool:
        """Whether this write made a property, for certain."""
        return self.kind == EnsureProperty.kind and self.created is True


@dataclass(slots=True)
class UndoLog:
    """An undo file read back."""

    head: UndoHead
    entries: list[UndoEntry] = field(default_factory=list)
    undone_by: str | None = None


def read_undo(path: Path) -> UndoLog:
    """The undo file at this path; a last line that the crash cut short is not there."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StateError(
            f"{path.name}: there is no undo file for this run",
            hint="`winback status` lists the runs; only runs that wrote something can be undone.",
        ) from None
    complete = text[: text.rfind("\n") + 1].splitlines()
    if not complete:
        raise StateError(f"{path}: the undo file is empty: the run died before it wrote anything")
    records = [json.loads(line) for line in complete]
    log = UndoLog(_head(path, records[0]))
    for record in records[1:]:
        _replay(log, record)
    return log


def mark_undone(path: Path, by_run: str) -> None:
    """Note in a run's undo file that it has been taken back, in place of a line that a crash cut short."""
    record = json.dumps({"record": "undone", "by": by_run}, separators=(",", ":"))
    with path.open("r+b") as file:
        complete = file.read().rfind(b"\n") + 1
        file.seek(complete)
        file.truncate()
        file.write(record.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def newest_plan(folder: Path, destination: str) -> str | None:
    """The plan behind the newest run that tried to write to this destination; None if there was none."""
    for head, path in sorted(_heads(folder, destination), key=lambda found: found[0].order, reverse=True):
        with path.open(encoding="utf-8") as file:
            _, first_write = file.readline(), file.readline()
        if first_write.endswith("\n"):
            return head.plan_id
    return None


def refuse_out_of_order(log: UndoLog, folder: Path) -> None:
    """Only the newest change can be taken back: a later run built on it."""
    head = log.head
    if head.undoes is not None:
        raise StateError(
            f"run {head.run_id} is itself the undo of {head.undoes}",
            hint="`winback plan` and `winback apply` bring the wanted state back.",
        )
    if log.undone_by is not None:
        raise StateError(f"run {head.run_id} was already undone by run {log.undone_by}")
    later = []
    for other, path in _heads(folder, head.destination):
        if other.order > head.order and other.undoes is None:
            theirs = read_undo(path)
            if theirs.entries and theirs.undone_by is None:
                later.append(other)
    if later:
        raise StateError(
            f"run {head.run_id} cannot be undone: {len(later)} later run(s) changed {head.destination} after it",
            hint=f"undo the newest first: `winback undo {max(later, key=lambda other: other.order).run_id}`.",
        )


@dataclass(frozen=True, slots=True)
class Merges:
    """Records that the CRM made one since a run wrote to them; the survivor is on the lists of both.

    Nothing is written to a record that is no more. It stays in the books as it was: from them the next plan knows that
    the survivor took its place.

    survivors: Record ids that are no more, and those that took their place.
    there: Who is on each list and in each workflow, by the books.
    """

    survivors: Mapping[str, str] = field(default_factory=dict)
    there: Mapping[str, Collection[str]] = field(default_factory=dict)

    def to_take_off(self, target: str, rows: Collection[str]) -> tuple[str, ...]:
        """Of rows that a run put there, those to be taken off now; a survivor who was there before it stays."""
        by_themselves = self.there.get(target, ())
        now = {self.survivors.get(row, row) for row in rows if self.survivors.get(row) not in by_themselves}
        return tuple(sorted(now))


def undo_plan(
    log: UndoLog,
    *,
    now: datetime,
    capabilities: Capabilities,
    forecast: Callable[[Work], int],
    list_ids: Mapping[str, str],
    merges: Merges | None = None,
) -> Plan:
    """The plan that brings back what was there before this run.

    Args:
        log: What the run noted.
        now: The moment of the undo.
        capabilities: The destination's.
        forecast: Its calls for a piece of work.
        list_ids: Those of the lists that exist now.
        merges: Whom the CRM made one since.
    """
    merges = merges or Merges()
    ids = {**{entry.target: entry.list_id for entry in log.entries if entry.list_id is not None}, **list_ids}
    lists = tuple(_made_lists(log, ids))
    going = {step.name for step in lists if not step.only_if_empty}
    steps: tuple[Step, ...] = (
        *_members_off(log, going, merges),
        *_enrolled_back(log, merges),
        *_values_back(log, merges),
        *_members_back(log, going, merges),
        *lists,
        *(RemoveProperty(entry.target) for entry in reversed(log.entries) if entry.made_property),
    )
    removals = sum(isinstance(step, RemoveList | RemoveProperty) for step in steps)
    touched = sorted({entry.target for entry in log.entries if entry.target in ids})
    return Plan(
        account=log.head.account,
        destination=log.head.destination,
        system=log.head.system,
        as_of=now.date(),
        made_at=now,
        expires_at=now,
        fingerprints={},
        steps=steps,
        lists=tuple(_list_change(name, ids[name], steps) for name in touched),
        excluded={},
        guards=(),
        api_calls=(forecast(work_of(steps, capabilities)) if steps else 0) + removals,
    ).identified()


def put_back(log: UndoLog) -> set[str]:
    """Records that taking this run back puts on lists again, if nothing speaks against it."""
    return set().union(*_moved(log, RemoveMembers.kind, going=()).values())


def doubtful_properties(log: UndoLog) -> list[str]:
    """Properties of which nobody knows whether this run made them: it died in between. They are left alone."""
    return [entry.target for entry in log.entries if entry.kind == EnsureProperty.kind and entry.created is None]


def _made_lists(log: UndoLog, ids: Mapping[str, str]) -> Iterable[RemoveList]:
    """The lists this run made; where it died in the making, one goes only if nobody is on it."""
    for entry in reversed(log.entries):
        if entry.kind == EnsureList.kind and entry.created is not False and entry.target in ids:
            yield RemoveList(entry.target, ids[entry.target], only_if_empty=entry.created is None)


def _members_off(log: UndoLog, going: Collection[str], merges: Merges) -> Iterable[Step]:
    """Added members go; those of a list that goes as a whole need not."""
    for name, rows in sorted(_moved(log, AddMembers.kind, going).items()):
        if off := merges.to_take_off(name, rows):
            yield RemoveMembers(name, off)


def _members_back(log: UndoLog, going: Collection[str], merges: Merges) -> Iterable[Step]:
    """Removed members return, but to no list of a step; after everybody who goes, as in any plan."""
    for name, rows in sorted(_moved(log, RemoveMembers.kind, going).items()):
        back = tuple(sorted(rows - merges.survivors.keys()))
        if back and name not in log.head.paced:
            yield AddMembers(name, back)


def _moved(log: UndoLog, kind: str, going: Collection[str]) -> Mapping[str, set[str]]:
    """Whom writes of this kind changed, by list; lists that go as a whole are left out."""
    found: dict[str, set[str]] = {}
    for entry in log.entries:
        if entry.kind == kind and entry.target not in going:
            found.setdefault(entry.target, set()).update(row for row in entry.row_ids if entry.changed(row))
    return {name: rows for name, rows in found.items() if rows}


def _enrolled_back(log: UndoLog, merges: Merges) -> Iterable[Step]:
    """Whoever this run enrolled leaves the workflow; whom it took out is not enrolled again, and opt-outs stand."""
    enrolled: dict[str, set[str]] = {}
    for entry in log.entries:
        if entry.kind == Enroll.kind:
            enrolled.setdefault(entry.target, set()).update(row for row in entry.row_ids if entry.changed(row))
    for target, rows in sorted(enrolled.items()):
        if off := merges.to_take_off(target, rows):
            yield Unenroll(workflow_of(target), off)


def _values_back(log: UndoLog, merges: Merges) -> Iterable[Step]:
    """The values from before, each row once, oldest value wins; a survivor's are put right by the next run."""
    back: dict[str, tuple[dict[str, str | None], dict[str, str | None]]] = {}
    for entry in log.entries:
        for change in entry.changes:
            if not entry.changed(change.row_id) or change.row_id in merges.survivors:
                continue
            values, before = back.setdefault(change.row_id, ({}, {}))
            for name, new in change.values.items():
                values.setdefault(name, change.before.get(name))
                before[name] = new
    if back:
        yield SetProperties(tuple(PropertyChange(row_id, *back[row_id]) for row_id in sorted(back)))


def _list_change(name: str, list_id: str, steps: Iterable[Step]) -> ListChange:
    add = sum(len(step.row_ids) for step in steps if isinstance(step, AddMembers) and step.list_name == name)
    remove = sum(len(step.row_ids) for step in steps if isinstance(step, RemoveMembers) and step.list_name == name)
    return ListChange(name, list_id, now=remove, add=add, remove=remove)


# --- lines of the file ------------------------------------------------------------------------------------


def _heads(folder: Path, destination: str) -> Iterator[tuple[UndoHead, Path]]:
    """The first line of every undo file of this destination."""
    for path in sorted(folder.glob(f"*.{destination}.jsonl")):
        with path.open(encoding="utf-8") as file:
            first = file.readline()
        head = _head(path, json.loads(first)) if first.endswith("\n") else None
        if head is not None and head.destination == destination:
            yield head, path


def _head(path: Path, record: Mapping[str, Any]) -> UndoHead:
    if record.get("schema_version") != SCHEMA_VERSION:
        raise StateError(f"{path}: an undo file of version {record.get('schema_version')}; this winback reads 1")
    return UndoHead(**{name: value for name, value in record.items() if name not in {"record", "schema_version"}})


def _replay(log: UndoLog, record: Mapping[str, Any]) -> None:
    match record["record"]:
        case "intent":
            log.entries.append(
                UndoEntry(
                    kind=record["kind"],
                    target=record["target"],
                    row_ids=tuple(record["rows"]),
                    list_id=record["list_id"],
                    changes=tuple(_change(*change) for change in record["changes"]),
                )
            )
        case "settled":
            entry = log.entries[record["entry"]]
            entry.written = frozenset(record["written"])
            entry.created = record["created"]
            entry.list_id = record["ref"] or entry.list_id
        case "undone":
            log.undone_by = record["by"]
        case _:
            raise StateError(f"the undo file of run {log.head.run_id} has a line of an unknown kind")


def _change(row_id: str, values: Values, before: Values) -> PropertyChange:
    return PropertyChange(row_id, values, before)


def _sync_folder(folder: Path) -> None:
    """Make a new file's name itself durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

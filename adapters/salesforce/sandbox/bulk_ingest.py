"""Records written by a Bulk 2.0 job: batches of 10,000, each a writer of its own, each row with its own result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from adapters.salesforce.ids import number_of
from adapters.salesforce.sandbox import writing
from adapters.salesforce.sandbox.answers import Refusal, RowError
from adapters.salesforce.sandbox.bulk_jobs import BATCHES, DONE, FAILED, RUNNING, IngestJob, JobStore
from adapters.salesforce.sandbox.delimited import BadFile

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.fields import Field, SObject
    from adapters.salesforce.sandbox.state import State

OPERATIONS: Final = ("insert", "update", "upsert", "delete", "hardDelete")
MOST_BYTES: Final = 100 * 1024 * 1024
BATCH_ROWS: Final = 10_000
FIRST_WRITER: Final = 1_000_000
"""Batches are writers of their own: their numbers keep clear of those of requests."""

Line: TypeAlias = list[str]
Write: TypeAlias = Callable[[Line], tuple[str, bool]]
"""Writes one line; the record's id, and whether it was made."""


def begin(state: State, job: IngestJob, *, now_ms: int) -> None:
    """Take a closed job into work; a file nobody can make sense of fails it as a whole."""
    job.started_ms, job.state = now_ms, RUNNING
    try:
        names, lines = job.dialect.read(job.content or b"")
        job.names, job.lines = names, _counted(names, lines)
        _writer(state, job)
    except (BadFile, Refusal, RowError) as error:
        job.end(FAILED, now_ms=now_ms, error=_said(error))
        job.content = None


def work(state: State, store: JobStore, job: IngestJob, *, now_ms: int, batches: int) -> None:
    """Work off some batches; the job is complete when none is left, and fails when the day's batches are used up."""
    if job.lines is None:
        return
    lines: list[Line] = []
    try:
        write = _writer(state, job)
        for _ in range(batches):
            lines = list(islice(job.lines, BATCH_ROWS))
            if lines:
                store.spend(BATCHES, 1, now_ms=now_ms)
                _batch(state, job, lines, write)
            if len(lines) < BATCH_ROWS:
                job.end(DONE, now_ms=now_ms)
                break
    except BadFile as error:
        job.end(FAILED, now_ms=now_ms, error=_said(error))
    except Refusal as refusal:
        job.end(FAILED, now_ms=now_ms, error=refusal.message)
        job.left.append(job.packed(lines))
        abandon(job)
    if job.ended:
        job.content = job.lines = None


def abandon(job: IngestJob) -> None:
    """Keep what nobody worked off, for `unprocessedrecords`."""
    try:
        if job.lines is None and job.content is not None:
            job.names, job.lines = job.dialect.read(job.content)
        while job.lines is not None and (lines := list(islice(job.lines, BATCH_ROWS))):
            job.left.append(job.packed(lines))
    except BadFile:
        job.left.clear()
    job.content = job.lines = None


def _batch(state: State, job: IngestJob, lines: Sequence[Line], write: Write) -> None:
    """Write a batch; rows are refused one by one."""
    successes: list[Sequence[str]] = []
    failures: list[Sequence[str]] = []
    job.batches += 1
    before, state.writer = state.writer, FIRST_WRITER * number_of(job.id) + job.batches
    try:
        with state.acting(job.created_by):
            for line in lines:
                try:
                    record_id, made = write(line)
                    successes.append((record_id, "true" if made else "false", *line))
                except RowError as error:
                    failures.append((_own_id(job, line), error.text(), *line))
    finally:
        state.writer = before
    job.processed += len(lines)
    job.failed += len(failures)
    job.keep(successes, failures)


def _writer(state: State, job: IngestJob) -> Write:
    """What writes a line of this job; BadFile for columns that make no sense."""
    kind = state.viewer.kind(job.sobject)
    names = job.names
    for place, name in enumerate(names):
        if name.lower() in {other.lower() for other in names[:place]}:
            raise BadFile(f"InvalidBatch : Duplicate field name found in CSV : {name}")
    match job.operation:
        case "insert":
            return _inserter(state, kind, names)
        case "update":
            return _updater(state, kind, names)
        case "delete" | "hardDelete":
            return _deleter(state, kind, job)
        case _:
            return _upserter(state, kind, job)


def _inserter(state: State, kind: SObject, names: Sequence[str]) -> Write:
    plan = _plan(state, kind, names, "create")

    def write(line: Line) -> tuple[str, bool]:
        record = dict(zip(names, line, strict=True))
        return writing.create(state, kind, record, columns=plan, csv=True).id, True

    return write


def _updater(state: State, kind: SObject, names: Sequence[str]) -> Write:
    place = _place(names, "Id")
    plan = _plan(state, kind, names, "update")

    def write(line: Line) -> tuple[str, bool]:
        record = dict(zip(names, line, strict=True))
        if not line[place]:
            raise RowError("MISSING_ARGUMENT", "Id not specified in an update call", ["Id"])
        return writing.update(state, kind, line[place], record, columns=plan, csv=True).id, False

    return write


def _upserter(state: State, kind: SObject, job: IngestJob) -> Write:
    one = _key(state, kind, job)
    place = _place(job.names, one.name)
    rest = [name for name in job.names if name.lower() not in {one.name.lower(), "id"}]
    by_id = one.name == "Id"
    others, everything = _plan(state, kind, rest, "update"), _plan(state, kind, rest, "create")
    key_plan = {} if by_id else _plan(state, kind, [one.name], "create")

    def write(line: Line) -> tuple[str, bool]:
        key = line[place]
        if not key:
            raise RowError("MISSING_ARGUMENT", f"{one.name} not specified", [one.name])
        record = dict(zip(job.names, line, strict=True))
        kept = {name: record[name] for name in rest}
        value = writing.typed(state, {one.name: one}, {one.name: key}, csv=True).get(one.name, key)
        found = writing.holders(state, kind, one, writing.existing_id(kind, key) if by_id else value)
        if len(found) > 1:
            raise writing.AmbiguousError(one, [row.id for row in found])
        if found:
            return writing.update(state, kind, found[0].id, kept, columns=others, csv=True).id, False
        if by_id:
            raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", ["Id"])
        made = {**kept, one.name: key}
        return writing.create(state, kind, made, columns={**everything, **key_plan}, csv=True).id, True

    return write


def _deleter(state: State, kind: SObject, job: IngestJob) -> Write:
    if [name.lower() for name in job.names] != ["id"]:
        raise BadFile("InvalidBatch : a delete takes the one column Id")

    def write(line: Line) -> tuple[str, bool]:
        row = writing.delete(state, line[0], kind=kind)
        if job.operation == "hardDelete":
            state.purge(row.id)
        return row.id, False

    return write


def _key(state: State, kind: SObject, job: IngestJob) -> Field:
    """The external id an upsert goes by."""
    one = state.viewer.field(kind, job.external_id or "Id")
    if not (one.external_id or one.name == "Id"):
        raise BadFile(f"InvalidJob : {one.name} is no external id of {kind.name}")
    return one


def _plan(state: State, kind: SObject, names: Sequence[str], operation: str) -> writing.Plan:
    try:
        return writing.plan(state, kind, names, operation)
    except RowError as error:
        if error.code != "INVALID_FIELD" or not error.fields:
            raise BadFile(f"InvalidBatch : {error.code}:{error.message}") from None
        raise BadFile(f"InvalidBatch : Field name not found : {error.fields[0]}") from None


def _place(names: Sequence[str], wanted: str) -> int:
    place = next((place for place, name in enumerate(names) if name.lower() == wanted.lower()), None)
    if place is None:
        raise BadFile(f"InvalidBatch : Field name not found : {wanted}")
    return place


def _own_id(job: IngestJob, line: Line) -> str:
    """What a refused row says about which record it was; a row that was to be made has none."""
    if job.operation == "insert":
        return ""
    place = next((place for place, name in enumerate(job.names) if name.lower() == "id"), None)
    return "" if place is None else line[place]


def _counted(names: Sequence[str], lines: Iterator[Line]) -> Iterator[Line]:
    """The lines; BadFile at the first that has another number of cells than the header."""
    for line in lines:
        if len(line) != len(names):
            raise BadFile(
                "InvalidBatch : Processing failed: the number of columns in a row is not that of the header: "
                f"{len(line)} and not {len(names)}"
            )
        yield line


def _said(error: Any) -> str:
    return f"{error.code} : {error.message}" if isinstance(error, Refusal | RowError) else str(error)

"""The plan as a value and as a file: the same inputs give the same bytes, and a changed file is refused.

The file is JSON that a person can read. Beyond `ROWS_IN_JSON` rows the rows move into a Parquet file beside it, named
alike (`plan.json`, `plan.parquet`); the JSON then holds their digest. `plan_id` is the digest of everything else, so
whoever edits the file by hand is told to make a new plan.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, assert_never

from connector.contracts import chunks
from connector.errors import StalePlan, StateError
from connector.model import FeedbackRow, PropertySpec
from connector.plan.guards import GuardResult
from connector.plan.packing import pack, pack_entry, unpack, unpack_entry
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
    RemoveList,
    RemoveMembers,
    RemoveProperty,
    SetProperties,
    Step,
    Unenroll,
    Values,
)
from connector.program.model import Entry, Exit, Move, Split

SCHEMA_VERSION = 1

ROWS_IN_JSON = 5000
"""More rows than this and they travel in Parquet: a JSON of that length is no longer read by eye."""

ROWS_AT_ONCE = 50_000
"""So many rows are encoded, hashed and stored together; it is also the size of a Parquet row group."""

_COLUMNS = ("step", "row_id", "reason", "values", "before")

EXCLUDED = -1
"""Stands for a step number in rows that say who was left out."""

Row: TypeAlias = tuple[int, str, str | None, Values | None, Values | None]
"""Step number or EXCLUDED, record or contact id, reason, values, values before."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Why one record changes, for people who read the plan; `change` is `add` or `remove`."""

    change: str
    row_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ListChange:
    """What happens to one list; `list_id` is None when the plan makes it."""

    name: str
    list_id: str | None
    now: int
    add: int
    remove: int
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True, slots=True)
class Allowance:
    """Our share of the destination's API limits, which turns calls into minutes; None where there is no limit."""

    per_10s: float | None = None
    per_day: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one destination will be told, who is left out and why, and what it costs.

    fingerprints: Of the inputs; apply compares them with the present ones and refuses when they differ.
    excluded: Contact ids that would have been on a list, by reason code.
    deferred: How many wait, by reason code.
    holdout: How many are left alone on purpose.
    programs: For each program, what it does now and what it can detect.
    paced: The step lists of the programs: whoever leaves one is never put back by an undo.
    after: Plans for other CRMs, made together with this one, that are carried out before it.
    """

    account: str
    destination: str
    system: str
    as_of: date
    made_at: datetime
    expires_at: datetime
    fingerprints: Mapping[str, str]
    steps: tuple[Step, ...]
    lists: tuple[ListChange, ...]
    excluded: Mapping[str, tuple[str, ...]]
    guards: tuple[GuardResult, ...]
    api_calls: int
    allowance: Allowance = field(default_factory=Allowance)
    deferred: Mapping[str, int] = field(default_factory=dict)
    holdout: int = 0
    programs: Mapping[str, Any] = field(default_factory=dict)
    paced: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    plan_id: str = ""

    def identified(self) -> Plan:
        """The same plan under the id that its content gives it."""
        return replace(self, plan_id=content_id(self))

    @property
    def added(self) -> int:
        """Memberships to add."""
        return sum(len(step.row_ids) for step in self.steps if isinstance(step, AddMembers))

    @property
    def removed(self) -> int:
        """Memberships to remove."""
        return sum(len(step.row_ids) for step in self.steps if isinstance(step, RemoveMembers))

    @property
    def set(self) -> int:
        """Records whose properties change."""
        return sum(len(step.rows) for step in self.steps if isinstance(step, SetProperties))

    @property
    def written_rows(self) -> int:
        """Rows of all steps that are writes to the destination."""
        direct = sum(len(step.row_ids) for step in self.steps if isinstance(step, OptOut | Enroll | Unenroll))
        told = sum(len(step.rows) for step in self.steps if isinstance(step, RecordFeedback))
        return self.added + self.removed + self.set + direct + told

    @property
    def entered(self) -> int:
        """Treated contacts whose episode begins; holdouts are counted in `holdout`."""
        return sum(
            not entry.episode.held_out
            for step in self.steps
            if isinstance(step, OpenEpisodes)
            for entry in step.entries
        )

    @property
    def ended(self) -> int:
        """Episodes that end."""
        return sum(len(step.exits) for step in self.steps if isinstance(step, CloseEpisodes))

    @property
    def empty(self) -> bool:
        """True when there is nothing to do."""
        return not self.steps

    @property
    def seconds(self) -> float:
        """How long the calls take at the allowed pace."""
        return self.api_calls * 10 / self.allowance.per_10s if self.allowance.per_10s else 0.0

    @property
    def share_of_day(self) -> float | None:
        """The calls as a share of what we may use in a day; None without a daily limit."""
        return self.api_calls / self.allowance.per_day if self.allowance.per_day else None

    @property
    def list_ids(self) -> Mapping[str, str]:
        """The ids of the lists that exist already, by name."""
        return {change.name: change.list_id for change in self.lists if change.list_id is not None}

    def rows(self) -> Iterator[Row]:
        """Every row of every step in order, then every excluded contact."""
        for number, step in enumerate(self.steps):
            yield from step_rows(number, step)
        for reason in sorted(self.excluded):
            for contact_id in self.excluded[reason]:
                yield EXCLUDED, contact_id, reason, None, None

    def row_count(self) -> int:
        """How many rows `rows` yields."""
        return sum(map(_size, self.steps)) + sum(len(ids) for ids in self.excluded.values())

    def summary(self) -> dict[str, Any]:
        """What `winback plan --json` prints: the head without rows."""
        return {
            "schema_version": SCHEMA_VERSION,
            "plan_id": self.plan_id,
            "account": self.account,
            "destination": self.destination,
            "system": self.system,
            "as_of": self.as_of.isoformat(),
            "made_at": self.made_at.isoformat(),
            "expires_at": self.expires_at.isoformat(),
            "fingerprints": dict(self.fingerprints),
            "changes": {
                "add": self.added,
                "remove": self.removed,
                "set": self.set,
                "enroll": self.entered,
                "exit": self.ended,
            },
            "excluded": {reason: len(ids) for reason, ids in sorted(self.excluded.items())},
            "deferred": dict(sorted(self.deferred.items())),
            "holdout": self.holdout,
            "programs": dict(self.programs),
            "paced": list(self.paced),
            **({"after": list(self.after)} if self.after else {}),
            "api_calls": {self.destination: self.api_calls},
            "allowance": asdict(self.allowance),
            "guards": [asdict(guard) for guard in self.guards],
            "lists": [asdict(change) for change in self.lists],
        }

    def to_json(self) -> str:
        """The whole plan as text, rows inside whatever their number."""
        return _text(self._document(inside=True))

    def write(self, path: Path) -> None:
        """Put the plan at `path` (readable by us only), its rows beside it when they are many."""
        rows_path = path.with_suffix(".parquet")
        inside = self.row_count() <= ROWS_IN_JSON
        document = self._document(inside=inside)
        if inside:
            rows_path.unlink(missing_ok=True)
        else:
            _replace(rows_path, lambda temporary: _write_rows(self, temporary))
            document["rows"] = {"count": self.row_count(), "sha256": _digest_of(rows_path)}
        _replace(path, lambda temporary: temporary.write_bytes(_text(document).encode()))

    @classmethod
    def read(cls, path: Path) -> Plan:
        """The plan in this file; StateError when it is no plan, StalePlan when it was changed by hand."""
        document = _load(path)
        plan = _plan(document, _rows_beside(path, document))
        if plan.plan_id != content_id(plan):
            raise StalePlan(f"{path}: its content does not match its id", hint="make a new plan: `winback plan`.")
        return plan

    def _document(self, *, inside: bool) -> dict[str, Any]:
        document = self.summary() | {"steps": [_head(step) for step in self.steps]}
        if inside:
            for number, step in enumerate(self.steps):
                rows = [_json_row(row) for row in step_rows(number, step)]
                if rows:
                    document["steps"][number]["rows"] = rows
            document["excluded_contacts"] = {reason: list(ids) for reason, ids in sorted(self.excluded.items())}
        return document


def step_rows(number: int, step: Step) -> Iterator[Row]:  # noqa: C901, PLR0912  # one case per kind of step
    """The rows of one step; a step without rows yields none."""
    match step:
        case RemoveMembers() | AddMembers() | OptOut() | Enroll() | Unenroll():
            for row_id in step.row_ids:
                yield number, row_id, None, None, None
        case SetProperties():
            for row in step.rows:
                yield number, row.row_id, None, row.values, row.before
        case RecordFeedback():
            for note in step.rows:
                yield number, note.key, None, pack(note), None
        case OpenEpisodes():
            for entry in step.entries:
                yield number, entry.episode.episode_id, None, pack_entry(entry), None
        case MoveEpisodes():
            for move in step.moves:
                yield number, move.episode_id, None, pack(move), None
        case CloseEpisodes():
            for leaving in step.exits:
                yield number, leaving.episode_id, None, pack(leaving), None
        case AnswerAsks():
            for key, decision in step.answers:
                yield number, key, None, {"decision": decision}, None
        case EnsureProperty() | EnsureList() | RemoveList() | RemoveProperty():
            return
        case _:
            assert_never(step)


def content_id(plan: Plan) -> str:
    """The digest of everything the plan says, its own id apart."""
    digest = hashlib.sha256()
    digest.update(_encode(plan.summary() | {"plan_id": "", "steps": [_head(step) for step in plan.steps]}).encode())
    # The head says how many rows each step has, and each reason: one after the other, they need no names.
    for rows in (*map(_content, plan.steps), *(plan.excluded[reason] for reason in sorted(plan.excluded))):
        for part in chunks(rows, ROWS_AT_ONCE):
            digest.update(_encode(part).encode())
    return "plan-" + digest.hexdigest()[:24]


def _size(step: Step) -> int:
    """How many rows a step has."""
    return len(_content(step))


def _content(step: Step) -> Sequence[Any]:  # noqa: PLR0911  # one case per kind of step
    """The rows of one step as they are."""
    match step:
        case RemoveMembers() | AddMembers() | OptOut() | Enroll() | Unenroll():
            return step.row_ids
        case SetProperties() | RecordFeedback():
            return step.rows
        case OpenEpisodes():
            return step.entries
        case MoveEpisodes():
            return step.moves
        case CloseEpisodes():
            return step.exits
        case AnswerAsks():
            return step.answers
        case EnsureProperty() | EnsureList() | RemoveList() | RemoveProperty():
            return ()
        case _:
            assert_never(step)


def _head(step: Step) -> dict[str, Any]:  # noqa: PLR0911  # one head per kind of step
    """A step without its rows."""
    match step:
        case RemoveMembers():
            return {"kind": step.kind, "list": step.list_name, "count": len(step.row_ids)}
        case AddMembers():
            return {"kind": step.kind, "list": step.list_name, "count": len(step.row_ids), "retried": step.retried}
        case SetProperties():
            return {"kind": step.kind, "count": len(step.rows), "retried": step.retried}
        case Enroll():
            return {
                "kind": step.kind, "workflow": step.workflow, "count": len(step.row_ids), "retried": step.retried,
            }  # fmt: skip
        case Unenroll():
            return {"kind": step.kind, "workflow": step.workflow, "count": len(step.row_ids)}
        case OpenEpisodes():
            splits = {name: pack(split) for name, split in sorted(step.splits.items())}
            return {"kind": step.kind, "count": len(step.entries), "splits": splits}
        case OptOut() | RecordFeedback() | MoveEpisodes() | CloseEpisodes() | AnswerAsks():
            return {"kind": step.kind, "count": _size(step)}
        case EnsureProperty() | EnsureList() | RemoveList() | RemoveProperty():
            return {"kind": step.kind, **asdict(step)}
        case _:
            assert_never(step)


def _json_row(row: Row) -> Any:
    """A member row is its id; a property row says what changes and from what."""
    _, row_id, _, values, before = row
    if values is None:
        return row_id
    return {"row_id": row_id, "values": dict(values), "before": dict(before or {})}


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, ensure_ascii=False, indent=1) + "\n"


def _plain(row: Any) -> Any:
    if isinstance(row, PropertyChange):
        return row.row_id, row.values, row.before
    return pack_entry(row) if isinstance(row, Entry) else pack(row)


_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain).encode
"""One encoder for a million rows: `json.dumps` with options makes a new one each time."""


# --- the file ---------------------------------------------------------------------------------------------


def _replace(path: Path, fill: Callable[[Path], object]) -> None:
    """Fill a private temporary file, make it durable, and move it into place in one step."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
        fill(temporary)
        handle = os.open(temporary, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_rows(plan: Plan, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = (pa.int32(), pa.string(), pa.string(), pa.string(), pa.string())
    schema = pa.schema(list(zip(_COLUMNS, types, strict=True)))
    rows = plan.rows()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while part := list(islice(rows, ROWS_AT_ONCE)):
            numbers, row_ids, reasons, values, before = zip(*part, strict=True)
            columns = (numbers, row_ids, reasons, map(_values_text, values), map(_values_text, before))
            arrays = [pa.array(list(column), kind) for column, kind in zip(columns, types, strict=True)]
            writer.write_table(pa.table(arrays, schema=schema))


def _values_text(values: Values | None) -> str | None:
    return _encode(dict(values)) if values else None


def _rows_beside(path: Path, document: Mapping[str, Any]) -> Iterator[Row] | None:
    """The rows of the Parquet file beside the plan; None when the JSON holds them itself."""
    expected = document.get("rows")
    if expected is None:
        return None
    rows_path = path.with_suffix(".parquet")
    if not rows_path.exists():
        raise StateError(f"{rows_path}: the rows of {path.name} are gone", hint="make a new plan: `winback plan`.")
    if _digest_of(rows_path) != expected["sha256"]:
        raise StalePlan(
            f"{rows_path} belongs to another plan than {path.name}", hint="make a new plan: `winback plan`."
        )
    return _rows_in(rows_path)


def _rows_in(path: Path) -> Iterator[Row]:
    """The rows in order, some at a time; equal values are one object, since a plan repeats few of them very often."""
    import pyarrow.parquet as pq

    known: dict[str, Values] = {}
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS_AT_ONCE):
            columns = [batch.column(name).to_pylist() for name in _COLUMNS]
            for number, row_id, reason, values, before in zip(*columns, strict=True):
                yield number, row_id, reason, _values_of(values, known), _values_of(before, known)


def _values_of(text: str | None, known: dict[str, Values]) -> Values | None:
    if text is None:
        return None
    values = known.get(text)
    if values is None:
        values = json.loads(text)
        if len(known) < ROWS_AT_ONCE:
            known[text] = values
    return values


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StateError(f"{path}: no such plan", hint="make one: `winback plan`.") from None
    except ValueError as error:
        raise StateError(
            f"{path}: this is not a plan file: {error}", hint="make a new plan: `winback plan`."
        ) from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise StateError(
            f"{path}: a plan of version {version}; this winback reads version {SCHEMA_VERSION}",
            hint="make a new plan: `winback plan`.",
        )
    return dict(document)


# --- back from the file -----------------------------------------------------------------------------------


def _plan(document: Mapping[str, Any], rows: Iterator[Row] | None) -> Plan:
    by_step: dict[int, list[Row]] = {}
    excluded: dict[str, list[str]] = {}
    for row in _rows_inside(document) if rows is None else rows:
        if row[0] == EXCLUDED:
            excluded.setdefault(str(row[2]), []).append(row[1])
        else:
            by_step.setdefault(row[0], []).append(row)
    return Plan(
        account=document["account"],
        destination=document["destination"],
        system=document["system"],
        as_of=date.fromisoformat(document["as_of"]),
        made_at=datetime.fromisoformat(document["made_at"]),
        expires_at=datetime.fromisoformat(document["expires_at"]),
        fingerprints=document["fingerprints"],
        steps=tuple(_step(head, by_step.get(number, [])) for number, head in enumerate(document["steps"])),
        lists=tuple(_list_change(change) for change in document["lists"]),
        excluded={reason: tuple(ids) for reason, ids in excluded.items()},
        guards=tuple(GuardResult(**guard) for guard in document["guards"]),
        api_calls=document["api_calls"][document["destination"]],
        allowance=Allowance(**document["allowance"]),
        deferred=document.get("deferred", {}),
        holdout=document.get("holdout", 0),
        programs=document.get("programs", {}),
        paced=tuple(document.get("paced", ())),
        after=tuple(document.get("after", ())),
        plan_id=document["plan_id"],
    )


def _rows_inside(document: Mapping[str, Any]) -> Iterator[Row]:
    """The rows that the JSON holds itself."""
    for number, step in enumerate(document["steps"]):
        for row in step.get("rows", ()):
            if isinstance(row, str):
                yield number, row, None, None, None
            else:
                yield number, row["row_id"], None, row["values"], row.get("before")
    for reason, ids in document["excluded_contacts"].items():
        for contact_id in ids:
            yield EXCLUDED, contact_id, reason, None, None


def _list_change(document: Mapping[str, Any]) -> ListChange:
    return ListChange(**{**document, "samples": tuple(Sample(**sample) for sample in document["samples"])})


def _step(head: Mapping[str, Any], rows: list[Row]) -> Step:
    reader = _READERS.get(head["kind"])
    if reader is None:
        raise StateError(f"the plan has a step of the unknown kind {head['kind']!r}", hint="make a new plan.")
    fields = {name: value for name, value in head.items() if name not in {"kind", "rows", "count", "list"}}
    return reader(head, fields, rows)


def _property_spec(fields: Mapping[str, Any]) -> PropertySpec:
    choices = tuple((value, label) for value, label in fields["spec"]["choices"])
    return PropertySpec(**{**fields["spec"], "choices": choices})


def _ids(rows: Iterable[Row]) -> tuple[str, ...]:
    return tuple(row[1] for row in rows)


def _opening(fields: Mapping[str, Any], rows: Iterable[Row]) -> OpenEpisodes:
    splits = {name: unpack(Split, packed) for name, packed in fields["splits"].items()}
    return OpenEpisodes(tuple(unpack_entry(row[3] or {}) for row in rows), splits)


_READERS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any], list[Row]], Step]] = {
    EnsureProperty.kind: lambda _, fields, __: EnsureProperty(_property_spec(fields)),
    EnsureList.kind: lambda _, fields, __: EnsureList(**fields),
    RemoveMembers.kind: lambda head, _, rows: RemoveMembers(head["list"], _ids(rows)),
    AddMembers.kind: lambda head, fields, rows: AddMembers(head["list"], _ids(rows), **fields),
    SetProperties.kind: lambda _, fields, rows: SetProperties(
        tuple(PropertyChange(row[1], row[3] or {}, row[4] or {}) for row in rows), **fields
    ),
    RemoveList.kind: lambda _, fields, __: RemoveList(**fields),
    RemoveProperty.kind: lambda _, fields, __: RemoveProperty(**fields),
    OptOut.kind: lambda _, __, rows: OptOut(_ids(rows)),
    RecordFeedback.kind: lambda _, __, rows: RecordFeedback(tuple(unpack(FeedbackRow, row[3] or {}) for row in rows)),
    Enroll.kind: lambda _, fields, rows: Enroll(row_ids=_ids(rows), **fields),
    Unenroll.kind: lambda _, fields, rows: Unenroll(row_ids=_ids(rows), **fields),
    OpenEpisodes.kind: lambda _, fields, rows: _opening(fields, rows),
    MoveEpisodes.kind: lambda _, __, rows: MoveEpisodes(tuple(unpack(Move, row[3] or {}) for row in rows)),
    CloseEpisodes.kind: lambda _, __, rows: CloseEpisodes(tuple(unpack(Exit, row[3] or {}) for row in rows)),
    AnswerAsks.kind: lambda _, __, rows: AnswerAsks(tuple((row[1], str((row[3] or {})["decision"])) for row in rows)),
}
"""How each kind of step is read back: from its head, its own fields, and its rows."""

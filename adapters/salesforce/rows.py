"""Writing many records so that no row holds up another, each with what Salesforce said about it.

Small amounts go as sObject Collections of 200, larger ones as a Bulk 2.0 job. A row that another write had locked is
written again, a few times, in smaller batches, sorted by what the rows hang on: two batches that touch one account are
then less likely to meet. Whatever is known of a row is kept, also when the rest of its batch came to nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from adapters.salesforce.fields import PERMISSION_SET
from adapters.salesforce.vendor_errors import MissingPermissionsError, SalesforceRejected, is_lock, plain
from connector.contracts import Clock, chunks
from connector.errors import CredentialsError, OutcomeUnknown, QuotaExhausted, RejectedError, RetriableError
from connector.model import Outcome, Receipt
from connector.rest import Effect

if TYPE_CHECKING:
    from adapters.salesforce.client import SalesforceClient

PER_CALL: Final = 200
"""Records one collections call takes."""

NO_ASSIGNMENT: Final = {"Sforce-Auto-Assign": "FALSE"}
"""Sent with every write: otherwise a change of a lead may hand it to another owner by the org's assignment rules."""

GONE: Final = frozenset({"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "NOT_FOUND", "MALFORMED_ID"})
BARRED: Final = "entity type cannot be"
"""Part of what a row is told when its kind of record is closed to the user (`entity type cannot be inserted`)."""

ALLOW: Final = (
    f"assign the permission set {PERMISSION_SET} to the integration user; for campaigns, tick “Marketing User” too "
    "(Setup → Users)"
)
CONVERTED: Final = "CANNOT_UPDATE_CONVERTED_LEAD"
DUPLICATE: Final = "DUPLICATE_VALUE"
NOT_TRIED: Final = "NOT_TRIED"

_LOCK_TRIES: Final = 5
_LOCK_PAUSE_SECONDS: Final = 1.0
_FEWEST: Final = 10
_REPEATS: Final = 3
_REPEAT_PAUSE_SECONDS: Final = 2.0
_REFUSALS_IN_A_ROW: Final = 40
"""Refused calls without a single success after which a batch is bad as a whole, not by some of its rows."""
_BAD_REQUEST, _TOO_LARGE, _URI_TOO_LONG = 400, 413, 414

STOPPERS: Final = (RetriableError, QuotaExhausted, CredentialsError)


@dataclass(frozen=True, slots=True)
class Verb:
    """One way of writing.

    operation: Bulk's word. method: The HTTP method of the collections call.
    match: The columns that tell rows apart in Bulk's results, whose order is its own.
    external_id: The field an upsert goes by.
    repeatable: Whether a second time does the same as the first.
    """

    operation: str
    method: str
    match: tuple[str, ...]
    external_id: str = ""
    repeatable: bool = True


INSERT_MEMBERS: Final = Verb("insert", "POST", ("ContactId", "LeadId"), repeatable=False)
UPDATE: Final = Verb("update", "PATCH", ("Id",))
DELETE: Final = Verb("delete", "DELETE", ("Id",), repeatable=False)


def upsert_by(field: str) -> Verb:
    """Make or change by an external id: exactly once, however often it is sent."""
    return Verb("upsert", "PATCH", (field,), external_id=field)


@dataclass(frozen=True, slots=True)
class Change:
    """One record to write. `key` is the caller's name for it; `values` are fields as JSON, its id among them."""

    key: str
    sobject: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """What Salesforce said about one row.

    silent: It said nothing: the row may have been written. untried: It was not sent at all.
    doubted: An earlier request for it got no answer, so what is there now may be ours.
    """

    done: bool = False
    code: str = ""
    message: str = ""
    silent: bool = False
    untried: bool = False
    doubted: bool = False

    @property
    def locked(self) -> bool:
        """Whether another write held the record."""
        return not self.done and is_lock(self.code, self.message)

    @property
    def gone(self) -> bool:
        """Whether the record, or one it hangs on, is not there to be written."""
        return not self.done and (self.code in GONE or self.code == CONVERTED)

    @property
    def barred(self) -> bool:
        """Whether our user may write no record of this kind at all: nothing is wrong with the row."""
        return not self.done and BARRED in self.message

    def receipt(self, row_id: str) -> Receipt:
        """The receipt for a row that was to be written."""
        if self.done:
            return Receipt(row_id, Outcome.WRITTEN)
        if self.silent or self.untried:
            return Receipt(row_id, Outcome.UNKNOWN, self.message, self.code or None)
        return Receipt(row_id, Outcome.MISSING if self.gone else Outcome.REJECTED, self.message, self.code)


WRITTEN: Final = Said(done=True)
SILENT: Final = Said(silent=True, message="Salesforce gave no answer about this row")
UNTRIED: Final = Said(
    untried=True, code=NOT_TRIED, message="not tried: Salesforce stopped answering before it was this row's turn"
)


class NoJobs(RejectedError):
    """No Bulk job does it: the org's allowance is used up, the user may not, or the job failed before any row."""


class Bulk(Protocol):
    """Writes rows of one object by a job; see `bulk_ingest.py`."""

    def write(self, verb: Verb, sobject: str, changes: Sequence[Change]) -> Mapping[str, Said]:
        """What was said about each row, by its key."""


Sorter = Callable[[Sequence[Change]], Sequence[Change]]
"""Puts rows that hang on one record next to each other; may ask Salesforce."""


class RowWriter:
    """Writes rows of one org.

    Args:
        client: Makes the calls.
        bulk: Writes large amounts.
        clock: For pauses.
        bulk_from: From so many rows of one object on, they go by Bulk.
    """

    def __init__(self, client: SalesforceClient, bulk: Bulk, *, clock: Clock, bulk_from: int) -> None:
        self._client = client
        self._bulk = bulk
        self._clock = clock
        self._bulk_from = bulk_from

    def write(self, verb: Verb, changes: Sequence[Change], *, by_parent: Sorter = tuple) -> dict[str, Said]:
        """Write rows; what was said about each, by its key. Every key is answered.

        Raises:
            OutcomeUnknown: no row got an answer.
            RetriableError, QuotaExhausted, CredentialsError: nothing was done, and nothing can be now.
            RejectedError: the call itself was refused, whatever its rows.
        """
        said: dict[str, Said] = {}
        left, size = list(changes), PER_CALL
        for tries in range(_LOCK_TRIES + 1):
            said.update(self._pass(verb, left, size, said))
            left = [change for change in left if said[change.key].locked]
            if not left or tries == _LOCK_TRIES:
                break
            self._clock.sleep(_LOCK_PAUSE_SECONDS * 2**tries)
            size = max(_FEWEST, size // 2)
            if not tries:
                left = list(by_parent(left))
        if said and all(one.barred for one in said.values()):
            words = next(iter(said.values())).message
            raise MissingPermissionsError(f"salesforce {verb.operation}: not allowed: {words}", hint=ALLOW)
        if said and all(one.silent for one in said.values()):
            raise OutcomeUnknown(f"salesforce {verb.operation}: {len(said):,} rows were sent, none was confirmed")
        return said

    def calls(self, rows: int) -> int | None:
        """Collections calls for so many rows; None when they go by Bulk."""
        return None if rows >= self._bulk_from else -(-rows // PER_CALL)

    def _pass(self, verb: Verb, changes: Sequence[Change], size: int, before: Mapping[str, Said]) -> dict[str, Said]:
        """Every row once; what could not be sent any more is untried, unless nothing was done at all."""
        said: dict[str, Said] = {}
        waiting = deque(self._parts(changes, size))
        while waiting:
            part, whole = waiting.popleft()
            try:
                if whole:
                    said.update(self._in_bulk(verb, part))
                else:
                    self._together(verb, part, said)
            except NoJobs:
                waiting.extendleft((few, False) for few in reversed(list(chunks(part, PER_CALL))))
            except (*STOPPERS, RejectedError) as fault:
                if not before and not any(one.done or one.silent for one in said.values()):
                    raise
                left = _refused(fault) if isinstance(fault, RejectedError) else replace(UNTRIED, message=str(fault))
                said.update((change.key, left) for change in changes if change.key not in said)
                break
        return said

    def _parts(self, changes: Sequence[Change], size: int) -> Iterable[tuple[Sequence[Change], bool]]:
        """What goes together in one request: a job for each object with many rows, calls of `size` for the others."""
        by_object: dict[str, list[Change]] = {}
        for change in changes:
            by_object.setdefault(change.sobject, []).append(change)
        few: list[Change] = []
        for rows in by_object.values():
            if len(rows) >= self._bulk_from:
                yield rows, True
            else:
                few += rows
        for part in chunks(few, size):
            yield part, False

    def _in_bulk(self, verb: Verb, part: Sequence[Change]) -> Mapping[str, Said]:
        try:
            return self._bulk.write(verb, part[0].sobject, part)
        except OutcomeUnknown as doubt:
            return {change.key: replace(SILENT, message=str(doubt)) for change in part}

    # --- collections --------------------------------------------------------------------------------------------

    def _together(self, verb: Verb, changes: Sequence[Change], said: dict[str, Said]) -> None:
        """One call; refused as a whole for what is in it, halves, down to the rows that are to blame."""
        waiting = [changes]
        refused_in_a_row = 0
        while waiting:
            part = waiting.pop()
            try:
                said.update(self._answered(verb, part))
                refused_in_a_row = 0
            except RejectedError as refusal:
                alike = _is_about_every_row(refusal, part)
                if alike and refusal.status != _BAD_REQUEST:
                    raise
                refused_in_a_row += 1
                if alike or len(part) == 1 or refused_in_a_row > _REFUSALS_IN_A_ROW:
                    said.update((change.key, _refused(refusal)) for change in part)
                    continue
                middle = len(part) // 2
                waiting.extend((part[middle:], part[:middle]))

    def _answered(self, verb: Verb, part: Sequence[Change]) -> dict[str, Said]:
        """One call, made again when no answer came; in the end its rows stay without one."""
        doubt: OutcomeUnknown | None = None
        for tries in range(_REPEATS):
            if tries:
                self._clock.sleep(_REPEAT_PAUSE_SECONDS * tries)
            try:
                said = self._call(verb, part)
            except OutcomeUnknown as unknown:
                doubt = unknown
                if verb.repeatable:
                    break  # the client has repeated it itself
                continue
            except (*STOPPERS, RejectedError):
                if doubt is None:
                    raise
                break  # the request before may have written them, whatever is said to this one
            return said if doubt is None else {key: replace(one, doubted=True) for key, one in said.items()}
        return {change.key: replace(SILENT, message=str(doubt)) for change in part}

    def _call(self, verb: Verb, part: Sequence[Change]) -> dict[str, Said]:
        effect = Effect.REPEATABLE if verb.repeatable else Effect.ONCE
        tail = f"/{part[0].sobject}/{verb.external_id}" if verb.external_id else ""
        path = self._client.path(f"/composite/sobjects{tail}")
        query, body = None, None
        if verb.operation == "delete":
            query = {"ids": ",".join(str(change.values["Id"]) for change in part), "allOrNone": "false"}
        else:
            records = [{"attributes": {"type": change.sobject}, **_sent(change.values)} for change in part]
            body = {"allOrNone": False, "records": records}
        answer = self._client.call(verb.method, path, query=query, body=body, effect=effect, headers=NO_ASSIGNMENT).data
        if not isinstance(answer, list) or len(answer) != len(part):
            return {change.key: SILENT for change in part}  # accepted without a word: not taken for done
        return {change.key: read_result(result) for change, result in zip(part, answer, strict=True)}


def read_result(result: Mapping[str, Any]) -> Said:
    """One row of a collections answer."""
    if result.get("success") is True:
        return WRITTEN
    # A trigger may add errors of its own; the lock among them decides, for it passes.
    errors = [
        Said(code=code, message=plain(str(error.get("message") or ""), code=code) or code)
        for error in result.get("errors") or ()
        if (code := str(error.get("statusCode") or error.get("errorCode") or "REJECTED"))
    ]
    if not errors:
        return SILENT
    return next((error for error in errors if error.locked), errors[0])


def _sent(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record as collections take it: its id is called `id` there."""
    if "Id" not in values:
        return values
    return {"id": values["Id"], **{name: value for name, value in values.items() if name != "Id"}}


def _refused(refusal: RejectedError) -> Said:
    """What a refused call says about each row that was in it."""
    if isinstance(refusal, SalesforceRejected):
        code = refusal.code or str(refusal.status)
        return Said(code=code, message=refusal.vendor.message or code)
    return Said(code=str(refusal.status), message=str(refusal))


def _is_about_every_row(refusal: RejectedError, part: Sequence[Change]) -> bool:
    """Whether a refused call cannot be helped by halving: it is about the request, or a field all its rows name."""
    if refusal.status not in {_BAD_REQUEST, _TOO_LARGE, _URI_TOO_LONG}:
        return True
    if not isinstance(refusal, SalesforceRejected):
        return False
    if refusal.code in {"INVALID_TYPE", "NOT_FOUND"}:
        return True
    named = refusal.vendor.message
    fields = set.intersection(*(set(change.values) for change in part))
    return refusal.code in {"INVALID_FIELD", "INVALID_FIELD_FOR_INSERT_UPDATE"} and any(f in named for f in fields)

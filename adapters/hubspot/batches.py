"""Batch writes in which one bad row never blocks the others.

Each input carries an `objectWriteTraceId`, which makes HubSpot answer per row (207) instead of refusing the whole
batch. Where it refuses the batch all the same (400), the batch is halved until the bad rows are alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from adapters.hubspot.client import HubSpotClient, HubSpotRejected, VendorError
from connector.errors import OutcomeUnknown, RejectedError
from connector.model import Outcome, PropertyRow, Receipt
from connector.redact import redact
from connector.rest import Effect

_Row = TypeVar("_Row")

NOT_FOUND: Final = "OBJECT_NOT_FOUND"
MERGED: Final = "MERGED"
NO_SUCH_PROPERTY: Final = "PROPERTY_DOESNT_EXIST"
_STATUS_NOT_FOUND = 404
_REFUSALS_IN_A_ROW: Final = 40
"""Refused calls without a single success after which a batch is bad as a whole, not by some of its rows."""


class BatchWriter:
    """Writes batches of one account and says what became of each row."""

    def __init__(self, client: HubSpotClient) -> None:
        self._client = client

    def set_properties(self, rows: Sequence[PropertyRow]) -> list[Receipt]:
        """Write rows by record id; one receipt per row, in order. Safe to repeat.

        Of several rows for one record the later values win and all get the same receipt: HubSpot refuses a batch that
        names a record twice. The id of a contact that was merged away is refused in a batch, but accepted alone.

        Raises:
            OutcomeUnknown: no answer, or a success with nothing in it.
        """
        if not rows:
            return []
        merged: dict[str, PropertyRow] = {}
        for row in rows:
            before = merged.get(row.row_id)
            merged[row.row_id] = row if before is None else PropertyRow(row.row_id, {**before.values, **row.values})
        receipts = self.isolate(
            list(merged.values()), self._update, row_id=lambda row: row.row_id, whole=_is_about_every_row
        )
        by_id = {receipt.row_id: receipt for receipt in receipts}
        for row in merged.values():
            if by_id[row.row_id].code == NOT_FOUND:
                by_id[row.row_id] = self._update_one(row)
        return [by_id[row.row_id] for row in rows]

    def isolate(
        self,
        rows: Sequence[_Row],
        write: Callable[[Sequence[_Row]], list[Receipt]],
        *,
        row_id: Callable[[_Row], str],
        whole: Callable[[RejectedError], bool],
    ) -> list[Receipt]:
        """Write rows together; when refused, in halves, down to single rows, which are then REJECTED with the reason.

        Args:
            rows: What to write, at least one.
            write: Makes one call; raises RejectedError when it is refused.
            row_id: A row's record id.
            whole: Whether a refusal concerns every row alike, so that halving would only cost calls; it then rises.
        """
        done: list[Receipt] = []
        waiting = [list(rows)]
        refused_in_a_row = 0
        while waiting:
            part = waiting.pop()
            try:
                done.extend(write(part))
                refused_in_a_row = 0
            except RejectedError as refusal:
                if whole(refusal):
                    raise
                refused_in_a_row += 1
                if len(part) == 1 or refused_in_a_row > _REFUSALS_IN_A_ROW:
                    done.extend(_rejected(row_id(row), refusal) for row in part)
                    continue
                middle = len(part) // 2
                waiting.extend((part[middle:], part[:middle]))
        return done

    def _update(self, rows: Sequence[PropertyRow]) -> list[Receipt]:
        """One batch update and what it says about each row."""
        body = {
            "inputs": [
                {"id": row.row_id, "properties": _as_sent(row.values), "objectWriteTraceId": row.row_id} for row in rows
            ]
        }
        path = self._client.path("objects", "/contacts/batch/update")
        try:
            answer = self._client.call("POST", path, body=body, effect=Effect.REPEATABLE).data
        except HubSpotRejected as refusal:
            lost = _unknown_properties(refusal)
            if lost and all(lost & set(row.values) for row in rows):
                return [_rejected(row.row_id, refusal) for row in rows]
            raise
        if not isinstance(answer, dict) or not ("results" in answer or answer.get("errors")):
            raise OutcomeUnknown(f"hubspot contacts update: {len(rows)} rows were accepted without a word")
        return self._sorted_out(rows, answer)

    def _sorted_out(self, rows: Sequence[PropertyRow], answer: Mapping[str, Any]) -> list[Receipt]:
        """A 200 or 207, row by row; a row it does not mention is sent again alone, once, which is harmless."""
        written = {str(item.get("id")) for item in answer.get("results") or ()}
        errors = _errors_by_row(answer, {row.row_id for row in rows})
        unmentioned = [row for row in rows if row.row_id not in written and row.row_id not in errors]
        if len(unmentioned) == len(rows):
            if not answer.get("errors"):
                raise OutcomeUnknown(f"hubspot contacts update: {len(rows)} rows were accepted, none was confirmed")
            if len(rows) == 1:
                return [_refused_row(rows[0].row_id, answer["errors"][0])]
        receipts: list[Receipt] = []
        for row in rows:
            if row.row_id in errors:
                receipts.append(_refused_row(row.row_id, errors[row.row_id]))
            elif row.row_id in written:
                receipts.append(Receipt(row.row_id, Outcome.WRITTEN))
            else:
                receipts.append(self._update_one(row))
        return receipts

    def _update_one(self, row: PropertyRow) -> Receipt:
        """Write one record by itself; the id of a merged one reaches the record it became part of."""
        path = self._client.path("objects", "/contacts/{contactId}")
        body = {"properties": _as_sent(row.values)}
        try:
            answer = self._client.call(
                "PATCH", path, place={"contactId": row.row_id}, body=body, effect=Effect.REPEATABLE
            ).data
        except HubSpotRejected as refusal:
            if refusal.status == _STATUS_NOT_FOUND:
                return Receipt(row.row_id, Outcome.MISSING, refusal.vendor.words(), NOT_FOUND)
            return _rejected(row.row_id, refusal)
        now = str((answer or {}).get("id") or "")
        if not now:
            return Receipt(row.row_id, Outcome.UNKNOWN, "accepted without a word")
        if now != row.row_id:
            return Receipt(row.row_id, Outcome.WRITTEN, f"merged into {now}", MERGED)
        return Receipt(row.row_id, Outcome.WRITTEN)


def _as_sent(values: Mapping[str, str | None]) -> dict[str, str]:
    """Values as HubSpot takes them: an empty text clears a property."""
    return {name: "" if value is None else value for name, value in values.items()}


def _errors_by_row(answer: Mapping[str, Any], asked: set[str]) -> dict[str, Mapping[str, Any]]:
    """The errors of a 207 by record id, which stands under one of several keys."""
    found: dict[str, Mapping[str, Any]] = {}
    for error in answer.get("errors") or ():
        context = error.get("context") or {}
        named = [*(context.get("objectWriteTraceId") or ()), *(context.get("ids") or ()), *(context.get("id") or ())]
        if error.get("id") is not None:
            named.append(error["id"])
        for row_id in map(str, named):
            if row_id in asked:
                found[row_id] = error
    return found


def _refused_row(row_id: str, error: Mapping[str, Any]) -> Receipt:
    """The receipt for one error of a 207."""
    category = str(error.get("category") or "REJECTED")
    outcome = Outcome.MISSING if category == NOT_FOUND else Outcome.REJECTED
    return Receipt(row_id, outcome, redact(str(error.get("message") or category)), category)


def _rejected(row_id: str, refusal: RejectedError) -> Receipt:
    """The receipt for a row that was refused with its whole call."""
    vendor = refusal.vendor if isinstance(refusal, HubSpotRejected) else VendorError(str(refusal))
    if refusal.status == _STATUS_NOT_FOUND or vendor.category == NOT_FOUND:
        return Receipt(row_id, Outcome.MISSING, vendor.words(), NOT_FOUND)
    return Receipt(row_id, Outcome.REJECTED, vendor.words(), vendor.category or str(refusal.status))


def _unknown_properties(refusal: HubSpotRejected) -> set[str]:
    """The properties a refusal says do not exist; they stand in JSON inside the message."""
    import re

    if NO_SUCH_PROPERTY not in refusal.body:
        return set()
    text = refusal.body.replace('\\"', '"')
    return set(re.findall(r'"name"\s*:\s*"([a-z][a-z0-9_]*)"', text))


def _is_about_every_row(refusal: RejectedError) -> bool:
    """Whether a refused batch cannot be helped by halving: only refusals of contents (400, 404, 409, 413) can."""
    return refusal.status not in {400, 404, 409, 413, 414}

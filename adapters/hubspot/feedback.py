"""What people told us, as notes on their contact and tasks for its owner; each carries our key and is written once.

A note is found again through the contact it hangs on: the association read is exact, where the search index lags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from adapters.hubspot.client import HubSpotClient, HubSpotRejected, MissingScopesError
from adapters.hubspot.people import missing
from connector.errors import OutcomeUnknown
from connector.model import FeedbackRow, Outcome, Receipt
from connector.redact import redact
from connector.rest import Effect

BATCH: Final = 100
OWNER: Final = "hubspot_owner_id"
NOTES, TASKS = "notes", "tasks"
SCOPES: Final = ("crm.objects.contacts.write", "crm.objects.notes.read", "crm.objects.tasks.read")
CALLS_PER_BATCH: Final = 3
"""The contacts with their owners, what hangs on them, and the new notes; tasks and what is there already cost more."""

_TO_CONTACT: Final = {NOTES: 202, TASKS: 204}
_BODY: Final = {NOTES: "hs_note_body", TASKS: "hs_task_body"}
_MARK: Final = re.compile(r"winback-ref ([0-9a-f]{8,64})")


class Feedback:
    """Notes and tasks of one account."""

    def __init__(self, client: HubSpotClient) -> None:
        self._client = client

    def record(self, rows: Sequence[FeedbackRow]) -> list[Receipt]:
        """Write what is not there yet; see `Destination.record_feedback`.

        Raises:
            OutcomeUnknown: no answer, or a success with nothing in it; call again, or ask `recorded`.
        """
        if not rows:
            return []
        try:
            return self._record(rows)
        except MissingScopesError as refusal:
            # Values still go through: nobody else's writes wait until somebody has added a permission.
            words = f"HubSpot keeps no notes of ours: add the scope {', '.join(refusal.scopes) or SCOPES[0]} to the key"
            return [Receipt(row.key, Outcome.REJECTED, words, "MISSING_SCOPES") for row in rows]

    def recorded(self, rows: Sequence[FeedbackRow]) -> dict[str, bool]:
        """Whether each is there, by key; of contacts that exist."""
        if not rows:
            return {}
        owners = self._owners(rows)
        there = self._there(rows)
        return {row.key: row.key in there for row in rows if row.row_id in owners}

    def _record(self, rows: Sequence[FeedbackRow]) -> list[Receipt]:
        owners = self._owners(rows)
        there = self._there([row for row in rows if row.row_id in owners])
        receipts: dict[str, Receipt] = {}
        for row in rows:
            if row.row_id not in owners:
                receipts[row.key] = Receipt(row.key, Outcome.MISSING, missing(row.row_id).message, "MISSING")
            elif row.key in there:
                receipts[row.key] = Receipt(row.key, Outcome.UNCHANGED)
        for kind in (NOTES, TASKS):
            new = [row for row in rows if _kind(row) == kind and row.key not in receipts]
            if new:
                receipts |= self._create(kind, new, owners)
        return [receipts[row.key] for row in rows]

    def _owners(self, rows: Sequence[FeedbackRow]) -> dict[str, str]:
        """The contacts that exist, and who owns each; "" for nobody."""
        ids = list(dict.fromkeys(row.row_id for row in rows))
        body = {"properties": [OWNER], "inputs": [{"id": row_id} for row_id in ids]}
        path = self._client.path("objects", "/contacts/batch/read")
        answer = self._client.call("POST", path, body=body, effect=Effect.READ).data or {}
        return {
            str(item["id"]): str((item.get("properties") or {}).get(OWNER) or "")
            for item in answer.get("results") or ()
        }

    def _there(self, rows: Sequence[FeedbackRow]) -> set[str]:
        """Keys of ours on the notes and tasks of these contacts."""
        found: set[str] = set()
        for kind in (NOTES, TASKS):
            contacts = list(dict.fromkeys(row.row_id for row in rows if _kind(row) == kind))
            ids = list(dict.fromkeys(self._hanging_on(contacts, kind))) if contacts else []
            for start in range(0, len(ids), BATCH):
                found |= self._keys(kind, ids[start : start + BATCH])
        return found

    def _hanging_on(self, contacts: Sequence[str], kind: str) -> Iterator[str]:
        """Ids of the notes or tasks of these contacts; 500 a contact and page."""
        path = self._client.path("associations", f"/contacts/{kind}/batch/read")
        inputs: list[dict[str, str]] = [{"id": contact} for contact in contacts]
        while inputs:
            answer = self._client.call("POST", path, body={"inputs": inputs}, effect=Effect.READ).data or {}
            following: list[dict[str, str]] = []
            for entry in answer.get("results") or ():
                yield from (str(target["toObjectId"]) for target in entry.get("to") or ())
                after = ((entry.get("paging") or {}).get("next") or {}).get("after")
                if after is not None:
                    following.append({"id": str(entry["from"]["id"]), "after": str(after)})
            if following == inputs:
                raise OutcomeUnknown(f"hubspot {kind} of contacts: the same page came twice")
            inputs = following

    def _keys(self, kind: str, ids: Sequence[str]) -> set[str]:
        body = {"properties": [_BODY[kind]], "inputs": [{"id": one} for one in ids]}
        path = self._client.path("objects", f"/{kind}/batch/read")
        answer = self._client.call("POST", path, body=body, effect=Effect.READ).data or {}
        texts = ((item.get("properties") or {}).get(_BODY[kind]) or "" for item in answer.get("results") or ())
        return {mark for text in texts for mark in _MARK.findall(text)}

    def _create(self, kind: str, rows: Sequence[FeedbackRow], owners: Mapping[str, str]) -> dict[str, Receipt]:
        """One batch; its answer names no key, so what it wrote is told by the text that carries it."""
        inputs = [
            {
                "properties": _properties(kind, row, owners[row.row_id]),
                "associations": [_hangs_on(kind, row.row_id)],
                "objectWriteTraceId": row.key,
            }
            for row in rows
        ]
        path = self._client.path("objects", f"/{kind}/batch/create")
        try:
            answer = self._client.call("POST", path, body={"inputs": inputs}, effect=Effect.ONCE).data
        except HubSpotRejected as refusal:
            if len(rows) == 1:
                code = refusal.vendor.category or str(refusal.status)
                return {rows[0].key: Receipt(rows[0].key, Outcome.REJECTED, refusal.vendor.words(), code)}
            raise
        if not isinstance(answer, dict):
            raise OutcomeUnknown(f"hubspot {kind}: {len(rows)} were accepted without a word")
        written = {
            mark
            for item in answer.get("results") or ()
            for mark in _MARK.findall((item.get("properties") or {}).get(_BODY[kind]) or "")
        }
        refused = dict(_refusals(answer))
        return {row.key: _receipt(row.key, written, refused) for row in rows}


def _kind(row: FeedbackRow) -> str:
    return TASKS if row.task else NOTES


def _properties(kind: str, row: FeedbackRow, owner: str) -> dict[str, str]:
    """What the vendor keeps; texts are HTML there."""
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in row.text.splitlines() if line)
    mark = f'<p style="color:#99acc2">winback-ref {row.key}</p>'
    at = row.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if kind == NOTES:
        return {"hs_timestamp": at, "hs_note_body": f"<p><strong>{escape(row.title)}</strong></p>{paragraphs}{mark}"}
    owned = {OWNER: owner} if owner else {}
    return {
        "hs_timestamp": at,
        "hs_task_subject": row.title,
        "hs_task_body": f"{paragraphs}{mark}",
        "hs_task_status": "NOT_STARTED",
        "hs_task_type": "TODO",
        **owned,
    }


def _hangs_on(kind: str, row_id: str) -> dict[str, Any]:
    spec = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": _TO_CONTACT[kind]}
    return {"to": {"id": row_id}, "types": [spec]}


def _refusals(answer: Mapping[str, Any]) -> Iterator[tuple[str, Receipt]]:
    for error in answer.get("errors") or ():
        for key in map(str, (error.get("context") or {}).get("objectWriteTraceId") or ()):
            category = str(error.get("category") or "REJECTED")
            yield key, Receipt(key, Outcome.REJECTED, redact(str(error.get("message") or category)), category)


def _receipt(key: str, written: set[str], refused: Mapping[str, Receipt]) -> Receipt:
    if key in written:
        return Receipt(key, Outcome.WRITTEN)
    return refused.get(key) or Receipt(key, Outcome.UNKNOWN, "HubSpot's answer does not name this note")

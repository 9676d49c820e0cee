"""What people told us, as tasks on their record: a completed one is a note, an open one is the owner's to do.

Each carries our key as its external id, so it is made once, however often it is sent; one that is there is left as
people have since made it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.salesforce import soql
from adapters.salesforce.fields import KEY, PACKAGE, PERMISSION_SET
from adapters.salesforce.ids import kind_of
from adapters.salesforce.lookups import CONTACT, LEAD, Lookups, missing, person_id
from adapters.salesforce.rows import PER_CALL, Change, RowWriter, upsert_by
from adapters.salesforce.vendor_errors import MissingPermissionsError, SalesforceRejected
from connector.model import FeedbackRow, Outcome, Receipt

BATCH: Final = PER_CALL
CALLS_PER_BATCH: Final = 2
"""The people with their owners and the keys that are there, in one; and what is not."""

TASK: Final = "Task"
NOTE_STATUS: Final = "Completed"
TODO_STATUS: Final = "Not Started"
_SUBJECT: Final = 255
_DESCRIPTION: Final = 32_000
_KEYS_AT_ONCE: Final = 100
_USER: Final = "User"
_BY_KEY: Final = upsert_by(KEY)


class Feedback:
    """Notes and tasks of one org."""

    def __init__(self, lookups: Lookups, writer: RowWriter) -> None:
        self._lookups = lookups
        self._writer = writer

    def record(self, rows: Sequence[FeedbackRow]) -> list[Receipt]:
        """Write what is not there yet; see `Destination.record_feedback`.

        Raises:
            OutcomeUnknown: nothing was confirmed; call again, or ask `recorded`.
        """
        if not rows:
            return []
        try:
            return self._record(rows)
        except (MissingPermissionsError, SalesforceRejected) as refusal:
            if isinstance(refusal, SalesforceRejected) and refusal.code not in {"INVALID_FIELD", "INVALID_TYPE"}:
                raise
            # Values still go through: nobody else's writes wait until somebody has deployed a field.
            words = f"Salesforce keeps no notes of ours: deploy {PACKAGE} and assign {PERMISSION_SET} ({KEY} on Task)"
            return [Receipt(row.key, Outcome.REJECTED, words, "MISSING_FIELD") for row in rows]

    def recorded(self, rows: Sequence[FeedbackRow]) -> dict[str, bool]:
        """Whether each is there, by key; of people who exist."""
        if not rows:
            return {}
        owners, there = self._look(rows)
        return {row.key: row.key in there for row in rows if (person_id(row.row_id) or "") in owners}

    def _record(self, rows: Sequence[FeedbackRow]) -> list[Receipt]:
        owners, there = self._look(rows)
        receipts: dict[str, Receipt] = {}
        new: dict[str, Change] = {}
        for row in rows:
            person = person_id(row.row_id) or ""
            if person not in owners:
                receipts[row.key] = Receipt(row.key, Outcome.MISSING, missing(row.row_id).message, "NOT_FOUND")
            elif row.key in there:
                receipts[row.key] = Receipt(row.key, Outcome.UNCHANGED)
            else:
                new[row.key] = Change(row.key, TASK, _values(row, person, owners[person]))
        if new:
            said = self._writer.write(_BY_KEY, list(new.values()))
            receipts |= {key: one.receipt(key) for key, one in said.items()}
        return [receipts[row.key] for row in rows]

    def _look(self, rows: Sequence[FeedbackRow]) -> tuple[Mapping[str, str], frozenset[str]]:
        """Who exists, with their owner, and which of our keys are there; all in one call."""
        people = sorted({person for row in rows if (person := person_id(row.row_id))})
        keys = list(dict.fromkeys(row.key for row in rows))
        queries = [
            soql.Query(kind, ("Id", "OwnerId"), (soql.one_of("Id", part), *conditions)).unordered()
            for kind, conditions in ((CONTACT, ()), (LEAD, ("IsConverted = false",)))
            for part in soql.id_batches(person for person in people if kind_of(person) == kind)
        ]
        of_people = len(queries)
        queries += [
            soql.Query(TASK, ("Id", KEY), (soql.one_of(KEY, keys[start : start + _KEYS_AT_ONCE]),)).unordered()
            for start in range(0, len(keys), _KEYS_AT_ONCE)
        ]
        found = self._lookups.ask(queries)
        owners = {
            person: str(row.get("OwnerId") or "")
            for rows_found in found[:of_people]
            for row in rows_found
            if (person := person_id(str(row["Id"])))
        }
        return owners, frozenset(str(row[KEY]) for rows_found in found[of_people:] for row in rows_found)


def _values(row: FeedbackRow, person: str, owner: str) -> dict[str, Any]:
    """The task as the org keeps it."""
    values = {
        KEY: row.key,
        "WhoId": person,
        "Subject": row.title[:_SUBJECT],
        "Description": row.text[:_DESCRIPTION],
        "Status": TODO_STATUS if row.task else NOTE_STATUS,
        "ActivityDate": row.at.date().isoformat(),
    }
    # A lead may belong to a queue, and a queue takes tasks only where somebody has set it up to.
    if row.task and kind_of(owner) == _USER:
        values["OwnerId"] = owner
    return values

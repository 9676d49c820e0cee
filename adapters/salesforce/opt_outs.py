"""Opt-outs into Salesforce: `Email Opt Out` is ticked on the contact or lead. It is never cleared here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.salesforce.fields import PERMISSION_SET
from adapters.salesforce.ids import kind_of
from adapters.salesforce.lookups import Lookups, missing, person_id
from adapters.salesforce.rows import PER_CALL, UPDATE, Change, RowWriter
from adapters.salesforce.vendor_errors import SalesforceRejected
from connector.model import Outcome, Receipt

BATCH: Final = PER_CALL
CALLS_PER_BATCH: Final = 2
"""Who is opted out already, and those who are not."""

FLAG: Final = "HasOptedOutOfEmail"
INDIVIDUAL: Final = tuple(
    f"Individual.{name}" for name in ("HasOptedOutSolicit", "HasOptedOutProcessing", "ShouldForget")
)
"""What the privacy record behind a person may say besides; there only where data protection is switched on."""


class OptOuts:
    """Writes and reads opt-outs of one org."""

    def __init__(self, lookups: Lookups, writer: RowWriter) -> None:
        self._lookups = lookups
        self._writer = writer
        self._individuals = True

    def write(self, row_ids: Sequence[str]) -> list[Receipt]:
        """Tick the box of everybody who has not ticked it yet; see `Destination.opt_out`.

        Raises:
            OutcomeUnknown: nobody's was confirmed.
        """
        if not row_ids:
            return []
        try:
            people = self._lookups.people(row_ids, (FLAG,))
        except SalesforceRejected as refusal:
            if refusal.code != "INVALID_FIELD":
                raise
            # Nobody else's writes wait until somebody has opened the field.
            words = f"Salesforce hides {FLAG} (Email Opt Out) from us: give {PERMISSION_SET} edit access to it"
            return [Receipt(row_id, Outcome.REJECTED, words, "MISSING_FIELD") for row_id in row_ids]
        changes = {
            person: Change(person, str(kind_of(person)), {"Id": person, FLAG: True})
            for person, held in people.items()
            if not held.get(FLAG)
        }
        said = self._writer.write(UPDATE, list(changes.values())) if changes else {}
        receipts: list[Receipt] = []
        for row_id in row_ids:
            person = person_id(row_id)
            if person is None or person not in people:
                receipts.append(missing(row_id))
            elif person in said:
                receipts.append(said[person].receipt(row_id))
            else:
                receipts.append(Receipt(row_id, Outcome.UNCHANGED))
        return receipts

    def read(self, row_ids: Sequence[str]) -> dict[str, bool]:
        """Whether each person is opted out, by their own box or by their privacy record."""
        if not row_ids:
            return {}
        people = self.people(row_ids, ())
        return {
            row_id: opted_out(people[person])
            for row_id in row_ids
            if (person := person_id(row_id)) and person in people
        }

    def people(self, row_ids: Sequence[str], fields: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """People with these fields and all that says whether they are opted out."""
        if self._individuals:
            try:
                return self._lookups.people(row_ids, (FLAG, *INDIVIDUAL, *fields))
            except SalesforceRejected as refusal:
                if refusal.code != "INVALID_FIELD" or "Individual" not in refusal.vendor.message:
                    raise
                self._individuals = False
        return self._lookups.people(row_ids, (FLAG, *fields))


def opted_out(held: Mapping[str, Any]) -> bool:
    """Whether a person, read with `OptOuts.people`, wants no marketing mail."""
    individual = held.get("Individual") or {}
    return bool(held.get(FLAG)) or any(individual.get(name.partition(".")[2]) for name in INDIVIDUAL)

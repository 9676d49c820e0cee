"""The values of our fields on contacts and leads: written row by row, read back as they were given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from adapters.salesforce.definitions import Described, FieldDefinitions
from adapters.salesforce.fields import PACKAGE, field_name, readable, sendable
from adapters.salesforce.ids import kind_of
from adapters.salesforce.lookups import CONTACT, LEAD, Lookups, missing, person_id
from adapters.salesforce.rows import UPDATE, Change, RowWriter
from connector.errors import WinbackError
from connector.model import Outcome, PropertyRow, Receipt

PER_READ: Final = 2_000
FIELD_MISSING: Final = "FIELD_MISSING"
BAD_VALUE: Final = "BAD_VALUE"


class Properties:
    """Writes and reads values of one org."""

    def __init__(self, definitions: FieldDefinitions, lookups: Lookups, writer: RowWriter) -> None:
        self._definitions = definitions
        self._lookups = lookups
        self._writer = writer

    def write(self, rows: Sequence[PropertyRow]) -> list[Receipt]:
        """Write rows; see `Destination.set_properties`. Of several rows for one person the later values win.

        A value that its field cannot hold is refused here: one such row would make Salesforce refuse the whole call.

        Raises:
            OutcomeUnknown: no row was confirmed.
        """
        if not rows:
            return []
        whose = [person_id(row.row_id) for row in rows]
        merged: dict[str, dict[str, str | None]] = {}
        for row, person in zip(rows, whose, strict=True):
            if person is not None:
                merged.setdefault(person, {}).update(row.values)
        known = self._fields_for(merged)
        receipts: dict[str, Receipt] = {}
        changes: list[Change] = []
        for person, values in merged.items():
            change, refusal = _change(person, values, known)
            if refusal is not None:
                receipts[person] = refusal
            else:
                changes.append(change)
        if changes:
            said = self._writer.write(UPDATE, changes, by_parent=self._by_account)
            receipts |= {person: one.receipt(person) for person, one in said.items()}
        given: list[Receipt] = []
        for row, person in zip(rows, whose, strict=True):
            receipt = receipts.get(person or "")
            if receipt is None or receipt.outcome is Outcome.MISSING:
                given.append(missing(row.row_id))
            else:
                given.append(Receipt(row.row_id, receipt.outcome, receipt.message, receipt.code))
        return given

    def read(self, row_ids: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, str | None]]:
        """Present values by the ids that were given; see `Destination.read_properties`."""
        if not row_ids:
            return {}
        known = self._definitions.described()
        there = {
            kind: {name: held for name in names if (held := fields.get(field_name(name)))}
            for kind, fields in known.items()
        }
        asked = {kind: list(dict.fromkeys(held.name for held in fields.values())) for kind, fields in there.items()}
        people = self._lookups.people(row_ids, asked.get(CONTACT, ()), of_leads=asked.get(LEAD, ()))
        found: dict[str, dict[str, str | None]] = {}
        for row_id in row_ids:
            person = person_id(row_id) or ""
            if person in people:
                fields, record = there.get(str(kind_of(person)), {}), people[person]
                found[row_id] = {
                    name: readable(fields[name], record.get(fields[name].name)) if name in fields else None
                    for name in names
                }
        return found

    def _fields_for(self, merged: Mapping[str, Mapping[str, str | None]]) -> Described:
        """The fields as described; described again when one of the values has none, for it may have come since."""
        known = self._definitions.described()
        names = {field_name(name) for values in merged.values() for name in values}
        kinds = {str(kind_of(person)) for person in merged}
        if all(name in known.get(kind, {}) for name in names for kind in kinds):
            return known
        return self._definitions.described(fresh=True)

    def _by_account(self, changes: Sequence[Change]) -> Sequence[Change]:
        """The rows of one account next to each other: it is what writes to its contacts wait for."""
        accounts: dict[str, str] = {}
        with suppress(WinbackError):
            contacts = [change.key for change in changes if change.sobject == CONTACT]
            people = self._lookups.people(contacts, ("AccountId",))
            accounts = {person: str(held.get("AccountId") or "") for person, held in people.items()}
        return sorted(changes, key=lambda change: (change.sobject, accounts.get(change.key, ""), change.key))


def _change(person: str, values: Mapping[str, str | None], known: Described) -> tuple[Change, Receipt | None]:
    """A person's values as the platform takes them, and the receipt of one whose values it cannot take."""
    kind = str(kind_of(person))
    fields = known.get(kind, {})
    change = Change(person, kind, {"Id": person})
    sent: dict[str, object] = {"Id": person}
    for name, value in values.items():
        held = fields.get(field_name(name))
        if held is None or not held.updateable:
            lack = "is not there" if held is None else "may not be edited by the integration user"
            words = f"the field {kind}.{field_name(name)} {lack}: deploy {PACKAGE} and assign its permission set"
            return change, Receipt(person, Outcome.REJECTED, words, FIELD_MISSING)
        try:
            sent[held.name] = sendable(held, name, value)
        except ValueError as fault:
            return change, Receipt(person, Outcome.REJECTED, str(fault), BAD_VALUE)
    return Change(person, kind, sent), None

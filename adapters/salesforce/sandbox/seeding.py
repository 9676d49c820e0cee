"""Filling the org with people and companies of the neutral model, in the vendor's own words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from sys import intern
from typing import TYPE_CHECKING, Any

from adapters.salesforce.ids import number_of, record_id, to_18
from adapters.salesforce.sandbox.answers import DAY_MS
from adapters.salesforce.sandbox.fields import Field
from adapters.salesforce.sandbox.making import moment, number, text, yes_no
from adapters.salesforce.sandbox.records import Row
from connector.errors import SettingError
from connector.model import Account, Contact

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.state import State

NUMBERED = re.compile(r"[^\W\d]*[-_.]?(\d+)\Z")
"""An id with a number in it, perhaps behind a word (`user-42`)."""

SHORT, FULL = 15, 18
NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
IDENTITY_ATTRIBUTES = frozenset({"merged_ids"})
"""Attributes that say who else a person is: the vendor has ways of its own for that, no field."""

CUSTOM: Mapping[str, str] = {
    "external_id": "Product_User_Id__c",
    "plan_tier": "Plan_Tier__c",
    "lifecycle_stage": "Lifecycle_Stage__c",
    "role": "Role__c",
    "timezone": "Timezone__c",
    "language": "Language__c",
    "can_email": "Email_Permission__c",
}
"""What this org keeps in fields of its own."""

OF_ACCOUNTS: Mapping[str, str] = {"plan_tier": "Plan_Tier__c", "seats": "Seats__c", "mrr": "Mrr__c"}


def seed(state: State, contacts: Iterable[Contact], accounts: Iterable[Account]) -> None:
    """Store people and companies. Seeding again changes what differs; what is equal keeps its last change.

    Everybody is a Contact, but `salesforce:lead-7`, who is a Lead. A contact with `deleted_at` lands in the recycle
    bin, one with `merged_into` is merged into that one; a lead that is merged into a contact is converted.
    """
    now_ms = state.settle()
    people, firms = [(person_id(one.contact_id), one) for one in contacts], list(accounts)
    _prepare(state, people, firms)
    owners = _owners(state, [*(one for _, one in people), *firms])
    _store(state, ((account_id(firm.account_id), account_values(firm, owners), None) for firm in firms), now_ms)
    _store(state, ((own_id, person_values(own_id, one, owners), one.created_at) for own_id, one in people), now_ms)
    for own_id, person in people:
        row = state.row(own_id) if person.merged_into or person.deleted_at else None
        if row is None or row.is_deleted:
            continue
        if person.merged_into:
            _merge(state, own_id, person_id(person.merged_into))
        elif person.deleted_at:
            state.delete(own_id)


def person_id(neutral_id: str) -> str:
    """The id of a contact or lead in the org: `salesforce:42` is the Contact, `salesforce:lead-42` the Lead 42."""
    bare = neutral_id.rpartition(":")[2]
    kind = "Lead" if bare.lower().startswith("lead") else "Contact"
    return _id(bare, kind)


def account_id(neutral_id: str) -> str:
    """The id of an account in the org."""
    return _id(neutral_id.rpartition(":")[2], "Account")


def person_values(own_id: str, person: Contact, owners: Mapping[str, str]) -> dict[str, Any]:
    """A person's fields in the vendor's words."""
    is_lead = own_id.startswith("00Q")
    values: dict[str, Any] = {
        "FirstName": person.first_name,
        "LastName": person.last_name or "Unknown",
        "Email": person.email,
        "Title": person.role,
        "HasOptedOutOfEmail": person.opted_out or None,
        "OwnerId": owners.get(person.owner or ""),
        ("Country" if is_lead else "MailingCountry"): person.country,
        **{field: getattr(person, name) for name, field in CUSTOM.items()},
        **_attributes(person.attributes),
    }
    if is_lead:
        values |= {"Company": "Unknown", "Status": "Open - Not Contacted"}
    elif person.account_id:
        values["AccountId"] = account_id(person.account_id)
    if person.bounced:
        values["EmailBouncedDate"] = "created"
        values["EmailBouncedReason"] = "550 5.1.1 user unknown"
    return values


def account_values(firm: Account, owners: Mapping[str, str]) -> dict[str, Any]:
    """A company's fields in the vendor's words."""
    return {
        "Name": firm.name or "Unknown",
        "Website": firm.domain,
        "NumberOfEmployees": firm.seats,
        "OwnerId": owners.get(firm.owner or ""),
        **{field: getattr(firm, name) for name, field in OF_ACCOUNTS.items()},
        **_attributes(firm.attributes),
    }


def _prepare(state: State, people: Iterable[tuple[str, Contact]], firms: Iterable[Account]) -> None:
    """Make the org's own fields for what people and companies are known by."""
    needed: dict[str, dict[str, Field]] = {"Contact": {}, "Lead": {}, "Account": {}}
    seen: dict[str, str] = {}
    for own_id, person in people:
        if seen.setdefault(own_id, person.contact_id) != person.contact_id:
            raise SettingError(f"'{seen[own_id]}' and '{person.contact_id}' would be the same Salesforce record")
        _need(needed["Lead" if own_id.startswith("00Q") else "Contact"], person, CUSTOM)
    for firm in firms:
        _need(needed["Account"], firm, OF_ACCOUNTS)
    for kind, fields in needed.items():
        missing = [one for name, one in fields.items() if name not in state.stores[kind].sobject.fields]
        if missing:
            state.add_fields(kind, *missing, granted_by=state.everyday_set())


def _need(fields: dict[str, Field], row: Contact | Account, own: Mapping[str, str]) -> None:
    for name, field in own.items():
        value = getattr(row, name)
        if value is not None and field not in fields:
            unique = {"external_id": True} if name == "external_id" else {}
            fields[field] = _field_for(field, value, **unique)
    for name, value in row.attributes.items():
        if name in IDENTITY_ATTRIBUTES or value is None:
            continue
        field = custom_name(name)
        if field not in fields:
            fields[field] = _field_for(field, value)


def custom_name(name: str) -> str:
    """The name of the custom field for one of our names: `plan_tier` is `Plan_Tier__c`."""
    if not NAME.match(name):
        raise SettingError(f"the attribute '{name}' cannot be a Salesforce field: lower case, digits and _ only")
    return "_".join(part.capitalize() for part in name.split("_") if part) + "__c"


def _field_for(name: str, value: Any, **settings: Any) -> Field:
    made: Callable[..., Field] = text
    if isinstance(value, bool):
        made = yes_no
    elif isinstance(value, int | float):
        made, settings = number, {"precision": 18, "scale": 4, **settings}
    elif isinstance(value, datetime):
        made = moment
    return made(name, **settings)


def _attributes(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        custom_name(name): _value(value)
        for name, value in given.items()
        if name not in IDENTITY_ATTRIBUTES and value is not None
    }


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    return value if isinstance(value, bool | int | float) else str(value)


def _owners(state: State, rows: Iterable[Contact | Account]) -> dict[str, str]:
    """A user for every owner that is named; their ids by name."""
    users = {str(row.values.get("Alias")): row.id for row in state.stores["User"]}
    found: dict[str, str] = {}
    for name in dict.fromkeys(row.owner for row in rows if row.owner):
        alias = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
        if alias not in users:
            users[alias] = state.insert(
                "User",
                {
                    "LastName": name,
                    "Username": f"{alias}@sandbox.example",
                    "Email": f"{alias}@sandbox.example",
                    "Alias": alias,
                    "IsActive": True,
                },
            ).id
        found[name] = users[alias]
    return found


def _store(state: State, rows: Iterable[tuple[str, dict[str, Any], datetime | None]], now_ms: int) -> None:
    made = []
    highest: dict[str, str] = {}
    for own_id, values, created_at in rows:
        held = state.row(own_id)
        stored = {intern(name): value for name, value in values.items() if value is not None}
        if held is None:
            created = min(now_ms, round(created_at.timestamp() * 1000) if created_at else now_ms - 365 * DAY_MS)
            if stored.get("EmailBouncedDate") == "created":
                stored["EmailBouncedDate"] = created
            stored.setdefault("OwnerId", state.admin_user)
            changed = _last_change(own_id, created, now_ms)
            made.append(Row(own_id, stored, created, changed, changed, state.admin_user, state.admin_user))
            continue
        if held.is_deleted:
            continue
        if stored.get("EmailBouncedDate") == "created":
            stored["EmailBouncedDate"] = held.values.get("EmailBouncedDate", held.created_ms)
        merged = {**held.values, **stored}
        if merged != held.values:
            state.rewrite(held, merged)
    made.sort(key=lambda row: row.stamp_ms)
    state.load(made)
    for row in made:
        highest[row.id[:3]] = max(highest.get(row.id[:3], ""), row.id)
    for row_id in highest.values():
        kind = state.kind_of(row_id)
        if kind is not None:
            store = state.stores[kind.name]
            store.last_number = max(store.last_number, number_of(row_id))


def _merge(state: State, loser_id: str, survivor_id: str) -> None:
    """Merge into who is left of the survivor; nothing happens where nobody is."""
    survivor = state.row(survivor_id)
    while survivor is not None and survivor.is_deleted:
        survivor = state.row(str(survivor.values.get("MasterRecordId") or ""))
    if survivor is None or survivor.id == loser_id:
        return
    survivor_id = survivor.id
    if loser_id.startswith("00Q") and survivor_id.startswith("003"):
        state.convert(loser_id, contact_id=survivor_id)
    else:
        state.merge(survivor_id, [loser_id])


def _id(bare: str, kind: str) -> str:
    if len(bare) in {SHORT, FULL}:
        try:
            return to_18(bare)
        except ValueError:
            pass
    found = NUMBERED.match(bare)
    if found is None:
        raise SettingError(
            f"the people of the Salesforce sandbox are numbered, and '{bare}' has no number",
            hint="give them ids such as salesforce:42, or salesforce:lead-42",
        )
    return record_id(kind, int(found[1]))


def _last_change(own_id: str, created_ms: int, now_ms: int) -> int:
    """A moment between creation and a day before now, the same for the same record."""
    latest = max(created_ms, now_ms - DAY_MS)
    share = int.from_bytes(hashlib.blake2b(own_id.encode(), digest_size=4).digest()) / 2**32
    return created_ms + round((latest - created_ms) * share)

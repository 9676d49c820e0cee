"""Filling the sandbox with people and companies of the neutral model, in the vendor's own words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from sys import intern
from typing import Any

from adapters.hubspot.sandbox.definitions import NAME, Definition, DefinitionStore
from adapters.hubspot.sandbox.records import ObjectStore, Record
from adapters.hubspot.sandbox.state import COMPANY_TYPE, CONTACT_TYPE, State
from connector.errors import SettingError
from connector.model import Account, Contact

DAY_MS = 86_400_000
BULK = 1_000
"""From this many records on, the search index is built anew instead of hearing of each one late."""
IDENTITY_ATTRIBUTES = frozenset({"secondary_emails", "merged_ids"})
"""Attributes that say who else a person is: the vendor has words of its own for them, no custom property."""

OWN_WORDS = {
    "email_last_click_at": "hs_email_last_click_date",
    "email_last_reply_at": "hs_email_last_reply_date",
    "site_last_visit_at": "hs_analytics_last_visit_timestamp",
    "form_last_submitted_at": "recent_conversion_date",
    "owner_contacted_at": "notes_last_contacted",
}
"""Attributes the vendor has a property of its own for."""
BASES = {
    "consent_express": "Freely given consent from contact",
    "legitimate_interest": "Legitimate interest – existing customer",
    "soft_opt_in": "Legitimate interest – existing customer",
    "contract": "Performance of a contract",
}
"""The bases of permission in the vendor's words (`hs_legal_basis`); others have none."""

NUMBERED = re.compile(r"[^\W\d]*[-_.]?(\d+)\Z")
"""An id the vendor could have given: a number, perhaps behind a word (`user-42`)."""


def seed(state: State, contacts: Iterable[Contact], accounts: Iterable[Account]) -> None:
    """Store people and companies. Seeding again changes what differs; what is equal keeps its last change.

    A contact with `deleted_at` lands in the recycle bin, one with `merged_into` is merged into that one.
    """
    now_ms = state.settle()
    merges: list[tuple[str, str]] = []
    people, firms = list(contacts), list(accounts)
    _refuse_shared_numbers(person.contact_id for person in people)
    _refuse_shared_numbers(firm.account_id for firm in firms)
    with state.companies.bulk():
        for account in firms:
            _put(state.companies, number_of(account.account_id), company_values(state, account), None, now_ms)
    with state.contacts.bulk():
        for person in people:
            record_id = number_of(person.contact_id)
            _put(state.contacts, record_id, contact_values(state, person), person.created_at, now_ms)
            if person.merged_into:
                merges.append((number_of(person.merged_into), record_id))
    for address in list(state.preferences.from_all):
        state.preferences.carry(address, now_ms=now_ms)
    for person in people:
        if person.deleted_at and not person.merged_into:
            state.archive(state.kinds[CONTACT_TYPE], number_of(person.contact_id), now_ms=now_ms)
    for survivor, loser in merges:
        if loser in state.contacts.live and state.contacts.find(survivor):
            state.merge(state.kinds[CONTACT_TYPE], survivor, loser, now_ms=now_ms)


def put_raw(state: State, object_type: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Store records given in the vendor's own words: `{id?, properties, created_at?, updated_at?}`, times in ms.

    Any property name is taken, read-only ones too: this is the account's past, not a call of its API.
    """
    now_ms = state.settle()
    kind = state.kind(object_type)
    stored: list[str] = []
    given = list(rows)
    with kind.store.bulk() if len(given) > BULK else nullcontext():
        for row in given:
            record_id = str(row.get("id") or kind.store.new_id())
            held = kind.store.live.get(record_id)
            values = {**(held.properties if held else {}), **_texts(row.get("properties") or {})}
            values = {name: value for name, value in values.items() if value}
            created = int(row.get("created_at") or (held.created_ms if held else now_ms))
            updated = int(row.get("updated_at") or now_ms)
            kind.store.put(Record(record_id, values, created, updated), now_ms=now_ms)
            stored.append(record_id)
    return stored


def number_of(neutral_id: str) -> str:
    """The vendor's id in ours: the digits of the part behind the system (`hubspot:123` is 123)."""
    found = NUMBERED.match(neutral_id.rpartition(":")[2])
    if found is None:
        raise SettingError(
            f"HubSpot's ids are numbers, and '{neutral_id}' is none",
            hint="give the people of the sandbox ids such as hubspot:42",
        )
    return str(int(found[1]))


def _refuse_shared_numbers(neutral_ids: Iterable[str]) -> None:
    """Two people or companies must not become one record."""
    owners: dict[str, str] = {}
    for neutral_id in neutral_ids:
        owner = owners.setdefault(number_of(neutral_id), neutral_id)
        if owner != neutral_id:
            raise SettingError(f"'{owner}' and '{neutral_id}' would be the same HubSpot record")


def contact_values(state: State, person: Contact) -> dict[str, str]:
    """A person's properties in the vendor's words."""
    values = {
        "email": person.email,
        "firstname": person.first_name,
        "lastname": person.last_name,
        "jobtitle": person.role,
        "role": person.role,
        "plan_tier": person.plan_tier,
        "lifecyclestage": person.lifecycle_stage,
        "country": person.country,
        "hs_timezone": person.timezone,
        "hs_language": person.language,
        "hubspot_owner_id": person.owner,
        "associatedcompanyid": number_of(person.account_id) if person.account_id else None,
        "product_user_id": person.external_id,
        "hs_email_optout": _yes_no(person.opted_out),
        "hs_marketable_status": _yes_no(person.can_email),
        "hs_email_hard_bounce_reason_enum": "UNKNOWN_USER" if person.bounced else None,
    }
    known = IDENTITY_ATTRIBUTES | OWN_WORDS.keys() | {"consent_basis"}
    attributes = {name: value for name, value in person.attributes.items() if name not in known}
    values |= {word: person.attributes.get(name) for name, word in OWN_WORDS.items()}
    values["hs_legal_basis"] = BASES.get(str(person.attributes.get("consent_basis")))
    values["hs_additional_emails"] = person.attributes.get("secondary_emails")
    return _with_attributes(values, attributes, state.contact_properties, group="product")


def company_values(state: State, account: Account) -> dict[str, str]:
    """A company's properties in the vendor's words."""
    values = {
        "name": account.name,
        "domain": account.domain,
        "plan_tier": account.plan_tier,
        "seats": account.seats,
        "mrr": account.mrr,
        "hubspot_owner_id": account.owner,
    }
    return _with_attributes(values, account.attributes, state.kinds[COMPANY_TYPE].definitions, group="product")


def _with_attributes(
    values: Mapping[str, Any], attributes: Mapping[str, Any], definitions: DefinitionStore, *, group: str
) -> dict[str, str]:
    for name, value in attributes.items():
        if not NAME.match(name):
            raise SettingError(f"the attribute '{name}' cannot be a HubSpot property: lower case, digits and _ only")
        if name not in definitions.live:
            definitions.live[name] = _definition_for(name, value, group)
    return _texts({**values, **attributes})


def _definition_for(name: str, value: Any, group: str) -> Definition:
    kind, field_type = "string", "text"
    if isinstance(value, int | float) and not isinstance(value, bool):
        kind, field_type = "number", "number"
    label = name.replace("_", " ").capitalize()
    return Definition(name, label, kind, field_type, group, hubspot_defined=False)


def _put(store: ObjectStore, record_id: str, values: dict[str, str], created_at: datetime | None, now_ms: int) -> None:
    held = store.live.get(record_id)
    if held is None:
        if record_id in store.archived or record_id in store.merged:
            return
        created = round(created_at.timestamp() * 1000) if created_at else now_ms - 365 * DAY_MS
        created = min(created, now_ms)
        store.put(Record(record_id, values, created, _last_change(record_id, created, now_ms)), now_ms=now_ms)
        return
    merged = {**held.properties, **values}
    if merged != held.properties:
        store.put(replace(held, properties=merged, updated_ms=now_ms), now_ms=now_ms)


def _last_change(record_id: str, created_ms: int, now_ms: int) -> int:
    """A moment between creation and a day before now, the same for the same record."""
    latest = max(created_ms, now_ms - DAY_MS)
    share = int.from_bytes(hashlib.blake2b(record_id.encode(), digest_size=4).digest()) / 2**32
    return created_ms + round((latest - created_ms) * share)


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """The values that are set, as the vendor keeps them: text."""
    return {intern(name): _text(value) for name, value in values.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)


def _yes_no(value: bool | None) -> str | None:  # noqa: FBT001 - the value itself
    return None if value is None else ("true" if value else "false")
